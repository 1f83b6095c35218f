/* Extensions of the program's. */
#include "test.h"

/* What an extension of the tests does, and has seen. */
typedef struct extension {
    const char *only;     /* messages with this text; NULL: all */
    const char *field;    /* put behind the last field, NULL: nothing */
    const char *instead;  /* replaces the message, NULL: nothing */
    int slow_ms;
    atomic_int drop; /* is changed while extensions run */
    cometd_status result;
    atomic_int calls, inside, freed, gone;
    atomic_int *gate;     /* waits here until it is not 0 */
    cometd_client *client;
} extension;

/* Inserts `field` in front of the last brace. */
static void add_field(cometd_extension_message *message, const char *field)
{
    size_t length;
    const char *json = cometd_extension_message_json(message, &length);
    CHECK_INT(strlen(json), ==, length);
    CHECK(length > 2 && json[length - 1] == '}');
    char *longer = text("%.*s,%s}", (int)length - 1, json, field);
    CHECK_OK(cometd_extension_message_replace(message, longer, strlen(longer)));
    CHECK_STR(cometd_extension_message_json(message, NULL), longer);
    CHECK_INT(json[length - 1], ==, '}'); /* still there to be read */
    free(longer);
}

static cometd_status extend(void *user, cometd_extension_message *message)
{
    extension *it = user;
    CHECK_INT(++it->inside, ==, 1);
    CHECK_INT(it->freed, ==, 0);
    const char *json = cometd_extension_message_json(message, NULL);
    CHECK(json != NULL && json[0] == '{');
    if (!it->only || strstr(json, it->only)) {
        it->calls++;
        while (it->gate && !*it->gate)
            test_yield();
        if (it->slow_ms)
            usleep((useconds_t)it->slow_ms * 1000);
        if (it->field)
            add_field(message, it->field);
        if (it->instead)
            CHECK_OK(cometd_extension_message_replace(message, it->instead, strlen(it->instead)));
        if (it->drop)
            CHECK_OK(cometd_extension_message_drop(message));
        it->inside--;
        return it->result;
    }
    it->inside--;
    return COMETD_OK;
}

static void count_freed(void *user)
{
    extension *it = user;
    CHECK_INT(it->inside, ==, 0);
    it->freed++;
}

static void add_out(cometd_client_builder *builder, extension *it)
{
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, NULL, it, count_freed));
}

static void add_in(cometd_client_builder *builder, extension *it)
{
    CHECK_OK(cometd_client_builder_add_extension(builder, NULL, extend, it, count_freed));
}

static cometd_client *connecting(cometd_client_builder *builder)
{
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

static void published(cometd_client *client, const char *channel, uint64_t id)
{
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, channel, id));
}

static void check_deleted(cometd_client *client, uint64_t id, int32_t phase, const char *channel)
{
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, channel, id);
    const cometd_error *error = cometd_event_error(event);
    int32_t code;
    CHECK_STATUS(cometd_error_status(error), COMETD_E_MESSAGE_DELETED);
    CHECK_STR(cometd_error_bayeux(error, &code), "404::message_deleted");
    CHECK_INT(code, ==, 404);
    CHECK_INT(cometd_error_phase(error), ==, phase);
    CHECK(!cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_http_status(error), ==, 0);
    cometd_event_free(event);
}

static int failures(cometd_client *client, const char *kind)
{
    char numbers[4000];
    CHECK_OK(cometd_client_statistics(client, numbers, sizeof numbers, NULL));
    char *all = json_field(numbers, "failures"), *one = json_field(all, kind);
    int count = one ? atoi(one) : 0;
    free(one);
    free(all);
    return count;
}

