#!/usr/bin/env bash
# include/cometd/cometd.h is what the sources generate: a build changes nothing
# in it.
set -euo pipefail
source tests/scripts/helpers.bash
HEADER=include/cometd/cometd.h

cp "$HEADER" "$WORK/before.h"
# The same build as that of `make lib`, so that nothing is built twice.
sh packaging/build.sh -p cometd -p cometd-demo-server >"$WORK/cargo.out" 2>&1 || fail "the build failed"
diff -u "$WORK/before.h" "$HEADER" >"$WORK/diff.out" ||
    fail "the header was not what src/capi generates; now it is: commit it"
