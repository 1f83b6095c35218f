/* libcometd as functions of Node-API. lib/index.js is the only caller, so arguments are of the types that it gives.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

/* ---- arguments ---- */

typedef struct arguments {
    napi_env env;
    size_t count;
    napi_value values[6];
    void *data;
    char *owned[16];
    size_t owned_count;
} arguments;

static client *begin(arguments *arguments, napi_env env, napi_callback_info info) {
    memset(arguments, 0, sizeof *arguments);
    arguments->env = env;
    arguments->count = 6;
    napi_get_cb_info(env, info, &arguments->count, arguments->values, NULL, &arguments->data);
    napi_valuetype type;
    void *first = NULL;
    if (napi_typeof(env, arguments->values[0], &type) == napi_ok && type == napi_external)
        napi_get_value_external(env, arguments->values[0], &first);
    return first;
}

static void end(arguments *arguments) {
    while (arguments->owned_count > 0) free(arguments->owned[--arguments->owned_count]);
}

/* UTF-8 with a NUL; NULL for what is no string, has a NUL in it, or when there is no memory. */
static char *copy_text(napi_env env, napi_value value, size_t *length) {
    size_t needed = 0;
    *length = 0;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &needed) != napi_ok) return NULL;
    char *copy = malloc(needed + 1);
    if (copy != NULL) napi_get_value_string_utf8(env, value, copy, needed + 1, length);
    if (copy != NULL && strlen(copy) != *length) {
        free(copy);
        copy = NULL;
    }
    return copy;
}

static const char *text_at(arguments *arguments, size_t at, size_t *length) {
    size_t ignored;
    char *copy = copy_text(arguments->env, arguments->values[at], length != NULL ? length : &ignored);
    if (copy != NULL) arguments->owned[arguments->owned_count++] = copy;
    return copy;
}

static int32_t number_at(const arguments *arguments, size_t at) {
    int32_t number = 0;
    napi_get_value_int32(arguments->env, arguments->values[at], &number);
    return number;
}

static int is_set(const arguments *arguments, size_t at) {
    bool set = false;
    napi_get_value_bool(arguments->env, arguments->values[at], &set);
    return set;
}

/* Throws what is no outcome of a call. */
static napi_value throw_error(client *client, cometd_error *error) {
    napi_value value = error_value(client, error, NULL);
    if (value != NULL) napi_throw(client->env, value);
    cometd_error_free(error);
    return NULL;
}

/* ---- functions ---- */

