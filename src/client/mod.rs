//! A client: what the host holds, and the task that runs its session.

mod arguments;
mod arrivals;
mod board;
mod bodies;
mod builder;
mod commands;
mod disconnect;
mod ending;
mod export;
mod extensions;
mod flush;
mod frames;
mod handover;
mod handshake_provider;
mod header_provider;
mod hooks;
mod line;
mod name;
mod opaques;
pub mod options;
mod outcomes;
mod question;
mod redaction;
mod replay;
mod room;
mod shared;
mod sockets;
mod statistics;
mod task;
#[cfg(test)]
mod tests;
mod token_provider;
mod underway;
mod worker;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bayeux::ConnectionType;
use crate::clock;
use crate::delivery::Queue;
use crate::error::{Error, ErrorKind};
use crate::runtime::{lock, Process};
use crate::session::{Command, Configuration, Handover, Session, State};
use crate::speaker::speaking;
use crate::transport::authorization;
use crate::transport::http::LongPolling;
use crate::transport::websocket::WebSockets;
pub use board::Waited;
pub use builder::{
    Builder, DEFAULT_BYTES, DEFAULT_COMMANDS, DEFAULT_EVENTS, DEFAULT_RESPONSE, MAXIMUM_RESPONSE,
};
use extensions::Extensions;
pub use extensions::{Extend, Extension, ExtensionMessage};
pub use handshake_provider::{Handshake, HandshakeProvider};
pub use header_provider::{HeaderProvider, OutgoingRequest};
use hooks::Hooks;
use line::Line;
pub use replay::{LoadPosition, ReplayStore};
use shared::Shared;
use sockets::Sockets;
pub use statistics::Statistics;
use task::Task;
pub use token_provider::{Token, TokenProvider, TokenReason};

/// What waits for the start.
struct Unstarted {
    configuration: Arc<Configuration>,
    transport: LongPolling,
    /// Where the host wants it.
    websockets: Option<Box<WebSockets>>,
    token_provider: Option<Arc<TokenProvider>>,
    extensions: Extensions,
    handshake_provider: Option<Arc<HandshakeProvider>>,
    header_provider: Option<Arc<HeaderProvider>>,
    /// The session that it goes on with.
    resumed: Option<Box<Handover>>,
}

/// A client. Dropping it aborts what still runs, without waiting.
pub struct Client {
    shared: Arc<Shared>,
    own: Option<Arc<Queue>>,
    unstarted: Mutex<Option<Box<Unstarted>>>,
    request_capacity: Option<usize>,
    process: &'static Process,
}

impl Client {
    /// The process that built it; in a forked child it is dead.
    pub fn process(&self) -> &'static Process {
        self.process
    }

    /// Starts the handshake and returns.
    pub fn connect(&self) -> Result<(), Error> {
        let mut unstarted = lock(&self.unstarted);
        if unstarted.is_none() {
            return Err(match self.shared.board.state() {
                State::Closed => closed(),
                _ => Error::call(ErrorKind::InvalidState, "client: connect was called before"),
            });
        }
        let runtime = self.process.runtime().map_err(|error| {
            Error::call(
                ErrorKind::System,
                format!("the I/O thread could not be started: {error}"),
            )
        })?;
        let Some(start) = unstarted.take() else {
            return Ok(());
        };
        // In front of what was called before: it is held until the handshake.
        lock(&self.shared.mailbox)
            .commands
            .insert(0, Command::Connect);
        let hooks = Hooks::new(
            start.extensions,
            start.handshake_provider,
            start.header_provider,
            self.shared.clone(),
        );
        // What an extension is slow with is counted by frames.
        let joins = !hooks.as_ref().is_some_and(Hooks::has_incoming);
        let timestamps = start.configuration.timestamp.is_some();
        let mut session = Session::sharing(start.configuration, seed(), clock::calendar());
        if let Some(Err(why)) = start.resumed.map(|it| session.resume(&it)) {
            tracing::warn!(target: "cometd::client", "a session is not gone on with: {why}");
        }
        let task = Box::new(Task {
            timestamps,
            session,
            line: Line::new(
                Arc::new(start.transport),
                start
                    .websockets
                    .map(|it| Sockets::new(Arc::new(*it), joins)),
                hooks,
                self.shared.clone(),
                runtime.clone(),
            ),
            shared: self.shared.clone(),
            token_provider: start.token_provider,
        });
        let name = self.shared.name.clone();
        runtime.handle().spawn(speaking(name, task.run()));
        Ok(())
    }

    pub fn state(&self) -> State {
        self.shared.board.state()
    }

    /// What it is called.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// The clientId of the session that there is.
    pub fn session_id(&self) -> Option<Box<str>> {
        lock(&self.shared.session_id).clone()
    }

    /// Why it is not connected: the last error of the client itself since it
    /// was.
    pub fn last_error(&self) -> Option<Error> {
        lock(&self.shared.last_error).as_deref().cloned()
    }

    pub fn wait(&self, state: State, timeout: Option<Duration>) -> Waited {
        self.shared.board.wait(state, timeout)
    }

    /// From the next request on.
    pub fn set_authorization(&self, value: &str) -> Result<(), Error> {
        self.shared.set_authorization(authorization::any(value)?);
        Ok(())
    }

    /// Over which connection type the last reply came; `None`: none has come.
    pub fn transport(&self) -> Option<ConnectionType> {
        self.shared.transport()
    }

    /// What the server's clock says, in milliseconds since 1970, if it has told.
    pub fn server_time(&self) -> Option<i64> {
        self.shared.counters.server_time(clock::now())
    }

    /// What it has done so far.
    pub fn statistics(&self) -> Statistics {
        let hub = &self.shared.hub;
        let mut statistics = self.shared.counters.read(hub.statistics());
        (statistics.blocked, statistics.times_blocked) = hub.waiting();
        statistics.calls_refused = self.shared.outcomes.count_refused();
        let unsaved = self.shared.positions.as_ref().map_or(0, |it| it.failures());
        if unsaved > 0 {
            statistics.failures.insert("replay_store", unsaved);
        }
        statistics.transport = self.transport().map(ConnectionType::name);
        statistics.leniencies = self.shared.leniencies.counts();
        statistics
    }

    /// The client's own receiver, unless it was built without.
    pub fn receiver(&self) -> Option<&Arc<Queue>> {
        self.own.as_ref()
    }

    /// A further receiver, which sees every event from now on.
    pub fn add_receiver(&self) -> Receiver {
        Receiver {
            queue: self.shared.hub.add(),
            shared: self.shared.clone(),
            process: self.process,
        }
    }

    /// One that sees the outcomes of calls alone.
    pub fn add_receiver_of_outcomes(&self) -> Receiver {
        Receiver {
            queue: self.shared.hub.add_of_outcomes(),
            shared: self.shared.clone(),
            process: self.process,
        }
    }
}

/// A further receiver of a client's events; it may outlive the client.
pub struct Receiver {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    process: &'static Process,
}

impl Receiver {
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub fn process(&self) -> &'static Process {
        self.process
    }
}

impl Receiver {
    /// Gives nothing out any more; whoever waits in it returns.
    pub fn remove(&self) {
        self.shared.hub.remove(&self.queue);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Something that differs from client to client, to spread their attempts.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn closed() -> Error {
    Error::call(
        ErrorKind::Closed,
        "client: it has been disconnected or has ended; build a new one",
    )
}
