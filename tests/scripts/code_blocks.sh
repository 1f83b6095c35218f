#!/usr/bin/env bash
# Every block of code in a page or in a comment of a header compiles and runs. A
# block that nothing here knows is a failure, and so is a command that is neither
# run nor in the list of those that are not.
set -euo pipefail
source tests/scripts/helpers.bash

# Commands that are not run here: what they begin with, and why.
NOT_RUN=(
    "sudo apt |it installs packages"
    "sudo dpkg |tests/install/cross.sh does it, in a Debian of its own"
    "sudo make install|tests/scripts/install.sh does it, elsewhere"
    "make|tests/scripts/demo.sh makes the library; the others are what runs the tests, or take long"
    "tests/run |it runs this"
    "bash tests/scripts/|tests/run runs them"
    "bash tests/networks/|.ci/run does, as root"
    "bash bindings/|.ci/run does, with what they need of registries"
    "cargo |it runs tests, or takes long"
    "musl-gcc |tests/platforms/musl does it"
    "COMETD_|it runs tests"
    "cc -static |tests/scripts/install.sh does it where the system has the archives"
    "curl -s -o /dev/null -c cookies|it needs an instance of ServiceNow"
)

start_server --tick-ms 50 --timeout-ms 500
mkdir "$WORK/tree" "$WORK/all"
ln -s "$BUILD" "$WORK/tree/build"
ln -s "$PWD/include" "$WORK/tree/include"
awk '/^```c$/ { found = 1; next } found && /^```$/ { exit } found' README.md >"$WORK/tree/first.c"
cp "$WORK/tree/first.c" "$WORK/tree/program.c"

