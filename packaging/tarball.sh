#!/bin/sh
# A tarball of what `make` has built, for machines without Rust: unpacked anywhere
# it is found by pkg-config, find_package and add_subdirectory. The same bytes
# whenever it is made; SOURCE_DATE_EPOCH is the time of its files.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
machine=${CARGO_BUILD_TARGET:-$(uname -m)}
name=libcometd-$version-linux-${machine%%-*}
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date -r CHANGELOG.md +%s)}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/$name
# Its cometd.pc says where it lies by where it is read.
# shellcheck disable=SC2016
"${MAKE:-make}" -s install BUILD="$build" PREFIX=/ libdir=/lib includedir=/include bindir=/bin datadir=/share \
    DESTDIR="$root" PC_PREFIX='$${pcfiledir}/../..' DEBUGINFO=
sed -i -e 's|^includedir=.*|includedir=${prefix}/include|' -e 's|^libdir=.*|libdir=${prefix}/lib|' "$root/lib/pkgconfig/cometd.pc"
mv "$root/lib/cmake/cometd/CMakeLists.txt" "$root/"
mkdir "$root/examples"
cp examples-c/*.c examples-c/*.cpp "$root/examples/"
cp README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE "$root/"
find "$root" -type d -exec chmod 755 {} + -o -type f -perm -u+x -exec chmod 755 {} + -o -type f -exec chmod 644 {} +

tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
    gzip -9n >"$build/$name.tar.gz"
echo "$build/$name.tar.gz"
