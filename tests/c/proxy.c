/* Proxies, and what TLS is told. */
#include "test.h"

#define HOST "bayeux.invalid:8080"
#define URL "http://" HOST "/cometd"

/* "127.0.0.1:PORT", to free. */
static char *name_of(peer *peer)
{
    return text("127.0.0.1:%d", peer_port(peer));
}

/* Whether all requests came as to a proxy, and there were some. */
static void check_whole_urls(peer *peer)
{
    int all = peer_count(peer, "POST ");
    CHECK_INT(all, >, 0);
    CHECK_INT(peer_count(peer, "POST " URL), ==, all);
    CHECK_INT(peer_count(peer, "\r\nHost: " HOST "\r\n"), ==, all);
}

static void run(cometd_client_builder *builder)
{
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    client_end(client);
}

TEST(requests_go_through_the_proxy_that_is_set)
{
    peer *proxy = peer_start(bayeux);
    char *url = text("http://Aladdin:open%%20sesame@127.0.0.1:%d/", peer_port(proxy));
    /* The environment does not count then. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "*", 1);
    cometd_client_builder *builder = builder_new(URL);
    CHECK_OK(cometd_client_builder_set_proxy(builder, url));
    run(builder);
    check_whole_urls(proxy);
    CHECK_INT(peer_count(proxy, "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), ==,
              peer_count(proxy, "POST "));
    free(url);
    peer_stop(proxy);
}

TEST(without_a_call_the_environment_decides)
{
    peer *proxy = peer_start(bayeux);
    char *name = name_of(proxy);
    setenv("http_proxy", name, 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    run(builder_new(URL));
    check_whole_urls(proxy);
    unsetenv("http_proxy");
    setenv("ALL_PROXY", name, 1);
    run(builder_new(URL));
    check_whole_urls(proxy);
    free(name);
    peer_stop(proxy);
}

TEST(the_environment_is_read_when_a_client_is_built)
{
    peer *proxy = peer_start(bayeux);
    char *name = name_of(proxy);
    cometd_client_builder *builder = builder_new(URL);
    setenv("http_proxy", name, 1);
    cometd_client *client = build(builder);
    unsetenv("http_proxy");
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    client_end(client);
    check_whole_urls(proxy);
    free(name);
    peer_stop(proxy);
}

/* A server that is here; it must see no request as a proxy does. */
static void check_directly(cometd_client_builder *(*make)(const char *url))
{
    peer *server = peer_start(bayeux);
    run(make(peer_url(server)));
    CHECK_INT(peer_count(server, "POST /cometd"), ==, peer_count(server, "POST "));
    peer_stop(server);
}

TEST(no_proxy_leads_around_it)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "example.com, 127.0.0.0/8", 1);
    check_directly(builder_new);
    setenv("no_proxy", "*", 1);
    check_directly(builder_new);
    unsetenv("no_proxy");
    setenv("NO_PROXY", "127.0.0.1", 1);
    check_directly(builder_new);
}

static cometd_client_builder *without_proxy(const char *url)
{
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_proxy(builder, "http://127.0.0.1:1"));
    CHECK_OK(cometd_client_builder_set_proxy(builder, ""));
    return builder;
}

TEST(an_empty_url_is_no_proxy_whatever_the_environment_says)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    check_directly(without_proxy);
    setenv("http_proxy", "socks4://127.0.0.1:1", 1);
    check_directly(without_proxy);
}

#ifndef _WIN32 /* the names of variables have no case there */
TEST(the_upper_case_variable_for_http_may_be_a_strangers_header)
{
    setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
    check_directly(builder_new);
}

