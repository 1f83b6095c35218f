//! Which connection type, when and why.
//!
//! A handshake goes over the first type of the host's list that is not switched
//! off at its server; what the reply lists decides further, with the same client
//! id (Bayeux specification, section 6.1).
//!
//! | WebSocket | then |
//! | --- | --- |
//! | cannot be reached: name, TCP, TLS, proxy | long polling would fare the same: a failure, and again |
//! | 401 | the token provider, once; then as refused |
//! | refused: any other status, a broken 101, no answer in time | long polling in the same attempt, told once, no failure |
//! | ended before a reply came over it, or opened three times without one | refused |
//! | proven by a reply, then lost | opened again, after the backoff of a failed connect |
//!
//! What was refused is off for its server: for a minute, and each time twice as
//! long up to an hour; then the next handshake tries it again. It is forgotten when
//! long polling cannot reach the server either: then the network was down. Where
//! the host wants nothing but WebSocket a refusal is a failure like others.

use std::sync::Arc;

use super::servers::Server;
use super::Millis;
use crate::bayeux::ConnectionType;
use crate::error::{ErrorKind, Failure};

const OFF: Millis = 60_000;
const LONGEST_OFF: Millis = 3_600_000;
/// A server that has answered over a WebSocket before may be restarting.
const OPENINGS: u32 = 3;
/// Of so many servers is remembered how they fared: advice may name ever new ones.
const SERVERS: usize = 32;

/// How WebSocket has fared at one server.
#[derive(Debug)]
struct Standing {
    server: Server,
    /// Not to be tried before.
    off_until: Millis,
    /// For how long it was refused last.
    off_for: Millis,
    /// A reply came over it once.
    proven: bool,
    /// How often in a row it was opened and brought no reply.
    unanswered: u32,
}

#[derive(Debug)]
pub(super) struct Transports {
    /// In the host's order.
    wanted: Arc<[ConnectionType]>,
    current: ConnectionType,
    standings: Vec<Standing>,
    /// Long polling took its place, and has not answered yet.
    stands_in: bool,
    /// The session goes on over another type than it had.
    changed: bool,
    /// The token provider was asked for the sake of a refused opening.
    asked: bool,
    /// Over which a reply came last.
    answered: Option<ConnectionType>,
}

impl Transports {
    pub(super) fn new(wanted: Arc<[ConnectionType]>) -> Self {
        let first = wanted.first().copied();
        Self {
            wanted,
            current: first.unwrap_or(ConnectionType::LongPolling),
            standings: Vec::new(),
            stands_in: false,
            changed: false,
            asked: false,
            answered: None,
        }
    }

    pub(super) fn answered(&self) -> Option<ConnectionType> {
        self.answered
    }

    /// Goes on over the type that a session has had, where the host wants it.
    pub(super) fn resume(&mut self, had: ConnectionType) {
        self.changed = had != self.current;
        if self.wanted.contains(&had) {
            (self.current, self.changed) = (had, false);
        }
    }

    pub(super) fn current(&self) -> ConnectionType {
        self.current
    }

    pub(super) fn wanted(&self) -> &[ConnectionType] {
        &self.wanted
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.current == ConnectionType::WebSocket
    }

    fn standing(&mut self, server: &Server) -> Option<&mut Standing> {
        if let Some(index) = self.standings.iter().position(|it| it.server == *server) {
            return self.standings.get_mut(index);
        }
        if self.standings.len() == SERVERS {
            self.standings.remove(0);
        }
        self.standings.push(Standing {
            server: server.clone(),
            off_until: 0,
            off_for: 0,
            proven: false,
            unanswered: 0,
        });
        self.standings.last_mut()
    }

    fn is_off(&self, connection_type: ConnectionType, server: &Server, now: Millis) -> bool {
        let mut all = self.standings.iter();
        connection_type == ConnectionType::WebSocket
            && all.any(|it| it.server == *server && now < it.off_until)
    }

    /// Chooses for a handshake.
    pub(super) fn handshake(&mut self, server: &Server, now: Millis) {
        let mut usable = self.wanted.iter();
        let usable = usable.find(|it| !self.is_off(**it, server, now));
        let first = usable.or(self.wanted.first()).copied();
        self.current = first.unwrap_or(self.current);
        self.changed = false;
    }

    /// A server has accepted the handshake and speaks these types. False when there
    /// is none in common.
    pub(super) fn negotiate(&mut self, server: &Server, now: Millis, theirs: &[String]) -> bool {
        let common = |it: &&ConnectionType| theirs.iter().any(|name| name == it.name());
        let mut both = self.wanted.iter().filter(common);
        let usable = both.clone().find(|it| !self.is_off(**it, server, now));
        let Some(chosen) = usable.or_else(|| both.next()).copied() else {
            return false;
        };
        self.changed = chosen != self.current;
        self.current = chosen;
        true
    }

    /// The server refuses WebSocket. True when another type takes its place.
    pub(super) fn refused(&mut self, server: &Server, now: Millis) -> bool {
        let other = self.wanted.iter().copied();
        let other = other.clone().find(|it| *it != ConnectionType::WebSocket);
        let Some(other) = other else { return false };
        if let Some(standing) = self.standing(server) {
            standing.off_for = match standing.off_for {
                0 => OFF,
                before => before.saturating_mul(2).min(LONGEST_OFF),
            };
            standing.off_until = now.saturating_add(standing.off_for);
            standing.proven = false;
            standing.unanswered = 0;
        }
        self.current = other;
        self.stands_in = true;
        self.changed = true;
        self.asked = false;
        true
    }

    /// A reply has come over a WebSocket.
    pub(super) fn websocket_answered(&mut self, server: &Server) {
        self.answered = Some(ConnectionType::WebSocket);
        self.asked = false;
        if let Some(standing) = self.standing(server) {
            standing.proven = true;
            standing.unanswered = 0;
            standing.off_for = 0;
        }
    }

    /// A WebSocket has ended over which no reply came. Whether that is a refusal.
    pub(super) fn websocket_unanswered(&mut self, server: &Server) -> bool {
        self.standing(server).is_some_and(|standing| {
            standing.unanswered = standing.unanswered.saturating_add(1);
            !standing.proven || standing.unanswered >= OPENINGS
        })
    }

    /// Whether the token provider may be asked for an opening that was refused for
    /// its credentials.
    pub(super) fn may_ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// A request has failed over long polling.
    pub(super) fn long_polling_failed(&mut self, server: &Server, failure: &Failure) {
        // Who stands between says so by a status.
        let network = matches!(
            failure.kind,
            ErrorKind::Dns | ErrorKind::Tcp | ErrorKind::Tls | ErrorKind::Proxy
        ) || matches!(failure.http_status, 500 | 502 | 503 | 504);
        let stood_in = std::mem::take(&mut self.stands_in);
        if !stood_in || !network && failure.kind != ErrorKind::Timeout {
            return;
        }
        if let Some(standing) = self.standing(server) {
            standing.off_until = 0;
            standing.off_for = match standing.off_for {
                OFF => 0,
                longer => longer / 2,
            };
        }
    }

    pub(super) fn long_polling_answered(&mut self) {
        self.answered = Some(ConnectionType::LongPolling);
        self.stands_in = false;
    }

    /// Whether a session that is unknown now was known over another type. That is
    /// asked once.
    pub(super) fn was_lost_by_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The session works over this type.
    pub(super) fn session_works(&mut self) {
        self.changed = false;
    }
}
