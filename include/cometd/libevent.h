/*
 * libcometd in a libevent loop: the events of a client, or of a receiver, as calls of a
 * function on the thread of the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A program links libcometd and libevent; nothing else belongs to this file.
 *
 *     cometd_libevent *events = NULL;
 *     cometd_libevent_attach(base, client, on_event, user, &events);
 *     cometd_client_connect(client, NULL);
 *     event_base_dispatch(base);
 *
 * The loop is kept alive until COMETD_EVENT_CLOSED was given. cometd_libevent_detach ends it
 * earlier, and frees; it and cometd_client_free may be called in the function as well.
 * Up to COMETD_LIBEVENT_TURN events are given in a turn, so that the loop's other work goes on.
 */

#ifndef COMETD_LIBEVENT_H
#define COMETD_LIBEVENT_H

#include <cometd/cometd.h>

#include <event2/event.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How many events are given before the loop goes on with its other work. */
#ifndef COMETD_LIBEVENT_TURN
#define COMETD_LIBEVENT_TURN 64
#endif

/** Events that come in a loop. Its fields are its own. */
typedef struct cometd_libevent {
    struct event *watched;
    cometd_client *client;
    cometd_receiver *receiver;
    cometd_event_fn fn;
    void *user;
    int fd;
    int detached;
    int inside;
} cometd_libevent;

static inline void cometd_libevent_release(cometd_libevent *events) {
    event_free(events->watched);
    close(events->fd);
    free(events);
}

/** Ends it, also inside the function that gets the events. NULL does nothing. */
static inline void cometd_libevent_detach(cometd_libevent *events) {
    if (events == NULL || events->detached) return;
    events->detached = 1;
    if (!events->inside) cometd_libevent_release(events);
}

static inline void cometd_libevent_ready(evutil_socket_t fd, short what, void *of) {
    cometd_libevent *events = (cometd_libevent *)of;
    (void)fd, (void)what;
    events->inside = 1;
    for (int left = COMETD_LIBEVENT_TURN; left > 0 && !events->detached; left--) {
        cometd_event *event = NULL;
        cometd_status polled = events->receiver != NULL ? cometd_receiver_poll(events->receiver, 0, &event)
                                                        : cometd_client_poll(events->client, 0, &event);
        if (event == NULL) {
            if (polled != COMETD_NONE) event_del(events->watched);
            break;
        }
        if (cometd_event_type(event) == COMETD_EVENT_CLOSED) event_del(events->watched);
        events->fn(events->user, event);
        cometd_event_free(event);
    }
    events->inside = 0;
    if (events->detached) cometd_libevent_release(events);
}

static inline cometd_status cometd_libevent_start(struct event_base *base, cometd_client *client, cometd_receiver *receiver,
                                            cometd_fd fd, cometd_event_fn fn, void *user, cometd_libevent **out) {
    if (out != NULL) *out = NULL;
    if (base == NULL || fn == NULL || out == NULL) return COMETD_E_INVALID_ARGUMENT;
    if (fd < 0) return COMETD_E_SYSTEM;
    cometd_libevent *events = (cometd_libevent *)calloc(1, sizeof *events);
    if (events == NULL) return COMETD_E_SYSTEM;
    /* A descriptor of its own: the library may close the other one while the loop still has it. */
    events->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    events->client = client;
    events->receiver = receiver;
    events->fn = fn;
    events->user = user;
    if (events->fd >= 0) events->watched = event_new(base, events->fd, EV_READ | EV_PERSIST, cometd_libevent_ready, events);
    if (events->watched == NULL || event_add(events->watched, NULL) != 0) {
        if (events->watched != NULL) event_free(events->watched);
        if (events->fd >= 0) close(events->fd);
        free(events);
        return COMETD_E_SYSTEM;
    }
    *out = events;
    return COMETD_OK;
}

/**
 * Has each event of the client given to `fn` by the loop. `client` must live until it is
 * detached, unless both happen in the same call of `fn`.
 *
 * `*out` receives what cometd_libevent_detach ends and frees.
 *
 * Returns COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, but for `user`;
 * COMETD_E_SYSTEM: no descriptor or no memory is left, or libevent refuses. To be called on
 * the thread of the loop, as all of this.
 */
static inline cometd_status cometd_libevent_attach(struct event_base *base, cometd_client *client, cometd_event_fn fn,
                                                   void *user, cometd_libevent **out) {
    if (client == NULL && out != NULL) *out = NULL;
    if (client == NULL) return COMETD_E_INVALID_ARGUMENT;
    return cometd_libevent_start(base, client, NULL, cometd_client_fd(client), fn, user, out);
}

/** The same with the events of a receiver. */
static inline cometd_status cometd_libevent_attach_receiver(struct event_base *base, cometd_receiver *receiver, cometd_event_fn fn,
                                                      void *user, cometd_libevent **out) {
    if (receiver == NULL && out != NULL) *out = NULL;
    if (receiver == NULL) return COMETD_E_INVALID_ARGUMENT;
    return cometd_libevent_start(base, NULL, receiver, cometd_receiver_fd(receiver), fn, user, out);
}

#ifdef __cplusplus
}
#endif

#endif /* COMETD_LIBEVENT_H */
