/* The handshake provider: what a handshake says is asked for before each one. */
#include "test.h"

typedef struct provider {
    const char *answers[4]; /* by attempt, the last one for all that follow; "": none */
    cometd_status result;
    int failing;            /* so many attempts fail */
    atomic_int calls, inside, freed, attempt;
    atomic_int *gate;       /* waits here until it is not 0 */
    char refusals[4][500];
} provider;

static cometd_status provide(void *user, cometd_handshake *handshake)
{
    provider *it = user;
    CHECK_INT(++it->inside, ==, 1);
    CHECK_INT(it->freed, ==, 0);
    int call = it->calls < 3 ? it->calls : 3;
    it->calls++;
    it->attempt = (int)cometd_handshake_attempt(handshake);
    size_t length;
    const char *refusal = cometd_handshake_refusal(handshake, &length);
    CHECK_INT(length, ==, refusal ? strlen(refusal) : 0);
    snprintf(it->refusals[call], sizeof it->refusals[call], "%s", refusal ? refusal : "(none)");
    while (it->gate && !*it->gate)
        test_yield();
    const char *answer = it->answers[call];
    for (int i = call; !answer && i > 0;)
        answer = it->answers[--i];
    if (answer && *answer)
        CHECK_OK(cometd_handshake_set_fields(handshake, answer, strlen(answer)));
    it->inside--;
    return it->calls <= it->failing ? it->result : COMETD_OK;
}

static void count_freed(void *user)
{
    provider *it = user;
    CHECK_INT(it->inside, ==, 0);
    it->freed++;
}

static cometd_client *provided(peer *peer, provider *it)
{
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, provide, it, count_freed));
    const char *ext = "{\"app\":\"mine\",\"answer\":\"none yet\"}";
    CHECK_OK(cometd_client_builder_set_handshake_ext(builder, ext, strlen(ext)));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

static char *handshake_of(peer *peer, int nth)
{
    char *request = peer_request(peer, "\"/meta/handshake\"", nth);
    char *message = json_element(strstr(request, "\r\n\r\n") + 4, 0);
    free(request);
    return message;
}

static void check_field(const char *message, const char *name, const char *json)
{
    char *value = json_field(message, name);
    CHECK_STR(value, json);
    free(value);
}

/* Wants an answer to a challenge, which is the number of the request. */
static void challenge(exchange *x)
{
    if (!is_on(x, "/meta/handshake") || strstr(x->body, "answer-to-1")) {
        bayeux(x);
        return;
    }
    char *fields = text("\"own\":[true],\"successful\":false,\"error\":\"401::challenge\","
                        "\"ext\":{\"challenge\":%d},\"advice\":{\"reconnect\":\"handshake\"}",
                        x->number);
    respond_reply(x, fields);
    free(fields);
}

TEST(a_challenge_is_answered_13)
{
    peer *peer = peer_start(challenge);
    static provider it = {.answers = {"", "{\"ext\":{\"answer\":\"answer-to-1\"}}"}};
    cometd_client *client = provided(peer, &it);
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_REFUSED);
    CHECK(!cometd_error_is_fatal(error));
    CHECK_STR(cometd_error_bayeux(error, NULL), "401::challenge");
    cometd_event_free(event);
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(it.calls, ==, 2);
    CHECK_INT(it.attempt, ==, 2);
    CHECK_STR(it.refusals[0], "(none)");
    check_field(it.refusals[1], "ext", "{\"challenge\":1}");
    check_field(it.refusals[1], "own", "[true]");
    check_field(it.refusals[1], "channel", "\"/meta/handshake\"");
    char *first = handshake_of(peer, 1), *second = handshake_of(peer, 2);
    check_field(first, "ext", "{\"app\":\"mine\",\"answer\":\"none yet\"}");
    check_field(second, "ext", "{\"answer\":\"answer-to-1\",\"app\":\"mine\"}");
    free(second);
    free(first);
    client_end(client);
    WAIT_FOR(it.freed == 1);
    CHECK_INT(it.calls, ==, 2);
    peer_stop(peer);
}

static void refuse_twice(exchange *x)
{
    if (is_on(x, "/meta/handshake") && x->number == 1)
        respond(x, 503, "", "");
    else if (is_on(x, "/meta/handshake") && x->number == 2)
        respond_reply(x, "\"successful\":false");
    else
        bayeux(x);
}

