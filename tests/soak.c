/*
 * Many clients in one process, for as long as one likes:
 *
 *   soak URL CONTROLPORT SERVER SECONDS [SEED]
 *
 * The server is one of tests/servers, or the bundled demo server. Readers live
 * all the time; they cover the overflow policies, the ways of reading and, by
 * halves, both transports. Each
 * gets numbered floods, publishes, and subscribes and unsubscribes, while other
 * clients come and go, and the server fails, forgets its sessions and restarts.
 *
 * Every number of a flood has to arrive once and in order, or to be counted as
 * dropped where it is missing. Only what was published while a session was being
 * lost on purpose may be missing beyond that; how much it was is told. Prints the
 * sums after a warm-up and at the end, and a line for each check; exits with 1 at
 * the first one that does not hold. tests/soak builds and runs it.
 */
#include <cometd/cometd.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    /* Every wait ends by what it waits for; this only ends a failed run. */
    LIMIT_MS = 120000,
    /* Operations of one client that wait for their outcome. */
    OPERATIONS = 512,
    /* Losses are this far apart: a client makes at most 12 handshakes a minute. */
    LOSS_EVERY_MS = 6000,
    CHURNERS = 2,
    /* The library's threads for callbacks; more of them, that stand in for blocked ones, go when idle. */
    CALLBACK_THREADS = 4,
    /* What the allocator keeps differs by up to 2 MiB from one moment to another. */
    RSS_GROWTH_KIB = 8192
};

static const char *url, *server;
static int control_port;
/* CometD puts events into the reply to a publish as well as into the reply to the connect that is held at the same
 * time; which of the two a client reads first is chance. There, who is to see an order does not publish. */
static bool events_come_with_replies;

/* ---- failing ---- */

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void fail(int line, const char *format, ...) {
    va_list arguments;
    /* Never unlocked: the first failure is the only one. */
    pthread_mutex_lock(&output);
    printf("FAILED %s: ", server);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf(" (soak.c:%d)\n", line);
    fflush(stdout);
    /* The other threads still run. */
    _exit(1);
}

#define FAIL(...) fail(__LINE__, __VA_ARGS__)
#define CHECK(condition) ((condition) ? (void)0 : FAIL("not so: %s", #condition))
#define OK(call) check_ok(__LINE__, #call, (call))

static void check_ok(int line, const char *what, cometd_status status) {
    if (status != COMETD_OK)
        fail(line, "%s: %s", what, cometd_status_name(status));
}

static void say(const char *format, ...) {
    va_list arguments;
    pthread_mutex_lock(&output);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

/* What the library says on this level went wrong inside it. */
static void library_error(void *user, int32_t level, const char *target, const char *text) {
    (void)user;
    (void)level;
    FAIL("the library says: %s: %s", target, text);
}

/* ---- time and chance ---- */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Paces the load; never waits for something. */
static void pause_us(long us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

static unsigned chance(uint64_t *seed, unsigned below) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed >> 33) % below;
}

/* ---- the server's control interface ---- */

/* Whether it did so; the answer's body or all that came goes to `answer`. */
static bool try_control(char *answer, size_t capacity, const char *path) {
    char request[512];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)control_port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        FAIL("no control interface at port %d: %s", control_port, strerror(errno));
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);
    CHECK(send(fd, request, (size_t)length, MSG_NOSIGNAL) == length);
    size_t size = 0;
    while (size < capacity - 1) {
        ssize_t got = read(fd, answer + size, capacity - 1 - size);
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    close(fd);
    answer[size] = '\0';
    return strncmp(answer, "HTTP/1.1 200", 12) == 0;
}

static void control(const char *path) {
    char answer[1024];
    if (!try_control(answer, sizeof answer, path))
        FAIL("control %s: %.200s", path, answer);
}

/* ---- clients ---- */

enum way { BY_POLL, BY_POLL_MANY, BY_CALLBACK, BY_FD, WAYS };

struct peer;

/* One queue of events and what came out of it. */
struct stream {
    struct peer *peer;
    cometd_receiver *receiver; /* NULL: the client's own. */
    enum way way;
    long slow_us; /* For each event. */
    pthread_t thread;

    /* Numbers of floods: the next one, and how many were dropped since the last one. */
    uint64_t next, dropped_here;
    uint64_t received, dropped, lost;
    /* Between a provoked loss and the first number from `strict_from` on. */
    bool losing;
    uint64_t strict_from;

    /* Numbers of a client that comes and goes. */
    uint64_t seen;

    uint64_t rehandshakes, errors;
    unsigned closed;
    bool callback_freed;

    struct {
        uint64_t id;
        unsigned left;
    } operations[OPERATIONS];
    size_t open;
    uint64_t ended, refused;
    uint64_t subscribed, renewed, published;
};

struct peer {
    char name[64];
    bool is_reader;
    bool gets_floods;
    bool own_receiver;
    cometd_client *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct stream streams[2];
    size_t stream_count;
    uint64_t rehandshakes_before, renewed_before;
};

static void end_operation(struct stream *stream, const cometd_event *event) {
    uint64_t id = cometd_event_id(event);
    for (size_t i = 0; i < stream->open; i++)
        if (stream->operations[i].id == id) {
            if (--stream->operations[i].left == 0)
                stream->operations[i] = stream->operations[--stream->open];
            stream->ended++;
            return;
        }
    FAIL("%s: event %" PRId32 " ends operation %" PRIu64 " on %s, which has ended or was never begun",
         stream->peer->name, cometd_event_type(event), id, cometd_event_channel(event));
}

/* The n of {"n":…,"pad":…}. */
static uint64_t number_of(const cometd_message *message) {
    const char *data = cometd_message_data(message, NULL);
    const char *n = strstr(data, "\"n\":");
    if (n == NULL)
        FAIL("no n in %.100s", data);
    return strtoull(n + 4, NULL, 10);
}

