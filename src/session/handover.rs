//! A session that goes from one client to another, in this process or the next
//! one, without a word to the server: what the first knows of it, and how the
//! second goes on.
//!
//! The first connect of the second asks to be answered at once. A server that has
//! forgotten the session answers that it is unknown, and a handshake follows, as
//! at any other time.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::subscriptions::Standing;
use super::{socket, Attempt, Millis, Output, Session, State, StoredAdvice};
use crate::bayeux::{channel, ConnectionType};

/// All that a client knows of its session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    client_id: String,
    /// The protocol's name of it.
    connection_type: String,
    /// Which of the host's servers it is of, and its host.
    server: usize,
    host: String,
    interval: Millis,
    timeout: Option<Millis>,
    maximum_interval: Option<Millis>,
    /// The last batch that has arrived; `None`: the server keeps none.
    acknowledgement: Option<i64>,
    last_message_id: u64,
    /// The channels, and whether the server knows of each.
    subscriptions: BTreeMap<String, bool>,
    /// Whether the server takes part in replay, and where the topics stand.
    replay: bool,
    positions: BTreeMap<String, i64>,
}

impl fmt::Debug for Handover {
    /// A clientId is as good as a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover(…)")
    }
}

/// Message ids and times of a real session stay far below, and sums of them do not
/// overflow.
const MAXIMUM_NUMBER: u64 = 1 << 53;

impl Handover {
    /// Which of the host's servers it is of.
    pub fn server(&self) -> usize {
        self.server
    }

    pub fn channels(&self) -> Vec<String> {
        self.subscriptions.keys().cloned().collect()
    }

    /// Whether it can be that of a session at all.
    pub fn check(&self) -> Result<(), &'static str> {
        let times = [Some(self.interval), self.timeout, self.maximum_interval];
        let mut numbers = times.into_iter().flatten().chain([self.last_message_id]);
        if self.client_id.is_empty() {
            return Err("it has no clientId");
        }
        if numbers.any(|it| it > MAXIMUM_NUMBER) {
            return Err("a number is too large");
        }
        let mut channels = self.subscriptions.keys();
        if channels.any(|it| channel::check_subscription(it).is_err()) {
            return Err("a channel is none");
        }
        Ok(())
    }
}

impl Session {
    /// Gives the session away, if there is one, and ends without a word to the
    /// server.
    pub(super) fn hand_over(&mut self) {
        let handover = self.handover().map(Box::new);
        let ends = handover.is_some();
        self.outputs.push_back(Output::HandedOver(handover));
        if ends {
            self.close_socket(socket::AT_ONCE);
            self.close(None);
        }
    }

    fn handover(&self) -> Option<Handover> {
        let client_id = self.client_id.clone().filter(|_| {
            self.disconnecting.is_none() && !self.advice.ends && self.state != State::Closed
        })?;
        let (server, host) = self.servers.named()?;
        let StoredAdvice {
            interval,
            timeout,
            maximum_interval,
            ..
        } = self.advice;
        let (replay, positions) = self.replay.positions();
        Some(Handover {
            client_id,
            connection_type: self.connection_type().to_owned(),
            server,
            host,
            interval,
            timeout,
            maximum_interval,
            acknowledgement: self.acknowledgement.batch(),
            last_message_id: self.last_message_id,
            subscriptions: self
                .commands
                .subscriptions
                .standings()
                .map(|(channel, standing)| (channel.to_owned(), standing == Standing::Live))
                .collect(),
            replay,
            positions,
        })
    }

    /// Goes on with this session once the host calls connect, in place of the first
    /// handshake. Says why it cannot: then nothing has changed.
    pub fn resume(&mut self, handover: &Handover) -> Result<(), &'static str> {
        if self.state != State::Idle {
            return Err("it has begun with another one");
        }
        if handover.client_id.is_empty() {
            return Err("it has no clientId");
        }
        if !self.servers.resume(handover.server, &handover.host) {
            return Err("it is of a server that this client does not go to");
        }
        if let Some(had) = ConnectionType::named(&handover.connection_type) {
            self.transports.resume(had);
        }
        self.client_id = Some(handover.client_id.clone());
        self.sessions = 1;
        self.last_message_id = handover.last_message_id;
        self.advice = StoredAdvice {
            interval: handover.interval,
            timeout: handover.timeout,
            maximum_interval: handover.maximum_interval,
            ends: false,
        };
        self.acknowledgement.resume(handover.acknowledgement);
        self.replay
            .resume(handover.replay, handover.positions.clone());
        let session = self.sessions;
        for (channel, is_live) in &handover.subscriptions {
            self.commands
                .subscriptions
                .resume(channel, *is_live, session);
        }
        Ok(())
    }

    /// The host calls connect, and there is a session already.
    pub(super) fn go_on(&mut self, now: Millis) {
        self.connect_at_once = true;
        self.set_state(State::Connecting);
        self.next_attempt = Some((Attempt::Connect, now));
    }
}
