/* What the system limits: descriptors and threads that are refused, and given again. */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

/* ---- descriptors ---- */

static void allow_descriptors(rlim_t count)
{
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    limit.rlim_cur = count ? count : limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

/* No further one: the limit is about numbers, and those that are free are below it. */
static void refuse_descriptors(void)
{
    int next = fcntl(0, F_DUPFD_CLOEXEC, 0);
    CHECK_INT(next, >, 0);
    close(next);
    allow_descriptors((rlim_t)next);
}

/* Takes all descriptors below a number. */
static void fill_descriptors(int number)
{
    allow_descriptors(0);
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    if (limit.rlim_cur < (rlim_t)number + 100)
        FAIL("the system allows %lld descriptors", (long long)limit.rlim_cur);
    int fd;
    do
        fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
    while (fd >= 0 && fd < number);
    CHECK_INT(fd, ==, number);
}

TEST(limit_descriptors_above_1024)
{
    server *server = server_start(NULL);
    fill_descriptors(1100);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    int fd = cometd_client_fd(client);
    CHECK_INT(fd, >, 1100);
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK)
        cometd_event_free(event);
    server_do(server, "/publish?channel=/a&count=3");
    for (int i = 0; i < 3; i++) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        CHECK_INT(poll(&ready, 1, limit_ms()), ==, 1);
        event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        CHECK_INT(message_number(event), ==, i);
        cometd_event_free(event);
    }
    client_end(client);
    server_stop(server);
}

TEST(limit_no_descriptors_at_the_start)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    int before = count_descriptors();
    refuse_descriptors();
    CHECK_INT(cometd_client_fd(client), ==, -1);
    cometd_error *error;
    CHECK_STATUS(cometd_client_connect(client, &error), COMETD_E_SYSTEM);
    CHECK_HAS(cometd_error_message(error), "open files");
    cometd_error_free(error);
    allow_descriptors(0);
    WAIT_FOR(count_threads() == 1);
    CHECK_INT(count_descriptors(), ==, before);

    CHECK_INT(cometd_client_fd(client), >=, 0);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    WAIT_FOR(count_descriptors() == before);
    server_stop(server);
}

TEST(limit_no_descriptors_for_sockets)
{
    server *server = server_start(NULL);
    int before = count_descriptors();
    cometd_client *other = client_start(vacant_url()); /* the I/O thread has its own */
    cometd_event_free(wait_error(other));
    cometd_client_free(other);
    other = client_connected(server->url);
    refuse_descriptors();
    cometd_client *client = client_start(server->url);
    for (int i = 0; i < 3; i++) {
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_HAS(cometd_error_message(error), "open files");
        CHECK(!cometd_error_is_fatal(error));
        CHECK_INT(cometd_error_retry_in_ms(error), >=, 0);
        cometd_event_free(event);
    }
    /* Who has its connections goes on. */
    CHECK_INT(cometd_client_state(other), ==, COMETD_STATE_CONNECTED);
    allow_descriptors(0);
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    client_end(other);
    WAIT_FOR(count_threads() == 1);
    WAIT_FOR(count_descriptors() == before + 1); /* of vacant_url */
    server_stop(server);
}

TEST(limit_no_descriptors_in_the_middle_of_a_session)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/restart?down_ms=500");
    wait_state_event(client, COMETD_STATE_UNCONNECTED);
    for (int refused = 0; refused < 2;) {
        /* Again, as those that it has closed are free. */
        allow_descriptors(0);
        refuse_descriptors();
        cometd_event *event = wait_error(client);
        refused += strstr(cometd_error_message(cometd_event_error(event)), "open files") != NULL;
        cometd_event_free(event);
    }
    allow_descriptors(0);
    wait_state(client, COMETD_STATE_CONNECTED);
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(client);
    server_stop(server);
}

/* ---- threads ---- */

/* The limit is for users and not for root; and it counts all threads of a user. */
static void become_a_user(uid_t id)
{
    if (getuid() == 0)
        CHECK_INT(setresuid(id, id, id), ==, 0);
}

static void allow_threads(int more)
{
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NPROC, &limit), ==, 0);
    limit.rlim_cur = more < 0 ? limit.rlim_max : (rlim_t)(count_threads() + more);
    CHECK_INT(setrlimit(RLIMIT_NPROC, &limit), ==, 0);
}

static void count_event(void *user, const cometd_event *event)
{
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE)
        ++*(atomic_int *)user;
}

TEST(limit_no_threads_refused_and_given_again)
{
    server *server = server_start(NULL);
    char *url = text("http://localhost:%d/cometd", server->port);
    cometd_client *client = build(builder_new(url));
    atomic_int seen = 0;
    become_a_user(43217);
    allow_threads(0);
    cometd_error *error;
    CHECK_STATUS(cometd_client_connect(client, &error), COMETD_E_SYSTEM);
    CHECK_HAS(cometd_error_message(error), "temporarily unavailable");
    cometd_error_free(error);
    CHECK_STATUS(cometd_client_set_callback(client, count_event, &seen, NULL), COMETD_E_SYSTEM);
    CHECK_INT(count_threads(), ==, 1);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_IDLE);

    /* One for I/O; looking up a name has none. */
    allow_threads(1);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribe(client, "/a");
    cometd_event *event = wait_error(client);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "no thread could be started");
    CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
    cometd_event_free(event);

    allow_threads(-1);
    wait_state(client, COMETD_STATE_CONNECTED);
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    CHECK_OK(cometd_client_set_callback(client, count_event, &seen, NULL));
    server_do(server, "/publish?channel=/a&count=10");
    WAIT_FOR(seen == 10);
    free(url);
    cometd_client_free(client);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

