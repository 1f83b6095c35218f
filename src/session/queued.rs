//! A message that waits to be sent.

use serde_json::value::RawValue;

use super::replay::Start;
use super::retries::Retried;
use super::OperationId;
use crate::error::Phase;

#[derive(Debug)]
pub(super) enum Verb {
    Subscribe(Start),
    Unsubscribe,
    Publish(Box<RawValue>),
    PublishBinary(Box<RawValue>),
    PublishRetried(Box<Retried>),
    Call(Box<RawValue>),
}

impl Verb {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Subscribe(_) => Phase::Subscribe,
            Self::Unsubscribe => Phase::Unsubscribe,
            Self::Publish(_) | Self::PublishBinary(_) | Self::PublishRetried(_) => Phase::Publish,
            Self::Call(_) => Phase::Call,
        }
    }

    pub(super) fn data(&self) -> Option<&RawValue> {
        match self {
            Self::Subscribe(_) | Self::Unsubscribe => None,
            Self::Publish(data) | Self::PublishBinary(data) | Self::Call(data) => Some(data),
            Self::PublishRetried(retried) => Some(&retried.data),
        }
    }
}

/// One message that waits to be sent.
#[derive(Debug)]
pub(super) struct Queued {
    /// 0 for what the library does by itself.
    pub operation: OperationId,
    pub channel: String,
    pub verb: Verb,
    /// The number of a subscribe's call.
    pub call: u64,
    /// An unsubscribe of what the host has subscribed to.
    pub is_ours: bool,
    /// Was refused by a server that had lost the session.
    pub second_try: bool,
    /// Which batch it belongs to; 0 for none.
    pub batch: u64,
    /// Travels in a request of its own: one before may have failed for it.
    pub alone: bool,
}

impl Queued {
    pub(super) fn new(operation: OperationId, channel: String, verb: Verb) -> Self {
        Self {
            operation,
            channel,
            verb,
            call: 0,
            is_ours: false,
            second_try: false,
            batch: 0,
            alone: false,
        }
    }
}
