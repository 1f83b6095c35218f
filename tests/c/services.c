/* Batches, remote calls, acknowledgement and statistics. */
#include "test.h"

/* Calls of /service/ok are answered with their data, /service/bad is a failure with
 * data, /service/denied is refused, and /service/silent is only acknowledged. */
static void service(exchange *x)
{
    if (is_on(x, "/service/ok"))
        respond_reply(x, "\"successful\":true,\"data\":{\"answer\":42}");
    else if (is_on(x, "/service/bad"))
        respond_reply(x, "\"successful\":false,\"error\":\"500::sorry\",\"data\":\"why\"");
    else if (is_on(x, "/service/denied"))
        respond_reply(x, "\"successful\":false,\"error\":\"403::denied\"");
    else
        bayeux(x);
}

static uint64_t call(cometd_client *client, const char *channel, int timeout_ms)
{
    uint64_t id;
    CHECK_OK(cometd_client_remote_call(client, channel, "{\"q\":1}", 7, timeout_ms, &id, NULL));
    CHECK(id != 0);
    return id;
}

TEST(a_call_ends_in_its_result_95)
{
    peer *peer = peer_start(service);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id = call(client, "/service/ok", 30000);
    cometd_event *event = wait_event(client, COMETD_EVENT_RESULT, "/service/ok", id);
    CHECK_STR(cometd_message_data(cometd_event_message(event), NULL), "{\"answer\":42}");
    CHECK(cometd_event_error(event) == NULL);
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(a_call_that_the_service_fails_has_a_result_and_an_error_96)
{
    peer *peer = peer_start(service);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id = call(client, "/service/bad", 30000);
    cometd_event *event = wait_event(client, COMETD_EVENT_RESULT, "/service/bad", id);
    CHECK_STR(cometd_message_data(cometd_event_message(event), NULL), "\"why\"");
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_REFUSED);
    CHECK_STR(cometd_error_bayeux(error, NULL), "500::sorry");
    CHECK_STR(cometd_error_channel(error), "/service/bad");
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(a_call_that_is_refused_or_not_answered_is_an_error)
{
    peer *peer = peer_start(service);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t denied = call(client, "/service/denied", 30000);
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/service/denied", denied);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_REFUSED);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_CALL);
    cometd_event_free(event);
    uint64_t silent = call(client, "/service/silent", 50);
    event = wait_event(client, COMETD_EVENT_ERROR, "/service/silent", silent);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TIMEOUT);
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(a_call_goes_to_a_service_and_has_a_limit)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:9/"));
    cometd_error *error = NULL;
    CHECK_STATUS(cometd_client_remote_call(client, "/x", "1", 1, 1000, NULL, &error),
                 COMETD_E_INVALID_CHANNEL);
    CHECK_HAS(cometd_error_message(error), "/service/");
    cometd_error_free(error);
    CHECK_STATUS(cometd_client_remote_call(client, "/service/x", "1", 1, 0, NULL, &error),
                 COMETD_E_OUT_OF_RANGE);
    CHECK_HAS(cometd_error_message(error), "timeout_ms");
    cometd_error_free(error);
    cometd_client_free(client);
}

TEST(a_batch_is_one_request_99_100)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    CHECK_OK(cometd_client_batch_begin(client, NULL));
    CHECK_OK(cometd_client_batch_begin(client, NULL));
    uint64_t a = subscribe(client, "/a");
    uint64_t b = publish(client, "/b", "1");
    CHECK_OK(cometd_client_batch_end(client, NULL));
    uint64_t c = publish(client, "/c", "2");
    int before = peer_count(peer, "/meta/subscribe");
    CHECK_INT(before, ==, 0);
    CHECK_OK(cometd_client_batch_end(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", a));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/b", b));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/c", c));
    char *request = peer_request(peer, "/meta/subscribe", 1);
    CHECK_HAS(request, "\"channel\":\"/b\"");
    CHECK_HAS(request, "\"channel\":\"/c\"");
    free(request);
    CHECK_STATUS(cometd_client_batch_end(client, NULL), COMETD_E_INVALID_STATE);
    client_end(client);
    peer_stop(peer);
}

TEST(connects_acknowledge_what_has_arrived_174)
{
    server *server = server_start("--timeout-ms", "60000", NULL);
    char *url = text("http://127.0.0.1:%d/cometd", server->port);
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_acknowledgement(builder, true));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    char *handshake = server_request(server, "/meta/handshake");
    CHECK_HAS(handshake, "\\\"ack\\\":true");
    free(handshake);
    server_do(server, "/publish?channel=/a&count=1&size=10");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    server_do(server, "/publish?channel=/a&count=1&size=10");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    /* The connect that is held now says how far everything has arrived. */
    char *connect = server_request(server, "/meta/connect");
    CHECK_HAS(connect, "\\\"ack\\\":");
    free(connect);
    client_end(client);
    server_stop(server);
    free(url);
}

TEST(statistics_count)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    subscribed(client, "/a");
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2}");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    size_t needed = 0;
    CHECK_STATUS(cometd_client_statistics(client, NULL, 0, &needed), COMETD_E_OUT_OF_RANGE);
    CHECK_INT(needed, >, 2);
    char numbers[4096];
    CHECK_OK(cometd_client_statistics(client, numbers, sizeof numbers, &needed));
    CHECK_INT(strlen(numbers) + 1, ==, needed);
    CHECK_HAS(numbers, "\"events_received\":2");
    CHECK_HAS(numbers, "\"handshakes\":1");
    CHECK_HAS(numbers, "\"reconnects\":0");
    CHECK_HAS(numbers, "\"queued\":0");
    CHECK_HAS(numbers, "\"dropped\":0");
    char little[8];
    CHECK_STATUS(cometd_client_statistics(client, little, sizeof little, NULL),
                 COMETD_E_OUT_OF_RANGE);
    CHECK_INT(strlen(little), ==, 7);
    client_end(client);
    peer_stop(peer);
}
