/* Errors: each failure is distinct, and clear. */
#include "test.h"

#include <arpa/inet.h>
#include <sys/socket.h>

/* Starts a client that gives up at the second failure, and checks its first
 * error, of the handshake, and that the second is fatal. */
static void check_error(cometd_client_builder *builder, cometd_status status, int http,
                        const char *message)
{
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 1));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int i = 0; i < 2; i++) {
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_HAS(cometd_error_message(error), message);
        CHECK_STATUS(cometd_error_status(error), status);
        CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_HANDSHAKE);
        if (http >= 0)
            CHECK_INT(cometd_error_http_status(error), ==, http);
        CHECK_INT(cometd_error_is_fatal(error), ==, i);
        if (i)
            CHECK_INT(cometd_error_retry_in_ms(error), ==, -1);
        else
            CHECK_INT(cometd_error_retry_in_ms(error), >=, 0);
        int32_t code = 1;
        CHECK(cometd_error_bayeux(error, &code) == NULL);
        CHECK_INT(code, ==, 0);
        CHECK(cometd_error_channel(error) == NULL);
        CHECK(strchr(cometd_error_message(error), '\n') == NULL);
        CHECK_INT(cometd_event_id(event), ==, 0);
        cometd_event_free(event);
    }
    char *rest = drain(client);
    CHECK_STR(rest, "STATE 7;CLOSED;");
    free(rest);
    cometd_client_free(client);
}

static void check_answer(peer_fn answer, cometd_status status, int http, const char *message)
{
    peer *peer = peer_start(answer);
    check_error(builder_new(peer_url(peer)), status, http, message);
    peer_stop(peer);
}

static void html(exchange *x)
{
    respond(x, 200, "Content-Type: text/html\r\n",
            "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body></body></html>");
}

TEST(an_html_page)
{
    check_answer(html, COMETD_E_HTML, 200,
                 "handshake: the response is an HTML page (\"Log in\"), not Bayeux messages");
}

static void unavailable(exchange *x)
{
    respond(x, 503, "", "<html><title>Busy</title></html>");
}

TEST(http_503)
{
    check_answer(unavailable, COMETD_E_HTTP_STATUS, 503,
                 "handshake: HTTP 503 Service Unavailable (HTML page \"Busy\")");
}

static void not_found(exchange *x)
{
    respond(x, 404, "", "");
}

TEST(http_404)
{
    check_answer(not_found, COMETD_E_HTTP_STATUS, 404, "handshake: HTTP 404 Not Found");
}

static void unauthorized(exchange *x)
{
    respond(x, 401, "WWW-Authenticate: Bearer\r\n", "");
}

TEST(http_401)
{
    check_answer(unauthorized, COMETD_E_UNAUTHORIZED, 401, "handshake: HTTP 401 Unauthorized");
}

static void text_body(exchange *x)
{
    respond(x, 200, "", "It works!");
}

TEST(a_body_that_is_not_json)
{
    check_answer(text_body, COMETD_E_NOT_JSON, 200, "handshake: the response is not JSON");
}

static void half_json(exchange *x)
{
    respond(x, 200, "", "[{\"channel\":\"/meta/handshake\",");
}

TEST(a_body_that_is_cut_json)
{
    check_answer(half_json, COMETD_E_NOT_JSON, 200, "handshake: the response is not JSON");
}

static void no_body(exchange *x)
{
    respond(x, 200, "", "");
}

TEST(an_empty_body)
{
    check_answer(no_body, COMETD_E_NOT_JSON, 200, "handshake: the response has no body");
}

static void bad_utf8(exchange *x)
{
    respond(x, 200, "", "[\"\xff\"]");
}

TEST(a_body_that_is_not_utf8)
{
    check_answer(bad_utf8, COMETD_E_NOT_JSON, 200, "handshake: the response is not UTF-8");
}

static void deep_json(exchange *x)
{
    char *deep = repeated('[', 200000);
    respond(x, 200, "", deep);
    free(deep);
}

TEST(a_body_that_is_nested_deep)
{
    check_answer(deep_json, COMETD_E_NOT_JSON, 200, "handshake: the response is not JSON");
}

