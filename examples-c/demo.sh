#!/bin/sh
# Shows live events in a C program for about ten seconds: `sh demo.sh BUILD`,
# where BUILD holds what `make examples` has built. It starts the demo server of
# this repository on a free port, and ends it again.
set -u

build=${1:-build}
seconds=10
server= client= timer= folder=

fail() {
    echo "demo: $*" >&2
    exit 1
}

end() {
    trap - EXIT INT TERM HUP
    for process in $timer $client $server; do
        kill "$process" 2>/dev/null
        wait "$process" 2>/dev/null
    done
    [ -z "$folder" ] || rm -rf "$folder"
    exit "$1"
}
trap 'end $?' EXIT
trap 'end 130' INT
trap 'end 143' TERM HUP

for program in cometd_demo_server subscribe; do
    [ -x "$build/bin/$program" ] || fail "$build/bin/$program is missing; 'make demo' builds it"
done
folder=$(mktemp -d) && mkfifo "$folder/ready" "$folder/lines" || fail "no temporary folder could be made"

# The server says where it listens. The time limit is for the case that this
# script is killed and cannot end it.
"$build/bin/cometd_demo_server" --port 0 --quiet --tick-ms 500 --forget-every-ms 4250 \
    --run-ms 60000 >"$folder/ready" 2>"$folder/server" &
server=$!
ready= port=
read -r ready port _ <"$folder/ready"
[ "$ready" = READY ] || fail "the demo server did not start: $(cat "$folder/server")"
url=http://127.0.0.1:$port/cometd

cat <<END
A CometD server runs at $url.
It publishes to the channel /ticks twice a second. Every four seconds or so it
forgets its clients, as a server does that was restarted. The C program
examples-c/subscribe.c, linked with libcometd, subscribes for $seconds seconds:

  \$ $build/bin/subscribe -w $url /ticks

With -w it goes over WebSocket, where the server has it.

END

"$build/bin/subscribe" -w "$url" /ticks >"$folder/lines" 2>&1 &
client=$!
# As Ctrl-C would, after a while. The sleep goes with its shell.
(
    sleep=
    trap 'kill $sleep 2>/dev/null; exit' TERM
    sleep "$seconds" &
    sleep=$!
    wait "$sleep"
    kill "$client" 2>/dev/null
) &
timer=$!

events=0 lost=0 after=0 websocket=
while IFS= read -r line; do
    note=
    case $line in
    '/ticks '*)
        events=$((events + 1))
        [ "$lost" -eq 0 ] || after=$((after + 1))
        ;;
    'transport websocket')
        websocket=1
        note='one connection carries everything'
        ;;
    'state IDLE '*) note='the program connects' ;;
    'subscribed '*)
        note='from here on the server sends what comes on it'
        [ "$lost" -eq 0 ] || note='and has subscribed again; what came in between is missed'
        ;;
    *session_unknown*) note='the server does not know the client any more' ;;
    'state CONNECTED -> REHANDSHAKING')
        lost=$((lost + 1))
        note='the library makes a new session by itself'
        ;;
    'state REHANDSHAKING -> CONNECTING') note='there is one' ;;
    'state '*' -> CONNECTED') note='events can arrive' ;;
    'state CONNECTED -> DISCONNECTING') note='Ctrl-C: the program tells the server that it goes' ;;
    'state '*' -> CLOSED') note='the end' ;;
    esac
    if [ -n "$note" ]; then
        printf '  %-60s <- %s\n' "$line" "$note"
    else
        printf '  %s\n' "$line"
    fi
done <"$folder/lines"

wait "$client"
status=$?
client=
[ "$status" -eq 0 ] || fail "the program ended with status $status"
[ -n "$websocket" ] || fail "the program did not go over WebSocket"
[ "$events" -gt 0 ] || fail "no event arrived"
[ "$lost" -gt 0 ] || fail "no session was lost, although the server forgets them"
[ "$after" -gt 0 ] || fail "no event arrived after a session was lost"

cat <<END

$events events arrived, $after of them after the server had forgotten the client, which
happened $lost times. The program has no line of code for that; read it, it is short.
Your own starts with the twenty lines at the top of README.md.
END
