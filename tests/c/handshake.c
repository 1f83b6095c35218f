/* The handshake. */
#include "test.h"

static char *handshake_of(peer *peer, int nth)
{
    char *request = peer_request(peer, "\"/meta/handshake\"", nth);
    char *body = strstr(request, "\r\n\r\n") + 4;
    char *second = json_element(body, 1);
    CHECK(second == NULL); /* alone in its request */
    char *message = json_element(body, 0);
    free(request);
    return message;
}

static void check_field(const char *message, const char *name, const char *json)
{
    char *value = json_field(message, name);
    CHECK_STR(value, json);
    free(value);
}

TEST(a_handshake_says_what_bayeux_asks_for)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_timeout_ms(builder, 12345));
    CHECK_OK(cometd_client_builder_set_interval_ms(builder, 67));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    char *message = handshake_of(peer, 1);
    check_field(message, "channel", "\"/meta/handshake\"");
    check_field(message, "version", "\"1.0\"");
    check_field(message, "minimumVersion", "\"1.0\"");
    check_field(message, "supportedConnectionTypes", "[\"long-polling\"]");
    check_field(message, "advice", "{\"timeout\":12345,\"interval\":67}");
    check_field(message, "clientId", NULL);
    check_field(message, "ext", NULL);
    char *id = json_field(message, "id");
    CHECK(id && id[0] == '"' && id[1] != '"');
    free(id);
    free(message);
    client_end(client);
    peer_stop(peer);
}

TEST(the_defaults_of_its_advice)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    char *message = handshake_of(peer, 1);
    check_field(message, "advice", "{\"timeout\":60000,\"interval\":0}");
    free(message);
    client_end(client);
    peer_stop(peer);
}

TEST(a_json_object_is_its_ext_in_every_handshake)
{
    const char *ext = "{ \"token\" : \"a\\u0041\", \"n\":1.50 }trailing";
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_ext(builder, ext, strlen(ext) - 8));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    char *message = handshake_of(peer, 1);
    check_field(message, "ext", "{ \"token\" : \"a\\u0041\", \"n\":1.50 }");
    free(message);
    peer_stop(peer);

    server *server = server_start(NULL);
    builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_handshake_ext(builder, "{\"a\":1}", 7));
    client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    server_do(server, "/forget");
    wait_state_event(client, COMETD_STATE_REHANDSHAKING);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    CHECK_INT(server_stat(server, "handshakes"), ==, 2);
    char *request = server_request(server, "/meta/handshake");
    CHECK_HAS(request, "\\\"ext\\\":{\\\"a\\\":1}");
    free(request);
    client_end(client);
    server_stop(server);
}

TEST(the_states_on_the_way)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = build(builder_new(peer_url(peer)));
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_IDLE);
    CHECK_OK(cometd_client_connect(client, NULL));
    static const cometd_state states[] = {COMETD_STATE_IDLE, COMETD_STATE_HANDSHAKING,
                                          COMETD_STATE_CONNECTING, COMETD_STATE_CONNECTED};
    for (int i = 1; i < 4; i++) {
        cometd_event *event = next_event(client);
        cometd_state previous;
        CHECK_INT(cometd_event_type(event), ==, COMETD_EVENT_STATE);
        CHECK_INT(cometd_event_state(event, &previous), ==, states[i]);
        CHECK_INT(previous, ==, states[i - 1]);
        CHECK_INT(cometd_event_id(event), ==, 0);
        CHECK(cometd_event_channel(event) == NULL);
        CHECK(cometd_event_message(event) == NULL && cometd_event_error(event) == NULL);
        cometd_event_free(event);
    }
    CHECK_OK(cometd_client_wait(client, COMETD_STATE_HANDSHAKING, 0));
    CHECK_OK(cometd_client_wait(client, COMETD_STATE_CONNECTING, 0));
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_REHANDSHAKING, 0), COMETD_NONE);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CLOSED, 1), COMETD_NONE);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_OK(cometd_client_wait(client, COMETD_STATE_CLOSED, 0));
    char *rest = drain(client);
    CHECK_STR(rest, "STATE 6;STATE 7;CLOSED;");
    free(rest);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_REHANDSHAKING, -1), COMETD_CLOSED);
    cometd_client_free(client);
    peer_stop(peer);
}

static void answer_websocket_only(exchange *x)
{
    respond_reply(x, "\"successful\":true,\"version\":\"1.0\",\"clientId\":\"c\","
                     "\"supportedConnectionTypes\":[\"websocket\"]");
}

TEST(no_connection_type_in_common_is_fatal)
{
    peer *peer = peer_start(answer_websocket_only);
    cometd_client *client = client_start(peer_url(peer));
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_NEGOTIATION);
    CHECK(cometd_error_is_fatal(error));
    CHECK_HAS(cometd_error_message(error), "websocket");
    cometd_event_free(event);
    free(drain(client));
    cometd_client_free(client);
    peer_stop(peer);
}

static void answer_without_client_id(exchange *x)
{
    respond_reply(x, "\"successful\":true,\"version\":\"1.0\","
                     "\"supportedConnectionTypes\":[\"long-polling\"]");
}

TEST(a_reply_without_a_client_id_is_an_error)
{
    peer *peer = peer_start(answer_without_client_id);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 0));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_PROTOCOL);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "clientId");
    cometd_event_free(event);
    free(drain(client));
    cometd_client_free(client);
    peer_stop(peer);
}
