//! Generates the C header, and names the shared library.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The groups of the header, each a page of the manual: name, title, and how the names in it begin. The longest beginning
/// decides; what has none is in the first group.
const GROUPS: &[(&str, &str, &[&str])] = &[
    (
        "cometd_process",
        "version, log and threads of the process",
        &["cometd_", "COMETD_"],
    ),
    (
        "cometd_error",
        "statuses and errors",
        &[
            "cometd_error",
            "cometd_status",
            "COMETD_OK",
            "COMETD_NONE",
            "COMETD_CLOSED",
            "COMETD_E_",
            "COMETD_PHASE_",
        ],
    ),
    (
        "cometd_option",
        "the table of a client's options",
        &["cometd_option"],
    ),
    (
        "cometd_client_builder",
        "what a client will be",
        &[
            "cometd_client_builder",
            "cometd_replay_",
            "COMETD_APPEND_",
            "COMETD_RETRY_",
            "COMETD_OVERFLOW_",
            "COMETD_TIMESTAMP_",
            "COMETD_TRANSPORT_",
            "COMETD_REPLAY_",
        ],
    ),
    (
        "cometd_token",
        "new credentials from a token provider",
        &["cometd_token", "COMETD_TOKEN_"],
    ),
    (
        "cometd_handshake",
        "a handshake before it is sent",
        &["cometd_handshake"],
    ),
    (
        "cometd_request",
        "a request before it is sent",
        &["cometd_request"],
    ),
    (
        "cometd_extension_message",
        "a message that an extension has",
        &["cometd_extension"],
    ),
    (
        "cometd_client",
        "a session with a server",
        &["cometd_client", "cometd_state", "COMETD_STATE_"],
    ),
    (
        "cometd_receiver",
        "a further receiver of a client's events",
        &["cometd_receiver", "cometd_fd", "cometd_wake"],
    ),
    (
        "cometd_event",
        "what has happened to a client",
        &["cometd_event", "COMETD_EVENT_"],
    ),
    (
        "cometd_message",
        "a message that came on a channel",
        &["cometd_message", "cometd_channel_"],
    ),
];

fn main() {
    println!("cargo:rerun-if-changed=src/capi");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=include/cometd/cometd.h");

    let of_target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if of_target("VENDOR") == "apple" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libcometd.0.dylib");
    } else if of_target("FAMILY") == "unix" {
        // The library stays loaded after dlclose: its threads may still run, and
        // its fork handler is registered for good. src/platform/loaded.rs does it
        // elsewhere.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcometd.so.0");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // By it debuggers find the debug information, which is installed apart.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--build-id=sha1");
    }

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let configuration =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let mut builder = cbindgen::Builder::new().with_config(configuration);
    // In the order of the header.
    for file in [
        "version",
        "status",
        "error",
        "error_view",
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
        "opaque",
        "statistics",
        "disconnect",
        "handover",
        "own_receiver",
        "replay",
        "receiver",
        "event",
        "event_view",
        "message",
        "log",
        "process",
    ] {
        builder = builder.with_src(root.join(format!("src/capi/{file}.rs")));
    }
    let bindings = builder.generate().expect("cbindgen understands src/capi");
    let mut header = Vec::new();
    bindings.write(&mut header);
    let header = arrange(&String::from_utf8(header).expect("cbindgen writes UTF-8"));

    // Written only when it differs, so that a build in a read-only tree works
    // and make sees no change where there is none.
    let path = root.join("include/cometd/cometd.h");
    if fs::read(&path).ok().as_deref() != Some(header.as_bytes()) {
        if let Err(error) = fs::write(&path, &header) {
            println!("cargo:warning=the header could not be written: {error}");
        }
    }
}

/// The number of the group that a name is in.
fn group(name: &str) -> usize {
    let mut best = (0, 0);
    for (number, (_, _, beginnings)) in GROUPS.iter().enumerate() {
        for beginning in beginnings.iter().filter(|it| name.starts_with(**it)) {
            best = best.max((beginning.len(), number));
        }
    }
    best.1
}

/// What a declaration declares, with its comment in front.
fn name(item: &str) -> &str {
    let start = item
        .lines()
        .take_while(|line| line.starts_with("//"))
        .map(|line| line.len() + 1)
        .sum();
    let text = item[start..].trim_end_matches(|it: char| it == ';' || it.is_whitespace());
    let text = match (
        text.strip_prefix("#define "),
        text.find("(*"),
        text.find('('),
    ) {
        (Some(define), _, _) => define.split(' ').next().unwrap_or_default(),
        (None, Some(at), _) if text.starts_with("typedef") => {
            text[at + 2..].split(')').next().unwrap_or_default()
        }
        (None, _, Some(at)) => &text[..at],
        _ => text,
    };
    text.rsplit(|it: char| !it.is_alphanumeric() && it != '_')
        .next()
        .unwrap_or_default()
}

/// What cbindgen cannot say of a type.
const DESCRIPTOR: &str = "#ifdef _WIN32
typedef uintptr_t cometd_fd;
#else
typedef int cometd_fd;
#endif";

/// Negative constants in parentheses; constants and functions by their groups, in cbindgen's order; and all that as
/// Doxygen reads it.
fn arrange(header: &str) -> String {
    let (mut out, mut types, mut constants, mut functions) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut tail = Vec::new();
    for item in header.trim_end().split("\n\n") {
        if item.contains("#define COMETD_") && item.starts_with("//") {
            let (front, value) = item.rsplit_once(' ').unwrap_or((item, ""));
            constants.push(match value.strip_prefix('-') {
                Some(_) => format!("{front} ({value})"),
                None => item.to_string(),
            });
        } else if item.contains("typedef ") && !item.starts_with('#') {
            let declaration = item
                .lines()
                .take_while(|line| line.starts_with("//"))
                .map(|line| line.len() + 1)
                .sum();
            let (comment, declaration) = item.split_at(declaration);
            let declaration = match declaration {
                "typedef RawDescriptor cometd_fd;" => DESCRIPTOR.to_string(),
                // With a tag, it can be declared before.
                other => other.replace(
                    "typedef struct {",
                    &format!("typedef struct {} {{", name(item)),
                ),
            };
            types.push(format!(
                "{comment}/// @ingroup {}\n{declaration}",
                GROUPS[group(name(item))].0
            ));
        } else if item.starts_with("//") {
            functions.push(item.to_string());
        } else if functions.is_empty() && constants.is_empty() {
            out.push(item.to_string());
        } else if functions.is_empty() {
            types.push(item.to_string());
        } else {
            tail.push(item.to_string());
        }
    }
    for (name, title, _) in GROUPS {
        out.push(format!("/// @defgroup {name} {name}: {title}"));
    }
    out.extend(grouped(constants));
    out.extend(types);
    out.extend(grouped(functions));
    out.extend(tail);
    out.join("\n\n") + "\n"
}

fn grouped(mut items: Vec<String>) -> Vec<String> {
    items.sort_by_key(|item| group(name(item)));
    let mut out = Vec::new();
    let mut last = None;
    for item in items {
        let number = group(name(&item));
        if last.replace(number) != Some(number) {
            if last.is_some() && !out.is_empty() {
                out.push("/// @}".to_string());
            }
            out.push(format!("/// @addtogroup {}\n/// @{{", GROUPS[number].0));
        }
        out.push(item);
    }
    out.push("/// @}".to_string());
    out
}