/* Floods go to "/flood/FIRST/SIZE": what is published there as n has the number FIRST + n. */
static void see_number(struct stream *stream, const cometd_message *message) {
    const char *name = stream->peer->name, *channel = cometd_message_channel(message, NULL);
    uint64_t first;
    unsigned size;
    if (sscanf(channel, "/flood/%" SCNu64 "/%u", &first, &size) != 2)
        FAIL("%s: a message on %s", name, channel);
    uint64_t n = number_of(message), number = first + n;

    char head[64];
    size_t length, expected = (size_t)snprintf(head, sizeof head, "{\"n\":%" PRIu64 ",\"pad\":\"\"}", n) + size;
    cometd_message_data(message, &length);
    if (length != expected)
        FAIL("%s: number %" PRIu64 " has %zu bytes instead of %zu", name, number, length, expected);

    if (number < stream->next)
        FAIL("%s: number %" PRIu64 " came again, or late: %" PRIu64 " is next", name, number, stream->next);
    uint64_t missing = number - stream->next;
    if (stream->losing ? stream->dropped_here > missing : stream->dropped_here != missing)
        FAIL("%s: %" PRIu64 " numbers are missing before %" PRIu64 ", but %" PRIu64 " were counted as dropped%s", name,
             missing, number, stream->dropped_here, stream->losing ? " while the session was being lost" : "");
    stream->lost += missing - stream->dropped_here;
    stream->dropped_here = 0;
    stream->next = number + 1;
    stream->received++;
    if (number >= stream->strict_from)
        stream->losing = false;
}

static void see_churn(struct stream *stream, const cometd_message *message) {
    uint64_t number = number_of(message), mark = (uint64_t)1 << number;
    CHECK(number < 64);
    if (stream->seen & mark)
        FAIL("%s: message %" PRIu64 " came twice", stream->peer->name, number);
    if (stream->seen > mark && !events_come_with_replies)
        FAIL("%s: message %" PRIu64 " came late", stream->peer->name, number);
    stream->seen |= mark;
    stream->received++;
}

static void see(struct stream *stream, const cometd_event *event) {
    struct peer *peer = stream->peer;
    pthread_mutex_lock(&peer->lock);
    if (stream->closed > 0)
        FAIL("%s: event %" PRId32 " came after CLOSED", peer->name, cometd_event_type(event));
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_MESSAGE:
        if (peer->is_reader)
            see_number(stream, cometd_event_message(event));
        else
            see_churn(stream, cometd_event_message(event));
        break;
    case COMETD_EVENT_STATE:
        if (cometd_event_state(event, NULL) == COMETD_STATE_REHANDSHAKING) {
            stream->rehandshakes++;
            if (peer->is_reader && !stream->losing)
                FAIL("%s: the session was lost, which nobody had provoked", peer->name);
        }
        break;
    case COMETD_EVENT_SUBSCRIBED:
        if (cometd_event_is_renewed(event)) {
            stream->renewed++;
            break;
        }
        stream->subscribed++;
        end_operation(stream, event);
        break;
    case COMETD_EVENT_PUBLISHED:
        stream->published++;
        end_operation(stream, event);
        break;
    case COMETD_EVENT_UNSUBSCRIBED:
        end_operation(stream, event);
        break;
    case COMETD_EVENT_ERROR:
        if (cometd_error_is_fatal(cometd_event_error(event)))
            FAIL("%s: %s", peer->name, cometd_error_message(cometd_event_error(event)));
        if (cometd_event_id(event) != 0) {
            stream->refused++;
            end_operation(stream, event);
        } else {
            stream->errors++;
            if (cometd_event_channel(event) != NULL && !strncmp(cometd_event_channel(event), "/flood", 6))
                FAIL("%s: not subscribed again: %s", peer->name, cometd_error_message(cometd_event_error(event)));
        }
        break;
    case COMETD_EVENT_DROPPED:
        CHECK(cometd_event_dropped(event) > 0);
        stream->dropped_here += cometd_event_dropped(event);
        stream->dropped += cometd_event_dropped(event);
        break;
    case COMETD_EVENT_CLOSED:
        stream->closed++;
        if (stream->open > 0)
            FAIL("%s: CLOSED came, and %zu operations have not ended; the first is %" PRIu64, peer->name, stream->open,
                 stream->operations[0].id);
        break;
    }
    pthread_cond_broadcast(&peer->changed);
    pthread_mutex_unlock(&peer->lock);
    if (stream->slow_us > 0)
        pause_us(stream->slow_us);
}

static void see_by_callback(void *user, const cometd_event *event) { see(user, event); }

static void callback_is_freed(void *user) {
    struct stream *stream = user;
    pthread_mutex_lock(&stream->peer->lock);
    if (stream->callback_freed)
        FAIL("%s: the callback was freed twice", stream->peer->name);
    stream->callback_freed = true;
    pthread_cond_broadcast(&stream->peer->changed);
    pthread_mutex_unlock(&stream->peer->lock);
}

static cometd_status poll_stream(struct stream *stream, int32_t timeout_ms, cometd_event **event) {
    return stream->receiver != NULL ? cometd_receiver_poll(stream->receiver, timeout_ms, event)
                                    : cometd_client_poll(stream->peer->client, timeout_ms, event);
}

/* Takes what is there, or waits for something; false when nothing comes any more. */
static bool read_stream(struct stream *stream, int32_t timeout_ms) {
    cometd_event *events[64];
    cometd_status status = COMETD_NONE;
    size_t count = 0;
    if (stream->way == BY_POLL_MANY) {
        count = stream->receiver != NULL
                    ? cometd_receiver_poll_many(stream->receiver, timeout_ms, events, 64)
                    : cometd_client_poll_many(stream->peer->client, timeout_ms, events, 64);
        for (size_t i = 0; i < count; i++) {
            see(stream, events[i]);
            cometd_event_free(events[i]);
        }
        if (count > 0)
            return true;
        timeout_ms = 0;
    } else if (stream->way == BY_FD) {
        struct pollfd readable = {.events = POLLIN};
        readable.fd = stream->receiver != NULL ? cometd_receiver_fd(stream->receiver)
                                               : cometd_client_fd(stream->peer->client);
        CHECK(readable.fd >= 0);
        /* CLOSED, once taken, makes nothing readable. */
        bool is_readable = poll(&readable, 1, stream->closed > 0 ? 0 : timeout_ms) == 1;
        if (is_readable && stream->closed == 0) {
            /* Nobody else reads here: it is readable exactly while there is an event to take. */
            if ((status = poll_stream(stream, 0, &events[0])) != COMETD_OK)
                FAIL("%s: the descriptor is readable, but poll says %s", stream->peer->name,
                     cometd_status_name(status));
            see(stream, events[0]);
            cometd_event_free(events[0]);
            return true;
        }
        timeout_ms = 0;
    }
    status = poll_stream(stream, timeout_ms, &events[0]);
    if (status == COMETD_OK) {
        see(stream, events[0]);
        cometd_event_free(events[0]);
        return true;
    }
    if (status == COMETD_CLOSED) {
        if (stream->closed != 1)
            FAIL("%s: nothing more comes, and CLOSED came %u times", stream->peer->name, stream->closed);
        return false;
    }
    if (status != COMETD_NONE)
        FAIL("%s: poll: %s", stream->peer->name, cometd_status_name(status));
    return true;
}

