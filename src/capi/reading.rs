//! How events are taken out of a queue: of a client's own receiver and of any
//! other.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use super::boundary::{required, timeout, write};
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
    match queue.poll(timeout) {
        Polled::Event(event) => {
            write(out, Box::into_raw(Box::new(cometd_event::owned(event))));
            Ok(COMETD_OK)
        }
        other => status(other, queue),
    }
}

/// Takes up to `cap` events; `out` is not NULL and has room for them.
pub(super) unsafe fn poll_many(
    queue: &Queue,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
) -> usize {
    let count = match timeout(timeout_ms) {
        Ok(timeout) if cap > 0 => take_many(queue, timeout, out, cap).0,
        _ => 0,
    };
    unsafe { clear(out.wrapping_add(count), cap - count) };
    count
}

/// The same, and says why there are none. `out` is NULL or has room for them; `count` was
/// written.
pub(super) unsafe fn poll_events(
    queue: Result<Arc<Queue>, Error>,
    timeout_ms: i32,
    out: *mut *mut cometd_event,
    cap: usize,
    count: *mut usize,
) -> Result<cometd_status, Error> {
    let out = required("out", out)?;
    // Whatever is refused below leaves none there.
    unsafe { clear(out, cap) };
    let count = required("count", count)?;
    let queue = queue?;
    let timeout = timeout(timeout_ms).map_err(|error| error.of(queue.name()))?;
    if cap == 0 {
        return Err(Error::call(ErrorKind::OutOfRange, "cap: is at least 1").of(queue.name()));
    }
    let (found, end) = take_many(&queue, timeout, out, cap);
    write(count, found);
    match end {
        _ if found > 0 => Ok(COMETD_OK),
        end => status(end, &queue),
    }
}

/// Takes up to `cap`, for which there is room. Returns how many there are, and why there are none.
fn take_many(
    queue: &Queue,
    timeout: Option<Duration>,
    out: *mut *mut cometd_event,
    cap: usize,
) -> (usize, Polled) {
    let mut count = 0;
    let end = queue.poll_each(timeout, cap, |event| {
        let event = Box::into_raw(Box::new(cometd_event::owned(event)));
        write(out.wrapping_add(count), event);
        count += 1;
    });
    (count, end)
}

/// Of a poll that found no event.
fn status(polled: Polled, queue: &Queue) -> Result<cometd_status, Error> {
    match polled {
        Polled::Event(_) => Ok(COMETD_OK),
        Polled::Nothing => Ok(COMETD_NONE),
        Polled::Closed => Ok(COMETD_CLOSED),
        Polled::HasCallback => Err(Error::call(
            ErrorKind::InvalidState,
            "a callback is installed, which gets the events",
        )
        .of(queue.name())),
    }
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
