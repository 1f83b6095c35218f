/* Waiting for all outcomes, and for room when there are too many. */
#include "test.h"

static cometd_error *flush_fails(cometd_client *client, int timeout_ms, cometd_status status)
{
    cometd_error *error;
    CHECK_STATUS(cometd_client_flush(client, timeout_ms, &error), status);
    CHECK_STATUS(cometd_error_status(error), status);
    return error;
}

/* Holds what is published to "/held". */
static void holds_some(exchange *x)
{
    if (is_on(x, "/held"))
        hold(x);
    bayeux(x);
}

TEST(a_flush_waits_for_all_outcomes_which_nobody_reads)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    for (int i = 0; i < 200; i++)
        publish(client, "/a", "1");
    uint64_t subscribed = subscribe(client, "/b");
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    CHECK_INT(server_stat(server, "publishes"), ==, 200);
    /* The events are all there. */
    int published = 0, is_subscribed = 0;
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        published += cometd_event_type(event) == COMETD_EVENT_PUBLISHED;
        is_subscribed += cometd_event_id(event) == subscribed;
        cometd_event_free(event);
    }
    CHECK_INT(published, ==, 200);
    CHECK_INT(is_subscribed, ==, 1);
    /* There is nothing to wait for. */
    CHECK_OK(cometd_client_flush(client, 0, NULL));
    client_end(client);
    server_stop(server);
}

TEST(publishes_that_failed_are_told_by_one_flush)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    publish(client, "/denied/a", "1");
    publish(client, "/a", "1");
    publish(client, "/denied/b", "1");
    subscribe(client, "/denied/c"); /* its event alone tells */
    cometd_error *error = flush_fails(client, limit_ms(), COMETD_E_UNDELIVERED);
    CHECK_HAS(cometd_error_message(error), "2 messages");
    CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_PUBLISH);
    cometd_error_free(error);
    CHECK_OK(cometd_client_flush(client, 0, NULL));
    publish(client, "/a", "1");
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    /* The disconnect tells of those whose events nobody has read. */
    CHECK_STATUS(cometd_client_disconnect(client, limit_ms(), NULL), COMETD_E_UNDELIVERED);
    cometd_client_free(client);
    server_stop(server);
}

TEST(without_a_receiver_failures_are_told_once_as_well)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_own_receiver(builder, false));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    publish(client, "/denied/a", "1");
    CHECK_STATUS(cometd_client_flush(client, -1, NULL), COMETD_E_UNDELIVERED);
    CHECK_OK(cometd_client_flush(client, -1, NULL));
    cometd_client_free(client);
    server_stop(server);
}

TEST(when_the_time_is_up_the_calls_go_on)
{
    peer *peer = peer_start(holds_some);
    cometd_client *client = client_connected(peer_url(peer));
    publish(client, "/held", "1");
    CHECK_STATUS(cometd_client_flush(client, 0, NULL), COMETD_NONE);
    free(peer_request(peer, "/held", 1));
    CHECK_STATUS(cometd_client_flush(client, 50, NULL), COMETD_NONE);
    CHECK_STATUS(cometd_client_flush(client, -2, NULL), COMETD_E_OUT_OF_RANGE);
    peer_release(peer);
    CHECK_OK(cometd_client_flush(client, -1, NULL));
    client_end(client);
    peer_stop(peer);
}

TEST(a_batch_that_is_open_is_sent)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    CHECK_OK(cometd_client_batch_begin(client, NULL));
    publish(client, "/a", "1");
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    publish(client, "/a", "2");
    CHECK_OK(cometd_client_batch_end(client, NULL));
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    CHECK_INT(server_stat(server, "publishes"), ==, 2);
    client_end(client);
    server_stop(server);
}

TEST(nothing_is_sent_before_connect)
{
    cometd_client *client = build(builder_new(vacant_url()));
    CHECK_OK(cometd_client_flush(client, -1, NULL));
    publish(client, "/a", "1");
    cometd_error *error = flush_fails(client, -1, COMETD_E_INVALID_STATE);
    CHECK_HAS(cometd_error_message(error), "connect");
    cometd_error_free(error);
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    CHECK_STATUS(cometd_client_flush(client, -1, NULL), COMETD_E_UNDELIVERED);
    CHECK_OK(cometd_client_flush(client, -1, NULL));
    cometd_client_free(client);
}

