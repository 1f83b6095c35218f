//! Publishes that are sent again until the server has answered, by the host's
//! choice for each of them: at least once, where all others are sent at most
//! once.
//!
//! Every attempt carries the same message id, so that a server or a
//! subscriber can tell them apart from new messages, and so that the reply to
//! any of them counts.

#[cfg(test)]
use std::collections::VecDeque;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::backoff::{counted, Backoff};
use super::commands::Commands;
use super::deadlines::Deadlines;
use super::pending::Pending;
use super::queued::{Queued, Verb};
use super::refusals::ext_of;
use super::{Command, Event, Millis, OperationId, Session};
use crate::bayeux::Message;
use crate::error::{Error, ErrorKind, Failure, Phase};

/// What is known of such a publish.
#[derive(Debug)]
pub(super) struct Retried {
    pub data: Box<RawValue>,
    /// Given at the first attempt.
    pub message_id: Option<u64>,
    /// How often it may be sent; `None`: as often as it takes.
    maximum_attempts: Option<u32>,
    /// How often it was sent.
    attempts: u32,
    backoff: Backoff,
    /// Why the last attempt failed.
    last_failure: Option<String>,
    /// The last attempt had a request of its own.
    was_alone: bool,
    /// Further ones have.
    stays_alone: bool,
}

