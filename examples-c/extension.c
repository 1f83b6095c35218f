/* Changes messages on their way: an extension.
 *
 *   extension URL CHANNEL [JSON]...
 *
 * Each message to CHANNEL goes out with a field "sender", except that one with
 * the text "secret" does not go out at all; each message on CHANNEL comes in with
 * a field "ext" that says how many there were, except for those of others with the
 * text "spam", which are dropped. Publishes what it is given, and prints what comes
 * until Ctrl-C.
 *
 * Exits with 0 then, 1 when something failed for good, 2 when called the wrong
 * way. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int report(cometd_error *error) {
    fprintf(stderr, "extension: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* What both directions need. The library calls one of them at a time. */
struct context {
    char on_channel[4200]; /* "channel":"/a"; a channel has 4096 bytes at most */
    unsigned long seen;
};

/* Puts a field behind the last one of a message, which is a JSON object with at least a channel. A JSON
 * library does this better; where the fields stand does not matter to anybody. */
static cometd_status add_field(cometd_extension_message *message, const char *field) {
    size_t length;
    const char *json = cometd_extension_message_json(message, &length);
    size_t room = length + strlen(field) + 2;
    char *longer = malloc(room);
    if (longer == NULL) return COMETD_E_SYSTEM; /* the message then goes on as it was */
    snprintf(longer, room, "%.*s,%s}", (int)length - 1, json, field);
    cometd_status status = cometd_extension_message_replace(message, longer, strlen(longer));
    free(longer);
    return status;
}

static cometd_status outgoing(void *user, cometd_extension_message *message) {
    struct context *context = user;
    const char *json = cometd_extension_message_json(message, NULL);
    if (strstr(json, context->on_channel) == NULL) return COMETD_OK; /* connects and all that */
    /* Its publish ends at once, with COMETD_E_MESSAGE_DELETED. */
    if (strstr(json, "secret") != NULL) return cometd_extension_message_drop(message);
    return add_field(message, "\"sender\":\"extension.c\"");
}

static cometd_status incoming(void *user, cometd_extension_message *message) {
    struct context *context = user;
    const char *json = cometd_extension_message_json(message, NULL);
    if (strstr(json, context->on_channel) == NULL || strstr(json, "\"data\":") == NULL) return COMETD_OK;
    if (strstr(json, "spam") != NULL) return cometd_extension_message_drop(message);
    char field[60];
    snprintf(field, sizeof field, "\"ext\":{\"number\":%lu}", ++context->seen);
    return add_field(message, field);
}

static void print_event(const cometd_event *event) {
    const cometd_message *message = cometd_event_message(event);
    if (message != NULL) {
        const char *ext = cometd_message_ext(message, NULL);
        printf("%s %s\n", cometd_message_data(message, NULL), ext == NULL ? "" : ext);
    } else if (cometd_event_type(event) == COMETD_EVENT_PUBLISHED) {
        printf("%llu published\n", (unsigned long long)cometd_event_id(event));
    } else if (cometd_event_error(event) != NULL) {
        fprintf(stderr, "error %s\n", cometd_error_message(cometd_event_error(event)));
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: extension URL CHANNEL [JSON]...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    struct context *context = calloc(1, sizeof *context);
    if (context == NULL) return 1;
    snprintf(context->on_channel, sizeof context->on_channel, "\"channel\":\"%s\"", argv[2]);
    const char *channel = argv[2];
    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) {
        free(context);
        return report(error);
    }
    /* From here on the context is the library's, which frees it when nothing can use it any more. */
    cometd_client_builder_add_extension(builder, outgoing, incoming, context, free);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    int failed = 0, leaving = 0;
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) failed = stopped = 1, report(error);
    for (int i = 3; i < argc && !failed; i++)
        if (cometd_client_publish(client, channel, argv[i], strlen(argv[i]), NULL, &error) != COMETD_OK)
            failed = report(error);
    for (status = COMETD_OK; status != COMETD_CLOSED && status >= 0;) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        print_event(event);
        if (cometd_event_error(event) && cometd_error_is_fatal(cometd_event_error(event))) failed = 1;
        if (cometd_event_type(event) == COMETD_EVENT_ERROR && cometd_error_phase(cometd_event_error(event)) == COMETD_PHASE_SUBSCRIBE)
            failed = stopped = 1;
        cometd_event_free(event);
    }
    cometd_client_free(client);
    return failed;
}
