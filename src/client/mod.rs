//! A client: what the host holds, and the task that runs its session.

mod board;
mod builder;
mod extensions;
mod hooks;
mod name;
mod replay;
mod shared;
mod statistics;
mod task;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::bayeux::channel::{self, ChannelError};
use crate::bayeux::json;
use crate::clock;
use crate::delivery::{Hub, Queue};
use crate::error::{Error, ErrorKind, Phase};
use crate::runtime::{lock, Process};
use crate::session::{Command, Configuration, OperationId, Output, Server, Session, State};
use crate::speaker::{speak, speaking};
use crate::transport::http::authorization::{self};
use crate::transport::http::secrets::Secrets;
use crate::transport::http::{LongPolling, Settings};
use board::Board;
pub use board::Waited;
pub use builder::{
    Builder, TokenProvider, TokenReason, DEFAULT_BYTES, DEFAULT_COMMANDS, DEFAULT_EVENTS,
    DEFAULT_RESPONSE, MAXIMUM_RESPONSE,
};
use extensions::Extensions;
pub use extensions::{Extend, Extension, ExtensionMessage};
use hooks::Hooks;
pub use hooks::{Handshake, HandshakeProvider};
use replay::Positions;
pub use replay::{LoadPosition, ReplayStore};
use shared::Shared;
use statistics::Counters;
pub use statistics::Statistics;
use task::Task;

/// What waits for the start.
struct Unstarted {
    configuration: Configuration,
    transport: LongPolling,
    token_provider: Option<Arc<TokenProvider>>,
    extensions: Extensions,
    handshake_provider: Option<Arc<HandshakeProvider>>,
}

/// A client. Dropping it aborts what still runs, without waiting.
pub struct Client {
    shared: Arc<Shared>,
    own: Option<Arc<Queue>>,
    unstarted: Mutex<Option<Box<Unstarted>>>,
    request_capacity: Option<usize>,
    process: &'static Process,
}

/// What the protocol adds to the channel and the data of a message.
const PROTOCOL_BYTES: usize = 256;

/// How long a disconnect that does not wait may take in the background.
const DEFAULT_DISCONNECT: Duration = Duration::from_secs(10);
/// What a disconnect waits for the I/O thread beyond the host's time limit.
const DISCONNECT_SLACK: Duration = Duration::from_millis(500);

