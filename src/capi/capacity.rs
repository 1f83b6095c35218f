//! How much a client holds and takes, and what happens above that.

use super::builder::{cometd_client_builder, set, set_choice, set_switch};
use super::status::cometd_status;
use crate::client::Builder;
use crate::delivery::Overflow;

/// When a queue is full, nothing more is sent until there is room, neither the
/// next /meta/connect nor what the host publishes, and nothing is dropped by the
/// library. The default. Only messages fill a queue: outcomes and states that nobody
/// reads hold up no connect before they take 64 MiB.
pub const COMETD_OVERFLOW_BLOCK: i32 = 0;
/// When a queue is full, its oldest messages make room for new ones.
pub const COMETD_OVERFLOW_DROP_OLDEST: i32 = 1;
/// When a queue is full, new messages are dropped.
pub const COMETD_OVERFLOW_DROP_NEWEST: i32 = 2;

/// Sets the bounds of each receiver's queue.
///
/// With COMETD_OVERFLOW_BLOCK the queue is full when it holds `events` events of any kind,
/// or `bytes` bytes of them; what one response brings is taken in as a whole. With the other
/// policies it holds at most so many messages, and one of any size; the events that are never
/// dropped make the client wait when there are `events` (at least 1024) of them.
///
/// Both are at least 1; the defaults are 10000 events and 67108864 bytes.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: one is 0.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_events_capacity(
    builder: *mut cometd_client_builder,
    events: usize,
    bytes: usize,
) -> cometd_status {
    unsafe {
        set("set_events_capacity", builder, |it| {
            it.set_events_capacity(events, bytes)
        })
    }
}

/// Sets how many messages of subscribe, unsubscribe and publish, one for each channel, may
/// wait for their outcome, or for the program to read it: the outcomes that the fullest receiver
/// holds count as well. Above that these functions return COMETD_E_FULL, and the error says which.
///
/// `commands` is at least 1; the default is 10000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `commands` is 0.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_commands_capacity(
    builder: *mut cometd_client_builder,
    commands: usize,
) -> cometd_status {
    unsafe {
        set("set_commands_capacity", builder, |it| {
            it.set_commands_capacity(commands)
        })
    }
}

/// Sets what happens when a receiver's queue is full.
///
/// `policy` is COMETD_OVERFLOW_BLOCK (the default), COMETD_OVERFLOW_DROP_OLDEST or
/// COMETD_OVERFLOW_DROP_NEWEST. Only messages are ever dropped, and each one is counted in a
/// COMETD_EVENT_DROPPED. With BLOCK all receivers of a client have to be read, or none of them
/// gets anything more; and a server forgets a session that does not connect for long. That it waits is
/// told by a log line of COMETD_LOG_WARN, at most one a minute, and by cometd_client_statistics.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `policy` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_overflow(
    builder: *mut cometd_client_builder,
    policy: i32,
) -> cometd_status {
    let choices = [
        (COMETD_OVERFLOW_BLOCK, Overflow::Block),
        (COMETD_OVERFLOW_DROP_OLDEST, Overflow::DropOldest),
        (COMETD_OVERFLOW_DROP_NEWEST, Overflow::DropNewest),
    ];
    unsafe {
        set_choice(
            "set_overflow",
            builder,
            "policy",
            policy,
            choices,
            Builder::set_overflow,
        )
    }
}

/// Sets how large a response may be, after decompression. A larger one is a failure,
/// COMETD_E_TOO_LARGE. Memory is taken as bytes come; when there is none for what comes,
/// the failure is COMETD_E_SYSTEM. Without regard to this, the headers of a response are at
/// most 262144 bytes, interim responses included, or it is COMETD_E_MALFORMED_HTTP. A message that comes over a WebSocket
/// may be as large, and a larger one is the same failure: the socket is closed with the code 1009.
///
/// `bytes` is 1 to 2147483647; the default is 16777216.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `bytes` is not in the range.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_response_capacity(
    builder: *mut cometd_client_builder,
    bytes: usize,
) -> cometd_status {
    unsafe {
        set("set_response_capacity", builder, |it| {
            it.set_response_capacity(bytes)
        })
    }
}

/// Sets how large the server takes a request, or a frame of a WebSocket. A message that would make a larger one, counted
/// as its channel, its data and 256 bytes for what the protocol adds, is refused where it is published, with
/// COMETD_E_TOO_LARGE; several are divided, those of a batch too. Servers answer a larger one with an error, or end the
/// connection: CometD's own limit is 1048576 bytes, Salesforce's 32768.
///
/// `bytes` is 1024 to 2147483647; by default there is no limit.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `bytes` is not in the range.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_request_capacity(
    builder: *mut cometd_client_builder,
    bytes: usize,
) -> cometd_status {
    unsafe {
        set("set_request_capacity", builder, |it| {
            it.set_request_capacity(bytes)
        })
    }
}

/// Sets whether the client is itself a receiver of its events. A program that reads them only
/// through receivers of cometd_receiver_new turns it off; otherwise the client's own queue,
/// which nobody reads, fills up.
///
/// `enabled` is true by default. Without it cometd_client_poll returns
/// COMETD_E_INVALID_STATE.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_own_receiver(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set_switch(
            "set_own_receiver",
            builder,
            Builder::set_own_receiver,
            enabled,
        )
    }
}
