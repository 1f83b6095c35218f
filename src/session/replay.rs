//! The replay extension: after which event each subscription starts.
//!
//! The position of a topic follows the events that have arrived, so that a new
//! session goes on where the old one ended, and never back at the beginning.
//! Events of one response arrive together or not at all.

use std::collections::{BTreeMap, BTreeSet};

use super::configuration::ReplayPolicy;
use super::{Event, Session};
use crate::bayeux::{replay, Message};
use crate::error::{Error, ErrorKind, Phase};

/// Where a subscribe starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Where the topic stands, or else where all begin.
    Usual,
    /// Where the topic stands, or else here.
    Stored(i64),
    /// Here, wherever the topic stands.
    Given(i64),
}

/// From where a subscribe starts that is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Started {
    /// The position that the server is asked for.
    pub position: Option<i64>,
    /// Where its topic stood for others, and where it stands from now on.
    moved: Option<(i64, i64)>,
}

#[derive(Debug, Default)]
pub(super) struct Replay {
    policy: Option<ReplayPolicy>,
    /// The server of this session takes part.
    supported: bool,
    /// The host was told that it does not.
    told: bool,
    /// Where the topics stand that are subscribed to.
    topics: BTreeMap<String, i64>,
    /// For the subscribe that comes next.
    next: BTreeMap<String, Start>,
    /// A subscribe has failed; its topic may not be needed any more.
    pub(super) failed: bool,
}

impl Replay {
    pub(super) fn new(policy: Option<ReplayPolicy>) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.policy.is_some()
    }

    pub(super) fn for_handshake(&self) -> Option<(&'static str, String)> {
        self.policy.map(|_| (replay::FIELD, "true".to_owned()))
    }

    /// An event has arrived. The newest one counts, not the largest id: a host
    /// may have asked for older events, and a server may begin to count anew.
    pub(super) fn received(&mut self, event: &Message) {
        let topic = event.channel().map(replay::topic);
        if let Some(position) = topic.and_then(|it| self.topics.get_mut(it)) {
            if let Some(id) = event.replay_id() {
                *position = id;
            }
        }
    }

    pub(super) fn start_next(&mut self, topic: String, position: i64, unless_known: bool) {
        let start = if unless_known {
            Start::Stored(position)
        } else {
            Start::Given(position)
        };
        self.next.insert(topic, start);
    }

    /// Where the subscribe that has come starts on each of its channels.
    pub(super) fn starts(&mut self, channels: &[String]) -> Vec<Start> {
        let next = std::mem::take(&mut self.next);
        channels
            .iter()
            .map(|channel| {
                let start = next.get(replay::topic(channel));
                start.copied().unwrap_or(Start::Usual)
            })
            .collect()
    }

    /// About how many bytes a subscribe's field takes.
    pub(super) fn room_for(&self, channel: &str) -> usize {
        if self.is_wanted() && self.supported {
            channel.len() + 50
        } else {
            0
        }
    }

    /// A subscribe is about to be sent. From here on the topic stands where the
    /// subscribe starts.
    pub(super) fn subscribes(&mut self, channel: &str, start: Start, revoked: bool) -> Started {
        let with_position = self.policy.filter(|_| replay::has_position(channel));
        let Some(policy) = with_position else {
            return Started::default();
        };
        let topic = replay::topic(channel);
        let known = self.topics.get(topic).copied();
        let position = match start {
            Start::Given(position) => position,
            Start::Stored(position) => known.unwrap_or(position),
            Start::Usual => known.unwrap_or(policy.start),
        };
        // One that the host has taken back leaves no trace.
        let moves = known != Some(position) && !revoked;
        if moves {
            self.topics.insert(topic.to_owned(), position);
        }
        Started {
            position: self.supported.then_some(position),
            moved: known.filter(|_| moves).map(|from| (from, position)),
        }
    }

    /// A subscribe came to nothing. What others of its topic have had they have
    /// had all the same, unless events have come since.
    pub(super) fn not_subscribed(&mut self, channel: &str, started: Started) {
        let Some((from, to)) = started.moved else {
            return;
        };
        let position = self.topics.get_mut(replay::topic(channel));
        if let Some(position) = position.filter(|it| **it == to) {
            *position = from;
        }
    }

    /// Whether a subscribe starts where a renewal would.
    pub(super) fn starts_as_usual(&self, channel: &str, start: Start) -> bool {
        match start {
            Start::Usual => true,
            Start::Stored(_) => self.topics.contains_key(replay::topic(channel)),
            Start::Given(_) => false,
        }
    }

    /// Whether the server takes part, and where the topics stand.
    pub(super) fn positions(&self) -> (bool, BTreeMap<String, i64>) {
        (self.supported, self.topics.clone())
    }

    /// Goes on in a session, where its topics stand.
    pub(super) fn resume(&mut self, supported: bool, topics: BTreeMap<String, i64>) {
        if self.is_wanted() {
            self.supported = supported;
            self.topics = topics;
        }
    }

    /// How many topics are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.topics.len() + self.next.len()
    }
}