TEST(outgoing_in_reverse_incoming_in_order_and_what_a_message_says_220)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension a = {.field = "\"a\":1", .only = "/x"}, b = {.field = "\"b\":2", .only = "/x"};
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, extend, &a, NULL));
    CHECK_OK(cometd_client_builder_add_extension(builder, NULL, NULL, NULL, NULL));
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, extend, &b, NULL));
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    published(client, "/x", publish(client, "/x", "7"));
    char *request = peer_request(peer, "\"channel\":\"/x\"", 1);
    CHECK_HAS(request, "\"data\":7,\"b\":2,\"a\":1}]");
    CHECK_HAS(request, "\"clientId\":\"client-1\"");
    free(request);
    peer_push(peer, "{\"channel\":\"/x\",\"data\":1}");
    free(peer_request(peer, "\"/meta/connect\"", 3));
    a.field = "\"ext\":[1]"; /* the last one of a name counts */
    b.field = "\"ext\":[2]";
    peer_push(peer, "{\"channel\":\"/x\",\"data\":2}");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/x", 0));
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/x", 0);
    CHECK_STR(cometd_message_data(cometd_event_message(event), NULL), "2");
    CHECK_STR(cometd_message_ext(cometd_event_message(event), NULL), "[2]");
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(the_identity_of_an_outgoing_message_stays_220)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension it = {.instead = "{\"id\":\"77\",\"channel\":\"/y\",\"clientId\":\"z\",\"data\":\"new\"}",
                    .only = "\"channel\":\"/x\""};
    add_out(builder, &it);
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    published(client, "/x", publish(client, "/x", "1"));
    char *request = peer_request(peer, "\"new\"", 1);
    CHECK_HAS(request, "\"channel\":\"/x\"");
    CHECK_HAS(request, "\"clientId\":\"client-1\"");
    CHECK_HAS_NOT(request, "\"77\"");
    CHECK_HAS_NOT(request, "/y");
    free(request);
    client_end(client);
    WAIT_FOR(it.freed == 1);
    peer_stop(peer);
}

TEST(of_three_one_is_deleted_and_the_others_are_sent_104)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension it = {.only = "\"channel\":\"/b\"", .drop = 1};
    add_out(builder, &it);
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_OK(cometd_client_batch_begin(client, NULL));
    uint64_t a = publish(client, "/a", "1"), b = publish(client, "/b", "2");
    uint64_t c = publish(client, "/c", "3");
    CHECK_OK(cometd_client_batch_end(client, NULL));
    check_deleted(client, b, COMETD_PHASE_PUBLISH, "/b");
    published(client, "/a", a);
    published(client, "/c", c);
    char *request = peer_request(peer, "\"channel\":\"/a\"", 1);
    CHECK_HAS(request, "\"channel\":\"/c\"");
    free(request);
    /* A request of which nothing is left is not sent, and holds up nothing. */
    check_deleted(client, publish(client, "/b", "4"), COMETD_PHASE_PUBLISH, "/b");
    published(client, "/a", publish(client, "/a", "5"));
    CHECK_INT(peer_count(peer, "\"channel\":\"/b\""), ==, 0);
    client_end(client);
    peer_stop(peer);
}

TEST(dropped_meta_messages_are_failures_that_are_tried_again)
{
    static const char *const channels[] = {"\"/meta/handshake\"", "\"/meta/connect\""};
    static const int32_t phases[] = {COMETD_PHASE_HANDSHAKE, COMETD_PHASE_CONNECT};
    for (int i = 0; i < 2; i++) {
        peer *peer = peer_start(bayeux);
        cometd_client_builder *builder = builder_new(peer_url(peer));
        extension it = {.only = channels[i], .drop = 1};
        add_out(builder, &it);
        cometd_client *client = connecting(builder);
        for (int k = 0; k < 3; k++)
            check_deleted(client, 0, phases[i], NULL);
        CHECK_INT(peer_count(peer, channels[i]), ==, 0);
        it.drop = 0;
        wait_state(client, COMETD_STATE_CONNECTED);
        CHECK_INT(failures(client, "message_deleted"), >=, 3);
        client_end(client);
        WAIT_FOR(it.freed == 1);
        peer_stop(peer);
    }
}

TEST(a_dropped_disconnect_ends_the_client)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension it = {.only = "\"/meta/disconnect\"", .drop = 1};
    add_out(builder, &it);
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_INT(peer_count(peer, "\"/meta/disconnect\""), ==, 0);
    CHECK_INT(it.calls, ==, 1);
    cometd_client_free(client);
    WAIT_FOR(it.freed == 1);
    peer_stop(peer);
}

