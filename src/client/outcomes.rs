//! Outcomes that are still to be told, and who waits for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::delivery::{FailedPublishes, Notice};
use crate::error::{Error, ErrorKind, Phase};
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
    /// How many outcomes are to come of calls with more than one.
    several: BTreeMap<OperationId, usize>,
    /// Publishes that failed, and no flush has told so.
    failed: usize,
    flushes: Vec<Flush>,
    last_flush: u64,
    /// Flushes that an event ends.
    told_flushes: Vec<ToldFlush>,
    /// How many had failed when an end was asked for whose failures an event tells.
    ending: Option<FailedPublishes>,
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

    /// How a flush that begins now stands: it tells what no other has told.
    fn now(&mut self) -> Left {
        Left {
            messages: self.left,
            failed: std::mem::take(&mut self.rare().failed),
            ended: false,
        }
    }
}

struct Flush {
    number: u64,
    /// The last operation that it waits for.
    last: OperationId,
    left: Left,
}

/// A flush that is not waited for: an event tells its end.
pub(super) struct ToldFlush {
    id: OperationId,
    opaque: usize,
    left: Left,
}

impl ToldFlush {
    pub(super) fn into_notice(self, client: &Arc<str>) -> Notice {
        let refuse = |kind, why| Some(Error::new(kind, Phase::Publish, why).of(client));
        let error = match self.left {
            Left { messages: 1.., .. } => refuse(
                ErrorKind::Aborted,
                "flush: the client has ended, and not all have an outcome".to_owned(),
            ),
            Left { failed: 0, .. } => None,
            Left { failed, .. } => refuse(
                ErrorKind::Undelivered,
                format!("flush: {}", undelivered(failed)),
            ),
        };
        Notice::Flushed {
            id: self.id,
            opaque: self.opaque,
            error,
        }
    }
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

impl Left {
    fn outcome(&mut self, failed: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.failed = self.failed.saturating_add(failed);
    }
}

impl Outcomes {
    /// Under the lock under which operations get their ids; so is [`Self::begin`].
    pub(super) fn accepted(&self, id: OperationId, messages: usize) {
        let mut entries = lock(&self.entries);
        entries.left = entries.left.saturating_add(messages);
        if messages > 1 {
            entries.rare().several.insert(id, messages);
        }
    }

    /// Whether this outcome, which is about to be told, is the last one of its call.
    pub(super) fn is_last(&self, outcome: Option<(OperationId, bool)>) -> bool {
        let Some((id, _)) = outcome else {
            return false;
        };
        let mut entries = lock(&self.entries);
        let Some(rare) = &mut entries.rare else {
            return true;
        };
        let Some(left) = rare.several.get_mut(&id) else {
            return true;
        };
        *left = left.saturating_sub(1);
        let is_last = *left == 0;
        if is_last {
            rare.several.remove(&id);
        }
        is_last
    }

