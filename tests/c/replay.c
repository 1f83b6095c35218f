/* The replay extension: positions, and the store that the host keeps them in. */
#include "test.h"

#include <sched.h>

enum { MOST = 20000 };

/* A host's store, which writes down what is asked of it. */
typedef struct store {
    pthread_mutex_t lock;
    int64_t position; /* what load gives, if `loads` is COMETD_OK */
    cometd_status loads, saves;
    atomic_int loaded, saved, freed, inside, overlapped;
    char channel[64];         /* of the last call */
    pthread_t thread;         /* likewise */
    int64_t positions[MOST];  /* saved, in their order */
    void (*in_save)(struct store *store, int64_t position);
    cometd_client *client;
    cometd_event *event;
    atomic_char done[MOST]; /* by id: the host is done with that event */
} store;

static void note_call(store *it, const char *channel)
{
    snprintf(it->channel, sizeof it->channel, "%s", channel);
    it->thread = pthread_self();
}

static cometd_status load(void *user, const char *channel, int64_t *position)
{
    store *it = user;
    CHECK_INT(it->freed, ==, 0);
    note_call(it, channel);
    it->loaded++;
    if (it->loads == COMETD_OK && it->position != INT64_MIN)
        *position = it->position;
    return it->loads;
}

static cometd_status save(void *user, const char *channel, int64_t position)
{
    store *it = user;
    CHECK_INT(it->freed, ==, 0);
    if (++it->inside > 1)
        it->overlapped++;
    pthread_mutex_lock(&it->lock); /* held by nobody of the library */
    note_call(it, channel);
    CHECK_INT(it->saved, <, MOST);
    it->positions[it->saved] = position;
    it->saved++;
    pthread_mutex_unlock(&it->lock);
    if (it->in_save)
        it->in_save(it, position);
    it->inside--;
    return it->saves;
}

static void count_freed(void *user)
{
    store *it = user;
    CHECK_INT(it->inside, ==, 0);
    it->freed++;
}

static store *store_new(void)
{
    store *it = calloc(1, sizeof *it);
    pthread_mutex_init(&it->lock, NULL);
    it->loads = COMETD_NONE;
    return it;
}

/* When all that could call it is gone. */
static void store_free(store *it)
{
    WAIT_FOR(it->freed == 1);
    pthread_mutex_destroy(&it->lock);
    free(it);
}

static int64_t last_saved(store *it)
{
    return it->saved ? it->positions[it->saved - 1] : -1;
}

static cometd_client_builder *replaying(server *server, store *store)
{
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_ALL));
    if (store)
        CHECK_OK(cometd_client_builder_set_replay_store(builder, load, save, store, count_freed));
    return builder;
}

static cometd_client *replaying_client(server *server, store *store)
{
    cometd_client *client = build(replaying(server, store));
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

static int64_t replay_id(const cometd_event *event)
{
    int64_t id;
    CHECK(cometd_message_replay_id(cometd_event_message(event), &id));
    return id;
}

static cometd_event *message(cometd_client *client, int64_t id)
{
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/event/a", 0);
    CHECK_INT(replay_id(event), ==, id);
    return event;
}

TEST(load_is_asked_by_subscribe_and_save_told_by_free)
{
    server *server = server_start(NULL);
    store *store = store_new();
    store->loads = COMETD_OK;
    store->position = 3;
    server_do(server, "/publish?channel=/event/a&count=5");
    cometd_client *client = replaying_client(server, store);
    subscribe(client, "/event/a?filter=x");
    CHECK_INT(store->loaded, ==, 1);
    CHECK_STR(store->channel, "/event/a");
    CHECK(pthread_equal(store->thread, pthread_self()));
    cometd_event *fourth = message(client, 4), *fifth = message(client, 5);
    CHECK_INT(store->saved, ==, 0);
    memset(&store->thread, 0, sizeof store->thread);
    cometd_event_free(fourth);
    CHECK_INT(store->saved, ==, 1);
    CHECK_INT(last_saved(store), ==, 4);
    CHECK_STR(store->channel, "/event/a");
    CHECK(pthread_equal(store->thread, pthread_self()));
    cometd_event_free(fifth);
    CHECK_INT(last_saved(store), ==, 5);
    /* It is known now; unsubscribed, it is not. */
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/event/a?filter=x",
                                 subscribe(client, "/event/a?filter=x")));
    CHECK_INT(store->loaded, ==, 1);
    const char *channel = "/event/a?filter=x";
    CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, NULL, NULL));
    store->position = 4;
    subscribe(client, "/event/a");
    CHECK_INT(store->loaded, ==, 2);
    cometd_event_free(message(client, 5));
    client_end(client);
    server_stop(server);
    store_free(store);
}

