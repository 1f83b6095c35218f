/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void add(text *text, const char *bytes, size_t length) {
    if (text->failed) return;
    if (text->room - text->length < length) {
        size_t room = (text->length + length) * 2 + 256;
        char *grown = realloc(text->bytes, room);
        if (grown == NULL) {
            text->failed = 1;
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void add_string(text *text, const char *string, size_t length) {
    ADD(text, "\"");
    size_t from = 0;
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)string[at];
        if (byte >= ' ' && byte != '"' && byte != '\\') continue;
        char escaped[8];
        add(text, string + from, at - from);
        add(text, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", byte));
        from = at + 1;
    }
    add(text, string + from, length - from);
    ADD(text, "\"");
}

void add_field(text *text, const char *name, const char *string, size_t length) {
    if (string == NULL) return;
    add(text, name, strlen(name));
    add_string(text, string, length);
}

void add_json(text *text, const char *name, const char *json, size_t length) {
    if (json == NULL) return;
    add(text, name, strlen(name));
    add(text, json, length);
}

void add_number(text *text, const char *name, long long number) {
    char digits[24];
    add(text, name, strlen(name));
    add(text, digits, (size_t)snprintf(digits, sizeof digits, "%lld", number));
}

void add_texts(text *text, const char *name, const char *string) {
    if (string != NULL) add_field(text, name, string, strlen(string));
}

void add_error(text *text, const cometd_error *error) {
    int32_t code = 0;
    size_t length = 0;
    cometd_status status = cometd_error_status(error);
    const char *bayeux = cometd_error_bayeux(error, &code), *json;
    add_number(text, "{\"status\":", status);
    add_texts(text, ",\"code\":", cometd_status_name(status));
    add_texts(text, ",\"message\":", cometd_error_message(error));
    add_number(text, ",\"phase\":", cometd_error_phase(error));
    add_texts(text, ",\"channel\":", cometd_error_channel(error));
    add_number(text, ",\"httpStatus\":", cometd_error_http_status(error));
    add_number(text, ",\"websocketCode\":", cometd_error_websocket_code(error));
    add_number(text, ",\"retryInMs\":", cometd_error_retry_in_ms(error));
    add_texts(text, ",\"bayeux\":", bayeux);
    if (bayeux != NULL) add_number(text, ",\"bayeuxCode\":", code);
    json = cometd_error_ext(error, &length);
    add_json(text, ",\"ext\":", json, length);
    add_texts(text, ",\"client\":", cometd_error_client(error));
    add_texts(text, ",\"url\":", cometd_error_url(error));
    if (cometd_error_is_fatal(error)) ADD(text, ",\"fatal\":true");
    ADD(text, "}");
}
