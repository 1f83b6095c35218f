# What the scripts of this folder share: they source it from the root of the repository.
set -euo pipefail
export LC_ALL=C CARGO_INCREMENTAL=0
# They show that it works there, not how fast. What does not fit into a number of such a
# platform is a panic.
export CARGO_PROFILE_TESTING_OPT_LEVEL=0 CARGO_PROFILE_TESTING_DEBUG=0 CARGO_PROFILE_TESTING_OVERFLOW_CHECKS=true
PLATFORM=$(basename "$0")
passed=0 failed=0

missing() { # WHAT
    echo "FAILED $PLATFORM: missing: $1"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

need() { # COMMAND PACKAGE…: installs the packages when the command is missing
    local command=$1
    shift
    command -v "$command" >/dev/null 2>&1 && return
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        { apt-get -o DPkg::Lock::Timeout=300 update -q && DEBIAN_FRONTEND=noninteractive apt-get \
            -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "$@"; } >&2 || true
    fi
    command -v "$command" >/dev/null 2>&1 || missing "$command (Debian and Ubuntu: apt install $*)"
}

rust_target() { # TARGET
    local folder
    folder=$(rustc --print target-libdir --target "$1")
    [ -d "$folder" ] && return
    command -v rustup >/dev/null && rustup target add "$1" >&2 || true
    [ -d "$folder" ] || missing "Rust's standard library for $1 (rustup target add $1)"
}

# debian_openssl ARCHITECTURE TRIPLE TARGET: OpenSSL for it from Debian's packages, in a
# folder of the build. Packages of another architecture can only be installed in the very
# version of this one's; unpacked, any will do, and this system stays as it is.
debian_openssl() {
    local folder=${CARGO_TARGET_DIR:-$PWD/target}/openssl/$1 apt variable
    if [ ! -e "$folder/lib/libssl.so" ]; then
        command -v apt-get >/dev/null || missing "OpenSSL for $1: apt-get download"
        rm -rf "$folder"
        mkdir -p "$folder/lists/partial" "$folder/archives/partial"
        apt=(-q -o "APT::Architecture=$1" -o "APT::Architectures=$1" -o "Dir::State::Lists=$folder/lists"
            -o Dir::State::status=/dev/null -o "Dir::Cache=$folder" -o APT::Sandbox::User=root
            -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
        # Of some sources there may be nothing for it.
        apt-get "${apt[@]}" update >&2 || true
        (cd "$folder" && apt-get "${apt[@]}" download libssl-dev libssl3) >&2 || missing "OpenSSL for $1"
        for package in "$folder"/*.deb; do
            dpkg -x "$package" "$folder/unpacked"
        done
        mv "$folder/unpacked/usr/include" "$folder/include"
        cp "$folder/include/$2/openssl/"* "$folder/include/openssl/"
        mv "$folder/unpacked/usr/lib/$2" "$folder/lib"
        rm -rf "$folder/unpacked" "$folder/lists" "$folder"/*.deb
    fi
    OPENSSL=$folder
    variable=$(tr a-z- A-Z_ <<<"$3")
    export "${variable}_OPENSSL_LIB_DIR=$folder/lib" "${variable}_OPENSSL_INCLUDE_DIR=$folder/include"
}

# build TARGET OPTION…: the library; LIBRARY is its folder.
build() {
    local target=$1 from
    shift
    cargo build --profile testing --locked --lib -p cometd --target "$target" "$@" >&2 ||
        { echo "FAILED $PLATFORM: the library for $target is not built"; echo "$passed passed, 1 failed"; exit 1; }
    from=${CARGO_TARGET_DIR:-$PWD/target}/$target/testing
    LIBRARY=$WORK/lib
    mkdir "$LIBRARY"
    cp "$from/libcometd.a" "$LIBRARY"
    [ ! -e "$from/libcometd.so" ] || cp "$from/libcometd.so" "$LIBRARY/libcometd.so.0"
    ln -s libcometd.so.0 "$LIBRARY/libcometd.so"
    ok "the library for $target"
}

# unit_tests TARGET NAME…: those that have one of the names in theirs.
unit_tests() {
    local target=$1 log=$WORK/unit_tests.log status=0 good bad
    shift
    COMETD_SEEDS=${COMETD_SEEDS:-50} COMETD_BODIES=${COMETD_BODIES:-2000} cargo test --profile testing --locked --lib \
        -p cometd --target "$target" -- "$@" >"$log" 2>&1 || status=$?
    good=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")
    bad=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")
    passed=$((passed + good)) failed=$((failed + bad))
    if [ "$status" != 0 ] || [ "$bad" -gt 0 ] || [ "$good" = 0 ]; then
        [ "$bad" -gt 0 ] && failed=$((failed - 1))
        not_ok "unit tests" "$log"
    else
        echo "ok $PLATFORM: $good unit tests"
    fi
}

ok() { # NAME
    passed=$((passed + 1))
    echo "ok $PLATFORM: $1"
}

not_ok() { # NAME [FILE]
    failed=$((failed + 1))
    echo "FAILED $PLATFORM: $1"
    [ -z "${2:-}" ] || tail -n 30 "$2"
}

check() { # NAME COMMAND…: a test, which says what is wrong when it fails
    local name=$1
    shift
    if "$@" >"$WORK/check.log" 2>&1; then ok "$name"; else not_ok "$name" "$WORK/check.log"; fi
}

# programs PROGRAM[/TEST,…]…: of tests/c, each compiled by `compile OUTPUT SOURCE…` and run
# by the command in RUN.
programs() {
    local program name source tests log status good bad
    compile -c -o "$WORK/test.o" tests/c/test.c || missing "tests/c/test.c is not compiled"
    for program in "$@"; do
        name=${program%%/*} tests=()
        [ "$name" = "$program" ] || IFS=, read -r -a tests <<<"${program#*/}"
        log=$WORK/$name.log source=tests/c/$name.c
        [ -e "$source" ] || source=tests/platforms/$name.c
        if [ -e "tests/generate/$name.awk" ]; then
            source=$WORK/$name.c
            awk -f "tests/generate/$name.awk" include/cometd/cometd.h >"$source"
        fi
        if ! compile -o "$WORK/$name" "$source" "$WORK/test.o" "${LINK[@]}" >"$log" 2>&1; then
            not_ok "$name" "$log"
            continue
        fi
        status=0
        timeout --kill-after=10 300 "${RUN[@]}" "$WORK/$name" "${tests[@]}" >"$log" 2>&1 || status=$?
        good=$(grep -c '^ok ' "$log" || true) bad=$(grep -c '^FAILED ' "$log" || true)
        sed -n "s/^ok /ok $PLATFORM: /p" "$log"
        passed=$((passed + good)) failed=$((failed + bad))
        if [ "$status" != 0 ] || [ "$bad" -gt 0 ] || [ "$good" = 0 ]; then
            [ "$bad" -gt 0 ] && failed=$((failed - 1))
            not_ok "$name" "$log"
        fi
    done
}

# Sets LINK: the library, which finds OpenSSL where it is unpacked.
link_shared() {
    LINK=(-L"$LIBRARY" -lcometd -ldl -Wl,--disable-new-dtags "-Wl,-rpath,$LIBRARY:$OPENSSL/lib")
}

# Compiles as tests/run does, by the compiler in CC.
compile() {
    "$CC" -std=c99 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -g -pthread -Iinclude -Itests/c "$@"
}

end() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}

BUILD=${BUILD:-build}
COMETD_DEMO_SERVER=$(realpath -e "$BUILD/bin/cometd_demo_server") || missing "$BUILD/bin/cometd_demo_server: run make"
# Emulated, all takes its time.
export COMETD_DEMO_SERVER COMETD_TEST_SLOWNESS=4
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
command -v cargo >/dev/null || missing "cargo, from https://rustup.rs"
