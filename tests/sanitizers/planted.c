/* What the sanitizers must find, so that their silence says something: planted FAULT URL. */
#include <cometd/cometd.h>
#include <limits.h>
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
