/*
 * What clients cost that are connected and wait: heap, resident memory, threads.
 *
 * idle URL connected|subscribed|after_event CLIENTS [-t long-polling|websocket]
 */

#include <dirent.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cometd/cometd.h>

#include "crowd.h"
#include "measure.h"
#include "transport.h"

/* By long polling, a connection that nothing needs any more is closed by then, and one that
 * waits for its next event sleeps. */
#define TIME_TO_SETTLE 14
#define TIME_TO_SETTLE_OF_A_SOCKET 3

struct memory {
    double heap;
    double resident;
};

static struct memory memory_now(void)
{
    struct memory it;
    struct mallinfo2 info = mallinfo2();
    it.heap = (double)info.uordblks + (double)info.hblkhd;
    it.resident = (double)process_status("VmRSS") * 1024;
    return it;
}

static size_t descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) {
        die("no /proc/self/fd", NULL);
    }
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

static void subscribe(cometd_client *client)
{
    const char *channel = "/flood/**";
    cometd_error *error;
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK) {
        die("subscribe", cometd_error_message(error));
    }
}

static void take_event(cometd_client *client)
{
    bool taken = false;
    while (!taken) {
        cometd_event *event;
        if (cometd_client_poll(client, 30000, &event) != COMETD_OK) {
            die("no event within 30 seconds", NULL);
        }
        taken = cometd_event_type(event) == COMETD_EVENT_MESSAGE;
        cometd_event_free(event);
    }
}

int main(int argc, char **argv)
{
    long number = argc >= 4 ? atol(argv[3]) : 0;
    bool subscribed = argc >= 4 && strcmp(argv[2], "subscribed") == 0;
    bool after_event = argc >= 4 && strcmp(argv[2], "after_event") == 0;
    if (number < 1 || (!subscribed && !after_event && strcmp(argv[2], "connected") != 0)) {
        fprintf(stderr, "usage: idle URL connected|subscribed|after_event CLIENTS "
                        "[-t long-polling|websocket]\n");
        return 2;
    }
    struct options options = read_options(argc - 4, argv + 4);
    double time_to_settle = strcmp(options.transport, "websocket") == 0
                                ? TIME_TO_SETTLE_OF_A_SOCKET
                                : TIME_TO_SETTLE;
    void (*prepare)(cometd_client *) = subscribed ? subscribe : NULL;
    void (*connected)(cometd_client *) = after_event ? take_event : NULL;
    size_t count = (size_t)number;
    cometd_client **clients = calloc(count, sizeof *clients);
    cometd_client *first;
    cometd_client_builder *builder;
    cometd_error *error;
    if (clients == NULL) {
        die("no memory", NULL);
    }
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) {
        die("url", cometd_error_message(error));
    }
    choose_transport(builder, options.transport);

    /* The first one starts what the process has once. It subscribes to nothing: a second
     * connection of its own would close in the midst. */
    crowd_connect(builder, &first, 1, NULL, connected);
    sleep_for(time_to_settle);
    size_t descriptors_before = descriptors();
    struct memory before = memory_now();
    long threads_before = process_status("Threads");

    crowd_connect(builder, clients, count, prepare, connected);
    sleep_for(time_to_settle);
    struct memory after = memory_now();
    crowd_check(clients, count, options.transport);
    printf("program=idle transport=%s kind=%s clients=%zu heap_per_client=%.0f "
           "resident_per_client=%.0f connections_per_client=%.2f threads_with_1=%ld threads=%ld\n",
           options.transport, argv[2], count, (after.heap - before.heap) / (double)count,
           (after.resident - before.resident) / (double)count,
           ((double)descriptors() - (double)descriptors_before) / (double)count, threads_before,
           process_status("Threads"));

    crowd_free(clients, count);
    crowd_free(&first, 1);
    cometd_client_builder_free(builder);
    free(clients);
    return 0;
}
