//! A session that goes from one client to another.

use std::ffi::{c_char, c_void};

use super::boundary::{required, timeout, write};
use super::builder::{cometd_client_builder, set_text};
use super::client::{cometd_client, perform, with};
use super::error::cometd_error;
use super::status::{cometd_status, COMETD_OK};
use crate::client::Builder;
use crate::error::{Error, ErrorKind};

/// Gives the session as a text, for cometd_client_builder_set_resume in this process or another one, and ends the client
/// without a word to the server: COMETD_EVENT_CLOSED is told, and what was accepted and has no outcome ends in
/// COMETD_E_ABORTED. So a program that is restarted goes on where it was. The text has all that the client knows of
/// its session: URL, clientId, cookies that the server has set, subscriptions, and how far events have come.
///
/// The text is one line of ASCII. **It is a secret like a password**: who has it speaks for the session.
///
/// What the server was just sending is lost, unless cometd_client_builder_set_acknowledgement is on: then it is sent
/// again. Events in the queues of receivers are the program's: they can still be read. CometD keeps a session for
/// maxInterval, by default 10 s; until then the next client should have connected.
///
/// `*text` receives the text. When the time was not enough, the session may be given all the same: call it again. Once
/// given, it is given again.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` or `text` is NULL; COMETD_E_OUT_OF_RANGE: `timeout_ms` is
/// negative; COMETD_E_INVALID_STATE: there is no session, or its end was begun; the client goes on unchanged;
/// COMETD_E_CLOSED: it has ended; COMETD_E_TIMEOUT: not in time; COMETD_E_TOO_LARGE: the text would be longer than
/// 16 MiB, and the client has ended; COMETD_E_WOULD_DEADLOCK: `timeout_ms` is not 0 inside a callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds. **Ownership** the text is the client's, until
/// cometd_client_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_export(
    client: *mut cometd_client,
    timeout_ms: i32,
    text: *mut *const c_char,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(text, std::ptr::null());
    unsafe {
        with(client, err, |client| {
            let text = required("text", text)?;
            let Some(limit) = timeout(timeout_ms.max(0))?.filter(|_| timeout_ms >= 0) else {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    "timeout_ms: is negative; an export always has a limit",
                ));
            };
            write(text, client.export(limit)?.as_ptr());
            Ok(COMETD_OK)
        })
    }
}

/// Has the session told by an event, COMETD_EVENT_EXPORTED, and ends the client as cometd_client_export does: for programs
/// with an event loop. The event comes before COMETD_EVENT_CLOSED. Without a session it has an error, and the client goes
/// on unchanged.
///
/// `opaque` is any value of the program's, which the event gives back (cometd_event_opaque); NULL for none.
/// `*id` (may be NULL) receives the id that the event has.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_INVALID_STATE: cometd_client_connect was not
/// called; COMETD_E_CLOSED: the client has ended; COMETD_E_FULL: as of cometd_client_publish; COMETD_E_FORKED.
/// **Threads** any, also inside a callback. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_start_export(
    client: *mut cometd_client,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(id, 0);
    unsafe {
        perform(client, err, |client| {
            write(id, client.start_export(opaque as usize)?);
            Ok(())
        })
    }
}

/// Sets that the first client which is built goes on with the session of another one, in place of a handshake; those
/// after it have sessions of their own. Its subscriptions are there without a further subscribe, which may be called all
/// the same. It starts in COMETD_STATE_CONNECTING with cometd_client_connect. When the server does not know the session
/// any more, a handshake follows, and the subscriptions are made anew.
///
/// `text` is one of cometd_client_export; "" takes it back. Set all URLs before; other options, such as authorization and
/// cookies that were added, are not in it. Only one client may go on with a session: each text is used once.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `text` is none of cometd_client_export, of
/// another version of the library, damaged, or of a server that is none of the builder's; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_resume(
    builder: *mut cometd_client_builder,
    text: *const c_char,
) -> cometd_status {
    unsafe { set_text("set_resume", builder, "text", text, Builder::set_resume) }
}
