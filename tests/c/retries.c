/* number_of_retries, and the waits between attempts. */
#include "test.h"

static void busy(exchange *x)
{
    respond(x, 503, "", "");
}

static cometd_client *start(const char *url, uint32_t retries)
{
    cometd_client_builder *builder = builder_new(url);
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, retries));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

TEST(used_up_they_end_in_one_fatal_error_and_closed)
{
    peer *peer = peer_start(busy);
    cometd_client *client = start(peer_url(peer), 2);
    for (int i = 0; i < 3; i++) {
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        CHECK_STATUS(cometd_error_status(error), COMETD_E_HTTP_STATUS);
        CHECK_INT(cometd_error_http_status(error), ==, 503);
        CHECK_INT(cometd_error_phase(error), ==, COMETD_PHASE_HANDSHAKE);
        CHECK_INT(cometd_error_is_fatal(error), ==, i == 2);
        if (i == 2)
            CHECK_INT(cometd_error_retry_in_ms(error), ==, -1);
        else
            CHECK_INT(cometd_error_retry_in_ms(error), >=, 0);
        cometd_event_free(event);
    }
    char *rest = drain(client);
    CHECK_STR(rest, "STATE 7;CLOSED;");
    free(rest);
    CHECK_INT(peer_count(peer, "POST "), ==, 3);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(none_means_that_the_first_failure_is_the_end)
{
    peer *peer = peer_start(busy);
    cometd_client *client = start(peer_url(peer), 0);
    char *all = drain(client);
    CHECK_HAS(all, "STATE 1;ERROR 0 - fatal handshake: HTTP 503");
    free(all);
    CHECK_INT(peer_count(peer, "POST "), ==, 1);
    cometd_client_free(client);
    peer_stop(peer);
}

TEST(a_successful_connect_starts_the_count_anew)
{
    server *server = server_start(NULL);
    cometd_client *client = start(server->url, 2);
    wait_state(client, COMETD_STATE_CONNECTED);
    subscribed(client, "/a");
    for (int round = 0; round < 3; round++) {
        WAIT_FOR(server_stat(server, "connects") == 2 + 2 * round); /* one is held */
        server_do(server, "/fail?status=503&count=2&on=/meta/connect");
        server_do(server, "/publish?channel=/a");
        cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
        for (int i = 0; i < 2; i++) {
            cometd_event *event = wait_error(client);
            CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
            CHECK_INT(cometd_error_phase(cometd_event_error(event)), ==, COMETD_PHASE_CONNECT);
            cometd_event_free(event);
        }
        wait_state_event(client, COMETD_STATE_CONNECTED);
    }
    WAIT_FOR(server_stat(server, "connects") == 8);
    server_do(server, "/fail?status=503&count=9&on=/meta/connect");
    server_do(server, "/publish?channel=/a");
    char *rest = drain(client);
    CHECK_HAS(rest, "fatal");
    free(rest);
    cometd_client_free(client);
    server_stop(server);
}

TEST(waits_grow_and_have_jitter)
{
    peer *peer = peer_start(busy);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_backoff_ms(builder, 100, 250));
    CHECK_OK(cometd_client_builder_set_number_of_retries(builder, 5));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    /* Handshakes: the first retry at once, then one increment more each. */
    static const int least[] = {0, 110, 220, 275, 275}, most[] = {0, 120, 240, 300, 300};
    for (int i = 0; i < 5; i++) {
        cometd_event *event = wait_error(client);
        int32_t wait = cometd_error_retry_in_ms(cometd_event_error(event));
        CHECK_INT(wait, >=, least[i]);
        CHECK_INT(wait, <=, most[i]);
        cometd_event_free(event);
    }
    free(drain(client));
    cometd_client_free(client);
    peer_stop(peer);
}

static void busy_for_a_second(exchange *x)
{
    if (x->number == 1)
        respond(x, 503, "Retry-After: 1\r\n", "");
    else
        bayeux(x);
}

TEST(retry_after_is_waited_for)
{
    peer *peer = peer_start(busy_for_a_second);
    long long start = now_ms();
    cometd_client *client = client_start(peer_url(peer));
    cometd_event *event = wait_error(client);
    CHECK_INT(cometd_error_retry_in_ms(cometd_event_error(event)), >=, 1000);
    cometd_event_free(event);
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(now_ms() - start, >=, 1000);
    client_end(client);
    peer_stop(peer);
}

TEST(a_server_that_restarts_is_found_again)
{
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    server_do(server, "/restart?down_ms=200");
    wait_state_event(client, COMETD_STATE_REHANDSHAKING);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    WAIT_FOR(server_stat(server, "subscribes") == 2);
    server_do(server, "/publish?channel=/a");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0));
    client_end(client);
    server_stop(server);
}
