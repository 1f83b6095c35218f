//! Clients.

use std::ffi::{c_char, c_void, CString};
use std::sync::Arc;

use super::boundary::{
    access, act, bytes, call, call_plain, copy_out, forked, null, object, positive_milliseconds,
    required, text, timeout, write,
};
use super::builder::COMETD_RETRY_FOREVER;
use super::error::{c_text, cometd_error};
use super::event::{cometd_event, cometd_event_fn, cometd_free_fn};
use super::receiver::{clear, poll, poll_many, set_callback};
use super::status::{cometd_status, COMETD_CLOSED, COMETD_NONE, COMETD_OK};
use crate::client::{Client, Waited};
use crate::delivery::Queue;
use crate::error::{Error, ErrorKind};
use crate::session::State;
use crate::speaker::speak;

/// Where a client stands: one of COMETD_STATE_….
pub type cometd_state = i32;

/// Built, not yet connected.
pub const COMETD_STATE_IDLE: i32 = 0;
/// The first handshake is under way, or tried again.
pub const COMETD_STATE_HANDSHAKING: i32 = 1;
/// There is a session; its first connect is under way.
pub const COMETD_STATE_CONNECTING: i32 = 2;
/// The last connect was answered; events arrive.
pub const COMETD_STATE_CONNECTED: i32 = 3;
/// There is a session, but the last connect failed; it is tried again.
pub const COMETD_STATE_UNCONNECTED: i32 = 4;
/// The session was lost; a new handshake is under way, or tried again.
pub const COMETD_STATE_REHANDSHAKING: i32 = 5;
/// The host has asked for the end, which is under way.
pub const COMETD_STATE_DISCONNECTING: i32 = 6;
/// The end. A client is not connected a second time; another one is built.
pub const COMETD_STATE_CLOSED: i32 = 7;

pub(super) fn state_number(state: State) -> cometd_state {
    match state {
        State::Idle => COMETD_STATE_IDLE,
        State::Handshaking => COMETD_STATE_HANDSHAKING,
        State::Connecting => COMETD_STATE_CONNECTING,
        State::Connected => COMETD_STATE_CONNECTED,
        State::Unconnected => COMETD_STATE_UNCONNECTED,
        State::Rehandshaking => COMETD_STATE_REHANDSHAKING,
        State::Disconnecting => COMETD_STATE_DISCONNECTING,
        State::Closed => COMETD_STATE_CLOSED,
    }
}

fn state_of(number: cometd_state) -> Result<State, Error> {
    Ok(match number {
        COMETD_STATE_IDLE => State::Idle,
        COMETD_STATE_HANDSHAKING => State::Handshaking,
        COMETD_STATE_CONNECTING => State::Connecting,
        COMETD_STATE_CONNECTED => State::Connected,
        COMETD_STATE_UNCONNECTED => State::Unconnected,
        COMETD_STATE_REHANDSHAKING => State::Rehandshaking,
        COMETD_STATE_DISCONNECTING => State::Disconnecting,
        COMETD_STATE_CLOSED => State::Closed,
        other => {
            return Err(Error::call(
                ErrorKind::OutOfRange,
                format!("state: {other} is none of the constants"),
            ))
        }
    })
}

/// One session with one server, and the receiver of its events.
pub struct cometd_client {
    client: Arc<Client>,
    name: CString,
}

impl cometd_client {
    pub(super) fn new(client: Client) -> Self {
        Self {
            name: c_text(client.name()),
            client: Arc::new(client),
        }
    }

    /// The client, kept alive for a call during which another thread may free
    /// the handle.
    pub(super) unsafe fn get(client: *const Self) -> Result<Arc<Client>, Error> {
        let client = &unsafe { object("client", client) }?.client;
        if !client.process().is_current() {
            return Err(forked());
        }
        Ok(client.clone())
    }

    unsafe fn queue(client: *const Self) -> Result<Arc<Queue>, Error> {
        let client = unsafe { Self::get(client) }?;
        client.receiver().cloned().ok_or_else(|| {
            Error::call(
                ErrorKind::InvalidState,
                "client: it was built without a receiver of its own",
            )
            .of(client.name())
        })
    }
}

/// Runs a function on a client; one that panics ends it.
pub(super) unsafe fn with(
    client: *mut cometd_client,
    err: *mut *mut cometd_error,
    body: impl FnOnce(&Client) -> Result<cometd_status, Error>,
) -> cometd_status {
    let mut used = None;
    let status = call(err, || {
        let client = unsafe { cometd_client::get(client) }?;
        let client = used.insert(client);
        let _speaking = speak(client.name());
        body(client).map_err(|error| error.of(client.name()))
    });
    if status == super::status::COMETD_E_PANIC {
        if let Some(client) = used {
            act((), || client.abort());
        }
    }
    status
}

