/* Publishes messages, and tells whether all were accepted; see cometd_pub.1. */
#include "input.h"
#include "log.h"
#include "options.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "cometd_pub [OPTION]... URL CHANNEL [JSON]    publishes a message. Without JSON\n"
    "the standard input is one.\n"
    " -l                     each line of the standard input is a message\n"
    " --retries N            what fails on the way is sent again, N times\n"
    " -W S                   all has to be accepted within S seconds\n"
    " --forever              never give up connecting\n"
    " -u USER[:PASSWORD]     Basic; -n: the password is in ~/.netrc, or is typed\n"
    " --oauth-token-file F   a bearer token  --token-command C  which prints one\n"
    " --ext JSON|@FILE       handshake ext   -H 'NAME: VALUE'|@FILE  header\n"
    " --cacert F --cert F --key F    TLS     --insecure  any certificate will do\n"
    " -x URL  proxy          -w  by WebSocket where it is; --transport LIST\n"
    " -o NAME=VALUE          any option of the library; -o help lists them\n"
    " --config FILE          a long option a line, and url and channel\n"
    " --log journal          priorities on stderr\n"
    " -v, -vv more on stderr, requests and bodies    -q errors only    -V version\n"
    "COMETD_URL and COMETD_TOKEN count where the command line has none.\n"
    "Exit: 0 all accepted, 1 some not, 2 usage, 3 time is up, 4 no connection\n";

/* So many wait for their outcome at most, unless the user says otherwise; and what is under way when a signal comes has
 * so long for it. */
#define MOST_UNDER_WAY "1000"
enum { GOODBYE_MS = 3000 };

static struct {
    const char *channel;
    struct lines lines;
    unsigned long long sent, accepted, failed, refused;
    /* Until COMETD_EVENT_ROOM. */
    bool is_full;
    bool is_read;
    int failure;
} all;

static const char *missing(const struct session *session) {
    static char what[120];
    (void)session;
    if (all.is_read && all.accepted == all.sent && all.refused == 0) return NULL;
    snprintf(what, sizeof what, "%llu of %llu messages were accepted%s", all.accepted, all.sent + all.refused,
             all.is_read ? "" : ", and the input was not read to its end");
    return what;
}

static void publish(struct session *session, const char *json, size_t length) {
    const struct options *options = session->options;
    cometd_error *error = NULL;
    cometd_status status;
    if (options->retries >= 0)
        status = cometd_client_publish_with_retries(session->client, all.channel, json, length, -1,
                                                    (uint32_t)options->retries + 1, NULL, &error);
    else
        status = cometd_client_publish(session->client, all.channel, json, length, NULL, &error);
    if (status == COMETD_OK) {
        all.sent++;
        return;
    }
    if (status == COMETD_E_FULL && options->lines) {
        all.is_full = true;
        all.lines.from = (size_t)(json - all.lines.bytes);
        all.lines.number--;
        cometd_error_free(error);
        return;
    }
    all.refused++;
    if (all.lines.number > 0) log_line(PRIORITY_ERROR, "line %ld: %s", all.lines.number, cometd_error_message(error));
    else log_line(PRIORITY_ERROR, "%s", cometd_error_message(error));
    /* A wrong message is a wrong argument, unless it is one of many. */
    bool is_utf8 = status == COMETD_E_INVALID_UTF8;
    bool is_channel = status == COMETD_E_INVALID_CHANNEL || (is_utf8 && strncmp(cometd_error_message(error), "channel:", 8) == 0);
    bool is_usage = is_channel || (!options->lines && (status == COMETD_E_INVALID_JSON || is_utf8));
    if (is_channel || status == COMETD_E_CLOSED || !options->lines) session_end(session, is_usage ? EXIT_USAGE : EXIT_FAILED);
    cometd_error_free(error);
}

/* Takes what is there, as long as there is room. */
static void publish_lines(struct session *session) {
    const char *line;
    size_t length;
    while (session->status < 0 && !all.is_full && (line = lines_next(&all.lines, &length)))
        publish(session, line, length);
    all.is_read = all.lines.is_at_end && all.lines.from == all.lines.length;
}

static void end_when_done(struct session *session) {
    if (!all.is_read || all.accepted + all.failed < all.sent) return;
    bool is_good = all.accepted == all.sent && all.refused == 0;
    if (!is_good && session->options->lines) log_line(PRIORITY_ERROR, "%s", missing(session));
    session_end(session, is_good ? EXIT_AS_ASKED : all.failure ? all.failure : EXIT_FAILED);
}

static void before_poll(struct session *session, struct pollfd *other) {
    if (session->options->lines && !all.is_read) {
        publish_lines(session);
        if (!all.lines.is_at_end && !all.is_full) {
            other->fd = STDIN_FILENO;
            other->events = POLLIN;
        }
    }
    end_when_done(session);
}

static void after_poll(struct session *session, const struct pollfd *other) {
    if (other->fd >= 0 && other->revents && !lines_read(&all.lines)) session_end(session, EXIT_FAILED);
}

static void on_event(struct session *session, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_ROOM: all.is_full = false; break;
    case COMETD_EVENT_PUBLISHED: all.accepted++; break;
    case COMETD_EVENT_ERROR:
        if (cometd_event_id(event) == 0) break;
        all.failed++;
        /* What ends with the client needs no line of its own. */
        if (cometd_error_status(error) == COMETD_E_ABORTED) break;
        log_line(PRIORITY_ERROR, "%s", cometd_error_message(error));
        /* One message that never left is no connection. */
        if (!session->options->lines) all.failure = status_of(error);
        break;
    }
}

/* What is under way comes to its end before it is counted. */
static void settle(struct session *session) {
    if (session->was_connected) cometd_client_flush(session->client, GOODBYE_MS, NULL);
    session_read(session);
}

int main(int argc, char **argv) {
    struct options options;
    struct session session = {.on_event = on_event, .before_poll = before_poll, .after_poll = after_poll, .missing = missing,
                              .settle = settle};
    options_read(&options, TOOL_PUB, argc, argv, help);
    if (options.argument_count < 1) options_wrong(&options, "there is no channel");
    if (options.argument_count > 2) options_wrong(&options, "there is more than one message");
    if (options.lines && options.argument_count > 1) options_wrong(&options, "with -l messages are read from the standard input");
    all.channel = options.arguments[0];
    if (!options_has(&options, "commands_capacity")) options_set(&options, "commands_capacity", MOST_UNDER_WAY);
    size_t length = 0;
    char *input = options.lines || options.argument_count == 2 ? NULL : whole_input(&options, &length);
    if (session_open(&session, &options, NULL)) {
        if (!options.lines) {
            const char *json = input ? input : options.arguments[1];
            publish(&session, json, input ? length : strlen(json));
            all.is_read = true;
        }
        if (session.status < 0) session_run(&session);
    }
    int status = session_close(&session);
    free(all.lines.bytes);
    free(input);
    options_free(&options);
    return status;
}
