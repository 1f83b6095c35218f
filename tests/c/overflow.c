/* Bounded queues: what happens when nobody reads. */
#include "test.h"

static cometd_client *start(server *server, int32_t policy, size_t events, size_t bytes)
{
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_overflow(builder, policy));
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, events, bytes));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    subscribed(client, "/a");
    WAIT_FOR(server_stat(server, "connects") >= 2);
    return client;
}

/* Publishes all numbers at once, and waits until the client has taken them in:
 * it has sent another connect. */
static void flood(server *server, int count, int size)
{
    int connects = server_stat(server, "connects");
    server_do(server, "/publish?channel=/a&count=%d&size=%d", count, size);
    WAIT_FOR(server_stat(server, "connects") > connects);
}

TEST(contract_08_block_drops_nothing)
{
    enum { BURSTS = 20, BURST = 100 };
    server *server = server_start("--max-interval-ms", "600000", NULL);
    cometd_client *client = start(server, COMETD_OVERFLOW_BLOCK, 50, 1 << 20);
    for (int i = 0; i < BURSTS; i++)
        server_do(server, "/publish?channel=/a&count=%d", BURST);
    for (int i = 0; i < BURSTS * BURST; i++) {
        cometd_event *event = next_event(client);
        char *what = describe(event);
        if (cometd_event_type(event) != COMETD_EVENT_MESSAGE)
            FAIL("after %d: %s", i, what);
        CHECK_INT(message_number(event), ==, i % BURST);
        free(what);
        cometd_event_free(event);
    }
    CHECK_INT(server_stat(server, "handshakes"), ==, 1);
    client_end(client);
    server_stop(server);
}

TEST(contract_08_block_waits_for_the_bytes_too)
{
    server *server = server_start("--max-interval-ms", "600000", NULL);
    cometd_client *client = start(server, COMETD_OVERFLOW_BLOCK, 100000, 5000);
    int connects = server_stat(server, "connects");
    server_do(server, "/publish?channel=/a&count=100&size=100");
    int fd = cometd_client_fd(client);
    CHECK_INT(fd, >=, 0);
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    cometd_event_free(event);
    for (int i = 0; i < 50; i++)
        test_yield();
    CHECK_INT(server_stat(server, "connects"), ==, connects);
    for (int i = 1; i < 100; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    WAIT_FOR(server_stat(server, "connects") > connects);
    client_end(client);
    server_stop(server);
}

/* What is in the queue: first and last number, how many, and how many were dropped. */
typedef struct taken {
    long first, last, messages, dropped, dropped_events, states;
    int dropped_first;
} taken;

static taken take_all(cometd_client *client)
{
    taken taken = {.first = -1, .last = -1};
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
            taken.last = message_number(event);
            if (taken.messages++ == 0)
                taken.first = taken.last;
        } else if (cometd_event_type(event) == COMETD_EVENT_DROPPED) {
            CHECK_INT(cometd_event_dropped(event), >=, 1);
            CHECK(cometd_event_message(event) == NULL && cometd_event_error(event) == NULL);
            if (taken.messages == 0)
                taken.dropped_first = 1;
            taken.dropped += (long)cometd_event_dropped(event);
            taken.dropped_events++;
        } else if (cometd_event_type(event) == COMETD_EVENT_STATE) {
            taken.states++;
        }
        cometd_event_free(event);
    }
    return taken;
}

TEST(contract_08_drop_oldest_keeps_the_newest_and_counts_exactly)
{
    server *server = server_start(NULL);
    cometd_client *client = start(server, COMETD_OVERFLOW_DROP_OLDEST, 50, 1 << 20);
    for (int round = 0; round < 3; round++) {
        flood(server, 1000, 0);
        taken taken = take_all(client);
        CHECK_INT(taken.messages, ==, 50);
        CHECK_INT(taken.first, ==, 950);
        CHECK_INT(taken.last, ==, 999);
        CHECK_INT(taken.dropped, ==, 950);
        CHECK_INT(taken.dropped_events, ==, 1);
        CHECK(taken.dropped_first); /* where they were missed */
    }
    client_end(client);
    server_stop(server);
}

