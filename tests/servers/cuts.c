/* What a session meets when its connection is cut. */
#include "case.h"

#include <string.h>

static cometd_client *new_relayed_client(bool acknowledgement) {
    start_relay();
    cometd_client_builder *builder = new_builder();
    OK(cometd_client_builder_set_acknowledgement(builder, acknowledgement));
    OK(cometd_client_builder_set_backoff_ms(builder, 10, 100));
    cometd_client *client = build(builder);
    OK(cometd_client_connect(client, NULL));
    return client;
}

/* The client has noticed, and the server as well: what it still sends to the old connection
 * would be lost. */
static void await_next_connection(cometd_client *client) {
    await_broken_relay();
    await_state(client, COMETD_STATE_UNCONNECTED);
    long connects = stat_of("connects");
    while (stat_of("connects") == connects)
        wait_a_moment();
}

/* The first of six events gets lost on its way; which one is the first to arrive? */
static long first_after_a_loss(bool acknowledgement) {
    cometd_client *client = new_relayed_client(acknowledgement);
    subscribe(client, "/acked");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/acked");
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    break_relay_at("\"/acked\"", 1);
    control("/publish?channel=/acked&count=1&size=10");
    /* Without acknowledgement nothing brings it back; what comes later does come. */
    await_next_connection(client);
    control("/publish?channel=/acked&count=5&size=20");
    long first = -1;
    for (long next = 0; next < 5;) {
        cometd_event *event = AWAIT(client, COMETD_EVENT_MESSAGE, "/acked");
        size_t length;
        const cometd_message *message = cometd_event_message(event);
        cometd_message_data(message, &length);
        long n = number_of(message);
        /* The lost one is shorter. */
        if (length < strlen("{\"n\":0,\"pad\":\"\"}") + 20) {
            CHECK(next == 0 && first == -1);
            first = 0;
        } else {
            CHECK(n == next);
            first = first == -1 ? 1 : first;
            next++;
        }
        cometd_event_free(event);
    }
    finish(client);
    return first;
}

void acknowledged_events_survive_a_lost_response(void) { CHECK(first_after_a_loss(true) == 0); }
void other_events_are_lost_with_their_response(void) { CHECK(first_after_a_loss(false) == 1); }

/* Many events, cut in their middle, in one session. */
static void flood_through_a_cut(bool acknowledgement) {
    cometd_client *client = new_relayed_client(acknowledgement);
    subscribe(client, "/flood");
    subscribe(client, "/after");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/after");
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    long handshakes = stat_of("handshakes");
    break_relay_at("\"/flood\"", EVENTS / 2);
    control("/publish?channel=/flood&count=%d&size=200", EVENTS);
    await_broken_relay();
    long came = 0, next = 0;
    /* What comes behind the flood tells its end; it may be lost itself. */
    bool after = false;
    for (int tries = 0; !after; tries++) {
        CHECK(tries < 200);
        control("/publish?channel=/after&count=1&size=10");
        cometd_event *event;
        while (!after && cometd_client_poll(client, 250, &event) == COMETD_OK) {
            after = is_about(event, COMETD_EVENT_MESSAGE, "/after");
            if (is_about(event, COMETD_EVENT_MESSAGE, "/flood")) {
                long n = number_of(cometd_event_message(event));
                /* A reply that was cut off acknowledges nothing: its events come again. */
                CHECK(acknowledgement ? n <= next : n >= next);
                next = n < next ? next : n + 1;
                came++;
            }
            cometd_event_free(event);
        }
    }
    /* By long polling all may have been in the response that was cut. */
    CHECK(came > 0 || expected_transport == COMETD_TRANSPORT_LONG_POLLING);
    CHECK(!acknowledgement || next == EVENTS);
    CHECK(stat_of("handshakes") == handshakes);
    finish(client);
}

void events_come_once_through_a_cut(void) { flood_through_a_cut(false); }
void acknowledged_events_survive_a_cut(void) { flood_through_a_cut(true); }

/* For a server with --require-handshake-per-connection. */
void each_connection_wants_a_handshake(void) {
    cometd_client *client = new_relayed_client(false);
    subscribe(client, "/kept/a");
    subscribe(client, "/kept/b");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/kept/b");
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    long handshakes = stat_of("handshakes");
    break_relay_at("\"/kept/a\"", 1);
    control("/publish?channel=/kept/a&count=1&size=10");
    await_broken_relay();
    await_state(client, COMETD_STATE_REHANDSHAKING);
    await_state(client, COMETD_STATE_CONNECTED);
    await_flow(client, "/kept/a", "/kept/b");
    CHECK(stat_of("handshakes") == handshakes + 1);
    finish(client);
}
