//! The replay extension on the host's side: what it says of positions, and the
//! store in which it keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::bayeux::replay;
use crate::delivery::{SavePosition, Tracker};
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::Command;

/// Gives the position of a topic that the host has stored, if it has.
pub type LoadPosition = dyn Fn(&str) -> Result<Option<i64>, Error> + Send + Sync;

/// Functions of the host's, either of which may be missing.
#[derive(Clone, Default)]
pub struct ReplayStore {
    pub load: Option<Arc<LoadPosition>>,
    pub save: Option<Arc<SavePosition>>,
}

/// How many positions may wait for a subscribe that uses them.
const MAXIMUM_GIVEN: usize = 10_000;

/// One client's.
pub(super) struct Positions {
    load: Option<Arc<LoadPosition>>,
    tracker: Option<Arc<Tracker>>,
    topics: Mutex<Topics>,
}

#[derive(Default)]
struct Topics {
    /// What the host has said and no subscribe has used yet.
    given: BTreeMap<String, i64>,
    subscribed: BTreeMap<String, Subscribed>,
}

/// A topic that the host has subscribed to. The session knows better where it
/// stands, unless it has forgotten it in the meantime.
struct Subscribed {
    /// Each with whether the server has accepted it.
    channels: BTreeMap<String, bool>,
    position: Option<i64>,
}

/// What a subscribe is about to use.
pub(super) struct Loaded(BTreeMap<String, i64>);

pub(super) fn check_position(what: &str, position: i64) -> Result<(), Error> {
    if replay::is_position(position) {
        return Ok(());
    }
    Err(Error::call(
        ErrorKind::OutOfRange,
        format!("{what}: {position} is neither the id of an event nor one of the constants"),
    ))
}

/// The topic of a channel that can have a position.
pub(super) fn check_topic(channel: &str) -> Result<&str, Error> {
    crate::bayeux::channel::check_subscription(channel).map_err(|error| {
        Error::call(ErrorKind::InvalidChannel, format!("channel: {error}")).on_channel(channel)
    })?;
    if !replay::has_position(channel) {
        let error = Error::call(
            ErrorKind::InvalidChannel,
            "channel: a position belongs to one channel, not to a pattern",
        );
        return Err(error.on_channel(channel));
    }
    Ok(replay::topic(channel))
}

pub(super) fn give(
    given: &mut BTreeMap<String, i64>,
    channel: &str,
    position: i64,
) -> Result<(), Error> {
    let topic = check_topic(channel)?;
    check_position("position", position)?;
    if given.len() >= MAXIMUM_GIVEN && !given.contains_key(topic) {
        return Err(Error::call(
            ErrorKind::Full,
            format!("channel: {MAXIMUM_GIVEN} positions wait for a subscribe that uses them"),
        ));
    }
    given.insert(topic.to_owned(), position);
    Ok(())
}

impl Positions {
    pub(super) fn new(given: BTreeMap<String, i64>, store: ReplayStore, name: &Arc<str>) -> Self {
        Self {
            load: store.load,
            tracker: store
                .save
                .map(|save| Arc::new(Tracker::new(save).of(name.clone()))),
            topics: Mutex::new(Topics {
                given,
                ..Topics::default()
            }),
        }
    }

    /// For the client's own receiver.
    pub(super) fn tracker(&self) -> Option<Arc<Tracker>> {
        self.tracker.clone()
    }

    pub(super) fn failures(&self) -> u64 {
        self.tracker.as_ref().map_or(0, |it| it.failures())
    }

    pub(super) fn give(&self, channel: &str, position: i64) -> Result<(), Error> {
        give(&mut lock(&self.topics).given, channel, position)
    }

    /// Asks the host where the topics stand of which nobody knows. It runs the
    /// host's code, so no lock is held.
    pub(super) fn load(&self, channels: &[String]) -> Result<Loaded, Error> {
        let mut loaded = BTreeMap::new();
        let Some(load) = &self.load else {
            return Ok(Loaded(loaded));
        };
        let unknown: BTreeSet<&str> = {
            let topics = lock(&self.topics);
            channels
                .iter()
                .filter(|it| replay::has_position(it))
                .map(|it| replay::topic(it))
                .filter(|it| {
                    !topics.given.contains_key(*it) && !topics.subscribed.contains_key(*it)
                })
                .collect()
        };
        for topic in unknown {
            if let Some(position) = load(topic).map_err(|error| error.on_channel(topic))? {
                loaded.insert(topic.to_owned(), position);
            }
        }
        Ok(Loaded(loaded))
    }

