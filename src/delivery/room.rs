//! Room that is waited for: by the client for more events, by the host for more calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub struct Room {
    made: Notify,
    /// The host was refused a call. It hears when less than this is taken; 0: it
    /// waits for nothing.
    below: AtomicUsize,
}

impl Room {
    /// Some was made.
    pub(super) fn make(&self) {
        self.made.notify_one();
    }

    pub(super) async fn made(&self) {
        self.made.notified().await;
    }

    /// The host is to hear when less than `below`, at least 1, is taken.
    pub(super) fn promise(&self, below: usize) {
        let least = |before: usize| match before {
            0 => below,
            before => before.min(below),
        };
        let _ = self
            .below
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| Some(least(it)));
    }

    pub(super) fn is_promised(&self) -> bool {
        self.below.load(Ordering::SeqCst) > 0
    }

    /// The host has read outcomes, and leaves so many.
    pub(super) fn read(&self, left: usize) {
        if left < self.below.load(Ordering::SeqCst) {
            self.make();
        }
    }

    /// Whether the host is to hear of it, once, now that so much is taken.
    pub(super) fn keep_promise(&self, taken: usize) -> bool {
        taken < self.below.load(Ordering::SeqCst) && self.below.swap(0, Ordering::SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_kept_once_and_when_there_is_room_for_all_that_was_refused() {
        let room = Room::default();
        assert!(!room.keep_promise(0));
        for below in [4, 2, 3] {
            room.promise(below);
        }
        assert!(room.is_promised());
        assert!(!room.keep_promise(2));
        assert!(room.keep_promise(1));
        assert!(!room.is_promised());
        assert!(!room.keep_promise(0));
    }
}
