/* What the tools are told: on the command line, in a file, and in the environment. */
#ifndef COMETD_TOOLS_OPTIONS_H
#define COMETD_TOOLS_OPTIONS_H

#include "log.h"

#include <cometd/cometd.h>
#include <stdbool.h>
#include <stddef.h>

enum tool { TOOL_SUB = 1, TOOL_PUB = 2, TOOL_RPC = 4, TOOL_BENCH = 8 };

/* How a tool ends. */
enum { EXIT_AS_ASKED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TIME = 3, EXIT_NO_CONNECTION = 4 };

/* An option of the library's. */
struct library_option {
    char *name, *value;
};

struct options {
    enum tool tool;
    const char *program;
    /* The URL, and what stands behind it: channels, a message. */
    char *url, **arguments;
    size_t argument_count;
    struct library_option *library;
    size_t library_count;
    char *user, *password, *token_file, *token_command, *certificate, *key;
    bool from_netrc, forever, is_patient;
    int verbosity;
    bool journal;
    /* In ms; -1 for none. */
    int limit_ms;
    /* Of cometd_sub. */
    char *format, *replay_file, *exec;
    int exec_limit_ms;
    long count;
    bool until_subscribed, notify, check;
    /* Of cometd_pub. */
    bool lines;
    long retries;
    /* Of cometd_bench. */
    long clients, seconds, size;
    double rate;
    char *publish;
    bool csv;
};

/* Reads them all. Secrets are taken out of `argv`. Ends the program where there is something wrong, after --help,
 * --version and `-o help`. */
void options_read(struct options *options, enum tool tool, int argc, char **argv, const char *help);
/* What stands wrong: says so, and ends the program with EXIT_USAGE. */
void options_wrong(const struct options *options, const char *format, ...) LIKE_PRINTF(2, 3);
/* Sets an option of the library's, as by -o. */
void options_set(struct options *options, const char *name, const char *value);
bool options_has(const struct options *options, const char *name);
/* "Bearer TOKEN" of --token-command or of the file, to free; NULL with a line on the standard error. `goes_on` as of
 * bearer_of_command. */
char *options_token(const struct options *options, bool (*goes_on)(void *user), void *user);
/* A builder with all of them, which asks for a token again when one is refused. It and its clients end before `options`; otherwise an error is said, and the program ends. */
cometd_client_builder *options_builder(struct options *options);
void options_free(struct options *options);

#endif