static cometd_status give_the_token(void *user, int32_t reason, cometd_token *token)
{
    (void)user, (void)reason;
    return cometd_token_set_authorization(token, "Bearer right");
}

TEST(limit_no_threads_a_token_provider_that_cannot_be_asked_is_asked_later)
{
    server *server = server_start("--token", "right", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_bearer_token(builder, "wrong"));
    CHECK_OK(cometd_client_builder_set_token_provider(builder, give_the_token, NULL, NULL));
    CHECK_OK(cometd_client_builder_set_backoff_ms(builder, 50, 100));
    cometd_client *client = build(builder);
    become_a_user(43218);
    allow_threads(1);
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int refused = 0; refused < 3; refused++) {
        cometd_event *event = wait_error(client);
        CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_REFUSED);
        cometd_event_free(event);
        event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_STATUS(cometd_error_status(error), COMETD_E_SYSTEM);
        CHECK_HAS(cometd_error_message(error), "the token provider could not be asked: no thread could be started");
        CHECK(!cometd_error_is_fatal(error) && cometd_error_retry_in_ms(error) >= 50);
        cometd_event_free(event);
    }
    allow_threads(-1);
    wait_state(client, COMETD_STATE_CONNECTED);
    client_end(client);
    server_stop(server);
}

/* ---- many threads ---- */

enum { THREADS = 100 };

typedef struct crowd {
    cometd_client *client;
    server *server;
    atomic_int ready, published;
} crowd;

static void *live_a_whole_life(void *argument)
{
    crowd *it = argument;
    cometd_client *client = client_connected(it->server->url);
    subscribed(client, "/own");
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/other", publish(client, "/other", "1")));
    it->ready++;
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/own", 0));
    client_end(client);
    return NULL;
}

TEST(a_hundred_threads_with_a_client_each)
{
    crowd it = {.server = server_start("--timeout-ms", "60000", NULL)};
    allow_descriptors(0);
    int threads = count_threads(), descriptors = count_descriptors();
    pthread_t all[THREADS];
    for (int i = 0; i < THREADS; i++)
        all[i] = thread_start(live_a_whole_life, &it);
    WAIT_FOR(it.ready == THREADS);
    server_do(it.server, "/publish?channel=/own");
    for (int i = 0; i < THREADS; i++)
        thread_join(all[i]);
    WAIT_FOR(count_threads() == threads);
    WAIT_FOR(count_descriptors() == descriptors);
    CHECK_INT(server_stat(it.server, "disconnects"), ==, THREADS);
    server_stop(it.server);
}

enum { EACH = 20 };

static void *use_the_same_client(void *argument)
{
    crowd *it = argument;
    for (int i = 0; i < EACH; i++) {
        publish(it->client, "/a", "1");
        cometd_receiver *receiver;
        CHECK_OK(cometd_receiver_new(it->client, &receiver));
        CHECK_INT(cometd_receiver_fd(receiver), >=, 0);
        cometd_receiver_free(receiver);
        CHECK_INT(cometd_client_state(it->client), >=, COMETD_STATE_CONNECTING);
    }
    while (it->published < THREADS * EACH) {
        cometd_event *events[8];
        size_t count = cometd_client_poll_many(it->client, 50, events, 8);
        for (size_t i = 0; i < count; i++) {
            it->published += cometd_event_type(events[i]) == COMETD_EVENT_PUBLISHED;
            cometd_event_free(events[i]);
        }
    }
    return NULL;
}

TEST(a_hundred_threads_with_one_client)
{
    crowd it = {.server = server_start(NULL)};
    allow_descriptors(0);
    int threads = count_threads(), descriptors = count_descriptors();
    it.client = client_connected(it.server->url);
    pthread_t all[THREADS];
    for (int i = 0; i < THREADS; i++)
        all[i] = thread_start(use_the_same_client, &it);
    for (int i = 0; i < THREADS; i++)
        thread_join(all[i]);
    CHECK_INT(it.published, ==, THREADS * EACH);
    client_end(it.client);
    WAIT_FOR(count_threads() == threads);
    WAIT_FOR(count_descriptors() == descriptors);
    server_stop(it.server);
}

/* ---- nothing is left ---- */

TEST(threads_and_descriptors_are_back_at_the_end)
{
    server *server = server_start(NULL);
    int threads = count_threads(), descriptors = count_descriptors();
    for (int round = 0; round < 30; round++) {
        cometd_client *client = build(builder_new(round % 5 == 4 ? vacant_url() : server->url));
        descriptors += round % 5 == 4; /* of vacant_url */
        cometd_receiver *receiver;
        atomic_int seen = 0;
        CHECK_OK(cometd_receiver_new(client, &receiver));
        CHECK_INT(cometd_client_fd(client), >=, 0);
        if (round % 2)
            CHECK_OK(cometd_receiver_set_callback(receiver, count_event, &seen, NULL));
        CHECK_OK(cometd_client_connect(client, NULL));
        if (round % 5 == 4) {
            cometd_event_free(wait_error(client));
        } else {
            subscribed(client, "/a");
            server_do(server, "/publish?channel=/a");
            cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
        }
        if (round % 3 == 0)
            CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
        cometd_client_free(client);
        cometd_receiver_free(receiver);
    }
    WAIT_FOR(count_threads() == threads);
    WAIT_FOR(count_descriptors() == descriptors);
    server_stop(server);
}
