# The namespaces of a case, its programs, and what is looked for in what they say.

prefix=cometd-$$

allowed() {
    local space=$prefix-0x
    ip netns add "$space" 2>/dev/null || return 1
    local ok=0
    ip netns exec "$space" iptables -t nat -A POSTROUTING -j MASQUERADE 2>/dev/null &&
        ip netns exec "$space" iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP 2>/dev/null &&
        ip -n "$space" link add one type veth peer name two 2>/dev/null &&
        ip -n "$space" link add three type bridge 2>/dev/null || ok=1
    ip netns del "$space"
    return "$ok"
}

leave() {
    local space
    for space in $(ip netns list 2>/dev/null | awk -v start="$prefix-" 'index($1, start) == 1 { print $1 }'); do
        # shellcheck disable=SC2046
        kill -KILL $(ip netns pids "$space") 2>/dev/null || true
        ip netns del "$space" 2>/dev/null || true
        rm -rf "/etc/netns/$space"
    done
    rm -rf "$work"
}

in_space() { ip netns exec "$prefix-$number$1" "${@:2}"; }
link() { ip -n "$prefix-$number$1" "${@:2}"; }
configure() { # SPACE FILE: the file of /etc, as the programs of the space see it
    mkdir -p "/etc/netns/$prefix-$number$1"
    # Written in place: a program that runs already has this very file.
    cat >"/etc/netns/$prefix-$number$1/$2"
}

prepare() {
    local space to
    for space in c r s t; do
        ip netns add "$prefix-$number$space"
        link "$space" link set lo up
    done
    link c link add to-r type veth peer name to-c netns "$prefix-${number}r"
    link r link add servers type bridge
    for to in s t; do
        link "$to" link add to-r type veth peer name "to-$to" netns "$prefix-${number}r"
        link r link set "to-$to" master servers up
    done
    link c addr add 10.231.0.1/24 dev to-r
    link c -6 addr add fd31:0::1/64 dev to-r nodad
    link r addr add 10.231.0.2/24 dev to-c
    link r -6 addr add fd31:0::2/64 dev to-c nodad
    link r addr add 10.231.1.1/24 dev servers
    link r -6 addr add fd31:1::1/64 dev servers nodad
    link s addr add 10.231.1.2/24 dev to-r
    link s -6 addr add fd31:1::2/64 dev to-r nodad
    link t addr add 10.231.1.3/24 dev to-r
    link t -6 addr add fd31:1::3/64 dev to-r nodad
    link c link set to-r up
    link r link set to-c up
    link r link set servers up
    link s link set to-r up
    link t link set to-r up
    routes
    for space in s t; do
        link "$space" route add default via 10.231.1.1
        link "$space" -6 route add default via fd31:1::1
    done
    in_space r sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    configure c hosts <<<"127.0.0.1 localhost"
    configure c resolv.conf <<<"nameserver 10.231.0.2"
}

routes() { # of the client: they go with its link
    link c route replace default via 10.231.0.2
    link c -6 addr replace fd31:0::1/64 dev to-r nodad
    link c -6 route replace default via fd31:0::2
}

# Ticks are numbered, and sessions outlive what happens.
start_server() { # SPACE OPTION...
    local ready
    exec {output}< <(exec ip netns exec "$prefix-$number$1" "$BUILD/bin/cometd_demo_server" --address :: --port 80 \
        --quiet --tick-ms 1000 --max-interval-ms 300000 --run-ms 400000 "${@:2}")
    server=$!
    read -r -t 60 -u "$output" ready _ control || fail "the demo server did not start"
    [ "$ready" = READY ]
}

# Asks the server of s for something.
ask() {
    in_space s bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "GET %s HTTP/1.0\r\n\r\n" "$2" >&3 && cat <&3' - \
        "$control" "$1" >/dev/null
}

start_client() { # HOST OPTION=VALUE...
    mkfifo "$here/input"
    exec 7<>"$here/input"
    in_space c "$work/client" "http://$1/cometd" "$transport" "${@:2}" \
        <"$here/input" >"$here/client.out" 2>"$here/client.err" 7>&- &
}

publish() { # SIZE, or SIZEr with retries
    echo "$1" >&7
}

now() {
    local micros=${EPOCHREALTIME/[.,]/}
    echo "${micros%???}"
}

fail() {
    echo "$*"
    exit 1
}

# first SINCE WORDS: the line that begins with WORDS, a pattern, since then.
first() {
    awk -v since="$1" -v words="^[0-9]+ ($2)" '$1 > since && $0 ~ words { print; exit }' "$here/client.out"
}

# await SECONDS SINCE WORDS: waits for such a line, and puts it into LINE and its time into AT.
await() {
    local until=$(($(now) + $1 * 1000))
    while line=$(first "$2" "$3") && [ -z "$line" ]; do
        [ "$(now)" -lt "$until" ] || fail "no '$3' within $1 s"
        sleep 0.25
    done
    at=${line%% *}
}

# A session that works, with a connect that is held.
await_ticks() {
    await 60 0 "TICK"
    await 60 "$at" "TICK"
}

seconds() { # MILLISECONDS
    [ -z "$1" ] || printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100))
}

noticed= back= said=
# noticed_within SECONDS: since BROKEN, the client has said so.
noticed_within() {
    await "$1" "$broken" "ERROR|FAILED|STATE (UNCONNECTED|REHANDSHAKING)"
    noticed=$(seconds $((at - broken)))
    # The state comes right before its reason.
    await 5 "$broken" "ERROR|FAILED"
    said=${line#* }
}

# back_within SECONDS SINCE: ticks come again.
back_within() {
    await "$1" "$2" "TICK"
    back=$(seconds $((at - $2)))
    await 20 "$at" "TICK"
    await 20 "$at" "TICK"
}

# Nothing lost, nothing twice; sessions that ended in between: LOST, 0 or 1.
complete() { # LOST
    awk -v lost="$1" '
        $2 == "RENEWED" && $3 == "/ticks" { renewed++; anew = 1; next }
        $2 != "TICK" { next }
        last != "" && !anew && $3 != last + 1 { print "tick " $3 " after " last; bad = 1 }
        { last = $3; anew = 0 }
        END {
            if (renewed + 0 != lost + 0) { print renewed + 0 " new sessions"; bad = 1 }
            exit bad
        }' "$here/client.out" || fail "ticks are not complete"
}

run_case() { # CASE TRANSPORT NUMBER
    local case=$1
    transport=$2 number=$3 here=$work/$1.$2
    mkdir "$here"
    : >"$here/client.out"
    trap 'echo "$case|$transport|${noticed:--}|${back:--}|${said:--}" >"$here/row"; stop_programs' EXIT
    prepare
    "case_$case"
}

stop_programs() {
    local space
    for space in c r s t; do
        # shellcheck disable=SC2046
        kill -KILL $(ip netns pids "$prefix-$number$space" 2>/dev/null) 2>/dev/null || true
    done
}
