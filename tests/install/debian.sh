#!/usr/bin/env bash
# README's way from the start, in a fresh Debian 12 with Debian's own Rust: the
# packages that it names and no others, make demo, make install, a CMake project,
# the tools; then the Debian packages, installed and removed again. Packages come
# from where this machine's apt gets them, and crates from where its cargo does.
set -euo pipefail
source tests/scripts/helpers.bash
command -v debootstrap >/dev/null || fail "missing: debootstrap; Debian and Ubuntu: apt install debootstrap"

# Mounts of its own, which end with it.
if [[ -z ${COMETD_OWN_MOUNTS:-} ]]; then
    if [[ $(id -u) != 0 ]] || ! unshare --mount --propagation private true 2>/dev/null ||
        ! mknod "$WORK/null" c 1 3 2>/dev/null || ! chroot / true 2>/dev/null; then
        echo "not run: $TEST, because root, chroot, mknod and mounts are needed, and this system does not allow them"
        exit 0
    fi
    status=0
    COMETD_OWN_MOUNTS=1 unshare --mount --propagation private bash "$0" || status=$?
    exit "$status"
fi

ROOT=$WORK/root
end_root() {
    local status=$?
    umount "$ROOT/proc" 2>/dev/null
    # Never what another file system holds, should something still be mounted.
    rm -rf --one-file-system "$ROOT"
    (exit "$status")
    helper_end
}
trap end_root EXIT
step() { echo "$TEST: $* ($SECONDS s)"; }

step "a root"
mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^bookworm \(.*\)/\1/p' | head -n 1)
debootstrap --variant=minbase bookworm "$ROOT" ${mirror:+"$mirror"} >"$WORK/debootstrap.out" 2>&1 || fail "debootstrap"
mount -t proc proc "$ROOT/proc"
cp /etc/resolv.conf /etc/hosts "$ROOT/etc/"
echo force-unsafe-io >"$ROOT/etc/dpkg/dpkg.cfg.d/quick"
if [[ -n $mirror ]]; then
    # Security and other updates with it.
    rm -f "$ROOT/etc/apt/sources.list"
    for file in sources.list sources.list.d/debian.sources apt.conf auth.conf; do
        [[ ! -e /etc/apt/$file ]] || cp "/etc/apt/$file" "$ROOT/etc/apt/$file"
    done
    grep -lsE '^ *Acquire::' /etc/apt/apt.conf.d/* | xargs -r cp -t "$ROOT/etc/apt/apt.conf.d"
fi
environment=(HOME=/home LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    DEBIAN_FRONTEND=noninteractive no_proxy="$no_proxy")
for variable in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do
    [[ -z ${!variable:-} ]] || environment+=("$variable=${!variable}")
done
while IFS= read -r variable; do
    environment+=("$variable=${!variable}")
done < <(compgen -e | grep -E '^CARGO_(NET|HTTP|SOURCE|REGISTRIES|REGISTRY)_' || true)
mkdir -p "$ROOT/home/.cargo"
cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$ROOT/home/.cargo/" 2>/dev/null || true
# Whom this machine trusts.
authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [[ -e $authorities ]]; then
    cp "$authorities" "$ROOT/home/authorities.crt"
    environment+=(CARGO_HTTP_CAINFO=/home/authorities.crt)
fi
in_root() { # COMMAND: run in the folder of the clone
    chroot "$ROOT" env -i "${environment[@]}" bash -euc "cd /src; $1" >"$WORK/root.out" 2>&1 || fail "in the root: $1"
}
mkdir "$ROOT/src"
git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$ROOT/src"

line=$(sed -n 's/^sudo \(apt install .*\)/\1/p' README.md | head -n 1)
[[ -n $line ]] || fail "README.md has no line that begins with 'sudo apt install'"
step "$line"
in_root "apt-get update -q && ${line/apt install/apt-get install -y -q}"
in_root '! command -v rustup && cargo --version && rustc --version'
step "with $(grep '^cargo' "$WORK/root.out"): make demo"
in_root 'make demo'
contains "$(cat "$WORK/root.out")" 'events arrived'

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
    [[ ! -x $ROOT$1/cometd_sub ]] || shows "cometd_sub -C 2 -W 60 $URL /ticks"
}
try /usr/local/bin
in_root 'make uninstall PREFIX=/usr/local && ldconfig && ! ldconfig -p | grep cometd'

step "packages"
in_root 'make deb && dpkg -i build/deb/*.deb'
for package in libcometd0 libcometd-dev; do
    in_root "dpkg -s $package && dpkg -V $package"
    contains "$(cat "$WORK/root.out")" 'Status: install ok installed'
done
try /usr/bin
# What is linked with it will depend on it.
in_root 'cd /tmp && mkdir -p other/debian && cd other && printf "Source: other\n\nPackage: other\nArchitecture: any\n" >debian/control &&
    dpkg-shlibdeps -O /tmp/program/program'
contains "$(cat "$WORK/root.out")" 'libcometd0 (>= 0.1'
in_root 'dpkg -P $(dpkg-query -W -f "\${Package}\n" "libcometd*" "cometd-tools" 2>/dev/null | sort -u)'
in_root "$everything"
# Empty folders that make uninstall leaves are others' as well.
left=$(comm -13 "$WORK/before.list" "$WORK/root.out" | grep -v '^/usr/local/' || true)
[[ -z $left ]] || fail "the packages have left $left"
left=$(cd "$ROOT/usr/local" && find . ! -type d -newer "$WORK/before.list" -name '*cometd*')
[[ -z $left ]] || fail "make uninstall has left $left"
step "done"
