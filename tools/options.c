#include "options.h"

#include "credentials.h"
#include "format.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CACERT = 256, CERT, CHECK, CONFIG, CSV, EXEC, EXEC_TIMEOUT, EXT, FOREVER, INSECURE, KEY, LOG, NOTIFY, PUBLISH, RATE,
    REPLAY, REPLAY_FILE, RETRIES, SIZE, TOKEN_COMMAND, TOKEN_FILE, TRANSPORT
};

enum { ALL = TOOL_SUB | TOOL_PUB | TOOL_RPC | TOOL_BENCH };

static const struct row {
    const char *name;
    int letter;
    int has_argument;
    int tools;
} rows[] = {
    {"cacert", CACERT, required_argument, ALL},
    {"cert", CERT, required_argument, ALL},
    {"check", CHECK, no_argument, TOOL_SUB},
    {"clients", 'c', required_argument, TOOL_BENCH},
    {"config", CONFIG, required_argument, ALL},
    {"count", 'C', required_argument, TOOL_SUB},
    {"csv", CSV, no_argument, TOOL_BENCH},
    {"duration", 'd', required_argument, TOOL_BENCH},
    {"exec", EXEC, required_argument, TOOL_SUB},
    {"exec-timeout", EXEC_TIMEOUT, required_argument, TOOL_SUB},
    {"exit-after-subscribed", 'E', no_argument, TOOL_SUB},
    {"ext", EXT, required_argument, ALL},
    {"forever", FOREVER, no_argument, TOOL_SUB | TOOL_PUB},
    {"format", 'F', required_argument, TOOL_SUB},
    {"header", 'H', required_argument, ALL},
    {"help", 'h', no_argument, ALL},
    {"insecure", INSECURE, no_argument, ALL},
    {"key", KEY, required_argument, ALL},
    {"lines", 'l', no_argument, TOOL_PUB},
    {"log", LOG, required_argument, ALL},
    {"netrc", 'n', no_argument, ALL},
    {"notify", NOTIFY, no_argument, TOOL_SUB},
    {"oauth-token-file", TOKEN_FILE, required_argument, ALL},
    {"option", 'o', required_argument, ALL},
    {"proxy", 'x', required_argument, ALL},
    {"publish", PUBLISH, required_argument, TOOL_BENCH},
    {"quiet", 'q', no_argument, ALL},
    {"rate", RATE, required_argument, TOOL_BENCH},
    {"replay", REPLAY, required_argument, TOOL_SUB},
    {"replay-file", REPLAY_FILE, required_argument, TOOL_SUB},
    {"retries", RETRIES, required_argument, ALL},
    {"size", SIZE, required_argument, TOOL_BENCH},
    {"timeout", 'W', required_argument, TOOL_SUB | TOOL_PUB | TOOL_RPC},
    {"token-command", TOKEN_COMMAND, required_argument, ALL},
    {"transport", TRANSPORT, required_argument, ALL},
    {"user", 'u', required_argument, ALL},
    {"verbose", 'v', no_argument, ALL},
    {"version", 'V', no_argument, ALL},
    {"websocket", 'w', no_argument, ALL},
};
enum { ROWS = sizeof rows / sizeof *rows };

void options_wrong(const struct options *options, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", options->program);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n%s --help tells more\n", options->program);
    va_end(arguments);
    exit(EXIT_USAGE);
}

static void *checked(void *memory) {
    if (memory) return memory;
    fprintf(stderr, "no memory\n");
    exit(EXIT_FAILED);
}

static char *copy(const char *text) { return checked(strdup(text)); }

static void keep(char **into, const char *value) {
    free(*into);
    *into = copy(value);
}

static void add_argument(struct options *options, const char *argument) {
    options->arguments = checked(realloc(options->arguments, (options->argument_count + 1) * sizeof(char *)));
    options->arguments[options->argument_count++] = copy(argument);
}

void options_set(struct options *options, const char *name, const char *value) {
    options->library = checked(realloc(options->library, (options->library_count + 1) * sizeof *options->library));
    options->library[options->library_count].name = copy(name);
    options->library[options->library_count++].value = copy(value);
}

