//! What one response or frame says, message by message.

use super::flights::Flight;
use super::socket::SocketId;
use super::RequestId;
use crate::bayeux::Message;

/// The id of a message, as far as it can be one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    /// Absent, null, or of a type that no id has.
    Missing,
    Number(u64),
    /// Not one that this client gives.
    Foreign,
}

impl Id {
    pub(super) fn of(message: &Message) -> Self {
        let Some(json) = message.id_json() else {
            return Self::Missing;
        };
        let quoted = json.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let is_number = json.starts_with(|it: char| it.is_ascii_digit() || it == '-');
        match quoted {
            Some("") => Self::Missing,
            None if !is_number => Self::Missing,
            _ => {
                let text = quoted.unwrap_or(json);
                // Some servers have no integers.
                let text = text.strip_suffix(".0").unwrap_or(text);
                text.parse().map_or(Self::Foreign, Self::Number)
            }
        }
    }
}

/// What a reply answers, apart from handshakes, connects and disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyTo {
    Pending(u64),
    Call(u64),
    /// An earlier attempt of a publish that is about to be sent again.
    Late(u64),
    /// Nothing that is still waited for.
    Nothing,
}

#[derive(Debug)]
pub(super) enum Item {
    /// These are events: the first, and the one behind the last.
    Events(u32, u32),
    /// The awaited handshake's reply, a successful one.
    Handshake(u32),
    Reply(u32, ReplyTo),
}

impl Item {
    pub(super) fn is_answer(&self) -> bool {
        !matches!(self, Self::Events(..) | Self::Reply(_, ReplyTo::Nothing))
    }
}

/// Where messages come from.
pub(super) enum Source {
    /// The response to this request, which is under way no longer.
    Response(RequestId, Flight),
    /// A frame, which answers any requests of its socket.
    Socket(SocketId),
}

/// All that a response says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub items: Vec<Item>,
    pub events: u64,
    pub unusable: usize,
    /// The awaited handshake was accepted.
    pub handshake_accepted: bool,
    /// It was refused.
    pub handshake_refusal: Option<u32>,
    pub connect: Option<u32>,
    /// The server's own disconnect.
    pub ending: Option<u32>,
    /// The reply to ours.
    pub disconnected: bool,
}

impl Said {
    pub(super) fn event(&mut self, index: u32) {
        self.events += 1;
        match self.items.last_mut() {
            Some(Item::Events(_, end)) if *end == index => *end += 1,
            _ => self.items.push(Item::Events(index, index + 1)),
        }
    }
}
