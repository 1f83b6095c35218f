#!/usr/bin/env bash
# Each line of the manual's examples does what it says, against the demo server.
set -euo pipefail
source tests/scripts/helpers.bash
source tests/scripts/tools.bash
cd "$WORK"

manual() { (cd "$OLDPWD" && in_manual "$1"); }
start_server --tick-ms 50 --timeout-ms 2000

# One event a line; states and errors on stderr.
manual 'cometd_sub URL /ticks '
start ticks cometd_sub "$URL" /ticks
wait_until 60 "three events" eval '(($(lines_of ticks) >= 3))'
kill -INT "$STARTED"
ended "$STARTED" 0
jq -e .tick ticks.out >ticks.numbers || fail "an event is not in a line"
[[ $(sort -n -u ticks.numbers) == "$(cat ticks.numbers)" ]] || fail "events are out of order"
seen ticks "state CONNECTING -> CONNECTED"
seen ticks "state DISCONNECTING -> CLOSED"

# Replay: what came while it was not running, and nothing twice.
manual 'cometd_sub --oauth-token-file tok --replay-file pos --replay new https://.../cometd/60.0 /event/Order__e'
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority 2>/dev/null
for name in server client; do
    openssl req -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>/dev/null
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out "$name.pem" \
        -extfile <(echo "subjectAltName=IP:127.0.0.1") 2>/dev/null
done
cp client.pem c.pem
cp client.key k.pem
cat server.pem server.key >both.pem
# tls OPTION...: sets TLS, a port on which it is spoken before the demo server.
tls() {
    TLS=$(free_port)
    socat "OPENSSL-LISTEN:$TLS,bind=127.0.0.1,fork,reuseaddr,cert=both.pem$1" "TCP:${URL:7:${#URL}-14}" 2>>socat.err &
    PROCESSES+=($!)
    wait_until 60 "TLS" listens "$TLS"
}
start_server --tick-ms 50 --timeout-ms 2000 --token secret-1 --token secret-2
tls ,verify=0
echo secret-1 >tok
SALESFORCE=https://127.0.0.1:$TLS/cometd/60.0
start first cometd_sub --cacert ca.pem --oauth-token-file tok --replay-file pos --replay new "$SALESFORCE" /event/Order__e
seen first "subscribed /event/Order__e"
control "/publish?channel=/event/Order__e&count=2" >/dev/null
wait_until 60 "two events" eval '(($(lines_of first) == 2))'
kill -TERM "$STARTED"
ended "$STARTED" 0
[[ $(cat pos) == "2 /event/Order__e" && ! -e pos.next ]] || fail "the position is not saved: $(cat pos)"
control "/publish?channel=/event/Order__e&count=3" >/dev/null
expect 0 cometd_sub --cacert ca.pem -C 3 -F '%R\n' --oauth-token-file tok --replay-file pos --replay new "$SALESFORCE" /event/Order__e
[[ $OUTPUT == $'3\n4\n5' && $(cat pos) == "5 /event/Order__e" ]] || fail "not the events after the position: $OUTPUT"
# One that was not printed is not done with.
control "/publish?channel=/event/Order__e&count=3" >/dev/null
expect 0 cometd_sub --cacert ca.pem -C 1 -F '%R\n' --oauth-token-file tok --replay-file pos "$SALESFORCE" /event/Order__e
[[ $OUTPUT == 6 && $(cat pos) == "6 /event/Order__e" ]] || fail "-C 1 is done with more than one: $OUTPUT, $(cat pos)"

# A token from a command, when the server refuses that there is none.
manual "cometd_sub --token-command 'sf org display --json | jq -r .result.accessToken' ... /data/ChangeEvents"
mkdir bin
cat >bin/sf <<'SF'
#!/bin/sh
[ "$*" = "org display --json" ] && echo asked >>sf.calls && echo '{"result":{"accessToken":"secret-2"}}'
SF
chmod +x bin/sf
PATH=$WORK/bin:$PATH expect 0 cometd_sub -E -W 60 --token-command 'sf org display --json | jq -r .result.accessToken' "$URL" /data/ChangeEvents
[[ $(cat sf.calls) == asked ]] || fail "the command was not run once"
PATH=$WORK/bin:$PATH expect 1 cometd_sub -E -W 60 --token-command 'echo wrong-token' "$URL" /data/ChangeEvents
contains "$ERRORS" 403
expect 0 cometd_sub --check --token-command 'echo secret-2' "$URL"
contains "$OUTPUT" "credentials        accepted"
expect 0 cometd_bench -d 1 --token-command 'echo secret-2' "$URL" /ticks

