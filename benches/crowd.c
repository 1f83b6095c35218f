#include "crowd.h"

#include "measure.h"
#include "transport.h"

/* So many connect at once. */
#define WAVE 100

static void drain(cometd_client *client)
{
    cometd_event *event;
    while (cometd_client_poll(client, 0, &event) == COMETD_OK) {
        if (cometd_event_type(event) == COMETD_EVENT_ERROR) {
            die("error", cometd_error_message(cometd_event_error(event)));
        }
        cometd_event_free(event);
    }
}

static void connect_wave(cometd_client_builder *builder, cometd_client **clients, size_t count,
                         void (*prepare)(cometd_client *client),
                         void (*connected)(cometd_client *client))
{
    cometd_error *error;
    for (size_t index = 0; index < count; index++) {
        if (cometd_client_builder_build(builder, &clients[index], &error) != COMETD_OK) {
            die("build", cometd_error_message(error));
        }
        if (prepare != NULL) {
            prepare(clients[index]);
        }
        if (cometd_client_connect(clients[index], &error) != COMETD_OK) {
            die("connect", cometd_error_message(error));
        }
    }
    for (size_t index = 0; index < count; index++) {
        if (cometd_client_wait(clients[index], COMETD_STATE_CONNECTED, 30000) != COMETD_OK) {
            drain(clients[index]);
            die("not connected within 30 seconds",
                cometd_state_name(cometd_client_state(clients[index])));
        }
        if (connected != NULL) {
            connected(clients[index]);
        }
        drain(clients[index]);
    }
}

void crowd_connect(cometd_client_builder *builder, cometd_client **clients, size_t count,
                   void (*prepare)(cometd_client *client), void (*connected)(cometd_client *client))
{
    for (size_t done = 0; done < count;) {
        size_t wave = count - done < WAVE ? count - done : WAVE;
        connect_wave(builder, clients + done, wave, prepare, connected);
        done += wave;
    }
}

void crowd_check(cometd_client *const *clients, size_t count, const char *transport)
{
    for (size_t index = 0; index < count; index++) {
        if (cometd_client_state(clients[index]) != COMETD_STATE_CONNECTED) {
            die("a client has lost its connection", NULL);
        }
        check_transport(clients[index], transport);
    }
}

void crowd_free(cometd_client **clients, size_t count)
{
    for (size_t index = 0; index < count; index++) {
        cometd_client_free(clients[index]);
    }
}
