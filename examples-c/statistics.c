/* Prints what a client has done, in numbers: every second, and once after the end.
 *
 *   statistics URL CHANNEL...
 *
 * Each line is a JSON object; the comment of cometd_client_statistics says what is
 * in it. Ends with Ctrl-C, and exits with 0 then, 1 when something failed for
 * good, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "statistics: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* Asks how much room the text needs, and again when it has grown meanwhile. */
static int print_statistics(cometd_client *client) {
    char *text = NULL;
    size_t room = 0, needed = 0;
    cometd_status status;
    while ((status = cometd_client_statistics(client, text, room, &needed)) == COMETD_E_OUT_OF_RANGE) {
        char *larger = realloc(text, needed);
        if (larger == NULL) break;
        text = larger;
        room = needed;
    }
    if (status == COMETD_OK) printf("%s\n", text);
    else fprintf(stderr, "statistics: %s\n", cometd_status_text(status));
    free(text);
    return status != COMETD_OK;
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: statistics URL CHANNEL...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_subscribe(client, (const char *const *)argv + 2, (size_t)(argc - 2), NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    int failed = 0, leaving = 0;
    long long next = now_ms() + 1000;
    while (status != COMETD_CLOSED && status >= 0) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        const cometd_error *problem = cometd_event_error(event);
        if (problem) fprintf(stderr, "error %s\n", cometd_error_message(problem));
        if (problem && !stopped && (cometd_event_id(event) != 0 || cometd_error_is_fatal(problem))) failed = stopped = 1;
        cometd_event_free(event);
        if (now_ms() >= next && status != COMETD_CLOSED) {
            next += 1000;
            failed |= print_statistics(client);
        }
    }
    /* A client that has closed still knows what it did. */
    failed |= print_statistics(client);
    cometd_client_free(client);
    return failed;
}
