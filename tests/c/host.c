/* What the host is told of its clients: outcomes that it does not read, which
 * client it is, and why there is no session. */
#include "test.h"

/* Publishes until the client takes no more: how many it has taken. */
static int publish_until_full(cometd_client *client, int most)
{
    for (int i = 0; i < most; i++) {
        cometd_error *error;
        cometd_status status = cometd_client_publish(client, "/a", "1", 1, NULL, &error);
        if (status == COMETD_E_FULL) {
            CHECK_HAS(cometd_error_message(error), "have not been read by the program");
            CHECK_HAS(cometd_error_message(error), "above the capacity of 10000");
            CHECK_HAS(cometd_error_client(error), "client 1");
            CHECK(cometd_error_url(error) == NULL);
            cometd_error_free(error);
            return i;
        }
        CHECK_OK(status);
    }
    return most;
}

static char *statistics(cometd_client *client)
{
    size_t needed;
    CHECK_STATUS(cometd_client_statistics(client, NULL, 0, &needed), COMETD_E_OUT_OF_RANGE);
    char *json = malloc(needed + 64);
    CHECK_OK(cometd_client_statistics(client, json, needed + 64, NULL));
    return json;
}

static int statistics_have(cometd_client *client, const char *part)
{
    char *json = statistics(client);
    int found = strstr(json, part) != NULL;
    free(json);
    return found;
}

TEST(case_unread_outcomes_of_15000_publishes)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    int accepted = publish_until_full(client, 15000);
    CHECK_INT(accepted, >=, 10000);
    char *unread = text("\"unread_outcomes\":%d", accepted);
    WAIT_FOR(statistics_have(client, unread));
    CHECK(statistics_have(client, "\"blocked\":false,\"times_blocked\":0"));
    /* The connects go on. */
    for (int i = 0; i < 5; i++) {
        WAIT_FOR(peer_holding(peer) == 1);
        int connects = peer_count(peer, "\"/meta/connect\"");
        peer_push(peer, "{\"channel\":\"/b\",\"data\":1}");
        WAIT_FOR(peer_count(peer, "\"/meta/connect\"") > connects);
    }
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    int published = 0, messages = 0;
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        published += cometd_event_type(event) == COMETD_EVENT_PUBLISHED;
        messages += cometd_event_type(event) == COMETD_EVENT_MESSAGE;
        CHECK(cometd_event_error(event) == NULL);
        CHECK(cometd_event_ext(event, NULL) == NULL && !cometd_event_is_renewed(event));
        cometd_event_free(event);
    }
    CHECK_INT(published, ==, accepted);
    CHECK_INT(messages, ==, 5);
    free(unread);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(case_unread_outcomes_disconnect_says_what_failed)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    publish(client, "/denied/a", "1");
    publish(client, "/a", "1");
    WAIT_FOR(statistics_have(client, "\"unread_outcomes\":2"));
    cometd_error *error;
    CHECK_STATUS(cometd_client_disconnect(client, limit_ms(), &error), COMETD_E_UNDELIVERED);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_UNDELIVERED);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_DISCONNECT);
    CHECK_HAS(cometd_error_message(error), "1 message that publish had accepted failed");
    CHECK_STR(cometd_status_name(COMETD_E_UNDELIVERED), "COMETD_E_UNDELIVERED");
    cometd_error_free(error);
    free(drain(client));
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cometd_client_free(client);
    server_stop(server);
}

static struct {
    pthread_mutex_t lock;
    char text[1 << 18];
} got = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_log(void *user, int32_t level, const char *target, const char *line)
{
    (void)user;
    (void)target;
    pthread_mutex_lock(&got.lock);
    size_t used = strlen(got.text);
    snprintf(got.text + used, sizeof got.text - used, "%d %s\n", level, line);
    pthread_mutex_unlock(&got.lock);
}

static void some_paths(exchange *x)
{
    if (strstr(x->head, "/typo/"))
        respond(x, 404, "", "");
    else
        bayeux(x);
}