TEST(without_a_stored_position_it_starts_where_all_start)
{
    server *server = server_start(NULL);
    store *store = store_new();
    server_do(server, "/publish?channel=/event/a&count=2");
    cometd_client *client = replaying_client(server, store);
    const char *channels[] = {"/event/a", "/event/b", "/event/*", "/event/a?x"};
    CHECK_OK(cometd_client_subscribe(client, channels, 4, NULL, NULL));
    CHECK_INT(store->loaded, ==, 2); /* one channel twice, and a pattern has none */
    cometd_event_free(message(client, 1));
    client_end(client);
    server_stop(server);
    store_free(store);
}

TEST(a_failing_load_fails_the_subscribe_and_nothing_is_sent)
{
    server *server = server_start(NULL);
    store *store = store_new();
    cometd_client *client = client_connected(server->url);
    client_end(client);
    client = replaying_client(server, store);
    wait_state(client, COMETD_STATE_CONNECTED);
    const struct {
        cometd_status returned, expected;
    } cases[] = {
        {COMETD_E_SYSTEM, COMETD_E_SYSTEM},
        {COMETD_E_TIMEOUT, COMETD_E_TIMEOUT},
        {-999, -999},
        {COMETD_E_PANIC, COMETD_E_SYSTEM},
        {COMETD_CLOSED, COMETD_E_OUT_OF_RANGE},
        {COMETD_OK, COMETD_E_OUT_OF_RANGE},
    };
    store->position = INT64_MIN; /* with COMETD_OK nothing is written */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *channels[] = {"/b/*", "/event/a"};
        cometd_error *error;
        uint64_t id = 7;
        store->loads = cases[i].returned;
        CHECK_STATUS(cometd_client_subscribe(client, channels, 2, &id, &error), cases[i].expected);
        CHECK_INT(id, ==, 0);
        CHECK_INT(cometd_error_status(error), ==, cases[i].expected);
        CHECK_HAS(cometd_error_message(error), "load: ");
        CHECK_STR(cometd_error_channel(error), "/event/a");
        cometd_error_free(error);
    }
    store->loads = COMETD_OK;
    const int64_t bad[] = {-3, INT64_MIN + 1};
    for (size_t i = 0; i < 2; i++) {
        const char *channel = "/event/a";
        store->position = bad[i];
        CHECK_STATUS(cometd_client_subscribe(client, &channel, 1, NULL, NULL),
                     COMETD_E_OUT_OF_RANGE);
    }
    CHECK_INT(server_stat(server, "subscribes"), ==, 0);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    /* The next one asks again. */
    store->position = COMETD_REPLAY_NEW;
    subscribed(client, "/event/a");
    client_end(client);
    server_stop(server);
    store_free(store);
}

TEST(frees_out_of_order_never_pass_an_event_that_is_not_freed)
{
    server *server = server_start(NULL);
    store *store = store_new();
    server_do(server, "/publish?channel=/event/a&count=4");
    server_do(server, "/publish?channel=/event/b&count=1");
    cometd_client *client = replaying_client(server, store);
    subscribe(client, "/event/b");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/event/b", 0));
    CHECK_INT(store->saved, ==, 1);
    subscribe(client, "/event/a");
    cometd_event *events[5];
    for (int i = 1; i < 5; i++)
        events[i] = message(client, i);
    cometd_event_free(events[3]);
    cometd_event_free(events[2]);
    CHECK_INT(store->saved, ==, 1);
    cometd_event_free(events[1]);
    CHECK_INT(store->saved, ==, 2);
    CHECK_INT(last_saved(store), ==, 3);
    cometd_event_free(events[4]);
    CHECK_INT(last_saved(store), ==, 4);
    client_end(client);
    server_stop(server);
    store_free(store);
}

