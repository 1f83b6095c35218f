#!/bin/sh
# Builds the addon: cc and the headers of Node-API, which are the same for all versions of Node. The library is that of
# pkg-config, or stands in COMETD_CFLAGS and COMETD_LIBS.
set -eu
cd "$(dirname "$0")"
command -v "${CC:-cc}" >/dev/null || { echo "missing: a C compiler (Debian and Ubuntu: apt install build-essential)" >&2; exit 1; }
if [ -z "${COMETD_LIBS:-}" ]; then
    pkg-config --exists cometd || { echo "missing: libcometd (make install), or its folder in PKG_CONFIG_PATH" >&2; exit 1; }
    COMETD_CFLAGS=$(pkg-config --cflags cometd)
    COMETD_LIBS="$(pkg-config --libs cometd) -Wl,-rpath,$(pkg-config --variable=libdir cometd)"
fi
headers=$(node -p 'require("node-api-headers").include_dir')
shared=-shared
[ "$(uname)" != Darwin ] || shared="-bundle -undefined dynamic_lookup"
mkdir -p build
# shellcheck disable=SC2086 # flags are words
"${CC:-cc}" -std=c99 -D_POSIX_C_SOURCE=200809L -O2 -fPIC -fvisibility=hidden -Wall -Wextra -pthread $shared \
    -isystem "$headers" ${COMETD_CFLAGS:-} ${CFLAGS:-} src/*.c -o build/cometd.node $COMETD_LIBS
node options.js >build/options.d.ts
