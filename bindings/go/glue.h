/* What cgo cannot say by itself: calls with functions and opaque values as integers, so that no Go value is ever a
 * pointer in C, and one crossing for many events. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef COMETD_GO_GLUE_H
#define COMETD_GO_GLUE_H

#include <cometd/cometd.h>

enum { GLUE_EVENTS = 64 };

typedef struct glue_binary {
    const uint8_t *bytes; /* NULL when it is none */
    const char *meta;
    size_t len, meta_len;
    int32_t is_binary, is_last;
} glue_binary;

typedef struct glue_batch {
    cometd_event *events[GLUE_EVENTS];
    cometd_event_view views[GLUE_EVENTS];
    glue_binary binaries[GLUE_EVENTS];
} glue_batch;

size_t glue_poll(cometd_client *client, glue_batch *batch);
void glue_free_events(glue_batch *batch, size_t count);

cometd_status glue_set_wake(cometd_client *client, uintptr_t user);
cometd_status glue_set_token_provider(cometd_client_builder *builder, uintptr_t user);
cometd_status glue_set_handshake_provider(cometd_client_builder *builder, uintptr_t user);
cometd_status glue_set_header_provider(cometd_client_builder *builder, uintptr_t user);
cometd_status glue_set_replay_load(cometd_client_builder *builder, uintptr_t user);
cometd_status glue_add_extension(cometd_client_builder *builder, uintptr_t user);
cometd_status glue_set_log(int32_t max_level);

cometd_status glue_subscribe(cometd_client *client, const char *const *channels, size_t count, uintptr_t opaque,
                             cometd_error **err);
cometd_status glue_unsubscribe(cometd_client *client, const char *const *channels, size_t count, uintptr_t opaque,
                               cometd_error **err);
cometd_status glue_publish(cometd_client *client, const char *channel, const char *json, size_t len, uintptr_t opaque,
                           cometd_error **err);
cometd_status glue_remote_call(cometd_client *client, const char *channel, const char *json, size_t len,
                               int32_t timeout_ms, uintptr_t opaque, cometd_error **err);
cometd_status glue_publish_with_retries(cometd_client *client, const char *channel, const char *json, size_t len,
                                        int32_t timeout_ms, uint32_t attempts, uintptr_t opaque, cometd_error **err);
cometd_status glue_publish_binary(cometd_client *client, const char *channel, const void *bytes, size_t len, bool last,
                                  const char *meta, size_t meta_len, uintptr_t opaque, cometd_error **err);

#endif
