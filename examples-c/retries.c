/* Publishes messages that must arrive: sent again until the server has answered.
 *
 *   retries URL CHANNEL SECONDS JSON...
 *
 * Each message is tried for so many seconds, over lost connections and lost
 * sessions. It may arrive twice, when only the answer to it was lost: a receiver
 * that cares looks at an id inside the data.
 *
 * Exits with 0 when the server accepted all of them, 1 when not, 2 when called
 * the wrong way. */
#include <cometd/cometd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "retries: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    const long seconds = argc < 5 ? 0 : strtol(argv[3], NULL, 10);
    if (seconds < 1 || seconds > 86400) {
        fprintf(stderr, "usage: retries URL CHANNEL SECONDS JSON...\n");
        return 2;
    }
    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    int failed = 0, outstanding = 0;
    for (int i = 4; i < argc; i++) {
        uint64_t id;
        if (cometd_client_publish_with_retries(client, argv[2], argv[i], strlen(argv[i]), (int32_t)seconds * 1000,
                                               COMETD_RETRY_FOREVER, &id, &error) != COMETD_OK) {
            failed = report(error);
            continue;
        }
        printf("%llu %s\n", (unsigned long long)id, argv[i]);
        outstanding++;
    }

    while (outstanding > 0) {
        cometd_event *event = NULL;
        status = cometd_client_poll(client, -1, &event);
        if (status != COMETD_OK) break; /* after a fatal error */
        const unsigned long long id = cometd_event_id(event);
        if (cometd_event_type(event) == COMETD_EVENT_PUBLISHED) {
            printf("%llu published\n", id);
            outstanding--;
        } else if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
            /* With the id 0 it is about the client, which tries again by itself. */
            fprintf(stderr, "error %s\n", cometd_error_message(cometd_event_error(event)));
            if (id != 0) outstanding--, failed = 1;
        }
        cometd_event_free(event);
    }
    if (outstanding > 0) failed = 1;
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    cometd_client_free(client);
    return failed;
}
