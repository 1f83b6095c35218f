/* The connect loop. */
#include "test.h"

#define ON_CONNECT "\"channel\":\"/meta/connect\""
#define EVENT(channel, n) "{\"channel\":\"" channel "\",\"data\":{\"n\":" #n "}}"

static void check_message(cometd_client *client, const char *channel, long number)
{
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, channel, 0);
    CHECK_INT(message_number(event), ==, number);
    cometd_event_free(event);
}

/* The body of the nth connect, to free. */
static char *connect_body(peer *peer, int nth)
{
    char *request = peer_request(peer, ON_CONNECT, nth);
    char *message = json_element(strstr(request, "\r\n\r\n") + 4, 0);
    free(request);
    return message;
}

TEST(the_first_connect_asks_for_an_answer_at_once_and_the_next_do_not)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    char *first = connect_body(peer, 1), *second = connect_body(peer, 2);
    char *advice = json_field(first, "advice"), *id = json_field(first, "clientId");
    char *type = json_field(first, "connectionType"), *none = json_field(second, "advice");
    CHECK_STR(advice, "{\"timeout\":0}");
    CHECK_STR(id, "\"client-1\"");
    CHECK_STR(type, "\"long-polling\"");
    CHECK_STR(none, NULL);
    free(advice);
    free(id);
    free(type);
    free(first);
    free(second);
    client_end(client);
    peer_stop(peer);
}

static atomic_int failing;

/* Fails one held connect when told to. */
static void failing_connect(exchange *x)
{
    if (is_on(x, "/meta/connect") && !strstr(x->body, "\"timeout\":0")) {
        hold(x);
        if (failing) {
            failing = 0;
            respond(x, 502, "", "");
            return;
        }
    }
    bayeux(x);
}

TEST(the_first_connect_after_a_failure_asks_for_an_answer_at_once)
{
    failing = 1;
    peer *peer = peer_start(failing_connect);
    cometd_client *client = client_connected(peer_url(peer));
    WAIT_FOR(peer_holding(peer) == 1);
    peer_release(peer);
    wait_state_event(client, COMETD_STATE_UNCONNECTED);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    char *after = connect_body(peer, 3), *advice = json_field(after, "advice");
    CHECK_STR(advice, "{\"timeout\":0}");
    free(advice);
    free(after);
    CHECK_INT(peer_count(peer, "\"/meta/handshake\""), ==, 1);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(one_connect_is_outstanding)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    for (int i = 2; i < 30; i++) {
        free(peer_request(peer, ON_CONNECT, i));
        WAIT_FOR(peer_holding(peer) == 1);
        /* Whatever else is sent, no second connect comes. */
        uint64_t id = publish(client, "/a", "1");
        cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
        CHECK_INT(peer_count(peer, ON_CONNECT), ==, i);
        CHECK_INT(peer_holding(peer), ==, 1);
        peer_push(peer, EVENT("/a", 1));
    }
    client_end(client);
    peer_stop(peer);
}

/* Answers the second connect with a reply to another one. */
static void wrong_id(exchange *x)
{
    if (is_on(x, "/meta/connect") && !strstr(x->body, "\"timeout\":0")) {
        respond(x, 200, "", "[" EVENT("/a", 7)
                            ",{\"channel\":\"/meta/connect\",\"id\":\"999\",\"successful\":false,"
                            "\"error\":\"402::wrong\",\"advice\":{\"reconnect\":\"none\"}}]");
        return;
    }
    bayeux(x);
}

TEST(a_connect_reply_is_matched_by_id)
{
    peer *peer = peer_start(wrong_id);
    cometd_client *client = client_connected(peer_url(peer));
    /* It is no answer to the connect: not the end, but a failure of it. */
    cometd_event *event = wait_error(client);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_CONNECT);
    CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_PROTOCOL);
    cometd_event_free(event);
    CHECK_INT(cometd_client_state(client), !=, COMETD_STATE_CLOSED);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(events_before_and_after_the_connect_reply)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    subscribed(client, "/a");
    for (int round = 0; round < 3; round++) {
        peer_push_after(peer, EVENT("/a", 3));
        check_message(client, "/a", 3);
        peer_push(peer, EVENT("/a", 1) "," EVENT("/a", 2));
        check_message(client, "/a", 1);
        check_message(client, "/a", 2);
    }
    client_end(client);
    peer_stop(peer);
}

