/* Subscribes to a channel and publishes messages to it, all in one request.
 *
 *   batch URL CHANNEL JSON...
 *
 * Prints what comes on the channel and, to the standard error, what became of
 * each part. Exits with 0 when the server accepted all of them and the messages
 * came back, 1 when something failed, 2 when called the wrong way. Ctrl-C gives
 * up. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "batch: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

static int failed;
static int outcomes; /* still to come, one for each part */
static int messages; /* still to come back */

static void handle(const cometd_event *event) {
    unsigned long long id = cometd_event_id(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
        messages--;
        break;
    case COMETD_EVENT_SUBSCRIBED:
    case COMETD_EVENT_PUBLISHED:
        fprintf(stderr, "%llu accepted\n", id);
        outcomes--;
        break;
    case COMETD_EVENT_ERROR:
        fprintf(stderr, "error %s\n", cometd_error_message(cometd_event_error(event)));
        /* The parts stand alone: one that is refused does not take the others with it. */
        if (id != 0) outcomes--;
        if (id != 0 || cometd_error_is_fatal(cometd_event_error(event))) failed = 1;
        break;
    }
}

/* Everything between begin and end waits for the end, and goes in one request. */
static cometd_status send_all(cometd_client *client, const char *channel, char **json, int count, cometd_error **error) {
    cometd_status status = cometd_client_batch_begin(client, error);
    if (status != COMETD_OK) return status;
    status = cometd_client_subscribe(client, &channel, 1, NULL, error);
    if (status == COMETD_OK) outcomes++;
    for (int i = 0; i < count && status == COMETD_OK; i++) {
        status = cometd_client_publish(client, channel, json[i], strlen(json[i]), NULL, error);
        if (status == COMETD_OK) outcomes++, messages++;
    }
    /* In any case: until then nothing else of this client is sent either. */
    cometd_status ended = cometd_client_batch_end(client, status == COMETD_OK ? error : NULL);
    return status == COMETD_OK ? ended : status;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: batch URL CHANNEL JSON...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    /* Somebody waits for this program: it does not try for ever. */
    cometd_client_builder_set_number_of_retries(builder, 2);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }
    if (send_all(client, argv[2], argv + 3, argc - 3, &error) != COMETD_OK) failed = report(error);

    while ((outcomes > 0 || (messages > 0 && !failed)) && !stopped) {
        cometd_event *event = NULL;
        status = cometd_client_poll(client, 100, &event);
        if (status == COMETD_CLOSED || status < 0) break; /* after a fatal error */
        handle(event); /* NULL when nothing came in time: of no type */
        cometd_event_free(event);
    }
    if (outcomes > 0 || messages > 0) failed = 1;
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);

    /* The rest, up to the end. */
    cometd_event *event = NULL;
    while (cometd_client_poll(client, 3000, &event) == COMETD_OK) cometd_event_free(event);
    cometd_client_free(client);
    return failed;
}
