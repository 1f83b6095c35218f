/* The positions of channels in a file, for the replay extension: a line for each, its position and its name. */
#ifndef COMETD_TOOLS_POSITIONS_H
#define COMETD_TOOLS_POSITIONS_H

#include <cometd/cometd.h>
#include <stdbool.h>

struct positions;

/* NULL with a line on the standard error, when there is a file that cannot be read. */
struct positions *positions_open(const char *path);
cometd_status positions_load(void *positions, const char *channel, int64_t *position);
cometd_status positions_save(void *positions, const char *channel, int64_t position);
/* From now on nothing is saved: what comes is not done with. */
void positions_freeze(struct positions *positions);
/* Writes what has changed, whole or not at all. With `durable` it has reached the disk then; without, it is there
 * after any end of this program, and reaches the disk once a second. */
bool positions_write(struct positions *positions, bool durable);
void positions_close(struct positions *positions);

#endif
