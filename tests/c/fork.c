/* After fork, in the child. */
#include "test.h"

#include <sys/wait.h>

/* Runs `child` in a forked process and checks that it succeeded. */
static void in_child(void (*child)(void *argument), void *argument)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm((unsigned)limit_ms() / 1000);
        child(argument);
        fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, 0), ==, pid);
    CHECK_INT(status, ==, 0);
}

typedef struct family {
    cometd_client *client;
    cometd_receiver *receiver;
    server *server;
} family;

static void use_old_handles(void *argument)
{
    family *old = argument;
    const char *channel = "/a";
    uint64_t id = 7;
    cometd_event *event = (cometd_event *)1, *events[2];
    cometd_error *error;
    cometd_receiver *receiver = (cometd_receiver *)1;
    long long start = now_ms();
    CHECK_STATUS(cometd_client_connect(old->client, &error), COMETD_E_FORKED);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_FORKED);
    cometd_error_free(error);
    CHECK_STATUS(cometd_client_wait(old->client, COMETD_STATE_CLOSED, -1), COMETD_E_FORKED);
    CHECK_INT(cometd_client_state(old->client), ==, COMETD_STATE_CLOSED);
    CHECK_STATUS(cometd_client_subscribe(old->client, &channel, 1, &id, NULL), COMETD_E_FORKED);
    CHECK_INT(id, ==, 0);
    CHECK_STATUS(cometd_client_unsubscribe(old->client, &channel, 1, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_publish(old->client, "/a", "1", 1, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_set_authorization(old->client, "Bearer x"), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_set_replay_position(old->client, "/a", 1, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_disconnect(old->client, limit_ms(), NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_poll(old->client, -1, &event), COMETD_E_FORKED);
    CHECK(event == NULL);
    CHECK_INT(cometd_client_poll_many(old->client, -1, events, 2), ==, 0);
    size_t count = 7;
    CHECK_STATUS(cometd_client_poll_events(old->client, -1, events, 2, &count), COMETD_E_FORKED);
    CHECK(count == 0 && events[1] == NULL);
    CHECK_STATUS(cometd_receiver_poll_events(old->receiver, -1, events, 2, &count), COMETD_E_FORKED);
    CHECK_INT(cometd_client_fd(old->client), ==, -1);
    CHECK_STATUS(cometd_client_set_callback(old->client, NULL, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_set_events_callback(old->client, NULL, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_client_set_wake(old->client, NULL, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_receiver_new(old->client, &receiver), COMETD_E_FORKED);
    CHECK(receiver == NULL);
    CHECK_STATUS(cometd_receiver_poll(old->receiver, -1, &event), COMETD_E_FORKED);
    CHECK_INT(cometd_receiver_poll_many(old->receiver, -1, events, 2), ==, 0);
    CHECK_INT(cometd_receiver_fd(old->receiver), ==, -1);
    CHECK_STATUS(cometd_receiver_set_callback(old->receiver, NULL, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_receiver_set_events_callback(old->receiver, NULL, NULL, NULL), COMETD_E_FORKED);
    CHECK_STATUS(cometd_receiver_set_wake(old->receiver, NULL, NULL, NULL), COMETD_E_FORKED);
    cometd_receiver_free(old->receiver);
    cometd_client_free(old->client);
    CHECK_INT(now_ms() - start, <, limit_ms() / 3);
}

static void use_new_client(void *argument)
{
    family *old = argument;
    CHECK_INT(count_threads(), ==, 1);
    cometd_client *client = client_connected(old->server->url);
    subscribed(client, "/child");
    server_do(old->server, "/publish?channel=/child&count=10");
    for (int i = 0; i < 10; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/child", 0));
    client_end(client);
    WAIT_FOR(count_threads() == 1);
}

static void on_event(void *user, const cometd_event *event)
{
    (void)event;
    ++*(atomic_int *)user;
}

static void use_new_callback(void *argument)
{
    family *old = argument;
    atomic_int calls = 0;
    cometd_client *client = build(builder_new(old->server->url));
    CHECK_OK(cometd_client_set_callback(client, on_event, &calls, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(calls >= 3);
    client_end(client);
}

static void do_both(void *argument)
{
    use_old_handles(argument);
    use_new_client(argument);
    use_new_callback(argument);
}

static void exit_with_old_handles(void *argument)
{
    (void)argument;
    exit(0);
}

static family start_family(void)
{
    family it = {.server = server_start(NULL)};
    it.client = build(builder_new(it.server->url));
    CHECK_OK(cometd_receiver_new(it.client, &it.receiver));
    CHECK_OK(cometd_client_connect(it.client, NULL));
    wait_state(it.client, COMETD_STATE_CONNECTED);
    subscribed(it.client, "/a");
    return it;
}

/* The parent's client is not touched by what the child did. */
static void end_family(family *it)
{
    server_do(it->server, "/publish?channel=/a");
    cometd_event_free(wait_event(it->client, COMETD_EVENT_MESSAGE, "/a", 0));
    cometd_event_free(wait_receiver_event(it->receiver, COMETD_EVENT_MESSAGE, "/a", 0));
    CHECK_INT(server_stat(it->server, "disconnects"), <=, 2);
    client_end(it->client);
    cometd_receiver_free(it->receiver);
    server_stop(it->server);
}

TEST(contract_11_old_handles_are_dead_and_free_does_not_block_214)
{
    family it = start_family();
    in_child(use_old_handles, &it);
    end_family(&it);
}

TEST(contract_11_new_clients_work_in_the_child_214)
{
    family it = start_family();
    in_child(use_new_client, &it);
    in_child(use_new_callback, &it);
    end_family(&it);
}

TEST(contract_11_old_and_new_in_one_child)
{
    family it = start_family();
    in_child(do_both, &it);
    end_family(&it);
}

TEST(contract_11_a_child_may_exit_with_old_handles)
{
    family it = start_family();
    in_child(exit_with_old_handles, &it);
    end_family(&it);
}

static atomic_int saves, store_freed;

static cometd_status count_save(void *user, const char *channel, int64_t position)
{
    (void)user, (void)channel, (void)position;
    saves++;
    return COMETD_OK;
}

static void count_freed(void *user)
{
    (void)user;
    store_freed++;
}

static void free_events(void *argument)
{
    cometd_event **events = argument;
    for (int i = 0; i < 2; i++)
        cometd_event_free(events[i]);
    CHECK_INT(saves, ==, 0);
    CHECK_INT(store_freed, ==, 0);
}

TEST(contract_11_in_the_child_no_replay_position_is_saved)
{
    server *server = server_start(NULL);
    server_do(server, "/publish?channel=/event/a&count=2");
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_ALL));
    CHECK_OK(cometd_client_builder_set_replay_store(builder, NULL, count_save, NULL, count_freed));
    cometd_client *client = build(builder);
    subscribe(client, "/event/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *events[2];
    for (int i = 0; i < 2; i++)
        events[i] = wait_event(client, COMETD_EVENT_MESSAGE, "/event/a", 0);
    in_child(free_events, events);
    client_end(client);
    /* The last to hold the store is an event; that is so in the child as well. */
    WAIT_FOR(count_library_threads() == 0);
    in_child(free_events, events);
    for (int i = 0; i < 2; i++)
        cometd_event_free(events[i]);
    CHECK_INT(saves, ==, 2);
    CHECK_INT(store_freed, ==, 1);
    server_stop(server);
}

/* Forks inside the host's own functions; both processes return from them. */
static pid_t forked;

static cometd_status fork_in_load(void *user, const char *channel, int64_t *position)
{
    (void)user, (void)channel;
    fflush(stdout);
    forked = fork();
    *position = 1;
    return COMETD_OK;
}

static cometd_status fork_in_save(void *user, const char *channel, int64_t position)
{
    (void)user, (void)channel, (void)position;
    saves++;
    fflush(stdout);
    forked = fork();
    return COMETD_OK;
}

static void check_child(void)
{
    int status;
    if (forked == 0)
        _exit(0);
    CHECK_INT(waitpid(forked, &status, 0), ==, forked);
    CHECK_INT(status, ==, 0);
}

TEST(contract_11_a_child_that_returns_from_load_or_save_is_told)
{
    server *server = server_start(NULL);
    server_do(server, "/publish?channel=/event/a&count=2");
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_ALL));
    CHECK_OK(cometd_client_builder_set_replay_store(builder, fork_in_load, fork_in_save, NULL,
                                                    count_freed));
    cometd_client *client = build(builder);
    const char *channel = "/event/a";
    cometd_status status = cometd_client_subscribe(client, &channel, 1, NULL, NULL);
    CHECK_STATUS(status, forked == 0 ? COMETD_E_FORKED : COMETD_OK);
    check_child();
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, channel, 0));
    check_child();
    CHECK_INT(saves, ==, 1);
    client_end(client);
    WAIT_FOR(store_freed == 1);
    server_stop(server);
}

static atomic_int stop;

static void *keep_busy(void *argument)
{
    family *it = argument;
    while (!stop) {
        cometd_event *event;
        publish(it->client, "/busy", "1");
        if (cometd_client_poll(it->client, 1, &event) == COMETD_OK)
            cometd_event_free(event);
        if (cometd_receiver_poll(it->receiver, 1, &event) == COMETD_OK)
            cometd_event_free(event);
    }
    return NULL;
}

TEST(contract_11_a_fork_at_any_moment)
{
    family it = start_family();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = thread_start(keep_busy, &it);
    for (int i = 0; i < 30; i++)
        in_child(use_old_handles, &it);
    in_child(use_new_client, &it);
    stop = 1;
    for (int i = 0; i < 3; i++)
        thread_join(threads[i]);
    end_family(&it);
}

/* An extension that puts a field into each publish to /x, when it may go on. */
typedef struct extension {
    const char *field;
    atomic_int inside, go, freed;
    family *old;
} extension;

static cometd_status extend(void *user, cometd_extension_message *message)
{
    extension *it = user;
    size_t length;
    const char *json = cometd_extension_message_json(message, &length);
    if (!strstr(json, "\"channel\":\"/x\""))
        return COMETD_OK;
    it->inside++;
    while (!it->go)
        test_yield();
    char *longer = text("%.*s,%s}", (int)length - 1, json, it->field);
    CHECK_OK(cometd_extension_message_replace(message, longer, strlen(longer)));
    free(longer);
    it->inside--;
    return COMETD_OK;
}

static void count_extension_freed(void *user)
{
    ((extension *)user)->freed++;
}

static cometd_client *extended(const char *url, extension *it)
{
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, NULL, it, count_extension_freed));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    return client;
}

static void extend_in_the_child(void *argument)
{
    extension *parents = argument;
    CHECK_STATUS(cometd_client_publish(parents->old->client, "/x", "1", 1, NULL, NULL), COMETD_E_FORKED);
    cometd_client_free(parents->old->client);
    CHECK_INT(parents->freed, ==, 0);
    extension own = {.field = "\"child\":1", .go = 1};
    cometd_client *client = extended(parents->old->server->url, &own);
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/x", publish(client, "/x", "1")));
    client_end(client);
    WAIT_FOR(own.freed == 1);
}

TEST(contract_11_a_child_that_was_forked_while_an_extension_ran)
{
    family old = {.server = server_start(NULL)};
    extension it = {.field = "\"parent\":1", .old = &old};
    old.client = extended(old.server->url, &it);
    uint64_t id = publish(old.client, "/x", "1");
    WAIT_FOR(it.inside == 1);
    in_child(extend_in_the_child, &it);
    char *request = server_request(old.server, "/x");
    CHECK_HAS(request, "\\\"child\\\":1");
    free(request);
    it.go = 1;
    cometd_event_free(wait_event(old.client, COMETD_EVENT_PUBLISHED, "/x", id));
    client_end(old.client);
    WAIT_FOR(it.freed == 1);
    server_stop(old.server);
}

/* ---- what forks in other ways, and at other moments ---- */

static void in_bare_child(void (*child)(void *argument), void *argument)
{
    fflush(stdout);
    pid_t pid = _Fork();
    if (pid == 0) {
        alarm((unsigned)limit_ms() / 1000);
        child(argument);
        fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, 0), ==, pid);
    CHECK_INT(status, ==, 0);
}

/* _Fork runs no handlers: the C library's own, too, so that the parent must not
 * be in the middle of malloc. */
TEST(limit_bare_fork_old_handles_are_dead_and_new_clients_work)
{
    family it = {.server = server_start("--tick-ms", "0", "--timeout-ms", "60000", NULL)};
    it.client = build(builder_new(it.server->url));
    CHECK_OK(cometd_receiver_new(it.client, &it.receiver));
    in_bare_child(use_old_handles, &it);
    in_bare_child(use_new_client, &it);
    CHECK_OK(cometd_client_connect(it.client, NULL));
    wait_state(it.client, COMETD_STATE_CONNECTED);
    subscribed(it.client, "/a");
    in_bare_child(use_old_handles, &it);
    in_bare_child(use_new_client, &it);
    in_bare_child(do_both, &it);
    server_do(it.server, "/publish?channel=/a");
    cometd_event_free(wait_event(it.client, COMETD_EVENT_MESSAGE, "/a", 0));
    cometd_client_free(it.client);
    cometd_receiver_free(it.receiver);
    server_stop(it.server);
}

static void build_https(void *argument)
{
    (void)argument;
    cometd_client_free(build(builder_new("https://127.0.0.1:9/cometd")));
}

/* What the parent has made for https is not the child's. That no lock of the library's is in the
 * way is shown by its own tests: a child of a parent that is busy in OpenSSL may hang in there. */
TEST(limit_fork_tls_a_child_builds_its_own)
{
    in_child(build_https, NULL);
    build_https(NULL);
    for (int i = 0; i < 8; i++)
        in_child(build_https, NULL);
    build_https(NULL);
}

static void take_line(void *user, int32_t level, const char *target, const char *line)
{
    (void)user, (void)level, (void)target, (void)line;
}

static void *log_all_the_time(void *argument)
{
    while (!stop)
        cometd_client_set_authorization(argument, "bad\nvalue");
    return NULL;
}

static void set_log_in_child(void *argument)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_DEBUG, take_line, NULL, NULL));
    cometd_client_set_authorization(argument, "bad\nvalue");
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
}