TEST(case_which_client_of_three_it_is)
{
    peer *peer = peer_start(some_paths);
    CHECK_OK(cometd_log_set(COMETD_LOG_DEBUG, on_log, NULL, NULL));
    static const char *const names[] = {"orders", "news", NULL};
    static const char *const paths[] = {"cometd", "typo", "cometd"};
    static const char *const are[] = {"orders", "news", "client 1"};
    cometd_client *clients[3];
    for (int i = 0; i < 3; i++) {
        char *url = text("http://user:very-secret@127.0.0.1:%d/%s", peer_port(peer), paths[i]);
        cometd_client_builder *builder = builder_new(url);
        if (names[i])
            CHECK_OK(cometd_client_builder_set_name(builder, names[i]));
        clients[i] = build(builder);
        CHECK_STR(cometd_client_name(clients[i]), are[i]);
        CHECK_OK(cometd_client_connect(clients[i], NULL));
        free(url);
    }
    wait_state(clients[0], COMETD_STATE_CONNECTED);
    wait_state(clients[2], COMETD_STATE_CONNECTED);
    cometd_event *event = wait_error(clients[1]);
    const cometd_error *error = cometd_event_error(event);
    char *url = text("http://127.0.0.1:%d/typo/handshake", peer_port(peer));
    char *message = text("handshake: HTTP 404 Not Found [news, %s]", url);
    CHECK_STR(cometd_error_client(error), "news");
    CHECK_STR(cometd_error_url(error), url);
    CHECK_STR(cometd_error_message(error), message);
    CHECK(cometd_error_ext(error, NULL) == NULL && cometd_error_bayeux_json(error, NULL) == NULL);
    cometd_event_free(event);

    /* Its error of a call names it, too. */
    cometd_error *wrong;
    CHECK_STATUS(cometd_client_publish(clients[2], "x", "1", 1, NULL, &wrong), COMETD_E_INVALID_CHANNEL);
    CHECK_STR(cometd_error_client(wrong), "client 1");
    cometd_error_free(wrong);
    CHECK_STATUS(cometd_client_publish(clients[0], "y", "1", 1, NULL, NULL), COMETD_E_INVALID_CHANNEL);
    CHECK_STATUS(cometd_client_poll(clients[0], -2, &event), COMETD_E_OUT_OF_RANGE);

    client_end(clients[0]);
    client_end(clients[2]);
    cometd_client_free(clients[1]);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    char *warning = text("2 news: handshake: HTTP 404 Not Found fatal=false url=%s\n", url);
    char *request = text("4 news: response url=%s status=404 ms=", url);
    CHECK_HAS(got.text, warning);
    CHECK_HAS(got.text, "2 orders: channel: ");
    CHECK_HAS(got.text, "2 orders: timeout_ms: ");
    CHECK_HAS_NOT(got.text, "very-secret");
    for (char *line = strtok(got.text, "\n"); line; line = strtok(NULL, "\n"))
        CHECK(!strncmp(line + 2, "news: ", 6) || !strncmp(line + 2, "orders: ", 8) ||
              !strncmp(line + 2, "client 1: ", 10));
    free(request);
    free(warning);
    free(message);
    free(url);
    peer_stop(peer);
}

TEST(case_which_client_names_are_checked)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    CHECK_STATUS(cometd_client_builder_set_name(builder, ""), COMETD_E_INVALID_ARGUMENT);
    CHECK_STATUS(cometd_client_builder_set_name(builder, "a\nb"), COMETD_E_INVALID_ARGUMENT);
    CHECK_STATUS(cometd_client_builder_set_name(builder, "\xff"), COMETD_E_INVALID_UTF8);
    char *name = repeated('n', 129);
    CHECK_STATUS(cometd_client_builder_set_name(builder, name), COMETD_E_OUT_OF_RANGE);
    CHECK_OK(cometd_client_builder_set_name(builder, name + 1));
    cometd_client *client = build(builder);
    CHECK_STR(cometd_client_name(client), name + 1);
    cometd_client_free(client);
    free(name);
}

TEST(case_which_client_the_session_has_an_id)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = build(builder_new(peer_url(peer)));
    char id[256];
    size_t needed;
    CHECK_STATUS(cometd_client_session_id(client, id, sizeof id, &needed), COMETD_NONE);
    CHECK_INT(needed, ==, 0);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_OK(cometd_client_session_id(client, id, sizeof id, &needed));
    CHECK_INT(strlen(id) + 1, ==, needed);
    char *connect = peer_request(peer, "\"/meta/connect\"", 1);
    char *sent = text("\"clientId\":\"%s\"", id);
    CHECK_HAS(connect, sent);
    CHECK_STATUS(cometd_client_session_id(client, id, 2, NULL), COMETD_E_OUT_OF_RANGE);
    CHECK_INT(strlen(id), ==, 1);
    free(sent);
    free(connect);
    client_end(client);
    peer_stop(peer);
}

static void not_here(exchange *x)
{
    respond(x, 405, "", "");
}

TEST(case_never_works_wait_can_tell_why)
{
    peer *peer = peer_start(not_here);
    cometd_client *client = build(builder_new(peer_url(peer)));
    cometd_error *error;
    CHECK_STATUS(cometd_client_last_error(client, &error), COMETD_NONE);
    CHECK(error == NULL);
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(cometd_client_last_error(client, &error) == COMETD_OK);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, 1), COMETD_NONE);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_HTTP_STATUS);
    CHECK_INT(cometd_error_http_status(error), ==, 405);
    CHECK(!cometd_error_is_fatal(error));
    cometd_error_free(error);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(case_never_works_an_option_ends_it)
{
    peer *peer = peer_start(not_here);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_fail_fast(builder, true));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, limit_ms()), COMETD_CLOSED);
    cometd_error *error;
    CHECK_OK(cometd_client_last_error(client, &error));
    CHECK(cometd_error_is_fatal(error));
    CHECK_INT(cometd_error_http_status(error), ==, 405);
    cometd_error_free(error);
    cometd_client_free(client);
    peer_stop(peer);
}