TEST(each_attempt_has_its_own_fields_14)
{
    peer *peer = peer_start(refuse_twice);
    static provider it = {.answers = {"{\"ext\":{\"n\":1},\"a\":1}", "{\"ext\":{\"n\":2}}", ""}};
    cometd_client *client = provided(peer, &it);
    wait_state(client, COMETD_STATE_CONNECTED);
    static const char *const exts[] = {"{\"answer\":\"none yet\",\"app\":\"mine\",\"n\":1}",
                                       "{\"answer\":\"none yet\",\"app\":\"mine\",\"n\":2}",
                                       "{\"app\":\"mine\",\"answer\":\"none yet\"}"};
    for (int i = 0; i < 3; i++) {
        char *message = handshake_of(peer, i + 1);
        check_field(message, "ext", exts[i]);
        check_field(message, "a", i ? NULL : "1");
        free(message);
    }
    CHECK_INT(it.calls, ==, 3);
    CHECK_STR(it.refusals[1], "(none)"); /* no reply refused the first */
    CHECK_HAS(it.refusals[2], "\"successful\":false");
    client_end(client);
    peer_stop(peer);
}

TEST(the_protocols_own_fields_win_2)
{
    peer *peer = peer_start(bayeux);
    static provider it = {.answers = {"{\"id\":\"99\",\"channel\":\"/x\",\"version\":\"9\",\"minimumVersion\":9,"
                               "\"supportedConnectionTypes\":[],\"clientId\":\"c\",\"advice\":{},"
                               "\"ext\":{\"ack\":\"no\"},\"com.acme\": {\"a\" : 1.50}}"}};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, provide, &it, NULL));
    CHECK_OK(cometd_client_builder_set_acknowledgement(builder, true));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    char *message = handshake_of(peer, 1);
    CHECK_STR(message,
              "{\"channel\":\"/meta/handshake\",\"id\":\"1\",\"version\":\"1.0\",\"minimumVersion\":\"1.0\","
              "\"supportedConnectionTypes\":[\"long-polling\"],\"advice\":{\"timeout\":60000,\"interval\":0},"
              "\"ext\":{\"ack\":true},\"com.acme\":{\"a\" : 1.50}}");
    free(message);
    client_end(client);
    peer_stop(peer);
}

TEST(one_that_fails_is_asked_again)
{
    peer *peer = peer_start(bayeux);
    static provider it = {.failing = 2, .result = COMETD_E_SYSTEM};
    cometd_client *client = provided(peer, &it);
    for (int i = 0; i < 2; i++) {
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_STATUS(cometd_error_status(error), COMETD_E_CREDENTIALS);
        CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_HANDSHAKE);
        CHECK(!cometd_error_is_fatal(error));
        CHECK_INT(cometd_error_retry_in_ms(error), >=, 0);
        CHECK_HAS(cometd_error_message(error),
                  "handshake: the handshake provider failed: it returned -14 (COMETD_E_SYSTEM)");
        cometd_event_free(event);
    }
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(it.calls, ==, 3);
    CHECK_INT(it.attempt, ==, 3);
    CHECK_INT(peer_count(peer, "\"/meta/handshake\""), ==, 1);
    client_end(client);
    peer_stop(peer);
}

static void refuse_for_good(exchange *x)
{
    respond_reply(x, "\"successful\":false,\"advice\":{\"reconnect\":\"none\"}");
}

TEST(a_refusal_with_the_advice_none_is_the_end)
{
    peer *peer = peer_start(refuse_for_good);
    static provider it = {.failing = 0};
    cometd_client *client = provided(peer, &it);
    char *all = drain(client);
    CHECK_HAS(all, "fatal");
    free(all);
    CHECK_INT(it.calls, ==, 1);
    cometd_client_free(client);
    WAIT_FOR(it.freed == 1);
    peer_stop(peer);
}

static cometd_status set_badly(void *user, cometd_handshake *handshake)
{
    static const char *const bad[] = {"", "[]", "7", "{", "{\"ext\":7}", "{\"ext\":null}"};
    const char *good = "{\"good\":1}";
    CHECK_OK(cometd_handshake_set_fields(handshake, good, strlen(good)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STATUS(cometd_handshake_set_fields(handshake, bad[i], strlen(bad[i])),
                     COMETD_E_INVALID_JSON);
    CHECK_STATUS(cometd_handshake_set_fields(handshake, "{\"a\":\"\xff\"}", 9), COMETD_E_INVALID_UTF8);
    CHECK_STATUS(cometd_handshake_set_fields(handshake, NULL, 2), COMETD_E_INVALID_ARGUMENT);
    cometd_client *client = *(cometd_client **)user;
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, 10), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_disconnect(client, 10, NULL), COMETD_E_WOULD_DEADLOCK);
    return COMETD_OK;
}

TEST(fields_that_are_none_are_refused_and_what_would_wait_says_so)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client;
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, set_badly, &client, NULL));
    client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    char *message = handshake_of(peer, 1);
    check_field(message, "good", "1");
    free(message);
    client_end(client);
    peer_stop(peer);
}

