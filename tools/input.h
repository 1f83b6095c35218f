/* The standard input: all of it as one message, or line by line without waiting. */
#ifndef COMETD_TOOLS_INPUT_H
#define COMETD_TOOLS_INPUT_H

#include "options.h"

struct lines {
    char *bytes;
    size_t length, room, from;
    long number;
    bool is_at_end;
};

/* To free; ends the program when it is a terminal, or cannot be read. */
char *whole_input(const struct options *options, size_t *length);
/* The next whole line of what was read, without its newline, valid until lines_read; NULL when there is none. */
const char *lines_next(struct lines *lines, size_t *length);
/* Reads once. False when that failed. */
bool lines_read(struct lines *lines);

#endif
