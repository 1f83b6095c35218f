/* Ends with the status 42, or by abort, in one of the ways that there are, while clients
 * live and callbacks run: ending URL WAY. */
#include <cometd/cometd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS = 6, STATUS = 42 };

static atomic_int calls, stuck;
static const char *way;
static int handlers;

static void leave(void)
{
    if (!strcmp(way, "exit"))
        exit(STATUS);
    if (!strcmp(way, "quick_exit"))
        quick_exit(STATUS);
    if (!strcmp(way, "_exit"))
        _exit(STATUS);
    if (!strcmp(way, "abort"))
        abort();
    if (!strcmp(way, "pthread_exit"))
        pthread_exit(NULL); /* the others go on */
}

static void run(void *user, const cometd_event *event)
{
    (void)user;
    const cometd_message *message = cometd_event_message(event);
    if (message && !strcmp(cometd_message_channel(message, NULL), "/end"))
        leave();
    calls++;
}

static void never_return(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    stuck = 1;
    for (;;)
        pause();
}

/* What the program does at its end still can use the library. */
static void at_exit(void)
{
    handlers++;
    fprintf(stderr, "handler, after %d calls\n", atomic_load(&calls));
}

static void at_end_of_library(void *user)
{
    (void)user;
}

int main(int argc, char **argv)
{
    if (argc != 4 || atexit(at_exit) || at_quick_exit(at_exit))
        return 1;
    way = argv[2];
    int from_callback = !strcmp(argv[3], "callback");
    for (int i = 0; i < CLIENTS; i++) {
        cometd_client_builder *builder;
        cometd_client *client;
        const char *channels[] = {"/ticks", "/end"};
        if (cometd_client_builder_new(argv[1], &builder, NULL) ||
            cometd_client_builder_build(builder, &client, NULL))
            return 1;
        cometd_client_builder_free(builder);
        if (i == 0 ? cometd_client_set_callback(client, never_return, NULL, at_end_of_library)
                   : i % 2 && cometd_client_set_callback(client, run, NULL, at_end_of_library))
            return 1;
        if (cometd_client_subscribe(client, channels, i == 1 ? 2 : 1, NULL, NULL) ||
            cometd_client_connect(client, NULL))
            return 1;
        if (i == CLIENTS - 1) {
            while (calls < 100 || !stuck)
                usleep(1000);
            if (from_callback && cometd_client_publish(client, "/end", "1", 1, NULL, NULL))
                return 1;
        }
    }
    if (from_callback)
        for (;;)
            pause();
    leave();
    return STATUS;
}