    /// A subscribe is accepted: what has to be told to the session before it.
    /// Under the lock that makes the order of commands.
    pub(super) fn subscribes(&self, channels: &[String], mut loaded: Loaded) -> Vec<Command> {
        let topics = &mut *lock(&self.topics);
        let mut commands = Vec::new();
        for channel in channels.iter().filter(|it| replay::has_position(it)) {
            let topic = replay::topic(channel);
            let given = topics.given.remove(topic);
            let before = topics.subscribed.get(topic).and_then(|it| it.position);
            let position = given.or(before).or_else(|| loaded.0.remove(topic));
            if let Some(position) = position {
                commands.push(Command::ReplayFrom {
                    topic: topic.to_owned(),
                    position,
                    unless_known: given.is_none(),
                });
            }
            let subscribed = topics
                .subscribed
                .entry(topic.to_owned())
                .or_insert_with(|| Subscribed {
                    channels: BTreeMap::new(),
                    position: None,
                });
            subscribed.channels.entry(channel.clone()).or_default();
            subscribed.position = position;
        }
        if let Some(tracker) = &self.tracker {
            for channel in channels.iter().filter(|it| replay::has_position(it)) {
                tracker.follow(replay::topic(channel), |it| {
                    topics.subscribed.contains_key(it)
                });
            }
        }
        commands
    }

    /// The session of another client is gone on with, and has these. It knows better
    /// than the host where they stand.
    pub(super) fn resumed(&self, channels: &[String]) {
        self.subscribes(channels, Loaded(BTreeMap::new()));
        for channel in channels {
            self.accepted(channel);
        }
    }

    /// The server has accepted a subscribe.
    pub(super) fn accepted(&self, channel: &str) {
        let mut topics = lock(&self.topics);
        let subscribed = topics.subscribed.get_mut(replay::topic(channel));
        if let Some(accepted) = subscribed.and_then(|it| it.channels.get_mut(channel)) {
            *accepted = true;
        }
    }

    /// A subscribe of the host's has failed. One that was accepted before goes on.
    pub(super) fn refused(&self, channel: &str) {
        let has_another = {
            let topics = lock(&self.topics);
            let subscribed = topics.subscribed.get(replay::topic(channel));
            subscribed.is_some_and(|it| it.channels.get(channel) == Some(&true))
        };
        if !has_another {
            self.ended(channel);
        }
    }

