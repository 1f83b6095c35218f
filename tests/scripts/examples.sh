#!/usr/bin/env bash
# Runs every program of examples-c/ against the demo server: what it prints, how
# it ends, and what the server has seen of it.
set -euo pipefail
source tests/scripts/helpers.bash
BIN=$BUILD/bin
NOWHERE=http://127.0.0.1:9/cometd

# None is forgotten here: each source is in the list.
for source in examples-c/*.c examples-c/*.cpp; do
    name=$(basename "$source" .c)
    name=${name%.cpp}
    case $source in
    */retries.c | \
        */server_time.c | */failover.c | \
        */subscribe.c | */subscribe.cpp | */callback.c | */event_loop.c | */publish.c | */authorization.c) ;;
    *) fail "$source has no test here" ;;
    esac
    [[ $source == *.cpp ]] && name=${name}_cpp
    [[ -x $BIN/$name ]] || fail "$BIN/$name is missing: run make examples"
done

start_server --tick-ms 50 --timeout-ms 2000
disconnects=0

# What every one of them does when it is called the wrong way, and with a URL
# that is none.
for name in subscribe subscribe_cpp callback event_loop publish authorization retries; do
    expect 2 "$BIN/$name"
    contains "$ERRORS" "usage: $name "
    arguments=(/a)
    [[ $name == publish ]] && arguments=(/a 1)
    [[ $name == retries ]] && arguments=(/a 5 1)
    expect 1 "$BIN/$name" ftp://localhost/ "${arguments[@]}"
    contains "$ERRORS" "url: has the scheme ftp"
done
for arguments in "" "x" "0" "-1"; do
    expect 2 "$BIN/subscribe" -n "$arguments" "$URL" /ticks
    expect 2 "$BIN/subscribe_cpp" -n "$arguments" "$URL" /ticks
done

# subscribe, in C and C++: so many messages, then a disconnect that the server sees.
for name in subscribe subscribe_cpp; do
    expect 0 "$BIN/$name" -n 3 "$URL" /ticks /other
    (($(wc -l <<<"$OUTPUT") == 3)) || fail "$name printed not 3 messages: $OUTPUT"
    contains "$OUTPUT" '/ticks {"tick":'
    contains "$ERRORS" "subscribed /ticks"
    contains "$ERRORS" "subscribed /other"
    disconnects=$((disconnects + 1))
    wait_until 10 "the disconnect of $name" counted disconnects "$disconnects"
    # A channel that is none is refused at once, one that the server denies by the server.
    expect 1 "$BIN/$name" "$URL" ticks
    contains "$ERRORS" "channels[0]"
    expect 1 "$BIN/$name" "$URL" /ticks /denied/x
    contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"
    contains "$ERRORS" "/denied/x"
    disconnects=$((disconnects + 1))
    wait_until 10 "the disconnect of $name" counted disconnects "$disconnects"
done

# Ctrl-C and kill, for each that runs until then.
for name in subscribe subscribe_cpp callback authorization; do
    for signal in INT TERM; do
        start "$name" "$BIN/$name" "$URL" /ticks
        seen "$name" '{"tick":'
        kill -"$signal" "$STARTED"
        ended "$STARTED" 0
        disconnects=$((disconnects + 1))
        wait_until 10 "the disconnect of $name" counted disconnects "$disconnects"
        [[ $(control /sessions) == 0 ]] || fail "$name left a session"
    done
done

# A server that is not there, and Ctrl-C while the client tries again: the end is clean.
for name in subscribe subscribe_cpp callback authorization; do
    start "$name" "$BIN/$name" "$NOWHERE" /ticks
    seen "$name" "handshake: tcp connect to 127.0.0.1:9: connection refused"
    kill -INT "$STARTED"
    ended "$STARTED" 0
done

# callback counts the messages, and says what the server refuses.
start callback "$BIN/callback" "$URL" /ticks
seen callback '3 /ticks {"tick":'
seen callback 'subscribed /ticks'
kill -INT "$STARTED"
ended "$STARTED" 0
expect 1 "$BIN/callback" "$URL" /denied
contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"
disconnects=$((disconnects + 2))
wait_until 10 "the disconnect of callback" counted disconnects "$disconnects"

# publish tells the outcome of each; it gives up when there is no server.
expect 0 "$BIN/publish" "$URL" /chat '"one"' '{"two":2}'
contains "$OUTPUT" '1 "one"'
contains "$OUTPUT" '1 published'
contains "$OUTPUT" '2 published'
expect 1 "$BIN/publish" "$URL" /chat 'not JSON' 3
contains "$ERRORS" "json: not JSON"
contains "$OUTPUT" 'published'
expect 1 "$BIN/publish" "$URL" /denied 1
contains "$ERRORS" "403:denied_by_security_policy:publish_denied"
expect 1 "$BIN/publish" "$NOWHERE" /chat 1
contains "$ERRORS" "given up after 3 failures"
contains "$ERRORS" "the client closed before the server answered"
disconnects=$((disconnects + 3))
wait_until 10 "the disconnect of publish" counted disconnects "$disconnects"

