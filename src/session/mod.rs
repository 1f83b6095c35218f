//! The protocol's state machine, without I/O and without a clock.
//!
//! Its doors: [`Session::handle_command`], [`Session::handle_reply`],
//! [`Session::handle_failure`], [`Session::handle_timeout`],
//! [`Session::handle_room`] and [`Session::handle_credentials`] take what
//! happened and the time at which it did. Where code of the host's runs between
//! the session and the wire there are three more: [`Session::handle_dropped`],
//! [`Session::handle_sent`] and [`Session::handle_arrived`]; and
//! [`Session::handle_handshake_fields`], where it is asked before a handshake. After each of them
//! the caller takes [`Session::poll_output`] until it is empty, and asks
//! [`Session::poll_timeout`] when to call `handle_timeout`; the answers of both
//! change with nothing else.
//!
//! What always holds, until the state is [`State::Closed`]: there is a request
//! in flight, a time at which something will happen, or the host that has to
//! act (to call connect, or to make room). See `is_live` in the tests.

mod acknowledgement;
mod backoff;
mod calls;
mod commands;
mod configuration;
mod connection;
mod deadlines;
mod disconnect;
mod door;
mod fields;
mod first_session;
mod pending;
mod replay;
mod retries;
mod servers;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use configuration::{Configuration, Millis, ReplayPolicy, Timestamp};
pub use door::{
    Command, Endpoint, Event, HandshakeQuestion, OperationId, Output, Request, RequestId, State,
};

use crate::bayeux::outgoing::Messages;
use crate::bayeux::{channel, meta, Body, ErrorText};
use crate::error::{Error, ErrorKind, Failure, Phase};
use acknowledgement::Acknowledgement;
use backoff::{Backoff, ConnectLimit, HandshakeLimit, Jitter};
use commands::Commands;
use disconnect::Disconnecting;
use fields::HandshakeFields;
use replay::Replay;
pub use servers::Server;
use servers::Servers;
use time::Timesync;

/// A request under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    purpose: Purpose,
    /// Which of the client's sessions it was sent in.
    session: u64,
    /// When its messages were made; what they say of the time is of then.
    made: Millis,
    sent: Millis,
    /// When its response came, if that is with the host's code.
    arrived: Option<Millis>,
    deadline: Millis,
    /// How long it may take from the moment on at which it was sent.
    limit: Millis,
    stage: Stage,
    /// How many messages it has, without those that were dropped.
    messages: usize,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// With the host's code, and not yet sent.
    Held,
    Sent,
    /// Its response is there, and with the host's code.
    Arrived,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Handshake,
    Connect,
    Commands,
    Disconnect,
}

/// The handshake or connect whose reply is awaited.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    request: RequestId,
    message_id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Handshake,
    Connect,
}

/// What the server's last advice on a successful handshake or connect said.
/// `reconnect` is not kept: it speaks of its own message only, or one bad
/// reply would cause a storm of handshakes later.
#[derive(Debug, Clone, Copy, Default)]
struct StoredAdvice {
    interval: Millis,
    timeout: Option<Millis>,
    maximum_interval: Option<Millis>,
}

/// New credentials are being fetched.
#[derive(Debug, Clone)]
struct Refreshing {
    /// When the provider has taken too long.
    deadline: Millis,
    /// What is tried afterwards; nothing when only a command was refused.
    then: Option<RefreshedAttempt>,
}

#[derive(Debug, Clone)]
struct RefreshedAttempt {
    attempt: Attempt,
    wait: Millis,
    /// What is told when the provider fails and the refusal was final.
    final_error: Option<Error>,
}

pub struct Session {
    configuration: Configuration,
    state: State,
    outputs: VecDeque<Output>,

    client_id: Option<String>,
    /// How many handshakes were accepted.
    sessions: u64,
    /// Handshakes in a row that failed of what does not pass by itself.
    hopeless_handshakes: usize,
    /// Ids are never used twice in a client's life, so that a late reply can
    /// never be taken for another's.
    last_message_id: u64,
    last_request_id: u64,
    flights: BTreeMap<RequestId, Flight>,
    handshake: Option<Exchange>,
    connect: Option<Exchange>,
    next_attempt: Option<(Attempt, Millis)>,
    /// The next connect asks to be answered at once: the first one after a
    /// handshake or a failure.
    connect_at_once: bool,
    /// Events that come with the handshake, and have to before the first
    /// connect.
    promised_events: u64,

