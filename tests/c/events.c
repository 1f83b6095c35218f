/* Events: poll, poll_many, the descriptor, receivers, messages. */
#include "test.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

TEST(poll_waits_up_to_its_timeout)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    cometd_event *event;
    free(peer_request(peer, "\"/meta/connect\"", 2));
    while (cometd_client_poll(client, 0, &event) == COMETD_OK)
        cometd_event_free(event);
    CHECK(event == NULL);
    long long start = now_ms();
    CHECK_STATUS(cometd_client_poll(client, 0, &event), COMETD_NONE);
    CHECK_STATUS(cometd_client_poll(client, 200, &event), COMETD_NONE);
    CHECK_INT(now_ms() - start, >=, 190);
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    CHECK_OK(cometd_client_poll(client, -1, &event));
    CHECK_INT(cometd_event_type(event), ==, COMETD_EVENT_MESSAGE);
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

static void ignore_event(void *user, const cometd_event *event)
{
    (void)user, (void)event;
}

TEST(poll_events_says_why_there_are_none)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = build(builder_new(peer_url(peer)));
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    cometd_event *events[64];
    size_t count = 7;
    memset(events, 0xff, sizeof events);
    CHECK_STATUS(cometd_client_poll_events(client, 0, events, 64, &count), COMETD_NONE);
    CHECK(count == 0 && events[0] == NULL && events[63] == NULL);
    count = 7;
    CHECK_STATUS(cometd_receiver_poll_events(receiver, 20, events, 64, &count), COMETD_NONE);
    CHECK_INT(count, ==, 0);
    CHECK_STATUS(cometd_client_poll_events(client, 0, events, 0, &count), COMETD_E_OUT_OF_RANGE);
    CHECK_STATUS(cometd_receiver_poll_events(receiver, -2, events, 64, &count), COMETD_E_OUT_OF_RANGE);
    CHECK_OK(cometd_client_set_callback(client, ignore_event, NULL, NULL));
    CHECK_STATUS(cometd_client_poll_events(client, -1, events, 64, &count), COMETD_E_INVALID_STATE);
    CHECK_OK(cometd_client_set_callback(client, NULL, NULL, NULL));

    CHECK_OK(cometd_client_connect(client, NULL));
    free(peer_request(peer, "\"/meta/connect\"", 2)); /* behind the third state */
    CHECK_OK(cometd_client_poll_events(client, limit_ms(), events, 2, &count));
    CHECK_INT(count, ==, 2);
    CHECK_INT(cometd_event_state(events[1], NULL), ==, COMETD_STATE_CONNECTING);
    cometd_events_free(events, count);
    CHECK_OK(cometd_client_poll_events(client, limit_ms(), events, 64, &count));
    CHECK(count == 1 && events[1] == NULL);
    cometd_events_free(events, count);

    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cometd_status status;
    int32_t last = 0;
    while ((status = cometd_receiver_poll_events(receiver, -1, events, 64, &count)) == COMETD_OK) {
        last = cometd_event_type(events[count - 1]);
        cometd_events_free(events, count);
    }
    CHECK_INT(status, ==, COMETD_CLOSED);
    CHECK(count == 0 && last == COMETD_EVENT_CLOSED);
    free(drain(client));
    CHECK_STATUS(cometd_client_poll_events(client, -1, events, 64, &count), COMETD_CLOSED);
    cometd_receiver_free(receiver);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(poll_many_takes_what_is_there)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    cometd_event *events[5];
    memset(events, 0xff, sizeof events);
    free(peer_request(peer, "\"/meta/connect\"", 2)); /* behind the third state */
    CHECK_INT(cometd_client_poll_many(client, limit_ms(), events, 5), ==, 3); /* states */
    CHECK(events[3] == NULL && events[4] == NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(cometd_event_state(events[i], NULL), ==, i + 1);
        cometd_event_free(events[i]);
    }
    CHECK_INT(cometd_client_poll_many(client, 0, events, 5), ==, 0);
    CHECK_INT(cometd_client_poll_many(client, 50, events, 5), ==, 0);
    CHECK_INT(cometd_client_poll_many(client, 0, events, 0), ==, 0);
    peer_push(peer, "{\"channel\":\"/a\",\"data\":{\"n\":0}},{\"channel\":\"/a\",\"data\":{\"n\":1}},"
                    "{\"channel\":\"/a\",\"data\":{\"n\":2}},{\"channel\":\"/a\",\"data\":{\"n\":3}},"
                    "{\"channel\":\"/a\",\"data\":{\"n\":4}},{\"channel\":\"/a\",\"data\":{\"n\":5}},"
                    "{\"channel\":\"/a\",\"data\":{\"n\":6}}");
    int number = 0;
    while (number < 7) {
        size_t count = cometd_client_poll_many(client, limit_ms(), events, 5);
        CHECK(count >= 1 && count <= 5);
        for (size_t i = 0; i < count; i++, number++) {
            CHECK_INT(message_number(events[i]), ==, number);
            cometd_event_free(events[i]);
        }
    }
    client_end(client);
    peer_stop(peer);
}