/// Starts the handshake and returns. What comes of it, the events tell.
///
/// A client is connected once in its life.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_INVALID_STATE: it
/// was connected before; COMETD_E_CLOSED: it has been disconnected or has ended;
/// COMETD_E_SYSTEM: the I/O thread could not be started; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_connect(
    client: *mut cometd_client,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        with(client, err, |client| {
            client.connect()?;
            Ok(COMETD_OK)
        })
    }
}

/// Waits until the client has reached `state`, or has passed it on its way: a client that is
/// connected has passed COMETD_STATE_CONNECTING. A state that was entered while this function
/// waits counts, even when it was left again. COMETD_STATE_UNCONNECTED and
/// COMETD_STATE_REHANDSHAKING lie beside the way and are only reached.
///
/// **Returns** COMETD_OK: reached or passed; COMETD_NONE: not in time; COMETD_CLOSED: the client has
/// ended and will not reach it; cometd_client_last_error tells why; COMETD_E_INVALID_ARGUMENT: `client` is NULL;
/// COMETD_E_OUT_OF_RANGE: `state` is none of COMETD_STATE_…, or `timeout_ms` is less than -1;
/// COMETD_E_WOULD_DEADLOCK: `timeout_ms` is not 0 inside a callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds; 0 does not wait, -1 waits without
/// limit. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_wait(
    client: *mut cometd_client,
    state: cometd_state,
    timeout_ms: i32,
) -> cometd_status {
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            let state = state_of(state)?;
            Ok(match client.wait(state, timeout(timeout_ms)?) {
                Waited::Reached => COMETD_OK,
                Waited::TimedOut => COMETD_NONE,
                Waited::Closed => COMETD_CLOSED,
            })
        })
    }
}

/// Tells why the client is not connected: the last error of the client itself since it last was, or since it was built.
/// It is one of those that COMETD_EVENT_ERROR told with the id 0; a program that waits need not read its events for it.
///
/// `*out` receives the error.
///
/// **Returns** COMETD_OK; COMETD_NONE: there is none; COMETD_E_INVALID_ARGUMENT: `client` or `out` is NULL;
/// COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** the error is the caller's, to free with cometd_error_free.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_last_error(
    client: *mut cometd_client,
    out: *mut *mut cometd_error,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            let out = required("out", out)?;
            Ok(match client.last_error() {
                Some(error) => {
                    write(out, Box::into_raw(Box::new(cometd_error::owned(error))));
                    COMETD_OK
                }
                None => COMETD_NONE,
            })
        })
    }
}

/// What the client is called in errors and log lines: the name of cometd_client_builder_set_name, or "client 3", its
/// number in the process.
///
/// **Returns** the name; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the client's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_name(client: *const cometd_client) -> *const c_char {
    access(std::ptr::null(), || {
        unsafe { client.as_ref() }.map_or(std::ptr::null(), |it| it.name.as_ptr())
    })
}

/// Writes the id that the server has given the session (the `clientId` of Bayeux), to find it in the server's log. A new
/// session has another one. Who knows it may be able to speak for the session.
///
/// `buf` has room for `cap` bytes and may be NULL when `cap` is 0; the text is written with a NUL, and cut
/// off where it does not fit. `*needed` (may be NULL) receives how many bytes the whole text needs, NUL
/// included.
///
/// **Returns** COMETD_OK: the whole text was written; COMETD_NONE: there is no session; COMETD_E_OUT_OF_RANGE: `cap` is
/// less than `*needed`; COMETD_E_INVALID_ARGUMENT: `client` is NULL, or `buf` is NULL and `cap` is not 0; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** `buf` is the caller's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_session_id(
    client: *mut cometd_client,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> cometd_status {
    write(needed, 0);
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            if buf.is_null() && cap > 0 {
                return Err(null("buf"));
            }
            match client.session_id() {
                Some(id) => copy_out(&id, buf, cap, needed),
                None => Ok(COMETD_NONE),
            }
        })
    }
}

