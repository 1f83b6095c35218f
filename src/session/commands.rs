//! Subscribe, unsubscribe and publish: held until there is a session, and sent
//! in the order in which they were called. How each ends is in `outcomes`.

use std::collections::{BTreeSet, VecDeque};

use super::backoff::Backoff;
use super::calls::Calls;
use super::flights::{Flight, Purpose};
use super::pending::{Pending, PendingMessages};
use super::queued::{Queued, Verb};
use super::replay::{Start, Started};
use super::retries::Retries;
use super::subscriptions::Subscriptions;
use super::{Command, Event, Millis, OperationId, Output, RequestId, Session, State};
use crate::bayeux::replay;
use crate::error::{Error, ErrorKind, Failure, Phase};

/// Messages that wait for each other are put into one request up to this many
/// bytes; a larger one goes alone. Salesforce refuses requests above 32 KiB.
const COMFORTABLE_REQUEST: usize = 32_000;
/// The same for a frame: some servers take 8 KiB, and nothing is won by larger ones.
const COMFORTABLE_FRAME: usize = 8_000;

/// What a message takes beside its channel, its data and the client id; and how
/// much more with a timestamp, and with timesync: never less than it does.
const MESSAGE_OVERHEAD: usize = 100;
const TIMESTAMP_BYTES: usize = 50;
const TIMESYNC_BYTES: usize = 110;

#[derive(Debug)]
pub(super) struct Commands {
    /// Goes before the queue: renewals, and what is sent a second time.
    again: VecDeque<Queued>,
    /// Renewals that travel alone. They take turns with all else: each may hang
    /// for as long as a request can.
    alone: VecDeque<Queued>,
    others_turn: bool,
    queue: VecDeque<Queued>,
    /// Subscribes that were refused with advice of the session, and how; the next
    /// connect tells whether it is lost.
    undecided: Vec<(Queued, Error)>,
    /// At most one request at a time, so that the server sees the order.
    request: Option<RequestId>,
    pub(super) pending: PendingMessages,
    pub(super) subscriptions: Subscriptions,
    last_batch: u64,
    pub(super) calls: Calls,
    pub(super) retries: Retries,
    /// A reply told that the server no longer knows the session.
    pub(super) session_lost: bool,
}

