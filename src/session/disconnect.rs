//! The end that the host asks for, within a time limit that always holds.

use super::flights::{Purpose, Stage};
use super::{Exchange, Millis, Session, State};
use crate::error::{Error, ErrorKind, Phase};

/// How long the held connect's reply is awaited after the disconnect's: a
/// server answers both at once, and events may ride on it.
const CONNECT_GRACE: Millis = 1_000;

#[derive(Debug)]
pub(super) struct Disconnecting {
    limit: Millis,
    sent: Option<Exchange>,
    /// The server has answered; from here on only the held connect is awaited,
    /// up to this time.
    answered: Option<Millis>,
}

impl Session {
    /// When the end comes in any case.
    pub(super) fn disconnect_deadline(&self) -> Option<Millis> {
        let disconnecting = self.disconnecting.as_ref()?;
        // A reply that is there is awaited for as long as the host's code has it.
        let has_arrived = self
            .connect
            .and_then(|it| self.flights.get(it.request))
            .is_some_and(|it| it.stage == Stage::Arrived);
        Some(match disconnecting.answered {
            Some(at) if !has_arrived => at.min(disconnecting.limit),
            _ => disconnecting.limit,
        })
    }

    pub(super) fn start_disconnect(&mut self, now: Millis, limit: Millis) {
        if self.state == State::Closed {
            return;
        }
        if let Some(disconnecting) = &mut self.disconnecting {
            disconnecting.limit = disconnecting.limit.min(limit);
            return;
        }
        if self.client_id.is_none() {
            // No session, nothing to end at the server.
            self.close(None);
            return;
        }
        self.next_attempt = None;
        self.refreshing = None;
        self.awaiting = None;
        self.commands.drop_renewals();
        self.resend_all();
        self.disconnecting = Some(Box::new(Disconnecting {
            limit: limit.max(now),
            sent: None,
            answered: None,
        }));
        self.set_state(State::Disconnecting);
    }

    /// First what the host has published, then the disconnect: on two
    /// connections the server could see them the other way round.
    pub(super) fn proceed_disconnect(&mut self, now: Millis) {
        self.flush_commands(now);
        let Some(disconnecting) = &self.disconnecting else {
            return;
        };
        let is_due = disconnecting.sent.is_none() && disconnecting.answered.is_none();
        if is_due && self.commands.is_idle() {
            let limit = disconnecting.limit.saturating_sub(now);
            if !self.has_line(now) {
                return;
            }
            let Some(client_id) = self.client_id.clone() else {
                self.close(None);
                return;
            };
            let message_id = self.next_message_id();
            let ext = self.meta_ext(now, None);
            let mut messages = self.messages(now);
            messages.disconnect(message_id, &client_id, ext.as_deref());
            let request = self.send(now, Purpose::Disconnect, messages, limit);
            if let Some(disconnecting) = &mut self.disconnecting {
                disconnecting.sent = Some(Exchange {
                    request,
                    message_id,
                });
            }
            return;
        }
        if disconnecting.answered.is_some() && self.connect.is_none() {
            self.close(None);
        }
    }

    /// The disconnect that was sent.
    pub(super) fn disconnect_awaited(&self) -> Option<Exchange> {
        self.disconnecting.as_ref().and_then(|it| it.sent)
    }

    /// The server has answered or cannot; either way the session is over.
    pub(super) fn disconnect_replied(&mut self, now: Millis) {
        if let Some(disconnecting) = &mut self.disconnecting {
            disconnecting
                .answered
                .get_or_insert(now.saturating_add(CONNECT_GRACE));
        }
    }

    pub(super) fn disconnect_timed_out(&mut self, now: Millis) {
        let Some(disconnecting) = &self.disconnecting else {
            return;
        };
        if self.disconnect_deadline().is_some_and(|at| at > now) {
            return;
        }
        if disconnecting.answered.is_some() {
            self.close(None);
        } else {
            self.emit_error(Error::new(
                ErrorKind::Timeout,
                Phase::Disconnect,
                "disconnect: the server did not answer in time; the session was abandoned",
            ));
            self.close(None);
        }
    }
}
