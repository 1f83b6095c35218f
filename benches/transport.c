#include "transport.h"

#include <string.h>

#include "measure.h"

static int32_t number_of(const char *name)
{
    if (strcmp(name, "websocket") == 0) {
        return COMETD_TRANSPORT_WEBSOCKET;
    }
    if (strcmp(name, "long-polling") != 0) {
        die("unknown transport", name);
    }
    return COMETD_TRANSPORT_LONG_POLLING;
}

void choose_transport(cometd_client_builder *builder, const char *name)
{
    int32_t transport = number_of(name);
    if (cometd_client_builder_set_transports(builder, &transport, 1) != COMETD_OK) {
        die("set_transports", NULL);
    }
}

void check_transport(const cometd_client *client, const char *name)
{
    if (cometd_client_transport(client) != number_of(name)) {
        die("a client does not use the transport", name);
    }
}
