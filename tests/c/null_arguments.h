/* What the generated null_arguments.c uses: one object of each kind. */
#ifndef NULL_ARGUMENTS_H
#define NULL_ARGUMENTS_H

#include "test.h"

typedef struct fixture {
    cometd_client_builder *builder;
    cometd_client *client;
    cometd_receiver *receiver;
    cometd_event *event;            /* of a message, when asked for */
    const cometd_message *message;
    cometd_error *error;
    const char *channels[1];
    int32_t transports[1];
    /* Outputs, with something in them that has to be overwritten. */
    void *out;
    cometd_error *err;
    uint64_t id;
    size_t len;
    int64_t number;
    int32_t code;
    int64_t replay_id;
    cometd_state previous;
    cometd_event_view view;
    cometd_error_view error_view;
    const cometd_event *events[1];
    char buffer[4096];
} fixture;

/* Stands in an output until a call writes there. */
static char untouched;

static inline void clear(fixture *f)
{
    if ((void *)f->err != &untouched)
        cometd_error_free(f->err);
    f->out = &untouched;
    f->buffer[0] = 0;
    f->err = (cometd_error *)(void *)&untouched;
    f->id = 7;
    f->len = 7;
    f->code = 7;
    f->replay_id = 7;
    f->previous = 7;
}

/* A fresh client for each call, as some calls end one. */
static inline void renew(fixture *f)
{
    clear(f);
    cometd_receiver_free(f->receiver);
    cometd_client_free(f->client);
    CHECK_OK(cometd_client_builder_clear_error(f->builder)); /* of what was refused on purpose */
    CHECK_OK(cometd_client_builder_build(f->builder, &f->client, NULL));
    CHECK_OK(cometd_receiver_new(f->client, &f->receiver));
}

static inline fixture start(int with_message)
{
    fixture f;
    memset(&f, 0, sizeof f);
    f.channels[0] = "/a";
    f.transports[0] = COMETD_TRANSPORT_WEBSOCKET;
    CHECK_STATUS(cometd_client_builder_new("x", &f.builder, &f.error), COMETD_E_INVALID_URL);
    f.builder = builder_new("http://127.0.0.1:1/");
    CHECK_OK(cometd_client_builder_set_replay(f.builder, COMETD_REPLAY_NEW));
    if (with_message) {
        peer *peer = peer_start(bayeux);
        cometd_client *client = client_connected(peer_url(peer));
        peer_push(peer, "{\"channel\":\"/a\",\"data\":1,\"id\":2,\"ext\":{}}");
        f.event = wait_event(client, COMETD_EVENT_MESSAGE, "/a", 0);
        f.message = cometd_event_message(f.event);
        client_end(client);
        peer_stop(peer);
    }
    renew(&f);
    return f;
}

static inline void end(fixture *f)
{
    clear(f);
    f->err = NULL;
    cometd_receiver_free(f->receiver);
    cometd_client_free(f->client);
    cometd_client_builder_free(f->builder);
    cometd_event_free(f->event);
    cometd_error_free(f->error);
    WAIT_FOR(count_library_threads() == 0);
}

#endif
