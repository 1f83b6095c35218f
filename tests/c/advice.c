/* Advice, as it shows on sockets; the rules have tests of their own in src/session. */
#include "test.h"

#define ON_CONNECT "\"channel\":\"/meta/connect\""
#define ON_HANDSHAKE "\"channel\":\"/meta/handshake\""

/* What one connect, subscribe or handshake is answered, once: fields of the reply. */
static atomic_intptr_t special;
static const char *special_channel;

static void specially(exchange *x)
{
    const char *fields = NULL;
    int at_once = strstr(x->body, "\"timeout\":0") != NULL;
    if (is_on(x, special_channel) && !(at_once && is_on(x, "/meta/connect")))
        fields = (const char *)atomic_exchange(&special, 0);
    if (fields)
        respond_reply(x, fields);
    else
        bayeux(x);
}

static peer *start(const char *channel, const char *fields)
{
    special_channel = channel;
    special = (intptr_t)fields;
    return peer_start(specially);
}

TEST(retry_on_a_connect_keeps_the_session)
{
    peer *peer = start("/meta/connect", "\"successful\":false,\"error\":\"500::busy\","
                                        "\"advice\":{\"reconnect\":\"retry\",\"interval\":50}");
    cometd_client *client = client_start(peer_url(peer));
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_REFUSED);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_CONNECT);
    CHECK(!cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_retry_in_ms(error), >=, 50);
    CHECK_STR(cometd_error_bayeux(error, NULL), "500::busy");
    cometd_event_free(event);
    wait_state_event(client, COMETD_STATE_UNCONNECTED);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    CHECK_INT(peer_count(peer, ON_HANDSHAKE), ==, 1);
    client_end(client);
    peer_stop(peer);
}

TEST(handshake_on_a_connect_makes_a_new_session)
{
    peer *peer = start("/meta/connect", "\"successful\":false,\"error\":\"402::unknown\","
                                        "\"advice\":{\"reconnect\":\"handshake\"}");
    cometd_client *client = client_start(peer_url(peer));
    cometd_event *event = wait_error(client);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "402::unknown");
    CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
    cometd_event_free(event);
    wait_state(client, COMETD_STATE_CONNECTED);
    free(peer_request(peer, "\"clientId\":\"client-2\"", 1));
    CHECK_INT(peer_count(peer, ON_HANDSHAKE), ==, 2);
    client_end(client);
    peer_stop(peer);
}

TEST(none_on_a_connect_is_the_end)
{
    peer *peer = start("/meta/connect", "\"successful\":false,\"error\":\"403::no\","
                                        "\"advice\":{\"reconnect\":\"none\"}");
    cometd_client *client = client_start(peer_url(peer));
    char *all = drain(client);
    CHECK_HAS(all, "ERROR 0 - fatal connect: the server refused: 403::no;STATE 7;CLOSED;");
    free(all);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(none_on_a_handshake_is_the_end)
{
    peer *peer = start("/meta/handshake", "\"successful\":false,\"error\":\"403::no\","
                                          "\"advice\":{\"reconnect\":\"none\"}");
    cometd_client *client = client_start(peer_url(peer));
    char *all = drain(client);
    CHECK_HAS(all, "ERROR 0 - fatal handshake: the server refused: 403::no;STATE 7;CLOSED;");
    free(all);
    CHECK_INT(peer_count(peer, "POST "), ==, 1);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(retry_on_a_handshake_is_another_handshake)
{
    peer *peer = start("/meta/handshake", "\"successful\":false,\"error\":\"500::later\","
                                          "\"advice\":{\"reconnect\":\"retry\",\"interval\":20}");
    cometd_client *client = client_start(peer_url(peer));
    cometd_event *event = wait_error(client);
    CHECK_INT(cometd_error_retry_in_ms(cometd_event_error(event)), >=, 20);
    cometd_event_free(event);
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(peer_count(peer, ON_HANDSHAKE), ==, 2);
    client_end(client);
    peer_stop(peer);
}

TEST(an_unknown_session_in_the_reply_to_a_subscribe_makes_a_new_one)
{
    peer *peer = start("/meta/subscribe", "\"successful\":false,\"error\":\"402::unknown\","
                                          "\"advice\":{\"reconnect\":\"handshake\"}");
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id = subscribe(client, "/a");
    free(peer_request(peer, ON_HANDSHAKE, 2));
    wait_state(client, COMETD_STATE_CONNECTED);
    /* It ends in exactly one event, whichever. */
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *all = drain(client), *one = text(" %llu /a", (unsigned long long)id);
    CHECK_HAS(all, one);
    CHECK_HAS_NOT(strstr(all, one) + 1, one);
    free(one);
    free(all);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(the_interval_is_a_pause_between_connects)
{
    peer *peer = peer_start(bayeux);
    peer_advise(peer, "{\"reconnect\":\"retry\",\"interval\":300,\"timeout\":60000}");
    long long start = now_ms();
    cometd_client *client = client_connected(peer_url(peer));
    free(peer_request(peer, ON_CONNECT, 2));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    free(peer_request(peer, ON_CONNECT, 3));
    CHECK_INT(now_ms() - start, >=, 600);
    client_end(client);
    peer_stop(peer);
}

TEST(the_section_of_the_connection_type_counts)
{
    peer *peer = start("/meta/connect",
                       "\"successful\":false,\"error\":\"500::x\",\"advice\":{"
                       "\"reconnect\":\"retry\",\"long-polling\":{\"reconnect\":\"none\"}}");
    cometd_client *client = client_start(peer_url(peer));
    char *all = drain(client);
    CHECK_HAS(all, "fatal");
    free(all);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(a_session_that_the_demo_server_ends_is_the_end)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    server_do(server, "/disconnect");
    char *all = drain(client);
    CHECK_HAS(all, "fatal");
    CHECK_HAS(all, ";STATE 7;CLOSED;");
    free(all);
    cometd_client_free(client);
    server_stop(server);
}
