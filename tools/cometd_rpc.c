/* Calls a service and prints its answer; see cometd_rpc.1. */
#include "credentials.h"
#include "input.h"
#include "log.h"
#include "options.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "cometd_rpc [OPTION]... URL /service/NAME [JSON]    calls a service, prints its\n"
    "answer's data in a line. Without JSON the standard input is sent.\n"
    " -W S                   the answer has to be there within S seconds (10)\n"
    " -u USER[:PASSWORD]     Basic; -n: the password is in ~/.netrc, or is typed\n"
    " --oauth-token-file F   a bearer token  --token-command C  which prints one\n"
    " --ext JSON|@FILE       handshake ext   -H 'NAME: VALUE'|@FILE  header\n"
    " --cacert F --cert F --key F    TLS     --insecure  any certificate will do\n"
    " -x URL  proxy          -w  by WebSocket where it is; --transport LIST\n"
    " --retries N            failures in a row until it gives up\n"
    " -o NAME=VALUE          any option of the library; -o help lists them\n"
    " --config FILE          a long option a line, and url and channel\n"
    " --log journal          priorities on stderr\n"
    " -v, -vv more on stderr, requests and bodies    -q errors only    -V version\n"
    "COMETD_URL and COMETD_TOKEN count where the command line has none.\n"
    "Exit: 0 answered, 1 refused or failed, 2 usage, 3 time is up, 4 no connection\n";

static const char *missing(const struct session *session) {
    (void)session;
    return "no answer came";
}

static void on_event(struct session *session, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    const char *data;
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_RESULT:
        data = cometd_message_data(cometd_event_message(event), NULL);
        if (error) {
            log_line(PRIORITY_ERROR, "%s%s%s", cometd_error_message(error), data ? ": " : "", data ? data : "");
            session_end(session, EXIT_FAILED);
        } else if (session->status < 0) {
            status_line_hide();
            for (; data && *data; data++) putchar(*data == '\n' || *data == '\r' ? ' ' : *data);
            bool is_written = putchar('\n') != EOF && fflush(stdout) == 0;
            if (!is_written && errno != EPIPE) log_line(PRIORITY_ERROR, "standard output: %s", strerror(errno));
            session_end(session, is_written || errno == EPIPE ? EXIT_AS_ASKED : EXIT_FAILED);
        }
        break;
    case COMETD_EVENT_ERROR:
        if (cometd_event_id(event) == 0 || session->status >= 0) break;
        log_line(PRIORITY_ERROR, "%s", cometd_error_message(error));
        session_end(session, cometd_error_status(error) == COMETD_E_TIMEOUT ? EXIT_TIME : status_of(error));
        break;
    }
}

int main(int argc, char **argv) {
    struct options options;
    struct session session = {.on_event = on_event, .missing = missing};
    cometd_error *error = NULL;
    options_read(&options, TOOL_RPC, argc, argv, help);
    if (options.argument_count < 1) options_wrong(&options, "there is no channel");
    if (options.argument_count > 2) options_wrong(&options, "there is more than one message");
    size_t length = 0;
    char *input = options.argument_count == 2 ? NULL : whole_input(&options, &length);
    const char *json = input ? input : options.arguments[1];
    if (!input) length = strlen(json);
    if (options.limit_ms < 0) options.limit_ms = 10000;
    if (session_open(&session, &options, NULL)) {
        if (cometd_client_remote_call(session.client, options.arguments[0], json, length, options.limit_ms, NULL, &error) == COMETD_OK) {
            session_run(&session);
        } else {
            say_error(error);
            session_end(&session, EXIT_USAGE);
        }
    }
    int status = session_close(&session);
    free(input);
    options_free(&options);
    return status;
}