static void other_reply(exchange *x)
{
    respond(x, 200, "", "[{\"channel\":\"/a\",\"data\":1}]");
}

TEST(a_response_without_the_reply)
{
    check_answer(other_reply, COMETD_E_PROTOCOL, -1, "handshake: ");
}

TEST(a_closed_socket)
{
    check_answer(hang_up, COMETD_E_CONNECTION_LOST, 0,
                 "handshake: the server closed the connection before the whole response");
}

TEST(a_reset_socket)
{
    check_answer(reset, COMETD_E_CONNECTION_LOST, 0, "connection reset by peer");
}

static void half_response(exchange *x)
{
    respond_bytes(x, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{", 42);
    hang_up(x);
}

TEST(a_response_that_is_cut)
{
    check_answer(half_response, COMETD_E_CONNECTION_LOST, 0, "handshake: ");
}

static void no_http(exchange *x)
{
    respond_bytes(x, "SSH-2.0-OpenSSH_9.2p1\r\n\r\n", 25);
    hang_up(x);
}

TEST(a_response_that_is_not_http)
{
    check_answer(no_http, COMETD_E_MALFORMED_HTTP, 0, "handshake: the response is not HTTP/1.1");
}

/* A port on which nobody listens. */
static int closed_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    getsockname(fd, (struct sockaddr *)&address, &length);
    close(fd);
    return ntohs(address.sin_port);
}

TEST(a_refused_connection)
{
    int port = closed_port();
    char *url = text("http://127.0.0.1:%d/cometd", port);
    char *message = text("handshake: tcp connect to 127.0.0.1:%d: connection refused", port);
    check_error(builder_new(url), COMETD_E_TCP, 0, message);
    free(message);
    free(url);
}

TEST(a_name_that_does_not_exist)
{
    check_error(builder_new("http://nonexistent.invalid/cometd"), COMETD_E_DNS, 0,
                "handshake: dns lookup for nonexistent.invalid:80: ");
}

static void never(exchange *x)
{
    (void)x;
    FAIL("a request came over TLS");
}

TEST(tls_with_a_server_that_has_none)
{
    peer *peer = peer_start(never);
    char *url = text("https://127.0.0.1:%d/cometd", peer_port(peer));
    /* What reads as a request there never ends, so the peer has to. */
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 1000));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 0));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TIMEOUT);
    cometd_event_free(event);
    cometd_client_free(client);
    free(url);
    peer_stop(peer);
}

TEST(tls_with_a_plain_http_port)
{
    server *server = server_start(NULL);
    char *url = text("https://127.0.0.1:%d/cometd", server->port);
    char *message = text("handshake: tls with 127.0.0.1:%d: ", server->port);
    check_error(builder_new(url), COMETD_E_TLS, 0, message);
    free(message);
    free(url);
    server_stop(server);
}

static void large(exchange *x)
{
    char *body = repeated(' ', 5000);
    respond(x, 200, "", body);
    free(body);
}

static void large_and_chunked(exchange *x)
{
    char *body = repeated(' ', 5000);
    char *response =
        text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n%s\r\n0\r\n\r\n", body);
    respond_bytes(x, response, strlen(response));
    free(response);
    free(body);
}

TEST(a_response_that_is_too_large)
{
    static const peer_fn answers[] = {large, large_and_chunked};
    for (int i = 0; i < 2; i++) {
        peer *peer = peer_start(answers[i]);
        cometd_client_builder *builder = builder_new(peer_url(peer));
        CHECK_OK(cometd_client_builder_set_response_capacity(builder, 4999));
        check_error(builder, COMETD_E_TOO_LARGE, -1,
                    "handshake: the response is too large: more than 4999 bytes");
        peer_stop(peer);
    }
}

static void redirect_302(exchange *x)
{
    respond(x, 302, "Location: /login\r\n", "");
}

TEST(a_redirect_that_is_not_followed)
{
    check_answer(redirect_302, COMETD_E_REDIRECT, 302, "handshake: HTTP 302: redirect to /login");
}

