//! Handshakes, the connect loop, and what follows their failures.

use serde_json::value::RawValue;

use super::{
    retry_after, Attempt, Exchange, Millis, Output, Purpose, RefreshedAttempt, Refreshing, Session,
    State, StoredAdvice, MAXIMUM_HOLD, MAXIMUM_INTERVAL, MAXIMUM_REFRESHES, REFRESH_LIMIT,
};
use crate::bayeux::{json, Advice, ErrorText, Message, Reconnect, LONG_POLLING};
use crate::error::{Error, ErrorKind, Failure, Phase};

/// How many failures in a row a session is held on to, where there are other
/// servers to go to.
const PATIENCE: u32 = 2;

/// A clientId travels with every message; servers' are some 30 bytes long.
const MAXIMUM_CLIENT_ID: usize = 1024;

/// A failure of a handshake or connect, from the wire or from the server.
struct Setback {
    error: Error,
    action: Reconnect,
    /// The pause that the failed message itself asked for.
    interval: Millis,
    retry_after: Millis,
    /// New credentials may help.
    credentials: bool,
}

impl Session {
    /// `fields` are the host's for this attempt.
    pub(super) fn send_handshake(&mut self, now: Millis, fields: Option<&RawValue>) {
        self.next_attempt = None;
        self.handshake_limit.record(now);
        self.client_id = None;
        self.advice = StoredAdvice::default();
        self.promised_events = 0;
        self.connected_since_handshake = false;
        let message_id = self.next_message_id();
        let added = [
            self.acknowledgement.for_handshake(),
            self.replay.for_handshake(),
            self.timesync.for_meta(now),
        ];
        let added: Vec<_> = added.into_iter().flatten().collect();
        let own = self.configuration.handshake_ext.as_deref();
        let given = fields.and_then(|it| json::field(it, "ext"));
        let ext = json::merged(own, given);
        let ext = json::with_fields(ext.as_deref(), &added);
        let mut messages = self.messages(now);
        messages.handshake(
            message_id,
            self.configuration.timeout,
            self.configuration.interval,
            ext.as_deref(),
            fields,
        );
        let limit = self.configuration.request_timeout;
        let request = self.send(now, Purpose::Handshake, messages, limit);
        self.handshake = Some(Exchange {
            request,
            message_id,
        });
    }

    pub(super) fn send_connect(&mut self, now: Millis) {
        self.next_attempt = None;
        self.promised_events = 0;
        let Some(client_id) = self.client_id.clone() else {
            // A connect is only planned for a session; should there be none,
            // the way on is a handshake.
            self.rehandshake(now, 0);
            return;
        };
        let message_id = self.next_message_id();
        let ext = self.meta_ext(now, self.acknowledgement.for_connect());
        let mut messages = self.messages(now);
        messages.connect(message_id, &client_id, self.connect_at_once, ext.as_deref());
        let hold = if self.connect_at_once {
            0
        } else {
            self.advice.timeout.unwrap_or(self.configuration.timeout)
        };
        let limit = self.configuration.request_timeout.saturating_add(hold);
        let request = self.send(now, Purpose::Connect, messages, limit);
        self.connect = Some(Exchange {
            request,
            message_id,
        });
    }

