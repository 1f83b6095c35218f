//! Subscribe, unsubscribe and publish: held until there is a session, sent in
//! the order in which they were called, each ended by exactly one event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::value::RawValue;

use super::calls::Calls;
use super::connection::refused;
use super::pending::{Pending, PendingMessages};
use super::replay::Start;
use super::retries::{may_be_accepted_later, Retried, Retries};
use super::{
    retry_after, Command, Event, Millis, OperationId, Output, Purpose, RequestId, Session, State,
};
use crate::bayeux::{meta, replay, Message, Reconnect, LONG_POLLING};
use crate::error::{Error, ErrorKind, Failure, Phase};

/// Messages that wait for each other are put into one request up to this many
/// bytes; a larger one goes alone. Salesforce refuses requests above 32 KiB.
const COMFORTABLE_REQUEST: usize = 32_000;

/// What a message takes beside its channel, its data and the client id; and how
/// much more with a timestamp, and with timesync: never less than it does.
const MESSAGE_OVERHEAD: usize = 100;
const TIMESTAMP_BYTES: usize = 50;
const TIMESYNC_BYTES: usize = 110;

#[derive(Debug)]
pub(super) enum Verb {
    Subscribe(Start),
    Unsubscribe,
    Publish(Box<RawValue>),
    PublishRetried(Box<Retried>),
    Call(Box<RawValue>),
}

impl Verb {
    fn phase(&self) -> Phase {
        match self {
            Self::Subscribe(_) => Phase::Subscribe,
            Self::Unsubscribe => Phase::Unsubscribe,
            Self::Publish(_) | Self::PublishRetried(_) => Phase::Publish,
            Self::Call(_) => Phase::Call,
        }
    }

    fn data(&self) -> Option<&RawValue> {
        match self {
            Self::Subscribe(_) | Self::Unsubscribe => None,
            Self::Publish(data) | Self::Call(data) => Some(data),
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
    /// Was refused by a server that had lost the session.
    pub second_try: bool,
    /// A subscribe that the host has since taken back by an unsubscribe.
    pub revoked: bool,
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
            second_try: false,
            revoked: false,
            batch: 0,
            alone: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    /// The server has accepted it in this session.
    Live,
    /// It must be made again: the session is new, or the last try failed.
    Wanted,
    /// It is being made again.
    Underway,
}

#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) queue: VecDeque<Queued>,
    /// At most one request at a time, so that the server sees the order.
    request: Option<RequestId>,
    pub(super) pending: PendingMessages,
    subscriptions: BTreeMap<String, Subscription>,
    /// Some subscription may be `Wanted`.
    some_wanted: bool,
    /// When those whose renewal failed are tried again.
    next_renewal: Option<Millis>,
    /// Renewals that failed in a row.
    failed_renewals: u32,
    last_batch: u64,
    pub(super) calls: Calls,
    pub(super) retries: Retries,
    /// A reply told that the server no longer knows the session.
    pub(super) session_lost: bool,
}

impl Commands {
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.pending
            .next_deadline()
            .into_iter()
            .chain(self.calls.next_deadline())
            .chain(self.retries.next_deadline())
            .min()
    }

    pub(super) fn request_ended(&mut self, request: RequestId) {
        if self.request == Some(request) {
            self.request = None;
        }
    }

