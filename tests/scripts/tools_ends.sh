#!/usr/bin/env bash
# How the tools end and what others see of them: exit statuses, pipes, terminals,
# secrets, services.
set -euo pipefail
source tests/scripts/helpers.bash
source tests/scripts/tools.bash
ROOT=$PWD
cd "$WORK"

start_server --tick-ms 50 --timeout-ms 2000 --token secret-token-1 --token secret-token-2
export COMETD_TOKEN=secret-token-1

# The help of each fits a screen, and each option is in the manual and in the completion.
for tool in sub pub rpc bench; do
    expect 0 "cometd_$tool" --help
    (($(wc -l <<<"$OUTPUT") <= 24)) || fail "the help of cometd_$tool does not fit a screen"
    awk 'length($0) > 80 { exit 1 }' <<<"$OUTPUT" || fail "the help of cometd_$tool is too wide"
    expect 0 "cometd_$tool" --version
    contains "$OUTPUT" "cometd_$tool 0."
    expect 2 "cometd_$tool"
    expect 2 "cometd_$tool" --no-such-option "$URL" /a
    expect 2 "cometd_$tool" ftp://host/ /service/a 1
    expect 2 "cometd_$tool" "$URL"
    ! command -v mandoc >/dev/null || mandoc -T lint -W warning "$ROOT/tools/cometd_$tool.1" || fail "cometd_$tool.1 is not clean"
    # shellcheck disable=SC2034
    completed=$(
        # shellcheck source=/dev/null
        source "$ROOT/tools/completions/cometd_$tool"
        COMP_WORDS=("cometd_$tool" --)
        COMP_CWORD=1
        _cometd "cometd_$tool"
        printf '%s\n' "${COMPREPLY[@]}"
    )
    manual=$(sed 's/\\-/-/g' "$ROOT"/tools/cometd_{"$tool",sub}.1)
    for option in $completed; do
        [[ $manual == *"$option"* ]] || fail "$option of cometd_$tool is in no manual"
        status=0
        known=$("cometd_$tool" "$option" 2>&1) || status=$?
        [[ $known != *"unrecognized option"* ]] || fail "cometd_$tool does not know $option"
    done
done
[[ -n $completed ]] || fail "nothing is completed"
while read -r name tools; do
    for tool in SUB PUB RPC BENCH; do
        [[ $tools == ALL || $tools == *TOOL_$tool* ]] || continue
        file=$ROOT/tools/completions/cometd_sub
        grep -qF -- "--$name" "$file" || fail "--$name is not completed"
        manual=$(sed 's/\\-/-/g' "$ROOT"/tools/cometd_{sub,"${tool,,}"}.1)
        [[ $manual == *"--$name"* ]] || fail "--$name of cometd_${tool,,} is in no manual"
    done
done < <(sed -n 's/^    {"\([a-z-]*\)", [^,]*, [a-z_]*, \(.*\)},$/\1 \2/p' "$ROOT/tools/options.c")

# Wrong usage is found before anything is sent.
for arguments in "-C 0" "-C x" "-W 0" "-W x" "--replay sometimes" "--transport none" "--log paper" "--key k" "--cacert /nonexistent" \
    "--ext x" "-H broken" "--config /nonexistent" "-o x"; do
    # shellcheck disable=SC2086
    expect 2 cometd_sub $arguments "$URL" /a
    [[ -n $ERRORS ]] || fail "'$arguments' is refused without a word"
done
expect 2 cometd_sub "$URL" a
expect 2 cometd_pub "$URL" '/a/*' 1
expect 2 cometd_pub -l "$URL" /a 1
expect 1 cometd_sub --oauth-token-file /nonexistent "$URL" /a
for arguments in "-u :x" "--replay-file=" "-o own_receiver=false" "-o commands_capacity=0"; do
    # shellcheck disable=SC2086
    expect 2 cometd_sub $arguments "$URL" /a