/* All events up to the saved one are done. */
static void check_all_done(store *it, int64_t position)
{
    for (int64_t id = 1; id <= position; id++)
        if (!it->done[id])
            FAIL("%lld was saved, and %lld was not done", (long long)position, (long long)id);
}

static void *free_in_odd_orders(void *argument)
{
    store *it = argument;
    cometd_event *events[7];
    size_t count;
    unsigned random = (unsigned)(uintptr_t)&count;
    while ((count = cometd_client_poll_many(it->client, -1, events, 7)) > 0) {
        for (size_t left = count; left > 0; left--) {
            size_t pick = (random = random * 1103515245 + 12345) / 65536 % left;
            if (cometd_event_type(events[pick]) == COMETD_EVENT_MESSAGE)
                it->done[replay_id(events[pick])] = 1;
            if (random & 0x100)
                sched_yield();
            cometd_event_free(events[pick]);
            events[pick] = events[left - 1];
        }
    }
    return NULL;
}

TEST(several_threads_save_in_order_and_one_at_a_time)
{
    enum { COUNT = 5000, THREADS = 4 };
    server *server = server_start("--retain", "5000", NULL);
    store *store = store_new();
    store->in_save = check_all_done;
    server_do(server, "/publish?channel=/event/a&count=%d", COUNT);
    store->client = replaying_client(server, store);
    subscribe(store->client, "/event/a");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = thread_start(free_in_odd_orders, store);
    WAIT_FOR(last_saved(store) == COUNT);
    CHECK_OK(cometd_client_disconnect(store->client, limit_ms(), NULL));
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    CHECK_INT(store->overlapped, ==, 0);
    for (int i = 1; i < store->saved; i++)
        CHECK_INT(store->positions[i], >, store->positions[i - 1]);
    cometd_client_free(store->client);
    server_stop(server);
    store_free(store);
}

static void in_callback(void *user, const cometd_event *event)
{
    store *it = user;
    if (cometd_event_type(event) != COMETD_EVENT_MESSAGE)
        return;
    /* Saved are those before. */
    CHECK_INT(last_saved(it) == -1 ? 0 : last_saved(it), ==, replay_id(event) - 1);
    it->thread = pthread_self();
    it->done[replay_id(event)] = 1;
}

static atomic_int in_call;

static void many_in_callback(void *user, const cometd_event *const *events, size_t count)
{
    store *it = user;
    int64_t before = last_saved(it);
    in_call = 1;
    for (size_t i = 0; i < count; i++) {
        if (cometd_event_type(events[i]) != COMETD_EVENT_MESSAGE)
            continue;
        it->thread = pthread_self();
        it->done[replay_id(events[i])] = 1;
    }
    CHECK_INT(last_saved(it), ==, before);
    in_call = 0;
}

static void behind_the_call(store *it, int64_t position)
{
    CHECK_INT(in_call, ==, 0);
    check_all_done(it, position);
    CHECK(pthread_equal(it->thread, pthread_self()));
}

static void on_the_callbacks_thread(store *it, int64_t position)
{
    check_all_done(it, position);
    CHECK(pthread_equal(it->thread, pthread_self()));
}

