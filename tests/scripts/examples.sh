#!/usr/bin/env bash
# Runs every program of examples-c/ against the demo server: what it prints, how
# it ends, and what the server has seen of it.
set -euo pipefail
source tests/scripts/helpers.bash
BIN=$BUILD/bin
NOWHERE=http://127.0.0.1:9/cometd
! (exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null || fail "something listens on port 9, where nothing should"

# None is forgotten here: each source is in the list.
for source in examples-c/*.c examples-c/*.cpp; do
    name=$(basename "$source" .c)
    name=${name%.cpp}
    case $source in
    */subscribe.c | */subscribe.cpp | */callback.c | */event_loop.c | */publish.c | */authorization.c) ;;
    */binary.c) ;;
    */acknowledgement.c | */batch.c | */remote_call.c | */statistics.c) ;;
    */retries.c | */server_time.c | */failover.c | */replay.c) ;;
    */extension.c | */handshake.c | */sessions.c) ;;
    *) fail "$source has no test here" ;;
    esac
    [[ $source == *.cpp ]] && name=${name}_cpp
    [[ -x $BIN/$name ]] || fail "$BIN/$name is missing: run make examples"
done

start_server --tick-ms 50 --timeout-ms 2000
disconnects=0

# What every one of them does when it is called the wrong way, and with a URL
# that is none.
for name in subscribe subscribe_cpp callback event_loop publish authorization \
    acknowledgement batch remote_call statistics retries extension handshake binary; do
    expect 2 "$BIN/$name"
    contains "$ERRORS" "usage: $name "
    arguments=(/a)
    case $name in
    publish | batch | remote_call) arguments=(/a 1) ;;
    retries) arguments=(/a 5 1) ;;
    esac
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
    wait_until 60 "the disconnect of $name" counted disconnects "$disconnects"
    # A channel that is none is refused at once, one that the server denies by the server.
    expect 1 "$BIN/$name" "$URL" ticks
    contains "$ERRORS" "channels[0]"
    expect 1 "$BIN/$name" "$URL" /ticks /denied/x
    contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"
    contains "$ERRORS" "/denied/x"
    disconnects=$((disconnects + 1))
    wait_until 60 "the disconnect of $name" counted disconnects "$disconnects"
done

# With -w the same over WebSocket, and by long polling where that is refused.
expect 0 "$BIN/subscribe" -w -n 3 "$URL" /ticks
[[ $(control /stats) == *'"upgrades":1'* ]] || fail "subscribe -w has opened no WebSocket: $(control /stats)"
control "/fail?status=503&count=1&on=upgrade" >/dev/null
expect 0 "$BIN/subscribe" -w -n 3 "$URL" /ticks
contains "$ERRORS" "HTTP 503"
[[ $(control /stats) == *'"upgrades":1'* ]] || fail "subscribe -w has opened a WebSocket that was refused"
disconnects=$((disconnects + 2))
wait_until 60 "the disconnect of subscribe -w" counted disconnects "$disconnects"

# Ctrl-C and kill, for each that runs until then.
for name in subscribe subscribe_cpp callback authorization acknowledgement; do
    for signal in INT TERM; do
        start "$name" "$BIN/$name" "$URL" /ticks
        seen "$name" '{"tick":'
        kill -"$signal" "$STARTED"
        ended "$STARTED" 0
        disconnects=$((disconnects + 1))
        wait_until 60 "the disconnect of $name" counted disconnects "$disconnects"
        [[ $(control /sessions) == 0 ]] || fail "$name left a session"
    done
done

# A server that is not there, and Ctrl-C while the client tries again: the end is clean.
for name in subscribe subscribe_cpp callback authorization acknowledgement statistics; do
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
wait_until 60 "the disconnect of callback" counted disconnects "$disconnects"

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
wait_until 60 "the disconnect of publish" counted disconnects "$disconnects"

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
wait_until 60 "the disconnect of retries" counted disconnects "$disconnects"

