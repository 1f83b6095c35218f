//! Generates the C header, and names the shared library.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/capi");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=include/cometd/cometd.h");

    // The library stays loaded after dlclose: its threads may still run, and
    // its fork handler is registered for good.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcometd.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let configuration =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let mut builder = cbindgen::Builder::new().with_config(configuration);
    // In the order of the header.
    for file in [
        "version",
        "status",
        "error",
        "host",
        "builder",
        "urls",
        "authorization",
        "timing",
        "capacity",
        "session_options",
        "network",
        "option",
        "extension",
        "handshake",
        "request",
        "state",
        "client",
        "transport",
        "subscription",
        "publish",
        "statistics",
        "disconnect",
        "handover",
        "own_receiver",
        "replay",
        "receiver",
        "event",
        "message",
        "log",
        "process",
    ] {
        builder = builder.with_src(root.join(format!("src/capi/{file}.rs")));
    }
    let bindings = builder.generate().expect("cbindgen understands src/capi");
    let mut header = Vec::new();
    bindings.write(&mut header);

    // Written only when it differs, so that a build in a read-only tree works
    // and make sees no change where there is none.
    let path = root.join("include/cometd/cometd.h");
    if fs::read(&path).ok().as_deref() != Some(header.as_slice()) {
        if let Err(error) = fs::write(&path, &header) {
            println!("cargo:warning=the header could not be written: {error}");
        }
    }
}