static void *reader_thread(void *user) {
    while (read_stream(user, 1000))
        continue;
    return NULL;
}

static void timeout_at(struct timespec *limit, int64_t end_ms) {
    clock_gettime(CLOCK_REALTIME, limit);
    int64_t left = end_ms - now_ms();
    if (left < 0)
        left = 0;
    limit->tv_sec += left / 1000;
    limit->tv_nsec += left % 1000 * 1000000;
    if (limit->tv_nsec >= 1000000000) {
        limit->tv_sec++;
        limit->tv_nsec -= 1000000000;
    }
}

typedef bool condition(const struct stream *stream, uint64_t number);

/* Waits for all streams of a peer whose events come by threads. */
static bool wait_until(struct peer *peer, condition *holds, uint64_t number, int64_t end_ms) {
    pthread_mutex_lock(&peer->lock);
    bool all;
    for (;;) {
        all = true;
        for (size_t i = 0; i < peer->stream_count; i++)
            all = all && holds(&peer->streams[i], number);
        if (all)
            break;
        struct timespec limit;
        timeout_at(&limit, end_ms);
        if (now_ms() >= end_ms)
            break;
        pthread_cond_timedwait(&peer->changed, &peer->lock, &limit);
    }
    pthread_mutex_unlock(&peer->lock);
    return all;
}

static bool is_accounted(const struct stream *stream, uint64_t total) {
    return !stream->peer->gets_floods || (!stream->losing && stream->next + stream->dropped_here >= total);
}
static bool is_strict(const struct stream *stream, uint64_t unused) {
    (void)unused;
    return !stream->peer->gets_floods || !stream->losing;
}
static bool has_lost_session(const struct stream *stream, uint64_t before) { return stream->rehandshakes > before; }
static bool has_renewed(const struct stream *stream, uint64_t before) {
    return !stream->peer->gets_floods || stream->renewed > before;
}
static bool has_ended_operations(const struct stream *stream, uint64_t unused) {
    (void)unused;
    return stream->open == 0;
}
static bool is_closed(const struct stream *stream, uint64_t unused) {
    (void)unused;
    return stream->closed > 0;
}
static bool is_freed(const struct stream *stream, uint64_t unused) {
    (void)unused;
    return stream->way != BY_CALLBACK || stream->callback_freed;
}

static void describe(const struct peer *peer, char *text, size_t capacity) {
    size_t length = (size_t)snprintf(text, capacity, "state %s", cometd_state_name(cometd_client_state(peer->client)));
    for (size_t i = 0; i < peer->stream_count && length < capacity; i++) {
        const struct stream *s = &peer->streams[i];
        length += (size_t)snprintf(text + length, capacity - length,
                                   "; at number %" PRIu64 ", %" PRIu64 " dropped since, %zu operations open, %" PRIu64
                                   " rehandshakes, %" PRIu64 " errors",
                                   s->next, s->dropped_here, s->open, s->rehandshakes, s->errors);
    }
}

#define WAIT(peer, holds, number, what) must_wait(__LINE__, peer, holds, number, what)

static void must_wait(int line, struct peer *peer, condition *holds, uint64_t number, const char *what) {
    if (!wait_until(peer, holds, number, now_ms() + LIMIT_MS)) {
        char text[1024];
        describe(peer, text, sizeof text);
        fail(line, "%s: %s did not come to pass in %d s, number %" PRIu64 ": %s", peer->name, what, LIMIT_MS / 1000,
             number, text);
    }
}

/* ---- making them ---- */

struct kind {
    const char *name;
    int32_t overflow;
    size_t events, bytes; /* 0: the default. */
    enum way way;
    long slow_us;
    bool acknowledgement;
    bool two_receivers; /* Of cometd_receiver_new, the second one with a callback. */
    bool without_floods;
    bool extended; /* Every message goes through an extension, both ways. */
};

static atomic_int extensions;

/* Puts each message in the place of itself. */
static cometd_status pass_on(void *user, cometd_extension_message *message) {
    size_t length;
    const char *json = cometd_extension_message_json(message, &length);
    (void)user;
    return cometd_extension_message_replace(message, json, length);
}

static void extension_is_freed(void *user) {
    (void)user;
    extensions--;
}

