/* Answers the challenge of a server that asks for one: a handshake of two steps.
 *
 *   handshake [-p FILE] URL CHANNEL
 *
 *   -p FILE  a file with the password; it is read when the server asks for it
 *
 * The first handshake says nothing; the server refuses it, and its reply has a
 * challenge in ext.authentication.challenge. The second one has the answer in
 * ext.authentication.answer. What an answer is made of is the server's business:
 * the demo server, with --challenge, wants "CHALLENGE:PASSWORD"; another one will
 * want a signature.
 *
 * Prints the messages of CHANNEL until Ctrl-C. Exits with 0 then, 1 when
 * something failed for good, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int usage(void) {
    fprintf(stderr, "usage: handshake [-p FILE] URL CHANNEL\n");
    exit(2);
}

static int report(cometd_error *error) {
    fprintf(stderr, "handshake: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

/* The library calls it before each handshake, on a thread where it may block. What it gives is in force
 * for that handshake only, and never in a log line or an error. */
static cometd_status answer(void *user, cometd_handshake *handshake) {
    const char *refusal = cometd_handshake_refusal(handshake, NULL);
    char challenge[200], password[200], fields[600];
    fprintf(stderr, "handshake, attempt %u\n", (unsigned)cometd_handshake_attempt(handshake));
    /* A JSON parser reads it better; the demo server's challenge is made of letters and digits. */
    const char *at = refusal == NULL ? NULL : strstr(refusal, "\"challenge\":\"");
    if (at == NULL || sscanf(at, "\"challenge\":\"%199[0-9A-Za-z]\"", challenge) != 1) return COMETD_OK;
    FILE *file = user == NULL ? NULL : fopen(user, "r");
    int read = file != NULL && fgets(password, sizeof password, file) != NULL;
    if (file != NULL) fclose(file);
    if (!read) return COMETD_E_CREDENTIALS; /* an error event tells, and this function is asked again later */
    password[strcspn(password, "\r\n")] = '\0';
    if (strpbrk(password, "\"\\") != NULL) {
        fprintf(stderr, "handshake: a password with a quote or a backslash needs a JSON library\n");
        return COMETD_E_CREDENTIALS;
    }
    int length = snprintf(fields, sizeof fields,
        "{\"ext\":{\"authentication\":{\"answer\":\"%s:%s\"}}}", challenge, password);
    return cometd_handshake_set_fields(handshake, fields, (size_t)length);
}

static int run(cometd_client *client, const char *channel) {
    cometd_error *error = NULL;
    if (cometd_client_subscribe(client, &channel, 1, NULL, &error) != COMETD_OK ||
        cometd_client_connect(client, &error) != COMETD_OK) return report(error);
    int failed = 0, leaving = 0;
    for (cometd_status status = COMETD_OK; status != COMETD_CLOSED && status >= 0;) {
        cometd_event *event = NULL;
        if (stopped && !leaving) {
            leaving = 1;
            if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
        }
        status = cometd_client_poll(client, 100, &event);
        const cometd_error *problem = cometd_event_error(event);
        if (cometd_event_message(event)) printf("%s\n", cometd_message_data(cometd_event_message(event), NULL));
        /* The first refusal is no failure here: it brings the challenge. */
        if (problem) fprintf(stderr, "error %s\n", cometd_error_message(problem));
        if (problem && !stopped && (cometd_event_id(event) != 0 || cometd_error_is_fatal(problem))) failed = stopped = 1;
        cometd_event_free(event);
    }
    return failed;
}

int main(int argc, char **argv) {
    char *password_file = NULL;
    int option;
    while ((option = getopt(argc, argv, "p:")) != -1) {
        if (option != 'p') usage();
        password_file = optarg;
    }
    if (argc - optind != 2) usage();
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[optind], &builder, &error) != COMETD_OK) return report(error);
    cometd_client_builder_set_handshake_provider(builder, answer, password_file, NULL);
    /* A wrong password is asked for again and again by the server: not for ever. */
    cometd_client_builder_set_number_of_retries(builder, 3);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    int failed = run(client, argv[optind + 1]);
    cometd_client_free(client);
    return failed;
}
