/* The library's log lines, which any thread may speak, on their way to JavaScript.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

/* So many lines wait for the loop; more are dropped. */
enum { LINES = 10000 };

typedef struct sink {
    pthread_mutex_t lock;
    int references; /* of the library, the environment, and the threadsafe function */
    napi_threadsafe_function loop;
} sink;

typedef struct line {
    int32_t level;
    char *text;
    char target[64];
} line;

/* That of the process, whichever thread of JavaScript has set it. */
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static sink *current;

static void sink_release(void *user) {
    sink *sink = user;
    pthread_mutex_lock(&sink->lock);
    int left = --sink->references;
    pthread_mutex_unlock(&sink->lock);
    if (left > 0) return;
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

static void line_free(line *line) {
    free(line->text);
    free(line);
}

static void on_line(void *user, int32_t level, const char *target, const char *text) {
    sink *sink = user;
    line *spoken = calloc(1, sizeof *spoken);
    size_t length = strlen(text) + 1;
    if (spoken == NULL || (spoken->text = malloc(length)) == NULL) {
        free(spoken);
        return;
    }
    memcpy(spoken->text, text, length);
    spoken->level = level;
    strncpy(spoken->target, target, sizeof spoken->target - 1);
    pthread_mutex_lock(&sink->lock);
    int called =
        sink->loop != NULL && napi_call_threadsafe_function(sink->loop, spoken, napi_tsfn_nonblocking) == napi_ok;
    pthread_mutex_unlock(&sink->lock);
    if (!called) line_free(spoken);
}

static void on_line_in_loop(napi_env env, napi_value function, void *context, void *data) {
    line *spoken = data;
    (void)context;
    if (env != NULL) {
        napi_value receiver, values[3], thrown;
        bool pending = false;
        napi_get_undefined(env, &receiver);
        napi_create_int32(env, spoken->level, &values[0]);
        values[1] = string_of(env, spoken->target, strlen(spoken->target));
        values[2] = string_of(env, spoken->text, strlen(spoken->text));
        napi_call_function(env, receiver, function, 3, values, NULL);
        napi_is_exception_pending(env, &pending);
        if (pending) {
            napi_get_and_clear_last_exception(env, &thrown);
            napi_fatal_exception(env, thrown);
        }
    }
    line_free(spoken);
}

static void on_loop_gone_of_log(napi_env env, void *data, void *hint) {
    (void)env, (void)hint;
    sink_release(data);
}

/* `current_lock` is held. */
static void end_current(int environment_ends) {
    sink *ended = current;
    if (ended == NULL) return;
    current = NULL;
    pthread_mutex_lock(&ended->lock);
    napi_threadsafe_function loop = ended->loop;
    ended->loop = NULL;
    pthread_mutex_unlock(&ended->lock);
    if (!environment_ends && loop != NULL) napi_release_threadsafe_function(loop, napi_tsfn_release);
}

static void on_environment_ends_of_log(void *data) {
    sink *sink = data;
    pthread_mutex_lock(&current_lock);
    if (current == sink) {
        end_current(1);
        cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&current_lock);
    sink_release(sink);
}

napi_value log_lines(napi_env env, napi_callback_info info) {
    napi_value values[2], name;
    size_t count = 2;
    int32_t level = COMETD_LOG_OFF;
    napi_valuetype type = napi_undefined;
    napi_get_cb_info(env, info, &count, values, NULL, NULL);
    napi_get_value_int32(env, values[0], &level);
    napi_typeof(env, values[1], &type);
    cometd_status status = COMETD_OK;
    pthread_mutex_lock(&current_lock);
    end_current(0);
    if (type != napi_function) {
        status = cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL);
    } else {
        sink *made = calloc(1, sizeof *made);
        napi_create_string_latin1(env, "cometd log", NAPI_AUTO_LENGTH, &name);
        status = COMETD_E_SYSTEM;
        if (made != NULL) {
            pthread_mutex_init(&made->lock, NULL);
            made->references = 2;
            if (napi_create_threadsafe_function(env, values[1], NULL, name, LINES, 1, made, on_loop_gone_of_log, NULL,
                                                on_line_in_loop, &made->loop) != napi_ok) {
                pthread_mutex_destroy(&made->lock);
                free(made);
                made = NULL;
            }
        }
        if (made != NULL) {
            napi_unref_threadsafe_function(env, made->loop);
            napi_add_env_cleanup_hook(env, on_environment_ends_of_log, made);
            made->references++;
            current = made;
            status = cometd_log_set(level, on_line, made, sink_release);
            if (status != COMETD_OK) {
                sink_release(made);
                end_current(0);
            }
        }
    }
    pthread_mutex_unlock(&current_lock);
    if (status != COMETD_OK) napi_throw_error(env, cometd_status_name(status), cometd_status_text(status));
    return NULL;
}
