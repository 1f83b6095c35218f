/* What is there on Windows only: a socket for the descriptor, a DLL that is loaded and let go
 * of, SChannel. Built as the programs of tests/c are; tests/platforms/windows does it. */
#include "test.h"

#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <windows.h>

static int readable_by_poll(cometd_fd fd, int timeout)
{
    WSAPOLLFD it = {fd, POLLRDNORM, 0};
    return WSAPoll(&it, 1, timeout) == 1;
}

static int readable_by_select(cometd_fd fd, int timeout)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval wait = {timeout / 1000, timeout % 1000 * 1000};
    return select(0, &set, NULL, NULL, &wait) == 1;
}

static void take_all(cometd_client *client)
{
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK)
        cometd_event_free(event);
}

/* A client that has told all of its beginning. */
static cometd_client *quiet_client(peer *peer)
{
    cometd_client *client = client_connected(peer_url(peer));
    free(peer_request(peer, "\"/meta/connect\"", 2));
    take_all(client);
    return client;
}

TEST(the_descriptor_is_a_socket_that_select_and_poll_take)
{
    static int (*const ways[])(cometd_fd, int) = {readable_by_poll, readable_by_select};
    peer *peer = peer_start(bayeux);
    cometd_client *client = quiet_client(peer);
    cometd_fd fd = cometd_client_fd(client);
    CHECK(fd != (cometd_fd)-1);
    CHECK(fd == cometd_client_fd(client));
    for (int round = 0; round < 20; round++) {
        for (int way = 0; way < 2; way++)
            CHECK(!ways[way](fd, 0));
        peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
        for (int way = 0; way < 2; way++)
            CHECK(ways[way](fd, limit_ms()));
        take_all(client);
    }
    CHECK(cometd_client_fd(NULL) == INVALID_SOCKET);
    client_end(client);
    peer_stop(peer);
}

TEST(an_event_object_wakes_once_for_what_is_there)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = quiet_client(peer);
    HANDLE wakes = CreateEventA(NULL, FALSE, FALSE, NULL);
    CHECK_INT(WSAEventSelect(cometd_client_fd(client), wakes, FD_READ), ==, 0);
    for (int round = 0; round < 20; round++) {
        CHECK_INT(WaitForMultipleObjects(1, &wakes, FALSE, 0), ==, WAIT_TIMEOUT);
        peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
        CHECK_INT(WaitForMultipleObjects(1, &wakes, FALSE, (DWORD)limit_ms()), ==, WAIT_OBJECT_0);
        take_all(client);
    }
    client_end(client);
    CloseHandle(wakes);
    peer_stop(peer);
}

TEST(a_receiver_has_a_descriptor_of_its_own)
{
    peer *peer = peer_start(bayeux);
    cometd_client *client = quiet_client(peer);
    cometd_receiver *receiver;
    CHECK_OK(cometd_receiver_new(client, &receiver));
    cometd_fd fd = cometd_receiver_fd(receiver);
    CHECK(fd != cometd_client_fd(client));
    CHECK(!readable_by_poll(fd, 0));
    peer_push(peer, "{\"channel\":\"/a\",\"data\":1}");
    CHECK(readable_by_poll(fd, limit_ms()));
    cometd_event_free(wait_receiver_event(receiver, COMETD_EVENT_MESSAGE, "/a", 0));
    CHECK(!readable_by_poll(fd, 0));
    cometd_receiver_free(receiver);
    client_end(client);
    peer_stop(peer);
}

TEST(the_dll_that_is_let_go_of_stays_while_its_threads_run)
{
    server *server = server_start(NULL);
    char path[MAX_PATH];
    CHECK(GetModuleFileNameA(GetModuleHandleA("cometd.dll"), path, sizeof path) > 0);
    HMODULE library = LoadLibraryA(path);
    CHECK(library != NULL && GetProcAddress(library, "cometd_version") != NULL);
    cometd_client *client = client_connected(server->url);
    /* Its own reference, and that of the program. */
    for (int i = 0; i < 10; i++)
        FreeLibrary(library);
    CHECK(GetModuleHandleA("cometd.dll") == library);
    subscribed(client, "/a");
    client_end(client);
    server_stop(server);
}

/* COMETD_TEST_HTTPS is the demo server behind TLS, by a certificate that only the file
 * COMETD_TEST_AUTHORITY makes one to trust. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        FAIL("%s is not set", name);
    return value;
}

TEST(schannel_says_that_it_does_not_trust)
{
    cometd_client *client = client_start(setting("COMETD_TEST_HTTPS"));
    cometd_event *event = wait_error(client);
    const cometd_error *error = cometd_event_error(event);
    CHECK_STATUS(cometd_error_status(error), COMETD_E_TLS);
    CHECK_HAS(cometd_error_message(error), "tls with ");
    cometd_event_free(event);
    cometd_client_free(client);
}

static void session_over(cometd_client_builder *builder)
{
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_state(client, COMETD_STATE_CONNECTED);
    subscribed(client, "/ticks");
    cometd_event_free(wait_event(client, COMETD_EVENT_MESSAGE, "/ticks", 0));
    client_end(client);
}

TEST(schannel_trusts_an_authority_that_it_is_given)
{
    char pem[8000];
    FILE *file = fopen(setting("COMETD_TEST_AUTHORITY"), "rb");
    CHECK(file != NULL);
    size_t length = fread(pem, 1, sizeof pem, file);
    fclose(file);
    cometd_client_builder *builder = builder_new(setting("COMETD_TEST_HTTPS"));
    CHECK_OK(cometd_client_builder_set_certificate_authorities(builder, pem, length, false));
    session_over(builder);
}

TEST(schannel_trusts_anybody_when_it_is_told_so)
{
    cometd_client_builder *builder = builder_new(setting("COMETD_TEST_HTTPS"));
    CHECK_OK(cometd_client_builder_set_insecure(builder, true));
    session_over(builder);
}