static void build(struct peer *peer, const struct kind *kind, bool websocket) {
    static const int32_t transports[] = {COMETD_TRANSPORT_WEBSOCKET, COMETD_TRANSPORT_LONG_POLLING};
    cometd_client_builder *builder;
    OK(cometd_client_builder_new(url, &builder, NULL));
    if (websocket)
        OK(cometd_client_builder_set_transports(builder, transports, 2));
    OK(cometd_client_builder_set_overflow(builder, kind->overflow));
    if (kind->events > 0)
        OK(cometd_client_builder_set_events_capacity(builder, kind->events, kind->bytes));
    OK(cometd_client_builder_set_backoff_ms(builder, 100, 1000));
    /* Nothing here is to fail by a slow machine. */
    OK(cometd_client_builder_set_request_timeout_ms(builder, 60000));
    OK(cometd_client_builder_set_acknowledgement(builder, kind->acknowledgement));
    OK(cometd_client_builder_set_own_receiver(builder, !kind->two_receivers));
    if (kind->extended) {
        extensions++;
        OK(cometd_client_builder_add_extension(builder, pass_on, pass_on, NULL, extension_is_freed));
    }
    OK(cometd_client_builder_build(builder, &peer->client, NULL));
    cometd_client_builder_free(builder);

    pthread_mutex_init(&peer->lock, NULL);
    pthread_cond_init(&peer->changed, NULL);
    peer->own_receiver = !kind->two_receivers;
    peer->stream_count = kind->two_receivers ? 2 : 1;
    for (size_t i = 0; i < peer->stream_count; i++) {
        struct stream *stream = &peer->streams[i];
        stream->peer = peer;
        stream->slow_us = kind->slow_us;
        stream->way = i == 0 ? kind->way : BY_CALLBACK;
        if (kind->two_receivers)
            OK(cometd_receiver_new(peer->client, &stream->receiver));
        if (stream->way == BY_CALLBACK)
            OK(stream->receiver != NULL
                   ? cometd_receiver_set_callback(stream->receiver, see_by_callback, stream, callback_is_freed)
                   : cometd_client_set_callback(peer->client, see_by_callback, stream, callback_is_freed));
    }
}

/* ---- operations ---- */

enum operation { SUBSCRIBE, UNSUBSCRIBE, PUBLISH, PUBLISH_WITH_RETRIES };

/* False when the client has too many that wait. */
static bool operate(struct peer *peer, enum operation operation, const char *const *channels, unsigned count,
                    const char *json) {
    uint64_t id = 0;
    cometd_status status;
    /* Locked around the call: its event waits until the id is noted. */
    pthread_mutex_lock(&peer->lock);
    bool full = false;
    for (size_t i = 0; i < peer->stream_count; i++)
        full = full || peer->streams[i].open == OPERATIONS;
    if (!full) {
        if (operation == PUBLISH)
            status = cometd_client_publish(peer->client, channels[0], json, strlen(json), &id, NULL);
        else if (operation == PUBLISH_WITH_RETRIES)
            status = cometd_client_publish_with_retries(peer->client, channels[0], json, strlen(json), LIMIT_MS / 4, 5,
                                                        &id, NULL);
        else if (operation == SUBSCRIBE)
            status = cometd_client_subscribe(peer->client, channels, count, &id, NULL);
        else
            status = cometd_client_unsubscribe(peer->client, channels, count, &id, NULL);
        if (status != COMETD_OK)
            FAIL("%s: operation %d on %s: %s", peer->name, operation, channels[0], cometd_status_name(status));
        CHECK(id != 0);
        for (size_t i = 0; i < peer->stream_count; i++) {
            struct stream *stream = &peer->streams[i];
            stream->operations[stream->open].id = id;
            stream->operations[stream->open++].left = count;
        }
    }
    pthread_mutex_unlock(&peer->lock);
    return !full;
}

/* ---- statistics ---- */

/* The sum of all numbers of this key. */
static uint64_t sum_of(const char *json, const char *key) {
    char quoted[64];
    uint64_t sum = 0;
    int length = snprintf(quoted, sizeof quoted, "\"%s\":", key);
    while ((json = strstr(json, quoted)) != NULL)
        sum += strtoull(json += length, NULL, 10);
    return sum;
}

static void statistics_of(cometd_client *client, char *text, size_t capacity) {
    OK(cometd_client_statistics(client, text, capacity, NULL));
}

/* ---- readers ---- */

#define FEW_EVENTS .events = 100, .bytes = 1 << 20
#define FEW_BYTES .events = 10000, .bytes = 20000
#define SLOW 1000

static const struct kind kinds[] = {
    {.name = "poll, block", .overflow = COMETD_OVERFLOW_BLOCK, .way = BY_POLL},
    {.name = "callback, block", .overflow = COMETD_OVERFLOW_BLOCK, .way = BY_CALLBACK},
    {.name = "poll_many, block, few events", .overflow = COMETD_OVERFLOW_BLOCK, FEW_EVENTS, .way = BY_POLL_MANY},
    {.name = "fd, block, few bytes", .overflow = COMETD_OVERFLOW_BLOCK, FEW_BYTES, .way = BY_FD},
    {.name = "fd, block, acknowledging", .overflow = COMETD_OVERFLOW_BLOCK, .way = BY_FD, .acknowledgement = true},
    {.name = "slow poll, block", .overflow = COMETD_OVERFLOW_BLOCK, FEW_EVENTS, .way = BY_POLL, .slow_us = SLOW},
    {.name = "slow poll, drop oldest", .overflow = COMETD_OVERFLOW_DROP_OLDEST, FEW_EVENTS, .way = BY_POLL,
     .slow_us = SLOW},
    {.name = "slow fd, drop oldest, acknowledging", .overflow = COMETD_OVERFLOW_DROP_OLDEST, FEW_EVENTS, .way = BY_FD,
     .slow_us = SLOW, .acknowledgement = true},
    {.name = "callback, drop oldest, few bytes", .overflow = COMETD_OVERFLOW_DROP_OLDEST, FEW_BYTES,
     .way = BY_CALLBACK},
    {.name = "slow poll_many, drop newest", .overflow = COMETD_OVERFLOW_DROP_NEWEST, FEW_EVENTS, .way = BY_POLL_MANY,
     .slow_us = SLOW},
    {.name = "slow callback, drop newest", .overflow = COMETD_OVERFLOW_DROP_NEWEST, FEW_EVENTS, .way = BY_CALLBACK,
     .slow_us = SLOW},
    {.name = "fd, drop newest, few bytes", .overflow = COMETD_OVERFLOW_DROP_NEWEST, FEW_BYTES, .way = BY_FD},
    {.name = "poll, block, extended", .overflow = COMETD_OVERFLOW_BLOCK, .way = BY_POLL, .extended = true},
    {.name = "two receivers, block", .overflow = COMETD_OVERFLOW_BLOCK, FEW_EVENTS, .way = BY_POLL_MANY,
     .two_receivers = true},
    {.name = "two receivers, slow, drop oldest", .overflow = COMETD_OVERFLOW_DROP_OLDEST, FEW_EVENTS, .way = BY_POLL,
     .slow_us = SLOW, .two_receivers = true},
    {.name = "without floods, poll, block", .overflow = COMETD_OVERFLOW_BLOCK, .way = BY_POLL, .without_floods = true},
    {.name = "without floods, callback, drop newest", .overflow = COMETD_OVERFLOW_DROP_NEWEST, .way = BY_CALLBACK,
     .without_floods = true},
};

