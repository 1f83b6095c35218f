/* WebSocket against the demo server, and what follows when it is refused. */
#include "test.h"

static const int32_t both[] = {COMETD_TRANSPORT_WEBSOCKET, COMETD_TRANSPORT_LONG_POLLING};

static cometd_client *connected(const server *server, size_t transports)
{
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_transports(builder, both, transports));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    return client;
}

TEST(events_come_over_one_socket)
{
    server *server = server_start(NULL);
    cometd_client *client = connected(server, 1);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a&count=100");
    for (int i = 0; i < 100; i++) {
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        CHECK_INT(message_number(event), ==, i);
        cometd_event_free(event);
    }
    publish(client, "/a", "1");
    CHECK_INT(server_stat(server, "upgrades"), ==, 1);
    client_end(client);
    server_stop(server);
}

TEST(a_refusal_is_told_once_and_costs_no_session)
{
    server *server = server_start(NULL);
    server_do(server, "/fail?status=404&count=1000&on=upgrade");
    cometd_client *client = connected(server, 2);
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, NULL, 0);
    const cometd_error *error = cometd_event_error(event);
    CHECK_INT(cometd_error_retry_in_ms(error), ==, 0);
    CHECK_INT(cometd_error_http_status(error), ==, 404);
    CHECK_INT(cometd_error_websocket_code(error), ==, 0);
    CHECK_HAS(cometd_error_message(error), "going on with long polling");
    CHECK(!cometd_error_is_fatal(error));
    cometd_event_free(event);
    publish(client, "/a", "1");
    client_end(client);
    CHECK_INT(server_stat(server, "upgrades"), ==, 0);
    CHECK_INT(server_stat(server, "handshakes"), ==, 1);
    server_stop(server);
}