static int readable_by_poll(int fd, int timeout)
{
    struct pollfd it = {fd, POLLIN, 0};
    return poll(&it, 1, timeout) == 1;
}

static int readable_by_select(int fd, int timeout)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval wait = {timeout / 1000, timeout % 1000 * 1000};
    return select(fd + 1, &set, NULL, NULL, &wait) == 1;
}

static int readable_by_epoll(int fd, int timeout)
{
    struct epoll_event it = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK_INT(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &it), ==, 0);
    int count = epoll_wait(epoll, &it, 1, timeout);
    close(epoll);
    return count == 1;
}

/* Readable exactly while poll(0) has something, as level-triggered things are. */
static void check_descriptor(int (*readable)(int fd, int timeout))
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = build(builder_new(peer_url(peer)));
    int fd = cometd_client_fd(client);
    CHECK_INT(fd, >=, 0);
    CHECK(!readable(fd, 0));
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    free(peer_request(peer, "\"/meta/connect\"", 2));
    for (int i = 0; i < 3; i++) {
        CHECK(readable(fd, limit_ms()));
        CHECK(readable(fd, 0)); /* still */
        cometd_event_free(next_event(client));
    }
    CHECK(!readable(fd, 0));
    for (int round = 0; round < 20; round++) {
        peer_push(peer, "{\"channel\":\"/a\",\"data\":1},{\"channel\":\"/a\",\"data\":2}");
        CHECK(readable(fd, limit_ms()));
        cometd_event_free(next_event(client));
        CHECK(readable(fd, 0));
        cometd_event_free(next_event(client));
        CHECK(!readable(fd, 0));
        CHECK_INT(cometd_client_fd(client), ==, fd);
    }
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK(readable(fd, 0));
    free(drain(client));
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(the_descriptor_with_poll)
{
    check_descriptor(readable_by_poll);
}

TEST(the_descriptor_with_select)
{
    check_descriptor(readable_by_select);
}

TEST(the_descriptor_with_epoll)
{
    check_descriptor(readable_by_epoll);
}

TEST(one_epoll_watches_many_clients)
{
    enum { CLIENTS = 20 };
    server *server = server_start(NULL);
    cometd_client *clients[CLIENTS];
    int epoll = epoll_create1(EPOLL_CLOEXEC), got[CLIENTS] = {0}, all = 0;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_connected(server->url);
        subscribed(clients[i], "/a");
        struct epoll_event it = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        CHECK_INT(epoll_ctl(epoll, EPOLL_CTL_ADD, cometd_client_fd(clients[i]), &it), ==, 0);
    }
    server_do(server, "/publish?channel=/a&count=10");
    while (all < CLIENTS * 10) {
        struct epoll_event it;
        CHECK_INT(epoll_wait(epoll, &it, 1, limit_ms()), ==, 1);
        cometd_event *event;
        int i = (int)it.data.u32;
        CHECK_OK(cometd_client_poll(clients[i], 0, &event));
        if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
            CHECK_INT(message_number(event), ==, got[i]);
            got[i]++;
            all++;
        }
        cometd_event_free(event);
    }
    close(epoll);
    for (int i = 0; i < CLIENTS; i++)
        client_end(clients[i]);
    server_stop(server);
}