    advice: StoredAdvice,
    handshake_backoff: Backoff,
    connect_backoff: Backoff,
    renewal_backoff: Backoff,
    jitter: Jitter,
    handshake_limit: HandshakeLimit,
    connect_limit: ConnectLimit,
    /// Failures since the last successful connect.
    failures: u32,
    unconnected_since: Option<Millis>,
    connected_since_handshake: bool,
    /// How often in a row a connect was answered 404 or 410.
    gone: u32,

    servers: Servers,
    acknowledgement: Acknowledgement,
    timesync: Timesync,
    /// What the calendar says at time 0.
    calendar: i64,
    replay: Replay,
    handshake_fields: HandshakeFields,

    refreshing: Option<Refreshing>,
    /// Credentials asked for since the last successful connect.
    refreshes: u32,

    commands: Commands,
    disconnecting: Option<Disconnecting>,
    /// Whether the host's queue takes more events.
    room: bool,
}

/// What a server may advise at most, so that a hostile number cannot silence
/// the client: a hold of an hour, a pause of a day.
const MAXIMUM_HOLD: Millis = 3_600_000;
const MAXIMUM_INTERVAL: Millis = 86_400_000;

/// How often the token provider is asked without a successful connect between.
const MAXIMUM_REFRESHES: u32 = 3;
/// How long the token provider may take before the session goes on without it.
const REFRESH_LIMIT: Millis = 60_000;
/// How long the host's code may have a request, and again its response, before
/// the session takes the request for failed.
const HOST_LIMIT: Millis = 60_000;

