#include "input.h"

#include "credentials.h"
#include "log.h"
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A line is no longer. */
enum { LONGEST = 64 << 20, AT_ONCE = 65536 };

bool lines_read(struct lines *lines) {
    if (lines->from > 0) {
        memmove(lines->bytes, lines->bytes + lines->from, lines->length - lines->from);
        lines->length -= lines->from;
        lines->from = 0;
    }
    if (lines->room - lines->length < AT_ONCE + 1) {
        size_t room = lines->room * 2 + AT_ONCE + 1;
        char *more = room > LONGEST ? NULL : realloc(lines->bytes, room);
        if (!more) {
            log_line(PRIORITY_ERROR, "standard input: line %ld is too long", lines->number + 1);
            return false;
        }
        lines->bytes = more;
        lines->room = room;
    }
    ssize_t length = read(STDIN_FILENO, lines->bytes + lines->length, AT_ONCE);
    if (length < 0 && errno != EINTR && errno != EAGAIN) {
        log_line(PRIORITY_ERROR, "standard input: %s", strerror(errno));
        return false;
    }
    if (length == 0) {
        /* The last line may be without a newline. */
        if (lines->length > 0) lines->bytes[lines->length++] = '\n';
        lines->is_at_end = true;
    }
    if (length > 0) lines->length += (size_t)length;
    return true;
}

const char *lines_next(struct lines *lines, size_t *length) {
    while (lines->from < lines->length) {
        const char *line = lines->bytes + lines->from;
        const char *end = memchr(line, '\n', lines->length - lines->from);
        if (!end) return NULL;
        lines->from += (size_t)(end - line) + 1;
        lines->number++;
        *length = (size_t)(end - line);
        for (size_t at = 0; at < *length; at++)
            if (!strchr(" \t\r", line[at]) || !line[at]) return line;
    }
    return NULL;
}

char *whole_input(const struct options *options, size_t *length) {
    if (isatty(STDIN_FILENO)) options_wrong(options, "there is no message");
    struct lines all = {NULL, 0, 0, 0, 0, false};
    long long deadline = options->limit_ms < 0 ? -1 : now_ms() + options->limit_ms;
    while (!all.is_at_end) {
        long long left = deadline < 0 ? -1 : deadline - now_ms();
        int ready = poll(&(struct pollfd){.fd = STDIN_FILENO, .events = POLLIN}, 1, deadline >= 0 && left < 0 ? 0 : (int)left);
        if (ready == 0) {
            log_line(PRIORITY_ERROR, "standard input: the time is up");
            exit(EXIT_TIME);
        }
        if (!lines_read(&all)) exit(EXIT_FAILED);
    }
    all.bytes[all.length] = 0;
    *length = all.length;
    return all.bytes;
}