impl Client {
    fn new(
        builder: &Builder,
        hosts: Vec<String>,
        settings: Settings,
        secrets: Arc<Secrets>,
    ) -> Result<Self, Error> {
        let name = builder.name.clone().unwrap_or_else(name::next);
        let hub = Hub::new(builder.limits, name.clone());
        let positions = builder.positions(&name);
        let tracker = positions.as_ref().and_then(Positions::tracker);
        let own = builder.own_receiver.then(|| hub.add_tracked(tracker));
        let mut configuration = builder.session();
        configuration.seed = seed();
        configuration.servers = hosts;
        configuration.calendar = clock::calendar();
        let authorization = settings.authorization.clone();
        let leniencies = settings.leniencies.clone();
        let transport = LongPolling::new(settings)?;
        let first = Server::Given(0);
        let places = transport.places(first.clone()).ok_or_else(|| {
            Error::call(ErrorKind::InvalidUrl, "url: there is no server to go to")
        })?;
        let shared = Arc::new(Shared {
            name,
            server: Mutex::new((first, places)),
            session_id: Mutex::default(),
            last_error: Mutex::default(),
            hub,
            board: Board::new(),
            authorization,
            secrets,
            mailbox: Mutex::default(),
            commands_came: Notify::new(),
            outstanding: AtomicUsize::new(0),
            commands_capacity: builder.commands,
            last_operation: AtomicU64::new(0),
            counters: Counters::default(),
            leniencies,
            positions,
        });
        Ok(Self {
            shared,
            own,
            unstarted: Mutex::new(Some(Box::new(Unstarted {
                configuration,
                transport,
                token_provider: builder.token_provider.clone(),
                extensions: Extensions::new(builder.extensions.clone()),
                handshake_provider: builder.handshake_provider.clone(),
            }))),
            request_capacity: builder.session().request_capacity,
            process: Process::current(),
        })
    }

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
            self.shared.clone(),
        );
        let task = Box::new(Task {
            timestamps: start.configuration.timestamp.is_some(),
            session: Session::new(start.configuration),
            transport: Arc::new(start.transport),
            shared: self.shared.clone(),
            token_provider: start.token_provider,
            hooks,
            runtime: runtime.clone(),
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
    pub fn session_id(&self) -> Option<String> {
        lock(&self.shared.session_id).clone()
    }

    /// Why it is not connected: the last error of the client itself since it
    /// was.
    pub fn last_error(&self) -> Option<Error> {
        lock(&self.shared.last_error).clone()
    }

    pub fn wait(&self, state: State, timeout: Option<Duration>) -> Waited {
        self.shared.board.wait(state, timeout)
    }

    pub fn subscribe(&self, channels: Vec<String>) -> Result<OperationId, Error> {
        check_channels(&channels)?;
        let Some(positions) = &self.shared.positions else {
            return self.accept(channels.len(), |id| Command::Subscribe { id, channels });
        };
        if matches!(self.state(), State::Disconnecting | State::Closed) {
            return Err(closed());
        }
        let loaded = positions.load(&channels)?;
        // The host's code may have forked; in the child nothing is to be locked.
        if !self.process.is_current() {
            return Err(Error::forked());
        }
        self.accept_all(channels.len(), |id| {
            let before = positions.subscribes(&channels, loaded);
            (before, Command::Subscribe { id, channels })
        })
    }

    /// From where the next subscribe to this channel starts.
    pub fn set_replay_position(&self, channel: &str, position: i64) -> Result<(), Error> {
        let Some(positions) = &self.shared.positions else {
            return Err(Error::call(
                ErrorKind::InvalidState,
                "client: it was built without replay",
            ));
        };
        if matches!(self.state(), State::Disconnecting | State::Closed) {
            return Err(closed());
        }
        positions.give(channel, position)
    }

    pub fn unsubscribe(&self, channels: Vec<String>) -> Result<OperationId, Error> {
        check_channels(&channels)?;
        self.accept(channels.len(), |id| {
            if let Some(positions) = &self.shared.positions {
                for channel in &channels {
                    positions.ended(channel);
                }
            }
            Command::Unsubscribe { id, channels }
        })
    }

    pub fn publish(&self, channel: &str, data: &[u8]) -> Result<OperationId, Error> {
        let data = self.message(channel, channel::check_publish, data)?;
        self.accept(1, |id| Command::Publish {
            id,
            channel: channel.to_owned(),
            data,
        })
    }

    /// Publishes again and again, until the server has answered, so often at
    /// most and for so long at most.
    pub fn publish_with_retries(
        &self,
        channel: &str,
        data: &[u8],
        timeout: Option<Duration>,
        attempts: Option<u32>,
    ) -> Result<OperationId, Error> {
        let data = self.message(channel, channel::check_publish, data)?;
        let deadline = timeout.map(|it| clock::now().saturating_add(clock::millis(it)));
        self.accept(1, |id| Command::PublishWithRetries {
            id,
            channel: channel.to_owned(),
            data,
            attempts,
            deadline,
        })
    }

    /// Publishes to a service channel and awaits the answer for so long.
    pub fn remote_call(
        &self,
        channel: &str,
        data: &[u8],
        timeout: Duration,
    ) -> Result<OperationId, Error> {
        let data = self.message(channel, channel::check_service, data)?;
        self.accept(1, |id| Command::Call {
            id,
            channel: channel.to_owned(),
            data,
            deadline: clock::now().saturating_add(clock::millis(timeout)),
        })
    }

    /// Checks a message that is to be published.
    fn message(
        &self,
        channel: &str,
        check: fn(&str) -> Result<(), ChannelError>,
        data: &[u8],
    ) -> Result<Box<RawValue>, Error> {
        check(channel).map_err(|error| {
            Error::call(ErrorKind::InvalidChannel, format!("channel: {error}")).on_channel(channel)
        })?;
        let data = json::parse(data).map_err(|error| builder::json_error("json", &error))?;
        let size = channel.len() + data.get().len() + PROTOCOL_BYTES;
        if let Some(capacity) = self.request_capacity.filter(|it| size > *it) {
            return Err(Error::call(
                ErrorKind::TooLarge,
                format!(
                    "json: the message would take {size} bytes, and a request is at most \
                     {capacity}"
                ),
            )
            .on_channel(channel));
        }
        Ok(data)
    }

    fn accept(
        &self,
        messages: usize,
        command: impl FnOnce(OperationId) -> Command,
    ) -> Result<OperationId, Error> {
        self.accept_all(messages, |id| (Vec::new(), command(id)))
    }

    /// A command, and what goes before it.
    fn accept_all(
        &self,
        messages: usize,
        command: impl FnOnce(OperationId) -> (Vec<Command>, Command),
    ) -> Result<OperationId, Error> {
        if matches!(self.state(), State::Disconnecting | State::Closed) {
            return Err(closed());
        }
        // An outcome that is not read takes memory as a command does that waits
        // for its own; and outcomes are never dropped.
        let unread = self.shared.hub.unread_outcomes();
        let capacity = self.shared.commands_capacity;
        self.shared
            .outstanding
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |outstanding| {
                outstanding.checked_add(messages).filter(|sum| {
                    sum.checked_add(unread)
                        .is_some_and(|occupied| occupied <= capacity)
                })
            })
            .map_err(|outstanding| self.full(messages, outstanding, unread))?;
        let id = self.shared.last_operation.fetch_add(1, Ordering::SeqCst) + 1;
        // Under the lock that the end takes too: a command is either seen by
        // the session, or refused here.
        let mut mailbox = lock(&self.shared.mailbox);
        if self.shared.board.state() == State::Closed {
            drop(mailbox);
            self.shared
                .outstanding
                .fetch_sub(messages, Ordering::SeqCst);
            return Err(closed());
        }
        let (before, command) = command(id);
        if mailbox.batches > 0 {
            mailbox.batched.extend(before);
            mailbox.batched.push(command);
            return Ok(id);
        }
        mailbox.commands.extend(before);
        mailbox.commands.push(command);
        drop(mailbox);
        self.shared.commands_came.notify_one();
        Ok(id)
    }

    /// Says what there are too many of, and what helps.
    fn full(&self, messages: usize, outstanding: usize, unread: usize) -> Error {
        let capacity = self.shared.commands_capacity;
        let mut why = format!(
            "commands: {outstanding} messages wait for their outcome, and {unread} outcomes have \
             not been read by the program; {messages} more are above the capacity of {capacity}"
        );
        if self.shared.hub.waiting().0 {
            why.push_str("; nothing is sent, because a queue is full of messages: read its events");
        } else if unread > 0 {
            why.push_str("; read the events of each receiver, or build without those not needed");
        }
        Error::call(ErrorKind::Full, why)
    }

    /// From here on commands wait for [`Self::end_batch`]. Batches nest.
    pub fn begin_batch(&self) -> Result<(), Error> {
        let mut mailbox = lock(&self.shared.mailbox);
        if matches!(self.state(), State::Disconnecting | State::Closed) {
            return Err(closed());
        }
        mailbox.batches = mailbox.batches.saturating_add(1);
        Ok(())
    }

    /// The outermost one sends all that was called since, in one request.
    pub fn end_batch(&self) -> Result<(), Error> {
        let mut mailbox = lock(&self.shared.mailbox);
        mailbox.batches = mailbox
            .batches
            .checked_sub(1)
            .ok_or_else(|| Error::call(ErrorKind::InvalidState, "client: no batch was begun"))?;
        if mailbox.batches == 0 {
            mailbox.post_batch();
            drop(mailbox);
            self.shared.commands_came.notify_one();
        }
        Ok(())
    }

    /// From the next request on.
    pub fn set_authorization(&self, value: &str) -> Result<(), Error> {
        self.shared.authorization.set(authorization::any(value)?);
        Ok(())
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
        let unsaved = self.shared.positions.as_ref().map_or(0, |it| it.failures());
        if unsaved > 0 {
            statistics.failures.insert("replay_store", unsaved);
        }
        statistics.leniencies = self.shared.leniencies.counts();
        statistics
    }

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
            Ok(()) => Error::new(
                ErrorKind::Undelivered,
                Phase::Disconnect,
                format!(
                    "disconnect: the session has ended, but {}",
                    undelivered(failed)
                ),
            ),
            Err(mut error) => {
                error.message = format!("{}; and {}", error.message, undelivered(failed));
                error
            }
        })
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
        self.shared.command(Command::Disconnect {
            limit: clock::now().saturating_add(clock::millis(limit)),
        });
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
        let mut session = Session::new(start.configuration.clone());
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
}

impl Client {
    /// Ends it at once and without waiting; its own receiver gives nothing out
    /// any more, and whoever waits in it returns.
    pub fn abort(&self) {
        if let Some(own) = &self.own {
            self.shared.hub.remove(own);
        }
        if !self.close_unstarted() {
            self.shared.command(Command::Abort);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.abort();
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

fn check_channels(channels: &[String]) -> Result<(), Error> {
    for (index, name) in channels.iter().enumerate() {
        channel::check_subscription(name).map_err(|error| {
            Error::call(
                ErrorKind::InvalidChannel,
                format!("channels[{index}]: {error}"),
            )
            .on_channel(name.as_str())
        })?;
    }
    Ok(())
}

fn undelivered(failed: usize) -> String {
    let messages = if failed == 1 { "message" } else { "messages" };
    format!("{failed} {messages} that publish had accepted failed; the events say why")
}

fn closed() -> Error {
    Error::call(
        ErrorKind::Closed,
        "client: it has been disconnected or has ended; build a new one",
    )
}

/// Something that differs from client to client, to spread their attempts.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