bool options_has(const struct options *options, const char *name) {
    for (size_t at = 0; at < options->library_count; at++)
        if (strcmp(options->library[at].name, name) == 0) return true;
    return false;
}

static long whole(const struct options *options, const char *name, const char *value, long least, long most) {
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (errno || end == value || *end || number < least || number > most)
        options_wrong(options, "%s: \"%s\" is no number from %ld to %ld", name, value, least, most);
    return number;
}

/* Seconds, with a fraction or without, in ms. */
static int seconds(const struct options *options, const char *name, const char *value) {
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !(number > 0) || number > INT_MAX / 1000)
        options_wrong(options, "%s: \"%s\" is no number of seconds above 0", name, value);
    return number < 0.001 ? 1 : (int)(number * 1000);
}

/* A secret that may stand in a file: "@FILE". */
static char *or_file(const char *value) {
    if (*value != '@') return copy(value);
    char *text = read_file(value + 1, NULL);
    if (!text) exit(EXIT_USAGE);
    return text;
}

static void add_headers(struct options *options, const char *value) {
    char *text = or_file(value), *rest = text, *line;
    while ((line = strtok_r(rest, "\r\n", &rest)))
        if (*line != '#' || *value != '@') options_set(options, "header", line);
    star(text);
    free(text);
}

static void print_library_options(void) {
    for (size_t at = 0; at < cometd_option_count(); at++) {
        const cometd_option *option = cometd_option_at(at);
        const char *unit = cometd_option_unit(option), *without = cometd_option_default(option);
        printf("%s=%s\n    %s", cometd_option_name(option), without ? without : "", cometd_option_text(option));
        printf("\n    %s%s%s\n", cometd_option_range(option), unit ? ", in " : "", unit ? unit : "");
    }
}

/* `NAME=VALUE`; a value of "@FILE" is in a file. */
static void library_option(struct options *options, const char *value) {
    if (strcmp(value, "help") == 0) {
        print_library_options();
        exit(output_is_written() ? EXIT_AS_ASKED : EXIT_FAILED);
    }
    const char *equals = strchr(value, '=');
    if (!equals) options_wrong(options, "-o \"%s\" is not NAME=VALUE; -o help lists the names", value);
    char *name = copy(value), *meant = or_file(equals + 1);
    name[equals - value] = 0;
    if (!cometd_option_find(name)) options_wrong(options, "there is no option \"%s\" of the library; -o help lists them", name);
    if (strcmp(name, "own_receiver") == 0) options_wrong(options, "-o own_receiver: it is what the program itself reads");
    /* The end of a file's last line is not meant. */
    for (size_t end = strlen(meant); equals[1] == '@' && end > 0 && strchr("\r\n", meant[end - 1]);) meant[--end] = 0;
    options_set(options, name, meant);
    star(meant);
    free(meant);
    free(name);
}

