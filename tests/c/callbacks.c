/* Callbacks. */
#include "test.h"

/* What a callback of the tests has seen. */
typedef struct record {
    atomic_int inside, most, calls, messages, closed, freed, armed, early;
    atomic_long next;
    cometd_client *client;
} record;

static void count_freed(void *user)
{
    record *it = user;
    CHECK_INT(it->inside, ==, 0);
    it->freed++;
}

static void note(void *user, const cometd_event *event)
{
    record *it = user;
    int inside = ++it->inside;
    if (inside > it->most)
        it->most = inside;
    if (it->freed || it->closed)
        FAIL("a call after the end");
    it->calls++;
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        CHECK_INT(message_number(event), ==, it->next);
        it->next++;
        it->messages++;
        break;
    case COMETD_EVENT_CLOSED:
        it->closed++;
        break;
    }
    it->inside--;
}

TEST(contract_02_in_order_and_one_at_a_time_170_207)
{
    enum { CLIENTS = 8, COUNT = 1000 };
    static record records[CLIENTS];
    server *server = server_start(NULL);
    for (int i = 0; i < CLIENTS; i++) {
        records[i].client = build(builder_new(server->url));
        CHECK_OK(cometd_client_set_callback(records[i].client, note, &records[i], count_freed));
        subscribe(records[i].client, "/a");
        CHECK_OK(cometd_client_connect(records[i].client, NULL));
    }
    WAIT_FOR(server_stat(server, "subscribes") == CLIENTS);
    server_do(server, "/publish?channel=/a&count=%d", COUNT);
    for (int i = 0; i < CLIENTS; i++)
        WAIT_FOR(records[i].messages == COUNT);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_OK(cometd_client_disconnect(records[i].client, limit_ms(), NULL));
        WAIT_FOR(records[i].closed == 1);
        CHECK_INT(records[i].most, ==, 1);
        CHECK_INT(records[i].freed, ==, 0);
        cometd_client_free(records[i].client);
        WAIT_FOR(records[i].freed == 1);
    }
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

static void not_early(void *user, const cometd_event *event)
{
    record *it = user;
    (void)event;
    /* The thread that installs it may be a step behind; it never comes when its call waits for
     * this one. */
    for (long long until = now_ms() + limit_ms(); !it->armed && now_ms() < until;)
        test_yield();
    it->calls++;
}

TEST(contract_02_events_from_before_are_given_to_it)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribe(client, "/a");
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=100");
    cometd_event *event = next_event(client);
    CHECK_INT(cometd_event_state(event, NULL), ==, COMETD_STATE_HANDSHAKING);
    cometd_event_free(event);
    record record = {.client = client};
    CHECK_OK(cometd_client_set_callback(client, note, &record, NULL));
    WAIT_FOR(record.calls == 103); /* two states, SUBSCRIBED */
    CHECK_INT(record.messages, ==, 100);
    client_end(client);
    server_stop(server);
}

TEST(contract_02_not_before_set_callback_has_returned)
{
    peer *peer = peer_start(bayeux);
    /* One for each client: the last events of one may come after its end. */
    static record records[50];
    for (int i = 0; i < 50; i++) {
        cometd_client *client = client_connected(peer_url(peer)); /* three events wait */
        CHECK_OK(cometd_client_set_callback(client, not_early, &records[i], NULL));
        int calls = records[i].calls;
        records[i].armed = 1;
        CHECK_INT(calls, ==, 0);
        WAIT_FOR(records[i].calls >= 3);
        client_end(client);
    }
    peer_stop(peer);
}

TEST(contract_02_nothing_runs_that_was_not_installed)
{
    server *server = server_start(NULL);
    record record = {.client = NULL};
    cometd_client *client = build(builder_new(server->url));
    CHECK_OK(cometd_client_set_callback(client, note, &record, count_freed));
    CHECK_OK(cometd_client_set_callback(client, NULL, NULL, NULL));
    WAIT_FOR(record.freed == 1);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(record.calls, ==, 0);
    cometd_event_free(next_event(client)); /* polled again */
    client_end(client);
    CHECK_INT(record.freed, ==, 1);
    server_stop(server);
}

