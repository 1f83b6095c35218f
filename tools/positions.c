#include "positions.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct entry {
    char *channel;
    int64_t position;
};

struct positions {
    pthread_mutex_t lock;
    char *path, *next;
    struct entry *entries;
    size_t count;
    /* Against the file, and against the disk. */
    bool is_changed, is_behind, is_frozen;
    time_t synced;
};

static struct entry *find(struct positions *positions, const char *channel) {
    for (size_t at = 0; at < positions->count; at++)
        if (strcmp(positions->entries[at].channel, channel) == 0) return &positions->entries[at];
    return NULL;
}

static bool put(struct positions *positions, const char *channel, int64_t position) {
    struct entry *entry = find(positions, channel);
    if (!entry) {
        struct entry *more = realloc(positions->entries, (positions->count + 1) * sizeof *more);
        if (!more) return false;
        positions->entries = more;
        entry = &more[positions->count];
        if (!(entry->channel = strdup(channel))) return false;
        positions->count++;
    }
    entry->position = position;
    return true;
}

static bool read_all(struct positions *positions) {
    FILE *file = fopen(positions->path, "r");
    if (!file) {
        /* Only without a file it is the first start. */
        if (errno == ENOENT) return true;
        log_line(PRIORITY_ERROR, "%s: %s", positions->path, strerror(errno));
        return false;
    }
    char *line = NULL, *name;
    size_t room = 0;
    bool is_good = true;
    while (is_good && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        errno = 0;
        long long position = strtoll(line, &name, 10);
        is_good = errno == 0 && name != line && *name == ' ' && name[1] == '/' && position >= COMETD_REPLAY_ALL &&
                  put(positions, name + 1, position);
    }
    if (!is_good) log_line(PRIORITY_ERROR, "%s: is no file of positions", positions->path);
    if (ferror(file)) {
        log_line(PRIORITY_ERROR, "%s: %s", positions->path, strerror(errno));
        is_good = false;
    }
    free(line);
    fclose(file);
    return is_good;
}

/* Whether they can be saved: found out before something comes. */
static bool is_writable(const struct positions *positions) {
    char *path = strdup(positions->path);
    bool is_good = path && access(dirname(path), W_OK) == 0;
    if (!is_good) log_line(PRIORITY_ERROR, "%s: %s", positions->path, strerror(errno));
    free(path);
    return is_good;
}

struct positions *positions_open(const char *path) {
    struct positions *positions = calloc(1, sizeof *positions);
    size_t room = strlen(path) + sizeof ".next";
    if (!positions) return NULL;
    pthread_mutex_init(&positions->lock, NULL);
    positions->path = strdup(path);
    positions->next = malloc(room);
    if (positions->path && positions->next) {
        snprintf(positions->next, room, "%s.next", path);
        if (read_all(positions) && is_writable(positions)) return positions;
    }
    positions_close(positions);
    return NULL;
}

cometd_status positions_load(void *user, const char *channel, int64_t *position) {
    struct positions *positions = user;
    pthread_mutex_lock(&positions->lock);
    const struct entry *entry = find(positions, channel);
    if (entry) *position = entry->position;
    pthread_mutex_unlock(&positions->lock);
    return entry ? COMETD_OK : COMETD_NONE;
}

cometd_status positions_save(void *user, const char *channel, int64_t position) {
    struct positions *positions = user;
    pthread_mutex_lock(&positions->lock);
    bool is_kept = positions->is_frozen || put(positions, channel, position);
    positions->is_changed |= !positions->is_frozen;
    pthread_mutex_unlock(&positions->lock);
    return is_kept ? COMETD_OK : COMETD_E_SYSTEM;
}

void positions_freeze(struct positions *positions) {
    if (!positions) return;
    pthread_mutex_lock(&positions->lock);
    positions->is_frozen = true;
    pthread_mutex_unlock(&positions->lock);
}

/* The new name reaches the disk with the folder. */
static void sync_folder(const struct positions *positions) {
    char *path = strdup(positions->path);
    int folder = path ? open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
    free(path);
}

static bool replace(struct positions *positions, bool syncs) {
    int descriptor = open(positions->next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
    bool is_good = file != NULL;
    for (size_t at = 0; is_good && at < positions->count; at++) {
        const struct entry *entry = &positions->entries[at];
        is_good = fprintf(file, "%lld %s\n", (long long)entry->position, entry->channel) > 0;
    }
    if (is_good) is_good = fflush(file) == 0 && (!syncs || fsync(descriptor) == 0);
    if (file) is_good &= fclose(file) == 0;
    else if (descriptor >= 0) close(descriptor);
    is_good = is_good && rename(positions->next, positions->path) == 0;
    if (!is_good) {
        log_line(PRIORITY_ERROR, "%s: %s", positions->path, strerror(errno));
        unlink(positions->next);
    } else if (syncs) {
        sync_folder(positions);
    }
    return is_good;
}

bool positions_write(struct positions *positions, bool durable) {
    if (!positions) return true;
    pthread_mutex_lock(&positions->lock);
    time_t now = time(NULL);
    bool syncs = durable || now != positions->synced, is_good = true;
    if (positions->is_changed || (syncs && positions->is_behind)) {
        is_good = replace(positions, syncs);
        if (is_good) {
            positions->is_changed = false;
            positions->is_behind = !syncs;
            if (syncs) positions->synced = now;
        }
    }
    pthread_mutex_unlock(&positions->lock);
    return is_good;
}

void positions_close(struct positions *positions) {
    if (!positions) return;
    for (size_t at = 0; at < positions->count; at++) free(positions->entries[at].channel);
    free(positions->entries);
    free(positions->path);
    free(positions->next);
    pthread_mutex_destroy(&positions->lock);
    free(positions);
}
