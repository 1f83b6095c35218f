/*
 * Receives a flood of events by libcometd and says what each one cost.
 *
 * consumer URL poll_many|poll|callback [-s SECONDS] [-w WARM-UP SECONDS] [-n EVENTS]
 *          [-t long-polling|websocket]
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cometd/cometd.h>

#include "measure.h"
#include "transport.h"

#define BATCH 256

static cometd_client *client;
static atomic_ulong touched;
static atomic_bool closed;

/* Looks at both ends of a message's texts, as the least that a program does. */
static void consume(const cometd_event *event)
{
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
        /* The next event mostly begins a response. */
        reading_point();
        size_t channel_length;
        size_t data_length;
        const cometd_message *message = cometd_event_message(event);
        const char *channel = cometd_message_channel(message, &channel_length);
        const char *data = cometd_message_data(message, &data_length);
        if (channel == NULL || data == NULL || channel_length == 0 || data_length == 0) {
            die("a message has no channel or no data", NULL);
        }
        /* Only one thread at a time gets here, so that plain adding is enough. */
        unsigned long before = atomic_load_explicit(&touched, memory_order_relaxed);
        atomic_store_explicit(&touched,
                              before + (unsigned char)channel[0] +
                                  (unsigned char)channel[channel_length - 1] +
                                  (unsigned char)data[0] + (unsigned char)data[data_length - 1],
                              memory_order_relaxed);
        count_events(1);
    } else if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
        die("error", cometd_error_message(cometd_event_error(event)));
    } else if (cometd_event_type(event) == COMETD_EVENT_CLOSED) {
        atomic_store(&closed, true);
    }
}

static void *poll_many(void *unused)
{
    cometd_event *batch[BATCH];
    (void)unused;
    while (!atomic_load_explicit(&closed, memory_order_relaxed)) {
        size_t count = cometd_client_poll_many(client, -1, batch, BATCH);
        for (size_t index = 0; index < count; index++) {
            consume(batch[index]);
            cometd_event_free(batch[index]);
        }
    }
    return NULL;
}

static void *poll_each(void *unused)
{
    cometd_event *event;
    (void)unused;
    while (cometd_client_poll(client, -1, &event) == COMETD_OK) {
        consume(event);
        cometd_event_free(event);
    }
    return NULL;
}

static void call_back(void *unused, const cometd_event *event)
{
    (void)unused;
    consume(event);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: consumer URL poll_many|poll|callback [-s SECONDS] "
                        "[-w WARM-UP SECONDS] [-n EVENTS] [-t long-polling|websocket]\n");
        return 2;
    }
    const char *mode = argv[2];
    struct options options = read_options(argc - 3, argv + 3);

    cometd_client_builder *builder;
    cometd_error *error;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) {
        die("url", cometd_error_message(error));
    }
    /* 100 events of 100 KB with room to spare; the default is 16 MiB. */
    cometd_client_builder_set_response_capacity(builder, (size_t)64 << 20);
    choose_transport(builder, options.transport);
    if (cometd_client_builder_build(builder, &client, &error) != COMETD_OK) {
        die("build", cometd_error_message(error));
    }
    cometd_client_builder_free(builder);

    pthread_t thread;
    void *(*loop)(void *) = NULL;
    if (strcmp(mode, "poll_many") == 0) {
        loop = poll_many;
    } else if (strcmp(mode, "poll") == 0) {
        loop = poll_each;
    } else if (strcmp(mode, "callback") == 0) {
        if (cometd_client_set_callback(client, call_back, NULL, NULL) != COMETD_OK) {
            die("set_callback", NULL);
        }
    } else {
        fprintf(stderr, "consumer: unknown mode %s\n", mode);
        return 2;
    }
    if (loop != NULL && pthread_create(&thread, NULL, loop, NULL) != 0) {
        die("no thread", NULL);
    }

    const char *channel = "/flood/**";
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK) {
        die("subscribe", cometd_error_message(error));
    }
    if (cometd_client_connect(client, &error) != COMETD_OK) {
        die("connect", cometd_error_message(error));
    }
    if (cometd_client_wait(client, COMETD_STATE_CONNECTED, 10000) != COMETD_OK) {
        die("not connected within 10 seconds", NULL);
    }

    /* From here on this thread only sleeps and measures, as the yardstick's does. */
    struct flood flood = measure_flood(&options);

    check_transport(client, options.transport);
    if (cometd_client_disconnect(client, 5000, &error) != COMETD_OK) {
        die("disconnect", cometd_error_message(error));
    }
    if (loop != NULL) {
        pthread_join(thread, NULL);
    }
    cometd_client_free(client);
    print_flood(mode, &flood);
    return 0;
}
