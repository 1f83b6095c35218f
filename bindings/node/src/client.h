/* A client, its loop, and what the threads of both share.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A client wakes its loop by one threadsafe function, of which only the JavaScript thread takes events: no thread waits
 * for them. What was taken goes to JavaScript as one JSON text, which JSON.parse turns into objects for a fraction of
 * what napi_set_property would cost. */
#ifndef CLIENT_H
#define CLIENT_H

#define NAPI_VERSION 8
#include "json.h"

#include <node_api.h>
#include <pthread.h>

/* Each of these holds a reference to it: the client below, the library with each function that it was given, and the
 * threadsafe function. */
typedef struct bridge {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a question of an extension has its answer, or nobody listens any more */
    int references;
    napi_threadsafe_function loop; /* NULL when nobody listens any more */
    struct client *client;         /* of the JavaScript thread alone */
} bridge;

/* A provider's or an extension's question, on its way to the loop and until it is answered. */
typedef struct question {
    int32_t reason;
    cometd_token *token;
    cometd_handshake *handshake;
    cometd_request *request;
    /* Of an extension, whose thread waits: the text is its own, as long as somebody listens. The rest is under the
     * bridge's lock. */
    bridge *bridge;
    const char *message;
    size_t message_length;
    int incoming;
    int references, answered;
    cometd_status status;
    int drop;
    char *replacement;
    size_t replacement_length;
} question;

/* A call that waits for its outcome: the opaque value of its events. A subscribe's later events have it too, which are
 * about no call and do not look at it. */
typedef struct call {
    struct call *next, *previous;
    napi_deferred deferred;
    size_t left; /* channels without an outcome */
} call;

typedef struct client {
    napi_env env;
    cometd_client *handle;
    bridge *bridge;
    napi_ref deliver, ask, failure;
    call calls; /* of a ring */
    size_t pending;
    int paused; /* JavaScript has enough, and no call waits */
    text batch;
    napi_value buffers; /* of it, within a call of the loop */
    uint32_t buffer_count;
    size_t channel, channel_length; /* where the last channel stands in it */
} client;

void bridge_retain(bridge *bridge);
void bridge_release(void *bridge);

/* Has the loop take events, or a question. Returns whether it will. */
int bridge_call(bridge *bridge, question *question);

/* What the library calls; `user` is the bridge. */
void on_wake(void *user);
cometd_status on_token(void *user, int32_t reason, cometd_token *token);
cometd_status on_handshake(void *user, cometd_handshake *handshake);
cometd_status on_request(void *user, cometd_request *request);
cometd_status on_outgoing(void *user, cometd_extension_message *message);
cometd_status on_incoming(void *user, cometd_extension_message *message);

/* The answer of an extension: takes `replacement`, which may be NULL. */
void question_answer(question *question, cometd_status status, int drop, char *replacement, size_t length);

/* What the threadsafe function calls. */
void on_loop(napi_env env, napi_value unused, void *context, void *data);
void on_loop_gone(napi_env env, void *data, void *hint);

void on_client_collected(napi_env env, void *data, void *hint);
void on_environment_ends(void *data);
void close_client(client *client, int environment_ends);

napi_value string_of(napi_env env, const char *bytes, size_t length);
napi_value error_value(client *client, const cometd_error *error, const cometd_event_view *view);

/* log(level, function): has the lines of the process given to it; undefined ends that. */
napi_value log_lines(napi_env env, napi_callback_info info);

call *call_begin(client *client, size_t left, napi_value *promise);
napi_value call_made(client *client, call *made, napi_value promise, cometd_status status, cometd_error *error);
void call_reject(client *client, call *ended, napi_value error);

#endif
