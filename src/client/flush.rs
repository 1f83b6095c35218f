//! Waiting for the outcomes of all that was accepted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::outcomes::undelivered;
use super::{Client, Waited};
use crate::error::{Error, ErrorKind, Phase};
use crate::runtime::lock;
use crate::session::OperationId;

impl Client {
    /// Waits until every call that was accepted before has its outcome, whether or not
    /// the host reads it; `None` waits without limit. It is an error when publishes
    /// have failed, or when waiting longer would be in vain.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<Waited, Error> {
        let shared = &self.shared;
        let flush = {
            let mut mailbox = lock(&shared.mailbox);
            mailbox.post_batch();
            let last = shared.last_operation.load(Ordering::SeqCst);
            shared.outcomes.begin(last)
        };
        shared.commands_came.notify_one();
        let is_started = lock(&self.unstarted).is_none();
        let timeout = match is_started {
            true => timeout,
            false => Some(Duration::ZERO),
        };
        let left = shared.outcomes.wait(flush, timeout);
        let refuse = |kind, why: String| Err(Error::new(kind, Phase::Publish, why));
        match left.messages {
            0 if left.failed == 0 => Ok(Waited::Reached),
            0 => refuse(
                ErrorKind::Undelivered,
                format!("flush: {}", undelivered(left.failed)),
            ),
            _ if left.ended => Ok(Waited::Closed),
            messages if !is_started => refuse(
                ErrorKind::InvalidState,
                format!("flush: {messages} messages wait, and connect was not called"),
            ),
            messages if shared.hub.waiting().0 => refuse(
                ErrorKind::Full,
                format!(
                    "flush: {messages} messages wait for their outcome; nothing is sent, because a \
                     queue is full of messages: read its events"
                ),
            ),
            _ => Ok(Waited::TimedOut),
        }
    }

    /// The same without waiting: an event tells it.
    pub fn start_flush(&self, opaque: usize) -> Result<OperationId, Error> {
        let shared = &self.shared;
        let (id, mailbox) = self.begin_call()?;
        if let Some(flush) = shared.outcomes.begin_told(id, opaque) {
            // Under the lock that the end takes too: it is told before that.
            shared.tell_of_call(flush.into_notice(&shared.name));
        }
        drop(mailbox);
        shared.commands_came.notify_one();
        shared.hub.wake();
        Ok(id)
    }
}
