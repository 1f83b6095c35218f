#!/usr/bin/env bash
# The program of manual/servicenow.md, against a server that behaves as ServiceNow
# does: cookies and headers that it wants, and refusals in the ext of successful replies.
set -euo pipefail
source tests/scripts/helpers.bash
[[ -e /usr/include/cjson/cJSON.h ]] || fail "missing: cJSON (Debian and Ubuntu: apt install libcjson-dev)"
build_peer
program manual/servicenow.md servicenow -lcjson

# As curl -c writes it; a login there is not needed here.
printf '# Netscape HTTP Cookie File\n\n#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tJSESSIONID\tABC123\n' >"$WORK/cookies"
printf '127.0.0.1\tFALSE\t/\tFALSE\t0\tglide_user_route\tglide.d4e\n' >>"$WORK/cookies"
FILTER=active=true^priority=1
CHANNEL=/rw/default/incident/$(printf %s "$FILTER" | base64 | tr = -)
run() { # STATUS [anything]: what comes at the end does not count
    start servicenow "$WORK/servicenow" "http://127.0.0.1:$PORT" "$WORK/cookies" g_ck_value incident "$FILTER"
    ended "$STARTED" "$1"
    [[ -n ${2:-} ]] || ended "$PEER" 0
}
in='"glide.session.status":"session.logged.in","glide.amb.active":true'

# Over WebSocket, until the session ends.
play <<END
expect upgrade path=/amb header="Origin: http://127.0.0.1:*" header="X-UserToken: g_ck_value" cookie="JSESSIONID=ABC123" cookie="glide_user_route=glide.d4e"
upgrade
expect handshake over=websocket
answer : [\$ok{"supportedConnectionTypes":["websocket","long-polling"],"ext":{$in}}]
expect connect at-once as first
also subscribe $CHANNEL as subscribe
answer first : [\$ok{"ext":{$in}}]
answer subscribe : [\$ok{"ext":{$in}}]
expect connect as held
frame held : [{"channel":"$CHANNEL","data":{"table_name":"incident","sys_id":"46d44a","operation":"update","changes":["priority"]}}]
answer held : [\$ok{"ext":{"glide.session.status":"session.invalidated"},"advice":{"reconnect":"retry","interval":60000}}]
expect disconnect
answer
END
run 1
[[ $(cat "$WORK/servicenow.out") == "update 46d44a" ]] || fail "it printed $(cat "$WORK/servicenow.out")"

# Without WebSocket, and without a login: the handshake succeeds all the same.
play <<END
expect upgrade path=/amb
answer status=400 :
expect handshake over=long-polling path=/amb header="X-UserToken: g_ck_value" cookie="JSESSIONID=ABC123"
answer : [\$ok{"ext":{"glide.session.status":"session.invalidated"}}]
END
run 1 anything
has servicenow session.invalidated || fail "it did not say that nobody is logged in"

# A table that the user may not read.
play <<END
expect upgrade path=/amb
upgrade
expect handshake
answer : [\$ok{"supportedConnectionTypes":["websocket","long-polling"],"ext":{$in}}]
expect connect at-once as first
also subscribe $CHANNEL as subscribe
answer first
expect connect
answer subscribe : [\$ok{"ext":{"glide.amb.reply.status.code":403,"glide.amb.reply.status.message":"Either the channel is not a public channel or there is no valid user"}}]
expect disconnect
answer
END
run 1
has servicenow "not a public channel" || fail "the refusal was not told"
