#!/usr/bin/env bash
# The first C program of README.md compiles without a warning, and shows an event.
set -euo pipefail
source tests/scripts/helpers.bash

awk '/^```c$/ { found = 1; next } found && /^```$/ { exit } found' README.md >"$WORK/readme.c"
[[ -s $WORK/readme.c ]] || fail "README.md has no C program"
"$CC" -Wall -Wextra -Werror -Iinclude "$WORK/readme.c" -o "$WORK/readme" -L"$BUILD/lib" -lcometd -Wl,-rpath,"$BUILD/lib"

start_server --tick-ms 50
start readme "$WORK/readme" "$URL" /ticks
seen readme '{"tick":'
kill -TERM "$STARTED"
ended "$STARTED" 143
expect 1 "$WORK/readme" "$URL" ticks

# Every builder option is in the table, and every function that is named exists.
grep -oE '\bcometd_client_builder_(set|add)_[a-z_]+' include/cometd/cometd.h | sed 's/cometd_client_builder_//' | sort -u |
    while read -r option; do
        grep -qF "\`$option" README.md || fail "README.md does not name $option"
    done
for name in $({ grep -ohE '\b(cometd|COMETD)_[A-Za-z0-9_]*[A-Za-z0-9]\b' README.md || true; } | sort -u); do
    [[ $name == cometd_demo_server || -e tools/$name.c ]] && continue
    # What the tools read of the environment.
    grep -qF "getenv(\"$name\")" tools/options.c && continue
    grep -qE "\b${name}" include/cometd/cometd.h || fail "README.md names $name, which is not in the header"
done
