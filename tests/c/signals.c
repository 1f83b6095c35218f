/* Threads and signals. */
#include "test.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

static void nothing(void *user, const cometd_event *event)
{
    (void)user;
    (void)event;
}

TEST(contract_10_no_thread_before_connect_or_set_callback)
{
    CHECK_INT(count_threads(), ==, 1);
    cometd_client *client = build(builder_new("http://127.0.0.1:1/cometd"));
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    subscribe(client, "/a");
    publish(client, "/a", "1");
    cometd_event *event;
    CHECK_STATUS(cometd_client_poll(client, 10, &event), COMETD_NONE);
    CHECK_INT(cometd_client_fd(client), >=, 0);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, 10), COMETD_NONE);
    CHECK_INT(count_threads(), ==, 1);
    CHECK_OK(cometd_client_set_callback(client, nothing, NULL, NULL));
    WAIT_FOR(count_library_threads() >= 1); /* it names itself a moment later */
    cometd_receiver_free(receiver);
    cometd_client_free(client);
    WAIT_FOR(count_threads() == 1);
}

TEST(contract_10_all_threads_are_gone_with_the_last_client)
{
    server *server = server_start(NULL);
    for (int round = 0; round < 5; round++) {
        cometd_client *clients[6];
        for (int i = 0; i < 6; i++) {
            clients[i] = build(builder_new(server->url));
            if (i % 2)
                CHECK_OK(cometd_client_set_callback(clients[i], nothing, NULL, NULL));
            CHECK_OK(cometd_client_connect(clients[i], NULL));
        }
        for (int i = 0; i < 6; i++)
            wait_state(clients[i], COMETD_STATE_CONNECTED);
        CHECK_INT(count_library_threads(), >=, 2);
        CHECK_INT(count_library_threads(), <=, 12);
        for (int i = 0; i < 6; i++) {
            if (round % 2)
                CHECK_OK(cometd_client_disconnect(clients[i], limit_ms(), NULL));
            cometd_client_free(clients[i]);
        }
        WAIT_FOR(count_threads() == 1);
    }
    server_stop(server);
}

static void count(void *user, const cometd_event *event)
{
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE)
        atomic_fetch_add((atomic_int *)user, 1);
}

/* By /proc/self/task: the test's own thread, the one for I/O, and the pool for callbacks. */
TEST(contract_10_a_thousand_clients_need_no_more_threads_than_one_209)
{
    enum { CLIENTS = 1000, FEWEST = 100, POOL = 4 };
    /* Each needs a connection or two, and so does the server for each. */
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    /* Where the system allows fewer files, there are fewer clients. */
    int clients_here = files.rlim_max / 4 < CLIENTS ? (int)(files.rlim_max / 4) : CLIENTS;
    CHECK_INT(clients_here, >=, FEWEST);

    server *server = server_start("--timeout-ms", "60000", "--tick-ms", "0", NULL);
    static cometd_client *clients[CLIENTS];
    atomic_int seen = 0;
    for (int i = 0; i < clients_here; i++) {
        clients[i] = client_start(server->url);
        subscribe(clients[i], "/a");
    }
    for (int i = 0; i < clients_here; i++)
        cometd_event_free(wait_event(clients[i], COMETD_EVENT_SUBSCRIBED, "/a", 0));
    CHECK_INT(count_threads(), ==, 2);
    for (int i = 0; i < clients_here; i++)
        CHECK_OK(cometd_client_set_callback(clients[i], count, &seen, NULL));
    server_do(server, "/publish?channel=/a&count=1");
    WAIT_FOR(atomic_load(&seen) == clients_here);
    /* Those that stand in for slow callbacks go again. */
    WAIT_FOR(count_threads() <= 2 + POOL);
    for (int i = 0; i < clients_here; i++)
        cometd_client_free(clients[i]);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

/* How many library threads there are, and that each blocks all signals that can be. */
static int check_masks(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], line[256], name[64] = "";
        unsigned long long blocked = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!status)
            continue;
        while (fgets(line, sizeof line, status)) {
            sscanf(line, "Name: %63s", name);
            sscanf(line, "SigBlk: %llx", &blocked);
        }
        fclose(status);
        if (strncmp(name, "cometd-", 7))
            continue;
        count++;
        for (int signal = 1; signal <= 64; signal++) {
            /* Not to be blocked: these two by nobody, and two of glibc's own. */
            if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33)
                continue;
            if (!(blocked >> (signal - 1) & 1))
                FAIL("signal %d is not blocked on %s: %016llx", signal, name, blocked);
        }
    }
    closedir(tasks);
    return count;
}

static cometd_status block_in_provider(void *user, int32_t reason, cometd_token *token)
{
    (void)reason;
    check_masks();
    *(atomic_int *)user = 1;
    return cometd_token_set_authorization(token, "Bearer good");
}