# The password is in ~/.netrc; ext and header reach the server.
manual "cometd_sub -u me -n --ext '{\"a\":true}' -H 'X-UserToken: t' URL '/rw/default/incident/*'"
start_server --basic me:pass-word --tick-ms 0
printf 'machine other login me password wrong\nmachine 127.0.0.1\n login you password wrong\nmachine 127.0.0.1 login me\n password pass-word\n' >.netrc
HOME=$WORK expect 0 cometd_sub -E -W 60 -u me -n --ext '{"a":true}' -H 'X-UserToken: t' "$URL" '/rw/default/incident/*'
requests=$(control /headers)
contains "$requests" '["x-usertoken","t"]'
contains "$requests" '\"ext\":{\"a\":true}'
# Otherwise it is typed, and not seen.
: >typed.out
{ wait_until 60 "the prompt" grep -q "Password of" typed.out; echo pass-word; } |
    HOME=/nonexistent script -qec "cometd_sub -E -W 60 -u me -n $URL /a; echo status \$?" /dev/null >typed.out 2>&1 || true
contains "$(cat typed.out)" "Password of me at 127.0.0.1"
contains "$(cat typed.out)" "status 0"
[[ $(cat typed.out) != *pass-word* ]] || fail "the password was shown"
# Whoever thinks better of it has the terminal as it was.
: >typed.out
{ wait_until 60 "the prompt" grep -q "Password of" typed.out; printf '\003'; } |
    HOME=/nonexistent script -qec "sh -c 'trap : INT; cometd_sub -E -u me -n $URL /a; echo status \$?; stty -a'" /dev/null >typed.out 2>&1 || true
contains "$(cat typed.out)" "status 130"
[[ $(cat typed.out) == *" echo "* ]] || fail "the terminal shows nothing any more: $(cat -v typed.out)"
# It is asked for once.
: >typed.out
{ wait_until 60 "the prompt" grep -q "Password of" typed.out; echo pass-word; wait_until 60 "the end" grep -q "status" typed.out; } |
    HOME=/nonexistent script -qec "cometd_sub --check -u me -n $URL; echo status \$?" /dev/null >typed.out 2>&1 || true
contains "$(cat typed.out)" "status 0"

# Formats.
start_server --tick-ms 50 --timeout-ms 2000
manual "cometd_sub -F json URL '/stocks/**' | jq ..."
publishes() { while :; do control "/publish?channel=/stocks/a/b" >/dev/null; control "/publish?channel=/a" >/dev/null; sleep 0.1; done; }
publishes &
PUBLISHES=$!
PROCESSES+=("$PUBLISHES")
[[ $(timeout 60 cometd_sub -C 2 -F json "$URL" '/stocks/**' | jq -r '.channel, .data.n') == $'/stocks/a/b\n0\n/stocks/a/b\n0' ]] ||
    fail "-F json gives no JSON"
