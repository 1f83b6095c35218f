/* What the tests of libcometd share. C99 and POSIX, or Windows.
 *
 * A program is some TEST(name) { … } and nothing else; main is in test.c.
 * `program` runs all of its tests, `program name…` those. Each test runs in a
 * process of its own, which a failed check ends, and so does a limit of time. */
#ifndef TEST_H
#define TEST_H

#include <cometd/cometd.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef _WIN32
#include "test_windows.h"
#endif

/* ---- tests and checks ---- */

#define TEST(name)                                                                    \
    static void test_##name(void);                                                    \
    __attribute__((constructor)) static void register_##name(void)                    \
    {                                                                                 \
        test_register(#name, test_##name);                                            \
    }                                                                                 \
    static void test_##name(void)

void test_register(const char *name, void (*run)(void));

/* Ends the test, with one line that says where and what. */
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition))                                                             \
            FAIL("%s", #condition);                                                   \
    } while (0)

#define CHECK_INT(actual, operator, expected)                                         \
    do {                                                                              \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);   \
        if (!(actual_ operator expected_))                                            \
            FAIL("%s is %lld, not %s %lld", #actual, actual_, #operator, expected_);  \
    } while (0)

#define CHECK_STATUS(actual, expected)                                                \
    do {                                                                              \
        cometd_status actual_ = (actual), expected_ = (expected);                     \
        if (actual_ != expected_)                                                     \
            FAIL("%s is %s, not %s", #actual, cometd_status_name(actual_),            \
                 cometd_status_name(expected_));                                      \
    } while (0)

#define CHECK_OK(actual) CHECK_STATUS(actual, COMETD_OK)