    /// Nothing is being sent and nothing waits to be.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.request.is_none()
    }

    /// What was subscribed belongs to a session that is gone. A request that is
    /// still under way no longer holds up the new session's; what it brings says
    /// nothing of the new session.
    pub(super) fn session_ended(&mut self) {
        self.request = None;
        self.pending.retain(|pending| pending.operation != 0);
        self.pending.for_each(|pending| pending.stale = true);
        for subscription in self.subscriptions.values_mut() {
            *subscription = Subscription::Wanted;
        }
        self.some_wanted = true;
        self.drop_renewals();
    }

    /// The host wants these no more, whatever is still under way for them.
    fn revoke(&mut self, channels: &[String]) {
        let channels: BTreeSet<&str> = channels.iter().map(String::as_str).collect();
        for channel in &channels {
            self.subscriptions.remove(*channel);
        }
        // What looks at all that waits looks at the verb first: a host may
        // unsubscribe from thousands of channels, one by one.
        let is_one = |channel: &String| channels.contains(channel.as_str());
        self.queue
            .retain(|queued| queued.operation != 0 || !is_one(&queued.channel));
        for queued in &mut self.queue {
            if matches!(queued.verb, Verb::Subscribe(_)) {
                queued.revoked |= is_one(&queued.channel);
            }
        }
        self.pending.for_each(|pending| {
            if pending.phase == Phase::Subscribe {
                pending.revoked |= is_one(&pending.channel);
            }
        });
    }

    /// When renewals that failed are due.
    pub(super) fn next_renewal(&self) -> Option<Millis> {
        self.next_renewal.filter(|_| self.some_wanted)
    }

    /// Puts a subscribe back, which starts elsewhere or finds another session:
    /// behind those that were put back before it for another session, and before
    /// all that was called later.
    fn try_again(&mut self, pending: Pending, start: Start) {
        let place = self.queue.iter().take_while(|it| it.second_try).count();
        self.queue.insert(
            place,
            Queued {
                second_try: pending.second_try || start == Start::Usual,
                ..Queued::new(pending.operation, pending.channel, Verb::Subscribe(start))
            },
        );
    }

    pub(super) fn enqueue(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    /// Takes those of these operations out of the line.
    pub(super) fn take_queued(&mut self, operations: &BTreeSet<OperationId>) -> Vec<Queued> {
        let is_one = |queued: &Queued| operations.contains(&queued.operation);
        let mut taken = Vec::new();
        if self.queue.iter().any(is_one) {
            for queued in std::mem::take(&mut self.queue) {
                match is_one(&queued) {
                    true => taken.push(queued),
                    false => self.queue.push_back(queued),
                }
            }
        }
        taken
    }

    /// What is subscribed to, or may yet be.
    pub(super) fn subscribing(&self) -> impl Iterator<Item = &str> {
        let subscribed = self.subscriptions.keys().map(String::as_str);
        subscribed.chain(self.to_be_subscribed())
    }

    fn to_be_subscribed(&self) -> impl Iterator<Item = &str> {
        let queued = self
            .queue
            .iter()
            .filter(|it| matches!(it.verb, Verb::Subscribe(_)) && !it.revoked)
            .map(|it| it.channel.as_str());
        let pending = self
            .pending
            .iter()
            .filter(|(_, it)| it.phase == Phase::Subscribe && !it.revoked)
            .map(|(_, it)| it.channel.as_str());
        queued.chain(pending)
    }

    /// Whether one of those belongs to this topic.
    pub(super) fn needs_topic(&self, topic: &str) -> bool {
        let is_of_topic = |channel: &str| replay::topic(channel) == topic;
        // Channels of a topic are itself and those that go on with a query.
        let query = format!("{topic}?");
        let first = self.subscriptions.range(query..).next();
        self.subscriptions.contains_key(topic)
            || first.is_some_and(|(channel, _)| is_of_topic(channel))
            || self.to_be_subscribed().any(is_of_topic)
    }

    /// How much is waiting, pending and subscribed.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 3] {
        [
            self.queue.len() + self.retries.counts()[0],
            self.pending.len(),
            self.subscriptions.len(),
        ]
    }

    /// Forgets what the library itself would still have sent.
    pub(super) fn drop_renewals(&mut self) {
        self.queue.retain(|queued| queued.operation != 0);
    }
}

