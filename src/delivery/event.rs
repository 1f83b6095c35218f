//! What a host gets to see.

use std::ffi::CString;
use std::fmt;
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
        /// What the host gave with the call, 0 for none; so below.
        opaque: usize,
        /// Whether no other outcome of the call comes; so below.
        ends: bool,
        channel: String,
        ext: Option<Box<str>>,
        renewed: bool,
    },
    Unsubscribed {
        id: OperationId,
        opaque: usize,
        ends: bool,
        channel: String,
        ext: Option<Box<str>>,
    },
    Published {
        id: OperationId,
        opaque: usize,
        ends: bool,
        channel: String,
        ext: Option<Box<str>>,
    },
    Result {
        id: OperationId,
        opaque: usize,
        ends: bool,
        message: OwnedMessage,
        error: Option<Error>,
        ext: Option<Box<str>>,
    },
    Error {
        id: OperationId,
        opaque: usize,
        ends: bool,
        error: Error,
    },
    Advice {
        json: String,
    },
    /// All that was called before a flush has its outcome.
    Flushed {
        id: OperationId,
        opaque: usize,
        error: Option<Error>,
    },
    Exported {
        id: OperationId,
        opaque: usize,
        session: Result<Exported, Error>,
    },
    /// There is room for calls again, after one was refused.
    Room,
    Closed,
}

/// A session as a text.
#[derive(Clone)]
pub struct Exported(pub CString);