static atomic_int checked;

static void try_to_block(void *user, const cometd_event *event)
{
    cometd_client *client = *(cometd_client **)user;
    cometd_event *other, *others[2];
    cometd_error *error;
    uint64_t id;
    const char *channel = "/b";
    if (cometd_event_type(event) != COMETD_EVENT_MESSAGE || checked)
        return;
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CLOSED, -1), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CLOSED, 1), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CLOSED, 0), COMETD_NONE);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, 0), COMETD_OK);
    CHECK_STATUS(cometd_client_disconnect(client, 1000, &error), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_WOULD_DEADLOCK);
    cometd_error_free(error);
    CHECK_INT(cometd_client_poll_many(client, -1, others, 2), ==, 0);
    /* Another client as well: one thread of the library waits for another one. */
    cometd_client *second = build(builder_new("http://127.0.0.1:1/"));
    CHECK_STATUS(cometd_client_poll(second, 10, &other), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_poll(second, 0, &other), COMETD_NONE);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(second, &receiver));
    CHECK_STATUS(cometd_receiver_poll(receiver, -1, &other), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_receiver_poll(receiver, 0, &other), COMETD_NONE);
    cometd_receiver_free(receiver);
    cometd_client_free(second);
    /* What never blocks works. */
    CHECK_OK(cometd_client_subscribe(client, &channel, 1, &id, NULL));
    CHECK_OK(cometd_client_publish(client, "/b", "1", 1, &id, NULL));
    CHECK_OK(cometd_client_set_authorization(client, "Bearer x"));
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    /* The event of a callback is not the host's to free. */
    cometd_event_free((cometd_event *)(intptr_t)event);
    cometd_message_free((cometd_message *)(intptr_t)cometd_event_message(event));
    CHECK_HAS(cometd_message_data(cometd_event_message(event), NULL), "\"n\":");
    checked = 1;
}

TEST(contract_03_inside_a_callback_what_would_block_returns_at_once_207)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    subscribe(client, "/a");
    CHECK_OK(cometd_client_set_callback(client, try_to_block, &client, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a");
    WAIT_FOR(checked);
    WAIT_FOR(server_stat(server, "publishes") == 1);
    client_end(client);
    server_stop(server);
}

static void disconnect_inside(void *user, const cometd_event *event)
{
    record *it = user;
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE)
        CHECK_OK(cometd_client_disconnect(it->client, 0, NULL));
    it->closed += cometd_event_type(event) == COMETD_EVENT_CLOSED;
}

