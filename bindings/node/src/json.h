/* JSON as it is written for JavaScript.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef JSON_H
#define JSON_H

#include <cometd/cometd.h>

/* It grows; where there was no memory for that, it has failed. */
typedef struct text {
    char *bytes;
    size_t length, room;
    int failed;
} text;

void add(text *text, const char *bytes, size_t length);

#define ADD(text, literal) add(text, literal, sizeof literal - 1)

/* A field: `name` is that with what stands before its value, `,"channel":`. Without a value it is left out. */
void add_field(text *text, const char *name, const char *string, size_t length);
void add_texts(text *text, const char *name, const char *string);
void add_json(text *text, const char *name, const char *json, size_t length);
void add_number(text *text, const char *name, long long number);

void add_error(text *text, const cometd_error *error);

#endif
