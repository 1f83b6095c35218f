/* Functions in the wrong order, twice, after the end. */
#include "test.h"

TEST(connect_twice)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    cometd_error *error;
    CHECK_STATUS(cometd_client_connect(client, &error), COMETD_E_INVALID_STATE);
    CHECK_HAS(cometd_error_message(error), "connect was called before");
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_CALL);
    cometd_error_free(error);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    CHECK_INT(server_stat(server, "handshakes"), ==, 1);
    client_end(client);
    server_stop(server);
}

static void check_closed(cometd_client *client)
{
    const char *channel = "/a";
    uint64_t id = 7;
    cometd_error *error;
    CHECK_STATUS(cometd_client_connect(client, &error), COMETD_E_CLOSED);
    CHECK_HAS(cometd_error_message(error), "client");
    cometd_error_free(error);
    CHECK_STATUS(cometd_client_subscribe(client, &channel, 1, &id, &error), COMETD_E_CLOSED);
    CHECK_INT(id, ==, 0);
    cometd_error_free(error);
    CHECK_STATUS(cometd_client_unsubscribe(client, &channel, 1, &id, NULL), COMETD_E_CLOSED);
    CHECK_STATUS(cometd_client_publish(client, "/a", "1", 1, &id, NULL), COMETD_E_CLOSED);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    CHECK_OK(cometd_client_set_authorization(client, "Bearer x"));
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CLOSED);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CLOSED, -1), COMETD_OK);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_UNCONNECTED, -1), COMETD_CLOSED);
}

TEST(everything_after_disconnect_is_refused_212_214)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    check_closed(client);
    char *all = drain(client);
    CHECK_STR(strstr(all, "CLOSED"), "CLOSED;");
    CHECK_HAS_NOT(all, "ERROR");
    free(all);
    check_closed(client);
    cometd_client_free(client);
    server_stop(server);
}

TEST(everything_after_disconnect_without_connect)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:1/"));
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    check_closed(client);
    free(drain(client));
    cometd_client_free(client);
}

TEST(everything_after_a_fatal_error)
{
    server *server = server_start("--token", "good", NULL);
    cometd_client *client = client_start(server->url);
    wait_state(client, COMETD_STATE_CLOSED);
    check_closed(client);
    free(drain(client));
    cometd_client_free(client);
    server_stop(server);
}

TEST(calls_before_connect_are_held_in_their_order)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    const char *channel = "/a";
    uint64_t ids[4];
    CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, &ids[0], NULL));
    CHECK_OK(cometd_client_subscribe(client, &channel, 1, &ids[1], NULL));
    CHECK_OK(cometd_client_publish(client, "/a", "{\"n\":3}", 7, &ids[2], NULL));
    CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, &ids[3], NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int i = 0; i < 4; i++) {
        cometd_event *event;
        do
            event = next_event(client);
        while (cometd_event_id(event) == 0 && (cometd_event_free(event), 1));
        CHECK_INT(cometd_event_id(event), ==, ids[i]);
        cometd_event_free(event);
    }
    client_end(client);
    server_stop(server);
}

TEST(a_builder_is_not_used_up_and_may_go_first)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    cometd_client *clients[3];
    for (int i = 0; i < 3; i++) {
        char *value = text("%d", i);
        CHECK_OK(cometd_client_builder_add_header(builder, "X-N", value));
        free(value);
        CHECK_OK(cometd_client_builder_build(builder, &clients[i], NULL));
    }
    cometd_client_builder_free(builder);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(cometd_client_connect(clients[i], NULL));
        wait_state(clients[i], COMETD_STATE_CONNECTED);
    }
    for (int i = 2; i >= 0; i--)
        client_end(clients[i]);
    server_stop(server);
}

TEST(objects_are_freed_in_any_order)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    cometd_event *same = wait_receiver_event(receiver, COMETD_EVENT_MESSAGE, "/a", 0);
    cometd_message *message = cometd_message_retain(cometd_event_message(event));
    cometd_client_free(client);
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_CLOSED, NULL, 0));
    cometd_receiver_free(receiver);
    CHECK_INT(message_number(event), ==, 0);
    cometd_event_free(event);
    CHECK_INT(message_number(same), ==, 0);
    CHECK_HAS(cometd_message_data(message, NULL), "\"n\":0");
    cometd_message_free(message);
    cometd_event_free(same);
    server_stop(server);
}

TEST(what_an_event_or_an_error_lends_is_not_freed_by_free)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    publish(client, "/denied", "1");
    cometd_event *event = wait_error(client);
    cometd_error_free((cometd_error *)(intptr_t)cometd_event_error(event));
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "denied");
    cometd_event_free(event);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a");
    event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    cometd_message_free((cometd_message *)(intptr_t)cometd_event_message(event));
    CHECK_INT(message_number(event), ==, 0);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(free_of_a_receiver_wakes_and_later_events_go_nowhere)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 20, 1 << 20));
    cometd_client *client = build(builder);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    /* A receiver that nobody reads holds everybody up; its free lets all go on. */
    server_do(server, "/publish?channel=/a&count=30");
    for (int i = 0; i < 30; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    cometd_receiver_free(receiver);
    server_do(server, "/publish?channel=/a&count=30");
    for (int i = 0; i < 30; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(client);
    server_stop(server);
}
