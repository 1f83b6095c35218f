//! How far the host is done with the events of each topic, and the saving of
//! that: for programs that go on where they were after a crash.
//!
//! Several threads may work on events at once and finish them in any order.
//! What is saved is the newest event before which, in the order in which they
//! were handed out, all are finished; so none that was not is ever skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::host::HostCode;
use crate::bayeux::replay;
use crate::bayeux::Message;
use crate::runtime::{lock, Process};
use crate::speaker::speak;

/// Stores the position of a topic for the host, or says why it could not.
pub type SavePosition = dyn Fn(&str, i64) -> Result<(), String> + Send + Sync;

/// Topics that are neither subscribed to nor worked on are kept up to about so
/// many: events of theirs may still be in the queue.
const KEPT: usize = if cfg!(miri) { 20 } else { 1_000 };

pub struct Tracker {
    save: Arc<SavePosition>,
    /// What the client is called.
    name: Option<Arc<str>>,
    topics: Mutex<Topics>,
    failures: AtomicU64,
    /// In a forked child nothing is saved, and no lock is touched: a thread that
    /// the child does not have may hold it.
    process: &'static Process,
}

#[derive(Default)]
struct Topics {
    by_name: BTreeMap<String, Progress>,
    /// The number at which those that are not needed are looked for.
    sweep_at: usize,
}

/// Of one topic.
#[derive(Debug, Default)]
struct Progress {
    last_sequence: u64,
    /// The events that the host works on, by their order. Each with the newest
    /// id among the finished ones between it and the next of these.
    unfinished: BTreeMap<u64, Option<i64>>,
    /// Not yet saved.
    to_save: Option<i64>,
    /// Some thread is saving; it will look again before it leaves.
    saving: bool,
}

impl Progress {
    fn hand_out(&mut self) -> u64 {
        self.last_sequence += 1;
        self.unfinished.insert(self.last_sequence, None);
        self.last_sequence
    }

    fn finish(&mut self, sequence: u64, id: Option<i64>) {
        let Some(after) = self.unfinished.remove(&sequence) else {
            return;
        };
        // What was finished behind it is newer than itself.
        let Some(newest) = after.or(id) else { return };
        match self.unfinished.range_mut(..sequence).next_back() {
            Some((_, behind)) => *behind = Some(newest),
            None => self.to_save = Some(newest),
        }
    }

    fn is_busy(&self) -> bool {
        self.saving || !self.unfinished.is_empty()
    }
}

impl Tracker {
    pub fn new(save: Arc<SavePosition>) -> Self {
        Self {
            save,
            name: None,
            topics: Mutex::default(),
            failures: AtomicU64::new(0),
            process: Process::current(),
        }
    }

    /// For the log.
    pub fn of(mut self, name: Arc<str>) -> Self {
        self.name = Some(name);
        self
    }

    /// From now on the events of these topics are followed. `is_subscribed`
    /// tells of the others whether they are still needed.
    pub fn follow(&self, topic: &str, is_subscribed: impl Fn(&str) -> bool) {
        let topics = &mut *lock(&self.topics);
        if topics.by_name.contains_key(topic) {
            return;
        }
        topics.by_name.insert(topic.to_owned(), Progress::default());
        if topics.by_name.len() > topics.sweep_at.max(KEPT) {
            topics
                .by_name
                .retain(|name, it| name == topic || it.is_busy() || is_subscribed(name));
            topics.sweep_at = topics.by_name.len() * 2;
        }
    }

    /// How often saving has failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// An event is about to be given to the host; `None` when nobody wants to
    /// know what becomes of it. Under the queue's lock, which makes the order.
    pub(super) fn hand_out(self: &Arc<Self>, event: &Message) -> Option<Box<Ticket>> {
        let topic = replay::topic(event.channel()?);
        let sequence = lock(&self.topics).by_name.get_mut(topic)?.hand_out();
        Some(Box::new(Ticket {
            tracker: self.clone(),
            sequence,
        }))
    }

    fn finish(&self, topic: &str, sequence: u64, id: Option<i64>) {
        let mut topics = lock(&self.topics);
        let Some(progress) = topics.by_name.get_mut(topic) else {
            return;
        };
        progress.finish(sequence, id);
        if progress.saving {
            // Two saves of one topic must not overtake each other.
            return;
        }
        // Looked up again after each save, as the lock was given up for it.
        while let Some(progress) = topics.by_name.get_mut(topic) {
            let Some(position) = progress.to_save.take() else {
                progress.saving = false;
                return;
            };
            progress.saving = true;
            drop(topics);
            self.call_save(topic, position);
            if !self.process.is_current() {
                // The host's code has forked, and this is the child.
                return;
            }
            topics = lock(&self.topics);
        }
    }