impl Session {
    pub(super) fn accept_command(&mut self, command: Command) {
        match command {
            Command::Batch(commands) => {
                self.commands.last_batch += 1;
                let batch = self.commands.last_batch;
                for command in commands {
                    self.enqueue(command, batch);
                }
            }
            command => self.enqueue(command, 0),
        }
    }

    fn enqueue(&mut self, command: Command, batch: u64) {
        if matches!(self.state, State::Disconnecting | State::Closed) {
            // The end stays the last, also for what came too late for it.
            let is_end = |output: &Output| {
                matches!(
                    output,
                    Output::Event(
                        Event::Closed
                            | Event::State {
                                state: State::Closed,
                                ..
                            }
                    )
                )
            };
            let end = self.outputs.iter().rposition(|it| !is_end(it));
            let at = end.map_or(0, |it| it + 1);
            for event in command.into_aborted().into_iter().rev() {
                self.outputs.insert(at, Output::Event(event));
            }
            return;
        }
        let (operation, messages): (_, Vec<(String, Verb)>) = match command {
            Command::Subscribe { id, channels } => {
                let starts = self.replay.starts(&channels);
                let messages = channels
                    .into_iter()
                    .zip(starts)
                    .map(|(channel, start)| (channel, Verb::Subscribe(start)));
                (id, messages.collect())
            }
            Command::Unsubscribe { id, channels } => {
                // From here on no re-handshake brings them back.
                self.commands.revoke(&channels);
                self.forget_positions_of(&channels);
                let messages = channels.into_iter().map(|it| (it, Verb::Unsubscribe));
                (id, messages.collect())
            }
            Command::Publish { id, channel, data } => (id, vec![(channel, Verb::Publish(data))]),
            Command::PublishWithRetries { .. } => {
                self.accept_retried(command, batch);
                return;
            }
            Command::Call {
                id,
                channel,
                data,
                deadline,
            } => {
                self.commands.calls.accept(id, deadline);
                (id, vec![(channel, Verb::Call(data))])
            }
            Command::ReplayFrom {
                topic,
                position,
                unless_known,
            } => {
                self.replay.start_next(topic, position, unless_known);
                return;
            }
            // A batch holds none of these.
            Command::Connect | Command::Batch(_) | Command::Disconnect { .. } | Command::Abort => {
                return
            }
        };
        for (channel, verb) in messages {
            let queued = Queued::new(operation, channel, verb);
            self.commands.enqueue(Queued { batch, ..queued });
        }
    }

