/* How fast events are; see cometd_bench.1. */
#include "command.h"
#include "log.h"
#include "options.h"
#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "cometd_bench [OPTION]... URL CHANNEL...    counts and times events\n"
    " -c N                   clients that subscribe (1)\n"
    " -d S                   how long it measures, in seconds (10)\n"
    " --publish CHANNEL      one more client publishes there; the time from there to\n"
    "                        each subscriber is measured, of all on this machine\n"
    " --rate N               so many messages a second (10)\n"
    " --size N               bytes of each message's data (100)\n"
    " --csv                  a row a second, and one of all, with a header\n"
    " -u USER[:PASSWORD]     Basic; -n: the password is in ~/.netrc, or is typed\n"
    " --oauth-token-file F   a bearer token  --token-command C  which prints one\n"
    " --ext JSON|@FILE       handshake ext   -H 'NAME: VALUE'|@FILE  header\n"
    " --cacert F --cert F --key F    TLS     --insecure  any certificate will do\n"
    " -x URL  proxy          -w  by WebSocket where it is; --transport LIST\n"
    " -o NAME=VALUE          any option of the library; -o help lists them\n"
    " --config FILE          a long option a line, and url and channel\n"
    " --log journal          priorities on stderr\n"
    " -v, -vv more on stderr, requests and bodies    -q errors only    -V version\n"
    "Exit: 0 measured, 1 refused or failed, 2 usage, 4 no connection\n";

/* Latencies of 1 us to over an hour, in steps of a sixteenth of what they are. */
enum { STEPS = 16, BUCKETS = 33 * STEPS, START_LIMIT_MS = 120000 };

struct counts {
    unsigned long long events, timed, published, refused, errors, buckets[BUCKETS];
    int64_t least, most;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct counts second, all;
    size_t subscribed, wanted;
    bool is_measuring;
    int status;
} bench = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .status = -1};

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static size_t bucket_of(int64_t us) {
    size_t exponent = 0;
    int64_t rest = us;
    if (us < STEPS) return us < 0 ? 0 : (size_t)us;
    for (; rest >= 2 * STEPS; rest >>= 1) exponent++;
    size_t bucket = (exponent + 1) * STEPS + (size_t)(rest - STEPS);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The most that is in a bucket. */
static int64_t end_of(size_t bucket) {
    if (bucket < STEPS) return (int64_t)bucket;
    return ((int64_t)(STEPS + bucket % STEPS + 1) << (bucket / STEPS - 1)) - 1;
}

static int64_t percentile(const struct counts *counts, double part) {
    unsigned long long rank = (unsigned long long)((double)counts->timed * part), seen = 0;
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        if ((seen += counts->buckets[bucket]) > rank) return end_of(bucket) < counts->most ? end_of(bucket) : counts->most;
    return counts->most;
}

static void count_latency(struct counts *counts, int64_t us) {
    if (counts->timed == 0 || us < counts->least) counts->least = us;
    if (us > counts->most) counts->most = us;
    counts->timed++;
    counts->buckets[bucket_of(us)]++;
}

/* When a message of ours was published; -1 for another. */
static int64_t sent_at(const cometd_message *message) {
    const char *data = cometd_message_data(message, NULL), *begin = "{\"cometd_bench_us\":";
    if (!data || strncmp(data, begin, strlen(begin)) != 0) return -1;
    return (int64_t)strtoll(data + strlen(begin), NULL, 10);
}

static void fail(int status) {
    if (bench.status < 0) bench.status = status;
    pthread_cond_broadcast(&bench.changed);
}

static void on_event(void *user, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    const cometd_message *message = cometd_event_message(event);
    int64_t sent = message ? sent_at(message) : -1, now = sent < 0 ? 0 : now_us();
    (void)user;
    pthread_mutex_lock(&bench.lock);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        if (!bench.is_measuring) break;
        bench.second.events++;
        if (sent >= 0) count_latency(&bench.second, now - sent);
        break;
    case COMETD_EVENT_SUBSCRIBED:
        if (cometd_event_is_renewed(event)) break;
        bench.subscribed++;
        pthread_cond_broadcast(&bench.changed);
        break;
    case COMETD_EVENT_PUBLISHED: bench.second.published++; break;
    case COMETD_EVENT_ERROR:
        bench.second.errors++;
        if (bench.second.errors + bench.all.errors == 1 && !stopped) log_line(PRIORITY_ERROR, "%s", cometd_error_message(error));
        /* Before it has begun there is nothing to measure. */
        if (!bench.is_measuring && cometd_error_retry_in_ms(error) != 0) fail(status_of(error));
        break;
    }
    pthread_mutex_unlock(&bench.lock);
}