TEST(a_slow_one_delays_only_its_own_client_and_takes_none_of_the_requests_time_123)
{
    peer *peer = peer_start(bayeux);
    static atomic_int gate = 0;
    static provider it = {.gate = &gate, .answers = {"{\"slow\":1}"}};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, provide, &it, count_freed));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 2000));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(it.inside == 1);
    long long since = now_ms();
    cometd_client *other = client_connected(peer_url(peer));
    for (int i = 0; i < 20; i++)
        cometd_event_free(wait_event(other, COMETD_EVENT_PUBLISHED, "/y", publish(other, "/y", "1")));
    client_end(other);
    CHECK_INT(peer_count(peer, "\"slow\""), ==, 0);
    WAIT_FOR(now_ms() - since >= 3000); /* longer than a request may take */
    CHECK_INT(peer_count(peer, "\"slow\""), ==, 0);
    gate = 1;
    wait_state(client, COMETD_STATE_CONNECTED);
    cometd_client_disconnect(client, 0, NULL);
    char *all = drain(client);
    CHECK_HAS_NOT(all, "ERROR");
    free(all);
    cometd_client_free(client);
    WAIT_FOR(it.freed == 1);
    peer_stop(peer);
}

TEST(contract_05_freed_while_it_is_asked)
{
    peer *peer = peer_start(bayeux);
    static atomic_int gate = 0;
    static provider it = {.gate = &gate};
    cometd_client *client = provided(peer, &it);
    WAIT_FOR(it.inside == 1);
    cometd_client_free(client);
    WAIT_FOR(count_library_threads() == 1); /* the one that asks */
    CHECK_INT(it.freed, ==, 0);
    gate = 1;
    WAIT_FOR(it.freed == 1);
    WAIT_FOR(count_library_threads() == 0);
    CHECK_INT(peer_count(peer, "POST"), ==, 0);
    peer_stop(peer);
}

TEST(contract_05_one_that_is_replaced_is_freed)
{
    provider first = {.failing = 0}, second = {.failing = 0};
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, provide, &first, count_freed));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, provide, &second, count_freed));
    CHECK_INT(first.freed, ==, 1);
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, NULL, NULL, NULL));
    CHECK_INT(second.freed, ==, 1);
    cometd_client_builder_free(builder);
}

/* Everything that the library has said. */
static char said[1 << 18];
static pthread_mutex_t saying = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *what)
{
    pthread_mutex_lock(&saying);
    strncat(said, what, sizeof said - strlen(said) - 1);
    pthread_mutex_unlock(&saying);
}

static void on_log(void *user, int32_t level, const char *target, const char *line)
{
    (void)user;
    (void)level;
    (void)target;
    say(line);
}

/* Sends back all that it gets, in one way after the other. */
static void echo(exchange *x)
{
    char *message = json_element(x->body, 0), *ext = json_field(message, "ext");
    char *answer = json_field(ext, "answer"), *plain = json_field(message, "plain");
    char *what = NULL;
    switch (x->number % 4) {
    case 0:
        what = text("\"successful\":false,\"error\":%s", answer);
        respond_reply(x, what);
        break;
    case 1:
        what = text("<html><title>%s</title></html>", answer);
        respond(x, 200, "", what);
        break;
    case 2:
        what = text("not json %s", plain);
        respond(x, 503, "", what);
        break;
    default:
        what = text("HTTP/1.1 307 No\r\nLocation: /%s\r\nContent-Length: 0\r\n\r\n", "Sx7-answer-4");
        respond_bytes(x, what, strlen(what));
        break;
    }
    free(what);
    free(plain);
    free(answer);
    free(ext);
    free(message);
}

static cometd_status provide_secrets(void *user, cometd_handshake *handshake)
{
    int attempt = (int)cometd_handshake_attempt(handshake);
    char *fields = text("{\"ext\":{\"answer\":\"Sx7-answer-%d\"},\"plain\":\"Sx7\\u002dplain-%d\"}",
                        attempt, attempt);
    CHECK_OK(cometd_handshake_set_fields(handshake, fields, strlen(fields)));
    free(fields);
    ++*(atomic_int *)user;
    return COMETD_OK;
}

TEST(contract_13_what_it_gives_is_never_read_anywhere)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, on_log, NULL, NULL));
    peer *peer = peer_start(echo);
    atomic_int calls = 0;
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_handshake_provider(builder, provide_secrets, &calls, NULL));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 7));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    char *all = drain(client);
    CHECK_HAS(all, "fatal");
    CHECK_HAS(all, "HTML page");
    say(all);
    free(all);
    cometd_client_free(client);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(calls, ==, 8);
    free(peer_request(peer, "Sx7-answer-1", 1));
    CHECK_HAS_NOT(said, "Sx7-plain");
    CHECK_HAS_NOT(said, "Sx7\\u002dplain");
    CHECK_HAS_NOT(said, "Sx7-answer");
    peer_stop(peer);
}