done
expect 1 cometd_sub --replay-file /nonexistent/positions "$URL" /a
contains "$ERRORS" "/nonexistent/positions: No such file"
expect 2 cometd_bench -d 60 --publish /meta/x "$URL" /a
# What is no UTF-8, and what has a NUL in it.
expect 2 cometd_sub "$URL" $'/\377'
expect 2 cometd_pub "$URL" $'/\377' 1
expect 2 cometd_pub -l "$URL" $'/\377' < <(seq 3)
expect 2 cometd_pub "$URL" /a < <(printf '"\377"')
for tool in cometd_pub cometd_rpc; do expect 2 "$tool" "$URL" /service/echo < <(printf '1\0x'); done
printf 'secret-token-1\0x' >nul
expect 1 cometd_sub --oauth-token-file nul "$URL" /a
contains "$ERRORS" "nul: there is a NUL in it"
expect 2 cometd_sub --config nul "$URL" /a
# A file that is no certificate is not shown: it may be a key.
echo key-word >no.pem
expect 2 cometd_sub --cacert no.pem "$URL" /a
contains "$ERRORS" "no.pem: there is no certificate in it"
[[ $ERRORS != *key-word* ]] || fail "a file is shown: $ERRORS"
# The time counts while the input is waited for as well.
mkfifo silent
exec {SILENT}<>silent
for tool in cometd_pub cometd_rpc; do expect 3 "$tool" -W 0.5 "$URL" /service/echo <silent; done
exec {SILENT}>&-

# Streams that are closed are not taken for others.
expect 1 bash -c 'cometd_sub -C 1 "$0" /ticks <&- >&-' "$URL"
contains "$ERRORS" "standard output: Bad file descriptor"
expect 1 bash -c 'cometd_sub -C 1 "$0" /ticks <&- >&- 2>&-' "$URL"
expect 1 bash -c 'cometd_pub -l "$0" /a <&-' "$URL"
contains "$ERRORS" "standard input: Bad file descriptor"
expect 0 bash -c 'cometd_sub -C 1 "$0" /ticks <&- 2>&-' "$URL"
[[ $OUTPUT == *tick* ]] || fail "there is no event: $OUTPUT"
for arguments in --help --version "-o help" "--check $URL"; do
    expect 1 bash -c "cometd_sub $arguments >/dev/full"
    contains "$ERRORS" "standard output: No space left"
done

# A refusal, no connection, no such host.
expect 1 cometd_sub -E "$URL" /ticks /denied/x
contains "$ERRORS" "403"
COMETD_TOKEN=wrong-token expect 1 cometd_sub -E "$URL" /ticks
for tool in "cometd_sub" "cometd_pub" "cometd_rpc"; do
    for url in http://127.0.0.1:9/cometd http://no-such-host.invalid/; do
        message=1
        [[ $tool != cometd_sub ]] || message=/a
        expect 4 "$tool" "$url" /service/echo "$message"
        [[ -n $ERRORS ]] || fail "$tool ends without a word"
    done
done
expect 1 cometd_sub -E "${URL%/cometd}/other" /a

# The environment has the URL.
COMETD_URL=$URL expect 0 cometd_sub -C 1 /ticks
COMETD_URL=$URL expect 0 cometd_pub /a 1

# A pipe that is closed ends it quietly, also while nothing comes.
cometd_sub "$URL" /ticks 2>pipe.err | head -n 1 >pipe.out
[[ -s pipe.out ]] || fail "nothing came through the pipe"
mkfifo quiet.pipe
start quiet bash -c 'cometd_sub "$0" /nothing >quiet.pipe' "$URL"
QUIET=$STARTED
exec {READER}<quiet.pipe
seen quiet "subscribed /nothing"
exec {READER}<&-
ended "$QUIET" 0
expect 1 bash -c 'cometd_sub -C 1 "$0" /ticks >/dev/full' "$URL"
contains "$ERRORS" "No space left"

# A signal also ends it while nobody reads what it writes.
mkfifo slow.pipe
exec {SLOW}<>slow.pipe
start blocked bash -c 'exec cometd_sub -F "$1" "$0" /ticks >slow.pipe' "$URL" "$(printf 'x%.0s' {1..60000})"
BLOCKED=$STARTED
seen blocked "subscribed /ticks"
read -r -t 60 -n 1 -u "$SLOW" || fail "nothing came through the pipe"
ticks=$(stat_of connects)
wait_until 60 "further events" eval '(($(stat_of connects) >= ticks + 4))'
kill -TERM "$BLOCKED"
ended "$BLOCKED" 0
! has blocked "standard output" || fail "a signal is no error"
exec {SLOW}>&-

# Each event is there at once: whoever reads them need not wait for more.
: >events.err
coproc EVENTS { exec cometd_sub "$URL" /once 2>events.err; }
# shellcheck disable=SC2154
EVENTS_PROCESS=$EVENTS_PID
wait_until 60 "the subscription" grep -q "subscribed /once" events.err
control "/publish?channel=/once" >/dev/null
read -r -t 60 -u "${EVENTS[0]}" line || fail "an event is held back"
contains "$line" '"n":0'
kill -TERM "$EVENTS_PROCESS"
wait "$EVENTS_PROCESS" || fail "SIGTERM is no clean end"

