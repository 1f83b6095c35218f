/* Loses no event with a connection: the server keeps each until it has arrived.
 *
 *   acknowledgement [-p] URL CHANNEL
 *
 *   -p  plain, without acknowledgement, to see the difference
 *
 * When a connection breaks while events are on their way, the server believes
 * that they have arrived. With the acknowledgement extension it sends again what
 * the client has not acknowledged, before anything newer; the library does all
 * of it. What a server has forgotten together with the session does not come back.
 *
 * Prints the messages of CHANNEL until Ctrl-C, and to the standard error what
 * happens to the connection. Exits with 0 then, 1 when something failed for
 * good, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "acknowledgement: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

static int failed;

static void handle(const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        /* Acknowledged once it is in the client's queue; a crash of this program still loses what is there. */
        printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
        break;
    case COMETD_EVENT_SUBSCRIBED:
        fprintf(stderr, "subscribed\n");
        break;
    case COMETD_EVENT_STATE:
        fprintf(stderr, "state %s\n", cometd_state_name(cometd_event_state(event, NULL)));
        break;
    case COMETD_EVENT_ERROR:
        fprintf(stderr, "error %s\n", cometd_error_message(error));
        if (!stopped && (cometd_event_id(event) != 0 || cometd_error_is_fatal(error))) failed = stopped = 1;
        break;
    }
}

int main(int argc, char **argv) {
    bool plain = argc == 4 && strcmp(argv[1], "-p") == 0;
    if (!plain && argc != 3) {
        fprintf(stderr, "usage: acknowledgement [-p] URL CHANNEL\n");
        return 2;
    }
    const char *url = argv[argc - 2], *channel = argv[argc - 1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(url, &builder, &error) != COMETD_OK) return report(error);
    /* A server without the extension ignores this, and all goes on as without it. */
    cometd_client_builder_set_acknowledgement(builder, !plain);
    /* Only events that nobody drops here can be relied upon: this is the default. */
    cometd_client_builder_set_overflow(builder, COMETD_OVERFLOW_BLOCK);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    /* Once disconnected, what is left is still read, up to the end: COMETD_CLOSED. */
    for (int leaving = 0; status != COMETD_CLOSED && status >= 0;) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        handle(event); /* NULL when nothing came in time: of no type */
        cometd_event_free(event);
    }
    cometd_client_free(client);
    return failed;
}
