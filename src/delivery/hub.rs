//! The receivers of one client: each of them sees every event.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::event::{Notice, Unread};
use super::limits::Limits;
use super::queue::{Queue, QueueStatistics};
use super::room::Room;
use super::tracker::Tracker;
use crate::runtime::lock;
use crate::session;

/// Publishes that ended in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedPublishes {
    pub all: usize,
    /// Those of which no receiver has told the host.
    pub unread: usize,
}

pub struct Hub {
    limits: Limits,
    /// What the client is called.
    name: Arc<str>,
    state: Mutex<Receivers>,
    room: Arc<Room>,
    /// Publishes that failed, of which no receiver has yet told the host.
    unread_failures: Arc<AtomicUsize>,
}

struct Receivers {
    queues: Vec<Arc<Queue>>,
    closed: bool,
    /// Publishes that ended in an error.
    failed_publishes: usize,
    waiting: Waiting,
}

/// How often the client had to wait for the host to read.
#[derive(Default)]
struct Waiting {
    /// At this moment.
    now: bool,
    times: u64,
    /// When the log was last told.
    told: Option<Instant>,
}

impl Waiting {
    fn may_tell(&self, now: Instant) -> bool {
        let since = self.told.map(|it| now.saturating_duration_since(it));
        since.is_none_or(|it| it >= TELL)
    }
}

/// However often a queue is full: one line in the log in so much time.
const TELL: Duration = Duration::from_secs(60);

impl Hub {
    pub fn new(limits: Limits, name: Arc<str>) -> Self {
        Self {
            limits,
            name,
            state: Mutex::new(Receivers {
                queues: Vec::new(),
                closed: false,
                failed_publishes: 0,
                waiting: Waiting::default(),
            }),
            room: Arc::default(),
            unread_failures: Arc::default(),
        }
    }

    /// A further receiver; it sees what comes from now on.
    pub fn add(&self) -> Arc<Queue> {
        self.add_tracked(None)
    }

    /// One that sees the outcomes of calls alone: they wait behind no message.
    pub fn add_of_outcomes(&self) -> Arc<Queue> {
        let queue = self.queue(None);
        queue.take_outcomes_alone();
        self.join(queue)
    }

    pub fn add_tracked(&self, tracker: Option<Arc<Tracker>>) -> Arc<Queue> {
        self.join(self.queue(tracker))
    }

    fn queue(&self, tracker: Option<Arc<Tracker>>) -> Arc<Queue> {
        Queue::of(self.name.clone(), self.limits, self.room.clone(), tracker)
    }

    fn join(&self, queue: Arc<Queue>) -> Arc<Queue> {
        let mut state = lock(&self.state);
        if state.closed {
            queue.end();
        } else {
            state.queues.push(queue.clone());
        }
        queue
    }

    pub fn remove(&self, queue: &Arc<Queue>) {
        lock(&self.state)
            .queues
            .retain(|other| !Arc::ptr_eq(other, queue));
        queue.detach();
    }

    /// Gives an event of the session to every receiver. Threads that wait for
    /// it sleep on until [`Self::wake`].
    pub fn publish(&self, event: session::Event) {
        self.publish_of_call(event, 0, false);
    }

    /// An event of a call with which the host gave this value, and whether it is the last.
    pub fn publish_of_call(&self, event: session::Event, opaque: usize, ends: bool) {
        // The lock is held while the entries are sent, so that all receivers
        // see one order; no code of the host's runs under it.
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        let notice = match event {
            session::Event::Messages { body, range } => {
                for queue in &state.queues {
                    queue.push_messages(&body, range.start, range.end);
                }
                return;
            }
            session::Event::State {
                state,
                previous,
                ext,
            } => Notice::State {
                state,
                previous,
                ext,
            },
            session::Event::Subscribed {
                id,
                channel,
                ext,
                renewed,
            } => Notice::Subscribed {
                id,
                opaque,
                ends,
                channel,
                ext,
                renewed,
            },
            session::Event::Unsubscribed { id, channel, ext } => Notice::Unsubscribed {
                id,
                opaque,
                ends,
                channel,
                ext,
            },
            session::Event::Published { id, channel, ext } => Notice::Published {
                id,
                opaque,
                ends,
                channel,
                ext,
            },
            session::Event::Result {
                id,
                message,
                error,
                ext,
            } => Notice::Result {
                id,
                opaque,
                ends,
                message,
                error: error.map(|it| *it),
                ext,
            },
            session::Event::Advice { json } => Notice::Advice { json },
            session::Event::Error { id, error } => Notice::Error {
                id,
                opaque,
                ends,
                error: *error,
            },
            session::Event::Closed => {
                state.closed = true;
                Notice::Closed
            }
        };
        let unread = notice.is_failed_publish().then(|| {
            state.failed_publishes += 1;
            Arc::new(Unread::new(&self.unread_failures))
        });
        let notice = Arc::new(notice);
        for queue in &state.queues {
            queue.push_notice(&notice, unread.as_ref());
        }
    }

