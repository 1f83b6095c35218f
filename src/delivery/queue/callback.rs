//! The callback: it takes events instead of polls, one or several at a time, or is
//! told that there are some.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::run::Run;
use super::{
    Callback, EventCallback, EventsCallback, Installed, Next, Occupied, Queue, Taken, WakeCallback,
};
use crate::delivery::dispatcher::{Dispatcher, Serve};
use crate::delivery::event::Event;
use crate::delivery::host::HostCode;
use crate::delivery::limits::Overflow;
use crate::runtime::lock;
use crate::speaker::speak;

/// Events for one queue before the next queue's turn.
const TURN: usize = 64;
/// Events for one call that takes several.
const MOST: usize = 256;

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
    /// Installs a callback, or replaces one of its kind, which is dropped when its
    /// last call has returned.
    pub fn install(&self, callback: Callback, dispatcher: Arc<Dispatcher>) -> Result<(), Occupied> {
        let next = Installed {
            callback: Some(Arc::new(callback)),
            dispatcher: Some(dispatcher),
        };
        if self.exchange(next, Callback::is_alike) {
            Ok(())
        } else {
            Err(Occupied)
        }
    }

    /// Removes the callback if it is of this kind.
    pub fn remove(&self, is_kind: impl Fn(&Callback) -> bool) {
        self.exchange(Installed::default(), |present, _| is_kind(present));
    }

    #[cfg(test)]
    pub fn set_callback(&self, callback: Option<(EventCallback, Arc<Dispatcher>)>) {
        match callback {
            Some((callback, dispatcher)) => {
                self.install(Callback::Event(callback), dispatcher).unwrap()
            }
            None => self.remove(|it| matches!(it, Callback::Event(_))),
        }
    }

    /// Returns whether it was done: the one that is there has to give way.
    fn exchange(
        &self,
        mut next: Installed,
        gives_way: impl Fn(&Callback, Option<&Callback>) -> bool,
    ) -> bool {
        {
            let mut installed = lock(&self.callback);
            if self.detached.load(Ordering::SeqCst) {
                next = Installed::default();
            }
            let present = installed.callback.as_deref();
            if present.is_some_and(|it| !gives_way(it, next.callback.as_deref())) {
                return false;
            }
            std::mem::swap(&mut *installed, &mut next);
            let callback = installed.callback.as_deref();
            let takes = callback.is_some_and(|it| !matches!(it, Callback::Wake(_)));
            self.has_callback.store(takes, Ordering::SeqCst);
            self.wake.set(matches!(callback, Some(Callback::Wake(_))));
            self.installations.fetch_add(1, Ordering::SeqCst);
        }
        // Not under the lock: dropping it runs the host's free function.
        drop(next);
        // What the one before has got is not there for polls.
        drop(self.settled());
        if self.has_callback() {
            // Who polls is told that the callback gets the events.
            self.available.notify_all();
            if self.has_something() {
                self.schedule();
            }
        } else if self.has_something() || self.is_over() {
            self.tell_host();
        }
        true
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
        if (self.has_callback() && self.has_something()) || self.wake.is_due() {
            self.schedule();
        }
    }

    /// Something has come, if nobody has taken it yet: who waits for a call is told.
    pub(super) fn wake_host(&self) {
        if self.has_something() {
            self.tell_host();
        }
    }

    /// A poll has left nothing, or found nothing: the next event is told of. One
    /// that has come in between was told to nobody.
    pub(super) fn emptied(&self) {
        if self.wake.arm() {
            self.wake_host();
        }
    }

    fn tell_host(&self) {
        if self.wake.make_due() {
            self.schedule();
        }
    }

    /// Calls for the events of one turn.
    pub(super) fn call(&self) {
        let _speaking = speak(&self.name);
        let mut left = TURN;
        while left > 0 {
            // Read first, so that it is never of a later one than the callback.
            let installation = self.installations.load(Ordering::SeqCst);
            let Some(callback) = self.callback() else {
                break;
            };
            let _in_callback = HostCode::enter();
            let is_empty = match &*callback {
                Callback::Event(it) => self.call_one(it, installation, &mut left),
                Callback::Events(it) => {
                    left = 0;
                    self.call_many(it)
                }
                Callback::Wake(it) => {
                    left = 0;
                    self.call_wake(it, installation);
                    false
                }
            };
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
    fn call_one(&self, callback: &EventCallback, installation: u64, left: &mut usize) -> bool {
        // Asked before each event: it may be replaced or removed in between.
        let goes_on =
            |left: usize| left > 0 && self.installations.load(Ordering::SeqCst) == installation;
        while goes_on(*left) {
            match self.take() {
                None => return true,
                Some(Lot::Event(event)) => {
                    *left -= 1;
                    contained(|| callback(event));
                }
                Some(Lot::Run(run, first)) => {
                    let mut claimed = Some(first);
                    while let Some(index) = claimed {
                        *left -= 1;
                        contained(|| callback(Event::Message(run.message(index))));
                        claimed = goes_on(*left).then(|| self.claim(&run)).flatten();
                    }
                }
            }
        }
        false
    }

    pub(super) fn call_wake(&self, callback: &WakeCallback, installation: u64) {
        if !self.wake.begin() {
            return;
        }
        if self.installations.load(Ordering::SeqCst) == installation {
            contained(callback);
        } else if self.wake.arm() {
            // It was due to another one, which has come meanwhile.
            self.tell_host();
        }
    }

    /// Calls once, with what is there. Returns whether nothing is.
    fn call_many(&self, callback: &EventsCallback) -> bool {
        let mut events = Vec::new();
        let mut front = lock(&self.front);
        let (_, mut taken) = self.gather(&mut front, MOST, &mut |event| events.push(event));
        // A client that waits for room waits until the host is done with them.
        let mut held = Taken::default();
        if self.limits.overflow == Overflow::Block {
            std::mem::swap(&mut held.messages, &mut taken.messages);
            std::mem::swap(&mut held.bytes, &mut taken.bytes);
        }
        self.account(&taken);
        drop(front);
        self.tell_of_taken();
        if events.is_empty() {
            self.discount(&held);
            return true;
        }
        contained(|| callback(events));
        self.discount(&held);
        self.tell_of_taken();
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
        self.remove(|_| true);
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

impl Callback {
    /// Whether it may take the place of the other one; `None` is a removal.
    pub(super) fn is_alike(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|it| std::mem::discriminant(self) == std::mem::discriminant(it))
    }
}

/// Calls the callback, which may panic.
fn contained(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!(target: "cometd::delivery", "a callback panicked");
    }
}

#[cfg(test)]
mod tests;
