/* Reads a channel and the keyboard in one loop around poll(2).
 *
 *   event_loop URL CHANNEL
 *
 * Each line typed is JSON ("hello", with its quotes, or {"a":1}) and published
 * to the channel; what comes on it is printed. Ends with the input or Ctrl-C, and
 * exits with 0 then, 1 when something failed for good, 2 when called the wrong
 * way. */
#include <cometd/cometd.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int wake[2]; /* the signal handler writes to it, the loop watches it */
static int connected, failed;

static void stop(int number) {
    int saved = errno;
    if (write(wake[1], &number, 1) < 0) _exit(1);
    errno = saved;
}

static int report(cometd_error *error) {
    fprintf(stderr, "event_loop: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* Publishes the lines that can be read now; returns 0 at the end of the input. */
static int read_lines(cometd_client *client, const char *channel) {
    static char buffer[65536];
    static size_t used;
    ssize_t count = read(STDIN_FILENO, buffer + used, sizeof buffer - used);
    if (count <= 0) return count < 0 && (errno == EINTR || errno == EAGAIN);
    used += (size_t)count;
    for (char *end; (end = memchr(buffer, '\n', used)) != NULL;) {
        size_t length = (size_t)(end - buffer);
        cometd_error *error = NULL;
        if (length > 0 && cometd_client_publish(client, channel, buffer, length, NULL, &error) != COMETD_OK) {
            report(error); /* of this line only: try another */
        }
        used -= length + 1;
        memmove(buffer, end + 1, used);
    }
    if (used == sizeof buffer) used = 0, fprintf(stderr, "event_loop: the line is too long\n");
    return 1;
}

/* Takes the events that are there; returns 0 after the last one. */
static int take_events(cometd_client *client) {
    int more = 1;
    cometd_event *event = NULL;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        const cometd_error *error = cometd_event_error(event);
        if (cometd_event_state(event, NULL) == COMETD_STATE_CONNECTED) connected = 1;
        if (cometd_event_message(event)) printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
        if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) fprintf(stderr, "subscribed\n");
        if (error) fprintf(stderr, "error %s\n", cometd_error_message(error));
        if (cometd_error_is_fatal(error)) failed = 1;
        if (cometd_event_type(event) == COMETD_EVENT_CLOSED) more = 0;
        cometd_event_free(event);
    }
    return more;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: event_loop URL CHANNEL\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(wake) != 0) return perror("event_loop: pipe"), 1;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    const char *channel = argv[2];
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    struct pollfd watched[] = {{cometd_client_fd(client), POLLIN, 0}, {-1, POLLIN, 0}, {wake[0], POLLIN, 0}};
    for (int leaving = 0;;) {
        watched[1].fd = connected && !leaving ? STDIN_FILENO : -1;
        if (poll(watched, 3, -1) < 0) continue; /* interrupted by a signal */
        if (watched[0].revents && !take_events(client)) break;
        int ends = watched[2].revents || (watched[1].revents && !read_lines(client, channel));
        if (!ends || leaving) continue;
        leaving = 1;
        watched[2].fd = -1;
        /* 0: the end goes on in the background, and this loop sees it. */
        if (cometd_client_disconnect(client, 0, &error) != COMETD_OK) failed = report(error);
    }
    cometd_client_free(client);
    return failed;
}
