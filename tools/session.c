#include "session.h"

#include "command.h"
#include "credentials.h"
#include "log.h"
#include "positions.h"
#include "service_manager.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 64, GOODBYE_MS = 3000, STATUS_LINE_MS = 250 };

/* Signals, as bytes in a pipe. */
static int signals[2] = {-1, -1};

long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_signal(int number) {
    int before = errno;
    char byte = (char)number;
    ssize_t written = write(signals[1], &byte, 1);
    (void)written;
    errno = before;
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, NULL);
}

static bool take_signals(bool rereads) {
    if (pipe(signals) != 0) return false;
    for (int end = 0; end < 2; end++) {
        fcntl(signals[end], F_SETFL, O_NONBLOCK);
        fcntl(signals[end], F_SETFD, FD_CLOEXEC);
    }
    handle(SIGPIPE, SIG_IGN, 0);
    /* The second one ends the program at once. */
    handle(SIGINT, on_signal, (int)SA_RESETHAND);
    handle(SIGTERM, on_signal, (int)SA_RESETHAND);
    if (rereads) handle(SIGHUP, on_signal, 0);
    return true;
}

void say_error(cometd_error *error) {
    log_line(PRIORITY_ERROR, "%s", cometd_error_message(error));
    cometd_error_free(error);
}

int status_of(const cometd_error *error) {
    int32_t http = cometd_error_http_status(error);
    switch (cometd_error_status(error)) {
    case COMETD_E_DNS:
    case COMETD_E_TCP:
    case COMETD_E_TLS:
    case COMETD_E_TIMEOUT:
    case COMETD_E_CONNECTION_LOST:
    case COMETD_E_SYSTEM: return EXIT_NO_CONNECTION;
    case COMETD_E_PROXY: return http == 407 ? EXIT_FAILED : EXIT_NO_CONNECTION;
    case COMETD_E_HTTP_STATUS: return http >= 502 && http <= 504 ? EXIT_NO_CONNECTION : EXIT_FAILED;
    default: return EXIT_FAILED;
    }
}

static void reread_token(struct session *session) {
    static bool is_reading, is_asked_again;
    if (is_reading) {
        is_asked_again = true;
        return;
    }
    is_reading = true;
    service_manager_tell_reloading();
    do {
        is_asked_again = false;
        char *value = options_token(session->options, session_goes_on, session);
        if (value && cometd_client_set_authorization(session->client, value) == COMETD_OK)
            log_line(PRIORITY_INFO, "the token was read again");
        if (value) star(value);
        free(value);
    } while (is_asked_again && session->status < 0);
    is_reading = false;
    if (session->status < 0) service_manager_tell("READY=1");
}

bool session_open(struct session *session, struct options *options, struct positions *positions) {
    session->options = options;
    session->positions = positions;
    session->status = -1;
    cometd_client_builder *builder = options_builder(options);
    cometd_error *error = NULL;
    bool has_token = options->token_command || options->token_file;
    if (positions) {
        /* The program can do nothing but go on after what it has done. */
        if (!options_has(options, "replay")) cometd_client_builder_set_replay(builder, COMETD_REPLAY_NEW);
        cometd_client_builder_set_replay_store(builder, positions_load, positions_save, positions, NULL);
    }
    if (cometd_client_builder_build(builder, &session->client, &error) != COMETD_OK) {
        say_error(error);
        session->status = EXIT_FAILED;
    } else if (!take_signals(has_token)) {
        log_line(PRIORITY_ERROR, "%s", strerror(errno));
        session->status = EXIT_FAILED;
    }
    cometd_client_builder_free(builder);
    return session->status < 0;
}

void session_end(struct session *session, int status) {
    if (session->status < 0) session->status = status;
}

void session_go_deaf(struct session *session) {
    session->is_deaf = true;
    positions_freeze(session->positions);
}

/* Why what was waited for is not there. */
static void say_missing(const struct session *session, const char *why, const char *what) {
    const char *because = session->last_error ? session->last_error : NULL;
    log_line(PRIORITY_ERROR, "%s%s%s%s%s", why, what ? ": " : "", what ? what : "", because ? ": " : "", because ? because : "");
}

static void take_signal(struct session *session, int number) {
    if (session->status >= 0) return;
    if (number == SIGHUP) {
        reread_token(session);
        return;
    }
    if (session->settle) session->settle(session);
    const char *missing = session->missing ? session->missing(session) : NULL;
    if (missing) say_missing(session, "ended by a signal", missing);
    session_end(session, missing ? EXIT_FAILED : EXIT_AS_ASKED);
}

static void read_signals(struct session *session) {
    char bytes[16];
    ssize_t length = read(signals[0], bytes, sizeof bytes);
    for (ssize_t at = 0; at < length; at++) take_signal(session, bytes[at]);
}

