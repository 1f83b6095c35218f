/* Threads that end in the middle: cancelled, or by pthread_exit. */
#include "test.h"

#include <sys/wait.h>

/* ---- pthread_cancel ---- */

static void *poll_for_ever(void *argument)
{
    cometd_event *event;
    cometd_status status;
    while ((status = cometd_client_poll(argument, -1, &event)) == COMETD_OK)
        cometd_event_free(event);
    CHECK_STATUS(status, COMETD_CLOSED);
    pthread_testcancel();
    return NULL;
}

static void *wait_for_ever(void *argument)
{
    CHECK_STATUS(cometd_client_wait(argument, COMETD_STATE_CLOSED, -1), COMETD_OK);
    pthread_testcancel();
    return NULL;
}

static void *use_all_the_time(void *argument)
{
    for (;;) {
        cometd_event *event;
        publish(argument, "/a", "1");
        if (cometd_client_poll(argument, 0, &event) == COMETD_OK)
            cometd_event_free(event);
        cometd_client *other = build(builder_new("http://127.0.0.1:9/cometd"));
        CHECK_INT(cometd_client_fd(other), >=, 0);
        cometd_client_free(other);
        pthread_testcancel();
    }
    return NULL;
}

static void cancelled(pthread_t thread)
{
    void *result;
    CHECK_INT(pthread_join(thread, &result), ==, 0);
    CHECK(result == PTHREAD_CANCELED);
}

TEST(limit_cancel_a_thread_in_the_library_is_cancelled_behind_it)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_INT(cometd_client_fd(client), >=, 0); /* that is looked at by read and write */
    for (int i = 0; i < 20; i++) {
        pthread_t thread = thread_start(use_all_the_time, client);
        for (int n = 0; n < i * 10; n++)
            test_yield();
        CHECK_INT(pthread_cancel(thread), ==, 0);
        cancelled(thread);
    }
    pthread_t poller = thread_start(poll_for_ever, client);
    pthread_t waiter = thread_start(wait_for_ever, client);
    CHECK_INT(pthread_cancel(poller), ==, 0);
    CHECK_INT(pthread_cancel(waiter), ==, 0);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cancelled(poller);
    cancelled(waiter);
    cometd_client_free(client);
    server_stop(server);
}

/* ---- pthread_exit ---- */

static atomic_int calls, lines, freed;

static void end_thread(void)
{
    pthread_exit(NULL);
}

static void exit_in_callback(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    calls++;
    end_thread();
}

static void count_call(void *user, const cometd_event *event)
{
    (void)event;
    ++*(atomic_int *)user;
}

static void exit_in_sink(void *user, int32_t level, const char *target, const char *line)
{
    (void)user, (void)level, (void)target, (void)line;
    lines++;
    end_thread();
}

static void exit_in_free(void *user)
{
    (void)user;
    freed++;
    end_thread();
}

static cometd_status exit_in_provider(void *user, int32_t reason, cometd_token *token)
{
    (void)user, (void)reason, (void)token;
    calls++;
    end_thread();
    return COMETD_OK;
}

static cometd_status exit_in_handshake(void *user, cometd_handshake *handshake)
{
    (void)user, (void)handshake;
    calls++;
    end_thread();
    return COMETD_OK;
}

static cometd_status exit_in_extension(void *user, cometd_extension_message *message)
{
    (void)user, (void)message;
    calls++;
    end_thread();
    return COMETD_OK;
}

static cometd_status exit_in_load(void *user, const char *channel, int64_t *position)
{
    (void)user, (void)channel, (void)position;
    calls++;
    end_thread();
    return COMETD_OK;
}

TEST(case_interpreter_exit_in_a_callback_and_its_free)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    cometd_receiver *receiver, *third;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_OK(cometd_receiver_new(client, &third));
    atomic_int others = 0;
    CHECK_OK(cometd_client_set_callback(client, exit_in_callback, NULL, exit_in_free));
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    WAIT_FOR(calls == 1);
    /* Neither it nor any other is called again; all else goes on. */
    CHECK_OK(cometd_receiver_set_callback(receiver, count_call, &others, NULL));
    subscribe(client, "/a");
    CHECK_OK(cometd_receiver_set_callback(receiver, NULL, NULL, NULL));
    cometd_event_free(wait_receiver_event(third, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    CHECK_INT(calls, ==, 1);
    CHECK_INT(others, ==, 0);
    cometd_client_free(client);
    WAIT_FOR(freed == 1);
    cometd_receiver_free(receiver);
    cometd_receiver_free(third);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

TEST(case_interpreter_exit_in_a_log_sink)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, exit_in_sink, NULL, exit_in_free));
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_INT(lines, ==, 1);
    CHECK_OK(cometd_log_set(COMETD_LOG_WARN, exit_in_sink, NULL, exit_in_free));
    CHECK_INT(freed, ==, 1);
    CHECK_STATUS(cometd_client_set_authorization(client, NULL), COMETD_E_INVALID_ARGUMENT);
    CHECK_INT(lines, ==, 1);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(freed, ==, 2);
    client_end(client);
    server_stop(server);
}

TEST(case_interpreter_exit_in_a_log_sink_on_a_thread_of_the_program)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:9/cometd"));
    CHECK_OK(cometd_log_set(COMETD_LOG_WARN, exit_in_sink, NULL, exit_in_free));
    CHECK_STATUS(cometd_client_set_authorization(client, NULL), COMETD_E_INVALID_ARGUMENT);
    CHECK_INT(lines, ==, 1);
    cometd_client_free(client);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(freed, ==, 1);
}

