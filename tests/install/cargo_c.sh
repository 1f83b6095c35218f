#!/usr/bin/env bash
# cargo cinstall gives what make install gives: library, archive, headers, cometd.pc
# and the files for CMake (which lie in share), with the same names and contents that
# matter. It builds the library once more, without optimisation.
set -euo pipefail
source tests/scripts/helpers.bash
command -v cargo-cinstall >/dev/null || fail "missing: cargo-c; cargo install cargo-c --locked"
command -v cmake >/dev/null || fail "missing: cmake; Debian and Ubuntu: apt install cmake"

prefix=/opt/cometd
make -s install BUILD="$BUILD" PREFIX=$prefix DESTDIR="$WORK/make" >"$WORK/make.out" 2>&1 || fail "make install"
CARGO_PROFILE_DEV_DEBUG=0 "${CARGO:-cargo}" cinstall --locked --debug --prefix=$prefix --libdir=$prefix/lib --destdir="$WORK/cargo" \
    >"$WORK/cinstall.out" 2>&1 || fail "cargo cinstall"
list() { (cd "$1$prefix" && find . ! -type d | sort); }
expected=$(list "$WORK/make" | grep -vE '^\./(bin|lib/debug|share)/' | sed 's|^\./lib/cmake/|./share/cmake/|' | sort)
diff <(echo "$expected") <(list "$WORK/cargo") >"$WORK/diff.out" || fail "cargo cinstall gives other files"
diff -r "$WORK/make$prefix/include" "$WORK/cargo$prefix/include" >"$WORK/diff.out" || fail "the headers are others"
symbols() { nm -D --defined-only "$1$prefix/lib/libcometd.so" | cut -d ' ' -f 2-; }
diff <(symbols "$WORK/make") <(symbols "$WORK/cargo") >"$WORK/diff.out" || fail "the library exports something else"
for link in libcometd.so libcometd.so.0; do
    [[ $(realpath "$WORK/cargo$prefix/lib/$link") == "$(realpath -s "$WORK/cargo$prefix/lib")"/libcometd.so.0.*.* ]] ||
        fail "$link leads elsewhere"
done
configuration() { # ROOT OPTION...
    PKG_CONFIG_LIBDIR=$1$prefix/lib/pkgconfig:$(pkg-config --variable pc_path pkg-config) pkg-config "${@:2}" cometd | xargs
}
for options in --modversion --cflags --libs; do
    [[ $(configuration "$WORK/cargo" $options) == "$(configuration "$WORK/make" $options)" ]] ||
        fail "pkg-config $options says $(configuration "$WORK/cargo" $options)"
done

start_server --tick-ms 50
mkdir "$WORK/program"
cp examples-c/subscribe.c "$WORK/program/program.c"
shows() { # PROGRAM
    LD_LIBRARY_PATH=$WORK/cargo$prefix/lib expect 0 "$@" -n 2 "$URL" /ticks
    contains "$OUTPUT" '/ticks {"tick":'
}
here=(--define-variable=prefix="$WORK/cargo$prefix")
static=$(configuration "$WORK/cargo" "${here[@]}" --static --cflags --libs)
# shellcheck disable=SC2046,SC2086 # the flags are several words
{
    "$CC" "$WORK/program/program.c" -o "$WORK/shared" $(configuration "$WORK/cargo" "${here[@]}" --cflags --libs)
    "$CC" "$WORK/program/program.c" -o "$WORK/static" ${static/-lcometd/-l:libcometd.a}
}
contains "$(readelf -dW "$WORK/shared")" "[libcometd.so.0]"
shows "$WORK/shared"
[[ $(readelf -dW "$WORK/static") != *libcometd* ]] || fail "the static program is not"
shows "$WORK/static"

cat >"$WORK/program/CMakeLists.txt" <<'END_OF_LISTS'
cmake_minimum_required(VERSION 3.16)
project(program C)
find_package(cometd 0.1 REQUIRED)
add_executable(program program.c)
target_link_libraries(program PRIVATE cometd::cometd)
END_OF_LISTS
cmake -S "$WORK/program" -B "$WORK/program/build" -DCMAKE_PREFIX_PATH="$WORK/cargo$prefix" >"$WORK/cmake.out" 2>&1 &&
    cmake --build "$WORK/program/build" >"$WORK/cmake.out" 2>&1 || fail "cmake"
shows "$WORK/program/build/program"
