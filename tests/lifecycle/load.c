/* Loads the library, uses it and lets it go, a hundred times: load LIBRARY URL. */
#include "api.h"

static long resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    MUST(file && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv)
{
    MUST(argc == 3);
    int descriptors = entries("/proc/self/fd");
    long settled = 0;
    for (int round = 0; round < 100; round++) {
        api it = api_of(dlopen(argv[1], RTLD_NOW | (round % 2 ? RTLD_LOCAL : RTLD_GLOBAL)));
        cometd_client *client = api_client(&it, argv[2], "/ticks");
        MUST(it.client_fd(client) >= 0);
        MUST(it.client_connect(client, NULL) == COMETD_OK);
        api_await(&it, client, COMETD_EVENT_MESSAGE);
        if (round % 4 == 0)
            MUST(it.client_disconnect(client, LIMIT_MS, NULL) == COMETD_OK);
        it.client_free(client);
        /* With threads of the library that are about to end, or gone. */
        if (round % 2 == 0)
            await_entries("/proc/self/task", 1);
        MUST(dlclose(it.library) == 0);
        if (round == 20)
            settled = resident();
    }
    await_entries("/proc/self/task", 1);
    await_entries("/proc/self/fd", descriptors);
    MUST(resident() - settled < 4 << 20);
    return 0;
}
