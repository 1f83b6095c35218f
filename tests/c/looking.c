/* Events and errors as a whole: cometd_event_look, cometd_error_look, cometd_events_look, cometd_events_free. */
#include "test.h"

#include <stddef.h>

/* All fields of a view say what the accessors say. */
static void check_view(const cometd_event *event)
{
    cometd_event_view view;
    memset(&view, 0xff, sizeof view);
    CHECK_OK(cometd_event_look(event, &view, sizeof view));
    const cometd_message *message = cometd_event_message(event);
    const cometd_error *error = cometd_event_error(event);
    cometd_state previous;
    size_t length;
    CHECK_INT(view.type, ==, cometd_event_type(event));
    CHECK_INT(view.state, ==, cometd_event_state(event, &previous));
    CHECK_INT(view.previous, ==, previous);
    CHECK_INT(view.is_renewed, ==, cometd_event_is_renewed(event));
    CHECK_INT(view.id, ==, cometd_event_id(event));
    CHECK(view.opaque == cometd_event_opaque(event) && view.opaque_number == (size_t)view.opaque);
    CHECK_INT(view.ends_call, ==, cometd_event_ends_call(event));
    CHECK(view.exported == cometd_event_exported(event, &length) && view.exported_len == length);
    CHECK_INT(view.dropped, ==, cometd_event_dropped(event));
    CHECK(view.message == message && view.error == error);
    CHECK(view.channel == cometd_event_channel(event));
    CHECK_INT(view.channel_len, ==, view.channel != NULL ? strlen(view.channel) : 0);
    CHECK(view.data == cometd_message_data(message, &length) && view.data_len == length);
    CHECK(view.message_id == cometd_message_id(message, &length) && view.message_id_len == length);
    CHECK(view.ext == (view.type == COMETD_EVENT_MESSAGE ? cometd_message_ext(message, &length)
                                                         : cometd_event_ext(event, &length)));
    CHECK_INT(view.ext_len, ==, length);
    CHECK(view.advice == cometd_event_advice(event, &length) && view.advice_len == length);
    CHECK_INT(view.error_status, ==, cometd_error_status(error));
    CHECK_INT(view.error_phase, ==, cometd_error_phase(error));
    CHECK(error == NULL ? view.error_message == NULL : view.error_message == cometd_error_message(error));
    CHECK_INT(view.error_message_len, ==, error != NULL ? strlen(view.error_message) : 0);
}

static int same(const char *seen, size_t seen_length, const char *text, size_t length)
{
    return seen == text && seen_length == length && (text == NULL || strlen(text) == length);
}