# A signal before what was asked for is no success.
start unmet cometd_sub -C 1 "$URL" /nothing
seen unmet "subscribed /nothing"
kill -INT "$STARTED"
ended "$STARTED" 1
seen unmet "ended by a signal: 0 of 1 events came"

# Nor while a server says nothing.
SILENT_PORT=$(free_port)
socat -u "TCP-LISTEN:$SILENT_PORT,bind=127.0.0.1,fork,reuseaddr" OPEN:asked,creat,append 2>>socat.err &
PROCESSES+=($!)
wait_until 60 "a silent server" listens "$SILENT_PORT"
for tool in cometd_sub cometd_pub cometd_rpc "cometd_bench --publish /service/a"; do
    : >asked
    message=(1)
    [[ $tool != cometd_sub && $tool != cometd_bench* ]] || message=()
    # shellcheck disable=SC2086
    start unanswered $tool "http://127.0.0.1:$SILENT_PORT/" /service/a "${message[@]}"
    wait_until 60 "a request of $tool" test -s asked
    kill -INT "$STARTED"
    wait_until 10 "the end of $tool" gone "$STARTED"
    status=0
    wait "$STARTED" || status=$?
    [[ $status == 1 || $tool == cometd_sub ]] || fail "$tool ended with $status"
done

# Where the standard error is a terminal, a line of status.
TERM=xterm script -qec "cometd_sub -C 20 $URL /ticks >/dev/null" terminal.out </dev/null >/dev/null 2>&1 || fail "it does not run on a terminal"
grep -qE $'\033\\[KCONNECTED  [0-9]+ events  1 subscriptions' terminal.out || fail "there is no line of status: $(cat -v terminal.out)"
TERM=dumb script -qec "cometd_sub -C 20 $URL /ticks >/dev/null" dumb.out </dev/null >/dev/null 2>&1
! grep -q $'\033' dumb.out || fail "a terminal that cannot has a line of status"

# ps shows no secret.
start secrets cometd_sub -u me:pass-word -H 'X-Key: key-word' --ext '{"a":"ext-word"}' -x http://127.0.0.1:9 -o basic_auth=you:other-word \
    --forever http://us-er:url-word@127.0.0.1:9/ /a
wait_until 60 "the first error" has secrets "connection refused"
shown=$(tr '\0' ' ' <"/proc/$STARTED/cmdline")
[[ $shown != *-word* ]] || fail "ps shows $shown"
contains "$shown" "X-Key:***"
! grep -q -e -word secrets.err || fail "a secret is on the standard error"
kill -TERM "$STARTED"
ended "$STARTED" 0

# Options from a file; those of the command line count more.
cat >options.conf <<CONFIG
# a comment
url = "$URL"
channel /ticks
--count=3
format "%c\\\\n"
option = number_of_retries=1
CONFIG
expect 0 cometd_sub --config options.conf
[[ $OUTPUT == $'/ticks\n/ticks\n/ticks' ]] || fail "the file does not count: $OUTPUT"
expect 0 cometd_sub -C 1 --config=options.conf -F '%l\n'
[[ $OUTPUT =~ ^[0-9]+$ ]] || fail "the command line does not count: $OUTPUT"
# As other systems write it.
sed -e 's/$/\r/' -e '1s/.*/\r\n  \r\nwebsocket\r/' options.conf >other.conf
expect 0 cometd_sub --config other.conf
[[ $OUTPUT == $'/ticks\n/ticks\n/ticks' ]] || fail "the file does not count: $OUTPUT"
echo "no-such-option = 1" >wrong.conf
expect 2 cometd_sub --config wrong.conf
contains "$ERRORS" "wrong.conf, line 1: no-such-option"