TEST(contract_08_drop_newest_keeps_the_oldest_and_counts_exactly)
{
    server *server = server_start(NULL);
    cometd_client *client = start(server, COMETD_OVERFLOW_DROP_NEWEST, 50, 1 << 20);
    for (int round = 0; round < 3; round++) {
        flood(server, 1000, 0);
        taken taken = take_all(client);
        CHECK_INT(taken.messages, ==, 50);
        CHECK_INT(taken.first, ==, 0);
        CHECK_INT(taken.last, ==, 49);
        CHECK_INT(taken.dropped, ==, 950);
        CHECK_INT(taken.dropped_events, ==, 1);
        CHECK(!taken.dropped_first);
    }
    client_end(client);
    server_stop(server);
}

static void check_bytes(int32_t policy)
{
    server *server = server_start(NULL);
    cometd_client *client = start(server, policy, 100000, 10000);
    flood(server, 100, 1000);
    taken taken = take_all(client);
    CHECK_INT(taken.messages, >=, 1);
    CHECK_INT(taken.messages, <=, 10); /* each is more than 1000 bytes */
    CHECK_INT(taken.dropped, ==, 100 - taken.messages);
    client_end(client);
    server_stop(server);
}

TEST(contract_08_drop_oldest_is_bounded_in_bytes)
{
    check_bytes(COMETD_OVERFLOW_DROP_OLDEST);
}

TEST(contract_08_drop_newest_is_bounded_in_bytes)
{
    check_bytes(COMETD_OVERFLOW_DROP_NEWEST);
}

static void check_one_of_any_size(int32_t policy)
{
    server *server = server_start(NULL);
    cometd_client *client = start(server, policy, 10, 100);
    flood(server, 1, 10000);
    taken taken = take_all(client);
    CHECK_INT(taken.messages, ==, 1);
    CHECK_INT(taken.dropped, ==, 0);
    client_end(client);
    server_stop(server);
}

TEST(one_message_of_any_size_fits)
{
    check_one_of_any_size(COMETD_OVERFLOW_DROP_OLDEST);
    check_one_of_any_size(COMETD_OVERFLOW_DROP_NEWEST);
}

static void check_never_dropped(int32_t policy)
{
    server *server = server_start(NULL);
    cometd_client *client = start(server, policy, 2, 1 << 20);
    uint64_t ids[40];
    for (int i = 0; i < 40; i++) {
        ids[i] = publish(client, i % 2 ? "/a" : "/denied", "{\"n\":1}");
        if (i == 20)
            server_do(server, "/forget");
    }
    /* Half of them were refused, and nobody has read so. */
    CHECK_STATUS(cometd_client_disconnect(client, limit_ms(), NULL), COMETD_E_UNDELIVERED);
    int outcomes[40] = {0}, closed = 0, ended = 0;
    uint64_t dropped = 0;
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        uint64_t id = cometd_event_id(event);
        if (id >= ids[0] && id <= ids[39])
            outcomes[id - ids[0]]++;
        dropped += cometd_event_dropped(event);
        ended += cometd_event_state(event, NULL) == COMETD_STATE_CLOSED;
        closed += cometd_event_type(event) == COMETD_EVENT_CLOSED;
        cometd_event_free(event);
    }
    for (int i = 0; i < 40; i++)
        CHECK_INT(outcomes[i], ==, 1);
    CHECK_INT(closed, ==, 1);
    CHECK_INT(ended, ==, 1);
    cometd_client_free(client);
    server_stop(server);
}

TEST(contract_08_only_messages_are_ever_dropped)
{
    check_never_dropped(COMETD_OVERFLOW_DROP_OLDEST);
    check_never_dropped(COMETD_OVERFLOW_DROP_NEWEST);
}

TEST(each_receiver_has_a_queue_of_its_own)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_overflow(builder, COMETD_OVERFLOW_DROP_OLDEST));
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 10, 1 << 20));
    cometd_client *client = build(builder);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    subscribe(client, "/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    for (int i = 0; i < 20; i++) {
        server_do(server, "/publish?channel=/a");
        cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_MESSAGE, "/a", 0));
    }
    taken taken = take_all(client);
    CHECK_INT(taken.messages, ==, 10);
    CHECK_INT(taken.dropped, ==, 10);
    cometd_receiver_free(receiver);
    client_end(client);
    server_stop(server);
}
