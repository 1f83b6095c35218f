#include "credentials.h"

#include "command.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* What the library waits for it, less than its own limit. */
enum { TOKEN_LIMIT_MS = 55000, MOST_BYTES = 16 << 20 };

void star(char *secret) { memset(secret, '*', strlen(secret)); }

/* The user and password in a URL: where they begin, and their length, which is 0 when there are none. */
static size_t userinfo(const char *url, const char **begin) {
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    *begin = host;
    size_t length = strcspn(host, "/?#");
    for (size_t at = length; at > 0; at--)
        if (host[at - 1] == '@') return at - 1;
    return 0;
}

void star_url(char *url) {
    const char *begin;
    size_t length = userinfo(url, &begin);
    memset(url + (begin - url), '*', length);
}

char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0, room = 0;
    struct stat about;
    if (file && fstat(fileno(file), &about) == 0 && S_ISDIR(about.st_mode)) {
        fclose(file);
        file = NULL;
        errno = EISDIR;
    }
    while (file && !feof(file) && !ferror(file) && size < MOST_BYTES) {
        if (size + 1 >= room) {
            char *more = realloc(text, room = room * 2 + 4096);
            if (!more) break;
            text = more;
        }
        size += fread(text + size, 1, room - size - 1, file);
    }
    if (!file || ferror(file) || !feof(file)) {
        log_line(PRIORITY_ERROR, "%s: %s", path, file && !ferror(file) ? "is too large" : strerror(errno));
        if (file) fclose(file);
        free(text);
        return NULL;
    }
    fclose(file);
    text[size] = 0;
    if (length) {
        *length = size;
    } else if (strlen(text) < size) {
        log_line(PRIORITY_ERROR, "%s: there is a NUL in it", path);
        star(text);
        free(text);
        return NULL;
    }
    return text;
}

/* Of a text with one token in it. */
static char *bearer(const char *text, const char *from) {
    text += strspn(text, " \t\r\n");
    size_t length = strcspn(text, " \t\r\n");
    char *value = malloc(sizeof "Bearer " + length);
    if (length == 0 || text[length + strspn(text + length, " \t\r\n")] != 0 || !value) {
        log_line(PRIORITY_ERROR, "%s: there is %s", from, length == 0 ? "no token in it" : "more than a token in it");
        free(value);
        return NULL;
    }
    sprintf(value, "Bearer %.*s", (int)length, text);
    return value;
}

char *bearer_of_file(const char *path) {
    char *text = read_file(path, NULL);
    char *value = text ? bearer(text, path) : NULL;
    free(text);
    return value;
}

char *bearer_of_command(const char *line, bool (*goes_on)(void *user), void *user) {
    struct command command = {.line = line, .limit_ms = TOKEN_LIMIT_MS, .takes_output = true, .goes_on = goes_on, .user = user};
    int status = command_run(&command);
    char *value = NULL;
    if (status == 0) value = bearer(command.output ? command.output : "", "--token-command");
    else if (status == -2 && goes_on && !goes_on(user)) log_line(PRIORITY_ERROR, "--token-command: was ended");
    else if (status == -2) log_line(PRIORITY_ERROR, "--token-command: took more than %d seconds", TOKEN_LIMIT_MS / 1000);
    else if (status < 0) log_line(PRIORITY_ERROR, "--token-command: could not be run");
    else log_line(PRIORITY_ERROR, "--token-command: ended with status %d", status);
    free(command.output);
    return value;
}

/* The next word of a netrc; NULL at its end. A word in quotes may have spaces. */
static char *next_word(char **at) {
    char *word = *at + strspn(*at, " \t\r\n");
    while (*word == '#') {
        word += strcspn(word, "\n");
        word += strspn(word, " \t\r\n");
    }
    if (!*word) return NULL;
    char *end = word, *to = word;
    if (*word == '"') {
        for (end++; *end && *end != '"'; end++) {
            if (*end == '\\' && end[1]) end++;
            *to++ = *end;
        }
        if (*end) end++;
    } else {
        end = to = word + strcspn(word, " \t\r\n");
    }
    *at = *end ? end + 1 : end;
    *to = 0;
    return word;
}