TEST(with_a_callback_of_many_events_save_comes_after_it_in_their_order)
{
    server *server = server_start(NULL);
    store *store = store_new();
    store->in_save = behind_the_call;
    server_do(server, "/publish?channel=/event/a&count=200");
    cometd_client *client = build(replaying(server, store));
    CHECK_OK(cometd_client_set_events_callback(client, many_in_callback, store, NULL));
    subscribe(client, "/event/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(last_saved(store) == 200);
    CHECK_INT(store->saved, ==, 200);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cometd_client_free(client);
    server_stop(server);
    store_free(store);
}

TEST(with_a_callback_save_comes_after_it_on_its_thread)
{
    server *server = server_start(NULL);
    store *store = store_new();
    store->in_save = on_the_callbacks_thread;
    server_do(server, "/publish?channel=/event/a&count=200");
    cometd_client *client = build(replaying(server, store));
    CHECK_OK(cometd_client_set_callback(client, in_callback, store, NULL));
    subscribe(client, "/event/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(last_saved(store) == 200);
    CHECK_INT(store->saved, ==, 200);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cometd_client_free(client);
    server_stop(server);
    store_free(store);
}

static void free_client_in_callback(void *user, const cometd_event *event)
{
    store *it = user;
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE && it->client) {
        cometd_client_free(it->client);
        it->client = NULL;
    }
}

TEST(a_callback_that_frees_its_client_is_still_done_with_its_event)
{
    server *server = server_start(NULL);
    store *store = store_new();
    server_do(server, "/publish?channel=/event/a&count=3");
    store->client = build(replaying(server, store));
    cometd_client *client = store->client;
    subscribe(client, "/event/a");
    CHECK_OK(cometd_client_set_callback(client, free_client_in_callback, store, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(store->freed == 1);
    CHECK_INT(store->saved, ==, 1);
    CHECK_INT(last_saved(store), ==, 1);
    server_stop(server);
    store_free(store);
}

/* Frees its client inside load. */
static cometd_status free_client_in_load(void *user, const char *channel, int64_t *position)
{
    store *it = user;
    note_call(it, channel);
    it->loaded++;
    cometd_client *client = it->client;
    it->client = NULL;
    cometd_client_free(client);
    *position = 1;
    CHECK_INT(it->freed, ==, 0);
    return COMETD_OK;
}

TEST(contract_03_load_may_free_its_client)
{
    server *server = server_start(NULL);
    for (int connected = 0; connected < 2; connected++) {
        store *store = store_new();
        cometd_client_builder *builder = replaying(server, NULL);
        CHECK_OK(cometd_client_builder_set_replay_store(builder, free_client_in_load, save, store,
                                                        count_freed));
        store->client = build(builder);
        cometd_client *client = store->client;
        if (connected) {
            CHECK_OK(cometd_client_connect(client, NULL));
            wait_state(client, COMETD_STATE_CONNECTED);
        }
        static const char *const channels[] = {"/event/a"};
        cometd_error *error;
        cometd_client_subscribe(client, channels, 1, NULL, &error);
        cometd_error_free(error);
        CHECK_INT(store->loaded, ==, 1);
        WAIT_FOR(store->freed == 1);
        CHECK_INT(store->saved, ==, 0);
        store_free(store);
    }
    server_stop(server);
}

/* Frees what it was given as slowly as a host may. */
static atomic_int freeing, may_free;

static void free_slowly(void *user)
{
    freeing++;
    while (!may_free)
        test_yield();
    count_freed(user);
}

static cometd_status no_token(void *user, int32_t reason, cometd_token *token)
{
    (void)user;
    (void)reason;
    (void)token;
    return COMETD_E_CREDENTIALS;
}

static void *free_client(void *client)
{
    cometd_client_free(client);
    return NULL;
}

TEST(contract_02_freeing_slowly_delays_no_other_client)
{
    server *server = server_start(NULL);
    cometd_client *other = client_connected(server->url);
    store *store = store_new(), *token = store_new();
    cometd_client_builder *builder = replaying(server, NULL);
    CHECK_OK(cometd_client_builder_set_replay_store(builder, load, save, store, free_slowly));
    CHECK_OK(cometd_client_builder_set_token_provider(builder, no_token, token, free_slowly));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    /* The last owner may be who frees the client, and is then the one that waits. */
    pthread_t thread = thread_start(free_client, client);
    WAIT_FOR(freeing > 0);
    cometd_event_free(wait_event(other, COMETD_EVENT_PUBLISHED, "/x", publish(other, "/x", "1")));
    may_free = 1;
    thread_join(thread);
    store_free(store);
    store_free(token);
    client_end(other);
    WAIT_FOR(count_library_threads() == 0);
    server_stop(server);
}

TEST(an_event_that_outlives_its_client_is_saved_and_then_the_store_is_freed)
{
    server *server = server_start(NULL);
    store *store = store_new();
    server_do(server, "/publish?channel=/event/a&count=3");
    cometd_client *client = replaying_client(server, store);
    subscribe(client, "/event/a");
    cometd_event *first = message(client, 1), *second = message(client, 2);
    cometd_client_free(client); /* the third is never given out */
    WAIT_FOR(count_library_threads() == 0);
    CHECK_INT(store->freed, ==, 0);
    cometd_event_free(first);
    CHECK_INT(last_saved(store), ==, 1);
    CHECK_INT(store->freed, ==, 0);
    cometd_event_free(second);
    CHECK_INT(last_saved(store), ==, 2);
    CHECK_INT(store->freed, ==, 1);
    server_stop(server);
    store_free(store);
}

TEST(the_store_is_freed_once)
{
    store *stores[3] = {store_new(), store_new(), store_new()};
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_NEW));
    for (int i = 0; i < 3; i++)
        CHECK_OK(
            cometd_client_builder_set_replay_store(builder, load, save, stores[i], count_freed));
    CHECK_INT(stores[0]->freed, ==, 1);
    CHECK_INT(stores[1]->freed, ==, 1);
    cometd_client *clients[2];
    for (int i = 0; i < 2; i++)
        CHECK_OK(cometd_client_builder_build(builder, &clients[i], NULL));
    cometd_client_builder_free(builder);
    CHECK_INT(stores[2]->freed, ==, 0);
    cometd_client_free(clients[0]);
    CHECK_INT(stores[2]->freed, ==, 0);
    subscribe(clients[1], "/event/a");
    CHECK_INT(stores[2]->loaded, ==, 1);
    cometd_client_free(clients[1]);
    CHECK_INT(stores[2]->freed, ==, 1); /* no thread of the library had it */
    /* Nothing to call: nothing to keep. And each function alone keeps it. */
    builder = builder_new("http://127.0.0.1:1/");
    store *other = store_new();
    CHECK_OK(cometd_client_builder_set_replay_store(builder, load, NULL, other, count_freed));
    CHECK_INT(other->freed, ==, 0);
    CHECK_OK(cometd_client_builder_set_replay_store(builder, NULL, save, other, count_freed));
    CHECK_INT(other->freed, ==, 1);
    CHECK_OK(cometd_client_builder_set_replay_store(builder, NULL, NULL, other, count_freed));
    CHECK_INT(other->freed, ==, 3);
    CHECK_STATUS(cometd_client_builder_set_replay_store(NULL, load, save, other, count_freed),
                 COMETD_E_INVALID_ARGUMENT);
    CHECK_INT(other->freed, ==, 3);
    cometd_client_builder_free(builder);
    for (int i = 0; i < 3; i++)
        free(stores[i]);
    free(other);
}

static int failures(cometd_client *client)
{
    char statistics[4096];
    CHECK_OK(cometd_client_statistics(client, statistics, sizeof statistics, NULL));
    char *all = json_field(statistics, "failures"), *ours = json_field(all, "replay_store");
    int count = ours ? atoi(ours) : 0;
    free(all);
    free(ours);
    return count;
}

TEST(a_failing_save_is_counted_and_tried_again_with_the_next_position)
{
    server *server = server_start(NULL);
    store *store = store_new();
    store->saves = COMETD_E_SYSTEM;
    server_do(server, "/publish?channel=/event/a&count=3");
    cometd_client *client = replaying_client(server, store);
    subscribe(client, "/event/a");
    cometd_event_free(message(client, 1));
    cometd_event_free(message(client, 2));
    CHECK_INT(failures(client), ==, 2);
    store->saves = COMETD_OK;
    cometd_event_free(message(client, 3));
    CHECK_INT(failures(client), ==, 2);
    CHECK_INT(store->saved, ==, 3);
    CHECK_INT(last_saved(store), ==, 3);
    client_end(client);
    server_stop(server);
    store_free(store);
}

/* Without a function for saving the host says itself how far it is. */
TEST(manual_saving_does_not_pass_an_event_that_failed)
{
    server *server = server_start(NULL);
    store *store = store_new();
    server_do(server, "/publish?channel=/event/a&count=4");
    for (int attempt = 0; attempt < 2; attempt++) {
        cometd_client_builder *builder = builder_new(server->url);
        CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_ALL));
        CHECK_OK(cometd_client_builder_set_replay_store(builder, load, NULL, store, NULL));
        cometd_client *client = build(builder);
        CHECK_OK(cometd_client_connect(client, NULL));
        subscribe(client, "/event/a");
        for (int64_t id = attempt ? 3 : 1; id <= 4; id++) {
            cometd_event *event = message(client, id);
            int works = attempt || id < 3; /* the third one fails at first */
            if (works && replay_id(event) == (store->loads == COMETD_OK ? store->position : 0) + 1) {
                store->loads = COMETD_OK;
                store->position = replay_id(event);
            }
            cometd_event_free(event);
        }
        CHECK_INT(store->position, ==, attempt ? 4 : 2);
        client_end(client);
    }
    CHECK_INT(store->saved, ==, 0);
    server_stop(server);
    free(store);
}

