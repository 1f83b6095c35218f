/* A session that goes from one client to another. */
#include "test.h"

static const int32_t websocket[] = {COMETD_TRANSPORT_WEBSOCKET};

static cometd_client_builder *acknowledging(const server *server, size_t websockets)
{
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_acknowledgement(builder, true));
    if (websockets > 0)
        CHECK_OK(cometd_client_builder_set_transports(builder, websocket, websockets));
    return builder;
}

static cometd_client *connected(cometd_client_builder *builder)
{
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    return client;
}

/* The text, to free. The client has ended. */
static char *exported(cometd_client *client)
{
    const char *session;
    CHECK_OK(cometd_client_export(client, limit_ms(), &session, NULL));
    wait_state(client, COMETD_STATE_CLOSED);
    char *copy = text("%s", session);
    const char *again;
    CHECK_OK(cometd_client_export(client, 0, &again, NULL));
    CHECK(again == session);
    cometd_client_free(client);
    return copy;
}

static void goes_on(size_t websockets)
{
    server *server = server_start(NULL);
    cometd_client *client = connected(acknowledging(server, websockets));
    subscribed(client, "/a");
    char *session = exported(client);
    server_do(server, "/publish?channel=/a&count=3");
    cometd_client_builder *builder = acknowledging(server, websockets);
    CHECK_OK(cometd_client_builder_set_resume(builder, session));
    free(session);
    client = connected(builder);
    for (int i = 0; i < 3; i++) {
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        CHECK_INT(message_number(event), ==, i);
        cometd_event_free(event);
    }
    CHECK_INT(server_stat(server, "handshakes"), ==, 1);
    CHECK_INT(server_stat(server, "subscribes"), ==, 1);
    CHECK_INT(server_stat(server, "disconnects"), ==, 0);
    client_end(client);
    server_stop(server);
}

TEST(events_that_were_published_between_arrive_without_a_handshake)
{
    goes_on(0);
}

TEST(events_that_were_published_between_arrive_over_websocket)
{
    goes_on(1);
}

TEST(a_session_that_was_forgotten_is_followed_by_a_handshake)
{
    server *server = server_start(NULL);
    cometd_client *client = connected(acknowledging(server, 0));
    subscribed(client, "/a");
    char *session = exported(client);
    server_do(server, "/forget");
    cometd_client_builder *builder = acknowledging(server, 0);
    CHECK_OK(cometd_client_builder_set_resume(builder, session));
    free(session);
    client = connected(builder);
    WAIT_FOR(server_stat(server, "subscribes") == 2);
    CHECK_INT(server_stat(server, "handshakes"), ==, 2);
    server_do(server, "/publish?channel=/a&count=1");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(client);
    server_stop(server);
}

TEST(without_a_session_the_client_goes_on)
{
    cometd_client *client = client_start(vacant_url());
    const char *session;
    cometd_error *error;
    CHECK_STATUS(cometd_client_export(client, -1, &session, NULL), COMETD_E_OUT_OF_RANGE);
    CHECK_STATUS(cometd_client_export(client, limit_ms(), &session, &error), COMETD_E_INVALID_STATE);
    CHECK(session == NULL);
    CHECK_HAS(cometd_error_message(error), "there is no session");
    cometd_error_free(error);
    CHECK_INT(cometd_client_state(client), !=, COMETD_STATE_CLOSED);
    client_end(client);
}

TEST(a_session_is_told_by_an_event)
{
    server *server = server_start(NULL);
    cometd_client *client = connected(acknowledging(server, 0));
    uint64_t id, second;
    CHECK_OK(cometd_client_start_export(client, server, &id, NULL));
    const cometd_status again = cometd_client_start_export(client, NULL, &second, NULL);
    cometd_event *event = wait_event(client, COMETD_EVENT_EXPORTED, NULL, id);
    size_t length;
    const char *session = cometd_event_exported(event, &length);
    CHECK_INT(length, ==, strlen(session));
    CHECK(cometd_event_opaque(event) == server && cometd_event_error(event) == NULL);
    if (again == COMETD_OK)
        cometd_event_free(wait_event(client, COMETD_EVENT_EXPORTED, NULL, second));
    cometd_event_free(wait_event(client, COMETD_EVENT_CLOSED, NULL, 0));
    CHECK_STATUS(cometd_client_start_export(client, NULL, &id, NULL), COMETD_E_CLOSED);
    const char *text;
    CHECK_OK(cometd_client_export(client, 0, &text, NULL));
    CHECK_STR(text, session);
    cometd_client_builder *builder = acknowledging(server, 0);
    CHECK_OK(cometd_client_builder_set_resume(builder, session));
    cometd_client_builder_free(builder);
    cometd_event_free(event);
    cometd_client_free(client);
    CHECK_INT(server_stat(server, "disconnects"), ==, 0);
    server_stop(server);
}

TEST(without_a_session_an_event_tells_so)
{
    cometd_client *client = build(builder_new(vacant_url()));
    uint64_t id = 7;
    CHECK_STATUS(cometd_client_start_export(client, NULL, &id, NULL), COMETD_E_INVALID_STATE);
    CHECK_INT(id, ==, 0);
    CHECK_OK(cometd_client_connect(client, NULL));
    CHECK_OK(cometd_client_start_export(client, &id, &id, NULL));
    cometd_event *event = wait_event(client, COMETD_EVENT_EXPORTED, NULL, id);
    CHECK(cometd_event_exported(event, NULL) == NULL && cometd_event_opaque(event) == &id);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_INVALID_STATE);
    cometd_event_free(event);
    CHECK_INT(cometd_client_state(client), !=, COMETD_STATE_CLOSED);
    client_end(client);
}

TEST(texts_that_are_damaged_are_refused)
{
    server *server = server_start(NULL);
    char *session = exported(connected(acknowledging(server, 0)));
    cometd_client_builder *builder = acknowledging(server, 0);
    for (size_t i = 0; session[i] != 0; i++) {
        const char before = session[i];
        session[i] = before == 'A' ? 'B' : 'A';
        CHECK_STATUS(cometd_client_builder_set_resume(builder, session), COMETD_E_INVALID_ARGUMENT);
        session[i] = 0;
        CHECK_STATUS(cometd_client_builder_set_resume(builder, session),
                     i == 0 ? COMETD_OK : COMETD_E_INVALID_ARGUMENT);
        session[i] = before;
    }
    CHECK_OK(cometd_client_builder_set_resume(builder, session));
    cometd_client_builder_free(builder);
    builder = builder_new(vacant_url());
    CHECK_STATUS(cometd_client_builder_set_resume(builder, session), COMETD_E_INVALID_ARGUMENT);
    cometd_client_builder_free(builder);
    free(session);
    server_stop(server);
}
