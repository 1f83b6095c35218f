/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

/* Events of one poll, and polls before the loop goes on with its other work. */
enum { EVENTS = 256, POLLS = 8 };
/* Where a JSON text is given on before it has all events of a poll. */
static const size_t ENOUGH = 1 << 20;

/* V8 copies latin1, and decodes UTF-8: most JSON is ASCII. */
napi_value string_of(napi_env env, const char *bytes, size_t length) {
    napi_value string = NULL;
    unsigned char all = 0;
    for (size_t at = 0; at < length; at++) all |= (unsigned char)bytes[at];
    if (all < 0x80)
        napi_create_string_latin1(env, bytes, length, &string);
    else
        napi_create_string_utf8(env, bytes, length, &string);
    return string;
}

/* ---- between the threads ---- */

void bridge_release(void *user) {
    bridge *bridge = user;
    pthread_mutex_lock(&bridge->lock);
    int left = --bridge->references;
    pthread_mutex_unlock(&bridge->lock);
    if (left > 0) return;
    pthread_cond_destroy(&bridge->changed);
    pthread_mutex_destroy(&bridge->lock);
    free(bridge);
}

void bridge_retain(bridge *bridge) {
    pthread_mutex_lock(&bridge->lock);
    bridge->references++;
    pthread_mutex_unlock(&bridge->lock);
}

/* Under the lock, so that the function is not gone meanwhile: the environment may end at any moment. */
int bridge_call(bridge *bridge, question *question) {
    pthread_mutex_lock(&bridge->lock);
    int called = bridge->loop != NULL &&
                 napi_call_threadsafe_function(bridge->loop, question, napi_tsfn_nonblocking) == napi_ok;
    pthread_mutex_unlock(&bridge->lock);
    return called;
}

void on_wake(void *user) {
    bridge_call(user, NULL);
}

void question_answer(question *question, cometd_status status, int drop, char *replacement, size_t length) {
    pthread_mutex_lock(&question->bridge->lock);
    if (!question->answered) {
        question->answered = 1;
        question->status = status;
        question->drop = drop;
        question->replacement = replacement;
        question->replacement_length = length;
        replacement = NULL;
        pthread_cond_broadcast(&question->bridge->changed);
    }
    pthread_mutex_unlock(&question->bridge->lock);
    free(replacement);
}

static void extension_question_release(question *question) {
    bridge *bridge = question->bridge;
    pthread_mutex_lock(&bridge->lock);
    int left = --question->references;
    pthread_mutex_unlock(&bridge->lock);
    if (left == 0) {
        free(question->replacement);
        free(question);
    }
    bridge_release(bridge);
}