# retries: what fails on the way is sent again, until it was accepted or the time is over.
control "/fail?status=503&count=1&on=/chat" >/dev/null
expect 0 "$BIN/retries" "$URL" /chat 30 '"one"' '{"two":2}'
contains "$OUTPUT" '1 published'
contains "$OUTPUT" '2 published'
expect 1 "$BIN/retries" "$URL" /denied 30 1
contains "$ERRORS" "403:denied_by_security_policy:publish_denied"
expect 1 "$BIN/retries" "$NOWHERE" /chat 1 1
contains "$ERRORS" "not accepted within its time limit; it was not sent"
expect 2 "$BIN/retries" "$URL" /chat 0 1
disconnects=$((disconnects + 2))
wait_until 10 "the disconnect of retries" counted disconnects "$disconnects"

# server_time: a server that does not know the extension says nothing.
expect 2 "$BIN/server_time"
contains "$ERRORS" "usage: server_time "
expect 1 "$BIN/server_time" "$URL"
contains "$ERRORS" "the server does not tell its time"
expect 1 "$BIN/server_time" "$NOWHERE"
disconnects=$((disconnects + 1))
wait_until 10 "the disconnect of server_time" counted disconnects "$disconnects"

# failover: the second server, where the first is not there.
expect 2 "$BIN/failover" /ticks
contains "$ERRORS" "usage: failover "
expect 1 "$BIN/failover" /ticks "$URL" ftp://localhost/
start failover "$BIN/failover" /ticks "$NOWHERE" "$URL"
seen failover "connection refused"
seen failover '{"tick":'
kill -INT "$STARTED"
ended "$STARTED" 0
disconnects=$((disconnects + 1))
wait_until 10 "the disconnect of failover" counted disconnects "$disconnects"

# event_loop: a line typed is published, and comes back; a bad one is refused.
mkfifo "$WORK/keyboard"
exec {keyboard}<>"$WORK/keyboard"
INPUT=$WORK/keyboard start event_loop "$BIN/event_loop" "$URL" /chat
seen event_loop "subscribed"
printf '{"typed":1}\n' >&"$keyboard"
seen event_loop '{"typed":1}'
printf 'not JSON\n\n"half ' >&"$keyboard"
seen event_loop "json: not JSON"
printf 'a line"\n' >&"$keyboard"
seen event_loop '"half a line"'
expect 0 "$BIN/publish" "$URL" /chat '"from another"'
seen event_loop '"from another"'
kill -INT "$STARTED"
ended "$STARTED" 0
disconnects=$((disconnects + 2))
wait_until 10 "the disconnect of event_loop" counted disconnects "$disconnects"
exec {keyboard}>&-
# The end of the input is an end as well, and what was typed before is still sent.
publishes=$(stat_of publishes)
expect 0 "$BIN/event_loop" "$URL" /chat <<<'"last words"'
wait_until 10 "the publish of event_loop" counted publishes $((publishes + 1))
disconnects=$((disconnects + 1))
wait_until 10 "the disconnect of event_loop" counted disconnects "$disconnects"

# authorization: each kind of it, refused without, and changed while it runs.
start_server --tick-ms 50 --timeout-ms 500 --token first --token second --basic 'ä:päss:wörd'
expect 1 "$BIN/authorization" "$URL" /ticks
contains "$ERRORS" "403::handshake_denied"
expect 1 "$BIN/authorization" -b 'a b' "$URL" /ticks
contains "$ERRORS" "option -b"
authorized() {
    start authorized "$BIN/authorization" "$@" "$URL" /ticks
    seen authorized '{"tick":'
    kill -INT "$STARTED"
    ended "$STARTED" 0
}
authorized -b first
authorized -a 'Bearer second'
authorized -u 'ä:päss:wörd'
authorized -b first -c 'flavour=vanilla' -c 'other=1' -H 'x-demo: yes'
headers=$(control /headers)
contains "$headers" '["x-demo","yes"]'
contains "$headers" 'flavour=vanilla'

# The server refuses the old token: the library asks for another.
echo second >"$WORK/token"
authorized -b stale -f "$WORK/token"
has authorized "refused (reason 1): reading the token file" || fail "the token file was not asked for"
expect 1 "$BIN/authorization" -b stale -f "$WORK/none" "$URL" /ticks
contains "$ERRORS" "No such file"

# SIGHUP: from the next request on.
start authorization "$BIN/authorization" -b first -f "$WORK/token" "$URL" /ticks
seen authorization '{"tick":'
echo third >"$WORK/token"
kill -HUP "$STARTED"
seen authorization "token changed"
uses_third() { [[ $(control /headers) == *"Bearer third"* ]]; }
wait_until 30 "the new token" uses_third
kill -TERM "$STARTED"
ended "$STARTED" 0

# Nothing of all that was ever printed.
! grep -qE 'first|second|third|stale|päss' "$WORK"/auth*.out "$WORK"/auth*.err || fail "a token was printed"
