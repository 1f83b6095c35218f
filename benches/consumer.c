/*
 * Receives a flood of events by libcometd and says what each one cost.
 *
 * consumer URL poll_many|poll|callback [-s SECONDS] [-w WARM-UP SECONDS] [-n EVENTS]
 */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cometd/cometd.h>

#define BATCH 256

static cometd_client *client;
static atomic_ulong events;
static atomic_ulong touched;
static atomic_bool closed;

static void die(const char *what, cometd_error *error)
{
    fprintf(stderr, "consumer: %s: %s\n", what, cometd_error_message(error));
    exit(1);
}

static void sleep_for(double seconds)
{
    struct timespec left;
    left.tv_sec = (time_t)seconds;
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0) {
    }
}

/* Only one thread at a time gets here, so that plain adding is enough. */
static void add(atomic_ulong *counter, unsigned long what)
{
    unsigned long before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + what, memory_order_relaxed);
}

/* What has been used and received up to a moment, by all threads. */
struct reading {
    double at;
    double cpu_us;
    unsigned long events;
    long switches;
};

static struct reading now(void)
{
    struct reading it;
    struct rusage usage;
    struct timespec at;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || clock_gettime(CLOCK_MONOTONIC, &at) != 0) {
        die("the system gives no times", NULL);
    }
    it.at = (double)at.tv_sec + (double)at.tv_nsec / 1e9;
    it.cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    it.events = atomic_load_explicit(&events, memory_order_relaxed);
    it.switches = usage.ru_nvcsw + usage.ru_nivcsw;
    return it;
}

/* A reading is wanted. It is taken when the next event comes, which mostly begins a response: a
 * reading in the midst of one would hold its cost without its events. */
static atomic_bool wanted;
static struct reading taken;
static sem_t is_taken;

static struct reading reading(void)
{
    atomic_store(&wanted, true);
    while (sem_wait(&is_taken) != 0 && errno == EINTR) {
    }
    return taken;
}

/* Looks at both ends of a message's texts, as the least that a program does. */
static void consume(const cometd_event *event)
{
    if (cometd_event_type(event) == COMETD_EVENT_MESSAGE) {
        if (atomic_load_explicit(&wanted, memory_order_relaxed)) {
            atomic_store(&wanted, false);
            taken = now();
            sem_post(&is_taken);
        }
        size_t channel_length;
        size_t data_length;
        const cometd_message *message = cometd_event_message(event);
        const char *channel = cometd_message_channel(message, &channel_length);
        const char *data = cometd_message_data(message, &data_length);
        if (channel == NULL || data == NULL || channel_length == 0 || data_length == 0) {
            die("a message has no channel or no data", NULL);
        }
        add(&touched, (unsigned char)channel[0] + (unsigned char)channel[channel_length - 1] +
                          (unsigned char)data[0] + (unsigned char)data[data_length - 1]);
        add(&events, 1);
    } else if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
        die("error", (cometd_error *)(size_t)cometd_event_error(event));
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
    double seconds = 1.0;
    double warm_up = 0.2;
    unsigned long until = 0;
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: consumer URL poll_many|poll|callback [-s SECONDS] "
                        "[-w WARM-UP SECONDS] [-n EVENTS]\n");
        return 2;
    }
    const char *mode = argv[2];
    sem_init(&is_taken, 0, 0);
    for (int index = 3; index < argc; index += 2) {
        if (strcmp(argv[index], "-s") == 0) {
            seconds = atof(argv[index + 1]);
        } else if (strcmp(argv[index], "-w") == 0) {
            warm_up = atof(argv[index + 1]);
        } else if (strcmp(argv[index], "-n") == 0) {
            until = strtoul(argv[index + 1], NULL, 10);
        } else {
            fprintf(stderr, "consumer: unknown option %s\n", argv[index]);
            return 2;
        }
    }

    cometd_client_builder *builder;
    cometd_error *error;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) {
        die("url", error);
    }
    /* 100 events of 100 KB with room to spare; the default is 16 MiB. */
    cometd_client_builder_set_response_capacity(builder, (size_t)64 << 20);
    if (cometd_client_builder_build(builder, &client, &error) != COMETD_OK) {
        die("build", error);
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
        die("subscribe", error);
    }
    if (cometd_client_connect(client, &error) != COMETD_OK) {
        die("connect", error);
    }
    if (cometd_client_wait(client, COMETD_STATE_CONNECTED, 10000) != COMETD_OK) {
        die("not connected within 10 seconds", NULL);
    }

    /* From here on this thread only sleeps and measures, as the yardstick's does. */
    sleep_for(warm_up);
    struct reading begin = reading();
    if (until > 0) {
        while (atomic_load_explicit(&events, memory_order_relaxed) - begin.events < until) {
            sleep_for(0.01);
        }
    } else {
        sleep_for(seconds);
    }
    struct reading end = reading();

    if (cometd_client_disconnect(client, 5000, &error) != COMETD_OK) {
        die("disconnect", error);
    }
    if (loop != NULL) {
        pthread_join(thread, NULL);
    }
    cometd_client_free(client);
    unsigned long received = end.events - begin.events;
    double cpu_us = end.cpu_us - begin.cpu_us;
    if (received == 0) {
        die("no events came", NULL);
    }
    printf("program=%s events=%lu seconds=%.3f cpu_us=%.0f us_per_event=%.4f switches=%ld\n", mode,
           received, end.at - begin.at, cpu_us, cpu_us / (double)received,
           end.switches - begin.switches);
    return 0;
}
