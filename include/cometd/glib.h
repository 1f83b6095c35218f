/*
 * libcometd in a GLib main loop: the events of a client, or of a receiver, as calls of a
 * function on the thread of the context.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A program links libcometd and GLib (2.36 or later); nothing else belongs to this file.
 *
 *     GSource *events = cometd_glib_source_new(client, on_event, user);
 *     g_source_attach(events, NULL);
 *     cometd_client_connect(client, NULL);
 *     g_main_loop_run(loop);
 *
 * The source destroys itself after COMETD_EVENT_CLOSED was given. g_source_destroy ends it
 * earlier; it and cometd_client_free may be called in the function as well. Whoever made
 * the source gives it back by g_source_unref, at any time. Up to COMETD_GLIB_TURN events
 * are given in a turn, so that the loop's other work goes on.
 */

#ifndef COMETD_GLIB_H
#define COMETD_GLIB_H

#include <cometd/cometd.h>

#include <fcntl.h>
#include <glib.h>
#include <stdint.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How many events are given before the loop goes on with its other work. */
#ifndef COMETD_GLIB_TURN
#define COMETD_GLIB_TURN 64
#endif

/** A source of events. Its fields are its own. */
typedef struct cometd_glib_source {
    GSource source;
    cometd_client *client;
    cometd_receiver *receiver;
    cometd_event_fn fn;
    void *user;
    int fd;
} cometd_glib_source;

static inline gboolean cometd_glib_dispatch(GSource *source, GSourceFunc unused, gpointer unused_user) {
    cometd_glib_source *events = (cometd_glib_source *)source;
    (void)unused, (void)unused_user;
    for (int left = COMETD_GLIB_TURN; left > 0 && !g_source_is_destroyed(source); left--) {
        cometd_event *event = NULL;
        cometd_status polled = events->receiver != NULL ? cometd_receiver_poll(events->receiver, 0, &event)
                                                        : cometd_client_poll(events->client, 0, &event);
        if (event == NULL) return polled == COMETD_NONE ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
        gboolean closed = cometd_event_type(event) == COMETD_EVENT_CLOSED;
        events->fn(events->user, event);
        cometd_event_free(event);
        if (closed) return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static inline void cometd_glib_finalize(GSource *source) {
    cometd_glib_source *events = (cometd_glib_source *)source;
    if (events->fd >= 0) close(events->fd);
}

static inline GSource *cometd_glib_start(cometd_client *client, cometd_receiver *receiver, cometd_fd fd,
                                         cometd_event_fn fn, void *user) {
    /* Without functions of its own GLib looks at the descriptor. */
    static GSourceFuncs functions = {NULL, NULL, cometd_glib_dispatch, cometd_glib_finalize, NULL, NULL};
    if (fn == NULL || fd < 0) return NULL;
    /* A descriptor of its own: the library may close the other one while the loop still has it. */
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) return NULL;
    GSource *source = g_source_new(&functions, sizeof(cometd_glib_source));
    cometd_glib_source *events = (cometd_glib_source *)source;
    events->client = client;
    events->receiver = receiver;
    events->fn = fn;
    events->user = user;
    events->fd = own;
    g_source_add_unix_fd(source, own, G_IO_IN);
    return source;
}

/**
 * A source that has each event of the client given to `fn`, once it is attached to a
 * context. `client` must live until the source is destroyed, unless both happen in the same
 * call of `fn`.
 *
 * Returns the source, to give back by g_source_unref; NULL when `client` or `fn` is NULL,
 * or no descriptor is left.
 */
static inline GSource *cometd_glib_source_new(cometd_client *client, cometd_event_fn fn, void *user) {
    return cometd_glib_start(client, NULL, cometd_client_fd(client), fn, user);
}

/** The same with the events of a receiver. */
static inline GSource *cometd_glib_receiver_source_new(cometd_receiver *receiver, cometd_event_fn fn, void *user) {
    return cometd_glib_start(NULL, receiver, cometd_receiver_fd(receiver), fn, user);
}

#ifdef __cplusplus
}
#endif

#endif /* COMETD_GLIB_H */
