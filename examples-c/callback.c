/* Prints what comes on channels, by a callback, until Ctrl-C.
 *
 *   callback URL CHANNEL...
 *
 * The library calls on_event on a thread of its own, one event at a time and in
 * order, while the main thread does what it likes; here it waits on a pipe.
 * Exits with 0 after Ctrl-C, 1 when something failed for good, 2 when called the
 * wrong way. */
#include <cometd/cometd.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int wake[2]; /* what the main thread waits for: 's'top, 'f'ailed, 'c'losed */

static void tell(char what) {
    while (write(wake[1], &what, 1) < 0 && errno == EINTR) {}
}

static void stop(int number) {
    (void)number;
    int saved = errno;
    tell('s');
    errno = saved;
}

struct counter { unsigned long messages; }; /* what the callback works on */

static void on_event(void *user, const cometd_event *event) {
    struct counter *counter = user;
    const cometd_message *message = cometd_event_message(event);
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        printf("%lu %s %s\n", ++counter->messages, cometd_message_channel(message, NULL),
            cometd_message_data(message, NULL));
        break;
    case COMETD_EVENT_SUBSCRIBED:
        fprintf(stderr, "subscribed %s\n", cometd_event_channel(event));
        break;
    case COMETD_EVENT_ERROR:
        fprintf(stderr, "error %s\n", cometd_error_message(error));
        if (cometd_error_status(error) == COMETD_E_ABORTED) break; /* by our own disconnect */
        /* Unless it is about a subscribe of ours or is fatal, the client tries again. */
        if (cometd_event_id(event) != 0 || cometd_error_is_fatal(error)) tell('f');
        break;
    case COMETD_EVENT_CLOSED:
        tell('c');
        break;
    }
}

/* Called once, when no call of on_event is running or can start any more. */
static void free_counter(void *user) {
    free(user);
}

static int report(cometd_error *error) {
    fprintf(stderr, "callback: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

static int run(cometd_client *client, const char *const *channels, size_t count) {
    cometd_error *error = NULL;
    struct counter *counter = calloc(1, sizeof *counter);
    cometd_status status = counter ? cometd_client_set_callback(client, on_event, counter, free_counter) : COMETD_E_SYSTEM;
    if (status != COMETD_OK) {
        free(counter); /* still ours */
        fprintf(stderr, "callback: %s\n", cometd_status_text(status));
        return 1;
    }
    if (cometd_client_subscribe(client, channels, count, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) return report(error);

    int failed = 0, leaving = 0;
    for (char what = 0; what != 'c';) {
        if (read(wake[0], &what, 1) != 1) continue; /* interrupted by a signal */
        if (what == 'f') failed = 1;
        if (what == 'c' || leaving) continue;
        leaving = 1;
        if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    }
    return failed;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: callback URL CHANNEL...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(wake) != 0) return perror("callback: pipe"), 1;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    int failed = run(client, (const char *const *)argv + 2, (size_t)(argc - 2));
    cometd_client_free(client);
    return failed;
}