/* Sets what an option of the command line or of a file says. */
static void apply(struct options *options, int letter, const char *name, const char *value) {
    char *text;
    switch (letter) {
    case 'c': options->clients = whole(options, name, value, 1, 100000); break;
    case 'C': options->count = whole(options, name, value, 1, LONG_MAX); break;
    case 'd': options->seconds = whole(options, name, value, 1, 1000000); break;
    case 'E': options->until_subscribed = true; break;
    case 'F':
        if (format_problem(value)) options_wrong(options, "%s: %s", name, format_problem(value));
        keep(&options->format, value);
        break;
    case 'H': add_headers(options, value); break;
    case 'l': options->lines = true; break;
    case 'n': options->from_netrc = true; break;
    case 'o': library_option(options, value); break;
    case 'q': options->verbosity = -1; break;
    case 'u':
        keep(&options->user, value);
        free(options->password);
        options->password = NULL;
        text = strchr(options->user, ':');
        if (text) {
            options->password = copy(text + 1);
            star(text + 1);
            *text = 0;
        }
        if (!*options->user) options_wrong(options, "%s: there is no user", name);
        break;
    case 'v': options->verbosity = options->verbosity < 0 ? 1 : options->verbosity + 1; break;
    case 'w': options_set(options, "transports", "websocket,long-polling"); break;
    case 'W': options->limit_ms = seconds(options, name, value); break;
    case 'x': options_set(options, "proxy", value); break;
    case CACERT:
        text = read_file(value, NULL);
        if (!text) exit(EXIT_USAGE);
        /* What is there may be a key, and is not shown. */
        if (!strstr(text, "-----BEGIN CERTIFICATE-----") && !strstr(text, "-----BEGIN TRUSTED CERTIFICATE-----"))
            options_wrong(options, "%s: %s: there is no certificate in it", name, value);
        char *only = checked(malloc(strlen(text) + sizeof "only,"));
        sprintf(only, "only,%s", text);
        options_set(options, "certificate_authorities", only);
        free(only);
        free(text);
        break;
    case CERT: keep(&options->certificate, value); break;
    case CHECK: options->check = true; break;
    case CSV: options->csv = true; break;
    case EXEC: keep(&options->exec, value); break;
    case EXEC_TIMEOUT: options->exec_limit_ms = seconds(options, name, value); break;
    case EXT:
        text = or_file(value);
        options_set(options, "handshake_ext", text);
        star(text);
        free(text);
        break;
    case FOREVER: options->forever = true; break;
    case INSECURE: options_set(options, "insecure", "true"); break;
    case KEY: keep(&options->key, value); break;
    case LOG:
        if (strcmp(value, "journal") != 0 && strcmp(value, "stderr") != 0)
            options_wrong(options, "%s: \"%s\" is neither journal nor stderr", name, value);
        options->journal = *value == 'j';
        break;
    case NOTIFY: options->notify = true; break;
    case PUBLISH: keep(&options->publish, value); break;
    case RATE: {
        char *end;
        options->rate = strtod(value, &end);
        if (end == value || *end || !(options->rate > 0) || options->rate > 1e6)
            options_wrong(options, "%s: \"%s\" is no number of messages a second", name, value);
        break;
    }
    case REPLAY: options_set(options, "replay", value); break;
    case REPLAY_FILE: keep(&options->replay_file, value); break;
    case RETRIES:
        options->retries = whole(options, name, value, 0, 1000000000);
        options_set(options, "number_of_retries", value);
        break;
    case SIZE: options->size = whole(options, name, value, 1, 1 << 24); break;
    case TOKEN_COMMAND: keep(&options->token_command, value); break;
    case TOKEN_FILE: keep(&options->token_file, value); break;
    case TRANSPORT: options_set(options, "transports", value); break;
    }
}

/* What `ps` shows of it. */
static void star_argument(int letter, char *value) {
    char *part;
    switch (letter) {
    case 'u':
        if ((part = strchr(value, ':'))) star(part + 1);
        break;
    case 'H':
        if (*value != '@' && (part = strchr(value, ':'))) star(part + 1);
        break;
    case 'x': star_url(value); break;
    case EXT:
        if (*value != '@') star(value);
        break;
    case 'o':
        if (!(part = strchr(value, '=')) || part[1] == '@') break;
        *part = 0;
        if (cometd_option_is_secret(cometd_option_find(value))) star(part + 1);
        *part = '=';
        break;
    }
}

/* One line of a file: a long name, and behind spaces, '=' or ':' its value, in quotes or without. */
static void apply_line(struct options *options, const char *path, long number, char *line) {
    line += strspn(line, " \t");
    for (size_t end = strlen(line); end > 0 && strchr(" \t\r", line[end - 1]);) line[--end] = 0;
    if (!*line || *line == '#') return;
    if (strncmp(line, "--", 2) == 0) line += 2;
    char *name = line, *value = line + strcspn(line, " \t=:");
    if (*value) *value++ = 0;
    value += strspn(value, " \t=:");
    size_t length = strlen(value);
    if (length >= 2 && *value == '"' && value[length - 1] == '"') {
        char *to = ++value;
        value[length - 2] = 0;
        for (char *from = value; *from; from++) {
            if (*from == '\\' && from[1]) from++;
            *to++ = *from;
        }
        *to = 0;
    }
    char where[300];
    snprintf(where, sizeof where, "%s, line %ld: %.100s", path, number, name);
    if (strcmp(name, "url") == 0) {
        keep(&options->url, value);
        return;
    }
    if (strcmp(name, "channel") == 0) {
        add_argument(options, value);
        return;
    }
    for (size_t at = 0; at < ROWS; at++) {
        if (strcmp(rows[at].name, name) != 0 || !(rows[at].tools & (int)options->tool) || rows[at].letter == CONFIG) continue;
        if (rows[at].has_argument == required_argument && !*value) options_wrong(options, "%s: needs a value", where);
        if (rows[at].has_argument == required_argument || !*value || strcmp(value, "true") == 0)
            apply(options, rows[at].letter, where, value);
        else if (strcmp(value, "false") != 0)
            options_wrong(options, "%s: is true or false", where);
        return;
    }
    options_wrong(options, "%s: there is no such option", where);
}

