//! Messages of one response that are given out one after the other. Each goes to
//! whoever claims it, without a lock: who stops in the middle leaves the rest
//! where it is, for the next one.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::bayeux::body::OwnedMessage;
use crate::bayeux::Body;

pub(super) struct Run {
    body: Arc<Body>,
    /// The first that nobody has claimed. Those who come too late count it on
    /// beyond the end; it has more bits than an index, so it never starts anew.
    next: AtomicU64,
    end: u32,
}

impl Run {
    pub(super) fn new(body: Arc<Body>, start: u32, end: u32) -> Self {
        Self {
            body,
            next: AtomicU64::new(start.into()),
            end,
        }
    }

    /// Claims up to `most` messages; none are left when there are fewer.
    pub(super) fn claim(&self, most: usize) -> Range<u32> {
        let left = self.end.saturating_sub(self.claimed());
        let count = u32::try_from(most).unwrap_or(u32::MAX).min(left);
        if count == 0 {
            return self.end..self.end;
        }
        let first = self.next.fetch_add(count.into(), Ordering::SeqCst);
        self.index(first)..self.index(first.saturating_add(count.into()))
    }

    /// Claims all that are left.
    pub(super) fn claim_rest(&self) -> Range<u32> {
        let first = self.next.swap(self.end.into(), Ordering::SeqCst);
        self.index(first)..self.end
    }

    /// Up to where messages are claimed.
    pub(super) fn claimed(&self) -> u32 {
        self.index(self.next.load(Ordering::SeqCst))
    }

    pub(super) fn end(&self) -> u32 {
        self.end
    }

    pub(super) fn body(&self) -> &Arc<Body> {
        &self.body
    }

    pub(super) fn message(&self, index: u32) -> OwnedMessage {
        OwnedMessage::new(self.body.clone(), index)
    }

    fn index(&self, next: u64) -> u32 {
        u32::try_from(next).map_or(self.end, |next| next.min(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::queue::tests::body;

    #[test]
    fn each_message_is_claimed_once_and_in_order_and_none_beyond_the_end() {
        let run = Run::new(body(10, 0), 2, 9);
        assert_eq!((run.claimed(), run.claim(1), run.claim(0)), (2, 2..3, 9..9));
        assert_eq!((run.claim(3), run.claimed()), (3..6, 6));
        assert_eq!(run.claim(usize::MAX), 6..9);
        assert!(run.claim(1).is_empty() && run.claim_rest().is_empty());
        assert_eq!(run.claimed(), 9);
        let run = Run::new(body(10, 0), 2, 9);
        run.claim(2);
        assert_eq!((run.claim_rest(), run.claim(1)), (4..9, 9..9));
    }

    #[test]
    fn of_threads_that_claim_at_once_each_gets_others() {
        const COUNT: u32 = if cfg!(miri) { 200 } else { 10_000 };
        let run = Run::new(body(1, 0), 0, COUNT);
        let mut all: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=4)
                .map(|most| {
                    let run = &run;
                    scope.spawn(move || {
                        let mut own = Vec::new();
                        loop {
                            let claimed = run.claim(most);
                            // Too late: others had the rest between two looks.
                            if claimed.is_empty() && run.claimed() == COUNT {
                                return own;
                            }
                            own.extend(claimed);
                        }
                    })
                })
                .collect();
            let all = threads.into_iter().flat_map(|it| it.join().unwrap());
            all.collect()
        });
        all.sort_unstable();
        assert!(all.into_iter().eq(0..COUNT));
    }
}
