/* Cookies: those given at build, and those that the server sets. */
#include "test.h"

/* What the next response sets, once: a status, and a Set-Cookie header. */
static struct {
    pthread_mutex_t lock;
    int status;
    char header[8300];
} next = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_next(int status, const char *cookie)
{
    pthread_mutex_lock(&next.lock);
    next.status = status;
    snprintf(next.header, sizeof next.header, "Set-Cookie: %s\r\n", cookie);
    pthread_mutex_unlock(&next.lock);
}

static void setting(exchange *x)
{
    pthread_mutex_lock(&next.lock);
    int status = is_on(x, "/meta/connect") ? 0 : next.status;
    if (status)
        next.status = 0;
    pthread_mutex_unlock(&next.lock);
    if (status)
        respond(x, status, next.header, "");
    else
        bayeux(x);
}

/* The Cookie header of the next request on /b. */
static char *cookie_sent(cometd_client *client, peer *peer)
{
    int before = peer_count(peer, "\"channel\":\"/b\"");
    publish(client, "/b", "1");
    char *request = peer_request(peer, "\"channel\":\"/b\"", before + 1);
    char *header = strstr(request, "\r\nCookie: ");
    char *value = header ? strndup(header + 10, strcspn(header + 10, "\r")) : strdup("");
    free(request);
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/b", 0));
    return value;
}

static void check_sent(cometd_client *client, peer *peer, const char *part)
{
    char *sent = cookie_sent(client, peer);
    CHECK_HAS(sent, part);
    free(sent);
}

/* Has a response with this status set a cookie. The publish itself fails. */
static void let_set(cometd_client *client, int status, const char *cookie)
{
    set_next(status, cookie);
    uint64_t id = publish(client, "/a", "1");
    cometd_event_free(wait_event(client, COMETD_EVENT_ERROR, "/a", id));
}

TEST(given_ones_are_sent_with_each_request)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "a", "1"));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "b", "x=y z"));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "c", ""));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "a", "2"));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    char *sent = cookie_sent(client, peer);
    CHECK_HAS(sent, "a=2");
    CHECK_HAS(sent, "b=x=y z");
    CHECK_HAS(sent, "c=");
    CHECK_HAS_NOT(sent, "a=1");
    free(sent);
    client_end(client);
    CHECK_INT(peer_count(peer, "\r\nCookie: "), ==, peer_count(peer, "POST "));
    peer_stop(peer);
}

TEST(any_number_of_them)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    for (int i = 0; i < 300; i++) {
        char *name = text("cookie%d", i);
        CHECK_OK(cometd_client_builder_add_cookie(builder, name, "v"));
        free(name);
    }
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    char *sent = cookie_sent(client, peer);
    CHECK_HAS(sent, "cookie0=v; ");
    CHECK_HAS(sent, "cookie299=v");
    free(sent);
    client_end(client);
    peer_stop(peer);
}

TEST(set_by_the_server_on_any_status)
{
    static const int statuses[] = {503, 500, 404, 401, 400, 302};
    peer *peer = peer_start(setting);
    cometd_client *client = client_connected(peer_url(peer));
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        char *cookie = text("on%d=yes; Path=/", statuses[i]), *sent = text("on%d=yes", statuses[i]);
        let_set(client, statuses[i], cookie);
        check_sent(client, peer, sent);
        free(cookie);
        free(sent);
    }
    client_end(client);
    peer_stop(peer);
}

TEST(the_servers_newest_value_wins)
{
    peer *peer = peer_start(setting);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "BAYEUX_BROWSER", "given"));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "other", "kept"));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    check_sent(client, peer, "BAYEUX_BROWSER=given");
    let_set(client, 503, "BAYEUX_BROWSER=first; Path=/");
    check_sent(client, peer, "BAYEUX_BROWSER=first");
    let_set(client, 503, "BAYEUX_BROWSER=second; Path=/");
    char *sent = cookie_sent(client, peer);
    CHECK_HAS(sent, "BAYEUX_BROWSER=second");
    CHECK_HAS(sent, "other=kept");
    CHECK_HAS_NOT(sent, "given");
    CHECK_HAS_NOT(sent, "first");
    free(sent);
    client_end(client);
    peer_stop(peer);
}

TEST(what_the_server_deletes_is_not_sent)
{
    peer *peer = peer_start(setting);
    cometd_client *client = client_connected(peer_url(peer));
    let_set(client, 503, "gone=1; Path=/");
    check_sent(client, peer, "gone=1");
    let_set(client, 503, "gone=1; Path=/; Max-Age=0");
    char *sent = cookie_sent(client, peer);
    CHECK_HAS_NOT(sent, "gone");
    free(sent);
    client_end(client);
    peer_stop(peer);
}

TEST(those_of_another_path_or_domain_or_scheme_are_not_sent)
{
    peer *peer = peer_start(setting);
    cometd_client *client = client_connected(peer_url(peer));
    let_set(client, 503, "path=1; Path=/elsewhere");
    let_set(client, 503, "domain=1; Path=/; Domain=example.com");
    let_set(client, 503, "secure=1; Path=/; Secure");
    let_set(client, 503, "here=1; Path=/cometd; HttpOnly");
    char *sent = cookie_sent(client, peer);
    CHECK_HAS(sent, "here=1");
    CHECK_HAS_NOT(sent, "path=");
    CHECK_HAS_NOT(sent, "domain=");
    free(sent);
    client_end(client);
    peer_stop(peer);
}

TEST(a_session_bound_to_a_cookie_works)
{
    server *server = server_start("--cookie", NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    WAIT_FOR(server_stat(server, "connects") == 3); /* one is held */
    server_do(server, "/set-cookie?value=fresh%%3D1%%3B%%20Path%%3D/&status=503");
    cometd_event_free(wait_event(client, COMETD_EVENT_ERROR, NULL,
                                 publish(client, "/a", "1")));
    subscribed(client, "/b");
    char *request = server_request(server, "/meta/subscribe");
    CHECK_HAS(request, "fresh=1");
    CHECK_HAS(request, "BAYEUX_BROWSER=");
    free(request);
    client_end(client);
    server_stop(server);
}

TEST(clients_of_one_builder_do_not_share_what_the_server_sets)
{
    peer *peer = peer_start(setting);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    cometd_client *one, *two;
    CHECK_OK(cometd_client_builder_build(builder, &one, NULL));
    CHECK_OK(cometd_client_builder_build(builder, &two, NULL));
    cometd_client_builder_free(builder);
    CHECK_OK(cometd_client_connect(one, NULL));
    CHECK_OK(cometd_client_connect(two, NULL));
    wait_state(one, COMETD_STATE_CONNECTED);
    wait_state(two, COMETD_STATE_CONNECTED);
    let_set(one, 503, "mine=1; Path=/");
    check_sent(one, peer, "mine=1");
    char *sent = cookie_sent(two, peer);
    CHECK_STR(sent, "");
    free(sent);
    client_end(one);
    client_end(two);
    peer_stop(peer);
}