TEST(descriptors_are_given_back)
{
    server *server = server_start(NULL);
    int before = count_descriptors();
    for (int i = 0; i < 5; i++) {
        cometd_client *client = client_connected(server->url);
        cometd_receiver *receiver;
        CHECK_OK(cometd_receiver_new(client, &receiver));
        CHECK_INT(cometd_client_fd(client), >=, 0);
        CHECK_INT(cometd_receiver_fd(receiver), >=, 0);
        CHECK_INT(cometd_receiver_fd(receiver), !=, cometd_client_fd(client));
        client_end(client);
        cometd_receiver_free(receiver);
    }
    WAIT_FOR(count_descriptors() == before);
    server_stop(server);
}

TEST(contract_01_each_receiver_sees_every_event)
{
    enum { RECEIVERS = 4, COUNT = 300 };
    server *server = server_start(NULL);
    cometd_client *client = build(builder_new(server->url));
    cometd_receiver *receivers[RECEIVERS];
    for (int i = 0; i < RECEIVERS; i++)
        CHECK_OK(cometd_receiver_new(client, &receivers[i]));
    uint64_t id = subscribe(client, "/a");
    CHECK_OK(cometd_client_connect(client, NULL));
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, "/a", id));
    server_do(server, "/publish?channel=/a&count=%d", COUNT);
    for (int i = 0; i < RECEIVERS; i++) {
        for (int k = 1; k <= 2; k++) {
            cometd_event *state = wait_receiver_event(receivers[i], COMETD_EVENT_STATE, NULL, 0);
            CHECK_INT(cometd_event_state(state, NULL), ==, k);
            cometd_event_free(state);
        }
        cometd_event_free(wait_receiver_event(receivers[i], COMETD_EVENT_SUBSCRIBED, "/a", id));
        for (int k = 0; k < COUNT; k++) {
            cometd_event *event =
                wait_receiver_event(receivers[i], COMETD_EVENT_MESSAGE, "/a", 0);
            CHECK_INT(message_number(event), ==, k);
            cometd_event_free(event);
        }
    }
    client_end(client); /* they outlive it */
    for (int i = 0; i < RECEIVERS; i++) {
        cometd_event *event;
        cometd_event_free(wait_receiver_event(receivers[i], COMETD_EVENT_CLOSED, NULL, 0));
        CHECK_STATUS(cometd_receiver_poll(receivers[i], -1, &event), COMETD_CLOSED);
        CHECK(event == NULL);
        cometd_receiver_free(receivers[i]);
    }
    server_stop(server);
}

TEST(a_late_receiver_sees_what_comes_from_then_on)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    cometd_event *event;
    CHECK_STATUS(cometd_receiver_poll(receiver, 0, &event), COMETD_NONE);
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_MESSAGE, "/a", 0));
    cometd_receiver_free(receiver);
    client_end(client);
    server_stop(server);
}

TEST(a_client_without_a_receiver_of_its_own)
{
    server *server = server_start(NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_own_receiver(builder, false));
    cometd_client *client = build(builder);
    cometd_receiver *receiver;
    cometd_event *event, *events[2];
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_STATUS(cometd_client_poll(client, 0, &event), COMETD_E_INVALID_STATE);
    CHECK_INT(cometd_client_poll_many(client, 0, events, 2), ==, 0);
    CHECK_INT(cometd_client_fd(client), ==, -1);
    CHECK_STATUS(cometd_client_set_callback(client, NULL, NULL, NULL), COMETD_E_INVALID_STATE);
    CHECK_OK(cometd_client_connect(client, NULL));
    subscribe(client, "/a");
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_SUBSCRIBED, "/a", 0));
    client_end(client);
    cometd_receiver_free(receiver);
    server_stop(server);
}

enum { FLOOD = 2000 };
static atomic_int seen[FLOOD];
static atomic_int seen_count, closed_count;

static void *take(void *argument)
{
    cometd_event *event;
    cometd_status status;
    while ((status = cometd_client_poll(argument, -1, &event)) == COMETD_OK) {
        if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
            seen[message_number(event)]++;
            seen_count++;
        }
        closed_count += cometd_event_type(event) == COMETD_EVENT_CLOSED;
        cometd_event_free(event);
    }
    CHECK_STATUS(status, COMETD_CLOSED);
    return NULL;
}

