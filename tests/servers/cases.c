/*
 * What the library does with a real server, one case a run:
 *
 *   cases CASE URL CONTROLPORT SERVER TRANSPORTS EXPECTED
 *
 * The servers are those of this folder, and the bundled demo server; all have
 * the same channels and control interface. TRANSPORTS is what the client asks
 * for, as "websocket,long-polling", and EXPECTED the one that has carried the
 * session when the case ends. Exits with 0 when the case holds, and otherwise
 * says where it did not. tests/servers/check runs them all.
 */
#include "case.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void ticks_arrive(void) {
    cometd_client *client = new_client();
    uint64_t id = subscribe(client, "/ticks");
    cometd_event *event = AWAIT(client, COMETD_EVENT_SUBSCRIBED, "/ticks");
    CHECK(cometd_event_id(event) == id);
    cometd_event_free(event);
    for (int n = 0; n < 5; n++) {
        event = AWAIT(client, COMETD_EVENT_MESSAGE, "/ticks");
        CHECK(strstr(cometd_message_data(cometd_event_message(event), NULL), "\"tick\":") != NULL);
        cometd_event_free(event);
    }
    finish(client);
}

static void unsubscribed_is_quiet(void) {
    cometd_client *client = new_client();
    const char *channels[] = {"/quiet"};
    subscribe(client, channels[0]);
    subscribe(client, "/loud");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/loud");
    uint64_t id;
    OK(cometd_client_unsubscribe(client, channels, 1, &id, NULL));
    cometd_event *event = AWAIT(client, COMETD_EVENT_UNSUBSCRIBED, "/quiet");
    CHECK(cometd_event_id(event) == id);
    cometd_event_free(event);
    control("/publish?channel=/quiet&count=10&size=10");
    control("/publish?channel=/loud&count=1&size=10");
    do {
        OK(cometd_client_poll(client, LIMIT_MS, &event));
        CHECK(!is_about(event, COMETD_EVENT_MESSAGE, "/quiet"));
        bool last = is_about(event, COMETD_EVENT_MESSAGE, "/loud");
        cometd_event_free(event);
        if (last)
            break;
    } while (true);
    finish(client);
}

static void events_are_complete_and_in_order_by_poll_many(void) {
    cometd_client *client = new_client();
    subscribe(client, "/flood");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/flood");
    control("/publish?channel=/flood&count=%d&size=200", EVENTS);
    long next = 0;
    while (next < EVENTS) {
        cometd_event *events[64];
        size_t count = cometd_client_poll_many(client, LIMIT_MS, events, 64);
        if (count == 0)
            FAIL("only %ld of %d came", next, EVENTS);
        for (size_t i = 0; i < count; i++) {
            if (cometd_event_type(events[i]) == COMETD_EVENT_MESSAGE) {
                CHECK(number_of(cometd_event_message(events[i])) == next);
                next++;
            }
            CHECK(cometd_event_type(events[i]) != COMETD_EVENT_ERROR);
            cometd_event_free(events[i]);
        }
    }
    finish(client);
}

struct counted {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long next;
    bool subscribed, in_order, closed, freed;
};

static void count_event(void *user, const cometd_event *event) {
    struct counted *counted = user;
    pthread_mutex_lock(&counted->lock);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_SUBSCRIBED:
        counted->subscribed = true;
        break;
    case COMETD_EVENT_MESSAGE:
        counted->in_order &= number_of(cometd_event_message(event)) == counted->next;
        counted->next++;
        break;
    case COMETD_EVENT_CLOSED:
        counted->closed = true;
        break;
    }
    pthread_cond_signal(&counted->changed);
    pthread_mutex_unlock(&counted->lock);
}

static void free_counted(void *user) {
    struct counted *counted = user;
    pthread_mutex_lock(&counted->lock);
    counted->freed = true;
    pthread_cond_signal(&counted->changed);
    pthread_mutex_unlock(&counted->lock);
}

static void wait_counted(struct counted *counted, bool (*holds)(const struct counted *)) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += LIMIT_MS / 1000;
    pthread_mutex_lock(&counted->lock);
    while (!holds(counted))
        if (pthread_cond_timedwait(&counted->changed, &counted->lock, &limit) != 0)
            FAIL("%ld events came", counted->next);
    pthread_mutex_unlock(&counted->lock);
}

static bool is_subscribed(const struct counted *counted) { return counted->subscribed; }
static bool is_complete(const struct counted *counted) { return counted->next >= EVENTS; }
static bool is_closed(const struct counted *counted) { return counted->closed; }
static bool is_freed(const struct counted *counted) { return counted->freed; }

