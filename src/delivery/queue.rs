//! The bounded queue of one receiver.
//!
//! The I/O thread puts entries into a channel and never waits for a host
//! thread: an entry is a run of messages of one response, or one notice. The
//! host's threads take single events out of them, under the lock of `front`.

mod callback;
mod producer;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver, Sender};
use serde::Serialize;
use tokio::sync::Notify;

use super::dispatcher::Dispatcher;
use super::event::{Event, Notice, Unread};
use super::limits::{Limits, Overflow};
use super::readiness::Readiness;
use super::tracker::Tracker;
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::Body;
use crate::runtime::lock;

/// A callback with all that it needs.
pub type Callback = Box<dyn Fn(Event) + Send + Sync>;

/// What a poll found.
#[derive(Debug)]
pub enum Polled {
    Event(Event),
    Nothing,
    /// The last event was given out before.
    Closed,
    /// A callback gets the events.
    HasCallback,
}

enum Entry {
    Messages {
        body: Arc<Body>,
        next: u32,
        end: u32,
    },
    /// With what its being read is told to, if somebody wants to know.
    Notice(Arc<Notice>, Option<Arc<Unread>>),
    Dropped(u64),
}

/// What was taken out of the channel and not yet given to the host.
#[derive(Default)]
struct Front {
    /// The oldest: notices that the dropping of older messages has passed
    /// over, with the counts of what was dropped between them.
    passed: VecDeque<Entry>,
    /// Then the run of messages that is being given out.
    current: Option<(Arc<Body>, u32, u32)>,
}

#[derive(Default)]
struct Installed {
    callback: Option<Arc<Callback>>,
    dispatcher: Option<Arc<Dispatcher>>,
}

/// What was taken in one go, to be accounted for at once.
#[derive(Default)]
struct Taken {
    events: usize,
    messages: usize,
    bytes: usize,
    outcomes: usize,
    notice_bytes: usize,
}

pub struct Queue {
    /// Of its client.
    name: Arc<str>,
    limits: Limits,
    ingress: Sender<Entry>,
    egress: Receiver<Entry>,
    front: Mutex<Front>,
    available: Condvar,
    /// Threads that wait on `available`.
    waiting: AtomicUsize,
    /// Events that can be taken, DROPPED ones included.
    events: AtomicUsize,
    /// Messages, and what they keep in memory. Only they hold up the client.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Outcomes of commands; they hold up further commands.
    outcomes: AtomicUsize,
    /// Of all notices.
    notice_bytes: AtomicUsize,
    /// Messages dropped behind the newest entry; told when they are reached.
    dropped_newest: AtomicU64,
    /// No entry comes any more.
    ended: AtomicBool,
    /// The receiver was freed: nothing is kept.
    detached: AtomicBool,
    readiness: Readiness,
    callback: Mutex<Installed>,
    /// Whether there is one, where it can be read without the lock.
    has_callback: AtomicBool,
    /// The dispatcher has it in hand or in line.
    scheduled: AtomicBool,
    /// The producer was told that there is no room.
    told_full: AtomicBool,
    /// Something came since sleeping threads were last woken.
    sleepers_wait: AtomicBool,
    room: Arc<Notify>,
    own: Weak<Queue>,
    /// Learns which messages the host gets, and when it is done with them.
    tracker: Option<Arc<Tracker>>,
    most: AtomicUsize,
    delivered: AtomicU64,
    dropped: AtomicU64,
}

/// How a queue has fared so far.
#[derive(Debug, Clone, Serialize)]
pub struct QueueStatistics {
    pub queued: usize,
    /// The most that were queued at a time.
    pub queued_most: usize,
    /// Events given to the host, of all types.
    pub delivered: u64,
    /// Messages dropped.
    pub dropped: u64,
    /// Of the queued ones those that end a command of the host's.
    pub unread_outcomes: usize,
    /// Whether the client waits for this one to be read.
    pub full: bool,
}

impl Queue {
    #[cfg(test)]
    pub fn new(limits: Limits, room: Arc<Notify>) -> Arc<Self> {
        Self::of("a test".into(), limits, room, None)
    }

