/*
 * What the programs of the benchmark have in common: options, times, and what a flood of
 * events costs.
 */
#ifndef COMETD_BENCH_MEASURE_H
#define COMETD_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* Ends the program with a line on stderr; `why` may be NULL. */
void die(const char *what, const char *why);

void sleep_for(double seconds);

/* Nanoseconds of CLOCK_MONOTONIC, which the server's `at` counts too. */
uint64_t nanoseconds(void);

/* The number after `"at":` in data that need not end with a NUL; 0 if there is none. */
uint64_t written_at(const char *data, size_t length);

/* A number out of /proc/self/status; -1 if there is none. */
long process_status(const char *name);

struct options {
    double seconds;
    double warm_up;
    /* Until so many events, in place of seconds; 0 for none. */
    unsigned long events;
    const char *transport;
};

/* Reads -s SECONDS, -w WARM-UP SECONDS, -n EVENTS and -t TRANSPORT from arguments[0] on. */
struct options read_options(int count, char **arguments);

/* What the process has used and received up to a moment, by all threads. */
struct reading {
    double at;
    double cpu_us;
    unsigned long events;
    long switches;
};

struct reading read_now(void);

/* Counts what was received. One thread at a time may call it. */
void count_events(unsigned long number);
unsigned long events_received(void);

/* To be called where a response begins, or where one has ended: a reading is taken here when
 * one is wanted, since in the midst of a response there is cost without events. */
void reading_point(void);

/* Called by main once events come: sleeps, and returns with the two readings. */
struct flood {
    struct reading begin;
    struct reading end;
};

struct flood measure_flood(const struct options *options);

/* Prints the result's line, with all that was received up to now. */
void print_flood(const char *program, const struct flood *flood);

/* Times between a write and what came of it, from any number of threads. */
void record_latency(uint64_t nanoseconds);
/* Begins anew. */
void forget_latencies(void);
size_t latencies_recorded(void);
/* What is recorded from here on is dropped. */
void stop_latencies(void);
/* In microseconds; `part` is 0.5 for the median. After stop_latencies, or with one thread. */
double latency_at(double part);

#endif
