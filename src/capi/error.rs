//! Errors, as C reads them.

use std::ffi::{c_char, CString};

use super::boundary::{access, write};
use super::status::{self, cometd_status, COMETD_OK};
use crate::error::{Error, Phase};

/// What the client was doing when an error happened: the handshake.
pub const COMETD_PHASE_HANDSHAKE: i32 = 1;
/// The connect loop, which waits for events.
pub const COMETD_PHASE_CONNECT: i32 = 2;
/// A subscribe.
pub const COMETD_PHASE_SUBSCRIBE: i32 = 3;
/// An unsubscribe.
pub const COMETD_PHASE_UNSUBSCRIBE: i32 = 4;
/// A publish.
pub const COMETD_PHASE_PUBLISH: i32 = 5;
/// The disconnect.
pub const COMETD_PHASE_DISCONNECT: i32 = 6;
/// The call of a function, of its arguments or its time; or a remote call.
pub const COMETD_PHASE_CALL: i32 = 7;

/// An error with all that is known of it.
///
/// It comes from a function's `err`, and is then freed by cometd_error_free; or
/// from an event, and then lives as long as that.
pub struct cometd_error {
    pub(super) error: Error,
    pub(super) message: CString,
    pub(super) bayeux: Option<CString>,
    pub(super) channel: Option<CString>,
    pub(super) client: Option<CString>,
    pub(super) url: Option<CString>,
    pub(super) ext: Option<CString>,
    pub(super) bayeux_json: Option<CString>,
    owned: bool,
}

impl cometd_error {
    /// One that the host frees.
    pub(super) fn owned(error: Error) -> Self {
        Self {
            owned: true,
            ..Self::borrowed(error)
        }
    }

    /// One that belongs to an event.
    pub(super) fn borrowed(error: Error) -> Self {
        Self {
            message: c_text(&error.message),
            bayeux: error.bayeux.as_ref().map(|it| c_text(&it.text)),
            channel: error.channel.as_deref().map(c_text),
            client: error.client.as_deref().map(c_text),
            url: error.url.as_deref().map(c_text),
            ext: error.reply_ext.as_deref().map(c_text),
            bayeux_json: error.reply_error.as_deref().map(c_text),
            error,
            owned: false,
        }
    }
}

/// A text for C; what stands behind a NUL is cut off.
pub(super) fn c_text(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

/// The status that says what kind of error it is.
///
/// **Returns** a negative COMETD_E_… code; COMETD_OK for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_status(error: *const cometd_error) -> cometd_status {
    access(COMETD_OK, || match unsafe { error.as_ref() } {
        Some(error) => status::of(error.error.kind),
        None => COMETD_OK,
    })
}

/// What happened, on one line with the whole chain of causes:
/// "connect: tcp connect to 127.0.0.1:9: connection refused". An error of a client ends with its name and the URL, as in
/// " [client 1, http://127.0.0.1:9/cometd/connect]".
///
/// It never holds a token, a cookie or a handshake extension.
///
/// **Returns** the text; "" for NULL, so that it can be printed as it is.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_message(error: *const cometd_error) -> *const c_char {
    access(c"".as_ptr(), || match unsafe { error.as_ref() } {
        Some(error) => error.message.as_ptr(),
        None => c"".as_ptr(),
    })
}

/// What the client was doing: one of COMETD_PHASE_….
///
/// **Returns** the phase; 0 for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_phase(error: *const cometd_error) -> i32 {
    access(0, || {
        match unsafe { error.as_ref() }.map(|it| it.error.phase) {
            Some(Phase::Handshake) => COMETD_PHASE_HANDSHAKE,
            Some(Phase::Connect) => COMETD_PHASE_CONNECT,
            Some(Phase::Subscribe) => COMETD_PHASE_SUBSCRIBE,
            Some(Phase::Unsubscribe) => COMETD_PHASE_UNSUBSCRIBE,
            Some(Phase::Publish) => COMETD_PHASE_PUBLISH,
            Some(Phase::Disconnect) => COMETD_PHASE_DISCONNECT,
            Some(Phase::Call) => COMETD_PHASE_CALL,
            None => 0,
        }
    })
}

/// Whether the client has stopped because of it and will not recover by itself.
///
/// A client has at most one fatal error; COMETD_EVENT_CLOSED follows it.
///
/// **Returns** true when it is fatal; false for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_is_fatal(error: *const cometd_error) -> bool {
    access(false, || {
        unsafe { error.as_ref() }.is_some_and(|it| it.error.fatal)
    })
}

/// The HTTP status of the response that was the error, or that carried it.
///
/// **Returns** 100 to 999; 0 when there was no response, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_http_status(error: *const cometd_error) -> i32 {
    access(0, || {
        unsafe { error.as_ref() }.map_or(0, |it| i32::from(it.error.http_status))
    })
}

