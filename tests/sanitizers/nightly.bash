# A nightly toolchain, by rustup, for what stable Rust cannot do yet.
NIGHTLY=${COMETD_NIGHTLY:-nightly}
TARGET=$(rustc -vV | sed -n 's/^host: //p')

nightly() { # COMPONENT…: whether they are there, or have been installed
    local components wanted missing=
    command -v rustup >/dev/null || { echo "missing: rustup, which brings a nightly toolchain" >&2; return 1; }
    components=$(rustup component list --installed --toolchain "$NIGHTLY" 2>/dev/null)
    for wanted in "$@"; do
        grep -q "^$wanted" <<<"$components" || missing=yes
    done
    [ -n "$missing" ] || return 0
    # One that is there stays as old as it is.
    [ -n "$components" ] && rustup component add --toolchain "$NIGHTLY" "$@" >&2 && return
    rustup toolchain install "$NIGHTLY" --profile minimal --component "$(IFS=,; echo "$*")" >&2 && return
    echo "missing: the toolchain $NIGHTLY with $* (rustup toolchain install $NIGHTLY --profile minimal -c $(IFS=,; echo "$*"))" >&2
    return 1
}
