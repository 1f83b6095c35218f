#!/bin/sh
# Debian packages of what `make` has built, in build/deb: libcometd0 (the shared
# library), libcometd-dev (to build with), cometd-tools when there are tools, and
# the debug information. The same bytes whenever they are made.
#
#   DEBFULLNAME= DEBEMAIL=    whose they are; by default who made the last commit
set -eu
cd "$(dirname "$0")/../.."
for tool in dpkg-deb dpkg-shlibdeps; do
    command -v $tool >/dev/null || { echo "missing: $tool; Debian and Ubuntu: apt install dpkg-dev" >&2; exit 1; }
done
source=$(pwd)
build=$(realpath "${BUILD:-build}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date -r CHANGELOG.md +%s)}"
export SOURCE_DATE_EPOCH
who="${DEBFULLNAME:-$(git log -1 --format=%an 2>/dev/null || :)} <${DEBEMAIL:-$(git log -1 --format=%ae 2>/dev/null || :)}>"
case $who in ' '* | *'<>') echo "missing: whose packages they are; set DEBFULLNAME and DEBEMAIL" >&2; exit 1 ;; esac
case ${CARGO_BUILD_TARGET:-} in
'') architecture=$(dpkg --print-architecture) ;;
*) architecture=$(dpkg-architecture -t "$(echo "$CARGO_BUILD_TARGET" | sed 's/-unknown//')" -q DEB_HOST_ARCH 2>/dev/null) ;;
esac
multiarch=$(dpkg-architecture -a "$architecture" -q DEB_HOST_MULTIARCH 2>/dev/null)
libdir=/usr/lib/$multiarch

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
all=$work/all
"${MAKE:-make}" -s install BUILD="$build" PREFIX=/usr libdir="$libdir" DESTDIR="$all"
find "$all/usr/share/man" -type f -exec gzip -9n {} + 2>/dev/null || :
# Links between pages name a file.
for page in "$all"/usr/share/man/man*/*.gz; do
    [ -e "$page" ] || continue
    target=$(zcat "$page" | sed -n '1s/^\.so //p')
    [ -z "$target" ] || { rm "$page"; ln -s "${target##*/}.gz" "$page"; }
done

# take PACKAGE PATH...: what is there of it.
take() {
    package=$1
    shift
    for path in "$@"; do
        [ -e "$all/$path" ] || [ -h "$all/$path" ] || continue
        mkdir -p "$work/$package/$(dirname "$path")"
        mv "$all/$path" "$work/$package/$(dirname "$path")/"
    done
}
(cd "$all" && find usr/bin usr/share/man/man1 usr/share/bash-completion ! -type d 2>/dev/null || :) >"$work/tools"
# shellcheck disable=SC2046 # a path a word
take cometd-tools $(cat "$work/tools")
take libcometd0 "${libdir#/}/libcometd.so.0" "${libdir#/}/libcometd.so.$version"
take libcometd0-dbgsym usr/lib/debug
take libcometd-dev usr/include "${libdir#/}/libcometd.so" "${libdir#/}/libcometd.a" "${libdir#/}/pkgconfig" \
    "${libdir#/}/cmake" usr/share/man
left=$(find "$all" ! -type d)
[ -z "$left" ] || { echo "belongs to no package: $left" >&2; exit 1; }

# What programs that are linked with it will depend on, and what it depends on.
mkdir -p "$work/debian" "$work/libcometd0/DEBIAN"
printf 'Source: libcometd\n\nPackage: libcometd0\nArchitecture: any\n' >"$work/debian/control"
echo "libcometd 0 libcometd0 (>= $version)" >"$work/libcometd0/DEBIAN/shlibs"
{
    echo 'libcometd.so.0 libcometd0 #MINVER#'
    sed 's/^\([^ ]*\) \(.*\)/ \1@Base \2/' symbols.txt
} >"$work/libcometd0/DEBIAN/symbols"
echo 'activate-noawait ldconfig' >"$work/libcometd0/DEBIAN/triggers"
depends() { # FILE...: the packages that it needs, but for the library itself
    (cd "$work" && dpkg-shlibdeps -O --warnings=0 -l"$work/libcometd0$libdir" "$@" 2>"$work/shlibdeps" ||
        { cat "$work/shlibdeps" >&2; exit 1; }) | sed -n 's/^shlibs:Depends=//p'
}

# package NAME SECTION DEPENDS: its text is behind its name in packaging/debian.
package() {
    folder=$work/$1
    documents=$folder/usr/share/doc/$1
    mkdir -p "$folder/DEBIAN" "$documents"
    {
        cat packaging/debian/copyright
        # Its text, behind title and copyright, as a field of many lines.
        sed -e '1,/^Copyright/d' -e 's/^/ /' -e 's/^ $/ ./' LICENSE-MIT | sed '1{/^ \.$/d}'
    } >"$documents/copyright"
    {
        printf 'libcometd (%s) unstable; urgency=medium\n\n' "$version"
        printf '  * CHANGELOG.md says what is new.\n\n'
        printf ' -- %s  %s\n' "$who" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n >"$documents/changelog.gz"
    gzip -9nc CHANGELOG.md >"$documents/CHANGELOG.md.gz"
    [ "$1" != libcometd-dev ] || { mkdir "$documents/examples" && cp examples-c/*.c examples-c/*.cpp "$documents/examples/"; }
    find "$folder" -type d -exec chmod 755 {} +
    find "$folder" -path "$folder/usr/bin" -prune -o -type f -exec chmod 644 {} +
    {
        printf 'Package: %s\nSource: libcometd\nVersion: %s\nArchitecture: %s\n' "$1" "$version" "$architecture"
        printf 'Maintainer: %s\n' "$who"
        printf 'Installed-Size: %s\n' "$(du -sk --apparent-size --exclude=DEBIAN "$folder" | cut -f 1)"
        [ -z "$3" ] || printf 'Depends: %s\n' "$3"
        printf 'Section: %s\nPriority: optional\n' "$2"
        case $1 in *-dbgsym | cometd-tools) ;; *) printf 'Multi-Arch: same\n' ;; esac
        cat "$source/packaging/debian/$1"
    } >"$folder/DEBIAN/control"
    (cd "$folder" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2) >"$folder/DEBIAN/md5sums"
    dpkg-deb --root-owner-group -b "$folder" "$build/deb/$1_${version}_$architecture.deb"
}

rm -rf "$build/deb"
mkdir -p "$build/deb"
package libcometd0 libs "$(depends "libcometd0$libdir/libcometd.so.$version")"
package libcometd0-dbgsym debug "libcometd0 (= $version)"
# What the archive and cometd.pc's private part name.
package libcometd-dev libdevel "libcometd0 (= $version), libssl-dev"
if [ -d "$work/cometd-tools/usr/bin" ]; then
    # shellcheck disable=SC2046
    package cometd-tools net "libcometd0 (>= $version), $(depends $(cd "$work" && ls -d cometd-tools/usr/bin/*))"
fi
