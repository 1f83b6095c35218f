/* Endpoints: which URL a request goes to. */
#include "test.h"

/* What a row of the table sets: the path of the URL, the base paths, the mode. */
typedef struct row {
    const char *path, *handshake, *subscribe, *connect, *disconnect;
    int32_t append;
    /* And what comes of it: request targets. */
    const char *to_handshake, *to_subscribe, *to_connect, *to_disconnect;
} row;

static cometd_client *start_row(const char *url, const row *row)
{
    cometd_client_builder *builder = builder_new(url);
    if (row->handshake)
        CHECK_OK(cometd_client_builder_set_handshake_base_path(builder, row->handshake));
    if (row->subscribe)
        CHECK_OK(cometd_client_builder_set_subscribe_base_path(builder, row->subscribe));
    if (row->connect)
        CHECK_OK(cometd_client_builder_set_connect_base_path(builder, row->connect));
    if (row->disconnect)
        CHECK_OK(cometd_client_builder_set_disconnect_base_path(builder, row->disconnect));
    CHECK_OK(cometd_client_builder_set_append_message_type(builder, row->append));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

static void check_target(peer *peer, const char *channel, const char *target)
{
    char *part = text("\"channel\":\"%s\"", channel), *request = peer_request(peer, part, 1);
    char *line = text("POST %s HTTP/1.1\r\n", target);
    request[strcspn(request, "\n") + 1] = 0;
    CHECK_STR(request, line);
    free(line);
    free(request);
    free(part);
}

static void check_row(const row *row, int v6)
{
    peer *peer = peer_start_at(bayeux, v6, 0);
    if (!peer && v6) {
        fputs("not run: over IPv6, for nothing can listen on [::1] here\n", stderr);
        return;
    }
    CHECK(peer != NULL);
    char *url = text(v6 ? "http://[::1]:%d%s" : "http://127.0.0.1:%d%s", peer_port(peer), row->path);
    cometd_client *client = start_row(url, row);
    uint64_t id = subscribe(client, "/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", id));
    publish(client, "/b", "1");
    const char *channel = "/a";
    CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, NULL, NULL));
    client_end(client);
    check_target(peer, "/meta/handshake", row->to_handshake);
    check_target(peer, "/meta/connect", row->to_connect);
    check_target(peer, "/meta/disconnect", row->to_disconnect);
    check_target(peer, "/meta/subscribe", row->to_subscribe);
    check_target(peer, "/meta/unsubscribe", row->to_subscribe);
    check_target(peer, "/b", row->to_subscribe);
    char *host = text("\r\nHost: %s:%d\r\n", v6 ? "[::1]" : "127.0.0.1", peer_port(peer));
    CHECK_INT(peer_count(peer, host), >=, 5);
    free(host);
    free(url);
    peer_stop(peer);
}

#define N "/notifications/"

static const row table[] = {
    {N, NULL, NULL, NULL, NULL, COMETD_APPEND_AUTO, N "handshake", N, N "connect", N "disconnect"},
    {N, "node/0/", NULL, NULL, NULL, COMETD_APPEND_AUTO, N "node/0/handshake", N, N "connect",
     N "disconnect"},
    {N, NULL, "sub/", NULL, NULL, COMETD_APPEND_AUTO, N "handshake", N "sub/", N "connect",
     N "disconnect"},
    {N, NULL, NULL, "con/", "discon/", COMETD_APPEND_AUTO, N "handshake", N, N "con/connect",
     N "discon/disconnect"},
};

TEST(the_table_with_nothing_set)
{
    check_row(&table[0], 0);
}

TEST(the_table_with_a_handshake_base_path)
{
    check_row(&table[1], 0);
}

TEST(the_table_with_a_subscribe_base_path)
{
    check_row(&table[2], 0);
}

TEST(the_table_with_connect_and_disconnect_base_paths)
{
    check_row(&table[3], 0);
}

TEST(the_table_over_ipv6)
{
    for (int i = 0; i < 4; i++)
        check_row(&table[i], 1);
}

TEST(the_table_at_the_demo_server)
{
    static const char *const channels[] = {"/meta/handshake", "/meta/subscribe", "/meta/connect",
                                           "/meta/disconnect"};
    server *server = server_start(NULL);
    char *url = text("%s/notifications/", server->url);
    for (int i = 0; i < 4; i++) {
        cometd_client *client = start_row(url, &table[i]);
        wait_state(client, COMETD_STATE_CONNECTED);
        subscribed(client, "/a");
        client_end(client);
        const char *targets[] = {table[i].to_handshake, table[i].to_subscribe,
                                 table[i].to_connect, table[i].to_disconnect};
        for (int k = 0; k < 4; k++) {
            char *record = server_request(server, channels[k]);
            char *path = text("\"path\":\"/cometd%s\"", targets[k]);
            CHECK_HAS(record, path);
            free(path);
            free(record);
        }
    }
    free(url);
    server_stop(server);
}