#define CHECK_STR(actual, expected)                                                   \
    check_text(__FILE__, __LINE__, #actual, 0, actual, expected)
#define CHECK_HAS(actual, part) check_text(__FILE__, __LINE__, #actual, 1, actual, part)
#define CHECK_HAS_NOT(actual, part)                                                   \
    check_text(__FILE__, __LINE__, #actual, 2, actual, part)

void check_text(const char *file, int line, const char *what, int kind, const char *actual,
                const char *expected);

/* ---- time and process ---- */

/* How long anything may take on a slow machine before it counts as not happening. */
int limit_ms(void);

long long now_ms(void);

/* Waits for a condition that nothing else tells of. */
#define WAIT_FOR(condition)                                                           \
    do {                                                                              \
        long long until_ = now_ms() + limit_ms();                                     \
        while (!(condition)) {                                                        \
            if (now_ms() > until_)                                                    \
                FAIL("waited in vain for %s", #condition);                            \
            test_yield();                                                             \
        }                                                                             \
    } while (0)

void test_yield(void);

int count_threads(void);
/* Those that the library has started. */
int count_library_threads(void);
int count_descriptors(void);

/* A text of printf's, to free. */
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A text of `length` times the same character, to free. */
char *repeated(char character, size_t length);

pthread_t thread_start(void *(*run)(void *), void *argument);
void thread_join(pthread_t thread);

/* ---- the demo server, a process of its own ---- */

typedef struct server {
#ifdef _WIN32
    void *process, *input;
#else
    pid_t pid;
    int input;
#endif
    int port, control;
    char url[64];
} server;

/* With options up to a NULL. It ends with the test, or by server_stop. */
server *server_start(const char *option, ...);
void server_stop(server *server);

/* What the control interface answers, to free. */
char *server_ask(server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, when the answer does not matter. */
void server_do(server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number of /stats. */
int server_stat(server *server, const char *name);
/* The newest request that the server has seen with a message on `channel`:
 * its path, headers and body as /headers tells them. To free; NULL when none. */
char *server_request(server *server, const char *channel);

/* A URL where nobody listens, as long as the test runs. */
const char *vacant_url(void);

/* A GET of http://127.0.0.1:port…: the body, to free. */
char *http_get(int port, const char *target);

/* ---- a peer that says what a test wants it to say ---- */

typedef struct peer peer;

/* One request, in the thread of its connection. */
typedef struct exchange {
    peer *peer;
    int number;     /* of all requests of the peer, from 1 */
    int connection; /* number of the connection, from 1 */
    int fd;
    char *head;    /* request line and headers */
    char *body;
    size_t length; /* of the body */
    int closing;   /* set by what ends the connection */
} exchange;

typedef void (*peer_fn)(exchange *x);

/* Answers each request by `answer`, on 127.0.0.1 or, with v6, on ::1. NULL when there is no IPv6. */
peer *peer_start(peer_fn answer);
peer *peer_start_at(peer_fn answer, int v6, int port);
void peer_stop(peer *peer);
int peer_port(peer *peer);
/* "http://127.0.0.1:PORT/cometd" */
const char *peer_url(peer *peer);

/* How many requests hold a text, in head or body. */
int peer_count(peer *peer, const char *part);
int peer_connections(peer *peer);
/* Waits for the nth request that holds the text, from 1; head and body, to free. */
char *peer_request(peer *peer, const char *part, int nth);

void respond(exchange *x, int status, const char *headers, const char *body);
void respond_bytes(exchange *x, const void *bytes, size_t length);
void hang_up(exchange *x);
/* Ends the connection by a TCP reset. */
void reset(exchange *x);
/* Does not answer before peer_release or peer_stop. */
void hold(exchange *x);
void peer_release(peer *peer);
/* Waits until the client has closed the connection. */
void await_hang_up(exchange *x);

/* The default answer of a small Bayeux server: handshakes succeed, connects are
 * held until peer_push, all else succeeds. */
void bayeux(exchange *x);
/* Messages (JSON, comma between them) for the reply of the next connect, before
 * it, or after it when `after`. */
void peer_push(peer *peer, const char *messages);
void peer_push_after(peer *peer, const char *messages);
/* The advice of handshake replies, JSON. */
void peer_advise(peer *peer, const char *advice);
/* How many connects are being held at this moment. */
int peer_holding(peer *peer);

/* Whether the request has a message on that channel. */
int is_on(const exchange *x, const char *channel);
/* The raw JSON of a message's field, to free; NULL when none. */
char *json_field(const char *message, const char *name);
/* The nth element of a JSON array, from 0, to free; NULL when there are no more. */
char *json_element(const char *array, int nth);
/* A reply to the first message of the request, with `fields` (JSON, may be ""). To free. */
char *reply_to(const exchange *x, const char *fields);
/* Answers the first message of the request so. */
void respond_reply(exchange *x, const char *fields);

/* ---- clients ---- */

/* A builder with short waits between attempts. */
cometd_client_builder *builder_new(const char *url);
/* Builds, and frees the builder. */
cometd_client *build(cometd_client_builder *builder);
/* Both, and connects. */
cometd_client *client_start(const char *url);
/* And waits until it is connected. */
cometd_client *client_connected(const char *url);
/* Disconnects and frees. */
void client_end(cometd_client *client);

void wait_state(cometd_client *client, cometd_state state);
/* Waits for the event that tells of a state, which may be left again by then. */
void wait_state_event(cometd_client *client, cometd_state state);

uint64_t subscribe(cometd_client *client, const char *channel);
/* Subscribes and waits for the outcome. */
void subscribed(cometd_client *client, const char *channel);
uint64_t publish(cometd_client *client, const char *channel, const char *json);

/* Waits for an event of a type, on a channel (NULL: any), with an id (0: any),
 * and frees those before it. To free. */
cometd_event *wait_event(cometd_client *client, int32_t type, const char *channel, uint64_t id);
cometd_event *wait_receiver_event(cometd_receiver *receiver, int32_t type, const char *channel,
                                  uint64_t id);
/* The next event, whatever it is. To free. */
cometd_event *next_event(cometd_client *client);
/* The next COMETD_EVENT_ERROR. To free. */
cometd_event *wait_error(cometd_client *client);
/* Takes all up to COMETD_EVENT_CLOSED and says what they were. To free. */
char *drain(cometd_client *client);
/* "ERROR 7 /a connect: …", to free. */
char *describe(const cometd_event *event);

/* The "n" of the data that the demo server publishes. */
long message_number(const cometd_event *event);

#endif
