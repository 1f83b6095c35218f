//! New credentials, where a server has refused the old ones.

use super::{Attempt, Millis, Output, Session, State};
use crate::error::{Error, ErrorKind, Phase};

/// How often the token provider is asked while no session works.
const MAXIMUM_REFRESHES: u32 = 3;
/// How long the token provider may take before the session goes on without it.
const REFRESH_LIMIT: Millis = 60_000;

/// Before the host's functions are asked again for credentials that are awaited, at
/// least.
const PAUSE: Millis = 5_000;
/// Where nobody can be asked, the same credentials are tried again: an account may be
/// unlocked, but a server may lock it for too many attempts. So much longer each time,
/// and at most so long.
const LONGER: Millis = 60_000;
const LONGEST: Millis = 600_000;

/// New credentials are being fetched.
#[derive(Debug, Clone)]
pub(super) struct Refreshing {
    /// When the provider has taken too long.
    pub deadline: Millis,
    /// What is tried afterwards; nothing when only a command was refused.
    pub then: Option<RefreshedAttempt>,
}

/// The host is waited for, with credentials that a server takes.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub attempt: Attempt,
    /// When the provider is asked again. `None`: there is none, and the attempt is
    /// planned.
    pub ask_at: Option<Millis>,
    /// When the server takes an attempt.
    pub not_before: Millis,
}

#[derive(Debug, Clone)]
pub(super) struct RefreshedAttempt {
    pub attempt: Attempt,
    pub wait: Millis,
    /// What is told when the provider fails and the refusal was final; and
    /// whether that was because the server has ended the session.
    pub last: Option<(Error, bool)>,
}

impl Session {
    /// Whether the provider may be asked, or is being asked for a command's sake.
    pub(super) fn may_refresh(&self) -> bool {
        match &self.refreshing {
            Some(refreshing) => refreshing.then.is_none(),
            None => self.configuration.has_token_provider && self.refreshes < MAXIMUM_REFRESHES,
        }
    }

