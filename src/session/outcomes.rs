//! How what was sent ends: by its reply, by the failure of its request, by its
//! deadline, or with the client. Each by exactly one event.

use super::connection::interval_of;
use super::pending::Pending;
use super::queued::Queued;
use super::refusals::{ext_of, prospect, refused, Prospect};
use super::replay::Start;
use super::subscriptions::{Joined, Standing};
use super::{retry_after, Command, Event, Millis, OperationId, RequestId, Session};
use crate::bayeux::{Message, Reconnect};
use crate::error::{Error, ErrorKind, Failure, Phase};

impl Session {
    /// The reply to the message of this id.
    pub(super) fn replied(&mut self, now: Millis, id: u64, reply: &Message) {
        let Some(pending) = self.commands.pending.remove(id) else {
            return;
        };
        let successful = reply.successful() == Some(true);
        match pending.phase {
            Phase::Subscribe if pending.operation == 0 => {
                self.renewal_replied(now, pending, successful, reply);
            }
            Phase::Subscribe => {
                let subscriptions = &mut self.commands.subscriptions;
                let revoked = subscriptions.is_revoked(&pending.channel, pending.call);
                match successful {
                    true => self.subscribed(pending, revoked, reply),
                    false => self.subscribe_refused(now, pending, revoked, reply),
                }
            }
            // What a lost session was to forget is forgotten.
            Phase::Unsubscribe if successful || pending.stale => {
                let (id, channel) = (pending.operation, pending.channel);
                let ext = ext_of(reply);
                self.emit(Event::Unsubscribed { id, channel, ext });
            }
            Phase::Unsubscribe => {
                let error = refused(Phase::Unsubscribe, reply);
                if error.bayeux.as_ref().is_some_and(|it| it.code == 401) {
                    self.refresh_for_a_command(now);
                }
                self.emit_failed(pending.operation, pending.channel, error);
            }
            _ if successful => {
                self.commands.retries.forget(pending.operation);
                let (id, channel) = (pending.operation, pending.channel);
                let ext = ext_of(reply);
                self.emit(Event::Published { id, channel, ext });
            }
            _ => {
                // Whether the session is lost, the next connect tells.
                let error = refused(Phase::Publish, reply);
                let (advised, interval) = self.advised_by(reply);
                let passes = prospect(advised, reply) == Prospect::Passes
                    || advised == Some(Reconnect::Handshake);
                self.publish_failed(now, pending, error, passes.then_some(interval));
            }
        }
    }

    fn subscribed(&mut self, pending: Pending, revoked: bool, reply: &Message) {
        let Pending {
            operation: id,
            channel,
            call,
            stale,
            ..
        } = pending;
        let subscriptions = &mut self.commands.subscriptions;
        let stood_in = match revoked {
            true => None,
            false => subscriptions.accepted(&channel, id, stale),
        };
        subscriptions.subscribe_ended(&channel, call, stale);
        self.emit_subscribed(id, &channel, reply, false);
        if let Some((renewed, joined)) = stood_in {
            self.emit_renewed(renewed, joined, &channel, reply);
        }
    }

    fn emit_subscribed(&mut self, id: OperationId, channel: &str, reply: &Message, renewed: bool) {
        self.emit(Event::Subscribed {
            id,
            channel: channel.to_owned(),
            ext: ext_of(reply),
            renewed,
        });
    }

    /// A subscription is back; 0 for one that had only been put off.
    fn emit_renewed(
        &mut self,
        operation: OperationId,
        joined: Vec<Joined>,
        channel: &str,
        reply: &Message,
    ) {
        if operation != 0 {
            self.emit_subscribed(operation, channel, reply, true);
        }
        for Joined { operation, .. } in joined {
            self.emit_subscribed(operation, channel, reply, false);
        }
    }

    /// The host's own subscribe is refused, which is final unless the server
    /// advises to try again. An earlier one that it has accepted stays.
    fn subscribe_refused(&mut self, now: Millis, pending: Pending, revoked: bool, reply: &Message) {
        let error = refused(Phase::Subscribe, reply);
        let (advised, interval) = self.advised_by(reply);
        let code = error.bayeux.as_ref().map_or(0, |it| it.code);
        if code == 401 {
            self.refresh_for_a_command(now);
        }
        let fallback = match pending.started.position {
            Some(position) if !revoked => self.fall_back(&pending.channel, position, &error),
            _ => None,
        };
        if self.disconnecting.is_none() {
            // The server knows no such session, and did nothing with it.
            let lost = code == 402 && advised != Some(Reconnect::Retry);
            self.commands.session_lost |= lost && !pending.stale;
            let once_more = !pending.second_try && !revoked;
            if once_more && (lost || (pending.stale && advised == Some(Reconnect::Handshake))) {
                self.commands.try_again(pending, Start::Usual);
                return;
            }
            if let Some(start) = fallback {
                self.commands.try_again(pending, start);
                return;
            }
            if once_more && advised == Some(Reconnect::Handshake) {
                // Advice on a subscribe's reply is not the connection's.
                self.commands.leave_undecided(pending, error);
                return;
            }
            if advised == Some(Reconnect::Retry)
                && !revoked
                && self.put_off(now, &pending, error.clone(), interval)
            {
                return;
            }
        }
        self.subscribe_failed(&pending);
        self.emit_failed(pending.operation, pending.channel, error);
    }

