/* Prints what comes on channels; see cometd_sub.1. */
#include "check.h"
#include "command.h"
#include "format.h"
#include "log.h"
#include "options.h"
#include "positions.h"
#include "service_manager.h"
#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "cometd_sub [OPTION]... URL CHANNEL...     prints each event's data in a line\n"
    " -F json, -F FORMAT     %c channel %j data %i id %R replay id %I time\n"
    " -C N    end after N events             -E  end when subscribed\n"
    " -W S    end after S seconds            --check  what the server can do\n"
    " --replay new|all|ID    where to start  --replay-file FILE  go on after FILE\n"
    " --exec COMMAND         run it for each event, on its standard input\n"
    " --exec-timeout S       (60)            --forever  never give up\n"
    " --notify               tell systemd    --log journal  priorities on stderr\n"
    " -u USER[:PASSWORD]     Basic; -n: the password is in ~/.netrc, or is typed\n"
    " --oauth-token-file F   a bearer token  --token-command C  which prints one\n"
    " --ext JSON|@FILE       handshake ext   -H 'NAME: VALUE'|@FILE  header\n"
    " --cacert F --cert F --key F    TLS     --insecure  any certificate will do\n"
    " -x URL  proxy          -w  by WebSocket where it is; --transport LIST\n"
    " --retries N            failures in a row until it gives up\n"
    " -o NAME=VALUE          any option of the library; -o help lists them\n"
    " --config FILE          a long option a line, and url and channel\n"
    " -v, -vv more on stderr, requests and bodies    -q errors only    -V version\n"
    "COMETD_URL and COMETD_TOKEN count where the command line has none.\n"
    "Exit: 0 as asked, 1 refused or failed, 2 usage, 3 time is up, 4 no connection\n";

static struct text text;
static size_t reported;

static const char *missing(const struct session *session) {
    const struct options *options = session->options;
    static char what[80];
    if (options->until_subscribed) {
        snprintf(what, sizeof what, "%zu of %zu channels are subscribed", session->subscribed, options->argument_count);
        return what;
    }
    if (options->count < 0) return NULL;
    snprintf(what, sizeof what, "%llu of %ld events came", session->event_count, options->count);
    return what;
}

static bool print(struct session *session, const cometd_message *message) {
    const char *format = session->options->format ? session->options->format : "%j\\n";
    if (isatty(STDOUT_FILENO)) status_line_hide();
    if (format_message(&text, format, message)) return session_write(session, text.bytes, text.length);
    log_line(PRIORITY_ERROR, "%s", strerror(ENOMEM));
    session_go_deaf(session);
    session_end(session, EXIT_FAILED);
    return false;
}

static char *variable(const char *name, const char *value) {
    char *text_of_it = malloc(strlen(name) + strlen(value) + 1);
    if (text_of_it) sprintf(text_of_it, "%s%s", name, value);
    return text_of_it;
}

/* Sleeps, unless the tool is to end. */
static bool pause_for(struct session *session, int ms) {
    for (long long until = now_ms() + ms; now_ms() < until;) {
        if (!session_goes_on(session)) return false;
        poll(NULL, 0, 50);
    }
    return session_goes_on(session);
}

/* Whether the command is done with the event. */
static bool execute(struct session *session, const cometd_message *message) {
    const struct options *options = session->options;
    int64_t replay_id;
    char id[32] = "";
    if (cometd_message_replay_id(message, &replay_id)) snprintf(id, sizeof id, "%" PRId64, replay_id);
    if (!format_message(&text, options->format ? options->format : "%j\\n", message)) return false;
    char *channel = variable("COMETD_CHANNEL=", cometd_message_channel(message, NULL));
    char *replay = variable("COMETD_REPLAY_ID=", id);
    const char *environment[] = {channel, replay, NULL};
    struct command command = {.line = options->exec, .input = text.bytes, .input_length = text.length,
                              .environment = environment, .limit_ms = options->exec_limit_ms,
                              .goes_on = session_goes_on, .user = session};
    bool is_done = false;
    for (int wait = 1000; channel && replay; wait = wait < 30000 ? wait * 2 : 60000) {
        int status = command_run(&command);
        if ((is_done = status == 0)) break;
        if (status == -2) log_line(PRIORITY_ERROR, "--exec: %s", session->status < 0 ? "its time is up" : "ended by a signal");
        else if (status < 0) log_line(PRIORITY_ERROR, "--exec: could not be run");
        else log_line(PRIORITY_ERROR, "--exec: ended with status %d", status);
        if (!options->forever || !pause_for(session, wait)) break;
    }
    free(channel);
    free(replay);
    if (!is_done) {
        /* It comes again, next time. */
        session_go_deaf(session);
        session_end(session, EXIT_FAILED);
    }
    return is_done;
}

static void on_event(struct session *session, const cometd_event *event) {
    const struct options *options = session->options;
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        /* A command would take its time, and the service manager waits for the end. */
        if (options->exec && session->status >= 0) session_go_deaf(session);
        else if (!(options->exec ? execute : print)(session, cometd_event_message(event))) break;
        else if (options->count >= 0 && session->event_count >= (unsigned long long)options->count) {
            session->is_last = true;
            session_end(session, EXIT_AS_ASKED);
        }
        break;
    case COMETD_EVENT_SUBSCRIBED:
        if (reported || session->subscribed < options->argument_count) break;
        reported = 1;
        if (options->notify) service_manager_tell("READY=1");
        if (options->until_subscribed) session_end(session, EXIT_AS_ASKED);
        break;
    case COMETD_EVENT_ERROR:
        if (cometd_event_id(event) == 0 || session->status >= 0) break;
        log_line(PRIORITY_ERROR, "%s", cometd_error_message(cometd_event_error(event)));
        session_end(session, EXIT_FAILED);
        break;
    }
}

int main(int argc, char **argv) {
    struct options options;
    struct session session = {.on_event = on_event, .missing = missing};
    struct positions *positions = NULL;
    cometd_error *error = NULL;
    options_read(&options, TOOL_SUB, argc, argv, help);
    if (options.check) {
        int status = check_server(&options);
        options_free(&options);
        return status;
    }
    if (options.argument_count == 0) options_wrong(&options, "there is no channel");
    if (options.replay_file && !*options.replay_file) options_wrong(&options, "--replay-file: there is no name");
    if (options.replay_file && !(positions = positions_open(options.replay_file))) return EXIT_FAILED;
    if (session_open(&session, &options, positions)) {
        session.writes = !options.exec;
        const char *const *channels = (const char *const *)options.arguments;
        if (cometd_client_subscribe(session.client, channels, options.argument_count, NULL, &error) == COMETD_OK) {
            session_run(&session);
        } else {
            cometd_status status = cometd_error_status(error);
            bool is_wrong = status == COMETD_E_INVALID_CHANNEL || status == COMETD_E_INVALID_UTF8;
            say_error(error);
            session_end(&session, is_wrong ? EXIT_USAGE : EXIT_FAILED);
        }
    }
    int status = session_close(&session);
    options_free(&options);
    free(text.bytes);
    return status;
}