    pub(super) fn handshake_replied(&mut self, now: Millis, reply: &Message) {
        self.handshake = None;
        let advice = reply.advice(LONG_POLLING);
        if reply.successful() != Some(true) {
            self.advised(reply, advice.as_ref(), true);
            self.handshake_fields.handshake_refused(reply);
            let error = refused(Phase::Handshake, reply);
            let code = error.bayeux.as_ref().map_or(0, |it| it.code);
            self.setback(
                now,
                Attempt::Handshake,
                Setback {
                    action: match advice.as_ref().and_then(|it| it.reconnect) {
                        Some(Reconnect::None) => Reconnect::None,
                        _ => Reconnect::Handshake,
                    },
                    interval: interval_of(advice.as_ref()),
                    retry_after: 0,
                    credentials: matches!(code, 401 | 403),
                    error,
                },
            );
            return;
        }
        let usable = |id: &String| (1..=MAXIMUM_CLIENT_ID).contains(&id.len());
        let Some(client_id) = reply.client_id().filter(usable) else {
            self.handshake_failed(
                now,
                &Failure::new(ErrorKind::Protocol, "the reply has no usable clientId")
                    .with_status(200),
            );
            return;
        };
        let Some(types) = reply.supported_connection_types() else {
            self.handshake_failed(
                now,
                &Failure::new(
                    ErrorKind::Protocol,
                    "the reply's supportedConnectionTypes are missing or not strings",
                )
                .with_status(200),
            );
            return;
        };
        if !types.iter().any(|it| it == LONG_POLLING) {
            let text = ErrorText::parse(&format!(
                "405:c[{LONG_POLLING}],s[{}]:no_transport",
                types.join(",")
            ));
            let mut error = Error::new(
                ErrorKind::Negotiation,
                Phase::Handshake,
                format!("handshake: no common connection type: {}", text.text),
            );
            error.bayeux = Some(text);
            self.close(Some(error));
            return;
        }
        self.client_id = Some(client_id);
        self.sessions += 1;
        self.advised(reply, advice.as_ref(), false);
        self.acknowledgement.handshake_replied(reply);
        self.replay_answered(reply);
        // The server keeps this session from now on, whatever was before.
        self.unconnected_since = None;
        self.store_advice(advice.as_ref());
        self.connect_at_once = true;
        self.set_state(State::Connecting);
        self.resubscribe();
        // At once: the advised interval is for the connects after this one. What
        // the server delivers with the handshake comes first, in this response
        // or another, but is not waited for longer than for a response.
        self.promised_events = reply.promised_events();
        let wait = match self.promised_events {
            0 => 0,
            _ => self.configuration.request_timeout,
        };
        self.next_attempt = Some((Attempt::Connect, now.saturating_add(wait)));
    }

    /// Counts events that came; the last of those that belong to the handshake
    /// lets the first connect go.
    pub(super) fn promised_events_came(&mut self, now: Millis, events: u64) {
        if self.promised_events == 0 {
            return;
        }
        self.promised_events = self.promised_events.saturating_sub(events);
        if self.promised_events == 0 && self.state == State::Connecting {
            if let Some((Attempt::Connect, at)) = &mut self.next_attempt {
                *at = now;
            }
        }
    }

    pub(super) fn connect_replied(
        &mut self,
        now: Millis,
        reply: &Message,
        took: Millis,
        events: bool,
    ) {
        let advice = reply.advice(LONG_POLLING);
        if self.disconnecting.is_some() {
            return;
        }
        if reply.successful() != Some(true) {
            let error = refused(Phase::Connect, reply);
            let code = error.bayeux.as_ref().map_or(0, |it| it.code);
            let advised = advice.as_ref().and_then(|it| it.reconnect);
            let wants_handshake = advised == Some(Reconnect::Handshake);
            self.advised(reply, advice.as_ref(), wants_handshake);
            self.setback(
                now,
                Attempt::Connect,
                Setback {
                    action: match advised {
                        Some(action) => action,
                        // Unknown sessions come back by a handshake only.
                        None if code == 402 => Reconnect::Handshake,
                        None => Reconnect::Retry,
                    },
                    interval: interval_of(advice.as_ref()),
                    retry_after: 0,
                    credentials: code == 401 || (code == 403 && advised == Some(Reconnect::None)),
                    error,
                },
            );
            return;
        }
        if let Some(advice) = &advice {
            self.store_advice(Some(advice));
            self.advised(reply, Some(advice), false);
        }
        self.acknowledgement.connect_replied(reply);
        self.failures = 0;
        self.refreshes = 0;
        self.handshake_fields.session_works();
        self.gone = 0;
        self.unconnected_since = None;
        self.connected_since_handshake = true;
        self.handshake_backoff.reset();
        self.connect_backoff.reset();
        self.connect_at_once = false;
        self.set_state(State::Connected);
        if advice.as_ref().and_then(|it| it.reconnect) == Some(Reconnect::None) {
            let error = Error::new(
                ErrorKind::ServerDisconnected,
                Phase::Connect,
                "connect: the server ended the session: advice reconnect none",
            );
            self.ended_by_server(now, error);
            return;
        }
        if advice
            .as_ref()
            .and_then(|it| it.interval)
            .is_some_and(|it| it < 0)
        {
            let error = Error::new(
                ErrorKind::ServerDisconnected,
                Phase::Connect,
                "connect: the server wants no further connect: advice interval below 0",
            );
            self.ended_by_server(now, error);
            return;
        }
        let pause = self.connect_limit.pause(took, events);
        let wait = self.advice.interval.max(pause);
        self.next_attempt = Some((Attempt::Connect, now.saturating_add(wait)));
    }

