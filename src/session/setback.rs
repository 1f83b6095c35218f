//! What follows a failed handshake or connect, and a session that is lost: the
//! one place that decides whether, when and how it goes on. `rules.md` has the
//! table.

use super::backoff::Backoff;
use super::credentials::RefreshedAttempt;
use super::{Attempt, Millis, Session, State};
use crate::bayeux::Reconnect;
use crate::error::{Error, ErrorKind};

/// A session is worth counting on when it has lived so long, or when a connect
/// that the server could hold was answered: most servers answer the first one,
/// which asks to be answered at once, whatever becomes of the session.
const WORKS: Millis = 10_000;

/// A failure of a handshake or connect, from the wire or from the server.
pub(super) struct Setback {
    pub error: Error,
    pub action: Reconnect,
    /// The pause that the failed message itself asked for.
    pub interval: Millis,
    pub retry_after: Millis,
    /// New credentials may help.
    pub credentials: bool,
    /// Where it goes no further: because the server has ended the session, which
    /// another one may follow; otherwise because it refuses this client.
    pub ended: bool,
}

impl Session {
    /// The server wants no more of this session; without a reason why another
    /// one should not be asked for, after the pause that it asks for.
    pub(super) fn ended_by_server(&mut self, now: Millis, mut error: Error, interval: Millis) {
        self.may_have_worked(now);
        self.failures = self.failures.saturating_add(1);
        let retries = self.configuration.number_of_retries;
        if !self.configuration.restart || retries.is_some_and(|it| self.failures > it) {
            self.close(Some(error));
            return;
        }
        self.commands.session_lost = false;
        self.handshake = None;
        // It was not for nothing: never at once, whatever has worked before.
        let wait = self.wait_after_session(Backoff::after);
        let wait = self.jitter.add(wait).saturating_add(interval);
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
            self.state_before(Attempt::Handshake, None);
            return;
        }
        if let Some(awaiting) = &mut self.awaiting {
            // The credentials are no better for another session.
            awaiting.attempt = Attempt::Handshake;
            if let Some((attempt, _)) = &mut self.next_attempt {
                *attempt = Attempt::Handshake;
            }
            self.state_before(Attempt::Handshake, None);
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
        self.may_have_worked(now);
        let wait = self.wait_after_session(Backoff::before);
        let wait = self.jitter.add(wait);
        self.give_up_session(now, wait);
        // The server does not know it on this socket either.
        self.fresh_socket = false;
    }