# As a service: READY, STATUS, WATCHDOG, priorities, a command for each event, SIGHUP.
cat >handle <<'HANDLE'
#!/bin/sh
read -r event
echo "$COMETD_CHANNEL $COMETD_REPLAY_ID $event" >>handled
test ! -e fails || { rm fails; exit 7; }
HANDLE
chmod +x handle
echo secret-token-1 >token
cat >cometd.conf <<CONFIG
url = $URL
channel = /event/x
oauth-token-file = token
replay-file = positions
CONFIG
socat -u "UNIX-RECV:$WORK/notify" "OPEN:$WORK/notified,creat,append" &
PROCESSES+=($!)
wait_until 60 "the socket" test -S notify
NOTIFY_SOCKET=$WORK/notify WATCHDOG_USEC=200000 start service cometd_sub --forever --notify --log journal --exec ./handle --config cometd.conf
wait_until 60 "READY=1" grep -qa READY=1 notified
control "/publish?channel=/event/x" >/dev/null
touch_and_publish() { touch fails && control "/publish?channel=/event/x" >/dev/null; }
wait_until 60 "an event that is handled" grep -q '^/event/x 1 {"event":' handled
# One that fails comes again.
touch_and_publish
wait_until 60 "an event that is handled at last" eval '(($(grep -c "^/event/x 2 " handled) == 2))'
wait_until 60 "its position" grep -q "^2 /event/x" positions
wait_until 60 "the watchdog" eval '(($(grep -ao WATCHDOG=1 notified | wc -l) >= 3))'
grep -qa STATUS=CONNECTED notified || fail "there is no STATUS"
grep -q '^<6>state CONNECTING -> CONNECTED' service.err || fail "no priorities: $(cat service.err)"
seen service "<3>--exec: ended with status 7"
echo secret-token-2 >token
kill -HUP "$STARTED"
seen service "the token was read again"
wait_until 60 "a request with the new token" eval 'control /headers | grep -q "Bearer secret-token-2"'
grep -qa RELOADING=1 notified || fail "there is no RELOADING"
kill -TERM "$STARTED"
ended "$STARTED" 0
grep -qa STOPPING=1 notified || fail "there is no STOPPING"

# Without --forever a command that fails ends it, and the position stays; one that takes too long is ended.
touch_and_publish
expect 1 cometd_sub --exec ./handle --config cometd.conf
[[ $(cat positions) == "2 /event/x" ]] || fail "an event that was not handled is done with"
expect 1 cometd_sub --exec 'sleep 600' --exec-timeout 0.5 --config cometd.conf
contains "$ERRORS" "its time is up"
[[ $(cat positions) == "2 /event/x" ]] || fail "an event that was not handled is done with"
# So is all that it has started, also what does not want to.
expect 1 cometd_sub --exec '(trap "" TERM; echo >stays.begin; exec sleep 601) & echo $! >stays; wait' --exec-timeout 1 --config cometd.conf
[[ -e stays.begin ]] || fail "it was not started"
# Whoever has inherited it may leave it as a zombie.
wait_until 10 "its end" eval '[[ ! -e /proc/$(cat stays) ]] || grep -q "^State:.Z" "/proc/$(cat stays)/status"'
expect 0 cometd_sub -C 1 --exec 'cat >eaten' --config cometd.conf
contains "$(cat eaten)" '"replayId":3'
[[ $(cat positions) == "3 /event/x" ]] || fail "an event that was handled is not done with"

# The time counts meanwhile, and a command that finds a token does not outlive the tool.
control "/publish?channel=/event/x" >/dev/null
expect 3 cometd_sub -W 2 --forever --exec false --config cometd.conf
contains "$ERRORS" "--exec: ended with status 1"
COMETD_TOKEN='' start orphan cometd_sub --forever \
    --token-command 'trap "echo >its.end; exit" TERM; echo >its.begin; sleep 600 & wait' "$URL" /a
wait_until 60 "the command" test -e its.begin
kill -TERM "$STARTED"
ended "$STARTED" 0
wait_until 60 "the end of the command" test -e its.end

# A signal counts while the token is read again.
COMETD_TOKEN='' start slow cometd_sub --forever --token-command 'test ! -e slow || { echo >slow.begin; sleep 600; }; echo secret-token-1' "$URL" /a
seen slow "subscribed /a"
touch slow
kill -HUP "$STARTED"
wait_until 60 "the command" test -e slow.begin
kill -TERM "$STARTED"
wait_until 20 "the end" gone "$STARTED"
ended "$STARTED" 0

# A file of positions that is none is no first start.
echo rubbish >positions
expect 1 cometd_sub -C 1 --config cometd.conf
contains "$ERRORS" "is no file of positions"

# With --forever a server that comes later is waited for.
LATER=$(free_port)
start later cometd_sub --forever -C 1 -o backoff_ms=50,100 "http://127.0.0.1:$LATER/cometd" /ticks
seen later "connection refused"
"$BUILD/bin/cometd_demo_server" --port "$LATER" --quiet --run-ms 600000 --tick-ms 50 >later-server.out &
PROCESSES+=($!)
ended "$STARTED" 0
