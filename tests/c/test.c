#include "test.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>
#include <tlhelp32.h>
#include <errno.h>
#include <stdarg.h>
#include <time.h>

/* What follows has from POSIX. */
#define MSG_NOSIGNAL 0
#define POLLRDHUP 0
#define SHUT_RDWR SD_BOTH
#define SOCK_CLOEXEC 0
#define accept4(fd, address, length, flags) (int)accept(fd, address, length)
#define close(fd) closesocket((SOCKET)(fd))
#define poll WSAPoll
#define setsockopt(fd, level, name, value, length) \
    setsockopt((SOCKET)(fd), level, name, (const char *)(value), length)
#define socket(family, type, protocol) (int)socket(family, type, protocol)

__attribute__((constructor)) static void start_sockets(void)
{
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
}

/* Starts a program of this folder's or another; its standard streams are our own, but for
 * those that are given. */
static HANDLE start_program(const char *command, HANDLE input, HANDLE output)
{
    WCHAR line[32768];
    STARTUPINFOW startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION started;
    startup.hStdInput = input ? input : GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = output ? output : GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    MultiByteToWideChar(CP_UTF8, 0, command, -1, line, 32768);
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &started))
        return NULL;
    CloseHandle(started.hThread);
    return started.hProcess;
}

/* A pipe whose first or second end is inherited. */
static void make_pipe(HANDLE ends[2], int inherited)
{
    SECURITY_ATTRIBUTES inherit = {sizeof inherit, NULL, TRUE};
    if (!CreatePipe(&ends[0], &ends[1], &inherit, 0))
        abort();
    SetHandleInformation(ends[!inherited], HANDLE_FLAG_INHERIT, 0);
}
#else
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#endif

/* ---- tests ---- */

static struct {
    const char *name;
    void (*run)(void);
} tests[200];
static int test_count;
static const char *program;
static const char *running = "";

void test_register(const char *name, void (*run)(void))
{
    tests[test_count].name = name;
    tests[test_count++].run = run;
}


void test_fail(const char *file, int line, const char *format, ...)
{
    char what[4000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    const char *slash = strrchr(file, '/');
    printf("FAILED %s/%s: %s:%d: %s\n", program, running, slash ? slash + 1 : file, line, what);
    fflush(stdout);
    _exit(1);
}

void check_text(const char *file, int line, const char *what, int kind, const char *actual,
                const char *expected)
{
    static const char *const verbs[] = {"is not", "does not hold", "holds"};
    int good = kind == 0 ? (!actual || !expected ? actual == expected : !strcmp(actual, expected))
               : kind == 1 ? actual && strstr(actual, expected)
                           : !actual || !strstr(actual, expected);
    if (!good)
        test_fail(file, line, "%s \"%.1500s\" %s \"%.1500s\"", what, actual ? actual : "(NULL)",
                  verbs[kind], expected ? expected : "(NULL)");
}

static int factor(void)
{
    const char *slow = getenv("COMETD_TEST_SLOWNESS");
    int value = slow ? atoi(slow) : 1;
    return value > 0 ? value : 1;
}

int limit_ms(void)
{
    return 30000 * factor();
}

#ifdef _WIN32

static int run_test(int number)
{
    char path[MAX_PATH];
    GetModuleFileNameA(NULL, path, sizeof path);
    char *command = text("\"%s\" --one %s", path, tests[number].name);
    fflush(stdout);
    HANDLE child = start_program(command, NULL, NULL);
    free(command);
    DWORD status = STILL_ACTIVE;
    if (child && WaitForSingleObject(child, (DWORD)(90000 * factor())) == WAIT_TIMEOUT)
        TerminateProcess(child, STILL_ACTIVE);
    if (child)
        GetExitCodeProcess(child, &status);
    CloseHandle(child);
    const char *name = tests[number].name;
    if (status == 0)
        printf("ok %s/%s\n", program, name);
    else if (status == STILL_ACTIVE)
        printf("FAILED %s/%s: did not end within %d s\n", program, name, 90 * factor());
    else if (status != 1) /* a failed check has said so itself */
        printf("FAILED %s/%s: exit %#lx\n", program, name, status);
    fflush(stdout);
    return status == 0;
}

#else

static int run_test(int number)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        running = tests[number].name;
        signal(SIGPIPE, SIG_IGN);
        alarm((unsigned)(90 * factor()));
        tests[number].run();
        fflush(stdout);
        exit(0);
    }
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    const char *name = tests[number].name;
    if (status == 0)
        printf("ok %s/%s\n", program, name);
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        printf("FAILED %s/%s: did not end within %d s\n", program, name, 90 * factor());
    else if (WIFSIGNALED(status))
        printf("FAILED %s/%s: killed by signal %d\n", program, name, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 1) /* a failed check has said so itself */
        printf("FAILED %s/%s: exit %d\n", program, name, WEXITSTATUS(status));
    fflush(stdout);
    return status == 0;
}

