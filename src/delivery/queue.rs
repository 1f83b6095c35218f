//! The bounded queue of one receiver.
//!
//! The I/O thread puts entries into a channel and never waits for a host
//! thread: an entry is a run of messages of one response, or one notice. The
//! host's threads take single events out of them, under the lock of `front`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver, Sender};
use serde::Serialize;
use tokio::sync::Notify;

use super::dispatcher::{Callback, Dispatcher};
use super::event::{Event, Notice};
use super::hub::{Limits, Overflow};
use super::readiness::Readiness;
use super::tracker::Tracker;
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::Body;
use crate::runtime::lock;

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
    Notice(Arc<Notice>),
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
}

pub struct Queue {
    limits: Limits,
    ingress: Sender<Entry>,
    egress: Receiver<Entry>,
    front: Mutex<Front>,
    available: Condvar,
    /// Threads that wait on `available`.
    waiting: AtomicUsize,
    /// Events that can be taken, DROPPED ones included.
    events: AtomicUsize,
    messages: AtomicUsize,
    bytes: AtomicUsize,
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
}

impl Queue {
    pub fn new(limits: Limits, room: Arc<Notify>) -> Arc<Self> {
        Self::tracked(limits, room, None)
    }

    pub fn tracked(limits: Limits, room: Arc<Notify>, tracker: Option<Arc<Tracker>>) -> Arc<Self> {
        let (ingress, egress) = unbounded();
        Arc::new_cyclic(|own| Self {
            limits,
            ingress,
            egress,
            front: Mutex::default(),
            available: Condvar::new(),
            waiting: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
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

    pub fn statistics(&self) -> QueueStatistics {
        QueueStatistics {
            queued: self.events.load(Ordering::SeqCst),
            queued_most: self.most.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    // ---- the producer's side: one thread at a time ----

    /// Takes in the messages `start..end` of a body, as far as the policy does.
    pub(super) fn push_messages(&self, body: &Arc<Body>, start: u32, end: u32) {
        if self.is_over() {
            return;
        }
        let fits = match self.limits.overflow {
            Overflow::DropNewest => self.fitting(body, start, end),
            _ => end,
        };
        let dropped = u64::from(end.saturating_sub(fits));
        // What is dropped is counted behind what was queued before, so nobody
        // may look in between.
        let front = (dropped > 0).then(|| lock(&self.front));
        if start < fits {
            self.send_dropped_newest();
            let count = (fits - start) as usize;
            self.messages.fetch_add(count, Ordering::SeqCst);
            self.bytes.fetch_add(count * body.share(), Ordering::SeqCst);
            self.send(
                Entry::Messages {
                    body: body.clone(),
                    next: start,
                    end: fits,
                },
                count,
            );
        }
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            if self.dropped_newest.fetch_add(dropped, Ordering::SeqCst) == 0 {
                self.events.fetch_add(1, Ordering::SeqCst);
            }
            self.came();
        }
        drop(front);
        if self.limits.overflow == Overflow::DropOldest {
            self.drop_oldest();
        }
    }

    /// Where the part of `start..end` ends that still fits. An empty queue
    /// takes one message of any size.
    fn fitting(&self, body: &Body, start: u32, end: u32) -> u32 {
        let mut messages = self.messages.load(Ordering::SeqCst);
        let mut bytes = self.bytes.load(Ordering::SeqCst);
        for index in start..end {
            messages += 1;
            bytes += body.share();
            if messages > 1 && (messages > self.limits.events || bytes > self.limits.bytes) {
                return index;
            }
        }
        end
    }

    pub(super) fn push_notice(&self, notice: &Arc<Notice>) {
        if self.is_over() {
            return;
        }
        self.send_dropped_newest();
        self.bytes.fetch_add(notice.size(), Ordering::SeqCst);
        let last = matches!(**notice, Notice::Closed);
        self.send(Entry::Notice(notice.clone()), 1);
        if last {
            self.ended.store(true, Ordering::SeqCst);
            self.wake_all();
        }
    }

    /// No entry comes any more, not even CLOSED: for a receiver that was made
    /// after it.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.detached.load(Ordering::SeqCst)
    }

    fn send_dropped_newest(&self) {
        let dropped = self.dropped_newest.swap(0, Ordering::SeqCst);
        if dropped > 0 {
            // It was counted as an event when the first of them was dropped.
            let _ = self.ingress.send(Entry::Dropped(dropped));
        }
    }

    fn send(&self, entry: Entry, events: usize) {
        let queued = self.events.fetch_add(events, Ordering::SeqCst) + events;
        self.most.fetch_max(queued, Ordering::Relaxed);
        // The queue holds the other end, so the channel is never closed.
        let _ = self.ingress.send(entry);
        self.came();
    }

    /// Something has come. The descriptor tells so at once; sleeping threads are
    /// woken by [`Self::wake_sleepers`].
    fn came(&self) {
        self.readiness.update(|| self.has_something());
        self.sleepers_wait.store(true, Ordering::SeqCst);
    }

    /// Wakes who waits for what has come since the last time. Apart from it, so
    /// that the I/O thread can send the next request first: on a busy machine
    /// the thread that is woken takes over the processor.
    pub(super) fn wake_sleepers(&self) {
        if !self.sleepers_wait.swap(false, Ordering::SeqCst) {
            return;
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // With the lock: a thread is either asleep or has yet to look.
            drop(lock(&self.front));
            self.available.notify_one();
        }
        if self.has_callback.load(Ordering::SeqCst) {
            self.schedule();
        }
    }

    fn wake_all(&self) {
        drop(lock(&self.front));
        self.available.notify_all();
        self.readiness.update(|| self.has_something());
    }

    fn drop_oldest(&self) {
        let over = |queue: &Self| {
            let messages = queue.messages.load(Ordering::SeqCst);
            messages > 1
                && (messages > queue.limits.events
                    || queue.bytes.load(Ordering::SeqCst) > queue.limits.bytes)
        };
        if !over(self) {
            return;
        }
        let mut front = lock(&self.front);
        while over(self) {
            let Some((body, next, end)) = front.current.take() else {
                match self.egress.try_recv() {
                    Ok(Entry::Messages { body, next, end }) => {
                        front.current = Some((body, next, end));
                    }
                    Ok(Entry::Dropped(dropped)) => self.pass_dropped(&mut front, dropped, true),
                    Ok(notice) => front.passed.push_back(notice),
                    Err(_) => break,
                }
                continue;
            };
            self.messages.fetch_sub(1, Ordering::SeqCst);
            self.bytes.fetch_sub(body.share(), Ordering::SeqCst);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.events.fetch_sub(1, Ordering::SeqCst);
            self.pass_dropped(&mut front, 1, false);
            if next + 1 < end {
                front.current = Some((body, next + 1, end));
            }
        }
    }

    /// Adds to the count of dropped messages at the end of what was passed over.
    fn pass_dropped(&self, front: &mut Front, dropped: u64, counted: bool) {
        if let Some(Entry::Dropped(sum)) = front.passed.back_mut() {
            *sum += dropped;
            if counted {
                self.events.fetch_sub(1, Ordering::SeqCst);
            }
        } else {
            front.passed.push_back(Entry::Dropped(dropped));
            if !counted {
                self.events.fetch_add(1, Ordering::SeqCst);
            }
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
        if self.is_over() {
            return true;
        }
        let events = self.events.load(Ordering::SeqCst);
        match self.limits.overflow {
            Overflow::Block => {
                events < self.limits.events && self.bytes.load(Ordering::SeqCst) < self.limits.bytes
            }
            // What is never dropped is bounded by waiting, whatever the policy.
            _ => {
                let notices = events.saturating_sub(self.messages.load(Ordering::SeqCst));
                notices < self.limits.events.max(MINIMUM_NOTICES)
            }
        }
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
            Entry::Notice(notice) => {
                taken.bytes += notice.size();
                if matches!(*notice, Notice::Closed) {
                    // Whoever asks after this one is told so.
                    self.ended.store(true, Ordering::SeqCst);
                }
                Event::Notice(notice)
            }
            Entry::Dropped(dropped) => Event::Dropped(dropped),
        })
    }

    // ---- callbacks ----

    /// Installs, replaces or removes the callback. The one before is dropped
    /// when its last call has returned.
    pub fn set_callback(&self, callback: Option<(Callback, Arc<Dispatcher>)>) {
        let (callback, dispatcher) = callback.unzip();
        let mut next = Installed {
            callback: callback.map(Arc::new),
            dispatcher,
        };
        let present = {
            let mut installed = lock(&self.callback);
            if self.detached.load(Ordering::SeqCst) {
                next = Installed::default();
            }
            std::mem::swap(&mut *installed, &mut next);
            let present = installed.callback.is_some();
            self.has_callback.store(present, Ordering::SeqCst);
            present
        };
        // Not under the lock: dropping it runs the host's free function.
        drop(next);
        if present {
            // Who polls is told that the callback gets the events.
            drop(lock(&self.front));
            self.available.notify_all();
            if self.has_something() {
                self.schedule();
            }
        }
    }

    pub fn has_callback(&self) -> bool {
        self.has_callback.load(Ordering::SeqCst)
    }

    pub(super) fn callback(&self) -> Option<Arc<Callback>> {
        lock(&self.callback).callback.clone()
    }

    fn schedule(&self) {
        if self.scheduled.swap(true, Ordering::SeqCst) {
            return;
        }
        let dispatcher = lock(&self.callback).dispatcher.clone();
        match (self.own.upgrade(), dispatcher) {
            (Some(own), Some(dispatcher)) => dispatcher.submit(own),
            _ => self.scheduled.store(false, Ordering::SeqCst),
        }
    }

    /// The dispatcher has called with some events and lets go.
    pub(super) fn unschedule(&self) {
        self.scheduled.store(false, Ordering::SeqCst);
        if self.has_callback() && self.has_something() {
            self.schedule();
        }
    }

    /// Takes one event for the callback.
    pub(super) fn take(&self) -> Option<Event> {
        let mut taken = Taken::default();
        let mut front = lock(&self.front);
        let event = self.next(&mut front, &mut taken);
        self.account(&taken);
        drop(front);
        if event.is_some() {
            self.taken(&taken, false);
        }
        event
    }

    /// The receiver is freed: nothing is given out any more, waiting polls
    /// return, and the callback goes with its last call.
    pub fn detach(&self) {
        self.detached.store(true, Ordering::SeqCst);
        self.set_callback(None);
        let mut taken = Taken::default();
        let mut front = lock(&self.front);
        while self.next(&mut front, &mut taken).is_some() {}
        self.account(&taken);
        drop(front);
        self.wake_all();
        self.room.notify_one();
    }
}

/// How often a poll looks again for an event that is counted and not yet there:
/// a matter of some instructions, unless the producer was interrupted in them.
const PATIENCE: u32 = 10_000;

/// Notices are never dropped; a queue holds at least so many before the
/// client waits for the host.
const MINIMUM_NOTICES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn body(count: usize, pad: usize) -> Arc<Body> {
        let messages: Vec<_> = (0..count)
            .map(|n| format!(r#"{{"channel":"/x","data":"{n}{}"}}"#, "p".repeat(pad)))
            .collect();
        Arc::new(Body::parse(format!("[{}]", messages.join(",")).into_bytes()).unwrap())
    }

    fn queue(overflow: Overflow, events: usize, bytes: usize) -> Arc<Queue> {
        Queue::new(
            Limits {
                events,
                bytes,
                overflow,
            },
            Arc::new(Notify::new()),
        )
    }

    fn state() -> Arc<Notice> {
        Arc::new(Notice::State {
            state: crate::session::State::Connected,
            previous: crate::session::State::Connecting,
            ext: None,
        })
    }

    /// Everything in the queue, shortly: data of messages, `s` for notices,
    /// `-n` for n dropped.
    fn drain(queue: &Queue) -> Vec<String> {
        let mut all = Vec::new();
        while let Polled::Event(event) = queue.poll(Some(Duration::ZERO)) {
            all.push(match event {
                Event::Message(message) | Event::Tracked(message, _) => {
                    let data = message.get().unwrap().data().unwrap();
                    data.trim_matches(|c| c == '"' || c == 'p').to_owned()
                }
                Event::Notice(_) => "s".to_owned(),
                Event::Dropped(dropped) => format!("-{dropped}"),
            });
        }
        assert!(!queue.has_something());
        assert_eq!(queue.bytes.load(Ordering::SeqCst), 0);
        assert_eq!(queue.messages.load(Ordering::SeqCst), 0);
        all
    }

    #[test]
    fn block_keeps_everything_and_says_when_there_is_room_contract_8() {
        let queue = queue(Overflow::Block, 3, 1_000_000);
        assert!(queue.has_room());
        queue.push_messages(&body(5, 0), 0, 5);
        assert!(!queue.has_room());
        for _ in 0..2 {
            queue.poll(Some(Duration::ZERO));
        }
        assert!(!queue.has_room());
        assert_eq!(drain(&queue), ["2", "3", "4"]);
        assert!(queue.has_room());
    }

    #[test]
    fn block_is_bounded_in_bytes_too_contract_8() {
        let queue = queue(Overflow::Block, 1_000, 300);
        queue.push_messages(&body(1, 100), 0, 1);
        assert!(queue.has_room());
        queue.push_messages(&body(1, 100), 0, 1);
        assert!(!queue.has_room());
    }

    #[test]
    fn drop_oldest_counts_exactly_and_keeps_notices_contract_8() {
        let queue = queue(Overflow::DropOldest, 3, 1_000_000);
        queue.push_notice(&state());
        queue.push_messages(&body(2, 0), 0, 2);
        queue.push_notice(&state());
        queue.push_messages(&body(10, 0), 0, 2);
        queue.push_messages(&body(10, 0), 2, 4);
        assert_eq!(drain(&queue), ["s", "-2", "s", "-1", "1", "2", "3"]);
        queue.push_messages(&body(10, 0), 0, 10);
        assert_eq!(drain(&queue), ["-7", "7", "8", "9"]);
    }

    #[test]
    fn drop_oldest_takes_from_a_run_half_given_out_contract_8() {
        let queue = queue(Overflow::DropOldest, 4, 1_000_000);
        queue.push_messages(&body(4, 0), 0, 4);
        queue.poll(Some(Duration::ZERO));
        queue.push_messages(&body(10, 0), 7, 10);
        assert_eq!(drain(&queue), ["-2", "3", "7", "8", "9"]);
    }

    #[test]
    fn drop_newest_counts_exactly_at_its_place_contract_8() {
        let queue = queue(Overflow::DropNewest, 3, 1_000_000);
        queue.push_messages(&body(5, 0), 0, 5);
        queue.push_messages(&body(5, 0), 0, 5);
        queue.push_notice(&state());
        queue.push_messages(&body(1, 0), 0, 1);
        assert_eq!(drain(&queue), ["0", "1", "2", "-7", "s", "-1"]);
        queue.push_messages(&body(1, 0), 0, 1);
        assert_eq!(drain(&queue), ["0"]);
    }

    #[test]
    fn one_message_larger_than_the_queue_still_passes_contract_8() {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Block] {
            let queue = queue(overflow, 10, 50);
            queue.push_messages(&body(1, 1_000), 0, 1);
            assert_eq!(drain(&queue), ["0"], "{overflow:?}");
        }
    }

    #[test]
    fn a_flood_that_is_not_read_takes_bounded_memory_167() {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let queue = queue(overflow, 10, 10_000);
            let body = body(100, 500);
            for _ in 0..1_000 {
                queue.push_messages(&body, 0, 100);
            }
            assert!(queue.bytes.load(Ordering::SeqCst) <= 10_000);
            let mut messages = 0;
            let mut dropped = 0;
            while let Polled::Event(event) = queue.poll(Some(Duration::ZERO)) {
                match event {
                    Event::Message(_) | Event::Tracked(..) => messages += 1,
                    Event::Dropped(n) => dropped += n,
                    Event::Notice(_) => unreachable!(),
                }
            }
            assert_eq!(messages + dropped, 100_000, "{overflow:?}");
        }
    }

    #[test]
    fn notices_that_nobody_reads_make_the_client_wait_contract_8() {
        let queue = queue(Overflow::DropOldest, 10, 10_000);
        for _ in 0..MINIMUM_NOTICES {
            assert!(queue.has_room());
            queue.push_notice(&state());
        }
        assert!(!queue.has_room());
        assert_eq!(drain(&queue).len(), MINIMUM_NOTICES);
        assert!(queue.has_room());
    }

    #[test]
    fn closed_is_the_last_event_and_then_poll_says_so_contract_9() {
        let queue = queue(Overflow::Block, 10, 10_000);
        queue.push_notice(&Arc::new(Notice::Closed));
        queue.push_notice(&state());
        queue.push_messages(&body(1, 0), 0, 1);
        assert_eq!(drain(&queue), ["s"]);
        assert!(matches!(queue.poll(None), Polled::Closed));
        assert!(matches!(queue.poll(Some(Duration::ZERO)), Polled::Closed));
    }

    #[test]
    fn several_threads_share_one_queue_and_each_event_goes_to_one_contract_1() {
        let queue = queue(Overflow::Block, 1_000_000, usize::MAX);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                std::thread::spawn(move || {
                    let mut seen = Vec::new();
                    loop {
                        match queue.poll(None) {
                            Polled::Event(Event::Message(message)) => {
                                seen.push(message.get().unwrap().data().unwrap().to_owned())
                            }
                            Polled::Closed => return seen,
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        let body = body(1_000, 0);
        for start in (0..1_000).step_by(10) {
            queue.push_messages(&body, start, start + 10);
            queue.wake_sleepers();
        }
        queue.push_notice(&Arc::new(Notice::Closed));
        let mut all: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1_000);
    }

    #[test]
    fn the_fd_is_readable_exactly_while_there_is_something() {
        let readable = |fd| {
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            unsafe { libc::poll(&mut poll, 1, 0) == 1 }
        };
        let queue = queue(Overflow::DropNewest, 2, 10_000);
        queue.push_notice(&state());
        let fd = queue.fd().unwrap();
        assert!(readable(fd));
        queue.push_messages(&body(5, 0), 0, 5);
        for left in [3, 2, 1] {
            assert!(readable(fd), "{left}");
            queue.poll(Some(Duration::ZERO));
        }
        assert!(readable(fd), "the count of the dropped");
        queue.poll(Some(Duration::ZERO));
        assert!(!readable(fd));
        queue.push_notice(&Arc::new(Notice::Closed));
        assert!(readable(fd));
        queue.poll(Some(Duration::ZERO));
        assert!(!readable(fd));
    }

    #[test]
    fn a_body_is_counted_with_all_that_it_keeps_in_memory_contract_8() {
        let queue = queue(Overflow::Block, 1_000, 100_000);
        let text = format!(
            r#"[{{"junk":"{}"}},{{"channel":"/x","data":1}}]"#,
            "j".repeat(60_000)
        );
        for room in [true, true, false] {
            assert_eq!(queue.has_room(), room);
            let body = Arc::new(Body::parse(text.clone().into_bytes()).unwrap());
            queue.push_messages(&body, 0, 1);
        }
        assert_eq!(drain(&queue).len(), 3);
    }

    #[test]
    fn callbacks_that_are_set_and_removed_at_once_leave_a_clear_state() {
        let dispatcher = Arc::new(Dispatcher::start().unwrap());
        for _ in 0..200 {
            let queue = queue(Overflow::Block, 10, 10_000);
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    let (queue, dispatcher) = (queue.clone(), dispatcher.clone());
                    std::thread::spawn(move || {
                        let callback: Callback = Box::new(|_| {});
                        queue.set_callback((n % 2 == 0).then_some((callback, dispatcher)));
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(queue.has_callback(), queue.callback().is_some());
            queue.detach();
            assert!(!queue.has_callback());
            queue.set_callback(Some((Box::new(|_| {}), dispatcher.clone())));
            assert!(!queue.has_callback(), "a freed receiver takes none");
        }
    }

    #[test]
    fn a_poll_that_waits_is_told_of_the_callback() {
        let queue = queue(Overflow::Block, 10, 10_000);
        let poller = {
            let queue = queue.clone();
            std::thread::spawn(move || matches!(queue.poll(None), Polled::HasCallback))
        };
        while queue.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let dispatcher = Arc::new(Dispatcher::start().unwrap());
        queue.set_callback(Some((Box::new(|_| {}), dispatcher)));
        assert!(poller.join().unwrap());
    }

    #[test]
    fn a_freed_receiver_lets_its_pollers_go() {
        let queue = queue(Overflow::Block, 10, 10_000);
        let poller = {
            let queue = queue.clone();
            std::thread::spawn(move || matches!(queue.poll(None), Polled::Closed))
        };
        while queue.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        queue.detach();
        assert!(poller.join().unwrap());
    }
}