# server_time: the clock of the server on this machine is this one's.
expect 2 "$BIN/server_time"
contains "$ERRORS" "usage: server_time "
expect 0 "$BIN/server_time" "$URL"
grep -qE "the server's clock is -?[0-9]{1,3} ms ahead" <<<"$OUTPUT" || fail "server_time printed $OUTPUT"
expect 1 "$BIN/server_time" "$NOWHERE"
disconnects=$((disconnects + 1))
wait_until 60 "the disconnect of server_time" counted disconnects "$disconnects"

# failover: the second server, where the first is not there.
expect 2 "$BIN/failover" /ticks
contains "$ERRORS" "usage: failover "
expect 1 "$BIN/failover" /ticks "$URL" ftp://localhost/
start failover "$BIN/failover" -f /ticks "$NOWHERE" "$URL"
seen failover "connection refused"
seen failover '{"tick":'
control /disconnect >/dev/null
seen failover "the server ended the session"
again() { (($(grep -c "state CONNECTED" "$WORK/failover.err") == 2)); }
wait_until 60 "the next session of failover" again
kill -INT "$STARTED"
ended "$STARTED" 0
disconnects=$((disconnects + 1))
wait_until 60 "the disconnect of failover" counted disconnects "$disconnects"

# sessions: what was missed is asked for when the subscription is back; what is in
# the way of a session is told with the client and the URL, and ends the program
# when it does not pass by itself.
expect 2 "$BIN/sessions" "$URL" /ticks
contains "$ERRORS" "usage: sessions "
expect 1 "$BIN/sessions" ftp://localhost/ /ticks /service/echo
contains "$ERRORS" "url: has the scheme ftp"
start sessions "$BIN/sessions" "$URL" /ticks /service/echo
seen sessions '{"tick":'
! has sessions "subscribed again" || fail "sessions told the first subscribe as a renewal"
control /forget >/dev/null
seen sessions "error connect: the server refused: 402::session_unknown [sessions.c, $URL/connect]"
seen sessions "subscribed again, in a new session"
seen sessions 'missed: {"after":{"tick":'
asked=$(sed -n 's/^missed: {"after":\(.*\)}$/\1/p' "$WORK/sessions.out")
before=$(sed '/^missed: /,$d' "$WORK/sessions.out")
[[ $before == *"$asked"* ]] || fail "sessions asked for what came after $asked, which it has not printed: $before"
kill -INT "$STARTED"
ended "$STARTED" 0
disconnects=$((disconnects + 1))
wait_until 60 "the disconnect of sessions" counted disconnects "$disconnects"
expect 1 "$BIN/sessions" "$URL" /denied /service/echo
contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"
disconnects=$((disconnects + 1))
wait_until 60 "the disconnect of sessions" counted disconnects "$disconnects"
start sessions "$BIN/sessions" "$NOWHERE" /ticks /service/echo
seen sessions "sessions.c has no session at $NOWHERE/handshake: handshake: tcp connect to 127.0.0.1:9: connection refused"
kill -TERM "$STARTED"
ended "$STARTED" 0
expect 1 "$BIN/sessions" "${URL%cometd}nothing" /ticks /service/echo
contains "$ERRORS" "sessions.c has no session at ${URL%cometd}nothing/handshake: "
contains "$ERRORS" "will not pass by itself"

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
wait_until 60 "the disconnect of event_loop" counted disconnects "$disconnects"
exec {keyboard}>&-
# The end of the input is an end as well, and what was typed before is still sent.
publishes=$(stat_of publishes)
expect 0 "$BIN/event_loop" "$URL" /chat <<<'"last words"'
wait_until 60 "the publish of event_loop" counted publishes $((publishes + 1))
disconnects=$((disconnects + 1))
wait_until 60 "the disconnect of event_loop" counted disconnects "$disconnects"