/// The name of a state, for people to read: "CONNECTED".
///
/// **Returns** the name; "UNKNOWN" for a number that is no state.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_state_name(state: cometd_state) -> *const c_char {
    let name = match state {
        COMETD_STATE_IDLE => c"IDLE",
        COMETD_STATE_HANDSHAKING => c"HANDSHAKING",
        COMETD_STATE_CONNECTING => c"CONNECTING",
        COMETD_STATE_CONNECTED => c"CONNECTED",
        COMETD_STATE_UNCONNECTED => c"UNCONNECTED",
        COMETD_STATE_REHANDSHAKING => c"REHANDSHAKING",
        COMETD_STATE_DISCONNECTING => c"DISCONNECTING",
        COMETD_STATE_CLOSED => c"CLOSED",
        _ => c"UNKNOWN",
    };
    name.as_ptr()
}

/// Where the client stands at this moment.
///
/// **Returns** one of COMETD_STATE_…; COMETD_STATE_IDLE for NULL, COMETD_STATE_CLOSED for one that
/// has crossed a fork.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_state(client: *const cometd_client) -> cometd_state {
    access(COMETD_STATE_IDLE, || {
        if client.is_null() {
            return COMETD_STATE_IDLE;
        }
        match unsafe { cometd_client::get(client) } {
            Ok(client) => state_number(client.state()),
            Err(_) => COMETD_STATE_CLOSED,
        }
    })
}

/// The channels of a call that takes several.
unsafe fn channel_list(channels: *const *const c_char, count: usize) -> Result<Vec<String>, Error> {
    if channels.is_null() {
        return Err(null("channels"));
    }
    if count == 0 {
        return Err(Error::call(
            ErrorKind::InvalidArgument,
            "count: is at least 1",
        ));
    }
    if count > isize::MAX as usize / std::mem::size_of::<*const c_char>() {
        return Err(Error::call(
            ErrorKind::OutOfRange,
            "count: is larger than any memory",
        ));
    }
    let channels = unsafe { std::slice::from_raw_parts(channels, count) };
    channels
        .iter()
        .enumerate()
        .map(|(index, channel)| {
            unsafe { text(&format!("channels[{index}]"), *channel) }.map(str::to_owned)
        })
        .collect()
}

/// Subscribes to channels: asks the server for their messages. A channel may end in "/*" (one
/// segment) or "/**" (one or more). Behind a '?' anything may stand that is no control character, such as
/// Salesforce's filters: "/topic/A?Subject='5 * 3'". One message is sent for each channel, all
/// in one request; before the handshake is done they are held.
///
/// For each channel exactly one event follows, with the id and the channel: COMETD_EVENT_SUBSCRIBED, or
/// COMETD_EVENT_ERROR. A subscription lives until it is unsubscribed: when the session is lost, the
/// library subscribes again by itself, and says with the id 0 what failed. Each one
/// that is back is told by a further COMETD_EVENT_SUBSCRIBED with this id; see cometd_event_is_renewed.
///
/// `channels` has `count` channels, at least 1. `*id` (may be NULL) receives the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channels` or one of them is
/// NULL, or `count` is 0; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: one is not a channel
/// ("foo", "/a//b", "/a/**/b"), is a meta channel, or is longer than 4096 bytes; the error names it,
/// and none was accepted; COMETD_E_FULL: too many wait for their outcome, or for the program to read it, see
/// cometd_client_builder_set_commands_capacity; COMETD_E_CLOSED: the client has been disconnected or
/// has ended; COMETD_E_FORKED; with a replay store, the negative status that its function for loading
/// returned, or COMETD_E_OUT_OF_RANGE: what it gave is no position; then nothing was accepted.
/// **Threads** any. **Blocks** never, except for what the host's own function for loading does.
/// **Ownership** the channels are copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_subscribe(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(id, 0);
    unsafe {
        with(client, err, |client| {
            write(id, client.subscribe(channel_list(channels, count)?)?);
            Ok(COMETD_OK)
        })
    }
}

