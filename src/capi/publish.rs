//! Publishes, remote calls, and batches of all that is sent.

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use super::boundary::{timeout, write};
use super::client::{cometd_client, perform, with};
use super::error::cometd_error;
use super::opaque::{publish, publish_binary, publish_with_retries, remote_call};
use super::status::{cometd_status, COMETD_CLOSED, COMETD_NONE, COMETD_OK};
use crate::client::{Client, Waited};

/// Publishes a message to a channel. Before the handshake is done it is held; messages are sent in the
/// order of the calls, and those that wait at the same time share a request.
///
/// Exactly one event follows, with the id and the channel: COMETD_EVENT_PUBLISHED, or
/// COMETD_EVENT_ERROR. It is never sent twice: after an error such as COMETD_E_TIMEOUT or
/// COMETD_E_CONNECTION_LOST the server may or may not have seen it.
///
/// `json` is the data, one JSON value of `len` bytes; it is sent as it is. `*id` (may be NULL) receives
/// the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channel` or `json` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: `channel` is not a channel, has a wildcard, or is a
/// meta channel; COMETD_E_INVALID_JSON: `json` is not JSON, or is nested more than 128 levels deep;
/// COMETD_E_TOO_LARGE: it is above cometd_client_builder_set_request_capacity;
/// COMETD_E_FULL: too many wait for their outcome, or for the program to read it, see
/// cometd_client_builder_set_commands_capacity;
/// COMETD_E_CLOSED: the client has been disconnected or has ended; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** everything is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_publish(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { publish(client, channel, json, len, null_mut(), id, err) }
}

/// Publishes bytes, by CometD's binary extension: the message has them as text (Z85), which takes five bytes for four,
/// and says so in its ext. The server needs that extension as well if it is to see bytes; CometD's clients have it. All
/// else is as with cometd_client_publish. cometd_message_binary gives the bytes of a message that came.
///
/// `bytes` are `len` bytes; NULL when `len` is 0. `last` is false for a part after which others belong: how a whole is
/// cut into parts, and put together, is between programs. `meta` (may be NULL, for none) is what else there is to say of
/// the bytes, a JSON object of `meta_len` bytes; it is sent as it is. `*id` (may be NULL) receives the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client` or `channel` is NULL, or `bytes` is and `len` is
/// not 0; COMETD_E_OUT_OF_RANGE: `len` or `meta_len` is larger than any memory; COMETD_E_INVALID_UTF8;
/// COMETD_E_INVALID_CHANNEL: `channel` is not a channel, has a wildcard, or is a meta channel; COMETD_E_INVALID_JSON:
/// `meta` is not JSON, no object, or is nested more than 128 levels deep; COMETD_E_TOO_LARGE: as text it is above
/// cometd_client_builder_set_request_capacity; COMETD_E_FULL: too many wait for their outcome, or for the program to read
/// it, see cometd_client_builder_set_commands_capacity; COMETD_E_CLOSED: the client has been disconnected or has ended;
/// COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** everything is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_publish_binary(
    client: *mut cometd_client,
    channel: *const c_char,
    bytes: *const c_void,
    len: usize,
    last: bool,
    meta: *const c_char,
    meta_len: usize,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    let no = null_mut();
    unsafe {
        publish_binary(
            client, channel, bytes, len, last, meta, meta_len, no, id, err,
        )
    }
}

/// Publishes a message, and sends it again until the server has answered: at least once, where
/// cometd_client_publish sends at most once. After a failed attempt the server may have seen the message or not, so
/// it may get it twice; every attempt carries the same message id.
///
/// Sent again is what failed on the way (no connection, no reply in time, an HTTP status other than 413; after 400 or
/// 413 it travels without others, and alone 413 is final), what a server refused that has lost the session (it is sent
/// in the next one) or is in trouble (a Bayeux error of 500 to 599), and what it advised to try again; with the waits of
/// cometd_client_builder_set_backoff_ms, or a longer one that the server asked for (Retry-After, up to a day). Any other refusal is final. Later publishes do not wait for it.
/// cometd_client_disconnect makes one last attempt.
///
/// Exactly one event follows, with the id and the channel: COMETD_EVENT_PUBLISHED, or COMETD_EVENT_ERROR: of the last
/// attempt, or COMETD_E_TIMEOUT when `timeout_ms` have passed since this call.
///
/// `json` is the data, one JSON value of `len` bytes; it is sent as it is. `timeout_ms` is at least 1, or -1 for no
/// limit; before cometd_client_connect nothing is told, a limit that passes then is told afterwards. `attempts` is how
/// often it is sent at most, at least 1; COMETD_RETRY_FOREVER for no limit. `*id` (may be NULL) receives the id, never
/// 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channel` or `json` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: `channel` is not a channel, has a wildcard, or is a
/// meta channel; COMETD_E_INVALID_JSON: `json` is not JSON, or is nested more than 128 levels deep;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is 0 or less than -1, or `attempts` is 0; COMETD_E_TOO_LARGE: it is above
/// cometd_client_builder_set_request_capacity; COMETD_E_FULL: too many wait for their outcome, or for the program to
/// read it, see cometd_client_builder_set_commands_capacity; COMETD_E_CLOSED: the client has been disconnected or has ended;
/// COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** everything is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_publish_with_retries(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    timeout_ms: i32,
    attempts: u32,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    let no = null_mut();
    unsafe {
        publish_with_retries(
            client, channel, json, len, timeout_ms, attempts, no, id, err,
        )
    }
}