/* Who starts this decides what it inherits: signals that are ignored (nohup, a job in the
 * background) or blocked, descriptors that are closed or few, and how files are made. The tests
 * are about a program as a shell starts it. */
static void be_as_from_a_shell(void)
{
    for (int number = 1; number < 65; number++)
        signal(number, SIG_DFL); /* those that cannot be changed are not */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            abort();
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 1024) {
        files.rlim_cur = files.rlim_max < 1024 ? files.rlim_max : 1024;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    umask(022);
}

#endif

int main(int argc, char **argv)
{
#ifdef _WIN32
    char *extension = strstr(argv[0], ".exe"), *slash = strrchr(argv[0], '\\');
    if (extension)
        *extension = 0;
    if (!slash)
        slash = strrchr(argv[0], '/');
#else
    const char *slash = strrchr(argv[0], '/');
    be_as_from_a_shell();
#endif
    program = slash ? slash + 1 : argv[0];
    /* The peers are here, whatever the machine's proxy is for. */
    static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                          "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        unsetenv(proxies[i]);
#ifdef _WIN32
    for (int i = 0; argc == 3 && !strcmp(argv[1], "--one") && i < test_count; i++)
        if (!strcmp(argv[2], tests[i].name)) {
            running = tests[i].name;
            tests[i].run();
            exit(0);
        }
#endif
    int failed = 0, ran = 0;
    for (int i = 0; i < test_count; i++) {
        int wanted = argc == 1;
        for (int k = 1; k < argc; k++)
            wanted |= !strcmp(argv[k], tests[i].name);
        if (wanted) {
            ran++;
            failed += !run_test(i);
        }
    }
    if (!ran)
        printf("FAILED %s: no such test\n", program);
    return ran && !failed ? 0 : 1;
}

/* ---- time and process ---- */

long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void test_yield(void)
{
    struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
}

#ifdef _WIN32

int count_threads(void)
{
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 thread = {.dwSize = sizeof thread};
    int count = 0;
    for (BOOL found = Thread32First(all, &thread); found; found = Thread32Next(all, &thread))
        count += thread.th32OwnerProcessID == GetCurrentProcessId();
    CloseHandle(all);
    return count;
}

int count_library_threads(void)
{
    int count = 0;
    /* mingw-w64 knows it only lately. */
    HRESULT(WINAPI * describe_thread)(HANDLE, PWSTR *);
    FARPROC found_there = GetProcAddress(GetModuleHandleA("kernelbase.dll"), "GetThreadDescription");
    CHECK(found_there != NULL);
    memcpy(&describe_thread, &found_there, sizeof describe_thread);
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 it = {.dwSize = sizeof it};
    for (BOOL found = Thread32First(all, &it); found; found = Thread32Next(all, &it)) {
        HANDLE thread = it.th32OwnerProcessID == GetCurrentProcessId()
                            ? OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, it.th32ThreadID)
                            : NULL;
        PWSTR name = NULL;
        if (thread && describe_thread(thread, &name) >= 0)
            count += !wcsncmp(name, L"cometd-", 7);
        LocalFree(name);
        CloseHandle(thread);
    }
    CloseHandle(all);
    return count;
}

int count_descriptors(void)
{
    DWORD count = 0;
    GetProcessHandleCount(GetCurrentProcess(), &count);
    return (int)count;
}

#else

static int count_tasks(const char *prefix)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    struct dirent *entry;
    while (tasks && (entry = readdir(tasks))) {
        if (entry->d_name[0] == '.')
            continue;
        char name[64] = "", path[300];
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *comm = fopen(path, "re");
        if (!comm)
            continue; /* gone meanwhile */
        if (!fgets(name, sizeof name, comm))
            name[0] = 0;
        fclose(comm);
        count += !strncmp(name, prefix, strlen(prefix));
    }
    closedir(tasks);
    return count;
}

