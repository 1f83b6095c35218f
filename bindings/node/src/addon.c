/* libcometd as functions of Node-API. lib/index.js is the only caller, so arguments are of the types that it gives.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A client wakes its loop by one threadsafe function, of which only the JavaScript thread takes events: no thread waits
 * for them. What was taken goes to JavaScript as one JSON text, which JSON.parse turns into objects for a fraction of
 * what napi_set_property would cost. */
#define NAPI_VERSION 8
#include <node_api.h>

#include <cometd/cometd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Events of one poll, and polls before the loop goes on with its other work. */
enum { EVENTS = 256, POLLS = 8 };
/* Where a JSON text is given on before it has all events of a poll. */
static const size_t ENOUGH = 1 << 20;

/* ---- a growing text ---- */

typedef struct text {
    char *bytes;
    size_t length, room;
    int failed;
} text;

static void add(text *text, const char *bytes, size_t length) {
    if (text->failed) return;
    if (text->room - text->length < length) {
        size_t room = (text->length + length) * 2 + 256;
        char *grown = realloc(text->bytes, room);
        if (grown == NULL) {
            text->failed = 1;
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

#define ADD(text, literal) add(text, literal, sizeof literal - 1)

static void add_string(text *text, const char *string, size_t length) {
    ADD(text, "\"");
    size_t from = 0;
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)string[at];
        if (byte >= ' ' && byte != '"' && byte != '\\') continue;
        char escaped[8];
        add(text, string + from, at - from);
        add(text, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", byte));
        from = at + 1;
    }
    add(text, string + from, length - from);
    ADD(text, "\"");
}

/* `name` is the field with what stands before its value, `,"channel":`; it is left out with NULL. */
static void add_field(text *text, const char *name, const char *string, size_t length) {
    if (string == NULL) return;
    add(text, name, strlen(name));
    add_string(text, string, length);
}

static void add_json(text *text, const char *name, const char *json, size_t length) {
    if (json == NULL) return;
    add(text, name, strlen(name));
    add(text, json, length);
}

static void add_number(text *text, const char *name, long long number) {
    char digits[24];
    add(text, name, strlen(name));
    add(text, digits, (size_t)snprintf(digits, sizeof digits, "%lld", number));
}

static void add_texts(text *text, const char *name, const char *string) {
    if (string != NULL) add_field(text, name, string, strlen(string));
}

static void add_error(text *text, const cometd_error *error) {
    int32_t code = 0;
    size_t length = 0;
    cometd_status status = cometd_error_status(error);
    const char *bayeux = cometd_error_bayeux(error, &code), *json;
    add_number(text, "{\"status\":", status);
    add_texts(text, ",\"code\":", cometd_status_name(status));
    add_texts(text, ",\"message\":", cometd_error_message(error));
    add_number(text, ",\"phase\":", cometd_error_phase(error));
    add_texts(text, ",\"channel\":", cometd_error_channel(error));
    add_number(text, ",\"httpStatus\":", cometd_error_http_status(error));
    add_number(text, ",\"websocketCode\":", cometd_error_websocket_code(error));
    add_number(text, ",\"retryInMs\":", cometd_error_retry_in_ms(error));
    add_texts(text, ",\"bayeux\":", bayeux);
    if (bayeux != NULL) add_number(text, ",\"bayeuxCode\":", code);
    json = cometd_error_ext(error, &length);
    add_json(text, ",\"ext\":", json, length);
    add_texts(text, ",\"client\":", cometd_error_client(error));
    add_texts(text, ",\"url\":", cometd_error_url(error));
    if (cometd_error_is_fatal(error)) ADD(text, ",\"fatal\":true");
    ADD(text, "}");
}

/* V8 copies latin1, and decodes UTF-8: most JSON is ASCII. */
static napi_value string_of(napi_env env, const char *bytes, size_t length) {
    napi_value string = NULL;
    unsigned char all = 0;
    for (size_t at = 0; at < length; at++) all |= (unsigned char)bytes[at];
    if (all < 0x80)
        napi_create_string_latin1(env, bytes, length, &string);
    else
        napi_create_string_utf8(env, bytes, length, &string);
    return string;
}

/* ---- what the threads share ---- */

/* Each of these holds a reference to it: the client below, the library with each function that it was given, and the
 * threadsafe function. */
typedef struct bridge {
    pthread_mutex_t lock;
    int references;
    napi_threadsafe_function loop; /* NULL when nobody listens any more */
    struct client *client;         /* of the JavaScript thread alone */
} bridge;

/* A provider's question, on its way to the loop and until it is answered. */
typedef struct question {
    int32_t reason;
    cometd_token *token;
    cometd_handshake *handshake;
    cometd_request *request;
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
} client;

static void bridge_release(void *user) {
    bridge *bridge = user;
    pthread_mutex_lock(&bridge->lock);
    int left = --bridge->references;
    pthread_mutex_unlock(&bridge->lock);
    if (left > 0) return;
    pthread_mutex_destroy(&bridge->lock);
    free(bridge);
}

static void bridge_retain(bridge *bridge) {
    pthread_mutex_lock(&bridge->lock);
    bridge->references++;
    pthread_mutex_unlock(&bridge->lock);
}

/* Under the lock, so that the function is not gone meanwhile: the environment may end at any moment. */
static int bridge_call(bridge *bridge, question *question) {
    pthread_mutex_lock(&bridge->lock);
    int called = bridge->loop != NULL &&
                 napi_call_threadsafe_function(bridge->loop, question, napi_tsfn_nonblocking) == napi_ok;
    pthread_mutex_unlock(&bridge->lock);
    return called;
}

static void on_wake(void *user) {
    bridge_call(user, NULL);
}

static void question_free(question *question) {
    cometd_token_free(question->token);
    cometd_handshake_free(question->handshake);
    cometd_request_free(question->request);
    free(question);
}

static cometd_status put_question(bridge *bridge, int32_t reason, cometd_token *token, cometd_handshake *handshake,
                                  cometd_request *request) {
    question *asked = calloc(1, sizeof *asked);
    if (asked == NULL) return COMETD_E_SYSTEM;
    asked->reason = reason;
    asked->token = cometd_token_retain(token);
    asked->handshake = cometd_handshake_retain(handshake);
    asked->request = cometd_request_retain(request);
    if (bridge_call(bridge, asked)) return COMETD_OK;
    question_free(asked);
    return COMETD_E_CLOSED;
}

static cometd_status on_token(void *user, int32_t reason, cometd_token *token) {
    return put_question(user, reason, token, NULL, NULL);
}

static cometd_status on_handshake(void *user, cometd_handshake *handshake) {
    return put_question(user, 0, NULL, handshake, NULL);
}

static cometd_status on_request(void *user, cometd_request *request) {
    return put_question(user, 0, NULL, NULL, request);
}

/* ---- errors and outcomes ---- */

static napi_value reference(napi_env env, napi_ref ref) {
    napi_value value = NULL;
    napi_get_reference_value(env, ref, &value);
    return value;
}

/* What JavaScript throws is no event's business: it is told as what any callback throws. */
static napi_value call_js(napi_env env, napi_ref function, size_t count, napi_value *arguments) {
    napi_value receiver, result = NULL, thrown;
    bool pending = false;
    napi_get_undefined(env, &receiver);
    napi_call_function(env, receiver, reference(env, function), count, arguments, &result);
    napi_is_exception_pending(env, &pending);
    if (!pending) return result;
    napi_get_and_clear_last_exception(env, &thrown);
    napi_fatal_exception(env, thrown);
    return NULL;
}

/* A CometDError of the error and, of a remote call, of the data that came with it. */
static napi_value error_value(client *client, const cometd_error *error, const cometd_event_view *view) {
    text json = {0};
    napi_value arguments[2];
    size_t count = 1;
    add_error(&json, error);
    arguments[0] = string_of(client->env, json.bytes, json.length);
    if (view != NULL && view->data != NULL) arguments[count++] = string_of(client->env, view->data, view->data_len);
    free(json.bytes);
    return call_js(client->env, client->failure, count, arguments);
}

static call *call_begin(client *client, size_t left, napi_value *promise) {
    call *begun = calloc(1, sizeof *begun);
    if (begun == NULL || napi_create_promise(client->env, &begun->deferred, promise) != napi_ok) {
        free(begun);
        napi_throw_error(client->env, NULL, "out of memory");
        return NULL;
    }
    begun->left = left;
    begun->next = client->calls.next;
    begun->previous = &client->calls;
    begun->next->previous = begun;
    client->calls.next = begun;
    client->pending++;
    return begun;
}

static void call_reject(client *client, call *ended, napi_value error) {
    if (ended->deferred == NULL) return;
    napi_reject_deferred(client->env, ended->deferred, error);
    ended->deferred = NULL;
}

static void call_free(client *client, call *ended) {
    ended->next->previous = ended->previous;
    ended->previous->next = ended->next;
    client->pending--;
    free(ended);
}

/* What the library answers when a call is made: accepted, or the end of it. */
static napi_value call_made(client *client, call *made, napi_value promise, cometd_status status, cometd_error *error) {
    if (status != COMETD_OK) {
        call_reject(client, made, error_value(client, error, NULL));
        call_free(client, made);
    } else if (client->paused) {
        /* Its outcome stands behind messages that nobody wants yet. */
        client->paused = 0;
        bridge_call(client->bridge, NULL);
    }
    cometd_error_free(error);
    return promise;
}

static void call_ended(client *client, const cometd_event_view *view) {
    call *ended = view->opaque;
    if (view->error != NULL) {
        call_reject(client, ended, error_value(client, view->error, view));
    } else if (ended->left == 1 && ended->deferred != NULL) {
        napi_value result = NULL;
        if (view->type == COMETD_EVENT_RESULT)
            result = string_of(client->env, view->data, view->data_len);
        else
            napi_get_undefined(client->env, &result);
        napi_resolve_deferred(client->env, ended->deferred, result);
        ended->deferred = NULL;
    }
    if (--ended->left == 0) call_free(client, ended);
}

/* ---- events ---- */

/* Gives what was collected to JavaScript. Returns whether that has enough. */
static int flush(client *client) {
    napi_value json, result;
    bool enough = false;
    if (client->batch.length == 0) return 0;
    ADD(&client->batch, "]");
    if (client->batch.failed) {
        client->batch.failed = 0;
        client->batch.length = 0;
        napi_fatal_error("cometd", NAPI_AUTO_LENGTH, "out of memory", NAPI_AUTO_LENGTH);
    }
    json = string_of(client->env, client->batch.bytes, client->batch.length);
    client->batch.length = 0;
    if (json != NULL && (result = call_js(client->env, client->deliver, 1, &json)) != NULL)
        napi_get_value_bool(client->env, result, &enough);
    return enough;
}

static void collect(client *client, const cometd_event_view *view) {
    text *batch = &client->batch;
    if (batch->length == 0)
        ADD(batch, "[");
    else
        ADD(batch, ",");
    if (view->type == COMETD_EVENT_MESSAGE) {
        add_field(batch, "{\"channel\":", view->channel, view->channel_len);
        add_json(batch, ",\"data\":", view->data, view->data_len);
        add_json(batch, ",\"id\":", view->message_id, view->message_id_len);
        add_json(batch, ",\"ext\":", view->ext, view->ext_len);
        ADD(batch, "}");
        return;
    }
    add_number(batch, "{\"type\":", view->type);
    if (view->type == COMETD_EVENT_STATE) {
        add_texts(batch, ",\"state\":", cometd_state_name(view->state));
        add_texts(batch, ",\"previous\":", cometd_state_name(view->previous));
    }
    add_field(batch, ",\"channel\":", view->channel, view->channel_len);
    add_json(batch, ",\"advice\":", view->advice, view->advice_len);
    if (view->dropped != 0) add_number(batch, ",\"dropped\":", (long long)view->dropped);
    if (view->error != NULL) {
        ADD(batch, ",\"error\":");
        add_error(batch, view->error);
    }
    ADD(batch, "}");
}

static int ends_a_call(const cometd_event_view *view) {
    return view->opaque != NULL && view->id != 0 && !view->is_renewed &&
           (view->type == COMETD_EVENT_SUBSCRIBED || view->type == COMETD_EVENT_UNSUBSCRIBED ||
            view->type == COMETD_EVENT_PUBLISHED || view->type == COMETD_EVENT_RESULT ||
            view->type == COMETD_EVENT_ERROR);
}

static void take_events(bridge *bridge) {
    cometd_event *events[EVENTS];
    for (int poll = 0; poll < POLLS; poll++) {
        /* JavaScript may have closed the client with what it was given. */
        client *client = bridge->client;
        if (client == NULL || client->handle == NULL || client->paused) return;
        size_t count = cometd_client_poll_many(client->handle, 0, events, EVENTS);
        if (count == 0) return;
        int enough = 0;
        for (size_t at = 0; at < count && bridge->client != NULL; at++) {
            cometd_event_view view;
            if (cometd_event_look(events[at], &view, sizeof view) != COMETD_OK) continue;
            if (ends_a_call(&view))
                call_ended(client, &view);
            else
                collect(client, &view);
            if (client->batch.length > ENOUGH) enough = flush(client);
        }
        if (bridge->client != NULL) enough |= flush(client);
        cometd_events_free(events, count);
        if (bridge->client != NULL && enough && client->pending == 0) client->paused = 1;
    }
    bridge_call(bridge, NULL);
}

static void on_question_collected(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    question_free(data);
}

static void ask(client *client, question *asked) {
    napi_value arguments[2];
    text json = {0};
    if (asked->token != NULL) {
        add_number(&json, "{\"kind\":\"token\",\"reason\":", asked->reason);
    } else if (asked->handshake != NULL) {
        size_t length = 0;
        const char *refusal = cometd_handshake_refusal(asked->handshake, &length);
        add_number(&json, "{\"kind\":\"handshake\",\"attempt\":", cometd_handshake_attempt(asked->handshake));
        add_json(&json, ",\"refusal\":", refusal, length);
    } else {
        size_t length = 0;
        const char *url = cometd_request_url(asked->request, &length);
        add_number(&json, "{\"kind\":\"request\",\"phase\":", cometd_request_phase(asked->request));
        add_texts(&json, ",\"method\":", cometd_request_method(asked->request));
        add_field(&json, ",\"url\":", url, length);
        const char *body = cometd_request_body(asked->request, &length);
        add_field(&json, ",\"body\":", body, length);
    }
    ADD(&json, "}");
    arguments[0] = json.failed ? NULL : string_of(client->env, json.bytes, json.length);
    free(json.bytes);
    if (arguments[0] == NULL ||
        napi_create_external(client->env, asked, on_question_collected, NULL, &arguments[1]) != napi_ok) {
        question_free(asked);
        return;
    }
    call_js(client->env, client->ask, 2, arguments);
}

/* On the JavaScript thread: for a wake, or for a question. Without `env` the loop ends. */
static void on_loop(napi_env env, napi_value unused, void *context, void *data) {
    bridge *bridge = context;
    (void)unused;
    bridge_retain(bridge);
    if (data == NULL) {
        if (env != NULL) take_events(bridge);
    } else if (env != NULL && bridge->client != NULL) {
        ask(bridge->client, data);
    } else {
        question_free(data);
    }
    bridge_release(bridge);
}

static void on_loop_gone(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    bridge_release(data);
}

/* ---- a client's life ---- */

static void close_client(client *client, int environment_ends) {
    if (client->handle == NULL) return;
    napi_threadsafe_function loop;
    pthread_mutex_lock(&client->bridge->lock);
    loop = client->bridge->loop;
    client->bridge->loop = NULL;
    pthread_mutex_unlock(&client->bridge->lock);
    client->bridge->client = NULL;
    cometd_client_free(client->handle);
    client->handle = NULL;
    /* An environment that ends does it by itself. */
    if (!environment_ends) napi_release_threadsafe_function(loop, napi_tsfn_release);
    bridge_release(client->bridge);
    client->bridge = NULL;
}

static void on_environment_ends(void *data) {
    close_client(data, 1);
}

static void on_client_collected(napi_env env, void *data, void *hint) {
    client *client = data;
    (void)hint;
    if (client->handle != NULL) {
        napi_remove_env_cleanup_hook(env, on_environment_ends, client);
        close_client(client, 0);
    }
    napi_delete_reference(env, client->deliver);
    napi_delete_reference(env, client->ask);
    napi_delete_reference(env, client->failure);
    while (client->calls.next != &client->calls) call_free(client, client->calls.next);
    free(client->batch.bytes);
    free(client);
}

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

/* UTF-8 with a NUL; NULL for what is no string, or when there is no memory. */
static char *copy_text(napi_env env, napi_value value, size_t *length) {
    size_t needed = 0;
    *length = 0;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &needed) != napi_ok) return NULL;
    char *copy = malloc(needed + 1);
    if (copy != NULL) napi_get_value_string_utf8(env, value, copy, needed + 1, length);
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

/* answer(question, [text, …], why): without the array it fails. Too late is no error: nobody waits any more. */
static napi_value answer(napi_env env, napi_callback_info info) {
    arguments given;
    question *asked = (question *)begin(&given, env, info);
    bool found = false;
    uint32_t count = 0;
    cometd_status status = COMETD_OK;
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