/* Adds an event before and after the reply to whatever is not a connect. */
static void events_everywhere(exchange *x)
{
    if (is_on(x, "/meta/connect")) {
        bayeux(x);
        return;
    }
    char *reply = reply_to(x, is_on(x, "/meta/handshake")
                                  ? "\"successful\":true,\"version\":\"1.0\",\"clientId\":\"c\","
                                    "\"supportedConnectionTypes\":[\"long-polling\"]"
                                  : "\"successful\":true");
    char *body = text("[" EVENT("/e", 1) ",%s," EVENT("/e", 2) "]", reply);
    respond(x, 200, "", body);
    free(body);
    free(reply);
}

TEST(events_in_the_reply_to_any_request)
{
    peer *peer = peer_start(events_everywhere);
    cometd_client *client = client_start(peer_url(peer));
    wait_state(client, COMETD_STATE_CONNECTED);
    check_message(client, "/e", 1);
    check_message(client, "/e", 2);
    subscribe(client, "/e");
    check_message(client, "/e", 1);
    check_message(client, "/e", 2);
    publish(client, "/p", "1");
    check_message(client, "/e", 1);
    check_message(client, "/e", 2);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    check_message(client, "/e", 1);
    check_message(client, "/e", 2);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(the_next_connect_is_sent_though_the_host_reads_nothing)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    for (int i = 2; i < 50; i++) {
        free(peer_request(peer, ON_CONNECT, i));
        peer_push(peer, EVENT("/a", 1));
    }
    client_end(client);
    peer_stop(peer);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void block(void *user, const cometd_event *event)
{
    (void)user;
    (void)event;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

TEST(the_next_connect_is_sent_though_a_callback_blocks)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = build(builder_new(peer_url(peer)));
    pthread_mutex_lock(&gate);
    CHECK_OK(cometd_client_set_callback(client, block, NULL, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int i = 2; i < 50; i++) {
        free(peer_request(peer, ON_CONNECT, i));
        peer_push(peer, EVENT("/a", 1));
    }
    pthread_mutex_unlock(&gate);
    client_end(client);
    peer_stop(peer);
}

TEST(contract_08_the_next_connect_waits_while_the_queue_is_full_under_block)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 8, 1 << 20));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    free(peer_request(peer, ON_CONNECT, 2));
    /* As many messages as there is room for; the three states do not count. */
    peer_push(peer, EVENT("/a", 1) "," EVENT("/a", 2) "," EVENT("/a", 3) "," EVENT("/a", 4) ","
                    EVENT("/a", 5) "," EVENT("/a", 6) "," EVENT("/a", 7) "," EVENT("/a", 8));
    WAIT_FOR(peer_holding(peer) == 0);
    for (int i = 0; i < 50; i++)
        test_yield();
    CHECK_INT(peer_count(peer, ON_CONNECT), ==, 2);
    for (int i = 1; i <= 8; i++)
        check_message(client, "/a", i);
    free(peer_request(peer, ON_CONNECT, 3));
    client_end(client);
    peer_stop(peer);
}

/* Never answers a held connect. */
static void silent(exchange *x)
{
    if (is_on(x, "/meta/connect") && !strstr(x->body, "\"timeout\":0"))
        await_hang_up(x);
    else
        bayeux(x);
}

TEST(the_deadline_of_a_connect_follows_the_hold_time_of_the_server)
{
    peer *peer = peer_start(silent);
    peer_advise(peer, "{\"reconnect\":\"retry\",\"interval\":0,\"timeout\":1500}");
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 2000));
    cometd_client *client = build(builder);
    long long start = now_ms();
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    cometd_event *event = wait_error(client);
    long long took = now_ms() - start;
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TIMEOUT);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_CONNECT);
    CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
    CHECK_INT(cometd_error_retry_in_ms(cometd_event_error(event)), >=, 0);
    CHECK_INT(took, >=, 3300);
    cometd_event_free(event);
    wait_state_event(client, COMETD_STATE_UNCONNECTED);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(events_of_the_demo_server_come_in_order_and_complete)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/flood");
    for (int i = 0; i < 10; i++)
        server_do(server, "/publish?channel=/flood&count=100");
    for (int i = 0; i < 1000; i++)
        check_message(client, "/flood", i % 100);
    client_end(client);
    server_stop(server);
}
