//! Further receivers of a client's events.

use std::ffi::c_void;
use std::sync::Arc;

use super::boundary::{act, forked, object, required, write};
use super::call::call_plain;
use super::client::cometd_client;
use super::event::{cometd_event, cometd_event_fn, cometd_events_fn, cometd_wake_fn};
use super::host::cometd_free_fn;
use super::own_receiver::cometd_fd;
use super::reading::{
    clear, poll, poll_events, poll_many, set_callback, set_events_callback, set_wake,
};
use super::status::{cometd_status, COMETD_OK};
use crate::client::Receiver;
use crate::delivery::Queue;
use crate::error::Error;
use crate::platform::NO_DESCRIPTOR;

/// A further receiver: it sees every event of its client from its making on, in a queue of its own.
pub struct cometd_receiver {
    receiver: Receiver,
}

impl cometd_receiver {
    /// Its queue, kept alive for a call during which another thread may free
    /// the handle.
    unsafe fn queue(receiver: *const Self) -> Result<Arc<Queue>, Error> {
        let receiver = &unsafe { object("receiver", receiver) }?.receiver;
        if !receiver.process().is_current() {
            return Err(forked());
        }
        Ok(receiver.queue().clone())
    }
}

/// Adds a receiver to a client. Each receiver sees every event from its making on; one made before
/// cometd_client_connect sees all.
///
/// It may outlive its client: then it gets what is left, and COMETD_EVENT_CLOSED. With
/// COMETD_OVERFLOW_BLOCK every receiver has to be read; see cometd_client_builder_set_own_receiver.
///
/// `*out` receives the receiver.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `client` or `out` is NULL; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** the receiver is the caller's, to free with
/// cometd_receiver_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_new(
    client: *mut cometd_client,
    out: *mut *mut cometd_receiver,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    call_plain(|| {
        let out = required("out", out)?;
        let receiver = unsafe { cometd_client::get(client) }?.add_receiver();
        write(out, Box::into_raw(Box::new(cometd_receiver { receiver })));
        Ok(COMETD_OK)
    })
}

/// Frees a receiver. Functions that wait in it return COMETD_CLOSED. Its callback is not called any more,
/// except that a call which is running ends.
///
/// **Threads** any, also inside its callback. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_free(receiver: *mut cometd_receiver) {
    act((), || {
        if receiver.is_null() {
            return;
        }
        let handle = unsafe { Box::from_raw(receiver) };
        if handle.receiver.process().is_current() {
            drop(handle);
        } else {
            std::mem::forget(handle);
        }
    });
}

/// Takes the oldest event of a receiver, waiting for one up to `timeout_ms`.
///
/// Several threads may wait; each event goes to exactly one of them.
///
/// `*out` receives the event.
///
/// **Returns** COMETD_OK; COMETD_NONE: none came in time; COMETD_CLOSED: none comes any more,
/// COMETD_EVENT_CLOSED was the last one; COMETD_E_INVALID_ARGUMENT: `receiver` or `out` is NULL;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is less than -1; COMETD_E_INVALID_STATE: a callback is
/// installed; COMETD_E_WOULD_DEADLOCK:
/// `timeout_ms` is not 0 inside a callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds; 0 does not wait, -1 waits
/// without limit. **Ownership** the event is the caller's, to free with cometd_event_free.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_poll(
    receiver: *mut cometd_receiver,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    call_plain(|| {
        let out = required("out", out)?;
        let queue = unsafe { cometd_receiver::queue(receiver) }?;
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
/// is not acceptable; cometd_receiver_poll tells which.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds, until there is one; 0 does not
/// wait, -1 waits without limit. **Ownership** the events are the caller's, each to free with
/// cometd_event_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_poll_many(
    receiver: *mut cometd_receiver,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
) -> usize {
    act(0, || {
        if out.is_null() {
            return 0;
        }
        match unsafe { cometd_receiver::queue(receiver) } {
            Ok(queue) => unsafe { poll_many(&queue, timeout_ms, out, cap) },
            Err(_) => unsafe { clear(out, cap) },
        }
    })
}

/// Takes up to `cap` events at once as cometd_receiver_poll_many does, and says why there are none.
///
/// `out` has room for `cap` events, at least one; the first ones receive the events in their order, the rest
/// is set to NULL. `*count` receives how many there are. cometd_events_look reads them, cometd_events_free frees them.
///
/// **Returns** COMETD_OK: there is at least one; COMETD_NONE: none came in time; COMETD_CLOSED: none comes any more,
/// COMETD_EVENT_CLOSED was the last one; COMETD_E_INVALID_ARGUMENT: `receiver`, `out` or `count` is NULL;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is less than -1, or `cap` is 0; COMETD_E_INVALID_STATE: a callback is
/// installed; COMETD_E_WOULD_DEADLOCK: `timeout_ms` is not 0 inside a
/// callback; COMETD_E_FORKED.
/// **Threads** any. **Blocks** up to `timeout_ms` milliseconds, until there is one; 0 does not
/// wait, -1 waits without limit. **Ownership** the events are the caller's, each to free with
/// cometd_event_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_poll_events(
    receiver: *mut cometd_receiver,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
    count: *mut usize,
) -> cometd_status {
    write(count, 0);
    call_plain(|| unsafe {
        let queue = cometd_receiver::queue(receiver);
        poll_events(queue, timeout_ms, out, cap, count)
    })
}