    /// What a refusal that is final says of the provider, whose answers helped nothing.
    pub(super) fn asked_in_vain(&self) -> Option<String> {
        let times = match self.refreshes {
            0 => return None,
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        Some(format!("; the token provider was asked {times}"))
    }

    pub(super) fn refresh(&mut self, now: Millis, then: Option<RefreshedAttempt>) {
        if then.is_some() {
            self.next_attempt = None;
        }
        if let Some(refreshing) = &mut self.refreshing {
            // One answer serves all who were refused.
            refreshing.then = then.or(refreshing.then.take());
            return;
        }
        self.refreshes = self.refreshes.saturating_add(1);
        self.refreshing = Some(Box::new(Refreshing {
            deadline: now.saturating_add(REFRESH_LIMIT),
            then,
        }));
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

    /// The token provider could not be asked, which is a failure of the system: what was
    /// refused is tried again, and may be asked for again.
    pub fn handle_unasked(&mut self, now: Millis, why: &str) {
        self.refreshes = self.refreshes.saturating_sub(1);
        let why = format!("the token provider could not be asked: {why}");
        match self.refreshing.take().map(|it| it.then) {
            Some(Some(then)) if !self.configuration.await_credentials => {
                let error = failure_of(Some(then.attempt), ErrorKind::System, &why);
                self.unasked(now, then, error);
            }
            Some(then) => self.not_refreshed(now, then, ErrorKind::System, &why),
            None => {}
        }
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
        let refreshing = self.refreshing.take();
        let Err(why) = result else {
            match refreshing.and_then(|it| it.then) {
                Some(then) => {
                    self.attempt_after(now, then.attempt, then.wait);
                }
                None => self.new_credentials(now),
            }
            return;
        };
        if let Some(refreshing) = refreshing {
            let why = format!("the token provider gave no credentials: {why}");
            self.not_refreshed(now, refreshing.then, ErrorKind::Credentials, &why);
        }
    }

    fn not_refreshed(
        &mut self,
        now: Millis,
        then: Option<RefreshedAttempt>,
        kind: ErrorKind,
        why: &str,
    ) {
        let (attempt, not_before, last) = match then {
            Some(then) => (Some(then.attempt), then.wait, then.last),
            None => (None, 0, None),
        };
        let mut error = failure_of(attempt, kind, why);
        if let (Some(attempt), true) = (attempt, self.configuration.await_credentials) {
            let wait = self.wait_for_credentials();
            let wait = self.jitter.add(wait).max(not_before);
            self.await_credentials(now, attempt, wait, not_before, error);
            return;
        }
        if let Some((mut last, ended)) = last {
            last.message = format!("{}; {why}", last.message);
            self.emit_error(error);
            self.end(now, last, ended, not_before);
            return;
        }
        if let Some(attempt) = attempt {
            let wait = self.handshake_backoff.after();
            let wait = self.jitter.add(wait).max(not_before);
            error.retry_in = Some(self.attempt_after(now, attempt, wait));
        }
        self.emit_error(error);
    }

    /// How long credentials are awaited that a server has refused; not at all when
    /// there are others since they were sent.
    pub(super) fn wait_for_credentials(&mut self) -> Millis {
        if self.has_new_credentials {
            return 0;
        }
        self.awaited = self.awaited.saturating_add(1);
        let times = Millis::from(self.awaited);
        let configuration = &self.configuration;
        let is_asked = configuration.has_token_provider
            || configuration.has_handshake_provider
            || configuration.has_header_provider;
        match is_asked {
            true => configuration
                .backoff_increment
                .saturating_mul(times)
                .min(configuration.backoff_maximum)
                .max(PAUSE),
            false => LONGER.saturating_mul(times).min(LONGEST),
        }
    }

    /// Goes on when the host has other credentials, though not before the server wants
    /// it, or by itself after `wait`.
    pub(super) fn await_credentials(
        &mut self,
        now: Millis,
        attempt: Attempt,
        wait: Millis,
        not_before: Millis,
        mut error: Error,
    ) {
        let are_new = std::mem::take(&mut self.has_new_credentials);
        let ask_at = now.saturating_add(wait);
        let ask_at = Some(ask_at).filter(|_| !are_new && self.configuration.has_token_provider);
        error.retry_in = Some(match ask_at {
            Some(_) => {
                self.next_attempt = None;
                wait
            }
            None => self.attempt_after(now, attempt, wait),
        });
        if !are_new {
            self.awaiting = Some(Box::new(Awaiting {
                attempt,
                ask_at,
                not_before: now.saturating_add(not_before),
            }));
            error.message.push_str("; waiting for new credentials");
        }
        self.emit_error(error);
    }

    /// The provider is asked again, for as long as it takes.
    pub(super) fn refresh_awaited(&mut self, now: Millis) {
        let ask_at = self.awaiting.as_ref().and_then(|it| it.ask_at);
        if ask_at.is_none_or(|it| it > now) {
            return;
        }
        if let Some(awaiting) = self.awaiting.take() {
            let then = RefreshedAttempt {
                attempt: awaiting.attempt,
                wait: 0,
                last: None,
            };
            self.refresh(now, Some(then));
        }
    }

    /// The host has set other credentials.
    pub(super) fn credentials_set(&mut self, now: Millis) {
        self.awaited = 0;
        self.new_credentials(now);
    }

    /// What waits for credentials goes on.
    fn new_credentials(&mut self, now: Millis) {
        if !self.configuration.await_credentials
            || self.disconnecting.is_some()
            || self.state == State::Closed
        {
            return;
        }
        let asked = self.refreshing.take_if(|it| it.then.is_some());
        let asked = asked.and_then(|it| it.then).map(|it| (it.attempt, it.wait));
        let awaited = self.awaiting.take();
        let awaited = awaited.map(|it| (it.attempt, it.not_before.saturating_sub(now)));
        match asked.or(awaited) {
            Some((attempt, wait)) => {
                self.attempt_after(now, attempt, wait);
            }
            None => self.has_new_credentials = true,
        }
    }

    /// A handshake or connect is on its way, with the credentials that there are;
    /// over a socket with those that opened it.
    pub(super) fn attempted(&mut self) {
        self.awaiting = None;
        if !self.transports.is_websocket() {
            self.has_new_credentials = false;
        }
    }
}

fn failure_of(attempt: Option<Attempt>, kind: ErrorKind, why: &str) -> Error {
    let phase = match attempt {
        Some(Attempt::Connect) => Phase::Connect,
        Some(Attempt::Handshake) => Phase::Handshake,
        None => Phase::Publish,
    };
    Error::new(kind, phase, format!("{}: {why}", phase.name()))
}