TEST(case_interpreter_exit_in_a_token_provider)
{
    server *server = server_start("--token", "good", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_token_provider(builder, exit_in_provider, NULL, exit_in_free));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    for (bool told = false; !told;) {
        cometd_event *event = wait_error(client);
        told = strstr(cometd_error_message(cometd_event_error(event)), "it ended its thread") != NULL;
        cometd_event_free(event);
    }
    cometd_client_free(client);
    WAIT_FOR(freed == 1);
    server_stop(server);
}

TEST(case_interpreter_exit_in_a_handshake_provider)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:9/cometd");
    CHECK_OK(
        cometd_client_builder_set_handshake_provider(builder, exit_in_handshake, NULL, exit_in_free));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "it ended its thread");
    cometd_event_free(event);
    cometd_client_free(client);
    WAIT_FOR(freed == 1);
    CHECK_INT(calls, ==, 1);
}

TEST(case_interpreter_exit_in_an_extension_the_message_goes_on)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_add_extension(builder, exit_in_extension, exit_in_extension, NULL,
                                                 exit_in_free));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(calls, ==, 1);
    client_end(client);
    WAIT_FOR(freed == 1);
    server_stop(server);
}

TEST(case_interpreter_exit_in_a_function_that_loads_a_position)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:9/cometd");
    CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_ALL));
    CHECK_OK(cometd_client_builder_set_replay_store(builder, exit_in_load, NULL, NULL, exit_in_free));
    cometd_client *client = build(builder);
    const char *channel = "/a";
    cometd_error *error;
    CHECK_STATUS(cometd_client_subscribe(client, &channel, 1, NULL, &error), COMETD_E_SYSTEM);
    CHECK_HAS(cometd_error_message(error), "it ended its thread");
    cometd_error_free(error);
    cometd_client_free(client);
    WAIT_FOR(freed == 1);
}

/* The process ends with its own status while all of that goes on. */
TEST(case_interpreter_exit_a_process_that_ends)
{
    server *server = server_start(NULL);
    for (int i = 0; i < 30; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, exit_in_sink, NULL, NULL));
            for (int n = 0; n < 4; n++) {
                cometd_client *client = build(builder_new(server->url));
                CHECK_OK(cometd_client_set_callback(client, exit_in_callback, NULL, NULL));
                CHECK_OK(cometd_client_connect(client, NULL));
            }
            /* Before it has begun, and when one of them has ended a thread. */
            WAIT_FOR(calls + lines >= i % 2);
            exit(7);
        }
        int status;
        CHECK_INT(waitpid(child, &status, 0), ==, child);
        CHECK(WIFEXITED(status));
        CHECK_INT(WEXITSTATUS(status), ==, 7);
    }
    server_stop(server);
}

/* ---- a callback whose thread is cancelled ---- */

static pthread_t callback_thread;
static atomic_int inside, go;

static void be_cancelled(void *user, const cometd_event *event)
{
    (void)event;
    callback_thread = pthread_self();
    inside = 1;
    while (!go)
        test_yield(); /* a cancellation point */
    pthread_testcancel();
    ++*(atomic_int *)user;
}

TEST(limit_cancel_the_thread_of_a_callback_lives_on)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    atomic_int finished = 0;
    CHECK_OK(cometd_client_set_callback(client, be_cancelled, &finished, exit_in_free));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(inside);
    CHECK_INT(pthread_cancel(callback_thread), ==, 0);
    go = 1;
    WAIT_FOR(finished >= 3);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    cometd_client_free(client);
    WAIT_FOR(freed == 1);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

static void cancel_itself(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    calls++;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cancel(pthread_self());
    pthread_testcancel();
}

/* As by pthread_exit. */
TEST(limit_cancel_a_callback_that_lets_itself_be_cancelled)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_OK(cometd_client_set_callback(client, cancel_itself, NULL, exit_in_free));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(calls == 1);
    subscribe(client, "/a");
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    CHECK_INT(calls, ==, 1);
    cometd_client_free(client);
    cometd_receiver_free(receiver);
    WAIT_FOR(freed == 1);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

/* ---- a callback that never returns ---- */

static atomic_int stuck;

static void never_return(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    stuck++;
    for (;;)
        pause();
}

TEST(a_callback_that_never_returns_is_its_own_clients_affair)
{
    enum { STUCK = 20 };
    server *server = server_start(NULL);
    cometd_client *clients[STUCK], *other = build(builder_new(server->url));
    cometd_receiver *receiver;
    atomic_int seen = 0;
    /* More than there are threads for callbacks. */
    for (int i = 0; i < STUCK; i++) {
        clients[i] = build(builder_new(server->url));
        CHECK_OK(cometd_client_set_callback(clients[i], never_return, NULL, exit_in_free));
        CHECK_OK(cometd_client_connect(clients[i], NULL));
    }
    WAIT_FOR(stuck == STUCK);
    CHECK_OK(cometd_client_set_callback(other, count_call, &seen, NULL));
    CHECK_OK(cometd_client_connect(other, NULL));
    WAIT_FOR(seen >= 3);

    /* It lives, and all else of it works. */
    wait_state(clients[0], COMETD_STATE_CONNECTED);
    CHECK_OK(cometd_receiver_new(clients[0], &receiver));
    subscribe(clients[0], "/a");
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    CHECK_OK(cometd_client_set_callback(clients[1], NULL, NULL, NULL));
    CHECK_OK(cometd_client_disconnect(clients[0], limit_ms(), NULL));
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_CLOSED, NULL, 0));
    cometd_receiver_free(receiver);
    for (int i = 0; i < STUCK; i++)
        cometd_client_free(clients[i]);
    CHECK_INT(freed, ==, 0); /* user is in use */
    int before = seen;
    publish(other, "/a", "1");
    WAIT_FOR(seen > before);
    client_end(other);
    server_stop(server);
}