# batch: one request for all of it, and an outcome for each; one that is refused is told.
expect 0 "$BIN/batch" "$URL" /batch '"one"' '{"two":2}'
[[ $OUTPUT == $'"one"\n{"two":2}' ]] || fail "batch printed $OUTPUT"
(($(grep -c accepted <<<"$ERRORS") == 3)) || fail "batch told not 3 outcomes: $ERRORS"
together='[{\"channel\":\"/meta/subscribe\"'
contains "$(control /headers | grep -oF -e "$together" -e '\"data\":\"one\"' -e '\"two\":2' | tr '\n' ' ')" \
    "$together \\\"data\\\":\\\"one\\\" \\\"two\\\":2"
expect 1 "$BIN/batch" "$URL" /denied 1
contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"
contains "$ERRORS" "403:denied_by_security_policy:publish_denied"
expect 1 "$BIN/batch" "$URL" /batch '1' 'not JSON'
contains "$ERRORS" "json: not JSON"
(($(grep -c accepted <<<"$ERRORS") == 2)) || fail "what came before the mistake was not sent: $ERRORS"
expect 1 "$BIN/batch" "$NOWHERE" /batch 1
contains "$ERRORS" "given up after 3 failures"
disconnects=$((disconnects + 3))
wait_until 60 "the disconnect of batch" counted disconnects "$disconnects"

# remote_call: the answer, a failure with its data, none in time, and no service's channel.
expect 0 "$BIN/remote_call" "$URL" /service/echo '{"question":[1]}'
[[ $OUTPUT == '{"question":[1]}' ]] || fail "remote_call printed $OUTPUT"
expect 1 "$BIN/remote_call" "$URL" /service/fail '"sorry"'
[[ $OUTPUT == '"sorry"' ]] || fail "remote_call printed $OUTPUT"
contains "$ERRORS" "failed call: "
expect 1 "$BIN/remote_call" -t 200 "$URL" /service/slow 1
contains "$ERRORS" "the service did not answer in time"
expect 1 "$BIN/remote_call" "$URL" /service/echo 'not JSON'
contains "$ERRORS" "json: not JSON"
expect 1 "$BIN/remote_call" "$URL" /chat 1
contains "$ERRORS" "/service/"
expect 1 "$BIN/remote_call" -t 200 "$NOWHERE" /service/echo 1
contains "$ERRORS" "did not answer in time"
for milliseconds in 0 x 9999999999; do
    expect 2 "$BIN/remote_call" -t "$milliseconds" "$URL" /service/echo 1
done
disconnects=$((disconnects + 3))
wait_until 60 "the disconnect of remote_call" counted disconnects "$disconnects"

