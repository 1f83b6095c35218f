/* Many clients in one process. */
#ifndef COMETD_BENCH_CROWD_H
#define COMETD_BENCH_CROWD_H

#include <stddef.h>

#include <cometd/cometd.h>

/*
 * Builds and connects so many clients, in waves that go easy on the server's backlog, and
 * returns when all are connected. `prepare` is called with each one before it connects, and
 * `connected` once it is; they may be NULL. What has come meanwhile is polled and freed; an
 * error ends the program.
 */
void crowd_connect(cometd_client_builder *builder, cometd_client **clients, size_t count,
                   void (*prepare)(cometd_client *client),
                   void (*connected)(cometd_client *client));

/* Ends the program when one of them is not connected any more, or by another transport. */
void crowd_check(cometd_client *const *clients, size_t count, const char *transport);

void crowd_free(cometd_client **clients, size_t count);

#endif
