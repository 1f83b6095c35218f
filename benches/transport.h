/* Which transport the clients of a benchmark use. */
#ifndef COMETD_BENCH_TRANSPORT_H
#define COMETD_BENCH_TRANSPORT_H

#include <cometd/cometd.h>

/* `name` is "long-polling" or "websocket"; no other takes its place. */
void choose_transport(cometd_client_builder *builder, const char *name);

/* Ends the program unless the last reply came over this one. */
void check_transport(const cometd_client *client, const char *name);

#endif
