/* Publish. */
#include "test.h"

TEST(the_order_is_that_of_the_calls)
{
    enum { COUNT = 500 };
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    uint64_t ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char *json = text("{\"n\":%d}", i);
        ids[i] = publish(client, "/a", json);
        free(json);
    }
    int published = 0, received = 0;
    while (published < COUNT || received < COUNT) {
        cometd_event *event = next_event(client);
        if (cometd_event_type(event) == COMETD_EVENT_PUBLISHED) {
            CHECK_INT(cometd_event_id(event), ==, ids[published]);
            CHECK_STR(cometd_event_channel(event), "/a");
            published++;
        } else if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
            CHECK_INT(message_number(event), ==, received);
            received++;
        }
        cometd_event_free(event);
    }
    /* Those that wait at the same time share a request. */
    CHECK_INT(server_stat(server, "publishes"), ==, COUNT);
    CHECK_INT(server_stat(server, "requests"), <, COUNT);
    client_end(client);
    server_stop(server);
}

TEST(contract_06_the_outcome_is_one_event)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    uint64_t good = publish(client, "/a", "1"), bad = publish(client, "/denied/a", "2");
    cometd_event *event = wait_event(client, COMETD_EVENT_PUBLISHED, "/a", good);
    CHECK(cometd_event_error(event) == NULL && cometd_event_message(event) == NULL);
    cometd_event_free(event);
    event = wait_event(client, COMETD_EVENT_ERROR, "/denied/a", bad);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_REFUSED);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_PUBLISH);
    CHECK_STR(cometd_error_channel(error), "/denied/a");
    int32_t code;
    CHECK_HAS(cometd_error_bayeux(error, &code), "publish_denied");
    CHECK_INT(code, ==, 403);
    CHECK_INT(cometd_error_retry_in_ms(error), ==, -1);
    cometd_event_free(event);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *rest = drain(client);
    CHECK_HAS_NOT(rest, "PUBLISHED");
    CHECK_HAS_NOT(rest, "ERROR");
    free(rest);
    cometd_client_free(client);
    server_stop(server);
}

TEST(held_until_the_handshake_is_done)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    subscribe(client, "/a");
    uint64_t id = publish(client, "/a", "{\"n\":5}");
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    CHECK_INT(message_number(event), ==, 5);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(the_bytes_of_the_json_go_out_and_come_in_as_they_are)
{
    static const char *const data[] = {
        "{ \"a\" : 1.0e+2,\n\t\"b\":\"\\u00e9\\/\xc3\xa9\",\"a\":null }", "0.10", "-0", "1E400",
        "\"\"", "[ ]", "123456789012345678901234567890", "true", "\"\\ud83d\\ude00\""};
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        publish(client, "/a", data[i]);
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        size_t length = 0;
        CHECK_STR(cometd_message_data(cometd_event_message(event), &length), data[i]);
        CHECK_INT(length, ==, strlen(data[i]));
        cometd_event_free(event);
    }
    client_end(client);
    server_stop(server);
}

TEST(the_length_ends_the_json_not_a_nul)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    CHECK_OK(cometd_client_publish(client, "/a", "[1,2]garbage", 5, NULL, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", 0));
    CHECK_INT(peer_count(peer, "\"data\":[1,2]}"), ==, 1);
    CHECK_INT(peer_count(peer, "garbage"), ==, 0);
    client_end(client);
    peer_stop(peer);
}

static void lose_publishes(exchange *x)
{
    if (is_on(x, "/lost"))
        hang_up(x);
    else
        bayeux(x);
}

TEST(contract_06_nothing_is_resent)
{
    peer *peer = peer_start(lose_publishes);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t warm = publish(client, "/a", "1"); /* a connection to be kept alive */
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", warm));
    for (int i = 1; i <= 3; i++) {
        uint64_t id = publish(client, "/lost", "1");
        cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/lost", id);
        CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_CONNECTION_LOST);
        CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_PUBLISH);
        CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
        cometd_event_free(event);
        CHECK_INT(peer_count(peer, "\"channel\":\"/lost\""), ==, i);
    }
    uint64_t id = publish(client, "/a", "1");
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
    CHECK_INT(peer_count(peer, "\"channel\":\"/lost\""), ==, 3);
    client_end(client);
    peer_stop(peer);
}