TEST(a_retained_message_and_other_receivers_do_not_hold_the_position_back)
{
    server *server = server_start(NULL);
    store *store = store_new();
    server_do(server, "/publish?channel=/event/a&count=2");
    cometd_client *client = build(replaying(server, store));
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    subscribe(client, "/event/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *other = wait_receiver_event(receiver, COMETD_EVENT_MESSAGE, "/event/a", 0);
    cometd_event *event = message(client, 1);
    cometd_message *kept = cometd_message_retain(cometd_event_message(event));
    cometd_event_free(event);
    CHECK_INT(last_saved(store), ==, 1);
    cometd_event_free(other);
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_MESSAGE, "/event/a", 0));
    CHECK_INT(store->saved, ==, 1); /* those of other receivers say nothing */
    cometd_message_free(kept);
    cometd_event_free(message(client, 2));
    CHECK_INT(last_saved(store), ==, 2);
    cometd_receiver_free(receiver);
    client_end(client);
    server_stop(server);
    store_free(store);
}

TEST(dropped_events_do_not_hold_the_position_back)
{
    server *server = server_start(NULL);
    store *store = store_new();
    cometd_client_builder *builder = replaying(server, store);
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 2, 1000000));
    CHECK_OK(cometd_client_builder_set_overflow(builder, COMETD_OVERFLOW_DROP_OLDEST));
    server_do(server, "/publish?channel=/event/a&count=10");
    cometd_client *client = build(builder);
    subscribe(client, "/event/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *dropped = wait_event(client, COMETD_EVENT_DROPPED, NULL, 0);
    CHECK_INT(cometd_event_dropped(dropped), ==, 8);
    cometd_event_free(message(client, 9));
    CHECK_INT(last_saved(store), ==, 9);
    cometd_event_free(dropped);
    cometd_event_free(message(client, 10));
    client_end(client);
    server_stop(server);
    store_free(store);
}

