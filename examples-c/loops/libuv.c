/* Prints what comes on a channel, from a libuv loop that has other work as well:
 * here a clock, and Ctrl-C.
 *
 *   loop_libuv URL CHANNEL
 *
 * Exits with 0 after Ctrl-C, 1 when something failed for good, 2 when called the
 * wrong way. */
#include <cometd/libuv.h>
#include <signal.h>
#include <stdio.h>

static cometd_client *client;
static uv_timer_t clock_timer;
static uv_signal_t interrupt;
static int failed;

static void on_event(void *user, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    (void)user;
    if (cometd_event_message(event)) printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
    if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) fprintf(stderr, "subscribed\n");
    if (error) fprintf(stderr, "error %s\n", cometd_error_message(error));
    if (cometd_error_is_fatal(error)) failed = 1;
    if (cometd_event_type(event) == COMETD_EVENT_CLOSED) {
        /* The last event: with these two the loop has nothing left, and ends. */
        uv_close((uv_handle_t *)&clock_timer, NULL);
        uv_close((uv_handle_t *)&interrupt, NULL);
    }
}

static void on_clock(uv_timer_t *timer) {
    (void)timer;
    fprintf(stderr, "the loop goes on\n");
}

static void on_interrupt(uv_signal_t *watched, int number) {
    (void)watched, (void)number;
    /* 0: the end goes on in the background, and on_event sees it. */
    if (cometd_client_disconnect(client, 0, NULL) != COMETD_OK) failed = 1;
}

static int report(cometd_error *error) {
    fprintf(stderr, "loop_libuv: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: loop_libuv URL CHANNEL\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);

    cometd_client_builder *builder = NULL;
    cometd_error *error = NULL;
    const char *channel = argv[2];
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);

    uv_loop_t *loop = uv_default_loop();
    uv_timer_init(loop, &clock_timer);
    uv_timer_start(&clock_timer, on_clock, 1000, 1000);
    uv_signal_init(loop, &interrupt);
    uv_signal_start(&interrupt, on_interrupt, SIGINT);

    cometd_libuv *events = NULL;
    if (cometd_libuv_attach(loop, client, on_event, NULL, &events) != COMETD_OK ||
        cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        return report(error);
    }
    uv_run(loop, UV_RUN_DEFAULT);

    cometd_libuv_detach(events);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    cometd_client_free(client);
    return failed;
}