static void redirect_in_a_circle(exchange *x)
{
    respond(x, 307, "Location: /cometd/handshake\r\n", "");
}

TEST(redirects_in_a_circle)
{
    check_answer(redirect_in_a_circle, COMETD_E_REDIRECT, -1, "handshake: more than 5 redirects");
}

static void redirect_once(exchange *x)
{
    if (strstr(x->head, "POST /cometd/"))
        respond(x, 307, "Location: /moved\r\n", "");
    else
        bayeux(x);
}

TEST(a_redirect_307_is_followed_with_the_body)
{
    peer *peer = peer_start(redirect_once);
    cometd_client *client = client_connected(peer_url(peer));
    client_end(client);
    CHECK_INT(peer_count(peer, "POST /moved "), >=, 3);
    peer_stop(peer);
}

static void silence(exchange *x)
{
    await_hang_up(x);
}

TEST(a_server_that_does_not_answer)
{
    peer *peer = peer_start(silence);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 200));
    check_error(builder, COMETD_E_TIMEOUT, 0, "handshake: ");
    peer_stop(peer);
}

/* A busy server: the connect fails by an HTTP status. */
TEST(an_error_of_the_connect_loop_says_so)
{
    server *server = server_start(NULL);
    server_do(server, "/fail?status=502&on=/meta/connect");
    cometd_client *client = client_start(server->url);
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_HTTP_STATUS);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_CONNECT);
    CHECK_INT(cometd_error_http_status(error), ==, 502);
    CHECK_HAS(cometd_error_message(error), "connect: HTTP 502 Bad Gateway");
    CHECK(!cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_retry_in_ms(error), >=, 10);
    cometd_event_free(event);
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    server_stop(server);
}

TEST(an_error_of_a_subscribe_and_a_publish_tells_the_channel)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    server_do(server, "/fail?status=500&on=/meta/subscribe");
    uint64_t id = subscribe(client, "/a");
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    const cometd_error *error = cometd_event_error(event);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_SUBSCRIBE);
    CHECK_INT(cometd_error_http_status(error), ==, 500);
    CHECK_HAS(cometd_error_message(error), "subscribe");
    CHECK_STR(cometd_error_channel(error), "/a");
    cometd_event_free(event);
    server_do(server, "/fail?status=500&on=/b");
    id = publish(client, "/b", "1");
    event = wait_event(client, COMETD_EVENT_ERROR, "/b", id);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_PUBLISH);
    cometd_event_free(event);
    server_do(server, "/fail?status=500&on=/meta/unsubscribe");
    const char *channel = "/c";
    CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, &id, NULL));
    event = wait_event(client, COMETD_EVENT_ERROR, "/c", id);
    CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_UNSUBSCRIBE);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(accessors_of_no_error)
{
    int32_t code = 7;
    CHECK_STATUS(cometd_error_status(NULL), COMETD_OK);
    CHECK_STR(cometd_error_message(NULL), "");
    CHECK_INT(cometd_error_phase(NULL), ==, 0);
    CHECK(!cometd_error_is_fatal(NULL));
    CHECK_INT(cometd_error_http_status(NULL), ==, 0);
    CHECK_INT(cometd_error_websocket_code(NULL), ==, 0);
    CHECK(cometd_error_bayeux(NULL, &code) == NULL);
    CHECK_INT(code, ==, 0);
    CHECK(cometd_error_channel(NULL) == NULL);
    CHECK_INT(cometd_error_retry_in_ms(NULL), ==, -1);
}

static void refuse(exchange *x)
{
    respond_reply(x, "\"successful\":false,\"error\":\"500::no\"");
}

static void check_status_of(peer_fn answer, int http)
{
    peer *peer = peer_start(answer);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_response_capacity(builder, 4999));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 0));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    CHECK_INT(cometd_error_http_status(cometd_event_error(event)), ==, http);
    cometd_event_free(event);
    free(drain(client));
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(the_status_of_a_response_that_carried_the_error_is_told)
{
    check_status_of(refuse, 200);
    check_status_of(other_reply, 200);
    check_status_of(large, 200);
    check_status_of(redirect_in_a_circle, 307);
}