static void call_the_library(store *it, int64_t position)
{
    cometd_event *event = it->event, *none;
    if (!event)
        return;
    it->event = NULL;
    CHECK_STATUS(cometd_client_poll(it->client, -1, &none), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_disconnect(it->client, 1000, NULL), COMETD_E_WOULD_DEADLOCK);
    CHECK_OK(cometd_client_set_replay_position(it->client, "/event/b", position, NULL));
    publish(it->client, "/event/b", "1");
    int saved = it->saved;
    cometd_event_free(event); /* saved when this save is over */
    CHECK_INT(it->saved, ==, saved);
    cometd_client_free(it->client);
}

TEST(save_may_call_what_does_not_block_and_free_everything)
{
    server *server = server_start(NULL);
    store *store = store_new();
    store->in_save = call_the_library;
    server_do(server, "/publish?channel=/event/a&count=2");
    store->client = replaying_client(server, store);
    subscribe(store->client, "/event/a");
    cometd_event *first = message(store->client, 1);
    store->event = message(store->client, 2);
    cometd_event_free(first);
    CHECK_INT(store->saved, ==, 2);
    CHECK_INT(last_saved(store), ==, 2);
    CHECK_INT(store->overlapped, ==, 0);
    server_stop(server);
    store_free(store);
}