static void events_are_complete_and_in_order_by_callback(void) {
    struct counted counted = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER,
                              .in_order = true};
    cometd_client *client = build(new_builder());
    OK(cometd_client_set_callback(client, count_event, &counted, free_counted));
    OK(cometd_client_connect(client, NULL));
    subscribe(client, "/flood");
    wait_counted(&counted, is_subscribed);
    control("/publish?channel=/flood&count=%d&size=200", EVENTS);
    wait_counted(&counted, is_complete);
    CHECK(counted.in_order && counted.next == EVENTS);
    CHECK_TRANSPORT(client);
    OK(cometd_client_disconnect(client, LIMIT_MS, NULL));
    wait_counted(&counted, is_closed);
    cometd_client_free(client);
    wait_counted(&counted, is_freed);
}

static void events_are_complete_and_in_order_by_fd(void) {
    cometd_client *client = new_client();
    subscribe(client, "/flood");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/flood");
    control("/publish?channel=/flood&count=%d&size=200", EVENTS);
    struct pollfd readable = {.fd = cometd_client_fd(client), .events = POLLIN};
    long next = 0;
    while (next < EVENTS) {
        if (poll(&readable, 1, LIMIT_MS) != 1)
            FAIL("only %ld of %d came", next, EVENTS);
        cometd_event *event;
        OK(cometd_client_poll(client, 0, &event));
        if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
            CHECK(number_of(cometd_event_message(event)) == next);
            next++;
        }
        cometd_event_free(event);
    }
    finish(client);
}

static void denied_subscribe_tells_which_channel(void) {
    cometd_client *client = new_client();
    const char *channels[] = {"/allowed/a", "/denied/b", "/allowed/c"};
    uint64_t id;
    OK(cometd_client_subscribe(client, channels, 3, &id, NULL));
    int subscribed = 0, denied = 0;
    while (subscribed + denied < 3) {
        cometd_event *event;
        OK(cometd_client_poll(client, LIMIT_MS, &event));
        if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) {
            CHECK(cometd_event_id(event) == id);
            CHECK(strncmp(cometd_event_channel(event), "/allowed/", 9) == 0);
            subscribed++;
        } else if (cometd_event_type(event) == COMETD_EVENT_ERROR && cometd_event_channel(event) != NULL) {
            const cometd_error *error = cometd_event_error(event);
            int32_t code;
            CHECK(cometd_event_id(event) == id);
            CHECK(strcmp(cometd_event_channel(event), "/denied/b") == 0);
            CHECK(strcmp(cometd_error_channel(error), "/denied/b") == 0);
            CHECK(cometd_error_status(error) == COMETD_E_REFUSED);
            CHECK(cometd_error_phase(error) == COMETD_PHASE_SUBSCRIBE);
            CHECK(cometd_error_bayeux(error, &code) != NULL && code == 403);
            CHECK(!cometd_error_is_fatal(error));
            denied++;
        }
        cometd_event_free(event);
    }
    CHECK(subscribed == 2 && denied == 1);
    control("/publish?channel=/allowed/c&count=1&size=10");
    AWAIT_ONLY(client, COMETD_EVENT_MESSAGE, "/allowed/c");
    finish(client);
}

static void publish_has_an_outcome(void) {
    cometd_client *client = new_client();
    const char *data = "{ \"n\": 9007199254740993, \"text\": \"\xc3\xa9\" }";
    uint64_t id;
    subscribe(client, "/published");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/published");
    OK(cometd_client_publish(client, "/published", data, strlen(data), &id, NULL));
    bool outcome = false, message = false;
    while (!outcome || !message) {
        cometd_event *event;
        OK(cometd_client_poll(client, LIMIT_MS, &event));
        if (is_about(event, COMETD_EVENT_PUBLISHED, "/published")) {
            CHECK(cometd_event_id(event) == id && !outcome);
            outcome = true;
        } else if (is_about(event, COMETD_EVENT_MESSAGE, "/published")) {
            CHECK(strstr(cometd_message_data(cometd_event_message(event), NULL), "\xc3\xa9") != NULL);
            message = true;
        }
        cometd_event_free(event);
    }
    OK(cometd_client_publish(client, "/denied/x", "1", 1, &id, NULL));
    cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, "/denied/x");
    CHECK(cometd_event_id(event) == id);
    CHECK(cometd_error_phase(cometd_event_error(event)) == COMETD_PHASE_PUBLISH);
    cometd_event_free(event);
    finish(client);
}

