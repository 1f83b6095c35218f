/* Extra headers. */
#include "test.h"

static cometd_client *start(cometd_client_builder *builder)
{
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    return client;
}

TEST(extra_headers_are_on_each_request)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-One", "1"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Two", "a"));
    CHECK_OK(cometd_client_builder_add_header(builder, "x-two", "b"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Utf8", "gr\xc3\xbc\xc3\x9f"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Empty", ""));
    cometd_client *client = start(builder);
    publish(client, "/a", "1");
    client_end(client);
    int all = peer_count(peer, "POST ");
    CHECK_INT(all, >=, 4);
    CHECK_INT(peer_count(peer, "\r\nX-One: 1\r\n"), ==, all);
    CHECK_INT(peer_count(peer, "\r\nX-Two: a\r\n"), ==, all);
    CHECK_INT(peer_count(peer, "\r\nX-Two: b\r\n"), ==, all);
    CHECK_INT(peer_count(peer, "\r\nX-Utf8: gr\xc3\xbc\xc3\x9f\r\n"), ==, all);
    CHECK_INT(peer_count(peer, "\r\nX-Empty:"), ==, all);
    peer_stop(peer);
}

TEST(the_librarys_own_headers)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    client_end(client);
    char *request = peer_request(peer, "/meta/handshake", 1);
    CHECK_HAS(request, "\r\nContent-Type: application/json;charset=UTF-8\r\n");
    CHECK_HAS(request, "\r\nUser-Agent: libcometd/");
    CHECK_HAS(request, "\r\nAccept: application/json, */*;q=0.1\r\n");
    CHECK_HAS(request, "\r\nContent-Length: ");
    free(request);
    peer_stop(peer);
}

TEST(the_user_agent_can_be_replaced)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_add_header(builder, "User-Agent", "mine/1"));
    cometd_client *client = start(builder);
    client_end(client);
    CHECK_INT(peer_count(peer, "\r\nUser-Agent: mine/1\r\n"), ==, peer_count(peer, "POST "));
    CHECK_INT(peer_count(peer, "libcometd"), ==, 0);
    peer_stop(peer);
}

TEST(headers_of_the_transport_are_refused)
{
    static const char *const names[] = {"Host",      "content-length", "Content-Type",
                                        "Cookie",    "connection",     "Transfer-Encoding",
                                        "Proxy-Authorization"};
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_STATUS(cometd_client_builder_add_header(builder, names[i], "1"),
                     COMETD_E_INVALID_ARGUMENT);
    cometd_client_builder_free(builder);
}

TEST(there_are_at_most_a_hundred_of_64_kib)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    char *longest = repeated('x', 65536), *longer = repeated('x', 65537);
    CHECK_STATUS(cometd_client_builder_add_header(builder, "X", longer), COMETD_E_OUT_OF_RANGE);
    CHECK_OK(cometd_client_builder_add_header(builder, "X", longest));
    for (int i = 1; i < 100; i++)
        CHECK_OK(cometd_client_builder_add_header(builder, i % 2 ? "A" : "B", "1"));
    CHECK_STATUS(cometd_client_builder_add_header(builder, "C", "1"), COMETD_E_OUT_OF_RANGE);
    free(longest);
    free(longer);
    cometd_client_builder_free(builder);
}
