/* Prints what comes on channels, and goes on after a restart where it was: with
 * the replay extension that Salesforce has, and with a file that holds the
 * position of each channel.
 *
 *   replay FILE URL CHANNEL...
 *
 * A message counts as done when it has been printed: the library then saves its
 * position. Killed at any moment, the program misses nothing; the message that it
 * was at may come twice. Ended by Ctrl-C, nothing comes twice. Exits with 0 after
 * Ctrl-C, 1 when something failed for good, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int report(cometd_error *error) {
    fprintf(stderr, "replay: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* ---- the file: a line for each channel, its position and its name ---- */

struct store { const char *path; };

static cometd_status load(void *user, const char *channel, int64_t *position) {
    const struct store *store = user;
    FILE *file = fopen(store->path, "r");
    /* Only without a file it is the first start; one that cannot be read must not look like that. */
    if (!file) return errno == ENOENT ? COMETD_NONE : COMETD_E_SYSTEM;
    char line[5000];
    cometd_status status = COMETD_NONE;
    while (fgets(line, sizeof line, file)) {
        char *name;
        long long number = strtoll(line, &name, 10);
        line[strcspn(line, "\n")] = 0;
        if (name != line && *name == ' ' && strcmp(name + 1, channel) == 0) {
            *position = number;
            status = COMETD_OK;
        }
    }
    if (ferror(file)) status = COMETD_E_SYSTEM;
    fclose(file);
    return status;
}

/* Copies the lines of the other channels. */
static void copy_others(FILE *from, FILE *to, const char *channel) {
    char line[5000];
    while (fgets(line, sizeof line, from)) {
        const char *name = strchr(line, ' ');
        size_t length = strcspn(line, "\n");
        if (name && (size_t)(line + length - name - 1) == strlen(channel) &&
            strncmp(name + 1, channel, strlen(channel)) == 0) continue;
        fputs(line, to);
    }
}

/* The new file takes the place of the old one at once or not at all. Here it is called
 * by the only thread that frees events; with several of them it needs a lock. */
static cometd_status save(void *user, const char *channel, int64_t position) {
    const struct store *store = user;
    char path[4096];
    if (snprintf(path, sizeof path, "%s.new", store->path) >= (int)sizeof path) return COMETD_E_SYSTEM;
    FILE *old = fopen(store->path, "r");
    int lost = !old && errno != ENOENT; /* the other channels' lines */
    FILE *file = lost ? NULL : fopen(path, "w");
    if (file && old) copy_others(old, file, channel);
    int failed = !file || fprintf(file, "%lld %s\n", (long long)position, channel) < 0 || fflush(file) != 0 ||
                 ferror(file) || fsync(fileno(file)) != 0;
    if (old) {
        failed |= ferror(old);
        fclose(old);
    }
    if (file && fclose(file) != 0) failed = 1;
    if (failed || rename(path, store->path) != 0) {
        perror("replay: saving a position");
        return COMETD_E_SYSTEM;
    }
    return COMETD_OK;
}

/* ---- the client ---- */

static int failed;

static void handle(const cometd_event *event) {
    const cometd_message *message = cometd_event_message(event);
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        printf("%s %s\n", cometd_message_channel(message, NULL), cometd_message_data(message, NULL));
        break;
    case COMETD_EVENT_SUBSCRIBED:
        fprintf(stderr, "subscribed %s\n", cometd_event_channel(event));
        break;
    case COMETD_EVENT_ERROR:
        fprintf(stderr, "error %s\n", cometd_error_message(error));
        /* With an id it is the end of our subscribe. Without one the library goes on by itself: also
         * when the server no longer has the events after our position, and all come that it has. */
        if (cometd_event_id(event) != 0 && !stopped) failed = stopped = 1;
        if (cometd_error_is_fatal(error)) failed = 1;
        break;
    }
}

static int run(cometd_client *client, const char *const *channels, size_t count) {
    cometd_error *error = NULL;
    cometd_status status = COMETD_OK;
    if (cometd_client_subscribe(client, channels, count, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) return report(error);
    for (int leaving = 0; status != COMETD_CLOSED;) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        if (status < 0) {
            fprintf(stderr, "replay: %s\n", cometd_status_text(status));
            return 1;
        }
        handle(event);
        cometd_event_free(event); /* done: the position is saved in here */
    }
    return failed;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: replay FILE URL CHANNEL...\n");
        return 2;
    }
    struct store store = {argv[1]};
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[2], &builder, &error) != COMETD_OK) return report(error);
    /* A channel of which the file knows nothing starts with all that the server still has. */
    cometd_client_builder_set_replay(builder, COMETD_REPLAY_ALL);
    cometd_client_builder_set_replay_store(builder, load, save, &store, NULL);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    status = run(client, (const char *const *)argv + 3, (size_t)(argc - 3));
    cometd_client_free(client);
    return status;
}
