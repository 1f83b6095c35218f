/* Authorization, and that it is never printed. */
#include "test.h"

/* Everything that the library has said, to be searched for secrets. */
static struct {
    pthread_mutex_t lock;
    char text[1 << 20];
    size_t length;
} said = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void say(const char *what)
{
    pthread_mutex_lock(&said.lock);
    size_t length = strlen(what);
    if (said.length + length + 1 < sizeof said.text) {
        memcpy(said.text + said.length, what, length + 1);
        said.length += length;
    }
    pthread_mutex_unlock(&said.lock);
}

static void on_log(void *user, int32_t level, const char *target, const char *line)
{
    (void)user;
    (void)level;
    say(target);
    say(" ");
    say(line);
    say("\n");
}

static void say_events(cometd_client *client)
{
    char *all = drain(client);
    say(all);
    free(all);
}

typedef cometd_status (*set_fn)(cometd_client_builder *builder);

static cometd_status set_bearer(cometd_client_builder *it)
{
    return cometd_client_builder_set_bearer_token(it, "abc");
}

static cometd_status set_basic(cometd_client_builder *it)
{
    return cometd_client_builder_set_basic_auth(it, "Aladdin", "open sesame");
}

static cometd_status set_basic_utf8(cometd_client_builder *it)
{
    return cometd_client_builder_set_basic_auth(it, "test", "123\xc2\xa3");
}

static cometd_status set_basic_without_password(cometd_client_builder *it)
{
    return cometd_client_builder_set_basic_auth(it, "user", NULL);
}

static cometd_status set_other(cometd_client_builder *it)
{
    return cometd_client_builder_set_authorization(it, "OAuth abc");
}

static cometd_status set_header(cometd_client_builder *it)
{
    return cometd_client_builder_add_header(it, "authorization", "Scheme x");
}

static cometd_status set_twice(cometd_client_builder *it)
{
    CHECK_OK(cometd_client_builder_set_bearer_token(it, "first"));
    return cometd_client_builder_set_authorization(it, "OAuth last");
}

static void check_header(set_fn set, const char *value)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(set(builder));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribed(client, "/a");
    client_end(client);
    char *header = text("\r\nAuthorization: %s\r\n", value);
    CHECK_INT(peer_count(peer, header), ==, peer_count(peer, "POST "));
    CHECK_INT(peer_count(peer, "\"/meta/disconnect\""), ==, 1);
    free(header);
    peer_stop(peer);
}

TEST(bearer)
{
    check_header(set_bearer, "Bearer abc");
}

TEST(basic_with_a_password)
{
    check_header(set_basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

TEST(basic_is_utf8_as_rfc_7617_says)
{
    check_header(set_basic_utf8, "Basic dGVzdDoxMjPCow==");
}

TEST(basic_without_a_password)
{
    check_header(set_basic_without_password, "Basic dXNlcjo=");
}

TEST(any_other_scheme)
{
    check_header(set_other, "OAuth abc");
}

TEST(the_header_of_that_name_is_the_same)
{
    check_header(set_header, "Scheme x");
}

TEST(the_last_one_set_counts)
{
    check_header(set_twice, "OAuth last");
}

TEST(changed_while_running_from_the_next_request_on)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "old"));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    free(peer_request(peer, "\"/meta/connect\"", 2));
    int before = peer_count(peer, "POST ");
    CHECK_OK(cometd_client_set_authorization(client, "Bearer new"));
    subscribed(client, "/a");
    client_end(client);
    CHECK_INT(peer_count(peer, "\r\nAuthorization: Bearer old\r\n"), ==, before);
    CHECK_INT(peer_count(peer, "\r\nAuthorization: Bearer new\r\n"), ==,
              peer_count(peer, "POST ") - before);
    peer_stop(peer);
}

TEST(the_demo_server_accepts_the_right_token_and_password)
{
    server *server = server_start("--token", "good", "--basic", "user:p\xc3\xa4ss", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "good"));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_basic_auth(builder, "user", "p\xc3\xa4ss"));
    client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    server_stop(server);
}

