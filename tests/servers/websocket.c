/* What only WebSocket has. */
#include "case.h"

#include <stdlib.h>
#include <string.h>

static uint64_t publish(cometd_client *client, const char *channel, size_t size) {
    char *data = malloc(size);
    CHECK(data != NULL && size > 2);
    memset(data, 'x', size);
    data[0] = data[size - 1] = '"';
    uint64_t id;
    OK(cometd_client_publish(client, channel, data, size, &id, NULL));
    free(data);
    return id;
}

/* For a server with --ws-max-message 4096. */
void too_large_message_fails_alone(void) {
    cometd_client *client = new_client();
    subscribe(client, "/small");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/small");
    long handshakes = stat_of("handshakes");
    uint64_t id = publish(client, "/large", 6000);
    cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, "/large");
    CHECK(cometd_event_id(event) == id);
    CHECK(cometd_error_status(cometd_event_error(event)) == COMETD_E_TOO_LARGE);
    CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
    cometd_event_free(event);
    id = publish(client, "/small", 100);
    bool outcome = false, message = false;
    while (!outcome || !message) {
        OK(cometd_client_poll(client, LIMIT_MS, &event));
        outcome |= is_about(event, COMETD_EVENT_PUBLISHED, "/small") && cometd_event_id(event) == id;
        message |= is_about(event, COMETD_EVENT_MESSAGE, "/small");
        cometd_event_free(event);
    }
    CHECK(stat_of("handshakes") == handshakes);
    finish(client);
}

/* For a server with --transports long-polling. */
void websocket_alone_is_refused_234(void) {
    cometd_client_builder *builder = new_builder();
    OK(cometd_client_builder_set_backoff_ms(builder, 10, 100));
    OK(cometd_client_builder_set_number_of_retries(builder, 2));
    cometd_client *client = build(builder);
    OK(cometd_client_connect(client, NULL));
    bool fatal = false;
    for (int attempts = 1; !fatal; attempts++) {
        cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, NULL);
        const cometd_error *error = cometd_event_error(event);
        CHECK(strstr(cometd_error_message(error), "400") != NULL);
        fatal = cometd_error_is_fatal(error);
        CHECK(fatal == (attempts == 3));
        cometd_event_free(event);
    }
    AWAIT_ONLY(client, COMETD_EVENT_CLOSED, NULL);
    CHECK(cometd_client_transport(client) == 0);
    cometd_client_free(client);
}

/* Through a proxy that gives no tunnel. This one closes each connection behind a response
 * without saying so beforehand, and a subscribe is sent once: it does not follow one closely. */
void refused_tunnel_leads_to_long_polling_231(void) {
    cometd_client *client = new_client();
    cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, NULL);
    CHECK(strstr(cometd_error_message(cometd_event_error(event)), "going on with long polling") != NULL);
    cometd_event_free(event);
    await_state(client, COMETD_STATE_CONNECTED);
    subscribe(client, "/ticks");
    AWAIT_ONLY(client, COMETD_EVENT_MESSAGE, "/ticks");
    finish(client);
}

static cometd_client *new_pinging_client(int32_t ping_interval_ms) {
    cometd_client_builder *builder = new_builder();
    OK(cometd_client_builder_set_ping_interval_ms(builder, ping_interval_ms));
    OK(cometd_client_builder_set_backoff_ms(builder, 10, 100));
    cometd_client *client = build(builder);
    OK(cometd_client_connect(client, NULL));
    subscribe(client, "/quiet");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/quiet");
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    return client;
}

/* Behind a proxy that closes what is silent for two seconds. */
void ping_keeps_a_quiet_socket_257(void) {
    cometd_client *pinging = new_pinging_client(1000), *silent = new_pinging_client(0);
    long handshakes = stat_of("handshakes");
    for (int times = 0; times < 2; times++) {
        await_state(silent, COMETD_STATE_UNCONNECTED);
        await_state(silent, COMETD_STATE_CONNECTED);
    }
    /* Meanwhile nothing has happened to the other one. */
    cometd_event *event;
    while (cometd_client_poll(pinging, 0, &event) == COMETD_OK) {
        if (cometd_event_type(event) == COMETD_EVENT_ERROR)
            FAIL("%s", cometd_error_message(cometd_event_error(event)));
        CHECK(cometd_event_type(event) != COMETD_EVENT_STATE ||
              cometd_event_state(event, NULL) == COMETD_STATE_CONNECTED);
        cometd_event_free(event);
    }
    control("/publish?channel=/quiet&count=1&size=10");
    AWAIT_ONLY(pinging, COMETD_EVENT_MESSAGE, "/quiet");
    AWAIT_ONLY(silent, COMETD_EVENT_MESSAGE, "/quiet");
    CHECK(stat_of("handshakes") == handshakes);
    finish(pinging);
    finish(silent);
}