impl Session {
    /// The server's answer to the handshake's offer.
    pub(super) fn replay_answered(&mut self, reply: &Message) {
        if !self.replay.is_wanted() {
            return;
        }
        let supported = reply
            .ext_field(replay::FIELD)
            .is_some_and(replay::is_accepted);
        self.replay.supported = supported;
        let told = std::mem::replace(&mut self.replay.told, !supported);
        if !supported && !told {
            self.emit_error(Error::new(
                ErrorKind::Negotiation,
                Phase::Handshake,
                "handshake: the server does not support the replay extension; subscriptions \
                 start with new events, and those of the time between two sessions are lost",
            ));
        }
    }

    /// A subscribe was refused. When that is because of the position that it
    /// asked for, tells so, and gives where to start instead.
    pub(super) fn fall_back(
        &mut self,
        channel: &str,
        position: i64,
        error: &Error,
    ) -> Option<Start> {
        let fallback = self.replay.policy?.fallback?;
        let refused = error.bayeux.as_ref().is_some_and(|it| {
            it.code == 400 && it.text.to_ascii_lowercase().contains(replay::FIELD)
        });
        // Without a position of an event there is nothing to fall back from.
        if position < 0 || !refused || self.disconnecting.is_some() {
            return None;
        }
        if let Some(known) = self.replay.topics.get_mut(replay::topic(channel)) {
            *known = fallback;
        }
        let mut told = error.clone();
        told.message = format!(
            "{} (channel {channel}); subscribing again, {}",
            told.message,
            match fallback {
                replay::ALL => "to all events that the server still has",
                _ => "to new events only",
            }
        );
        told.channel = Some(channel.to_owned());
        told.retry_in = Some(0);
        let error = Box::new(told);
        self.emit(Event::Error { id: 0, error });
        Some(Start::Given(fallback))
    }

    /// Some subscriptions may have ended: forgets the positions of topics that
    /// have none left.
    fn forget_positions(&mut self) {
        self.replay.failed = false;
        if self.replay.topics.is_empty() {
            return;
        }
        let channels = self.commands.subscriptions.channels();
        let needed: BTreeSet<&str> = channels.map(replay::topic).collect();
        self.replay
            .topics
            .retain(|topic, _| needed.contains(topic.as_str()));
    }

    /// The host wants this channel no more: the same for its topic alone.
    pub(super) fn forget_position_of(&mut self, channel: &str) {
        let topic = replay::topic(channel);
        if self.replay.topics.contains_key(topic) && !self.commands.subscriptions.needs_topic(topic)
        {
            self.replay.topics.remove(topic);
        }
    }

    /// Whether each topic that is kept has a subscription.
    #[cfg(test)]
    pub(super) fn replay_is_needed(&self) -> bool {
        let channels = self.commands.subscriptions.channels();
        let needed: BTreeSet<&str> = channels.map(replay::topic).collect();
        let mut topics = self.replay.topics.keys();
        topics.all(|topic| needed.contains(topic.as_str()))
    }

    pub(super) fn forget_failed_positions(&mut self) {
        if self.replay.failed {
            self.forget_positions();
        }
    }
}