static void *flushes(void *client)
{
    return (void *)(intptr_t)cometd_client_flush(client, -1, NULL);
}

TEST(the_end_of_the_client_is_the_end_of_a_flush)
{
    peer *peer = peer_start(holds_some);
    cometd_client *client = client_connected(peer_url(peer));
    publish(client, "/held", "1");
    free(peer_request(peer, "/held", 1));
    pthread_t thread = thread_start(flushes, client);
    CHECK_STATUS(cometd_client_flush(client, 20, NULL), COMETD_NONE);
    CHECK_OK(cometd_client_disconnect(client, 0, NULL));
    peer_release(peer);
    void *status;
    CHECK_INT(pthread_join(thread, &status), ==, 0);
    CHECK((intptr_t)status == COMETD_OK || (intptr_t)status == COMETD_E_UNDELIVERED);
    cometd_client_free(client);
    peer_stop(peer);
}

static struct {
    cometd_client *client;
    cometd_status waited;
    atomic_int done;
} in_callback;

static void on_event(void *user, const cometd_event *event)
{
    (void)user;
    if (in_callback.done || cometd_event_type(event) != COMETD_EVENT_MESSAGE)
        return;
    publish(in_callback.client, "/held", "1");
    CHECK_STATUS(cometd_client_flush(in_callback.client, 0, NULL), COMETD_NONE);
    in_callback.waited = cometd_client_flush(in_callback.client, 1, NULL);
    in_callback.done = 1;
}

TEST(a_callback_does_not_wait)
{
    peer *peer = peer_start(holds_some);
    cometd_client *client = in_callback.client = client_connected(peer_url(peer));
    CHECK_OK(cometd_client_set_callback(client, on_event, NULL, NULL));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    WAIT_FOR(in_callback.done);
    CHECK_STATUS(in_callback.waited, COMETD_E_WOULD_DEADLOCK);
    WAIT_FOR(peer_holding(peer) == 2); /* the publish and a connect */
    peer_release(peer);
    CHECK_OK(cometd_client_flush(client, -1, NULL));
    client_end(client);
    peer_stop(peer);
}

TEST(a_full_queue_is_what_holds_it_up)
{
    peer *peer = peer_start(bayeux);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_events_capacity(builder, 1, 1 << 20));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    char buffer[4096];
    WAIT_FOR(cometd_client_statistics(client, buffer, sizeof buffer, NULL) == COMETD_OK &&
             strstr(buffer, "\"blocked\":true"));
    publish(client, "/b", "1");
    cometd_error *error = flush_fails(client, 50, COMETD_E_FULL);
    CHECK_HAS(cometd_error_message(error), "read its events");
    cometd_error_free(error);
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    client_end(client);
    peer_stop(peer);
}

/* ---- room ---- */

static struct {
    atomic_int refusals, others;
} lines;

static void on_log(void *user, int32_t level, const char *target, const char *line)
{
    (void)user, (void)target;
    if (strstr(line, "commands: "))
        lines.refusals++;
    else if (level <= COMETD_LOG_WARN)
        lines.others++;
}

static int refused(cometd_client *client)
{
    int count = 0;
    while (count < 100) {
        cometd_status status = cometd_client_publish(client, "/a", "1", 1, NULL, NULL);
        if (status != COMETD_OK)
            CHECK_STATUS(status, COMETD_E_FULL);
        count += status == COMETD_E_FULL;
    }
    return count;
}

TEST(room_is_told_once_after_calls_were_refused_and_so_are_they)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_commands_capacity(builder, 8));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_log_set(COMETD_LOG_INFO, on_log, NULL, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    publish(client, "/a", "1");
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    int all = 0;
    for (int round = 1; round <= 3; round++) {
        all += refused(client);
        CHECK_INT(lines.refusals, ==, round);
        CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
        /* A quarter of them read is room. */
        int read = 0;
        for (int room = 0; !room;) {
            cometd_event *event = next_event(client);
            read += cometd_event_id(event) != 0;
            room = cometd_event_type(event) == COMETD_EVENT_ROOM;
            if (room) {
                CHECK_INT(cometd_event_id(event), ==, 0);
                CHECK(cometd_event_channel(event) == NULL && cometd_event_error(event) == NULL);
            }
            cometd_event_free(event);
        }
        CHECK_INT(read, >=, 2);
        CHECK_OK(cometd_client_publish(client, "/a", "1", 1, NULL, NULL));
    }
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(lines.others, ==, 0);
    char buffer[8192], *count = text("\"calls_refused\":%d,", all);
    CHECK_OK(cometd_client_statistics(client, buffer, sizeof buffer, NULL));
    CHECK_HAS(buffer, count);
    free(count);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *rest = drain(client);
    CHECK_HAS_NOT(rest, "ROOM");
    free(rest);
    cometd_client_free(client);
    server_stop(server);
}

