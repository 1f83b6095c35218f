/* Prints what comes on a channel, from a GLib main loop that has other work as well:
 * here a clock, and Ctrl-C.
 *
 *   loop_glib URL CHANNEL
 *
 * Exits with 0 after Ctrl-C, 1 when something failed for good, 2 when called the
 * wrong way. */
#include <cometd/glib.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>

static cometd_client *client;
static GMainLoop *loop;
static int failed;

static void on_event(void *user, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    (void)user;
    if (cometd_event_message(event)) printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
    if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) fprintf(stderr, "subscribed\n");
    if (error) fprintf(stderr, "error %s\n", cometd_error_message(error));
    if (cometd_error_is_fatal(error)) failed = 1;
    if (cometd_event_type(event) == COMETD_EVENT_CLOSED) g_main_loop_quit(loop);
}

static gboolean on_clock(gpointer user) {
    (void)user;
    fprintf(stderr, "the loop goes on\n");
    return G_SOURCE_CONTINUE;
}

static gboolean on_interrupt(gpointer user) {
    (void)user;
    /* 0: the end goes on in the background, and on_event sees it. */
    if (cometd_client_disconnect(client, 0, NULL) != COMETD_OK) failed = 1;
    return G_SOURCE_CONTINUE;
}

static int report(cometd_error *error) {
    fprintf(stderr, "loop_glib: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: loop_glib URL CHANNEL\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);

    cometd_client_builder *builder = NULL;
    cometd_error *error = NULL;
    const char *channel = argv[2];
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);

    loop = g_main_loop_new(NULL, FALSE);
    g_timeout_add_seconds(1, on_clock, NULL);
    g_unix_signal_add(SIGINT, on_interrupt, NULL);

    GSource *events = cometd_glib_source_new(client, on_event, NULL);
    if (events == NULL || cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) {
        return report(error);
    }
    g_source_attach(events, NULL);
    g_source_unref(events);
    g_main_loop_run(loop);

    g_main_loop_unref(loop);
    cometd_client_free(client);
    return failed;
}
