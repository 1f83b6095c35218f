# The cases, one a function; README.md says what each expects.

both_tables() { # RULE...
    in_space r iptables "$@"
    in_space r ip6tables "$@"
}

# Between client and server; with a direction, only what goes there.
cut() { # [to_server|to_client]
    case ${1:-both} in
    both) both_tables -I FORWARD -j DROP ;;
    to_server) both_tables -I FORWARD -i to-c -j DROP ;;
    to_client) both_tables -I FORWARD -o to-c -j DROP ;;
    esac
    broken=$(now)
}

# The rules of r have met packets: the case is what it says.
met() { # [TABLES]
    in_space r "${1:-iptables}" -nvxL FORWARD |
        awk '$3 == "DROP" || $3 == "REJECT" { packets += $1 } END { exit packets == 0 }' || fail "nothing was dropped"
}

mend() {
    met
    both_tables -F FORWARD
    mended=$(now)
}

lasts() { # SECONDS: so long since it broke
    local left=$((broken + $1 * 1000 - $(now)))
    [ "$left" -le 0 ] || sleep "$((left / 1000)).$((left % 1000 / 100))"
}

outage() { # SECONDS NOTICED_WITHIN [DIRECTION]
    cut "${3:-both}"
    noticed_within "$2"
    lasts "$1"
    mend
    back_within 20 "$mended"
    complete 0
}

case_dropped() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    outage 60 35
}

# The connect's limit, 5 + 10 s, comes before the probes of a line.
case_dropped_beyond_the_limit() {
    start_server s --timeout-ms 5000
    start_client 10.231.1.2
    await_ticks
    outage 45 20
}

case_dropped_to_the_server() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    outage 45 35 to_server
}

case_dropped_to_the_client() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    outage 45 35 to_client
}

case_reset() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    in_space r iptables -I FORWARD -p tcp -j REJECT --reject-with tcp-reset
    broken=$(now)
    # Whoever is silent is told when he asks: by the first probe.
    noticed_within 20
    lasts 25
    mend
    back_within 15 "$mended"
    complete 0
}

case_link_down() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    link c link set to-r down
    broken=$(now)
    noticed_within 35
    lasts 45
    link c link set to-r up
    routes
    mended=$(now)
    back_within 20 "$mended"
    complete 0
}

case_own_address_changed() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    link c addr del 10.231.0.1/24 dev to-r
    link c addr add 10.231.0.9/24 dev to-r
    routes
    broken=$(now)
    noticed_within 35
    back_within 45 "$broken"
    complete 0
}

# The name leads to t now, and nothing comes from s any more.
case_server_moved() {
    configure c hosts <<<"10.231.1.2 server.test"
    start_server s --timeout-ms 60000
    start_server t --timeout-ms 60000
    start_client server.test
    await_ticks
    configure c hosts <<<"10.231.1.3 server.test"
    in_space r iptables -I FORWARD -s 10.231.1.2 -j DROP
    in_space r iptables -I FORWARD -d 10.231.1.2 -j DROP
    broken=$(now)
    noticed_within 35
    back_within 45 "$broken"
    complete 1
}

# Another host has the address, and knows neither connection nor session.
case_address_taken_over() {
    start_server s --timeout-ms 60000
    start_server t --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    link s link set to-r down
    link t addr add 10.231.1.2/24 dev to-r
    link r neigh flush to 10.231.1.2
    broken=$(now)
    noticed_within 20
    back_within 30 "$broken"
    complete 1
}

case_nat_forgets() {
    start_server s --timeout-ms 60000
    in_space r iptables -t nat -A POSTROUTING -o servers -j MASQUERADE
    in_space r iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
    # What fits no flow is for r itself, and is not answered.
    in_space r iptables -A INPUT -i servers -p tcp -j DROP
    in_space r sysctl -q -w net.netfilter.nf_conntrack_tcp_loose=0
    start_client 10.231.1.2
    await_ticks
    in_space r conntrack -F
    broken=$(now)
    noticed_within 35
    back_within 45 "$broken"
    met
    complete 0
}

resolver() {
    in_space r dnsmasq --no-resolv --no-hosts --no-daemon --conf-file=/dev/null --pid-file= --user=root \
        --host-record=server.test,10.231.1.2 7>&- &
}