TEST(contract_01_each_event_goes_to_exactly_one_of_several_threads)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        threads[i] = thread_start(take, client);
    server_do(server, "/publish?channel=/a&count=%d", FLOOD);
    WAIT_FOR(seen_count == FLOOD);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    for (int i = 0; i < 6; i++)
        thread_join(threads[i]);
    for (int i = 0; i < FLOOD; i++)
        CHECK_INT(seen[i], ==, 1);
    CHECK_INT(closed_count, ==, 1);
    cometd_client_free(client);
    server_stop(server);
}

static void *call_everything(void *argument)
{
    cometd_client *client = argument;
    for (int i = 0; i < 100; i++) {
        uint64_t id;
        const char *channel = "/many";
        CHECK_OK(cometd_client_subscribe(client, &channel, 1, &id, NULL));
        CHECK_OK(cometd_client_publish(client, "/many", "1", 1, &id, NULL));
        CHECK_OK(cometd_client_unsubscribe(client, &channel, 1, &id, NULL));
        CHECK_OK(cometd_client_set_authorization(client, "Bearer x"));
        cometd_client_state(client);
        cometd_client_wait(client, COMETD_STATE_CONNECTED, 1);
        cometd_receiver *receiver;
        CHECK_OK(cometd_receiver_new(client, &receiver));
        cometd_receiver_free(receiver);
        cometd_client_fd(client);
    }
    return NULL;
}

TEST(contract_01_any_function_from_any_thread_at_any_time)
{
    server *server = server_start(NULL);
    cometd_client *client = client_start(server->url);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = thread_start(call_everything, client);
    int outcomes = 0;
    while (outcomes < 4 * 100 * 3) {
        cometd_event *event = next_event(client);
        outcomes += cometd_event_id(event) != 0;
        cometd_event_free(event);
    }
    for (int i = 0; i < 4; i++)
        thread_join(threads[i]);
    client_end(client);
    server_stop(server);
}

TEST(channel_data_ext_and_id_are_the_servers_own_json)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = client_connected(peer_url(peer));
    peer_push(peer, "{\"id\": \"a\\u0031\" ,\"data\": { \"x\" : [1, 2.50 ]} ,\"channel\":\"/a\","
                    "\"ext\":{ \"e\":\"\xc3\xa9\"}},"
                    "{\"channel\":\"/b\\u002fc\",\"data\":null,\"id\":17},"
                    "{\"channel\":\"/d\",\"data\":\"\"}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, NULL, 0);
    const cometd_message *message = cometd_event_message(event);
    size_t length;
    CHECK_STR(cometd_message_channel(message, &length), "/a");
    CHECK_INT(length, ==, 2);
    CHECK_STR(cometd_message_data(message, &length), "{ \"x\" : [1, 2.50 ]}");
    CHECK_INT(length, ==, 19);
    CHECK_STR(cometd_message_ext(message, &length), "{ \"e\":\"\xc3\xa9\"}");
    CHECK_INT(length, ==, 11);
    CHECK_STR(cometd_message_id(message, &length), "\"a\\u0031\"");
    CHECK_INT(length, ==, 9);
    CHECK_STR(cometd_message_data(message, NULL), "{ \"x\" : [1, 2.50 ]}");
    CHECK_STR(cometd_event_channel(event), "/a");
    CHECK_INT(cometd_event_id(event), ==, 0);
    CHECK(cometd_event_error(event) == NULL);
    CHECK_INT(cometd_event_dropped(event), ==, 0);
    CHECK_INT(cometd_event_state(event, NULL), ==, COMETD_STATE_IDLE);
    cometd_event_free(event);
    event = wait_event(client, COMETD_EVENT_MESSAGE, NULL, 0);
    message = cometd_event_message(event);
    CHECK_STR(cometd_message_channel(message, NULL), "/b/c");
    CHECK_STR(cometd_message_data(message, NULL), "null");
    CHECK_STR(cometd_message_id(message, NULL), "17");
    length = 7;
    CHECK(cometd_message_ext(message, &length) == NULL);
    CHECK_INT(length, ==, 0);
    cometd_event_free(event);
    event = wait_event(client, COMETD_EVENT_MESSAGE, NULL, 0);
    message = cometd_event_message(event);
    CHECK_STR(cometd_message_data(message, NULL), "\"\"");
    CHECK(cometd_message_id(message, NULL) == NULL);
    cometd_event_free(event);
    client_end(client);
    peer_stop(peer);
}

