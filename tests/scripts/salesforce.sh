#!/usr/bin/env bash
# The program of manual/salesforce.md, against a server that behaves as Salesforce
# does: tokens that expire in each of its ways, sessions that it forgets, limits.
set -euo pipefail
source tests/scripts/helpers.bash
build_peer
program manual/salesforce.md salesforce

# Each token is good until the server says otherwise.
printf '%s\n' first second third >"$WORK/tokens"
printf 'head -n 1 "%s/tokens" && sed -i 1d "%s/tokens"\n' "$WORK" "$WORK" >"$WORK/token-command"
play <<'END'
limit 30000
# Without a token, as its gateway answers.
expect handshake path=/cometd/60.0 no-header=Authorization
answer status=401 header="Content-Type: application/json" : [{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]
expect handshake path=/cometd/60.0 header="Authorization: Bearer first"
answer client=one header="Set-Cookie: BAYEUX_BROWSER=abc; Path=/; HttpOnly" : [$ok{"ext":{"replay":true,"payload.format":true},"supportedConnectionTypes":["long-polling"]}]
expect connect at-once as first path=/cometd/60.0 cookie="BAYEUX_BROWSER=abc"
also messages as subscribe path=/cometd/60.0 : [{"channel":"/meta/subscribe","subscription":"/event/Order__e","clientId":"one","id":"$*","ext":{"replay":{"/event/Order__e":-1}}}]
answer first : [$ok{"advice":{"reconnect":"retry","interval":0,"timeout":110000}}]
answer subscribe
expect connect as held
answer held : [{"channel":"/event/Order__e","data":{"schema":"x","payload":{"Amount__c":5},"event":{"replayId":7}}},$ok]
# The token was revoked.
expect connect as held
answer held : [{"channel":"/meta/connect","id":"$id","clientId":"one","successful":false,"error":"401::Authentication invalid","advice":{"reconnect":"none","interval":0}}]
expect handshake header="Authorization: Bearer second"
answer : [$no{"error":"403::Handshake denied","ext":{"sfdc":{"failureReason":"401::Authentication invalid"}},"advice":{"reconnect":"none"}}]
expect handshake header="Authorization: Bearer third"
answer client=two : [$ok{"ext":{"replay":true,"payload.format":true},"supportedConnectionTypes":["long-polling"]}]
expect connect at-once as first
also messages as subscribe : [{"channel":"/meta/subscribe","subscription":"/event/Order__e","clientId":"two","id":"$*","ext":{"replay":{"/event/Order__e":7}}}]
answer first
answer subscribe : [$ok]
expect connect as held
answer held : [{"channel":"/event/Order__e","data":{"schema":"x","payload":{},"event":{"replayId":8}}},$ok]
# Two idle hours later.
expect connect as held
answer held : [{"channel":"/meta/connect","id":"$id","successful":false,"error":"403::Unknown client","advice":{"reconnect":"handshake","interval":0}}]
expect handshake header="Authorization: Bearer third"
answer client=three : [$ok{"ext":{"replay":true,"payload.format":true},"supportedConnectionTypes":["long-polling"]}]
expect connect at-once as first
also messages as subscribe : [{"channel":"/meta/subscribe","subscription":"/event/Order__e","clientId":"three","id":"$*","ext":{"replay":{"/event/Order__e":8}}}]
answer first
answer subscribe : [$no{"error":"403:denied_by_security_policy:subscribe_denied","ext":{"sfdc":{"failureReason":"503::Server is too busy. Please try again"}}}]
expect connect as held
# Too busy is not for ever; nor is the limit of a day, though it passes later.
expect messages : [{"channel":"/meta/subscribe","subscription":"/event/Order__e","clientId":"three","id":"$*","ext":{"replay":{"/event/Order__e":8}}}]
answer : [$no{"error":"403::Organization total events daily limit exceeded"}]
expect messages : [{"channel":"/meta/subscribe","subscription":"/event/Order__e","clientId":"three","id":"$*","ext":{"replay":{"/event/Order__e":8}}}]
answer : [$ok]
answer held : [{"channel":"/event/Order__e","data":{"schema":"x","payload":{},"event":{"replayId":9}}},$ok]
expect connect
END
start salesforce "$WORK/salesforce" "http://127.0.0.1:$PORT/cometd/60.0" /event/Order__e "$WORK/position" "sh $WORK/token-command"
program=$STARTED
ended "$PEER" 0
for id in 7 8 9; do
    [[ $(grep -c "\"replayId\":$id}" "$WORK/salesforce.out") == 1 ]] || fail "event $id did not come once"
done
[[ $(cat "$WORK/position") == 9 ]] || fail "the position is $(cat "$WORK/position")"
seen salesforce "a new session"
has salesforce '{"sfdc":{"failureReason":"503::Server is too busy. Please try again"}}' || fail "the reason was not told"
kill -KILL "$program"

# It goes on where it was; what is refused at first is its end.
printf 'fourth\n' >"$WORK/tokens"
play <<'END'
expect handshake no-header=Authorization
answer status=401 : [{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]
expect handshake header="Authorization: Bearer fourth"
answer : [$ok{"ext":{"replay":true}}]
expect connect at-once as first
also messages as subscribe : [{"channel":"/meta/subscribe","subscription":"/event/Order__e","clientId":"$client","id":"$*","ext":{"replay":{"/event/Order__e":9}}}]
answer first
expect connect
answer subscribe : [$no{"error":"400::The channel you requested to subscribe to does not exist {/event/Order__e}"}]
expect disconnect
answer
END
start salesforce "$WORK/salesforce" "http://127.0.0.1:$PORT/cometd/60.0" /event/Order__e "$WORK/position" "sh $WORK/token-command"
ended "$STARTED" 1
ended "$PEER" 0
has salesforce "does not exist" || fail "the refusal was not told"
! grep -qE "first|second|third|fourth" "$WORK"/salesforce.out "$WORK"/salesforce.err || fail "a token was printed"