TEST(contract_10_the_librarys_threads_block_all_signals)
{
    atomic_int provided = 0;
    CHECK_OK(cometd_runtime_set_threads(3));
    server *server = server_start("--token", "good", NULL);
    cometd_client_builder *builder = builder_new(server->url);
    CHECK_OK(cometd_client_builder_set_token_provider(builder, block_in_provider, &provided, NULL));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_set_callback(client, nothing, NULL, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    CHECK_INT(provided, ==, 1);
    CHECK_INT(check_masks(), >=, 4); /* I/O, callbacks */
    sigset_t mine;
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &mine), ==, 0);
    for (int signal = 1; signal < 32; signal++)
        CHECK_INT(sigismember(&mine, signal), ==, 0);
    client_end(client);
    WAIT_FOR(count_threads() == 1);
    server_stop(server);
}

TEST(contract_10_no_signal_handler_is_installed)
{
    signal(SIGPIPE, SIG_DFL); /* as a program has it that knows nothing of it */
    struct sigaction before[65] = {0}, after;
    for (int number = 1; number < 65; number++)
        sigaction(number, NULL, &before[number]);
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    server_do(server, "/restart?down_ms=50"); /* writing to a closed socket must not kill */
    for (int i = 0; i < 20; i++)
        publish(client, "/a", "1");
    wait_state_event(client, COMETD_STATE_REHANDSHAKING);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    for (int number = 1; number < 65; number++)
        if (sigaction(number, NULL, &after) == 0 &&
            after.sa_handler != before[number].sa_handler)
            FAIL("signal %d has another handler than before", number);
    client_end(client);
    server_stop(server);
}

static void handle(int number)
{
    (void)number;
}

/* All that a program may have set of them: handlers with their flags and masks, what its thread
 * blocks, and the stack that handlers run on. */
typedef struct dispositions {
    struct sigaction actions[65];
    sigset_t blocked;
    stack_t stack;
} dispositions;

static dispositions dispositions_now(void)
{
    dispositions all;
    memset(&all, 0, sizeof all);
    for (int number = 1; number < 65; number++)
        sigaction(number, NULL, &all.actions[number]);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &all.blocked), ==, 0);
    CHECK_INT(sigaltstack(NULL, &all.stack), ==, 0);
    return all;
}

static void check_dispositions(const dispositions *before)
{
    dispositions now = dispositions_now();
    for (int number = 1; number < 65; number++) {
        const struct sigaction *was = &before->actions[number], *is = &now.actions[number];
        CHECK(is->sa_handler == was->sa_handler && is->sa_flags == was->sa_flags);
        for (int other = 1; other < 65; other++)
            CHECK_INT(sigismember(&is->sa_mask, other), ==, sigismember(&was->sa_mask, other));
        CHECK_INT(sigismember(&now.blocked, number), ==, sigismember(&before->blocked, number));
    }
    CHECK(now.stack.ss_sp == before->stack.ss_sp && now.stack.ss_flags == before->stack.ss_flags);
}

static atomic_int called;

static void note_call(void *user, const cometd_event *event)
{
    (void)user, (void)event;
    called = 1;
}

TEST(contract_10_the_hosts_signals_are_as_it_has_set_them)
{
    static char stack[1 << 16];
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    CHECK_INT(sigaltstack(&own, NULL), ==, 0);
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaddset(&action.sa_mask, SIGHUP);
    CHECK_INT(sigaction(SIGSEGV, &action, NULL), ==, 0);
    CHECK_INT(sigaction(SIGTERM, &action, NULL), ==, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, &blocked, NULL), ==, 0);
    server *server = server_start(NULL);
    dispositions before = dispositions_now();

    cometd_client *client = build(builder_new(server->url));
    cometd_client_free(build(builder_new("https://127.0.0.1:9/cometd")));
    CHECK_OK(cometd_client_set_callback(client, note_call, NULL, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    WAIT_FOR(called);
    check_dispositions(&before);
    client_end(client);
    WAIT_FOR(count_threads() == 1);
    check_dispositions(&before);
    server_stop(server);
}

static atomic_int interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted++;
}

static void *poll_long(void *argument)
{
    cometd_event_free(wait_event(argument, COMETD_EVENT_MESSAGE, "/a", 0));
    return NULL;
}

TEST(a_signal_does_not_end_a_poll)
{
    struct sigaction action = {.sa_handler = on_signal};
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), ==, 0);
    server *server = server_start(NULL);
    cometd_client *client = client_connected(server->url);
    subscribed(client, "/a");
    pthread_t thread = thread_start(poll_long, client);
    for (int i = 0; i < 50; i++) {
        pthread_kill(thread, SIGUSR1);
        test_yield();
    }
    WAIT_FOR(interrupted >= 1);
    server_do(server, "/publish?channel=/a");
    thread_join(thread);
    client_end(client);
    server_stop(server);
}