TEST(who_was_refused_nothing_hears_of_no_room)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_commands_capacity(builder, 4));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int i = 0; i < 20; i++) {
        uint64_t id = publish(client, "/a", "1");
        cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", id));
    }
    /* More than ever fit are no reason to wait for room. */
    const char *channels[] = {"/a", "/b", "/c", "/d", "/e"};
    CHECK_STATUS(cometd_client_subscribe(client, channels, 5, NULL, NULL), COMETD_E_FULL);
    publish(client, "/a", "1");
    CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *rest = drain(client);
    CHECK_HAS_NOT(rest, "ROOM");
    free(rest);
    cometd_client_free(client);
    server_stop(server);
}

/* Room is made by whoever reads, also a callback, and also when nothing more happens. */
static atomic_int rooms;

static void count_rooms(void *user, const cometd_event *event)
{
    (void)user;
    rooms += cometd_event_type(event) == COMETD_EVENT_ROOM;
}

TEST(a_callback_that_reads_makes_room)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_commands_capacity(builder, 8));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    for (int round = 1; round <= 20; round++) {
        refused(client);
        CHECK_OK(cometd_client_flush(client, limit_ms(), NULL));
        CHECK_OK(cometd_client_set_callback(client, count_rooms, NULL, NULL));
        WAIT_FOR(rooms == round);
        CHECK_OK(cometd_client_set_callback(client, NULL, NULL, NULL));
    }
    client_end(client);
    server_stop(server);
}

static void flushed(cometd_client *client, uint64_t id, void *opaque, cometd_status status)
{
    cometd_event *event = wait_event(client, COMETD_EVENT_FLUSHED, NULL, id);
    CHECK(cometd_event_opaque(event) == opaque);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), status);
    cometd_event_free(event);
}

static uint64_t start_flush(cometd_client *client, void *opaque)
{
    uint64_t id;
    CHECK_OK(cometd_client_start_flush(client, opaque, &id, NULL));
    CHECK(id > 0);
    return id;
}

TEST(a_flush_that_an_event_tells_comes_behind_the_outcomes)
{
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    uint64_t before = publish(client, "/a", "1"); /* it waits for the connect */
    uint64_t id = start_flush(client, server);
    CHECK(id > before);
    cometd_event *event;
    CHECK_STATUS(cometd_client_poll(client, 20, &event), COMETD_NONE);
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/a", before));
    flushed(client, id, server, COMETD_OK);
    /* There is nothing to wait for. */
    flushed(client, start_flush(client, NULL), NULL, COMETD_OK);
    publish(client, "/denied/a", "1");
    id = start_flush(client, &id);
    flushed(client, id, &id, COMETD_E_UNDELIVERED);
    flushed(client, start_flush(client, &id), &id, COMETD_OK);
    cometd_client_free(client);
    server_stop(server);
}

TEST(a_flush_ends_with_the_client)
{
    peer *peer = peer_start(holds_some);
    cometd_client *client = client_connected(peer_url(peer));
    publish(client, "/held", "1");
    uint64_t id = start_flush(client, peer);
    CHECK_OK(cometd_client_abort(client));
    flushed(client, id, peer, COMETD_E_UNDELIVERED);
    cometd_event_free(wait_event(client, COMETD_EVENT_CLOSED, NULL, 0));
    CHECK_STATUS(cometd_client_start_flush(client, NULL, &id, NULL), COMETD_E_CLOSED);
    CHECK_INT(id, ==, 0);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(flushes_that_nobody_reads_are_bounded)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_commands_capacity(builder, 10));
    cometd_client *client = build(builder);
    for (int i = 0; i < 10; i++)
        start_flush(client, NULL);
    CHECK_STATUS(cometd_client_start_flush(client, NULL, NULL, NULL), COMETD_E_FULL);
    cometd_event_free(wait_event(client, COMETD_EVENT_FLUSHED, NULL, 0));
    start_flush(client, NULL);
    cometd_client_free(client);
    server_stop(server);
}