# As if it were installed there.
prefix() {
    [[ ! -d $WORK/prefix ]] || return 0
    make -s install BUILD="$BUILD" PREFIX="$WORK/prefix" CARGO=false >"$WORK/install.out" 2>&1 ||
        fail "make install: $(cat "$WORK/install.out")"
    local pc
    pc=$(find "$WORK/prefix" -name cometd.pc)
    export PKG_CONFIG_PATH=${pc%/*} CMAKE_PREFIX_PATH=$WORK/prefix
    export LD_LIBRARY_PATH=${pc%/pkgconfig/*}
}

# shows COMMAND...: it prints something, and ends as it should or not at all.
shows() {
    local status=0
    timeout -k 5 -s INT "${SECONDS_TO_RUN:-5}" "$@" >"$WORK/shown.out" 2>"$WORK/shown.err" || status=$?
    ((status == 0 || status == 124)) || fail "$PLACE: '$*' ended with $status: $(cat "$WORK/shown.err")"
    [[ -s $WORK/shown.out ]] || fail "$PLACE: '$*' printed nothing: $(cat "$WORK/shown.err")"
}

# A whole program: compiled as its includes want, and run as its page says.
whole_program() { # BLOCK
    local link=(-L"$BUILD/lib" -lcometd -Wl,-rpath,"$BUILD/lib")
    if grep -q '<cjson/' "$1"; then
        [[ -e /usr/include/cjson/cJSON.h ]] || fail "missing: cJSON (Debian and Ubuntu: apt install libcjson-dev)"
        link+=(-lcjson)
    fi
    if [[ $LANGUAGE == cpp ]]; then
        "$CXX" -std=c++17 "${WARNINGS[@]}" -Iinclude -x c++ "$1" -x none -o "$WORK/whole" "${link[@]}"
    else
        "$CC" "${C99[@]}" "${WARNINGS[@]}" -Iinclude -x c "$1" -x none -o "$WORK/whole" "${link[@]}"
    fi
    case $FILE in
    README.md) shows "$WORK/whole" "$URL" /ticks ;;
    manual/salesforce.md | manual/servicenow.md) expect 2 "$WORK/whole" ;; # run by the scripts of these names
    *) fail "$PLACE: nothing says how this program is run" ;;
    esac
}

# Some lines of C: they find a builder and a client that is connected.
fragment() { # BLOCK
    {
        cat <<'END'
#include <cometd/cometd.h>
#include <stdio.h>
#include <stdlib.h>
static inline void save(const char *text) { if (text == NULL) abort(); }
static void fragment(cometd_client_builder *builder, cometd_client *client, cometd_event *event) {
    cometd_error *error = NULL;
    (void)builder, (void)client, (void)event;
END
        cat "$1"
        cat <<'END'
    if (error != NULL) {
        fprintf(stderr, "%s\n", cometd_error_message(error));
        exit(1);
    }
}
int main(int argc, char **argv) {
    cometd_client_builder *builder = NULL;
    cometd_client *client = NULL;
    if (argc != 2 || cometd_client_builder_new(argv[1], &builder, NULL) != COMETD_OK ||
        cometd_client_builder_build(builder, &client, NULL) != COMETD_OK ||
        cometd_client_connect(client, NULL) != COMETD_OK ||
        cometd_client_wait(client, COMETD_STATE_CONNECTED, 30000) != COMETD_OK)
        return 3;
    fragment(builder, client, NULL);
    cometd_client_free(client);
    cometd_client_builder_free(builder);
    return 0;
}
END
    } >"$WORK/fragment.c"
    "$CC" -std=gnu99 "${WARNINGS[@]}" -Iinclude "$WORK/fragment.c" -o "$WORK/fragment" -L"$BUILD/lib" -lcometd \
        -Wl,-rpath,"$BUILD/lib" || fail "$PLACE does not compile"
    expect 0 "$WORK/fragment" "$URL"
}

commands() { # BLOCK
    local line entry reason ran=()
    # What a command stands for, and its comment, which may say that it goes on.
    while IFS= read -r line; do
        [[ -n $line && $line != \#* ]] || continue
        reason=
        for entry in "${NOT_RUN[@]}"; do
            [[ $line != "${entry%|*}"* ]] || reason=${entry#*|}
        done
        if [[ -n $reason ]]; then
            named "$line"
        else
            ran+=("$line")
        fi
    done <"$1"
    ((${#ran[@]} > 0)) || return 0
    prefix
    local port=${URL#http://127.0.0.1:} other
    port=${port%/cometd}
    # A port that nobody has.
    other=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
        echo $((port + 1)))
    # Commands that start no server mean the one that there is.
    [[ ${ran[*]} == *"--port 8080"* ]] || other=$port
    {
        echo 'set -eo pipefail'
        for line in "${ran[@]}"; do
            line=${line//8080/$other}
            case $line in
            cometd_sub\ --check*) echo "shows bash -c ${line@Q}" ;;
            cometd_*) echo "SECONDS_TO_RUN=30 shows_command ${line@Q}" ;;
            *"# until Ctrl-C"*) echo "connected $other; shows ${line%%#*}" ;;
            *) echo "$line" ;;
            esac
        done
    } >"$WORK/commands.sh"
    (
        cd "$WORK/tree"
        # shellcheck disable=SC1091 # it was just written
        PATH=$BUILD/bin:$PATH source "$WORK/commands.sh"
    ) >"$WORK/commands.out" 2>&1 || fail "$PLACE: $(cat "$WORK/commands.out")"
}

# A command of the tools: subscribing ones go on until something has come.
shows_command() {
    local line=${1%%  #*} status=0
    line=${line//URL/$URL}
    (
        exec 9>&-
        timeout -k 5 -s INT "${SECONDS_TO_RUN:-30}" bash -c "$line" >"$WORK/shown.out" 2>"$WORK/shown.err"
    ) || status=$?
    ((status == 0 || status == 124)) || fail "$PLACE: '$line' ended with $status: $(cat "$WORK/shown.err")"
}

connected() { # PORT: waits until somebody listens there
    wait_until 30 "port $1" bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"
}

# A command that is not run has at least names that are there.
named() {
    local word target
    case $1 in
    cargo\ test\ *) word=$(sed 's/ *#.*//; s/.* //' <<<"$1") target=src ;;
    bash\ *) word=$(awk '{ print $2 }' <<<"$1") target= ;;
    *) return 0 ;;
    esac
    if [[ -z $target ]]; then
        [[ -e $word ]] || fail "$PLACE names $word, which is not there"
    else
        word=${word//::/\/}
        { grep -rqF "${word##*/}" src tests --include='*.rs' || [[ -e src/$word.rs ]]; } || fail "$PLACE names '$word', which no test has"
    fi
}

build_with_cmake() { # BLOCK
    command -v cmake >/dev/null || { echo "not run: $PLACE: cmake is not installed"; return 0; }
    prefix
    rm -rf "$WORK/cmake"
    mkdir "$WORK/cmake"
    cp "$WORK/tree/program.c" "$WORK/cmake"
    { grep -q cmake_minimum_required "$1" || printf 'cmake_minimum_required(VERSION 3.16)\nproject(program C)\n'; cat "$1"; } \
        >"$WORK/cmake/CMakeLists.txt"
    { cmake -S "$WORK/cmake" -B "$WORK/cmake/out" && cmake --build "$WORK/cmake/out"; } >"$WORK/cmake.out" 2>&1 ||
        fail "$PLACE: $(cat "$WORK/cmake.out")"
    shows "$WORK/cmake/out/program" "$URL" /ticks
}