static void service_answers(void) {
    cometd_client *client = new_client();
    OK(cometd_client_publish(client, "/service/echo", "{\"n\":42}", 8, NULL, NULL));
    cometd_event *event = AWAIT(client, COMETD_EVENT_MESSAGE, "/service/echo");
    CHECK(number_of(cometd_event_message(event)) == 42);
    cometd_event_free(event);
    finish(client);
}

/* ---- remote calls: cometd-java and the demo server ---- */

static uint64_t call(cometd_client *client, const char *channel, int32_t timeout_ms) {
    uint64_t id;
    OK(cometd_client_remote_call(client, channel, "{\"n\":42}", 8, timeout_ms, &id, NULL));
    return id;
}

static void remote_call_has_a_result(void) {
    cometd_client *client = new_client();
    /* Several at once: each gets its own. */
    uint64_t ids[5];
    for (int i = 0; i < 5; i++) {
        char json[32];
        int length = snprintf(json, sizeof json, "{\"n\":%d}", i);
        OK(cometd_client_remote_call(client, "/service/echo", json, (size_t)length, LIMIT_MS, &ids[i], NULL));
    }
    bool came[5] = {false};
    for (int i = 0; i < 5; i++) {
        cometd_event *event = AWAIT(client, COMETD_EVENT_RESULT, "/service/echo");
        long n = number_of(cometd_event_message(event));
        CHECK(n >= 0 && n < 5 && !came[n] && cometd_event_id(event) == ids[n]);
        CHECK(cometd_event_error(event) == NULL);
        came[n] = true;
        cometd_event_free(event);
    }
    finish(client);
}

static void remote_call_that_fails_has_data_and_an_error(void) {
    cometd_client *client = new_client();
    uint64_t id = call(client, "/service/fail", LIMIT_MS);
    cometd_event *event = AWAIT(client, COMETD_EVENT_RESULT, "/service/fail");
    CHECK(cometd_event_id(event) == id);
    CHECK(number_of(cometd_event_message(event)) == 42);
    const cometd_error *error = cometd_event_error(event);
    CHECK(cometd_error_status(error) == COMETD_E_REFUSED);
    CHECK(cometd_error_phase(error) == COMETD_PHASE_CALL);
    CHECK(!cometd_error_is_fatal(error));
    cometd_event_free(event);
    finish(client);
}

static void remote_call_without_an_answer_times_out(void) {
    cometd_client *client = new_client();
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    uint64_t id = call(client, "/service/slow", 200);
    cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, "/service/slow");
    CHECK(cometd_event_id(event) == id);
    CHECK(cometd_error_status(cometd_event_error(event)) == COMETD_E_TIMEOUT);
    CHECK(cometd_error_phase(cometd_event_error(event)) == COMETD_PHASE_CALL);
    cometd_event_free(event);
    /* That one was in vain is nothing to the next. */
    id = call(client, "/service/echo", LIMIT_MS);
    event = AWAIT(client, COMETD_EVENT_RESULT, "/service/echo");
    CHECK(cometd_event_id(event) == id);
    cometd_event_free(event);
    finish(client);
}

/* ---- batches ---- */

static void batch_has_an_outcome_for_each(void) {
    cometd_client *client = new_client();
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    uint64_t one, two, denied;
    OK(cometd_client_batch_begin(client, NULL));
    uint64_t subscription = subscribe(client, "/batched/x");
    OK(cometd_client_publish(client, "/batched/x", "{\"n\":1}", 7, &one, NULL));
    OK(cometd_client_publish(client, "/denied/x", "{\"n\":2}", 7, &denied, NULL));
    OK(cometd_client_publish(client, "/batched/x", "{\"n\":3}", 7, &two, NULL));
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        CHECK(cometd_event_id(event) == 0);
        cometd_event_free(event);
    }
    OK(cometd_client_batch_end(client, NULL));
    int outcomes = 0, messages = 0;
    while (outcomes < 4 || messages < 2) {
        OK(cometd_client_poll(client, LIMIT_MS, &event));
        uint64_t id = cometd_event_id(event);
        switch (cometd_event_type(event)) {
        case COMETD_EVENT_MESSAGE:
            CHECK(number_of(cometd_event_message(event)) == (messages++ == 0 ? 1 : 3));
            break;
        case COMETD_EVENT_SUBSCRIBED:
            CHECK(id == subscription);
            outcomes++;
            break;
        case COMETD_EVENT_PUBLISHED:
            CHECK(id == one || id == two);
            outcomes++;
            break;
        case COMETD_EVENT_ERROR:
            CHECK(id == denied);
            outcomes++;
            break;
        }
        cometd_event_free(event);
    }
    finish(client);
}