TEST(what_is_dropped_on_its_way_in_was_never_sent)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension events = {.only = "\"secret\"", .drop = 1};
    static extension connects = {.only = "\"/meta/connect\"", .drop = 1};
    add_in(builder, &events);
    add_in(builder, &connects);
    cometd_client *client = connecting(builder);
    /* Without its reply a connect has failed. */
    for (int i = 0; i < 3; i++) {
        cometd_event *event = wait_error(client);
        CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_CONNECT);
        CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_PROTOCOL);
        cometd_event_free(event);
    }
    connects.drop = 0;
    wait_state(client, COMETD_STATE_CONNECTED);
    peer_push(peer, "{\"channel\":\"/a\",\"data\":\"secret\"},{\"channel\":\"/a\",\"data\":\"open\"}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, NULL, 0);
    CHECK_STR(cometd_message_data(cometd_event_message(event), NULL), "\"open\"");
    cometd_event_free(event);
    client_end(client);
    CHECK_INT(events.calls, ==, 1);
    WAIT_FOR(events.freed == 1 && connects.freed == 1);
    peer_stop(peer);
}

/* Lines of the log. */
static atomic_int warnings;

static void on_log(void *user, int32_t level, const char *target, const char *line)
{
    (void)user;
    (void)target;
    warnings += level <= COMETD_LOG_WARN && strstr(line, "an extension failed") &&
                strstr(line, "COMETD_E_INVALID_JSON");
}

TEST(one_that_fails_is_contained_210)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_WARN, on_log, NULL, NULL));
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension bad = {.instead = "{}", .drop = 1, .result = COMETD_E_INVALID_JSON};
    static extension good = {.field = "\"good\":1", .only = "\"/x\""};
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, extend, &bad, count_freed));
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, extend, &good, count_freed));
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    published(client, "/x", publish(client, "/x", "1"));
    char *request = peer_request(peer, "\"channel\":\"/x\"", 1);
    CHECK_HAS(request, "\"data\":1,\"good\":1}");
    free(request);
    CHECK_INT(failures(client, "extension"), >=, 6);
    CHECK_INT(failures(client, "extension"), <=, bad.calls);
    client_end(client);
    CHECK_INT(warnings, ==, bad.calls);
    peer_stop(peer);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
}

static cometd_status replace_badly(void *user, cometd_extension_message *message)
{
    static const char *const bad[] = {"", "[]", "7", "{", "{}{}", "null"};
    char *before = strdup(cometd_extension_message_json(message, NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STATUS(cometd_extension_message_replace(message, bad[i], strlen(bad[i])),
                     COMETD_E_INVALID_JSON);
    CHECK_STATUS(cometd_extension_message_replace(message, "{\"a\":\"\xff\"}", 9), COMETD_E_INVALID_UTF8);
    CHECK_STATUS(cometd_extension_message_replace(message, NULL, 2), COMETD_E_INVALID_ARGUMENT);
    char *deep = repeated('[', 200), *up = repeated(']', 200);
    char *nested = text("{\"a\":%s%s}", deep, up);
    CHECK_STATUS(cometd_extension_message_replace(message, nested, strlen(nested)),
                 COMETD_E_INVALID_JSON);
    CHECK_STR(cometd_extension_message_json(message, NULL), before);
    free(nested);
    free(up);
    free(deep);
    free(before);
    ++*(atomic_int *)user;
    return COMETD_OK;
}

TEST(what_is_no_object_is_refused)
{
    atomic_int calls = 0;
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_add_extension(builder, replace_badly, replace_badly, &calls, NULL));
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    CHECK_INT(calls, >=, 6);
    peer_stop(peer);
}

TEST(a_slow_one_takes_nothing_from_a_requests_time_and_delays_nobody_else_123)
{
    peer *peer = peer_start(bayeux);
    static atomic_int gate = 0;
    static extension out = {.only = "\"channel\":\"/x\"", .slow_ms = 2500, .gate = &gate};
    static extension in = {.only = "\"channel\":\"/x\"", .slow_ms = 2500};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, 2000));
    add_out(builder, &out);
    add_in(builder, &in);
    cometd_client *client = connecting(builder);
    wait_state(client, COMETD_STATE_CONNECTED);
    uint64_t id = publish(client, "/x", "1");
    WAIT_FOR(out.inside == 1);
    /* Meanwhile another one does all there is to do. */
    cometd_client *other = client_connected(peer_url(peer));
    published(other, "/y", publish(other, "/y", "1"));
    client_end(other);
    CHECK_INT(peer_count(peer, "\"/x\""), ==, 0);
    gate = 1;
    published(client, "/x", id);
    CHECK_INT(in.calls, ==, 1);
    CHECK_INT(failures(client, "timeout"), ==, 0);
    client_end(client);
    WAIT_FOR(out.freed == 1 && in.freed == 1);
    peer_stop(peer);
}