enum { READERS = sizeof kinds / sizeof *kinds };

static struct peer readers[READERS];

/* Every other one by WebSocket, in another run the others. */
static void start_readers(uint64_t seed) {
    static const char *const floods[] = {"/flood/**"}, *const none[] = {"/none"};
    for (size_t r = 0; r < READERS; r++) {
        struct peer *peer = &readers[r];
        bool websocket = (r + seed) % 2 == 0;
        snprintf(peer->name, sizeof peer->name, "%s%s", kinds[r].name, websocket ? ", by WebSocket" : "");
        peer->is_reader = true;
        peer->gets_floods = !kinds[r].without_floods;
        build(peer, &kinds[r], websocket);
        for (size_t i = 0; i < peer->stream_count; i++)
            if (peer->streams[i].way != BY_CALLBACK)
                CHECK(pthread_create(&peer->streams[i].thread, NULL, reader_thread, &peer->streams[i]) == 0);
        OK(cometd_client_connect(peer->client, NULL));
        CHECK(operate(peer, SUBSCRIBE, peer->gets_floods ? floods : none, 1, NULL));
    }
    for (size_t r = 0; r < READERS; r++) {
        WAIT(&readers[r], has_ended_operations, 0, "the subscription");
        CHECK(readers[r].streams[0].subscribed == 1);
    }
}

static void for_all_readers_wait(condition *holds, uint64_t number, const char *what) {
    for (size_t r = 0; r < READERS; r++)
        WAIT(&readers[r], holds, number, what);
}

/* ---- workers that can be made to rest ---- */

static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_changed = PTHREAD_COND_INITIALIZER;
static enum { WORK, REST, END } order = WORK;
static unsigned at_rest;

/* Called by each worker between two pieces of work; false at the end. */
static bool may_work(void) {
    pthread_mutex_lock(&work_lock);
    if (order == REST) {
        at_rest++;
        pthread_cond_broadcast(&work_changed);
        while (order == REST)
            pthread_cond_wait(&work_changed, &work_lock);
        at_rest--;
    }
    bool may = order != END;
    pthread_mutex_unlock(&work_lock);
    return may;
}

static void rest(unsigned workers) {
    struct timespec limit;
    timeout_at(&limit, now_ms() + 2 * LIMIT_MS);
    pthread_mutex_lock(&work_lock);
    order = REST;
    while (at_rest < workers)
        if (pthread_cond_timedwait(&work_changed, &work_lock, &limit) != 0)
            FAIL("a client that comes and goes neither got on nor ended in %d s", 2 * LIMIT_MS / 1000);
    pthread_mutex_unlock(&work_lock);
}

static void go_on(bool to_the_end) {
    pthread_mutex_lock(&work_lock);
    order = to_the_end ? END : WORK;
    pthread_cond_broadcast(&work_changed);
    pthread_mutex_unlock(&work_lock);
}

/* Publishes, subscribes and unsubscribes by the readers' clients, where nobody publishes floods. */
static void *operator_thread(void *user) {
    uint64_t seed = *(uint64_t *)user;
    bool subscribed[READERS] = {false};
    while (may_work()) {
        unsigned r = chance(&seed, READERS);
        if (events_come_with_replies && readers[r].gets_floods)
            continue;
        char channel[64];
        const char *channels[] = {channel};
        if (chance(&seed, 4) > 0) {
            snprintf(channel, sizeof channel, "/out/%u", r);
            operate(&readers[r], chance(&seed, 3) == 0 ? PUBLISH_WITH_RETRIES : PUBLISH, channels, 1, "{\"n\":1}");
        } else {
            snprintf(channel, sizeof channel, "/side/%u", r);
            if (operate(&readers[r], subscribed[r] ? UNSUBSCRIBE : SUBSCRIBE, channels, 1, NULL))
                subscribed[r] = !subscribed[r];
        }
        pause_us(4000);
    }
    return NULL;
}

/* ---- clients that come and go ---- */

static struct {
    pthread_mutex_t lock;
    uint64_t clients, handshakes, operations, refused, messages;
} gone = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Reads the streams of a client that comes and goes until all that is asked for holds. */
static void read_until(int line, struct peer *peer, bool (*holds)(const struct peer *), const char *what) {
    int64_t end = now_ms() + LIMIT_MS;
    for (;;) {
        pthread_mutex_lock(&peer->lock);
        bool done = holds(peer);
        if (!done && now_ms() >= end) {
            char text[1024] = "freed";
            if (peer->client != NULL)
                describe(peer, text, sizeof text);
            fail(line, "%s: %s did not come to pass in %d s: %s", peer->name, what, LIMIT_MS / 1000, text);
        }
        bool by_callback = true;
        for (size_t i = 0; i < peer->stream_count; i++)
            by_callback = by_callback && peer->streams[i].way == BY_CALLBACK;
        if (!done && by_callback) {
            struct timespec limit;
            timeout_at(&limit, end);
            pthread_cond_timedwait(&peer->changed, &peer->lock, &limit);
        }
        pthread_mutex_unlock(&peer->lock);
        if (done)
            return;
        if (!by_callback)
            for (size_t i = 0; i < peer->stream_count; i++)
                if (peer->streams[i].way != BY_CALLBACK)
                    read_stream(&peer->streams[i], 20);
    }
}

#define READ_UNTIL(peer, holds, what) read_until(__LINE__, peer, holds, what)