TEST(a_position_that_the_server_does_not_have_falls_back)
{
    server *server = server_start("--retain", "3", NULL);
    server_do(server, "/publish?channel=/event/a&count=10");
    const int64_t fallbacks[] = {COMETD_REPLAY_ALL, COMETD_REPLAY_NEW, COMETD_REPLAY_FAIL};
    for (int i = 0; i < 3; i++) {
        cometd_client_builder *builder = replaying(server, NULL);
        CHECK_OK(cometd_client_builder_set_replay_fallback(builder, fallbacks[i]));
        CHECK_OK(cometd_client_builder_set_replay_position(builder, "/event/a?x", 2));
        cometd_client *client = build(builder);
        CHECK_OK(cometd_client_connect(client, NULL));
        uint64_t id = subscribe(client, "/event/a");
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_INT(cometd_error_status(error), ==, COMETD_E_REFUSED);
        CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_SUBSCRIBE);
        CHECK(!cometd_error_is_fatal(error));
        CHECK_STR(cometd_event_channel(event), "/event/a");
        int32_t code;
        CHECK_HAS(cometd_error_bayeux(error, &code), "The replayId {2} you provided was invalid.");
        CHECK_INT(code, ==, 400);
        if (fallbacks[i] == COMETD_REPLAY_FAIL) {
            CHECK_INT(cometd_event_id(event), ==, id);
        } else {
            CHECK_INT(cometd_event_id(event), ==, 0);
            CHECK_INT(cometd_error_retry_in_ms(error), ==, 0);
        }
        cometd_event_free(event);
        /* The reply to the subscribe and the events come on two connections. */
        int to_come = fallbacks[i] == COMETD_REPLAY_ALL ? 4 : fallbacks[i] == COMETD_REPLAY_NEW;
        for (int64_t next = 8; to_come > 0; cometd_event_free(event)) {
            event = next_event(client);
            if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) {
                CHECK_INT(cometd_event_id(event), ==, id);
                to_come--;
            } else if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
                CHECK_INT(replay_id(event), ==, next);
                next++;
                to_come--;
            } else {
                CHECK_INT(cometd_event_type(event), ==, COMETD_EVENT_STATE);
            }
        }
        if (fallbacks[i] == COMETD_REPLAY_NEW) {
            server_do(server, "/publish?channel=/event/a");
            cometd_event_free(message(client, 11));
        }
        client_end(client);
    }
    server_stop(server);
}

TEST(a_lost_session_loses_and_repeats_nothing)
{
    server *server = server_start(NULL);
    store *store = store_new();
    cometd_client *client = replaying_client(server, store);
    subscribed(client, "/event/a");
    /* Not more than 12 handshakes are made in a minute. */
    for (int64_t id = 1; id <= 24; id++) {
        if (id % 3 == 1) {
            server_do(server, "/publish?channel=/event/a&count=1");
            server_do(server, "/forget");
            server_do(server, "/publish?channel=/event/a&count=2");
        }
        cometd_event_free(message(client, id));
    }
    CHECK_INT(last_saved(store), ==, 24);
    client_end(client);
    server_stop(server);
    store_free(store);
}

TEST(the_next_subscribe_starts_where_the_host_says)
{
    server *server = server_start(NULL);
    server_do(server, "/publish?channel=/event/a&count=5");
    cometd_client *client = replaying_client(server, NULL);
    CHECK_OK(cometd_client_set_replay_position(client, "/event/a", 4, NULL));
    subscribe(client, "/event/a");
    cometd_event_free(message(client, 5));
    CHECK_OK(cometd_client_set_replay_position(client, "/event/a?any", 2, NULL));
    subscribe(client, "/event/a");
    for (int id = 3; id <= 5; id++)
        cometd_event_free(message(client, id));
    client_end(client);
    server_stop(server);
}

