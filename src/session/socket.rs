//! A session's WebSocket: opened when something is to be sent, and what happens
//! when it answers, falls silent or dies.
//!
//! A request here is a frame. Its reply comes in any frame, so that it is under
//! way until all its messages are answered, and several are at the same time. A
//! deadline that runs out, or a frame that is none, ends the socket and with it all
//! that is under way over it: nothing of it can arrive on the next one.

use std::sync::Arc;

use super::flights::{kept, Flight, Purpose, Stage, FAIR_RATE, HOST_LIMIT, LONGEST, PAUSE};
use super::said::Source;
use super::servers::Server;
use super::{retry_after, Attempt, Millis, Output, RequestId, Session, State};
use crate::bayeux::Body;
use crate::error::{ErrorKind, Failure, Phase};

/// One socket of a client's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// So many bytes may be on their way to the system before commands wait.
const WINDOW: usize = 64 * 1024;

/// Longer than any deadline: while nothing is read, no time passes.
const STANDSTILL: Millis = 400 * 86_400_000;

/// The code of a closing in the ordinary course of things (RFC 6455, section 7.4.1).
pub(super) const NORMAL: u16 = 1000;
/// The code for what is no message of Bayeux.
const PROTOCOL_ERROR: u16 = 1002;
/// The code that closes at once, without a word.
pub(super) const AT_ONCE: u16 = 0;

/// What was heard of a flight's answer when its deadline was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carried {
    pub socket: SocketId,
    pub looked: Millis,
    heard: u64,
    /// For how long nothing was read since it was sent.
    unread: Millis,
}

