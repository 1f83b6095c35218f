#!/usr/bin/env bash
# The headers for programs, with every compiler and standard that is there: alone,
# twice, in two units of one program, together, and without exceptions; no warning
# of the compilers nor of clang-tidy. And what must not compile does not.
set -euo pipefail
source tests/scripts/helpers.bash
STRICT=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iinclude)

compilers=("$CXX")
if command -v clang++ >/dev/null; then
    compilers+=(clang++)
else
    echo "not run: the headers with clang++, which is not installed"
fi

printf '#include <cometd/cometd.hpp>\n#include <cometd/cometd.hpp>\nint other();\nint main() { return other(); }\n' >"$WORK/one.cpp"
printf '#include <cometd/cometd.hpp>\nint other();\nint other() { return cometd::version() == 0; }\n' >"$WORK/other.cpp"

# options_of SOURCE: what its line "// options:" says, in OPTIONS.
options_of() { read -ra OPTIONS < <(sed -n 's|^// options: ||p' "$1"; echo); }

for compiler in "${compilers[@]}"; do
    for standard in c++17 c++20 c++23; do
        if ! "$compiler" -std=$standard -E -x c++ /dev/null >/dev/null 2>&1; then
            standard=${standard/23/2b}
            "$compiler" -std=$standard -E -x c++ /dev/null >/dev/null 2>&1 || {
                echo "not run: $standard, which $compiler does not have"
                continue
            }
        fi
        "$compiler" -std=$standard "${STRICT[@]}" "$WORK/one.cpp" "$WORK/other.cpp" -o "$WORK/one" -L"$BUILD/lib" -lcometd
        "$compiler" -std=$standard "${STRICT[@]}" -fno-exceptions -fsyntax-only "$WORK/one.cpp"
    done
    # The programs: with what an optimizer sees more of, and as they are in the next standard.
    for source in tests/cpp/*.cpp examples-c/*.cpp; do
        options_of "$source"
        "$compiler" -std=c++17 -O2 "${STRICT[@]}" "${OPTIONS[@]}" -c "$source" -o "$WORK/o.o"
        "$compiler" -std=c++20 "${STRICT[@]}" "${OPTIONS[@]}" -fsyntax-only "$source"
    done
    # And C's own, as C.
    c=${compiler/clang++/clang}
    [[ $compiler == clang++ ]] || c=$CC
    for standard in c99 c11; do
        printf '#include <cometd/cometd.h>\n' | "$c" -std=$standard "${STRICT[@]}" -fsyntax-only -x c -
    done
done

refused() { # WHAT STATEMENT: it does not compile, for this reason
    printf '#include <cometd/cometd.hpp>\nvoid refused(cometd::client &client, const cometd::message_view &message, cometd::builder &builder) {\n(void)client, (void)message, (void)builder;\n%s\n}\n' "$2" >"$WORK/refused.cpp"
    ! "$CXX" -std=c++17 "${STRICT[@]}" -fsyntax-only "$WORK/refused.cpp" 2>"$WORK/refused.err" || fail "it compiles: $2"
    grep -q "$1" "$WORK/refused.err" || fail "'$2' does not compile for another reason than '$1': $(cat "$WORK/refused.err")"
}
refused 'deleted function' 'auto text = client.poll().value().channel();'
refused 'deleted function' 'auto data = message.retain().data();'
refused 'deleted function' 'auto name = cometd::client().name();'
refused 'deleted function' 'auto first = client.poll_many(1)[0];'
refused 'nodiscard' 'client.try_connect();'
refused 'nodiscard' 'builder.build();'
refused 'nodiscard' 'cometd::batch{client};'
refused 'deleted function' 'cometd::client copy(client);'
refused 'no match for\|invalid operands\|cannot convert' 'if (client.state() == COMETD_STATE_IDLE) return;'

tidy() { # SOURCE OPTION...: nothing is found in our headers
    clang-tidy --quiet --header-filter='include/cometd/.*' "$1" -- -Iinclude "${@:2}" >"$WORK/tidy.out" 2>&1 || true
    ! grep -q 'clang-diagnostic-error' "$WORK/tidy.out" || fail "clang-tidy cannot read $1: $(cat "$WORK/tidy.out")"
    # C's own header is C, and tests/scripts/header.sh reads it as such.
    ! grep -A8 'include/cometd/.*: \(warning\|error\):' "$WORK/tidy.out" | grep -v 'cometd/cometd\.h:' |
        grep -A8 'include/cometd/' || fail "clang-tidy has found something in the headers"
}
if command -v clang-tidy >/dev/null; then
    for source in tests/cpp/*.cpp; do
        options_of "$source"
        tidy "$source" -std=c++17 "${OPTIONS[@]}"
    done
    if printf '#include <asio.hpp>\n' | "$CXX" -fsyntax-only -x c++ - 2>/dev/null; then
        tidy tests/loops/asio.cpp -std=c++20
    else
        echo "not run: clang-tidy with asio, which is not installed"
    fi
    for pair in libuv:libuv libevent:libevent_core glib:glib-2.0; do
        if pkg-config --exists "${pair#*:}"; then
            read -ra flags < <(pkg-config --cflags "${pair#*:}" | sed 's/-I/-isystem /g')
            loop=${pair%:*}
            tidy tests/loops/glue.c -std=c99 -D_GNU_SOURCE -DLOOP_"${loop^^}" "${flags[@]}"
        else
            echo "not run: clang-tidy with ${pair#*:}, which is not installed"
        fi
    done
else
    echo "not run: clang-tidy, which is not installed"
fi