int count_threads(void)
{
#ifdef __SANITIZE_THREAD__
    int others = 1; /* a changing number of its own */
#else
    int others = getenv("COMETD_TEST_EMULATED") != NULL; /* qemu's own */
#endif
    return others ? 1 + count_tasks("cometd-") : count_tasks("");
}

int count_library_threads(void)
{
    return count_tasks("cometd-");
}

int count_descriptors(void)
{
    DIR *descriptors = opendir("/proc/self/fd");
    int count = 0;
    struct dirent *entry;
    while (descriptors && (entry = readdir(descriptors)))
        count += entry->d_name[0] != '.';
    closedir(descriptors);
    return count - 1; /* the one that reads the directory */
}

#endif

static char *vtext(const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *result = malloc((size_t)length + 1);
    vsnprintf(result, (size_t)length + 1, format, arguments);
    return result;
}

char *text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *result = vtext(format, arguments);
    va_end(arguments);
    return result;
}

char *repeated(char character, size_t length)
{
    char *result = malloc(length + 1);
    memset(result, character, length);
    result[length] = 0;
    return result;
}

pthread_t thread_start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, run, argument), ==, 0);
    return thread;
}

void thread_join(pthread_t thread)
{
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
}

/* ---- the demo server ---- */

server *server_start(const char *option, ...)
{
    const char *path = getenv("COMETD_DEMO_SERVER");
    char *arguments[32] = {(char *)"cometd_demo_server", (char *)"--port", (char *)"0",
                           (char *)"--quiet", (char *)"--exit-with-stdin", (char *)"--tick-ms",
                           (char *)"0"};
    int count = 7;
    va_list list;
    va_start(list, option);
    for (const char *it = option; it && count < 31; it = va_arg(list, const char *))
        arguments[count++] = (char *)it;
    va_end(list);
    if (!path)
        path = "build/bin/cometd_demo_server";

    server *server = calloc(1, sizeof *server);
#ifdef _WIN32
    HANDLE input[2], output[2];
    make_pipe(input, 0);
    make_pipe(output, 1);
    char *command = text("\"%s\"", path);
    for (int i = 1; i < count; i++) {
        char *longer = text("%s \"%s\"", command, arguments[i]);
        free(command);
        command = longer;
    }
    server->process = start_program(command, input[0], output[1]);
    free(command);
    CloseHandle(input[0]);
    CloseHandle(output[1]);
    server->input = input[1];
    char line[100] = "";
    DWORD length = 0, more = 0;
    while (length < sizeof line - 1 && !strchr(line, '\n') &&
           ReadFile(output[0], line + length, (DWORD)sizeof line - 1 - length, &more, NULL) && more)
        length += more;
    CloseHandle(output[0]);
    if (sscanf(line, "READY %d %d", &server->port, &server->control) != 2)
        FAIL("the demo server %s did not start", path);
#else
    int input[2], output[2];
    CHECK_INT(pipe2(input, O_CLOEXEC), ==, 0);
    CHECK_INT(pipe2(output, O_CLOEXEC), ==, 0);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(input[0], 0);
        dup2(output[1], 1);
        execv(path, arguments);
        fprintf(stderr, "cannot start %s: %s\n", path, strerror(errno));
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    server->input = input[1];
    FILE *ready = fdopen(output[0], "r");
    if (fscanf(ready, "READY %d %d", &server->port, &server->control) != 2)
        FAIL("the demo server %s did not start", path);
    fclose(ready);
#endif
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d/cometd", server->port);
    return server;
}

void server_stop(server *server)
{
#ifdef _WIN32
    CloseHandle(server->input);
    TerminateProcess(server->process, 1);
    WaitForSingleObject(server->process, INFINITE);
    CloseHandle(server->process);
#else
    close(server->input);
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
#endif
    free(server);
}

static int dial(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        FAIL("cannot connect to port %d: %s", port, strerror(errno));
    return fd;
}