static void never_answer_publishes(exchange *x)
{
    if (is_on(x, "/slow"))
        await_hang_up(x);
    else
        bayeux(x);
}

TEST(a_publish_that_is_not_answered_times_out)
{
    peer *peer = peer_start(never_answer_publishes);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 3000));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    uint64_t id = publish(client, "/slow", "1");
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/slow", id);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TIMEOUT);
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(too_many_that_wait_are_refused)
{
    peer *peer = peer_start(never_answer_publishes);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_commands_capacity(builder, 3));
    cometd_client *client = build(builder);
    static const char *const channels[] = {"/a", "/b"};
    uint64_t id;
    cometd_error *error;
    publish(client, "/a", "1");
    publish(client, "/a", "2");
    CHECK_STATUS(cometd_client_subscribe(client, channels, 2, &id, &error), COMETD_E_FULL);
    CHECK_INT(id, ==, 0);
    CHECK_HAS(cometd_error_message(error), "capacity of 3");
    cometd_error_free(error);
    publish(client, "/a", "3");
    CHECK_STATUS(cometd_client_publish(client, "/a", "4", 1, NULL, NULL), COMETD_E_FULL);
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int i = 0; i < 3; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", 0));
    publish(client, "/a", "5");
    client_end(client);
    peer_stop(peer);
}

TEST(large_data_goes_both_ways)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    char *json = repeated('x', 1 << 20);
    json[0] = json[(1 << 20) - 1] = '"';
    publish(client, "/a", json);
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    size_t length;
    CHECK(!strcmp(cometd_message_data(cometd_event_message(event), &length), json));
    CHECK_INT(length, ==, 1 << 20);
    cometd_event_free(event);
    free(json);
    client_end(client);
    server_stop(server);
}

