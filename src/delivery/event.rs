//! What a host gets to see.

use std::sync::Arc;

use super::tracker::Ticket;
use crate::bayeux::body::OwnedMessage;
use crate::error::Error;
use crate::session::{OperationId, State};

/// One event.
#[derive(Debug)]
pub enum Event {
    /// A message on a channel that was subscribed to.
    Message(OwnedMessage),
    /// The same; somebody wants to know when the host is done with it.
    Tracked(OwnedMessage, Box<Ticket>),
    /// Anything else; never dropped.
    Notice(Arc<Notice>),
    /// So many messages were dropped here.
    Dropped(u64),
}

#[derive(Debug)]
pub enum Notice {
    State {
        state: State,
        previous: State,
        /// Of the reply that brought it about, JSON; so below.
        ext: Option<Box<str>>,
    },
    Subscribed {
        id: OperationId,
        channel: String,
        ext: Option<Box<str>>,
        renewed: bool,
    },
    Unsubscribed {
        id: OperationId,
        channel: String,
        ext: Option<Box<str>>,
    },
    Published {
        id: OperationId,
        channel: String,
        ext: Option<Box<str>>,
    },
    Result {
        id: OperationId,
        message: OwnedMessage,
        error: Option<Error>,
        ext: Option<Box<str>>,
    },
    Error {
        id: OperationId,
        error: Error,
    },
    Advice {
        json: String,
    },
    Closed,
}

impl Notice {
    /// About how much memory it takes, for the bound of the queue.
    pub fn size(&self) -> usize {
        64 + match self {
            Self::State { .. } | Self::Closed => 0,
            Self::Subscribed { channel, .. }
            | Self::Unsubscribed { channel, .. }
            | Self::Published { channel, .. } => channel.len(),
            Self::Result { message, .. } => message.share(),
            Self::Advice { json } => 2 * json.len(),
            Self::Error { error, .. } => 2 * error.message.len(),
        }
    }
}