# statistics: a line a second while events come, and one after the end.
start statistics "$BIN/statistics" "$URL" /ticks
lines() { (($(wc -l <"$WORK/statistics.out") >= $1)); }
wait_until 60 "two lines of statistics" lines 2
kill -INT "$STARTED"
ended "$STARTED" 0
last=$(tail -n 1 "$WORK/statistics.out")
contains "$last" '"handshakes":1,'
[[ $last =~ \"events_received\":([0-9]+) ]] && ((BASH_REMATCH[1] > 10)) || fail "few events: $last"
[[ $last =~ \"queued\":0,.*\"dropped\":0 ]] || fail "left in the queue, or dropped: $last"
expect 1 "$BIN/statistics" "$URL" /denied
disconnects=$((disconnects + 2))
wait_until 60 "the disconnect of statistics" counted disconnects "$disconnects"

# acknowledgement: two events are lost with the response that brings them, and come again.
start_server --tick-ms 0 --timeout-ms 500
lossy() { # OPTION...: sets ARRIVED
    local lost
    lost=$(control /lost)
    start acknowledgement "$BIN/acknowledgement" "$@" "$URL" /precious
    seen acknowledgement subscribed
    seen acknowledgement "state CONNECTED"
    control "/lose?count=1" >"$WORK/lose.out"
    control "/publish?channel=/precious&count=2" >"$WORK/lose.out"
    wait_until 60 "the loss of a response" lost_more_than "$lost"
    control "/publish?channel=/precious&count=1&size=4" >"$WORK/lose.out"
    seen acknowledgement xxxx
    kill -INT "$STARTED"
    ended "$STARTED" 0
    ARRIVED=$(tr '\n' ' ' <"$WORK/acknowledgement.out")
}
lost_more_than() { (($(control /lost) > $1)); }
lossy
[[ $ARRIVED == '{"n":0,"pad":""} {"n":1,"pad":""} {"n":0,"pad":"xxxx"} ' ]] || fail "with acknowledgement came: $ARRIVED"
lossy -p
[[ $ARRIVED == '{"n":0,"pad":"xxxx"} ' ]] || fail "without acknowledgement came: $ARRIVED"
expect 1 "$BIN/acknowledgement" "$URL" /denied
contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"

# replay: killed in the middle, it misses nothing of what comes meanwhile; ended
# politely, nothing comes twice.
start_server --tick-ms 0 --timeout-ms 2000
disconnects=0
expect 2 "$BIN/replay" "$WORK/positions" "$URL"
contains "$ERRORS" "usage: replay "
expect 1 "$BIN/replay" "$WORK/positions" ftp://localhost/ /event/a
contains "$ERRORS" "url: has the scheme ftp"
# The ids in what the program called so has printed.
ids() { sed -n 's/.*"replayId":\([0-9]*\).*/\1/p' "$WORK/$1.out"; }
saved() { [[ $(cat "$WORK/positions" 2>/dev/null) == "$1 /event/a" ]]; }
control "/publish?channel=/event/a&count=5" >"$WORK/published.out"
start replay1 "$BIN/replay" "$WORK/positions" "$URL" /event/a
seen replay1 '"replayId":5}'
wait_until 60 "the position of the last event" saved 5
# Now at any moment, while events come.
control "/publish?channel=/event/a&count=300" >"$WORK/published.out"
seen replay1 '"replayId":50}'
kill -KILL "$STARTED"
ended "$STARTED" 137
control "/publish?channel=/event/a&count=20" >"$WORK/published.out"
start replay2 "$BIN/replay" "$WORK/positions" "$URL" '/event/a?filter=none'
seen replay2 '"replayId":325}'
last=$(ids replay1 | tail -n 1) first=$(ids replay2 | head -n 1)
((first == last || first == last + 1)) || fail "replay printed up to $last, and went on with $first"
[[ $(ids replay2) == "$(seq "$first" 325)" ]] || fail "replay missed something: $(ids replay2)"
kill -TERM "$STARTED"
ended "$STARTED" 0
saved 325 || fail "the position is $(cat "$WORK/positions")"
disconnects=$((disconnects + 1))
wait_until 60 "the disconnect of replay" counted disconnects "$disconnects"
control "/publish?channel=/event/a&count=3" >"$WORK/published.out"
start replay3 "$BIN/replay" "$WORK/positions" "$URL" /event/a
seen replay3 '"replayId":328}'
[[ $(ids replay3) == "$(seq 326 328)" ]] || fail "replay printed something twice: $(ids replay3)"
# The server loses the session, and what was published meanwhile still comes, once.
control /forget >"$WORK/published.out"
control "/publish?channel=/event/a&count=2" >"$WORK/published.out"
seen replay3 '"replayId":330}'
[[ $(ids replay3) == "$(seq 326 330)" ]] || fail "a lost session lost more: $(ids replay3)"
kill -TERM "$STARTED"
ended "$STARTED" 0
# A position that the server does not have: all that it has.
echo "1000000 /event/a" >"$WORK/positions"
start replay4 "$BIN/replay" "$WORK/positions" "$URL" /event/a
seen replay4 '"replayId":330}'
seen replay4 'The replayId {1000000} you provided was invalid.'
[[ $(ids replay4) == "$(seq 1 330)" ]] || fail "the fallback brought: $(ids replay4)"
kill -TERM "$STARTED"
ended "$STARTED" 0
# A file that cannot be read is no reason to start anywhere else.
mkdir "$WORK/folder"
expect 1 "$BIN/replay" "$WORK/folder" "$URL" /event/a
contains "$ERRORS" "load: it returned"
expect 1 "$BIN/replay" "$WORK/positions/file" "$URL" /event/a
contains "$ERRORS" "load: it returned"

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
authorized -b stale -f "$WORK/token" -l
has authorized "reading the token file later" || fail "the token was not fetched later"
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

# extension: what goes out has a field more, what comes in is counted, and both are dropped as told.
start_server --tick-ms 0 --timeout-ms 500
start extension "$BIN/extension" "$URL" /chat '"one"' '"my secret"' '"three"'
seen extension '"one" {"number":1}'
seen extension '"three" {"number":2}'
seen extension '2 published'
seen extension '4 published'
seen extension 'error publish: an extension deleted the message: 404::message_deleted (channel /chat)'
expect 0 "$BIN/publish" "$URL" /chat '"spam"' '"four"'
seen extension '"four" {"number":3}'
contains "$(control /headers)" '\"sender\":\"extension.c\"'
kill -INT "$STARTED"
ended "$STARTED" 0
! has extension spam || fail "extension printed what it drops"
[[ $(control /headers) != *secret* ]] || fail "extension sent what it drops"
expect 1 "$BIN/extension" "$URL" /denied
contains "$ERRORS" "403:denied_by_security_policy:subscribe_denied"

# binary: a file in parts, byte for byte; an empty one; and what is no file.
head -c 50000 "$BIN/binary" >"$WORK/file"
for file in "$WORK/file" /dev/null; do
    start received "$BIN/binary" "$URL" /file
    seen received "subscribed /file"
    expect 0 "$BIN/binary" "$URL" /file "$file"
    ended "$STARTED" 0
    cmp "$file" "$WORK/received.out" || fail "binary has received something else than was sent"
done
start received "$BIN/binary" "$URL" /file
seen received "subscribed /file"
kill -INT "$STARTED"
ended "$STARTED" 1
expect 1 "$BIN/binary" "$URL" /file "$WORK/none"
expect 1 "$BIN/binary" "$URL" /denied/x "$WORK/file"
contains "$ERRORS" "publish_denied"
expect 1 "$BIN/binary" "$URL" /denied
contains "$ERRORS" "subscribe_denied"

# handshake: the server asks for an answer, and gets the right one, or gives up on a wrong one.
start_server --tick-ms 50 --timeout-ms 500 --challenge open-sesame
echo open-sesame >"$WORK/password"
start challenged "$BIN/handshake" -p "$WORK/password" "$URL" /ticks
seen challenged '{"tick":'
has challenged 'error handshake: the server refused: 401::challenge' || fail "handshake was not asked"
has challenged 'handshake, attempt 2' || fail "handshake made no second attempt"
kill -INT "$STARTED"
ended "$STARTED" 0
echo wrong-password >"$WORK/password"
expect 1 "$BIN/handshake" -p "$WORK/password" "$URL" /ticks
contains "$ERRORS" "given up after 4 failures"
expect 1 "$BIN/handshake" "$URL" /ticks
contains "$ERRORS" "the handshake provider failed: it returned -37 (COMETD_E_CREDENTIALS)"
echo 'a"b' >"$WORK/password"
expect 1 "$BIN/handshake" -p "$WORK/password" "$URL" /ticks
contains "$ERRORS" "needs a JSON library"
! grep -qE 'sesame|wrong-password' "$WORK"/challenged.* || fail "a password was printed"
[[ $ERRORS != *sesame* ]] || fail "a password was printed"