    /// Sends what waits, as one request.
    pub(super) fn flush_commands(&mut self, now: Millis) {
        let has_session = matches!(
            self.state,
            State::Connecting | State::Connected | State::Unconnected | State::Disconnecting
        );
        if !has_session || self.commands.request.is_some() || self.commands.queue.is_empty() {
            return;
        }
        let Some(client_id) = self.client_id.clone() else {
            return;
        };
        let limit = self.configuration.request_timeout;
        let hard_limit = self.configuration.request_capacity;
        let soft_limit = hard_limit.map_or(COMFORTABLE_REQUEST, |it| it.min(COMFORTABLE_REQUEST));
        let mut messages = self.messages(now);
        let overhead = client_id.len()
            + MESSAGE_OVERHEAD
            + self.configuration.timestamp.map_or(0, |_| TIMESTAMP_BYTES);
        let meta_overhead = if self.configuration.timesync {
            TIMESYNC_BYTES
        } else {
            0
        };
        let mut sent = Vec::new();
        let (mut batch, mut alone) = (0, false);
        while let Some(queued) = self.commands.queue.front() {
            let size = queued.channel.len()
                + match &queued.verb {
                    Verb::Subscribe(_) => self.replay.room_for(&queued.channel) + meta_overhead,
                    Verb::Unsubscribe => meta_overhead,
                    verb => verb.data().map_or(0, |data| data.get().len()),
                }
                + overhead;
            // A batch is one request, as large as the server takes it.
            let divisible = queued.batch == 0
                || queued.batch != batch
                || hard_limit.is_some_and(|limit| messages.len() + size > limit);
            let full = alone || queued.alone || messages.len() + size > soft_limit;
            if divisible && !messages.is_empty() && full {
                break;
            }
            batch = queued.batch;
            alone = queued.alone;
            let Some(mut queued) = self.commands.queue.pop_front() else {
                break;
            };
            let id = match &mut queued.verb {
                Verb::PublishRetried(retried) => {
                    retried.sent();
                    let id = retried.message_id;
                    let id = id.unwrap_or_else(|| self.next_message_id());
                    retried.message_id = Some(id);
                    self.commands.retries.sent(id);
                    id
                }
                _ => self.next_message_id(),
            };
            let channel = &queued.channel;
            let mut position = None;
            match &queued.verb {
                Verb::Subscribe(start) => {
                    position = self.replay.subscribes(channel, *start, queued.revoked);
                    let field = position.and_then(|it| replay::field(channel, it));
                    let ext = self.meta_ext(now, field);
                    messages.subscribe(id, &client_id, channel, ext.as_deref());
                }
                Verb::Unsubscribe => {
                    let ext = self.meta_ext(now, None);
                    messages.unsubscribe(id, &client_id, channel, ext.as_deref());
                }
                Verb::Publish(data) | Verb::Call(data) => {
                    messages.publish(id, &client_id, channel, data);
                }
                Verb::PublishRetried(retried) => {
                    messages.publish(id, &client_id, channel, &retried.data);
                }
            }
            sent.push((id, queued, position));
        }
        let request = self.send(now, Purpose::Commands, messages, limit);
        self.commands.request = Some(request);
        let deadline = self.flights.get(&request).map_or(now, |it| it.deadline);
        let count = sent.len();
        for (id, queued, position) in sent {
            if matches!(queued.verb, Verb::Call(_)) {
                let (operation, channel) = (queued.operation, queued.channel);
                self.commands.calls.sent(id, operation, channel, request);
                continue;
            }
            self.commands.pending.insert(
                id,
                Pending {
                    operation: queued.operation,
                    phase: queued.verb.phase(),
                    channel: queued.channel,
                    second_try: queued.second_try,
                    revoked: queued.revoked,
                    stale: false,
                    request,
                    position,
                    retried: match queued.verb {
                        Verb::PublishRetried(mut retried) => {
                            retried.travelled(count);
                            Some(retried)
                        }
                        _ => None,
                    },
                },
                deadline,
            );
        }
    }

    /// Plans to subscribe again, before whatever else waits, to all that the
    /// lost session had or whose renewal failed.
    pub(super) fn resubscribe(&mut self) {
        let commands = &mut self.commands;
        if !std::mem::take(&mut commands.some_wanted) {
            return;
        }
        let asked_for: BTreeSet<&str> = commands
            .queue
            .iter()
            .filter(|queued| matches!(queued.verb, Verb::Subscribe(_)))
            .map(|queued| queued.channel.as_str())
            .collect();
        commands.next_renewal = None;
        let alone = commands.failed_renewals > 0;
        let mut again = VecDeque::new();
        for (channel, subscription) in &mut commands.subscriptions {
            if *subscription == Subscription::Wanted && !asked_for.contains(channel.as_str()) {
                *subscription = Subscription::Underway;
                let queued = Queued::new(0, channel.clone(), Verb::Subscribe(Start::Usual));
                again.push_back(Queued { alone, ..queued });
            }
        }
        again.append(&mut commands.queue);
        commands.queue = again;
    }

    /// Tries the renewals that failed again, when it is time.
    pub(super) fn renew(&mut self, now: Millis) {
        if self.state == State::Connected && self.commands.next_renewal.is_none_or(|at| at <= now) {
            self.resubscribe();
        }
    }

