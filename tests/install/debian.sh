#!/usr/bin/env bash
# README's way from the start, in a fresh Debian 12 with Debian's own Rust: the
# packages that it names and no others, make demo, make install, a CMake project,
# the tools; then the Debian packages, installed and removed again.
set -euo pipefail
source tests/scripts/helpers.bash
source tests/install/root.bash

make_root
step "make demo"
in_root 'make demo'
contains "$(cat "$WORK/root.out")" 'events arrived'

in_root make
step "make install, and programs"
everything='find / -xdev \( -path /proc -o -path /src -o -path /var -o -path /tmp -o -path /home \) -prune -o -print | sort'
in_root 'apt-get install -y -q --no-install-recommends cmake && mkdir /tmp/program'
in_root "$everything"
cp "$WORK/root.out" "$WORK/before.list"
in_root 'make install PREFIX=/usr/local && ldconfig'
start_server --tick-ms 50
cp examples-c/subscribe.c "$ROOT/tmp/program/program.c"
{
    printf 'cmake_minimum_required(VERSION 3.16)\nproject(program C)\n'
    awk '/^```cmake$/ { found = 1; next } found && /^```$/ { exit } found' README.md
} >"$ROOT/tmp/program/CMakeLists.txt"
shows() { # COMMAND: it shows events
    in_root "cd /tmp/program; $1"
    contains "$(cat "$WORK/root.out")" '{"tick":'
}
try() {
    shows "rm -rf build; cmake -S . -B build && cmake --build build && build/program -n 2 $URL /ticks"
    # shellcheck disable=SC2016
    shows 'cc program.c -o program $(pkg-config --cflags --libs cometd) && ./program -n 2 '"$URL /ticks"
    shows "$1/cometd_sub -C 2 -W 60 $URL /ticks"
}
try /usr/local/bin
in_root 'make uninstall PREFIX=/usr/local && ldconfig && ! ldconfig -p | grep cometd'

step "packages"
in_root 'export DEBFULLNAME="A Packager" DEBEMAIL=packager@example.org; make deb'
in_root 'apt-get install -y -q --no-install-recommends ./build/deb/*.deb'
for package in libcometd0 libcometd0-dbgsym libcometd-dev cometd-tools; do
    in_root "dpkg -s $package && dpkg -V $package"
    contains "$(cat "$WORK/root.out")" 'Status: install ok installed'
done
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning "$ROOT"/src/build/deb/*.deb >"$WORK/lintian.out" 2>&1 || fail "lintian"
else
    echo "not run: lintian, because it is missing"
fi
try /usr/bin
# What is linked with it will depend on it.
in_root 'cd /tmp && mkdir -p other/debian && cd other && printf "Source: other\n\nPackage: other\nArchitecture: any\n" >debian/control &&
    dpkg-shlibdeps -O /tmp/program/program'
contains "$(cat "$WORK/root.out")" 'libcometd0 (>= 0.1'
in_root 'apt-get purge -y -q libcometd0 libcometd0-dbgsym libcometd-dev cometd-tools'
in_root "$everything"
# Empty folders that make uninstall leaves are others' as well.
left=$(comm -13 "$WORK/before.list" "$WORK/root.out" | grep -v '^/usr/local/' || true)
[[ -z $left ]] || fail "the packages have left $left"
left=$(cd "$ROOT/usr/local" && find . ! -type d -newer "$WORK/before.list" -name '*cometd*')
[[ -z $left ]] || fail "make uninstall has left $left"
step "done"
