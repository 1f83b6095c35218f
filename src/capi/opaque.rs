//! Calls with a value of the program's, which their events give back. Those without one
//! are the same with NULL.

use std::ffi::{c_char, c_void};

use super::boundary::{self, bytes, null, positive_milliseconds, text, write};
use super::client::{cometd_client, with};
use super::error::cometd_error;
use super::status::{cometd_status, COMETD_OK};
use super::timing::COMETD_RETRY_FOREVER;
use crate::client::Client;
use crate::error::{Error, ErrorKind};

/// One call: accepted, and the id that it has.
unsafe fn call(
    client: *mut cometd_client,
    id: *mut u64,
    err: *mut *mut cometd_error,
    accept: impl FnOnce(&Client) -> Result<u64, Error>,
) -> cometd_status {
    write(id, 0);
    unsafe {
        with(client, err, |client| {
            write(id, accept(client)?);
            Ok(COMETD_OK)
        })
    }
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

pub(super) unsafe fn subscribe(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            client.subscribe_opaque(channel_list(channels, count)?, opaque as usize)
        })
    }
}

pub(super) unsafe fn unsubscribe(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            client.unsubscribe_opaque(channel_list(channels, count)?, opaque as usize)
        })
    }
}

unsafe fn subscribe_channel(
    client: *mut cometd_client,
    channel: *const c_char,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            let channel = text("channel", channel)?.to_owned();
            client.subscribe_opaque(vec![channel], opaque as usize)
        })
    }
}

unsafe fn unsubscribe_channel(
    client: *mut cometd_client,
    channel: *const c_char,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            let channel = text("channel", channel)?.to_owned();
            client.unsubscribe_opaque(vec![channel], opaque as usize)
        })
    }
}

pub(super) unsafe fn publish(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            let channel = text("channel", channel)?;
            client.publish_opaque(channel, bytes("json", json, len)?, opaque as usize)
        })
    }
}

#[allow(clippy::too_many_arguments)] // those of the C function
pub(super) unsafe fn publish_binary(
    client: *mut cometd_client,
    channel: *const c_char,
    bytes: *const c_void,
    len: usize,
    last: bool,
    meta: *const c_char,
    meta_len: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            let channel = text("channel", channel)?;
            let bytes = match (bytes.is_null(), len) {
                (true, 0) => &[],
                _ => boundary::bytes("bytes", bytes.cast(), len)?,
            };
            let meta = match meta.is_null() {
                true => None,
                false => Some(boundary::bytes("meta", meta, meta_len)?),
            };
            client.publish_binary_opaque(channel, bytes, last, meta, opaque as usize)
        })
    }
}

#[allow(clippy::too_many_arguments)] // those of the C function
pub(super) unsafe fn publish_with_retries(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    timeout_ms: i32,
    attempts: u32,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
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
            client.publish_with_retries_opaque(channel, json, timeout, attempts, opaque as usize)
        })
    }
}

#[allow(clippy::too_many_arguments)] // those of the C function
pub(super) unsafe fn remote_call(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    timeout_ms: i32,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        call(client, id, err, |client| {
            let channel = text("channel", channel)?;
            let json = bytes("json", json, len)?;
            let timeout = positive_milliseconds("timeout_ms", timeout_ms)?;
            client.remote_call_opaque(channel, json, timeout, opaque as usize)
        })
    }
}

/// As cometd_client_subscribe, with a value of the program's that cometd_event_opaque gives back: with
/// each event that has the call's id, also when the library has subscribed again, and with each
/// COMETD_EVENT_ERROR without an id that tells of such an attempt. So an event that comes before the call has
/// returned finds its caller.
///
/// Where several calls subscribe to one channel, each outcome has the value of its own call; what the library
/// does by itself has that of the first of them that gave one. Messages have none. After
/// cometd_client_resume no event has a value that was given before.
///
/// `opaque` is any value, NULL for none. The library neither looks at it nor frees it. `*id` (may be NULL)
/// receives the id, never 0.
///
/// **Returns** as cometd_client_subscribe; when it is not COMETD_OK, no event has the value.
/// **Threads** any. **Blocks** never, except for what the host's own function for loading does.
/// **Ownership** `opaque` stays the program's. The last event with it is: where the subscribe failed, that
/// COMETD_EVENT_ERROR; else what ends the subscription, which is COMETD_EVENT_UNSUBSCRIBED or
/// COMETD_EVENT_ERROR of a cometd_client_unsubscribe, a COMETD_EVENT_ERROR of the library's own attempt
/// without cometd_error_retry_in, or COMETD_EVENT_CLOSED; for a call with several channels when that
/// holds for each. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_subscribe_opaque(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { subscribe(client, channels, count, opaque, id, err) }
}

