//! A client: what the host holds, and the task that runs its session.

mod board;
mod builder;
mod clock;
mod extensions;
mod hooks;
mod replay;
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
use crate::delivery::{Hub, Queue};
use crate::error::{Error, ErrorKind, Phase};
use crate::runtime::{lock, Process};
use crate::session::{Command, Configuration, Event, OperationId, Output, Session, State};
use crate::transport::http::authorization::{self, Authorization};
use crate::transport::http::secrets::Secrets;
use crate::transport::http::{LongPolling, Settings};
use crate::transport::leniencies::Leniencies;
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
use statistics::Counters;
pub use statistics::Statistics;
use task::Task;

/// What the host's side and the task share.
pub(crate) struct Shared {
    hub: Hub,
    board: Board,
    authorization: Arc<Authorization>,
    secrets: Arc<Secrets>,
    mailbox: Mutex<Mailbox>,
    commands_came: Notify,
    /// Messages accepted of the host whose ending event is not yet queued.
    outstanding: AtomicUsize,
    commands_capacity: usize,
    last_operation: AtomicU64,
    counters: Counters,
    leniencies: Arc<Leniencies>,
    /// With the replay extension.
    positions: Option<Positions>,
}

/// Commands on their way to the session.
#[derive(Default)]
struct Mailbox {
    commands: Vec<Command>,
    /// How many batches are open, one inside the other.
    batches: u32,
    batched: Vec<Command>,
}

impl Mailbox {
    /// Sends off what the open batches have collected so far.
    fn post_batch(&mut self) {
        if !self.batched.is_empty() {
            let batch = std::mem::take(&mut self.batched);
            self.commands.push(Command::Batch(batch));
        }
    }
}

impl Shared {
    /// Tells every receiver, and whoever waits for a state.
    fn publish(&self, mut event: Event) {
        match &mut event {
            Event::Result { error, .. } => {
                if let Some(error) = error {
                    self.redact(error);
                }
                self.outstanding.fetch_sub(1, Ordering::SeqCst);
            }
            Event::Subscribed { .. } | Event::Unsubscribed { .. } | Event::Published { .. } => {
                self.outstanding.fetch_sub(1, Ordering::SeqCst);
            }
            Event::Error { id, error } => {
                self.redact(error);
                if *id != 0 {
                    self.outstanding.fetch_sub(1, Ordering::SeqCst);
                } else {
                    self.counters.failed(error);
                }
                // With a further try to come it is not the end of a subscribe.
                if error.phase == Phase::Subscribe && error.retry_in.is_none() {
                    if let (Some(positions), Some(channel)) = (&self.positions, &error.channel) {
                        positions.ended(channel);
                    }
                }
                if error.kind == ErrorKind::Timeout && error.phase == Phase::Disconnect {
                    self.board.note_disconnect_timeout();
                }
                tracing::warn!(target: "cometd::client", fatal = error.fatal, "{}", error.message);
            }
            Event::State { state, previous } => {
                let (state, previous) = (*state, *previous);
                tracing::info!(target: "cometd::client", ?previous, ?state, "state");
                self.counters.entered(state);
                // The last one is told together with the end.
                if state != State::Closed {
                    self.board.enter(state, |_| self.hub.publish(event));
                }
                return;
            }
            Event::Messages { range, .. } => self.counters.events(range.len()),
            Event::Advice { .. } => {}
            Event::Closed => {
                // Under the lock under which commands are accepted: what came
                // too late for the session ends here, and none comes after.
                let mut mailbox = lock(&self.mailbox);
                mailbox.post_batch();
                for late in mailbox.commands.drain(..).flat_map(Command::into_aborted) {
                    self.outstanding.fetch_sub(1, Ordering::SeqCst);
                    self.hub.publish(late);
                }
                self.board.enter(State::Closed, |previous| {
                    self.hub.publish(Event::State {
                        state: State::Closed,
                        previous,
                    });
                    self.hub.publish(event);
                    self.hub.wake();
                });
                return;
            }
        }
        self.hub.publish(event);
    }

    /// What an extension has done wrong stays with it.
    fn extension_failed(&self, direction: &str, why: &str) {
        self.counters.extension_failed();
        tracing::warn!(
            target: "cometd::client",
            "an extension failed for an {direction} message, which goes on as it was before: {why}"
        );
    }

    fn redact(&self, error: &mut Error) {
        self.secrets.redact(&mut error.message);
        if let Some(bayeux) = &mut error.bayeux {
            self.secrets.redact(&mut bayeux.text);
        }
    }

    /// For the task, as long as there is one.
    fn command(&self, command: Command) {
        let mut mailbox = lock(&self.mailbox);
        if self.board.state() == State::Closed {
            return;
        }
        // What an open batch holds was accepted before the end was asked for.
        mailbox.post_batch();
        mailbox.commands.push(command);
        drop(mailbox);
        self.commands_came.notify_one();
    }

    fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut lock(&self.mailbox).commands)
    }

    async fn commands_came(&self) {
        self.commands_came.notified().await;
    }
}

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
        let hub = Hub::new(builder.limits);
        let positions = builder.positions();
        let tracker = positions.as_ref().and_then(Positions::tracker);
        let own = builder.own_receiver.then(|| hub.add_tracked(tracker));
        let mut configuration = builder.session();
        configuration.seed = seed();
        configuration.servers = hosts;
        configuration.calendar = clock::calendar();
        let shared = Arc::new(Shared {
            hub,
            board: Board::new(),
            authorization: settings.authorization.clone(),
            secrets,
            mailbox: Mutex::default(),
            commands_came: Notify::new(),
            outstanding: AtomicUsize::new(0),
            commands_capacity: builder.commands,
            last_operation: AtomicU64::new(0),
            counters: Counters::default(),
            leniencies: settings.leniencies.clone(),
            positions,
        });
        Ok(Self {
            shared,
            own,
            unstarted: Mutex::new(Some(Box::new(Unstarted {
                configuration,
                transport: LongPolling::new(settings)?,
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
        let task = Task {
            timestamps: start.configuration.timestamp.is_some(),
            session: Session::new(start.configuration),
            transport: Arc::new(start.transport),
            shared: self.shared.clone(),
            token_provider: start.token_provider,
            hooks,
            _runtime: runtime.clone(),
        };
        runtime.handle().spawn(task.run());
        Ok(())
    }

    pub fn state(&self) -> State {
        self.shared.board.state()
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
        let capacity = self.shared.commands_capacity;
        self.shared
            .outstanding
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |outstanding| {
                outstanding
                    .checked_add(messages)
                    .filter(|sum| *sum <= capacity)
            })
            .map_err(|outstanding| {
                Error::call(
                    ErrorKind::Full,
                    format!(
                        "commands: {outstanding} messages wait for their outcome, {messages} more \
                         are above the capacity of {capacity}"
                    ),
                )
            })?;
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
        let mut statistics = self.shared.counters.read(self.shared.hub.statistics());
        let unsaved = self.shared.positions.as_ref().map_or(0, |it| it.failures());
        if unsaved > 0 {
            statistics.failures.insert("replay_store", unsaved);
        }
        statistics.leniencies = self.shared.leniencies.counts();
        statistics
    }

    /// Ends the session politely. With a time limit of 0 it goes on in the
    /// background; otherwise this returns when the client has closed, and an
    /// error when the server did not answer in time.
    pub fn disconnect(&self, timeout: Duration) -> Result<(), Error> {
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