    /// A subscribe of the host's came to nothing.
    fn subscribe_failed(&mut self, pending: &Pending) {
        let channel = &pending.channel;
        let subscriptions = &mut self.commands.subscriptions;
        if !subscriptions.subscribe_ended(channel, pending.call, pending.stale) {
            subscriptions.attempt_failed(channel);
        }
        self.replay.not_subscribed(channel, pending.started);
    }

    /// The server wants a subscribe to be tried again: from here on it is one of
    /// the library's. Not where an earlier one lives, which must not be risked.
    fn put_off(
        &mut self,
        now: Millis,
        pending: &Pending,
        error: Error,
        not_before: Millis,
    ) -> bool {
        let channel = &pending.channel;
        let subscriptions = &mut self.commands.subscriptions;
        let Some(standing) = subscriptions.put_off(channel, pending.operation) else {
            return false;
        };
        subscriptions.subscribe_ended(channel, pending.call, pending.stale);
        let mut wait = 0;
        if standing == Standing::Wanted {
            wait = subscriptions.wait(now, pending.request, &mut self.jitter, not_before);
            subscriptions.want_again(channel, now.saturating_add(wait));
        }
        self.emit_put_off(pending.channel.clone(), error, wait);
        true
    }

    /// Tells of a try that failed and is followed by another.
    fn emit_put_off(&mut self, channel: String, mut error: Error, wait: Millis) {
        // While the client ends nothing is tried again.
        error.retry_in = self.disconnecting.is_none().then_some(wait);
        self.emit_failed(0, channel, error);
    }

    /// A subscription was to be made again.
    fn renewal_replied(
        &mut self,
        now: Millis,
        pending: Pending,
        successful: bool,
        reply: &Message,
    ) {
        let channel = pending.channel.clone();
        let subscriptions = &mut self.commands.subscriptions;
        let Some(subscription) = subscriptions.renewal_answered(&channel) else {
            return;
        };
        if successful {
            subscription.standing = Standing::Live;
            let renewed = subscription.operation;
            let joined = std::mem::take(&mut subscription.joined);
            if renewed == 0 {
                let first = joined.first().map(|it| it.operation);
                subscription.operation = first.unwrap_or(0);
            }
            subscriptions.renewal_accepted();
            self.emit_renewed(renewed, joined, &channel, reply);
            return;
        }
        let error = refused(Phase::Subscribe, reply);
        let (advised, interval) = self.advised_by(reply);
        if error.bayeux.as_ref().is_some_and(|it| it.code == 401) {
            self.refresh_for_a_command(now);
        }
        let fallback = match pending.started.position {
            Some(position) => self.fall_back(&channel, position, &error),
            None => None,
        };
        if let Some(start) = fallback {
            let subscriptions = &mut self.commands.subscriptions;
            if let Some(subscription) = subscriptions.renewal_answered(&channel) {
                subscription.standing = Standing::Planned;
            }
            self.commands.try_again(pending, start);
            return;
        }
        let patient = |it: &Joined| it.patient || advised == Some(Reconnect::Retry);
        if prospect(advised, reply) == Prospect::Stays {
            self.end_renewal(channel, error);
        } else {
            self.renewal_put_off(now, channel, pending.request, interval, error, patient);
        }
    }

    /// Another try will follow; of the subscribes that joined this one only
    /// those that are patient wait for it.
    fn renewal_put_off(
        &mut self,
        now: Millis,
        channel: String,
        request: RequestId,
        not_before: Millis,
        error: Error,
        patient: impl Fn(&Joined) -> bool,
    ) {
        let subscriptions = &mut self.commands.subscriptions;
        let Some(subscription) = subscriptions.renewal_answered(&channel) else {
            return;
        };
        let joined = std::mem::take(&mut subscription.joined);
        let (stay, end): (Vec<_>, Vec<_>) = joined.into_iter().partition(patient);
        let goes_on = subscription.operation != 0 || !stay.is_empty();
        subscription.joined = stay
            .into_iter()
            .map(|it| Joined {
                patient: true,
                ..it
            })
            .collect();
        let mut wait = None;
        if goes_on {
            let then = subscriptions.wait(now, request, &mut self.jitter, not_before);
            subscriptions.want_again(&channel, now.saturating_add(then));
            wait = Some(then);
        } else {
            subscriptions.remove(&channel);
        }
        for Joined { operation, .. } in end {
            self.emit_failed(operation, channel.clone(), error.clone());
        }
        if let Some(wait) = wait {
            self.emit_put_off(channel, error, wait);
        }
    }

