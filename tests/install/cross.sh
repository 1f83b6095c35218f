#!/usr/bin/env bash
# README's way to another machine's library: in a fresh Debian 12 it is built for
# arm64 by Debian's cross compiler and installed, and what is linked with it by
# pkg-config, and the tools, show events under qemu.
set -euo pipefail
source tests/scripts/helpers.bash
source tests/install/root.bash

make_root
in_root_line 'dpkg --add-architecture '
in_root_line 'apt install g++-'
in_root_line 'make CARGO_BUILD_TARGET='
in_root_line 'make install CARGO_BUILD_TARGET='
installed=$(sed -n 's/^make install CARGO_BUILD_TARGET=.* DESTDIR=\([^ ]*\).*/\1/p' README.md)/usr/local
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
contains "$(readelf -hW "$ROOT$installed/lib/libcometd.so.$version")" AArch64
[[ $(readelf -SW "$ROOT$installed/lib/libcometd.so.$version") != *.debug_info* ]] || fail "the library is not stripped"
[[ -n $(find "$ROOT$installed/lib/debug" -name '*.debug') ]] || fail "there is no debug information"

step "programs, under qemu"
in_root 'apt-get install -y -q --no-install-recommends qemu-user'
start_server --tick-ms 50
cp examples-c/subscribe.c "$ROOT/tmp/program.c"
build() { # PROGRAM [COMPILER-OPTION PKG-CONFIG-OPTION]
    in_root "cd /tmp; export PKG_CONFIG_LIBDIR=$installed/lib/pkgconfig:/usr/lib/aarch64-linux-gnu/pkgconfig
        aarch64-linux-gnu-gcc ${2:-} program.c -o $1 \
        \$(pkg-config ${3:-} --define-variable=prefix=$installed --cflags --libs cometd)"
    contains "$(readelf -hW "$ROOT/tmp/$1")" AArch64
}
shows() { # COMMAND: it shows events
    in_root "qemu-aarch64 -E LD_LIBRARY_PATH=$installed/lib $1 $URL /ticks"
    contains "$(cat "$WORK/root.out")" '{"tick":'
}
build shared
build static -static --static
shows '/tmp/shared -n 2'
shows '/tmp/static -n 2'
shows "$installed/bin/cometd_sub -C 2 -W 60"
step "done"
