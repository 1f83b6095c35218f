#!/usr/bin/env bash
# Programs outside the tree, built in each way that README names, against what
# make install has put and against the tarball, wherever both lie; each is run.
# pkg-config is in tests/scripts/install.sh.
set -euo pipefail
source tests/scripts/helpers.bash
for tool in cmake meson ninja pkg-config; do
    command -v "$tool" >/dev/null || fail "missing: $tool; Debian and Ubuntu: apt install cmake meson ninja-build pkg-config"
done

start_server --tick-ms 50
made() { # PROGRAM LIBRARY: it shows events; LIBRARY is where the shared one lies, or empty
    if [[ -n $2 ]]; then
        contains "$(readelf -dW "$1")" "[libcometd.so.0]"
    else
        [[ $(readelf -dW "$1") != *libcometd* ]] || fail "$1 is not static"
    fi
    LD_LIBRARY_PATH=$2 expect 0 "$1" -n 2 "$URL" /ticks
    contains "$OUTPUT" '/ticks {"tick":'
    echo "$TEST: ${1#"$WORK/"}"
}

# Installed for one place and moved to another: nothing in it says where it was.
make -s install BUILD="$BUILD" PREFIX=/opt/cometd DESTDIR="$WORK/staged" >"$WORK/make.out" 2>&1 || fail "make install"
mv "$WORK/staged/opt/cometd" "$WORK/moved"
make -s tarball BUILD="$BUILD" >"$WORK/make.out" 2>&1 || fail "make tarball: $(cat "$WORK/make.out")"
tarball=$(realpath "$(tail -n 1 "$WORK/make.out")")
tar -xf "$tarball" -C "$WORK"
unpacked=$(echo "$WORK"/libcometd-*)
first=$(sha256sum <"$tarball")
make -s tarball BUILD="$BUILD" >"$WORK/make.out" 2>&1
[[ $(sha256sum <"$tarball") == "$first" ]] || fail "the tarball is another one the second time"

block() { # LANGUAGE: the first block of that language in README.md
    awk -v start="^\`\`\`$1\$" '$0 ~ start { found = 1; next } found && /^```$/ { exit } found' README.md
}
project() { # NAME: a folder with a program
    mkdir "$WORK/$1"
    cp examples-c/subscribe.c "$WORK/$1/program.c"
}

