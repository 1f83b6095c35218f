#!/usr/bin/env bash
# The same sources, in another folder and by another user's cargo, become the same
# bytes. It builds the library once more.
set -euo pipefail
source tests/scripts/helpers.bash

home=${CARGO_HOME:-$HOME/.cargo}
mkdir "$WORK/elsewhere" "$WORK/cargo_home"
git ls-files -z | xargs -0 tar -cf - | tar -xf - -C "$WORK/elsewhere"
for part in registry/cache registry/index config config.toml; do
    [[ ! -e $home/$part ]] || cp -r "$home/$part" "$WORK/cargo_home/"
done
(
    unset CARGO_TARGET_DIR BUILD
    cd "$WORK/elsewhere"
    CARGO_HOME=$WORK/cargo_home make lib >"$WORK/make.out" 2>&1
) || fail "the build failed"
for file in libcometd.so.0 libcometd.a; do
    cmp "$BUILD/lib/$file" "$WORK/elsewhere/build/lib/$file" || fail "$file is another one, built in another folder"
    ! grep -qaF -e "$WORK" "$WORK/elsewhere/build/lib/$file" || fail "$file names the folder that it was built in"
done
