#!/usr/bin/env bash
# The glue for event loops, of those that are installed: its tests, and the programs
# of examples-c/loops against the demo server. COMETD_LOOPS=all fails where one is not.
set -euo pipefail
source tests/scripts/helpers.bash
STRICT=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iinclude -pthread)
LINK=(-L"$BUILD/lib" -lcometd -Wl,-rpath,"$BUILD/lib")

missing() { # LOOP
    [[ ${COMETD_LOOPS:-} != all ]] || fail "missing: $1"
    echo "not run: $1, which is not installed"
}
# Says whether the compiler has the sanitizers.
SANITIZE=()
if printf 'int main(void) { return 0; }\n' | "$CC" -fsanitize=address,undefined -x c - -o "$WORK/sanitized" 2>/dev/null; then
    SANITIZE=(-fsanitize=address,undefined)
else
    echo "not run: the glue with sanitizers, which $CC does not have"
fi

start_server --tick-ms 20 --timeout-ms 1000 --token T
tested=$URL
start_server --tick-ms 20 --timeout-ms 1000
disconnects=0
example() { # NAME
    local program=$BUILD/bin/loop_$1
    [[ -x $program ]] || fail "$program is missing: run make examples"
    expect 2 "$program"
    contains "$ERRORS" "usage: loop_"
    expect 1 "$program" ftp://localhost/ /ticks
    contains "$ERRORS" "url: has the scheme ftp"
    start "$1" "$program" "$URL" /ticks
    seen "$1" subscribed
    seen "$1" '{"tick":'
    seen "$1" "the loop goes on"
    kill -INT "$STARTED"
    ended "$STARTED" 0
    disconnects=$((disconnects + 1))
    wait_until 60 "the disconnect of $1" counted disconnects "$disconnects"
    expect 1 "$program" http://127.0.0.1:9/cometd '*'
    contains "$ERRORS" "channels[0]"
}

compilers=("$CC:$CXX")
if command -v clang >/dev/null && command -v clang++ >/dev/null; then compilers+=(clang:clang++); fi

for pair in libuv:libuv libevent:libevent_core glib:glib-2.0; do
    loop=${pair%:*} package=${pair#*:}
    if ! pkg-config --exists "$package"; then
        missing "$package"
        continue
    fi
    # As a system's headers: their warnings are not ours.
    read -ra flags < <(pkg-config --cflags "$package" | sed 's/-I/-isystem /g')
    read -ra libraries < <(pkg-config --libs "$package")
    # C and C++ alike, and twice.
    printf '#include <cometd/%s.h>\n#include <cometd/%s.h>\n' "$loop" "$loop" >"$WORK/header.c"
    for pair in "${compilers[@]}"; do
        "${pair%:*}" -std=c99 -D_POSIX_C_SOURCE=200809L "${STRICT[@]}" "${flags[@]}" -fsyntax-only "$WORK/header.c"
        "${pair#*:}" -std=c++17 "${STRICT[@]}" "${flags[@]}" -fsyntax-only -x c++ "$WORK/header.c"
    done
    "$CC" -std=c99 -D_GNU_SOURCE "${STRICT[@]}" "${SANITIZE[@]}" -g -DLOOP_"${loop^^}" "${flags[@]}" tests/loops/glue.c \
        -o "$WORK/glue" "${LINK[@]}" "${libraries[@]}"
    expect 0 "$WORK/glue" "$tested"
    contains "$OUTPUT" ok
    example "$loop"
done

for pair in asio: boost_asio:-DCOMETD_BOOST_ASIO; do
    loop=${pair%:*} header=${pair%:*}.hpp
    read -ra flags < <(echo "${pair#*:}")
    if ! printf '#include <utility>\n#include <%s>\n' "${header/_//}" | "$CXX" -std=c++17 -fsyntax-only -x c++ - 2>/dev/null; then
        missing "$loop"
        continue
    fi
    printf '#include <cometd/asio.hpp>\n#include <cometd/asio.hpp>\n' >"$WORK/header.cpp"
    for pair in "${compilers[@]}"; do
        "${pair#*:}" -std=c++17 "${STRICT[@]}" "${flags[@]}" -fsyntax-only "$WORK/header.cpp"
    done
    for standard in c++17 c++20; do
        "$CXX" -std=$standard "${STRICT[@]}" "${flags[@]}" -g tests/loops/asio.cpp -o "$WORK/asio" "${LINK[@]}"
        expect 0 "$WORK/asio" "$tested"
        contains "$OUTPUT" ok
    done
    example "$loop"
done
