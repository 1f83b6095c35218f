/* Stays connected to one of several servers: when one fails, or ends the session,
 * the next takes over.
 *
 *   failover [-f] CHANNEL URL URL...
 *
 * With -f it also goes where a server's advice sends it, with all credentials
 * that it has: only for servers that are trusted with that.
 *
 * Prints messages, and what happens to the connection. Ctrl-C ends it with 0, a
 * fatal error with 1; called the wrong way it ends with 2. */
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
    fprintf(stderr, "failover: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    const bool follows = argc > 1 && strcmp(argv[1], "-f") == 0;
    if (follows) argc--, argv++;
    if (argc < 3) {
        fprintf(stderr, "usage: failover [-f] CHANNEL URL URL...\n");
        return 2;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[2], &builder, &error) != COMETD_OK) return report(error);
    for (int i = 3; i < argc; i++) {
        cometd_status added = cometd_client_builder_add_url(builder, argv[i]);
        if (added != COMETD_OK) {
            fprintf(stderr, "failover: %s: %s\n", argv[i], cometd_status_text(added));
            cometd_client_builder_free(builder);
            return 1;
        }
    }
    cometd_client_builder_set_follow_hosts(builder, follows);
    /* A server that says goodbye, before it is restarted for instance, is no reason to end. */
    cometd_client_builder_set_restart(builder, true);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    /* Subscribed again by the library wherever the session goes. */
    const char *channels[] = {argv[1]};
    status = cometd_client_subscribe(client, channels, 1, NULL, &error);
    if (status == COMETD_OK) status = cometd_client_connect(client, &error);
    if (status != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    int failed = 0;
    while (!stopped) {
        cometd_event *event = NULL;
        status = cometd_client_poll(client, 100, &event);
        if (status == COMETD_NONE) continue;
        if (status != COMETD_OK) break; /* after a fatal error */
        switch (cometd_event_type(event)) {
        case COMETD_EVENT_MESSAGE:
            printf("%s %s\n", cometd_event_channel(event), cometd_message_data(cometd_event_message(event), NULL));
            fflush(stdout);
            break;
        case COMETD_EVENT_STATE:
            fprintf(stderr, "state %s\n", cometd_state_name(cometd_event_state(event, NULL)));
            break;
        case COMETD_EVENT_ADVICE:
            fprintf(stderr, "advice %s\n", cometd_event_advice(event, NULL));
            break;
        case COMETD_EVENT_ERROR:
            fprintf(stderr, "error %s\n", cometd_error_message(cometd_event_error(event)));
            failed |= cometd_error_is_fatal(cometd_event_error(event));
            break;
        }
        cometd_event_free(event);
    }
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    cometd_client_free(client);
    return failed;
}
