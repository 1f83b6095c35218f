/* Runs a command line in a shell, within a time limit. */
#ifndef COMETD_TOOLS_COMMAND_H
#define COMETD_TOOLS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct command {
    const char *line;
    /* What it reads; NULL for nothing. */
    const char *input;
    size_t input_length;
    /* NAME=VALUE, as many as up to NULL, beside the environment; may be NULL. */
    const char *const *environment;
    int limit_ms;
    /* Where its output goes, to be freed, when `takes_output`; otherwise it is this program's. */
    bool takes_output;
    char *output;
    size_t output_length;
    /* Called every now and then, unless NULL; false ends the command. */
    bool (*goes_on)(void *user);
    void *user;
};

/* Its exit status; 128 and the number of the signal that ended it; -1 when it could not be run, -2 when its time was up
 * or it was ended: with all that it has started, unless that has left its process group. */
int command_run(struct command *command);
/* Ends those that run on other threads; none is started any more. */
void commands_end(void);

#endif