    pub(super) fn handshake_failed(&mut self, now: Millis, failure: &Failure) {
        if self.ends_before_first_session(failure) {
            return;
        }
        if failure.kind != ErrorKind::MessageDeleted {
            self.servers.failed();
        }
        self.handshake_not_made(now, failure);
    }

    /// Like a failed one, but no server is to blame.
    pub(super) fn handshake_not_made(&mut self, now: Millis, failure: &Failure) {
        self.setback(
            now,
            Attempt::Handshake,
            Setback {
                error: failure.to_error(Phase::Handshake),
                action: Reconnect::Handshake,
                interval: 0,
                retry_after: retry_after(failure),
                credentials: failure.kind == ErrorKind::Unauthorized,
            },
        );
    }

    pub(super) fn connect_failed(&mut self, now: Millis, failure: &Failure) {
        let mut action = Reconnect::Retry;
        if matches!(failure.http_status, 404 | 410) && failure.kind != ErrorKind::Proxy {
            // A server that was deployed anew knows neither URL nor session
            // for a moment, and then no longer the session.
            self.gone = self.gone.saturating_add(1);
            if self.gone > 1 {
                action = Reconnect::Handshake;
            }
        } else {
            self.gone = 0;
        }
        if self.servers.count() > 1 && self.failures >= PATIENCE {
            // A session is worth some patience; another server has another.
            action = Reconnect::Handshake;
            if !self.connected_since_handshake && failure.kind != ErrorKind::MessageDeleted {
                // This one gives sessions that do not work.
                self.servers.failed();
            }
        }
        self.setback(
            now,
            Attempt::Connect,
            Setback {
                error: failure.to_error(Phase::Connect),
                action,
                interval: self.advice.interval,
                retry_after: retry_after(failure),
                credentials: failure.kind == ErrorKind::Unauthorized,
            },
        );
    }

    /// The server wants no more of this session; without a reason why another
    /// one should not be asked for.
    pub(super) fn ended_by_server(&mut self, now: Millis, mut error: Error) {
        self.failures = self.failures.saturating_add(1);
        let retries = self.configuration.number_of_retries;
        if !self.configuration.restart || retries.is_some_and(|it| self.failures > it) {
            self.close(Some(error));
            return;
        }
        self.commands.session_lost = false;
        self.handshake = None;
        // It was not for nothing: never at once, whatever has worked before.
        let wait = self.handshake_backoff.after();
        let wait = self.jitter.add(wait);
        let at = self.handshake_limit.earliest(now.saturating_add(wait));
        error.retry_in = Some(at.saturating_sub(now));
        self.emit_error(error);
        self.give_up_session(now, wait);
    }

    fn give_up_session(&mut self, now: Millis, wait: Millis) {
        let connect = self.connect.take();
        self.cancel(connect);
        if let Some(then) = self.refreshing.as_mut().and_then(|it| it.then.as_mut()) {
            // The provider's answer is awaited before the next attempt.
            then.attempt = Attempt::Handshake;
            self.state_before(Attempt::Handshake);
            return;
        }
        self.rehandshake(now, wait);
    }

    /// A command's reply told that the server does not know the session.
    pub(super) fn session_lost(&mut self, now: Millis) {
        if self.disconnecting.is_some()
            || !matches!(
                self.state,
                State::Connecting | State::Connected | State::Unconnected
            )
        {
            return;
        }
        let wait = self.handshake_backoff.before();
        let wait = self.jitter.add(wait);
        self.give_up_session(now, wait);
    }

