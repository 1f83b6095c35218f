//! Requests under way: from when they are made until they are answered, fail
//! or run out of time.

use super::socket::{Carried, SocketId};
use super::{Endpoint, Exchange, Millis, Output, Request, RequestId, Session};
use crate::bayeux::outgoing::Messages;
use crate::bayeux::ErrorText;
use crate::error::{ErrorKind, Failure, Phase};

/// A request under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub purpose: Purpose,
    /// Which of the client's sessions it was sent in.
    pub session: u64,
    /// When its messages were made; what they say of the time is of then.
    pub made: Millis,
    pub sent: Millis,
    /// When its response came, if that is with the host's code.
    pub arrived: Option<Millis>,
    pub deadline: Millis,
    /// How long it may take from the moment on at which it was sent.
    pub limit: Millis,
    pub stage: Stage,
    /// How many messages it has, without those that were dropped.
    messages: usize,
    /// Over a WebSocket: over which.
    pub carried: Option<Carried>,
    /// Of a response that takes its time: until when it was looked at, and how
    /// many bytes had come by then.
    progress: Option<(Millis, u64)>,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// With the host's code, and not yet sent.
    Held,
    Sent,
    /// Its response is there, and with the host's code.
    Arrived,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Handshake,
    Connect,
    Commands,
    Disconnect,
}

impl Purpose {
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Handshake => Phase::Handshake,
            Self::Connect => Phase::Connect,
            Self::Commands => Phase::Publish,
            Self::Disconnect => Phase::Disconnect,
        }
    }
}

/// How long the host's code may have a request, and again its response, before
/// the session takes the request for failed.
pub const HOST_LIMIT: Millis = 60_000;

/// While a response comes at this rate or faster, bytes a second, its deadline
/// waits; looked at so often; up to so many times its length.
pub(super) const FAIR_RATE: u64 = 1_024;
const LOOK: Millis = 1_000;
pub(super) const LONGEST: Millis = 10;
/// A line that was well when it was looked at may pause for so long.
pub(super) const PAUSE: Millis = 2_000;

impl Flight {
    pub(super) fn socket(&self) -> Option<SocketId> {
        self.carried.map(|it| it.socket)
    }

    /// When it must be looked at.
    pub(super) fn due(&self) -> Millis {
        match self.progress {
            Some((looked, _)) if self.stage == Stage::Sent => {
                self.deadline.min(looked.saturating_add(LOOK))
            }
            _ => self.deadline,
        }
    }

    /// Why it has failed when its deadline is over.
    fn lateness(&self) -> String {
        let waited = self.deadline.saturating_sub(self.sent);
        match (self.stage, self.progress) {
            (Stage::Sent, Some((_, bytes))) => {
                format!("no whole response within {waited} ms: {bytes} bytes came")
            }
            (Stage::Sent, None) => format!("no response within {waited} ms"),
            (Stage::Held, _) => {
                format!("the host's code took longer than {HOST_LIMIT} ms: nothing was sent")
            }
            (Stage::Arrived, _) => kept(),
        }
    }
}

/// All that are under way: few at a time, a connect and a request of commands,
/// and for a moment what takes their place. In the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Flights {
    list: Vec<(RequestId, Flight)>,
}

impl Flights {
    /// Ids rise, so that it is the last one.
    fn push(&mut self, id: RequestId, flight: Flight) {
        // There are thousands of clients that never have more than two.
        self.list.reserve_exact(1);
        self.list.push((id, flight));
    }

