//! What the host asks a client to send.

use std::sync::atomic::Ordering;
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::value::RawValue;

use super::arguments::{check_channels, json_error};
use super::shared::Mailbox;
use super::{closed, Client};
use crate::bayeux::channel::{self, ChannelError};
use crate::bayeux::{binary, json, z85};
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::{Command, OperationId, State};

/// What the protocol adds to the channel and the data of a message.
const PROTOCOL_BYTES: usize = 256;

/// The calls, with a value that their events give back.
impl Client {
    pub fn subscribe_opaque(
        &self,
        channels: Vec<String>,
        opaque: usize,
    ) -> Result<OperationId, Error> {
        check_channels(&channels)?;
        let Some(positions) = &self.shared.positions else {
            let count = channels.len();
            return self.accept(count, opaque, |id| Command::Subscribe { id, channels });
        };
        if matches!(self.state(), State::Disconnecting | State::Closed) {
            return Err(closed());
        }
        let loaded = positions.load(&channels)?;
        // The host's code may have forked; in the child nothing is to be locked.
        if !self.process.is_current() {
            return Err(Error::forked());
        }
        self.accept_all(channels.len(), opaque, |id| {
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

    pub fn unsubscribe_opaque(
        &self,
        channels: Vec<String>,
        opaque: usize,
    ) -> Result<OperationId, Error> {
        check_channels(&channels)?;
        self.accept(channels.len(), opaque, |id| {
            if let Some(positions) = &self.shared.positions {
                for channel in &channels {
                    positions.ended(channel);
                }
            }
            Command::Unsubscribe { id, channels }
        })
    }

    pub fn publish_opaque(
        &self,
        channel: &str,
        data: &[u8],
        opaque: usize,
    ) -> Result<OperationId, Error> {
        let data = self.message(channel, channel::check_publish, data)?;
        self.accept(1, opaque, |id| Command::Publish {
            id,
            channel: channel.to_owned(),
            data,
        })
    }

    /// Publishes bytes. `meta` is a JSON object that says more about them.
    pub fn publish_binary_opaque(
        &self,
        channel: &str,
        bytes: &[u8],
        last: bool,
        meta: Option<&[u8]>,
        opaque: usize,
    ) -> Result<OperationId, Error> {
        check(channel, channel::check_publish)?;
        let meta = meta.map(json::parse_object).transpose();
        let meta = meta.map_err(|error| json_error("meta", &error))?;
        let takes = z85::encoded_length(bytes.len())
            .saturating_add(meta.as_ref().map_or(0, |it| it.get().len()))
            .saturating_add(binary::DATA_OVERHEAD);
        self.check_size("bytes", channel, takes)?;
        let data = binary::data(bytes, last, meta.as_deref())
            .ok_or_else(|| Error::call(ErrorKind::InvalidJson, "meta: is not a JSON object"))?;
        self.accept(1, opaque, |id| Command::PublishBinary {
            id,
            channel: channel.to_owned(),
            data,
        })
    }

    /// Publishes again and again, until the server has answered, so often at
    /// most and for so long at most.
    pub fn publish_with_retries_opaque(
        &self,
        channel: &str,
        data: &[u8],
        timeout: Option<Duration>,
        attempts: Option<u32>,
        opaque: usize,
    ) -> Result<OperationId, Error> {
        let data = self.message(channel, channel::check_publish, data)?;
        let deadline = timeout.map(|it| clock::now().saturating_add(clock::millis(it)));
        self.accept(1, opaque, |id| Command::PublishWithRetries {
            id,
            channel: channel.to_owned(),
            data,
            attempts,
            deadline,
        })
    }

    /// Publishes to a service channel and awaits the answer for so long.
    pub fn remote_call_opaque(
        &self,
        channel: &str,
        data: &[u8],
        timeout: Duration,
        opaque: usize,
    ) -> Result<OperationId, Error> {
        let data = self.message(channel, channel::check_service, data)?;
        self.accept(1, opaque, |id| Command::Call {
            id,
            channel: channel.to_owned(),
            data,
            deadline: clock::now().saturating_add(clock::millis(timeout)),
        })
    }

    pub fn subscribe(&self, channels: Vec<String>) -> Result<OperationId, Error> {
        self.subscribe_opaque(channels, 0)
    }

    pub fn unsubscribe(&self, channels: Vec<String>) -> Result<OperationId, Error> {
        self.unsubscribe_opaque(channels, 0)
    }

    pub fn publish(&self, channel: &str, data: &[u8]) -> Result<OperationId, Error> {
        self.publish_opaque(channel, data, 0)
    }

    /// Checks a message that is to be published.
    fn message(
        &self,
        channel: &str,
        check: fn(&str) -> Result<(), ChannelError>,
        data: &[u8],
    ) -> Result<Box<RawValue>, Error> {
        self::check(channel, check)?;
        let data = json::parse(data).map_err(|error| json_error("json", &error))?;
        self.check_size("json", channel, data.get().len())?;
        Ok(data)
    }

    /// Checks whether data of so many bytes, the argument `what`, fits a request.
    fn check_size(&self, what: &str, channel: &str, data: usize) -> Result<(), Error> {
        let size = data.saturating_add(channel.len() + PROTOCOL_BYTES);
        if let Some(capacity) = self.request_capacity.filter(|it| size > *it) {
            return Err(Error::call(
                ErrorKind::TooLarge,
                format!(
                    "{what}: the message would take {size} bytes, and a request is at most \
                     {capacity}"
                ),
            )
            .on_channel(channel));
        }
        Ok(())
    }

    fn accept(
        &self,
        messages: usize,
        opaque: usize,
        command: impl FnOnce(OperationId) -> Command,
    ) -> Result<OperationId, Error> {
        self.accept_all(messages, opaque, |id| (Vec::new(), command(id)))
    }

    /// A command, and what goes before it.
    fn accept_all(
        &self,
        messages: usize,
        opaque: usize,
        command: impl FnOnce(OperationId) -> (Vec<Command>, Command),
    ) -> Result<OperationId, Error> {
        if matches!(self.state(), State::Disconnecting | State::Closed) {
            return Err(closed());
        }
        let (id, mut mailbox) = self.begin(messages)?;
        self.shared.outcomes.accepted(id, messages);
        let (before, command) = command(id);
        self.shared.opaques.accepted(&command, opaque);
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

    /// A call that one event ends, and no message. What an open batch holds is sent.
    pub(super) fn begin_call(&self) -> Result<(OperationId, MutexGuard<'_, Mailbox>), Error> {
        let (id, mut mailbox) = self.begin(1)?;
        mailbox.post_batch();
        Ok((id, mailbox))
    }

    /// Makes room for the outcomes of a call, and gives it its id.
    fn begin(&self, messages: usize) -> Result<(OperationId, MutexGuard<'_, Mailbox>), Error> {
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
            .map_err(|outstanding| {
                let error = self.full(messages, outstanding, unread);
                self.shared.refuse(messages, error)
            })?;
        // Under the lock that the end takes too: a command is either seen by
        // the session, or refused here.
        let mailbox = lock(&self.shared.mailbox);
        if self.shared.board.state() == State::Closed {
            drop(mailbox);
            self.shared
                .outstanding
                .fetch_sub(messages, Ordering::SeqCst);
            return Err(closed());
        }
        let id = self.shared.last_operation.fetch_add(1, Ordering::SeqCst) + 1;
        Ok((id, mailbox))
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
}

fn check(channel: &str, check: fn(&str) -> Result<(), ChannelError>) -> Result<(), Error> {
    check(channel).map_err(|error| {
        Error::call(ErrorKind::InvalidChannel, format!("channel: {error}")).on_channel(channel)
    })
}