TEST(idle_clients_have_no_thread_of_their_own)
{
    enum { CLIENTS = 30 };
    peer *peer = peer_start(bayeux);
    cometd_client *clients[CLIENTS];
    /* One for each: it checks that its client calls it once at a time. */
    static extension each[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        cometd_client_builder *builder = builder_new(peer_url(peer));
        each[i].only = "nothing has this";
        CHECK_OK(cometd_client_builder_add_extension(builder, extend, extend, &each[i], count_freed));
        clients[i] = connecting(builder);
    }
    for (int i = 0; i < CLIENTS; i++)
        wait_state(clients[i], COMETD_STATE_CONNECTED);
    WAIT_FOR(peer_holding(peer) == CLIENTS);
    WAIT_FOR(count_library_threads() == 1);
    for (int i = 0; i < CLIENTS; i++)
        cometd_client_free(clients[i]);
    for (int i = 0; i < CLIENTS; i++)
        WAIT_FOR(each[i].freed == 1);
    WAIT_FOR(count_library_threads() == 0);
    peer_stop(peer);
}

static cometd_status free_inside(void *user, cometd_extension_message *message)
{
    extension *it = user;
    if (!strstr(cometd_extension_message_json(message, NULL), "\"channel\":\"/x\""))
        return COMETD_OK;
    it->inside++;
    cometd_client_free(it->client);
    it->gone++;
    /* The message is still good, and so is what else does not wait. */
    add_field(message, "\"late\":1");
    while (it->gate && !*it->gate)
        test_yield();
    CHECK_INT(it->freed, ==, 0);
    it->inside--;
    return COMETD_OK;
}

TEST(contract_03_the_client_may_be_freed_inside)
{
    for (int incoming = 0; incoming < 2; incoming++) {
        peer *peer = peer_start(bayeux);
        cometd_client_builder *builder = builder_new(peer_url(peer));
        atomic_int gate = 0;
        extension it = {.gate = &gate};
        CHECK_OK(cometd_client_builder_add_extension(builder, incoming ? NULL : free_inside,
                                                     incoming ? free_inside : NULL, &it, count_freed));
        it.client = build(builder);
        cometd_client *client = it.client;
        CHECK_OK(cometd_client_connect(client, NULL));
        wait_state(client, COMETD_STATE_CONNECTED);
        publish(client, "/x", "1");
        WAIT_FOR(it.gone == 1);
        CHECK_INT(it.freed, ==, 0);
        gate = 1;
        WAIT_FOR(it.freed == 1);
        WAIT_FOR(count_library_threads() == 0);
        CHECK_INT(peer_count(peer, "\"late\""), ==, 0);
        peer_stop(peer);
        CHECK_INT(it.freed, ==, 1);
    }
}

TEST(contract_05_freed_while_it_runs_and_others_wait)
{
    peer *peer = peer_start(bayeux);
    static atomic_int gate = 0;
    static extension it = {.only = "\"/meta/handshake\"", .gate = &gate};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    add_out(builder, &it);
    cometd_client *client = connecting(builder);
    WAIT_FOR(it.inside == 1);
    cometd_client_free(client);
    WAIT_FOR(count_library_threads() == 1); /* the one that runs it */
    CHECK_INT(it.freed, ==, 0);
    gate = 1;
    WAIT_FOR(it.freed == 1);
    WAIT_FOR(count_library_threads() == 0);
    CHECK_INT(peer_count(peer, "POST"), ==, 0);
    peer_stop(peer);
}

