//! How events are taken out of a queue: of a client's own receiver and of any
//! other.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use super::boundary::{timeout, write};
use super::event::{cometd_event, cometd_event_fn, cometd_events_fn, cometd_wake_fn};
use super::host::cometd_free_fn;
use super::status::{cometd_status, COMETD_CLOSED, COMETD_NONE, COMETD_OK};
use crate::delivery::{Callback, Dispatcher, Event, HostData, Occupied, Polled, Queue};
use crate::error::{Error, ErrorKind};

/// Takes one event.
pub(super) fn poll(
    queue: &Queue,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
) -> Result<cometd_status, Error> {
    let timeout = timeout(timeout_ms).map_err(|error| error.of(queue.name()))?;
    Ok(match queue.poll(timeout) {
        Polled::Event(event) => {
            write(out, Box::into_raw(Box::new(cometd_event::owned(event))));
            COMETD_OK
        }
        Polled::Nothing => COMETD_NONE,
        Polled::Closed => COMETD_CLOSED,
        Polled::HasCallback => {
            return Err(Error::call(
                ErrorKind::InvalidState,
                "a callback is installed, which gets the events",
            )
            .of(queue.name()))
        }
    })
}

/// Takes up to `cap` events; `out` is not NULL and has room for them.
pub(super) unsafe fn poll_many(
    queue: &Queue,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
) -> usize {
    let mut count = 0;
    if let Ok(timeout) = timeout(timeout_ms) {
        if cap > 0 {
            queue.poll_each(timeout, cap, |event| {
                let event = Box::into_raw(Box::new(cometd_event::owned(event)));
                write(out.wrapping_add(count), event);
                count += 1;
            });
        }
    }
    unsafe { clear(out.wrapping_add(count), cap - count) };
    count
}

/// Sets the rest of an output of events to NULL; returns 0.
pub(super) unsafe fn clear(out: *mut *mut cometd_event, count: usize) -> usize {
    // SAFETY: not NULL, and with room for so many, as the caller checked.
    unsafe { out.write_bytes(0, count) };
    0
}

pub(super) fn set_callback(
    queue: &Queue,
    function: cometd_event_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> Result<cometd_status, Error> {
    let Some(function) = function else {
        return Ok(remove(queue, user, free_user, |it| {
            matches!(it, Callback::Event(_))
        }));
    };
    install(queue, user, free_user, |data| {
        Callback::Event(Box::new(move |event: Event| {
            let event = cometd_event::borrowed(event);
            // SAFETY: the host gave the function for this, and keeps `user` alive
            // until it is freed by `data`, which this closure owns.
            data.call(|user| unsafe { function(user, &event) });
            event.finish();
        }))
    })
}

pub(super) fn set_events_callback(
    queue: &Queue,
    function: cometd_events_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> Result<cometd_status, Error> {
    let Some(function) = function else {
        return Ok(remove(queue, user, free_user, |it| {
            matches!(it, Callback::Events(_))
        }));
    };
    install(queue, user, free_user, |data| {
        Callback::Events(Box::new(move |events: Vec<Event>| {
            let events: Vec<_> = events.into_iter().map(cometd_event::borrowed).collect();
            let borrowed: Vec<*const cometd_event> = events.iter().map(ptr::from_ref).collect();
            // SAFETY: as above; the events outlive the call.
            data.call(|user| unsafe { function(user, borrowed.as_ptr(), borrowed.len()) });
            events.into_iter().for_each(cometd_event::finish);
        }))
    })
}

pub(super) fn set_wake(
    queue: &Queue,
    function: cometd_wake_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> Result<cometd_status, Error> {
    let Some(function) = function else {
        return Ok(remove(queue, user, free_user, |it| {
            matches!(it, Callback::Wake(_))
        }));
    };
    install(queue, user, free_user, |data| {
        Callback::Wake(Box::new(move || {
            // SAFETY: as above.
            data.call(|user| unsafe { function(user) });
        }))
    })
}

fn install(
    queue: &Queue,
    user: *mut c_void,
    free_user: cometd_free_fn,
    callback: impl FnOnce(Arc<HostData>) -> Callback,
) -> Result<cometd_status, Error> {
    let dispatcher = Dispatcher::shared().map_err(|error| {
        Error::call(
            ErrorKind::System,
            format!("no thread for callbacks could be started: {error}"),
        )
        .of(queue.name())
    })?;
    let data = Arc::new(HostData::unarmed(user));
    queue
        .install(callback(data.clone()), dispatcher)
        .map_err(|Occupied| {
            Error::call(
                ErrorKind::InvalidState,
                "a callback of another kind is installed",
            )
            .of(queue.name())
        })?;
    // What was refused stays the host's.
    data.arm(free_user);
    Ok(COMETD_OK)
}

fn remove(
    queue: &Queue,
    user: *mut c_void,
    free_user: cometd_free_fn,
    is_kind: impl Fn(&Callback) -> bool,
) -> cometd_status {
    queue.remove(is_kind);
    drop(HostData::new(user, free_user));
    COMETD_OK
}
