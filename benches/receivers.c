/*
 * Clients of one process that receive events at a pace: what each event costs, and how long
 * after the server's write the host has it.
 *
 * receivers URL poll|callback CLIENTS [-s SECONDS] [-w WARM-UP SECONDS]
 *           [-t long-polling|websocket]
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cometd/cometd.h>

#include "crowd.h"
#include "measure.h"
#include "transport.h"

static void take(const cometd_event *event)
{
    uint64_t now = nanoseconds();
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
        size_t length;
        const char *data = cometd_message_data(cometd_event_message(event), &length);
        uint64_t written = data == NULL ? 0 : written_at(data, length);
        if (written == 0 || written > now) {
            die("an event has no time", NULL);
        }
        record_latency(now - written);
    } else if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
        die("error", cometd_error_message(cometd_event_error(event)));
    }
}

static void call_back(void *unused, const cometd_event *event)
{
    (void)unused;
    take(event);
}

static void *poll_each(void *client)
{
    cometd_event *event;
    while (cometd_client_poll(client, -1, &event) == COMETD_OK) {
        take(event);
        cometd_event_free(event);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    long number = argc >= 4 ? atol(argv[3]) : 0;
    if (number < 1) {
        fprintf(stderr, "usage: receivers URL poll|callback CLIENTS [-s SECONDS] "
                        "[-w WARM-UP SECONDS] [-t long-polling|websocket]\n");
        return 2;
    }
    struct options options = read_options(argc - 4, argv + 4);
    size_t count = (size_t)number;
    cometd_client **clients = calloc(count, sizeof *clients);
    pthread_t *threads = calloc(count, sizeof *threads);
    cometd_client_builder *builder;
    cometd_error *error;
    if (clients == NULL || threads == NULL) {
        die("no memory", NULL);
    }
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) {
        die("url", cometd_error_message(error));
    }
    choose_transport(builder, options.transport);
    crowd_connect(builder, clients, count, NULL, NULL);
    for (size_t index = 0; index < count; index++) {
        if (strcmp(argv[2], "callback") == 0) {
            if (cometd_client_set_callback(clients[index], call_back, NULL, NULL) != COMETD_OK) {
                die("set_callback", NULL);
            }
        } else if (pthread_create(&threads[index], NULL, poll_each, clients[index]) != 0) {
            die("no thread", NULL);
        }
    }

    sleep_for(options.warm_up);
    forget_latencies();
    struct reading begin = read_now();
    sleep_for(options.seconds);
    struct reading end = read_now();
    size_t events = latencies_recorded();
    crowd_check(clients, count, options.transport);
    /* Nothing is recorded from here on. */
    stop_latencies();
    if (events == 0) {
        die("no events came", NULL);
    }
    printf("program=%s clients=%zu events=%zu a_second=%.0f us_per_event=%.4f p50=%.1f p99=%.1f\n",
           argv[2], count, events, (double)events / (end.at - begin.at),
           (end.cpu_us - begin.cpu_us) / (double)events, latency_at(0.5), latency_at(0.99));
    fflush(stdout);
    /* Ten thousand farewells are not what is measured. */
    _Exit(0);
}