/* create(url, [name, value, …], providers, deliver, ask, failure): the client */
static napi_value create(napi_env env, napi_callback_info info) {
    arguments given;
    napi_value external = NULL, name;
    cometd_client_builder *builder = NULL;
    cometd_error *error = NULL;
    uint32_t count = 0;
    begin(&given, env, info);
    int32_t providers = number_at(&given, 2);
    client *made = calloc(1, sizeof *made);
    bridge *shared = calloc(1, sizeof *shared);
    if (made == NULL || shared == NULL) {
        free(made);
        free(shared);
        napi_throw_error(env, NULL, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->changed, NULL);
    shared->references = 1;
    shared->client = made;
    made->env = env;
    made->calls.next = made->calls.previous = &made->calls;
    napi_create_reference(env, given.values[3], 1, &made->deliver);
    napi_create_reference(env, given.values[4], 1, &made->ask);
    napi_create_reference(env, given.values[5], 1, &made->failure);

    cometd_status status = cometd_client_builder_new(text_at(&given, 0, NULL), &builder, &error);
    napi_get_array_length(env, given.values[1], &count);
    for (uint32_t at = 0; status == COMETD_OK && at + 1 < count; at += 2) {
        napi_value pair[2];
        size_t length;
        napi_get_element(env, given.values[1], at, &pair[0]);
        napi_get_element(env, given.values[1], at + 1, &pair[1]);
        char *option = copy_text(env, pair[0], &length), *value = copy_text(env, pair[1], &length);
        status = cometd_client_builder_set(builder, option, value, &error);
        free(option);
        free(value);
    }
    if (status == COMETD_OK && (providers & 1)) {
        bridge_retain(shared);
        cometd_client_builder_set_token_provider(builder, on_token, shared, bridge_release);
    }
    if (status == COMETD_OK && (providers & 2)) {
        bridge_retain(shared);
        cometd_client_builder_set_handshake_provider(builder, on_handshake, shared, bridge_release);
    }
    if (status == COMETD_OK && (providers & 4)) {
        bridge_retain(shared);
        cometd_client_builder_set_header_provider(builder, on_request, shared, bridge_release);
    }
    if (status == COMETD_OK && (providers & 8)) {
        bridge_retain(shared);
        cometd_client_builder_add_extension(builder, on_outgoing, on_incoming, shared, bridge_release);
    }
    if (status == COMETD_OK) status = cometd_client_builder_build(builder, &made->handle, &error);
    cometd_client_builder_free(builder);
    end(&given);
    if (status != COMETD_OK) {
        throw_error(made, error);
        bridge_release(shared);
        on_client_collected(env, made, NULL);
        return NULL;
    }

    made->bridge = shared;
    napi_create_string_latin1(env, "cometd", NAPI_AUTO_LENGTH, &name);
    if (napi_create_external(env, made, on_client_collected, NULL, &external) != napi_ok) return NULL;
    bridge_retain(shared);
    if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, shared, on_loop_gone, shared, on_loop,
                                        &shared->loop) != napi_ok) {
        bridge_release(shared);
        napi_throw_error(env, NULL, "no threadsafe function could be made");
        return NULL;
    }
    /* Behind the function's own hook, and so run before it. */
    napi_add_env_cleanup_hook(env, on_environment_ends, made);
    napi_unref_threadsafe_function(env, shared->loop);
    bridge_retain(shared);
    status = cometd_client_set_wake(made->handle, on_wake, shared, bridge_release);
    if (status != COMETD_OK) {
        bridge_release(shared);
        napi_throw_error(env, cometd_status_name(status), cometd_status_text(status));
        return NULL;
    }
    return external;
}

static napi_value connect_client(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    if (cometd_client_connect(client->handle, &error) != COMETD_OK) throw_error(client, error);
    return NULL;
}

/* subscribe(client, channels), unsubscribe(client, channels) */
static napi_value channels_call(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    napi_value promise = NULL;
    uint32_t count = 0;
    napi_get_array_length(env, given.values[1], &count);
    char **channels = calloc(count + 1, sizeof *channels);
    call *made = channels == NULL ? NULL : call_begin(client, count, &promise);
    if (made == NULL) {
        free(channels);
        return NULL;
    }
    for (uint32_t at = 0; at < count; at++) {
        napi_value channel;
        size_t length;
        napi_get_element(env, given.values[1], at, &channel);
        channels[at] = copy_text(env, channel, &length);
    }
    const char *const *names = (const char *const *)channels;
    cometd_status status =
        given.data != NULL ? cometd_client_subscribe_opaque(client->handle, names, count, made, NULL, &error)
                           : cometd_client_unsubscribe_opaque(client->handle, names, count, made, NULL, &error);
    for (uint32_t at = 0; at < count; at++) free(channels[at]);
    free(channels);
    return call_made(client, made, promise, status, error);
}

/* publish(client, channel, json, timeout, attempts) */
static napi_value publish(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    napi_value promise = NULL;
    size_t length;
    cometd_status status;
    call *made = call_begin(client, 1, &promise);
    if (made == NULL) return NULL;
    const char *channel = text_at(&given, 1, NULL), *json = text_at(&given, 2, &length);
    int32_t timeout = number_at(&given, 3), attempts = number_at(&given, 4);
    if (attempts > 0)
        status = cometd_client_publish_with_retries_opaque(client->handle, channel, json, length, timeout,
                                                           (uint32_t)attempts, made, NULL, &error);
    else
        status = cometd_client_publish_opaque(client->handle, channel, json, length, made, NULL, &error);
    end(&given);
    return call_made(client, made, promise, status, error);
}

