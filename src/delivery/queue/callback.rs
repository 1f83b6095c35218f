//! The callback that takes events instead of polls.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{Callback, Installed, Queue, Taken};
use crate::delivery::dispatcher::{Dispatcher, Serve};
use crate::delivery::event::Event;
use crate::delivery::host::HostCode;
use crate::runtime::lock;
use crate::speaker::speak;

/// Events for one queue before the next queue's turn.
const TURN: usize = 64;

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

    /// Calls for the events of one turn.
    fn call(&self) {
        let _speaking = speak(&self.name);
        for _ in 0..TURN {
            // Asked for each event: it may be replaced or removed in between.
            let Some(callback) = self.callback() else {
                return;
            };
            let Some(event) = self.take() else { return };
            let _in_callback = HostCode::enter();
            if catch_unwind(AssertUnwindSafe(|| callback(event))).is_err() {
                tracing::error!(target: "cometd::delivery", "a callback panicked");
            }
            // The last use of a callback that was removed meanwhile runs the
            // host's free function; that, too, is the host's code.
            drop(callback);
        }
    }

    /// The dispatcher has called with some events and lets go.
    fn unschedule(&self) {
        self.scheduled.store(false, Ordering::SeqCst);
        if self.has_callback() && self.has_something() {
            self.schedule();
        }
    }

    /// Takes one event for the callback.
    fn take(&self) -> Option<Event> {
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

#[cfg(test)]
mod tests;
