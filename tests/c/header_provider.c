/* The header provider: headers of each request are asked for before it is sent. */
#include "test.h"

typedef struct provider {
    cometd_status result;
    int failing; /* so many calls fail, those of `phase` */
    int phase;
    atomic_int calls, inside, freed;
    atomic_int *gate; /* waits here until it is not 0 */
    char urls[8][200];
} provider;

/* Signs a request by its length, and numbers it. */
static cometd_status sign(void *user, cometd_request *request)
{
    provider *it = user;
    CHECK_INT(++it->inside, ==, 1);
    CHECK_INT(it->freed, ==, 0);
    while (it->gate && !*it->gate)
        test_yield();
    size_t length;
    const char *body = cometd_request_body(request, &length);
    CHECK_INT(length, ==, strlen(body));
    CHECK_INT(body[0], ==, '[');
    const char *url = cometd_request_url(request, &length);
    CHECK_INT(length, ==, strlen(url));
    CHECK_STR(cometd_request_method(request), "POST");
    int phase = cometd_request_phase(request);
    CHECK_INT(strstr(body, "/meta/handshake") != NULL, ==, phase == COMETD_PHASE_HANDSHAKE);
    CHECK_INT(strstr(body, "/meta/connect") != NULL, ==, phase == COMETD_PHASE_CONNECT);
    CHECK_INT(strstr(body, "/meta/disconnect") != NULL, ==, phase == COMETD_PHASE_DISCONNECT);
    snprintf(it->urls[it->calls % 8], sizeof it->urls[0], "%s", url);
    char *signature = text("sum-of-%d-%zu", ++it->calls, strlen(body));
    CHECK_OK(cometd_request_set_header(request, "X-Signature", "overwritten"));
    CHECK_OK(cometd_request_set_header(request, "X-Signature", signature));
    free(signature);
    it->inside--;
    if (it->failing && phase == it->phase) {
        it->failing--;
        return it->result;
    }
    return COMETD_OK;
}

static void count_freed(void *user)
{
    provider *it = user;
    CHECK_INT(it->inside, ==, 0);
    it->freed++;
}

static cometd_client *signing(const char *url, provider *it)
{
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_header_provider(builder, sign, it, count_freed));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

/* Whether a request has the signature of its own body. */
static void check_signed(peer *peer, const char *part)
{
    char *request = peer_request(peer, part, 1);
    char *end = text("-%zu\r\n", strlen(strstr(request, "\r\n\r\n") + 4));
    char *at = strstr(request, "X-Signature: sum-of-");
    CHECK(at != NULL);
    CHECK(strstr(at, end) == strstr(at, "\r\n") - (strlen(end) - 2));
    CHECK(strstr(at + 1, "X-Signature") == NULL);
    free(end);
    free(request);
}

TEST(each_request_has_headers_of_its_own)
{
    peer *peer = peer_start(bayeux);
    static provider it;
    char *url = text("http://u:p@127.0.0.1:%d/cometd?a=b", peer_port(peer));
    cometd_client *client = signing(url, &it);
    free(url);
    wait_state(client, COMETD_STATE_CONNECTED);
    uint64_t id = publish(client, "/a", "\"\xc3\xa4\"");
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cometd_client_free(client);
    WAIT_FOR(it.freed == 1);
    static const char *const parts[] = {"/meta/handshake", "/meta/connect", "\"/a\"",
                                        "/meta/disconnect"};
    for (int i = 0; i < 4; i++)
        check_signed(peer, parts[i]);
    CHECK_INT(peer_count(peer, "X-Signature: sum-of-"), ==, it.calls);
    CHECK_HAS(it.urls[0], "/cometd?a=b");
    CHECK_HAS_NOT(it.urls[0], "u:p");
    peer_stop(peer);
}