    /// The server wants the subscription no more: it is told once, under the
    /// library's own id if the host had it, and to all who waited for it.
    fn end_renewal(&mut self, channel: String, error: Error) {
        let subscriptions = &mut self.commands.subscriptions;
        let Some(subscription) = subscriptions.renewal_answered(&channel) else {
            return;
        };
        let had_it = subscription.operation != 0;
        let joined = std::mem::take(&mut subscription.joined);
        subscriptions.remove(&channel);
        for Joined { operation, .. } in joined {
            self.emit_failed(operation, channel.clone(), error.clone());
        }
        if had_it {
            self.emit_failed(0, channel, error);
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
        let mut has_renewal = false;
        for id in ids {
            let Some(mut pending) = self.commands.pending.remove(*id) else {
                continue;
            };
            let error = failure.to_error(pending.phase);
            if let Some(retried) = &mut pending.retried {
                let may_pass = retried.may_pass(failure);
                let not_before = may_pass.then(|| retry_after(failure));
                self.publish_failed(now, pending, error, not_before);
                continue;
            }
            match pending.phase {
                Phase::Subscribe if pending.operation == 0 => {
                    if !std::mem::replace(&mut has_renewal, true) {
                        self.commands.subscriptions.request_failed();
                    }
                    let not_before = retry_after(failure);
                    let (channel, request) = (pending.channel, pending.request);
                    self.renewal_put_off(now, channel, request, not_before, error, |it| it.patient);
                    continue;
                }
                Phase::Subscribe => self.subscribe_failed(&pending),
                Phase::Unsubscribe if pending.stale => {
                    let (id, channel) = (pending.operation, pending.channel);
                    let ext = None;
                    self.emit(Event::Unsubscribed { id, channel, ext });
                    continue;
                }
                _ => {}
            }
            self.emit_failed(pending.operation, pending.channel, error);
        }
    }

    pub(super) fn emit_failed(&mut self, id: OperationId, channel: String, error: Error) {
        let mut error = error;
        self.replay.failed |= error.phase == Phase::Subscribe;
        error.message = format!("{} (channel {channel})", error.message);
        let error = Box::new(error.on_channel(channel));
        self.emit(Event::Error { id, error });
    }

    /// What a refusal advises, and the pause that it asks for.
    fn advised_by(&self, reply: &Message) -> (Option<Reconnect>, Millis) {
        let advice = reply.advice(self.connection_type());
        let interval = interval_of(advice.as_ref());
        (advice.and_then(|it| it.reconnect), interval)
    }

    pub(super) fn fail_all_commands(&mut self) {
        let pending = self.commands.pending.take_all();
        let pending = pending.map(|it| (it.operation, it.channel, it.phase));
        let line = self.commands.take_line();
        let retried = self.commands.retries.take_all();
        let waiting = line.chain(retried);
        let waiting = waiting.map(|it: Queued| (it.operation, it.channel, it.verb.phase()));
        let calls = self.commands.calls.take_all();
        let calls = calls.map(|(id, channel)| (id, channel, Phase::Call));
        let joined = self.commands.subscriptions.take_all().into_iter();
        let joined = joined.map(|(id, channel)| (id, channel, Phase::Subscribe));
        let all: Vec<_> = pending.chain(waiting).chain(calls).chain(joined).collect();
        for (operation, channel, phase) in all {
            if operation != 0 {
                self.emit(aborted(operation, channel, phase));
            }
        }
    }
}

/// The end of a message that the client's own end has overtaken.
fn aborted(id: OperationId, channel: String, phase: Phase) -> Event {
    let message = format!(
        "{}: the client closed before the server answered (channel {channel})",
        phase.name()
    );
    let error = Error::new(ErrorKind::Aborted, phase, message).on_channel(channel);
    let error = Box::new(error);
    Event::Error { id, error }
}

impl Command {
    /// The events in which the command's messages end when no session takes it
    /// any more.
    pub fn into_aborted(self) -> Vec<Event> {
        let (id, channels, phase) = match self {
            Self::Subscribe { id, channels } => (id, channels, Phase::Subscribe),
            Self::Unsubscribe { id, channels } => (id, channels, Phase::Unsubscribe),
            Self::Publish { id, channel, .. }
            | Self::PublishBinary { id, channel, .. }
            | Self::PublishWithRetries { id, channel, .. } => (id, vec![channel], Phase::Publish),
            Self::Call { id, channel, .. } => (id, vec![channel], Phase::Call),
            Self::Batch(commands) => {
                return commands.into_iter().flat_map(Self::into_aborted).collect();
            }
            Self::Connect
            | Self::ReplayFrom { .. }
            | Self::Disconnect { .. }
            | Self::Abort
            | Self::NewCredentials
            | Self::HandOver => return Vec::new(),
        };
        channels
            .into_iter()
            .map(|channel| aborted(id, channel, phase))
            .collect()
    }
}