static void tell_watchdog(void) {
    static long long told;
    static int every;
    if (every == 0) every = service_manager_watchdog_ms();
    long long now = now_ms();
    if (every < 0 || now - told < every) return;
    told = now;
    service_manager_tell("WATCHDOG=1");
}

static void see_to_the_time(struct session *session) {
    if (session->deadline < 0 || session->status >= 0 || now_ms() < session->deadline) return;
    const char *missing = session->missing ? session->missing(session) : NULL;
    if (missing || !session->was_connected) say_missing(session, "the time is up", missing);
    session_end(session, EXIT_TIME);
}

bool session_goes_on(void *user) {
    struct session *session = user;
    read_signals(session);
    see_to_the_time(session);
    if (session->options->notify) tell_watchdog();
    return session->status < 0;
}

static void remember_error(struct session *session, const cometd_error *error) {
    free(session->last_error);
    session->last_error = error ? strdup(cometd_error_message(error)) : NULL;
}

/* An error of the client itself, or of one of its subscriptions. */
static void handle_client_error(struct session *session, const cometd_error *error) {
    if (session->status >= 0) return;
    remember_error(session, error);
    bool is_fatal = cometd_error_is_fatal(error);
    int32_t phase = cometd_error_phase(error), status = cometd_error_status(error);
    bool is_about_session = phase == COMETD_PHASE_HANDSHAKE || phase == COMETD_PHASE_CONNECT;
    /* A WebSocket that is refused: it goes on by long polling in the same attempt. */
    bool is_at_once = cometd_error_retry_in_ms(error) == 0;
    bool is_refusal = status == COMETD_E_UNAUTHORIZED || status == COMETD_E_CREDENTIALS || status == COMETD_E_REFUSED;
    bool has_provider = session->options->token_command || session->options->token_file;
    bool gives_up = !session->was_connected && is_about_session && !is_at_once && status != COMETD_E_NEGOTIATION &&
                    !session->options->forever && (is_refusal ? !has_provider : !session->options->is_patient);
    /* A subscription that a later session refused for good. */
    gives_up |= phase == COMETD_PHASE_SUBSCRIBE && cometd_error_channel(error) && cometd_error_retry_in_ms(error) < 0;
    log_line(is_fatal || gives_up ? PRIORITY_ERROR : PRIORITY_WARNING, "%s", cometd_error_message(error));
    if (is_fatal || gives_up) session_end(session, status_of(error));
}

/* One who waits for a single thing wants to hear of nothing else. */
static bool shows_states(const struct session *session) {
    return session->options->tool == TOOL_SUB || session->options->verbosity > 0;
}

static void handle_state(struct session *session, const cometd_event *event) {
    cometd_state before, state = cometd_event_state(event, &before);
    if (shows_states(session)) log_line(PRIORITY_INFO, "state %s -> %s", cometd_state_name(before), cometd_state_name(state));
    if (state == COMETD_STATE_CONNECTED) {
        session->was_connected = true;
        remember_error(session, NULL);
    }
    if (session->options->notify) {
        char line[80];
        snprintf(line, sizeof line, "STATUS=%s", cometd_state_name(state));
        service_manager_tell(line);
    }
}

static void handle_event(struct session *session, const cometd_event *event) {
    const cometd_error *error = cometd_event_error(event);
    switch (cometd_event_type(event)) {
    case COMETD_EVENT_STATE: handle_state(session, event); break;
    case COMETD_EVENT_SUBSCRIBED:
        if (!cometd_event_is_renewed(event)) session->subscribed++;
        log_line(PRIORITY_INFO, "subscribed %s%s", cometd_event_channel(event), cometd_event_is_renewed(event) ? " again" : "");
        break;
    case COMETD_EVENT_ERROR:
        if (cometd_event_id(event) == 0) handle_client_error(session, error);
        break;
    case COMETD_EVENT_DROPPED:
        log_line(PRIORITY_WARNING, "%llu events were dropped", (unsigned long long)cometd_event_dropped(event));
        break;
    case COMETD_EVENT_ADVICE:
        if (session->options->verbosity > 0) log_line(PRIORITY_INFO, "advice %s", cometd_event_advice(event, NULL));
        break;
    case COMETD_EVENT_CLOSED:
        session->is_closed = true;
        session_end(session, EXIT_FAILED);
        break;
    }
    if (!session->is_deaf && session->on_event) session->on_event(session, event);
}

static size_t read_some(struct session *session) {
    cometd_event *events[AT_ONCE];
    size_t count = cometd_client_poll_many(session->client, 0, events, AT_ONCE);
    for (size_t at = 0; at < count; at++) {
        if (cometd_event_type(events[at]) == COMETD_EVENT_MESSAGE) session->event_count++;
        handle_event(session, events[at]);
        /* With it the event is done with, and its position saved. */
        cometd_event_free(events[at]);
        if (session->is_last) session_go_deaf(session);
    }
    if (count > 0 && !positions_write(session->positions, false)) session_end(session, EXIT_FAILED);
    return count;
}

