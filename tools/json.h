/* As much of JSON as the tools need: a field of an object, and the text in a string.
 * What they look at was checked by the library. */
#ifndef COMETD_TOOLS_JSON_H
#define COMETD_TOOLS_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the object has the field; then it is `*value`, of `*length` bytes. */
bool json_field(const char *object, size_t object_length, const char *name, const char **value, size_t *length);
/* What a string says, ended by NUL, to free; NULL when it is no string. */
char *json_text(const char *value, size_t value_length, size_t *length);
/* The value as a string, with its quotes and ended by NUL, to free. */
char *json_quoted(const char *text, size_t length);

#endif