static void print_header(bool csv) {
    if (csv) puts("second,clients,published,refused,errors,events,events_per_second,min_ms,p50_ms,p90_ms,p99_ms,p99.9_ms,max_ms");
    else puts("second  published  events  events/s  min ms  p50  p90  p99  p99.9  max");
}

static void print_row(const char *name, const struct options *options, const struct counts *counts, double seconds) {
    double parts[] = {0.5, 0.9, 0.99, 0.999};
    double rate = seconds > 0 ? (double)counts->events / seconds : 0;
    if (options->csv) printf("%s,%ld,%llu,%llu,%llu,%llu,%.1f", name, options->clients, counts->published, counts->refused, counts->errors, counts->events, rate);
    else printf("%6s  %9llu  %6llu  %8.1f", name, counts->published, counts->events, rate);
    for (int column = 0; column < 6; column++) {
        int64_t us = column == 0 ? counts->least : column == 5 ? counts->most : percentile(counts, parts[column - 1]);
        if (counts->timed == 0) printf(options->csv ? "," : "  -");
        else printf(options->csv ? ",%.3f" : "  %.3f", (double)us / 1000);
    }
    puts("");
}

static void add(struct counts *to, const struct counts *counts) {
    if (counts->timed > 0 && (to->timed == 0 || counts->least < to->least)) to->least = counts->least;
    if (counts->most > to->most) to->most = counts->most;
    to->events += counts->events;
    to->timed += counts->timed;
    to->published += counts->published;
    to->refused += counts->refused;
    to->errors += counts->errors;
    for (size_t bucket = 0; bucket < BUCKETS; bucket++) to->buckets[bucket] += counts->buckets[bucket];
}

/* What has been counted since the last time. */
static struct counts take_second(void) {
    static const struct counts none;
    pthread_mutex_lock(&bench.lock);
    struct counts second = bench.second;
    bench.second = none;
    add(&bench.all, &second);
    pthread_mutex_unlock(&bench.lock);
    return second;
}

/* Each client has a connection that is held, and one more now and then. */
static void raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static cometd_client *start(const cometd_client_builder *builder, const struct options *options, bool subscribes) {
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    const char *const *channels = (const char *const *)options->arguments;
    if (cometd_client_builder_build(builder, &client, &error) == COMETD_OK &&
        cometd_client_set_callback(client, on_event, NULL, NULL) == COMETD_OK &&
        (!subscribes || cometd_client_subscribe(client, channels, options->argument_count, NULL, &error) == COMETD_OK) &&
        cometd_client_connect(client, &error) == COMETD_OK)
        return client;
    log_line(PRIORITY_ERROR, "%s", error ? cometd_error_message(error) : "a client could not be started");
    cometd_error_free(error);
    cometd_client_free(client);
    return NULL;
}

/* Waits for it, for as long as no signal comes. */
static bool await(bool (*is_there)(cometd_client *), cometd_client *client, const char *what) {
    int64_t end = now_us() + (int64_t)START_LIMIT_MS * 1000;
    bool is_good = false;
    pthread_mutex_lock(&bench.lock);
    while (bench.status < 0 && !stopped && !(is_good = is_there(client))) {
        if (now_us() >= end) {
            log_line(PRIORITY_ERROR, "%zu of %zu subscriptions are there, %s", bench.subscribed, bench.wanted, what);
            fail(EXIT_NO_CONNECTION);
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&bench.changed, &bench.lock, &until);
    }
    if (stopped && bench.status < 0) log_line(PRIORITY_ERROR, "ended by a signal: %zu of %zu subscriptions are there", bench.subscribed, bench.wanted);
    pthread_mutex_unlock(&bench.lock);
    return is_good;
}

static bool are_subscribed(cometd_client *client) {
    (void)client;
    return bench.subscribed >= bench.wanted;
}