    /// Decides what follows a failed handshake or connect.
    fn setback(&mut self, now: Millis, failed: Attempt, setback: Setback) {
        if self.disconnecting.is_some() {
            return;
        }
        let Setback {
            mut error,
            mut action,
            interval,
            retry_after,
            credentials,
        } = setback;
        self.connect_at_once = true;
        let since = *self.unconnected_since.get_or_insert(now);
        if credentials && self.may_refresh() {
            let wait = match self.refreshes {
                0 => 0,
                _ => self.handshake_backoff.before(),
            };
            let attempt = match (failed, action) {
                (Attempt::Connect, Reconnect::Retry) => Attempt::Connect,
                _ => Attempt::Handshake,
            };
            let final_error = (action == Reconnect::None).then(|| error.clone());
            error.retry_in = Some(wait);
            self.emit_error(error);
            self.state_before(attempt);
            self.refresh(
                now,
                Some(RefreshedAttempt {
                    attempt,
                    wait,
                    final_error,
                }),
            );
            return;
        }
        // A server that forgot a session which worked asks for a handshake in
        // the ordinary course of things; that is no failure of the new one.
        let ordinary = action == Reconnect::Handshake
            && failed == Attempt::Connect
            && self.connected_since_handshake;
        if !ordinary {
            self.failures = self.failures.saturating_add(1);
        }
        if action == Reconnect::None {
            self.close(Some(error));
            return;
        }
        if let Some(retries) = self.configuration.number_of_retries {
            if self.failures > retries {
                error.message = format!(
                    "{} (given up after {} failures in a row)",
                    error.message, self.failures
                );
                self.close(Some(error));
                return;
            }
        }
        if failed == Attempt::Connect && action == Reconnect::Retry {
            let expired = self.advice.maximum_interval.is_some_and(|maximum| {
                let kept = maximum
                    .saturating_add(self.advice.timeout.unwrap_or(0))
                    .saturating_add(self.advice.interval);
                now.saturating_sub(since)
                    .saturating_add(self.connect_backoff.value())
                    > kept
            });
            if expired {
                action = Reconnect::Handshake;
            }
        }
        let wait = match (failed, action) {
            (Attempt::Connect, Reconnect::Retry) => self.connect_backoff.after(),
            _ => self.handshake_backoff.before(),
        };
        let wait = self
            .jitter
            .add(wait)
            .saturating_add(interval)
            .max(retry_after);
        if action == Reconnect::Retry && failed == Attempt::Connect {
            error.retry_in = Some(wait);
            self.emit_error(error);
            self.set_state(State::Unconnected);
            self.next_attempt = Some((Attempt::Connect, now.saturating_add(wait)));
        } else {
            let at = self.handshake_limit.earliest(now.saturating_add(wait));
            let wait = at.saturating_sub(now);
            error.retry_in = Some(wait);
            self.emit_error(error);
            self.rehandshake(now, wait);
        }
    }

    /// Gives the session up and plans a handshake.
    fn rehandshake(&mut self, now: Millis, wait: Millis) {
        self.state_before(Attempt::Handshake);
        let at = self.handshake_limit.earliest(now.saturating_add(wait));
        self.next_attempt = Some((Attempt::Handshake, at));
    }

