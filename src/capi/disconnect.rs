//! The end of a client, with a word to the server and without.

use super::boundary::{act, timeout};
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
            handle.client.abort();
        } else {
            std::mem::forget(handle);
        }
    });
}
