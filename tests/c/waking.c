/* A function that wakes who polls, and callbacks that get many events. */
#include "test.h"

/* Hands what one thread wakes to those that poll. */
typedef struct record {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    int tokens;
    atomic_int calls, freed, messages, closed, inside;
    atomic_long next;
    cometd_client *client;
} record;

static record *record_new(void)
{
    record *it = calloc(1, sizeof *it);
    CHECK(it != NULL);
    pthread_mutex_init(&it->lock, NULL);
    pthread_cond_init(&it->woken, NULL);
    return it;
}

static void count_freed(void *user)
{
    record *it = user;
    CHECK_INT(it->inside, ==, 0);
    it->freed++;
}

static void wake(void *user)
{
    record *it = user;
    CHECK_INT(it->freed, ==, 0);
    it->calls++;
    pthread_mutex_lock(&it->lock);
    it->tokens++;
    pthread_cond_broadcast(&it->woken);
    pthread_mutex_unlock(&it->lock);
}

static void await(record *it)
{
    pthread_mutex_lock(&it->lock);
    while (it->tokens == 0)
        pthread_cond_wait(&it->woken, &it->lock); /* a test that is lost here ends by its limit */
    it->tokens--;
    pthread_mutex_unlock(&it->lock);
}

static void *poll_when_woken(void *argument)
{
    record *it = argument;
    while (!it->closed) {
        await(it);
        cometd_event *event;
        while (cometd_client_poll(it->client, 0, &event) == COMETD_OK) {
            it->messages += cometd_event_type(event) == COMETD_EVENT_MESSAGE;
            it->closed += cometd_event_type(event) == COMETD_EVENT_CLOSED;
            cometd_event_free(event);
        }
    }
    wake(it); /* the next one */
    return NULL;
}

