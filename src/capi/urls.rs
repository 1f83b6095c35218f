//! Where requests go.

use std::ffi::c_char;

use super::builder::{cometd_client_builder, set_choice, set_text};
use super::status::cometd_status;
use crate::client::Builder;
use crate::transport::endpoints::Append;

/// Append "handshake", "connect" or "disconnect" to the URL, unless it has a
/// query or its last segment has a dot. The default.
pub const COMETD_APPEND_AUTO: i32 = 0;
/// Append it to every URL.
pub const COMETD_APPEND_ALWAYS: i32 = 1;
/// Append it to no URL.
pub const COMETD_APPEND_NEVER: i32 = 2;

/// Sets where requests go: handshakes.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says, and "handshake" is appended to
/// the result unless appending is off. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_handshake_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set_text(
            "set_handshake_base_path",
            builder,
            "path",
            path,
            Builder::set_handshake_base_path,
        )
    }
}

/// Sets where requests go: subscribe, unsubscribe, publish, and requests of several messages.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_subscribe_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set_text(
            "set_subscribe_base_path",
            builder,
            "path",
            path,
            Builder::set_subscribe_base_path,
        )
    }
}

/// Sets where requests go: connects.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says, and "connect" is appended to
/// the result unless appending is off. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_connect_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set_text(
            "set_connect_base_path",
            builder,
            "path",
            path,
            Builder::set_connect_base_path,
        )
    }
}

/// Sets where requests go: disconnects.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says, and "disconnect" is appended to
/// the result unless appending is off. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_disconnect_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set_text(
            "set_disconnect_base_path",
            builder,
            "path",
            path,
            Builder::set_disconnect_base_path,
        )
    }
}

/// Sets whether "handshake", "connect" and "disconnect" are appended to the URLs of
/// these requests, as some servers and proxies want to see them apart.
///
/// `mode` is COMETD_APPEND_AUTO (the default: append unless the URL has a query or
/// its last segment has a dot, as in Salesforce's /cometd/60.0), COMETD_APPEND_ALWAYS
/// or COMETD_APPEND_NEVER. Where nothing is appended, the URL is used as it was
/// given.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `mode` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_append_message_type(
    builder: *mut cometd_client_builder,
    mode: i32,
) -> cometd_status {
    let choices = [
        (COMETD_APPEND_AUTO, Append::Auto),
        (COMETD_APPEND_ALWAYS, Append::Always),
        (COMETD_APPEND_NEVER, Append::Never),
    ];
    let setter = Builder::set_append_message_type;
    unsafe {
        set_choice(
            "set_append_message_type",
            builder,
            "mode",
            mode,
            choices,
            setter,
        )
    }
}
