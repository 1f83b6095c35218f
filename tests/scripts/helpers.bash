# What the tests in this folder share; they source it first. Each is run from the
# root of the repository, by `bash tests/scripts/NAME.sh`, and its exit code says
# whether it passed.

# As in tests/run, for a script that is run alone.
if [[ -z ${COMETD_OWN_SIGNALS:-} ]] && env --default-signal true 2>/dev/null; then
    COMETD_OWN_SIGNALS=1 exec env --default-signal bash "$0" "$@"
fi
exec </dev/null
export LC_ALL=C
unset CDPATH MAKEFLAGS MFLAGS MAKEOVERRIDES libdir includedir

BUILD=${BUILD:-build}
CC=${CC:-cc}
CXX=${CXX:-c++}
WARNINGS=(-Wall -Wextra -Wpedantic -Werror)
C99=(-std=c99 -D_POSIX_C_SOURCE=200809L)
TEST=$(basename "$0" .sh)
# The servers are here, whatever the machine's proxy is for.
export no_proxy=127.0.0.1,::1,localhost

fail() {
    echo "$TEST: $*" >&2
    exit 1
}

[[ -f Cargo.toml && -d tests/scripts ]] || fail "run it from the root of the repository"
for helper_tool in "$CC" "$CXX"; do
    command -v "$helper_tool" >/dev/null || fail "missing: $helper_tool"
done
[[ -e $BUILD/lib/libcometd.so.0 ]] || fail "$BUILD/lib/libcometd.so.0 is missing: run make"
BUILD=$(cd "$BUILD" && pwd)

WORK=$(mktemp -d)
PROCESSES=()

helper_end() {
    local status=$? process
    trap - EXIT
    for process in "${PROCESSES[@]}"; do
        kill -KILL "$process" 2>/dev/null || true
    done
    if ((status != 0)); then
        echo "$TEST: failed; what the programs said:" >&2
        tail -n 30 "$WORK"/*.out "$WORK"/*.err >&2 2>/dev/null || true
    fi
    rm -rf "$WORK"
    exit "$status"
}
trap helper_end EXIT

# start_server OPTION...: sets SERVER (its process), URL and CONTROL.
start_server() {
    local ready port
    exec {SERVER_OUTPUT}< <(exec "$BUILD/bin/cometd_demo_server" --port 0 --quiet --run-ms 900000 "$@")
    SERVER=$!
    PROCESSES+=("$SERVER")
    read -r -t 60 -u "$SERVER_OUTPUT" ready port CONTROL || fail "the demo server did not start"
    [[ $ready == READY ]] || fail "the demo server said '$ready'"
    URL=http://127.0.0.1:$port/cometd
}

# start NAME PROGRAM ARGUMENT...: runs it with its output in NAME.out and NAME.err,
# and its input from the file INPUT, if that is set; sets STARTED, its process.
start() {
    local name=$1
    shift
    # Emptied here, so that nobody sees what an earlier one has written.
    : >"$WORK/$name.out" 2>"$WORK/$name.err"
    "$@" <"${INPUT:-/dev/null}" >"$WORK/$name.out" 2>"$WORK/$name.err" &
    STARTED=$!
    PROCESSES+=("$STARTED")
}

# expect STATUS PROGRAM ARGUMENT...: runs it to its end, with its output in OUTPUT
# and what it says on the standard error in ERRORS.
expect() {
    local expected=$1 status=0
    shift
    OUTPUT=$(timeout -k 5 60 "$@" 2>"$WORK/last.err") || status=$?
    ERRORS=$(cat "$WORK/last.err")
    ((status == expected)) || fail "'$*' ended with $status, not $expected: $OUTPUT $ERRORS"
}

# ended PROCESS STATUS: waits for its end, which must be this one.
ended() {
    local status=0
    wait_until 60 "process $1 to end" gone "$1"
    wait "$1" || status=$?
    ((status == $2)) || fail "a program ended with $status, not $2"
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# wait_until SECONDS WHAT COMMAND...: until the command succeeds.
wait_until() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "waited in vain for $what"
        sleep 0.05
    done
}

# has NAME TEXT: whether a program that was started has written it.
has() { grep -qF -- "$2" "$WORK/$1.out" "$WORK/$1.err"; }

# seen NAME TEXT: waits until it has.
seen() { wait_until 60 "'$2' from $1" has "$1" "$2"; }

# contains TEXT PART
contains() { [[ $1 == *"$2"* ]] || fail "'$2' is not in: $1"; }

# control TARGET: what the demo server's control interface answers.
control() {
    local line socket
    exec {socket}<>"/dev/tcp/127.0.0.1/$CONTROL"
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&"$socket"
    while IFS= read -r line && [[ $line != $'\r' ]]; do :; done <&"$socket"
    cat <&"$socket"
    exec {socket}>&-
}

# stat NAME: a number of the server's /stats.
stat_of() {
    local stats
    stats=$(control /stats)
    [[ $stats =~ \"$1\":([0-9]+) ]] || fail "no $1 in $stats"
    echo "${BASH_REMATCH[1]}"
}

# Whether the server has counted so many: counted disconnects 2
counted() { (($(stat_of "$1") >= $2)); }

# published CHANNEL NAME TEXT: publishes until the program has written it. A
# program that is only about to subscribe misses the first ones.
publish_until() {
    control "/publish?channel=$1" >"$WORK/published.out"
    has "$2" "$3"
}

# build_peer: sets COMETD_PEER, the server that plays scripts (tests/peer).
build_peer() {
    "${CARGO:-cargo}" build --release --locked --quiet -p cometd-peer || fail "cometd_peer could not be built"
    COMETD_PEER=${CARGO_TARGET_DIR:-target}/release/cometd_peer
}

# play: plays the script on its standard input; sets PEER, its process, and PORT.
play() {
    local ready
    cat >"$WORK/play.txt"
    exec {PEER_OUTPUT}< <(exec "$COMETD_PEER" "$WORK/play.txt" 2>"$WORK/peer.err")
    PEER=$!
    PROCESSES+=("$PEER")
    read -r -t 60 -u "$PEER_OUTPUT" ready PORT || fail "the peer did not start: $(cat "$WORK/peer.err")"
    [[ $ready == READY ]] || fail "the peer said '$ready'"
}

# blocks FILE LANGUAGE: writes what stands in FILE between ```LANGUAGE and ``` to
# $WORK/blocks/1, 2 and so on; sets BLOCKS, how many.
blocks() {
    rm -rf "$WORK/blocks"
    mkdir "$WORK/blocks"
    BLOCKS=$(awk -v folder="$WORK/blocks" -v begin="\`\`\`$2" '
        open && /^```$/ { open = 0; close(name); next }
        open { print > name }
        $0 == begin { open = 1; name = folder "/" ++count }
        END { print count + 0 }' "$1")
}

# program FILE NAME [OPTION...]: compiles the one C program of a page to $WORK/NAME.
program() {
    blocks "$1" c
    ((BLOCKS == 1)) || fail "$1 has $BLOCKS C programs"
    cp "$WORK/blocks/1" "$WORK/$2.c"
    "$CC" "${C99[@]}" "${WARNINGS[@]}" -Iinclude "$WORK/$2.c" -o "$WORK/$2" -L"$BUILD/lib" -lcometd "${@:3}" \
        -Wl,-rpath,"$BUILD/lib"
}