static void question_free(question *question) {
    if (question->bridge != NULL) {
        question_answer(question, COMETD_E_CLOSED, 0, NULL, 0);
        extension_question_release(question);
        return;
    }
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

cometd_status on_token(void *user, int32_t reason, cometd_token *token) {
    return put_question(user, reason, token, NULL, NULL);
}

cometd_status on_handshake(void *user, cometd_handshake *handshake) {
    return put_question(user, 0, NULL, handshake, NULL);
}

cometd_status on_request(void *user, cometd_request *request) {
    return put_question(user, 0, NULL, NULL, request);
}

/* On a thread of the client's own, which may wait for JavaScript. */
static cometd_status ask_extensions(bridge *bridge, int incoming, cometd_extension_message *message) {
    question *asked = calloc(1, sizeof *asked);
    if (asked == NULL) return COMETD_E_SYSTEM;
    asked->bridge = bridge;
    asked->message = cometd_extension_message_json(message, &asked->message_length);
    asked->incoming = incoming;
    asked->references = 2;
    bridge_retain(bridge);
    bridge_retain(bridge);
    if (!bridge_call(bridge, asked)) {
        question_free(asked);
    } else {
        pthread_mutex_lock(&bridge->lock);
        while (!asked->answered && bridge->loop != NULL) pthread_cond_wait(&bridge->changed, &bridge->lock);
        pthread_mutex_unlock(&bridge->lock);
    }
    question_answer(asked, COMETD_E_CLOSED, 0, NULL, 0);
    cometd_status status = asked->status;
    if (status == COMETD_OK && asked->drop)
        status = cometd_extension_message_drop(message);
    else if (status == COMETD_OK && asked->replacement != NULL)
        status = cometd_extension_message_replace(message, asked->replacement, asked->replacement_length);
    extension_question_release(asked);
    return status;
}

cometd_status on_outgoing(void *user, cometd_extension_message *message) {
    return ask_extensions(user, 0, message);
}

cometd_status on_incoming(void *user, cometd_extension_message *message) {
    return ask_extensions(user, 1, message);
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
napi_value error_value(client *client, const cometd_error *error, const cometd_event_view *view) {
    text json = {0};
    napi_value arguments[2];
    size_t count = 1;
    add_error(&json, error);
    arguments[0] = string_of(client->env, json.bytes, json.length);
    if (view != NULL && view->data != NULL) arguments[count++] = string_of(client->env, view->data, view->data_len);
    free(json.bytes);
    return call_js(client->env, client->failure, count, arguments);
}

call *call_begin(client *client, size_t left, napi_value *promise) {
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

void call_reject(client *client, call *ended, napi_value error) {
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
napi_value call_made(client *client, call *made, napi_value promise, cometd_status status, cometd_error *error) {
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
    napi_value arguments[2] = {NULL, client->buffers}, result;
    bool enough = false;
    if (client->batch.length == 0) return 0;
    ADD(&client->batch, "]");
    if (client->batch.failed) {
        client->batch.failed = 0;
        client->batch.length = 0;
        napi_fatal_error("cometd", NAPI_AUTO_LENGTH, "out of memory", NAPI_AUTO_LENGTH);
    }
    arguments[0] = string_of(client->env, client->batch.bytes, client->batch.length);
    client->batch.length = 0;
    client->buffers = NULL;
    client->buffer_count = 0;
    if (arguments[0] != NULL &&
        (result = call_js(client->env, client->deliver, arguments[1] != NULL ? 2 : 1, arguments)) != NULL)
        napi_get_value_bool(client->env, result, &enough);
    return enough;
}

static void add_value(text *batch, const char *json, size_t length) {
    add_json(batch, ",", json != NULL ? json : "null", json != NULL ? length : 4);
}

/* What is no JSON goes beside it. */
static int keep_bytes(client *client, const cometd_message *message) {
    size_t length = 0;
    const uint8_t *bytes = cometd_message_binary(message, &length);
    napi_value buffer = NULL;
    void *copy = NULL;
    if (bytes == NULL || napi_create_buffer_copy(client->env, length, bytes, &copy, &buffer) != napi_ok) return 0;
    if (client->buffers == NULL) napi_create_array(client->env, &client->buffers);
    return napi_set_element(client->env, client->buffers, client->buffer_count++, buffer) == napi_ok;
}

/* Of a message four values: its channel, or 0 for that of the message before; data, id and ext, or null. Of another event
 * two: 1, and an object. 2 stands before a message that has bytes, with whether they are the last ones and what they say
 * of themselves. Objects of two or three fields would take JSON.parse half as long again. */
static void collect(client *client, const cometd_event_view *view) {
    text *batch = &client->batch;
    if (batch->length == 0) {
        ADD(batch, "[");
        client->channel_length = 0;
    } else {
        ADD(batch, ",");
    }
    if (view->type == COMETD_EVENT_MESSAGE) {
        if (view->ext != NULL && keep_bytes(client, view->message)) {
            size_t length = 0;
            const char *meta = cometd_message_binary_meta(view->message, &length);
            if (cometd_message_binary_is_last(view->message))
                ADD(batch, "2,true");
            else
                ADD(batch, "2,false");
            add_value(batch, meta, length);
            ADD(batch, ",");
        }
        if (view->channel_len == client->channel_length &&
            memcmp(batch->bytes + client->channel, view->channel, view->channel_len) == 0) {
            ADD(batch, "0");
        } else {
            client->channel = batch->length + 1;
            add_field(batch, "", view->channel, view->channel_len);
            /* One that was escaped is none to compare with. */
            int as_it_is = batch->length == client->channel + view->channel_len + 1;
            client->channel_length = as_it_is ? view->channel_len : 0;
        }
        add_value(batch, view->data, view->data_len);
        add_value(batch, view->message_id, view->message_id_len);
        add_value(batch, view->ext, view->ext_len);
        return;
    }
    ADD(batch, "1,");
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
    } else if (asked->bridge != NULL) {
        add_number(&json, "{\"kind\":\"extension\",\"incoming\":", asked->incoming);
        add_json(&json, ",\"message\":", asked->message, asked->message_length);
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
void on_loop(napi_env env, napi_value unused, void *context, void *data) {
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

void on_loop_gone(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    bridge_release(data);
}

/* ---- a client's life ---- */

void close_client(client *client, int environment_ends) {
    if (client->handle == NULL) return;
    napi_threadsafe_function loop;
    pthread_mutex_lock(&client->bridge->lock);
    loop = client->bridge->loop;
    client->bridge->loop = NULL;
    pthread_cond_broadcast(&client->bridge->changed);
    pthread_mutex_unlock(&client->bridge->lock);
    client->bridge->client = NULL;
    cometd_client_free(client->handle);
    client->handle = NULL;
    /* An environment that ends does it by itself. */
    if (!environment_ends) napi_release_threadsafe_function(loop, napi_tsfn_release);
    bridge_release(client->bridge);
    client->bridge = NULL;
}

void on_environment_ends(void *data) {
    close_client(data, 1);
}

void on_client_collected(napi_env env, void *data, void *hint) {
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