impl Flight {
    /// For so long nothing was read, and now it is again.
    fn stood_still(&mut self, passed: Millis) {
        let deadline = self.deadline.saturating_sub(STANDSTILL);
        self.deadline = deadline.saturating_add(passed);
        if let Some(carried) = &mut self.carried {
            carried.looked = carried.looked.saturating_add(passed);
            carried.unread = carried.unread.saturating_add(passed);
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    pub id: SocketId,
    server: Server,
    open: bool,
    /// When it was asked for.
    since: Millis,
    /// Its request is with the host's code, and not yet sent.
    held: bool,
    /// A reply has come over it.
    answered: bool,
    /// When its last byte came, and how many there were.
    heard_at: Millis,
    heard: u64,
    pinged: Option<Millis>,
    /// Since when nothing is read.
    unread_since: Option<Millis>,
    /// Since when the host's code has frames and has given none back.
    kept_since: Option<Millis>,
    /// What was given to the caller and is not with the system yet.
    unwritten: usize,
    /// Events have come since the connect was sent.
    pub events: bool,
}

impl Session {
    fn ping_interval(&self) -> Option<Millis> {
        Some(self.configuration.ping_interval).filter(|it| *it > 0)
    }

    /// Whether requests can be sent now. Where they need a socket that is not open
    /// it is opened, and they wait for it.
    pub(super) fn has_line(&mut self, now: Millis) -> bool {
        if !self.transports.is_websocket() {
            return true;
        }
        if let Some(socket) = &self.socket {
            return socket.open;
        }
        self.last_socket_id += 1;
        let id = SocketId(self.last_socket_id);
        let server = self.servers.current();
        self.socket = Some(Box::new(Socket {
            id,
            server: server.clone(),
            open: false,
            since: now,
            held: self.configuration.has_header_provider,
            answered: false,
            heard_at: now,
            heard: 0,
            pinged: None,
            unread_since: None,
            kept_since: None,
            unwritten: 0,
            events: false,
        }));
        self.fresh_socket = false;
        self.outputs.push_back(Output::Open { socket: id, server });
        false
    }

    /// The line for a handshake: a session that is over may still have events on
    /// its way, so that a new one takes a new socket.
    pub(super) fn has_line_for_handshake(&mut self, now: Millis) -> bool {
        let server = self.servers.current();
        let is_elsewhere = self.socket.as_ref().is_some_and(|it| it.server != server);
        if self.fresh_socket || is_elsewhere {
            self.leave_socket(now);
        }
        if self.socket.is_none() {
            self.transports.handshake(&server, now);
        }
        self.has_line(now)
    }

    /// Waits for a socket that is being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.socket.as_ref().is_some_and(|it| !it.open)
    }

    pub(super) fn has_window(&self) -> bool {
        self.socket.as_ref().is_none_or(|it| it.unwritten < WINDOW)
    }

    /// What a flight over the socket is known by; to be called when one is sent.
    pub(super) fn carried(&mut self, now: Millis, bytes: usize) -> Option<Carried> {
        let socket = self.socket.as_mut().filter(|it| it.open)?;
        socket.unwritten = socket.unwritten.saturating_add(bytes);
        Some(Carried {
            socket: socket.id,
            looked: now,
            heard: socket.heard,
            unread: 0,
        })
    }

    pub(super) fn socket_stands_still(&self) -> Millis {
        let unread = self.socket.as_ref().and_then(|it| it.unread_since);
        unread.map_or(0, |_| STANDSTILL)
    }

    /// When something has to be done about the socket.
    pub(super) fn socket_deadline(&self) -> Option<Millis> {
        let socket = self.socket.as_ref()?;
        let limit = self.configuration.request_timeout;
        if !socket.open {
            let limit = if socket.held { HOST_LIMIT } else { limit };
            return Some(socket.since.saturating_add(limit));
        }
        if let Some(since) = socket.kept_since {
            return Some(since.saturating_add(HOST_LIMIT));
        }
        if socket.unread_since.is_some() {
            return None;
        }
        match socket.pinged {
            Some(at) => Some(at.saturating_add(self.silence(socket))),
            None => Some(socket.heard_at.saturating_add(self.ping_interval()?)),
        }
    }

    /// How long a ping may be unanswered. Some proxies let the upgrade through and
    /// swallow all frames: that is to be known before the handshake runs out.
    fn silence(&self, socket: &Socket) -> Millis {
        match socket.answered {
            true => self.configuration.request_timeout,
            false => self.configuration.request_timeout / 3,
        }
    }

    pub(super) fn socket_timed_out(&mut self, now: Millis) {
        if self.socket_deadline().is_none_or(|at| at > now) {
            return;
        }
        let ping = self.ping_interval().is_some();
        let Some(socket) = &mut self.socket else {
            return;
        };
        let id = socket.id;
        if !socket.open {
            let limit = self.configuration.request_timeout;
            let held = socket.held;
            let text = match held {
                true => format!("the host's code took longer than {HOST_LIMIT} ms for the headers"),
                false => format!("the WebSocket was not open within {limit} ms"),
            };
            let failure = Failure::new(ErrorKind::Timeout, text);
            self.outputs.push_back(Output::CloseSocket {
                socket: id,
                code: AT_ONCE,
                reads: false,
            });
            self.unopened(now, &failure, !held);
        } else if socket.kept_since.is_some() {
            self.break_socket(now, &Failure::new(ErrorKind::Timeout, kept()));
        } else if socket.pinged.is_none() && ping {
            socket.pinged = Some(now);
            self.outputs.push_back(Output::Ping(id));
        } else {
            let waited = now.saturating_sub(socket.heard_at);
            let text = format!("nothing came over the WebSocket for {waited} ms");
            self.break_socket(now, &Failure::new(ErrorKind::Timeout, text));
        }
    }

    /// The host's code has let the request go that opens the socket: its time runs
    /// from now on. Told where there is a provider of headers.
    pub fn handle_opening(&mut self, now: Millis, socket: SocketId) {
        let is_held = |it: &&mut Box<Socket>| it.id == socket && it.held;
        if let Some(opening) = self.socket.as_mut().filter(is_held) {
            opening.held = false;
            opening.since = now;
        }
    }

    /// The socket is open, and frames can be sent over it.
    pub fn handle_opened(&mut self, now: Millis, socket: SocketId) {
        let ping = self.ping_interval().is_some();
        let Some(open) = self.socket.as_mut().filter(|it| it.id == socket) else {
            return;
        };
        open.open = true;
        open.heard_at = now;
        if ping {
            // Who swallows frames swallows this one as well.
            open.pinged = Some(now);
            self.outputs.push_back(Output::Ping(socket));
        }
        // The connect goes first, also where it would have waited.
        if let Some((Attempt::Connect, at)) = &mut self.next_attempt {
            *at = now;
        }
        self.proceed(now);
    }

    /// The socket could not be opened; `refused` when it is WebSocket itself that
    /// was refused, so that long polling may fare better.
    pub fn handle_unopened(
        &mut self,
        now: Millis,
        socket: SocketId,
        failure: &Failure,
        refused: bool,
    ) {
        if self.socket.as_ref().is_some_and(|it| it.id == socket) {
            self.unopened(now, failure, refused);
            self.proceed(now);
        }
    }

    fn unopened(&mut self, now: Millis, failure: &Failure, refused: bool) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        let credentials = failure.kind == ErrorKind::Unauthorized;
        let is_refusal = match credentials {
            true => !(self.may_refresh() && self.transports.may_ask()),
            false => refused,
        };
        if is_refusal && self.transports.refused(&socket.server, now) {
            self.go_on_by_long_polling(now, failure);
            return;
        }
        self.fail_line(now, failure);
    }