# cmake_project NAME LINES CMAKE-ARGUMENT...
cmake_project() {
    local name=$1 lines=$2
    shift 2
    project "$name"
    printf 'cmake_minimum_required(VERSION 3.16)\nproject(program C)\n%s\n' "$lines" >"$WORK/$name/CMakeLists.txt"
    cmake -G Ninja -S "$WORK/$name" -B "$WORK/$name/build" "$@" >"$WORK/cmake.out" 2>&1 || fail "$name: cmake"
    cmake --build "$WORK/$name/build" >"$WORK/cmake.out" 2>&1 || fail "$name: the build"
    [[ ! -s $WORK/cmake.err ]] || fail "$name: $(cat "$WORK/cmake.err")"
}
readme=$(block cmake)
contains "$readme" cometd::cometd
static=${readme//cometd::cometd/cometd::static}
targets=$(grep -v find_package <<<"$readme")
for tree in "$WORK/moved" "$unpacked"; do
    name=$(basename "$tree")
    cmake_project "find_$name" "$readme" -DCMAKE_PREFIX_PATH="$tree"
    made "$WORK/find_$name/build/program" "$tree/lib"
    cmake_project "find_static_$name" "$static" -DCMAKE_PREFIX_PATH="$tree"
    made "$WORK/find_static_$name/build/program" ""
done
cmake_project add_installed "add_subdirectory($WORK/moved/lib/cmake/cometd cometd)
$targets"
made "$WORK/add_installed/build/program" "$WORK/moved/lib"
cmake_project add_tarball "add_subdirectory($unpacked cometd)
${targets//cometd::cometd/cometd::static}"
made "$WORK/add_tarball/build/program" ""
cmake_project fetch "include(FetchContent)
FetchContent_Declare(cometd URL file://$tarball)
FetchContent_MakeAvailable(cometd)
$targets"
made "$WORK/fetch/build/program" "$WORK/fetch/build/_deps/cometd-src/lib"

# What is asked for and not there is said.
refused() { # NAME LINES WORDS
    project "$1"
    printf 'cmake_minimum_required(VERSION 3.16)\nproject(program C)\n%s\n' "$2" >"$WORK/$1/CMakeLists.txt"
    ! cmake -G Ninja -S "$WORK/$1" -B "$WORK/$1/build" -DCMAKE_PREFIX_PATH="$WORK/moved" >"$WORK/cmake.out" 2>&1 ||
        fail "$1: cmake found it"
    contains "$(tr -s '\n ' ' ' <"$WORK/cmake.out")" "$3"
}
refused newer 'find_package(cometd 0.99 REQUIRED)' 'version: 0.1'
refused older_major 'find_package(cometd 9.0 REQUIRED)' 'version: 0.1'
refused older_range 'find_package(cometd 0.0.1...<0.1 REQUIRED)' 'version: 0.1'
refused component 'find_package(cometd REQUIRED COMPONENTS shared windows)' 'there is no windows library'

meson_project() { # NAME LINES TREE
    project "$1"
    printf '%s\n' "$2" >"$WORK/$1/meson.build"
    PKG_CONFIG_PATH=$3/lib/pkgconfig meson setup "$WORK/$1/build" "$WORK/$1" >"$WORK/meson.out" 2>&1 || fail "$1: meson"
    ninja -C "$WORK/$1/build" >"$WORK/meson.out" 2>&1 || fail "$1: ninja"
}
readme=$(block meson)
contains "$readme" "dependency('cometd')"
meson_project meson "$readme" "$unpacked"
made "$WORK/meson/build/program" "$unpacked/lib"
meson_project meson_static "${readme//"dependency('cometd')"/"dependency('cometd', static: true)"}" "$unpacked"
made "$WORK/meson_static/build/program" ""

# By dlopen: linked with nothing, and what the library exports is all there is.
cat >"$WORK/dlopen.c" <<'END'
#include <cometd/cometd.h>
#include <dlfcn.h>
#include <stdio.h>
#define FIND(name) __typeof__(&name) p_##name = (__typeof__(&name))dlsym(library, #name); if (!p_##name) return 3
int main(int argc, char **argv)
{
    void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library)
        return fprintf(stderr, "%s\n", dlerror()), 2;
    FIND(cometd_version);
    FIND(cometd_client_builder_new);
    FIND(cometd_client_builder_build);
    FIND(cometd_client_builder_free);
    FIND(cometd_client_subscribe);
    FIND(cometd_client_connect);
    FIND(cometd_client_poll);
    FIND(cometd_client_free);
    FIND(cometd_event_message);
    FIND(cometd_message_data);
    FIND(cometd_event_free);
    const char *channels[] = {"/ticks"};
    cometd_client_builder *builder;
    cometd_client *client;
    cometd_event *event;
    const char *data = NULL;
    if (p_cometd_version() != COMETD_VERSION || p_cometd_client_builder_new(argv[2], &builder, NULL) ||
        p_cometd_client_builder_build(builder, &client, NULL) ||
        p_cometd_client_subscribe(client, channels, 1, NULL, NULL) || p_cometd_client_connect(client, NULL))
        return 4;
    while (!data && p_cometd_client_poll(client, 30000, &event) == COMETD_OK) {
        const cometd_message *message = p_cometd_event_message(event);
        if (message)
            puts(data = p_cometd_message_data(message, NULL));
        p_cometd_event_free(event);
    }
    p_cometd_client_builder_free(builder);
    p_cometd_client_free(client);
    return data ? 0 : 5;
}
END
"$CC" -Wall -Wextra -Werror -I"$WORK/moved/include" "$WORK/dlopen.c" -o "$WORK/dlopen" -ldl
expect 0 "$WORK/dlopen" "$WORK/moved/lib/libcometd.so.0" "$URL"
contains "$OUTPUT" '{"tick":'
echo "$TEST: dlopen"
