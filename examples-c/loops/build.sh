#!/bin/sh
# Builds the programs of this folder whose event loop pkg-config finds, or the
# compiler for asio: `sh build.sh BUILD`, where BUILD holds the library. One line
# says of each other one why it was not built.
set -u
build=${1:-build}
here=$(dirname "$0")
warnings="-Wall -Wextra -Wpedantic -Werror"
failed=0

program() { # LOOP COMPILER OPTION...: build/bin/loop_LOOP
    loop=$1
    shift
    "$@" $warnings -I"$here/../../include" -o "$build/bin/loop_$loop" \
        -L"$build/lib" -lcometd $libraries -Wl,-rpath,'$ORIGIN/../lib' || failed=1
}

for pair in libuv:libuv libevent:libevent_core glib:glib-2.0; do
    loop=${pair%:*} package=${pair#*:}
    if pkg-config --exists "$package"; then
        # As a system's headers: their warnings are not ours.
        flags=$(pkg-config --cflags "$package" | sed 's/-I/-isystem /g')
        libraries=$(pkg-config --libs "$package")
        program "$loop" ${CC:-cc} -std=c99 -D_POSIX_C_SOURCE=200809L ${CFLAGS:--O2 -g} $flags "$here/$loop.c"
    else
        echo "not built: loop_$loop, for pkg-config does not find $package"
    fi
done

libraries=-pthread
for pair in asio:asio.hpp: boost_asio:boost/asio.hpp:-DCOMETD_BOOST_ASIO; do
    loop=${pair%%:*} rest=${pair#*:}
    if printf '#include <utility>\n#include <%s>\n' "${rest%:*}" | ${CXX:-c++} -std=c++20 -fsyntax-only -x c++ - 2>/dev/null; then
        program "$loop" ${CXX:-c++} -std=c++20 ${CXXFLAGS:--O2 -g} ${rest#*:} "$here/asio.cpp"
    else
        echo "not built: loop_$loop, for ${CXX:-c++} does not find ${rest%:*}, or is older than C++20"
    fi
done
exit $failed
