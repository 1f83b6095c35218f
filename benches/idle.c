/*
 * What clients cost that are connected and wait: heap, resident memory, threads.
 *
 * idle URL connected|subscribed CLIENTS
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

/* A connection that nothing needs any more is closed by then, and one that waits for its next
 * event sleeps. */
#define TIME_TO_SETTLE 14

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

int main(int argc, char **argv)
{
    long number = argc == 4 ? atol(argv[3]) : 0;
    bool subscribed = argc == 4 && strcmp(argv[2], "subscribed") == 0;
    if (number < 1 || (!subscribed && strcmp(argv[2], "connected") != 0)) {
        fprintf(stderr, "usage: idle URL connected|subscribed CLIENTS\n");
        return 2;
    }
    void (*prepare)(cometd_client *) = subscribed ? subscribe : NULL;
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

    /* The first one starts what the process has once. It subscribes to nothing: a second
     * connection of its own would close in the midst. */
    crowd_connect(builder, &first, 1, NULL);
    sleep_for(TIME_TO_SETTLE);
    size_t descriptors_before = descriptors();
    struct memory before = memory_now();
    long threads_before = process_status("Threads");

    crowd_connect(builder, clients, count, prepare);
    sleep_for(TIME_TO_SETTLE);
    struct memory after = memory_now();
    crowd_check(clients, count);
    printf("program=idle kind=%s clients=%zu heap_per_client=%.0f resident_per_client=%.0f "
           "connections_per_client=%.2f threads_with_1=%ld threads=%ld\n",
           argv[2], count, (after.heap - before.heap) / (double)count,
           (after.resident - before.resident) / (double)count,
           ((double)descriptors() - (double)descriptors_before) / (double)count, threads_before,
           process_status("Threads"));

    crowd_free(clients, count);
    crowd_free(&first, 1);
    cometd_client_builder_free(builder);
    free(clients);
    return 0;
}
