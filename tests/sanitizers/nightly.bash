# A nightly toolchain, by rustup, for what stable Rust cannot do yet.
NIGHTLY=${COMETD_NIGHTLY:-nightly}
TARGET=$(rustc -vV | sed -n 's/^host: //p')

nightly() { # COMPONENT: whether it is there, or has been installed
    local components
    command -v rustup >/dev/null || { echo "missing: rustup, which brings a nightly toolchain" >&2; return 1; }
    components=$(rustup component list --installed --toolchain "$NIGHTLY" 2>/dev/null) &&
        grep -q "^$1" <<<"$components" && return
    rustup toolchain install "$NIGHTLY" --profile minimal --component "$1" >&2
}