static void read_config(struct options *options, const char *path) {
    char *text = read_file(path, NULL);
    if (!text) exit(EXIT_USAGE);
    long number = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        apply_line(options, path, ++number, line);
    }
    free(text);
}

static const char *name_of(int letter, int index) {
    static char name[40];
    if (index >= 0) snprintf(name, sizeof name, "--%s", rows[index].name);
    else snprintf(name, sizeof name, "-%c", letter);
    return name;
}

/* What is opened later would be taken for what is closed. */
static void open_standard_streams(void) {
    for (int descriptor = 0; descriptor <= STDERR_FILENO; descriptor++)
        /* So that it cannot be read, or written, as before. */
        if (fcntl(descriptor, F_GETFD) < 0) open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

void options_read(struct options *options, enum tool tool, int argc, char **argv, const char *help) {
    struct option table[ROWS + 1];
    int index_of[ROWS], count = 0, letter, index;
    char letters[3 * ROWS + 1], *to = letters;
    const char *slash = strrchr(argv[0], '/');
    open_standard_streams();
    *options = (struct options){.tool = tool, .program = slash ? slash + 1 : argv[0], .limit_ms = -1, .count = -1,
                                .retries = -1, .exec_limit_ms = 60000, .clients = 1, .seconds = 10, .size = 100, .rate = 10};
    log_open(options->program, false, 0);
    for (int row = 0; row < ROWS; row++) {
        if (!(rows[row].tools & (int)tool)) continue;
        table[count] = (struct option){rows[row].name, rows[row].has_argument, NULL, rows[row].letter};
        index_of[count++] = row;
        if (rows[row].letter >= 256) continue;
        *to++ = (char)rows[row].letter;
        if (rows[row].has_argument == required_argument) *to++ = ':';
    }
    table[count] = (struct option){NULL, 0, NULL, 0};
    *to = 0;
    /* What the command line says counts over what a file says, wherever it names the file. */
    for (int round = 0; round < 2; round++) {
        optind = 1;
        opterr = round;
        while (index = -1, (letter = getopt_long(argc, argv, letters, table, &index)) != -1) {
            const char *name = name_of(letter, index < 0 ? -1 : index_of[index]);
            if (round == 0) {
                if (letter == CONFIG) read_config(options, optarg);
                continue;
            }
            if (letter == '?') options_wrong(options, "see above");
            if (letter == 'h') {
                fputs(help, stdout);
                exit(output_is_written() ? EXIT_AS_ASKED : EXIT_FAILED);
            }
            if (letter == 'V') {
                printf("%s %s\n", options->program, cometd_version_string());
                exit(output_is_written() ? EXIT_AS_ASKED : EXIT_FAILED);
            }
            apply(options, letter, name, optarg);
            if (optarg) star_argument(letter, optarg);
        }
        if (round == 0) options->verbosity = options->verbosity < 0 ? -1 : options->verbosity;
    }
    const char *from_environment = getenv("COMETD_URL");
    /* Something that begins with a slash is a channel, for which there is a URL elsewhere. */
    if (optind < argc && argv[optind][0] != '/') {
        keep(&options->url, argv[optind]);
        star_url(argv[optind++]);
    } else if (!options->url && from_environment) {
        options->url = copy(from_environment);
    }
    if (optind < argc) {
        for (size_t at = 0; at < options->argument_count; at++) free(options->arguments[at]);
        options->argument_count = 0;
    }
    for (; optind < argc; optind++) add_argument(options, argv[optind]);
    if (!options->url) options_wrong(options, "there is no URL, on the command line or in COMETD_URL");
    options->is_patient = options->forever || options->limit_ms >= 0 || options_has(options, "number_of_retries");
    log_open(options->program, options->journal, options->verbosity);
}

/* Ends the program when something was refused. */
static void check(const struct options *options, const cometd_client_builder *builder) {
    const cometd_error *error = cometd_client_builder_error(builder);
    if (error) options_wrong(options, "%s", cometd_error_message(error));
}

char *options_token(const struct options *options, bool (*goes_on)(void *user), void *user) {
    return options->token_command ? bearer_of_command(options->token_command, goes_on, user)
                                  : bearer_of_file(options->token_file);
}

/* New credentials for a refused client, on a thread of the library's. */
static cometd_status provide_token(void *user, int32_t reason, cometd_token *token) {
    (void)reason;
    char *value = options_token(user, NULL, NULL);
    cometd_status status = value ? cometd_token_set_authorization(token, value) : COMETD_E_CREDENTIALS;
    if (value) star(value);
    free(value);
    return status;
}

static void set_credentials(struct options *options, cometd_client_builder *builder) {
    const char *token = getenv("COMETD_TOKEN");
    char *value = NULL;
    if (options->token_command || options->token_file)
        cometd_client_builder_set_token_provider(builder, provide_token, options, NULL);
    if (options->token_file) {
        value = bearer_of_file(options->token_file);
        /* A command may have one. */
        if (!value && !options->token_command) exit(EXIT_FAILED);
    } else if (options->user || options->from_netrc) {
        if (!options->password)
            options->password = find_password(options->url, &options->user, options->from_netrc);
        if (!options->password) exit(EXIT_FAILED);
        cometd_client_builder_set_basic_auth(builder, options->user, options->password);
    } else if (token && *token && !options->token_command) {
        cometd_client_builder_set_bearer_token(builder, token);
    }
    if (value) {
        cometd_client_builder_set_authorization(builder, value);
        star(value);
    }
    free(value);
}

static void set_certificate(const struct options *options, cometd_client_builder *builder) {
    if (!options->certificate && !options->key) return;
    if (!options->certificate) options_wrong(options, "--key needs --cert");
    size_t chain_length, key_length;
    char *chain = read_file(options->certificate, &chain_length);
    char *key = read_file(options->key ? options->key : options->certificate, &key_length);
    if (!chain || !key) exit(EXIT_USAGE);
    cometd_client_builder_set_client_certificate(builder, chain, chain_length, key, key_length);
    star(key);
    free(chain);
    free(key);
}

cometd_client_builder *options_builder(struct options *options) {
    cometd_client_builder *builder = NULL;
    cometd_error *error = NULL;
    if (cometd_client_builder_new(options->url, &builder, &error) != COMETD_OK)
        options_wrong(options, "%s", cometd_error_message(error));
    /* Somebody is there to put right what does not pass by itself. */
    if (!options->forever) cometd_client_builder_set_fail_fast(builder, true);
    else cometd_client_builder_set_restart(builder, true);
    if (options->forever && cometd_option_find("await_credentials"))
        cometd_client_builder_set(builder, "await_credentials", "true", NULL);
    set_credentials(options, builder);
    set_certificate(options, builder);
    for (size_t at = 0; at < options->library_count; at++) {
        const struct library_option *option = &options->library[at];
        /* The builder keeps it. */
        cometd_error *error_of_it = NULL;
        cometd_client_builder_set(builder, option->name, option->value, &error_of_it);
        cometd_error_free(error_of_it);
    }
    check(options, builder);
    if (options_has(options, "insecure"))
        log_line(PRIORITY_WARNING, "the server's certificate is not checked: anybody may be the server");
    return builder;
}

void options_free(struct options *options) {
    for (size_t at = 0; at < options->argument_count; at++) free(options->arguments[at]);
    for (size_t at = 0; at < options->library_count; at++) {
        free(options->library[at].name);
        star(options->library[at].value);
        free(options->library[at].value);
    }
    if (options->password) star(options->password);
    char *texts[] = {options->url,  options->user,   options->password,    options->token_file, options->token_command,
                     options->key,  options->format, options->replay_file, options->exec,       options->publish,
                     options->certificate};
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at++) free(texts[at]);
    free(options->arguments);
    free(options->library);
}
