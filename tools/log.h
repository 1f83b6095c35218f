/* What the tools say on the standard error: a line at a time, one line of status
 * below them when it is a terminal. From any thread. */
#ifndef COMETD_TOOLS_LOG_H
#define COMETD_TOOLS_LOG_H

#include <stdbool.h>

/* As in syslog, and as the journal has them. */
enum priority { PRIORITY_ERROR = 3, PRIORITY_WARNING = 4, PRIORITY_INFO = 6, PRIORITY_DEBUG = 7 };

#if defined __GNUC__
#define LIKE_PRINTF(text_at, first) __attribute__((format(printf, text_at, first)))
#else
#define LIKE_PRINTF(text_at, first)
#endif

/* Each line begins with the program's name, or for the journal with its priority.
 * Above 0, `verbosity` shows what the library says of itself; below 0 only errors are shown. */
void log_open(const char *program, bool journal, int verbosity);
void log_line(enum priority priority, const char *format, ...) LIKE_PRINTF(2, 3);
/* The library does not call back any more. */
void log_close(void);

/* Whether there is a line of status. */
bool status_line_wanted(void);
void status_line_show(const char *text);
/* To be called before the standard output gets something. */
void status_line_hide(void);

/* Whether all that was printed is written: a reader that is gone is no error, another one is said. */
bool output_is_written(void);

#endif