build_with_meson() { # BLOCK
    command -v meson >/dev/null || { echo "not run: $PLACE: meson is not installed"; return 0; }
    prefix
    rm -rf "$WORK/meson"
    mkdir "$WORK/meson"
    cp "$WORK/tree/program.c" "$WORK/meson"
    cp "$1" "$WORK/meson/meson.build"
    { meson setup "$WORK/meson/out" "$WORK/meson" && meson compile -C "$WORK/meson/out"; } >"$WORK/meson.out" 2>&1 ||
        fail "$PLACE: $(cat "$WORK/meson.out")"
    shows "$WORK/meson/out/program" "$URL" /ticks
}

check() { # BLOCK
    case $LANGUAGE in
    c | cpp)
        if grep -q 'int main(' "$1"; then
            whole_program "$1"
        elif [[ $LANGUAGE == c ]]; then
            fragment "$1"
        else
            fail "$PLACE: nothing says what stands around these lines of C++"
        fi
        ;;
    sh) commands "$1" ;;
    python)
        command -v python3 >/dev/null || { echo "not run: $PLACE: python3 is not installed"; return 0; }
        LD_LIBRARY_PATH=$BUILD/lib expect 0 python3 "$1" "$URL" /ticks 3
        (($(wc -l <<<"$OUTPUT") == 3)) || fail "$PLACE printed $OUTPUT"
        ;;
    csharp)
        # .NET is not in Debian. Mono has other names for two types, and knows nothing of functions' addresses.
        grep -q 'static void Main(' "$1" || { echo "not run: $PLACE: a part, which only .NET compiles"; return 0; }
        command -v mcs >/dev/null && command -v mono >/dev/null || { echo "not run: $PLACE: Mono is not installed"; return 0; }
        sed 's/\bnint\b/IntPtr/g; s/\bnuint\b/UIntPtr/g' "$1" >"$WORK/program.cs"
        mcs -unsafe -out:"$WORK/program.exe" "$WORK/program.cs" || fail "$PLACE does not compile"
        LD_LIBRARY_PATH=$BUILD/lib expect 0 mono "$WORK/program.exe" "$URL" /ticks 3
        (($(wc -l <<<"$OUTPUT") == 3)) || fail "$PLACE printed $OUTPUT"
        ;;
    cmake) build_with_cmake "$1" ;;
    meson) build_with_meson "$1" ;;
    "")
        # The only one: a script for the peer, which is played by a test of its own.
        [[ $FILE == tests/peer/README.md ]] || fail "$PLACE has no language"
        ;;
    *) fail "$PLACE: nothing is known of $LANGUAGE" ;;
    esac
}

count=0
while IFS= read -r FILE; do
    rm -rf "$WORK/all"
    mkdir "$WORK/all"
    # Comments of C are taken off; a block ends where it began, and not with the file.
    awk -v folder="$WORK/all" '
        FILENAME ~ /\.hp*$/ { if (!sub(/^ *\/\/\/ ?/, "")) next }
        /^ *```/ {
            if (!open) { name = folder "/" NR; language = $0; sub(/^ *```/, "", language); print language > (name ".language") }
            open = !open
            if (!open) close(name)
            next
        }
        open { print > name }
        END { if (open) exit 1 }' "$FILE" || fail "a block of $FILE has no end"
    for language in "$WORK/all"/*.language; do
        [[ -e $language ]] || continue
        block=${language%.language}
        LANGUAGE=$(cat "$language")
        PLACE=$FILE:${block##*/}
        [[ -e $block ]] || fail "$PLACE is empty"
        check "$block"
        count=$((count + 1))
    done
# Those of bindings are run by the tests of these.
done < <(git ls-files '*.md' include/cometd ':!bindings')
((count >= 15)) || fail "only $count blocks were found"

# Each name of the library in a page is one.
while IFS= read -r name; do
    [[ -e tools/$name.c || $name == cometd_demo_server ]] || grep -qE "\b$name" include/cometd/cometd.h ||
        fail "a page names $name, which is not in the header"
done < <(grep -ohE '\b(cometd|COMETD)_[A-Za-z0-9_]*[A-Za-z0-9]\b' manual/*.md | sort -u)