    /// Nothing can be sent: what was about to be fails.
    fn fail_line(&mut self, now: Millis, failure: &Failure) {
        if self.disconnecting.is_some() {
            self.disconnect_replied(now);
            self.connect = None;
            return;
        }
        let due = self.next_attempt.filter(|(_, at)| *at <= now);
        self.fail_waiting(now, failure);
        match due.map(|it| it.0) {
            Some(Attempt::Handshake) => {
                self.next_attempt = None;
                self.handshake_failed(now, failure);
            }
            Some(Attempt::Connect) => {
                self.next_attempt = None;
                self.connect_failed(now, failure);
            }
            None => {}
        }
    }

    /// The same attempt by long polling: no failure of anybody's.
    fn go_on_by_long_polling(&mut self, now: Millis, failure: &Failure) {
        let has_session = self.client_id.is_some();
        let (attempt, phase) = match has_session {
            true => (Attempt::Connect, Phase::Connect),
            false => (Attempt::Handshake, Phase::Handshake),
        };
        let mut wait = retry_after(failure);
        if attempt == Attempt::Handshake {
            let at = self.handshake_limit.earliest(now.saturating_add(wait));
            wait = at.saturating_sub(now);
        }
        let mut error = failure.to_error(phase);
        error.message.push_str("; going on with long polling");
        error.retry_in = Some(wait);
        self.emit_error(error);
        // A provider's answer brings the attempt by itself.
        let refreshing = self.refreshing.as_ref();
        let is_asked = refreshing.is_some_and(|it| it.then.is_some())
            || self.handshake_fields.deadline().is_some();
        if self.disconnecting.is_none() && self.connect.is_none() && !is_asked {
            self.next_attempt = Some((attempt, now.saturating_add(wait)));
        }
    }

    /// Messages came over the socket, or over one that was left.
    pub fn handle_frame(&mut self, now: Millis, socket: SocketId, body: &Arc<Body>) {
        if self.left_socket == Some(socket) {
            self.handle_late_events(body);
            return;
        }
        let is_current = |it: &&mut Box<Socket>| it.id == socket && it.open;
        let Some(open) = self.socket.as_mut().filter(is_current) else {
            return;
        };
        open.heard_at = now;
        open.pinged = None;
        open.kept_since = open.kept_since.map(|_| now);
        if self.state == State::Closed {
            return;
        }
        self.handle_said(now, &Source::Socket(socket), body);
        self.forget_answered(socket);
        self.proceed(now);
    }

    /// The socket is closed by this side. Its events count until it has ended, unless
    /// they come again.
    fn leave(&mut self, socket: SocketId, code: u16, reads: bool) {
        let come_again = self.acknowledgement.batch().is_some() || self.replay.is_wanted();
        let reads = reads && !come_again;
        self.left_socket = reads.then_some(socket);
        self.outputs.push_back(Output::CloseSocket {
            socket,
            code,
            reads,
        });
    }