TEST(an_echo_of_a_service_channel_comes_back)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    publish(client, "/service/echo", "{\"n\":9}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/service/echo", 0);
    CHECK_INT(message_number(event), ==, 9);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(what_a_server_would_not_take_is_refused_at_once_166)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_STATUS(cometd_client_builder_set_request_capacity(builder, 1023),
                 COMETD_E_OUT_OF_RANGE);
    CHECK_OK(cometd_client_builder_set_request_capacity(builder, 2048));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    char *large = repeated('x', 2048);
    char *json = text("\"%s\"", large);
    uint64_t id = 7;
    cometd_error *err = NULL;
    CHECK_STATUS(cometd_client_publish(client, "/a", json, strlen(json), &id, &err),
                 COMETD_E_TOO_LARGE);
    CHECK_INT(id, ==, 0);
    CHECK_HAS(cometd_error_message(err), "2048");
    CHECK_STR(cometd_error_channel(err), "/a");
    cometd_error_free(err);
    CHECK_STATUS(cometd_client_remote_call(client, "/service/a", json, strlen(json), 1, NULL, NULL),
                 COMETD_E_TOO_LARGE);
    CHECK_STATUS(cometd_client_publish_with_retries(client, "/a", json, strlen(json), 1, 1, NULL,
                                                    NULL),
                 COMETD_E_TOO_LARGE);
    CHECK_INT(server_stat(server, "publishes"), ==, 0);
    /* What fits goes, a batch of them in as many requests as it takes. */
    json[1000] = '"';
    uint64_t last = 0;
    CHECK_OK(cometd_client_batch_begin(client, NULL));
    for (int i = 0; i < 4; i++)
        CHECK_OK(cometd_client_publish(client, "/a", json, 1001, &last, NULL));
    int requests = server_stat(server, "requests");
    CHECK_OK(cometd_client_batch_end(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", last));
    CHECK_INT(server_stat(server, "publishes"), ==, 4);
    CHECK_INT(server_stat(server, "requests"), >=, requests + 4);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    free(large);
    free(json);
    client_end(client);
    server_stop(server);
}

/* ---- publishes that are sent again ---- */

static uint64_t insist(cometd_client *client, const char *channel, int32_t timeout_ms,
                       uint32_t attempts)
{
    uint64_t id = 0;
    CHECK_OK(cometd_client_publish_with_retries(client, channel, "{\"n\":1}", 7, timeout_ms,
                                                attempts, &id, NULL));
    CHECK_INT(id, >, 0);
    return id;
}

/* Lets the first two publishes come to nothing, each in its own way. */
static void lossy(exchange *x)
{
    if (!is_on(x, "/a"))
        bayeux(x);
    else if (peer_count(x->peer, "\"channel\":\"/a\"") == 1)
        reset(x);
    else if (peer_count(x->peer, "\"channel\":\"/a\"") == 2)
        respond(x, 503, "", "busy");
    else
        bayeux(x);
}

TEST(with_retries_the_same_message_is_sent_until_it_is_answered_92)
{
    peer *peer = peer_start(lossy);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id = insist(client, "/a", -1, COMETD_RETRY_FOREVER);
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
    char *ids[3];
    for (int i = 0; i < 3; i++) {
        char *request = peer_request(peer, "\"channel\":\"/a\"", i + 1);
        char *message = json_element(strstr(request, "\r\n\r\n") + 4, 0);
        ids[i] = json_field(message, "id");
        free(request);
        free(message);
    }
    CHECK_STR(ids[0], ids[1]);
    CHECK_STR(ids[0], ids[2]);
    for (int i = 0; i < 3; i++)
        free(ids[i]);
    CHECK_INT(peer_count(peer, "\"channel\":\"/a\""), ==, 3);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *rest = drain(client);
    CHECK_HAS_NOT(rest, "ERROR");
    CHECK_HAS_NOT(rest, "PUBLISHED");
    free(rest);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(retries_end_with_the_attempts_with_the_time_and_with_a_refusal_92)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    server_do(server, "/fail?status=500&count=2&on=/a");
    uint64_t id = insist(client, "/a", limit_ms(), 2);
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_HTTP_STATUS);
    CHECK_HAS(cometd_error_message(error), "given up after 2 attempts");
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_PUBLISH);
    CHECK_INT(cometd_error_retry_in_ms(error), ==, -1);
    cometd_event_free(event);

    server_do(server, "/fail?status=500&count=1000000&on=/a");
    id = insist(client, "/a", 300, COMETD_RETRY_FOREVER);
    event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TIMEOUT);
    cometd_event_free(event);

    id = insist(client, "/denied/a", -1, COMETD_RETRY_FOREVER);
    event = wait_event(client, COMETD_EVENT_ERROR, "/denied/a", id);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_REFUSED);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(with_retries_a_lost_session_is_no_failure)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/forget");
    uint64_t id = insist(client, "/a", -1, COMETD_RETRY_FOREVER);
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
    client_end(client);
    server_stop(server);
}

TEST(retries_are_checked_at_once)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:1/"));
    cometd_error *err = NULL;
    uint64_t id = 7;
    static const int32_t times[] = {0, -2, 1};
    static const uint32_t attempts[] = {1, 1, 0};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(cometd_client_publish_with_retries(client, "/a", "1", 1, times[i],
                                                        attempts[i], &id, &err),
                     COMETD_E_OUT_OF_RANGE);
        CHECK_HAS(cometd_error_message(err), i == 2 ? "attempts" : "timeout_ms");
        CHECK_INT(id, ==, 0);
        cometd_error_free(err);
    }
    CHECK_STATUS(
        cometd_client_publish_with_retries(client, "/a/*", "1", 1, 1, 1, &id, &err),
        COMETD_E_INVALID_CHANNEL);
    cometd_error_free(err);
    CHECK_STATUS(cometd_client_publish_with_retries(client, "/a", "{", 1, 1, 1, &id, &err),
                 COMETD_E_INVALID_JSON);
    cometd_error_free(err);
    cometd_client_free(client);
}
