//! Calls that are refused because too many are under way, and the room that there is
//! for them later.

use std::sync::atomic::Ordering;

use super::shared::Shared;
use crate::error::Error;

impl Shared {
    /// So many messages were refused: the error, and later room, is told once for many.
    pub(super) fn refuse(&self, messages: usize, mut error: Error) -> Error {
        self.outcomes.refused();
        // What never fits is told each time.
        if messages <= self.commands_capacity {
            error.repeated = self.outcomes.waits_for_room();
            let room = messages.max(self.commands_capacity / 4);
            let taken = self.commands_capacity.saturating_sub(room);
            self.hub.promise_room(taken.saturating_add(1));
            // It may have been made meanwhile.
            self.commands_came.notify_one();
        }
        error
    }

    /// Tells of room for calls, if one was refused and now there is some.
    pub(super) fn tell_room(&self) {
        if !self.hub.has_promised() {
            return;
        }
        let outstanding = self.outstanding.load(Ordering::SeqCst);
        let mut refused = 0;
        // Calls that are refused after it wait for the next one.
        let count = || refused = self.outcomes.room();
        if self.hub.keep_promise(outstanding, count) {
            tracing::info!(target: "cometd::client", refused, "there is room for calls again");
        }
    }
}
