#include "check.h"

#include "command.h"
#include "json.h"
#include "log.h"
#include "session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last reply to a handshake. */
static struct {
    pthread_mutex_t lock;
    char *json;
    size_t length;
} reply = {.lock = PTHREAD_MUTEX_INITIALIZER};

static cometd_status keep_handshake(void *user, cometd_extension_message *message) {
    size_t length, channel_length, plain_length = 0;
    const char *json = cometd_extension_message_json(message, &length), *channel;
    (void)user;
    if (!json_field(json, length, "channel", &channel, &channel_length)) return COMETD_OK;
    char *plain = json_text(channel, channel_length, &plain_length);
    if (plain && strcmp(plain, "/meta/handshake") == 0) {
        pthread_mutex_lock(&reply.lock);
        free(reply.json);
        reply.json = malloc(length);
        if (reply.json) memcpy(reply.json, json, reply.length = length);
        pthread_mutex_unlock(&reply.lock);
    }
    free(plain);
    return COMETD_OK;
}

/* A field in a field of the reply; with NULL the first one itself. */
static bool in_reply(const char *outer, const char *inner, const char **value, size_t *length) {
    return reply.json && json_field(reply.json, reply.length, outer, value, length) &&
           (!inner || json_field(*value, *length, inner, value, length));
}

static bool says_yes(const char *outer, const char *inner) {
    const char *value;
    size_t length;
    return in_reply(outer, inner, &value, &length) && !(length == 5 && memcmp(value, "false", 5) == 0);
}

static void say(const char *what, const char *answer) { printf("%-18s %s\n", what, answer); }

static void say_value(const char *what, const char *outer, const char *inner, const char *unit, const char *otherwise) {
    const char *value;
    size_t length;
    if (!in_reply(outer, inner, &value, &length)) say(what, otherwise);
    else printf("%-18s %.*s%s\n", what, (int)(length < 200 ? length : 200), value, unit);
}

/* What was proved by getting so far. */
static bool is_before_tls(cometd_status status) {
    return status == COMETD_E_DNS || status == COMETD_E_TCP || status == COMETD_E_PROXY || status == COMETD_E_SYSTEM;
}

static bool is_before_answer(cometd_status status) {
    return is_before_tls(status) || status == COMETD_E_TLS || status == COMETD_E_TIMEOUT || status == COMETD_E_CONNECTION_LOST;
}

static void say_https(const struct options *options, bool is_reached, cometd_status status, const char *why) {
    if (strncmp(options->url, "https", 5) != 0) say("TLS", "none: the URL is http");
    else if (!is_reached) return;
    else if (status == COMETD_E_TLS) say("TLS", why);
    else say("TLS", options_has(options, "insecure") ? "yes, the certificate was not checked" : "yes, the certificate is trusted");
}

/* Builds and connects one that tries once. */
static cometd_client *connected(struct options *options, const char *transport, cometd_error **error) {
    cometd_client_builder *builder = options_builder(options);
    cometd_client *client = NULL;
    int limit = options->limit_ms < 0 ? 20000 : options->limit_ms;
    cometd_client_builder_set(builder, "transports", transport, NULL);
    cometd_client_builder_set_number_of_retries(builder, 0);
    /* The first connect shows that the session works; so it should not be held. */
    cometd_client_builder_set_acknowledgement(builder, true);
    cometd_client_builder_set_timesync(builder, true);
    if (!options_has(options, "handshake_ext")) cometd_client_builder_set_handshake_ext(builder, "{\"binary\":true}", 15);
    cometd_client_builder_add_extension(builder, NULL, keep_handshake, NULL, NULL);
    if (cometd_client_builder_build(builder, &client, error) == COMETD_OK &&
        cometd_client_connect(client, error) == COMETD_OK &&
        cometd_client_wait(client, COMETD_STATE_CONNECTED, limit) != COMETD_OK)
        cometd_client_last_error(client, error);
    cometd_client_builder_free(builder);
    return client;
}

static void leave(cometd_client *client) {
    cometd_client_disconnect(client, 3000, NULL);
    cometd_client_free(client);
}

static void check_websocket(struct options *options) {
    cometd_error *error = NULL;
    cometd_client *client = connected(options, "websocket", &error);
    bool works = client && cometd_client_state(client) == COMETD_STATE_CONNECTED;
    printf("%-18s %s%s\n", "WebSocket", works ? "works" : "does not work: ", works ? "" : cometd_error_message(error));
    cometd_error_free(error);
    if (client) leave(client);
}

int check_server(struct options *options) {
    cometd_error *error = NULL;
    bool has_credentials = options->user || options->from_netrc || options->token_file || options->token_command || getenv("COMETD_TOKEN") ||
                           options_has(options, "authorization") || options_has(options, "bearer_token") ||
                           options_has(options, "handshake_ext");
    cometd_client *client = connected(options, "long-polling", &error);
    if (!client) {
        say_error(error);
        return EXIT_FAILED;
    }
    bool works = cometd_client_state(client) == COMETD_STATE_CONNECTED;
    cometd_status status = cometd_error_status(error);
    const char *why = error ? cometd_error_message(error) : "no answer in time";
    bool is_reached = works || (error && !is_before_tls(status)), is_answered = works || (error && !is_before_answer(status));
    say("reached", is_reached ? "yes" : why);
    say_https(options, is_reached, status, why);
    if (is_reached && status != COMETD_E_TLS) say("session", works ? "yes" : why);
    if (is_answered) {
        bool is_refused = status == COMETD_E_UNAUTHORIZED || status == COMETD_E_REFUSED || status == COMETD_E_CREDENTIALS;
        say("credentials", is_refused ? "refused" : !works ? "not known" : has_credentials ? "accepted" : "none needed");
    }
    if (works) {
        leave(client);
        pthread_mutex_lock(&reply.lock);
        say_value("transports", "supportedConnectionTypes", NULL, "", "not said");
        say("acknowledgement", says_yes("ext", "ack") ? "yes" : "no");
        say("server's clock", says_yes("ext", "timesync") ? "yes" : "no");
        say("binary", says_yes("ext", "binary") ? "yes" : "not said");
        say_value("held for", "advice", "timeout", " ms", "not said");
        say_value("pause", "advice", "interval", " ms", "none");
        say_value("session kept for", "advice", "maxInterval", " ms", "not said");
        pthread_mutex_unlock(&reply.lock);
        check_websocket(options);
    } else {
        cometd_client_free(client);
    }
    commands_end();
    free(reply.json);
    int ended = works ? EXIT_AS_ASKED : error ? status_of(error) : EXIT_TIME;
    cometd_error_free(error);
    if (!output_is_written()) ended = EXIT_FAILED;
    log_close();
    return ended;
}
