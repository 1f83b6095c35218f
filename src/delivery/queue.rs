//! The bounded queue of one receiver.
//!
//! The I/O thread puts entries into a line, whose lock is held by nobody for
//! longer than it takes to put in or take out one of them: an entry is a run of
//! messages of one response, or one notice. The host's threads take single events
//! out of them, under the lock of `front`; only a callback goes on in its run
//! without it.

mod callback;
mod line;
mod poll;
mod producer;
mod run;
#[cfg(test)]
pub(super) mod tests;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};

use serde::Serialize;

use super::dispatcher::Dispatcher;
use super::event::{Event, Notice, Unread};
use super::limits::{Limits, Overflow};
use super::readiness::Readiness;
use super::room::Room;
use super::tracker::Tracker;
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::Body;
use crate::platform::RawDescriptor;
use crate::runtime::lock;
use line::Line;
use run::Run;
use wake::Wake;

/// A callback with all that it needs.
pub type EventCallback = Box<dyn Fn(Event) + Send + Sync>;
/// One that gets several events at once.
pub type EventsCallback = Box<dyn Fn(Vec<Event>) + Send + Sync>;
/// One that is told that there is something, for who polls.
pub type WakeCallback = Box<dyn Fn() + Send + Sync>;

pub enum Callback {
    Event(EventCallback),
    Events(EventsCallback),
    Wake(WakeCallback),
}

/// A callback of another kind is installed.
#[derive(Debug)]
pub struct Occupied;

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
        start: u32,
        end: u32,
    },
    /// With what its being read is told to, if somebody wants to know.
    Notice(Arc<Notice>, Option<Arc<Unread>>),
    Dropped(u64),
}

/// What was taken out of the line and not yet given to the host.
#[derive(Default)]
struct Front {
    /// The oldest: notices that the dropping of older messages has passed
    /// over, with the counts of what was dropped between them. As long as there
    /// are any, no callback has got hold of the current run.
    passed: VecDeque<Entry>,
    /// Then the messages that are being given out.
    current: Option<Current>,
}

struct Current {
    run: Arc<Run>,
    /// Up to where its claimed messages are accounted for.
    accounted: u32,
}

impl Current {
    fn new(body: Arc<Body>, start: u32, end: u32) -> Self {
        Self {
            run: Arc::new(Run::new(body, start, end)),
            accounted: start,
        }
    }

    /// Accounts for those before `end` that are not yet.
    fn collect(&mut self, end: u32, taken: &mut Taken) {
        let count = end.saturating_sub(self.accounted) as usize;
        self.accounted = end;
        taken.events += count;
        taken.messages += count;
        taken.bytes += count * self.run.body().share();
    }
}

impl Front {
    /// Adds the messages of the current run that were claimed since the last time.
    fn collect(&mut self, taken: &mut Taken) {
        let Some(current) = &mut self.current else {
            return;
        };
        let claimed = current.run.claimed();
        current.collect(claimed, taken);
        if claimed == current.run.end() {
            self.current = None;
        }
    }
}