const char *vacant_url(void)
{
    static char url[64];
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    /* Bound, so that nobody else gets it, and not listening. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, length), ==, 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/cometd", ntohs(address.sin_port));
    return url;
}

static int send_all(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        at += sent;
        length -= (size_t)sent;
    }
    return 1;
}

char *http_get(int port, const char *target)
{
    int fd = dial(port);
    char *request = text("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", target);
    CHECK(send_all(fd, request, strlen(request)));
    free(request);
    size_t length = 0, room = 65536;
    char *response = malloc(room);
    ssize_t got;
    while ((got = recv(fd, response + length, room - length - 1, 0)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            FAIL("GET %s: %s", target, strerror(errno));
        length += (size_t)got;
        if (room - length < 1024)
            response = realloc(response, room *= 2);
    }
    close(fd);
    response[length] = 0;
    char *body = strstr(response, "\r\n\r\n");
    if (!body || strncmp(response, "HTTP/1.1 200", 12))
        FAIL("GET %s: %.200s", target, response);
    memmove(response, body + 4, strlen(body + 4) + 1);
    return response;
}

char *server_ask(server *server, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *target = vtext(format, arguments);
    va_end(arguments);
    char *body = http_get(server->control, target);
    free(target);
    return body;
}

void server_do(server *server, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *target = vtext(format, arguments);
    va_end(arguments);
    free(http_get(server->control, target));
    free(target);
}

int server_stat(server *server, const char *name)
{
    char *stats = server_ask(server, "/stats"), *field = json_field(stats, name);
    CHECK(field != NULL);
    int value = atoi(field);
    free(field);
    free(stats);
    return value;
}

char *server_request(server *server, const char *channel)
{
    char *records = server_ask(server, "/headers");
    char *wanted = text("\\\"channel\\\":\\\"%s\\\"", channel);
    char *found = NULL, *record;
    for (int i = 0; (record = json_element(records, i)) != NULL; i++) {
        if (strstr(record, wanted)) {
            free(found);
            found = record;
        } else {
            free(record);
        }
    }
    free(wanted);
    free(records);
    return found;
}

/* ---- just enough JSON ---- */

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Behind the value that begins at `at`. */
static const char *skip_value(const char *at)
{
    int depth = 0;
    do {
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++)
                at += *at == '\\' && at[1];
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        } else if (depth == 0) {
            return at + strcspn(at, ",]} \t\r\n");
        }
        at += *at != 0;
    } while (depth > 0 && *at);
    return at;
}

char *json_field(const char *message, const char *name)
{
    const char *at = skip_space(message);
    if (*at != '{')
        return NULL;
    at = skip_space(at + 1);
    while (*at == '"') {
        const char *key = at + 1, *end = skip_value(at);
        size_t length = (size_t)(end - key) - 1;
        at = skip_space(end);
        at = skip_space(at + (*at == ':'));
        end = skip_value(at);
        if (length == strlen(name) && !strncmp(key, name, length))
            return strndup(at, (size_t)(end - at));
        at = skip_space(end);
        at = skip_space(at + (*at == ','));
    }
    return NULL;
}

char *json_element(const char *array, int nth)
{
    const char *at = skip_space(array);
    if (*at != '[')
        return NULL;
    at = skip_space(at + 1);
    while (*at && *at != ']') {
        const char *end = skip_value(at);
        if (nth-- == 0)
            return strndup(at, (size_t)(end - at));
        at = skip_space(end);
        at = skip_space(at + (*at == ','));
    }
    return NULL;
}

/* ---- the peer ---- */

struct peer {
    peer_fn answer;
    int listener, port;
    char url[64];
    pthread_t acceptor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    int stopping, releases, connections, handshakes, connects, holding;
    int requests;
    char **seen;
    pthread_t threads[1000];
    int sockets[1000];
    char *events, *events_after, *advice;
};

typedef struct connection {
    peer *peer;
    int fd, number;
} connection;

/* One request, head and body; NULL when the connection ends. */
static char *read_request(int fd, char **body, size_t *body_length)
{
    size_t length = 0, room = 65536, wanted = 0, head = 0;
    char *request = malloc(room);
    for (;;) {
        request[length] = 0;
        if (!head) {
            char *end = strstr(request, "\r\n\r\n");
            if (end) {
                head = (size_t)(end - request) + 4;
                char *field = strcasestr(request, "\r\ncontent-length:");
                wanted = head + (field ? strtoul(field + 17, NULL, 10) : 0);
            }
        }
        if (head && length >= wanted)
            break;
        if (room - length < 32768)
            request = realloc(request, room *= 2);
        ssize_t got = recv(fd, request + length, room - length - 1, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            free(request);
            return NULL;
        }
        length += (size_t)got;
    }
    *body = request + head;
    *body_length = wanted - head;
    return request;
}