    pub(super) fn subscription_replied(
        &mut self,
        now: Millis,
        reply: &Message,
        request: RequestId,
    ) {
        let phase = if reply.channel() == Some(meta::UNSUBSCRIBE) {
            Phase::Unsubscribe
        } else {
            Phase::Subscribe
        };
        let id = match reply.id() {
            Some(id) => id.parse().ok(),
            None => {
                let mut channels = reply.subscriptions();
                // One reply is about one message, which is about one channel.
                channels.truncate(1);
                self.commands
                    .pending
                    .iter_request(request)
                    .find(|(_, it)| it.phase == phase && channels.contains(&it.channel))
                    .map(|(id, _)| id)
            }
        };
        let Some(id) = id else { return };
        if self.commands.pending.get(id).map(|it| it.phase) != Some(phase) {
            return;
        }
        let Some(pending) = self.commands.pending.remove(id) else {
            return;
        };
        if reply.successful() == Some(true) {
            self.succeeded(pending);
            return;
        }
        let error = refused(phase, reply);
        let advised = reply.advice(LONG_POLLING).and_then(|it| it.reconnect);
        let code = error.bayeux.as_ref().map_or(0, |it| it.code);
        let lost = advised == Some(Reconnect::Handshake) || (advised.is_none() && code == 402);
        if code == 401 {
            self.refresh_for_a_command(now);
        }
        let fallback = match pending.position {
            Some(position) if !pending.revoked => {
                self.fall_back(&pending.channel, position, &error)
            }
            _ => None,
        };
        if lost && phase == Phase::Subscribe && self.disconnecting.is_none() {
            self.commands.session_lost |= !pending.stale;
            if pending.operation == 0 {
                self.want_again(&pending);
                return;
            }
            if !pending.second_try && !pending.revoked {
                // The server did nothing with it: it knows no such session.
                self.commands.try_again(pending, Start::Usual);
                return;
            }
        }
        if let Some(start) = fallback {
            self.commands.try_again(pending, start);
            return;
        }
        if phase == Phase::Subscribe && !pending.revoked && !pending.stale {
            self.commands.subscriptions.remove(&pending.channel);
        }
        self.emit_failed(pending.operation, pending.channel, error);
    }

    fn succeeded(&mut self, pending: Pending) {
        let Pending {
            operation: id,
            channel,
            phase,
            revoked,
            stale,
            ..
        } = pending;
        match phase {
            Phase::Subscribe => {
                let subscriptions = &mut self.commands.subscriptions;
                if stale && !revoked {
                    // The old session had it; the new one must get it.
                    subscriptions
                        .entry(channel.clone())
                        .or_insert(Subscription::Wanted);
                    self.commands.some_wanted = true;
                    self.commands.next_renewal = None;
                } else if !revoked {
                    subscriptions.insert(channel.clone(), Subscription::Live);
                }
                if id != 0 {
                    self.emit(Event::Subscribed {
                        id,
                        channel,
                        ext: None,
                        renewed: false,
                    });
                } else if !self.commands.some_wanted {
                    // One that still fails stays apart, and is not tried at once
                    // because others are well.
                    self.commands.failed_renewals = 0;
                    self.renewal_backoff.reset();
                }
            }
            Phase::Unsubscribe => self.emit(Event::Unsubscribed {
                id,
                channel,
                ext: None,
            }),
            _ => {
                self.commands.retries.forget(id);
                self.emit(Event::Published {
                    id,
                    channel,
                    ext: None,
                });
            }
        }
    }

