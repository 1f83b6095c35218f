#!/usr/bin/env bash
# A line that goes dead under a held connect, without a word from anybody, is
# noticed within 30 seconds. Needs root: the line goes through namespaces.
#
#   client 10.231.0.1 -- 10.231.0.2 router 10.231.1.1 -- 10.231.1.2 server
set -euo pipefail
source tests/scripts/helpers.bash

name=cometd-$$
namespaces=("$name-c" "$name-r" "$name-s")
clean() {
    local space
    for space in "${namespaces[@]}"; do
        ip netns del "$space" 2>/dev/null || true
    done
}
if [[ $(id -u) != 0 ]] || ! command -v ip >/dev/null || ! ip netns add "$name-c" 2>/dev/null; then
    echo "not run: dead_line: it takes root, ip and network namespaces"
    exit 0
fi
trap 'clean; helper_end' EXIT
in_space() { ip netns exec "$name-$1" "${@:2}"; }

ip netns add "$name-r"
ip netns add "$name-s"
ip -n "$name-c" link add to-r type veth peer name to-c netns "$name-r"
ip -n "$name-s" link add to-r type veth peer name to-s netns "$name-r"
ip -n "$name-c" addr add 10.231.0.1/24 dev to-r
ip -n "$name-r" addr add 10.231.0.2/24 dev to-c
ip -n "$name-r" addr add 10.231.1.1/24 dev to-s
ip -n "$name-s" addr add 10.231.1.2/24 dev to-r
for space in "${namespaces[@]}"; do
    for link in lo to-r to-c to-s; do
        ip -n "$space" link set "$link" up 2>/dev/null || true
    done
done
ip -n "$name-c" route add default via 10.231.0.2
ip -n "$name-s" route add default via 10.231.1.1
forward() { in_space r sysctl -q -w "net.ipv4.ip_forward=$1"; }
forward 1

"$CC" "${C99[@]}" "${WARNINGS[@]}" -Iinclude -o "$WORK/client" -x c - -x none -L"$BUILD/lib" -lcometd \
    -Wl,-rpath,"$BUILD/lib" <<'PROGRAM'
#include <cometd/cometd.h>
#include <stdio.h>

int main(int count, char **arguments)
{
    cometd_client_builder *builder;
    cometd_client *client;
    cometd_event *event;
    if (count != 2 || cometd_client_builder_new(arguments[1], &builder, NULL) != COMETD_OK ||
        cometd_client_builder_build(builder, &client, NULL) != COMETD_OK ||
        cometd_client_connect(client, NULL) != COMETD_OK)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (cometd_client_poll(client, -1, &event) == COMETD_OK) {
        if (cometd_event_state(event, NULL) == COMETD_STATE_CONNECTED)
            puts("connected");
        if (cometd_event_error(event))
            puts(cometd_error_message(cometd_event_error(event)));
        cometd_event_free(event);
    }
    return 0;
}
PROGRAM

# The demo server listens on 127.0.0.1 only; this passes on what comes from elsewhere.
"$CC" "${C99[@]}" "${WARNINGS[@]}" -o "$WORK/relay" -x c - <<'PROGRAM'
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int opened(const char *address, int port, int listens)
{
    struct sockaddr_in at;
    int made = socket(AF_INET, SOCK_STREAM, 0);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_port = htons((unsigned short)port);
    at.sin_addr.s_addr = inet_addr(address);
    if (listens ? bind(made, (struct sockaddr *)&at, sizeof at) || listen(made, 9)
                : connect(made, (struct sockaddr *)&at, sizeof at))
        exit(1);
    return made;
}

int main(int count, char **arguments)
{
    int listener = opened("10.231.1.2", 4711, 1);
    signal(SIGCHLD, SIG_IGN);
    puts("LISTENS");
    fflush(stdout);
    for (;;) {
        struct pollfd both[2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
        both[0].fd = accept(listener, NULL, NULL);
        if (count != 2 || fork() != 0) {
            close(both[0].fd);
            continue;
        }
        both[1].fd = opened("127.0.0.1", atoi(arguments[1]), 0);
        while (poll(both, 2, -1) > 0) {
            for (int from = 0; from < 2; from++) {
                char bytes[4096];
                ssize_t length = both[from].revents ? read(both[from].fd, bytes, sizeof bytes) : -1;
                if (both[from].revents && (length <= 0 || write(both[1 - from].fd, bytes, (size_t)length) < 0))
                    return 0;
            }
        }
    }
}
PROGRAM

start server ip netns exec "$name-s" "$BUILD/bin/cometd_demo_server" --port 4710 --tick-ms 0 \
    --timeout-ms 60000 --quiet --run-ms 300000
seen server READY
start relay ip netns exec "$name-s" "$WORK/relay" 4710
seen relay LISTENS
start client ip netns exec "$name-c" "$WORK/client" http://10.231.1.2:4711/cometd
seen client connected
# With the second connect on its way nothing else is, as soon as it is acknowledged:
# the first is answered at once.
sleep 2
forward 0
begun=$SECONDS
wait_until 60 "the client to notice" has client "connect: "
took=$((SECONDS - begun))
((took <= 30)) || fail "it took $took s"
has client "connect: the connection broke: connection timed out" || fail "$(cat "$WORK/client.out")"
forward 1
wait_until 60 "the client to be back" eval "[ \$(grep -c connected '$WORK/client.out') -ge 2 ]"
echo "noticed after $took s"
