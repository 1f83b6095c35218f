/* Sends a file over a channel, in parts, or receives one.
 *
 *   binary URL CHANNEL FILE    sends it
 *   binary URL CHANNEL         writes the first one that comes to the standard output
 *
 * Exits with 0 when the whole file was accepted by the server, or has come; 1 when something failed, 2 when called
 * the wrong way. Ctrl-C gives up. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>

/* As text each is a quarter larger; many servers take 32 KiB in a request. */
#define PART 16384

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "binary: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* Publishes the parts of a file; returns how many, or -1. */
static long send_file(cometd_client *client, const char *channel, FILE *file) {
    static char bytes[PART];
    for (long parts = 0;; parts++) {
        size_t length = fread(bytes, 1, sizeof bytes, file);
        int next = getc(file);
        if (ferror(file)) {
            perror("binary");
            return -1;
        }
        if (next != EOF) ungetc(next, file);
        /* What a part says of itself is up to the programs: here, where it belongs. */
        char meta[40];
        int meta_length = snprintf(meta, sizeof meta, "{\"part\":%ld}", parts);
        cometd_error *error = NULL;
        if (cometd_client_publish_binary(client, channel, bytes, length, next == EOF, meta, (size_t)meta_length, NULL,
                                         &error) != COMETD_OK) {
            report(error);
            return -1;
        }
        if (next == EOF) return parts + 1;
    }
}

/* Writes what a message has; returns 1 when it was the last part, -1 when it cannot be read. With several senders a
 * program would put the parts of each together, by what their meta says. */
static int write_part(const cometd_message *message) {
    if (!cometd_message_is_binary(message)) return 0;
    size_t length;
    const uint8_t *bytes = cometd_message_binary(message, &length);
    if (bytes == NULL) {
        fprintf(stderr, "binary: bytes that cannot be read: %s\n", cometd_message_data(message, NULL));
        return -1;
    }
    fwrite(bytes, 1, length, stdout);
    fprintf(stderr, "%zu bytes %s\n", length, cometd_message_binary_meta(message, NULL));
    return cometd_message_binary_is_last(message);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: binary URL CHANNEL [FILE]\n");
        return 2;
    }
    FILE *file = NULL;
    if (argc == 4 && !(file = fopen(argv[3], "rb"))) {
        perror(argv[3]);
        return 1;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);

    const char *channel = argv[2];
    long left = 0; /* parts that the server has not answered */
    int failed = 1, done = 0;
    if (file) {
        left = send_file(client, channel, file);
        fclose(file);
        status = left < 0 ? COMETD_E_INVALID_STATE : COMETD_OK;
    } else {
        status = cometd_client_subscribe(client, &channel, 1, NULL, &error);
        if (status != COMETD_OK) report(error);
    }
    if (status == COMETD_OK) {
        status = cometd_client_connect(client, &error);
        if (status != COMETD_OK) report(error);
    }
    while (status >= 0 && !done && !stopped) {
        cometd_event *event = NULL;
        status = cometd_client_poll(client, 100, &event);
        if (status == COMETD_CLOSED) break;
        switch (cometd_event_type(event)) {
        case COMETD_EVENT_SUBSCRIBED:
            fprintf(stderr, "subscribed %s\n", cometd_event_channel(event));
            break;
        case COMETD_EVENT_MESSAGE:
            done = write_part(cometd_event_message(event));
            failed = done != 1;
            break;
        case COMETD_EVENT_PUBLISHED:
            done = --left == 0;
            failed = !done;
            break;
        case COMETD_EVENT_ERROR:
            fprintf(stderr, "error %s\n", cometd_error_message(cometd_event_error(event)));
            /* A part that is lost, or a channel that is denied: there is no whole any more. */
            done = cometd_event_id(event) != 0;
            break;
        }
        cometd_event_free(event);
    }
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    cometd_client_free(client);
    return failed || fflush(stdout) == EOF;
}
