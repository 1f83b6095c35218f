//! The events of a client's own receiver.

use std::ffi::c_void;
use std::sync::Arc;

use super::boundary::{act, required, write};
use super::call::call_plain;
use super::client::cometd_client;
use super::event::{cometd_event, cometd_event_fn, cometd_events_fn, cometd_wake_fn};
use super::host::cometd_free_fn;
use super::reading::{
    clear, poll, poll_events, poll_many, set_callback, set_events_callback, set_wake,
};
use super::status::cometd_status;
use crate::delivery::Queue;
use crate::error::{Error, ErrorKind};
use crate::platform::{RawDescriptor, NO_DESCRIPTOR};

/// What the system can wait for: a file descriptor; on Windows a SOCKET that does not block, for select, WSAPoll and the
/// event loops that take one, as libuv does with uv_poll_init_socket. WSAEventSelect with FD_READ makes an event of it
/// for WaitForMultipleObjects: it is set once when there is something, and again only after all has been taken.
/// Where there is none it is -1, which is INVALID_SOCKET.
pub type cometd_fd = RawDescriptor;

/// The queue of the client's own receiver.
unsafe fn own_queue(client: *const cometd_client) -> Result<Arc<Queue>, Error> {
    let client = unsafe { cometd_client::get(client) }?;
    client.receiver().cloned().ok_or_else(|| {
        Error::call(
            ErrorKind::InvalidState,
            "client: it was built without a receiver of its own",
        )
        .of(client.name())
    })
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
        let queue = unsafe { own_queue(client) }?;
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
        match unsafe { own_queue(client) } {
            Ok(queue) => unsafe { poll_many(&queue, timeout_ms, out, cap) },
            Err(_) => unsafe { clear(out, cap) },
        }
    })
}

/// Takes up to `cap` events at once as cometd_client_poll_many does, and says why there are none.
///
/// `out` has room for `cap` events, at least one; the first ones receive the events in their order, the rest
/// is set to NULL. `*count` receives how many there are. cometd_events_look reads them, cometd_events_free frees them.
///
/// **Returns** COMETD_OK: there is at least one; COMETD_NONE: none came in time; COMETD_CLOSED: none comes any more,
/// COMETD_EVENT_CLOSED was the last one; COMETD_E_INVALID_ARGUMENT: `client`, `out` or `count` is NULL;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is less than -1, or `cap` is 0; COMETD_E_INVALID_STATE: a callback is
/// installed or the client was built without a receiver of its own; COMETD_E_WOULD_DEADLOCK: `timeout_ms` is not 0 inside a
/// callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds, until there is one; 0 does not
/// wait, -1 waits without limit. **Ownership** the events are the caller's, each to free with
/// cometd_event_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_poll_events(
    client: *mut cometd_client,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
    count: *mut usize,
) -> cometd_status {
    write(count, 0);
    call_plain(|| unsafe {
        let queue = own_queue(client);
        poll_events(queue, timeout_ms, out, cap, count)
    })
}

/// A descriptor that is readable exactly while cometd_client_poll(…, 0, …) has an event
/// to give. For poll(2), select(2), epoll (level-triggered), WSAPoll and event loops built on them.
///
/// It is only watched: never read, written or closed by the host. It stays the same as long as
/// the client lives.
///
/// **Returns** the descriptor; -1 when `client` is NULL, has crossed a fork, was built without a receiver of
/// its own, or the system has no descriptor left.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_fd(client: *mut cometd_client) -> cometd_fd {
    act(NO_DESCRIPTOR, || match unsafe { own_queue(client) } {
        Ok(queue) => queue.fd().unwrap_or(NO_DESCRIPTOR),
        Err(_) => NO_DESCRIPTOR,
    })
}

/// Has each event given to a function instead of to cometd_client_poll, from the oldest on
/// that was not taken yet; see cometd_event_fn. NULL as `fn` removes it again.
///
/// The first call of `fn` comes after this function has done its work. A call that is running
/// when the callback is replaced or removed is not waited for; `free_user` tells when none is.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL;
/// COMETD_E_INVALID_STATE: the client was built without a receiver of its own, or has a callback of
/// another kind (cometd_client_set_events_callback, _set_wake); COMETD_E_SYSTEM: no thread
/// could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
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
        let queue = unsafe { own_queue(client) }?;
        set_callback(&queue, r#fn, user, free_user)
    })
}

/// Has events given to a function many at a time instead of to cometd_client_poll, from the oldest on
/// that was not taken yet; see cometd_events_fn. NULL as `fn` removes it again.
///
/// It takes the place of one that was set by this function. While another kind is installed, by
/// cometd_client_set_callback or cometd_client_set_wake, it is refused. For the rest it is as
/// cometd_client_set_callback.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_INVALID_STATE: a callback of another
/// kind is installed, or the client was built without a receiver of its own; COMETD_E_SYSTEM: no
/// thread could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls
/// `free_user` (may be NULL), once: after the callback was replaced or removed, or the
/// client was freed. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_set_events_callback(
    client: *mut cometd_client,
    r#fn: cometd_events_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let queue = unsafe { own_queue(client) }?;
        set_events_callback(&queue, r#fn, user, free_user)
    })
}

/// Has a function called when there is something to poll: for hosts that can watch no descriptor.
/// NULL as `fn` removes it again.
///
/// It is called once when something comes to a receiver that was empty, COMETD_EVENT_CLOSED too,
/// and once soon after this call when there is something already, or nothing comes any more. The
/// next call comes after a poll has taken the last event, or has found none; so whoever is woken
/// polls, on any thread, until COMETD_NONE or COMETD_CLOSED (of _poll_many: until it gives fewer than it may).
/// It may find nothing, when somebody else has polled meanwhile.
///
/// It takes the place of one that was set by this function. While another kind is installed, by
/// cometd_client_set_callback or cometd_client_set_events_callback, it is refused, and so
/// are these while it is installed. The descriptor works beside it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` is NULL; COMETD_E_INVALID_STATE: a callback of another
/// kind is installed, or the client was built without a receiver of its own; COMETD_E_SYSTEM: no
/// thread could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls
/// `free_user` (may be NULL), once: after the function was replaced or removed, or the
/// client was freed. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_set_wake(
    client: *mut cometd_client,
    r#fn: cometd_wake_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let queue = unsafe { own_queue(client) }?;
        set_wake(&queue, r#fn, user, free_user)
    })
}