/// Calls a service: publishes a message to its channel and awaits the answer, a message on the same
/// channel with the same id (CometD's remote call).
///
/// Exactly one event follows, with the id and the channel: COMETD_EVENT_RESULT with the answer, or
/// COMETD_EVENT_ERROR, COMETD_E_TIMEOUT when none came within `timeout_ms`. What comes later is passed over.
/// While a batch is open, and before cometd_client_connect, nothing is told: a limit that passes then is told
/// afterwards.
///
/// `channel` starts with "/service/"; `json` is the data, one JSON value of `len` bytes; `timeout_ms` is at
/// least 1 and counts from this call on. `*id` (may be NULL) receives the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channel` or `json` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: `channel` is not a service's; COMETD_E_INVALID_JSON:
/// `json` is not JSON, or is nested more than 128 levels deep; COMETD_E_OUT_OF_RANGE: `timeout_ms` is less
/// than 1; COMETD_E_TOO_LARGE: it is above cometd_client_builder_set_request_capacity; COMETD_E_FULL: too many
/// wait for their outcome, or for the program to read it, see cometd_client_builder_set_commands_capacity;
/// COMETD_E_CLOSED: the client has been disconnected or has ended; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** everything is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_remote_call(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    timeout_ms: i32,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { remote_call(client, channel, json, len, timeout_ms, null_mut(), id, err) }
}

/// Begins a batch: what is subscribed, unsubscribed, published and called from here on, by any thread, waits for
/// cometd_client_batch_end and is then sent in one request. Batches nest; the outermost end sends.
///
/// cometd_client_disconnect sends what an open batch holds.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_CLOSED: it has been
/// disconnected or has ended; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_batch_begin(
    client: *mut cometd_client,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { perform(client, err, Client::begin_batch) }
}

/// Ends a batch. An empty one sends nothing.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_INVALID_STATE: no batch was
/// begun; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_batch_end(
    client: *mut cometd_client,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { perform(client, err, Client::end_batch) }
}

/// Waits until everything that was called before has its outcome: each subscribe, unsubscribe, publish and remote call of
/// any thread that was accepted. What an open batch holds is sent. The events need not be read for it, and stay where they
/// are; those of the outcomes are there when this function returns.
///
/// It tells as well when a publish was in vain: when one of these has ended in an error, and no flush before has told so.
/// The events say which, and why. What became of other calls, they alone tell.
///
/// `timeout_ms` is 0 or more; 0 only asks, -1 waits without limit.
///
/// **Returns** COMETD_OK: all have their outcome, and no publish has failed; COMETD_NONE: the time is up;
/// cometd_client_last_error tells why the client is not connected, if it is not; COMETD_CLOSED: the client has ended in a
/// panic, and not all have an outcome; COMETD_E_UNDELIVERED: all have their outcome, and publishes have failed;
/// COMETD_E_FULL: the time is up, and nothing is sent until the program reads its events (COMETD_OVERFLOW_BLOCK);
/// COMETD_E_INVALID_STATE: something waits for cometd_client_connect, which was not called; COMETD_E_INVALID_ARGUMENT:
/// `client` is NULL; COMETD_E_OUT_OF_RANGE: `timeout_ms` is less than -1; COMETD_E_WOULD_DEADLOCK: `timeout_ms` is not 0
/// inside a callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_flush(
    client: *mut cometd_client,
    timeout_ms: i32,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        with(client, err, |client| {
            Ok(match client.flush(timeout(timeout_ms)?)? {
                Waited::Reached => COMETD_OK,
                Waited::TimedOut => COMETD_NONE,
                Waited::Closed => COMETD_CLOSED,
            })
        })
    }
}

/// Has the end of a flush told by an event, COMETD_EVENT_FLUSHED, behind the outcomes of everything that was called before:
/// cometd_client_flush for programs with an event loop. What an open batch holds is sent. Before cometd_client_connect
/// it waits for that.
///
/// `opaque` is any value of the program's, which the event gives back (cometd_event_opaque); NULL for none.
/// `*id` (may be NULL) receives the id that the event has.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_CLOSED: the client has ended, and all has its
/// outcome; COMETD_E_FULL: as of cometd_client_publish; COMETD_E_FORKED.
/// **Threads** any, also inside a callback. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_start_flush(
    client: *mut cometd_client,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(id, 0);
    unsafe {
        perform(client, err, |client| {
            write(id, client.start_flush(opaque as usize)?);
            Ok(())
        })
    }
}