static bool churn_operations_ended(const struct peer *peer) {
    for (size_t i = 0; i < peer->stream_count; i++)
        if (peer->streams[i].open > 0)
            return false;
    return true;
}
static bool churn_messages_came(const struct peer *peer) {
    for (size_t i = 0; i < peer->stream_count; i++) {
        const struct stream *stream = &peer->streams[i];
        if (stream->received + stream->dropped < stream->published && stream->rehandshakes == 0)
            return false;
    }
    return true;
}
static bool churn_closed(const struct peer *peer) {
    for (size_t i = 0; i < peer->stream_count; i++)
        if (!is_closed(&peer->streams[i], 0))
            return false;
    return true;
}
static bool churn_freed(const struct peer *peer) {
    for (size_t i = 0; i < peer->stream_count; i++)
        if (!is_freed(&peer->streams[i], 0))
            return false;
    return true;
}

static void come_and_go(uint64_t *seed, unsigned number) {
    static const int32_t overflows[] = {COMETD_OVERFLOW_BLOCK, COMETD_OVERFLOW_DROP_OLDEST,
                                        COMETD_OVERFLOW_DROP_NEWEST};
    struct kind kind = {.name = "", .overflow = overflows[chance(seed, 3)], .bytes = 1 << 20};
    kind.events = 1 + chance(seed, 30);
    kind.way = (enum way)chance(seed, WAYS);
    kind.acknowledgement = chance(seed, 3) == 0;
    kind.two_receivers = chance(seed, 3) == 0;
    kind.extended = chance(seed, 8) == 0;
    struct peer *peer = calloc(1, sizeof *peer);
    CHECK(peer != NULL);
    snprintf(peer->name, sizeof peer->name, "client %u that comes and goes", number);
    build(peer, &kind, chance(seed, 2) == 0);

    char one[64], two[64];
    snprintf(one, sizeof one, "/churn/%u/one", number);
    snprintf(two, sizeof two, "/churn/%u/two", number);
    const char *both[] = {one, two};
    const char *const *second = both + 1;
    /* 0: freed before it was connected. 1: freed on the way. 2: freed with operations open.
     * 3: disconnected with operations open. Others: all is awaited. */
    unsigned fate = chance(seed, 12);
    if (fate > 0)
        OK(cometd_client_connect(peer->client, NULL));
    if (fate > 0 && fate != 1) {
        CHECK(operate(peer, SUBSCRIBE, both, 2, NULL));
        READ_UNTIL(peer, churn_operations_ended, "the outcome of a subscribe");
        bool subscribed = peer->streams[0].subscribed == 2;
        bool batch = chance(seed, 2) == 0;
        if (batch)
            OK(cometd_client_batch_begin(peer->client, NULL));
        for (unsigned n = 0, count = chance(seed, 40); n < count; n++) {
            char json[32];
            snprintf(json, sizeof json, "{\"n\":%u}", n);
            CHECK(operate(peer, PUBLISH, both, 1, json));
        }
        if (batch)
            OK(cometd_client_batch_end(peer->client, NULL));
        if (fate > 3) {
            READ_UNTIL(peer, churn_operations_ended, "the outcome of a publish");
            if (subscribed)
                READ_UNTIL(peer, churn_messages_came, "the arrival of what was published");
            CHECK(operate(peer, UNSUBSCRIBE, second, 1, NULL));
            READ_UNTIL(peer, churn_operations_ended, "the outcome of an unsubscribe");
        }
    } else if (fate == 1) {
        CHECK(operate(peer, PUBLISH, both, 1, "{\"n\":0}"));
    }

    char json[4096];
    statistics_of(peer->client, json, sizeof json);
    pthread_mutex_lock(&gone.lock);
    gone.clients++;
    gone.handshakes += sum_of(json, "handshakes");
    pthread_mutex_unlock(&gone.lock);

    if (fate >= 3) {
        OK(cometd_client_disconnect(peer->client, 0, NULL));
        READ_UNTIL(peer, churn_closed, "CLOSED");
    }
    bool receivers_outlive = chance(seed, 2) == 0;
    cometd_client *client = peer->client;
    if (receivers_outlive) {
        peer->client = NULL;
        cometd_client_free(client);
        /* Receivers of their own get what is left, and the end of each operation before CLOSED. */
        if (!peer->own_receiver)
            READ_UNTIL(peer, churn_closed, "CLOSED after the client was freed");
    }
    for (size_t i = 0; i < peer->stream_count; i++)
        cometd_receiver_free(peer->streams[i].receiver);
    if (!receivers_outlive) {
        peer->client = NULL;
        cometd_client_free(client);
    }
    /* Then no call of the callback runs or comes. */
    pthread_mutex_lock(&peer->lock);
    int64_t end = now_ms() + LIMIT_MS;
    while (!churn_freed(peer)) {
        struct timespec limit;
        timeout_at(&limit, end);
        if (now_ms() >= end)
            FAIL("%s: the callback was not freed", peer->name);
        pthread_cond_timedwait(&peer->changed, &peer->lock, &limit);
    }
    pthread_mutex_unlock(&peer->lock);

    pthread_mutex_lock(&gone.lock);
    gone.operations += peer->streams[0].ended;
    gone.refused += peer->streams[0].refused;
    gone.messages += peer->streams[0].received;
    pthread_mutex_unlock(&gone.lock);
    pthread_mutex_destroy(&peer->lock);
    pthread_cond_destroy(&peer->changed);
    free(peer);
}

static void *churn_thread(void *user) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned clients;
    uint64_t seed = *(uint64_t *)user;
    while (may_work()) {
        pthread_mutex_lock(&lock);
        unsigned number = ++clients;
        pthread_mutex_unlock(&lock);
        come_and_go(&seed, number);
        pause_us(2000);
    }
    return NULL;
}

/* ---- the load ---- */

static uint64_t total, losses;

/* Numbers count as published even when the server refused: it may have done a part. */
static bool publish(unsigned count, unsigned size) {
    char path[256], answer[1024];
    snprintf(path, sizeof path, "/publish?channel=/flood/%" PRIu64 "/%u&count=%u&size=%u", total, size, count, size);
    total += count;
    return try_control(answer, sizeof answer, path);
}

