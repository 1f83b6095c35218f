//! New credentials, where a server has refused the old ones.

use super::{Attempt, Millis, Output, Session};
use crate::error::{Error, ErrorKind, Phase};

/// How often the token provider is asked while no session works.
const MAXIMUM_REFRESHES: u32 = 3;
/// How long the token provider may take before the session goes on without it.
const REFRESH_LIMIT: Millis = 60_000;

/// New credentials are being fetched.
#[derive(Debug, Clone)]
pub(super) struct Refreshing {
    /// When the provider has taken too long.
    pub deadline: Millis,
    /// What is tried afterwards; nothing when only a command was refused.
    pub then: Option<Box<RefreshedAttempt>>,
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

    pub(super) fn refresh(&mut self, now: Millis, then: Option<RefreshedAttempt>) {
        if then.is_some() {
            self.next_attempt = None;
        }
        if let Some(refreshing) = &mut self.refreshing {
            // One answer serves all who were refused.
            refreshing.then = then.map(Box::new).or(refreshing.then.take());
            return;
        }
        self.refreshes += 1;
        self.refreshing = Some(Refreshing {
            deadline: now.saturating_add(REFRESH_LIMIT),
            then: then.map(Box::new),
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
        let (attempt, not_before, last) = match refreshing.then {
            Some(then) => (Some(then.attempt), then.wait, then.last),
            None => (None, 0, None),
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
        if let Some((last, ended)) = last {
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
}