    /// The state in which this attempt is waited for.
    fn state_before(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Connect => self.set_state(State::Unconnected),
            Attempt::Handshake => {
                self.client_id = None;
                self.commands.session_ended();
                // A renewal that was under way may have been the last that needed
                // its topic.
                self.replay.failed = true;
                // The first handshake, tried again, is still the first.
                if self.state != State::Handshaking {
                    self.set_state(State::Rehandshaking);
                }
            }
        }
    }

    fn store_advice(&mut self, advice: Option<&Advice>) {
        // Replaced, not merged: the newest advice supersedes (Bayeux, section 3.2).
        let bounded = |value: Option<i64>, maximum: Millis| {
            value
                .and_then(|it| Millis::try_from(it).ok())
                .map(|it| it.min(maximum))
        };
        self.advice = StoredAdvice {
            interval: bounded(advice.and_then(|it| it.interval), MAXIMUM_INTERVAL).unwrap_or(0),
            timeout: bounded(advice.and_then(|it| it.timeout), MAXIMUM_HOLD),
            maximum_interval: bounded(advice.and_then(|it| it.maximum_interval), MAXIMUM_INTERVAL),
        };
    }

    /// Whether the provider may be asked, or is being asked for a command's sake.
    fn may_refresh(&self) -> bool {
        match &self.refreshing {
            Some(refreshing) => refreshing.then.is_none(),
            None => self.configuration.has_token_provider && self.refreshes < MAXIMUM_REFRESHES,
        }
    }

    fn refresh(&mut self, now: Millis, then: Option<RefreshedAttempt>) {
        if then.is_some() {
            self.next_attempt = None;
        }
        if let Some(refreshing) = &mut self.refreshing {
            // One answer serves all who were refused.
            refreshing.then = then.or(refreshing.then.take());
            return;
        }
        self.refreshes += 1;
        self.refreshing = Some(Refreshing {
            deadline: now.saturating_add(REFRESH_LIMIT),
            then,
        });
        self.outputs.push_back(Output::RefreshCredentials);
    }

    /// A command was refused for its credentials: the next ones shall have others.
    pub(super) fn refresh_for_a_command(&mut self, now: Millis) {
        if self.may_refresh() && self.disconnecting.is_none() {
            self.refresh(now, None);
        }
    }

    /// The token provider has answered: with new credentials, which are in
    /// force from the next request on, or with the reason why it has none.
    pub fn handle_credentials(&mut self, now: Millis, result: Result<(), String>) {
        self.refreshed(now, result);
        self.proceed(now);
    }

    pub(super) fn refresh_timed_out(&mut self, now: Millis) {
        if self
            .refreshing
            .as_ref()
            .is_some_and(|it| it.deadline <= now)
        {
            self.refreshed(now, Err(format!("no answer within {REFRESH_LIMIT} ms")));
        }
    }

    fn refreshed(&mut self, now: Millis, result: Result<(), String>) {
        let Some(refreshing) = self.refreshing.take() else {
            return;
        };
        let Err(why) = result else {
            if let Some(then) = refreshing.then {
                self.attempt_after(now, then.attempt, then.wait);
            }
            return;
        };
        let (attempt, final_error) = match refreshing.then {
            Some(then) => (Some(then.attempt), then.final_error),
            None => (None, None),
        };
        let phase = match attempt {
            Some(Attempt::Connect) => Phase::Connect,
            Some(Attempt::Handshake) => Phase::Handshake,
            None => Phase::Publish,
        };
        let mut error = Error::new(
            ErrorKind::Credentials,
            phase,
            format!(
                "{}: the token provider gave no credentials: {why}",
                phase.name()
            ),
        );
        if let Some(final_error) = final_error {
            self.emit_error(error);
            self.close(Some(final_error));
            return;
        }
        if let Some(attempt) = attempt {
            let wait = self.handshake_backoff.after();
            let wait = self.jitter.add(wait);
            error.retry_in = Some(self.attempt_after(now, attempt, wait));
        }
        self.emit_error(error);
    }

    /// Goes on with a handshake whose time had come.
    pub(super) fn attempt_handshake(&mut self, now: Millis) {
        self.next_attempt = Some((Attempt::Handshake, now));
    }

    /// Plans an attempt; returns how long it has to wait.
    fn attempt_after(&mut self, now: Millis, attempt: Attempt, wait: Millis) -> Millis {
        let mut at = now.saturating_add(wait);
        if attempt == Attempt::Handshake {
            at = self.handshake_limit.earliest(at);
        }
        self.next_attempt = Some((attempt, at));
        at.saturating_sub(now)
    }
}

/// The interval that a failed message itself asks for.
fn interval_of(advice: Option<&Advice>) -> Millis {
    advice
        .and_then(|it| it.interval)
        .and_then(|it| Millis::try_from(it).ok())
        .unwrap_or(0)
        .min(MAXIMUM_INTERVAL)
}

/// The error that an unsuccessful reply is.
pub(super) fn refused(phase: Phase, reply: &Message) -> Error {
    let bayeux = reply.error();
    let mut error = Error::new(
        ErrorKind::Refused,
        phase,
        match &bayeux {
            Some(text) => format!("{}: the server refused: {}", phase.name(), text.text),
            None => format!("{}: the server refused without a reason", phase.name()),
        },
    );
    error.bayeux = bayeux;
    // Only responses with this status carry replies.
    error.http_status = 200;
    error
}