static void *serve_connection(void *argument)
{
    connection *connection = argument;
    peer *peer = connection->peer;
    exchange x = {.peer = peer, .fd = connection->fd, .connection = connection->number};
    char *request, *body;
    while (!x.closing && (request = read_request(x.fd, &body, &x.length)) != NULL) {
        x.head = strndup(request, (size_t)(body - request));
        x.body = body;
        pthread_mutex_lock(&peer->lock);
        peer->seen = realloc(peer->seen, sizeof *peer->seen * (size_t)(peer->requests + 1));
        peer->seen[peer->requests++] = strdup(request);
        x.number = peer->requests;
        pthread_cond_broadcast(&peer->changed);
        pthread_mutex_unlock(&peer->lock);
        peer->answer(&x);
        free(x.head);
        free(request);
    }
    pthread_mutex_lock(&peer->lock);
    peer->sockets[connection->number - 1] = -1;
    close(connection->fd);
    pthread_mutex_unlock(&peer->lock);
    free(connection);
    return NULL;
}

static void *accept_connections(void *argument)
{
    peer *peer = argument;
    for (;;) {
        int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno == EINTR)
            continue;
        pthread_mutex_lock(&peer->lock);
        if (fd < 0 || peer->stopping || peer->connections == 1000) {
            pthread_mutex_unlock(&peer->lock);
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection *connection = malloc(sizeof *connection);
        connection->peer = peer;
        connection->fd = fd;
        connection->number = peer->connections + 1;
        peer->sockets[peer->connections] = fd;
        peer->threads[peer->connections] = thread_start(serve_connection, connection);
        peer->connections++;
        pthread_mutex_unlock(&peer->lock);
    }
}

peer *peer_start_at(peer_fn answer, int v6, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 address6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address6.sin6_addr = in6addr_loopback;
    peer *peer = calloc(1, sizeof *peer);
    peer->answer = answer;
    peer->listener = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(peer->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr *any = v6 ? (struct sockaddr *)&address6 : (struct sockaddr *)&address;
    socklen_t length = v6 ? sizeof address6 : sizeof address;
    if (bind(peer->listener, any, length) < 0 || listen(peer->listener, 128) < 0) {
        if (!v6)
            FAIL("cannot listen: %s", strerror(errno));
        close(peer->listener);
        free(peer);
        return NULL;
    }
    getsockname(peer->listener, any, &length);
    peer->port = ntohs(v6 ? address6.sin6_port : address.sin_port);
    snprintf(peer->url, sizeof peer->url, "http://%s:%d/cometd", v6 ? "[::1]" : "127.0.0.1",
             peer->port);
    pthread_mutex_init(&peer->lock, NULL);
    pthread_cond_init(&peer->changed, NULL);
    peer->events = strdup("");
    peer->events_after = strdup("");
    peer->advice = strdup("{\"reconnect\":\"retry\",\"interval\":0,\"timeout\":60000}");
    peer->acceptor = thread_start(accept_connections, peer);
    return peer;
}

peer *peer_start(peer_fn answer)
{
    return peer_start_at(answer, 0, 0);
}

void peer_stop(peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    peer->stopping = 1;
    pthread_cond_broadcast(&peer->changed);
#ifdef _WIN32
    close(peer->listener); /* nothing else ends an accept */
#else
    shutdown(peer->listener, SHUT_RDWR);
#endif
    for (int i = 0; i < peer->connections; i++)
        if (peer->sockets[i] >= 0)
            shutdown(peer->sockets[i], SHUT_RDWR);
    pthread_mutex_unlock(&peer->lock);
    thread_join(peer->acceptor);
    for (int i = 0; i < peer->connections; i++)
        thread_join(peer->threads[i]);
#ifndef _WIN32
    close(peer->listener);
#endif
    for (int i = 0; i < peer->requests; i++)
        free(peer->seen[i]);
    free(peer->seen);
    free(peer->events);
    free(peer->events_after);
    free(peer->advice);
    free(peer);
}

int peer_port(peer *peer)
{
    return peer->port;
}

const char *peer_url(peer *peer)
{
    return peer->url;
}

static const char *nth_seen(peer *peer, const char *part, int nth)
{
    for (int i = 0; i < peer->requests; i++)
        if (strstr(peer->seen[i], part) && --nth == 0)
            return peer->seen[i];
    return NULL;
}

int peer_count(peer *peer, const char *part)
{
    int count = 0;
    pthread_mutex_lock(&peer->lock);
    for (int i = 0; i < peer->requests; i++)
        count += strstr(peer->seen[i], part) != NULL;
    pthread_mutex_unlock(&peer->lock);
    return count;
}

int peer_connections(peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    int count = peer->connections;
    pthread_mutex_unlock(&peer->lock);
    return count;
}

char *peer_request(peer *peer, const char *part, int nth)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += limit_ms() / 1000;
    pthread_mutex_lock(&peer->lock);
    const char *found;
    while (!(found = nth_seen(peer, part, nth)))
        if (pthread_cond_timedwait(&peer->changed, &peer->lock, &until) == ETIMEDOUT)
            FAIL("no request number %d with \"%s\" came", nth, part);
    char *request = strdup(found);
    pthread_mutex_unlock(&peer->lock);
    return request;
}

