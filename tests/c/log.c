/* The log sink. */
#include "test.h"

static struct {
    pthread_mutex_t lock;
    char text[1 << 19];
    int lines, most;
} got = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_log(void *user, int32_t level, const char *target, const char *line)
{
    CHECK(user == &got);
    CHECK(!strncmp(target, "cometd", 6));
    CHECK(strchr(line, '\n') == NULL);
    CHECK(level >= COMETD_LOG_ERROR && level <= COMETD_LOG_TRACE);
    pthread_mutex_lock(&got.lock);
    if (strlen(got.text) + strlen(line) + 2 < sizeof got.text)
        strcat(strcat(got.text, line), "\n");
    got.lines++;
    if (level > got.most)
        got.most = level;
    pthread_mutex_unlock(&got.lock);
    /* A sink may call the library; that is not logged. */
    CHECK(cometd_channel_matches("/a/*", "/a/b"));
}

static atomic_int freed;

static void count_freed(void *user)
{
    CHECK(user == &got);
    freed++;
}

static int lines(void)
{
    pthread_mutex_lock(&got.lock);
    int count = got.lines;
    pthread_mutex_unlock(&got.lock);
    return count;
}

static void run_a_client(void)
{
    server *server = server_start(NULL);
    server_do(server, "/fail?status=503&on=/meta/handshake");
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    client_end(client);
    server_stop(server);
}

TEST(off_by_default)
{
    run_a_client();
    CHECK_INT(lines(), ==, 0);
}

TEST(levels_and_lines)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, on_log, &got, count_freed));
    run_a_client();
    CHECK_INT(lines(), >, 5);
    CHECK_INT(got.most, >=, COMETD_LOG_DEBUG);
    CHECK_HAS(got.text, "HTTP 503");
    CHECK_INT(freed, ==, 0);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(freed, ==, 1);
    int before = lines();
    run_a_client();
    CHECK_INT(lines(), ==, before);
}

TEST(what_is_less_important_is_left_out)
{
    CHECK_OK(cometd_log_set(COMETD_LOG_WARN, on_log, &got, NULL));
    run_a_client();
    CHECK_INT(lines(), >=, 1);
    CHECK_INT(got.most, ==, COMETD_LOG_WARN);
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, on_log, &got, NULL));
    int before = lines();
    run_a_client();
    CHECK_INT(lines(), ==, before);
}

TEST(contract_05_a_replaced_sink_is_freed_once)
{
    for (int i = 0; i < 10; i++) {
        CHECK_OK(cometd_log_set(COMETD_LOG_INFO, on_log, &got, count_freed));
        CHECK_INT(freed, ==, i);
    }
    CHECK_STATUS(cometd_log_set(6, on_log, &got, count_freed), COMETD_E_OUT_OF_RANGE);
    CHECK_STATUS(cometd_log_set(-1, on_log, &got, count_freed), COMETD_E_OUT_OF_RANGE);
    CHECK_INT(freed, ==, 9); /* not when it fails */
    run_a_client();
    CHECK_INT(lines(), >, 0); /* nothing was changed by it */
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(freed, ==, 10);
}

static void blocking_sink(void *user, int32_t level, const char *target, const char *line)
{
    (void)level;
    (void)target;
    (void)line;
    cometd_client *other = *(cometd_client **)user;
    cometd_event *event;
    CHECK_STATUS(cometd_client_poll(other, 1, &event), COMETD_E_WOULD_DEADLOCK);
    CHECK_STATUS(cometd_client_poll(other, 0, &event), COMETD_NONE);
    got.lines = 1;
}

TEST(contract_03_inside_the_sink_what_would_block_returns_at_once)
{
    cometd_client *other = build(builder_new("http://127.0.0.1:1/"));
    CHECK_OK(cometd_log_set(COMETD_LOG_TRACE, blocking_sink, &other, NULL));
    run_a_client();
    CHECK_OK(cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL));
    CHECK_INT(got.lines, ==, 1);
    cometd_client_free(other);
}
