#include "log.h"

#include <cometd/cometd.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    const char *program;
    bool journal, has_status_line, is_status_shown;
    int verbosity;
} to = {.lock = PTHREAD_MUTEX_INITIALIZER, .program = "cometd"};

/* Nobody can be told that the standard error is closed. */
static void put(const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return;
        text += written;
        length -= (size_t)written;
    }
}

static void erase(void) {
    if (to.is_status_shown) put("\r\033[K", 4);
    to.is_status_shown = false;
}

void log_line(enum priority priority, const char *format, ...) {
    if (to.verbosity < 0 && priority > PRIORITY_ERROR) return;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    size_t room = (length < 0 ? 0 : (size_t)length) + strlen(to.program) + 8;
    char *line = malloc(room);
    if (line && length >= 0) {
        int start = to.journal ? snprintf(line, room, "<%d>", priority) : snprintf(line, room, "%s: ", to.program);
        vsnprintf(line + start, room - (size_t)start, format, arguments);
        size_t end = (size_t)start + (size_t)length;
        /* A line is one line, whatever is in it, and the journal would take another one for another priority. */
        for (size_t at = 0; at < end; at++)
            if (line[at] == '\n' || line[at] == '\r' || line[at] == '\033') line[at] = ' ';
        line[end] = '\n';
        pthread_mutex_lock(&to.lock);
        erase();
        put(line, end + 1);
        pthread_mutex_unlock(&to.lock);
    }
    free(line);
    va_end(arguments);
}

static void on_library_line(void *user, int32_t level, const char *target, const char *text) {
    (void)user;
    (void)target;
    enum priority priority = level == COMETD_LOG_ERROR  ? PRIORITY_ERROR
                             : level == COMETD_LOG_WARN ? PRIORITY_WARNING
                             : level == COMETD_LOG_INFO ? PRIORITY_INFO
                                                        : PRIORITY_DEBUG;
    log_line(priority, "%s", text);
}

void log_open(const char *program, bool journal, int verbosity) {
    const char *terminal = getenv("TERM");
    to.program = program;
    to.journal = journal;
    to.verbosity = verbosity;
    to.has_status_line = !journal && verbosity == 0 && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    /* What it warns of is told by events as well. */
    int32_t level = verbosity >= 2 ? COMETD_LOG_BODIES : verbosity == 1 ? COMETD_LOG_INFO : COMETD_LOG_ERROR;
    cometd_log_set(level, on_library_line, NULL, NULL);
}

void log_close(void) {
    status_line_hide();
    cometd_log_set(COMETD_LOG_OFF, NULL, NULL, NULL);
}

bool status_line_wanted(void) { return to.has_status_line; }

void status_line_show(const char *text) {
    if (!to.has_status_line) return;
    char line[96];
    /* One that is wider than the terminal could not be erased. */
    int length = snprintf(line, sizeof line, "\r\033[K%.79s", text);
    pthread_mutex_lock(&to.lock);
    put(line, (size_t)length);
    to.is_status_shown = true;
    pthread_mutex_unlock(&to.lock);
}

void status_line_hide(void) {
    pthread_mutex_lock(&to.lock);
    erase();
    pthread_mutex_unlock(&to.lock);
}

bool output_is_written(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    int error = errno;
    if (error == EPIPE) return true;
    log_line(PRIORITY_ERROR, "standard output: %s", strerror(error));
    return false;
}
