/* Prints what comes on a channel, from a libevent loop that has other work as well:
 * here a clock, and Ctrl-C.
 *
 *   loop_libevent URL CHANNEL
 *
 * Exits with 0 after Ctrl-C, 1 when something failed for good, 2 when called the
 * wrong way. */
#include <cometd/libevent.h>
#include <signal.h>
#include <stdio.h>

static cometd_client *client;
static struct event *clock_timer, *interrupt;
static int failed;

static void on_event(void *user, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    (void)user;
    if (cometd_event_message(event)) printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
    if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) fprintf(stderr, "subscribed\n");
    if (error) fprintf(stderr, "error %s\n", cometd_error_message(error));
    if (cometd_error_is_fatal(error)) failed = 1;
    if (cometd_event_type(event) == COMETD_EVENT_CLOSED) {
        /* The last event: without these two the loop has nothing left, and ends. */
        event_del(clock_timer);
        event_del(interrupt);
    }
}

static void on_clock(evutil_socket_t fd, short what, void *user) {
    (void)fd, (void)what, (void)user;
    fprintf(stderr, "the loop goes on\n");
}

static void on_interrupt(evutil_socket_t number, short what, void *user) {
    (void)number, (void)what, (void)user;
    /* 0: the end goes on in the background, and on_event sees it. */
    if (cometd_client_disconnect(client, 0, NULL) != COMETD_OK) failed = 1;
}

static int report(cometd_error *error) {
    fprintf(stderr, "loop_libevent: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: loop_libevent URL CHANNEL\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);

    cometd_client_builder *builder = NULL;
    cometd_error *error = NULL;
    const char *channel = argv[2];
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);

    struct event_base *base = event_base_new();
    const struct timeval second = {1, 0};
    clock_timer = event_new(base, -1, EV_PERSIST, on_clock, NULL);
    interrupt = evsignal_new(base, SIGINT, on_interrupt, NULL);
    event_add(clock_timer, &second);
    event_add(interrupt, NULL);

    cometd_libevent *events = NULL;
    if (cometd_libevent_attach(base, client, on_event, NULL, &events) != COMETD_OK ||
        cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        return report(error);
    }
    event_base_dispatch(base);

    cometd_libevent_detach(events);
    event_free(clock_timer);
    event_free(interrupt);
    event_base_free(base);
    cometd_client_free(client);
    return failed;
}