void respond_bytes(exchange *x, const void *bytes, size_t length)
{
    if (!send_all(x->fd, bytes, length))
        x->closing = 1;
}

void respond(exchange *x, int status, const char *headers, const char *body)
{
    char *response = text("HTTP/1.1 %d Status\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers,
                          strlen(body), body);
    respond_bytes(x, response, strlen(response));
    free(response);
}

void hang_up(exchange *x)
{
    shutdown(x->fd, SHUT_RDWR);
    x->closing = 1;
}

void reset(exchange *x)
{
    struct linger linger = {1, 0};
    setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    x->closing = 1; /* the close that follows resets */
}

void hold(exchange *x)
{
    peer *peer = x->peer;
    pthread_mutex_lock(&peer->lock);
    int releases = peer->releases;
    peer->holding++;
    pthread_cond_broadcast(&peer->changed);
    while (!peer->stopping && peer->releases == releases)
        pthread_cond_wait(&peer->changed, &peer->lock);
    peer->holding--;
    pthread_mutex_unlock(&peer->lock);
}

void peer_release(peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    peer->releases++;
    pthread_cond_broadcast(&peer->changed);
    pthread_mutex_unlock(&peer->lock);
}

int peer_holding(peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    int holding = peer->holding;
    pthread_mutex_unlock(&peer->lock);
    return holding;
}

void await_hang_up(exchange *x)
{
    struct pollfd it = {x->fd, POLLIN | POLLRDHUP, 0};
    CHECK_INT(poll(&it, 1, limit_ms()), ==, 1);
    x->closing = 1;
}

static void push(peer *peer, char **list, const char *messages)
{
    pthread_mutex_lock(&peer->lock);
    char *longer = text("%s%s%s", *list, **list ? "," : "", messages);
    free(*list);
    *list = longer;
    pthread_cond_broadcast(&peer->changed);
    pthread_mutex_unlock(&peer->lock);
}

void peer_push(peer *peer, const char *messages)
{
    push(peer, &peer->events, messages);
}

void peer_push_after(peer *peer, const char *messages)
{
    push(peer, &peer->events_after, messages);
}

void peer_advise(peer *peer, const char *advice)
{
    pthread_mutex_lock(&peer->lock);
    free(peer->advice);
    peer->advice = strdup(advice);
    pthread_mutex_unlock(&peer->lock);
}

int is_on(const exchange *x, const char *channel)
{
    char *part = text("\"channel\":\"%s\"", channel);
    int found = strstr(x->body, part) != NULL;
    free(part);
    return found;
}

static char *reply(const char *message, const char *fields)
{
    char *channel = json_field(message, "channel"), *id = json_field(message, "id");
    char *subscription = json_field(message, "subscription");
    char *result =
        text("{\"channel\":%s,\"id\":%s%s%s%s%s}", channel ? channel : "\"?\"", id ? id : "0",
             subscription ? ",\"subscription\":" : "", subscription ? subscription : "",
             *fields ? "," : "", fields);
    free(channel);
    free(id);
    free(subscription);
    return result;
}

char *reply_to(const exchange *x, const char *fields)
{
    char *message = json_element(x->body, 0);
    CHECK(message != NULL);
    char *result = reply(message, fields);
    free(message);
    return result;
}

void respond_reply(exchange *x, const char *fields)
{
    char *message = reply_to(x, fields), *body = text("[%s]", message);
    respond(x, 200, "", body);
    free(body);
    free(message);
}