static void await_numbers(void) {
    for_all_readers_wait(is_accounted, total, "the arrival of all numbers");
    for (size_t r = 0; r < READERS; r++)
        for (size_t i = 0; i < readers[r].stream_count; i++) {
            struct stream *s = &readers[r].streams[i];
            pthread_mutex_lock(&readers[r].lock);
            if (readers[r].gets_floods && s->received + s->dropped + s->lost != total)
                FAIL("%s: of %" PRIu64 " numbers %" PRIu64 " came, %" PRIu64 " were dropped, %" PRIu64
                     " lost in provoked losses", readers[r].name, total, s->received, s->dropped, s->lost);
            s->losing = false;
            pthread_mutex_unlock(&readers[r].lock);
        }
}

static void flood(uint64_t *seed, unsigned most) {
    for (unsigned parts = 1 + chance(seed, 3); parts > 0; parts--)
        if (!publish(1 + chance(seed, most), chance(seed, 300)))
            FAIL("the server did not publish");
    await_numbers();
}

/* Requests fail, sessions do not: nothing may be missing. */
static void flood_with_failures(uint64_t *seed) {
    static const int statuses[] = {500, 502, 503, 504, 429};
    char path[128];
    snprintf(path, sizeof path, "/fail?status=%d&count=%u&on=/meta/connect", statuses[chance(seed, 5)],
             1 + chance(seed, 2 * READERS));
    control(path);
    snprintf(path, sizeof path, "/fail?status=%d&count=%u", statuses[chance(seed, 5)], 1 + chance(seed, 10));
    control(path);
    flood(seed, 400);
    control("/fail?status=503&count=0");
}

/* Only what is published from here until a reader is told that its subscription is back may be lost. */
static void lose_sessions(uint64_t *seed, bool by_restart) {
    for (size_t r = 0; r < READERS; r++) {
        pthread_mutex_lock(&readers[r].lock);
        for (size_t i = 0; i < readers[r].stream_count; i++) {
            readers[r].streams[i].losing = true;
            readers[r].streams[i].strict_from = UINT64_MAX;
        }
        readers[r].rehandshakes_before = readers[r].streams[0].rehandshakes;
        readers[r].renewed_before = readers[r].streams[0].renewed;
        pthread_mutex_unlock(&readers[r].lock);
    }
    publish(1 + chance(seed, 300), chance(seed, 300));
    if (by_restart) {
        char path[64];
        snprintf(path, sizeof path, "/restart?down_ms=%u", chance(seed, 800));
        control(path);
    } else {
        control("/forget");
    }
    losses++;
    /* A server that is down refuses it. */
    publish(1 + chance(seed, 100), chance(seed, 300));
    for (size_t r = 0; r < READERS; r++)
        WAIT(&readers[r], has_lost_session, readers[r].rehandshakes_before, "the loss of the session");
    /* All sessions of before are gone: what now arrives has come through a new one. */
    for (size_t r = 0; r < READERS; r++) {
        pthread_mutex_lock(&readers[r].lock);
        for (size_t i = 0; i < readers[r].stream_count; i++)
            readers[r].streams[i].strict_from = total;
        pthread_mutex_unlock(&readers[r].lock);
    }
    /* Once the host is told that the subscription is back, the next message arrives. */
    for (size_t r = 0; r < READERS; r++)
        WAIT(&readers[r], has_renewed, readers[r].renewed_before, "the subscription in the new session");
    publish(1, 10);
    for (size_t r = 0; r < READERS; r++)
        WAIT(&readers[r], is_strict, 0, "a message in the new session");
    await_numbers();
}

/* ---- what the process has ---- */

struct measure {
    unsigned threads, callback_threads, descriptors;
    long rss_kib;
};

static unsigned entries(const char *path) {
    unsigned count = 0;
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static unsigned threads_called(const char *name) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[512], comm[64] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(comm, sizeof comm, file) != NULL)
            count += strncmp(comm, name, strlen(name)) == 0;
        fclose(file);
    }
    closedir(directory);
    return count;
}

static unsigned sockets(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[512], target[64];
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t length = readlink(path, target, sizeof target);
        count += length > 7 && strncmp(target, "socket:", 7) == 0;
    }
    closedir(directory);
    return count;
}

static struct measure measure(void) {
    long pages = 0;
#ifdef __GLIBC__
    /* What was freed, but is kept for later, is noise. */
    malloc_trim(0);
#endif
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    struct measure now = {entries("/proc/self/task"), threads_called("cometd-callback") + threads_called("cometd-host"), entries("/proc/self/fd"),
                          pages * (sysconf(_SC_PAGESIZE) / 1024)};
    return now;
}

static bool has_grown(const struct measure *start, const struct measure *now) {
    return now->descriptors > start->descriptors || now->callback_threads > CALLBACK_THREADS ||
           now->threads - now->callback_threads > start->threads - start->callback_threads ||
           now->rss_kib > start->rss_kib + RSS_GROWTH_KIB;
}

/* With nothing under way: nobody works, and all has arrived. */
static struct measure measure_at_rest(const struct measure *start) {
    rest(CHURNERS + 1);
    await_numbers();
    for_all_readers_wait(has_ended_operations, 0, "the end of an operation");
    /* Connections that are idle, and threads, go after some seconds. At the start nothing but the held connects is to
     * be left, so that growth is seen; at the end no more than at the start. */
    int64_t end = now_ms() + (start == NULL ? 15000 : 40000);
    struct measure now = measure();
    while ((start == NULL ? sockets() > READERS : has_grown(start, &now)) && now_ms() < end) {
        pause_us(100000);
        now = measure();
    }
    return start == NULL ? measure() : now;
}