TEST(contract_04_a_retained_message_outlives_event_client_and_receiver)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/publish?channel=/a&count=3&size=1000");
    cometd_message *kept[3], *again;
    for (int i = 0; i < 3; i++) {
        cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        kept[i] = cometd_message_retain(cometd_event_message(event));
        cometd_event_free(event);
    }
    again = cometd_message_retain(kept[1]);
    cometd_message_free(kept[1]);
    client_end(client);
    WAIT_FOR(count_library_threads() == 0);
    CHECK_HAS(cometd_message_data(kept[0], NULL), "{\"n\":0,\"pad\":\"xxx");
    CHECK_HAS(cometd_message_data(again, NULL), "{\"n\":1,\"pad\":\"xxx");
    CHECK_HAS(cometd_message_data(kept[2], NULL), "{\"n\":2,\"pad\":\"xxx");
    CHECK_STR(cometd_message_channel(again, NULL), "/a");
    cometd_message_free(kept[0]);
    cometd_message_free(again);
    cometd_message_free(kept[2]);
    server_stop(server);
}

TEST(contract_09_closed_is_the_last_event_and_comes_once)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    for (int i = 0; i < 20; i++)
        publish(client, "/a", "1");
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    char *all = drain(client);
    CHECK_HAS(all, ";STATE 7;CLOSED;");
    CHECK_STR(strstr(all, "CLOSED"), "CLOSED;");
    free(all);
    cometd_event *event = (cometd_event *)1, *events[2];
    CHECK_STATUS(cometd_client_poll(client, -1, &event), COMETD_CLOSED);
    CHECK(event == NULL);
    CHECK_STATUS(cometd_client_poll(client, 0, &event), COMETD_CLOSED);
    CHECK_INT(cometd_client_poll_many(client, -1, events, 2), ==, 0);
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    CHECK_STATUS(cometd_client_poll(client, 0, &event), COMETD_CLOSED);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    CHECK_STATUS(cometd_receiver_poll(receiver, -1, &event), COMETD_CLOSED);
    cometd_receiver_free(receiver);
    cometd_client_free(client);
    server_stop(server);
}

TEST(two_clients_in_one_process)
{
    server *one = server_start(NULL), *two = server_start(NULL);
    cometd_client *first = client_connected(one->url), *second = client_connected(two->url);
    subscribed(first, "/a");
    subscribed(second, "/a");
    server_do(one, "/publish?channel=/a&count=5");
    server_do(two, "/publish?channel=/a&count=7");
    for (int i = 0; i < 5; i++)
        cometd_event_free(wait_event(first, COMETD_EVENT_MESSAGE, "/a", 0));
    for (int i = 0; i < 7; i++)
        cometd_event_free(wait_event(second, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(first);
    cometd_event *event;
    CHECK_STATUS(cometd_client_poll(second, 0, &event), COMETD_NONE);
    CHECK_INT(cometd_client_state(second), ==, COMETD_STATE_CONNECTED);
    client_end(second);
    server_stop(one);
    server_stop(two);
}

TEST(the_state_is_closed_when_closed_has_been_polled)
{
    for (int i = 0; i < 300; i++) {
        cometd_client_builder *builder = builder_new("http://127.0.0.1:1/");
        CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 0));
        cometd_client *client = build(builder);
        CHECK_OK(cometd_client_connect(client, NULL));
        cometd_event_free(wait_event(client, COMETD_EVENT_CLOSED, NULL, 0));
        CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_CLOSED);
        CHECK_STATUS(cometd_client_connect(client, NULL), COMETD_E_CLOSED);
        cometd_client_free(client);
    }
}
