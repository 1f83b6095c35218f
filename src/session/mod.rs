//! The protocol's state machine, without I/O and without a clock.
//!
//! Its doors: [`Session::handle_command`], [`Session::handle_reply`],
//! [`Session::handle_failure`], [`Session::handle_timeout`],
//! [`Session::handle_room`], [`Session::handle_progress`] and
//! [`Session::handle_credentials`] take what happened and the time at which it did. Where code of the host's runs between
//! the session and the wire there are three more: [`Session::handle_dropped`],
//! [`Session::handle_sent`] and [`Session::handle_arrived`]; and
//! [`Session::handle_handshake_fields`], where it is asked before a handshake.
//! A WebSocket has [`Session::handle_opening`], [`Session::handle_opened`], [`Session::handle_unopened`],
//! [`Session::handle_frame`], [`Session::handle_unreadable`], [`Session::handle_heard`],
//! [`Session::handle_written`], [`Session::handle_reading`],
//! [`Session::handle_kept`] and [`Session::handle_closed`]. After each of them
//! the caller takes [`Session::poll_output`] until it is empty, and asks
//! [`Session::poll_timeout`] when to call `handle_timeout`; the answers of both
//! change with nothing else.
//!
//! What always holds, until the state is [`State::Closed`]: there is a request
//! in flight, a time at which something will happen, or the host that has to
//! act (to call connect, or to make room). See `is_live` in the tests.
#![doc = ""]
#![doc = include_str!("rules.md")]

mod acknowledgement;
mod backoff;
mod calls;
mod commands;
mod configuration;
mod connection;
mod credentials;
mod deadlines;
mod disconnect;
mod door;
mod fields;
mod first_session;
mod flights;
mod handover;
mod last_advice;
mod outcomes;
mod pending;
mod queued;
mod refusals;
mod replay;
mod response;
mod retries;
mod said;
mod servers;
mod setback;
mod socket;
mod subscriptions;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod transports;

use std::collections::VecDeque;
use std::sync::Arc;

pub use configuration::{Configuration, Millis, ReplayPolicy, Timestamp};
pub use door::{
    Command, Endpoint, Event, HandshakeQuestion, OperationId, Output, Request, RequestId, State,
};

use crate::bayeux::ConnectionType;
use crate::error::{Error, Failure};
use acknowledgement::Acknowledgement;
use backoff::{Backoff, ConnectLimit, HandshakeLimit, Jitter};
use commands::Commands;
use credentials::Refreshing;
use disconnect::Disconnecting;
use fields::HandshakeFields;
use flights::Flights;
pub use handover::Handover;
use last_advice::LastAdvice;
use replay::Replay;
pub use servers::Server;
use servers::Servers;
use socket::Socket;
pub use socket::SocketId;
use time::Timesync;
use transports::Transports;

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
    /// No connect may follow.
    ends: bool,
}

pub struct Session {
    /// Shared by the sessions of one builder.
    configuration: Arc<Configuration>,
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
    flights: Flights,
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
    last_advice: LastAdvice,
    handshake_backoff: Backoff,
    connect_backoff: Backoff,
    jitter: Jitter,
    handshake_limit: HandshakeLimit,
    connect_limit: ConnectLimit,
    /// Failures since the last successful connect.
    failures: u32,
    unconnected_since: Option<Millis>,
    connected_since_handshake: bool,
    /// This session has shown that it works.
    works: bool,
    /// Since when its connects are answered, while it has not.
    answered_since: Option<Millis>,
    /// Responses to connects in a row that could not be used.
    unusable: u32,
    unusable_backoff: Backoff,
    /// Before sessions that follow others which were lost before they worked.
    forgotten_backoff: Backoff,
    /// How often in a row a connect was answered 404 or 410.
    gone: u32,

    servers: Servers,
    transports: Transports,
    socket: Option<Box<Socket>>,
    last_socket_id: u64,
    /// The one before it, while what still comes over it counts.
    left_socket: Option<SocketId>,
    /// The next handshake takes a new socket.
    fresh_socket: bool,
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

/// A turn has rarely more outputs than these; room for so many that a burst
/// has left is given back.
const FEW_OUTPUTS: usize = 2;
const MANY_OUTPUTS: usize = 64;

impl Session {
    pub fn new(configuration: Configuration) -> Self {
        let (seed, calendar) = (configuration.seed, configuration.calendar);
        Self::sharing(Arc::new(configuration), seed, calendar)
    }