TEST(a_server_without_replay_is_told_of)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_replay(builder, COMETD_REPLAY_NEW));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_INT(cometd_error_status(error), ==, COMETD_E_NEGOTIATION);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_HANDSHAKE);
    CHECK(!cometd_error_is_fatal(error));
    CHECK_HAS(cometd_error_message(error), "replay");
    cometd_event_free(event);
    subscribed(client, "/event/a");
    char *request = peer_request(peer, "\"/meta/subscribe\"", 1);
    CHECK_HAS_NOT(request, "ext");
    free(request);
    client_end(client);
    peer_stop(peer);
}

TEST(ids_of_messages)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    const struct {
        const char *data;
        int64_t id; /* -1: none */
    } cases[] = {
        {"{\"schema\":\"x\",\"payload\":{\"event\":7},\"event\":{\"replayId\":5}}", 5},
        {"{\"event\":{\"replayId\":\"9223372036854775807\"}}", INT64_MAX},
        {"{\"event\":{\"replayId\":0}}", 0},
        {"{\"event\":{\"replayId\":-2}}", -1},
        {"{\"event\":{\"replayId\":9223372036854775808}}", -1},
        {"{\"event\":{}}", -1},
        {"{\"replayId\":5}", -1},
        {"[]", -1},
        {"null", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *pushed = text("{\"channel\":\"/a\",\"data\":%s}", cases[i].data);
        peer_push(peer, pushed);
        free(pushed);
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        const cometd_message *message = cometd_event_message(event);
        int64_t id = 7;
        CHECK_INT(cometd_message_replay_id(message, &id), ==, cases[i].id >= 0);
        CHECK_INT(id, ==, cases[i].id >= 0 ? cases[i].id : 0);
        CHECK_INT(cometd_message_replay_id(message, NULL), ==, cases[i].id >= 0);
        cometd_event_free(event);
    }
    client_end(client);
    peer_stop(peer);
}

TEST(arguments)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    const int64_t bad[] = {-3, -4, INT64_MIN};
    const int64_t good[] = {COMETD_REPLAY_NEW, COMETD_REPLAY_ALL, 0, 7, INT64_MAX};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(cometd_client_builder_set_replay(builder, bad[i]), COMETD_E_OUT_OF_RANGE);
        CHECK_STATUS(cometd_client_builder_set_replay_position(builder, "/a", bad[i]),
                     COMETD_E_OUT_OF_RANGE);
    }
    CHECK_STATUS(cometd_client_builder_set_replay_fallback(builder, -4), COMETD_E_OUT_OF_RANGE);
    CHECK_STATUS(cometd_client_builder_set_replay_fallback(builder, 0), COMETD_E_OUT_OF_RANGE);
    /* Without set_replay the client has no positions. */
    cometd_client *client;
    cometd_error *error;
    CHECK_OK(cometd_client_builder_clear_error(builder));
    CHECK_OK(cometd_client_builder_build(builder, &client, NULL));
    CHECK_STATUS(cometd_client_set_replay_position(client, "/a", 1, &error),
                 COMETD_E_INVALID_STATE);
    CHECK_HAS(cometd_error_message(error), "without replay");
    cometd_error_free(error);
    cometd_client_free(client);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(cometd_client_builder_set_replay(builder, good[i]));
        CHECK_OK(cometd_client_builder_set_replay_position(builder, "/a?b=c", good[i]));
    }
    const char *bad_channels[] = {"a", "", "/a/*", "/**", "/meta/x", "/a//b"};
    client = build(builder);
    for (int i = 0; i < 6; i++) {
        CHECK_STATUS(cometd_client_set_replay_position(client, bad_channels[i], 1, NULL),
                     COMETD_E_INVALID_CHANNEL);
    }
    CHECK_STATUS(cometd_client_set_replay_position(client, "/a", -3, NULL), COMETD_E_OUT_OF_RANGE);
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    CHECK_STATUS(cometd_client_set_replay_position(client, "/a", 1, NULL), COMETD_E_CLOSED);
    cometd_client_free(client);
}