    /// A reply has come over the socket.
    pub(super) fn socket_answered(&mut self) {
        if let Some(socket) = &mut self.socket {
            if !std::mem::replace(&mut socket.answered, true) {
                self.transports.websocket_answered(&socket.server);
            }
        }
    }

    /// Forgets the flights of commands that have nothing to wait for. A call's own
    /// deadline closes nothing.
    pub(super) fn forget_answered(&mut self, socket: SocketId) {
        let commands = &self.commands;
        self.flights.retain(|request, flight| {
            if flight.socket() != Some(socket) || flight.purpose != Purpose::Commands {
                return true;
            }
            if commands.pending.iter_request(request).next().is_some() {
                return true;
            }
            flight.deadline = Millis::MAX;
            commands.calls.of_request(request).next().is_some()
        });
    }

    /// Bytes came over the socket: the last of them at `at`, and so many in all.
    /// Told before `handle_timeout`.
    pub fn handle_heard(&mut self, socket: SocketId, at: Millis, bytes: u64) {
        let is_current = |it: &&mut Box<Socket>| it.id == socket && it.open;
        if let Some(open) = self.socket.as_mut().filter(is_current) {
            if bytes > open.heard {
                open.heard = bytes;
                open.heard_at = open.heard_at.max(at);
                open.pinged = None;
            }
        }
    }

    /// So many bytes of requests are with the system now.
    pub fn handle_written(&mut self, now: Millis, socket: SocketId, bytes: usize) {
        if let Some(open) = self.socket.as_mut().filter(|it| it.id == socket) {
            open.unwritten = open.unwritten.saturating_sub(bytes);
            self.proceed(now);
        }
    }

    /// Whether the host's code has frames of the socket. What it keeps for too long is
    /// lost, and the socket with it.
    pub fn handle_kept(&mut self, now: Millis, kept: bool) {
        if let Some(socket) = &mut self.socket {
            let since = socket.kept_since.unwrap_or(now);
            socket.kept_since = kept.then_some(since);
        }
    }