TEST(a_url_without_a_slash_is_a_folder_too)
{
    static const row row = {"/a/b", NULL, "sub", NULL, NULL, COMETD_APPEND_AUTO,
                            "/a/b/handshake", "/a/b/sub", "/a/b/connect", "/a/b/disconnect"};
    check_row(&row, 0);
}

TEST(a_url_without_a_path)
{
    static const row row = {"", NULL, NULL, NULL, NULL, COMETD_APPEND_AUTO,
                            "/handshake", "/", "/connect", "/disconnect"};
    check_row(&row, 0);
}

TEST(base_paths_resolve_as_rfc_3986_says)
{
    static const row row = {"/a/b/", "../up/", "/top/", "./here", "x/../y/", COMETD_APPEND_AUTO,
                            "/a/up/handshake", "/top/", "/a/b/here/connect",
                            "/a/b/y/disconnect"};
    check_row(&row, 0);
}

TEST(percent_encoding_is_kept)
{
    static const row row = {"/a%20b/%C3%A9", "c%2Fd/", NULL, NULL, NULL, COMETD_APPEND_AUTO,
                            "/a%20b/%C3%A9/c%2Fd/handshake", "/a%20b/%C3%A9/",
                            "/a%20b/%C3%A9/connect", "/a%20b/%C3%A9/disconnect"};
    check_row(&row, 0);
}

TEST(append_auto_does_not_append_behind_a_dot)
{
    static const row row = {"/cometd/60.0", NULL, NULL, NULL, NULL, COMETD_APPEND_AUTO,
                            "/cometd/60.0", "/cometd/60.0", "/cometd/60.0", "/cometd/60.0"};
    check_row(&row, 0);
}

TEST(append_auto_does_not_append_to_a_query)
{
    static const row row = {"/cometd?a=1&b=%20", NULL, NULL, NULL, NULL, COMETD_APPEND_AUTO,
                            "/cometd?a=1&b=%20", "/cometd?a=1&b=%20", "/cometd?a=1&b=%20",
                            "/cometd?a=1&b=%20"};
    check_row(&row, 0);
}

TEST(append_always)
{
    static const row row = {"/cometd/60.0", NULL, NULL, NULL, NULL, COMETD_APPEND_ALWAYS,
                            "/cometd/60.0/handshake", "/cometd/60.0/", "/cometd/60.0/connect",
                            "/cometd/60.0/disconnect"};
    check_row(&row, 0);
}

TEST(append_always_keeps_a_query)
{
    static const row row = {"/cometd?a=1", NULL, NULL, NULL, NULL, COMETD_APPEND_ALWAYS,
                            "/cometd/handshake?a=1", "/cometd/?a=1", "/cometd/connect?a=1",
                            "/cometd/disconnect?a=1"};
    check_row(&row, 0);
}

TEST(append_never)
{
    static const row row = {"/cometd", "h/", NULL, NULL, NULL, COMETD_APPEND_NEVER,
                            "/cometd/h/", "/cometd", "/cometd", "/cometd"};
    check_row(&row, 0);
}

TEST(userinfo_becomes_basic_and_a_fragment_is_ignored)
{
    peer *peer = peer_start(bayeux);
    char *url = text("http://us%%65r:p%%C3%%A4ss@127.0.0.1:%d/cometd#fragment", peer_port(peer));
    cometd_client *client = client_connected(url);
    client_end(client);
    /* "user:päss" in UTF-8 */
    CHECK_INT(peer_count(peer, "\r\nAuthorization: Basic dXNlcjpww6Rzcw==\r\n"), ==,
              peer_count(peer, "POST "));
    CHECK_INT(peer_count(peer, "fragment"), ==, 0);
    CHECK_INT(peer_count(peer, "us%65r"), ==, 0);
    CHECK_INT(peer_count(peer, "@127.0.0.1"), ==, 0);
    check_target(peer, "/meta/handshake", "/cometd/handshake");
    free(url);
    peer_stop(peer);
}

TEST(base_paths_to_another_server_are_refused)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/cometd");
    static const char *const bad[] = {"http://elsewhere/", "//elsewhere/x", "https://127.0.0.1:1/",
                                      "http://127.0.0.1:2/", "a b", "a\nb"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(cometd_client_builder_set_connect_base_path(builder, bad[i]),
                     COMETD_E_INVALID_ARGUMENT);
        CHECK_STATUS(cometd_client_builder_set_handshake_base_path(builder, bad[i]),
                     COMETD_E_INVALID_ARGUMENT);
    }
    CHECK_OK(cometd_client_builder_set_connect_base_path(builder, ""));
    cometd_client_builder_free(builder);
}