static char *bayeux_connect(peer *peer, const char *message)
{
    char *advice = json_field(message, "advice");
    int at_once = advice != NULL;
    free(advice);
    pthread_mutex_lock(&peer->lock);
    int releases = peer->releases;
    peer->holding++;
    while (!at_once && !peer->stopping && peer->releases == releases && !*peer->events &&
           !*peer->events_after)
        pthread_cond_wait(&peer->changed, &peer->lock);
    peer->holding--;
    char *connect = reply(message, "\"successful\":true");
    char *result = text("%s%s%s%s%s", peer->events, *peer->events ? "," : "", connect,
                        *peer->events_after ? "," : "", peer->events_after);
    peer->events[0] = peer->events_after[0] = 0;
    pthread_mutex_unlock(&peer->lock);
    free(connect);
    return result;
}

void bayeux(exchange *x)
{
    peer *peer = x->peer;
    char *replies = strdup(""), *message;
    for (int i = 0; (message = json_element(x->body, i)) != NULL; i++) {
        char *channel = json_field(message, "channel"), *answer;
        if (channel && !strcmp(channel, "\"/meta/handshake\"")) {
            pthread_mutex_lock(&peer->lock);
            char *fields = text("\"successful\":true,\"version\":\"1.0\",\"clientId\":\"client-%d\","
                                "\"supportedConnectionTypes\":[\"long-polling\"],\"advice\":%s",
                                ++peer->handshakes, peer->advice);
            pthread_mutex_unlock(&peer->lock);
            answer = reply(message, fields);
            free(fields);
        } else if (channel && !strcmp(channel, "\"/meta/connect\"")) {
            answer = bayeux_connect(peer, message);
        } else {
            if (channel && !strcmp(channel, "\"/meta/disconnect\""))
                peer_release(peer);
            answer = reply(message, "\"successful\":true");
        }
        char *longer = text("%s%s%s", replies, *replies ? "," : "", answer);
        free(replies);
        replies = longer;
        free(answer);
        free(channel);
        free(message);
    }
    char *body = text("[%s]", replies);
    respond(x, 200, "Content-Type: application/json\r\n", body);
    free(body);
    free(replies);
}

/* ---- clients ---- */

cometd_client_builder *builder_new(const char *url)
{
    cometd_client_builder *builder;
    cometd_error *error;
    if (cometd_client_builder_new(url, &builder, &error) != COMETD_OK)
        FAIL("%s: %s", url, cometd_error_message(error));
    CHECK_OK(cometd_client_builder_set_backoff_ms(builder, 10, 100));
    CHECK_OK(cometd_client_builder_set_request_timeout_ms(builder, limit_ms()));
    return builder;
}

cometd_client *build(cometd_client_builder *builder)
{
    cometd_client *client;
    cometd_error *error;
    if (cometd_client_builder_build(builder, &client, &error) != COMETD_OK)
        FAIL("%s", cometd_error_message(error));
    cometd_client_builder_free(builder);
    return client;
}

cometd_client *client_start(const char *url)
{
    cometd_client *client = build(builder_new(url));
    CHECK_OK(cometd_client_connect(client, NULL));
    return client;
}

cometd_client *client_connected(const char *url)
{
    cometd_client *client = client_start(url);
    wait_state(client, COMETD_STATE_CONNECTED);
    return client;
}

void client_end(cometd_client *client)
{
    CHECK_OK(cometd_client_disconnect(client, limit_ms(), NULL));
    cometd_client_free(client);
}

void wait_state(cometd_client *client, cometd_state state)
{
    cometd_status status = cometd_client_wait(client, state, limit_ms());
    if (status != COMETD_OK)
        FAIL("the state %d is not reached: %s, it is %d", state, cometd_status_name(status),
             cometd_client_state(client));
}

uint64_t subscribe(cometd_client *client, const char *channel)
{
    uint64_t id;
    CHECK_OK(cometd_client_subscribe(client, &channel, 1, &id, NULL));
    CHECK(id != 0);
    return id;
}

void subscribed(cometd_client *client, const char *channel)
{
    uint64_t id = subscribe(client, channel);
    cometd_event_free(wait_event(client, COMETD_EVENT_SUBSCRIBED, channel, id));
}

uint64_t publish(cometd_client *client, const char *channel, const char *json)
{
    uint64_t id;
    CHECK_OK(cometd_client_publish(client, channel, json, strlen(json), &id, NULL));
    CHECK(id != 0);
    return id;
}

static const char *const types[] = {"?",         "MESSAGE", "STATE",   "SUBSCRIBED", "UNSUBSCRIBED",
                                    "PUBLISHED", "ERROR",   "DROPPED", "CLOSED",
                                    "RESULT",    "ADVICE",  "ROOM"};

