//! Polls: the host's threads take events, and wait for them.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Front, Next, Polled, Queue, Taken};
use crate::delivery::event::Event;
use crate::runtime::lock;

/// How often a poll looks again for an event that is counted and not yet there:
/// a matter of some instructions, unless the producer was interrupted in them.
const PATIENCE: u32 = if cfg!(miri) { 100 } else { 10_000 };

impl Queue {
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
        let mut patience = PATIENCE;
        let mut front = lock(&self.front);
        loop {
            if self.has_callback() {
                return Polled::HasCallback;
            }
            let over = self.is_over();
            if self.take_each(&mut front, most, &mut take) > 0 {
                let more = self.has_something();
                drop(front);
                if more && self.waiting.load(Ordering::SeqCst) > 0 {
                    self.available.notify_one();
                }
                self.tell_of_taken();
                if !more {
                    self.emptied();
                }
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
                drop(front);
                break;
            }
            front = match self.wait(front, deadline) {
                Some(front) => front,
                None => break,
            };
        }
        // What is announced and not there yet is told of when it is.
        self.emptied();
        Polled::Nothing
    }

    /// Returns how many there were.
    fn take_each(&self, front: &mut Front, most: usize, take: &mut impl FnMut(Event)) -> usize {
        let (count, taken) = self.gather(front, most, take);
        self.account(&taken);
        count
    }

    /// The same; the account is left to the caller.
    pub(super) fn gather(
        &self,
        front: &mut Front,
        most: usize,
        take: &mut impl FnMut(Event),
    ) -> (usize, Taken) {
        let mut taken = Taken::default();
        let mut count = 0;
        while count < most {
            match self.next(front, &mut taken) {
                None => break,
                Some(Next::Event(event)) => {
                    take(event);
                    count += 1;
                }
                Some(Next::Messages(run)) => {
                    for index in run.claim(most - count) {
                        take(self.message(run.message(index)));
                        count += 1;
                    }
                }
            }
        }
        front.collect(&mut taken);
        (count, taken)
    }

    /// Sleeps until something may have come; `None` when the time is up.
    pub(super) fn wait<'a>(
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
}