static cometd_status wait_inside(void *user, cometd_extension_message *message)
{
    extension *it = user;
    cometd_event *event;
    (void)message;
    CHECK_STATUS(cometd_client_poll(it->client, -1, &event), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_wait(it->client, COMETD_STATE_CLOSED, 10), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_disconnect(it->client, 10, NULL), COMETD_E_WOULD_DEADLOCK);
    CHECK_INT(cometd_client_state(it->client), !=, COMETD_STATE_IDLE);
    if (it->calls++ == 0)
        it->gone = (int)publish(it->client, "/from/inside", "1");
    return COMETD_OK;
}

TEST(contract_03_what_would_wait_says_so)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension it = {.only = NULL};
    CHECK_OK(cometd_client_builder_add_extension(builder, wait_inside, wait_inside, &it, NULL));
    it.client = build(builder);
    CHECK_OK(cometd_client_connect(it.client, NULL));
    wait_state(it.client, COMETD_STATE_CONNECTED);
    published(it.client, "/from/inside", (uint64_t)it.gone);
    client_end(it.client);
    CHECK_INT(it.calls, >=, 7);
    peer_stop(peer);
}

TEST(contract_05_free_user_is_called_once_when_all_are_gone)
{
    peer *peer = peer_start(bayeux);
    static extension it = {.only = "nothing has this"};
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_add_extension(builder, extend, extend, &it, count_freed));
    cometd_client *never, *first;
    CHECK_OK(cometd_client_builder_build(builder, &never, NULL));
    CHECK_OK(cometd_client_builder_build(builder, &first, NULL));
    cometd_client_builder_free(builder);
    CHECK_OK(cometd_client_connect(first, NULL));
    wait_state(first, COMETD_STATE_CONNECTED);
    client_end(first);
    WAIT_FOR(count_library_threads() == 0);
    CHECK_INT(it.freed, ==, 0);
    cometd_client_free(never);
    CHECK_INT(it.freed, ==, 1);
    CHECK_STATUS(cometd_client_builder_add_extension(NULL, extend, NULL, &it, count_freed),
                 COMETD_E_INVALID_ARGUMENT);
    CHECK_INT(it.freed, ==, 1);
    peer_stop(peer);
}

/* Everything that the library has said. */
static char said[1 << 16];
static pthread_mutex_t saying = PTHREAD_MUTEX_INITIALIZER;

static void say(void *user, int32_t level, const char *target, const char *line)
{
    (void)user;
    (void)level;
    (void)target;
    pthread_mutex_lock(&saying);
    strncat(said, line, sizeof said - strlen(said) - 1);
    pthread_mutex_unlock(&saying);
}

static void refuse_with_what_came(exchange *x)
{
    char *message = json_element(x->body, 0), *ext = json_field(message, "ext");
    char *token = json_field(ext, "token"), *body = text("<html><title>no %s</title>", token);
    respond(x, 403, "", body);
    free(body);
    free(token);
    free(ext);
    free(message);
}

TEST(contract_13_what_is_put_into_a_handshakes_ext_is_a_secret)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, say, NULL, NULL));
    peer *peer = peer_start(refuse_with_what_came);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    static extension it = {.only = "\"/meta/handshake\"", .field = "\"ext\":{\"token\":\"Sx7-of-an-extension\"}"};
    add_out(builder, &it);
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 1));
    cometd_client *client = connecting(builder);
    char *all = drain(client);
    CHECK_HAS(all, "HTTP 403");
    CHECK_HAS_NOT(all, "Sx7");
    free(all);
    cometd_client_free(client);
    free(peer_request(peer, "Sx7-of-an-extension", 1));
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_HAS(said, "HTTP 403");
    CHECK_HAS_NOT(said, "Sx7");
    peer_stop(peer);
}
