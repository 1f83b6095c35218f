/* The server's clock, and timestamps. */
#include "test.h"
#include <time.h>

enum { HOUR = 3600 * 1000 };

/* Answers handshakes by a clock that is an hour ahead, if it is asked. */
static void ahead(exchange *x)
{
    const char *asked = strstr(x->body, "\"tc\":");
    if (!is_on(x, "/meta/handshake") || asked == NULL) {
        bayeux(x);
        return;
    }
    long long sent = strtoll(asked + 5, NULL, 10);
    char *fields = text("\"successful\":true,\"version\":\"1.0\",\"clientId\":\"c\","
                        "\"supportedConnectionTypes\":[\"long-polling\"],"
                        "\"ext\":{\"timesync\":{\"tc\":%lld,\"ts\":%lld,\"p\":0,\"a\":0}}",
                        sent, sent + HOUR);
    respond_reply(x, fields);
    free(fields);
}

static long long calendar_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

TEST(the_servers_clock_is_known_after_its_first_answer_215)
{
    peer *peer = peer_start(ahead);
    cometd_client_builder *builder = builder_new(peer_url(peer));
    CHECK_OK(cometd_client_builder_set_timesync(builder, true));
    cometd_client *client = build(builder);
    int64_t time = 7;
    CHECK_STATUS(cometd_client_server_time(client, &time), COMETD_NONE);
    CHECK_INT(time, ==, 0);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_OK(cometd_client_server_time(client, &time));
    long long expected = calendar_ms() + HOUR;
    CHECK_INT(time, >, expected - limit_ms());
    CHECK_INT(time, <, expected + limit_ms());
    char statistics[4096];
    CHECK_OK(cometd_client_statistics(client, statistics, sizeof statistics, NULL));
    char *told = json_field(statistics, "server_time_ms");
    CHECK_INT(strtoll(told, NULL, 10), >=, time);
    free(told);
    client_end(client);
    peer_stop(peer);
}

TEST(without_the_option_or_the_extension_it_is_not_known)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        peer *peer = peer_start(wanted ? bayeux : ahead);
        cometd_client_builder *builder = builder_new(peer_url(peer));
        CHECK_OK(cometd_client_builder_set_timesync(builder, wanted));
        cometd_client *client = build(builder);
        CHECK_OK(cometd_client_connect(client, NULL));
        wait_state(client, COMETD_STATE_CONNECTED);
        int64_t time;
        CHECK_STATUS(cometd_client_server_time(client, &time), COMETD_NONE);
        char statistics[4096];
        CHECK_OK(cometd_client_statistics(client, statistics, sizeof statistics, NULL));
        CHECK_HAS(statistics, "\"server_time_ms\":null");
        CHECK_INT(peer_count(peer, "timesync") > 0, ==, wanted);
        client_end(client);
        peer_stop(peer);
    }
}

TEST(messages_say_when_they_are_sent)
{
    static const int32_t formats[] = {COMETD_TIMESTAMP_HTTP, COMETD_TIMESTAMP_ISO};
    for (int i = 0; i < 2; i++) {
        peer *peer = peer_start(bayeux);
        cometd_client_builder *builder = builder_new(peer_url(peer));
        CHECK_STATUS(cometd_client_builder_set_timestamp(builder, 3), COMETD_E_OUT_OF_RANGE);
        CHECK_OK(cometd_client_builder_set_timestamp(builder, formats[i]));
        cometd_client *client = build(builder);
        time_t before = calendar_ms() / 1000;
        CHECK_OK(cometd_client_connect(client, NULL));
        char *request = peer_request(peer, "/meta/handshake", 1);
        char *message = json_element(strstr(request, "\r\n\r\n") + 4, 0);
        char *stamp = json_field(message, "timestamp");
        /* It is one of the seconds since then. */
        int seen = 0;
        for (time_t at = before; at <= calendar_ms() / 1000 && !seen; at++) {
            char expected[64];
            struct tm utc;
            gmtime_r(&at, &utc);
            strftime(expected, sizeof expected,
                     i == 0 ? "\"%a, %d %b %Y %H:%M:%S GMT\"" : "\"%Y-%m-%dT%H:%M:%S.", &utc);
            seen = strncmp(stamp, expected, strlen(expected)) == 0;
        }
        CHECK(seen);
        free(request);
        free(message);
        free(stamp);
        client_end(client);
        peer_stop(peer);
    }
}
