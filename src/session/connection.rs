//! Handshakes and the connect loop: what is sent, and what its replies say.

use serde_json::value::RawValue;

use super::flights::Purpose;
use super::refusals::{ext_of, refused};
use super::setback::Setback;
use super::{
    retry_after, Attempt, Exchange, Millis, Session, State, StoredAdvice, MAXIMUM_HOLD,
    MAXIMUM_INTERVAL,
};
use crate::bayeux::{json, meta, Advice, ErrorText, Message, Reconnect};
use crate::error::{Error, ErrorKind, Failure, Phase};

/// How many failures in a row a session is held on to, where there are other
/// servers to go to.
const PATIENCE: u32 = 2;

/// A clientId travels with every message; servers' are some 30 bytes long.
const MAXIMUM_CLIENT_ID: usize = 1024;

impl Session {
    /// `fields` are the host's for this attempt.
    pub(super) fn send_handshake(&mut self, now: Millis, fields: Option<&RawValue>) {
        self.next_attempt = None;
        self.handshake_limit.record(now);
        self.client_id = None;
        self.advice = StoredAdvice::default();
        self.promised_events = 0;
        self.connected_since_handshake = false;
        self.works = false;
        self.answered_since = None;
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
            self.transports.wanted(),
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
        messages.connect(
            message_id,
            &client_id,
            self.transports.current(),
            self.connect_at_once,
            ext.as_deref(),
        );
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
        if let Some(socket) = &mut self.socket {
            socket.events = false;
        }
    }

    /// A refused handshake; with `ended` the server has said goodbye as well.
    pub(super) fn handshake_refused(&mut self, now: Millis, reply: &Message, ended: bool) {
        let advice = reply.advice(self.connection_type());
        self.advised(reply, advice.as_ref(), true);
        if self.configuration.has_handshake_provider {
            self.handshake_fields.handshake_refused(reply);
        }
        let error = refused(Phase::Handshake, reply);
        let code = error.bayeux.as_ref().map_or(0, |it| it.code);
        let advised = advice.as_ref().and_then(|it| it.reconnect);
        let action = match advised {
            _ if wants_no_more(advice.as_ref()) => Reconnect::None,
            Some(Reconnect::None) => Reconnect::None,
            None if ended => Reconnect::None,
            _ => Reconnect::Handshake,
        };
        self.setback(
            now,
            Attempt::Handshake,
            Setback {
                action,
                interval: interval_of(advice.as_ref()),
                retry_after: 0,
                credentials: matches!(code, 401 | 403),
                ended,
                error,
            },
        );
    }

