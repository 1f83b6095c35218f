/* Names, with a resolver that does what a test wants: this program's own
 * getaddrinfo, which the library finds before that of the C library. */
#include "test.h"

#include <dlfcn.h>
#include <netdb.h>

static atomic_int lookups;
/* What the name stands for at this moment. */
enum { UNKNOWN, NOBODY_LISTENS, RIGHT, NO_SUCH_NAME };
static atomic_int answer = UNKNOWN;
static const char *const addresses[] = {NULL, "127.0.0.9", "127.0.0.1", NULL};

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    static const char own[] = "cometd.test";
    void *next = dlsym(RTLD_NEXT, "getaddrinfo");
    resolver *real;
    memcpy(&real, &next, sizeof real);
    if (name == NULL || strcmp(name, own) != 0)
        return real(name, service, hints, found);
    atomic_fetch_add(&lookups, 1);
    const char *now = addresses[atomic_load(&answer)];
    if (atomic_load(&answer) == NO_SUCH_NAME)
        return EAI_NONAME;
    return now == NULL ? EAI_AGAIN : real(now, service, hints, found);
}

static void wait_error_of_kind(cometd_client *client, cometd_status status)
{
    for (bool found = false; !found;) {
        cometd_event *event = wait_error(client);
        const cometd_error *error = cometd_event_error(event);
        found = cometd_error_status(error) == status;
        if (found) {
            CHECK_HAS(cometd_error_message(error), "cometd.test");
            CHECK(!cometd_error_is_fatal(error));
        }
        cometd_event_free(event);
    }
}

TEST(a_name_that_nobody_knows_for_a_while_is_looked_up_anew_each_time_150)
{
    peer *peer = peer_start(bayeux);
    char *url = text("http://cometd.test:%d/cometd", peer_port(peer));
    cometd_client *client = client_start(url);
    wait_error_of_kind(client, COMETD_E_DNS);
    wait_error_of_kind(client, COMETD_E_DNS);
    CHECK_INT(atomic_load(&lookups), >=, 2);

    /* An old address, at which nobody listens, is not kept. */
    atomic_store(&answer, NOBODY_LISTENS);
    wait_error_of_kind(client, COMETD_E_TCP);
    atomic_store(&answer, RIGHT);
    wait_state(client, COMETD_STATE_CONNECTED);

    /* And when it fails in the middle of a session. */
    subscribed(client, "/a");
    int before = atomic_load(&lookups), port = peer_port(peer);
    atomic_store(&answer, UNKNOWN);
    peer_stop(peer);
    wait_error_of_kind(client, COMETD_E_DNS);
    wait_error_of_kind(client, COMETD_E_DNS);
    CHECK_INT(atomic_load(&lookups), >=, before + 2);
    peer = peer_start_at(bayeux, 0, port);
    atomic_store(&answer, RIGHT);
    wait_state_event(client, COMETD_STATE_CONNECTED);
    client_end(client);
    peer_stop(peer);
    free(url);
}

TEST(case_never_works_a_name_that_is_none_ends_it_by_option_and_a_resolver_out_of_reach_does_not)
{
    cometd_client_builder *builder = builder_new("http://cometd.test:1/cometd");
    CHECK_OK(cometd_client_builder_set_fail_fast(builder, true));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    wait_error_of_kind(client, COMETD_E_DNS);
    wait_error_of_kind(client, COMETD_E_DNS);
    CHECK_INT(cometd_client_state(client), ==, COMETD_STATE_HANDSHAKING);
    atomic_store(&answer, NO_SUCH_NAME);
    CHECK_STATUS(cometd_client_wait(client, COMETD_STATE_CONNECTED, limit_ms()), COMETD_CLOSED);
    cometd_error *error;
    CHECK_OK(cometd_client_last_error(client, &error));
    CHECK_STATUS(cometd_error_status(error), COMETD_E_DNS);
    CHECK(cometd_error_is_fatal(error));
    cometd_error_free(error);
    cometd_client_free(client);
}