impl fmt::Debug for Exported {
    /// It is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exported(…)")
    }
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
    /// The id of the call that it belongs to, 0 for none, and what the host gave with it.
    pub fn call(&self) -> (OperationId, usize) {
        match self {
            Self::Subscribed { id, opaque, .. }
            | Self::Unsubscribed { id, opaque, .. }
            | Self::Published { id, opaque, .. }
            | Self::Result { id, opaque, .. }
            | Self::Error { id, opaque, .. }
            | Self::Flushed { id, opaque, .. }
            | Self::Exported { id, opaque, .. } => (*id, *opaque),
            Self::State { .. } | Self::Advice { .. } | Self::Room | Self::Closed => (0, 0),
        }
    }

    /// Whether it is the last outcome of a call.
    pub fn ends_call(&self) -> bool {
        match self {
            Self::Subscribed { ends, .. }
            | Self::Unsubscribed { ends, .. }
            | Self::Published { ends, .. }
            | Self::Result { ends, .. }
            | Self::Error { ends, .. } => *ends,
            Self::Flushed { .. } | Self::Exported { .. } => true,
            Self::State { .. } | Self::Advice { .. } | Self::Room | Self::Closed => false,
        }
    }

    /// Whether it ends a command of the host's.
    pub fn is_outcome(&self) -> bool {
        match self {
            Self::Subscribed { renewed, .. } => !renewed,
            Self::Unsubscribed { .. }
            | Self::Published { .. }
            | Self::Result { .. }
            | Self::Flushed { .. }
            | Self::Exported { .. } => true,
            Self::Error { id, .. } => *id != 0,
            Self::State { .. } | Self::Advice { .. } | Self::Room | Self::Closed => false,
        }
    }

    /// Whether it is for receivers of outcomes alone, too.
    pub(super) fn is_for_outcomes(&self) -> bool {
        self.is_outcome() || matches!(self, Self::Room | Self::Closed)
    }

    pub(super) fn is_failed_publish(&self) -> bool {
        matches!(self, Self::Error { id, error, .. } if *id != 0 && error.phase == Phase::Publish)
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
            Self::Room | Self::Closed | Self::Flushed { error: None, .. } => 0,
            Self::Exported {
                session: Ok(Exported(text)),
                ..
            } => text.as_bytes().len(),
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
            Self::Error { error: it, .. }
            | Self::Flushed {
                error: Some(it), ..
            }
            | Self::Exported {
                session: Err(it), ..
            } => error(it),
        };
        let shared = match self {
            Self::Result { message, ext, .. } => message.share() + 2 * text(ext),
            _ => 0,
        };
        size_of::<Self>() + 2 * texts + shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::{Body, ErrorText};
    use crate::error::ErrorKind;

    fn text(length: usize) -> Option<Box<str>> {
        Some("t".repeat(length).into())
    }

    fn result(pad: usize, error: Option<Error>, ext: Option<Box<str>>) -> Notice {
        let body = format!(r#"[{{"channel":"/c","data":"{}"}}]"#, "p".repeat(pad));
        let body = Arc::new(Body::parse(body.into_bytes()).unwrap());
        Notice::Result {
            id: 1,
            opaque: 0,
            ends: true,
            message: OwnedMessage::new(body, 0),
            error,
            ext,
        }
    }

    fn error(length: usize) -> Error {
        let mut error = Error::new(ErrorKind::Refused, Phase::Publish, "m".repeat(length));
        error.channel = Some("c".repeat(length));
        error.bayeux = Some(ErrorText::parse(&"b".repeat(length)));
        error.reply_ext = text(length);
        error.reply_error = text(length);
        error
    }

    #[test]
    fn a_notice_is_as_large_as_what_it_holds_and_the_copies_for_c_contract_8() {
        let channel = |length| "c".repeat(length);
        let of = |length: usize| -> Vec<Notice> {
            let state = crate::session::State::Connected;
            vec![
                Notice::State {
                    state,
                    previous: state,
                    ext: text(length),
                },
                Notice::Subscribed {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    channel: channel(length),
                    ext: text(length),
                    renewed: false,
                },
                Notice::Unsubscribed {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    channel: channel(length),
                    ext: text(length),
                },
                Notice::Published {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    channel: channel(length),
                    ext: text(length),
                },
                Notice::Advice {
                    json: channel(length),
                },
                Notice::Error {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    error: error(length),
                },
                result(0, Some(error(length)), text(length)),
            ]
        };
        let texts = [1, 2, 2, 2, 1, 5, 6];
        for ((small, large), texts) in of(10).iter().zip(of(1_010)).zip(texts) {
            assert!(small.size() >= size_of::<Notice>(), "{small:?}");
            let more = large.size() - small.size();
            assert_eq!(more, 2 * texts * 1_000, "{small:?}");
        }
        assert_eq!(Notice::Closed.size(), size_of::<Notice>());
        // A result keeps its body.
        for pad in [0, 1_000] {
            let result = result(pad, None, None);
            let Notice::Result { message, .. } = &result else {
                unreachable!()
            };
            assert!(message.share() > pad);
            assert_eq!(result.size(), size_of::<Notice>() + message.share());
        }
    }

    #[test]
    fn outcomes_are_what_ends_a_call_of_the_hosts_contract_6() {
        let subscribed = |renewed| Notice::Subscribed {
            id: 1,
            opaque: 0,
            ends: true,
            channel: String::new(),
            ext: None,
            renewed,
        };
        let failed = |id, phase| Notice::Error {
            id,
            opaque: 0,
            ends: true,
            error: Error::new(ErrorKind::Refused, phase, "it failed"),
        };
        let state = crate::session::State::Connected;
        for (notice, is_outcome, is_failed_publish) in [
            (subscribed(false), true, false),
            (subscribed(true), false, false),
            (result(0, None, None), true, false),
            (failed(0, Phase::Publish), false, false),
            (failed(1, Phase::Publish), true, true),
            (failed(1, Phase::Subscribe), true, false),
            (Notice::Advice { json: "".into() }, false, false),
            (Notice::Closed, false, false),
            (
                Notice::State {
                    state,
                    previous: state,
                    ext: None,
                },
                false,
                false,
            ),
        ] {
            assert_eq!(notice.is_outcome(), is_outcome, "{notice:?}");
            assert_eq!(notice.is_failed_publish(), is_failed_publish, "{notice:?}");
        }
    }
}
