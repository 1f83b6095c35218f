/* Bytes as data: CometD's binary extension. */
#include "test.h"

static uint64_t publish_bytes(cometd_client *client, const void *bytes, size_t len, bool last,
                              const char *meta)
{
    uint64_t id;
    CHECK_OK(cometd_client_publish_binary(client, "/a", bytes, len, last, meta,
                                          meta ? strlen(meta) : 0, &id, NULL));
    CHECK(id != 0);
    return id;
}

TEST(bytes_come_back_with_what_is_said_of_them_216)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    unsigned char bytes[260];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(255 - i);
    for (size_t len = 0; len <= sizeof bytes; len += len < 9 ? 1 : 83) {
        bool last = len % 2 == 0;
        const char *meta = len % 3 == 0 ? "{\"n\" : 1.50}" : NULL;
        publish_bytes(client, len ? bytes : NULL, len, last, meta);
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        const cometd_message *message = cometd_event_message(event);
        CHECK(cometd_message_is_binary(message));
        size_t length = 7;
        const uint8_t *got = cometd_message_binary(message, &length);
        CHECK(got != NULL);
        CHECK_INT(length, ==, len);
        CHECK(memcmp(got, bytes, len) == 0);
        CHECK(cometd_message_binary(message, NULL) == got);
        CHECK_INT(cometd_message_binary_is_last(message), ==, last);
        length = 7;
        const char *said = cometd_message_binary_meta(message, &length);
        CHECK_INT(length, ==, meta ? strlen(meta) : 0);
        if (meta)
            CHECK_STR(said, meta);
        else
            CHECK(said == NULL);
        /* What is kept outlives the event, and what was read of that. */
        cometd_message *kept = cometd_message_retain(message);
        cometd_event_free(event);
        got = cometd_message_binary(kept, &length);
        CHECK_INT(length, ==, len);
        CHECK(memcmp(got, bytes, len) == 0);
        cometd_message_free(kept);
    }
    client_end(client);
    server_stop(server);
}

TEST(on_the_wire_it_is_cometds_216)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    publish_bytes(client, "\x86\x4f\xd2\x6f\xb5\x59\xf7\x5b", 8, false, "{\"a\":1}");
    char *request = peer_request(peer, "\"/a\"", 1);
    CHECK_HAS(request, "\"ext\":{\"binary\":{}}");
    CHECK_HAS(request, "\"data\":{\"data\":\"HelloWorld\",\"last\":false,\"meta\":{\"a\":1}}");
    free(request);
    client_end(client);
    peer_stop(peer);
}

TEST(what_is_no_z85_costs_its_own_message_only_216)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    static const char *const data[] = {
        "{\"data\":\"H\",\"last\":false,\"meta\":{\"n\":0}}",
        "{\"data\":\"Hel o\",\"last\":true}",
        "{\"data\":\"%nSc1\",\"last\":true}",
        "{\"data\":7,\"last\":true}",
        "[]",
        "{\"data\":\"H5\",\"last\":true}",
    };
    enum { COUNT = sizeof data / sizeof *data };
    for (int i = 0; i < COUNT; i++) {
        char *message = text("{\"channel\":\"/a\",\"data\":%s,\"ext\":{\"binary\":{}}}", data[i]);
        peer_push(peer, message);
        free(message);
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        const cometd_message *got = cometd_event_message(event);
        CHECK_STR(cometd_message_data(got, NULL), data[i]);
        CHECK(cometd_message_is_binary(got));
        size_t length = 7;
        const uint8_t *bytes = cometd_message_binary(got, &length);
        if (i == COUNT - 1) {
            CHECK_INT(length, ==, 1);
            CHECK_INT(bytes[0], ==, 0x86);
        } else {
            CHECK(bytes == NULL);
            CHECK_INT(length, ==, 0);
        }
        CHECK_INT(cometd_message_binary_is_last(got), ==, i != 0);
        CHECK_INT(cometd_message_binary_meta(got, NULL) != NULL, ==, i == 0);
        cometd_event_free(event);
    }
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CONNECTED);
    client_end(client);
    peer_stop(peer);
}

TEST(other_messages_are_not_binary_216)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    publish(client, "/a", "{\"data\":\"H5\",\"last\":false,\"meta\":{}}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
    const cometd_message *message = cometd_event_message(event);
    CHECK(!cometd_message_is_binary(message));
    size_t length = 7;
    CHECK(cometd_message_binary(message, &length) == NULL);
    CHECK_INT(length, ==, 0);
    CHECK(cometd_message_binary_is_last(message));
    CHECK(cometd_message_binary_meta(message, NULL) == NULL);
    cometd_event_free(event);
    client_end(client);
    server_stop(server);
}

TEST(what_cannot_be_published_is_refused_at_once_216)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    CHECK_OK(cometd_client_builder_set_request_capacity(builder, 1024));
    cometd_client *client = build(builder);
    static const struct {
        const char *channel, *meta;
        size_t len;
        cometd_status status;
        const char *says;
    } bad[] = {
        {"/a/*", NULL, 1, COMETD_E_INVALID_CHANNEL, "channel"},
        {"/meta/connect", NULL, 1, COMETD_E_INVALID_CHANNEL, "channel"},
        {"/a", "[]", 1, COMETD_E_INVALID_JSON, "meta"},
        {"/a", "{", 1, COMETD_E_INVALID_JSON, "meta"},
        {"/a", "\"\xff\"", 1, COMETD_E_INVALID_UTF8, "meta"},
        {"/a", "", 1, COMETD_E_INVALID_JSON, "meta"},
        {"/a", NULL, 800, COMETD_E_TOO_LARGE, "bytes"},
        {"/a", NULL, (size_t)-1, COMETD_E_OUT_OF_RANGE, "len"},
    };
    static const char bytes[800];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t id = 7;
        cometd_error *err = NULL;
        size_t meta_len = bad[i].meta ? strlen(bad[i].meta) : 0;
        CHECK_STATUS(cometd_client_publish_binary(client, bad[i].channel, bytes, bad[i].len, true,
                                                  bad[i].meta, meta_len, &id, &err),
                     bad[i].status);
        CHECK_HAS(cometd_error_message(err), bad[i].says);
        CHECK_INT(id, ==, 0);
        cometd_error_free(err);
    }
    CHECK_OK(cometd_client_publish_binary(client, "/a", bytes, 580, true, NULL, 0, NULL, NULL));
    cometd_client_free(client);
}

TEST(too_many_that_wait_are_refused_and_each_has_an_end_216)
{
    cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
    CHECK_OK(cometd_client_builder_set_commands_capacity(builder, 1));
    cometd_client *client = build(builder);
    uint64_t id = publish_bytes(client, "x", 1, true, NULL);
    CHECK_STATUS(cometd_client_publish_binary(client, "/a", "x", 1, true, NULL, 0, NULL, NULL),
                 COMETD_E_FULL);
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    cometd_event *event = wait_event(client, COMETD_EVENT_ERROR, "/a", id);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_ABORTED);
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_PUBLISH);
    cometd_event_free(event);
    cometd_client_free(client);
}