void session_read(struct session *session) {
    while (read_some(session) > 0) continue;
}

static void show_status(const struct session *session) {
    char line[96];
    snprintf(line, sizeof line, "%s  %llu events  %zu subscriptions",
             cometd_state_name(cometd_client_state(session->client)), session->event_count, session->subscribed);
    status_line_show(line);
}

static int next_wait(const struct session *session) {
    long long wait = 1000;
    if (status_line_wanted()) wait = STATUS_LINE_MS;
    int watchdog = session->options->notify ? service_manager_watchdog_ms() : -1;
    if (watchdog >= 0 && watchdog < wait) wait = watchdog;
    if (session->deadline >= 0 && session->deadline - now_ms() < wait) wait = session->deadline - now_ms();
    return wait < 0 ? 0 : (int)wait;
}

/* A pipe that has room takes so much without waiting. */
static size_t takes_at_once(void) {
    static size_t length;
    struct stat about;
    if (length == 0) length = fstat(STDOUT_FILENO, &about) == 0 && S_ISREG(about.st_mode) ? SIZE_MAX : PIPE_BUF;
    return length;
}

bool session_write(struct session *session, const char *bytes, size_t length) {
    int error = 0;
    /* At its end it waits for nobody for long. */
    bool was_ending = session->status >= 0;
    long long limit = now_ms() + GOODBYE_MS;
    while (length > 0 && !error && (was_ending ? now_ms() < limit : session->status < 0)) {
        struct pollfd watched[] = {{.fd = STDOUT_FILENO, .events = POLLOUT}, {.fd = signals[0], .events = POLLIN}};
        int ready = poll(watched, 2, next_wait(session));
        if (ready > 0 && watched[0].revents) {
            size_t most = takes_at_once();
            ssize_t written = write(STDOUT_FILENO, bytes, length < most ? length : most);
            if (written < 0 && errno != EINTR && errno != EAGAIN) error = errno;
            if (written > 0) bytes += written;
            if (written > 0) length -= (size_t)written;
        }
        if (length > 0 && !error) session_goes_on(session);
    }
    if (length == 0) return true;
    if (error && error != EPIPE) log_line(PRIORITY_ERROR, "standard output: %s", strerror(error));
    session_go_deaf(session);
    session_end(session, error && error != EPIPE ? EXIT_FAILED : EXIT_AS_ASKED);
    return false;
}

void session_run(struct session *session) {
    cometd_error *error = NULL;
    int limit = session->options->limit_ms;
    session->deadline = limit < 0 ? -1 : now_ms() + limit;
    if (cometd_client_connect(session->client, &error) != COMETD_OK) {
        say_error(error);
        session_end(session, EXIT_FAILED);
    }
    while (session->status < 0) {
        /* Nobody reads: that is seen without writing. */
        struct pollfd watched[] = {
            {.fd = cometd_client_fd(session->client), .events = POLLIN},
            {.fd = signals[0], .events = POLLIN},
            {.fd = -1},
            {.fd = session->writes ? STDOUT_FILENO : -1},
        };
        if (session->before_poll) session->before_poll(session, &watched[2]);
        if (session->status >= 0) break;
        if (poll(watched, 4, next_wait(session)) < 0 && errno != EINTR) {
            log_line(PRIORITY_ERROR, "%s", strerror(errno));
            session_end(session, EXIT_FAILED);
            break;
        }
        if (watched[1].revents) read_signals(session);
        if (watched[3].revents & POLLERR) {
            session_go_deaf(session);
            session_end(session, EXIT_AS_ASKED);
        }
        if (session->status < 0 && watched[0].revents) read_some(session);
        if (session->status < 0 && session->after_poll) session->after_poll(session, &watched[2]);
        see_to_the_time(session);
        if (session->options->notify) tell_watchdog();
        if (status_line_wanted()) show_status(session);
    }
}

int session_close(struct session *session) {
    cometd_error *error = NULL;
    if (session->client) {
        if (session->options->notify) service_manager_tell("STOPPING=1");
        cometd_status status = cometd_client_disconnect(session->client, GOODBYE_MS, &error);
        /* What failed was told by its event. */
        if (status != COMETD_OK && status != COMETD_E_UNDELIVERED && session->was_connected)
            log_line(PRIORITY_WARNING, "%s", cometd_error_message(error));
        cometd_error_free(error);
        while (!session->is_closed) {
            struct pollfd watched = {.fd = cometd_client_fd(session->client), .events = POLLIN};
            if (poll(&watched, 1, 1000) <= 0) break;
            read_some(session);
        }
    }
    positions_write(session->positions, true);
    cometd_client_free(session->client);
    commands_end();
    positions_close(session->positions);
    log_close();
    free(session->last_error);
    return session->status < 0 ? EXIT_FAILED : session->status;
}
