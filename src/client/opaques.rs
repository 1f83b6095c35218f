//! Values that the host gave with its calls, for the events of these calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};

use crate::error::Phase;
use crate::runtime::lock;
use crate::session::{Command, Event, OperationId};

/// Until the first value is given, nothing is kept and nothing locked.
#[derive(Default)]
pub(super) struct Opaques {
    table: OnceLock<Box<Mutex<Table>>>,
}

#[derive(Default)]
struct Table {
    calls: BTreeMap<OperationId, Call>,
    /// By their channels.
    subscriptions: BTreeMap<String, Subscription>,
}

/// A call with outcomes to come.
struct Call {
    opaque: usize,
    /// How many.
    left: usize,
    /// What it subscribes to, without those that a later unsubscribe takes back.
    channels: Vec<String>,
}

/// The library's own attempts to make it again have the value of the first subscribe
/// that gave one.
struct Subscription {
    id: OperationId,
    opaque: usize,
    /// An unsubscribe was called.
    is_ending: bool,
}

impl Opaques {
    /// Before the session sees the command, in the order of the calls.
    pub(super) fn accepted(&self, command: &Command, opaque: usize) {
        let table = match opaque {
            0 => self.table.get(),
            _ => Some(self.table.get_or_init(Box::default)),
        };
        let Some(table) = table else {
            return;
        };
        let mut table = lock(table);
        let (id, left, channels) = match command {
            Command::Subscribe { id, channels } => (*id, channels.len(), channels.clone()),
            Command::Unsubscribe { id, channels } => {
                table.take_back(channels);
                (*id, channels.len(), Vec::new())
            }
            Command::Publish { id, .. }
            | Command::PublishBinary { id, .. }
            | Command::PublishWithRetries { id, .. }
            | Command::Call { id, .. } => (*id, 1, Vec::new()),
            _ => return,
        };
        if opaque != 0 {
            let call = Call {
                opaque,
                left,
                channels,
            };
            table.calls.insert(id, call);
        }
    }

    /// The value of the call that an event belongs to; 0 for none. Each event is to be
    /// asked for once, in the order of the events.
    pub(super) fn of(&self, event: &Event) -> usize {
        self.table.get().map_or(0, |it| lock(it).of(event))
    }
}

impl Table {
    fn of(&mut self, event: &Event) -> usize {
        match event {
            Event::Subscribed {
                id,
                channel,
                renewed: true,
                ..
            } => self
                .subscriptions
                .get(channel)
                .filter(|it| it.id == *id)
                .map_or(0, |it| it.opaque),
            Event::Subscribed { id, channel, .. } => {
                self.subscribed(*id, channel);
                self.outcome(*id)
            }
            Event::Unsubscribed { id, channel, .. } => {
                self.unsubscribed(*id, channel);
                self.outcome(*id)
            }
            Event::Published { id, .. } | Event::Result { id, .. } => self.outcome(*id),
            Event::Error { id: 0, error } => match &error.channel {
                Some(channel) if error.phase == Phase::Subscribe => {
                    let opaque = self.of_attempt(channel);
                    if error.retry_in.is_none() {
                        self.subscriptions.remove(channel);
                    }
                    opaque
                }
                _ => 0,
            },
            Event::Error { id, error } => {
                // Nor is it made again after that.
                if let (Phase::Unsubscribe, Some(channel)) = (error.phase, &error.channel) {
                    self.unsubscribed(*id, channel);
                }
                self.outcome(*id)
            }
            Event::Closed => {
                *self = Self::default();
                0
            }
            Event::Messages { .. } | Event::State { .. } | Event::Advice { .. } => 0,
        }
    }

    /// An outcome of a call: its value, kept for those that are still to come.
    fn outcome(&mut self, id: OperationId) -> usize {
        let Some(call) = self.calls.get_mut(&id) else {
            return 0;
        };
        let opaque = call.opaque;
        call.left = call.left.saturating_sub(1);
        if call.left == 0 {
            self.calls.remove(&id);
        }
        opaque
    }

    fn take_back(&mut self, channels: &[String]) {
        for channel in channels {
            if let Some(subscription) = self.subscriptions.get_mut(channel) {
                subscription.is_ending = true;
            }
        }
        let taken: BTreeSet<&String> = channels.iter().collect();
        for call in self.calls.values_mut() {
            call.channels.retain(|it| !taken.contains(it));
        }
    }

    fn subscribed(&mut self, id: OperationId, channel: &str) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let stays = call.channels.iter().any(|it| it == channel);
        let before = self.subscriptions.get(channel);
        if stays && before.is_none_or(|it| it.is_ending) {
            let subscription = Subscription {
                id,
                opaque: call.opaque,
                is_ending: false,
            };
            self.subscriptions.insert(channel.to_owned(), subscription);
        }
    }

    /// This call has ended all that was subscribed before it.
    fn unsubscribed(&mut self, id: OperationId, channel: &str) {
        let subscription = self.subscriptions.get(channel);
        if subscription.is_some_and(|it| it.id < id) {
            self.subscriptions.remove(channel);
        }
    }

    /// Of an attempt of the library's own: to subscribe again, or to subscribe at all
    /// where the server has put that off.
    fn of_attempt(&self, channel: &str) -> usize {
        let waits = |it: &&Call| it.channels.iter().any(|other| other == channel);
        let subscription = self.subscriptions.get(channel).map(|it| it.opaque);
        let call = || self.calls.values().find(waits).map(|it| it.opaque);
        subscription.or_else(call).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