TEST(all_events_are_polled_by_who_is_woken_on_whatever_thread)
{
    enum { THREADS = 4, ROUNDS = 50, COUNT = 40 };
    server *server = server_start(NULL);
    record *it = record_new();
    it->client = build(builder_new(server->url));
    CHECK_OK(cometd_client_set_wake(it->client, wake, it, count_freed));
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = thread_start(poll_when_woken, it);
    subscribe(it->client, "/a");
    CHECK_OK(cometd_client_connect(it->client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    for (int i = 1; i <= ROUNDS; i++) {
        server_do(server, "/publish?channel=/a&count=%d", COUNT);
        if (i % 5 == 0)
            WAIT_FOR(it->messages == i * COUNT);
    }
    CHECK_OK(cometd_client_disconnect(it->client, limit_ms(), NULL));
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    CHECK_INT(it->closed, ==, 1);
    CHECK_INT(it->freed, ==, 0);
    cometd_client_free(it->client);
    WAIT_FOR(it->freed == 1);
    WAIT_FOR(count_threads() == 1);
    free(it);
    server_stop(server);
}

static void poll_all(cometd_client *client)
{
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK)
        cometd_event_free(event);
}

TEST(the_host_is_woken_once_and_again_when_it_has_polled_all)
{
    peer *peer = peer_start(bayeux);
    record *it = record_new();
    it->client = client_connected(peer_url(peer));
    free(peer_request(peer, "\"/meta/connect\"", 2)); /* behind the third state */
    cometd_receiver *other;
    CHECK_OK(cometd_receiver_new(it->client, &other));
    CHECK_OK(cometd_client_set_wake(it->client, wake, it, count_freed)); /* the states are there */
    await(it);
    for (int i = 1; i <= 3; i++) {
        poll_all(it->client);
        peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
        await(it);
        for (int left = 3; left > 0; left--) {
            peer_push(peer, "{\"channel\":\"/a\",\"data\":2}");
            cometd_event_free(wait_receiver_event(other, COMETD_EVENT_MESSAGE, NULL, 0));
        }
        CHECK_INT(it->calls, ==, 1 + i);
    }
    /* The descriptor works beside it. */
    CHECK_INT(cometd_client_fd(it->client), >=, 0);
    poll_all(it->client);
    CHECK_OK(cometd_client_disconnect(it->client, limit_ms(), NULL));
    await(it);
    poll_all(it->client);
    /* After the end it tells once more, to who comes too late. */
    record *late = record_new();
    CHECK_OK(cometd_client_set_wake(it->client, wake, late, NULL));
    WAIT_FOR(it->freed == 1);
    await(late);
    cometd_event *event;
    CHECK_STATUS(cometd_client_poll(it->client, 0, &event), COMETD_CLOSED);
    cometd_receiver_free(other);
    cometd_client_free(it->client);
    WAIT_FOR(count_library_threads() == 0);
    free(late);
    free(it);
    peer_stop(peer);
}

static void no_event(void *user, const cometd_event *event)
{
    (void)user, (void)event;
}

static void no_events(void *user, const cometd_event *const *events, size_t count)
{
    (void)user, (void)events, (void)count;
}

TEST(one_kind_is_installed_at_a_time)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:1/"));
    cometd_event *event;
    record *it = record_new();
    CHECK_OK(cometd_client_set_wake(client, wake, it, count_freed));
    CHECK_STATUS(cometd_client_set_callback(client, no_event, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_STATUS(cometd_client_set_events_callback(client, no_events, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_STATUS(cometd_client_poll(client, 0, &event), COMETD_NONE);
    CHECK_INT(it->freed, ==, 0);
    CHECK_OK(cometd_client_set_callback(client, NULL, NULL, NULL)); /* there is none of these */
    CHECK_STATUS(cometd_client_set_callback(client, no_event, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_OK(cometd_client_set_wake(client, wake, it, count_freed));
    WAIT_FOR(it->freed == 1);
    CHECK_OK(cometd_client_set_wake(client, NULL, NULL, NULL));
    WAIT_FOR(it->freed == 2);

    CHECK_OK(cometd_client_set_events_callback(client, no_events, it, count_freed));
    CHECK_STATUS(cometd_client_poll(client, 0, &event), COMETD_E_INVALID_STATE);
    CHECK_STATUS(cometd_client_set_wake(client, wake, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_STATUS(cometd_client_set_callback(client, no_event, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_OK(cometd_client_set_events_callback(client, NULL, NULL, NULL));
    WAIT_FOR(it->freed == 3);

    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_OK(cometd_receiver_set_callback(receiver, no_event, it, count_freed));
    CHECK_STATUS(cometd_receiver_set_wake(receiver, wake, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_STATUS(cometd_receiver_set_events_callback(receiver, no_events, it, count_freed), COMETD_E_INVALID_STATE);
    CHECK_OK(cometd_client_set_wake(client, wake, it, count_freed)); /* each receiver has its own */
    cometd_receiver_free(receiver);
    cometd_client_free(client);
    WAIT_FOR(it->freed == 5);
    CHECK_INT(it->calls, ==, 0);
    free(it);
}

static void poll_inside(void *user)
{
    record *it = user;
    cometd_event *event;
    CHECK_STATUS(cometd_client_poll(it->client, -1, &event), COMETD_E_WOULD_DEADLOCK);
    while (cometd_client_poll(it->client, 0, &event) == COMETD_OK) {
        it->messages += cometd_event_type(event) == COMETD_EVENT_MESSAGE;
        cometd_event_free(event);
    }
    if (it->messages > 0) {
        cometd_client_free(it->client);
        it->closed = 1;
    }
}

TEST(contract_03_what_is_woken_may_poll_and_free_its_client_inside)
{
    peer *peer = peer_start(bayeux);
    record *it = record_new();
    it->client = build(builder_new(peer_url(peer)));
    CHECK_OK(cometd_client_set_wake(it->client, poll_inside, it, count_freed));
    CHECK_OK(cometd_client_connect(it->client, NULL));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    WAIT_FOR(it->closed == 1 && it->freed == 1);
    free(it);
    peer_stop(peer);
}

#ifndef _WIN32 /* pthread_exit unwinds nothing there */
static void exit_in_wake(void *user)
{
    ((record *)user)->calls++;
    pthread_exit(NULL);
}

static void exit_in_events(void *user, const cometd_event *const *events, size_t count)
{
    (void)events, (void)count;
    exit_in_wake(user);
}

TEST(case_interpreter_exit_pthread_exit_ends_the_call_of_a_wake)
{
    peer *peer = peer_start(bayeux);
    record *it = record_new();
    it->client = build(builder_new(peer_url(peer)));
    CHECK_OK(cometd_client_set_wake(it->client, exit_in_wake, it, count_freed));
    CHECK_OK(cometd_client_connect(it->client, NULL));
    wait_event(it->client, COMETD_EVENT_STATE, NULL, 0);
    WAIT_FOR(it->calls == 1);
    client_end(it->client);
    WAIT_FOR(it->freed == 1);
    CHECK_INT(it->calls, ==, 1);
    peer_stop(peer);
}

TEST(case_interpreter_exit_pthread_exit_ends_the_call_with_many_events)
{
    peer *peer = peer_start(bayeux);
    record *it = record_new();
    it->client = build(builder_new(peer_url(peer)));
    CHECK_OK(cometd_client_set_events_callback(it->client, exit_in_events, it, count_freed));
    CHECK_OK(cometd_client_connect(it->client, NULL));
    WAIT_FOR(it->calls == 1);
    client_end(it->client);
    WAIT_FOR(it->freed == 1);
    CHECK_INT(it->calls, ==, 1);
    peer_stop(peer);
}

#endif

/* ---- many events at once ---- */

static void note(void *user, const cometd_event *const *events, size_t count)
{
    record *it = user;
    CHECK_INT(++it->inside, ==, 1);
    CHECK_INT(count, >=, 1);
    CHECK_INT(count, <=, 256);
    it->calls++;
    for (size_t i = 0; i < count; i++) {
        CHECK_INT(it->closed, ==, 0);
        cometd_event_free((cometd_event *)(intptr_t)events[i]); /* is the library's */
        if (cometd_event_type(events[i]) == COMETD_EVENT_MESSAGE) {
            CHECK_INT(message_number(events[i]), ==, it->next);
            it->next++;
            it->messages++;
        }
        it->closed += cometd_event_type(events[i]) == COMETD_EVENT_CLOSED;
    }
    it->inside--;
}

TEST(contract_02_events_come_many_at_once_in_order_and_one_call_at_a_time)
{
    enum { COUNT = 3000 };
    server *server = server_start(NULL);
    record *it = record_new();
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 100, 1 << 20)); /* it blocks now and then */
    it->client = build(builder);
    CHECK_OK(cometd_client_set_events_callback(it->client, note, it, count_freed));
    subscribe(it->client, "/a");
    CHECK_OK(cometd_client_connect(it->client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=%d", COUNT);
    WAIT_FOR(it->messages == COUNT);
    CHECK_INT(it->calls, <, COUNT / 2);
    CHECK_OK(cometd_client_disconnect(it->client, limit_ms(), NULL));
    WAIT_FOR(it->closed == 1);
    cometd_client_free(it->client);
    WAIT_FOR(it->freed == 1);
    WAIT_FOR(count_threads() == 1);
    free(it);
    server_stop(server);
}

static cometd_message *kept;

static void keep(void *user, const cometd_event *const *events, size_t count)
{
    record *it = user;
    cometd_event *event;
    CHECK_STATUS(cometd_client_disconnect(it->client, 1, NULL), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_poll(it->client, 0, &event), COMETD_E_INVALID_STATE);
    for (size_t i = 0; i < count && kept == NULL; i++)
        kept = cometd_message_retain(cometd_event_message(events[i]));
    if (kept != NULL) {
        cometd_client_free(it->client);
        it->client = NULL;
    }
}

TEST(contract_04_what_is_kept_of_many_outlives_the_call_and_the_client)
{
    peer *peer = peer_start(bayeux);
    record *it = record_new();
    cometd_client *client = it->client = build(builder_new(peer_url(peer)));
    CHECK_OK(cometd_client_set_events_callback(client, keep, it, count_freed));
    CHECK_OK(cometd_client_connect(client, NULL));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2}");
    WAIT_FOR(it->freed == 1);
    CHECK_STR(cometd_message_data(kept, NULL), "1");
    cometd_message_free(kept);
    free(it);
    peer_stop(peer);
}