impl Session {
    pub fn new(configuration: Configuration) -> Self {
        let backoff = Backoff::new(
            configuration.backoff_increment,
            configuration.backoff_maximum,
        );
        Self {
            state: State::Idle,
            outputs: VecDeque::new(),
            client_id: None,
            sessions: 0,
            hopeless_handshakes: 0,
            last_message_id: 0,
            last_request_id: 0,
            flights: BTreeMap::new(),
            handshake: None,
            connect: None,
            next_attempt: None,
            connect_at_once: true,
            promised_events: 0,
            advice: StoredAdvice::default(),
            handshake_backoff: backoff.clone(),
            connect_backoff: backoff.clone(),
            renewal_backoff: backoff,
            jitter: Jitter::new(configuration.seed),
            handshake_limit: HandshakeLimit::default(),
            connect_limit: ConnectLimit::default(),
            failures: 0,
            unconnected_since: None,
            connected_since_handshake: false,
            gone: 0,
            acknowledgement: Acknowledgement::new(configuration.acknowledgement),
            servers: Servers::new(configuration.servers.clone(), configuration.follow_hosts),
            timesync: Timesync::new(configuration.timesync, configuration.calendar),
            calendar: configuration.calendar,
            replay: Replay::new(configuration.replay),
            handshake_fields: HandshakeFields::default(),
            refreshing: None,
            refreshes: 0,
            commands: Commands::default(),
            disconnecting: None,
            room: true,
            configuration,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// What the server calls the session that there is.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// What the calendar says at time 0, for timestamps; people set clocks.
    pub fn set_calendar(&mut self, calendar: i64) {
        self.calendar = calendar;
    }

    /// The host wants something.
    pub fn handle_command(&mut self, now: Millis, command: Command) {
        match command {
            Command::Connect => {
                if self.state == State::Idle {
                    self.set_state(State::Handshaking);
                    self.next_attempt = Some((Attempt::Handshake, now));
                }
            }
            Command::Disconnect { limit } => self.start_disconnect(now, limit),
            Command::Abort => self.close(None),
            command => self.accept_command(command),
        }
        self.proceed(now);
    }

    /// A request brought messages.
    pub fn handle_reply(&mut self, now: Millis, request: RequestId, body: &Arc<Body>) {
        let Some(flight) = self.flights.remove(&request) else {
            return;
        };
        if self.state == State::Closed {
            return;
        }
        let mut seen = Seen {
            unusable: body.malformed(),
            ..Seen::default()
        };
        let mut run: Option<(u32, u32)> = None;
        for (index, message) in body.messages().enumerate() {
            if self.state == State::Closed {
                return;
            }
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let Some(name) = message.channel() else {
                seen.unusable += 1;
                continue;
            };
            if !channel::is_meta(name) && message.data().is_some() {
                if self.may_answer_a_call(&message) {
                    self.emit_run(body, run.take());
                    if self.call_answered(&message, body, index) {
                        continue;
                    }
                }
                if self.replay.is_wanted() {
                    self.replay.received(name, &message);
                }
                seen.events += 1;
                match &mut run {
                    Some((_, end)) if *end == index => *end += 1,
                    _ => {
                        self.emit_run(body, run.take());
                        run = Some((index, index + 1));
                    }
                }
                continue;
            }
            self.emit_run(body, run.take());
            if channel::is_meta(name) {
                self.time_replied(now, &flight, &message);
            }
            match name {
                meta::HANDSHAKE => {
                    if self.is_awaited(self.handshake, message.id(), request) {
                        if message.successful() == Some(true) {
                            self.handshake_replied(now, &message);
                        } else {
                            // It may end the client: first all events.
                            self.handshake = None;
                            seen.handshake_refusal = Some(index);
                        }
                    }
                }
                meta::CONNECT => {
                    if self.is_awaited(self.connect, message.id(), request) {
                        self.connect = None;
                        seen.connect_reply = Some(index);
                    }
                }
                meta::SUBSCRIBE | meta::UNSUBSCRIBE => {
                    self.subscription_replied(now, &message, request);
                }
                meta::DISCONNECT => {
                    if self.is_disconnect_reply(message.id()) {
                        self.disconnect_replied(now);
                    } else if self.disconnecting.is_none()
                        && flight.session == self.sessions
                        && (self.client_id.is_some() || flight.purpose == Purpose::Handshake)
                    {
                        // Of a session before this one it says nothing.
                        seen.server_disconnect = Some(message.error());
                    }
                }
                _ if channel::is_meta(name) => {}
                _ => self.publish_replied(now, &message),
            }
        }
        if self.state == State::Closed {
            return;
        }
        self.emit_run(body, run);
        if seen.unusable > 0 {
            self.emit_error(Error::new(
                ErrorKind::Protocol,
                phase_of(flight.purpose),
                format!(
                    "{}: {} of the response's messages had no usable channel and were passed over",
                    phase_of(flight.purpose).name(),
                    seen.unusable
                ),
            ));
        }
        self.finish_reply(now, request, flight, body, seen);
        self.proceed(now);
    }

    fn finish_reply(
        &mut self,
        now: Millis,
        request: RequestId,
        flight: Flight,
        body: &Body,
        seen: Seen,
    ) {
        if let Some(error) = seen.server_disconnect {
            let why = error.as_ref().map(|e| format!(": {}", e.text));
            let mut told = Error::new(
                ErrorKind::ServerDisconnected,
                Phase::Disconnect,
                format!(
                    "disconnect: the server ended the session{}",
                    why.unwrap_or_default()
                ),
            );
            told.bayeux = error;
            self.ended_by_server(now, told);
            return;
        }
        if let Some(refusal) = seen
            .handshake_refusal
            .and_then(|index| body.message(index as usize))
        {
            self.handshake_replied(now, &refusal);
            if self.state == State::Closed {
                return;
            }
        }
        if let Some(reply) = seen
            .connect_reply
            .and_then(|index| body.message(index as usize))
        {
            let took = now.saturating_sub(flight.sent);
            self.connect_replied(now, &reply, took, seen.events > 0);
        } else if self.connect.is_some_and(|it| it.request == request) {
            self.connect = None;
            self.connect_failed(
                now,
                &Failure::new(
                    ErrorKind::Protocol,
                    "the response holds no reply to /meta/connect",
                )
                .with_status(200),
            );
        }
        self.promised_events_came(now, seen.events);
        match flight.purpose {
            Purpose::Handshake if self.handshake.is_some_and(|it| it.request == request) => {
                self.handshake = None;
                self.handshake_failed(
                    now,
                    &Failure::new(
                        ErrorKind::Protocol,
                        "the response holds no reply to /meta/handshake",
                    )
                    .with_status(200),
                );
            }
            // What it did not answer may be answered by another response;
            // until its deadline.
            Purpose::Commands => {
                self.commands.request_ended(request);
                if flight.stage != Stage::Sent {
                    let deadline = flight.sent.saturating_add(flight.limit);
                    self.commands.pending.set_deadline(request, deadline);
                }
            }
            Purpose::Disconnect => self.disconnect_replied(now),
            _ => {}
        }
        if self.commands.session_lost {
            self.commands.session_lost = false;
            self.session_lost(now);
        }
    }

    /// A request brought nothing: refused, broken, or not Bayeux.
    pub fn handle_failure(&mut self, now: Millis, request: RequestId, failure: &Failure) {
        let Some(flight) = self.flights.remove(&request) else {
            return;
        };
        if self.state == State::Closed {
            return;
        }
        self.flight_failed(now, request, flight.purpose, failure);
        self.proceed(now);
    }

    fn flight_failed(
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
        let Some(flight) = self.flights.get_mut(&request) else {
            return;
        };
        flight.messages = flight.messages.saturating_sub(message_ids.len());
        let flight = *flight;
        if flight.messages == 0 {
            self.flights.remove(&request);
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
        let held = |it: &&mut Flight| it.stage == Stage::Held;
        let Some(flight) = self.flights.get_mut(&request).filter(held) else {
            return;
        };
        flight.stage = Stage::Sent;
        flight.sent = now;
        flight.deadline = now.saturating_add(flight.limit);
        let (purpose, deadline) = (flight.purpose, flight.deadline);
        if purpose == Purpose::Commands {
            self.commands.pending.set_deadline(request, deadline);
        }
    }

    /// The response to a request is there, and with the host's code: what this
    /// takes is not the server's time.
    pub fn handle_arrived(&mut self, now: Millis, request: RequestId) {
        let Some(flight) = self.flights.get_mut(&request) else {
            return;
        };
        if flight.stage == Stage::Held {
            flight.sent = now;
        }
        flight.stage = Stage::Arrived;
        flight.arrived = Some(now);
        flight.deadline = now.saturating_add(HOST_LIMIT);
        let (purpose, deadline) = (flight.purpose, flight.deadline);
        if purpose == Purpose::Commands {
            self.commands.pending.set_deadline(request, deadline);
        }
    }

    /// The time that `poll_timeout` gave has come.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.disconnect_timed_out(now);
        let late: Vec<RequestId> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.deadline <= now)
            .map(|(request, _)| *request)
            .collect();
        for request in late {
            if let Some(flight) = self.flights.get(&request) {
                let failure = Failure::new(
                    ErrorKind::Timeout,
                    match flight.stage {
                        Stage::Sent => format!(
                            "no response within {} ms",
                            flight.deadline.saturating_sub(flight.sent)
                        ),
                        Stage::Held => format!(
                            "the host's extensions took longer than {HOST_LIMIT} ms: nothing was sent"
                        ),
                        Stage::Arrived => format!(
                            "the host's extensions took longer than {HOST_LIMIT} ms: the response is lost"
                        ),
                    },
                );
                self.outputs.push_back(Output::Cancel(request));
                self.handle_failure(now, request, &failure);
            }
        }
        self.commands_timed_out(now);
        self.calls_timed_out(now);
        self.retries_timed_out(now);
        self.resend(now);
        self.refresh_timed_out(now);
        self.handshake_fields_timed_out(now);
        self.proceed(now);
    }

    /// The host's queue has room again, or has none: without room no connect
    /// and no command is sent.
    pub fn handle_room(&mut self, now: Millis, room: bool) {
        self.room = room;
        self.proceed(now);
    }

    /// What to do next; empty when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Millis> {
        if self.state == State::Closed {
            return None;
        }
        let attempt = self.next_attempt.filter(|_| self.room).map(|(_, at)| at);
        let renewal = self
            .commands
            .next_renewal()
            .filter(|_| self.room && self.state == State::Connected);
        self.flights
            .values()
            .map(|flight| flight.deadline)
            .chain(attempt)
            .chain(renewal)
            .chain(self.commands.next_deadline())
            .chain(self.refreshing.as_ref().map(|it| it.deadline))
            .chain(self.handshake_fields.deadline())
            .chain(self.disconnect_deadline())
            .min()
    }

