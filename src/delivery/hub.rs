//! The receivers of one client: each of them sees every event.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::event::Notice;
use super::queue::{Queue, QueueStatistics};
use super::tracker::Tracker;
use crate::runtime::lock;
use crate::session;

/// What happens to messages that a full queue cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The next connect waits until there is room; nothing is dropped.
    Block,
    DropOldest,
    DropNewest,
}

/// The bounds of each receiver's queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub events: usize,
    pub bytes: usize,
    pub overflow: Overflow,
}

pub struct Hub {
    limits: Limits,
    state: Mutex<Receivers>,
    room: Arc<Notify>,
}

struct Receivers {
    queues: Vec<Arc<Queue>>,
    closed: bool,
}

impl Hub {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::new(Receivers {
                queues: Vec::new(),
                closed: false,
            }),
            room: Arc::new(Notify::new()),
        }
    }

    /// A further receiver; it sees what comes from now on.
    pub fn add(&self) -> Arc<Queue> {
        self.add_tracked(None)
    }

    pub fn add_tracked(&self, tracker: Option<Arc<Tracker>>) -> Arc<Queue> {
        let queue = Queue::tracked(self.limits, self.room.clone(), tracker);
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
                channel,
                ext,
                renewed,
            },
            session::Event::Unsubscribed { id, channel, ext } => {
                Notice::Unsubscribed { id, channel, ext }
            }
            session::Event::Published { id, channel, ext } => {
                Notice::Published { id, channel, ext }
            }
            session::Event::Result {
                id,
                message,
                error,
                ext,
            } => Notice::Result {
                id,
                message,
                error,
                ext,
            },
            session::Event::Advice { json } => Notice::Advice { json },
            session::Event::Error { id, error } => Notice::Error { id, error },
            session::Event::Closed => {
                state.closed = true;
                Notice::Closed
            }
        };
        let notice = Arc::new(notice);
        for queue in &state.queues {
            queue.push_notice(&notice);
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
        let mut room = true;
        for queue in &lock(&self.state).queues {
            // Each is asked, so that each one that is full will tell.
            room &= queue.has_room();
        }
        room
    }

    /// How each receiver's queue has fared, the oldest receiver first.
    pub fn statistics(&self) -> Vec<QueueStatistics> {
        lock(&self.state)
            .queues
            .iter()
            .map(|queue| queue.statistics())
            .collect()
    }

    pub async fn room_made(&self) {
        self.room.notified().await;
    }
}
