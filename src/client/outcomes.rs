//! Outcomes that are still to be told, and who waits for them.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Phase;
use crate::runtime::lock;
use crate::session::{Event, OperationId};

#[derive(Default)]
pub(super) struct Outcomes {
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Default)]
struct Entries {
    /// Messages that were accepted and whose outcome was not told.
    left: usize,
    /// Most clients have none of it.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    /// Publishes that failed, and no flush has told so.
    failed: usize,
    flushes: Vec<Flush>,
    last_flush: u64,
    /// No outcome comes any more.
    ended: bool,
    /// Calls that were refused, and of them those since there last was room.
    refused: u64,
    refused_since: u64,
}

impl Entries {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

struct Flush {
    number: u64,
    /// The last operation that it waits for.
    last: OperationId,
    left: Left,
}

/// How a flush stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Messages without an outcome.
    pub messages: usize,
    /// Publishes that failed.
    pub failed: usize,
    /// Nothing changes any more.
    pub ended: bool,
}

impl Outcomes {
    /// Under the lock under which operations get their ids; so is [`Self::begin`].
    pub(super) fn accepted(&self, messages: usize) {
        let mut entries = lock(&self.entries);
        entries.left = entries.left.saturating_add(messages);
    }

    /// The outcome of a message was told.
    pub(super) fn told(&self, outcome: Option<(OperationId, bool)>) {
        let Some((id, failed_publish)) = outcome else {
            return;
        };
        let mut entries = lock(&self.entries);
        entries.left = entries.left.saturating_sub(1);
        if entries.rare.is_none() && !failed_publish {
            return;
        }
        let rare = entries.rare();
        let failed = usize::from(failed_publish);
        let mut is_waited_for = false;
        let mut is_over = false;
        for flush in rare.flushes.iter_mut().filter(|it| id <= it.last) {
            is_waited_for = true;
            flush.left.messages = flush.left.messages.saturating_sub(1);
            flush.left.failed = flush.left.failed.saturating_add(failed);
            is_over |= flush.left.messages == 0;
        }
        if !is_waited_for {
            rare.failed = rare.failed.saturating_add(failed);
        }
        drop(entries);
        if is_over {
            self.changed.notify_all();
        }
    }

    /// A call was refused.
    pub(super) fn refused(&self) {
        let mut entries = lock(&self.entries);
        let rare = entries.rare();
        rare.refused = rare.refused.saturating_add(1);
    }

    /// It waits for room; whether others do.
    pub(super) fn waits_for_room(&self) -> bool {
        let mut entries = lock(&self.entries);
        let rare = entries.rare();
        let before = rare.refused_since;
        rare.refused_since = before.saturating_add(1);
        before > 0
    }

    /// There is room; how many calls have waited for it.
    pub(super) fn room(&self) -> u64 {
        std::mem::take(&mut lock(&self.entries).rare().refused_since)
    }

    /// How many calls were refused.
    pub(super) fn count_refused(&self) -> u64 {
        let entries = lock(&self.entries);
        entries.rare.as_ref().map_or(0, |it| it.refused)
    }

    pub(super) fn end(&self) {
        lock(&self.entries).rare().ended = true;
        self.changed.notify_all();
    }

    /// A flush of all operations up to this one; it is to be waited for.
    pub(super) fn begin(&self, last: OperationId) -> u64 {
        let mut entries = lock(&self.entries);
        let messages = entries.left;
        let rare = entries.rare();
        rare.last_flush = rare.last_flush.wrapping_add(1);
        let number = rare.last_flush;
        let left = Left {
            messages,
            failed: std::mem::take(&mut rare.failed),
            ended: false,
        };
        rare.flushes.push(Flush { number, last, left });
        number
    }

    /// Waits until there is nothing left, or nothing more comes; `None` waits without
    /// limit.
    pub(super) fn wait(&self, number: u64, timeout: Option<Duration>) -> Left {
        let deadline = timeout.and_then(|it| Instant::now().checked_add(it));
        let mut entries = lock(&self.entries);
        loop {
            let rare = entries.rare();
            let ended = rare.ended;
            let place = rare.flushes.iter().position(|it| it.number == number);
            let left = place.and_then(|it| rare.flushes.get(it)).map(|it| it.left);
            let left = Left {
                ended,
                ..left.unwrap_or(Left {
                    messages: 0,
                    failed: 0,
                    ended,
                })
            };
            let time = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            let is_late = time.is_some_and(|it| it.is_zero());
            if left.messages == 0 || ended || is_late {
                if let Some(place) = place {
                    rare.flushes.swap_remove(place);
                }
                if left.messages > 0 && !ended {
                    // For the flush that tells how it ended.
                    rare.failed = rare.failed.saturating_add(left.failed);
                }
                return left;
            }
            entries = match time {
                None => self
                    .changed
                    .wait(entries)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    let waited = self.changed.wait_timeout(entries, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Which operation an event ends, and whether it is a publish that failed.
pub(super) fn outcome_of(event: &Event) -> Option<(OperationId, bool)> {
    match event {
        Event::Subscribed { renewed: true, .. } | Event::Error { id: 0, .. } => None,
        Event::Result { id, .. }
        | Event::Subscribed { id, .. }
        | Event::Unsubscribed { id, .. }
        | Event::Published { id, .. } => Some((*id, false)),
        Event::Error { id, error } => Some((*id, error.phase == Phase::Publish)),
        Event::Messages { .. } | Event::State { .. } | Event::Advice { .. } | Event::Closed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn left(messages: usize, failed: usize) -> Left {
        Left {
            messages,
            failed,
            ended: false,
        }
    }

    #[test]
    fn a_flush_waits_for_what_was_accepted_before_it_and_for_nothing_else() {
        let outcomes = Outcomes::default();
        assert_eq!(outcomes.wait(outcomes.begin(0), NOW), left(0, 0));
        outcomes.accepted(2);
        let flush = outcomes.begin(1);
        outcomes.accepted(1);
        outcomes.told(Some((2, true)));
        outcomes.told(Some((1, false)));
        assert_eq!(outcomes.wait(outcomes.begin(2), NOW), left(1, 1));
        outcomes.told(Some((1, false)));
        assert_eq!(outcomes.wait(flush, None), left(0, 0));
    }

    #[test]
    fn a_failure_is_told_by_one_flush_that_comes_to_its_end() {
        let outcomes = Outcomes::default();
        outcomes.accepted(3);
        outcomes.told(Some((1, true)));
        let flush = outcomes.begin(3);
        outcomes.told(Some((2, true)));
        assert_eq!(outcomes.wait(flush, NOW), left(1, 2));
        outcomes.told(Some((3, false)));
        assert_eq!(outcomes.wait(outcomes.begin(3), NOW), left(0, 2));
        assert_eq!(outcomes.wait(outcomes.begin(3), NOW), left(0, 0));
    }

    #[test]
    fn all_that_wait_hear_of_the_last_outcome_and_of_the_end() {
        let outcomes = Outcomes::default();
        outcomes.accepted(2);
        std::thread::scope(|threads| {
            let waits = [1, 2].map(|last| {
                let flush = outcomes.begin(last);
                let outcomes = &outcomes;
                threads.spawn(move || outcomes.wait(flush, None))
            });
            outcomes.told(Some((1, false)));
            outcomes.end();
            for wait in waits {
                assert!(wait.join().unwrap().ended);
            }
        });
    }
}
