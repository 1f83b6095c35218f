/* The glue for an event loop, which LOOP names: bounded turns, the end by itself, and
 * detach and free inside the callback. Against the demo server, whose URL is the argument. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void turn(void); /* called once a turn of the loop */
static int stopping;    /* whether the loop's own hook is to end */

#if defined(LOOP_LIBUV)
#include <cometd/libuv.h>
#define TURN COMETD_LIBUV_TURN
static uv_loop_t loop;
static uv_prepare_t hook;
static cometd_libuv *attached;
static void on_turn(uv_prepare_t *of) {
    turn();
    if (stopping) uv_close((uv_handle_t *)of, NULL);
}
static void begin(void) {
    assert(uv_loop_init(&loop) == 0 && uv_prepare_init(&loop, &hook) == 0 && uv_prepare_start(&hook, on_turn) == 0);
    uv_unref((uv_handle_t *)&hook);
}
static cometd_status attach(cometd_client *client, cometd_receiver *receiver, cometd_event_fn fn, void *user) {
    return receiver ? cometd_libuv_attach_receiver(&loop, receiver, fn, user, &attached)
                    : cometd_libuv_attach(&loop, client, fn, user, &attached);
}
static void detach(void) { cometd_libuv_detach(attached); }
static void run(void) { uv_run(&loop, UV_RUN_DEFAULT); }
static void end(void) {
    uv_close((uv_handle_t *)&hook, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert(uv_loop_close(&loop) == 0);
}

#elif defined(LOOP_LIBEVENT)
#include <cometd/libevent.h>
#define TURN COMETD_LIBEVENT_TURN
static struct event_base *loop;
static struct event *hook;
static cometd_libevent *attached;
static void on_turn(evutil_socket_t fd, short what, void *user) {
    const struct timeval now = {0, 0};
    (void)fd, (void)what, (void)user;
    turn();
    if (!stopping) event_add(hook, &now);
}
static void begin(void) {
    assert((loop = event_base_new()) != NULL && (hook = event_new(loop, -1, 0, on_turn, NULL)) != NULL);
}
static cometd_status attach(cometd_client *client, cometd_receiver *receiver, cometd_event_fn fn, void *user) {
    return receiver ? cometd_libevent_attach_receiver(loop, receiver, fn, user, &attached)
                    : cometd_libevent_attach(loop, client, fn, user, &attached);
}
static void detach(void) { cometd_libevent_detach(attached); }
static void run(void) {
    const struct timeval now = {0, 0};
    event_add(hook, &now);
    event_base_dispatch(loop);
}
static void end(void) {
    event_free(hook);
    event_base_free(loop);
}

#else
#include <cometd/glib.h>
#define TURN COMETD_GLIB_TURN
static GSource *attached;
static GMainContext *loop;
static gboolean on_turn(gpointer user) {
    (void)user;
    turn();
    return G_SOURCE_CONTINUE;
}
static void begin(void) {
    loop = g_main_context_new();
    GSource *hook = g_idle_source_new();
    g_source_set_priority(hook, G_PRIORITY_DEFAULT);
    g_source_set_callback(hook, on_turn, NULL, NULL);
    g_source_attach(hook, loop);
    g_source_unref(hook);
}
static cometd_status attach(cometd_client *client, cometd_receiver *receiver, cometd_event_fn fn, void *user) {
    attached = receiver ? cometd_glib_receiver_source_new(receiver, fn, user) : cometd_glib_source_new(client, fn, user);
    if (attached == NULL) return COMETD_E_INVALID_ARGUMENT;
    g_source_attach(attached, loop);
    return COMETD_OK;
}
static void detach(void) {
    g_source_destroy(attached);
    g_source_unref(attached);
}
static void run(void) {
    while (!stopping && !g_source_is_destroyed(attached)) g_main_context_iteration(loop, TRUE);
}
static void end(void) { g_main_context_unref(loop); }
#endif

static const char *url;
static int in_turn, most_in_turn, messages, closed, events;

static void turn(void) {
    if (in_turn > most_in_turn) most_in_turn = in_turn;
    in_turn = 0;
}

static int descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert(folder != NULL);
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}