    fn find(&self, id: RequestId) -> Option<usize> {
        self.list.binary_search_by_key(&id, |it| it.0).ok()
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Flight> {
        let index = self.find(id)?;
        Some(self.list.remove(index).1)
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Flight> {
        Some(&self.list.get(self.find(id)?)?.1)
    }

    fn get_mut(&mut self, id: RequestId) -> Option<&mut Flight> {
        let index = self.find(id)?;
        Some(&mut self.list.get_mut(index)?.1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(RequestId, Flight)> {
        self.list.iter()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(RequestId, &mut Flight) -> bool) {
        self.list.retain_mut(|(id, flight)| keep(*id, flight));
    }

    /// Takes those that are under way over this socket, in their order.
    pub(super) fn take_of(&mut self, socket: SocketId) -> Vec<(RequestId, Flight)> {
        let all = std::mem::take(&mut self.list).into_iter();
        let (taken, left) = all.partition(|it| it.1.socket() == Some(socket));
        self.list = left;
        taken
    }

    /// Gives all of them up.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = RequestId> {
        std::mem::take(&mut self.list).into_iter().map(|it| it.0)
    }
}

impl Session {
    pub(super) fn send(
        &mut self,
        now: Millis,
        purpose: Purpose,
        messages: Messages,
        limit: Millis,
    ) -> RequestId {
        self.last_request_id += 1;
        let id = RequestId(self.last_request_id);
        let configuration = &self.configuration;
        let asks = configuration.has_header_provider && !self.transports.is_websocket();
        let (stage, until) = match configuration.holds_requests || asks {
            true => (Stage::Held, HOST_LIMIT),
            false => (Stage::Sent, limit),
        };
        let carried = match self.transports.is_websocket() {
            true => self.carried(now, messages.len()),
            false => None,
        };
        let until = match (carried, stage) {
            (Some(_), Stage::Sent) => until.saturating_add(self.socket_stands_still()),
            _ => until,
        };
        self.flights.push(
            id,
            Flight {
                purpose,
                session: self.sessions,
                made: now,
                sent: now,
                arrived: None,
                deadline: now.saturating_add(until),
                limit,
                stage,
                messages: messages.count(),
                carried,
                progress: None,
            },
        );
        if self.transports.is_websocket() && carried.is_none() {
            // There is no line: it is made to fail, with what it has.
            return id;
        }
        self.outputs.push_back(Output::Send(Request {
            id,
            server: self.servers.current(),
            endpoint: match purpose {
                Purpose::Handshake => Endpoint::Handshake,
                Purpose::Connect => Endpoint::Connect,
                Purpose::Disconnect => Endpoint::Disconnect,
                Purpose::Commands => Endpoint::Messages,
            },
            socket: carried.map(|it| it.socket),
            body: messages.finish(),
        }));
        id
    }

    pub(super) fn cancel(&mut self, exchange: Option<Exchange>) {
        if let Some(exchange) = exchange {
            if self.flights.remove(exchange.request).is_some() {
                self.outputs.push_back(Output::Cancel(exchange.request));
            }
        }
    }

    /// A request brought nothing: refused, broken, or not Bayeux.
    pub fn handle_failure(&mut self, now: Millis, request: RequestId, failure: &Failure) {
        let Some(flight) = self.flights.remove(request) else {
            return;
        };
        let server = self.servers.current();
        self.transports.long_polling_failed(&server, failure);
        self.flight_failed(now, request, flight.purpose, failure);
        self.proceed(now);
    }

    pub(super) fn flight_failed(
        &mut self,
        now: Millis,
        request: RequestId,
        purpose: Purpose,
        failure: &Failure,
    ) {
        match purpose {
            Purpose::Handshake => {
                if self.handshake.is_some_and(|it| it.request == request) {
                    self.handshake = None;
                    self.handshake_failed(now, failure);
                }
            }
            Purpose::Connect => {
                if self.connect.is_some_and(|it| it.request == request) {
                    self.connect = None;
                    self.connect_failed(now, failure);
                }
            }
            Purpose::Commands => {
                self.commands.request_ended(request);
                self.commands_failed(now, request, failure);
            }
            Purpose::Disconnect => self.disconnect_replied(now),
        }
    }

    /// The host's code has dropped these messages of a request that is not yet
    /// sent. A request of which nothing is left is over.
    pub fn handle_dropped(&mut self, now: Millis, request: RequestId, message_ids: &[u64]) {
        let Some(flight) = self.flights.get_mut(request) else {
            return;
        };
        flight.messages = flight.messages.saturating_sub(message_ids.len());
        let flight = *flight;
        if flight.messages == 0 {
            self.flights.remove(request);
        }
        let failure = deleted();
        match flight.purpose {
            Purpose::Commands => {
                self.commands_dropped(now, request, message_ids, &failure);
                if flight.messages == 0 {
                    self.commands.request_ended(request);
                }
            }
            // These travel alone.
            purpose if flight.messages == 0 => {
                self.flight_failed(now, request, purpose, &failure);
            }
            _ => {}
        }
        self.proceed(now);
    }

    /// A request that was with the host's code is sent: from here on its time
    /// counts.
    pub fn handle_sent(&mut self, now: Millis, request: RequestId) {
        let stands_still = self.socket_stands_still();
        let held = |it: &&mut Flight| it.stage == Stage::Held;
        let Some(flight) = self.flights.get_mut(request).filter(held) else {
            return;
        };
        flight.stage = Stage::Sent;
        flight.sent = now;
        flight.deadline = now.saturating_add(flight.limit);
        if let Some(carried) = &mut flight.carried {
            carried.looked = now;
            flight.deadline = flight.deadline.saturating_add(stands_still);
        }
        self.deadline_moved(request);
    }

    /// The response to a request is there, and with the host's code: what this
    /// takes is not the server's time.
    pub fn handle_arrived(&mut self, now: Millis, request: RequestId) {
        let Some(flight) = self.flights.get_mut(request) else {
            return;
        };
        if flight.stage == Stage::Held {
            flight.sent = now;
        }
        flight.stage = Stage::Arrived;
        flight.arrived = Some(now);
        flight.deadline = now.saturating_add(HOST_LIMIT);
        self.deadline_moved(request);
    }

    /// How far a response has come: its first byte at `since`, and so many
    /// bytes until now. Told before `handle_timeout`, for each response that is
    /// on its way. While bytes come at a fair rate the deadline waits for them:
    /// a slow line is no dead one.
    pub fn handle_progress(&mut self, now: Millis, request: RequestId, since: Millis, bytes: u64) {
        let sent = |it: &&mut Flight| it.stage == Stage::Sent;
        let Some(flight) = self.flights.get_mut(request).filter(sent) else {
            return;
        };
        let (looked, before) = flight.progress.unwrap_or((since.max(flight.sent), 0));
        let passed = now.saturating_sub(looked);
        if passed == 0 {
            return;
        }
        flight.progress = Some((now, bytes));
        let came = bytes.saturating_sub(before).saturating_mul(1_000);
        if came < passed.saturating_mul(FAIR_RATE) {
            return;
        }
        let longest = flight.limit.saturating_mul(LONGEST);
        let deadline = flight.deadline.saturating_add(passed);
        let deadline = deadline.max(now.saturating_add(PAUSE));
        flight.deadline = deadline.min(flight.sent.saturating_add(longest));
        self.deadline_moved(request);
    }

    /// Changes a flight, and with its deadline that of what travels in it.
    pub(super) fn change_flight(&mut self, request: RequestId, change: impl FnOnce(&mut Flight)) {
        if let Some(flight) = self.flights.get_mut(request) {
            change(flight);
            self.deadline_moved(request);
        }
    }

    /// What travelled in a request of commands runs out of time with it.
    fn deadline_moved(&mut self, request: RequestId) {
        let Some(flight) = self.flights.get(request) else {
            return;
        };
        if flight.purpose == Purpose::Commands {
            self.commands.pending.set_deadline(request, flight.deadline);
        }
    }

    pub(super) fn flights_timed_out(&mut self, now: Millis) {
        let due = |flight: &Flight| flight.due() <= now;
        let due: Vec<RequestId> = self
            .flights
            .iter()
            .filter(|(_, flight)| due(flight))
            .map(|(request, _)| *request)
            .collect();
        for request in due {
            let Some(flight) = self.flights.get_mut(request) else {
                continue;
            };
            if flight.deadline > now {
                // Nothing was told of it: nothing more has come.
                flight.progress = flight.progress.map(|(_, bytes)| (now, bytes));
                continue;
            }
            let failure = Failure::new(ErrorKind::Timeout, flight.lateness());
            if flight.carried.is_some() && flight.stage == Stage::Sent {
                if !self.waits_for_bytes(now, request) {
                    self.break_socket(now, &failure);
                }
                continue;
            }
            self.outputs.push_back(Output::Cancel(request));
            self.handle_failure(now, request, &failure);
        }
    }
}

/// What became of what has come and was not given back.
pub(super) fn kept() -> String {
    format!("the host's extensions took longer than {HOST_LIMIT} ms: the response is lost")
}

/// How a message ends that an extension dropped; the error is that of CometD's
/// own clients.
fn deleted() -> Failure {
    let bayeux = ErrorText::parse("404::message_deleted");
    let mut failure = Failure::new(
        ErrorKind::MessageDeleted,
        format!("an extension deleted the message: {}", bayeux.text),
    );
    failure.bayeux = Some(bayeux);
    failure
}
