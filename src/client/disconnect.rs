//! The end of a client, by a word to the server or at once.

use std::time::Duration;

use super::outcomes::{undelivered, undelivered_at_end};
use super::{Client, Waited};
use crate::clock;
use crate::error::{Error, ErrorKind, Phase};
use crate::runtime::lock;
use crate::session::{Command, Output, Session, State};
use crate::speaker::speak;

/// How long a disconnect that does not wait may take in the background.
const DEFAULT_DISCONNECT: Duration = Duration::from_secs(10);
/// What a disconnect waits for the I/O thread beyond the host's time limit.
const DISCONNECT_SLACK: Duration = Duration::from_millis(500);

impl Client {
    /// Ends the session politely. With a time limit of 0 it goes on in the
    /// background; otherwise this returns when the client has closed, and an
    /// error when the server did not answer in time, or when publishes have
    /// failed on the way to the end, or before and the host does not know.
    pub fn disconnect(&self, timeout: Duration) -> Result<(), Error> {
        self.try_disconnect(timeout).map_err(|mut error| {
            self.shared.identify(&mut error);
            error
        })
    }

    fn try_disconnect(&self, timeout: Duration) -> Result<(), Error> {
        let hub = &self.shared.hub;
        let before = hub.failed_publishes();
        let ended = self.end_session(timeout);
        if timeout.is_zero() {
            return ended;
        }
        let since = hub.failed_publishes().all.saturating_sub(before.all);
        let failed = since.saturating_add(before.unread);
        Err(match ended {
            _ if failed == 0 => return ended,
            Ok(()) => undelivered_at_end(failed),
            Err(mut error) => {
                error.message = format!("{}; and {}", error.message, undelivered(failed));
                error
            }
        })
    }

    /// Ends the session politely in the background. That publishes have failed is told by
    /// an event.
    pub fn disconnect_within(&self, limit: Duration) {
        let shared = &self.shared;
        shared.outcomes.ending(shared.hub.failed_publishes());
        if !self.close_unstarted() {
            self.command_disconnect(limit);
        }
    }

    fn command_disconnect(&self, limit: Duration) {
        self.shared.command(Command::Disconnect {
            limit: clock::now().saturating_add(clock::millis(limit)),
        });
    }

    fn end_session(&self, timeout: Duration) -> Result<(), Error> {
        if self.close_unstarted() || self.state() == State::Closed {
            return Ok(());
        }
        let limit = if timeout.is_zero() {
            DEFAULT_DISCONNECT
        } else {
            timeout
        };
        self.command_disconnect(limit);
        if timeout.is_zero() {
            return Ok(());
        }
        let waited = self.wait(State::Closed, Some(timeout + DISCONNECT_SLACK));
        if waited != Waited::Reached {
            self.shared.command(Command::Abort);
        }
        if waited != Waited::Reached || self.shared.board.disconnect_timed_out() {
            return Err(Error::new(
                ErrorKind::Timeout,
                Phase::Disconnect,
                "disconnect: the server did not answer in time; the session was abandoned",
            ));
        }
        Ok(())
    }

    /// Ends a client that never connected; false when it did.
    fn close_unstarted(&self) -> bool {
        let Some(start) = lock(&self.unstarted).take() else {
            return false;
        };
        let _speaking = speak(&self.shared.name);
        let mut session = Session::sharing(start.configuration, 0, 0);
        let now = clock::now();
        lock(&self.shared.mailbox).post_batch();
        for command in self.shared.take_commands() {
            session.handle_command(now, command);
        }
        session.handle_command(now, Command::Abort);
        while let Some(output) = session.poll_output() {
            if let Output::Event(event) = output {
                self.shared.publish(event);
            }
        }
        true
    }

    /// Ends it at once, without a word to the server and without waiting.
    pub fn abort(&self) {
        if !self.close_unstarted() {
            self.shared.command(Command::Abort);
        }
    }

    /// The same, and its own receiver gives nothing out any more; whoever waits in it
    /// returns.
    pub fn free(&self) {
        if let Some(own) = &self.own {
            self.shared.hub.remove(own);
        }
        self.abort();
        self.shared.free();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.free();
    }
}
