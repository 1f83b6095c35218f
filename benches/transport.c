#include "transport.h"

#include <string.h>

#include "measure.h"

void choose_transport(cometd_client_builder *builder, const char *name)
{
    int32_t transport = COMETD_TRANSPORT_LONG_POLLING;
    if (strcmp(name, "websocket") == 0) {
        transport = COMETD_TRANSPORT_WEBSOCKET;
    } else if (strcmp(name, "long-polling") != 0) {
        die("unknown transport", name);
    }
    if (cometd_client_builder_set_transports(builder, &transport, 1) != COMETD_OK) {
        die("set_transports", NULL);
    }
}
