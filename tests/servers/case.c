#include "case.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const char *server, *server_url;
int32_t expected_transport;

static int control_port;
static int32_t transports[2];
static size_t transport_count;

void set_server(const char *name, const char *url, int port) {
    server = name;
    server_url = url;
    control_port = port;
}

static int32_t transport_named(const char *name, size_t length) {
    if (length == strlen("websocket") && memcmp(name, "websocket", length) == 0)
        return COMETD_TRANSPORT_WEBSOCKET;
    if (length == strlen("long-polling") && memcmp(name, "long-polling", length) == 0)
        return COMETD_TRANSPORT_LONG_POLLING;
    FAIL("no transport is called %s", name);
    return 0;
}

void set_transports(const char *wanted, const char *expected) {
    for (size_t length; *wanted != '\0'; wanted += length + (wanted[length] == ',')) {
        length = strcspn(wanted, ",");
        CHECK(transport_count < 2);
        transports[transport_count++] = transport_named(wanted, length);
    }
    expected_transport = transport_named(expected, strlen(expected));
}

void fail(int line, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "cases.c:%d: ", line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void check_ok(int line, const char *what, cometd_status status) {
    if (status != COMETD_OK)
        fail(line, "%s: %s", what, cometd_status_name(status));
}

const char *control(const char *format, ...) {
    static char answer[65536];
    char path[512], request[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)control_port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        FAIL("no control interface at port %d", control_port);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);
    CHECK(write(fd, request, (size_t)length) == length);
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, answer + size, sizeof answer - 1 - size);
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    close(fd);
    answer[size] = '\0';
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0)
        FAIL("control %s: %.200s", path, answer);
    const char *body = strstr(answer, "\r\n\r\n");
    return body ? body + 4 : "";
}

long stat_of(const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *found = strstr(control("/stats"), key);
    return found ? strtol(found + strlen(key), NULL, 10) : -1;
}

void wait_a_moment(void) {
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

cometd_client_builder *new_builder(void) {
    cometd_client_builder *builder;
    cometd_error *error;
    if (cometd_client_builder_new(server_url, &builder, &error) != COMETD_OK)
        FAIL("%s", cometd_error_message(error));
    OK(cometd_client_builder_set_transports(builder, transports, transport_count));
    return builder;
}

cometd_client *build(cometd_client_builder *builder) {
    cometd_client *client;
    OK(cometd_client_builder_build(builder, &client, NULL));
    cometd_client_builder_free(builder);
    return client;
}

cometd_client *new_client(void) {
    cometd_client *client = build(new_builder());
    OK(cometd_client_connect(client, NULL));
    return client;
}

uint64_t subscribe(cometd_client *client, const char *channel) {
    uint64_t id;
    OK(cometd_client_subscribe(client, &channel, 1, &id, NULL));
    return id;
}

bool is_about(const cometd_event *event, int32_t type, const char *channel) {
    const char *about = cometd_event_channel(event);
    return cometd_event_type(event) == type &&
           (channel == NULL || (about != NULL && strcmp(about, channel) == 0));
}

cometd_event *await_event(int line, cometd_client *client, int32_t type, const char *channel) {
    for (;;) {
        cometd_event *event;
        cometd_status status = cometd_client_poll(client, LIMIT_MS, &event);
        if (status != COMETD_OK)
            fail(line, "no event %d on %s: %s", type, channel ? channel : "-", cometd_status_name(status));
        if (is_about(event, type, channel))
            return event;
        if (cometd_event_type(event) == COMETD_EVENT_ERROR)
            fprintf(stderr, "(%s)\n", cometd_error_message(cometd_event_error(event)));
        cometd_event_free(event);
    }
}

void await_state(cometd_client *client, cometd_state state) {
    for (;;) {
        cometd_event *event = AWAIT(client, COMETD_EVENT_STATE, NULL);
        cometd_state reached = cometd_event_state(event, NULL);
        cometd_event_free(event);
        if (reached == state)
            return;
    }
}

cometd_event *await_fatal_error(cometd_client *client) {
    for (;;) {
        cometd_event *event = AWAIT(client, COMETD_EVENT_ERROR, NULL);
        if (cometd_error_is_fatal(cometd_event_error(event)))
            return event;
        cometd_event_free(event);
    }
}

void await_flow(cometd_client *client, const char *one, const char *other) {
    bool came[2] = {false, false};
    for (int tries = 0; !(came[0] && came[1]); tries++) {
        CHECK(tries < 200);
        control("/publish?channel=%s&count=1&size=10", one);
        control("/publish?channel=%s&count=1&size=10", other);
        cometd_event *event;
        while (cometd_client_poll(client, 250, &event) == COMETD_OK) {
            came[0] |= is_about(event, COMETD_EVENT_MESSAGE, one);
            came[1] |= is_about(event, COMETD_EVENT_MESSAGE, other);
            cometd_event_free(event);
        }
    }
}

void check_transport(int line, const cometd_client *client) {
    int32_t transport = cometd_client_transport(client);
    if (transport != expected_transport)
        fail(line, "transport %d has carried the session, not %d", (int)transport, (int)expected_transport);
}

void finish(cometd_client *client) {
    CHECK_TRANSPORT(client);
    cometd_error *error = NULL;
    if (cometd_client_disconnect(client, LIMIT_MS, &error) != COMETD_OK)
        FAIL("%s", cometd_error_message(error));
    AWAIT_ONLY(client, COMETD_EVENT_CLOSED, NULL);
    cometd_event *none;
    CHECK(cometd_client_poll(client, 0, &none) == COMETD_CLOSED);
    cometd_client_free(client);
}

long number_of(const cometd_message *message) {
    const char *data = cometd_message_data(message, NULL);
    const char *n = strstr(data, "\"n\":");
    if (n == NULL)
        FAIL("no n in %.100s", data);
    return strtol(n + 4, NULL, 10);
}
