//! How a socket has ended: the codes of RFC 6455, section 7.4.1, and of its
//! registry.

use crate::bayeux::error_text::one_line;
use crate::error::{ErrorKind, Failure};
use crate::transport::leniencies::Leniencies;

pub const PROTOCOL_ERROR: u16 = 1002;
/// There was a close frame, without a code.
pub const NO_CODE: u16 = 1005;
/// There was no close frame.
pub const ABNORMAL: u16 = 1006;
pub const INVALID_DATA: u16 = 1007;
pub const TOO_BIG: u16 = 1009;

/// A reason is at most 123 bytes long.
const MAXIMUM_REASON: usize = 123;

fn meaning(code: u16) -> Option<&'static str> {
    Some(match code {
        1000 => "normal closure",
        1001 => "going away",
        PROTOCOL_ERROR => "protocol error",
        1003 => "unsupported data",
        NO_CODE => "no code",
        ABNORMAL => "no close frame",
        INVALID_DATA => "invalid data",
        1008 => "policy violation",
        TOO_BIG => "message too big",
        1010 => "extension missing",
        1011 => "unexpected condition",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        _ => return None,
    })
}

fn kind(code: u16) -> ErrorKind {
    match code {
        PROTOCOL_ERROR | 1003 | INVALID_DATA | 1010 => ErrorKind::Protocol,
        TOO_BIG => ErrorKind::TooLarge,
        _ => ErrorKind::ConnectionLost,
    }
}

/// What the server's close frame says, given its payload.
pub fn closed(payload: &[u8], leniencies: &Leniencies) -> Failure {
    let (code, reason) = match payload.split_first_chunk() {
        Some((code, reason)) => (u16::from_be_bytes(*code), reason),
        None => (NO_CODE, &[][..]),
    };
    let mut text = format!("the server closed the WebSocket: {code}");
    if let Some(meaning) = meaning(code) {
        text.push_str(&format!(" ({meaning})"));
    }
    // One that is a secret and a line of its own must be found before it is one line.
    let reason = leniencies.redacted(String::from_utf8_lossy(reason).into_owned());
    let reason = leniencies.redacted(one_line(&reason, MAXIMUM_REASON));
    if !reason.is_empty() {
        text.push_str(": ");
        text.push_str(&reason);
    }
    let mut failure = lost(kind(code), text, code);
    failure.websocket_reason = u16::try_from(reason.len()).unwrap_or(u16::MAX);
    failure
}

/// A socket that ended without a close frame, or had to be ended.
pub fn lost(kind: ErrorKind, text: impl Into<String>, code: u16) -> Failure {
    let mut failure = Failure::new(kind, text);
    failure.websocket_code = code;
    failure
}
