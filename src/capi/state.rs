//! Where a client stands.

use std::ffi::c_char;

use crate::error::{Error, ErrorKind};
use crate::session::State;

/// Where a client stands: one of COMETD_STATE_….
pub type cometd_state = i32;

/// Built, not yet connected.
pub const COMETD_STATE_IDLE: i32 = 0;
/// The first handshake is under way, or tried again.
pub const COMETD_STATE_HANDSHAKING: i32 = 1;
/// There is a session; its first connect is under way.
pub const COMETD_STATE_CONNECTING: i32 = 2;
/// The last connect was answered; events arrive.
pub const COMETD_STATE_CONNECTED: i32 = 3;
/// There is a session, but the last connect failed; it is tried again.
pub const COMETD_STATE_UNCONNECTED: i32 = 4;
/// The session was lost; a new handshake is under way, or tried again.
pub const COMETD_STATE_REHANDSHAKING: i32 = 5;
/// The host has asked for the end, which is under way.
pub const COMETD_STATE_DISCONNECTING: i32 = 6;
/// The end. A client is not connected a second time; another one is built.
pub const COMETD_STATE_CLOSED: i32 = 7;

pub(super) fn state_number(state: State) -> cometd_state {
    match state {
        State::Idle => COMETD_STATE_IDLE,
        State::Handshaking => COMETD_STATE_HANDSHAKING,
        State::Connecting => COMETD_STATE_CONNECTING,
        State::Connected => COMETD_STATE_CONNECTED,
        State::Unconnected => COMETD_STATE_UNCONNECTED,
        State::Rehandshaking => COMETD_STATE_REHANDSHAKING,
        State::Disconnecting => COMETD_STATE_DISCONNECTING,
        State::Closed => COMETD_STATE_CLOSED,
    }
}

pub(super) fn state_of(number: cometd_state) -> Result<State, Error> {
    Ok(match number {
        COMETD_STATE_IDLE => State::Idle,
        COMETD_STATE_HANDSHAKING => State::Handshaking,
        COMETD_STATE_CONNECTING => State::Connecting,
        COMETD_STATE_CONNECTED => State::Connected,
        COMETD_STATE_UNCONNECTED => State::Unconnected,
        COMETD_STATE_REHANDSHAKING => State::Rehandshaking,
        COMETD_STATE_DISCONNECTING => State::Disconnecting,
        COMETD_STATE_CLOSED => State::Closed,
        other => {
            return Err(Error::call(
                ErrorKind::OutOfRange,
                format!("state: {other} is none of the constants"),
            ))
        }
    })
}

/// The name of a state, for people to read: "CONNECTED".
///
/// **Returns** the name; "UNKNOWN" for a number that is no state.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_state_name(state: cometd_state) -> *const c_char {
    let name = match state {
        COMETD_STATE_IDLE => c"IDLE",
        COMETD_STATE_HANDSHAKING => c"HANDSHAKING",
        COMETD_STATE_CONNECTING => c"CONNECTING",
        COMETD_STATE_CONNECTED => c"CONNECTED",
        COMETD_STATE_UNCONNECTED => c"UNCONNECTED",
        COMETD_STATE_REHANDSHAKING => c"REHANDSHAKING",
        COMETD_STATE_DISCONNECTING => c"DISCONNECTING",
        COMETD_STATE_CLOSED => c"CLOSED",
        _ => c"UNKNOWN",
    };
    name.as_ptr()
}