/* publishBinary(client, channel, bytes, last, meta) */
static napi_value publish_binary(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    napi_value promise = NULL;
    void *bytes = NULL;
    size_t length = 0, meta_length = 0;
    call *made = call_begin(client, 1, &promise);
    if (made == NULL) return NULL;
    napi_get_typedarray_info(env, given.values[2], NULL, &length, &bytes, NULL, NULL);
    const char *channel = text_at(&given, 1, NULL), *meta = text_at(&given, 4, &meta_length);
    cometd_status status = cometd_client_publish_binary_opaque(client->handle, channel, bytes != NULL ? bytes : "", length,
                                                               is_set(&given, 3), meta, meta_length, made, NULL, &error);
    end(&given);
    return call_made(client, made, promise, status, error);
}

/* call(client, channel, json, timeout) */
static napi_value remote_call(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    napi_value promise = NULL;
    size_t length;
    call *made = call_begin(client, 1, &promise);
    if (made == NULL) return NULL;
    const char *channel = text_at(&given, 1, NULL), *json = text_at(&given, 2, &length);
    cometd_status status = cometd_client_remote_call_opaque(client->handle, channel, json, length, number_at(&given, 3),
                                                            made, NULL, &error);
    end(&given);
    return call_made(client, made, promise, status, error);
}

static napi_value batch_begin(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    if (cometd_client_batch_begin(client->handle, &error) != COMETD_OK) throw_error(client, error);
    return NULL;
}

static napi_value batch_end(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    if (cometd_client_batch_end(client->handle, &error) != COMETD_OK) throw_error(client, error);
    return NULL;
}

/* The end goes on in the background, and COMETD_EVENT_CLOSED tells it. */
static napi_value disconnect(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    /* It waits, as a call does, behind messages that nobody wants yet. */
    client->pending++;
    if (client->paused) {
        client->paused = 0;
        bridge_call(client->bridge, NULL);
    }
    if (cometd_client_disconnect(client->handle, 0, &error) != COMETD_OK) throw_error(client, error);
    return NULL;
}

/* destroy(client, error): what waits is rejected with the error. */
static napi_value destroy(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    if (client->handle == NULL) return NULL;
    napi_remove_env_cleanup_hook(env, on_environment_ends, client);
    close_client(client, 0);
    for (call *waits = client->calls.next; waits != &client->calls; waits = waits->next)
        call_reject(client, waits, given.values[1]);
    return NULL;
}

/* keep(client, whether): whether it keeps the loop alive */
static napi_value keep(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    if (client->handle == NULL) return NULL;
    if (is_set(&given, 1))
        napi_ref_threadsafe_function(env, client->bridge->loop);
    else
        napi_unref_threadsafe_function(env, client->bridge->loop);
    return NULL;
}

static napi_value resume(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    if (client->handle == NULL || !client->paused) return NULL;
    client->paused = 0;
    bridge_call(client->bridge, NULL);
    return NULL;
}

/* statistics(client): JSON, sessionId(client): text or undefined */
static napi_value text_about(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_status (*give)(cometd_client *, char *, size_t, size_t *) =
        given.data != NULL ? cometd_client_statistics : cometd_client_session_id;
    napi_value result = NULL;
    size_t room = 0, needed = 0;
    char *buffer = NULL;
    cometd_status status;
    /* It may have grown meanwhile. */
    while ((status = give(client->handle, buffer, room, &needed)) == COMETD_E_OUT_OF_RANGE) {
        char *grown = realloc(buffer, needed);
        if (grown == NULL) break;
        buffer = grown;
        room = needed;
    }
    if (status == COMETD_OK) result = string_of(env, buffer, strlen(buffer));
    free(buffer);
    return result;
}

