/* What the cases have in common. */
#ifndef CASE_H
#define CASE_H

#include <cometd/cometd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every wait ends by what it waits for; this only ends a failed test. */
enum { LIMIT_MS = 60000, EVENTS = 10000 };

/* Where every client goes, and the transport that is expected to carry its session. */
extern const char *server, *server_url;
extern int32_t expected_transport;

void set_server(const char *name, const char *url, int control_port);
void set_transports(const char *wanted, const char *expected);

void fail(int line, const char *format, ...);
void check_ok(int line, const char *what, cometd_status status);

#define FAIL(...) fail(__LINE__, __VA_ARGS__)
#define CHECK(condition) ((condition) ? (void)0 : FAIL("not so: %s", #condition))
#define OK(call) check_ok(__LINE__, #call, (call))

/* Asks the server's control interface; the answer's body is valid until the next call. */
const char *control(const char *format, ...);

/* One of the counts of /stats; -1 when there is none of that name. */
long stat_of(const char *name);

cometd_client_builder *new_builder(void);
cometd_client *build(cometd_client_builder *builder);
/* Built, and connecting. */
cometd_client *new_client(void);
uint64_t subscribe(cometd_client *client, const char *channel);

bool is_about(const cometd_event *event, int32_t type, const char *channel);

/* Takes events until one of this type, about this channel, comes. */
cometd_event *await_event(int line, cometd_client *client, int32_t type, const char *channel);

#define AWAIT(client, type, channel) await_event(__LINE__, client, type, channel)
#define AWAIT_ONLY(client, type, channel) cometd_event_free(AWAIT(client, type, channel))

void await_state(cometd_client *client, cometd_state state);
/* Takes events until a fatal error comes. */
cometd_event *await_fatal_error(cometd_client *client);

/* Publishes to both channels until one event of each has come: the server knows a
 * subscription when it knows it. */
void await_flow(cometd_client *client, const char *one, const char *other);

/* Each case ends with one of these: both want the expected transport. */
void finish(cometd_client *client);
void check_transport(int line, const cometd_client *client);
#define CHECK_TRANSPORT(client) check_transport(__LINE__, client)

/* The n of a message's data {"n":…}. */
long number_of(const cometd_message *message);

void wait_a_moment(void);

/* Puts a relay between the server and every client that is built from now on; it ends
 * with the process: relay.c. */
void start_relay(void);
/* Breaks, once, the connection over which this text comes from the server for the nth
 * time, just before it. */
void break_relay_at(const char *text, long nth);
void await_broken_relay(void);

/* cuts.c */
void acknowledged_events_survive_a_lost_response(void);
void other_events_are_lost_with_their_response(void);
void events_come_once_through_a_cut(void);
void acknowledged_events_survive_a_cut(void);
void each_connection_wants_a_handshake(void);

/* websocket.c */
void too_large_message_fails_alone(void);
void websocket_alone_is_refused_234(void);
void refused_tunnel_leads_to_long_polling_231(void);
void ping_keeps_a_quiet_socket_257(void);

#endif
