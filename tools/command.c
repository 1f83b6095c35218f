#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* Those that run. A child that nobody has waited for keeps its number. */
static struct {
    pthread_mutex_t lock;
    struct running {
        pid_t child;
        struct running *next;
    } *first;
    bool is_over;
} commands = {.lock = PTHREAD_MUTEX_INITIALIZER};

void commands_end(void) {
    pthread_mutex_lock(&commands.lock);
    commands.is_over = true;
    for (const struct running *it = commands.first; it; it = it->next) kill(-it->child, SIGTERM);
    pthread_mutex_unlock(&commands.lock);
}

static void forget(struct running *running) {
    struct running **at = &commands.first;
    while (*at && *at != running) at = &(*at)->next;
    if (*at) *at = running->next;
}

/* A command says no more than this. */
enum { MOST_OUTPUT = 1 << 20 };

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_both(int ends[2]) {
    if (ends[0] >= 0) close(ends[0]);
    if (ends[1] >= 0) close(ends[1]);
}

/* Neither end is the command's unless it is given to it. */
static bool make_pipe(int ends[2]) {
    if (pipe(ends) != 0) return false;
    for (int end = 0; end < 2; end++) fcntl(ends[end], F_SETFD, FD_CLOEXEC);
    return true;
}

static char **environment_with(const char *const *added) {
    size_t count = 0, more = 0;
    while (environ[count]) count++;
    while (added && added[more]) more++;
    char **all = malloc((count + more + 1) * sizeof *all);
    if (!all) return NULL;
    /* What is added stands in front: of one name the first one counts. */
    for (size_t at = 0; at < more; at++) all[at] = (char *)(size_t)added[at];
    memcpy(all + more, environ, (count + 1) * sizeof *all);
    return all;
}

/* As a child of a program that had changed nothing. */
static int start(const struct command *command, int input, int output, int alive, struct running *running) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    sigset_t none, ordinary;
    sigemptyset(&none);
    sigemptyset(&ordinary);
    int numbers[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++) sigaddset(&ordinary, numbers[at]);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigdefault(&attributes, &ordinary);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&files);
    if (input >= 0) posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    else posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (output >= 0) posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    /* What had this number has been given away above. */
    posix_spawn_file_actions_adddup2(&files, alive, 3);
    char **environment = environment_with(command->environment);
    char shell[] = "sh", option[] = "-c";
    char *arguments[] = {shell, option, (char *)(size_t)command->line, NULL};
    pthread_mutex_lock(&commands.lock);
    int error = !environment ? ENOMEM
                : commands.is_over ? ECANCELED
                              : posix_spawn(&running->child, "/bin/sh", &files, &attributes, arguments, environment);
    if (error == 0) {
        running->next = commands.first;
        commands.first = running;
    }
    pthread_mutex_unlock(&commands.lock);
    free(environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* Whether there is more to read. */
static bool read_some(struct command *command, int from) {
    char buffer[4096];
    ssize_t length = read(from, buffer, sizeof buffer);
    if (length < 0) return errno == EINTR || errno == EAGAIN;
    if (length == 0) return false;
    size_t take = (size_t)length;
    if (command->output_length + take > MOST_OUTPUT) take = MOST_OUTPUT - command->output_length;
    char *output = realloc(command->output, command->output_length + take + 1);
    if (!output) return false;
    memcpy(output + command->output_length, buffer, take);
    command->output = output;
    command->output_length += take;
    output[command->output_length] = 0;
    return true;
}

/* Waits up to the limit, and then ends it. */
static int attend(struct command *command, struct running *running, int *input, int *output, int alive) {
    size_t written = 0;
    long long deadline = now_ms() + command->limit_ms, kill_at = -1;
    bool is_ended_here = false, is_alive = true;
    int status, rounds = 0;
    pid_t child = running->child;
    for (;;) {
        /* Of one that was ended all are to be gone; its group has its number as long as nobody has waited for it. */
        siginfo_t about = {0};
        bool has_ended = waitid(P_PID, (id_t)child, &about, WEXITED | WNOHANG | WNOWAIT) == 0 && about.si_pid == child;
        bool is_followed = has_ended && is_ended_here && is_alive && now_ms() < kill_at;
        if (has_ended && is_ended_here && is_alive && !is_followed) kill(-child, SIGKILL);
        pthread_mutex_lock(&commands.lock);
        pid_t waited = is_followed ? 0 : waitpid(child, &status, WNOHANG);
        if (waited == child || (waited < 0 && errno != EINTR)) forget(running);
        pthread_mutex_unlock(&commands.lock);
        if (waited == child) {
            /* What it had written before is there. */
            while (*output >= 0 && read_some(command, *output))
                if (poll(&(struct pollfd){.fd = *output, .events = POLLIN}, 1, 0) <= 0) break;
            if (is_ended_here) return -2;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (waited < 0 && errno != EINTR) return -1;
        long long now = now_ms();
        bool goes_on = !command->goes_on || command->goes_on(command->user);
        if (kill_at < 0 && (now >= deadline || !goes_on)) {
            is_ended_here = true;
            kill_at = now + 2000;
            kill(-child, SIGTERM);
        } else if (kill_at >= 0 && now >= kill_at) {
            kill(-child, SIGKILL);
        }
        struct pollfd watched[] = {
            {.fd = is_alive ? alive : -1, .events = POLLIN},
            {.fd = *input, .events = POLLOUT},
            {.fd = *output, .events = POLLIN},
        };
        /* It does not say when it ends; but the last descriptor that it has tells. */
        poll(watched, 3, is_alive || rounds++ > 100 ? 50 : 1);
        if (watched[0].revents) is_alive = false;
        if (watched[1].revents) {
            ssize_t length = write(*input, command->input + written, command->input_length - written);
            if (length > 0) written += (size_t)length;
            if (written == command->input_length || (length < 0 && errno != EAGAIN && errno != EINTR)) {
                close(*input);
                *input = -1;
            }
        }
        if (watched[2].revents && !read_some(command, *output)) {
            close(*output);
            *output = -1;
        }
    }
}

int command_run(struct command *command) {
    int input[2] = {-1, -1}, output[2] = {-1, -1}, alive[2] = {-1, -1}, status = -1;
    struct running running;
    command->output = NULL;
    command->output_length = 0;
    bool has_pipes = make_pipe(alive) && (!command->input || make_pipe(input)) &&
                     (!command->takes_output || make_pipe(output));
    if (has_pipes && start(command, input[0], output[1], alive[1], &running) == 0) {
        if (input[0] >= 0) close(input[0]);
        if (output[1] >= 0) close(output[1]);
        close(alive[1]);
        input[0] = output[1] = alive[1] = -1;
        if (input[1] >= 0) fcntl(input[1], F_SETFL, O_NONBLOCK);
        if (output[0] >= 0) fcntl(output[0], F_SETFL, O_NONBLOCK);
        status = attend(command, &running, &input[1], &output[0], alive[0]);
    }
    close_both(input);
    close_both(output);
    close_both(alive);
    return status;
}
