//! Subscribe and unsubscribe.

use std::ffi::c_char;
use std::ptr::null_mut;

use super::client::cometd_client;
use super::error::cometd_error;
use super::opaque::{subscribe, unsubscribe};
use super::status::cometd_status;

/// Subscribes to channels: asks the server for their messages. A channel may end in "/*" (one
/// segment) or "/**" (one or more). Behind a '?' anything may stand that is no control character, such as
/// Salesforce's filters: "/topic/A?Subject='5 * 3'". One message is sent for each channel, all
/// in one request; before the handshake is done they are held.
///
/// For each channel exactly one event follows, with the id and the channel: COMETD_EVENT_SUBSCRIBED, or
/// COMETD_EVENT_ERROR. A subscription lives until it is unsubscribed: when the session is lost, the
/// library subscribes again by itself, and says with the id 0 what failed. Each one
/// that is back is told by a further COMETD_EVENT_SUBSCRIBED with this id; see cometd_event_is_renewed.
///
/// `channels` has `count` channels, at least 1. `*id` (may be NULL) receives the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channels` or one of them is
/// NULL, or `count` is 0; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: one is not a channel
/// ("foo", "/a//b", a "**" before the end), is a meta channel, or is longer than 4096 bytes; the error names it,
/// and none was accepted; COMETD_E_FULL: too many wait for their outcome, or for the program to read it, see
/// cometd_client_builder_set_commands_capacity; COMETD_E_CLOSED: the client has been disconnected or
/// has ended; COMETD_E_FORKED; with a replay store, the negative status that its function for loading
/// returned, or COMETD_E_OUT_OF_RANGE: what it gave is no position; then nothing was accepted.
/// **Threads** any. **Blocks** never, except for what the host's own function for loading does.
/// **Ownership** the channels are copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_subscribe(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { subscribe(client, channels, count, null_mut(), id, err) }
}

/// Ends subscriptions: asks the server for no more messages of these channels. Those that are under way
/// may still arrive. One message is sent for each channel, all in one request; before the handshake is done
/// they are held.
///
/// For each channel exactly one event follows, with the id and the channel:
/// COMETD_EVENT_UNSUBSCRIBED, or COMETD_EVENT_ERROR. Even then the subscription is not made again when
/// the session is lost.
///
/// `channels` has `count` channels, at least 1. `*id` (may be NULL) receives the id, never 0.
///
/// **Returns** COMETD_OK: accepted; COMETD_E_INVALID_ARGUMENT: `client`, `channels` or one of them is
/// NULL, or `count` is 0; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_CHANNEL: one is not a channel
/// ("foo", "/a//b", a "**" before the end), is a meta channel, or is longer than 4096 bytes; the error names it,
/// and none was accepted; COMETD_E_FULL: too many wait for their outcome, or for the program to read it, see
/// cometd_client_builder_set_commands_capacity; COMETD_E_CLOSED: the client has been disconnected or
/// has ended; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** the channels are copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_unsubscribe(
    client: *mut cometd_client,
    channels: *const *const c_char,
    count: usize,
    id: *mut u64,
    err: *mut *mut cometd_error,
) -> cometd_status {
    unsafe { unsubscribe(client, channels, count, null_mut(), id, err) }
}