/// The code with which a WebSocket was closed (RFC 6455, section 7.4), by the server or for what it sent, when that was
/// the error.
///
/// **Returns** 1000 to 4999: 1005 for a close frame without a code, 1006 for none at all; 0 when no socket was closed, and
/// for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_websocket_code(error: *const cometd_error) -> i32 {
    access(0, || {
        unsafe { error.as_ref() }.map_or(0, |it| i32::from(it.error.websocket_code))
    })
}

/// The error as the server wrote it, "403::Unknown client" (Bayeux 1.0, section
/// 3.6).
///
/// `code` (may be NULL) receives the number in front, 403; 0 when the text has
/// none, or when there is no text.
///
/// **Returns** the text; NULL when the server wrote none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_bayeux(
    error: *const cometd_error,
    code: *mut i32,
) -> *const c_char {
    write(code, 0);
    access(std::ptr::null(), || {
        let Some(error) = (unsafe { error.as_ref() }) else {
            return std::ptr::null();
        };
        if let Some(bayeux) = &error.error.bayeux {
            write(code, bayeux.code);
        }
        error
            .bayeux
            .as_ref()
            .map_or(std::ptr::null(), |it| it.as_ptr())
    })
}

/// The channel that the error is about.
///
/// **Returns** the channel; NULL when it is about none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_channel(error: *const cometd_error) -> *const c_char {
    access(std::ptr::null(), || {
        unsafe { error.as_ref() }
            .and_then(|it| it.channel.as_ref())
            .map_or(std::ptr::null(), |it| it.as_ptr())
    })
}

/// The client that the error is of: the name of cometd_client_builder_set_name, or "client 3", the client's number in
/// the process.
///
/// **Returns** the name; NULL for an error of no client, such as one of a builder's, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_client(error: *const cometd_error) -> *const c_char {
    access(std::ptr::null(), || {
        unsafe { error.as_ref() }
            .and_then(|it| it.client.as_ref())
            .map_or(std::ptr::null(), |it| it.as_ptr())
    })
}

/// The URL of the request that failed, or that it would have gone to, without user, password and query.
///
/// **Returns** the URL; NULL for an error that a function returns, such as one of an argument, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_url(error: *const cometd_error) -> *const c_char {
    access(std::ptr::null(), || {
        unsafe { error.as_ref() }
            .and_then(|it| it.url.as_ref())
            .map_or(std::ptr::null(), |it| it.as_ptr())
    })
}

/// The `ext` of the reply that was the error: JSON, as the server sent it, but for secrets of
/// the client's that it sends back. Some servers say there why.
/// One of more than 65536 bytes is not given.
///
/// `*len` (may be NULL) receives its length in bytes.
///
/// **Returns** the JSON text, ended by NUL; NULL when no reply was the error or it had none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_ext(
    error: *const cometd_error,
    len: *mut usize,
) -> *const c_char {
    unsafe { json(error, len, |it| it.ext.as_ref()) }
}

/// The whole `error` of the reply that was the error: JSON, as the server sent it, but for secrets of
/// the client's that it sends back. For most servers it is the string of cometd_error_bayeux, with its quotes; others send
/// an object.
/// One of more than 65536 bytes is not given.
///
/// `*len` (may be NULL) receives its length in bytes.
///
/// **Returns** the JSON text, ended by NUL; NULL when no reply was the error or it had none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_bayeux_json(
    error: *const cometd_error,
    len: *mut usize,
) -> *const c_char {
    unsafe { json(error, len, |it| it.bayeux_json.as_ref()) }
}

unsafe fn json(
    error: *const cometd_error,
    len: *mut usize,
    part: impl FnOnce(&cometd_error) -> Option<&CString>,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        unsafe { error.as_ref() }
            .and_then(part)
            .map_or(std::ptr::null(), |it| {
                write(len, it.as_bytes().len());
                it.as_ptr()
            })
    })
}

/// How long the client waits before it tries again what failed.
///
/// **Returns** milliseconds from the moment of the error on; -1 when there will
/// be no further attempt, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_retry_in_ms(error: *const cometd_error) -> i32 {
    access(-1, || {
        unsafe { error.as_ref() }
            .and_then(|it| it.error.retry_in)
            .map_or(-1, |wait| i32::try_from(wait).unwrap_or(i32::MAX))
    })
}

/// Frees an error that a function gave by `err`. For NULL, and for the error of
/// an event, it does nothing.
///
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_free(error: *mut cometd_error) {
    access((), || {
        if unsafe { error.as_ref() }.is_some_and(|it| it.owned) {
            drop(unsafe { Box::from_raw(error) });
        }
    });
}