static napi_value set_authorization(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_status status = cometd_client_set_authorization(client->handle, text_at(&given, 1, NULL));
    if (status != COMETD_OK) napi_throw_error(env, cometd_status_name(status), cometd_status_text(status));
    end(&given);
    return NULL;
}

static napi_value set_replay_position(napi_env env, napi_callback_info info) {
    arguments given;
    int64_t position = 0;
    client *client = begin(&given, env, info);
    napi_get_value_int64(env, given.values[2], &position);
    cometd_error *error = NULL;
    cometd_status status = cometd_client_set_replay_position(client->handle, text_at(&given, 1, NULL), position, &error);
    end(&given);
    if (status != COMETD_OK) throw_error(client, error);
    return NULL;
}

/* flush(client): whether all have their outcome; an error when publishes have failed */
static napi_value flush_calls(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    napi_value result = NULL;
    cometd_error *error = NULL;
    cometd_status status = cometd_client_flush(client->handle, 0, &error);
    if (status < 0) return throw_error(client, error);
    napi_get_boolean(env, status == COMETD_OK, &result);
    return result;
}

/* lastError(client): an error or undefined */
static napi_value last_error(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    napi_value result = NULL;
    if (cometd_client_last_error(client->handle, &error) == COMETD_OK) result = error_value(client, error, NULL);
    cometd_error_free(error);
    return result;
}

/* export(client): the session, or an error: COMETD_E_TIMEOUT for not yet */
static napi_value export_session(napi_env env, napi_callback_info info) {
    arguments given;
    client *client = begin(&given, env, info);
    cometd_error *error = NULL;
    const char *text = NULL;
    if (cometd_client_export(client->handle, 0, &text, &error) != COMETD_OK) return throw_error(client, error);
    return string_of(env, text, strlen(text));
}

static napi_value channel_matches(napi_env env, napi_callback_info info) {
    arguments given;
    napi_value result = NULL;
    begin(&given, env, info);
    const char *pattern = text_at(&given, 0, NULL), *channel = text_at(&given, 1, NULL);
    napi_get_boolean(env, cometd_channel_matches(pattern, channel), &result);
    end(&given);
    return result;
}

/* Of an extension: an array is an answer, [text] another message, [null] none. */
static napi_value answer_extension(arguments *given, question *asked) {
    bool found = false;
    uint32_t count = 0;
    size_t length = 0;
    napi_value value;
    napi_is_array(given->env, given->values[1], &found);
    if (found) napi_get_array_length(given->env, given->values[1], &count);
    char *text = NULL;
    if (count > 0 && napi_get_element(given->env, given->values[1], 0, &value) == napi_ok)
        text = copy_text(given->env, value, &length);
    question_answer(asked, found ? COMETD_OK : COMETD_E_INVALID_STATE, count > 0 && text == NULL, text, length);
    return NULL;
}

