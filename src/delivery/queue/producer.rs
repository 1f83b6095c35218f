//! The side of the queue at which entries come in: one thread at a time.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{Current, Entry, Front, Queue, Taken};
use crate::bayeux::Body;
use crate::delivery::event::{Notice, Unread};
use crate::delivery::limits::Overflow;
use crate::runtime::lock;

impl Queue {
    /// Takes in the messages `start..end` of a body, as far as the policy does.
    pub(in crate::delivery) fn push_messages(&self, body: &Arc<Body>, start: u32, end: u32) {
        if self.is_over() || !self.takes(None) {
            return;
        }
        let mut fits = end;
        let mut front = None;
        if self.limits.overflow == Overflow::DropNewest {
            fits = self.fitting(body, start, end);
            if fits < end {
                // What is dropped is counted behind what was queued before, so
                // nobody may look in between.
                front = Some(self.settled());
                fits = self.fitting(body, start, end);
            }
        }
        let dropped = u64::from(end.saturating_sub(fits));
        let mut queued = 0;
        if start < fits {
            self.send_dropped_newest();
            let count = (fits - start) as usize;
            self.messages.fetch_add(count, Ordering::SeqCst);
            self.bytes.fetch_add(count * body.share(), Ordering::SeqCst);
            let body = body.clone();
            let end = fits;
            queued = self.send(Entry::Messages { body, start, end }, count);
        }
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            if self.dropped_newest.fetch_add(dropped, Ordering::SeqCst) == 0 {
                self.events.fetch_add(1, Ordering::SeqCst);
            }
            self.came();
        }
        drop(front);
        self.note_most(queued);
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

    pub(in crate::delivery) fn push_notice(
        &self,
        notice: &Arc<Notice>,
        unread: Option<&Arc<Unread>>,
    ) {
        if self.is_over() || !self.takes(Some(notice)) {
            return;
        }
        self.send_dropped_newest();
        self.notice_bytes.fetch_add(notice.size(), Ordering::SeqCst);
        if notice.is_outcome() {
            self.outcomes.fetch_add(1, Ordering::SeqCst);
        }
        let last = matches!(**notice, Notice::Closed);
        let queued = self.send(Entry::Notice(notice.clone(), unread.cloned()), 1);
        self.note_most(queued);
        if last {
            self.ended.store(true, Ordering::SeqCst);
            self.wake_all();
        }
    }

    /// No entry comes any more, not even CLOSED: for a receiver that was made
    /// after it.
    pub(in crate::delivery) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    fn send_dropped_newest(&self) {
        let dropped = self.dropped_newest.swap(0, Ordering::SeqCst);
        if dropped > 0 {
            // It was counted as an event when the first of them was dropped.
            self.line.put(Entry::Dropped(dropped));
        }
    }

    /// Returns how many are queued, with those that a callback has claimed.
    fn send(&self, entry: Entry, events: usize) -> usize {
        let queued = self.events.fetch_add(events, Ordering::SeqCst) + events;
        self.line.put(entry);
        self.came();
        queued
    }

    /// Keeps what was returned by [`Self::send`], without the claimed ones.
    fn note_most(&self, queued: usize) {
        if queued <= self.most.load(Ordering::Relaxed) {
            return;
        }
        let mut taken = Taken::default();
        if self.has_callback() {
            let mut front = lock(&self.front);
            front.collect(&mut taken);
            self.account(&taken);
        }
        let queued = queued.saturating_sub(taken.events);
        self.most.fetch_max(queued, Ordering::Relaxed);
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
    pub(in crate::delivery) fn wake_sleepers(&self) {
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
        self.wake_host();
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
        let mut front = self.settled();
        while over(self) {
            let Some(mut current) = front.current.take() else {
                match self.line.take() {
                    Some(Entry::Messages { body, start, end }) => {
                        front.current = Some(Current::new(body, start, end));
                    }
                    Some(Entry::Dropped(dropped)) => self.pass_dropped(&mut front, dropped, true),
                    Some(notice) => front.passed.push_back(notice),
                    None => break,
                }
                continue;
            };
            // All of it, and what stays becomes another run: a callback that goes
            // on in this one has to come by what was dropped.
            let rest = current.run.claim_rest();
            let mut taken = Taken::default();
            current.collect(rest.start, &mut taken);
            self.account(&taken);
            let body = current.run.body();
            let end = rest.end;
            for index in rest {
                if !over(self) {
                    front.current = Some(Current::new(body.clone(), index, end));
                    break;
                }
                self.messages.fetch_sub(1, Ordering::SeqCst);
                self.bytes.fetch_sub(body.share(), Ordering::SeqCst);
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.events.fetch_sub(1, Ordering::SeqCst);
                self.pass_dropped(&mut front, 1, false);
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
}
