#!/usr/bin/env bash
# Programs of a shape of their own: how they end, what they load, what else is in them.
set -euo pipefail
source tests/scripts/helpers.bash
LIBRARY=$BUILD/lib/libcometd.so.0

build() { # NAME ARGUMENT...: a program of tests/lifecycle
    local name=$1
    shift
    "$CC" -std=gnu11 -D_GNU_SOURCE -g "${WARNINGS[@]}" -pthread -Iinclude "tests/lifecycle/$name.c" -o "$WORK/$name" "$@"
}
linked=(-L"$BUILD/lib" -lcometd -Wl,-rpath,"$BUILD/lib")
start_server --tick-ms 5 --timeout-ms 60000
PORT=${URL#http://127.0.0.1:} PORT=${PORT%%/*}

# test: a_process_ends_in_each_way_with_clients_and_callbacks
build ending "${linked[@]}"
for from in main callback; do
    for way in exit quick_exit _exit abort return; do
        [[ $from-$way == callback-return ]] && continue
        expected=42 handler=1
        [[ $way == abort ]] && expected=134
        [[ $way == abort || $way == _exit ]] && handler=0
        for round in 1 2 3; do
            expect "$expected" "$WORK/ending" "$URL" "$way" "$from"
            ran=$(grep -c '^handler' <<<"$ERRORS" || true)
            ((ran == handler)) || fail "$way from $from: $ran handlers ran"
        done
    done
done

# test: a_program_that_never_calls_it_has_nothing_of_it
build linked
expect 0 "$WORK/linked"
without=$OUTPUT
build linked -Wl,--no-as-needed "${linked[@]}"
expect 0 "$WORK/linked"
contains "$(ldd "$WORK/linked")" "libcometd.so.0"
kilobytes() { sed -n 's/^Private_Dirty: *\([0-9]*\) kB$/\1/p' <<<"$1"; }
[[ $(grep -v Private_Dirty <<<"$OUTPUT") == "$(grep -v Private_Dirty <<<"$without")" ]] ||
    fail "with the library: $OUTPUT; without: $without"
cost=$(($(kilobytes "$OUTPUT") - $(kilobytes "$without")))
echo "linked and never called: $cost KiB"
((cost < 2048)) || fail "it costs $cost KiB"

# test: it_is_loaded_used_and_closed_a_hundred_times
build load -ldl
expect 0 "$WORK/load" "$LIBRARY" "$URL"

# test: two_copies_in_one_process
build copies -ldl
cp "$LIBRARY" "$WORK/libother.so"
expect 0 "$WORK/copies" "$LIBRARY" "$WORK/libother.so" "$URL"
# test: a_copy_in_a_namespace_of_its_own
expect 0 "$WORK/copies" "$LIBRARY" "$LIBRARY" "$URL" namespace

# test: an_exception_in_a_callback
"$CXX" -std=c++17 -g "${WARNINGS[@]}" -pthread -Iinclude tests/lifecycle/exception.cpp -o "$WORK/exception" "${linked[@]}"
expect 0 "$WORK/exception" "$URL" stays
contains "$OUTPUT" "6 unwound"
expect 134 "$WORK/exception" "$URL" escapes
contains "$ERRORS" "terminate called after throwing an instance of 'std::runtime_error'"
contains "$ERRORS" "thrown in a callback"

# test: a_program_with_the_same_openssl
build openssl "${linked[@]}" -lssl -lcrypto
for round in {1..5}; do expect 0 "$WORK/openssl" "$PORT"; done
# test: a_program_with_an_openssl_of_its_own
archives=$(pkg-config --variable=libdir openssl)
if [[ -e $archives/libssl.a && -e $archives/libcrypto.a ]]; then
    build openssl "${linked[@]}" "$archives/libssl.a" "$archives/libcrypto.a" -Wl,--exclude-libs,ALL -ldl
    exported=$(nm -D --defined-only "$WORK/openssl")
    [[ $exported != *SSL_new* ]] || fail "the library has the program's OpenSSL"
    contains "$(ldd "$WORK/openssl")" libssl.so
    for round in {1..5}; do expect 0 "$WORK/openssl" "$PORT"; done
    # test: a_program_that_puts_its_openssl_before_the_librarys
    build openssl "${linked[@]}" "$archives/libssl.a" "$archives/libcrypto.a" -rdynamic -ldl
    exported=$(nm -D --defined-only "$WORK/openssl")
    [[ $exported == *SSL_new* ]] || fail "the library has an OpenSSL of its own"
    for round in {1..5}; do expect 0 "$WORK/openssl" "$PORT"; done
else
    echo "not run: a program with an OpenSSL of its own: there is no libssl.a"
fi
