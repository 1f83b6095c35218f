//! The callback that takes events instead of polls.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::run::Run;
use super::{Callback, Installed, Next, Queue, Taken};
use crate::delivery::dispatcher::{Dispatcher, Serve};
use crate::delivery::event::Event;
use crate::delivery::host::HostCode;
use crate::runtime::lock;
use crate::speaker::speak;

/// Events for one queue before the next queue's turn.
const TURN: usize = 64;

/// What was taken for the callback.
enum Lot {
    Event(Event),
    /// One message of a run; the further ones can be claimed without the lock.
    Run(Arc<Run>, u32),
}

impl Serve for Queue {
    fn serve(&self) {
        self.call();
        self.unschedule();
    }
}

impl Queue {
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
            self.installations.fetch_add(1, Ordering::SeqCst);
            present
        };
        // Not under the lock: dropping it runs the host's free function.
        drop(next);
        // What the one before has got is not there for polls.
        drop(self.settled());
        if present {
            // Who polls is told that the callback gets the events.
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

    pub(super) fn schedule(&self) {
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
    fn unschedule(&self) {
        self.scheduled.store(false, Ordering::SeqCst);
        if self.has_callback() && self.has_something() {
            self.schedule();
        }
    }

    /// Calls for the events of one turn.
    fn call(&self) {
        let _speaking = speak(&self.name);
        let mut left = TURN;
        while left > 0 {
            // Read first, so that it is never of a later one than the callback.
            let installation = self.installations.load(Ordering::SeqCst);
            let Some(callback) = self.callback() else {
                break;
            };
            let _in_callback = HostCode::enter();
            let is_empty = self.call_one(&callback, installation, &mut left);
            // The last use of a callback that was removed meanwhile runs the
            // host's free function; that, too, is the host's code.
            drop(callback);
            if is_empty {
                return;
            }
        }
        drop(self.settled());
        self.tell_of_taken();
    }

    /// Calls this callback while it is the installed one. Returns whether it ended
    /// because nothing is left, and all is accounted for.
    fn call_one(&self, callback: &Callback, installation: u64, left: &mut usize) -> bool {
        // Asked before each event: it may be replaced or removed in between.
        let goes_on =
            |left: usize| left > 0 && self.installations.load(Ordering::SeqCst) == installation;
        while goes_on(*left) {
            match self.take() {
                None => return true,
                Some(Lot::Event(event)) => {
                    *left -= 1;
                    contained(callback, event);
                }
                Some(Lot::Run(run, first)) => {
                    let mut claimed = Some(first);
                    while let Some(index) = claimed {
                        *left -= 1;
                        contained(callback, Event::Message(run.message(index)));
                        claimed = goes_on(*left).then(|| self.claim(&run)).flatten();
                    }
                }
            }
        }
        false
    }

    /// Takes one event for the callback, and the run that it is of.
    fn take(&self) -> Option<Lot> {
        let mut taken = Taken::default();
        let mut front = lock(&self.front);
        let lot = loop {
            match self.next(&mut front, &mut taken) {
                None => break None,
                Some(Next::Event(event)) => break Some(Lot::Event(event)),
                Some(Next::Messages(run)) => {
                    let Some(index) = run.claim(1).next() else {
                        continue;
                    };
                    // The lock is what makes the order in which they are followed.
                    break Some(match self.tracker {
                        Some(_) => Lot::Event(self.message(run.message(index))),
                        None => Lot::Run(run.clone(), index),
                    });
                }
            }
        };
        front.collect(&mut taken);
        self.account(&taken);
        drop(front);
        if taken.events > 0 {
            self.tell_of_taken();
        }
        lot
    }

    /// Takes the next message of a run, without the lock. What was taken so is
    /// accounted for later, all at once, or by whoever wants to know: see
    /// [`Self::settled`].
    fn claim(&self, run: &Run) -> Option<u32> {
        let index = run.claim(1).next()?;
        // Who waits for room, or for the descriptor to fall silent, cannot ask.
        if self.told_full.load(Ordering::SeqCst) || self.readiness.is_watched() {
            drop(self.settled());
            self.tell_of_taken();
        }
        Some(index)
    }

    /// The receiver is freed: nothing is given out any more, waiting polls
    /// return, and the callback goes with its last call.
    pub fn detach(&self) {
        self.detached.store(true, Ordering::SeqCst);
        self.set_callback(None);
        let mut thrown = Taken::default();
        let mut front = self.settled();
        while let Some(next) = self.next(&mut front, &mut thrown) {
            if let Next::Messages(run) = next {
                run.claim_rest();
            }
        }
        self.discount(&thrown);
        drop(front);
        self.wake_all();
        self.room.make();
    }
}

/// Calls the callback, which may panic.
fn contained(callback: &Callback, event: Event) {
    if catch_unwind(AssertUnwindSafe(|| callback(event))).is_err() {
        tracing::error!(target: "cometd::delivery", "a callback panicked");
    }
}

#[cfg(test)]
mod tests;
