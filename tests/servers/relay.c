/* Between client and server; breaks a connection where a case wants it. */
#include "case.h"

#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    int server_port;
    const char *text;
    long remaining;
    bool broke;
} relay = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* How much of this goes on to the client: all of it, or what stands before the break. */
static size_t passed_on(const char *data, size_t size) {
    size_t passed = size;
    pthread_mutex_lock(&relay.lock);
    size_t length = relay.text == NULL || relay.broke ? size + 1 : strlen(relay.text);
    for (size_t i = 0; i + length <= size && !relay.broke; i++)
        if (memcmp(data + i, relay.text, length) == 0 && --relay.remaining == 0) {
            relay.broke = true;
            passed = i;
        }
    pthread_mutex_unlock(&relay.lock);
    return passed;
}

static void *relay_connection(void *user) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)relay.server_port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = *(int *)user, upstream = socket(AF_INET, SOCK_STREAM, 0);
    free(user);
    CHECK(upstream >= 0 && connect(upstream, (struct sockaddr *)&address, sizeof address) == 0);
    struct pollfd ends[] = {{.fd = client, .events = POLLIN}, {.fd = upstream, .events = POLLIN}};
    static const size_t capacity = 65536;
    char *data = malloc(capacity);
    CHECK(data != NULL);
    for (bool open = true; open && poll(ends, 2, -1) > 0;)
        for (int i = 0; i < 2 && open; i++) {
            if (ends[i].revents == 0)
                continue;
            ssize_t size = read(ends[i].fd, data, capacity);
            size_t passed = size > 0 && i == 1 ? passed_on(data, (size_t)size) : (size_t)size;
            open = size > 0 && send(ends[1 - i].fd, data, passed, MSG_NOSIGNAL) == size;
        }
    free(data);
    close(upstream);
    close(client);
    return NULL;
}

static void *relay_listener(void *user) {
    for (;;) {
        int *client = malloc(sizeof *client);
        pthread_t thread;
        CHECK(client != NULL);
        if ((*client = accept(*(int *)user, NULL, NULL)) < 0)
            FAIL("the relay cannot accept");
        CHECK(pthread_create(&thread, NULL, relay_connection, client) == 0);
        pthread_detach(thread);
    }
    return NULL;
}

void start_relay(void) {
    static int listener;
    static char url[64];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 16) == 0 && getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    CHECK(sscanf(server_url, "http://127.0.0.1:%d/", &relay.server_port) == 1);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/cometd", ntohs(address.sin_port));
    server_url = url;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, relay_listener, &listener) == 0);
    pthread_detach(thread);
}

void break_relay_at(const char *text, long nth) {
    pthread_mutex_lock(&relay.lock);
    relay.text = text;
    relay.remaining = nth;
    pthread_mutex_unlock(&relay.lock);
}

void await_broken_relay(void) {
    for (bool broke = false; !broke;) {
        wait_a_moment();
        pthread_mutex_lock(&relay.lock);
        broke = relay.broke;
        pthread_mutex_unlock(&relay.lock);
    }
}
