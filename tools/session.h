/* A client of the library's from the first request to its end: its events, the signals, the time. */
#ifndef COMETD_TOOLS_SESSION_H
#define COMETD_TOOLS_SESSION_H

#include "options.h"

#include <poll.h>

struct session {
    struct options *options;
    cometd_client *client;
    struct positions *positions;
    /* How the tool ends; -1 as long as it goes on. */
    int status;
    /* When the time of -W is up, by now_ms. */
    long long deadline;
    bool was_connected, is_closed;
    char *last_error;
    unsigned long long event_count;
    size_t subscribed;
    /* Whether it prints: then it ends when nobody reads. */
    bool writes;

    /* What the tool does with an event; called for each, also for those of the end, unless `is_deaf`. */
    void (*on_event)(struct session *session, const cometd_event *event);
    /* What else it waits for: fills in the second to last of what is polled, and is told of what came. */
    void (*before_poll)(struct session *session, struct pollfd *other);
    void (*after_poll)(struct session *session, const struct pollfd *other);
    /* A signal is about to end it: what is under way may come to its end. */
    void (*settle)(struct session *session);
    /* What it was waiting for, when the time is up or a signal came; NULL when there was nothing. */
    const char *(*missing)(const struct session *session);
    /* Set by on_event: it is done with this event, and no other one is told. */
    bool is_last, is_deaf;
};

long long now_ms(void);
/* Builds the client, with `positions` unless NULL. False when that fails; then `status` says how. */
bool session_open(struct session *session, struct options *options, struct positions *positions);
/* Connects, and goes on until session_end. */
void session_run(struct session *session);
/* Takes all events that are there. */
void session_read(struct session *session);
/* Has the tool end with this status; the first one counts. */
void session_end(struct session *session, int status);
/* Events are neither told nor done with any more. */
void session_go_deaf(struct session *session);
/* For what takes its time between events: sees to signals and to the service manager. False when the tool is to end. */
bool session_goes_on(void *session);
/* Says goodbye to the server, reads what is left, frees all. Gives the exit status. */
int session_close(struct session *session);
/* Writes to the standard output, and goes deaf unless all is written: nobody reads, which is no error, or a signal came
 * meanwhile. */
bool session_write(struct session *session, const char *bytes, size_t length);
/* How an error of the client's ends a tool. */
int status_of(const cometd_error *error);
/* Takes the error that a call gave, and says it. */
void say_error(cometd_error *error);

#endif
