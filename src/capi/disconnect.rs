//! The end of a client, with a word to the server and without.

use super::boundary::{act, positive_milliseconds, timeout};
use super::client::{cometd_client, perform};
use super::error::cometd_error;
use super::status::cometd_status;
use crate::error::{Error, ErrorKind};

/// Ends the session: what was accepted before is still sent, then the server is told, and its answer is
/// awaited. Events that arrive meanwhile are delivered; COMETD_EVENT_CLOSED is the last one, and can still
/// be polled afterwards.
///
/// It returns when the client has closed. When the server has not answered within `timeout_ms`, the session is
/// abandoned, and the client closes all the same, within half a second more. With 0 it returns at once, and the
/// end goes on in the background, with a time limit of 10000. Before a session was made, or while it is lost,
/// there is nobody to tell: the client closes at once, and what was accepted and not yet sent ends in
/// COMETD_E_ABORTED. On a client that has closed it does nothing.
///
/// Unless `timeout_ms` is 0, it tells as well when a publish was in vain: when one ended in an error since this call, or
/// before and no receiver has given that event out. So a program that publishes and does not read its events hears of it
/// here.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_OUT_OF_RANGE:
/// `timeout_ms` is negative (-1 is not possible here); COMETD_E_TIMEOUT: the server did not answer in time;
/// COMETD_E_UNDELIVERED: the client has closed, but messages that cometd_client_publish or
/// cometd_client_publish_with_retries had accepted have failed;
/// COMETD_E_WOULD_DEADLOCK: `timeout_ms` is not 0 inside a callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds and half a second. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_disconnect(
    client: *mut cometd_client,
    timeout_ms: i32,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        perform(client, err, |client| {
            let Some(limit) = timeout(timeout_ms.max(0))?.filter(|_| timeout_ms >= 0) else {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    "timeout_ms: is negative; a disconnect always has a limit",
                ));
            };
            client.disconnect(limit)
        })
    }
}

/// Ends the session as cometd_client_disconnect does, without waiting for it: for programs with an event loop.
/// COMETD_EVENT_CLOSED tells when it is done.
///
/// `limit_ms` is the time limit, in milliseconds, at least 1. When the server has not answered within it, the session is
/// abandoned, and a COMETD_EVENT_ERROR with COMETD_E_TIMEOUT is told. When publishes were in vain, as
/// cometd_client_disconnect has it, a COMETD_EVENT_ERROR with COMETD_E_UNDELIVERED is told. Both come before
/// COMETD_EVENT_CLOSED, with the id 0 and COMETD_PHASE_DISCONNECT.
///
/// **Returns** COMETD_OK, also when it has closed or is about to; COMETD_E_INVALID_ARGUMENT: `client` is NULL;
/// COMETD_E_OUT_OF_RANGE: `limit_ms` is less than 1; COMETD_E_FORKED.
/// **Threads** any, also inside a callback. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_disconnect_within(
    client: *mut cometd_client,
    limit_ms: i32,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        perform(client, err, |client| {
            client.disconnect_within(positive_milliseconds("limit_ms", limit_ms)?);
            Ok(())
        })
    }
}

/// Ends a client at once, without a word to the server: what was accepted and has no outcome ends in COMETD_E_ABORTED,
/// COMETD_EVENT_CLOSED is told, and functions that wait in it return. Unlike cometd_client_free it leaves the client, whose
/// events can still be read. On a client that has closed it does nothing.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_FORKED.
/// **Threads** any, also inside a callback. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_abort(client: *mut cometd_client) -> cometd_status {
    unsafe {
        perform(client, std::ptr::null_mut(), |client| {
            client.abort();
            Ok(())
        })
    }
}

/// Frees a client. What still runs is aborted without a word to the server (disconnect tells it), and
/// functions that wait in it return. Its callback is not called any more, except that a call which is
/// running ends. Receivers of cometd_receiver_new live on: they get what is left, and
/// COMETD_EVENT_CLOSED.
///
/// **Threads** any, also inside a callback of the client's own. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_free(client: *mut cometd_client) {
    act((), || {
        if client.is_null() {
            return;
        }
        let handle = unsafe { Box::from_raw(client) };
        if handle.client.process().is_current() {
            // Whoever waits in it holds it; what it does must end now.
            handle.client.free();
        } else {
            std::mem::forget(handle);
        }
    });
}
