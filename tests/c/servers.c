/* Several servers: further URLs, and hosts that a server advises. */
#include "test.h"

static cometd_client *start(cometd_client_builder *builder)
{
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

TEST(the_second_one_is_used_when_the_first_is_down_199)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(vacant_url());
    CHECK_OK(cometd_client_builder_add_url(builder, server->url));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "given", "flavour"));
    cometd_client *client = start(builder);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    char *request = server_request(server, "/meta/connect");
    CHECK_HAS(request, "given=flavour");
    free(request);
    client_end(client);
    server_stop(server);
}

TEST(a_server_that_dies_is_left_and_the_subscriptions_go_along_199)
{
    server *first = server_start(NULL), *second = server_start(NULL);
    cometd_client_builder *builder = builder_new(first->url);
    CHECK_OK(cometd_client_builder_add_url(builder, second->url));
    cometd_client *client = start(builder);
    subscribed(client, "/a");
    wait_state(client, COMETD_STATE_CONNECTED);
    server_stop(first);
    wait_state_event(client, COMETD_STATE_REHANDSHAKING);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    server_do(second, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(client);
    server_stop(second);
}

TEST(further_urls_are_checked_at_once)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    static const char *const bad[] = {"", "x", "/cometd", "https://127.0.0.1/",
                                      "http://me:secret@127.0.0.1/", "ftp://h/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STATUS(cometd_client_builder_add_url(builder, bad[i]), COMETD_E_INVALID_URL);
    for (int i = 0; i < 15; i++)
        CHECK_OK(cometd_client_builder_add_url(builder, "http://127.0.0.1:2/"));
    CHECK_STATUS(cometd_client_builder_add_url(builder, "http://127.0.0.1:2/"),
                 COMETD_E_OUT_OF_RANGE);
    cometd_client_builder_free(builder);
    builder = builder_new("http://127.0.0.1:1/");
    CHECK_OK(cometd_client_builder_set_connect_base_path(builder, "http://127.0.0.1:1/connect/"));
    CHECK_STATUS(cometd_client_builder_add_url(builder, "http://127.0.0.1:2/"),
                 COMETD_E_INVALID_ARGUMENT);
    cometd_client_builder_free(builder);
}

static char other_host[64];

/* Sends everybody to another host. */
static void elsewhere(exchange *x)
{
    char *fields = text("\"successful\":false,\"error\":\"403::moved\","
                        "\"advice\":{\"reconnect\":\"handshake\",\"hosts\":[\"%s\"]}",
                        other_host);
    respond_reply(x, fields);
    free(fields);
}

TEST(by_option_a_server_may_send_the_client_to_another_host_60)
{
    for (int follows = 0; follows < 2; follows++) {
        server *server = server_start(NULL);
        snprintf(other_host, sizeof other_host, "127.0.0.1:%d", server->port);
        peer *peer = peer_start(elsewhere);
        cometd_client_builder *builder = builder_new(peer_url(peer));
        CHECK_OK(cometd_client_builder_set_follow_hosts(builder, follows));
        cometd_client *client = start(builder);
        cometd_event *event = wait_event(client, COMETD_EVENT_ADVICE, NULL, 0);
        size_t length = 0;
        const char *advice = cometd_event_advice(event, &length);
        CHECK_HAS(advice, other_host);
        CHECK_INT(length, ==, strlen(advice));
        CHECK(cometd_event_error(event) == NULL && cometd_event_channel(event) == NULL);
        cometd_event_free(event);
        if (follows) {
            wait_state(client, COMETD_STATE_CONNECTED);
            CHECK_INT(peer_count(peer, "POST "), ==, 1);
        } else {
            free(peer_request(peer, "POST ", 3));
            CHECK_INT(server_stat(server, "handshakes"), ==, 0);
        }
        client_end(client);
        peer_stop(peer);
        server_stop(server);
    }
}

TEST(several_clients_on_a_connection_are_told_of_59)
{
    peer *peer = peer_start(bayeux);
    peer_advise(peer, "{\"multiple-clients\":true,\"interval\":0}");
    cometd_client *client = client_start(peer_url(peer));
    cometd_event *event = wait_event(client, COMETD_EVENT_ADVICE, NULL, 0);
    CHECK_STR(cometd_event_advice(event, NULL), "{\"multiple-clients\":true,\"interval\":0}");
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}
