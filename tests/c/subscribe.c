/* Subscribe and unsubscribe. */
#include "test.h"

#define ON_SUBSCRIBE "\"channel\":\"/meta/subscribe\""

static char *body_of(char *request)
{
    char *body = strdup(strstr(request, "\r\n\r\n") + 4);
    free(request);
    return body;
}

TEST(contract_07_several_channels_are_one_request_with_one_message_each)
{
    static const char *const channels[] = {"/a", "/b/*", "/c/**"};
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id;
    CHECK_OK(cometd_client_subscribe(client, channels, 3, &id, NULL));
    for (int i = 0; i < 3; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, channels[i], id));
    char *body = body_of(peer_request(peer, ON_SUBSCRIBE, 1));
    for (int i = 0; i < 4; i++) {
        char *message = json_element(body, i);
        if (i == 3) {
            CHECK(message == NULL);
            break;
        }
        char *subscription = json_field(message, "subscription");
        char *expected = text("\"%s\"", channels[i]);
        CHECK_STR(subscription, expected);
        free(expected);
        free(subscription);
        free(message);
    }
    free(body);
    CHECK_OK(cometd_client_unsubscribe(client, channels, 3, &id, NULL));
    for (int i = 0; i < 3; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_UNSUBSCRIBED, channels[i], id));
    CHECK_INT(peer_count(peer, "\"channel\":\"/meta/unsubscribe\""), ==, 1);
    client_end(client);
    peer_stop(peer);
}

TEST(held_until_the_handshake_is_done)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = build(builder_new(peer_url(peer)));
    uint64_t first = subscribe(client, "/a"), second = subscribe(client, "/b");
    CHECK_INT(first, !=, second);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_IDLE);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", first));
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/b", second));
    char *request = peer_request(peer, "POST ", 1);
    CHECK_HAS(request, "/meta/handshake");
    free(request);
    CHECK_INT(peer_count(peer, ON_SUBSCRIBE), ==, 1);
    client_end(client);
    peer_stop(peer);
}

static void check_number(cometd_client *client, const char *channel, long number)
{
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, NULL, 0);
    CHECK_STR(cometd_event_channel(event), channel);
    CHECK_STR(cometd_message_channel(cometd_event_message(event), NULL), channel);
    CHECK_INT(message_number(event), ==, number);
    cometd_event_free(event);
}

TEST(wildcards_of_one_segment_and_of_more)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/one/*");
    subscribed(client, "/more/**");
    server_do(server, "/publish?channel=/one/a/b");
    server_do(server, "/publish?channel=/one");
    server_do(server, "/publish?channel=/one/a");
    check_number(client, "/one/a", 0);
    server_do(server, "/publish?channel=/more/a/b/c&count=2");
    check_number(client, "/more/a/b/c", 0);
    check_number(client, "/more/a/b/c", 1);
    client_end(client);
    server_stop(server);
}

TEST(an_unsubscribed_channel_brings_nothing)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    const char *channel = "/a";
    subscribed(client, "/a");
    subscribed(client, "/b");
    uint64_t id;
    CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, &id, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_UNSUBSCRIBED, "/a", id));
    server_do(server, "/publish?channel=/a");
    server_do(server, "/publish?channel=/b");
    check_number(client, "/b", 0);
    client_end(client);
    server_stop(server);
}

TEST(contract_07_after_a_rehandshake_each_channel_is_subscribed_once)
{
    static const char *const channels[] = {"/a", "/b", "/c/*"};
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_OK(cometd_client_subscribe(client, channels, 3, NULL, NULL));
    for (int i = 0; i < 3; i++)
        cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, channels[i], 0));
    /* Twice the same is one subscription, and one that was ended is none. */
    subscribed(client, "/a");
    subscribed(client, "/gone");
    const char *gone = "/gone";
    CHECK_OK(cometd_client_unsubscribe(client, &gone, 1, NULL, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_UNSUBSCRIBED, "/gone", 0));
    for (int round = 1; round <= 3; round++) {
        int before = server_stat(server, "subscribes");
        server_do(server, "/forget");
        wait_state_event(client, COMETD_STATE_REHANDSHAKING);
        WAIT_FOR(server_stat(server, "subscribes") >= before + 3);
        server_do(server, "/publish?channel=/a");
        server_do(server, "/publish?channel=/b");
        server_do(server, "/publish?channel=/c/d");
        server_do(server, "/publish?channel=/gone");
        check_number(client, "/a", 0);
        check_number(client, "/b", 0);
        check_number(client, "/c/d", 0);
        CHECK_INT(server_stat(server, "subscribes"), ==, before + 3);
        CHECK_INT(server_stat(server, "handshakes"), ==, round + 1);
        wait_state(client, COMETD_STATE_CONNECTED);
    }
    client_end(client);
    server_stop(server);
}