/// Ends subscriptions: asks the server for no more messages of these channels. Those that are under way
/// may still arrive. One message is sent for each channel, all in one request; before the handshake is done
/// they are held.
///
/// For each channel exactly one event follows, with the id and the channel:
/// COMETD_EVENT_UNSUBSCRIBED, or COMETD_EVENT_ERROR. Even then the subscription is not made again when
/// the session is lost.
///
/// `channels` has `count` channels, at least 1. `*id` (may be NULL) receives the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channels` or one of them is
/// NULL, or `count` is 0; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: one is not a channel
/// ("foo", "/a//b", "/a/**/b"), is a meta channel, or is longer than 4096 bytes; the error names it,
/// and none was accepted; COMETD_E_FULL: too many wait for their outcome, or for the program to read it, see
/// cometd_client_builder_set_commands_capacity; COMETD_E_CLOSED: the client has been disconnected or
/// has ended; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** the channels are copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_unsubscribe(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(id, 0);
    unsafe {
        with(client, err, |client| {
            write(id, client.unsubscribe(channel_list(channels, count)?)?);
            Ok(COMETD_OK)
        })
    }
}

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
    write(id, 0);
    unsafe {
        with(client, err, |client| {
            let channel = text("channel", channel)?;
            write(id, client.publish(channel, bytes("json", json, len)?)?);
            Ok(COMETD_OK)
        })
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
    write(id, 0);
    unsafe {
        with(client, err, |client| {
            let channel = text("channel", channel)?;
            let json = bytes("json", json, len)?;
            let timeout = match timeout_ms {
                -1 => None,
                limited => Some(positive_milliseconds("timeout_ms", limited)?),
            };
            let attempts = match attempts {
                COMETD_RETRY_FOREVER => None,
                0 => {
                    return Err(Error::call(
                        ErrorKind::OutOfRange,
                        "attempts: is at least 1",
                    ))
                }
                limited => Some(limited),
            };
            let published = client.publish_with_retries(channel, json, timeout, attempts)?;
            write(id, published);
            Ok(COMETD_OK)
        })
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
    write(id, 0);
    unsafe {
        with(client, err, |client| {
            let channel = text("channel", channel)?;
            let json = bytes("json", json, len)?;
            let timeout = positive_milliseconds("timeout_ms", timeout_ms)?;
            write(id, client.remote_call(channel, json, timeout)?);
            Ok(COMETD_OK)
        })
    }
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
    unsafe {
        with(client, err, |client| {
            client.begin_batch()?;
            Ok(COMETD_OK)
        })
    }
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
    unsafe {
        with(client, err, |client| {
            client.end_batch()?;
            Ok(COMETD_OK)
        })
    }
}

/// Changes the value of the Authorization header, "Bearer abc", from the next request on.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `header_value` is empty;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: it holds a control character; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_set_authorization(
    client: *mut cometd_client,
    header_value: *const c_char,
) -> cometd_status {
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            client.set_authorization(text("header_value", header_value)?)?;
            Ok(COMETD_OK)
        })
    }
}

/// Tells what the server's clock says now, as the timesync extension has found out; see
/// cometd_client_builder_set_timesync. It is exact to about half the time that a message and its reply are on their
/// way, goes on by the client's own clock, and does not jump when somebody sets that.
///
/// `*time_ms` receives milliseconds since 1970-01-01 00:00 UTC.
///
/// **Returns** COMETD_OK; COMETD_NONE: it is not known, because the option is off, the server does not know the
/// extension, or its first reply has not come yet; COMETD_E_INVALID_ARGUMENT: an argument is NULL; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_server_time(
    client: *mut cometd_client,
    time_ms: *mut i64,
) -> cometd_status {
    write(time_ms, 0);
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            let time_ms = required("time_ms", time_ms)?;
            Ok(match client.server_time() {
                Some(time) => {
                    write(time_ms, time);
                    COMETD_OK
                }
                None => COMETD_NONE,
            })
        })
    }
}

/// Writes what the client has done so far as a JSON object:
///
/// - "requests", "bytes_sent", "bytes_received" (bodies, after decompression), "events_received", "handshakes",
///   "reconnects";
/// - "round_trip_ms" of the last request that the server did not hold; "server_time_ms", what
///   cometd_client_server_time gives, or null;
/// - "failures", an object that counts the errors of the client itself by kind, such as "timeout", "tcp" or
///   "http_status"; "extension", functions of an extension that failed, and "replay_store", positions that were not
///   saved;
/// - "leniencies", an object that counts by kind what was taken from the server although it is not as it should be:
///   "header", headers that cannot be read and were passed over or mended; "transfer_encoding" and "content_encoding",
///   codings that were passed over; "gzip_tail" and "body_tail", bytes behind the end of a gzip and of the JSON;
///   "not_utf8", responses in which something that is no UTF-8 became U+FFFD; "cookie", cookies that cannot be kept. The
///   first of a kind is a line of the log with COMETD_LOG_WARN, the later ones are with COMETD_LOG_DEBUG;
/// - "blocked", whether nothing is sent at this moment because a receiver is full, and "times_blocked", how often that
///   began;
/// - "receivers", an array with an object for each receiver, the client's own first: "queued", events that wait to be
///   read, "unread_outcomes", those of them that end a call of the program's, "queued_most", "delivered", "dropped", and
///   "full", whether the client waits for it to be read.
///
/// More may come.
///
/// `buf` has room for `cap` bytes and may be NULL when `cap` is 0; the text is written with a NUL, and cut
/// off where it does not fit. `*needed` (may be NULL) receives how many bytes the whole text needs, NUL
/// included.
///
/// **Returns** COMETD_OK: the whole text was written; COMETD_E_OUT_OF_RANGE: `cap` is less than `*needed`;
/// COMETD_E_INVALID_ARGUMENT: `client` is NULL, or `buf` is NULL and `cap` is not 0; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** `buf` is the caller's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_statistics(
    client: *mut cometd_client,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> cometd_status {
    write(needed, 0);
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            let text = serde_json::to_string(&client.statistics())
                .map_err(|error| Error::call(ErrorKind::System, error.to_string()))?;
            copy_out(&text, buf, cap, needed)
        })
    }
}

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
        with(client, err, |client| {
            let Some(limit) = timeout(timeout_ms.max(0))?.filter(|_| timeout_ms >= 0) else {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    "timeout_ms: is negative; a disconnect always has a limit",
                ));
            };
            client.disconnect(limit)?;
            Ok(COMETD_OK)
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

