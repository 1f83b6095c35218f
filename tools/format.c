#include "format.h"

#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool put(struct text *to, const char *bytes, size_t length) {
    if (!bytes) return true;
    if (to->room - to->length < length + 1) {
        size_t room = (to->length + length) * 2 + 256;
        char *more = realloc(to->bytes, room);
        if (!more) return false;
        to->bytes = more;
        to->room = room;
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    to->bytes[to->length] = 0;
    return true;
}

static bool put_text(struct text *to, const char *text) { return !text || put(to, text, strlen(text)); }

/* Between its tokens JSON may have newlines; a space does as well. */
static bool put_json(struct text *to, const char *json, size_t length) {
    size_t from = to->length;
    if (!put(to, json, json ? length : 0)) return false;
    for (size_t at = from; at < to->length; at++)
        if (to->bytes[at] == '\n' || to->bytes[at] == '\r') to->bytes[at] = ' ';
    return true;
}

static bool put_time(struct text *to) {
    struct timespec now;
    struct tm parts;
    char text[64], fraction[8];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts);
    snprintf(fraction, sizeof fraction, "%03dZ", (int)(now.tv_nsec / 1000000));
    return put_text(to, text) && put_text(to, fraction);
}

static bool put_unix_time(struct text *to) {
    struct timespec now;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(text, sizeof text, "%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
    return put_text(to, text);
}

static bool put_replay_id(struct text *to, const cometd_message *message) {
    int64_t id;
    char text[32];
    if (!cometd_message_replay_id(message, &id)) return true;
    snprintf(text, sizeof text, "%" PRId64, id);
    return put_text(to, text);
}

static bool put_plain(struct text *to, const char *json, size_t length, bool is_one_line) {
    size_t plain_length;
    char *plain = json_text(json, length, &plain_length);
    bool is_put = plain            ? put(to, plain, plain_length)
                  : is_one_line ? put_json(to, json, length)
                                : put(to, json, length);
    free(plain);
    return is_put;
}

/* One object, in one line. */
static bool put_object(struct text *to, const cometd_message *message) {
    size_t length;
    const char *value = cometd_message_channel(message, &length);
    char *channel = json_quoted(value ? value : "", value ? length : 0);
    bool is_good = channel && put_text(to, "{\"time\":\"") && put_time(to) && put_text(to, "\",\"channel\":") &&
                   put_text(to, channel);
    free(channel);
    if (is_good && (value = cometd_message_id(message, &length)))
        is_good = put_text(to, ",\"id\":") && put_json(to, value, length);
    if (is_good && cometd_message_replay_id(message, NULL))
        is_good = put_text(to, ",\"replayId\":") && put_replay_id(to, message);
    if (is_good && (value = cometd_message_ext(message, &length)))
        is_good = put_text(to, ",\"ext\":") && put_json(to, value, length);
    value = cometd_message_data(message, &length);
    return is_good && put_text(to, ",\"data\":") && put_json(to, value ? value : "null", value ? length : 4) &&
           put_text(to, "}\n");
}

static bool put_field(struct text *to, char field, const cometd_message *message) {
    size_t length = 0;
    const char *value;
    char number[32];
    switch (field) {
    case '%': return put(to, "%", 1);
    case 'c': return put_text(to, cometd_message_channel(message, NULL));
    case 'j': value = cometd_message_data(message, &length); return put_json(to, value, length);
    case 'r': value = cometd_message_data(message, &length); return put(to, value, length);
    case 'p': value = cometd_message_data(message, &length); return put_plain(to, value, length, true);
    case 'b': value = (const char *)cometd_message_binary(message, &length); return put(to, value, length);
    case 'x': value = cometd_message_ext(message, &length); return put_json(to, value, length);
    case 'i': value = cometd_message_id(message, &length); return put_plain(to, value, length, false);
    case 'R': return put_replay_id(to, message);
    case 'I': return put_time(to);
    case 'U': return put_unix_time(to);
    default: /* 'l' */
        cometd_message_data(message, &length);
        snprintf(number, sizeof number, "%zu", length);
        return put_text(to, number);
    }
}

static int digit(char byte) {
    const char *digits = "0123456789abcdef", *found = byte ? strchr(digits, byte | 0x20) : NULL;
    return found ? (int)(found - digits) : -1;
}

const char *format_problem(const char *format) {
    if (strcmp(format, "json") == 0) return NULL;
    for (; *format; format++) {
        if (*format == '%' && (!format[1] || !strchr("%cjrpbxiRIUl", *++format)))
            return "behind a % stands one of % c j r p b x i R I U l";
        if (*format == '\\') {
            format++;
            if (!*format || !strchr("ntr0ex\\", *format)) return "behind a \\ stands one of n t r 0 e \\, or x and two digits";
            if (*format == 'x') {
                if (digit(format[1]) < 0 || digit(format[2]) < 0) return "behind \\x stand two hexadecimal digits";
                format += 2;
            }
        }
    }
    return NULL;
}

bool format_message(struct text *to, const char *format, const cometd_message *message) {
    to->length = 0;
    if (strcmp(format, "json") == 0) return put_object(to, message);
    bool is_good = put(to, "", 0);
    for (; is_good && *format; format++) {
        if (*format == '%') {
            is_good = put_field(to, *++format, message);
        } else if (*format == '\\') {
            const char *escapes = "ntr0e\\", *meant = "\n\t\r\0\033\\";
            char byte = *++format;
            if (byte == 'x') {
                byte = (char)(digit(format[1]) * 16 + digit(format[2]));
                format += 2;
            } else {
                byte = meant[strchr(escapes, byte) - escapes];
            }
            is_good = put(to, &byte, 1);
        } else {
            is_good = put(to, format, 1);
        }
    }
    return is_good;
}
