#include "glue.h"

#include "_cgo_export.h"

size_t glue_poll(cometd_client *client, glue_batch *batch) {
    size_t count = cometd_client_poll_many(client, 0, batch->events, GLUE_EVENTS);
    cometd_events_look((const cometd_event *const *)batch->events, batch->views, count, sizeof batch->views[0]);
    for (size_t i = 0; i < count; i++) {
        cometd_event_view *view = &batch->views[i];
        glue_binary *binary = &batch->binaries[i];
        binary->is_binary = view->message && view->ext && cometd_message_is_binary(view->message);
        if (!binary->is_binary) continue;
        binary->bytes = cometd_message_binary(view->message, &binary->len);
        binary->meta = cometd_message_binary_meta(view->message, &binary->meta_len);
        binary->is_last = cometd_message_binary_is_last(view->message);
    }
    return count;
}

void glue_free_events(glue_batch *batch, size_t count) {
    cometd_events_free(batch->events, count);
}

static void wake(void *user) {
    cometdGoWake((uintptr_t)user);
}

static cometd_status provide_token(void *user, int32_t reason, cometd_token *token) {
    (void)reason;
    cometd_token *kept = cometd_token_retain(token);
    if (!kept) return COMETD_E_FORKED;
    cometdGoProvideToken((uintptr_t)user, kept);
    return COMETD_OK;
}

static cometd_status provide_handshake(void *user, cometd_handshake *handshake) {
    cometd_handshake *kept = cometd_handshake_retain(handshake);
    if (!kept) return COMETD_E_FORKED;
    cometdGoProvideHandshake((uintptr_t)user, kept);
    return COMETD_OK;
}

static cometd_status provide_headers(void *user, cometd_request *request) {
    cometd_request *kept = cometd_request_retain(request);
    if (!kept) return COMETD_E_FORKED;
    cometdGoProvideHeaders((uintptr_t)user, kept);
    return COMETD_OK;
}

static cometd_status load_position(void *user, const char *channel, int64_t *position) {
    return cometdGoLoadPosition((uintptr_t)user, (char *)channel, position);
}

static cometd_status outgoing(void *user, cometd_extension_message *message) {
    return cometdGoExtend((uintptr_t)user, message, 1);
}

static cometd_status incoming(void *user, cometd_extension_message *message) {
    return cometdGoExtend((uintptr_t)user, message, 0);
}

static void log_line(void *user, int32_t level, const char *target, const char *text) {
    (void)user;
    cometdGoLog(level, (char *)target, (char *)text);
}

static void forget(void *user) {
    cometdGoForget((uintptr_t)user);
}

cometd_status glue_set_wake(cometd_client *client, uintptr_t user) {
    return cometd_client_set_wake(client, wake, (void *)user, forget);
}

cometd_status glue_set_token_provider(cometd_client_builder *builder, uintptr_t user) {
    return cometd_client_builder_set_token_provider(builder, provide_token, (void *)user, forget);
}

cometd_status glue_set_handshake_provider(cometd_client_builder *builder, uintptr_t user) {
    return cometd_client_builder_set_handshake_provider(builder, provide_handshake, (void *)user, forget);
}

cometd_status glue_set_header_provider(cometd_client_builder *builder, uintptr_t user) {
    return cometd_client_builder_set_header_provider(builder, provide_headers, (void *)user, forget);
}

cometd_status glue_set_replay_load(cometd_client_builder *builder, uintptr_t user) {
    return cometd_client_builder_set_replay_store(builder, load_position, NULL, (void *)user, forget);
}

cometd_status glue_add_extension(cometd_client_builder *builder, uintptr_t user) {
    return cometd_client_builder_add_extension(builder, outgoing, incoming, (void *)user, forget);
}

cometd_status glue_set_log(int32_t max_level) {
    return cometd_log_set(max_level, max_level ? log_line : NULL, NULL, NULL);
}

cometd_status glue_subscribe(cometd_client *client, const char *const *channels, size_t count, uintptr_t opaque,
                             cometd_error **err) {
    return cometd_client_subscribe_opaque(client, channels, count, (void *)opaque, NULL, err);
}

cometd_status glue_unsubscribe(cometd_client *client, const char *const *channels, size_t count, uintptr_t opaque,
                               cometd_error **err) {
    return cometd_client_unsubscribe_opaque(client, channels, count, (void *)opaque, NULL, err);
}

cometd_status glue_publish(cometd_client *client, const char *channel, const char *json, size_t len, uintptr_t opaque,
                           cometd_error **err) {
    return cometd_client_publish_opaque(client, channel, json, len, (void *)opaque, NULL, err);
}

cometd_status glue_remote_call(cometd_client *client, const char *channel, const char *json, size_t len,
                               int32_t timeout_ms, uintptr_t opaque, cometd_error **err) {
    return cometd_client_remote_call_opaque(client, channel, json, len, timeout_ms, (void *)opaque, NULL, err);
}

cometd_status glue_publish_with_retries(cometd_client *client, const char *channel, const char *json, size_t len,
                                        int32_t timeout_ms, uint32_t attempts, uintptr_t opaque, cometd_error **err) {
    return cometd_client_publish_with_retries_opaque(client, channel, json, len, timeout_ms, attempts, (void *)opaque,
                                                     NULL, err);
}

cometd_status glue_publish_binary(cometd_client *client, const char *channel, const void *bytes, size_t len, bool last,
                                  const char *meta, size_t meta_len, uintptr_t opaque, cometd_error **err) {
    return cometd_client_publish_binary_opaque(client, channel, bytes, len, last, meta, meta_len, (void *)opaque, NULL,
                                               err);
}
