/*
 * libcometd in a libuv loop: the events of a client, or of a receiver, as calls of a
 * function on the thread of the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A program links libcometd and libuv; nothing else belongs to this file.
 *
 *     cometd_libuv *events = NULL;
 *     cometd_libuv_attach(loop, client, on_event, user, &events);
 *     cometd_client_connect(client, NULL);
 *     uv_run(loop, UV_RUN_DEFAULT);
 *
 * The loop is kept alive until COMETD_EVENT_CLOSED was given. cometd_libuv_detach ends it
 * earlier, and frees; it and cometd_client_free may be called in the function as well.
 * What is detached is forgotten by the loop in its next turn, for which it has to run.
 * Up to COMETD_LIBUV_TURN events are given in a turn, so that the loop's other work goes on.
 */

#ifndef COMETD_LIBUV_H
#define COMETD_LIBUV_H

#include <cometd/cometd.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How many events are given before the loop goes on with its other work. */
#ifndef COMETD_LIBUV_TURN
#define COMETD_LIBUV_TURN 64
#endif

/** Events that come in a loop. Its fields are its own. */
typedef struct cometd_libuv {
    uv_poll_t watched;
    cometd_client *client;
    cometd_receiver *receiver;
    cometd_event_fn fn;
    void *user;
    int fd;
    int detached;
} cometd_libuv;

static inline void cometd_libuv_closed(uv_handle_t *handle) {
    cometd_libuv *events = (cometd_libuv *)handle->data;
    close(events->fd);
    free(events);
}

/** Ends it, also inside the function that gets the events. NULL does nothing. */
static inline void cometd_libuv_detach(cometd_libuv *events) {
    if (events == NULL || events->detached) return;
    events->detached = 1;
    uv_close((uv_handle_t *)&events->watched, cometd_libuv_closed);
}

static inline void cometd_libuv_ready(uv_poll_t *watched, int status, int readable) {
    cometd_libuv *events = (cometd_libuv *)watched->data;
    (void)status, (void)readable;
    for (int left = COMETD_LIBUV_TURN; left > 0 && !events->detached; left--) {
        cometd_event *event = NULL;
        cometd_status polled = events->receiver != NULL ? cometd_receiver_poll(events->receiver, 0, &event)
                                                        : cometd_client_poll(events->client, 0, &event);
        if (event == NULL) {
            if (polled != COMETD_NONE) uv_poll_stop(watched);
            return;
        }
        if (cometd_event_type(event) == COMETD_EVENT_CLOSED) uv_poll_stop(watched);
        events->fn(events->user, event);
        cometd_event_free(event);
    }
}

static inline cometd_status cometd_libuv_start(uv_loop_t *loop, cometd_client *client, cometd_receiver *receiver,
                                            cometd_fd fd, cometd_event_fn fn, void *user, cometd_libuv **out) {
    if (out != NULL) *out = NULL;
    if (loop == NULL || fn == NULL || out == NULL) return COMETD_E_INVALID_ARGUMENT;
    if (fd < 0) return COMETD_E_SYSTEM;
    cometd_libuv *events = (cometd_libuv *)calloc(1, sizeof *events);
    if (events == NULL) return COMETD_E_SYSTEM;
    /* A descriptor of its own: the library may close the other one while the loop still has it. */
    events->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (events->fd < 0 || uv_poll_init(loop, &events->watched, events->fd) != 0) {
        if (events->fd >= 0) close(events->fd);
        free(events);
        return COMETD_E_SYSTEM;
    }
    events->watched.data = events;
    events->client = client;
    events->receiver = receiver;
    events->fn = fn;
    events->user = user;
    if (uv_poll_start(&events->watched, UV_READABLE, cometd_libuv_ready) != 0) {
        cometd_libuv_detach(events);
        return COMETD_E_SYSTEM;
    }
    *out = events;
    return COMETD_OK;
}

/**
 * Has each event of the client given to `fn` by the loop. `client` must live until it is
 * detached, unless both happen in the same call of `fn`.
 *
 * `*out` receives what cometd_libuv_detach ends and frees.
 *
 * Returns COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, but for `user`;
 * COMETD_E_SYSTEM: no descriptor or no memory is left, or libuv refuses. To be called on
 * the thread of the loop, as all of this.
 */
static inline cometd_status cometd_libuv_attach(uv_loop_t *loop, cometd_client *client, cometd_event_fn fn, void *user,
                                             cometd_libuv **out) {
    if (client == NULL && out != NULL) *out = NULL;
    if (client == NULL) return COMETD_E_INVALID_ARGUMENT;
    return cometd_libuv_start(loop, client, NULL, cometd_client_fd(client), fn, user, out);
}

/** The same with the events of a receiver. */
static inline cometd_status cometd_libuv_attach_receiver(uv_loop_t *loop, cometd_receiver *receiver, cometd_event_fn fn,
                                                      void *user, cometd_libuv **out) {
    if (receiver == NULL && out != NULL) *out = NULL;
    if (receiver == NULL) return COMETD_E_INVALID_ARGUMENT;
    return cometd_libuv_start(loop, NULL, receiver, cometd_receiver_fd(receiver), fn, user, out);
}

#ifdef __cplusplus
}
#endif

#endif /* COMETD_LIBUV_H */
