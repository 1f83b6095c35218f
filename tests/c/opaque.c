/* Values of the program's that calls take and their events give back. */
#include "test.h"

static int values[16];

/* The next event of the type must have this value. */
static void check_value(cometd_client *client, int32_t type, uint64_t id, int *value)
{
    cometd_event *event = wait_event(client, type, NULL, id);
    CHECK(cometd_event_opaque(event) == value);
    cometd_event_free(event);
}

/* Answers calls, but denies "/service/denied". */
static void serves(exchange *x)
{
    if (is_on(x, "/service/denied"))
        respond_reply(x, "\"successful\":false,\"error\":\"403::denied\"");
    bayeux(x);
}

TEST(each_call_finds_its_caller)
{
    static const char *const channels[] = {"/a", "/b"};
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    uint64_t id;
    CHECK_OK(cometd_client_subscribe_opaque(client, channels, 2, &values[0], &id, NULL));
    check_value(client, COMETD_EVENT_SUBSCRIBED, id, &values[0]);
    check_value(client, COMETD_EVENT_SUBSCRIBED, id, &values[0]);
    CHECK_OK(cometd_client_subscribe_one(client, "/denied/c", &values[1], &id, NULL));
    check_value(client, COMETD_EVENT_ERROR, id, &values[1]);
    CHECK_OK(cometd_client_publish_opaque(client, "/x", "1", 1, &values[2], &id, NULL));
    check_value(client, COMETD_EVENT_PUBLISHED, id, &values[2]);
    CHECK_OK(cometd_client_publish_opaque(client, "/denied/x", "1", 1, &values[3], &id, NULL));
    check_value(client, COMETD_EVENT_ERROR, id, &values[3]);
    CHECK_OK(cometd_client_publish_binary_opaque(client, "/x", "\0", 1, true, NULL, 0, &values[4], &id, NULL));
    check_value(client, COMETD_EVENT_PUBLISHED, id, &values[4]);
    CHECK_OK(cometd_client_publish_with_retries_opaque(client, "/x", "1", 1, -1, 3, &values[5], &id, NULL));
    check_value(client, COMETD_EVENT_PUBLISHED, id, &values[5]);
    CHECK_OK(cometd_client_unsubscribe_opaque(client, channels, 1, &values[6], &id, NULL));
    check_value(client, COMETD_EVENT_UNSUBSCRIBED, id, &values[6]);
    CHECK_OK(cometd_client_unsubscribe_one(client, "/b", &values[7], &id, NULL));
    check_value(client, COMETD_EVENT_UNSUBSCRIBED, id, &values[7]);
    /* A call without one. */
    id = publish(client, "/x", "1");
    check_value(client, COMETD_EVENT_PUBLISHED, id, NULL);
    client_end(client);
    server_stop(server);
}

TEST(the_answer_of_a_service_has_the_value_of_its_call)
{
    peer *peer = peer_start(serves);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id;
    CHECK_OK(cometd_client_remote_call_opaque(client, "/service/denied", "1", 1, limit_ms(), &values[0], &id, NULL));
    check_value(client, COMETD_EVENT_ERROR, id, &values[0]);
    client_end(client);
    peer_stop(peer);
}

/* What a value tells of its call, before the call has told its id. */
static atomic_int come[16];

static void count_values(void *user, const cometd_event *event)
{
    (void)user;
    int *value = cometd_event_opaque(event);
    if (value)
        atomic_fetch_add(&come[value - values], 1);
}

TEST(an_event_that_comes_before_the_call_returns_finds_its_caller)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_OK(cometd_client_set_callback(client, count_values, NULL, NULL));
    enum { ROUNDS = 500 };
    for (int i = 0; i < ROUNDS; i++)
        CHECK_OK(cometd_client_publish_opaque(client, "/x", "1", 1, &values[i % 16], NULL, NULL));
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    for (int i = 0; i < 16; i++)
        WAIT_FOR(atomic_load(&come[i]) == ROUNDS / 16 + (i < ROUNDS % 16));
    client_end(client);
    server_stop(server);
}

TEST(a_subscription_that_is_back_has_the_value_of_its_first_subscribe)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    uint64_t first, second;
    CHECK_OK(cometd_client_subscribe_one(client, "/a", &values[1], &first, NULL));
    check_value(client, COMETD_EVENT_SUBSCRIBED, first, &values[1]);
    CHECK_OK(cometd_client_subscribe_one(client, "/a", &values[2], &second, NULL));
    check_value(client, COMETD_EVENT_SUBSCRIBED, second, &values[2]);
    for (int round = 0; round < 3; round++) {
        server_do(server, "/forget");
        cometd_event *event = wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", first);
        CHECK(cometd_event_is_renewed(event) && cometd_event_opaque(event) == &values[1]);
        cometd_event_free(event);
    }
    CHECK_OK(cometd_client_unsubscribe_one(client, "/a", NULL, &second, NULL));
    check_value(client, COMETD_EVENT_UNSUBSCRIBED, second, NULL);
    /* Subscribed anew, it is the new one's. */
    CHECK_OK(cometd_client_subscribe_one(client, "/a", &values[3], &first, NULL));
    check_value(client, COMETD_EVENT_SUBSCRIBED, first, &values[3]);
    server_do(server, "/forget");
    cometd_event *event = wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", first);
    CHECK(cometd_event_is_renewed(event) && cometd_event_opaque(event) == &values[3]);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(calls_that_the_end_overtakes_have_their_values)
{
    cometd_client *client = build(builder_new(vacant_url()));
    uint64_t id;
    CHECK_OK(cometd_client_subscribe_one(client, "/a", &values[1], &id, NULL));
    CHECK_OK(cometd_client_batch_begin(client, NULL));
    CHECK_OK(cometd_client_publish_opaque(client, "/a", "1", 1, &values[2], NULL, NULL));
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    check_value(client, COMETD_EVENT_ERROR, id, &values[1]);
    check_value(client, COMETD_EVENT_ERROR, id + 1, &values[2]);
    /* And one that was refused has none. */
    CHECK_STATUS(cometd_client_publish_opaque(client, "/a", "1", 1, &values[3], &id, NULL), COMETD_E_CLOSED);
    CHECK_INT(id, ==, 0);
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        CHECK(cometd_event_opaque(event) == NULL);
        cometd_event_free(event);
    }
    cometd_client_free(client);
}
