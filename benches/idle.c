/*
 * What clients cost that are connected and wait: heap, resident memory, threads.
 *
 * idle URL CLIENTS
 */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cometd/cometd.h>

/* So many connect at once, to go easy on the server's backlog. */
#define WAVE 100

static void die(const char *what, cometd_error *error)
{
    fprintf(stderr, "idle: %s: %s\n", what, cometd_error_message(error));
    exit(1);
}

/* A number out of /proc/self/status. */
static long status(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

struct reading {
    double heap;
    double resident;
};

static struct reading now(void)
{
    struct reading it;
    struct mallinfo2 info = mallinfo2();
    it.heap = (double)info.uordblks + (double)info.hblkhd;
    it.resident = (double)status("VmRSS") * 1024;
    return it;
}

/* Reads what has come, as a program does; an error ends this one. */
static void drain(cometd_client *client)
{
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
            die("error", (cometd_error *)(size_t)cometd_event_error(event));
        }
        cometd_event_free(event);
    }
}

static void start(cometd_client_builder *builder, cometd_client **clients, size_t count)
{
    cometd_error *error;
    for (size_t index = 0; index < count; index++) {
        if (cometd_client_builder_build(builder, &clients[index], &error) != COMETD_OK) {
            die("build", error);
        }
        if (cometd_client_connect(clients[index], &error) != COMETD_OK) {
            die("connect", error);
        }
    }
    for (size_t index = 0; index < count; index++) {
        if (cometd_client_wait(clients[index], COMETD_STATE_CONNECTED, 30000) != COMETD_OK) {
            drain(clients[index]);
            die("not connected within 30 seconds", NULL);
        }
        drain(clients[index]);
    }
}

int main(int argc, char **argv)
{
    long number = argc == 3 ? atol(argv[2]) : 0;
    if (number < 1) {
        fprintf(stderr, "usage: idle URL CLIENTS\n");
        return 2;
    }
    size_t count = (size_t)number;
    cometd_client **clients = calloc(count, sizeof *clients);
    cometd_client *first;
    cometd_client_builder *builder;
    cometd_error *error;
    if (clients == NULL) {
        die("no memory", NULL);
    }
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) {
        die("url", error);
    }

    /* The first one starts what the process has once. */
    start(builder, &first, 1);
    sleep(1);
    struct reading before = now();
    long threads_before = status("Threads");

    for (size_t done = 0; done < count;) {
        size_t wave = count - done < WAVE ? count - done : WAVE;
        start(builder, clients + done, wave);
        done += wave;
    }
    /* By now each one's second connect is held, and helpers for names are gone. */
    sleep(4);
    struct reading after = now();
    for (size_t index = 0; index < count; index++) {
        if (cometd_client_state(clients[index]) != COMETD_STATE_CONNECTED) {
            die("a client has lost its connection", NULL);
        }
    }
    printf("program=idle clients=%zu heap_per_client=%.0f resident_per_client=%.0f "
           "threads_with_1=%ld threads=%ld\n",
           count, (after.heap - before.heap) / (double)count,
           (after.resident - before.resident) / (double)count, threads_before, status("Threads"));

    for (size_t index = 0; index < count; index++) {
        cometd_client_free(clients[index]);
    }
    cometd_client_free(first);
    cometd_client_builder_free(builder);
    free(clients);
    return 0;
}