    /// Whether the caller reads the socket: it does not while the host's queue is
    /// full. That is no time of the server's.
    pub fn handle_reading(&mut self, now: Millis, reads: bool) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let id = socket.id;
        let stood_since = match (socket.unread_since, reads) {
            (None, false) => {
                socket.unread_since = Some(now);
                None
            }
            (Some(since), true) => {
                socket.unread_since = None;
                socket.heard_at = now;
                // What has answered it is about to be read.
                socket.pinged = socket.pinged.map(|_| now);
                Some(since)
            }
            _ => return,
        };
        // What the host's code has not let go is none of the server's either way.
        let waiting = self.flights.iter().filter(|(_, flight)| {
            let is_sent = flight.stage == Stage::Sent && flight.deadline != Millis::MAX;
            is_sent && flight.socket() == Some(id)
        });
        let requests: Vec<_> = waiting.map(|it| it.0).collect();
        for request in requests {
            self.change_flight(request, |flight| match stood_since {
                None => flight.deadline = flight.deadline.saturating_add(STANDSTILL),
                Some(since) => flight.stood_still(now.saturating_sub(since.max(flight.sent))),
            });
        }
    }

    /// A deadline over the socket has run out: it waits while bytes arrive, up to
    /// ten times its length.
    pub(super) fn waits_for_bytes(&mut self, now: Millis, request: RequestId) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        let heard = socket.heard;
        let mut waits = false;
        self.change_flight(request, |flight| {
            let Some(carried) = &mut flight.carried else {
                return;
            };
            let passed = now.saturating_sub(carried.looked);
            let came = heard.saturating_sub(carried.heard).saturating_mul(1_000);
            let longest = flight.limit.saturating_mul(LONGEST);
            let longest = flight.sent.saturating_add(longest);
            let longest = longest.saturating_add(carried.unread);
            waits = came > 0 && came >= passed.saturating_mul(FAIR_RATE) && now < longest;
            if waits {
                (carried.looked, carried.heard) = (now, heard);
                flight.deadline = now.saturating_add(PAUSE).min(longest);
            }
        });
        waits
    }

    /// The socket has ended, with what was under way over it.
    pub fn handle_closed(&mut self, now: Millis, socket: SocketId, failure: &Failure) {
        if self.socket.as_ref().is_some_and(|it| it.id == socket) {
            self.socket_lost(now, failure);
            self.proceed(now);
        }
    }

    /// What came over the socket cannot be read: it is ended, and the server told why.
    pub fn handle_unreadable(&mut self, now: Millis, socket: SocketId, mut failure: Failure) {
        if self.socket.as_ref().is_some_and(|it| it.id == socket) {
            failure.websocket_code = match failure.kind {
                // That is no fault of the server's.
                ErrorKind::System => NORMAL,
                _ => PROTOCOL_ERROR,
            };
            self.end_socket(now, failure.websocket_code, &failure);
            self.proceed(now);
        }
    }

    /// Ends the socket, since it is of no use any more.
    pub(super) fn break_socket(&mut self, now: Millis, failure: &Failure) {
        self.end_socket(now, NORMAL, failure);
    }

    fn end_socket(&mut self, now: Millis, code: u16, failure: &Failure) {
        if let Some(socket) = &self.socket {
            // What the host's code keeps for too long is given up.
            let reads = socket.kept_since.is_none();
            self.leave(socket.id, code, reads);
            self.socket_lost(now, failure);
        }
    }

    fn socket_lost(&mut self, now: Millis, failure: &Failure) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        let is_refusal = !socket.answered
            && self.disconnecting.is_none()
            && self.transports.websocket_unanswered(&socket.server)
            && self.transports.refused(&socket.server, now);
        let mut flights = self.flights.take_of(socket.id);
        // The server names the size of the last frame.
        let last = flights
            .iter()
            .rposition(|it| it.1.purpose == Purpose::Commands);
        let others = match failure.kind {
            ErrorKind::TooLarge => {
                let mut others = failure.clone();
                others.kind = ErrorKind::ConnectionLost;
                Some(others)
            }
            _ => None,
        };
        if is_refusal {
            flights.retain(|it| matches!(it.1.purpose, Purpose::Commands));
            self.handshake = None;
            self.connect = None;
        }
        for (index, (request, flight)) in flights.into_iter().enumerate() {
            let failure = match &others {
                Some(others) if Some(index) != last => others,
                _ => failure,
            };
            self.lost_flight(now, request, &flight, failure);
        }
        if is_refusal {
            self.go_on_by_long_polling(now, failure);
        } else if self.disconnecting.is_some() {
            self.connect = None;
            self.disconnect_replied(now);
        }
    }

    fn lost_flight(&mut self, now: Millis, request: RequestId, flight: &Flight, failure: &Failure) {
        if self.state != State::Closed {
            self.flight_failed(now, request, flight.purpose, failure);
        }
    }

    /// Closes the socket in the ordinary course of things. What is still under way
    /// over it is of a session that is over.
    fn leave_socket(&mut self, now: Millis) {
        self.fresh_socket = false;
        let Some(socket) = self.socket.take() else {
            return;
        };
        self.leave(socket.id, NORMAL, true);
        let text = "the WebSocket was closed for that of a new session";
        let failure = Failure::new(ErrorKind::ConnectionLost, text);
        for (request, flight) in self.flights.take_of(socket.id) {
            self.lost_flight(now, request, &flight, &failure);
        }
    }

    /// Goes over to what the handshake's reply has decided.
    pub(super) fn change_transport(&mut self, now: Millis) {
        if !self.transports.is_websocket() {
            self.leave_socket(now);
        }
    }

    /// The end of the client.
    pub(super) fn close_socket(&mut self, code: u16) {
        if let Some(socket) = self.socket.take() {
            self.outputs.push_back(Output::CloseSocket {
                socket: socket.id,
                code,
                reads: false,
            });
        }
    }
}
