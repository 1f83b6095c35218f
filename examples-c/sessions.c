/* Shows what a program does when the server has lost its session: the library makes
 * a new one and subscribes again, and the program fetches what it has missed.
 *
 *   sessions URL CHANNEL SERVICE
 *
 * Prints the messages of CHANNEL. When the subscription is back, it asks SERVICE,
 * such as /service/echo, what came behind the last message, and prints the answer.
 * Ctrl-C ends it with 0, what failed for good with 1; called the wrong way it ends
 * with 2. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "sessions: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

static const char *service;
static cometd_message *last; /* the newest message; kept when its event is freed */
static int failed;

/* Asks for what came after the last message. Its data is JSON, and so is the question. */
static void fetch_missed(cometd_client *client) {
    cometd_error *error = NULL;
    size_t len = 0;
    const char *data = last ? cometd_message_data(last, &len) : NULL;
    char *question = malloc(len + 32);
    if (question == NULL) return;
    int written = sprintf(question, "{\"after\":%s}", data ? data : "null");
    if (cometd_client_remote_call(client, service, question, (size_t)written, 10000, NULL, &error) != COMETD_OK)
        report(error);
    free(question);
}

static void handle(cometd_client *client, const cometd_event *event) {
    const cometd_message *message = cometd_event_message(event);
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        printf("%s\n", cometd_message_data(message, NULL));
        cometd_message_free(last);
        last = cometd_message_retain(message);
        break;
    case COMETD_EVENT_SUBSCRIBED:
        if (!cometd_event_is_renewed(event)) {
            fprintf(stderr, "subscribed\n");
            break;
        }
        /* What is published from here on arrives. What came before is asked for; a
         * message that comes while the answer is on its way may be in both. */
        fprintf(stderr, "subscribed again, in a new session\n");
        fetch_missed(client);
        break;
    case COMETD_EVENT_RESULT:
        printf("missed: %s\n", cometd_message_data(message, NULL));
        if (error) fprintf(stderr, "failed %s\n", cometd_error_message(error));
        break;
    case COMETD_EVENT_ERROR:
        /* It names the client and the URL: "[sessions.c, http://…/cometd/connect]". */
        fprintf(stderr, "error %s\n", cometd_error_message(error));
        if (cometd_error_is_fatal(error)) failed = 1;
        /* A subscription that is lost for good, the first time or when it was to be made
         * again. With a time until the next attempt the library tries again. */
        if (cometd_error_phase(error) == COMETD_PHASE_SUBSCRIBE && cometd_error_retry_in_ms(error) < 0 && !stopped)
            failed = stopped = 1;
        break;
    }
}

/* Why there is no session. With several clients and servers a program sorts such
 * reasons by client and URL; both may be NULL. */
static void print_reason(const cometd_error *error) {
    const char *client = cometd_error_client(error), *url = cometd_error_url(error);
    fprintf(stderr, "%s has no session at %s: %s\n", client ? client : "the client", url ? url : "its server",
            cometd_error_message(error));
}

/* Waits for the first session, and says what is in its way. */
static void await_session(cometd_client *client) {
    cometd_status status = COMETD_NONE;
    while (!stopped && status == COMETD_NONE) {
        cometd_error *error = NULL;
        status = cometd_client_wait(client, COMETD_STATE_CONNECTED, 1000);
        /* It may be none: nothing has failed, and the server is slow. */
        if (status != COMETD_OK && cometd_client_last_error(client, &error) == COMETD_OK)
            print_reason(error);
        cometd_error_free(error);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: sessions URL CHANNEL SERVICE\n");
        return 2;
    }
    const char *channels[] = {argv[2]};
    service = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_client_builder_set_name(builder, "sessions.c");
    /* Whoever has mistyped the URL wants to know, and not to wait. */
    cometd_client_builder_set_fail_fast(builder, true);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_subscribe(client, channels, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    await_session(client);
    /* Once disconnected, what is left is still read, up to the end: COMETD_CLOSED. */
    for (int leaving = 0; status != COMETD_CLOSED;) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        if (status < 0) {
            fprintf(stderr, "sessions: %s\n", cometd_status_text(status));
            failed = 1;
            break;
        }
        handle(client, event); /* NULL when nothing came in time: of no type */
        cometd_event_free(event);
    }
    cometd_message_free(last);
    cometd_client_free(client);
    return failed;
}
