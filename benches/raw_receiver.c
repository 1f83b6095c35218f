/*
 * The yardstick of latencies: connects at a pace, by a blocking socket and nothing else.
 *
 * raw_receiver URL [-s SECONDS] [-w WARM-UP SECONDS]
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

static const char connect_message[] =
    "[{\"channel\":\"/meta/connect\",\"id\":\"1000\",\"clientId\":\"Un1q31d3nt1f13r0123456789ab\","
    "\"connectionType\":\"long-polling\"}]";

static void send_all(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(descriptor, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            die("the server has gone away", NULL);
        }
        bytes += sent;
        length -= (size_t)sent;
    }
}

/* Reads one response; the time is taken when its last byte is there. */
static uint64_t receive(int descriptor, char *buffer, size_t capacity, size_t *length)
{
    static const char name[] = "Content-Length: ";
    *length = 0;
    for (;;) {
        if (*length + 1 >= capacity) {
            die("a response is too large", NULL);
        }
        ssize_t got = recv(descriptor, buffer + *length, capacity - 1 - *length, 0);
        uint64_t now = nanoseconds();
        if (got <= 0) {
            die("the server has gone away", NULL);
        }
        *length += (size_t)got;
        buffer[*length] = '\0';
        const char *body = strstr(buffer, "\r\n\r\n");
        const char *content_length = strstr(buffer, name);
        if (body != NULL && content_length != NULL &&
            *length >= (size_t)(body + 4 - buffer) +
                           strtoul(content_length + sizeof name - 1, NULL, 10)) {
            return now;
        }
    }
}

int main(int argc, char **argv)
{
    char path[256];
    unsigned port;
    if (argc < 2 || sscanf(argv[1], "http://127.0.0.1:%u%200s", &port, path) != 2) {
        fprintf(stderr, "usage: raw_receiver http://127.0.0.1:PORT/PATH/ [-s SECONDS] "
                        "[-w WARM-UP SECONDS]\n");
        return 2;
    }
    struct options options = read_options(argc - 2, argv + 2);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    int yes = 1;
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        die("no connection", NULL);
    }
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    char request[1024];
    int request_length =
        snprintf(request, sizeof request,
                 "POST %sconnect HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                 "Content-Type: application/json;charset=UTF-8\r\nAccept-Encoding: gzip\r\n"
                 "User-Agent: libcometd/0.1.0\r\nContent-Length: %zu\r\n\r\n%s",
                 path, port, sizeof connect_message - 1, connect_message);

    uint64_t start = nanoseconds();
    uint64_t begin = start + (uint64_t)(options.warm_up * 1e9);
    uint64_t end = begin + (uint64_t)(options.seconds * 1e9);
    for (uint64_t now = start; now < end;) {
        char buffer[4096];
        size_t length;
        send_all(descriptor, request, (size_t)request_length);
        now = receive(descriptor, buffer, sizeof buffer, &length);
        uint64_t written = written_at(buffer, length);
        if (written == 0 || written > now) {
            die("an event has no time", NULL);
        }
        if (now >= begin) {
            record_latency(now - written);
        }
    }
    close(descriptor);
    size_t events = latencies_recorded();
    printf("program=raw clients=1 events=%zu a_second=%.0f p50=%.1f p99=%.1f\n", events,
           (double)events / options.seconds, latency_at(0.5), latency_at(0.99));
    return 0;
}
