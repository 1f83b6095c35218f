/* Two copies of the library in one process: copies LIBRARY COPY URL, each loaded for
 * itself; with a fourth argument the second one in a namespace of its own, where it has a C
 * library and an OpenSSL of its own, too. */
#include "api.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct side {
    api api;
    cometd_client *client, *other;
    atomic_int calls, lines;
    cometd_status inside;
} side;

static void on_event(void *user, const cometd_event *event)
{
    side *it = user;
    if (it->api.event_type(event) == COMETD_EVENT_MESSAGE) {
        cometd_event *none;
        it->inside = it->api.client_poll(it->client, 1, &none);
        it->calls++;
    }
}

static void on_line(void *user, int32_t level, const char *target, const char *line)
{
    (void)level, (void)target, (void)line;
    ((side *)user)->lines++;
}

static void start(side *it, const char *url)
{
    MUST(it->api.log_set(COMETD_LOG_DEBUG, on_line, it, NULL) == COMETD_OK);
    it->client = api_client(&it->api, url, "/ticks");
    it->other = api_client(&it->api, url, "/ticks");
    MUST(it->api.client_set_callback(it->other, on_event, it, NULL) == COMETD_OK);
    MUST(it->api.client_connect(it->client, NULL) == COMETD_OK);
    MUST(it->api.client_connect(it->other, NULL) == COMETD_OK);
}

static void *use(void *argument)
{
    side *it = argument;
    for (int i = 0; i < 50; i++) {
        MUST(it->api.client_publish(it->client, "/a", "1", 1, NULL, NULL) == COMETD_OK);
        api_await(&it->api, it->client, COMETD_EVENT_PUBLISHED);
        api_await(&it->api, it->client, COMETD_EVENT_MESSAGE);
    }
    while (it->calls < 50)
        usleep(1000);
    MUST(it->inside == COMETD_E_WOULD_DEADLOCK);
    return NULL;
}

static void end(side *it)
{
    MUST(it->api.client_disconnect(it->client, LIMIT_MS, NULL) == COMETD_OK);
    it->api.client_free(it->client);
    it->api.client_free(it->other);
    MUST(it->api.log_set(COMETD_LOG_OFF, NULL, NULL, NULL) == COMETD_OK);
    MUST(it->lines > 0);
}

int main(int argc, char **argv)
{
    MUST(argc >= 4);
    side sides[2] = {0};
    int descriptors = entries("/proc/self/fd");
    sides[0].api = api_of(dlopen(argv[1], RTLD_NOW | RTLD_LOCAL));
    sides[1].api = api_of(argc > 4 ? dlmopen(LM_ID_NEWLM, argv[2], RTLD_NOW | RTLD_LOCAL)
                                   : dlopen(argv[2], RTLD_NOW | RTLD_LOCAL));
    MUST(sides[0].api.client_connect != sides[1].api.client_connect);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        start(&sides[i], argv[3]);
    for (int i = 0; i < 2; i++)
        MUST(pthread_create(&threads[i], NULL, use, &sides[i]) == 0);
    for (int i = 0; i < 2; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    /* What ends of one is nothing to the other. */
    end(&sides[0]);
    int calls = sides[1].calls, lines = sides[0].lines;
    while (sides[1].calls < calls + 20)
        usleep(1000);
    MUST(sides[0].lines == lines);
    end(&sides[1]);
    await_entries("/proc/self/task", 1);
    await_entries("/proc/self/fd", descriptors);
    MUST(dlclose(sides[0].api.library) == 0 && dlclose(sides[1].api.library) == 0);
    return 0;
}
