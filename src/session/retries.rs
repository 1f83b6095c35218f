//! Publishes that are sent again until the server has answered, by the host's
//! choice for each of them: at least once, where all others are sent at most
//! once.
//!
//! Every attempt carries the same message id, so that a server or a
//! subscriber can tell them apart from new messages, and so that the reply to
//! any of them counts.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::backoff::Backoff;
use super::commands::{Queued, Verb};
use super::deadlines::Deadlines;
use super::pending::Pending;
use super::{Command, Millis, OperationId, Session};
use crate::bayeux::Reconnect;
use crate::error::{Error, ErrorKind, Failure, Phase};

/// What is known of such a publish.
#[derive(Debug)]
pub(super) struct Retried {
    pub data: Box<RawValue>,
    /// Given at the first attempt.
    pub message_id: Option<u64>,
    /// How often it may still be sent; `None`: as often as it takes.
    attempts_left: Option<u32>,
    /// How often it was sent.
    attempts: u32,
    backoff: Backoff,
    /// Why the last attempt failed.
    last_failure: Option<String>,
}

impl Retried {
    /// Counts an attempt.
    pub(super) fn sent(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.attempts_left = self.attempts_left.map(|left| left.saturating_sub(1));
    }
}

#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Those that failed, until their next attempt.
    waiting: BTreeMap<(Millis, OperationId), Queued>,
    deadlines: Deadlines,
}

impl Retries {
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let attempt = self.waiting.first_key_value().map(|((at, _), _)| *at);
        attempt.into_iter().chain(self.deadlines.next()).min()
    }

    pub(super) fn forget(&mut self, operation: OperationId) {
        self.deadlines.forget(operation);
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Queued> {
        self.deadlines.clear();
        std::mem::take(&mut self.waiting).into_values()
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.waiting.len(), self.deadlines.len()]
    }
}

impl Session {
    pub(super) fn accept_retried(&mut self, command: Command, batch: u64) {
        let Command::PublishWithRetries {
            id,
            channel,
            data,
            attempts,
            deadline,
        } = command
        else {
            return;
        };
        if let Some(deadline) = deadline {
            self.commands.retries.deadlines.set(id, deadline);
        }
        let verb = Verb::PublishRetried(Box::new(Retried {
            data,
            message_id: None,
            attempts_left: attempts,
            attempts: 0,
            backoff: Backoff::new(
                self.configuration.backoff_increment,
                self.configuration.backoff_maximum,
            ),
            last_failure: None,
        }));
        let queued = Queued::new(id, channel, verb);
        self.commands.enqueue(Queued { batch, ..queued });
    }

    /// Whether a failed publish will be sent again; otherwise it comes back,
    /// to be ended with the error.
    pub(super) fn retry(
        &mut self,
        now: Millis,
        mut pending: Pending,
        error: &mut Error,
        not_before: Millis,
    ) -> Option<Pending> {
        let Some(mut retried) = pending.retried.take() else {
            return Some(pending);
        };
        if retried.attempts_left == Some(0) || self.disconnecting.is_some() {
            error.message = format!(
                "{} (given up after {} attempts)",
                error.message, retried.attempts
            );
            self.commands.retries.forget(pending.operation);
            return Some(pending);
        }
        // Without the error's text, which may hold what the server was told as a
        // secret; the last one is told with the end.
        tracing::debug!(
            target: "cometd::session",
            operation = pending.operation,
            attempts = retried.attempts,
            kind = ?error.kind,
            "a publish will be sent again"
        );
        let wait = retried.backoff.after();
        let at = now.saturating_add(self.jitter.add(wait).max(not_before));
        retried.last_failure = Some(std::mem::take(&mut error.message));
        let (operation, channel) = (pending.operation, pending.channel);
        let queued = Queued::new(operation, channel, Verb::PublishRetried(retried));
        let waiting = &mut self.commands.retries.waiting;
        waiting.insert((at, operation), queued);
        None
    }

