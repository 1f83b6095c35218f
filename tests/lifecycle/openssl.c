/* A program with an OpenSSL of its own, by which it serves TLS in front of the demo server,
 * while the library comes to it as a client: openssl PORT. It ends in the middle of it. */
#include <arpa/inet.h>
#include <cometd/cometd.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST(condition)                                                                              \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                          \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

static struct sockaddr_in at = {.sin_family = AF_INET};
static SSL_CTX *context;
static int listener;

static void relay(SSL *tls, int plain)
{
    char bytes[16384];
    for (;;) {
        struct pollfd both[] = {{.fd = SSL_get_fd(tls), .events = POLLIN}, {.fd = plain, .events = POLLIN}};
        if (!SSL_pending(tls) && poll(both, 2, -1) < 0)
            return;
        if (SSL_pending(tls) || both[0].revents) {
            int count = SSL_read(tls, bytes, sizeof bytes);
            if (count <= 0 || write(plain, bytes, (size_t)count) != count)
                return;
        }
        if (both[1].revents) {
            ssize_t count = read(plain, bytes, sizeof bytes);
            if (count <= 0 || SSL_write(tls, bytes, (int)count) != count)
                return;
        }
    }
}

static void *serve_one(void *argument)
{
    int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, (int)(intptr_t)argument);
    if (SSL_accept(tls) == 1 && !connect(plain, (struct sockaddr *)&at, sizeof at))
        relay(tls, plain);
    SSL_free(tls);
    close(plain);
    close((int)(intptr_t)argument);
    return NULL;
}

static void *serve(void *argument)
{
    (void)argument;
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        MUST(fd >= 0 && !pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd));
        pthread_detach(thread);
    }
}

/* Its certificate, for 127.0.0.1, as PEM. */
static char *certify(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    MUST(key && certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"the program", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION *address = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(certificate, address, -1);
    X509_EXTENSION_free(address);
    MUST(X509_sign(certificate, key, EVP_sha256()));
    MUST(SSL_CTX_use_certificate(context, certificate) && SSL_CTX_use_PrivateKey(context, key));
    BIO *out = BIO_new(BIO_s_mem());
    MUST(PEM_write_bio_X509(out, certificate));
    char *text;
    long length = BIO_get_mem_data(out, &text);
    char *pem = strndup(text, (size_t)length);
    BIO_free(out);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return pem;
}

static atomic_int messages;

static void count(void *user, const cometd_event *event)
{
    (void)user;
    messages += cometd_event_type(event) == COMETD_EVENT_MESSAGE;
}

int main(int argc, char **argv)
{
    /* Which one it is: its own, or the library's too. */
    MUST(argc == 2 && OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    context = SSL_CTX_new(TLS_server_method());
    char *pem = certify();
    socklen_t length = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(!bind(listener, (struct sockaddr *)&at, length) && !listen(listener, 64) &&
         !getsockname(listener, (struct sockaddr *)&at, &length));
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/cometd", ntohs(at.sin_port));
    at.sin_port = htons((uint16_t)atoi(argv[1]));
    pthread_t thread;
    MUST(!pthread_create(&thread, NULL, serve, NULL));

    enum { CLIENTS = 4 };
    const char *channel = "/ticks";
    cometd_client_builder *builder;
    MUST(!cometd_client_builder_new(url, &builder, NULL) &&
         !cometd_client_builder_set_certificate_authorities(builder, pem, strlen(pem), false));
    for (int i = 0; i < CLIENTS; i++) {
        cometd_client *client;
        MUST(!cometd_client_builder_build(builder, &client, NULL) &&
             !cometd_client_set_callback(client, count, NULL, NULL) &&
             !cometd_client_subscribe(client, &channel, 1, NULL, NULL) &&
             !cometd_client_connect(client, NULL) &&
             !cometd_client_wait(client, COMETD_STATE_CONNECTED, 30000));
        if (i == 0) {
            MUST(!cometd_client_disconnect(client, 30000, NULL));
            cometd_client_free(client);
        }
    }
    while (messages < 200)
        usleep(1000);
    printf("ok %s\n", OpenSSL_version(OPENSSL_VERSION));
    free(pem);
    return 0;
}