/* Subscribed before the server loses the session, and nothing done about it. */
static void flows_again_after(const char *loss) {
    cometd_client *client = new_client();
    subscribe(client, "/kept/a");
    subscribe(client, "/kept/b");
    AWAIT_ONLY(client, COMETD_EVENT_SUBSCRIBED, "/kept/b");
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    control("%s", loss);
    await_state(client, COMETD_STATE_REHANDSHAKING);
    await_state(client, COMETD_STATE_CONNECTED);
    await_flow(client, "/kept/a", "/kept/b");
    finish(client);
}

static void forgotten_session_comes_back(void) { flows_again_after("/forget"); }
static void restarted_server_is_found_again(void) { flows_again_after("/restart?down_ms=1500"); }

static void server_sent_disconnect_ends_the_client(void) {
    cometd_client *client = new_client();
    subscribe(client, "/ticks");
    AWAIT_ONLY(client, COMETD_EVENT_MESSAGE, "/ticks");
    control("/disconnect");
    cometd_event *event = await_fatal_error(client);
    CHECK(cometd_error_status(cometd_event_error(event)) == COMETD_E_SERVER_DISCONNECTED);
    CHECK(cometd_error_retry_in_ms(cometd_event_error(event)) == -1);
    cometd_event_free(event);
    AWAIT_ONLY(client, COMETD_EVENT_CLOSED, NULL);
    CHECK(cometd_client_poll(client, 0, &event) == COMETD_CLOSED);
    CHECK(cometd_client_state(client) == COMETD_STATE_CLOSED);
    CHECK_TRANSPORT(client);
    cometd_client_free(client);
}

static void two_clients_do_not_mix(void) {
    cometd_client *one = new_client(), *two = new_client();
    subscribe(one, "/one");
    subscribe(two, "/two");
    AWAIT_ONLY(one, COMETD_EVENT_SUBSCRIBED, "/one");
    AWAIT_ONLY(two, COMETD_EVENT_SUBSCRIBED, "/two");
    CHECK(atoi(control("/sessions")) >= 2);
    control("/publish?channel=/two&count=3&size=10");
    control("/publish?channel=/one&count=3&size=10");
    cometd_client *clients[] = {one, two};
    for (int c = 0; c < 2; c++)
        for (int n = 0; n < 3; n++) {
            cometd_event *event = AWAIT(clients[c], COMETD_EVENT_MESSAGE, NULL);
            CHECK(is_about(event, COMETD_EVENT_MESSAGE, c == 0 ? "/one" : "/two"));
            CHECK(number_of(cometd_event_message(event)) == n);
            cometd_event_free(event);
        }
    /* The end of one is nothing to the other. */
    finish(one);
    control("/publish?channel=/two&count=1&size=10");
    AWAIT_ONLY(two, COMETD_EVENT_MESSAGE, "/two");
    finish(two);
}

static void clean_disconnect_is_seen(void) {
    int sessions = atoi(control("/sessions"));
    long before = stat_of("disconnects");
    cometd_client *client = new_client();
    OK(cometd_client_wait(client, COMETD_STATE_CONNECTED, LIMIT_MS));
    CHECK(atoi(control("/sessions")) == sessions + 1);
    finish(client);
    CHECK(stat_of("disconnects") == before + 1);
    CHECK(atoi(control("/sessions")) == sessions);
}

/* For a server with --token secret. */
static void right_token_is_let_in(void) {
    cometd_client_builder *builder = new_builder();
    OK(cometd_client_builder_set_bearer_token(builder, "secret"));
    OK(cometd_client_builder_add_cookie(builder, "flavour", "vanilla"));
    cometd_client *client = build(builder);
    OK(cometd_client_connect(client, NULL));
    subscribe(client, "/ticks");
    AWAIT_ONLY(client, COMETD_EVENT_MESSAGE, "/ticks");
    finish(client);
}

static void wrong_token_is_a_fatal_error(void) {
    cometd_client_builder *builder = new_builder();
    OK(cometd_client_builder_set_bearer_token(builder, "wrong"));
    /* Faye never advises to give up, so there the retries have to. */
    if (strcmp(server, "faye") == 0)
        OK(cometd_client_builder_set_number_of_retries(builder, 1));
    cometd_client *client = build(builder);
    OK(cometd_client_connect(client, NULL));
    cometd_event *event = await_fatal_error(client);
    const cometd_error *error = cometd_event_error(event);
    int32_t code;
    CHECK(cometd_error_status(error) == COMETD_E_REFUSED);
    CHECK(cometd_error_phase(error) == COMETD_PHASE_HANDSHAKE);
    CHECK(cometd_error_bayeux(error, &code) != NULL && code == 403);
    CHECK(strstr(cometd_error_message(error), "wrong") == NULL);
    cometd_event_free(event);
    AWAIT_ONLY(client, COMETD_EVENT_CLOSED, NULL);
    CHECK_TRANSPORT(client);
    cometd_client_free(client);
}