    /// Decides what follows a failed handshake or connect.
    pub(super) fn setback(&mut self, now: Millis, failed: Attempt, setback: Setback) {
        if self.disconnecting.is_some() {
            return;
        }
        let Setback {
            mut error,
            mut action,
            interval,
            retry_after,
            credentials,
            ended,
        } = setback;
        self.may_have_worked(now);
        self.connect_at_once = true;
        let since = *self.unconnected_since.get_or_insert(now);
        let attempt = match (failed, action) {
            (Attempt::Connect, Reconnect::Retry) => Attempt::Connect,
            _ => Attempt::Handshake,
        };
        if credentials && self.may_refresh() {
            let wait = match self.refreshes {
                0 => 0,
                _ => self.handshake_backoff.before(),
            };
            let wait = self.pause(wait, interval, retry_after);
            let last = (action == Reconnect::None).then(|| (error.clone(), ended));
            error.retry_in = Some(wait);
            let ext = error.reply_ext.clone();
            self.emit_error(error);
            self.state_before(attempt, ext);
            self.refresh(
                now,
                Some(RefreshedAttempt {
                    attempt,
                    wait,
                    last,
                }),
            );
            return;
        }
        if credentials && self.configuration.await_credentials {
            let wait = self.wait_for_credentials();
            let wait = self.pause(wait, interval, retry_after);
            let ext = error.reply_ext.clone();
            let not_before = interval.max(retry_after);
            self.await_credentials(now, attempt, wait, not_before, error);
            self.state_before(attempt, ext);
            return;
        }
        // A server that forgot a session which worked asks for a handshake in
        // the ordinary course of things; that is no failure of the new one.
        let code = error.bayeux.as_ref().map_or(0, |it| it.code);
        // And one that does not survive a change of the transport is none of either.
        let by_change = code == 402 && self.transports.was_lost_by_change();
        let ordinary = action == Reconnect::Handshake
            && failed == Attempt::Connect
            && (self.connected_since_handshake || by_change);
        // A server that does not know the session keeps none on the socket, nor one
        // that has not given a session.
        let is_refusal = error.kind == ErrorKind::Refused || error.bayeux.is_some();
        let keeps_socket =
            !credentials && (code == 402 || (failed == Attempt::Handshake && is_refusal));
        if action == Reconnect::None {
            if let Some(asked) = self.asked_in_vain().filter(|_| credentials) {
                error.message.push_str(&asked);
            }
            self.end(now, error, ended, interval);
            return;
        }
        if !ordinary {
            self.failures = self.failures.saturating_add(1);
        }
        if let Some(retries) = self.configuration.number_of_retries {
            if self.failures > retries {
                let failures = match self.failures {
                    1 => "1 failure".to_owned(),
                    failures => format!("{failures} failures in a row"),
                };
                error.message = format!("{} (given up after {failures})", error.message);
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
            (Attempt::Connect, _) => self.wait_after_session(Backoff::before),
            (Attempt::Handshake, _) => self.handshake_backoff.before(),
        };
        let wait = self.pause(wait, interval, retry_after);
        if action == Reconnect::Retry && failed == Attempt::Connect {
            error.retry_in = Some(wait);
            let ext = error.reply_ext.clone();
            self.emit_error(error);
            self.set_state_by(State::Unconnected, ext);
            self.next_attempt = Some((Attempt::Connect, now.saturating_add(wait)));
        } else {
            let at = self.handshake_limit.earliest(now.saturating_add(wait));
            let wait = at.saturating_sub(now);
            error.retry_in = Some(wait);
            let ext = error.reply_ext.clone();
            self.emit_error(error);
            self.state_before(Attempt::Handshake, ext);
            self.rehandshake(now, wait);
            self.fresh_socket = !keeps_socket;
        }
    }

    /// An attempt was refused for its credentials, and nobody could be asked for others.
    pub(super) fn unasked(&mut self, now: Millis, then: RefreshedAttempt, error: Error) {
        let action = match then.attempt {
            Attempt::Connect => Reconnect::Retry,
            Attempt::Handshake => Reconnect::Handshake,
        };
        let setback = Setback {
            error,
            action,
            interval: 0,
            // Never at once: they are the same credentials.
            retry_after: then.wait.max(self.configuration.backoff_increment),
            credentials: false,
            ended: false,
        };
        self.setback(now, then.attempt, setback);
    }

    /// A wait of this client's, and no less than the server asks for.
    fn pause(&mut self, wait: Millis, interval: Millis, retry_after: Millis) -> Millis {
        let wait = self.jitter.add(wait).saturating_add(interval);
        wait.max(retry_after)
    }

    /// Gives the session up and plans a handshake.
    pub(super) fn rehandshake(&mut self, now: Millis, wait: Millis) {
        self.state_before(Attempt::Handshake, None);
        let at = self.handshake_limit.earliest(now.saturating_add(wait));
        self.next_attempt = Some((Attempt::Handshake, at));
    }

    /// The state in which this attempt is waited for.
    fn state_before(&mut self, attempt: Attempt, ext: Option<Box<str>>) {
        match attempt {
            Attempt::Connect => self.set_state_by(State::Unconnected, ext),
            Attempt::Handshake => {
                self.client_id = None;
                self.fresh_socket = true;
                self.commands.session_ended();
                self.decided();
                // A renewal that was under way may have been the last that needed
                // its topic.
                self.replay.failed = true;
                // The first handshake, tried again, is still the first.
                if self.state != State::Handshaking {
                    self.set_state_by(State::Rehandshaking, ext);
                }
            }
        }
    }

    /// It goes no further.
    pub(super) fn end(&mut self, now: Millis, error: Error, ended: bool, interval: Millis) {
        match ended {
            true => self.ended_by_server(now, error, interval),
            false => self.close(Some(error)),
        }
    }

    /// From here on sessions that do not work are counted anew.
    pub(super) fn session_works(&mut self) {
        self.works = true;
        self.answered_since = None;
        self.unusable = 0;
        self.unusable_backoff.reset();
        self.forgotten_backoff.reset();
    }

    /// The wait before a handshake that follows a session: the first time none,
    /// or one increment where it was not for nothing.
    fn wait_after_session(&mut self, of: fn(&mut Backoff) -> Millis) -> Millis {
        let wait = of(&mut self.handshake_backoff);
        match self.works {
            true => wait,
            false => wait.max(of(&mut self.forgotten_backoff)),
        }
    }

    /// A session is about to fail that may have worked until now.
    fn may_have_worked(&mut self, now: Millis) {
        let since = self.answered_since.take();
        if since.is_some_and(|since| now.saturating_sub(since) >= WORKS) {
            self.session_works();
        }
    }

    /// Goes on with a handshake whose time had come.
    pub(super) fn attempt_handshake(&mut self, now: Millis) {
        self.next_attempt = Some((Attempt::Handshake, now));
    }

    /// Plans an attempt; returns how long it has to wait.
    pub(super) fn attempt_after(&mut self, now: Millis, attempt: Attempt, wait: Millis) -> Millis {
        let mut at = now.saturating_add(wait);
        if attempt == Attempt::Handshake {
            at = self.handshake_limit.earliest(at);
        }
        self.next_attempt = Some((attempt, at));
        at.saturating_sub(now)
    }
}
