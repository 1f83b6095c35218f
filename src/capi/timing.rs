//! How long things may take, and how often and when they are tried again.

use super::boundary::{milliseconds, positive_milliseconds};
use super::builder::{cometd_client_builder, set, set_time};
use super::status::cometd_status;
use crate::client::Builder;

/// As a number of retries: for ever. The default.
pub const COMETD_RETRY_FOREVER: u32 = 0xFFFF_FFFF_u32;

/// Sets for how long the server is asked to hold a connect without events
/// (advice.timeout of the handshake; Bayeux 1.0, section 3.2). Also how long a hold is
/// taken to be as long as the server does not say so itself.
///
/// `timeout_ms` is at least 0; the default is 60000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is negative.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_timeout_ms(
    builder: *mut cometd_client_builder,
    timeout_ms: i32,
) -> cometd_status {
    let time = || milliseconds("timeout_ms", timeout_ms);
    unsafe { set_time("set_timeout_ms", builder, time, Builder::set_timeout) }
}

/// Sets which pause between connects the handshake suggests to the server
/// (advice.interval). What the server then advises is what is done.
///
/// `interval_ms` is at least 0; the default is 0.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `interval_ms` is negative.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_interval_ms(
    builder: *mut cometd_client_builder,
    interval_ms: i32,
) -> cometd_status {
    let time = || milliseconds("interval_ms", interval_ms);
    unsafe { set_time("set_interval_ms", builder, time, Builder::set_interval) }
}

/// Sets how long a request may take, on top of the time for which the server holds it.
/// Then it has failed. Connecting, DNS and TLS count. A response that is arriving at 1024 bytes a second or
/// more is waited for, up to ten times as long. Over a WebSocket the time is that of its opening, of each reply from when
/// its message was written, and of what follows a ping.
///
/// `request_timeout_ms` is at least 1; the default is 10000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: it is less than 1.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_request_timeout_ms(
    builder: *mut cometd_client_builder,
    request_timeout_ms: i32,
) -> cometd_status {
    let time = || positive_milliseconds("request_timeout_ms", request_timeout_ms);
    unsafe {
        set_time(
            "set_request_timeout_ms",
            builder,
            time,
            Builder::set_request_timeout,
        )
    }
}

/// Sets how many attempts may follow a failure of the handshake or of the connect loop,
/// in a row, before the client ends with a fatal error. A successful connect starts the
/// count anew. That a server forgets a session that worked does not count.
///
/// `retries` is 0 or more; COMETD_RETRY_FOREVER is the default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_number_of_retries(
    builder: *mut cometd_client_builder,
    retries: u32,
) -> cometd_status {
    unsafe {
        set("set_number_of_retries", builder, |it| {
            it.set_number_of_retries((retries != COMETD_RETRY_FOREVER).then_some(retries));
            Ok(())
        })
    }
}

/// Sets the waits between failed attempts: each one of a row is `increment_ms` longer than
/// the one before, up to `max_ms`. 10 to 20 percent are added to each, so that clients
/// which lost the same server do not come back all at once, and what the server asks for
/// (advice.interval, Retry-After) counts on top. Never are there more than 12 handshakes in
/// a minute, and with the default waits never more than 1250 requests that neither bring events nor were asked for by
/// the program, whatever a server says; connects that fail are tried again without a pause when both are 0.
///
/// `increment_ms` is at least 0, the default is 1000; `max_ms` is not less than that, the
/// default is 30000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: one is negative, or `max_ms` is less than `increment_ms`.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_backoff_ms(
    builder: *mut cometd_client_builder,
    increment_ms: i32,
    max_ms: i32,
) -> cometd_status {
    unsafe {
        set("set_backoff_ms", builder, |it| {
            it.set_backoff(
                milliseconds("increment_ms", increment_ms)?,
                milliseconds("max_ms", max_ms)?,
            )
        })
    }
}