char *describe(const cometd_event *event)
{
    int32_t type = cometd_event_type(event);
    const char *name = type >= 1 && type <= 11 ? types[type] : types[0];
    const char *channel = cometd_event_channel(event);
    const char *message = cometd_error_message(cometd_event_error(event));
    /* Without the client and the URL behind it, whose port differs each time. */
    const char *where = cometd_event_error(event) ? strstr(message, " [client ") : NULL;
    int length = (int)(where ? (size_t)(where - message) : strlen(message));
    switch (type) {
    case COMETD_EVENT_STATE:
        return text("STATE %d", cometd_event_state(event, NULL));
    case COMETD_EVENT_MESSAGE:
        return text("MESSAGE %s %.80s", channel,
                    cometd_message_data(cometd_event_message(event), NULL));
    case COMETD_EVENT_DROPPED:
        return text("DROPPED %llu", (unsigned long long)cometd_event_dropped(event));
    case COMETD_EVENT_CLOSED:
        return text("CLOSED");
    default:
        return text("%s %llu %s%s%s%.*s", name, (unsigned long long)cometd_event_id(event),
                    channel ? channel : "-",
                    cometd_error_is_fatal(cometd_event_error(event)) ? " fatal" : "",
                    type == COMETD_EVENT_ERROR ? " " : "",
                    length, message);
    }
}

typedef cometd_status (*poll_fn)(void *from, int32_t timeout, cometd_event **out);

static cometd_status poll_client(void *from, int32_t timeout, cometd_event **out)
{
    return cometd_client_poll(from, timeout, out);
}

static cometd_status poll_receiver(void *from, int32_t timeout, cometd_event **out)
{
    return cometd_receiver_poll(from, timeout, out);
}

static cometd_event *wait_for(poll_fn poll, void *from, int32_t type, const char *channel,
                              uint64_t id)
{
    char *before = strdup("");
    long long until = now_ms() + limit_ms();
    for (;;) {
        long long left = until - now_ms();
        cometd_event *event;
        cometd_status status = poll(from, left > 0 ? (int32_t)left : 0, &event);
        if (status != COMETD_OK)
            FAIL("no %s %s %llu: %s after%.3000s", types[type], channel ? channel : "",
                 (unsigned long long)id, cometd_status_name(status), before);
        const char *on = cometd_event_channel(event);
        if (cometd_event_type(event) == type && (!channel || (on && !strcmp(on, channel))) &&
            (!id || cometd_event_id(event) == id)) {
            free(before);
            return event;
        }
        if (strlen(before) < 3000) {
            char *it = describe(event), *longer = text("%s; %s", before, it);
            free(before);
            free(it);
            before = longer;
        }
        cometd_event_free(event);
    }
}

cometd_event *wait_event(cometd_client *client, int32_t type, const char *channel, uint64_t id)
{
    return wait_for(poll_client, client, type, channel, id);
}

cometd_event *wait_receiver_event(cometd_receiver *receiver, int32_t type, const char *channel,
                                  uint64_t id)
{
    return wait_for(poll_receiver, receiver, type, channel, id);
}

cometd_event *next_event(cometd_client *client)
{
    cometd_event *event;
    CHECK_OK(cometd_client_poll(client, limit_ms(), &event));
    return event;
}

cometd_event *wait_error(cometd_client *client)
{
    return wait_event(client, COMETD_EVENT_ERROR, NULL, 0);
}

char *drain(cometd_client *client)
{
    char *all = strdup("");
    cometd_event *event;
    cometd_status status;
    while ((status = cometd_client_poll(client, limit_ms(), &event)) == COMETD_OK) {
        char *it = describe(event), *longer = text("%s%s;", all, it);
        free(all);
        free(it);
        all = longer;
        cometd_event_free(event);
    }
    if (status != COMETD_CLOSED)
        FAIL("the end did not come: %s after %s", cometd_status_name(status), all);
    return all;
}

long message_number(const cometd_event *event)
{
    const char *data = cometd_message_data(cometd_event_message(event), NULL);
    char *number = json_field(data ? data : "", "n");
    CHECK(number != NULL);
    long value = atol(number);
    free(number);
    return value;
}

void wait_state_event(cometd_client *client, cometd_state state)
{
    for (int found = 0; !found;) {
        cometd_event *event = wait_event(client, COMETD_EVENT_STATE, NULL, 0);
        found = cometd_event_state(event, NULL) == state;
        cometd_event_free(event);
    }
}