    pub(super) fn publish_replied(&mut self, now: Millis, reply: &Message) {
        // A reply says whether it was successful; an event of another client
        // may have the same id (Bayeux, section 5.2).
        let Some(successful) = reply.successful() else {
            return;
        };
        let Some(id) = reply.id().and_then(|id| id.parse::<u64>().ok()) else {
            return;
        };
        if self.call_acknowledged(id, successful, reply) {
            return;
        }
        let is_ours = self.commands.pending.get(id).is_some_and(|it| {
            it.phase == Phase::Publish && Some(it.channel.as_str()) == reply.channel()
        });
        if !is_ours {
            if successful {
                self.accepted_late(id, reply.channel());
            }
            return;
        }
        let Some(pending) = self.commands.pending.remove(id) else {
            return;
        };
        if successful {
            self.succeeded(pending);
        } else {
            // Whether the session is lost, the next connect tells.
            let error = refused(Phase::Publish, reply);
            let advised = reply.advice(LONG_POLLING).and_then(|it| it.reconnect);
            let code = error.bayeux.as_ref().map_or(0, |it| it.code);
            let may_pass = may_be_accepted_later(advised, code);
            self.publish_failed(now, pending, error, may_pass.then_some(0));
        }
    }

    /// Ends a publish, or has it sent again `not_before` a time from now on.
    fn publish_failed(
        &mut self,
        now: Millis,
        pending: Pending,
        mut error: Error,
        not_before: Option<Millis>,
    ) {
        let ended = match not_before {
            Some(wait) => self.retry(now, pending, &mut error, wait),
            None => {
                self.commands.retries.forget(pending.operation);
                Some(pending)
            }
        };
        if let Some(pending) = ended {
            self.emit_failed(pending.operation, pending.channel, error);
        }
    }

    /// The request that carried these messages failed; whether the server saw
    /// them is not known, and nothing is sent twice but what the host said so of.
    pub(super) fn commands_failed(&mut self, now: Millis, request: RequestId, failure: &Failure) {
        let ids = self.commands.pending.of_request(request);
        self.fail(now, &ids, failure);
        for (id, channel) in self.commands.calls.fail(request) {
            self.emit_failed(id, channel, failure.to_error(Phase::Call));
        }
        if failure.kind == ErrorKind::Unauthorized {
            self.refresh_for_a_command(now);
        }
    }

    /// Extensions dropped these messages of the request.
    pub(super) fn commands_dropped(
        &mut self,
        now: Millis,
        request: RequestId,
        message_ids: &[u64],
        failure: &Failure,
    ) {
        let is_of_request =
            |id: &&u64| self.commands.pending.get(**id).map(|it| it.request) == Some(request);
        let ids: Vec<u64> = message_ids.iter().filter(is_of_request).copied().collect();
        self.fail(now, &ids, failure);
        for (id, channel) in self.commands.calls.end_deleted(request, message_ids) {
            self.emit_failed(id, channel, failure.to_error(Phase::Call));
        }
    }

    pub(super) fn commands_timed_out(&mut self, now: Millis) {
        let ids = self.commands.pending.expired(now);
        self.fail(
            now,
            &ids,
            &Failure::new(
                ErrorKind::Timeout,
                format!("no reply within {} ms", self.configuration.request_timeout),
            ),
        );
    }

    /// A call whose time is up ends wherever it is: sent, or still waiting.
    pub(super) fn calls_timed_out(&mut self, now: Millis) {
        let expired = self.commands.calls.take_expired(now);
        if expired.is_empty() {
            return;
        }
        let operations = expired.iter().copied().collect();
        let mut channels = self.commands.calls.abandon(&operations);
        let queued = self.commands.take_queued(&operations).into_iter();
        channels.extend(queued.map(|it| (it.operation, it.channel)));
        for operation in expired {
            if let Some(channel) = channels.remove(&operation) {
                let error = Error::new(
                    ErrorKind::Timeout,
                    Phase::Call,
                    "call: the service did not answer in time",
                );
                self.emit_failed(operation, channel, error);
            }
        }
    }