impl Retried {
    /// Counts an attempt.
    pub(super) fn sent(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// It travelled in a request of so many messages.
    pub(super) fn travelled(&mut self, messages: usize) {
        self.was_alone = messages == 1;
    }

    /// Whether another attempt may do better than the one that failed.
    pub(super) fn may_pass(&mut self, failure: &Failure) -> bool {
        // What the host's own code has dropped is not wanted, and a message
        // does not get smaller; a request of several does.
        if failure.kind == ErrorKind::MessageDeleted
            || (failure.http_status == 413 && self.was_alone)
        {
            return false;
        }
        // It may be this one for which the server did not take the request.
        self.stays_alone |= matches!(failure.http_status, 400 | 413);
        true
    }
}

#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Those that failed, until their next attempt.
    waiting: BTreeMap<(Millis, OperationId), Queued>,
    /// The same, and those of them that are back in line: by message id, their
    /// places in `waiting` and their channels. Servers may send replies to
    /// nothing by the thousand; each costs one look at this.
    between: BTreeMap<u64, (Millis, OperationId, String)>,
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
        self.between.clear();
        std::mem::take(&mut self.waiting).into_values()
    }

    /// It is sent again.
    pub(super) fn sent(&mut self, message_id: u64) {
        self.between.remove(&message_id);
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.waiting.len(), self.deadlines.len()]
    }

    /// Whether it knows of each that was sent and waits, and of no others.
    #[cfg(test)]
    pub(super) fn is_consistent(&self, queue: &VecDeque<Queued>) -> bool {
        let waiting = self.waiting.values().chain(queue);
        let ids = waiting.filter_map(|queued| match &queued.verb {
            Verb::PublishRetried(retried) => retried.message_id,
            _ => None,
        });
        let ids: BTreeSet<u64> = ids.collect();
        ids.iter().eq(self.between.keys())
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
            maximum_attempts: attempts,
            attempts: 0,
            backoff: Backoff::new(
                self.configuration.backoff_increment,
                self.configuration.backoff_maximum,
            ),
            last_failure: None,
            was_alone: false,
            stays_alone: false,
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
        let is_last = |maximum| retried.attempts >= maximum;
        if retried.maximum_attempts.is_some_and(is_last) || self.disconnecting.is_some() {
            let attempts = counted(retried.attempts, "attempt");
            error.message = format!("{} (given up after {attempts})", error.message);
            self.commands.retries.forget(pending.operation);
            return Some(pending);
        }
        tracing::debug!(
            target: "cometd::session",
            operation = pending.operation,
            attempts = retried.attempts,
            // What a server says may repeat secrets; it is told with the end.
            failure = ?error.kind,
            "a publish will be sent again"
        );
        let wait = retried.backoff.after();
        let at = now.saturating_add(self.jitter.add(wait).max(not_before));
        retried.last_failure = Some(std::mem::take(&mut error.message));
        let (operation, channel) = (pending.operation, pending.channel);
        let retries = &mut self.commands.retries;
        if let Some(message_id) = retried.message_id {
            let place = (at, operation, channel.clone());
            retries.between.insert(message_id, place);
        }
        let alone = retried.stays_alone;
        let queued = Queued::new(operation, channel, Verb::PublishRetried(retried));
        let queued = Queued { alone, ..queued };
        retries.waiting.insert((at, operation), queued);
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
        let expired = self.commands.retries.deadlines.take_expired(now);
        let mut taken = self.take_retried(&expired.iter().copied().collect());
        for operation in expired {
            let Some((channel, retried)) = taken.remove(&operation) else {
                continue;
            };
            let mut text = "publish: not accepted within its time limit".to_owned();
            match (retried.attempts, retried.last_failure) {
                (0, _) => text.push_str("; it was not sent"),
                (attempts, None) => text.push_str(&format!("; sent {}", counted(attempts, "time"))),
                (attempts, Some(why)) => {
                    let times = counted(attempts, "time");
                    text.push_str(&format!("; sent {times}, at last {why}"));
                }
            }
            let error = Error::new(ErrorKind::Timeout, Phase::Publish, text);
            self.emit_failed(operation, channel, error);
        }
    }

    /// A successful reply that nothing sent waits for may belong to an earlier
    /// attempt of a publish that is about to be sent again.
    pub(super) fn may_be_late(&self, message_id: u64, channel: Option<&str>) -> bool {
        let place = self.commands.retries.between.get(&message_id);
        place.is_some_and(|it| Some(it.2.as_str()) == channel)
    }

    /// It does; the publish is done.
    pub(super) fn accepted_late(&mut self, message_id: u64, reply: &Message) {
        let Commands { retries, .. } = &mut self.commands;
        let place = retries.between.get(&message_id);
        let Some((at, operation)) = place.map(|it| (it.0, it.1)) else {
            return;
        };
        let found = retries.waiting.remove(&(at, operation));
        let Some(Queued { channel, .. }) = found.or_else(|| self.commands.take_one(operation))
        else {
            return;
        };
        self.commands.retries.between.remove(&message_id);
        self.commands.retries.forget(operation);
        self.emit(Event::Published {
            id: operation,
            channel,
            ext: ext_of(reply),
        });
    }

    /// Takes publishes out, wherever they are.
    fn take_retried(
        &mut self,
        operations: &BTreeSet<OperationId>,
    ) -> BTreeMap<OperationId, (String, Box<Retried>)> {
        let mut taken = BTreeMap::new();
        if operations.is_empty() {
            return taken;
        }
        let mut gone = self.commands.take_queued(operations);
        let Commands {
            pending, retries, ..
        } = &mut self.commands;
        let waiting = retries.waiting.keys();
        let places = waiting.filter(|(_, operation)| operations.contains(operation));
        let places: Vec<_> = places.copied().collect();
        let waiting = places.iter().filter_map(|it| retries.waiting.remove(it));
        gone.extend(waiting);
        for queued in gone {
            if let Verb::PublishRetried(retried) = queued.verb {
                taken.insert(queued.operation, (queued.channel, retried));
            }
        }
        let sent = pending.iter();
        let sent = sent.filter(|(_, it)| operations.contains(&it.operation));
        let sent: Vec<u64> = sent.map(|(id, _)| id).collect();
        for pending in sent.into_iter().filter_map(|id| pending.remove(id)) {
            if let Some(retried) = pending.retried {
                taken.insert(pending.operation, (pending.channel, retried));
            }
        }
        for message_id in taken.values().filter_map(|(_, it)| it.message_id) {
            retries.between.remove(&message_id);
        }
        taken
    }
}
