/* What the tests have from POSIX beyond what mingw-w64 has. */
#ifndef TEST_WINDOWS_H
#define TEST_WINDOWS_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define unsetenv(name) _putenv_s(name, "")
#define setenv(name, value, replace) _putenv_s(name, value)
#define gmtime_r(from, to) (gmtime_s(to, from) ? NULL : (to))

static inline char *strndup(const char *from, size_t length)
{
    char *copy = calloc(1, length + 1);
    return memcpy(copy, from, strnlen(from, length));
}

static inline char *strcasestr(const char *in, const char *part)
{
    size_t length = strlen(part);
    for (; *in; in++)
        if (!_strnicmp(in, part, length))
            return (char *)in;
    return NULL;
}

#endif
