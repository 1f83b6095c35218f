#!/usr/bin/env bash
# make install: programs outside the tree are built against what it puts, by
# pkg-config, shared and static, and run; make uninstall takes all of it away.
set -euo pipefail
source tests/scripts/helpers.bash
command -v pkg-config >/dev/null || fail "missing: pkg-config"

# Programs that a user has, elsewhere.
mkdir "$WORK/elsewhere"
cp examples-c/subscribe.c examples-c/subscribe.cpp "$WORK/elsewhere"
start_server --tick-ms 50

# Another build.
mkdir -p "$WORK/other/lib"
echo 'int cometd_other;' >"$WORK/other.c"
for library in "$BUILD"/lib/libcometd.so.*.*.*; do
    "$CC" -shared -fPIC -g -Wl,--build-id,-soname,libcometd.so.0 "$WORK/other.c" -o "$WORK/other/lib/$(basename "$library")"
done
"$CC" -c -fPIC "$WORK/other.c" -o "$WORK/other.o"
ar rc "$WORK/other/lib/libcometd.a" "$WORK/other.o"

# stripped LIBRARY FOLDER: its debug information is in a file of the folder.
stripped() {
    local id
    [[ $(readelf -SW "$1") != *.debug_info* ]] || fail "$1 holds its debug information"
    id=$(readelf -n "$1" | sed -n 's/.*Build ID: //p')
    contains "$(readelf -SW "$2/${id:0:2}/${id:2}.debug")" .debug_line
}

# install_and_try PREFIX DESTDIR VARIABLE=VALUE...
install_and_try() {
    local prefix=$1 destination=$2 root
    shift 2
    make -s install BUILD="$BUILD" PREFIX="$prefix" DESTDIR="$destination" CARGO=false "$@" >"$WORK/make.out" 2>&1 ||
        fail "make install: $(cat "$WORK/make.out")"
    local pc
    pc=$(find "$destination$prefix" -name cometd.pc)
    [[ -n $pc ]] || fail "no cometd.pc was installed"
    root=${destination:-/}
    export PKG_CONFIG_PATH=${pc%/*}
    # As it is when the files lie where PREFIX says.
    local define=(--define-variable=prefix="$destination$prefix")
    local libdir version
    libdir=$(pkg-config "${define[@]}" --variable=libdir cometd)
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    [[ $(pkg-config --modversion cometd) == "$version" ]] || fail "cometd.pc has another version than Cargo.toml"
    [[ $(pkg-config --libs cometd) != *ssl* ]] || fail "a shared program is linked with OpenSSL itself"
    [[ $(readlink "$libdir/libcometd.so") == libcometd.so.0 ]] || fail "libcometd.so leads elsewhere"
    [[ $(readlink "$libdir/libcometd.so.0") == libcometd.so.$version ]] || fail "libcometd.so.0 leads elsewhere"
    stripped "$libdir/libcometd.so.$version" "$destination$prefix/lib/debug/.build-id"
    [[ -e $libdir/cmake/cometd/cometdConfig.cmake ]] || fail "nothing for CMake was installed"
    grep -qF "\"$version\"" "$libdir/cmake/cometd/cometdConfigVersion.cmake" ||
        fail "cometdConfigVersion.cmake has another version than Cargo.toml"
    # No folder of whoever has built it, in what is installed nor beside it.
    local folder
    for folder in "$HOME" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)" "$PWD"; do
        [[ -z $(grep -rlaF "$folder/" "$destination$prefix" --exclude=cometd.pc) ]] ||
            fail "$folder is named in $(grep -rlaF "$folder/" "$destination$prefix" --exclude=cometd.pc)"
    done

    local flags shared static
    flags=$(pkg-config "${define[@]}" --cflags cometd)
    shared=$(pkg-config "${define[@]}" --libs cometd)
    static=$(pkg-config "${define[@]}" --static --libs cometd)
    (
        cd "$WORK/elsewhere"
        # shellcheck disable=SC2086 # the flags are several words
        {
            "$CC" "${C99[@]}" "${WARNINGS[@]}" $flags subscribe.c -o c_shared $shared
            "$CXX" -std=c++17 "${WARNINGS[@]}" $flags subscribe.cpp -o cpp_shared $shared
            # libcometd alone is static: its archive stands where -lcometd was.
            "$CC" "${C99[@]}" "${WARNINGS[@]}" $flags subscribe.c -o c_static ${static/-lcometd/-l:libcometd.a}
            "$CXX" -std=c++17 "${WARNINGS[@]}" $flags subscribe.cpp -o cpp_static ${static/-lcometd/-l:libcometd.a}
        }
    )
    local program
    for program in c_shared cpp_shared; do
        contains "$(readelf -dW "$WORK/elsewhere/$program")" "[libcometd.so.0]"
        LD_LIBRARY_PATH=$libdir expect 0 "$WORK/elsewhere/$program" -n 2 "$URL" /ticks
        contains "$OUTPUT" '/ticks {"tick":'
    done
    for program in c_static cpp_static; do
        [[ $(readelf -dW "$WORK/elsewhere/$program") != *libcometd* ]] || fail "$program is not static"
        expect 0 "$WORK/elsewhere/$program" -n 2 "$URL" /ticks
        contains "$OUTPUT" '/ticks {"tick":'
    done
    # All of it static, where the system has the archives of OpenSSL.
    if [[ -e $(cc -print-file-name=libssl.a) ]]; then
        # shellcheck disable=SC2086
        "$CC" -static "${C99[@]}" $flags "$WORK/elsewhere/subscribe.c" -o "$WORK/elsewhere/all_static" $static 2>"$WORK/static.err" ||
            fail "a program that is static all over could not be linked"
        expect 0 "$WORK/elsewhere/all_static" -n 2 "$URL" /ticks
        contains "$OUTPUT" '/ticks {"tick":'
    fi

    # Another build over it, which leaves nothing of the first one.
    make -s install BUILD="$WORK/other" PREFIX="$prefix" DESTDIR="$destination" "$@" >"$WORK/make.out" 2>&1 ||
        fail "a second make install: $(cat "$WORK/make.out")"
    [[ $(find "$destination$prefix" -name '*.debug' | wc -l) == 1 ]] || fail "debug information of another build was left"

    # What is somebody else's stays. No build is needed any more.
    touch "$libdir/other.so"
    make -s uninstall BUILD="$WORK/none" PREFIX="$prefix" DESTDIR="$destination" "$@" >"$WORK/make.out" 2>&1 ||
        fail "make uninstall: $(cat "$WORK/make.out")"
    [[ $(find "$destination$prefix" ! -type d) == "$libdir/other.so" ]] ||
        fail "uninstall left $(find "$destination$prefix" ! -type d)"
    [[ ! -e $destination$prefix/include/cometd ]] || fail "uninstall left the folder of the headers"
    # Once more, with nothing there.
    make -s uninstall BUILD="$BUILD" PREFIX="$prefix" DESTDIR="$destination" "$@" >"$WORK/make.out" 2>&1 ||
        fail "a second make uninstall: $(cat "$WORK/make.out")"
}

install_and_try "$WORK/prefix" ""
install_and_try /usr "$WORK/staged" libdir=/usr/lib/some-machine

# One clear line when there is nothing to install.
status=0
make -s install BUILD="$WORK/none" PREFIX="$WORK/none" >"$WORK/make.out" 2>&1 || status=$?
((status != 0)) || fail "make install without a build succeeded"
contains "$(cat "$WORK/make.out")" "missing: $WORK/none/lib/libcometd.so."
[[ ! -e $WORK/none ]] || fail "make install without a build left something"
