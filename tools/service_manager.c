#include "service_manager.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void service_manager_tell(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof address.sun_path) return;
    memcpy(address.sun_path, path, strlen(path));
    /* An abstract one. */
    if (*path == '@') address.sun_path[0] = 0;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int to = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (to < 0) return;
    sendto(to, state, strlen(state), 0, (struct sockaddr *)&address, length);
    close(to);
}

void service_manager_tell_reloading(void) {
    struct timespec now;
    char state[80];
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    service_manager_tell(state);
}

int service_manager_watchdog_ms(void) {
    const char *microseconds = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
    if (!microseconds || (process && atol(process) != (long)getpid())) return -1;
    long long ms = atoll(microseconds) / 2000;
    return ms < 1 ? -1 : ms > 3600000 ? 3600000 : (int)ms;
}
