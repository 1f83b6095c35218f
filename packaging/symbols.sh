#!/bin/sh
# The functions of a header, a line each, with the version in which they came:
# what its comments say behind "Since".
#
#   packaging/symbols.sh include/cometd/cometd.h
set -eu
awk '
    /^$/ { since = "" }
    match($0, /\*\*Since\*\* [0-9.]*[0-9]/) { since = substr($0, RSTART + 10, RLENGTH - 10) }
    { line = $0; sub(/\/\/.*/, "", line) }
    line ~ /^[^ *\/#].*cometd_[a-z0-9_]+\(/ && line !~ /^typedef/ {
        match(line, /cometd_[a-z0-9_]+\(/)
        print substr(line, RSTART, RLENGTH - 1), (since == "" ? "?" : since)
    }
' "$1" | LC_ALL=C sort