static void print_sums(const char *when, const struct measure *now) {
    uint64_t received = 0, dropped = 0, lost = 0, ended = 0, refused = 0, errors = 0, handshakes;
    char json[4096];
    pthread_mutex_lock(&gone.lock);
    handshakes = gone.handshakes;
    for (size_t r = 0; r < READERS; r++) {
        uint64_t dropped_of_client = 0;
        statistics_of(readers[r].client, json, sizeof json);
        handshakes += sum_of(json, "handshakes");
        for (size_t i = 0; i < readers[r].stream_count; i++) {
            const struct stream *s = &readers[r].streams[i];
            received += s->received;
            dropped_of_client += s->dropped;
            lost += s->lost;
            if (s->received + s->dropped != sum_of(json, "events_received"))
                FAIL("%s: %" PRIu64 " came and %" PRIu64 " were dropped, but the statistics have received %" PRIu64,
                     readers[r].name, s->received, s->dropped, sum_of(json, "events_received"));
        }
        if (dropped_of_client != sum_of(json, "dropped"))
            FAIL("%s: %" PRIu64 " were counted as dropped, but the statistics have %" PRIu64, readers[r].name,
                 dropped_of_client, sum_of(json, "dropped"));
        dropped += dropped_of_client;
        ended += readers[r].streams[0].ended;
        refused += readers[r].streams[0].refused;
        errors += readers[r].streams[0].errors;
    }
    say("%s %s: %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " dropped, %" PRIu64 " lost in %" PRIu64
        " provoked losses, %" PRIu64 " handshakes, %u threads, %u file descriptors, %.1f MiB RSS",
        server, when, total, received, dropped, lost, losses, handshakes, now->threads, now->descriptors,
        (double)now->rss_kib / 1024);
    say("%s %s: %" PRIu64 " operations ended, %" PRIu64 " of them in an error; %" PRIu64
        " clients came and went, with %" PRIu64 " messages; %" PRIu64 " errors told",
        server, when, ended + gone.operations, refused + gone.refused, gone.clients, gone.messages, errors);
    pthread_mutex_unlock(&gone.lock);
}

/* ---- the end ---- */

static void finish_readers(void) {
    for (size_t r = 0; r < READERS; r++) {
        struct peer *peer = &readers[r];
        cometd_status ended = cometd_client_disconnect(peer->client, LIMIT_MS, NULL);
        /* What was published last may fail on the way to the end. */
        CHECK(ended == COMETD_OK || ended == COMETD_E_UNDELIVERED);
        WAIT(peer, is_closed, 0, "CLOSED");
        for (size_t i = 0; i < peer->stream_count; i++)
            if (peer->streams[i].way != BY_CALLBACK)
                pthread_join(peer->streams[i].thread, NULL);
        for (size_t i = 0; i < peer->stream_count; i++)
            cometd_receiver_free(peer->streams[i].receiver);
        cometd_client_free(peer->client);
        WAIT(peer, is_freed, 0, "the end of the callback");
        for (size_t i = 0; i < peer->stream_count; i++)
            CHECK(peer->streams[i].closed == 1 && peer->streams[i].open == 0);
    }
}

int main(int count, char **arguments) {
    if (count != 5 && count != 6) {
        fprintf(stderr, "usage: %s URL CONTROLPORT SERVER SECONDS [SEED]\n", arguments[0]);
        return 2;
    }
    url = arguments[1];
    control_port = atoi(arguments[2]);
    server = arguments[3];
    int64_t seconds = atoi(arguments[4]);
    uint64_t seed = count == 6 ? strtoull(arguments[5], NULL, 10) : (uint64_t)time(NULL);
    say("%s: seed %" PRIu64 ", %" PRId64 " s", server, seed, seconds);
    seed = seed * 2862933555777941757u + 3037000493u;
    bool is_demo = strcmp(server, "demo") == 0;
    events_come_with_replies = strcmp(server, "cometd-java") == 0 || strcmp(server, "cometd-nodejs") == 0;

    OK(cometd_log_set(COMETD_LOG_ERROR, library_error, NULL, NULL));
    int64_t began = now_ms();
    start_readers(seed);
    pthread_t workers[CHURNERS + 1];
    uint64_t seeds[CHURNERS + 1];
    for (size_t i = 0; i <= CHURNERS; i++) {
        seeds[i] = (seed += 0x9e3779b97f4a7c15u);
        CHECK(pthread_create(&workers[i], NULL, i == 0 ? operator_thread : churn_thread, &seeds[i]) == 0);
    }

    /* The warm-up has everything in it once, and is a fifth of the time. */
    struct measure start = {0, 0, 0, 0};
    bool warm = false;
    int64_t last_loss = now_ms() - LOSS_EVERY_MS;
    for (unsigned round = 0; !warm || losses < 3 || now_ms() < began + seconds * 1000; round++) {
        flood(&seed, 600);
        if (is_demo && round % 2 == 1)
            flood_with_failures(&seed);
        if (now_ms() - last_loss >= LOSS_EVERY_MS) {
            last_loss = now_ms();
            lose_sessions(&seed, losses % 3 == 1);
        }
        if (!warm && losses >= 2 && round >= 2 && now_ms() >= began + seconds * 200) {
            start = measure_at_rest(NULL);
            print_sums("start", &start);
            warm = true;
            go_on(false);
        }
    }

    struct measure end = measure_at_rest(&start);
    print_sums("end", &end);
    say("ok %s: every number came once and in order, was counted as dropped, or was lost on purpose", server);
    say("ok %s: every operation ended in one event", server);
    say("ok %s: whenever a descriptor was readable, there was an event to take", server);
    if (end.threads - end.callback_threads > start.threads - start.callback_threads ||
        end.callback_threads > CALLBACK_THREADS)
        FAIL("from %u threads to %u, of which %u and %u for callbacks", start.threads, end.threads,
             start.callback_threads, end.callback_threads);
    say("ok %s: no more threads than before", server);
    if (end.descriptors > start.descriptors)
        FAIL("from %u file descriptors to %u", start.descriptors, end.descriptors);
    say("ok %s: no more file descriptors than before", server);
    if (end.rss_kib > start.rss_kib + RSS_GROWTH_KIB)
        FAIL("from %ld KiB of memory to %ld, more than %d beyond", start.rss_kib, end.rss_kib, RSS_GROWTH_KIB);
    say("ok %s: memory grew by %ld KiB, %d are allowed", server, end.rss_kib - start.rss_kib, RSS_GROWTH_KIB);

    go_on(true);
    for (size_t i = 0; i <= CHURNERS; i++)
        pthread_join(workers[i], NULL);
    finish_readers();
    say("ok %s: every client closed once", server);
    for (int64_t give_up = now_ms() + LIMIT_MS; extensions != 0; pause_us(1000))
        if (now_ms() >= give_up)
            FAIL("%d extensions were not freed", (int)extensions);
    say("ok %s: every extension was freed once", server);
    return 0;
}