    pub(super) fn handshake_replied(&mut self, now: Millis, reply: &Message) {
        self.handshake = None;
        let advice = reply.advice(self.connection_type());
        let usable = |id: &String| (1..=MAXIMUM_CLIENT_ID).contains(&id.len());
        let Some(client_id) = reply.client_id().filter(usable) else {
            self.handshake_failed(now, &self.bad_reply("the reply has no usable clientId"));
            return;
        };
        let Some(types) = reply.supported_connection_types() else {
            self.handshake_failed(
                now,
                &self.bad_reply("the reply's supportedConnectionTypes are missing or not strings"),
            );
            return;
        };
        let server = self.servers.current();
        if !self.transports.negotiate(&server, now, &types) {
            let wanted = self.transports.wanted().iter().map(|it| it.name());
            let text = ErrorText::parse(&format!(
                "405:c[{}],s[{}]:no_transport",
                wanted.collect::<Vec<_>>().join(","),
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
        self.gone = 0;
        self.unconnected_since = None;
        self.store_advice(advice.as_ref());
        self.connect_at_once = true;
        self.change_transport(now);
        self.set_state_by(State::Connecting, ext_of(reply));
        self.resubscribe(now);
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

    /// What the protocol calls the connection type in use.
    pub(super) fn connection_type(&self) -> &'static str {
        self.transports.current().name()
    }

    /// A reply that cannot be used.
    pub(super) fn bad_reply(&self, why: impl Into<String>) -> Failure {
        let failure = Failure::new(ErrorKind::Protocol, why);
        match self.transports.is_websocket() {
            true => failure,
            false => failure.with_status(200),
        }
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

    /// A refused connect; `ending` is what the server says when it has ended the
    /// session as well, `interval` the longest pause that it asks for.
    pub(super) fn connect_refused(
        &mut self,
        now: Millis,
        reply: &Message,
        ending: Option<Error>,
        interval: Millis,
    ) {
        if self.disconnecting.is_some() {
            return;
        }
        self.look_at_client_id(reply);
        let advice = reply.advice(self.connection_type());
        let ended = ending.is_some();
        let error = match ending {
            // A refusal without a reason is no more than its consequence.
            Some(ending) if reply.error().is_none() => ending,
            _ => refused(Phase::Connect, reply),
        };
        let code = error.bayeux.as_ref().map_or(0, |it| it.code);
        let advised = advice.as_ref().and_then(|it| it.reconnect);
        let wants_handshake = advised == Some(Reconnect::Handshake);
        self.advised(reply, advice.as_ref(), wants_handshake);
        let action = match advised {
            _ if wants_no_more(advice.as_ref()) => Reconnect::None,
            Some(Reconnect::Handshake) => Reconnect::Handshake,
            // No other advice brings back a session that the server has ended.
            _ if ended => Reconnect::None,
            Some(action) => action,
            // Unknown sessions come back by a handshake only.
            None if code == 402 => Reconnect::Handshake,
            None => Reconnect::Retry,
        };
        self.setback(
            now,
            Attempt::Connect,
            Setback {
                credentials: code == 401 || (code == 403 && advised == Some(Reconnect::None)),
                action,
                interval,
                retry_after: 0,
                ended: ended || advised != Some(Reconnect::None),
                error,
            },
        );
    }

    /// Whoever knows another client's id may speak for it: it is not printed.
    fn look_at_client_id(&self, reply: &Message) {
        let id = reply.client_id();
        if id.is_some_and(|it| Some(it) != self.client_id) {
            tracing::debug!(
                target: "cometd::session",
                "the reply to a connect has another client's id, which is ignored"
            );
        }
    }

    pub(super) fn connect_succeeded(
        &mut self,
        now: Millis,
        reply: &Message,
        took: Millis,
        events: bool,
    ) {
        if self.disconnecting.is_some() {
            return;
        }
        self.look_at_client_id(reply);
        let advice = self.last_advice.of(reply, self.transports.current());
        if let Some(advice) = &advice {
            self.store_advice(Some(advice));
            self.advised(reply, Some(advice), false);
        }
        self.acknowledgement.connect_replied(reply);
        self.transports.session_works();
        self.failures = 0;
        self.refreshes = 0;
        self.awaited = 0;
        self.handshake_fields.session_works();
        self.gone = 0;
        self.unconnected_since = None;
        self.connected_since_handshake = true;
        self.handshake_backoff.reset();
        self.connect_backoff.reset();
        if self.connect_at_once {
            // A server that forgets its sessions answers this one, too.
            self.answered_since.get_or_insert(now);
        } else {
            self.session_works();
        }
        self.connect_at_once = false;
        self.decided();
        self.set_state_by(State::Connected, ext_of(reply));
        if let Some(why) = last_words(advice.as_ref(), self.advice.ends) {
            let mut error = Error::new(
                ErrorKind::ServerDisconnected,
                Phase::Connect,
                format!("connect: {why}"),
            );
            error.reply_ext = ext_of(reply);
            self.ended_by_server(now, error, self.advice.interval);
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
        // Some servers refuse by a status, and say in a message what now.
        let advice = failure.advice_on(meta::HANDSHAKE);
        let is_final = advice.and_then(|it| it.reconnect) == Some(Reconnect::None);
        self.setback(
            now,
            Attempt::Handshake,
            Setback {
                error: failure.to_error(Phase::Handshake),
                action: match is_final || wants_no_more(advice) {
                    true => Reconnect::None,
                    false => Reconnect::Handshake,
                },
                interval: interval_of(advice),
                retry_after: retry_after(failure),
                credentials: failure.kind == ErrorKind::Unauthorized,
                ended: false,
            },
        );
    }

    pub(super) fn connect_failed(&mut self, now: Millis, failure: &Failure) {
        // Some servers refuse by a status, and say in a message what now.
        let advice = failure.advice_on(meta::CONNECT);
        let advised = advice.and_then(|it| it.reconnect);
        let mut action = advised.unwrap_or(Reconnect::Retry);
        let mut not_before = retry_after(failure);
        if is_unusable(failure.kind) {
            // A connect in between that brings nothing makes it no better.
            self.failures = self.failures.max(self.unusable);
            self.unusable = self.unusable.saturating_add(1);
            not_before = not_before.max(self.unusable_backoff.after());
        }
        if matches!(failure.http_status, 404 | 410) && failure.kind != ErrorKind::Proxy {
            // A server that was deployed anew knows neither URL nor session
            // for a moment, and then no longer the session.
            self.gone = self.gone.saturating_add(1);
            if self.gone > 1 && advised.is_none() {
                action = Reconnect::Handshake;
            }
        } else {
            self.gone = 0;
        }
        if self.advice.ends || wants_no_more(advice) {
            // The server wants no further connect.
            action = Reconnect::None;
        } else if action != Reconnect::None && self.servers.count() > 1 && self.failures >= PATIENCE
        {
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
                interval: advice.map_or(self.advice.interval, |it| interval_of(Some(it))),
                retry_after: not_before,
                credentials: failure.kind == ErrorKind::Unauthorized,
                ended: advised != Some(Reconnect::None),
            },
        );
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
            ends: wants_no_more(advice),
        };
    }
}

/// The interval that a failed message itself asks for.
pub(super) fn interval_of(advice: Option<&Advice>) -> Millis {
    advice
        .and_then(|it| it.interval)
        .and_then(|it| Millis::try_from(it).ok())
        .unwrap_or(0)
        .min(MAXIMUM_INTERVAL)
}

/// Whether a response that came whole cannot be used: asked for again it comes
/// again, for as long as the server has it.
fn is_unusable(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotJson | ErrorKind::Html | ErrorKind::TooLarge | ErrorKind::Protocol
    )
}

/// A pause below 0: no attempt may follow (Bayeux, section 3.2).
fn wants_no_more(advice: Option<&Advice>) -> bool {
    advice.and_then(|it| it.interval).is_some_and(|it| it < 0)
}

/// Why a successful connect is the last one.
fn last_words(advice: Option<&Advice>, ends: bool) -> Option<&'static str> {
    if advice.and_then(|it| it.reconnect) == Some(Reconnect::None) {
        return Some("the server ended the session: advice reconnect none");
    }
    ends.then_some("the server wants no further connect: advice interval below 0")
}