    /// Gives what is no event of the session to every receiver; else as [`Self::publish`].
    pub fn tell(&self, notice: Notice) {
        let state = lock(&self.state);
        if state.closed {
            return;
        }
        let notice = Arc::new(notice);
        for queue in &state.queues {
            queue.push_notice(&notice, None);
        }
    }

    /// Wakes whoever waits for what was published.
    pub fn wake(&self) {
        for queue in &lock(&self.state).queues {
            queue.wake_sleepers();
        }
    }

    /// Whether every receiver takes more. After "no", [`Self::room_made`]
    /// returns once one of them has made room.
    pub fn has_room(&self) -> bool {
        let mut state = lock(&self.state);
        let mut room = true;
        for queue in &state.queues {
            // Each is asked, so that each one that is full will tell.
            room &= queue.has_room();
        }
        let waited = std::mem::replace(&mut state.waiting.now, !room);
        if room || waited {
            return room;
        }
        state.waiting.times += 1;
        let now = Instant::now();
        if !state.waiting.may_tell(now) {
            return false;
        }
        let mut queues = state.queues.iter().enumerate();
        let full = queues.find_map(|(index, queue)| Some((index, queue.full()?)));
        // One that was read meanwhile is nothing to tell of.
        if let Some((receiver, full)) = full {
            state.waiting.told = Some(now);
            let times = state.waiting.times;
            // The sink is the host's.
            drop(state);
            tracing::warn!(
                target: "cometd::delivery",
                receiver,
                times,
                "nothing more is sent until the program reads its events: a queue holds {full}"
            );
        }
        false
    }

    /// Whether the client waits for the host to read, and how often it did.
    pub fn waiting(&self) -> (bool, u64) {
        let state = lock(&self.state);
        (state.waiting.now, state.waiting.times)
    }

    /// Outcomes of commands that the host has yet to read: of the receiver that
    /// has most of them.
    pub fn unread_outcomes(&self) -> usize {
        let state = lock(&self.state);
        let unread = state.queues.iter().map(|queue| queue.outcomes());
        unread.max().unwrap_or(0)
    }

    pub fn failed_publishes(&self) -> FailedPublishes {
        let state = lock(&self.state);
        FailedPublishes {
            all: state.failed_publishes,
            unread: self.unread_failures.load(Ordering::SeqCst),
        }
    }

    /// How each receiver's queue has fared, the oldest receiver first.
    pub fn statistics(&self) -> Vec<QueueStatistics> {
        lock(&self.state)
            .queues
            .iter()
            .map(|queue| queue.statistics())
            .collect()
    }

    /// The host was refused a call. It is told by [`Self::keep_promise`] when fewer than
    /// `below` are under way or unread, and [`Self::room_made`] returns before.
    pub fn promise_room(&self, below: usize) {
        self.room.promise(below);
    }

    pub fn has_promised(&self) -> bool {
        self.room.is_promised()
    }

    /// Tells every receiver of room for calls when it is there, with so many under
    /// way; whether it did. `first` is called before anybody can have heard of it.
    pub fn keep_promise(&self, outstanding: usize, first: impl FnOnce()) -> bool {
        let taken = outstanding.saturating_add(self.unread_outcomes());
        let state = lock(&self.state);
        if state.closed || !self.room.keep_promise(taken) {
            return false;
        }
        first();
        let notice = Arc::new(Notice::Room);
        for queue in &state.queues {
            queue.push_notice(&notice, None);
        }
        true
    }

    pub async fn room_made(&self) {
        self.room.made().await;
    }
}

#[cfg(test)]
mod tests;