TEST(contract_03_disconnect_with_0_inside_a_callback_207)
{
    server *server = server_start(NULL);
    record record = {.client = build(builder_new(server->url))};
    subscribe(record.client, "/a");
    CHECK_OK(cometd_client_set_callback(record.client, disconnect_inside, &record, NULL));
    CHECK_OK(cometd_client_connect(record.client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a");
    WAIT_FOR(record.closed == 1);
    CHECK_INT(server_stat(server, "disconnects"), ==, 1);
    cometd_client_free(record.client);
    server_stop(server);
}

static cometd_message *kept;
static atomic_int keeping;

static void keep(void *user, const cometd_event *event)
{
    (void)user;
    if (cometd_event_message(event) && !keeping) {
        kept = cometd_message_retain(cometd_event_message(event));
        keeping = 1;
    }
}

TEST(contract_04_retain_keeps_a_message_of_a_callback)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    subscribe(client, "/a");
    CHECK_OK(cometd_client_set_callback(client, keep, NULL, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&size=100");
    WAIT_FOR(keeping);
    client_end(client);
    WAIT_FOR(count_threads() == 1);
    CHECK_HAS(cometd_message_data(kept, NULL), "{\"n\":0,\"pad\":\"xxx");
    cometd_message_free(kept);
    server_stop(server);
}

TEST(contract_05_free_user_once_however_it_ends)
{
    server *server = server_start(NULL);
    record records[6] = {{.client = NULL}};
    /* Replaced. */
    cometd_client *client = client_start(server->url);
    CHECK_OK(cometd_client_set_callback(client, note, &records[0], count_freed));
    CHECK_OK(cometd_client_set_callback(client, note, &records[1], count_freed));
    WAIT_FOR(records[0].freed == 1);
    /* Removed. */
    CHECK_OK(cometd_client_set_callback(client, NULL, NULL, NULL));
    WAIT_FOR(records[1].freed == 1);
    /* Given with no function. */
    CHECK_OK(cometd_client_set_callback(client, NULL, &records[2], count_freed));
    WAIT_FOR(records[2].freed == 1);
    /* The client is freed, after its end. */
    CHECK_OK(cometd_client_set_callback(client, note, &records[3], count_freed));
    client_end(client);
    WAIT_FOR(records[3].freed == 1);
    /* It is freed while it runs. */
    client = client_start(server->url);
    CHECK_OK(cometd_client_set_callback(client, note, &records[4], count_freed));
    cometd_client_free(client);
    WAIT_FOR(records[4].freed == 1);
    /* It never ran. */
    client = build(builder_new(server->url));
    CHECK_OK(cometd_client_set_callback(client, note, &records[5], count_freed));
    cometd_client_free(client);
    WAIT_FOR(records[5].freed == 1);
    WAIT_FOR(count_threads() == 1);
    for (int i = 0; i < 6; i++)
        CHECK_INT(records[i].freed, ==, 1);
    /* Not when it fails. */
    record record = {.client = NULL};
    CHECK_STATUS(cometd_client_set_callback(NULL, note, &record, count_freed),
                 COMETD_E_INVALID_ARGUMENT);
    CHECK_STATUS(cometd_receiver_set_callback(NULL, note, &record, count_freed),
                 COMETD_E_INVALID_ARGUMENT);
    CHECK_INT(record.freed, ==, 0);
    server_stop(server);
}

TEST(contract_05_free_user_of_a_receivers_callback)
{
    server *server = server_start(NULL);
    record records[3] = {{.client = NULL}};
    cometd_client *client = build(builder_new(server->url));
    cometd_receiver *receivers[3];
    for (int i = 0; i < 3; i++) {
        CHECK_OK(cometd_receiver_new(client, &receivers[i]));
        CHECK_OK(cometd_receiver_set_callback(receivers[i], note, &records[i], count_freed));
    }
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    cometd_receiver_free(receivers[0]);
    WAIT_FOR(records[0].freed == 1);
    CHECK_OK(cometd_receiver_set_callback(receivers[1], NULL, NULL, NULL));
    WAIT_FOR(records[1].freed == 1);
    client_end(client);
    WAIT_FOR(records[2].closed == 1);
    CHECK_INT(records[2].freed, ==, 0); /* it outlives the client */
    cometd_receiver_free(receivers[1]);
    cometd_receiver_free(receivers[2]);
    WAIT_FOR(records[2].freed == 1);
    CHECK_INT(records[0].freed + records[1].freed, ==, 2);
    server_stop(server);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void stay(void *user, const cometd_event *event)
{
    record *it = user;
    (void)event;
    it->inside++;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    it->inside--;
}

TEST(contract_05_free_user_waits_for_the_call_that_runs)
{
    server *server = server_start(NULL);
    record record = {.client = build(builder_new(server->url))};
    pthread_mutex_lock(&gate);
    CHECK_OK(cometd_client_set_callback(record.client, stay, &record, count_freed));
    CHECK_OK(cometd_client_connect(record.client, NULL));
    WAIT_FOR(record.inside == 1);
    cometd_client_free(record.client); /* does not wait for it */
    for (int i = 0; i < 50; i++)
        test_yield();
    CHECK_INT(record.freed, ==, 0);
    pthread_mutex_unlock(&gate);
    WAIT_FOR(record.freed == 1);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

TEST(contract_02_a_slow_callback_delays_only_its_own_client)
{
    enum { CLIENTS = 8, BLOCKING = 5 };
    static record records[CLIENTS];
    server *server = server_start(NULL);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < CLIENTS; i++) {
        records[i].client = build(builder_new(server->url));
        subscribe(records[i].client, "/a");
        CHECK_OK(cometd_client_set_callback(records[i].client, i < BLOCKING ? stay : note,
                                            &records[i], count_freed));
        CHECK_OK(cometd_client_connect(records[i].client, NULL));
    }
    WAIT_FOR(server_stat(server, "subscribes") == CLIENTS);
    for (int i = 0; i < BLOCKING; i++)
        WAIT_FOR(records[i].inside == 1);
    server_do(server, "/publish?channel=/a&count=500");
    for (int i = BLOCKING; i < CLIENTS; i++)
        WAIT_FOR(records[i].messages == 500);
    for (int i = 0; i < BLOCKING; i++)
        CHECK_INT(records[i].inside, ==, 1);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < CLIENTS; i++) {
        client_end(records[i].client);
        WAIT_FOR(records[i].freed == 1);
    }
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

static void free_others(void *user, const cometd_event *event)
{
    cometd_client **clients = user;
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE && clients[0])
        for (int i = 0; i < 3; i++) {
            cometd_client_free(clients[i]);
            clients[i] = NULL;
        }
}

TEST(contract_03_free_of_other_clients_in_a_callback)
{
    server *server = server_start(NULL);
    cometd_client *clients[4] = {NULL};
    record record = {.client = NULL};
    for (int i = 0; i < 3; i++)
        clients[i] = client_connected(server->url);
    CHECK_OK(cometd_client_set_callback(clients[1], note, &record, count_freed));
    cometd_client *client = build(builder_new(server->url));
    CHECK_OK(cometd_client_set_callback(client, free_others, clients, NULL));
    subscribe(client, "/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=3");
    WAIT_FOR(record.freed == 1);
    client_end(client);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

static void replace_itself(void *user, const cometd_event *event)
{
    record *it = user;
    (void)event;
    it->calls++;
    if (it->calls == 1)
        CHECK_OK(cometd_client_set_callback(it->client, note, it + 1, count_freed));
}

TEST(contract_03_a_callback_replaces_itself)
{
    server *server = server_start(NULL);
    record records[2] = {{.client = build(builder_new(server->url))}};
    CHECK_OK(
        cometd_client_set_callback(records[0].client, replace_itself, &records[0], count_freed));
    CHECK_OK(cometd_client_connect(records[0].client, NULL));
    WAIT_FOR(records[0].freed == 1);
    WAIT_FOR(records[1].calls >= 2);
    CHECK_INT(records[0].calls, ==, 1);
    client_end(records[0].client);
    WAIT_FOR(records[1].freed == 1);
    server_stop(server);
}

static void remove_itself_at_10(void *user, const cometd_event *event)
{
    record *it = user;
    cometd_event *next;
    it->inside++;
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
        CHECK_INT(message_number(event), ==, it->next);
        it->next++;
        if (it->next == 10) {
            CHECK_OK(cometd_client_set_callback(it->client, NULL, NULL, NULL));
            CHECK_INT(it->freed, ==, 0);
            /* What is left can be taken here already. */
            while (it->next < 15 && cometd_client_poll(it->client, 0, &next) == COMETD_OK) {
                CHECK_INT(message_number(next), ==, it->next);
                it->next++;
                cometd_event_free(next);
            }
        }
    }
    it->calls++;
    it->inside--;
}

TEST(contract_03_what_a_callback_leaves_when_it_removes_itself_goes_to_polls_in_order)
{
    server *server = server_start(NULL);
    record record = {.client = build(builder_new(server->url))};
    CHECK_OK(cometd_client_set_callback(record.client, remove_itself_at_10, &record, count_freed));
    subscribe(record.client, "/a");
    CHECK_OK(cometd_client_connect(record.client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=100");
    WAIT_FOR(record.freed == 1);
    int calls = record.calls;
    while (record.next < 100) {
        cometd_event *event = next_event(record.client);
        CHECK_INT(message_number(event), ==, record.next);
        record.next++;
        cometd_event_free(event);
    }
    CHECK_INT(record.calls, ==, calls);
    client_end(record.client);
    server_stop(server);
}

static void free_own_client_at_10(void *user, const cometd_event *event)
{
    record *it = user;
    it->inside++;
    it->calls++;
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
        CHECK_INT(message_number(event), ==, it->next);
        it->next++;
        if (it->next == 10)
            cometd_client_free(it->client);
        CHECK(it->next <= 10);
        /* The event is good until the call ends. */
        CHECK_INT(message_number(event), ==, it->next - 1);
    }
    it->inside--;
}

TEST(contract_03_a_callback_frees_its_own_client_in_the_middle)
{
    server *server = server_start(NULL);
    record record = {.client = build(builder_new(server->url))};
    CHECK_OK(
        cometd_client_set_callback(record.client, free_own_client_at_10, &record, count_freed));
    subscribe(record.client, "/a");
    CHECK_OK(cometd_client_connect(record.client, NULL));
    WAIT_FOR(server_stat(server, "subscribes") == 1);
    server_do(server, "/publish?channel=/a&count=100");
    WAIT_FOR(record.freed == 1);
    CHECK_INT(record.next, ==, 10);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

TEST(with_a_callback_there_is_no_poll_and_the_descriptor_is_silent)
{
    server *server = server_start(NULL);
    record record = {.client = build(builder_new(server->url))};
    cometd_event *event, *events[2];
    CHECK_OK(cometd_client_set_callback(record.client, note, &record, count_freed));
    CHECK_OK(cometd_client_connect(record.client, NULL));
    WAIT_FOR(record.calls >= 3);
    CHECK_STATUS(cometd_client_poll(record.client, -1, &event), COMETD_E_INVALID_STATE);
    CHECK(event == NULL);
    CHECK_INT(cometd_client_poll_many(record.client, -1, events, 2), ==, 0);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(record.client, &receiver));
    CHECK_STATUS(cometd_receiver_poll(receiver, 0, &event), COMETD_NONE);
    cometd_receiver_free(receiver);
    client_end(record.client);
    server_stop(server);
}

TEST(contract_09_closed_is_a_callbacks_last_event)
{
    server *server = server_start(NULL);
    record record = {.client = build(builder_new(server->url))};
    CHECK_OK(cometd_client_set_callback(record.client, note, &record, count_freed));
    CHECK_OK(cometd_client_connect(record.client, NULL));
    wait_state(record.client, COMETD_STATE_CONNECTED);
    for (int i = 0; i < 50; i++)
        publish(record.client, "/a", "1");
    CHECK_OK(cometd_client_disconnect(record.client, limit_ms(), NULL));
    WAIT_FOR(record.closed == 1);
    CHECK_INT(record.calls, ==, 50 + 6); /* five states */
    cometd_client_free(record.client);
    WAIT_FOR(record.freed == 1);
    server_stop(server);
}

static void *poll_until_it_may_not(void *argument)
{
    cometd_event *event;
    cometd_status status;
    while ((status = cometd_client_poll(argument, -1, &event)) == COMETD_OK)
        cometd_event_free(event);
    CHECK_STATUS(status, COMETD_E_INVALID_STATE);
    return NULL;
}

TEST(a_poll_that_waits_returns_when_a_callback_is_installed)
{
    server *server = server_start(NULL);
    record record = {.client = client_connected(server->url)};
    pthread_t thread = thread_start(poll_until_it_may_not, record.client);
    for (int i = 0; i < 50; i++)
        test_yield();
    CHECK_OK(cometd_client_set_callback(record.client, note, &record, NULL));
    thread_join(thread);
    client_end(record.client);
    server_stop(server);
}
