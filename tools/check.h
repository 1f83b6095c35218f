/* What a server can do, for people to read. */
#ifndef COMETD_TOOLS_CHECK_H
#define COMETD_TOOLS_CHECK_H

#include "options.h"

/* Prints a line for each thing; gives the exit status. */
int check_server(struct options *options);

#endif