TEST(a_variable_that_is_no_proxy_is_told_at_once)
{
    setenv("ALL_PROXY", "socks4://user:very-secret@proxy:1080", 1);
    cometd_client_builder *builder = builder_new(URL);
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    CHECK_STATUS(cometd_client_builder_build(builder, &client, &error), COMETD_E_INVALID_URL);
    CHECK(client == NULL);
    CHECK_STR(cometd_error_message(error),
              "the environment's ALL_PROXY: is of SOCKS 4; of SOCKS are spoken socks5h and socks5");
    cometd_error_free(error);
    cometd_client_builder_free(builder);
    /* Unless it would not be used. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    cometd_client_free(build(builder_new(URL)));
}

#endif

static void refuse(exchange *x)
{
    respond(x, 407, "Proxy-Authenticate: Basic realm=\"x\"", "user:very-secret");
}

TEST(a_proxy_that_wants_other_credentials_is_told)
{
    peer *proxy = peer_start(refuse);
    char *url = text("http://user:very-secret@127.0.0.1:%d", peer_port(proxy));
    cometd_client_builder *builder = builder_new(URL);
    CHECK_OK(cometd_client_builder_set_proxy(builder, url));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 1));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    char *expected = text("handshake: the proxy 127.0.0.1:%d does not accept the credentials: HTTP 407 "
                          "Proxy Authentication Required",
                          peer_port(proxy));
    for (int i = 0; i < 2; i++) {
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_STATUS(cometd_error_status(error), COMETD_E_PROXY);
        CHECK_INT(cometd_error_http_status(error), ==, 407);
        CHECK_HAS(cometd_error_message(error), expected);
        CHECK_INT(cometd_error_is_fatal(error), ==, i);
        cometd_event_free(event);
    }
    cometd_client_free(client);
    free(expected);
    free(url);
    peer_stop(proxy);
}

TEST(what_is_no_proxy_is_refused_at_once)
{
    static const struct {
        const char *url;
        cometd_status status;
    } bad[] = {
        {"http://", COMETD_E_INVALID_URL},
        {"ftp://proxy:1", COMETD_E_INVALID_URL},
        {"socks4://proxy:1", COMETD_E_INVALID_URL},
        {"socks5://:password@proxy:1", COMETD_E_INVALID_URL},
        {"http://proxy:1/path", COMETD_E_INVALID_URL},
        {"http://proxy:99999", COMETD_E_INVALID_URL},
        {"pro xy", COMETD_E_INVALID_URL},
        {"proxy\xff", COMETD_E_INVALID_UTF8},
        {"http://%ff@proxy", COMETD_E_INVALID_UTF8},
        {"http://a%0d%0ab:c@proxy", COMETD_E_INVALID_HEADER},
        {"http://a%3ab:c@proxy", COMETD_E_INVALID_ARGUMENT},
    };
    peer *proxy = peer_start(bayeux);
    char *name = name_of(proxy);
    cometd_client_builder *builder = builder_new(URL);
    CHECK_OK(cometd_client_builder_set_proxy(builder, name));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STATUS(cometd_client_builder_set_proxy(builder, bad[i].url), bad[i].status);
    CHECK_OK(cometd_client_builder_clear_error(builder));
    /* Nothing was changed by them. */
    run(builder);
    check_whole_urls(proxy);
    free(name);
    peer_stop(proxy);
}

TEST(what_is_no_certificate_or_key_is_refused_at_once)
{
    static const char broken[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    static const char key[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    cometd_client_builder *builder = builder_new("https://127.0.0.1:1/");
    static const struct {
        const char *pem;
        size_t length;
    } bad[] = {{"", 0}, {"x", 1}, {"\0\xff", 2}, {broken, sizeof broken - 1}, {key, sizeof key - 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int with_system = 0; with_system < 2; with_system++)
            CHECK_STATUS(cometd_client_builder_set_certificate_authorities(
                             builder, bad[i].pem, bad[i].length, with_system),
                         COMETD_E_INVALID_ARGUMENT);
        CHECK_STATUS(cometd_client_builder_set_client_certificate(builder, bad[i].pem, bad[i].length,
                                                                  key, sizeof key - 1),
                     COMETD_E_INVALID_ARGUMENT);
    }
    CHECK_STATUS(cometd_client_builder_set_certificate_authorities(builder, broken, SIZE_MAX, true),
                 COMETD_E_OUT_OF_RANGE);
    cometd_client_builder_free(builder);
}