static bool is_connected(cometd_client *client) { return !client || cometd_client_state(client) == COMETD_STATE_CONNECTED; }

/* One message. What the client has no room for is not sent later: it would say that it was sent now. */
static void publish(cometd_client *publisher, const struct options *options, char *data) {
    int length = snprintf(data, 64, "{\"cometd_bench_us\":%" PRId64 ",\"x\":\"", now_us());
    size_t size = (size_t)options->size > (size_t)length + 2 ? (size_t)options->size : (size_t)length + 2;
    memset(data + length, 'x', size - (size_t)length - 2);
    memcpy(data + size - 2, "\"}", 3);
    cometd_error *error = NULL;
    cometd_status status = cometd_client_publish(publisher, options->publish, data, size, NULL, &error);
    if (status == COMETD_OK) return;
    pthread_mutex_lock(&bench.lock);
    bench.second.refused++;
    /* None will be any better. */
    if (status != COMETD_E_FULL && !stopped) {
        log_line(PRIORITY_ERROR, "%s", cometd_error_message(error));
        fail(status == COMETD_E_CLOSED ? EXIT_FAILED : EXIT_USAGE);
        stopped = 1;
    }
    pthread_mutex_unlock(&bench.lock);
    cometd_error_free(error);
}

static void measure(const struct options *options, cometd_client *publisher) {
    char *data = malloc((size_t)options->size + 128);
    int64_t start = now_us(), end = start + (int64_t)options->seconds * 1000000, printed = start;
    double sent = 0;
    long second = 0;
    while (!stopped && data) {
        int64_t now = now_us();
        for (; publisher && now < end && !stopped && sent < (double)(now - start) / 1e6 * options->rate; sent++) publish(publisher, options, data);
        if (now - printed >= 1000000 || now >= end) {
            struct counts counts = take_second();
            char name[24];
            snprintf(name, sizeof name, "%ld", ++second);
            print_row(name, options, &counts, (double)(now - printed) / 1e6);
            if (fflush(stdout) != 0) break;
            printed = now;
        }
        if (now >= end) break;
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    free(data);
    double seconds = (double)(now_us() - start) / 1e6;
    /* What is still under way counts as well. */
    if (publisher && !stopped) cometd_client_flush(publisher, 3000, NULL);
    take_second();
    print_row("all", options, &bench.all, seconds);
}

int main(int argc, char **argv) {
    struct options options;
    options_read(&options, TOOL_BENCH, argc, argv, help);
    if (options.argument_count == 0) options_wrong(&options, "there is no channel");
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    raise_descriptors();
    cometd_client_builder *builder = options_builder(&options);
    size_t clients = (size_t)options.clients, started = 0;
    cometd_client **all = calloc(clients + 1, sizeof *all), *publisher = NULL;
    bench.wanted = clients * options.argument_count;
    bool is_good = all != NULL;
    for (; is_good && started < clients && !stopped; started++) is_good = (all[started] = start(builder, &options, true)) != NULL;
    if (is_good && options.publish) is_good = (publisher = start(builder, &options, false)) != NULL;
    if (!is_good) fail(EXIT_FAILED);
    cometd_client_builder_free(builder);
    if (is_good && await(are_subscribed, NULL, "and no more come") && await(is_connected, publisher, "the publisher is not connected")) {
        pthread_mutex_lock(&bench.lock);
        bench.is_measuring = true;
        pthread_mutex_unlock(&bench.lock);
        print_header(options.csv);
        measure(&options, publisher);
        if (bench.status < 0) bench.status = output_is_written() ? EXIT_AS_ASKED : EXIT_FAILED;
    }
    stopped = 1;
    /* All at once, and each as it can. */
    if (publisher) cometd_client_disconnect(publisher, 0, NULL);
    for (size_t at = 0; at < started; at++)
        if (all[at]) cometd_client_disconnect(all[at], 0, NULL);
    for (size_t at = 0; at < started; at++)
        if (all[at]) cometd_client_wait(all[at], COMETD_STATE_CLOSED, 3000);
    cometd_client_free(publisher);
    for (size_t at = 0; at < started; at++) cometd_client_free(all[at]);
    commands_end();
    free(all);
    options_free(&options);
    log_close();
    return bench.status < 0 ? EXIT_FAILED : bench.status;
}