static cometd_client *built(void) {
    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    assert(cometd_client_builder_new(url, &builder, NULL) == COMETD_OK);
    assert(cometd_client_builder_set_bearer_token(builder, "T") == COMETD_OK);
    assert(cometd_client_builder_build(builder, &client, NULL) == COMETD_OK);
    cometd_client_builder_free(builder);
    return client;
}

static void until(cometd_receiver *receiver, int32_t type, int count) {
    for (int seen = 0; seen < count;) {
        cometd_event *event = NULL;
        assert(cometd_receiver_poll(receiver, 60000, &event) == COMETD_OK);
        seen += cometd_event_type(event) == type;
        cometd_event_free(event);
    }
}

static void count(void *user, const cometd_event *event) {
    assert(strcmp((const char *)user, "user") == 0);
    in_turn++;
    events++;
    messages += cometd_event_type(event) == COMETD_EVENT_MESSAGE;
    if (cometd_event_type(event) == COMETD_EVENT_CLOSED) {
        closed++;
        stopping = 1;
    }
}

/* All that has piled up comes, a bounded part of it a turn; and the last event ends the loop. */
static void bounded_turns(int by_receiver) {
    const char *channel = "/glue";
    cometd_client *client = built();
    cometd_receiver *receiver = NULL, *other = NULL;
    in_turn = most_in_turn = messages = closed = events = stopping = 0;
    begin();
    assert(cometd_receiver_new(client, &receiver) == COMETD_OK);
    assert(!by_receiver || cometd_receiver_new(client, &other) == COMETD_OK);
    assert(cometd_client_subscribe(client, &channel, 1, NULL, NULL) == COMETD_OK);
    assert(cometd_client_connect(client, NULL) == COMETD_OK);
    until(receiver, COMETD_EVENT_SUBSCRIBED, 1);
    assert(cometd_client_batch_begin(client, NULL) == COMETD_OK);
    for (int i = 0; i < 300; i++) assert(cometd_client_publish(client, channel, "1", 1, NULL, NULL) == COMETD_OK);
    assert(cometd_client_batch_end(client, NULL) == COMETD_OK);
    until(receiver, COMETD_EVENT_MESSAGE, 300);
    assert(cometd_client_disconnect(client, 30000, NULL) == COMETD_OK);
    until(receiver, COMETD_EVENT_CLOSED, 1);
    char user[] = "user";
    assert(attach(client, other, count, user) == COMETD_OK);
    run();
    turn();
    assert(messages == 300 && closed == 1 && events > 300);
    assert(most_in_turn == TURN);
    detach();
    cometd_receiver_free(receiver);
    cometd_receiver_free(other);
    cometd_client_free(client);
    end();
}

static void leave(void *user, const cometd_event *event) {
    cometd_client **client = (cometd_client **)user;
    assert(cometd_event_type(event) == COMETD_EVENT_STATE && *client != NULL);
    events++;
    detach();
    cometd_client_free(*client);
    *client = NULL;
    stopping = 1;
    /* The event outlives its client. */
    assert(cometd_event_type(event) == COMETD_EVENT_STATE);
}

static void detach_and_free_inside(void) {
    cometd_client *client = built();
    events = stopping = 0;
    begin();
    assert(attach(client, NULL, leave, &client) == COMETD_OK);
    assert(cometd_client_connect(client, NULL) == COMETD_OK);
    run();
    assert(client == NULL && events == 1);
    end();
}

/* What was never begun is given back, too. */
static void detach_at_once(void) {
    cometd_client *client = built();
    begin();
    assert(attach(client, NULL, count, NULL) == COMETD_OK);
    detach();
    cometd_client_free(client);
    end();
    begin();
    assert(attach(NULL, NULL, count, NULL) == COMETD_E_INVALID_ARGUMENT);
    client = built();
    assert(attach(client, NULL, NULL, NULL) == COMETD_E_INVALID_ARGUMENT);
    cometd_client_free(client);
    end();
}

int main(int argc, char **argv) {
    assert(argc == 2);
    url = argv[1];
    begin();
    end();
    const int before = descriptors();
    detach_and_free_inside();
    bounded_turns(0);
    bounded_turns(1);
    detach_at_once();
    detach_and_free_inside();
    /* The library gives back its own when the last client is gone, on its own thread. */
    const time_t limit = time(NULL) + 60;
    while (descriptors() > before) assert(time(NULL) < limit);
    puts("ok");
    return 0;
}