static char *in_netrc(char *text, const char *host, char **user) {
    char *at = text, *word, *login = NULL, *password = NULL;
    bool is_here = false, is_done = false;
    while (!is_done && (word = next_word(&at))) {
        bool is_machine = strcmp(word, "machine") == 0, is_default = strcmp(word, "default") == 0;
        if (is_machine || is_default) {
            if (is_here && password && (!*user || (login && strcmp(login, *user) == 0))) break;
            char *name = is_machine ? next_word(&at) : NULL;
            is_here = is_default || (name && strcasecmp(name, host) == 0);
            login = password = NULL;
        } else if (strcmp(word, "login") == 0) {
            login = next_word(&at);
        } else if (strcmp(word, "password") == 0) {
            password = next_word(&at);
        } else if (strcmp(word, "account") == 0) {
            next_word(&at);
        } else if (strcmp(word, "macdef") == 0) {
            char *end = strstr(at, "\n\n");
            at = end ? end : at + strlen(at);
        }
    }
    if (!is_here || !password || (*user && login && strcmp(login, *user) != 0)) return NULL;
    if (!*user && login) *user = strdup(login);
    return *user ? strdup(password) : NULL;
}

static char *of_netrc(const char *host, char **user) {
    char path[4096];
    const char *named = getenv("NETRC"), *home = getenv("HOME");
    int length = snprintf(path, sizeof path, "%s%s", named ? named : home ? home : "", named ? "" : "/.netrc");
    if (length < 0 || (size_t)length >= sizeof path || access(path, F_OK) != 0) return NULL;
    char *text = read_file(path, NULL), *password = text ? in_netrc(text, host, user) : NULL;
    if (text) star(text);
    free(text);
    return password;
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number) { interrupted = number; }

/* Reads a line. A signal that would end the program ends it, and is only done then: the terminal has to be as before. */
static ssize_t read_line(int terminal, char *line, size_t room) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    struct sigaction action, before[COUNT];
    struct termios shown, quiet;
    if (tcgetattr(terminal, &shown) != 0) return -1;
    memset(&action, 0, sizeof action);
    action.sa_handler = interrupt;
    for (int at = 0; at < COUNT; at++) {
        sigaction(numbers[at], NULL, &before[at]);
        if (before[at].sa_handler != SIG_IGN) sigaction(numbers[at], &action, NULL);
    }
    quiet = shown;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    /* What was typed before the prompt is not meant. */
    tcsetattr(terminal, TCSAFLUSH, &quiet);
    ssize_t length = -1;
    while (!interrupted) {
        /* One that comes just before it waits is seen soon. */
        if (poll(&(struct pollfd){.fd = terminal, .events = POLLIN}, 1, 100) <= 0) continue;
        length = read(terminal, line, room);
        break;
    }
    tcsetattr(terminal, TCSAFLUSH, &shown);
    for (int at = 0; at < COUNT; at++) sigaction(numbers[at], &before[at], NULL);
    if (interrupted) raise(interrupted);
    return length;
}

/* What is typed without being seen. */
static char *typed(const char *user, const char *host) {
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    char buffer[1024], *password = NULL;
    if (terminal < 0) {
        log_line(PRIORITY_ERROR, "there is no password for %s, and no terminal to type it on", user);
        return NULL;
    }
    dprintf(terminal, "Password of %s at %s: ", user, host);
    ssize_t length = read_line(terminal, buffer, sizeof buffer - 1);
    dprintf(terminal, "\n");
    close(terminal);
    if (length > 0) {
        buffer[length] = 0;
        buffer[strcspn(buffer, "\r\n")] = 0;
        password = strdup(buffer);
    }
    memset(buffer, 0, sizeof buffer);
    if (!password) log_line(PRIORITY_ERROR, "no password was typed");
    return password;
}

char *find_password(const char *url, char **user, bool from_netrc) {
    const char *begin;
    size_t length = userinfo(url, &begin);
    if (length > 0) begin += length + 1;
    char host[300];
    size_t host_length = *begin == '[' ? strcspn(begin, "]") + 1 : strcspn(begin, ":/?#");
    snprintf(host, sizeof host, "%.*s", (int)(host_length < sizeof host ? host_length : sizeof host - 1), begin);
    char *password = from_netrc ? of_netrc(host, user) : NULL;
    if (password) return password;
    if (!*user) {
        log_line(PRIORITY_ERROR, "~/.netrc has no user for %s; -u names one", host);
        return NULL;
    }
    return typed(*user, host);
}
