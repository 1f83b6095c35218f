/* Disconnect and free. */
#include "test.h"

#include <dirent.h>
#include <sched.h>

TEST(the_server_sees_a_clean_disconnect)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    char *sessions = server_ask(server, "/sessions");
    CHECK_STR(sessions, "1");
    free(sessions);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CLOSED);
    CHECK_INT(server_stat(server, "disconnects"), ==, 1);
    sessions = server_ask(server, "/sessions");
    CHECK_STR(sessions, "0");
    free(sessions);
    char *all = drain(client);
    CHECK_HAS(all, "STATE 6;STATE 7;CLOSED;");
    CHECK_HAS_NOT(all, "ERROR");
    free(all);
    cometd_client_free(client);
    server_stop(server);
}

TEST(what_was_accepted_before_is_still_sent)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    uint64_t last = 0;
    for (int i = 0; i < 100; i++)
        last = publish(client, "/a", "1");
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_INT(server_stat(server, "publishes"), ==, 100);
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", last));
    free(drain(client));
    cometd_client_free(client);
    server_stop(server);
}

TEST(with_0_it_returns_at_once_and_goes_on_in_the_background)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    wait_state(client, COMETD_STATE_CLOSED);
    CHECK_INT(server_stat(server, "disconnects"), ==, 1);
    free(drain(client));
    cometd_client_free(client);
    server_stop(server);
}

static void never_answer_disconnects(exchange *x)
{
    if (is_on(x, "/meta/disconnect"))
        await_hang_up(x);
    else
        bayeux(x);
}

TEST(the_time_limit_holds_though_the_server_never_answers)
{
    peer *peer = peer_start(never_answer_disconnects);
    cometd_client *client = client_connected(peer_url(peer));
    cometd_error *error;
    long long start = now_ms();
    CHECK_STATUS(cometd_client_disconnect(client, 300, &error), COMETD_E_TIMEOUT);
    long long took = now_ms() - start;
    CHECK_INT(took, >=, 290);
    CHECK_INT(took, <, limit_ms() / 3);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_TIMEOUT);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_DISCONNECT);
    CHECK_HAS(cometd_error_message(error), "did not answer in time");
    cometd_error_free(error);
    wait_state(client, COMETD_STATE_CLOSED);
    char *all = drain(client);
    CHECK_HAS(all, "STATE 7;CLOSED;");
    free(all);
    cometd_client_free(client);
    peer_stop(peer);
}

static void answer_nothing(exchange *x)
{
    await_hang_up(x);
}

TEST(before_a_session_there_is_nothing_to_tell_the_server)
{
    peer *peer = peer_start(answer_nothing);
    cometd_client *client = client_start(peer_url(peer));
    free(peer_request(peer, "/meta/handshake", 1));
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *all = drain(client);
    CHECK_STR(all, "STATE 1;STATE 7;CLOSED;");
    free(all);
    CHECK_INT(peer_count(peer, "POST "), ==, 1);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(a_client_that_never_connected_closes_at_once)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:1/"));
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CLOSED);
    char *all = drain(client);
    CHECK_STR(all, "STATE 7;CLOSED;");
    free(all);
    CHECK_INT(count_library_threads(), ==, 0);
    cometd_client_free(client);
}

TEST(events_that_arrive_meanwhile_are_delivered)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a&count=50");
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    for (int i = 0; i < 50; i++) {
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        CHECK_INT(message_number(event), ==, i);
        cometd_event_free(event);
    }
    free(drain(client));
    cometd_client_free(client);
    server_stop(server);
}

static void *disconnect_in_thread(void *argument)
{
    CHECK_OK(cometd_client_disconnect(argument, limit_ms(), NULL));
    return NULL;
}

TEST(several_threads_disconnect_at_once)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        threads[i] = thread_start(disconnect_in_thread, client);
    for (int i = 0; i < 8; i++)
        thread_join(threads[i]);
    CHECK_INT(server_stat(server, "disconnects"), ==, 1);
    char *all = drain(client);
    CHECK_HAS(all, "STATE 6;STATE 7;CLOSED;");
    free(all);
    cometd_client_free(client);
    server_stop(server);
}

TEST(free_aborts_without_a_word)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    publish(client, "/a", "1");
    cometd_client_free(client);
    WAIT_FOR(count_library_threads() == 0);
    CHECK_INT(server_stat(server, "disconnects"), ==, 0);
    server_stop(server);
}

#ifndef _WIN32 /* /proc tells who sleeps elsewhere */

static void *poll_until_the_end(void *argument)
{
    pthread_setname_np(pthread_self(), "waiter");
    cometd_event *event;
    cometd_status status;
    while ((status = cometd_client_poll(argument, -1, &event)) == COMETD_OK)
        cometd_event_free(event);
    CHECK_STATUS(status, COMETD_CLOSED);
    return NULL;
}

