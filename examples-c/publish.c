/* Publishes messages to a channel, and tells what became of each.
 *
 *   publish URL CHANNEL JSON...
 *
 * Exits with 0 when the server accepted all of them, 1 when something failed,
 * 2 when called the wrong way. Ctrl-C gives up. */
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
    fprintf(stderr, "publish: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: publish URL CHANNEL JSON...\n");
        return 2;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    /* Somebody waits for this program: it does not try for ever. What a setter refuses, build tells. */
    cometd_client_builder_set_number_of_retries(builder, 2);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    /* Held until the handshake is done; each one that is accepted here ends in exactly one event. */
    int failed = 0;
    for (int i = 3; i < argc; i++) {
        uint64_t id;
        if (cometd_client_publish(client, argv[2], argv[i], strlen(argv[i]), &id, &error) != COMETD_OK) {
            failed = report(error);
            continue;
        }
        printf("%llu %s\n", (unsigned long long)id, argv[i]);
    }

    /* Until all have their outcome; their events, which say more, are then there to be read. */
    while ((status = cometd_client_flush(client, 100, NULL)) == COMETD_NONE && !stopped) {}
    if (status != COMETD_OK) failed = 1;

    cometd_event *event = NULL;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        if (cometd_event_type(event) == COMETD_EVENT_PUBLISHED)
            printf("%llu published\n", (unsigned long long)cometd_event_id(event));
        if (cometd_event_type(event) == COMETD_EVENT_ERROR)
            fprintf(stderr, "error %s\n", cometd_error_message(cometd_event_error(event)));
        cometd_event_free(event);
    }
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    cometd_client_free(client);
    return failed;
}