/* Through a SOCKS proxy that is given a wrong password. */
static void proxy_refuses_the_credentials_264(void) {
    cometd_client *client = new_client();
    cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, NULL);
    const cometd_error *error = cometd_event_error(event);
    CHECK(cometd_error_status(error) == COMETD_E_PROXY);
    CHECK(strstr(cometd_error_message(error), "does not accept the credentials") != NULL);
    CHECK(!cometd_error_is_fatal(error));
    cometd_event_free(event);
    cometd_client_free(client);
}

/* The second client has the session of the first, its subscription, and with
 * acknowledgement what came in between. */
static void a_session_goes_on_in_another_client(void) {
    cometd_client_builder *builder = new_builder();
    OK(cometd_client_builder_set_acknowledgement(builder, true));
    cometd_client *first = build(builder);
    OK(cometd_client_connect(first, NULL));
    subscribe(first, "/flood");
    AWAIT_ONLY(first, COMETD_EVENT_SUBSCRIBED, "/flood");
    OK(cometd_client_wait(first, COMETD_STATE_CONNECTED, LIMIT_MS));
    const char *text;
    OK(cometd_client_export(first, LIMIT_MS, &text, NULL));
    builder = new_builder();
    OK(cometd_client_builder_set_acknowledgement(builder, true));
    OK(cometd_client_builder_set_resume(builder, text));
    cometd_client_free(first);
    bool keeps_events = strcmp(server, "cometd-java") == 0 || strcmp(server, "demo") == 0;
    if (keeps_events)
        control("/publish?channel=/flood&count=3&size=10");
    cometd_client *second = build(builder);
    OK(cometd_client_connect(second, NULL));
    OK(cometd_client_wait(second, COMETD_STATE_CONNECTED, LIMIT_MS));
    if (!keeps_events)
        control("/publish?channel=/flood&count=3&size=10");
    for (long n = 0; n < 3; n++) {
        cometd_event *event = AWAIT(second, COMETD_EVENT_MESSAGE, "/flood");
        CHECK(number_of(cometd_event_message(event)) == n);
        cometd_event_free(event);
    }
    char statistics[4096];
    OK(cometd_client_statistics(second, statistics, sizeof statistics, NULL));
    CHECK(strstr(statistics, "\"handshakes\":0,") != NULL);
    finish(second);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
#define CASE(name) {#name, name}
    CASE(ticks_arrive),
    CASE(unsubscribed_is_quiet),
    CASE(events_are_complete_and_in_order_by_poll_many),
    CASE(events_are_complete_and_in_order_by_callback),
    CASE(events_are_complete_and_in_order_by_fd),
    CASE(denied_subscribe_tells_which_channel),
    CASE(publish_has_an_outcome),
    CASE(service_answers),
    CASE(remote_call_has_a_result),
    CASE(remote_call_that_fails_has_data_and_an_error),
    CASE(remote_call_without_an_answer_times_out),
    CASE(batch_has_an_outcome_for_each),
    CASE(acknowledged_events_survive_a_lost_response),
    CASE(other_events_are_lost_with_their_response),
    CASE(two_clients_do_not_mix),
    CASE(a_session_goes_on_in_another_client),
    CASE(clean_disconnect_is_seen),
    CASE(forgotten_session_comes_back),
    CASE(restarted_server_is_found_again),
    CASE(server_sent_disconnect_ends_the_client),
    CASE(right_token_is_let_in),
    CASE(wrong_token_is_a_fatal_error),
    CASE(events_come_once_through_a_cut),
    CASE(acknowledged_events_survive_a_cut),
    CASE(each_connection_wants_a_handshake),
    CASE(too_large_message_fails_alone),
    CASE(websocket_alone_is_refused_234),
    CASE(refused_tunnel_leads_to_long_polling_231),
    CASE(proxy_refuses_the_credentials_264),
    CASE(ping_keeps_a_quiet_socket_257),
};

int main(int count, char **arguments) {
    if (count != 7) {
        fprintf(stderr, "usage: %s CASE URL CONTROLPORT SERVER TRANSPORTS EXPECTED; the cases are\n", arguments[0]);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            fprintf(stderr, "  %s\n", cases[i].name);
        return 2;
    }
    set_server(arguments[4], arguments[2], atoi(arguments[3]));
    set_transports(arguments[5], arguments[6]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, arguments[1]) == 0) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "no case %s\n", arguments[1]);
    return 2;
}
