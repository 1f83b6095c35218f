#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* Behind the string that begins here. */
static const char *skip_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\') at++;
    return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end) {
    size_t depth = 0;
    while (at < end) {
        char byte = *at;
        if (byte == '"') {
            at = skip_string(at, end);
            if (depth == 0) return at;
            continue;
        }
        if (byte == '{' || byte == '[') depth++;
        if (depth == 0 && (byte == ',' || byte == '}' || byte == ']')) return at;
        at++;
        if ((byte == '}' || byte == ']') && --depth == 0) return at;
    }
    return end;
}

bool json_field(const char *object, size_t object_length, const char *name, const char **value, size_t *length) {
    if (!object) return false;
    const char *end = object + object_length, *at = skip_space(object, end);
    if (at == end || *at != '{') return false;
    at = skip_space(at + 1, end);
    while (at < end && *at == '"') {
        const char *key = at;
        at = skip_string(at, end);
        size_t key_length = 0;
        char *text = json_text(key, (size_t)(at - key), &key_length);
        bool is_it = text && key_length == strlen(name) && memcmp(text, name, key_length) == 0;
        free(text);
        at = skip_space(at, end);
        if (at < end && *at == ':') at++;
        at = skip_space(at, end);
        const char *begin = at;
        at = skip_value(at, end);
        if (is_it) {
            const char *last = at;
            while (last > begin && strchr(" \t\r\n", last[-1])) last--;
            *value = begin;
            *length = (size_t)(last - begin);
            return true;
        }
        at = skip_space(at, end);
        if (at < end && *at == ',') at++;
        at = skip_space(at, end);
    }
    return false;
}

/* The four digits behind "\u"; -1 when they are none. */
static int32_t code_unit(const char *at, const char *end) {
    int32_t unit = 0;
    if (end - at < 4) return -1;
    for (int digit = 0; digit < 4; digit++) {
        const char *digits = "0123456789abcdef", *found = strchr(digits, at[digit] | 0x20);
        if (!found || !*found) return -1;
        unit = unit * 16 + (int32_t)(found - digits);
    }
    return unit;
}

static char *put_utf8(char *to, int32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

char *json_text(const char *value, size_t value_length, size_t *length) {
    if (!value || value_length < 2 || value[0] != '"') return NULL;
    /* No escape is shorter than what it stands for. */
    char *text = malloc(value_length + 1), *to = text;
    if (!text) return NULL;
    const char *end = value + value_length - 1;
    for (const char *at = value + 1; at < end; at++) {
        if (*at != '\\' || at + 1 >= end) {
            *to++ = *at;
            continue;
        }
        const char *plain = "\"\\/bfnrt", *meant = "\"\\/\b\f\n\r\t", *found = strchr(plain, *++at);
        if (*at != 'u') {
            *to++ = found && *found ? meant[found - plain] : *at;
            continue;
        }
        int32_t code = code_unit(at + 1, end);
        if (code < 0) code = 0xFFFD;
        else at += 4;
        if (code >= 0xD800 && code < 0xDC00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
            int32_t low = code_unit(at + 3, end);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
        }
        to = put_utf8(to, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
    }
    *to = 0;
    *length = (size_t)(to - text);
    return text;
}

char *json_quoted(const char *text, size_t length) {
    char *quoted = malloc(length * 6 + 3), *to = quoted;
    if (!quoted) return NULL;
    *to++ = '"';
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)text[at];
        if (byte == '"' || byte == '\\') *to++ = '\\';
        if (byte < 0x20) to += sprintf(to, "\\u%04x", byte);
        else *to++ = (char)byte;
    }
    *to++ = '"';
    *to = 0;
    return quoted;
}
