/* Prints what comes on channels, by polling, until Ctrl-C.
 *
 *   subscribe [-w] [-n COUNT] URL CHANNEL...
 *
 * With -w over WebSocket, where the server has it, and by long polling where not.
 * Messages go to the standard output, one a line: the channel and the data.
 * Everything else goes to the standard error. Exits with 0 after COUNT messages
 * or Ctrl-C, 1 when something failed for good, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "subscribe: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

static long limit = -1; /* the messages still to print; negative: no limit */
static int failed;

static void handle(const cometd_event *event) {
    const cometd_message *message = cometd_event_message(event);
    const cometd_error *error = cometd_event_error(event);
    cometd_state state, before;
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        if (limit == 0) return; /* those that still come while the client disconnects */
        if (limit > 0 && --limit == 0) stopped = 1;
        printf("%s %s\n", cometd_message_channel(message, NULL), cometd_message_data(message, NULL));
        break;
    case COMETD_EVENT_STATE:
        state = cometd_event_state(event, &before);
        fprintf(stderr, "state %s -> %s\n", cometd_state_name(before), cometd_state_name(state));
        break;
    case COMETD_EVENT_SUBSCRIBED:
        fprintf(stderr, "subscribed %s\n", cometd_event_channel(event));
        break;
    case COMETD_EVENT_ERROR:
        fprintf(stderr, "error %s\n", cometd_error_message(error));
        /* With an id it is the end of our subscribe; otherwise, unless it is fatal, the client tries again. */
        if (cometd_event_id(event) != 0 && !stopped) failed = stopped = 1;
        if (cometd_error_is_fatal(error)) failed = 1;
        break;
    }
}

/* Says over what the replies come, when that has changed. */
static void report_transport(const cometd_client *client) {
    static int32_t last;
    int32_t transport = cometd_client_transport(client);
    if (transport == last) return;
    last = transport;
    fprintf(stderr, "transport %s\n", transport == COMETD_TRANSPORT_WEBSOCKET ? "websocket" : "long-polling");
}

int main(int argc, char **argv) {
    static const int32_t transports[] = {COMETD_TRANSPORT_WEBSOCKET, COMETD_TRANSPORT_LONG_POLLING};
    int with_websocket = 0;
    for (int option; (option = getopt(argc, argv, "n:w")) != -1;) {
        if (option == 'w') {
            with_websocket = 1;
            continue;
        }
        limit = option == 'n' ? strtol(optarg, NULL, 10) : 0;
        if (limit < 1) optind = argc; /* wrong: leads to the usage line */
    }
    if (argc - optind < 2) {
        fprintf(stderr, "usage: subscribe [-w] [-n COUNT] URL CHANNEL...\n");
        return 2;
    }
    const char *url = argv[optind], *const *channels = (const char *const *)argv + optind + 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(url, &builder, &error) != COMETD_OK) return report(error);
    if (with_websocket) cometd_client_builder_set_transports(builder, transports, 2);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_subscribe(client, channels, (size_t)(argc - optind - 1), NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    /* Once disconnected, what is left is still read, up to the end: COMETD_CLOSED. */
    for (int leaving = 0; status != COMETD_CLOSED;) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        if (status < 0) {
            fprintf(stderr, "subscribe: %s\n", cometd_status_text(status));
            failed = 1;
            break;
        }
        if (with_websocket) report_transport(client);
        handle(event); /* NULL when nothing came in time: of no type */
        cometd_event_free(event);
    }
    cometd_client_free(client);
    return failed;
}
