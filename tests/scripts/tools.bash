# What the tests of the tools share; they source it behind helpers.bash. The tools are
# built with sanitizers, on the library as it is.
SANITIZERS=(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
TOOLS=$BUILD/tests/sanitized
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

for tool in jq socat openssl script; do
    command -v "$tool" >/dev/null || fail "missing: $tool (Debian and Ubuntu: apt install jq socat openssl bsdutils)"
done

mkdir -p "$TOOLS"
shared=()
for source in tools/*.c; do
    object=$TOOLS/$(basename "$source" .c).o
    [[ $source == tools/cometd_* ]] || shared+=("$object")
    [[ -n $(find "$source" tools/*.h include/cometd/cometd.h -newer "$object" 2>&1 | head -n 1) ]] || continue
    "$CC" "${C99[@]}" "${WARNINGS[@]}" -Wshadow -Wconversion "${SANITIZERS[@]}" -g -O1 -Iinclude -c "$source" -o "$object"
    rm -f "$TOOLS"/cometd_{sub,pub,rpc,bench}
done
for source in tools/cometd_*.c; do
    name=$(basename "$source" .c)
    [[ -x $TOOLS/$name ]] || "$CC" "${SANITIZERS[@]}" "$TOOLS/$name.o" "${shared[@]}" -o "$TOOLS/$name" -pthread \
        -L"$BUILD/lib" -lcometd -Wl,-rpath,"$BUILD/lib"
done
PATH=$TOOLS:$PATH

# in_manual LINE: a line that is tested is an example of a manual page, word for word.
in_manual() {
    local page=${1%% *} line
    [[ $1 == *"| cometd_pub"* ]] && page=cometd_pub
    line=$(sed -e 's/\\(aq/'"'"'/g' -e 's/\\-/-/g' -e 's/\\&//g' -e 's/\\e/\\/g' "tools/$page.1")
    contains "$line" "$1"
}

# lines_of NAME: how many lines a program has printed.
lines_of() { wc -l <"$WORK/$1.out"; }

# free_port: one that nobody listens on at this moment.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    fail "no port is free"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
