//! How events are taken out of a queue: of a client's own receiver and of any
//! other.

use std::ffi::c_void;

use super::boundary::{timeout, write};
use super::event::{cometd_event, cometd_event_fn};
use super::host::cometd_free_fn;
use super::status::{cometd_status, COMETD_CLOSED, COMETD_NONE, COMETD_OK};
use crate::delivery::{Dispatcher, Event, HostData, Polled, Queue};
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
        queue.set_callback(None);
        drop(HostData::new(user, free_user));
        return Ok(COMETD_OK);
    };
    let dispatcher = Dispatcher::shared().map_err(|error| {
        Error::call(
            ErrorKind::System,
            format!("no thread for callbacks could be started: {error}"),
        )
        .of(queue.name())
    })?;
    let data = HostData::new(user, free_user);
    let callback = Box::new(move |event: Event| {
        let event = cometd_event::borrowed(event);
        // SAFETY: the host gave the function for this, and keeps `user` alive
        // until it is freed by `data`, which this closure owns.
        data.call(|user| unsafe { function(user, &event) });
        event.finish();
    });
    queue.set_callback(Some((callback, dispatcher)));
    Ok(COMETD_OK)
}
