#!/usr/bin/env bash
# symbols.txt has each function with the version in which it came, as the header
# says and the library exports it; those of the last release are all still there.
set -euo pipefail
source tests/scripts/helpers.bash

sh packaging/symbols.sh include/cometd/cometd.h >"$WORK/header.out"
diff symbols.txt "$WORK/header.out" >"$WORK/diff.out" ||
    fail "symbols.txt (<) and the header (>) differ; 'make symbols' writes it: $(grep '^[<>]' "$WORK/diff.out")"
nm -D --defined-only "$BUILD/lib/libcometd.so.0" | awk '{ print $3 }' | sed 's/@.*//' | sort >"$WORK/library.out"
cut -d ' ' -f 1 symbols.txt | diff - "$WORK/library.out" >"$WORK/diff.out" ||
    fail "symbols.txt (<) and the library (>) differ: $(grep '^[<>]' "$WORK/diff.out")"

# None without a version, none of one that is still to come.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
while read -r function since; do
    [[ $since =~ ^[0-9]+\.[0-9]+(\.[0-9]+)?$ ]] || fail "$function does not say since when it is there"
    [[ $(printf '%s\n' "$since" "$version" | sort -V | head -n 1) == "$since" ]] ||
        fail "$function is said to come in $since, and this is $version"
done <symbols.txt

release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
if [[ -n $release ]] && git show "$release:symbols.txt" >"$WORK/release.out" 2>/dev/null; then
    missing=$(comm -23 "$WORK/release.out" symbols.txt)
    [[ -z $missing ]] || fail "$release had, and this has not: $missing"
else
    echo "not run: the functions of the last release, because there is none"
fi