/* answer(question, [text, …], why): without the array it fails. Too late is no error: nobody waits any more. */
static napi_value answer(napi_env env, napi_callback_info info) {
    arguments given;
    question *asked = (question *)begin(&given, env, info);
    bool found = false;
    uint32_t count = 0;
    cometd_status status = COMETD_OK;
    if (asked->bridge != NULL) return answer_extension(&given, asked);
    napi_is_array(env, given.values[1], &found);
    if (!found) {
        const char *why = text_at(&given, 2, NULL);
        if (asked->token != NULL) cometd_token_fail(asked->token, why);
        if (asked->handshake != NULL) cometd_handshake_fail(asked->handshake, why);
        if (asked->request != NULL) cometd_request_fail(asked->request, why);
    } else {
        napi_get_array_length(env, given.values[1], &count);
        for (uint32_t at = 0; status == COMETD_OK && at < count; at++) {
            napi_value value;
            size_t length, name_length;
            char *name = NULL;
            napi_get_element(env, given.values[1], at, &value);
            char *text = copy_text(env, value, &length);
            if (asked->token != NULL) {
                status = cometd_token_set_authorization(asked->token, text);
            } else if (asked->handshake != NULL) {
                status = cometd_handshake_set_fields(asked->handshake, text, length);
            } else if (at + 1 < count) {
                name = text;
                napi_get_element(env, given.values[1], ++at, &value);
                text = copy_text(env, value, &name_length);
                status = cometd_request_set_header(asked->request, name, text);
            }
            free(name);
            free(text);
        }
        if (status == COMETD_E_INVALID_STATE || status == COMETD_E_CLOSED || status == COMETD_E_TIMEOUT)
            status = COMETD_OK;
        if (status != COMETD_OK) napi_throw_error(env, cometd_status_name(status), cometd_status_text(status));
    }
    end(&given);
    if (status != COMETD_OK) return NULL;
    /* The object lives until it is collected; the answer is now. */
    cometd_token_free(asked->token);
    cometd_handshake_free(asked->handshake);
    cometd_request_free(asked->request);
    asked->token = NULL;
    asked->handshake = NULL;
    asked->request = NULL;
    return NULL;
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text) {
    napi_value value;
    if (text == NULL) return;
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    napi_set_named_property(env, object, name, value);
}

/* options(): [{name, setter, type, unit, range, text, default}, …] */
static napi_value options(napi_env env, napi_callback_info info) {
    napi_value array, object;
    (void)info;
    napi_create_array(env, &array);
    for (size_t at = 0; at < cometd_option_count(); at++) {
        const cometd_option *option = cometd_option_at(at);
        napi_create_object(env, &object);
        set_text(env, object, "name", cometd_option_name(option));
        set_text(env, object, "setter", cometd_option_setter(option));
        set_text(env, object, "type", cometd_option_type(option));
        set_text(env, object, "unit", cometd_option_unit(option));
        set_text(env, object, "range", cometd_option_range(option));
        set_text(env, object, "text", cometd_option_text(option));
        set_text(env, object, "default", cometd_option_default(option));
        napi_set_element(env, array, (uint32_t)at, object);
    }
    return array;
}

static napi_value version(napi_env env, napi_callback_info info) {
    (void)info;
    return string_of(env, cometd_version_string(), strlen(cometd_version_string()));
}

NAPI_MODULE_INIT() {
    static char yes;
    const struct {
        const char *name;
        napi_callback function;
        void *data;
    } functions[] = {
        {"create", create, NULL},
        {"connect", connect_client, NULL},
        {"subscribe", channels_call, &yes},
        {"unsubscribe", channels_call, NULL},
        {"publish", publish, NULL},
        {"publishBinary", publish_binary, NULL},
        {"call", remote_call, NULL},
        {"batchBegin", batch_begin, NULL},
        {"batchEnd", batch_end, NULL},
        {"disconnect", disconnect, NULL},
        {"destroy", destroy, NULL},
        {"keep", keep, NULL},
        {"resume", resume, NULL},
        {"statistics", text_about, &yes},
        {"sessionId", text_about, NULL},
        {"setAuthorization", set_authorization, NULL},
        {"setReplayPosition", set_replay_position, NULL},
        {"flush", flush_calls, NULL},
        {"lastError", last_error, NULL},
        {"exportSession", export_session, NULL},
        {"channelMatches", channel_matches, NULL},
        {"log", log_lines, NULL},
        {"answer", answer, NULL},
        {"options", options, NULL},
        {"version", version, NULL},
    };
    for (size_t at = 0; at < sizeof functions / sizeof *functions; at++) {
        napi_value function;
        napi_create_function(env, functions[at].name, NAPI_AUTO_LENGTH, functions[at].function, functions[at].data,
                             &function);
        napi_set_named_property(env, exports, functions[at].name, function);
    }
    return exports;
}