# A resolver that is silent when the client starts.
case_dns_silent() {
    resolver
    in_space r iptables -I INPUT -p udp --dport 53 -j DROP
    start_server s --timeout-ms 60000
    broken=$(now)
    start_client server.test
    noticed_within 20
    lasts 30
    in_space r iptables -F INPUT
    mended=$(now)
    back_within 25 "$mended"
    complete 0
}

# A name that leads to a silent host, then to another.
case_dns_changes() {
    configure c hosts <<<"10.231.1.99 server.test"
    start_server s --timeout-ms 60000
    broken=$(now)
    start_client server.test
    noticed_within 15
    configure c hosts <<<"10.231.1.2 server.test"
    mended=$(now)
    back_within 25 "$mended"
    complete 0
}

# Neighbours of IPv6 take a moment to find each other.
await_ipv6() {
    local tries
    for tries in $(seq 60); do
        if in_space c timeout 1 bash -c ': <>/dev/tcp/fd31:1::2/80' 2>/dev/null; then return; fi
        sleep 0.2
    done
    fail "no IPv6 after $tries attempts"
}

# A name of two addresses, and the preferred one does not answer.
silent_family() { # TABLES
    configure c hosts <<<$'fd31:1::2 server.test\n10.231.1.2 server.test'
    start_server s --timeout-ms 60000
    await_ipv6
    in_space r "$1" -I FORWARD -j DROP
    broken=$(now)
    start_client server.test
    await 5 "$broken" "SUBSCRIBED"
    back=$(seconds $((at - broken)))
    await_ticks
    met "$1"
    # It is passed over, and no error.
    [ -z "$(first 0 ERROR)" ] || fail "it is told as an error"
    complete 0
}

case_ipv6_silent() {
    configure c gai.conf </dev/null
    silent_family ip6tables
}

case_ipv4_silent() {
    configure c gai.conf <<<"precedence ::ffff:0:0/96 100"
    silent_family iptables
}

case_ipv6_falls_silent() {
    configure c gai.conf </dev/null
    configure c hosts <<<$'fd31:1::2 server.test\n10.231.1.2 server.test'
    start_server s --timeout-ms 60000
    await_ipv6
    start_client server.test
    await_ticks
    in_space r ip6tables -I FORWARD -j DROP
    broken=$(now)
    noticed_within 35
    back_within 45 "$broken"
    met ip6tables
    complete 0
}

# Large packets are dropped on their way to the server, and nobody says so.
case_mtu_hole_to_the_server() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    in_space r iptables -I FORWARD -i to-c -m length --length 1300:65535 -j DROP
    broken=$(now)
    publish 20000
    await 35 "$broken" "FAILED"
    noticed=$(seconds $((at - broken)))
    said=${line#* }
    # What is small goes on all the while.
    back_within 45 "$broken"
    publish 10
    await 30 "$broken" "PUBLISHED"
    mend
    publish 20000
    await 30 "$mended" "PUBLISHED"
    complete 0
}

# The same on the way to the client.
case_mtu_hole_to_the_client() {
    start_server s --timeout-ms 5000
    start_client 10.231.1.2
    await_ticks
    in_space r iptables -I FORWARD -o to-c -m length --length 1300:65535 -j DROP
    broken=$(now)
    ask "/publish?channel=/large&size=20000"
    noticed_within 35
    lasts 40
    mend
    await 45 "$mended" "LARGE 0"
    back_within 45 "$mended"
    await_large_once
    complete 0
}

await_large_once() {
    [ "$(grep -c LARGE "$here/client.out")" = 1 ] || fail "not exactly once: LARGE"
}

# Off without a FIN while messages are on their way, and on again with nothing in memory.
case_server_switched_off() {
    start_server s --timeout-ms 60000
    start_client 10.231.1.2
    await_ticks
    link s link set to-r down
    broken=$(now)
    publish 10
    publish 20r
    await 20 "$broken" "FAILED"
    noticed=$(seconds $((at - broken)))
    said=${line#* }
    noticed_within 35
    kill -KILL "$server"
    lasts 40
    start_server s --timeout-ms 60000
    link s link set to-r up
    link s route replace default via 10.231.1.1
    mended=$(now)
    back_within 30 "$mended"
    await 30 "$mended" "PUBLISHED"
    complete 1
}