manual "cometd_sub -F '%c %I %j\\n' URL /a /b"
expect 0 cometd_sub -C 1 -F '%c %I %j\n' "$URL" /a /b
[[ $OUTPUT =~ ^/a\ 20[0-9-]{8}T[0-9:.]{12}Z\ \{\"n\":0,\"pad\":\"\"\}$ ]] || fail "-F: $OUTPUT"
expect 0 cometd_sub -C 1 -F '%%\x41\t%p|%R|%x|%l\e\\' "$URL" /a
[[ $OUTPUT == $'%A\t{"n":0,"pad":""}|||16\e\\' ]] || fail "-F: $OUTPUT"
for wrong in '%z' '%' '\q' '\x1' 'a\'; do expect 2 cometd_sub -F "$wrong" "$URL" /a; done

# Publishing: 0 only when all were accepted.
manual "cometd_pub URL /chat '{\"text\":\"hi\"}'"
start chat cometd_sub -C 1 "$URL" /chat
seen chat "subscribed /chat"
expect 0 cometd_pub "$URL" /chat '{"text":"hi"}'
ended "$STARTED" 0
[[ $(cat chat.out) == '{"text":"hi"}' ]] || fail "it was not published: $(cat chat.out)"
manual 'jq -c .[] f.json | cometd_pub -l --retries 5 URL /import'
jq -n '[range(3000)]' >f.json
start import cometd_sub -C 3000 "$URL" /import
seen import "subscribed /import"
jq -c .[] f.json | expect 0 cometd_pub -l --retries 5 "$URL" /import
ended "$STARTED" 0
[[ $(cat import.out) == "$(seq 0 2999)" ]] || fail "not all was published, in order"
control "/fail?status=503&count=2&on=/import" >/dev/null
expect 0 cometd_pub --retries 5 "$URL" /import 1
control "/fail?status=503&count=1&on=/import" >/dev/null
expect 4 cometd_pub "$URL" /import 1
printf '1\n\n{"a":\n2' | { status=0; cometd_pub -l "$URL" /import 2>pub.err || status=$?; [[ $status == 1 ]]; } || fail "wrong JSON is no failure"
contains "$(cat pub.err)" "line 3: "
contains "$(cat pub.err)" "2 of 3 messages were accepted"
expect 1 cometd_pub "$URL" /denied/x 1
expect 2 cometd_pub "$URL" /a '{'
expect 0 cometd_pub -l -o commands_capacity=3 "$URL" /import < <(seq 100)
# One at a time: each of the others is refused once, and sent when there is room. The server may take its time.
start single cometd_sub -C 2000 "$URL" /single
SUBSCRIBER=$STARTED
seen single "subscribed /single"
INPUT=<(seq 2000) start room cometd_pub -l -v -o commands_capacity=1 "$URL" /single
PUBLISHER=$STARTED
wait_until 60 "the first ones" eval '(($(lines_of single) >= 10))'
kill -STOP "$SERVER"
refused_so_far() { grep -c "room for calls again refused=1$" room.err || true; }
wait_until 60 "a standstill" eval 'before=$(refused_so_far); sleep 0.3; (($(refused_so_far) == before))'
kill -CONT "$SERVER"
ended "$PUBLISHER" 0
ended "$SUBSCRIBER" 0
[[ $(cat single.out) == "$(seq 2000)" ]] || fail "not all was published one at a time, in order"
(($(grep -c "room for calls again" room.err) == 1999 && $(refused_so_far) == 1999)) || fail "calls were tried again without room"
# What is under way when a signal comes is counted.
mkfifo some
INPUT=some start some cometd_pub -l "$URL" /import
exec {SOME}>some
before=$(stat_of publishes)
seq 50 >&"$SOME"
wait_until 60 "the first of them" eval '(($(stat_of publishes) > before))'
kill -INT "$STARTED"
ended "$STARTED" 1
exec {SOME}>&-
[[ $(cat some.err) =~ "ended by a signal: "([0-9]+)" of "([0-9]+)" messages were accepted, and the input was not read" ]] || fail "what was accepted is not said"
[[ ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]] || fail "what was under way is not counted: $(cat some.err)"

manual "cometd_rpc -W 5 URL /service/echo '{\"a\":1}'"
expect 0 cometd_rpc -W 60 "$URL" /service/echo '{"a":1}'
[[ $OUTPUT == '{"a":1}' ]] || fail "the answer is $OUTPUT"
expect 1 cometd_rpc "$URL" /service/fail '{"why":"so"}'
contains "$ERRORS" '{"why":"so"}'
expect 3 cometd_rpc -W 0.5 "$URL" /service/slow 1
expect 2 cometd_rpc "$URL" /no/service 1

# Conditions of a pipeline.
manual 'cometd_sub -E -W 10 URL /health; cometd_sub -C 1 -W 30 URL /ticks '
expect 0 cometd_sub -E -W 60 "$URL" /health
expect 0 cometd_sub -C 1 -W 60 "$URL" /ticks
expect 3 cometd_sub -C 1 -W 1 "$URL" /nothing
contains "$ERRORS" "the time is up: 0 of 1 events came"
expect 3 cometd_sub -E -W 1 http://127.0.0.1:9/cometd /health
contains "$ERRORS" "the time is up: 0 of 1 channels are subscribed: handshake: tcp connect"

# What is sent and received.
manual 'cometd_sub -vv --insecure URL /x; cometd_sub --check URL'
tls ,verify=0
expect 0 cometd_sub -vv --insecure -C 1 --ext '{"pin":"9"}' -H 'X-Key: key-to-all' "https://127.0.0.1:$TLS/cometd" /ticks
contains "$ERRORS" "anybody may be the server"
contains "$ERRORS" "response url=https://127.0.0.1:$TLS/cometd/handshake status=200 ms="
contains "$ERRORS" 'sent [{"'
contains "$ERRORS" '"ext":"***"'
contains "$ERRORS" '"clientId":"***"'
contains "$ERRORS" 'received [{'
[[ $ERRORS != *key-to-all* && $ERRORS != *'"pin"'* ]] || fail "a secret is shown: $ERRORS"
expect 4 cometd_sub -E "https://127.0.0.1:$TLS/cometd" /ticks
contains "$ERRORS" "certificate"
expect 0 cometd_sub --check "$URL"
for line in "reached            yes" "TLS                none: the URL is http" "session            yes" \
    'transports         ["websocket","long-polling"]' "acknowledgement    yes" "server's clock     yes" \
    "held for           2000 ms" "credentials        none needed" "WebSocket          works"; do
    contains "$OUTPUT" "$line"
done
expect 0 cometd_sub --check --cacert ca.pem "https://127.0.0.1:$TLS/cometd"
contains "$OUTPUT" "TLS                yes, the certificate is trusted"
expect 4 cometd_sub --check "https://127.0.0.1:$TLS/cometd"
contains "$OUTPUT" "TLS                handshake: tls with"
expect 4 cometd_sub --check http://127.0.0.1:9/cometd
contains "$OUTPUT" "reached            handshake: tcp connect"
expect 1 cometd_sub --check "${URL%/cometd}/other"
contains "$OUTPUT" "404"
start_server --transports long-polling --token secret-1
COMETD_TOKEN=secret-1 expect 0 cometd_sub --check "$URL"
contains "$OUTPUT" "credentials        accepted"
contains "$OUTPUT" "WebSocket          does not work: "
expect 1 cometd_sub --check "$URL"
contains "$OUTPUT" "credentials        refused"

# Percentiles of latency, csv.
manual 'cometd_bench -c 1000 -d 60 --publish /bench --rate 500 --size 200 URL /bench '
start_server --tick-ms 0
expect 0 cometd_bench -c 20 -d 2 --publish /bench --rate 50 --size 200 --csv "$URL" /bench
contains "$OUTPUT" "second,clients,published,refused,errors,events,events_per_second,min_ms,p50_ms"
awk -F, '$1 == "all" { found = $2 == 20 && $5 == 0 && $6 >= 20 && $8 > 0 && $8 <= $9 && $9 <= $11 && $11 <= $13 } END { exit !found }' \
    <<<"$OUTPUT" || fail "the rows of cometd_bench are: $OUTPUT"
expect 0 cometd_bench -w -c 2 -d 1 --publish /bench "$URL" /bench
contains "$OUTPUT" "p99.9"
expect 4 cometd_bench -d 1 http://127.0.0.1:9/cometd /bench

# Certificates of both sides, and a proxy.
manual 'cometd_sub --cacert ca.pem --cert c.pem --key k.pem -x http://proxy:3128 URL /x'
tls ,verify=1,cafile=ca.pem
cat >connect <<'CONNECT'
read -r line; echo "$line" >>connects
while read -r header && [ "$header" != $'\r' ]; do :; done
printf 'HTTP/1.1 200 OK\r\n\r\n'
target=${line#CONNECT }
exec socat - "TCP:${target%% *}"
CONNECT
PROXY=$(free_port)
socat "TCP-LISTEN:$PROXY,bind=127.0.0.1,fork,reuseaddr" EXEC:"bash connect" 2>>socat.err &
PROCESSES+=($!)
wait_until 60 "the proxy" listens "$PROXY"
no_proxy='' expect 0 cometd_sub -E -W 60 --cacert ca.pem --cert c.pem --key k.pem -x "http://127.0.0.1:$PROXY" "https://127.0.0.1:$TLS/cometd" /x
contains "$(cat connects)" "CONNECT 127.0.0.1:$TLS"
expect 4 cometd_sub -E --cacert ca.pem "https://127.0.0.1:$TLS/cometd" /x

# What README.md shows, word for word but for the folder and the port.
start_server --tick-ms 50
awk '/^## Command line/ { here = 1 } here && /^```$/ { exit } here && shown; here && /^```sh$/ { shown = 1 }' "$OLDPWD/README.md" |
    sed "s|http://127.0.0.1:8080/cometd|$URL|; s|\$PWD/build/bin:||" >readme.block
(($(wc -l <readme.block) >= 6)) || fail "README.md shows no commands"
expect 0 bash -e readme.block
contains "$OUTPUT" '/ticks 20'

# All options of the library.
expect 0 cometd_sub -o help
for name in $(sed -n 's/^\([a-z_]*\)=.*/\1/p' <<<"$OUTPUT"); do grep -q "\`[a-z]*_$name\`" "$OLDPWD/README.md" || fail "README.md does not have $name"; done
(($(grep -c '^[a-z_]*=' <<<"$OUTPUT") >= 35)) || fail "-o help lists $OUTPUT"
expect 0 cometd_sub -E -W 60 -o number_of_retries=5 -o backoff_ms=10,100 "$URL" /a
expect 2 cometd_sub -o number_of_retries=x "$URL" /a
contains "$ERRORS" number_of_retries
expect 2 cometd_sub -o no_such_option=1 "$URL" /a
kill "$PUBLISHES"
