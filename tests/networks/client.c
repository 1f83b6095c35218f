/* Prints what a client says, each line with the milliseconds of the calendar in front.
 *
 *   client URL TRANSPORT [OPTION=VALUE...]
 *
 *   TICK n        a message on /ticks
 *   LARGE n       a message on /large
 *   STATE name    RENEWED channel    SUBSCRIBED channel
 *   PUBLISHED id  FAILED id status text: how a publish ended
 *   ERROR status text
 *
 * Each line of the standard input is a size to publish, with an 'r' behind it with retries; its end
 * is the client's. */
#include <cometd/cometd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void say(const char *format, ...) {
    struct timespec now;
    va_list arguments;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld ", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

static int failed(const char *what, cometd_error *error) {
    fprintf(stderr, "%s: %s\n", what, error ? cometd_error_message(error) : "failed");
    cometd_error_free(error);
    return 1;
}

static void tell(const cometd_event *event) {
    unsigned long long id = cometd_event_id(event);
    const cometd_error *error = cometd_event_error(event);
    const char *channel = cometd_event_channel(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE: {
        const char *number = strchr(cometd_message_data(cometd_event_message(event), NULL), ':');
        say("%s %d", strcmp(channel, "/ticks") == 0 ? "TICK" : "LARGE", number ? atoi(number + 1) : -1);
        break;
    }
    case COMETD_EVENT_STATE:
        say("STATE %s", cometd_state_name(cometd_event_state(event, NULL)));
        break;
    case COMETD_EVENT_SUBSCRIBED:
        say("%s %s", cometd_event_is_renewed(event) ? "RENEWED" : "SUBSCRIBED", channel);
        break;
    case COMETD_EVENT_PUBLISHED:
        say("PUBLISHED %llu", id);
        break;
    case COMETD_EVENT_ERROR: {
        const char *status = cometd_status_name(cometd_error_status(error));
        if (cometd_error_phase(error) == COMETD_PHASE_PUBLISH)
            say("FAILED %llu %s %s", id, status, cometd_error_message(error));
        else
            say("ERROR %s %s", status, cometd_error_message(error));
        break;
    }
    case COMETD_EVENT_CLOSED:
        say("CLOSED");
        break;
    default:
        say("EVENT %d", (int)cometd_event_type(event));
    }
}

static void publish(cometd_client *client, size_t size, int with_retries) {
    cometd_status status;
    cometd_error *error = NULL;
    uint64_t id = 0;
    char *json = malloc(size + 3);
    if (!json) exit(1);
    memset(json, 'x', size + 2);
    json[0] = json[size + 1] = '"';
    json[size + 2] = 0;
    status = with_retries ? cometd_client_publish_with_retries(client, "/published", json, size + 2, 60000, COMETD_RETRY_FOREVER, &id, &error)
                          : cometd_client_publish(client, "/published", json, size + 2, &id, &error);
    free(json);
    if (status != COMETD_OK) exit(failed("publish", error));
    say("PUBLISH %llu", (unsigned long long)id);
}

int main(int count, char **arguments) {
    static const char *const channels[] = {"/ticks", "/large"};
    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    char line[64];
    size_t length = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count < 3 || cometd_client_builder_new(arguments[1], &builder, &error) != COMETD_OK)
        return failed("url", error);
    cometd_client_builder_set_acknowledgement(builder, true);
    cometd_client_builder_set(builder, "transports", arguments[2], NULL);
    cometd_client_builder_set_proxy(builder, "");
    for (int option = 3; option < count; option++) {
        char *value = strchr(arguments[option], '=');
        if (!value) return 2;
        *value = 0;
        cometd_client_builder_set(builder, arguments[option], value + 1, NULL);
    }
    if (cometd_client_builder_build(builder, &client, &error) != COMETD_OK) return failed("build", error);
    cometd_client_builder_free(builder);
    if (cometd_client_subscribe(client, channels, 2, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK)
        return failed("connect", error);
    say("START");

    for (cometd_status status = COMETD_OK; status != COMETD_CLOSED;) {
        struct pollfd both[2] = {{0, POLLIN, 0}, {-1, POLLIN, 0}};
        cometd_event *event = NULL;
        both[1].fd = cometd_client_fd(client);
        poll(both, 2, -1);
        if (both[0].revents) {
            ssize_t got = read(0, line + length, 1);
            if (got <= 0) break;
            if (line[length] != '\n') {
                length = length + 2 < sizeof line ? length + 1 : 0;
                continue;
            }
            line[length] = 0;
            publish(client, strtoul(line, NULL, 10), length > 0 && line[length - 1] == 'r');
            length = 0;
        }
        while ((status = cometd_client_poll(client, 0, &event)) == COMETD_OK) {
            tell(event);
            cometd_event_free(event);
        }
    }
    cometd_client_disconnect(client, 1000, NULL);
    cometd_client_free(client);
    return 0;
}
