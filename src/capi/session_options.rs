//! What sessions are asked to do: the servers that they go to, when they end,
//! and extensions of CometD's.

use std::ffi::c_char;

use super::builder::{cometd_client_builder, set_choice, set_switch, set_text};
use super::status::cometd_status;
use crate::client::Builder;
use crate::session::Timestamp;

/// Sets whether the server is asked to acknowledge: to keep the events of each connect reply until
/// the next connect says that they have arrived (CometD's message acknowledgement extension, "ack").
/// What was lost with a connection is then sent again; an event may so come twice. Events that the
/// library has in its queues count as arrived. Servers without the extension are not disturbed by it.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_acknowledgement(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set_switch(
            "set_acknowledgement",
            builder,
            Builder::set_acknowledgement,
            enabled,
        )
    }
}

/// Adds the URL of a further server, to go to when those before it do not give a session: after a handshake that
/// failed on the way (a refusal is an answer, and no reason to ask another server), and after three failures of
/// the connect in a row. Then the session is a new one, and the subscriptions are made anew. After the last server
/// comes the first; the waits between attempts are those of cometd_client_builder_set_backoff_ms.
///
/// `url` is as in cometd_client_builder_new, of the same scheme as the first, without user and password. Authorization,
/// headers and added cookies go to all of them; so do base paths. There can be 16 in all.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or a base path that was set names another host;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_URL: it is no http or https URL, of another scheme than the first, or holds a
/// user; COMETD_E_OUT_OF_RANGE: there are 16.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_add_url(
    builder: *mut cometd_client_builder,
    url: *const c_char,
) -> cometd_status {
    unsafe { set_text("add_url", builder, "url", url, Builder::add_url) }
}

/// Sets whether a server may send the client to other hosts (advice.hosts; Bayeux 1.0, section 3.2): they are asked in
/// their order when it wants a new handshake, or fails. Authorization, headers and cookies that were added go there as
/// well, so turn it on only for servers that you trust with that. Whether or not, the advice is told by
/// COMETD_EVENT_ADVICE.
///
/// `enabled` is false by default. Scheme, path and, unless the advice names another, port stay those of the first URL.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_follow_hosts(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set_switch(
            "set_follow_hosts",
            builder,
            Builder::set_follow_hosts,
            enabled,
        )
    }
}

/// Sets whether a client ends when its first session cannot be had for a reason that does not pass by itself, instead of
/// trying for ever: for programs whose user is there to put it right. These are: no such host, TLS (a certificate that
/// nobody trusts; plain HTTP on the port), a response that is not HTTP, a redirect that is not followed, and HTTP 400, 404,
/// 405, 406, 410, 411, 413, 414, 415, 431, 501 and 505. All else is tried again as without it: a server may be down, busy or
/// slow, and a resolver out of reach. With several servers each of them must have failed so, one after the other.
///
/// The end is a fatal error, as any other. Once the client has had a session, the option does nothing.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_fail_fast(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe { set_switch("set_fail_fast", builder, Builder::set_fail_fast, enabled) }
}

/// Messages do not say when they are sent.
pub const COMETD_TIMESTAMP_NONE: i32 = 0;
/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7), as CometD's own clients write it.
pub const COMETD_TIMESTAMP_HTTP: i32 = 1;
/// "1994-11-06T08:49:37.12", in UTC (Bayeux 1.0, section 3.4).
pub const COMETD_TIMESTAMP_ISO: i32 = 2;

/// Sets whether the server's clock is asked for, with each message to a meta channel (CometD's timesync extension); see
/// cometd_client_server_time. Servers without the extension are not disturbed by it.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_timesync(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe { set_switch("set_timesync", builder, Builder::set_timesync, enabled) }
}

/// Sets whether each message has a `timestamp` field, the time at which it is sent by this machine's clock (CometD's
/// timestamp extension).
///
/// `format` is COMETD_TIMESTAMP_NONE (the default), COMETD_TIMESTAMP_HTTP or COMETD_TIMESTAMP_ISO.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `format` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_timestamp(
    builder: *mut cometd_client_builder,
    format: i32,
) -> cometd_status {
    let choices = [
        (COMETD_TIMESTAMP_NONE, None),
        (COMETD_TIMESTAMP_HTTP, Some(Timestamp::Http)),
        (COMETD_TIMESTAMP_ISO, Some(Timestamp::Iso)),
    ];
    unsafe {
        set_choice(
            "set_timestamp",
            builder,
            "format",
            format,
            choices,
            Builder::set_timestamp,
        )
    }
}

/// Sets what follows when the server ends the session by itself: with a /meta/disconnect, with
/// the advice not to reconnect on a connect that succeeded, or with a negative interval. By default that is
/// the client's end, with a fatal COMETD_E_SERVER_DISCONNECTED. With this option it is an error that is not fatal, a
/// pause of at least one backoff increment, a new handshake, and the subscriptions anew. A refusal, such as
/// that of a token, stays final, and so it is when the retries are used up.
///
/// `enabled` is false by default. Some servers end sessions in the ordinary course of things, Salesforce among them.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_restart(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe { set_switch("set_restart", builder, Builder::set_restart, enabled) }
}