TEST(a_wrong_token_is_a_fatal_clear_error)
{
    server *server = server_start("--token", "good", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "wrong"));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_REFUSED);
    CHECK(cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_HANDSHAKE);
    CHECK_INT(cometd_error_retry_in_ms(error), ==, -1);
    int32_t code;
    CHECK_STR(cometd_error_bayeux(error, &code), "403::handshake_denied");
    CHECK_INT(code, ==, 403);
    CHECK_HAS(cometd_error_message(error), "handshake: the server refused: 403::handshake_denied [client 1, ");
    cometd_event_free(event);
    char *rest = drain(client);
    CHECK_STR(rest, "STATE 7;CLOSED;");
    free(rest);
    wait_state(client, COMETD_STATE_CLOSED);
    CHECK_INT(server_stat(server, "handshakes"), ==, 1);
    cometd_client_free(client);
    server_stop(server);
}

static void refuse_all(exchange *x)
{
    respond(x, 401, "WWW-Authenticate: Bearer\r\n", "");
}

static cometd_status fetch(void *user, int32_t reason, cometd_token *token)
{
    CHECK_INT(reason, ==, COMETD_TOKEN_REFUSED);
    ++*(atomic_int *)user;
    return cometd_token_set_authorization(token, "Bearer good");
}

static void count_free(void *user)
{
    *(atomic_int *)user += 1000;
}

TEST(a_token_provider_is_asked_when_the_server_refuses)
{
    atomic_int calls = 0;
    server *server = server_start("--token", "good", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "wrong"));
    CHECK_OK(cometd_client_builder_set_token_provider(builder, fetch, &calls, count_free));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(calls, ==, 1);
    client_end(client);
    WAIT_FOR(calls == 1001);
    server_stop(server);
}

static cometd_status fetch_nothing(void *user, int32_t reason, cometd_token *token)
{
    (void)reason;
    (void)token;
    ++*(atomic_int *)user;
    return COMETD_E_SYSTEM;
}

TEST(a_token_provider_without_credentials_is_told)
{
    atomic_int calls = 0;
    server *server = server_start("--token", "good", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_token_provider(builder, fetch_nothing, &calls, NULL));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    char *all = drain(client);
    CHECK_HAS(all, "COMETD_E_SYSTEM");
    CHECK_HAS(all, "the token provider gave no credentials");
    CHECK_HAS(all, "fatal");
    free(all);
    cometd_error *error;
    CHECK_OK(cometd_client_last_error(client, &error));
    CHECK(cometd_error_is_fatal(error));
    CHECK_HAS(cometd_error_message(error), "; the token provider gave no credentials: ");
    cometd_error_free(error);
    cometd_client_free(client);
    server_stop(server);
}

#define SECRET "Sx7-very-secret"

static cometd_client *secretive(const char *url)
{
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_follow_hosts(builder, true));
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, SECRET "-bearer"));
    CHECK_OK(cometd_client_builder_add_cookie(builder, "session", SECRET "-cookie"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Api-Key", SECRET "-header"));
    const char *ext = "{\"auth\":{\"token\":\"" SECRET "-ext\"}}";
    CHECK_OK(cometd_client_builder_set_handshake_ext(builder, ext, strlen(ext)));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 1));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

static void run_secretive(peer_fn answer)
{
    peer *peer = peer_start(answer);
    cometd_client *client = secretive(peer_url(peer));
    say_events(client);
    cometd_client_free(client);
    free(peer_request(peer, SECRET, 1));
    peer_stop(peer);
}

/* Servers that say what they were sent. */
static void echo_body(exchange *x)
{
    respond(x, 200, "", "<html><head><title>No</title></head></html>");
}

static void set_secret_cookie(exchange *x)
{
    respond(x, 503, "Set-Cookie: other=" SECRET "-set; Path=/\r\n", "busy");
}

static void not_http(exchange *x)
{
    respond_bytes(x, "no HTTP at all\r\n\r\n", 18);
    hang_up(x);
}

/* A service in trouble, which says what it was sent. */
static void echo_in_trouble(exchange *x)
{
    if (is_on(x, "/a"))
        respond_reply(x, "\"successful\":false,\"error\":\"503::busy with " SECRET "-bearer\"");
    else
        bayeux(x);
}

/* Sends everybody to a host that is named like a secret. */
static void echo_as_a_host(exchange *x)
{
    respond_reply(x, "\"successful\":false,\"error\":\"403::moved\","
                     "\"advice\":{\"reconnect\":\"handshake\",\"hosts\":[\"127.0.0.1:1\",\"" SECRET
                     "-bearer\"]}");
}