/// As cometd_client_unsubscribe, with a value of the program's that cometd_event_opaque gives back with
/// each event that has the call's id. So an event that comes before the call has returned finds its caller.
///
/// `opaque` is any value, NULL for none. The library neither looks at it nor frees it. `*id` (may be NULL)
/// receives the id, never 0.
///
/// **Returns** as cometd_client_unsubscribe; when it is not COMETD_OK, no event has the value.
/// **Threads** any. **Blocks** never. **Ownership** `opaque` stays the program's; each channel has one event
/// with it. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_unsubscribe_opaque(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { unsubscribe(client, channels, count, opaque, id, err) }
}

/// As cometd_client_publish, with a value of the program's that cometd_event_opaque gives back with
/// the event that has the call's id. So an event that comes before the call has returned finds its caller.
///
/// `opaque` is any value, NULL for none. The library neither looks at it nor frees it. `*id` (may be NULL)
/// receives the id, never 0.
///
/// **Returns** as cometd_client_publish; when it is not COMETD_OK, no event has the value.
/// **Threads** any. **Blocks** never. **Ownership** `opaque` stays the program's; one event has it. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_publish_opaque(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { publish(client, channel, json, len, opaque, id, err) }
}

/// As cometd_client_publish_binary, with a value of the program's that cometd_event_opaque gives back with
/// the event that has the call's id. So an event that comes before the call has returned finds its caller.
///
/// `opaque` is any value, NULL for none. The library neither looks at it nor frees it. `*id` (may be NULL)
/// receives the id, never 0.
///
/// **Returns** as cometd_client_publish_binary; when it is not COMETD_OK, no event has the value.
/// **Threads** any. **Blocks** never. **Ownership** `opaque` stays the program's; one event has it. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_publish_binary_opaque(
    client: *mut cometd_client,
    channel: *const c_char,
    bytes: *const c_void,
    len: usize,
    last: bool,
    meta: *const c_char,
    meta_len: usize,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        publish_binary(
            client, channel, bytes, len, last, meta, meta_len, opaque, id, err,
        )
    }
}

/// As cometd_client_publish_with_retries, with a value of the program's that cometd_event_opaque gives back with
/// the event that has the call's id. So an event that comes before the call has returned finds its caller.
///
/// `opaque` is any value, NULL for none. The library neither looks at it nor frees it. `*id` (may be NULL)
/// receives the id, never 0.
///
/// **Returns** as cometd_client_publish_with_retries; when it is not COMETD_OK, no event has the value.
/// **Threads** any. **Blocks** never. **Ownership** `opaque` stays the program's; one event has it. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_publish_with_retries_opaque(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    timeout_ms: i32,
    attempts: u32,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe {
        publish_with_retries(
            client, channel, json, len, timeout_ms, attempts, opaque, id, err,
        )
    }
}

/// As cometd_client_remote_call, with a value of the program's that cometd_event_opaque gives back with
/// the event that has the call's id. So an event that comes before the call has returned finds its caller.
///
/// `opaque` is any value, NULL for none. The library neither looks at it nor frees it. `*id` (may be NULL)
/// receives the id, never 0.
///
/// **Returns** as cometd_client_remote_call; when it is not COMETD_OK, no event has the value.
/// **Threads** any. **Blocks** never. **Ownership** `opaque` stays the program's; one event has it. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_remote_call_opaque(
    client: *mut cometd_client,
    channel: *const c_char,
    json: *const c_char,
    len: usize,
    timeout_ms: i32,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { remote_call(client, channel, json, len, timeout_ms, opaque, id, err) }
}

/// As cometd_client_subscribe_opaque, for one channel.
///
/// **Returns** as cometd_client_subscribe.
/// **Threads** any. **Blocks** as cometd_client_subscribe. **Ownership** the channel is copied; `opaque` stays the
/// program's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_subscribe_one(
    client: *mut cometd_client,
    channel: *const c_char,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { subscribe_channel(client, channel, opaque, id, err) }
}

/// As cometd_client_unsubscribe_opaque, for one channel.
///
/// **Returns** as cometd_client_unsubscribe.
/// **Threads** any. **Blocks** as cometd_client_unsubscribe. **Ownership** the channel is copied; `opaque` stays the
/// program's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_unsubscribe_one(
    client: *mut cometd_client,
    channel: *const c_char,
    opaque: *mut c_void,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { unsubscribe_channel(client, channel, opaque, id, err) }
}
