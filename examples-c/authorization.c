/* Shows who the client says it is, and how that changes while it runs.
 *
 *   authorization [OPTION]... URL CHANNEL
 *
 *   -b TOKEN          Authorization: Bearer TOKEN
 *   -u USER:PASSWORD  Authorization: Basic ...; the password may be left out
 *   -a VALUE          Authorization: VALUE, for any other scheme
 *   -f FILE           a file with a bearer token: read when the server refuses
 *                     what it was given, and on SIGHUP
 *   -l                the file is read later, by the loop that reads events
 *   -w                when the credentials are refused for good, wait for a SIGHUP
 *   -c NAME=VALUE     a cookie; any number
 *   -H NAME:VALUE     a header; any number
 *
 * Prints the messages of CHANNEL until Ctrl-C. Exits with 0 then, 1 when
 * something failed for good, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped, reload;

static void on_signal(int number) {
    if (number == SIGHUP) reload = 1;
    else stopped = 1;
}

static int usage(void) {
    fprintf(stderr, "usage: authorization [-b TOKEN | -u USER:PASSWORD | -a VALUE] [-f FILE] [-l] [-w] "
        "[-c NAME=VALUE]... [-H NAME:VALUE]... URL CHANNEL\n");
    exit(2);
}

static int report(cometd_error *error) {
    fprintf(stderr, "authorization: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* Makes "Bearer TOKEN" of the first line of a file. */
static int read_token(const char *path, char value[4096]) {
    FILE *file = fopen(path, "r");
    strcpy(value, "Bearer ");
    int ok = file && fgets(value + 7, 4096 - 7, file);
    if (!ok) perror(path);
    if (file) fclose(file);
    value[strcspn(value, "\r\n")] = '\0';
    return ok;
}

/* The library calls it, on a thread where it may block, when the server refuses the credentials: here `user` is the
 * path of the file, from the command line, which nobody needs to free. A program may as well ask a login server. */
static cometd_status provide(void *user, int32_t reason, cometd_token *token) {
    char value[4096];
    fprintf(stderr, "refused (reason %d): reading the token file\n", (int)reason);
    return read_token(user, value) ? cometd_token_set_authorization(token, value) : COMETD_E_CREDENTIALS;
}

/* The same for programs that cannot wait in a callback: the token is kept, and answered by the loop below. */
static atomic_uintptr_t asked;

static cometd_status provide_later(void *user, int32_t reason, cometd_token *token) {
    (void)user;
    (void)reason;
    asked = (uintptr_t)cometd_token_retain(token);
    return COMETD_OK;
}

static void answer(const char *path) {
    char value[4096];
    cometd_token *token = (cometd_token *)atomic_exchange(&asked, 0);
    if (token == NULL) return;
    fprintf(stderr, "refused: reading the token file later\n");
    if (read_token(path, value)) cometd_token_set_authorization(token, value);
    else cometd_token_fail(token, "the token file cannot be read");
    cometd_token_free(token);
}

/* Cuts "NAME=VALUE" in two; returns the value. */
static char *cut(char *text, char separator) {
    char *at = strchr(text, separator);
    if (at == NULL) return NULL;
    *at++ = '\0';
    return at + strspn(at, " ");
}

static cometd_status set(cometd_client_builder *builder, int option, char *argument) {
    char *second;
    switch (option) {
    case 'b': return cometd_client_builder_set_bearer_token(builder, argument);
    case 'u': second = cut(argument, ':'); return cometd_client_builder_set_basic_auth(builder, argument, second);
    case 'a': return cometd_client_builder_set_authorization(builder, argument);
    case 'f': return cometd_client_builder_set_token_provider(builder, provide, argument, NULL);
    case 'l': return cometd_client_builder_set_token_provider(builder, provide_later, NULL, NULL);
    case 'w': return cometd_client_builder_set_await_credentials(builder, true);
    case 'c': second = cut(argument, '='); return cometd_client_builder_add_cookie(builder, argument, second);
    default: second = cut(argument, ':'); return cometd_client_builder_add_header(builder, argument, second);
    }
}

static int run(cometd_client *client, const char *channel, const char *token_file) {
    cometd_error *error = NULL;
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) return report(error);
    int failed = 0, leaving = 0;
    for (cometd_status status = COMETD_OK; status != COMETD_CLOSED && status >= 0;) {
        char value[4096];
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        if (reload && token_file && read_token(token_file, value)) {
            status = cometd_client_set_authorization(client, value); /* from the next request on */
            fprintf(stderr, "token changed: %s\n", cometd_status_text(status));
        }
        reload = 0;
        if (token_file) answer(token_file);
        status = cometd_client_poll(client, 100, &event);
        const cometd_error *problem = cometd_event_error(event);
        if (cometd_event_message(event)) printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
        if (cometd_event_type(event) == COMETD_EVENT_SUBSCRIBED) fprintf(stderr, "subscribed\n");
        if (problem) fprintf(stderr, "error %s\n", cometd_error_message(problem));
        if (problem && !stopped && (cometd_event_id(event) != 0 || cometd_error_is_fatal(problem))) failed = stopped = 1;
        cometd_event_free(event);
    }
    return failed;
}

int main(int argc, char **argv) {
    const char *const options = "b:u:a:f:lwc:H:", *token_file = NULL;
    int option;
    while ((option = getopt(argc, argv, options)) != -1) {
        if (option == '?') usage();
        if (option == 'f') token_file = optarg;
    }
    if (argc - optind != 2) usage();
    const char *url = argv[optind], *channel = argv[optind + 1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(url, &builder, &error) != COMETD_OK) return report(error);
    cometd_status status = COMETD_OK;
    optind = 1;
    while (status == COMETD_OK && (option = getopt(argc, argv, options)) != -1) status = set(builder, option, optarg);
    if (status != COMETD_OK) {
        fprintf(stderr, "authorization: option -%c: %s\n", option, cometd_status_text(status));
        cometd_client_builder_free(builder);
        return 1;
    }
    status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    int failed = run(client, channel, token_file);
    cometd_client_free(client);
    cometd_token_free((cometd_token *)asked);
    return failed;
}