static cometd_status set_badly(void *user, cometd_request *request)
{
    static const struct {
        const char *name, *value;
        cometd_status status;
    } bad[] = {
        {NULL, "x", COMETD_E_INVALID_ARGUMENT},
        {"X-A", NULL, COMETD_E_INVALID_ARGUMENT},
        {"Host", "x", COMETD_E_INVALID_ARGUMENT},
        {"Content-Length", "1", COMETD_E_INVALID_ARGUMENT},
        {"Cookie", "a=b", COMETD_E_INVALID_ARGUMENT},
        {"Proxy-Authorization", "x", COMETD_E_INVALID_ARGUMENT},
        {"Sec-WebSocket-Key", "x", COMETD_E_INVALID_ARGUMENT},
        {"Authorization", " ", COMETD_E_INVALID_ARGUMENT},
        {"X A", "x", COMETD_E_INVALID_HEADER},
        {"X-A", "x\r\nX-B: y", COMETD_E_INVALID_HEADER},
        {"X-A", "\xff", COMETD_E_INVALID_UTF8},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STATUS(cometd_request_set_header(request, bad[i].name, bad[i].value), bad[i].status);
    CHECK_OK(cometd_request_set_header(request, "Authorization", "Sign 1"));
    CHECK_OK(cometd_request_set_header(request, "X-Own", "2"));
    CHECK_OK(cometd_request_set_header(request, "user-agent", "3"));
    CHECK_STATUS(cometd_client_wait(*(cometd_client **)user, COMETD_STATE_CONNECTED, 1),
                 COMETD_E_WOULD_DEADLOCK);
    return COMETD_OK;
}

TEST(its_headers_stand_in_place_of_others_and_are_checked)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static cometd_client *client;
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "replaced"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Own", "replaced"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Own", "replaced too"));
    CHECK_OK(cometd_client_builder_add_header(builder, "X-Other", "stays"));
    CHECK_OK(cometd_client_builder_set_header_provider(builder, set_badly, &client, NULL));
    client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    char *request = peer_request(peer, "/meta/handshake", 1);
    CHECK_HAS(request, "Authorization: Sign 1\r\n");
    CHECK_HAS(request, "X-Own: 2\r\n");
    CHECK_HAS(request, "User-Agent: 3\r\n");
    CHECK_HAS(request, "X-Other: stays\r\n");
    CHECK_HAS_NOT(request, "replaced");
    CHECK_HAS_NOT(request, "libcometd");
    CHECK_HAS_NOT(request, "X-A");
    CHECK_HAS_NOT(request, "X-B");
    free(request);
    client_end(client);
    peer_stop(peer);
}

TEST(one_that_fails_costs_its_request_which_is_tried_again_as_any)
{
    static const int phases[] = {COMETD_PHASE_HANDSHAKE, COMETD_PHASE_CONNECT};
    for (int i = 0; i < 2; i++) {
        peer *peer = peer_start(bayeux);
        provider it = {.result = 7, .failing = 2, .phase = phases[i]};
        cometd_client *client = signing(peer_url(peer), &it);
        for (int n = 0; n < 2; n++) {
            cometd_event *event = wait_error(client);
            const cometd_error *error = cometd_event_error(event);
            CHECK_STATUS(cometd_error_status(error), COMETD_E_CREDENTIALS);
            CHECK_HAS(cometd_error_message(error), "the header provider failed: it returned 7");
            CHECK_INT(cometd_error_phase(error), ==, phases[i]);
            CHECK(!cometd_error_is_fatal(error));
            cometd_event_free(event);
        }
        wait_state(client, COMETD_STATE_CONNECTED);
        CHECK_INT(peer_count(peer, "/meta/handshake"), ==, 1);
        client_end(client);
        WAIT_FOR(it.freed == 1);
        peer_stop(peer);
    }
}