    /// Whatever can be sent now is sent: after each door.
    fn proceed(&mut self, now: Millis) {
        if self.state == State::Closed {
            return;
        }
        self.forget_failed_positions();
        if self.disconnecting.is_some() {
            self.proceed_disconnect(now);
            return;
        }
        if !self.room {
            return;
        }
        self.renew(now);
        self.flush_commands(now);
        match self.next_attempt {
            Some((Attempt::Handshake, at)) if at <= now => self.begin_handshake(now),
            Some((Attempt::Connect, at)) if at <= now => self.send_connect(now),
            _ => {}
        }
    }

    fn set_state(&mut self, state: State) {
        if self.state != state {
            let previous = std::mem::replace(&mut self.state, state);
            self.emit(Event::State {
                state,
                previous,
                ext: None,
            });
        }
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn emit_error(&mut self, error: Error) {
        self.emit(Event::Error { id: 0, error });
    }

    fn emit_run(&mut self, body: &Arc<Body>, run: Option<(u32, u32)>) {
        if let Some((start, end)) = run {
            self.emit(Event::Messages {
                body: body.clone(),
                range: start..end,
            });
        }
    }

    /// Whether a reply with this id, in the response to `request`, is the one
    /// awaited. A reply without an id is taken for it when it came in the
    /// awaited one's own response: ids are optional (Bayeux, section 4).
    fn is_awaited(&self, awaited: Option<Exchange>, id: Option<&str>, request: RequestId) -> bool {
        awaited.is_some_and(|awaited| match id {
            Some(id) => id.parse() == Ok(awaited.message_id),
            None => awaited.request == request,
        })
    }

    fn next_message_id(&mut self) -> u64 {
        self.last_message_id += 1;
        self.last_message_id
    }

    fn send(
        &mut self,
        now: Millis,
        purpose: Purpose,
        messages: Messages,
        time_limit: Millis,
    ) -> RequestId {
        self.last_request_id += 1;
        let id = RequestId(self.last_request_id);
        let (stage, until) = match self.configuration.holds_requests {
            true => (Stage::Held, HOST_LIMIT),
            false => (Stage::Sent, time_limit),
        };
        self.flights.insert(
            id,
            Flight {
                purpose,
                session: self.sessions,
                made: now,
                sent: now,
                arrived: None,
                deadline: now.saturating_add(until),
                limit: time_limit,
                stage,
                messages: messages.count(),
            },
        );
        self.outputs.push_back(Output::Send(Request {
            id,
            server: self.servers.current(),
            endpoint: match purpose {
                Purpose::Handshake => Endpoint::Handshake,
                Purpose::Connect => Endpoint::Connect,
                Purpose::Disconnect => Endpoint::Disconnect,
                Purpose::Commands => Endpoint::Messages,
            },
            body: messages.finish(),
        }));
        id
    }

    fn cancel(&mut self, exchange: Option<Exchange>) {
        if let Some(exchange) = exchange {
            if self.flights.remove(&exchange.request).is_some() {
                self.outputs.push_back(Output::Cancel(exchange.request));
            }
        }
    }

    /// The end: everything pending fails, nothing is sent any more.
    fn close(&mut self, why: Option<Error>) {
        if self.state == State::Closed {
            return;
        }
        // What the caller has not yet taken needs no cancelling.
        let flights = &mut self.flights;
        self.outputs.retain(|output| match output {
            Output::Send(request) => {
                flights.remove(&request.id);
                false
            }
            _ => true,
        });
        let requests = std::mem::take(flights).into_keys();
        self.outputs.extend(requests.map(Output::Cancel));
        self.handshake = None;
        self.connect = None;
        self.next_attempt = None;
        self.refreshing = None;
        self.handshake_fields = HandshakeFields::default();
        self.disconnecting = None;
        self.client_id = None;
        if let Some(mut error) = why {
            error.fatal = true;
            error.retry_in = None;
            self.emit_error(error);
        }
        self.fail_all_commands();
        self.set_state(State::Closed);
        self.emit(Event::Closed);
    }
}

/// What one response held.
#[derive(Default)]
struct Seen {
    events: u64,
    unusable: usize,
    connect_reply: Option<u32>,
    handshake_refusal: Option<u32>,
    server_disconnect: Option<Option<ErrorText>>,
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

/// How long a server wants to be left alone after a failure, within reason.
fn retry_after(failure: &Failure) -> Millis {
    failure.retry_after.unwrap_or(0).min(MAXIMUM_INTERVAL)
}

fn phase_of(purpose: Purpose) -> Phase {
    match purpose {
        Purpose::Handshake => Phase::Handshake,
        Purpose::Connect => Phase::Connect,
        Purpose::Commands => Phase::Publish,
        Purpose::Disconnect => Phase::Disconnect,
    }
}
