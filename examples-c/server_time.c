/* Shows how far the server's clock is from this machine's, as the timesync
 * extension tells it.
 *
 *   server_time URL
 *
 * Exits with 0 when the server told its time, 1 when something failed or it
 * does not know the extension, 2 when called the wrong way. */
#include <cometd/cometd.h>
#include <stdio.h>
#include <time.h>

/* Prints an error that a call gave, and frees it. */
static int report(cometd_error *error) {
    fprintf(stderr, "server_time: %s\n", cometd_error_message(error));
    cometd_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: server_time URL\n");
        return 2;
    }
    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(argv[1], &builder, &error) != COMETD_OK) return report(error);
    cometd_client_builder_set_timesync(builder, true);
    /* Somebody waits for this program: it does not try for ever. */
    cometd_client_builder_set_number_of_retries(builder, 2);
    cometd_status status = cometd_client_builder_build(builder, &client, &error);
    cometd_client_builder_free(builder);
    if (status != COMETD_OK) return report(error);
    status = cometd_client_connect(client, &error);
    if (status != COMETD_OK) {
        cometd_client_free(client);
        return report(error);
    }

    /* The first replies have come when it is connected. */
    int failed = 1;
    status = cometd_client_wait(client, COMETD_STATE_CONNECTED, 30000);
    int64_t server_ms = 0;
    if (status != COMETD_OK) {
        fprintf(stderr, "server_time: %s\n", cometd_status_text(status));
    } else if (cometd_client_server_time(client, &server_ms) != COMETD_OK) {
        fprintf(stderr, "server_time: the server does not tell its time\n");
    } else {
        struct timespec here;
        clock_gettime(CLOCK_REALTIME, &here);
        const long long here_ms = here.tv_sec * 1000LL + here.tv_nsec / 1000000;
        printf("the server's clock is %lld ms ahead of this machine's\n", (long long)server_ms - here_ms);
        failed = 0;
    }
    if (cometd_client_disconnect(client, 3000, &error) != COMETD_OK) failed = report(error);
    cometd_client_free(client);
    return failed;
}
