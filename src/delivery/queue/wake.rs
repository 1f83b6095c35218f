//! Whether the host is to be told that there is something to poll.
//!
//! It is told once, and again when a poll has found nothing left.

use std::sync::atomic::{AtomicU8, Ordering};

/// Nobody wants to be told.
const OFF: u8 = 0;
/// The next event is told of.
const ARMED: u8 = 1;
/// A call is in line.
const DUE: u8 = 2;
/// The host knows, and has yet to take all.
const TOLD: u8 = 3;

#[derive(Default)]
pub(super) struct Wake(AtomicU8);

impl Wake {
    /// A callback was installed, or removed.
    pub(super) fn set(&self, wanted: bool) {
        self.0
            .store(if wanted { ARMED } else { OFF }, Ordering::SeqCst);
    }

    /// Nothing is left. Returns whether the next event was not told of until now.
    pub(super) fn arm(&self) -> bool {
        self.goes(TOLD, ARMED)
    }

    /// There is something. Returns whether the host is to be called.
    pub(super) fn make_due(&self) -> bool {
        self.goes(ARMED, DUE)
    }

    pub(super) fn is_due(&self) -> bool {
        self.0.load(Ordering::SeqCst) == DUE
    }

    /// The host is about to be called, if that is still due. What it leaves empty
    /// inside counts already.
    pub(super) fn begin(&self) -> bool {
        self.goes(DUE, TOLD)
    }

    fn goes(&self, from: u8, to: u8) -> bool {
        // Read first: most receivers have no such callback, and an exchange costs more.
        self.0.load(Ordering::SeqCst) == from
            && self
                .0
                .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

#[cfg(test)]
mod tests;