    /// Puts those whose time has come back in line.
    pub(super) fn resend(&mut self, now: Millis) {
        let later = (now.saturating_add(1), 0);
        let waiting = &mut self.commands.retries.waiting;
        let still = waiting.split_off(&later);
        for queued in std::mem::replace(waiting, still).into_values() {
            self.commands.enqueue(queued);
        }
    }

    /// A last attempt for all that wait for one: the session is about to end.
    pub(super) fn resend_all(&mut self) {
        for queued in std::mem::take(&mut self.commands.retries.waiting).into_values() {
            self.commands.enqueue(queued);
        }
    }

    /// Ends those whose time is up, wherever they are.
    pub(super) fn retries_timed_out(&mut self, now: Millis) {
        while let Some(operation) = self.commands.retries.deadlines.expired(now) {
            self.commands.retries.forget(operation);
            let Some((channel, retried)) = self.take_retried(|it, _| it == operation) else {
                continue;
            };
            let mut text = "publish: not accepted within its time limit".to_owned();
            match (retried.attempts, retried.last_failure) {
                (0, _) => text.push_str("; it was not sent"),
                (attempts, None) => text.push_str(&format!("; sent {attempts} times")),
                (attempts, Some(why)) => {
                    text.push_str(&format!("; sent {attempts} times, at last {why}"));
                }
            }
            let error = Error::new(ErrorKind::Timeout, Phase::Publish, text);
            self.emit_failed(operation, channel, error);
        }
    }

    /// Whether a successful reply belongs to an earlier attempt of a publish
    /// that was about to be sent again; then it is done.
    pub(super) fn accepted_late(&mut self, message_id: u64, channel: Option<&str>) -> bool {
        let mut operation = 0;
        let found = self.take_retried(|id, (on, retried)| {
            let is_it = retried.message_id == Some(message_id) && Some(on) == channel;
            if is_it {
                operation = id;
            }
            is_it
        });
        let Some((channel, _)) = found else {
            return false;
        };
        self.commands.retries.forget(operation);
        self.emit(super::Event::Published {
            id: operation,
            channel,
        });
        true
    }

    /// Takes a publish out, wherever it is.
    fn take_retried(
        &mut self,
        mut is_it: impl FnMut(OperationId, (&str, &Retried)) -> bool,
    ) -> Option<(String, Box<Retried>)> {
        let commands = &mut self.commands;
        let mut is_queued = |queued: &Queued| match &queued.verb {
            Verb::PublishRetried(retried) => is_it(queued.operation, (&queued.channel, retried)),
            _ => false,
        };
        let waiting = &mut commands.retries.waiting;
        let key = waiting
            .iter()
            .find(|(_, queued)| is_queued(queued))
            .map(|(key, _)| *key);
        let mut queued = key.and_then(|key| waiting.remove(&key));
        if queued.is_none() {
            let place = commands.queue.iter().position(&mut is_queued);
            queued = place.and_then(|place| commands.queue.remove(place));
        }
        if let Some(queued) = queued {
            return match queued.verb {
                Verb::PublishRetried(retried) => Some((queued.channel, retried)),
                _ => None,
            };
        }
        let id = commands.pending.iter().find_map(|(id, pending)| {
            let retried = pending.retried.as_deref()?;
            is_it(pending.operation, (&pending.channel, retried)).then_some(id)
        })?;
        let pending = commands.pending.remove(id)?;
        Some((pending.channel, pending.retried?))
    }
}

/// Whether the server may take at another time what it has refused now.
pub(super) fn may_be_accepted_later(advised: Option<Reconnect>, code: i32) -> bool {
    match advised {
        Some(Reconnect::None) => false,
        Some(_) => true,
        // An unknown session, or trouble of the server's own.
        None => code == 402 || (500..600).contains(&code),
    }
}

/// Whether another attempt may do better than this one.
pub(super) fn is_passing(failure: &Failure) -> bool {
    // The message will not get smaller, and what the host's own code has
    // dropped is not wanted.
    failure.http_status != 413 && failure.kind != ErrorKind::MessageDeleted
}