    fn call_save(&self, topic: &str, position: i64) {
        let host = HostCode::enter();
        let saved = (self.save)(topic, position);
        drop(host);
        if let Err(why) = saved {
            // The next one tries again, with a newer position.
            self.failures.fetch_add(1, Ordering::Relaxed);
            let _speaking = self.name.as_ref().map(speak);
            tracing::warn!(
                target: "cometd::delivery",
                "the replay position {position} of {topic} was not saved: {why}"
            );
        }
    }
}

/// For one event that the host works on. One that is lost without a word was
/// never finished.
pub struct Ticket {
    tracker: Arc<Tracker>,
    sequence: u64,
}

impl Ticket {
    /// The host is done with its event. Runs code of the host's.
    pub fn finish(self: Box<Self>, event: &Message) {
        if !self.tracker.process.is_current() {
            std::mem::forget(self);
            return;
        }
        if let Some(channel) = event.channel() {
            self.tracker
                .finish(replay::topic(channel), self.sequence, event.replay_id());
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::Body;

    /// What must have been saved after each step, the plain way.
    #[derive(Default)]
    struct Model {
        events: Vec<(Option<i64>, bool)>,
    }

    impl Model {
        fn position(&self) -> Option<i64> {
            let finished = self.events.iter().take_while(|(_, finished)| *finished);
            finished.filter_map(|(id, _)| *id).last()
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }
    }

    fn events(ids: &[Option<i64>]) -> Body {
        let messages: Vec<_> = ids
            .iter()
            .map(|id| match id {
                Some(id) => {
                    format!(r#"{{"channel":"/e?a","data":{{"event":{{"replayId":{id}}}}}}}"#)
                }
                None => r#"{"channel":"/e","data":{}}"#.to_owned(),
            })
            .collect();
        Body::parse(format!("[{}]", messages.join(",")).into_bytes()).unwrap()
    }

    type Saved = Arc<Mutex<Vec<i64>>>;

    fn tracker() -> (Arc<Tracker>, Saved) {
        let saved = Saved::default();
        let log = saved.clone();
        let tracker = Arc::new(Tracker::new(Arc::new(move |topic, position| {
            assert_eq!(topic, "/e");
            lock(&log).push(position);
            Ok(())
        })));
        tracker.follow("/e", |_| true);
        (tracker, saved)
    }

    #[test]
    fn the_position_is_the_newest_before_which_all_are_finished_in_any_order_219() {
        for seed in 1..(if cfg!(miri) { 5 } else { 3_000u64 }) {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let (tracker, saved) = tracker();
            let mut model = Model::default();
            let mut tickets = Vec::new();
            let ids: Vec<_> = (0..random.below(20) + 1)
                .map(|n| (random.below(5) > 0).then_some(n as i64 * 10))
                .collect();
            let body = events(&ids);
            while model.events.len() < ids.len() || !tickets.is_empty() {
                let all_out = model.events.len() == ids.len();
                if !all_out && (tickets.is_empty() || random.below(2) == 0) {
                    let index = model.events.len();
                    let event = body.message(index).unwrap();
                    tickets.push((index, tracker.hand_out(&event).unwrap()));
                    model.events.push((ids[index], false));
                } else {
                    let (index, ticket) = tickets.swap_remove(random.below(tickets.len()));
                    ticket.finish(&body.message(index).unwrap());
                    model.events[index].1 = true;
                }
                assert_eq!(lock(&saved).last().copied(), model.position(), "{seed}");
            }
            assert!(lock(&saved).is_sorted());
            assert!(!lock(&tracker.topics).by_name["/e"].is_busy());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many events take too long")]
    fn every_order_of_six_events_219() {
        fn orders(left: Vec<usize>) -> Vec<Vec<usize>> {
            if left.is_empty() {
                return vec![Vec::new()];
            }
            let without = |n: usize| left.iter().copied().filter(|it| *it != n).collect();
            left.iter()
                .flat_map(|n| {
                    let rest = orders(without(*n));
                    rest.into_iter()
                        .map(|mut order: Vec<usize>| {
                            order.insert(0, *n);
                            order
                        })
                        .collect::<Vec<_>>()
                })
                .collect()
        }
        let ids = [Some(1), None, Some(3), Some(4), None, None];
        let body = events(&ids);
        let orders = orders((0..ids.len()).collect());
        assert_eq!(orders.len(), 720);
        for order in orders {
            let (tracker, saved) = tracker();
            let mut tickets: Vec<_> = body.messages().map(|it| tracker.hand_out(&it)).collect();
            let mut model = Model {
                events: ids.iter().map(|id| (*id, false)).collect(),
            };
            for index in order {
                let ticket = tickets[index].take().unwrap();
                ticket.finish(&body.message(index).unwrap());
                model.events[index].1 = true;
                assert_eq!(lock(&saved).last().copied(), model.position());
            }
            assert_eq!(lock(&saved).last(), Some(&4));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many events take too long")]
    fn an_event_that_is_kept_for_long_costs_no_memory_for_those_behind_it() {
        let (tracker, saved) = tracker();
        let body = events(&(0..1_000).map(Some).collect::<Vec<_>>());
        let kept = tracker.hand_out(&body.message(0).unwrap()).unwrap();
        for event in body.messages().skip(1) {
            tracker.hand_out(&event).unwrap().finish(&event);
        }
        assert_eq!(lock(&tracker.topics).by_name["/e"].unfinished.len(), 1);
        assert_eq!(*lock(&saved), [0; 0]);
        kept.finish(&body.message(0).unwrap());
        assert_eq!(*lock(&saved), [999]);
    }

    #[test]
    fn a_ticket_that_is_lost_holds_the_position_back_219() {
        let (tracker, saved) = tracker();
        let body = events(&[Some(1), Some(2), Some(3)]);
        let mut tickets: Vec<_> = body
            .messages()
            .map(|it| tracker.hand_out(&it).unwrap())
            .collect();
        tickets.pop().unwrap().finish(&body.message(2).unwrap());
        drop(tickets.pop());
        tickets.pop().unwrap().finish(&body.message(0).unwrap());
        assert_eq!(*lock(&saved), [1]);
    }

    #[test]
    fn saves_of_one_topic_never_overlap_nor_go_back_219() {
        const EVENTS: usize = if cfg!(miri) { 40 } else { 4_000 };
        let inside = Arc::new(AtomicU64::new(0));
        let saved = Saved::default();
        let (log, count) = (saved.clone(), inside.clone());
        let tracker = Arc::new(Tracker::new(Arc::new(move |_, position| {
            assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two at once");
            std::thread::yield_now();
            lock(&log).push(position);
            count.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })));
        tracker.follow("/e", |_| true);
        let body = Arc::new(events(&(0..EVENTS as i64).map(Some).collect::<Vec<_>>()));
        let queue = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (tracker, body, queue) = (tracker.clone(), body.clone(), queue.clone());
                std::thread::spawn(move || loop {
                    let (event, ticket) = {
                        let mut next = lock(&queue);
                        let Some(event) = body.message(*next) else {
                            return;
                        };
                        *next += 1;
                        (event, tracker.hand_out(&event).unwrap())
                    };
                    if ticket.sequence % 3 == 0 {
                        std::thread::yield_now();
                    }
                    ticket.finish(&event);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let saved = lock(&saved);
        assert!(saved.is_sorted());
        assert_eq!(saved.last(), Some(&(EVENTS as i64 - 1)));
        assert_eq!(inside.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_save_that_finishes_another_event_is_not_called_inside_itself() {
        struct Late {
            ticket: Option<Box<Ticket>>,
            saved: Vec<i64>,
            inside: bool,
        }
        let late = Arc::new(Mutex::new(Late {
            ticket: None,
            saved: Vec::new(),
            inside: false,
        }));
        let body = Arc::new(events(&[Some(1), Some(2)]));
        let (state, messages) = (late.clone(), body.clone());
        let tracker = Arc::new(Tracker::new(Arc::new(move |_, position| {
            let ticket = {
                let mut late = lock(&state);
                assert!(!std::mem::replace(&mut late.inside, true));
                late.saved.push(position);
                late.ticket.take()
            };
            if let Some(ticket) = ticket {
                ticket.finish(&messages.message(1).unwrap());
            }
            lock(&state).inside = false;
            Ok(())
        })));
        tracker.follow("/e", |_| true);
        let first = tracker.hand_out(&body.message(0).unwrap()).unwrap();
        lock(&late).ticket = tracker.hand_out(&body.message(1).unwrap());
        first.finish(&body.message(0).unwrap());
        assert_eq!(lock(&late).saved, [1, 2]);
    }

    #[test]
    fn a_failed_save_is_counted_and_the_next_one_has_the_newer_position() {
        let tries = Saved::default();
        let log = tries.clone();
        let tracker = Arc::new(Tracker::new(Arc::new(move |_, position| {
            lock(&log).push(position);
            if position < 3 {
                return Err("no room".into());
            }
            Ok(())
        })));
        tracker.follow("/e", |_| true);
        let body = events(&[Some(1), Some(2), Some(3)]);
        for event in body.messages() {
            tracker.hand_out(&event).unwrap().finish(&event);
        }
        assert_eq!(*lock(&tries), [1, 2, 3]);
        assert_eq!(tracker.failures(), 2);
    }

    #[test]
    fn topics_that_are_no_longer_needed_are_forgotten_and_busy_ones_are_not() {
        let (tracker, _) = tracker();
        let body = events(&[Some(1)]);
        let ticket = tracker.hand_out(&body.message(0).unwrap());
        for n in 0..10 * KEPT {
            tracker.follow(&format!("/t{n}"), |_| false);
        }
        assert!(lock(&tracker.topics).by_name.len() <= KEPT + 1);
        assert!(lock(&tracker.topics).by_name.contains_key("/e"));
        drop(ticket);
        for n in 0..10 * KEPT {
            tracker.follow(&format!("/t{n}"), |_| true);
        }
        assert_eq!(lock(&tracker.topics).by_name.len(), 10 * KEPT + 1);
    }

    #[test]
    fn a_few_topics_that_are_no_longer_needed_are_kept_and_the_newest_always() {
        let (tracker, _) = tracker();
        let names = || lock(&tracker.topics).by_name.len();
        let before = names();
        for n in 0..10 {
            tracker.follow(&format!("/t{n}"), |_| false);
        }
        assert_eq!(names(), before + 10);
        for n in 10..3 * KEPT {
            let topic = format!("/t{n}");
            tracker.follow(&topic, |_| false);
            assert!(lock(&tracker.topics).by_name.contains_key(&topic), "{n}");
        }
    }

    #[test]
    fn looking_for_topics_that_are_not_needed_costs_each_new_one_little() {
        let (tracker, _) = tracker();
        let mut looked = 0;
        for n in 0..8 * KEPT {
            let asked = std::cell::Cell::new(0);
            tracker.follow(&format!("/t{n}"), |_| {
                asked.set(asked.get() + 1);
                true
            });
            looked += asked.get();
        }
        assert!(looked <= 4 * 8 * KEPT, "{looked}");
    }

    #[test]
    fn a_topic_whose_position_is_being_saved_is_not_forgotten() {
        let own = Arc::new(std::sync::OnceLock::<std::sync::Weak<Tracker>>::new());
        let inside = own.clone();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let seen = kept.clone();
        let save = move |topic: &str, _| {
            let Some(tracker) = inside.get().and_then(std::sync::Weak::upgrade) else {
                return Err("too early".to_owned());
            };
            for n in 0..2 * KEPT {
                tracker.follow(&format!("/t{n}"), |_| false);
            }
            let is_there = lock(&tracker.topics).by_name.contains_key(topic);
            lock(&seen).push(is_there);
            Ok(())
        };
        let tracker = Arc::new(Tracker::new(Arc::new(save)));
        let _ = own.set(Arc::downgrade(&tracker));
        tracker.follow("/e", |_| false);
        let body = events(&[Some(1)]);
        let ticket = tracker.hand_out(&body.message(0).unwrap()).unwrap();
        ticket.finish(&body.message(0).unwrap());
        assert_eq!(*lock(&kept), [true]);
        assert_eq!(tracker.failures(), 0);
    }

    #[test]
    fn events_of_topics_that_nobody_subscribed_to_have_no_ticket() {
        let (tracker, _) = tracker();
        let text = r#"[{"channel":"/other","data":{"event":{"replayId":7}}}]"#;
        let body = Body::parse(text.as_bytes().to_vec()).unwrap();
        assert!(tracker.hand_out(&body.message(0).unwrap()).is_none());
    }
}