    /// The outcome of a message was told. Returns the flushes that are to be told with it.
    pub(super) fn told(&self, outcome: Option<(OperationId, bool)>) -> Vec<ToldFlush> {
        let Some((id, failed_publish)) = outcome else {
            return Vec::new();
        };
        let mut entries = lock(&self.entries);
        entries.left = entries.left.saturating_sub(1);
        if entries.rare.is_none() && !failed_publish {
            return Vec::new();
        }
        let rare = entries.rare();
        let failed = usize::from(failed_publish);
        let mut is_waited_for = false;
        let mut is_over = false;
        for flush in rare.flushes.iter_mut().filter(|it| id <= it.last) {
            is_waited_for = true;
            flush.left.outcome(failed);
            is_over |= flush.left.messages == 0;
        }
        for flush in rare.told_flushes.iter_mut().filter(|it| id < it.id) {
            is_waited_for = true;
            flush.left.outcome(failed);
        }
        if !is_waited_for {
            rare.failed = rare.failed.saturating_add(failed);
        }
        let over = rare
            .told_flushes
            .iter()
            .take_while(|it| it.left.messages == 0);
        let over = over.count();
        // The first are over before the later ones.
        let over = rare.told_flushes.drain(..over).collect();
        drop(entries);
        if is_over {
            self.changed.notify_all();
        }
        over
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

    /// No outcome comes any more. Returns the flushes that are to be told with that.
    pub(super) fn end(&self) -> Vec<ToldFlush> {
        let mut entries = lock(&self.entries);
        let rare = entries.rare();
        rare.ended = true;
        let left = std::mem::take(&mut rare.told_flushes);
        drop(entries);
        self.changed.notify_all();
        left
    }

    /// A flush of all operations before this one, for an event to tell. Returned, it is to
    /// be told at once.
    pub(super) fn begin_told(&self, id: OperationId, opaque: usize) -> Option<ToldFlush> {
        let mut entries = lock(&self.entries);
        let left = entries.now();
        let rare = entries.rare();
        let flush = ToldFlush { id, opaque, left };
        if left.messages == 0 {
            return Some(flush);
        }
        rare.told_flushes.push(flush);
        None
    }

    /// The host has asked for the end when so many had failed. The first time counts.
    pub(super) fn ending(&self, failed: FailedPublishes) {
        lock(&self.entries).rare().ending.get_or_insert(failed);
    }

    /// What the host is to hear at that end, when so many have failed.
    pub(super) fn in_vain(&self, failed: FailedPublishes) -> Option<Error> {
        let before = lock(&self.entries).rare().ending.take()?;
        let since = failed.all.saturating_sub(before.all);
        let failed = since.saturating_add(before.unread);
        (failed > 0).then(|| undelivered_at_end(failed))
    }

    /// A flush of all operations up to this one; it is to be waited for.
    pub(super) fn begin(&self, last: OperationId) -> u64 {
        let mut entries = lock(&self.entries);
        let left = entries.now();
        let rare = entries.rare();
        rare.last_flush = rare.last_flush.wrapping_add(1);
        let number = rare.last_flush;
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

pub(super) fn undelivered(failed: usize) -> String {
    let messages = if failed == 1 { "message" } else { "messages" };
    format!("{failed} {messages} that publish had accepted failed; the events say why")
}

pub(super) fn undelivered_at_end(failed: usize) -> Error {
    let why = undelivered(failed);
    Error::new(
        ErrorKind::Undelivered,
        Phase::Disconnect,
        format!("disconnect: the session has ended, but {why}"),
    )
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
        outcomes.accepted(1, 2);
        let flush = outcomes.begin(1);
        outcomes.accepted(1, 1);
        outcomes.told(Some((2, true)));
        outcomes.told(Some((1, false)));
        assert_eq!(outcomes.wait(outcomes.begin(2), NOW), left(1, 1));
        outcomes.told(Some((1, false)));
        assert_eq!(outcomes.wait(flush, None), left(0, 0));
    }

    #[test]
    fn a_failure_is_told_by_one_flush_that_comes_to_its_end() {
        let outcomes = Outcomes::default();
        outcomes.accepted(1, 3);
        outcomes.told(Some((1, true)));
        let flush = outcomes.begin(3);
        outcomes.told(Some((2, true)));
        assert_eq!(outcomes.wait(flush, NOW), left(1, 2));
        outcomes.told(Some((3, false)));
        assert_eq!(outcomes.wait(outcomes.begin(3), NOW), left(0, 2));
        assert_eq!(outcomes.wait(outcomes.begin(3), NOW), left(0, 0));
    }

    #[test]
    fn a_flush_that_an_event_tells_is_over_with_the_last_outcome_before_it() {
        let outcomes = Outcomes::default();
        let over = |flushes: Vec<ToldFlush>| -> Vec<(OperationId, usize, Left)> {
            let seen = flushes.into_iter().map(|it| (it.id, it.opaque, it.left));
            seen.collect()
        };
        let at_once = outcomes.begin_told(1, 7).into_iter().collect();
        assert_eq!(over(at_once), [(1, 7, left(0, 0))]);
        outcomes.accepted(1, 2);
        assert!(outcomes.begin_told(4, 8).is_none());
        outcomes.accepted(1, 1);
        assert!(outcomes.begin_told(6, 9).is_none());
        assert_eq!(over(outcomes.told(Some((5, false)))), []);
        assert_eq!(over(outcomes.told(Some((2, true)))), []);
        let last = over(outcomes.told(Some((3, false))));
        assert_eq!(last, [(4, 8, left(0, 1)), (6, 9, left(0, 1))]);
        outcomes.accepted(1, 1);
        assert!(outcomes.begin_told(8, 1).is_none());
        assert_eq!(over(outcomes.end()), [(8, 1, left(1, 0))]);
    }

    #[test]
    fn of_several_outcomes_of_a_call_the_last_one_ends_it() {
        let outcomes = Outcomes::default();
        outcomes.accepted(1, 1);
        assert!(outcomes.is_last(Some((1, false))));
        outcomes.accepted(2, 2);
        outcomes.accepted(3, 3);
        let ends = |id| outcomes.is_last(Some((id, true)));
        assert_eq!([3, 2, 3, 2, 3].map(ends), [false, false, false, true, true]);
        assert!(ends(4) && !outcomes.is_last(None));
        assert!(outcomes.end().is_empty());
    }

    #[test]
    fn an_end_tells_of_failures_since_and_of_those_that_nobody_has_read() {
        let outcomes = Outcomes::default();
        let failed = |all, unread| FailedPublishes { all, unread };
        assert_eq!(outcomes.in_vain(failed(3, 3)), None);
        outcomes.ending(failed(3, 0));
        assert_eq!(outcomes.in_vain(failed(3, 0)), None);
        outcomes.ending(failed(3, 2));
        outcomes.ending(failed(4, 3));
        let error = outcomes.in_vain(failed(4, 0)).unwrap();
        assert_eq!(error.kind, ErrorKind::Undelivered);
        assert!(error.message.contains("3 messages"), "{error}");
    }

    #[test]
    fn all_that_wait_hear_of_the_last_outcome_and_of_the_end() {
        let outcomes = Outcomes::default();
        outcomes.accepted(1, 2);
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