/// A descriptor that is readable exactly while cometd_receiver_poll(…, 0, …) has an event
/// to give. For poll(2), select(2), epoll (level-triggered), WSAPoll and event loops built on them.
///
/// It is only watched: never read, written or closed by the host. It stays the same as long as
/// the receiver lives.
///
/// **Returns** the descriptor; -1 when `receiver` is NULL, has crossed a fork, or the system has no descriptor left.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_fd(receiver: *mut cometd_receiver) -> cometd_fd {
    act(NO_DESCRIPTOR, || {
        match unsafe { cometd_receiver::queue(receiver) } {
            Ok(queue) => queue.fd().unwrap_or(NO_DESCRIPTOR),
            Err(_) => NO_DESCRIPTOR,
        }
    })
}

/// Has each event given to a function instead of to cometd_receiver_poll, from the oldest on
/// that was not taken yet; see cometd_event_fn. NULL as `fn` removes it again.
///
/// The first call of `fn` comes after this function has done its work. A call that is running
/// when the callback is replaced or removed is not waited for; `free_user` tells when none is.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `receiver` is NULL;
/// COMETD_E_INVALID_STATE: a callback of another kind is installed (cometd_receiver_set_events_callback, _set_wake);
/// COMETD_E_SYSTEM: no thread could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls
/// `free_user` (may be NULL), once: after the callback was replaced or removed, or the
/// receiver was freed. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_set_callback(
    receiver: *mut cometd_receiver,
    r#fn: cometd_event_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let queue = unsafe { cometd_receiver::queue(receiver) }?;
        set_callback(&queue, r#fn, user, free_user)
    })
}

/// Has events given to a function many at a time instead of to cometd_receiver_poll, from the oldest on
/// that was not taken yet; see cometd_events_fn. NULL as `fn` removes it again.
///
/// It takes the place of one that was set by this function. While another kind is installed, by
/// cometd_receiver_set_callback or cometd_receiver_set_wake, it is refused. For the rest it is as
/// cometd_receiver_set_callback.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `receiver` is NULL; COMETD_E_INVALID_STATE: a callback of another
/// kind is installed; COMETD_E_SYSTEM: no
/// thread could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls
/// `free_user` (may be NULL), once: after the callback was replaced or removed, or the
/// receiver was freed. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_set_events_callback(
    receiver: *mut cometd_receiver,
    r#fn: cometd_events_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let queue = unsafe { cometd_receiver::queue(receiver) }?;
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
/// cometd_receiver_set_callback or cometd_receiver_set_events_callback, it is refused, and so
/// are these while it is installed. The descriptor works beside it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `receiver` is NULL; COMETD_E_INVALID_STATE: a callback of another
/// kind is installed; COMETD_E_SYSTEM: no
/// thread could be started; COMETD_E_FORKED. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls
/// `free_user` (may be NULL), once: after the function was replaced or removed, or the
/// receiver was freed. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_receiver_set_wake(
    receiver: *mut cometd_receiver,
    r#fn: cometd_wake_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let queue = unsafe { cometd_receiver::queue(receiver) }?;
        set_wake(&queue, r#fn, user, free_user)
    })
}