TEST(limit_fork_log_a_sink_is_set_while_threads_log)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_DEBUG, take_line, NULL, NULL));
    cometd_client *client = build(builder_new("http://127.0.0.1:9/cometd"));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = thread_start(log_all_the_time, client);
    for (int i = 0; i < 300; i++)
        in_child(set_log_in_child, client);
    stop = 1;
    for (int i = 0; i < 3; i++)
        thread_join(threads[i]);
    cometd_client_free(client);
}

/* ---- a fork in a callback ---- */

static int in_callback_status[2];
static atomic_int messages, children;

static void use_all_in_a_callback(family *old)
{
    atomic_int calls = 0;
    use_old_handles(old);
    cometd_client *client = build(builder_new(old->server->url));
    CHECK_OK(cometd_client_set_callback(client, on_event, &calls, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(calls >= 3);
    cometd_client_free(client);
}

static void fork_in_callback(void *user, const cometd_event *event)
{
    if (cometd_event_type(event) != COMETD_EVENT_MESSAGE)
        return;
    if (children > 0)
        _exit(9); /* it is the parent's event */
    messages++;
    if (messages > 2)
        return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm((unsigned)limit_ms() / 1000);
        children++;
        if (messages == 2) /* the second one returns, with events behind it */
            return;
        use_all_in_a_callback(user);
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &in_callback_status[messages - 1], 0), ==, pid);
}

