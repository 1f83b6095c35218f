/* Asks a service of the server, and prints the answer.
 *
 *   remote_call [-t MILLISECONDS] URL CHANNEL JSON
 *
 * CHANNEL is the service's, "/service/echo"; JSON is what it is asked. -t is how
 * long the answer may take, 10000 if not said otherwise. Exits with 0 when the
 * service answered, 1 when it failed or did not answer, 2 when called the wrong
 * way. Ctrl-C gives up. */
#include <cometd/cometd.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "remote_call: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* A program with several calls under way tells their answers apart by the id. */
static uint64_t call;
static int ended, failed;

static void handle(const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_RESULT:
        if (cometd_event_id(event) != call) return;
        /* A service that fails says why in the data, and there is an error beside it. */
        printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
        if (error) fprintf(stderr, "failed %s\n", cometd_error_message(error));
        failed = error != NULL;
        ended = 1;
        break;
    case COMETD_EVENT_ERROR:
        fprintf(stderr, "error %s\n", cometd_error_message(error));
        /* Without the call's id and unless it is fatal, the client tries again. */
        if (cometd_event_id(event) == call || cometd_error_is_fatal(error)) ended = failed = 1;
        break;
    }
}

int main(int argc, char **argv) {
    long timeout_ms = 10000;
    for (int option; (option = getopt(argc, argv, "t:")) != -1;) {
        timeout_ms = option == 't' ? strtol(optarg, NULL, 10) : 0;
        if (timeout_ms < 1 || timeout_ms > INT32_MAX) optind = argc; /* wrong: leads to the usage line */
    }
    if (argc - optind != 3) {
        fprintf(stderr, "usage: remote_call [-t MILLISECONDS] URL CHANNEL JSON\n");
        return 2;
    }
    const char *url = argv[optind], *channel = argv[optind + 1], *json = argv[optind + 2];
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(url, &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    /* The time runs from here on, the handshake included. */
    if (cometd_client_connect(client, &error) != COMETD_OK ||
        cometd_client_remote_call(client, channel, json, strlen(json), (int32_t)timeout_ms, &call, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    while (!ended && !stopped) {
        cometd_event *event = NULL;
        status = cometd_client_poll(client, 100, &event);
        if (status == COMETD_CLOSED || status < 0) break; /* after a fatal error */
        handle(event); /* NULL when nothing came in time: of no type */
        cometd_event_free(event);
    }
    if (!ended) failed = 1;
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    cometd_client_free(client);
    return failed;
}
