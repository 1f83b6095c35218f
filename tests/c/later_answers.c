/* Providers that answer later, from another thread, and clients that wait for new credentials. */
#include "test.h"
#include <sys/wait.h>

/* What a provider has retained, for the thread of the test. */
typedef struct provider {
    atomic_uintptr_t kept;
    atomic_int calls;
} provider;

static void *taken(provider *it)
{
    WAIT_FOR(it->kept != 0);
    return (void *)atomic_exchange(&it->kept, 0);
}

static cometd_status keep_token(void *user, int32_t reason, cometd_token *token)
{
    provider *it = user;
    CHECK_INT(reason, ==, COMETD_TOKEN_REFUSED);
    it->calls++;
    CHECK(cometd_token_retain(token) == token);
    it->kept = (uintptr_t)token;
    return COMETD_OK;
}

static cometd_status keep_handshake(void *user, cometd_handshake *handshake)
{
    provider *it = user;
    it->calls++;
    CHECK(cometd_handshake_retain(handshake) == handshake);
    it->kept = (uintptr_t)handshake;
    return COMETD_OK;
}

/* Keeps the first request that is no handshake. */
static cometd_status keep_request(void *user, cometd_request *request)
{
    provider *it = user;
    CHECK_OK(cometd_request_set_header(request, "X-First", "in-the-call"));
    if (cometd_request_phase(request) == COMETD_PHASE_HANDSHAKE || it->calls++)
        return COMETD_OK;
    CHECK(cometd_request_retain(request) == request);
    it->kept = (uintptr_t)request;
    return COMETD_OK;
}

static cometd_client *with_token(const char *url, provider *it, bool waits)
{
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "wrong"));
    if (it)
        CHECK_OK(cometd_client_builder_set_token_provider(builder, keep_token, it, NULL));
    CHECK_OK(cometd_client_builder_set_await_credentials(builder, waits));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

TEST(a_token_is_given_after_the_provider_has_returned)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    cometd_token *token = taken(&it);
    CHECK_STATUS(cometd_token_set_authorization(token, "a\r\nb"), COMETD_E_INVALID_HEADER);
    CHECK(cometd_token_retain(token) == token);
    cometd_token_free(token);
    CHECK_INT(server_stat(server, "handshakes"), ==, 1);
    CHECK_OK(cometd_token_set_authorization(token, "Bearer good"));
    CHECK_STATUS(cometd_token_set_authorization(token, "Bearer other"), COMETD_E_INVALID_STATE);
    CHECK_STATUS(cometd_token_fail(token, "no"), COMETD_E_INVALID_STATE);
    wait_state(client, COMETD_STATE_CONNECTED);
    cometd_token_free(token);
    client_end(client);
    CHECK_INT(it.calls, ==, 1);
    server_stop(server);
}

TEST(a_token_that_fails_says_why)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    cometd_token *token = taken(&it);
    CHECK_OK(cometd_token_fail(token, "the window\nwas closed"));
    cometd_token_free(token);
    char *all = drain(client);
    CHECK_HAS(all, "gave no credentials: the window was closed");
    CHECK_HAS(all, "fatal");
    free(all);
    cometd_client_free(client);
    server_stop(server);
}

TEST(a_token_that_nobody_holds_any_more_has_failed)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    cometd_token_free(taken(&it));
    char *all = drain(client);
    CHECK_HAS(all, "gave no credentials: it set no authorization");
    free(all);
    cometd_client_free(client);
    server_stop(server);
}

TEST(a_token_outlives_its_client)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    cometd_token *token = taken(&it);
    cometd_client_free(client);
    CHECK_STATUS(cometd_token_set_authorization(token, "Bearer good"), COMETD_E_CLOSED);
    CHECK_STATUS(cometd_token_fail(token, NULL), COMETD_E_CLOSED);
    cometd_token_free(token);
    server_stop(server);
}

TEST(a_token_of_the_parent_is_dead_in_a_forked_child)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    cometd_token *token = taken(&it);
    pid_t child = fork();
    CHECK_INT(child, >=, 0);
    if (child == 0) {
        int dead = cometd_token_set_authorization(token, "Bearer good") == COMETD_E_FORKED &&
                   cometd_token_fail(token, NULL) == COMETD_E_FORKED &&
                   cometd_token_retain(token) == NULL;
        cometd_token_free(token);
        _exit(dead ? 0 : 1);
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), ==, child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_OK(cometd_token_set_authorization(token, "Bearer good"));
    cometd_token_free(token);
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    server_stop(server);
}

static void *give_and_end(void *token)
{
    CHECK_OK(cometd_token_set_authorization(token, "Bearer good"));
    cometd_token_free(token);
    pthread_exit(NULL);
}

TEST(a_thread_that_answers_may_end)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    thread_join(thread_start(give_and_end, taken(&it)));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    server_stop(server);
}