static void *wait_until_the_end(void *argument)
{
    pthread_setname_np(pthread_self(), "waiter");
    cometd_status status = cometd_client_wait(argument, COMETD_STATE_UNCONNECTED, -1);
    CHECK_STATUS(status, COMETD_CLOSED);
    return NULL;
}

static void *poll_many_until_the_end(void *argument)
{
    pthread_setname_np(pthread_self(), "waiter");
    cometd_event *events[4];
    size_t count;
    while ((count = cometd_client_poll_many(argument, -1, events, 4)) > 0)
        for (size_t i = 0; i < count; i++)
            cometd_event_free(events[i]);
    return NULL;
}

/* Whether so many threads that say that they wait sleep in a system call. */
static int all_waiters_sleep(int count)
{
    int sleeping = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *it; (it = readdir(tasks));) {
        char path[300], line[512];
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", it->d_name);
        FILE *stat = it->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!stat)
            continue;
        sleeping += fgets(line, sizeof line, stat) && strstr(line, "(waiter) S");
        fclose(stat);
    }
    closedir(tasks);
    return sleeping == count;
}

TEST(contract_01_free_from_any_thread_wakes_those_that_wait)
{
    server *server = server_start(NULL);
    for (int round = 0; round < 10; round++) {
        cometd_client *client = client_connected(server->url);
        pthread_t threads[] = {thread_start(poll_until_the_end, client),
                               thread_start(poll_until_the_end, client),
                               thread_start(poll_many_until_the_end, client),
                               thread_start(wait_until_the_end, client)};
        WAIT_FOR(all_waiters_sleep(4));
        cometd_client_free(client);
        for (int i = 0; i < 4; i++)
            thread_join(threads[i]);
    }
    WAIT_FOR(count_library_threads() == 0);
    server_stop(server);
}

static void *poll_receiver_until_the_end(void *argument)
{
    pthread_setname_np(pthread_self(), "waiter");
    cometd_event *event;
    cometd_status status;
    while ((status = cometd_receiver_poll(argument, -1, &event)) == COMETD_OK)
        cometd_event_free(event);
    CHECK_STATUS(status, COMETD_CLOSED);
    return NULL;
}

TEST(contract_01_free_of_a_receiver_wakes_those_that_wait)
{
    server *server = server_start("--timeout-ms", "60000", NULL);
    cometd_client *client = client_connected(server->url);
    for (int round = 0; round < 10; round++) {
        cometd_receiver *receiver;
        CHECK_OK(cometd_receiver_new(client, &receiver));
        pthread_t threads[] = {thread_start(poll_receiver_until_the_end, receiver),
                               thread_start(poll_receiver_until_the_end, receiver)};
        WAIT_FOR(all_waiters_sleep(2));
        cometd_receiver_free(receiver);
        thread_join(threads[0]);
        thread_join(threads[1]);
    }
    client_end(client);
    server_stop(server);
}

#endif

static void free_in_callback(void *user, const cometd_event *event)
{
    cometd_client **client = user;
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
        cometd_client_free(*client);
        *client = NULL;
    }
}

static atomic_int freed;

static void count_freed(void *user)
{
    (void)user;
    freed++;
}

TEST(contract_03_free_in_a_callback_of_its_own_207)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    subscribe(client, "/a");
    CHECK_OK(cometd_client_set_callback(client, free_in_callback, &client, count_freed));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=20");
    WAIT_FOR(freed == 1);
    CHECK(client == NULL);
    WAIT_FOR(count_library_threads() == 0);
    CHECK_INT(server_stat(server, "disconnects"), ==, 0);
    server_stop(server);
}

TEST(free_while_it_is_in_any_state)
{
    server *server = server_start(NULL);
    for (int i = 0; i < 100; i++) {
        cometd_client *client = client_start(server->url);
        subscribe(client, "/a");
        for (int k = 0; k < i % 10; k++)
            sched_yield();
        if (i % 3 == 0)
            CHECK_OK(cometd_client_disconnect(client, 0, NULL));
        cometd_client_free(client);
    }
    WAIT_FOR(count_library_threads() == 0);
    server_stop(server);
}

static void never_answer_publishes(exchange *x)
{
    if (is_on(x, "/slow"))
        await_hang_up(x);
    else
        bayeux(x);
}