static void fail_when_called(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    if (children > 0)
        _exit(9);
}

TEST(contract_11_a_fork_in_a_callback)
{
    family it = {.server = server_start(NULL)};
    it.client = build(builder_new(it.server->url));
    cometd_receiver *other;
    CHECK_OK(cometd_receiver_new(it.client, &it.receiver));
    CHECK_OK(cometd_receiver_new(it.client, &other));
    CHECK_OK(cometd_receiver_set_callback(other, fail_when_called, NULL, NULL));
    CHECK_OK(cometd_client_connect(it.client, NULL));
    wait_state(it.client, COMETD_STATE_CONNECTED);
    subscribed(it.client, "/a");
    CHECK_OK(cometd_client_set_callback(it.client, fork_in_callback, &it, NULL));
    server_do(it.server, "/publish?channel=/a&count=5");
    WAIT_FOR(messages == 5);
    CHECK_INT(in_callback_status[0], ==, 0);
    /* It has no thread left that could do anything, and ends. */
    CHECK_INT(in_callback_status[1], ==, 0);
    CHECK_INT(children, ==, 0);
    CHECK_OK(cometd_client_set_callback(it.client, NULL, NULL, NULL));
    cometd_receiver_free(other);
    end_family(&it);
}

static atomic_int provided;

static cometd_status fork_in_provider(void *user, int32_t reason, cometd_token *token)
{
    (void)reason;
    provided++;
    fflush(stdout);
    forked = fork();
    if (forked == 0)
        alarm((unsigned)limit_ms() / 1000);
    else
        CHECK_INT(waitpid(forked, user, 0), ==, forked);
    return cometd_token_set_authorization(token, "Bearer good");
}

TEST(contract_11_a_child_that_returns_from_a_provider_ends)
{
    server *server = server_start("--token", "good", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    int status = -1;
    CHECK_OK(cometd_client_builder_set_token_provider(builder, fork_in_provider, &status, NULL));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(provided, ==, 1);
    CHECK_INT(status, ==, 0);
    client_end(client);
    server_stop(server);
}
