/* How events are printed: the formats of -F. */
#ifndef COMETD_TOOLS_FORMAT_H
#define COMETD_TOOLS_FORMAT_H

#include <cometd/cometd.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *bytes;
    size_t length, room;
};

/* What is wrong with a format; NULL when nothing is. */
const char *format_problem(const char *format);
/* Puts the event of a message into `to`, in place of what is there. False when there is no memory. */
bool format_message(struct text *to, const char *format, const cometd_message *message);

#endif
