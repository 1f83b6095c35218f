//! Clients: from their building until they are connected.

use std::ffi::{c_char, CString};
use std::sync::Arc;

use super::boundary::{
    access, act, copy_out, forked, null, object, required, text, timeout, write,
};
use super::builder::cometd_client_builder;
use super::call::call;
use super::error::{c_text, cometd_error};
use super::state::{cometd_state, state_number, state_of, COMETD_STATE_CLOSED, COMETD_STATE_IDLE};
use super::status::{cometd_status, COMETD_CLOSED, COMETD_E_PANIC, COMETD_NONE, COMETD_OK};
use crate::client::{Client, Waited};
use crate::error::Error;
use crate::speaker::speak;

/// One session with one server, and the receiver of its events.
pub struct cometd_client {
    pub(super) client: Arc<Client>,
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
    if status == COMETD_E_PANIC {
        if let Some(client) = used {
            act((), || client.free());
        }
    }
    status
}

/// Runs a function on a client that has nothing to give.
pub(super) unsafe fn perform(
    client: *mut cometd_client,
    err: *mut *mut cometd_error,
    body: impl FnOnce(&Client) -> Result<(), Error>,
) -> cometd_status {
    unsafe { with(client, err, |client| body(client).map(|()| COMETD_OK)) }
}

/// Builds a client. Nothing is started and nothing is sent before cometd_client_connect. The
/// builder is not used up. Without cometd_client_builder_set_proxy the environment is read for proxies here.
///
/// `*out` receives the client.
///
/// **Returns** COMETD_OK; what cometd_client_builder_error gives, if it gives something; COMETD_E_INVALID_ARGUMENT: `builder`
/// or `out` is NULL; COMETD_E_TLS: the URL is https and the system's TLS library could not be set up; COMETD_E_INVALID_URL: the
/// environment's proxy for the URL is none that the library can use.
/// **Threads** one at a time. **Blocks** never. **Ownership** the client is the caller's, to
/// free with cometd_client_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_build(
    builder: *const cometd_client_builder,
    out: *mut *mut cometd_client,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    call(err, || {
        let out = required("out", out)?;
        let client = unsafe { object("builder", builder) }?.builder().build()?;
        write(out, Box::into_raw(Box::new(cometd_client::new(client))));
        Ok(COMETD_OK)
    })
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
    unsafe { perform(client, err, Client::connect) }
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
    let err = std::ptr::null_mut();
    unsafe {
        perform(client, err, |client| {
            client.set_authorization(text("header_value", header_value)?)
        })
    }
}