    pub(super) fn of(
        name: Arc<str>,
        limits: Limits,
        room: Arc<Notify>,
        tracker: Option<Arc<Tracker>>,
    ) -> Arc<Self> {
        let (ingress, egress) = unbounded();
        Arc::new_cyclic(|own| Self {
            name,
            limits,
            ingress,
            egress,
            front: Mutex::default(),
            available: Condvar::new(),
            waiting: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            outcomes: AtomicUsize::new(0),
            notice_bytes: AtomicUsize::new(0),
            dropped_newest: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            readiness: Readiness::default(),
            callback: Mutex::default(),
            has_callback: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            told_full: AtomicBool::new(false),
            sleepers_wait: AtomicBool::new(false),
            room,
            own: own.clone(),
            tracker,
            most: AtomicUsize::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// What its client is called.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn statistics(&self) -> QueueStatistics {
        QueueStatistics {
            queued: self.events.load(Ordering::SeqCst),
            queued_most: self.most.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            unread_outcomes: self.outcomes(),
            full: !self.within_limits(),
        }
    }

    /// Whether more may come. Asking when there is none makes the next poll
    /// that makes room tell so.
    pub(super) fn has_room(&self) -> bool {
        if self.within_limits() {
            return true;
        }
        self.told_full.store(true, Ordering::SeqCst);
        self.within_limits()
    }

    fn within_limits(&self) -> bool {
        self.is_over() || !(self.is_full_of_messages() || self.is_full_of_notices())
    }

    fn is_full_of_messages(&self) -> bool {
        self.limits.overflow == Overflow::Block
            && (self.messages.load(Ordering::SeqCst) >= self.limits.events
                || self.bytes.load(Ordering::SeqCst) >= self.limits.bytes)
    }

    fn is_full_of_notices(&self) -> bool {
        self.notice_bytes.load(Ordering::SeqCst) >= self.limits.bytes.max(NOTICE_BYTES)
    }

    /// What there is too much of, for people to read; `None` while there is
    /// room.
    pub(super) fn full(&self) -> Option<String> {
        if self.is_over() {
            return None;
        }
        if self.is_full_of_messages() {
            return Some(format!(
                "{} messages of {} bytes, of a capacity of {} and {}",
                self.messages.load(Ordering::SeqCst),
                self.bytes.load(Ordering::SeqCst),
                self.limits.events,
                self.limits.bytes
            ));
        }
        self.is_full_of_notices().then(|| {
            let bytes = self.notice_bytes.load(Ordering::SeqCst);
            format!("{bytes} bytes of outcomes and states")
        })
    }

    /// Outcomes of commands that the host has yet to read.
    pub(super) fn outcomes(&self) -> usize {
        self.outcomes.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.detached.load(Ordering::SeqCst)
    }

    fn wake_all(&self) {
        drop(lock(&self.front));
        self.available.notify_all();
        self.readiness.update(|| self.has_something());
    }

    // ---- the host's side: any thread ----

    pub fn has_something(&self) -> bool {
        self.events.load(Ordering::SeqCst) > 0
    }

    pub fn fd(&self) -> io::Result<RawFd> {
        let fd = self.readiness.fd()?;
        self.readiness.update(|| self.has_something());
        Ok(fd)
    }

    /// Takes the oldest event, waiting for one up to `timeout` (`None`:
    /// without limit).
    pub fn poll(&self, timeout: Option<Duration>) -> Polled {
        let mut polled = None;
        let end = self.poll_each(timeout, 1, |event| polled = Some(event));
        polled.map_or(end, Polled::Event)
    }

    /// Takes up to `most` events, waiting for the first one only. Returns why
    /// there was none; `Nothing` as well when there were some.
    pub fn poll_each(
        &self,
        timeout: Option<Duration>,
        most: usize,
        mut take: impl FnMut(Event),
    ) -> Polled {
        let deadline = match timeout {
            Some(timeout) if !timeout.is_zero() => Instant::now().checked_add(timeout),
            _ => None,
        };
        let wait = timeout != Some(Duration::ZERO);
        let mut taken = Taken::default();
        let mut patience = PATIENCE;
        let mut front = lock(&self.front);
        loop {
            if self.has_callback() {
                return Polled::HasCallback;
            }
            let over = self.is_over();
            while taken.events < most {
                let Some(event) = self.next(&mut front, &mut taken) else {
                    break;
                };
                take(event);
            }
            if taken.events > 0 {
                self.account(&taken);
                let more = self.has_something();
                drop(front);
                self.taken(&taken, more);
                return Polled::Nothing;
            }
            // The producer counts an event before it is there to be taken. What
            // was announced, by the descriptor too, is waited for.
            if self.has_something() && !self.detached.load(Ordering::SeqCst) && patience > 0 {
                patience -= 1;
                drop(front);
                std::thread::yield_now();
                front = lock(&self.front);
                continue;
            }
            if over {
                return Polled::Closed;
            }
            if !wait {
                return Polled::Nothing;
            }
            front = match self.wait(front, deadline) {
                Some(front) => front,
                None => return Polled::Nothing,
            };
        }
    }

    /// Sleeps until something may have come; `None` when the time is up.
    fn wait<'a>(
        &self,
        front: MutexGuard<'a, Front>,
        deadline: Option<Instant>,
    ) -> Option<MutexGuard<'a, Front>> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if self.has_something() || self.is_over() || self.has_callback() {
            // It came before the producer could see that somebody waits.
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Some(front);
        }
        let front = match deadline {
            None => Some(
                self.available
                    .wait(front)
                    .unwrap_or_else(PoisonError::into_inner),
            ),
            Some(deadline) => deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
                .map(|left| {
                    self.available
                        .wait_timeout(front, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }),
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        front
    }

    /// Under the lock of the front.
    fn account(&self, taken: &Taken) {
        self.events.fetch_sub(taken.events, Ordering::SeqCst);
        self.messages.fetch_sub(taken.messages, Ordering::SeqCst);
        self.bytes.fetch_sub(taken.bytes, Ordering::SeqCst);
        self.outcomes.fetch_sub(taken.outcomes, Ordering::SeqCst);
        self.notice_bytes
            .fetch_sub(taken.notice_bytes, Ordering::SeqCst);
    }

    /// After events were taken, without the lock.
    fn taken(&self, taken: &Taken, more: bool) {
        self.delivered
            .fetch_add(taken.events as u64, Ordering::Relaxed);
        if more && self.waiting.load(Ordering::SeqCst) > 0 {
            self.available.notify_one();
        }
        self.readiness.update(|| self.has_something());
        if self.told_full.load(Ordering::SeqCst)
            && self.within_limits()
            && self.told_full.swap(false, Ordering::SeqCst)
        {
            self.room.notify_one();
        }
    }

    fn next(&self, front: &mut Front, taken: &mut Taken) -> Option<Event> {
        let entry = if let Some(entry) = front.passed.pop_front() {
            entry
        } else if let Some((body, next, end)) = front.current.take() {
            Entry::Messages { body, next, end }
        } else if let Ok(entry) = self.egress.try_recv() {
            entry
        } else {
            match self.dropped_newest.swap(0, Ordering::SeqCst) {
                0 => return None,
                dropped => Entry::Dropped(dropped),
            }
        };
        taken.events += 1;
        Some(match entry {
            Entry::Messages { body, next, end } => {
                taken.messages += 1;
                taken.bytes += body.share();
                if next + 1 < end {
                    front.current = Some((body.clone(), next + 1, end));
                }
                let message = OwnedMessage::new(body, next);
                // What a freed receiver throws away was given to nobody.
                let tracker = self.tracker.as_ref();
                let tracker = tracker.filter(|_| !self.detached.load(Ordering::SeqCst));
                match tracker.and_then(|it| it.hand_out(&message.get()?)) {
                    Some(ticket) => Event::Tracked(message, ticket),
                    None => Event::Message(message),
                }
            }
            Entry::Notice(notice, unread) => {
                taken.notice_bytes += notice.size();
                taken.outcomes += usize::from(notice.is_outcome());
                // What a freed receiver throws away was read by nobody.
                if let Some(unread) = unread.filter(|_| !self.detached.load(Ordering::SeqCst)) {
                    unread.read();
                }
                if matches!(*notice, Notice::Closed) {
                    // Whoever asks after this one is told so.
                    self.ended.store(true, Ordering::SeqCst);
                }
                Event::Notice(notice)
            }
            Entry::Dropped(dropped) => Event::Dropped(dropped),
        })
    }
}

/// How often a poll looks again for an event that is counted and not yet there:
/// a matter of some instructions, unless the producer was interrupted in them.
const PATIENCE: u32 = 10_000;

/// What is never dropped is bounded all the same: the outcomes of commands by
/// their number, where commands are accepted, and everything else by what it
/// takes in memory. It is more than any program is behind with.
const NOTICE_BYTES: usize = 64 * 1024 * 1024;