TEST(a_publish_whose_headers_fail_has_failed_and_one_with_retries_is_sent_later)
{
    peer *peer = peer_start(bayeux);
    provider it = {.result = COMETD_E_SYSTEM, .phase = COMETD_PHASE_PUBLISH};
    cometd_client *client = signing(peer_url(peer), &it);
    wait_state(client, COMETD_STATE_CONNECTED);
    it.failing = 1;
    uint64_t id = publish(client, "/a", "1");
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_CREDENTIALS);
    cometd_event_free(event);
    it.failing = 1;
    CHECK_OK(cometd_client_publish_with_retries(client, "/b", "1", 1, limit_ms(), 5, &id, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/b", id));
    CHECK_INT(peer_count(peer, "\"/a\""), ==, 0);
    CHECK_INT(peer_count(peer, "\"/b\""), ==, 1);
    client_end(client);
    WAIT_FOR(it.freed == 1);
    peer_stop(peer);
}

TEST(what_it_takes_is_not_the_requests_time_and_other_clients_do_not_wait)
{
    peer *peer = peer_start(bayeux);
    atomic_int gate = 0;
    provider it = {.gate = &gate};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 300));
    CHECK_OK(cometd_client_builder_set_header_provider(builder, sign, &it, count_freed));
    cometd_client *slow = build(builder), *other = client_connected(peer_url(peer));
    long long begun = now_ms();
    CHECK_OK(cometd_client_connect(slow, NULL));
    WAIT_FOR(now_ms() > begun + 600);
    CHECK_INT(cometd_client_state(slow), ==, COMETD_STATE_HANDSHAKING);
    cometd_error *last = NULL;
    cometd_client_last_error(slow, &last);
    CHECK(last == NULL);
    uint64_t id = publish(other, "/a", "1");
    cometd_event_free(wait_event(other, COMETD_EVENT_PUBLISHED, "/a", id));
    gate = 1;
    WAIT_FOR(it.calls >= 1);
    CHECK(cometd_client_wait(slow, COMETD_STATE_CONNECTED, limit_ms()) == COMETD_OK);
    client_end(other);
    client_end(slow);
    WAIT_FOR(it.freed == 1);
    peer_stop(peer);
}

TEST(a_client_that_is_freed_meanwhile_waits_for_nobody)
{
    peer *peer = peer_start(bayeux);
    atomic_int gate = 0;
    provider it = {.gate = &gate};
    cometd_client *client = signing(peer_url(peer), &it);
    WAIT_FOR(it.inside == 1);
    cometd_client_free(client);
    CHECK_INT(it.freed, ==, 0);
    gate = 1;
    WAIT_FOR(it.freed == 1);
    CHECK_INT(peer_count(peer, "/meta/"), ==, 0);
    peer_stop(peer);
}

TEST(another_one_replaces_it_and_null_removes_it)
{
    peer *peer = peer_start(bayeux);
    static provider first, second;
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_header_provider(builder, sign, &first, count_freed));
    CHECK_OK(cometd_client_builder_set_header_provider(builder, sign, &second, count_freed));
    CHECK_INT(first.freed, ==, 1);
    CHECK_OK(cometd_client_builder_set_header_provider(builder, NULL, NULL, NULL));
    CHECK_INT(second.freed, ==, 1);
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(peer_count(peer, "X-Signature"), ==, 0);
    client_end(client);
    peer_stop(peer);
}

static cometd_status give_secret(void *user, cometd_request *request)
{
    (void)user;
    CHECK_OK(cometd_request_set_header(request, "X-Signature", "Sign very-secret-signature"));
    return COMETD_OK;
}

static void tell_signature(exchange *x)
{
    respond(x, 403, "Content-Type: text/plain\r\n", "bad signature: very-secret-signature");
}

TEST(contract_13_what_it_sets_is_told_nowhere)
{
    peer *peer = peer_start(tell_signature);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_header_provider(builder, give_secret, NULL, NULL));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event *event = wait_error(client);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "bad signature");
    CHECK_HAS_NOT(cometd_error_message(cometd_event_error(event)), "very-secret");
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}
