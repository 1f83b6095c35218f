/* Tokens and passwords: where they come from, and that `ps` does not show them. */
#ifndef COMETD_TOOLS_CREDENTIALS_H
#define COMETD_TOOLS_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

/* Overwrites it with stars. */
void star(char *secret);
/* The same of the user and password in a URL. */
void star_url(char *url);

/* The whole of a file, ended by NUL, to free; NULL with a line on the standard error. */
char *read_file(const char *path, size_t *length);

/* "Bearer TOKEN", to free, from a file; NULL with a line on the standard error. */
char *bearer_of_file(const char *path);
/* The same from what a command prints; `goes_on`, unless NULL, is called every now and then, and false ends it. */
char *bearer_of_command(const char *line, bool (*goes_on)(void *user), void *user);

/* The password for a user of a URL's host, to free: from ~/.netrc when `from_netrc`, otherwise typed on the terminal.
 * `*user` is set as well when it is NULL and the file has one. NULL with a line on the standard error. */
char *find_password(const char *url, char **user, bool from_netrc);

#endif