    /// One of several that have the same configuration, but for their seeds and
    /// what the calendar says.
    pub fn sharing(configuration: Arc<Configuration>, seed: u64, calendar: i64) -> Self {
        let backoff = Backoff::new(
            configuration.backoff_increment,
            configuration.backoff_maximum,
        );
        Self {
            state: State::Idle,
            outputs: VecDeque::with_capacity(FEW_OUTPUTS),
            client_id: None,
            sessions: 0,
            hopeless_handshakes: 0,
            last_message_id: 0,
            last_request_id: 0,
            flights: Flights::default(),
            handshake: None,
            connect: None,
            next_attempt: None,
            connect_at_once: true,
            promised_events: 0,
            advice: StoredAdvice::default(),
            last_advice: LastAdvice::default(),
            handshake_backoff: backoff.clone(),
            connect_backoff: backoff.clone(),
            jitter: Jitter::new(seed),
            handshake_limit: HandshakeLimit::default(),
            connect_limit: ConnectLimit::default(),
            failures: 0,
            unconnected_since: None,
            connected_since_handshake: false,
            works: false,
            answered_since: None,
            unusable: 0,
            unusable_backoff: backoff.clone(),
            forgotten_backoff: backoff.clone(),
            gone: 0,
            acknowledgement: Acknowledgement::new(configuration.acknowledgement),
            servers: Servers::new(configuration.clone()),
            transports: Transports::new(configuration.transports.clone()),
            socket: None,
            last_socket_id: 0,
            left_socket: None,
            fresh_socket: false,
            timesync: Timesync::new(configuration.timesync, calendar),
            calendar,
            replay: Replay::new(configuration.replay),
            handshake_fields: HandshakeFields::default(),
            refreshing: None,
            refreshes: 0,
            commands: Commands::new(backoff),
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

    /// The connection type over which the last reply came.
    pub fn transport(&self) -> Option<ConnectionType> {
        self.transports.answered()
    }

    /// What the calendar says at time 0, for timestamps; people set clocks.
    pub fn set_calendar(&mut self, calendar: i64) {
        self.calendar = calendar;
    }

    /// The host wants something.
    pub fn handle_command(&mut self, now: Millis, command: Command) {
        match command {
            Command::HandOver => self.hand_over(),
            Command::Connect => {
                if self.state == State::Idle && self.client_id.is_some() {
                    self.go_on(now);
                } else if self.state == State::Idle {
                    self.set_state(State::Handshaking);
                    self.next_attempt = Some((Attempt::Handshake, now));
                }
            }
            Command::Disconnect { limit } => self.start_disconnect(now, limit),
            Command::Abort => {
                self.close_socket(socket::AT_ONCE);
                self.close(None);
            }
            command => self.accept_command(command),
        }
        self.proceed(now);
    }

    /// The time that `poll_timeout` gave has come.
    pub fn handle_timeout(&mut self, now: Millis) {
        self.disconnect_timed_out(now);
        self.socket_timed_out(now);
        self.flights_timed_out(now);
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
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > MANY_OUTPUTS {
            self.outputs = VecDeque::with_capacity(FEW_OUTPUTS);
        }
        output
    }

    /// When `handle_timeout` must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Millis> {
        if self.state == State::Closed {
            return None;
        }
        let may_attempt = self.room && !self.is_opening();
        let attempt = self.next_attempt.filter(|_| may_attempt);
        let renewal = self
            .commands
            .subscriptions
            .next_renewal()
            .filter(|_| self.room && self.state == State::Connected);
        self.flights
            .iter()
            .map(|(_, flight)| flight.due())
            .filter(|due| *due < Millis::MAX)
            .chain(attempt.map(|(_, at)| at))
            .chain(renewal)
            .chain(self.commands.next_deadline())
            .chain(self.refreshing.as_ref().map(|it| it.deadline))
            .chain(self.handshake_fields.deadline())
            .chain(self.disconnect_deadline())
            .chain(self.socket_deadline())
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
        // Over a socket in this order; the other way round each on a connection of
        // its own.
        if self.transports.is_websocket() {
            self.attempt(now);
            self.flush_commands(now);
            // A socket that was left may have had subscribes under way.
            self.forget_failed_positions();
        } else {
            self.flush_commands(now);
            self.attempt(now);
        }
    }

    /// The handshake or connect whose time has come.
    fn attempt(&mut self, now: Millis) {
        let due = self.next_attempt.filter(|(_, at)| *at <= now);
        let has_line = match due {
            Some((Attempt::Handshake, _)) => self.has_line_for_handshake(now),
            Some((Attempt::Connect, _)) => self.has_line(now),
            None => return,
        };
        match due {
            Some((Attempt::Handshake, _)) if has_line => self.begin_handshake(now),
            Some((Attempt::Connect, _)) if has_line => self.send_connect(now),
            _ => {}
        }
    }

    fn set_state(&mut self, state: State) {
        self.set_state_by(state, None);
    }

    /// A reply brought it about, with this ext.
    fn set_state_by(&mut self, state: State, ext: Option<Box<str>>) {
        if self.state != state {
            let previous = std::mem::replace(&mut self.state, state);
            self.emit(Event::State {
                state,
                previous,
                ext,
            });
        }
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn emit_error(&mut self, error: Error) {
        let error = Box::new(error);
        self.emit(Event::Error { id: 0, error });
    }

    fn next_message_id(&mut self) -> u64 {
        self.last_message_id += 1;
        self.last_message_id
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
                flights.remove(request.id);
                false
            }
            _ => true,
        });
        self.outputs.extend(flights.take_all().map(Output::Cancel));
        self.close_socket(socket::NORMAL);
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

/// How long a server wants to be left alone after a failure, within reason.
fn retry_after(failure: &Failure) -> Millis {
    failure.retry_after.unwrap_or(0).min(MAXIMUM_INTERVAL)
}
