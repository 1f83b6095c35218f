#!/bin/sh
# cargo build --release, with no folder of this machine in what it makes: they
# have the same names wherever and by whomever the library is built.
#
#   packaging/build.sh -p PACKAGE...
#   CARGO=cargo CARGO_BUILD_TARGET= RUSTFLAGS=
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
# What cargo takes from the folder that it is called in is taken from this one.
root=$(pwd -P)
home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$("${RUSTC:-rustc}" --print sysroot)
commit=$("${RUSTC:-rustc}" -vV | sed -n 's/^commit-hash: //p')
# What the folder of the crates is called is known when there are some.
[ -d "$home/registry/src" ] || "$cargo" fetch --locked \
    --target "${CARGO_BUILD_TARGET:-$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')}"

# FROM=TO.
maps="$home=/cargo"
for registry in "$home"/registry/src/*; do
    [ ! -d "$registry" ] || maps="$maps
$registry=/cargo/registry"
done
maps="$maps
$sysroot=/rustc
$sysroot/lib/rustlib/src/rust=/rustc/$commit
$root=/libcometd"
case ${CARGO_TARGET_DIR:-} in
/*) maps="$maps
$CARGO_TARGET_DIR=/libcometd/target" ;;
esac
# The compiler takes the last that fits: a folder comes behind those that it is in.
maps=$(printf '%s\n' "$maps" | awk -F= '{ print length($1) "\t" $0 }' | sort -n | cut -f 2-)

# A host's RUSTFLAGS come from its environment or from its configuration, and
# cargo reads one place only: these stand where the others do.
separator=$(printf '\037')
flags= list=
newline='
'
IFS=$newline
for map in $maps; do
    flags="$flags$separator--remap-path-prefix=$map"
    list="$list'--remap-path-prefix=$map',"
done
unset IFS
if [ -n "${CARGO_ENCODED_RUSTFLAGS:-}" ]; then
    export CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$flags"
elif [ -n "${RUSTFLAGS:-}" ]; then
    encoded=
    for flag in $RUSTFLAGS; do
        encoded="$encoded$separator$flag"
    done
    export CARGO_ENCODED_RUSTFLAGS="${encoded#"$separator"}$flags"
else
    set -- --config "target.'cfg(all())'.rustflags=[$list]" "$@"
fi
exec "$cargo" build --release --locked "$@"
