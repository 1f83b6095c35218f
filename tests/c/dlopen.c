/* Loading at run time, and the end of the process. */
#include "test.h"

#include <dlfcn.h>
#include <sys/wait.h>

/* This program is linked with the library; the one by its path is the same. */
static void *open_library(int mode)
{
    Dl_info info;
    union {
        uint32_t (*function)(void);
        void *data;
    } version = {cometd_version};
    CHECK(dladdr(version.data, &info) != 0);
    void *library = dlopen(info.dli_fname, mode);
    if (!library)
        FAIL("%s", dlerror());
    return library;
}

TEST(contract_12_dlclose_keeps_it_loaded)
{
    server *server = server_start(NULL);
    void *library = open_library(RTLD_NOW);
    union {
        void *data;
        uint32_t (*function)(void);
    } version = {dlsym(library, "cometd_version")};
    CHECK(version.data != NULL);
    CHECK_INT(version.function(), ==, COMETD_VERSION);
    cometd_client *client = client_connected(server->url);
    CHECK_INT(dlclose(library), ==, 0);
    CHECK_INT(dlclose(open_library(RTLD_NOW | RTLD_NOLOAD)), ==, 0);
    subscribed(client, "/a");
    client_end(client);
    server_stop(server);
}

/* A program that is not linked with it: it opens and closes it while threads run. */
TEST(contract_12_dlclose_of_the_last_one_keeps_it_loaded)
{
    static const char source[] =
        "#include <dlfcn.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <unistd.h>\n"
        "typedef int32_t (*make)(const char *, void **, void **);\n"
        "typedef int32_t (*build)(void *, void **, void **);\n"
        "typedef int32_t (*start)(void *, void **);\n"
        "typedef int32_t (*waits)(void *, int32_t, int32_t);\n"
        "int main(int argc, char **argv) {\n"
        "  void *l = argc > 2 ? dlopen(argv[1], RTLD_NOW) : 0, *b, *c;\n"
        "  if (!l) { fprintf(stderr, \"%s\\n\", dlerror()); return 1; }\n"
        "  waits w = (waits)dlsym(l, \"cometd_client_wait\");\n"
        "  if (((make)dlsym(l, \"cometd_client_builder_new\"))(argv[2], &b, 0)) return 2;\n"
        "  if (((build)dlsym(l, \"cometd_client_builder_build\"))(b, &c, 0)) return 3;\n"
        "  if (((start)dlsym(l, \"cometd_client_connect\"))(c, 0)) return 4;\n"
        "  if (w(c, 3, 30000)) return 5;\n"
        "  dlclose(l); dlclose(l);\n"
        "  if (w(c, 3, 0)) return 6;\n"
        "  usleep(50000);\n"
        "  return 42; }\n";
    const char *compiler = getenv("CC");
    char directory[] = "/tmp/cometd-dlopen-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    char *path = text("%s/host.c", directory);
    FILE *file = fopen(path, "w");
    fputs(source, file);
    fclose(file);
    server *server = server_start(NULL);
    void *self = open_library(RTLD_NOW);
    Dl_info info;
    CHECK(dladdr(dlsym(self, "cometd_version"), &info) != 0);
    dlclose(self);
    char *command =
        text("cd %s && %s -o host host.c -ldl && exec ./host '%s' '%s'", directory,
             compiler ? compiler : "cc", info.dli_fname, server->url);
    int status = system(command);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), ==, 42);
    free(command);
    free(path);
    command = text("rm -r %s", directory);
    CHECK_INT(system(command), ==, 0);
    free(command);
    server_stop(server);
}

static void nothing(void *user, const cometd_event *event)
{
    (void)user;
    (void)event;
}

static void stay(void *user, const cometd_event *event)
{
    (void)event;
    *(atomic_int *)user = 1;
    pause();
}

/* Starts clients of every kind, and ends the process in the middle of it. */
static void check_exit(const char *url, int code, int immediate, int blocked, int round)
{
    fflush(stdout);
    long long start = now_ms();
    pid_t pid = fork();
    if (pid == 0) {
        static atomic_int inside;
        alarm((unsigned)limit_ms() / 1000);
        for (int i = 0; i < 4; i++) {
            cometd_client *client = build(builder_new(url));
            if (i == 0 && blocked)
                CHECK_OK(cometd_client_set_callback(client, stay, &inside, NULL));
            else if (i % 2)
                CHECK_OK(cometd_client_set_callback(client, nothing, NULL, NULL));
            CHECK_OK(cometd_client_connect(client, NULL));
            subscribe(client, "/a");
            if (round % 2)
                wait_state(client, COMETD_STATE_CONNECTED);
        }
        WAIT_FOR(!blocked || inside);
        if (immediate)
            _exit(code);
        exit(code);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, 0), ==, pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), ==, code);
    CHECK_INT(now_ms() - start, <, limit_ms() / 3);
}

TEST(contract_12_a_process_exits_at_any_moment_with_clients_alive)
{
    server *server = server_start(NULL);
    for (int round = 0; round < 10; round++) {
        check_exit(server->url, 17, 0, 0, round);
        check_exit(server->url, 18, 1, 0, round);
    }
    server_stop(server);
}

TEST(contract_12_a_process_exits_though_a_callback_blocks)
{
    server *server = server_start(NULL);
    check_exit(server->url, 19, 0, 1, 1);
    server_stop(server);
}