TEST(the_time_limit_holds_though_a_publish_is_not_answered)
{
    peer *peer = peer_start(never_answer_publishes);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id = publish(client, "/slow", "1");
    free(peer_request(peer, "\"channel\":\"/slow\"", 1));
    uint64_t held = publish(client, "/after", "1");
    long long start = now_ms();
    CHECK_STATUS(cometd_client_disconnect(client, 300, NULL), COMETD_E_TIMEOUT);
    CHECK_INT(now_ms() - start, <, limit_ms() / 3);
    cometd_event_free(wait_event(client, COMETD_EVENT_ERROR, "/slow", id));
    cometd_event_free(wait_event(client, COMETD_EVENT_ERROR, "/after", held));
    free(drain(client));
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(the_time_limit_holds_though_nobody_reads)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 5, 1 << 20));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    subscribe(client, "/a");
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=100");
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_INT(server_stat(server, "disconnects"), ==, 1);
    for (int i = 0; i < 100; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    free(drain(client));
    cometd_client_free(client);
    server_stop(server);
}

TEST(by_option_a_server_that_ends_the_session_does_not_end_the_client_114)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_restart(builder, true));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    wait_state(client, COMETD_STATE_CONNECTED);
    server_do(server, "/disconnect");
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_SERVER_DISCONNECTED);
    CHECK(!cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_retry_in_ms(error), >, 0);
    cometd_event_free(event);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    /* With what it had subscribed to. */
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(client);
    server_stop(server);
}

TEST(within_a_limit_it_goes_on_in_the_background)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_STATUS(cometd_client_disconnect_within(client, 0, NULL), COMETD_E_OUT_OF_RANGE);
    CHECK_STATUS(cometd_client_disconnect_within(client, -1, NULL), COMETD_E_OUT_OF_RANGE);
    publish(client, "/a", "1");
    CHECK_OK(cometd_client_disconnect_within(client, limit_ms(), NULL));
    char *all = drain(client);
    CHECK_HAS(all, "PUBLISHED");
    CHECK_HAS(all, "STATE 6;");
    CHECK_HAS(all, "STATE 7;CLOSED;");
    CHECK_HAS_NOT(all, "ERROR");
    free(all);
    CHECK_INT(server_stat(server, "disconnects"), ==, 1);
    CHECK_OK(cometd_client_disconnect_within(client, 1, NULL));
    cometd_client_free(client);
    server_stop(server);
}

TEST(within_a_limit_events_tell_what_became_of_it)
{
    peer *peer = peer_start(never_answer_disconnects);
    cometd_client *client = client_connected(peer_url(peer));
    CHECK_OK(cometd_client_disconnect_within(client, 100, NULL));
    cometd_event *event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TIMEOUT);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_DISCONNECT);
    cometd_event_free(event);
    cometd_event_free(wait_event(client, COMETD_EVENT_CLOSED, NULL, 0));
    cometd_client_free(client);
    peer_stop(peer);

    server *server = server_start(NULL);
    client = client_connected(server->url);
    uint64_t id = publish(client, "/denied/a", "1");
    CHECK_OK(cometd_client_disconnect_within(client, limit_ms(), NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_ERROR, NULL, id));
    event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_UNDELIVERED);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "1 message that");
    CHECK_INT(cometd_event_id(event), ==, 0);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_DISCONNECT);
    cometd_event_free(event);
    cometd_event_free(wait_event(client, COMETD_EVENT_CLOSED, NULL, 0));
    cometd_client_free(client);
    server_stop(server);

    client = build(builder_new(vacant_url()));
    publish(client, "/a", "1");
    CHECK_OK(cometd_client_disconnect_within(client, limit_ms(), NULL));
    event = wait_event(client, COMETD_EVENT_ERROR, "/a", 0);
    cometd_event_free(event);
    event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_UNDELIVERED);
    cometd_event_free(event);
    cometd_client_free(client);
}

TEST(an_abort_leaves_the_client_and_tells_the_end)
{
    peer *peer = peer_start(never_answer_disconnects);
    cometd_client *client = client_connected(peer_url(peer));
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_OK(cometd_client_abort(client));
    CHECK_OK(cometd_client_wait(client, COMETD_STATE_CLOSED, limit_ms()));
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CLOSED);
    char *all = drain(client);
    CHECK_HAS(all, "STATE 7;CLOSED;");
    CHECK_HAS_NOT(all, "STATE 6");
    free(all);
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_CLOSED, NULL, 0));
    CHECK_OK(cometd_client_abort(client));
    cometd_receiver_free(receiver);
    cometd_client_free(client);
    CHECK_INT(peer_count(peer, "/meta/disconnect"), ==, 0);
    peer_stop(peer);

    client = build(builder_new(vacant_url()));
    uint64_t id = publish(client, "/a", "1");
    CHECK_OK(cometd_client_abort(client));
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_ABORTED);
    cometd_event_free(event);
    cometd_event_free(wait_event(client, COMETD_EVENT_CLOSED, NULL, 0));
    CHECK_STATUS(cometd_client_connect(client, NULL), COMETD_E_CLOSED);
    cometd_client_free(client);
}