/* Denies /bad when the session is not the first one. */
static void deny_later(exchange *x)
{
    if (is_on(x, "/meta/subscribe") && strstr(x->body, "\"client-2\"") &&
        strstr(x->body, "\"/bad\"")) {
        respond_reply(x, "\"successful\":false,\"error\":\"403:/bad:denied\"");
        return;
    }
    bayeux(x);
}

static void forgets_once(exchange *x)
{
    static atomic_int forgotten;
    if (is_on(x, "/meta/connect") && !strstr(x->body, "\"timeout\":0") &&
        strstr(x->body, "client-1")) {
        hold(x);
        if (!forgotten++) {
            respond_reply(x, "\"successful\":false,\"error\":\"402::unknown\","
                             "\"advice\":{\"reconnect\":\"handshake\"}");
            return;
        }
    }
    deny_later(x);
}

TEST(contract_07_a_resubscribe_that_failed_is_told)
{
    peer *peer = peer_start(forgets_once);
    cometd_client *client = client_connected(peer_url(peer));
    subscribed(client, "/bad");
    WAIT_FOR(peer_holding(peer) == 1);
    peer_release(peer);
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/bad", 0);
    CHECK_INT(cometd_event_id(event), ==, 0);
    const cometd_error *error = cometd_event_error(event);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_SUBSCRIBE);
    CHECK_STR(cometd_error_channel(error), "/bad");
    CHECK_STR(cometd_error_bayeux(error, NULL), "403:/bad:denied");
    CHECK(!cometd_error_is_fatal(error));
    cometd_event_free(event);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(contract_07_one_denied_of_three_and_the_host_learns_which)
{
    static const char *const channels[] = {"/good/1", "/denied/x", "/good/2"};
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    uint64_t id;
    CHECK_OK(cometd_client_subscribe(client, channels, 3, &id, NULL));
    int good = 0, denied = 0;
    while (good + denied < 3) {
        cometd_event *event = next_event(client);
        if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) {
            CHECK_INT(cometd_event_id(event), ==, id);
            CHECK_HAS(cometd_event_channel(event), "/good/");
            good++;
        } else if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
            const cometd_error *error = cometd_event_error(event);
            CHECK_INT(cometd_event_id(event), ==, id);
            CHECK_STR(cometd_event_channel(event), "/denied/x");
            CHECK_STR(cometd_error_channel(error), "/denied/x");
            CHECK_STATUS(cometd_error_status(error), COMETD_E_REFUSED);
            CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_SUBSCRIBE);
            int32_t code;
            CHECK_HAS(cometd_error_bayeux(error, &code), "subscribe_denied");
            CHECK_INT(code, ==, 403);
            CHECK(!cometd_error_is_fatal(error));
            denied++;
        }
        cometd_event_free(event);
    }
    CHECK_INT(good, ==, 2);
    CHECK_INT(server_stat(server, "subscribes"), ==, 3);
    server_do(server, "/publish?channel=/good/2");
    check_number(client, "/good/2", 0);
    client_end(client);
    server_stop(server);
}

