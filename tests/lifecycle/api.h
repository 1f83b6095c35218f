/* What these programs use of a library that they load themselves. */
#ifndef API_H
#define API_H

#include <cometd/cometd.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FUNCTIONS(X)                                                                                 \
    X(client_builder_new) X(client_builder_build) X(client_builder_free) X(client_connect)           \
    X(client_wait) X(client_subscribe) X(client_publish) X(client_poll) X(client_fd)                 \
    X(client_set_callback) X(client_disconnect) X(client_free) X(event_type) X(event_channel)        \
    X(event_free) X(log_set) X(version)

typedef struct api {
    void *library;
#define MEMBER(name) __typeof__(cometd_##name) *name;
    FUNCTIONS(MEMBER)
} api;

#define MUST(condition)                                                                              \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                          \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

enum { LIMIT_MS = 30000 };

static inline api api_of(void *library)
{
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    api it = {.library = library};
    union {
        void *data;
        void (*function)(void);
    } found;
#define FIND(name)                                                                                   \
    MUST((found.data = dlsym(library, "cometd_" #name)) != NULL);                                    \
    it.name = (__typeof__(it.name))found.function;
    FUNCTIONS(FIND)
    MUST(it.version() == COMETD_VERSION);
    return it;
}

/* A client with one channel. */
static inline cometd_client *api_client(const api *it, const char *url, const char *channel)
{
    cometd_client_builder *builder;
    cometd_client *client;
    MUST(it->client_builder_new(url, &builder, NULL) == COMETD_OK);
    MUST(it->client_builder_build(builder, &client, NULL) == COMETD_OK);
    it->client_builder_free(builder);
    MUST(it->client_subscribe(client, &channel, 1, NULL, NULL) == COMETD_OK);
    return client;
}

static inline void api_await(const api *it, cometd_client *client, int32_t type)
{
    cometd_event *event;
    int32_t found;
    do {
        MUST(it->client_poll(client, LIMIT_MS, &event) == COMETD_OK);
        found = it->event_type(event);
        it->event_free(event);
    } while (found != type);
}

static inline int entries(const char *directory)
{
    int count = 0;
    DIR *all = opendir(directory);
    for (struct dirent *it; all && (it = readdir(all));)
        count += it->d_name[0] != '.';
    closedir(all);
    return count;
}

/* So many, soon. */
static inline void await_entries(const char *directory, int count)
{
    for (int ms = 0; entries(directory) != count; ms++) {
        MUST(ms < LIMIT_MS);
        usleep(1000);
    }
}

#endif
