#define _GNU_SOURCE /* memmem */
#include "measure.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s%s%s\n", what, why == NULL ? "" : ": ", why == NULL ? "" : why);
    exit(1);
}

void sleep_for(double seconds)
{
    struct timespec left;
    left.tv_sec = (time_t)seconds;
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0) {
    }
}

uint64_t nanoseconds(void)
{
    struct timespec at;
    if (clock_gettime(CLOCK_MONOTONIC, &at) != 0) {
        die("the system gives no times", NULL);
    }
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

uint64_t written_at(const char *data, size_t length)
{
    static const char name[] = "\"at\":";
    const char *found = memmem(data, length, name, sizeof name - 1);
    uint64_t at = 0;
    if (found == NULL) {
        return 0;
    }
    for (found += sizeof name - 1; found < data + length && *found >= '0' && *found <= '9';
         found++) {
        at = at * 10 + (uint64_t)(*found - '0');
    }
    return at;
}

long process_status(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

struct options read_options(int count, char **arguments)
{
    struct options options = {
        .seconds = 1.0, .warm_up = 0.2, .events = 0, .transport = "long-polling"};
    for (int index = 0; index < count; index += 2) {
        const char *value = index + 1 < count ? arguments[index + 1] : NULL;
        if (value == NULL) {
            die("an option has no value", arguments[index]);
        } else if (strcmp(arguments[index], "-s") == 0) {
            options.seconds = atof(value);
        } else if (strcmp(arguments[index], "-w") == 0) {
            options.warm_up = atof(value);
        } else if (strcmp(arguments[index], "-n") == 0) {
            options.events = strtoul(value, NULL, 10);
        } else if (strcmp(arguments[index], "-t") == 0) {
            options.transport = value;
        } else {
            die("unknown option", arguments[index]);
        }
    }
    return options;
}

static atomic_ulong events;

void count_events(unsigned long number)
{
    /* Plain adding is enough, and is what the other yardsticks do. */
    unsigned long before = atomic_load_explicit(&events, memory_order_relaxed);
    atomic_store_explicit(&events, before + number, memory_order_relaxed);
}

unsigned long events_received(void)
{
    return atomic_load_explicit(&events, memory_order_relaxed);
}

struct reading read_now(void)
{
    struct reading it;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        die("the system gives no times", NULL);
    }
    it.at = (double)nanoseconds() / 1e9;
    it.cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    it.events = events_received();
    it.switches = usage.ru_nvcsw + usage.ru_nivcsw;
    return it;
}

static atomic_bool wanted;
static struct reading taken;
static sem_t is_taken;

void reading_point(void)
{
    if (atomic_load_explicit(&wanted, memory_order_acquire)) {
        atomic_store(&wanted, false);
        taken = read_now();
        sem_post(&is_taken);
    }
}

static struct reading reading(void)
{
    sem_init(&is_taken, 0, 0);
    atomic_store(&wanted, true);
    while (sem_wait(&is_taken) != 0 && errno == EINTR) {
    }
    return taken;
}

struct flood measure_flood(const struct options *options)
{
    struct flood flood;
    sleep_for(options->warm_up);
    flood.begin = reading();
    if (options->events > 0) {
        while (events_received() - flood.begin.events < options->events) {
            sleep_for(0.01);
        }
    } else {
        sleep_for(options->seconds);
    }
    flood.end = reading();
    return flood;
}

void print_flood(const char *program, const struct flood *flood)
{
    unsigned long received = flood->end.events - flood->begin.events;
    double cpu_us = flood->end.cpu_us - flood->begin.cpu_us;
    if (received == 0) {
        die("no events came", NULL);
    }
    printf("program=%s events=%lu seconds=%.3f cpu_us=%.0f us_per_event=%.4f switches=%ld "
           "received=%lu\n",
           program, received, flood->end.at - flood->begin.at, cpu_us, cpu_us / (double)received,
           flood->end.switches - flood->begin.switches, events_received());
}

/* Minutes at the highest rate; what comes later is not recorded. */
#define MOST_LATENCIES ((size_t)1 << 20)

static uint64_t latencies[MOST_LATENCIES];
static atomic_size_t latency_count;
static atomic_bool latencies_stopped;

void record_latency(uint64_t taken_nanoseconds)
{
    if (atomic_load_explicit(&latencies_stopped, memory_order_relaxed)) {
        return;
    }
    size_t index = atomic_fetch_add_explicit(&latency_count, 1, memory_order_relaxed);
    if (index < MOST_LATENCIES) {
        latencies[index] = taken_nanoseconds;
    }
}

void forget_latencies(void)
{
    atomic_store(&latency_count, 0);
}

size_t latencies_recorded(void)
{
    size_t count = atomic_load(&latency_count);
    return count < MOST_LATENCIES ? count : MOST_LATENCIES;
}

void stop_latencies(void)
{
    atomic_store(&latencies_stopped, true);
    /* One that had looked before is done by then. */
    sleep_for(0.1);
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

double latency_at(double part)
{
    size_t count = latencies_recorded();
    if (count == 0) {
        die("no events came", NULL);
    }
    qsort(latencies, count, sizeof *latencies, compare);
    return (double)latencies[(size_t)(part * (double)(count - 1))] / 1e3;
}