impl Commands {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            again: VecDeque::new(),
            alone: VecDeque::new(),
            others_turn: false,
            queue: VecDeque::new(),
            undecided: Vec::new(),
            request: None,
            pending: PendingMessages::default(),
            subscriptions: Subscriptions::new(backoff),
            last_batch: 0,
            calls: Calls::default(),
            retries: Retries::default(),
            session_lost: false,
        }
    }

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
        self.front().is_none() && self.request.is_none()
    }

    /// What was subscribed belongs to a session that is gone. A request that is
    /// still under way no longer holds up the new session's; what it brings says
    /// nothing of the new session.
    pub(super) fn session_ended(&mut self) {
        self.request = None;
        self.pending.retain(|pending| pending.operation != 0);
        let subscriptions = &mut self.subscriptions;
        self.pending.for_each(|pending| {
            if pending.phase == Phase::Subscribe && !pending.stale {
                subscriptions.left_behind(&pending.channel, pending.call, false);
            }
            pending.stale = true;
        });
        self.subscriptions.session_ended();
        self.drop_renewals();
    }

    /// A subscribe that was refused for a session that may be lost.
    pub(super) fn leave_undecided(&mut self, pending: Pending, error: Error) {
        let start = Verb::Subscribe(Start::Usual);
        let queued = Queued {
            call: pending.call,
            second_try: true,
            ..Queued::new(pending.operation, pending.channel, start)
        };
        self.undecided.push((queued, error));
    }

    /// Puts a subscribe back, which starts elsewhere or finds another session:
    /// behind those that were put back before it, and before all that was called
    /// later.
    pub(super) fn try_again(&mut self, pending: Pending, start: Start) {
        if pending.stale {
            let subscriptions = &mut self.subscriptions;
            subscriptions.left_behind(&pending.channel, pending.call, true);
        }
        self.again.push_back(Queued {
            call: pending.call,
            second_try: pending.second_try || start == Start::Usual,
            ..Queued::new(pending.operation, pending.channel, Verb::Subscribe(start))
        });
    }

    pub(super) fn enqueue(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    fn waiting(&self) -> usize {
        self.again.len() + self.alone.len() + self.queue.len()
    }

    fn is_turn_of_alone(&self) -> bool {
        let others = !self.again.is_empty() || !self.queue.is_empty();
        !self.alone.is_empty() && (!others || !self.others_turn)
    }

    fn front(&self) -> Option<&Queued> {
        match self.is_turn_of_alone() {
            true => self.alone.front(),
            false => self.again.front().or_else(|| self.queue.front()),
        }
    }

    fn pop_front(&mut self) -> Option<Queued> {
        match self.is_turn_of_alone() {
            true => self.alone.pop_front(),
            false => self.again.pop_front().or_else(|| self.queue.pop_front()),
        }
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

    /// Takes the one of this operation out of the line.
    pub(super) fn take_one(&mut self, operation: OperationId) -> Option<Queued> {
        let index = self.queue.iter().position(|it| it.operation == operation);
        index.and_then(|index| self.queue.remove(index))
    }

    /// The end: takes all that waits.
    pub(super) fn take_line(&mut self) -> impl Iterator<Item = Queued> {
        self.request = None;
        self.alone.clear();
        let again = std::mem::take(&mut self.again).into_iter();
        again
            .chain(
                std::mem::take(&mut self.undecided)
                    .into_iter()
                    .map(|it| it.0),
            )
            .chain(std::mem::take(&mut self.queue))
    }

    /// How much is waiting, pending and subscribed.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 3] {
        let line = self.again.len() + self.alone.len() + self.queue.len() + self.undecided.len();
        [
            line + self.retries.counts()[0] + self.subscriptions.joined(),
            self.pending.len(),
            self.subscriptions.counts()[0],
        ]
    }

    #[cfg(test)]
    pub(super) fn line(&self) -> &VecDeque<Queued> {
        &self.queue
    }

    /// Forgets what the library itself would still have sent.
    pub(super) fn drop_renewals(&mut self) {
        self.again.retain(|queued| queued.operation != 0);
        self.alone.clear();
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
        let (operation, channel, verb) = match command {
            Command::Subscribe { id, channels } => {
                let starts = self.replay.starts(&channels);
                for (channel, start) in channels.into_iter().zip(starts) {
                    self.subscribe_called(id, channel, start, batch);
                }
                return;
            }
            Command::Unsubscribe { id, channels } => {
                for channel in channels {
                    self.unsubscribe_called(id, channel, batch);
                }
                return;
            }
            Command::Publish { id, channel, data } => (id, channel, Verb::Publish(data)),
            Command::PublishBinary { id, channel, data } => {
                (id, channel, Verb::PublishBinary(data))
            }
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
                (id, channel, Verb::Call(data))
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
            Command::Connect
            | Command::Batch(_)
            | Command::Disconnect { .. }
            | Command::Abort
            | Command::NewCredentials
            | Command::HandOver => return,
        };
        let queued = Queued::new(operation, channel, verb);
        self.commands.enqueue(Queued { batch, ..queued });
    }

    fn subscribe_called(&mut self, id: OperationId, channel: String, start: Start, batch: u64) {
        // One that starts elsewhere than a renewal does is one of its own.
        let has_session = self.client_id.is_some();
        if self.replay.starts_as_usual(&channel, start)
            && self.commands.subscriptions.joins(&channel, id, has_session)
        {
            return;
        }
        let call = self.commands.subscriptions.subscribe_called(&channel);
        let queued = Queued::new(id, channel, Verb::Subscribe(start));
        self.commands.enqueue(Queued {
            batch,
            call,
            ..queued
        });
    }

    /// From here on no re-handshake brings the channel back.
    fn unsubscribe_called(&mut self, id: OperationId, channel: String, batch: u64) {
        let subscriptions = &mut self.commands.subscriptions;
        let (is_ours, ended) = subscriptions.unsubscribe_called(&channel, self.sessions);
        for operation in ended {
            self.emit(taken_back(operation, &channel));
        }
        self.forget_position_of(&channel);
        let queued = Queued::new(id, channel, Verb::Unsubscribe);
        self.commands.enqueue(Queued {
            batch,
            is_ours,
            ..queued
        });
    }

    /// Whether the next message in line is sent at all. A renewal that the host
    /// has taken back is not; and an unsubscribe of what this session's server
    /// was never asked for has come to its end without it.
    fn is_sent(&mut self, queued: &Queued) -> bool {
        let subscriptions = &mut self.commands.subscriptions;
        match queued.verb {
            Verb::Subscribe(_) if queued.operation == 0 => {
                subscriptions.renewal_sent(&queued.channel, self.sessions)
            }
            Verb::Subscribe(_) => {
                subscriptions.subscribe_sent(&queued.channel, self.sessions);
                true
            }
            Verb::Unsubscribe => {
                let is_known = subscriptions.unsubscribe_sent(&queued.channel, self.sessions);
                is_known || !queued.is_ours
            }
            _ => true,
        }
    }

    fn may_send_commands(&self) -> bool {
        let has_session = matches!(
            self.state,
            State::Connecting | State::Connected | State::Unconnected | State::Disconnecting
        );
        has_session && self.client_id.is_some() && self.commands.front().is_some()
    }

    /// Sends what waits: as one request, and the rest when that is answered; over a
    /// socket, which keeps the order, in frames without waiting.
    pub(super) fn flush_commands(&mut self, now: Millis) {
        if self.commands.request.is_some() || !self.may_send_commands() || !self.has_line(now) {
            return;
        }
        if !self.transports.is_websocket() {
            self.commands.request = self.send_commands(now);
            return;
        }
        while self.has_window() && self.may_send_commands() {
            if self.send_commands(now).is_none() {
                break;
            }
        }
    }

    /// There is no line over which they could be sent: what waits for it fails.
    pub(super) fn fail_waiting(&mut self, now: Millis, failure: &Failure) {
        // What is put back is not sent in the same breath.
        let mut left = self.commands.waiting();
        while left > 0 && self.may_send_commands() {
            let Some(request) = self.send_commands(now) else {
                break;
            };
            self.flights.remove(request);
            let messages = self.commands.pending.iter_request(request).count()
                + self.commands.calls.of_request(request).count();
            left = left.saturating_sub(messages.max(1));
            self.commands_failed(now, request, failure);
        }
    }

    fn send_commands(&mut self, now: Millis) -> Option<RequestId> {
        let client_id = self.client_id.clone()?;
        let limit = self.configuration.request_timeout;
        let hard_limit = self.configuration.request_capacity;
        let comfortable = match self.transports.is_websocket() {
            true => COMFORTABLE_FRAME,
            false => COMFORTABLE_REQUEST,
        };
        let soft_limit = hard_limit.map_or(comfortable, |it| it.min(comfortable));
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
        while let Some(queued) = self.commands.front() {
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
            let Some(mut queued) = self.commands.pop_front() else {
                break;
            };
            if !self.is_sent(&queued) {
                if queued.operation != 0 {
                    self.emit(Event::Unsubscribed {
                        id: queued.operation,
                        channel: queued.channel,
                        ext: None,
                    });
                }
                continue;
            }
            batch = queued.batch;
            alone = queued.alone;
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
            let mut started = Started::default();
            match &queued.verb {
                Verb::Subscribe(start) => {
                    let subscriptions = &self.commands.subscriptions;
                    let revoked = subscriptions.is_revoked(channel, queued.call);
                    started = self.replay.subscribes(channel, *start, revoked);
                    let field = started.position.and_then(|it| replay::field(channel, it));
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
                Verb::PublishBinary(data) => {
                    messages.publish_binary(id, &client_id, channel, data);
                }
                Verb::PublishRetried(retried) => {
                    messages.publish(id, &client_id, channel, &retried.data);
                }
            }
            sent.push((id, queued, started));
        }
        if messages.is_empty() {
            return None;
        }
        let request = self.send(now, Purpose::Commands, messages, limit);
        let first = sent.first().map(|it| &it.1);
        self.commands.others_turn = first.is_some_and(|it| it.operation == 0 && it.alone);
        let deadline = self.flights.get(request).map_or(now, |it| it.deadline);
        let count = sent.len();
        for (id, queued, started) in sent {
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
                    call: queued.call,
                    second_try: queued.second_try,
                    stale: false,
                    request,
                    started,
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
        if let Some(socket) = self.flights.get(request).and_then(Flight::socket) {
            self.forget_answered(socket);
        }
        Some(request)
    }

    /// The connect has told what becomes of the session: what was undecided is
    /// made once more, in this one or the next, unless the host has taken it back.
    pub(super) fn decided(&mut self) {
        for (queued, error) in std::mem::take(&mut self.commands.undecided) {
            let subscriptions = &mut self.commands.subscriptions;
            if subscriptions.is_revoked(&queued.channel, queued.call) {
                subscriptions.subscribe_ended(&queued.channel, queued.call, false);
                self.emit_failed(queued.operation, queued.channel, error);
            } else {
                self.commands.again.push_back(queued);
            }
        }
    }

    /// Plans to subscribe again to all that the lost session had or whose renewal
    /// failed: before whatever else waits, or in turns with it where each travels
    /// alone.
    pub(super) fn resubscribe(&mut self, now: Millis) {
        let (channels, alone) = self.commands.subscriptions.plan(now);
        if channels.is_empty() {
            return;
        }
        let renewals = channels.into_iter().map(|channel| {
            let queued = Queued::new(0, channel, Verb::Subscribe(Start::Usual));
            Queued { alone, ..queued }
        });
        if alone {
            self.commands.alone.extend(renewals);
            return;
        }
        let mut again: VecDeque<Queued> = renewals.collect();
        again.append(&mut self.commands.again);
        self.commands.again = again;
    }

    /// Tries the renewals that failed again, when it is time.
    pub(super) fn renew(&mut self, now: Millis) {
        if self.state == State::Connected {
            self.resubscribe(now);
        }
    }
}

/// The end of a subscribe that waited for a renewal.
fn taken_back(id: OperationId, channel: &str) -> Event {
    let text = "subscribe: taken back by an unsubscribe before the server answered";
    let error = Error::new(
        ErrorKind::Aborted,
        Phase::Subscribe,
        format!("{text} (channel {channel})"),
    );
    let error = error.on_channel(channel);
    let error = Box::new(error);
    Event::Error { id, error }
}