TEST(bad_names_are_refused_at_the_call)
{
    static const char *const bad[] = {"foo", "/a//b", "/a/**/b", "", "/", "/a/", "/a*", "/*/a",
                                      "/meta/connect", "/meta/**", "/a\n"};
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    cometd_error *error;
    uint64_t id = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *channels[] = {"/good", bad[i]};
        CHECK_STATUS(cometd_client_subscribe(client, channels, 2, &id, &error),
                     COMETD_E_INVALID_CHANNEL);
        CHECK_INT(id, ==, 0);
        CHECK_HAS(cometd_error_message(error), "channels[1]");
        CHECK_STR(cometd_error_channel(error), bad[i]);
        CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_CALL);
        cometd_error_free(error);
        CHECK_STATUS(cometd_client_unsubscribe(client, channels, 2, &id, &error),
                     COMETD_E_INVALID_CHANNEL);
        CHECK_HAS(cometd_error_message(error), "channels[1]");
        cometd_error_free(error);
        CHECK_STATUS(cometd_client_publish(client, bad[i], "1", 1, &id, &error),
                     COMETD_E_INVALID_CHANNEL);
        CHECK_HAS(cometd_error_message(error), "channel");
        cometd_error_free(error);
    }
    CHECK_STATUS(cometd_client_publish(client, "/a/*", "1", 1, NULL, NULL),
                 COMETD_E_INVALID_CHANNEL);
    char *longest = repeated('x', 4096), *longer = repeated('x', 4097);
    longest[0] = longer[0] = '/';
    CHECK_STATUS(cometd_client_subscribe(client, (const char *const[]){longer}, 1, NULL, NULL),
                 COMETD_E_INVALID_CHANNEL);
    subscribed(client, longest);
    CHECK_INT(peer_count(peer, ON_SUBSCRIBE), ==, 1);
    CHECK_INT(peer_count(peer, "/good"), ==, 0);
    free(longest);
    free(longer);
    client_end(client);
    peer_stop(peer);
}

TEST(contract_06_a_subscribe_at_the_end_is_told_as_aborted)
{
    cometd_client *client = build(builder_new("http://127.0.0.1:1/"));
    uint64_t id = subscribe(client, "/a");
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    cometd_event *event = wait_error(client);
    CHECK_INT(cometd_event_id(event), ==, id);
    CHECK_STR(cometd_event_channel(event), "/a");
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_ABORTED);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_SUBSCRIBE);
    cometd_event_free(event);
    free(drain(client));
    cometd_client_free(client);
}

TEST(contract_06_each_channel_ends_in_exactly_one_event_through_a_storm)
{
    enum { CALLS = 200 };
    server *server = server_start("--forget-every-ms", "60", NULL);
    cometd_client *client = client_start(server->url);
    int events[CALLS + 1] = {0};
    uint64_t first = 0;
    for (int i = 0; i < CALLS; i++) {
        char *channel = text("/storm/%d", i);
        uint64_t id = i % 2 ? subscribe(client, channel) : publish(client, channel, "1");
        free(channel);
        if (!first)
            first = id;
        CHECK_INT(id, ==, first + (uint64_t)i);
        test_yield();
    }
    /* Publishes that met a lost session have failed, and nobody has heard of it. */
    cometd_status ended = cometd_client_disconnect(client, limit_ms(), NULL);
    CHECK(ended == COMETD_OK || ended == COMETD_E_UNDELIVERED);
    cometd_event *event;
    while (cometd_client_poll(client, limit_ms(), &event) == COMETD_OK) {
        /* A subscription that is back has its first subscribe's id as well. */
        if (cometd_event_id(event) != 0 && !cometd_event_is_renewed(event)) {
            char *channel = text("/storm/%d", (int)(cometd_event_id(event) - first));
            CHECK_STR(cometd_event_channel(event), channel);
            free(channel);
            events[cometd_event_id(event) - first]++;
        }
        cometd_event_free(event);
    }
    for (int i = 0; i < CALLS; i++)
        CHECK_INT(events[i], ==, 1);
    cometd_client_free(client);
    server_stop(server);
}