static size_t length_of(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

static void check_error_view(const cometd_error *error)
{
    cometd_error_view view;
    memset(&view, 0xff, sizeof view);
    CHECK_OK(cometd_error_look(error, &view, sizeof view));
    int32_t code;
    size_t length;
    const char *text = cometd_error_bayeux(error, &code);
    CHECK_INT(view.status, ==, cometd_error_status(error));
    CHECK_INT(view.phase, ==, cometd_error_phase(error));
    CHECK_INT(view.is_fatal, ==, cometd_error_is_fatal(error));
    CHECK_INT(view.http_status, ==, cometd_error_http_status(error));
    CHECK_INT(view.websocket_code, ==, cometd_error_websocket_code(error));
    CHECK_INT(view.retry_in_ms, ==, cometd_error_retry_in_ms(error));
    CHECK_INT(view.bayeux_code, ==, code);
    CHECK(same(view.bayeux, view.bayeux_len, text, length_of(text)));
    text = cometd_error_message(error);
    CHECK(same(view.message, view.message_len, text, length_of(text)));
    text = cometd_error_channel(error);
    CHECK(same(view.channel, view.channel_len, text, length_of(text)));
    text = cometd_error_client(error);
    CHECK(same(view.client, view.client_len, text, length_of(text)));
    text = cometd_error_url(error);
    CHECK(same(view.url, view.url_len, text, length_of(text)));
    text = cometd_error_ext(error, &length);
    CHECK(same(view.ext, view.ext_len, text, length));
    text = cometd_error_bayeux_json(error, &length);
    CHECK(same(view.bayeux_json, view.bayeux_json_len, text, length));
}

/* Grants each subscription but those of /no. */
static void refuse(exchange *x)
{
    if (!is_on(x, "/meta/subscribe")) {
        bayeux(x);
        return;
    }
    char replies[4096] = "", *message;
    for (int i = 0; (message = json_element(x->body, i)) != NULL; i++) {
        char *id = json_field(message, "id"), *subscription = json_field(message, "subscription");
        CHECK(id != NULL && subscription != NULL);
        size_t used = strlen(replies);
        snprintf(replies + used, sizeof replies - used,
                 "%s{\"channel\":\"/meta/subscribe\",\"id\":%s,\"subscription\":%s,%s}", i == 0 ? "[" : ",", id,
                 subscription,
                 strstr(subscription, "/no") != NULL ? "\"successful\":false,\"error\":\"403::no\""
                                                     : "\"successful\":true,\"ext\":{\"a\":1}");
        free(subscription);
        free(id);
        free(message);
    }
    strcat(replies, "]");
    respond(x, 200, "Content-Type: application/json\r\n", replies);
}

/* Looks at all up to one of this type. */
static void look_up_to(cometd_client *client, int32_t type)
{
    int32_t seen = 0;
    while (seen != type) {
        cometd_event *event = next_event(client);
        seen = cometd_event_type(event);
        check_view(event);
        if (cometd_event_error(event) != NULL)
            check_error_view(cometd_event_error(event));
        cometd_event_free(event);
    }
}

TEST(a_look_sees_what_the_accessors_see)
{
    peer *peer = peer_start(refuse);
    cometd_client *client = client_start(peer_url(peer));
    look_up_to(client, COMETD_EVENT_STATE);
    CHECK_OK(cometd_client_subscribe_one(client, "/yes", peer, NULL, NULL));
    look_up_to(client, COMETD_EVENT_SUBSCRIBED);
    subscribe(client, "/no");
    look_up_to(client, COMETD_EVENT_ERROR);
    publish(client, "/p", "1");
    look_up_to(client, COMETD_EVENT_PUBLISHED);
    peer_push(peer, "{\"channel\":\"/yes\",\"data\":{\"n\":1},\"id\":\"7\",\"ext\":{}}");
    look_up_to(client, COMETD_EVENT_MESSAGE);
    peer_push(peer, "{\"channel\":\"/yes\",\"data\":2}");
    look_up_to(client, COMETD_EVENT_MESSAGE);
    CHECK_OK(cometd_client_start_flush(client, peer, NULL, NULL));
    look_up_to(client, COMETD_EVENT_FLUSHED);
    CHECK_OK(cometd_client_start_export(client, peer, NULL, NULL));
    look_up_to(client, COMETD_EVENT_EXPORTED);
    look_up_to(client, COMETD_EVENT_CLOSED);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(the_last_outcome_of_a_call_ends_it)
{
    static const char *const channels[] = {"/yes", "/no", "/maybe"};
    peer *peer = peer_start(refuse);
    cometd_client *client = client_connected(peer_url(peer));
    uint64_t id;
    CHECK_OK(cometd_client_subscribe(client, channels, 3, &id, NULL));
    for (int i = 1; i <= 3; i++) {
        cometd_event *event;
        for (event = next_event(client); cometd_event_id(event) != id; event = next_event(client)) {
            CHECK(!cometd_event_ends_call(event));
            cometd_event_free(event);
        }
        CHECK_INT(cometd_event_ends_call(event), ==, i == 3);
        CHECK_INT(cometd_event_type(event), ==, i == 2 ? COMETD_EVENT_ERROR : COMETD_EVENT_SUBSCRIBED);
        cometd_event_free(event);
    }
    id = publish(client, "/p", "1");
    cometd_event *event = wait_event(client, COMETD_EVENT_PUBLISHED, NULL, id);
    CHECK(cometd_event_ends_call(event));
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(programs_of_older_and_newer_headers_look_as_well)
{
    struct newer {
        cometd_event_view view;
        uint64_t more[4];
    } newer;
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, NULL, 0);

    memset(&newer, 0xff, sizeof newer);
    CHECK_OK(cometd_event_look(event, &newer.view, sizeof newer));
    CHECK_STR(newer.view.data, "1");
    for (int i = 0; i < 4; i++)
        CHECK_INT(newer.more[i], ==, 0);

    memset(&newer, 0xff, sizeof newer);
    CHECK_OK(cometd_event_look(event, &newer.view, offsetof(cometd_event_view, data)));
    CHECK_STR(newer.view.channel, "/a");
    CHECK_INT(newer.view.data_len, ==, SIZE_MAX);

    CHECK_STATUS(cometd_event_look(event, &newer.view, 0), COMETD_E_INVALID_ARGUMENT);
    CHECK_STATUS(cometd_event_look(event, &newer.view, sizeof newer.view.type - 1), COMETD_E_INVALID_ARGUMENT);
    CHECK_OK(cometd_event_look(event, &newer.view, sizeof newer.view.type));
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(errors_of_calls_are_looked_at_by_programs_of_any_version)
{
    struct newer {
        cometd_error_view view;
        uint64_t more[4];
    } newer;
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    cometd_client *client = build(builder);
    cometd_error *error = NULL;
    CHECK_STATUS(cometd_client_publish(client, "/a/*", "1", 1, NULL, &error), COMETD_E_INVALID_CHANNEL);
    check_error_view(error);

    memset(&newer, 0xff, sizeof newer);
    CHECK_OK(cometd_error_look(error, &newer.view, sizeof newer));
    CHECK_STR(newer.view.message, cometd_error_message(error));
    for (int i = 0; i < 4; i++)
        CHECK_INT(newer.more[i], ==, 0);
    memset(&newer, 0xff, sizeof newer);
    CHECK_OK(cometd_error_look(error, &newer.view, offsetof(cometd_error_view, message)));
    CHECK_INT(newer.view.status, ==, COMETD_E_INVALID_CHANNEL);
    CHECK_INT(newer.view.message_len, ==, SIZE_MAX);
    CHECK_STATUS(cometd_error_look(error, &newer.view, 0), COMETD_E_INVALID_ARGUMENT);
    cometd_error_free(error);
    cometd_client_free(client);
}

TEST(many_events_are_looked_at_in_one_call)
{
    struct newer {
        cometd_event_view view;
        uint64_t more;
    } views[16];
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2},{\"channel\":\"/b\",\"data\":3}");
    cometd_event *events[16] = {NULL};
    char seen[64] = "";
    while (strlen(seen) < 15) {
        size_t count = 0;
        CHECK_OK(cometd_client_poll_events(client, limit_ms(), events, 15, &count));
        memset(views, 0xff, sizeof views);
        CHECK_OK(cometd_events_look((const cometd_event *const *)events, &views[0].view, 16, sizeof views[0]));
        for (size_t i = 0; i < count; i++) {
            const cometd_event_view *view = &views[i].view;
            CHECK_INT(view->type, ==, cometd_event_type(events[i]));
            CHECK_INT(views[i].more, ==, 0);
            if (view->type == COMETD_EVENT_MESSAGE)
                snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s %s;", view->channel, view->data);
        }
        CHECK_INT(views[count].view.type, ==, 0); /* of none */
        CHECK(views[count].view.message == NULL && events[count] == NULL);
        cometd_events_free(events, count);
    }
    CHECK_STR(seen, "/a 1;/a 2;/b 3;");
    const cometd_event *none = NULL;
    CHECK_OK(cometd_events_look(&none, &views[0].view, 0, sizeof views[0]));
    CHECK_STATUS(cometd_events_look(&none, &views[0].view, SIZE_MAX, sizeof views[0]), COMETD_E_INVALID_ARGUMENT);
    client_end(client);
    peer_stop(peer);
}

TEST(many_events_are_freed_at_once)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2},{\"channel\":\"/a\",\"data\":3}");
    cometd_event *events[16];
    int messages = 0;
    cometd_message *kept = NULL;
    while (messages < 3) {
        size_t count = cometd_client_poll_many(client, limit_ms(), events, 16);
        CHECK_INT(count, >, 0);
        for (size_t i = 0; i < count; i++) {
            cometd_event_view view;
            CHECK_OK(cometd_event_look(events[i], &view, sizeof view));
            if (view.type == COMETD_EVENT_MESSAGE && ++messages == 2)
                kept = cometd_message_retain(view.message);
        }
        cometd_events_free(events, 16); /* the rest is NULL */
    }
    CHECK_STR(cometd_message_data(kept, NULL), "2");
    cometd_message_free(kept);
    cometd_events_free(events, 0);
    cometd_events_free(NULL, 0);
    client_end(client);
    peer_stop(peer);
}