/// Takes the oldest event of the client's own receiver, waiting for one up to `timeout_ms`.
///
/// Several threads may wait; each event goes to exactly one of them.
///
/// `*out` receives the event.
///
/// **Returns** COMETD_OK; COMETD_NONE: none came in time; COMETD_CLOSED: none comes any more,
/// COMETD_EVENT_CLOSED was the last one; COMETD_E_INVALID_ARGUMENT: `client` or `out` is NULL;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is less than -1; COMETD_E_INVALID_STATE: a callback is
/// installed or the client was built
/// without a receiver of its own; COMETD_E_WOULD_DEADLOCK:
/// `timeout_ms` is not 0 inside a callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds; 0 does not wait, -1 waits
/// without limit. **Ownership** the event is the caller's, to free with cometd_event_free.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_poll(
    client: *mut cometd_client,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    call_plain(|| {
        let out = required("out", out)?;
        let queue = unsafe { cometd_client::queue(client) }?;
        poll(&queue, timeout_ms, out)
    })
}

/// Takes up to `cap` events at once, waiting up to `timeout_ms` for the first of them. The
/// cheapest way to read many.
///
/// `out` has room for `cap` events; the first ones receive the events in their order, the rest
/// is set to NULL.
///
/// **Returns** how many there are. 0: none came in time, or none comes any more, or an argument
/// is not acceptable; cometd_client_poll tells which.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds, until there is one; 0 does not
/// wait, -1 waits without limit. **Ownership** the events are the caller's, each to free with
/// cometd_event_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_poll_many(
    client: *mut cometd_client,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
) -> usize {
    act(0, || {
        if out.is_null() {
            return 0;
        }
        match unsafe { cometd_client::queue(client) } {
            Ok(queue) => unsafe { poll_many(&queue, timeout_ms, out, cap) },
            Err(_) => unsafe { clear(out, cap) },
        }
    })
}

/// A file descriptor that is readable exactly while cometd_client_poll(…, 0, …) has an event
/// to give. For poll(2), select(2), epoll (level-triggered) and event loops built on them.
///
/// It is only watched: never read, written or closed by the host. It stays the same as long as
/// the client lives.
///
/// **Returns** the descriptor; -1 when `client` is NULL, has crossed a fork, was built without a receiver of
/// its own, or the system has no descriptor left.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_fd(client: *mut cometd_client) -> isize {
    act(-1, || match unsafe { cometd_client::queue(client) } {
        Ok(queue) => queue.fd().map_or(-1, |fd| fd as isize),
        Err(_) => -1,
    })
}

/// Has each event given to a function instead of to cometd_client_poll, from the oldest on
/// that was not taken yet; see cometd_event_fn. NULL as `fn` removes it again.
///
/// The first call of `fn` comes after this function has done its work. A call that is running
/// when the callback is replaced or removed is not waited for; `free_user` tells when none is.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL;
/// COMETD_E_INVALID_STATE: the client was built without a receiver of its own; COMETD_E_SYSTEM: no
/// thread could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls
/// `free_user` (may be NULL), once: after the callback was replaced or removed, or the
/// client was freed. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_set_callback(
    client: *mut cometd_client,
    r#fn: cometd_event_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let queue = unsafe { cometd_client::queue(client) }?;
        set_callback(&queue, r#fn, user, free_user)
    })
}
