/* A program that has nothing around it, as in a container made from scratch: the servers
 * are outside of it, and what it has to know is in its environment. */
#include "test.h"

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        FAIL("%s is not set", name);
    return value;
}

static void control(const char *target)
{
    free(http_get(atoi(from_environment("COMETD_CONTROL")), target));
}

/* Subscribes, and publishes what comes back. */
static void exchange_an_event(cometd_client *client)
{
    subscribed(client, "/alone");
    publish(client, "/alone", "{\"n\":7}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/alone", 0);
    CHECK_INT(message_number(event), ==, 7);
    cometd_event_free(event);
}

TEST(http)
{
    cometd_client *client = client_connected(from_environment("COMETD_URL"));
    exchange_an_event(client);
    uint64_t id = publish(client, "/elsewhere", "1");
    cometd_event_free(wait_event(client, COMETD_EVENT_PUBLISHED, "/elsewhere", id));
    client_end(client);
}

TEST(websocket)
{
    static const int32_t transports[] = {COMETD_TRANSPORT_WEBSOCKET};
    cometd_client_builder *builder = builder_new(from_environment("COMETD_URL"));
    CHECK_OK(cometd_client_builder_set_transports(builder, transports, 1));
    cometd_client *client = build(builder);
    CHECK_OK(cometd_client_connect(client, NULL));
    exchange_an_event(client);
    client_end(client);
}

TEST(a_lost_session)
{
    cometd_client *client = client_connected(from_environment("COMETD_URL"));
    exchange_an_event(client);
    control("/forget");
    for (int renewed = 0; !renewed;) {
        cometd_event *event = wait_event(client, COMETD_EVENT_SUBSCRIBED, "/alone", 0);
        renewed = cometd_event_is_renewed(event);
        cometd_event_free(event);
    }
    publish(client, "/alone", "{\"n\":8}");
    cometd_event *event = wait_event(client, COMETD_EVENT_MESSAGE, "/alone", 0);
    CHECK_INT(message_number(event), ==, 8);
    cometd_event_free(event);
    client_end(client);
}

static cometd_client *https_client(void)
{
    const char *authority = from_environment("COMETD_AUTHORITY");
    cometd_client_builder *builder = builder_new(from_environment("COMETD_HTTPS_URL"));
    CHECK_OK(cometd_client_builder_set_certificate_authorities(builder, authority, strlen(authority), false));
    return build(builder);
}

TEST(https_with_an_authority_of_its_own)
{
    cometd_client *client = https_client();
    CHECK_OK(cometd_client_connect(client, NULL));
    exchange_an_event(client);
    client_end(client);
}

TEST(https_without_any_authority_is_refused)
{
    cometd_client *client = client_start(from_environment("COMETD_HTTPS_URL"));
    cometd_event *event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_TLS);
    CHECK_HAS(cometd_error_message(cometd_event_error(event)), "certificate verify failed");
    cometd_event_free(event);
    client_end(client);
}

/* In a root that has an /etc/hosts. */
TEST(a_name)
{
    cometd_client *client = client_connected(from_environment("COMETD_NAMED_URL"));
    exchange_an_event(client);
    client_end(client);
}

/* In one without: there is nobody to ask. */
TEST(a_name_and_no_resolver)
{
    cometd_client *client = client_start(from_environment("COMETD_NAMED_URL"));
    cometd_event *event = wait_error(client);
    CHECK_STATUS(cometd_error_status(cometd_event_error(event)), COMETD_E_DNS);
    CHECK(!cometd_error_is_fatal(cometd_event_error(event)));
    cometd_event_free(event);
    client_end(client);
}

static void *on_a_small_stack(void *unused)
{
    cometd_client *client = https_client();
    CHECK_OK(cometd_client_connect(client, NULL));
    exchange_an_event(client);
    client_end(client);
    return unused;
}

/* What musl gives a thread that asks for nothing, and half of it. */
TEST(calls_from_threads_with_small_stacks)
{
    for (size_t size = 64 * 1024; size <= 128 * 1024; size *= 2) {
        pthread_attr_t attributes;
        pthread_t thread;
        CHECK_INT(pthread_attr_init(&attributes), ==, 0);
        CHECK_INT(pthread_attr_setstacksize(&attributes, size), ==, 0);
        CHECK_INT(pthread_create(&thread, &attributes, on_a_small_stack, NULL), ==, 0);
        thread_join(thread);
        pthread_attr_destroy(&attributes);
    }
}

static atomic_int calls;

static void take_a_megabyte(void *user, const cometd_event *event)
{
    volatile char stack[1024 * 1024];
    (void)user, (void)event;
    for (size_t i = 0; i < sizeof stack; i += 1024)
        stack[i] = (char)i;
    atomic_fetch_add(&calls, stack[1024] == 0);
}

TEST(callbacks_have_more_stack_than_a_thread_of_the_system)
{
    cometd_client *client = build(builder_new(from_environment("COMETD_URL")));
    CHECK_OK(cometd_client_set_callback(client, take_a_megabyte, NULL, NULL));
    CHECK_OK(cometd_client_connect(client, NULL));
    WAIT_FOR(atomic_load(&calls) > 0);
    client_end(client);
}
