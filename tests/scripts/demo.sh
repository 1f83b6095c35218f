#!/usr/bin/env bash
# The demonstration: events, a new session by itself, events again; a clean end
# that leaves nothing; and one clear line when something is missing.
set -euo pipefail
source tests/scripts/helpers.bash

# It makes its folder where TMPDIR says, so that what it leaves is seen.
mkdir "$WORK/tmp"
demo() { expect "$1" env TMPDIR="$WORK/tmp" sh examples-c/demo.sh "$2"; }

demo 0 "$BUILD"
in_order() {
    local rest=$OUTPUT part
    for part in "$@"; do
        [[ $rest == *"$part"* ]] || fail "'$part' did not come in its turn in: $OUTPUT"
        rest=${rest#*"$part"}
    done
}
# Over one socket the server answers the connect and the subscribe in whichever order.
# The handshake may be answered before the program has read its first event.
in_order 'transport websocket' ' -> CONNECTED'
in_order 'state IDLE -> HANDSHAKING' ' -> CONNECTED' '402::session_unknown' \
    'CONNECTED -> REHANDSHAKING' 'REHANDSHAKING -> CONNECTING' ' -> CONNECTED' 'CONNECTED -> DISCONNECTING'
in_order 'subscribed /ticks' '/ticks {"tick":' '402::session_unknown' 'has subscribed again' \
    '/ticks {"tick":' 'CONNECTED -> DISCONNECTING' 'DISCONNECTING -> CLOSED' 'events arrived'
[[ -z $ERRORS ]] || fail "it complained: $ERRORS"

# Nothing of it runs any more, and nothing is left.
[[ -z $(ls -A "$WORK/tmp") ]] || fail "it left $(ls "$WORK/tmp")"
port=$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$OUTPUT" | head -n 1)
! (exec 3<>"/dev/tcp/${port/://}") 2>/dev/null || fail "the demo server still listens on $port"

# Ended early, it takes its processes with it.
TMPDIR=$WORK/tmp start early sh examples-c/demo.sh "$BUILD"
seen early '/ticks {"tick":'
kill -TERM "$STARTED"
ended "$STARTED" 143
port=$(grep -oE '127\.0\.0\.1:[0-9]+' "$WORK/early.out" | head -n 1)
! (exec 3<>"/dev/tcp/${port/://}") 2>/dev/null || fail "the demo server still listens on $port"
[[ -z $(ls -A "$WORK/tmp") ]] || fail "it left $(ls "$WORK/tmp")"

# Errors are one line.
one_line() { (($(wc -l <<<"$ERRORS") == 1)) && contains "$ERRORS" "demo: $1"; }
demo 1 "$WORK/nowhere"
one_line "$WORK/nowhere/bin/cometd_demo_server is missing"
mkdir -p "$WORK/broken/bin"
printf '#!/bin/sh\necho "no port is free" >&2\nexit 1\n' >"$WORK/broken/bin/cometd_demo_server"
cp "$WORK/broken/bin/cometd_demo_server" "$WORK/broken/bin/subscribe"
chmod +x "$WORK"/broken/bin/*
demo 1 "$WORK/broken"
one_line "the demo server did not start: no port is free"
cp "$BUILD/bin/cometd_demo_server" "$WORK/broken/bin/"
demo 1 "$WORK/broken"
one_line "the program ended with status 1"