/// What is to be given out next.
enum Next<'a> {
    Event(Event),
    /// The current run; the next of its messages is for who claims it.
    Messages(&'a Arc<Run>),
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
    /// What has come and was not yet looked at.
    line: Line<Entry>,
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
    /// Whether there is one that gets the events, where it can be read without the lock.
    has_callback: AtomicBool,
    /// Whether one that gets none is to be told.
    wake: Wake,
    /// How often one was installed, replaced or removed.
    installations: AtomicU64,
    /// The dispatcher has it in hand or in line.
    scheduled: AtomicBool,
    /// The producer was told that there is no room.
    told_full: AtomicBool,
    /// Something came since sleeping threads were last woken.
    sleepers_wait: AtomicBool,
    room: Arc<Room>,
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
    pub fn new(limits: Limits, room: Arc<Room>) -> Arc<Self> {
        Self::of("a test".into(), limits, room, None)
    }

    pub(super) fn of(
        name: Arc<str>,
        limits: Limits,
        room: Arc<Room>,
        tracker: Option<Arc<Tracker>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            name,
            limits,
            line: Line::default(),
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
            wake: Wake::default(),
            installations: AtomicU64::new(0),
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
        drop(self.settled());
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
        drop(self.settled());
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

    pub fn fd(&self) -> io::Result<RawDescriptor> {
        let fd = self.readiness.fd()?;
        drop(self.settled());
        self.readiness.update(|| self.has_something());
        Ok(fd)
    }

    // ---- what is taken, and its account ----

    /// Locks the front, and accounts for what a callback has claimed without it.
    /// Who decides by what is queued does this first.
    fn settled(&self) -> MutexGuard<'_, Front> {
        let mut front = lock(&self.front);
        let mut taken = Taken::default();
        front.collect(&mut taken);
        self.account(&taken);
        front
    }

    /// What was taken was given to the host. Under the lock of the front.
    fn account(&self, taken: &Taken) {
        self.discount(taken);
        let delivered = self.delivered.load(Ordering::Relaxed);
        let delivered = delivered.wrapping_add(taken.events as u64);
        // Nobody else writes it while the front is locked.
        self.delivered.store(delivered, Ordering::Relaxed);
    }

    /// What was taken is no longer queued. Under the lock of the front.
    fn discount(&self, taken: &Taken) {
        for (counter, count) in [
            (&self.events, taken.events),
            (&self.messages, taken.messages),
            (&self.bytes, taken.bytes),
            (&self.outcomes, taken.outcomes),
            (&self.notice_bytes, taken.notice_bytes),
        ] {
            if count > 0 {
                counter.fetch_sub(count, Ordering::SeqCst);
            }
        }
    }

    /// After events were taken, without the lock.
    fn tell_of_taken(&self) {
        self.readiness.update(|| self.has_something());
        if self.told_full.load(Ordering::SeqCst)
            && self.within_limits()
            && self.told_full.swap(false, Ordering::SeqCst)
        {
            self.room.make();
        }
        self.room.read(self.outcomes());
    }

    /// Finds what comes next. A single event is taken with that; of several
    /// messages each is to be claimed.
    fn next<'a>(&self, front: &'a mut Front, taken: &mut Taken) -> Option<Next<'a>> {
        front.collect(taken);
        let entry = if let Some(entry) = front.passed.pop_front() {
            entry
        } else if front.current.is_some() {
            return front.current.as_ref().map(|it| Next::Messages(&it.run));
        } else if let Some(entry) = self.line.take() {
            entry
        } else {
            match self.dropped_newest.swap(0, Ordering::SeqCst) {
                0 => return None,
                dropped => Entry::Dropped(dropped),
            }
        };
        let event = match entry {
            Entry::Messages { body, start, end } if end.saturating_sub(start) == 1 => {
                taken.messages += 1;
                taken.bytes += body.share();
                self.message(OwnedMessage::new(body, start))
            }
            Entry::Messages { body, start, end } => {
                let current = front.current.insert(Current::new(body, start, end));
                return Some(Next::Messages(&current.run));
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
        };
        taken.events += 1;
        Some(Next::Event(event))
    }

    /// A message that was taken, for the host. Under the lock of the front, if
    /// somebody follows what becomes of it: that makes the order.
    fn message(&self, message: OwnedMessage) -> Event {
        // What a freed receiver throws away was given to nobody.
        let tracker = self.tracker.as_ref();
        let tracker = tracker.filter(|_| !self.detached.load(Ordering::SeqCst));
        match tracker.and_then(|it| it.hand_out(&message.get()?)) {
            Some(ticket) => Event::Tracked(message, ticket),
            None => Event::Message(message),
        }
    }
}

/// What is never dropped is bounded all the same: the outcomes of commands by
/// their number, where commands are accepted, and everything else by what it
/// takes in memory. It is more than any program is behind with.
const NOTICE_BYTES: usize = 64 * 1024 * 1024;
