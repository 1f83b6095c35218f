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

mend() {
    both_tables -F FORWARD
    mended=$(now)
}

outage() { # SECONDS NOTICED_WITHIN [DIRECTION]
    cut "${3:-both}"
    noticed_within "$2"
    local left=$((broken + $1 * 1000 - $(now)))
    [ "$left" -le 0 ] || sleep "$((left / 1000)).$((left % 1000 / 100))"
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
