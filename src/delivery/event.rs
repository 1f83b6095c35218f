//! What a host gets to see.

use std::mem::size_of;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use super::tracker::Ticket;
use crate::bayeux::body::OwnedMessage;
use crate::error::{Error, Phase};
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

/// A notice that counts until one of the receivers has given it out.
#[derive(Debug)]
pub(super) struct Unread {
    counter: Arc<AtomicUsize>,
    read: AtomicBool,
}

impl Unread {
    pub(super) fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self {
            counter: counter.clone(),
            read: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self) {
        if !self.read.swap(true, Ordering::SeqCst) {
            self.counter.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Notice {
    /// Whether it ends a command of the host's.
    pub fn is_outcome(&self) -> bool {
        match self {
            Self::Subscribed { renewed, .. } => !renewed,
            Self::Unsubscribed { .. } | Self::Published { .. } | Self::Result { .. } => true,
            Self::Error { id, .. } => *id != 0,
            Self::State { .. } | Self::Advice { .. } | Self::Closed => false,
        }
    }

    pub(super) fn is_failed_publish(&self) -> bool {
        matches!(self, Self::Error { id, error } if *id != 0 && error.phase == Phase::Publish)
    }

    /// About how much memory it takes, with the copies that C gets of its texts.
    pub fn size(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |it| it.len());
        let error = |it: &Error| {
            it.message.len()
                + it.channel.as_ref().map_or(0, String::len)
                + it.bayeux.as_ref().map_or(0, |it| it.text.len())
                + text(&it.reply_ext)
                + text(&it.reply_error)
        };
        let texts = match self {
            Self::Closed => 0,
            Self::State { ext, .. } => text(ext),
            Self::Subscribed { channel, ext, .. }
            | Self::Unsubscribed { channel, ext, .. }
            | Self::Published { channel, ext, .. } => channel.len() + text(ext),
            // The message is in its body, once.
            Self::Result { error: None, .. } => 0,
            Self::Result {
                error: Some(it), ..
            } => error(it),
            Self::Advice { json } => json.len(),
            Self::Error { error: it, .. } => error(it),
        };
        let shared = match self {
            Self::Result { message, ext, .. } => message.share() + 2 * text(ext),
            _ => 0,
        };
        size_of::<Self>() + 2 * texts + shared
    }
}