    fn fail(&mut self, now: Millis, ids: &[u64], failure: &Failure) {
        let is_renewal = |id: &u64| {
            let pending = self.commands.pending.get(*id);
            pending.is_some_and(|it| it.operation == 0)
        };
        let mut wait = None;
        if ids.iter().any(is_renewal) {
            self.commands.failed_renewals = self.commands.failed_renewals.saturating_add(1);
            let after = self.renewal_backoff.after();
            let not_before = retry_after(failure);
            let after = self.jitter.add(after).max(not_before);
            self.commands.next_renewal = Some(now.saturating_add(after));
            wait = Some(after);
        }
        for id in ids {
            if let Some(mut pending) = self.commands.pending.remove(*id) {
                let mut error = failure.to_error(pending.phase);
                if let Some(retried) = &mut pending.retried {
                    let may_pass = retried.may_pass(failure);
                    let not_before = may_pass.then(|| retry_after(failure));
                    self.publish_failed(now, pending, error, not_before);
                    continue;
                }
                if pending.phase == Phase::Subscribe {
                    self.want_again(&pending);
                }
                if pending.operation == 0 {
                    error.retry_in = wait;
                }
                self.emit_failed(pending.operation, pending.channel, error);
            }
        }
    }

    /// A subscribe came to nothing; what the host had before is still wanted.
    fn want_again(&mut self, failed: &Pending) {
        match self.commands.subscriptions.get_mut(&failed.channel) {
            Some(subscription @ Subscription::Underway) if failed.operation == 0 => {
                *subscription = Subscription::Wanted;
                self.commands.some_wanted = true;
            }
            // The host's own attempt stood in for a renewal.
            Some(Subscription::Wanted) => self.commands.some_wanted = true,
            _ => {}
        }
    }

    pub(super) fn emit_failed(&mut self, id: OperationId, channel: String, error: Error) {
        let mut error = error;
        self.replay.failed |= error.phase == Phase::Subscribe;
        error.message = format!("{} (channel {channel})", error.message);
        let error = error.on_channel(channel);
        self.emit(Event::Error { id, error });
    }

    pub(super) fn fail_all_commands(&mut self) {
        let pending = self.commands.pending.take_all();
        let pending = pending.map(|it| (it.operation, it.channel, it.phase));
        let queued = std::mem::take(&mut self.commands.queue)
            .into_iter()
            .chain(self.commands.retries.take_all())
            .map(|it| (it.operation, it.channel, it.verb.phase()));
        let calls = self.commands.calls.take_all();
        let queued = queued.chain(calls.map(|(id, channel)| (id, channel, Phase::Call)));
        for (operation, channel, phase) in pending.chain(queued) {
            if operation != 0 {
                self.emit(aborted(operation, channel, phase));
            }
        }
        self.commands.request = None;
        self.commands.subscriptions.clear();
    }
}

/// The end of a message that the client's own end has overtaken.
fn aborted(id: OperationId, channel: String, phase: Phase) -> Event {
    let message = format!(
        "{}: the client closed before the server answered (channel {channel})",
        phase.name()
    );
    let error = Error::new(ErrorKind::Aborted, phase, message).on_channel(channel);
    Event::Error { id, error }
}

impl Command {
    /// The events in which the command's messages end when no session takes it
    /// any more.
    pub fn into_aborted(self) -> Vec<Event> {
        let (id, channels, phase) = match self {
            Self::Subscribe { id, channels } => (id, channels, Phase::Subscribe),
            Self::Unsubscribe { id, channels } => (id, channels, Phase::Unsubscribe),
            Self::Publish { id, channel, .. } | Self::PublishWithRetries { id, channel, .. } => {
                (id, vec![channel], Phase::Publish)
            }
            Self::Call { id, channel, .. } => (id, vec![channel], Phase::Call),
            Self::Batch(commands) => {
                return commands.into_iter().flat_map(Self::into_aborted).collect();
            }
            Self::Connect | Self::ReplayFrom { .. } | Self::Disconnect { .. } | Self::Abort => {
                return Vec::new()
            }
        };
        channels
            .into_iter()
            .map(|channel| aborted(id, channel, phase))
            .collect()
    }
}
