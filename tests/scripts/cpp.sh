#!/usr/bin/env bash
# The C++ face: compiles each program of tests/cpp, with what its line "// options:"
# says, and runs it against the demo server, with its URL as argument.
set -euo pipefail
source tests/scripts/helpers.bash

start_server --tick-ms 20 --timeout-ms 1000 --token T
for source in tests/cpp/*.cpp; do
    program=$WORK/$(basename "$source" .cpp)
    read -ra options < <(sed -n 's|^// options: ||p' "$source"; echo)
    "$CXX" -std=c++17 -g "${WARNINGS[@]}" "${options[@]}" -pthread -Iinclude "$source" -o "$program" -L"$BUILD/lib" -lcometd -Wl,-rpath,"$BUILD/lib"
    expect 0 "$program" "$URL"
    contains "$OUTPUT" "ok"
done