TEST(no_thread_waits_for_an_answer)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, false);
    cometd_token *token = taken(&it);
    /* The one of all I/O is left. */
    WAIT_FOR(count_library_threads() == 1);
    cometd_token_free(token);
    cometd_client_free(client);
    server_stop(server);
}

static cometd_client *with_handshake(peer *peer, provider *it)
{
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, keep_handshake, it, NULL));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

TEST(a_handshake_is_answered_later)
{
    peer *peer = peer_start(bayeux);
    provider it = {0, 0};
    cometd_client *client = with_handshake(peer, &it);
    cometd_handshake *handshake = taken(&it);
    CHECK_INT(cometd_handshake_attempt(handshake), ==, 1);
    CHECK_INT(peer_count(peer, "POST "), ==, 0);
    CHECK_OK(cometd_handshake_fail(handshake, "no key"));
    CHECK_STATUS(cometd_handshake_set_fields(handshake, "{}", 2), COMETD_E_INVALID_STATE);
    cometd_handshake_free(handshake);
    cometd_event *event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_CREDENTIALS);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "provider failed: no key");
    cometd_event_free(event);

    cometd_handshake_free(taken(&it));
    event = wait_error(client);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "it set no fields");
    cometd_event_free(event);

    handshake = taken(&it);
    const char *fields = "{\"ext\":{\"late\":true}}";
    CHECK_OK(cometd_handshake_set_fields(handshake, fields, strlen(fields)));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(peer_count(peer, "\"late\":true"), ==, 1);
    client_end(client);
    CHECK_STATUS(cometd_handshake_set_fields(handshake, "{}", 2), COMETD_E_CLOSED);
    cometd_handshake_free(handshake);
    peer_stop(peer);
}

TEST(a_request_is_sent_when_its_headers_are_complete)
{
    peer *peer = peer_start(bayeux);
    provider it = {0, 0};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_header_provider(builder, keep_request, &it, NULL));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_request *request = taken(&it);
    CHECK_INT(cometd_request_phase(request), ==, COMETD_PHASE_CONNECT);
    CHECK_INT(peer_count(peer, "\"/meta/connect\""), ==, 0);
    CHECK_OK(cometd_request_set_header(request, "X-Later", "1"));
    CHECK_HAS(cometd_request_body(request, NULL), "/meta/connect");
    cometd_request_free(request);
    char *sent = peer_request(peer, "\"/meta/connect\"", 1);
    CHECK_HAS(sent, "\r\nX-First: in-the-call\r\n");
    CHECK_HAS(sent, "\r\nX-Later: 1\r\n");
    free(sent);
    wait_state(client, COMETD_STATE_CONNECTED);

    /* The next one fails, and its publish with it. */
    free(peer_request(peer, "\"/meta/connect\"", 2));
    it.calls = 0;
    uint64_t id = publish(client, "/a", "1");
    request = taken(&it);
    CHECK_OK(cometd_request_fail(request, NULL));
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "it gave no reason");
    cometd_event_free(event);
    client_end(client);
    CHECK_STATUS(cometd_request_set_header(request, "X-Late", "1"), COMETD_E_CLOSED);
    cometd_request_free(request);
    peer_stop(peer);
}

TEST(a_refused_client_waits_until_it_is_given_credentials)
{
    server *server = server_start("--token", "good", NULL);
    cometd_client *client = with_token(server->url, NULL, true);
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK(!cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_retry_in_ms(error), >=, 60000);
    CHECK_HAS(cometd_error_message(error), "; waiting for new credentials");
    cometd_event_free(event);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_HANDSHAKING);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, 0), COMETD_NONE);
    CHECK_OK(cometd_client_set_authorization(client, "Bearer good"));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    server_stop(server);
}

TEST(a_refused_client_with_a_silent_provider_takes_credentials_and_ends)
{
    server *server = server_start("--token", "good", NULL);
    provider it = {0, 0};
    cometd_client *client = with_token(server->url, &it, true);
    cometd_token *token = taken(&it);
    CHECK_OK(cometd_client_set_authorization(client, "Bearer good"));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    CHECK_STATUS(cometd_token_fail(token, "late"), COMETD_E_CLOSED);
    cometd_token_free(token);

    client = with_token(server->url, &it, true);
    token = taken(&it);
    CHECK_OK(cometd_token_fail(token, "none"));
    cometd_token_free(token);
    for (int waits = 0; !waits;) {
        cometd_event *event = wait_error(client);
        CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
        waits = cometd_error_status(cometd_event_error(event)) == COMETD_E_CREDENTIALS;
        cometd_event_free(event);
    }
    /* There is no session to be ended. */
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *said = drain(client);
    CHECK_HAS_NOT(said, "fatal");
    free(said);
    cometd_client_free(client);
    server_stop(server);
}
