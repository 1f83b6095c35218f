//! The entries that wait in a queue, in the order in which they came.
//!
//! A lock and a ring, not a channel: an idle client has one of these, and a
//! channel without a bound keeps 1.5 KB for what it may have to carry.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::runtime::lock;

/// Room that is kept while there is nothing in it.
const KEPT: usize = 8;

pub(super) struct Line<T>(Mutex<VecDeque<T>>);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Line<T> {
    pub(super) fn put(&self, entry: T) {
        lock(&self.0).push_back(entry);
    }

    /// The oldest one. The last one of many takes their room with it.
    pub(super) fn take(&self) -> Option<T> {
        let mut entries = lock(&self.0);
        let entry = entries.pop_front();
        let is_over = entries.is_empty() && entries.capacity() > KEPT;
        let room = is_over.then(|| std::mem::take(&mut *entries));
        // Giving it back takes longer than the lock may be held.
        drop(entries);
        drop(room);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_many_leave_no_room_behind() {
        let line = Line::default();
        assert_eq!(line.take(), None);
        (0..10 * KEPT).for_each(|it| line.put(it));
        let taken: Vec<_> = std::iter::from_fn(|| line.take()).collect();
        assert_eq!(taken, (0..10 * KEPT).collect::<Vec<_>>());
        assert_eq!(lock(&line.0).capacity(), 0);
        (0..KEPT / 2).for_each(|it| line.put(it));
        while line.take().is_some() {}
        assert!(
            lock(&line.0).capacity() > 0,
            "what comes again needs no new room"
        );
    }
}
