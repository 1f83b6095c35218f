/* What the sanitizers must find, so that their silence says something: planted FAULT URL. */
#include <cometd/cometd.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int calls;
static volatile int number;

static void run(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    calls++;
}

/* What must not be done by two threads at once. */
static void *host(void *user)
{
    (void)user;
    for (int i = 0; i < 1000; i++)
        number++;
    return NULL;
}

static void *library(void *builder)
{
    for (int i = 0; i < 1000; i++)
        cometd_client_builder_set_timeout_ms(builder, 1000 + i);
    return NULL;
}

static void at_once(void *(*what)(void *), void *user)
{
    pthread_t other;
    if (pthread_create(&other, NULL, what, user))
        exit(1);
    what(user);
    pthread_join(other, NULL);
}

int main(int argc, char **argv)
{
    cometd_client_builder *builder;
    cometd_client *client;
    if (argc != 3 || cometd_client_builder_new(argv[2], &builder, NULL) ||
        cometd_client_builder_build(builder, &client, NULL))
        return 1;
    const char *fault = argv[1];
    if (!strcmp(fault, "leak"))
        builder = NULL; /* a block of the library's */
    else if (!strcmp(fault, "use"))
        cometd_client_builder_free(builder); /* and again below */
    else if (!strcmp(fault, "inside")) { /* seen by the library's code alone */
        cometd_client_builder *gone = builder;
        cometd_client_builder_free(builder);
        builder = NULL;
        cometd_client_builder_set_timeout_ms(gone, 1000);
    } else if (!strcmp(fault, "race"))
        at_once(host, NULL);
    else if (!strcmp(fault, "race_inside"))
        at_once(library, builder);
    else if (!strcmp(fault, "undefined"))
        number = INT_MAX - 2, number += argc;
    else if (cometd_client_set_callback(client, run, NULL, NULL) || cometd_client_connect(client, NULL))
        return 1;
    while (calls < 3 && !strcmp(fault, "none"))
        usleep(1000);
    cometd_client_free(client);
    cometd_client_builder_free(builder);
    return 0;
}
