/*
 * The other yardstick: the same flood by a plain loop on libcurl, whose bodies cJSON parses.
 *
 * curl_consumer URL [-s SECONDS] [-w WARM-UP SECONDS] [-n EVENTS]
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <curl/curl.h>

#include "measure.h"

static const char connect_message[] =
    "[{\"channel\":\"/meta/connect\",\"id\":\"1000\",\"clientId\":\"Un1q31d3nt1f13r0123456789ab\","
    "\"connectionType\":\"long-polling\"}]";

struct body {
    char *bytes;
    size_t length;
    size_t capacity;
};

static size_t append(char *bytes, size_t size, size_t count, void *context)
{
    struct body *body = context;
    size_t length = size * count;
    if (body->capacity - body->length < length) {
        size_t capacity = 2 * (body->capacity + length);
        char *grown = realloc(body->bytes, capacity);
        if (grown == NULL) {
            return 0;
        }
        body->bytes = grown;
        body->capacity = capacity;
    }
    memcpy(body->bytes + body->length, bytes, length);
    body->length += length;
    return length;
}

/* Looks at each message's channel and data, and counts all but the reply to the connect. */
static void take(const struct body *body)
{
    unsigned long number = 0;
    const cJSON *message;
    cJSON *messages = cJSON_ParseWithLength(body->bytes, body->length);
    if (!cJSON_IsArray(messages)) {
        die("a response is no array", NULL);
    }
    cJSON_ArrayForEach(message, messages)
    {
        const cJSON *channel = cJSON_GetObjectItemCaseSensitive(message, "channel");
        if (!cJSON_IsString(channel)) {
            die("a message has no channel", NULL);
        }
        if (cJSON_GetObjectItemCaseSensitive(message, "data") != NULL) {
            number++;
        }
    }
    cJSON_Delete(messages);
    count_events(number);
    reading_point();
}

static void *receive(void *context)
{
    const char *base = context;
    size_t length = strlen(base);
    char url[512];
    struct body body = {NULL, 0, 0};
    CURL *curl = curl_easy_init();
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/json;charset=UTF-8");
    if (curl == NULL || headers == NULL) {
        die("no memory", NULL);
    }
    snprintf(url, sizeof url, "%s%sconnect", base,
             length > 0 && base[length - 1] == '/' ? "" : "/");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "libcometd/0.1.0");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, connect_message);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    for (;;) {
        body.length = 0;
        CURLcode code = curl_easy_perform(curl);
        if (code != CURLE_OK) {
            die("libcurl", curl_easy_strerror(code));
        }
        take(&body);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc < 2) {
        fprintf(stderr,
                "usage: curl_consumer URL [-s SECONDS] [-w WARM-UP SECONDS] [-n EVENTS]\n");
        return 2;
    }
    struct options options = read_options(argc - 2, argv + 2);
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK ||
        pthread_create(&thread, NULL, receive, argv[1]) != 0) {
        die("no thread", NULL);
    }
    struct flood flood = measure_flood(&options);
    print_flood("curl", &flood);
    /* The other thread is in the midst of a response. */
    fflush(stdout);
    _Exit(0);
}