static void look_for_a_secret(void)
{
    pthread_mutex_lock(&said.lock);
    CHECK_HAS_NOT(said.text, SECRET);
    /* "user:" SECRET as Basic sends it */
    CHECK_HAS_NOT(said.text, "U3g3LX");
    CHECK_HAS_NOT(said.text, "Bearer ");
    pthread_mutex_unlock(&said.lock);
}

TEST(contract_13_no_secret_is_in_a_log_line_or_an_error_125)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, on_log, NULL, NULL));
    run_secretive(refuse_all);
    run_secretive(echo_body);
    run_secretive(set_secret_cookie);
    run_secretive(not_http);
    run_secretive(hang_up);

    server *server = server_start(NULL);
    cometd_client *client = secretive(server->url);
    subscribed(client, "/a");
    CHECK_OK(cometd_client_set_authorization(client, "Other " SECRET "-changed"));
    publish(client, "/a", "{\"n\":\"" SECRET "-data\"}");
    /* Not say_events: the host's own data comes back there, as it must. */
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    cometd_event_free(event);
    server_do(server, "/forget");
    free(server_ask(server, "/sessions"));
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    say_events(client);
    cometd_client_free(client);
    server_stop(server);

    char *url = text("http://user:" SECRET "@127.0.0.1:1/cometd");
    cometd_client_builder *builder = builder_new(url);
    free(url);
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 0));
    client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    say_events(client);
    cometd_client_free(client);

    peer *peer = peer_start(echo_in_trouble);
    client = secretive(peer_url(peer));
    CHECK_OK(cometd_client_publish_with_retries(client, "/a", "1", 1, -1, 3, NULL, NULL));
    free(peer_request(peer, "\"/a\"", 3));
    /* The last attempt may be on its way, or have failed: it is told so. */
    cometd_status status = cometd_client_disconnect(client, limit_ms(), NULL);
    CHECK(status == COMETD_OK || status == COMETD_E_UNDELIVERED);
    say_events(client);
    cometd_client_free(client);
    peer_stop(peer);
    run_secretive(echo_as_a_host);

    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_HAS(said.text, "HTTP 401");
    CHECK_HAS(said.text, "cometd::client");
    CHECK_HAS(said.text, "a publish will be sent again");
    CHECK_HAS(said.text, "another server is asked");
    look_for_a_secret();
}

TEST(contract_13_no_secret_is_in_the_error_of_a_call_125)
{
    cometd_client_builder *builder = NULL;
    cometd_error *error;
    static const char *const urls[] = {"ftp://user:" SECRET "@h/", "http://user:" SECRET "@",
                                       "http://user:" SECRET "@h:99999/", "user:" SECRET "@h",
                                       "http://user:" SECRET " @h/"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        CHECK_STATUS(cometd_client_builder_new(urls[i], &builder, &error), COMETD_E_INVALID_URL);
        CHECK(builder == NULL);
        CHECK_HAS_NOT(cometd_error_message(error), SECRET);
        CHECK_HAS(cometd_error_message(error), "url");
        cometd_error_free(error);
    }
}

TEST(contract_13_what_would_break_out_of_a_header_is_refused)
{
    cometd_client_builder *it = builder_new("http://127.0.0.1:1/");
    static const char *const bad[] = {"a\r\nX: y", "a\nb", "a\rb", "a\001b", "a\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(cometd_client_builder_set_bearer_token(it, i ? bad[i] : "a\r\nX:y"),
                     COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_set_basic_auth(it, i ? bad[i] : "a\r\nX", "p"),
                     COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_set_basic_auth(it, "u", bad[i]),
                     COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_set_authorization(it, bad[i]), COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_add_header(it, "X-A", bad[i]), COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_add_header(it, bad[i], "a"), COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_add_cookie(it, "a", bad[i]), COMETD_E_INVALID_HEADER);
        CHECK_STATUS(cometd_client_builder_add_cookie(it, bad[i], "a"), COMETD_E_INVALID_HEADER);
    }
    CHECK_OK(cometd_client_builder_clear_error(it));
    cometd_client *client = build(it);
    CHECK_STATUS(cometd_client_set_authorization(client, "a\r\nX: y"), COMETD_E_INVALID_HEADER);
    cometd_client_free(client);
}