    /// The host has unsubscribed, or there is no subscription any more.
    pub(super) fn ended(&self, channel: &str) {
        let mut topics = lock(&self.topics);
        let topic = replay::topic(channel);
        if let Some(subscribed) = topics.subscribed.get_mut(topic) {
            subscribed.channels.remove(channel);
            if subscribed.channels.is_empty() {
                topics.subscribed.remove(topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;
    use crate::session::Event;

    fn names(channels: &[&str]) -> Vec<String> {
        channels.iter().map(|it| (*it).to_owned()).collect()
    }

    /// A client whose store has a position for some topics, and which topics it
    /// was asked for.
    fn positions(stored: &'static [(&str, i64)]) -> (Positions, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let store = ReplayStore {
            load: Some(Arc::new(move |topic| {
                lock(&log).push(topic.to_owned());
                Ok(stored.iter().find(|it| it.0 == topic).map(|it| it.1))
            })),
            save: Some(Arc::new(|_, _| Ok(()))),
        };
        (
            Positions::new(BTreeMap::new(), store, &"a test".into()),
            asked,
        )
    }

    /// What a subscribe tells the session: topic, position, and `?` when only
    /// unless it knows better.
    fn subscribe(positions: &Positions, channels: &[&str]) -> Vec<String> {
        let channels = names(channels);
        let loaded = positions.load(&channels).unwrap();
        let told = positions.subscribes(&channels, loaded).into_iter();
        told.map(|command| match command {
            Command::ReplayFrom {
                topic,
                position,
                unless_known,
            } => format!("{topic} {position}{}", if unless_known { "?" } else { "" }),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn the_store_is_asked_for_topics_that_nobody_knows_and_only_then() {
        let (positions, asked) = positions(&[("/a", 5), ("/c", 6)]);
        let told = subscribe(&positions, &["/a?x", "/a?y", "/b", "/c/*"]);
        assert_eq!(told, ["/a 5?", "/a 5?"]);
        assert_eq!(*lock(&asked), ["/a", "/b"]);
        assert_eq!(subscribe(&positions, &["/a", "/b"]), ["/a 5?"]);
        assert_eq!(lock(&asked).len(), 2);
        positions.ended("/a?x");
        positions.ended("/a?y");
        subscribe(&positions, &["/a"]);
        assert_eq!(lock(&asked).len(), 2, "another subscription is left");
        positions.ended("/a");
        assert_eq!(subscribe(&positions, &["/a"]), ["/a 5?"]);
        assert_eq!(lock(&asked).len(), 3);
    }

    #[test]
    fn of_a_resumed_subscription_the_store_is_not_asked() {
        let (positions, asked) = positions(&[("/a", 5)]);
        positions.resumed(&names(&["/a", "/c/*"]));
        // One more, which is refused, does not end it.
        assert!(subscribe(&positions, &["/a"]).is_empty());
        positions.refused("/a");
        assert!(subscribe(&positions, &["/a"]).is_empty());
        assert_eq!(lock(&asked).len(), 0);
        positions.ended("/a");
        assert_eq!(subscribe(&positions, &["/a"]), ["/a 5?"]);
    }

    #[test]
    fn a_given_position_is_used_once_and_comes_before_all_others() {
        let (positions, asked) = positions(&[("/a", 5)]);
        positions.give("/a?x", 9).unwrap();
        assert_eq!(subscribe(&positions, &["/a"]), ["/a 9"]);
        assert_eq!(lock(&asked).len(), 0);
        assert_eq!(subscribe(&positions, &["/a"]), ["/a 9?"]);
        positions.give("/a", replay::ALL).unwrap();
        assert_eq!(subscribe(&positions, &["/a"]), ["/a -2"]);
        for (channel, position, kind) in [
            ("/a", -3, ErrorKind::OutOfRange),
            ("/a", i64::MIN, ErrorKind::OutOfRange),
            ("a", 1, ErrorKind::InvalidChannel),
            ("/a/*", 1, ErrorKind::InvalidChannel),
            ("/meta/connect", 1, ErrorKind::InvalidChannel),
        ] {
            assert_eq!(positions.give(channel, position).unwrap_err().kind, kind);
        }
    }

    #[test]
    fn a_further_subscribe_that_is_refused_ends_no_subscription_that_there_is() {
        let mut builder = crate::client::Builder::new("http://127.0.0.1:9/").unwrap();
        let asked = Arc::new(Mutex::new(0));
        let times = asked.clone();
        let load: Arc<LoadPosition> = Arc::new(move |_| {
            *lock(&times) += 1;
            Ok(None)
        });
        builder.set_replay(replay::NEW).unwrap();
        builder.set_replay_store(ReplayStore {
            load: Some(load),
            save: None,
        });
        let client = builder.build().unwrap();
        let subscribe = || {
            client.subscribe(names(&["/a"])).unwrap();
            *lock(&asked)
        };
        let refused = |id| {
            let error = Error::new(ErrorKind::Refused, Phase::Subscribe, "refused");
            let error = error.on_channel("/a");
            let error = Box::new(error);
            client.shared.publish(Event::Error { id, error });
        };
        assert_eq!(subscribe(), 1);
        client.shared.publish(Event::Subscribed {
            id: 1,
            channel: "/a".into(),
            ext: None,
            renewed: false,
        });
        assert_eq!(subscribe(), 1);
        refused(2);
        assert_eq!(subscribe(), 1, "the first one goes on");
        // A renewal that is refused for good is its end.
        refused(0);
        assert_eq!(subscribe(), 2);
        refused(4);
        assert_eq!(subscribe(), 3, "there was none before");
    }

    #[test]
    fn positions_that_nobody_uses_are_bounded() {
        let (positions, _) = positions(&[]);
        for n in 0..MAXIMUM_GIVEN {
            positions.give(&format!("/t{n}"), 1).unwrap();
        }
        assert_eq!(
            positions.give("/more", 1).unwrap_err().kind,
            ErrorKind::Full
        );
        positions.give("/t7", 2).unwrap();
    }
}
