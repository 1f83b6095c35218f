//! The waits between attempts.

use std::collections::VecDeque;

use super::configuration::Millis;

/// A wait that grows by the same amount with each failure.
#[derive(Debug, Clone)]
pub struct Backoff {
    increment: Millis,
    maximum: Millis,
    value: Millis,
}

impl Backoff {
    pub fn new(increment: Millis, maximum: Millis) -> Self {
        Self {
            increment,
            maximum,
            value: 0,
        }
    }

    pub fn reset(&mut self) {
        self.value = 0;
    }

    pub fn value(&self) -> Millis {
        self.value
    }

    /// The wait before this failure counted: 0 for the first.
    pub fn before(&mut self) -> Millis {
        let before = self.value;
        self.after();
        before
    }

    /// The wait with this failure counted: one increment for the first.
    pub fn after(&mut self) -> Millis {
        self.value = self.value.saturating_add(self.increment).min(self.maximum);
        self.value
    }
}

/// Spreads the attempts of many clients that lost the same server at once.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// `wait` and 10 to 20 percent more.
    pub fn add(&mut self, wait: Millis) -> Millis {
        // xorshift64: enough to spread attempts, and repeatable.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let percent = 10 + self.0 % 11;
        wait.saturating_add(wait.saturating_mul(percent) / 100)
    }
}

/// At most so many handshakes in a minute, whatever the server says: a load
/// balancer without stickiness must not turn clients into a storm.
pub const HANDSHAKES_A_MINUTE: usize = 12;
const MINUTE: Millis = 60_000;

#[derive(Debug, Clone, Default)]
pub struct HandshakeLimit {
    times: VecDeque<Millis>,
}

impl HandshakeLimit {
    pub fn record(&mut self, now: Millis) {
        if self.times.len() == HANDSHAKES_A_MINUTE {
            self.times.pop_front();
        }
        self.times.push_back(now);
    }

    /// The earliest time of a handshake that is wanted at `at`.
    pub fn earliest(&self, at: Millis) -> Millis {
        match self.times.front() {
            Some(oldest) if self.times.len() == HANDSHAKES_A_MINUTE => {
                at.max(oldest.saturating_add(MINUTE))
            }
            _ => at,
        }
    }
}

/// Servers may answer connects at once and without events, for instance when
/// they do not hold them at all. So many in a row are followed as fast as they
/// come; then each one waits a little longer, up to a second.
const FAST_REPLIES: u32 = 100;
const FAST: Millis = 50;

#[derive(Debug, Clone, Default)]
pub struct ConnectLimit {
    in_a_row: u32,
}

impl ConnectLimit {
    /// The pause after a successful connect that took `took` and brought
    /// events or not.
    pub fn pause(&mut self, took: Millis, events: bool) -> Millis {
        if events || took >= FAST {
            self.in_a_row = 0;
            return 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        Millis::from(self.in_a_row.saturating_sub(FAST_REPLIES))
            .saturating_mul(100)
            .min(1_000)
    }
}

/// How many, in words: `1 failure`, `2 failures`.
pub fn counted(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_134() {
        let mut backoff = Backoff::new(1_000, 2_500);
        assert_eq!([0; 4].map(|_| backoff.before()), [0, 1_000, 2_000, 2_500]);
        backoff.reset();
        assert_eq!(
            [0; 4].map(|_| backoff.after()),
            [1_000, 2_000, 2_500, 2_500]
        );
    }

    #[test]
    fn jitter_adds_ten_to_twenty_percent() {
        let mut jitter = Jitter::new(7);
        let waits: Vec<_> = (0..1_000).map(|_| jitter.add(1_000)).collect();
        assert!(waits.iter().all(|wait| (1_100..=1_200).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 1_120) && waits.iter().any(|wait| *wait > 1_180));
        assert_eq!(jitter.add(0), 0);
    }

    #[test]
    fn jitter_spreads_for_as_long_as_it_is_asked() {
        for seed in [0, 1, 7, u64::MAX] {
            let mut jitter = Jitter::new(seed);
            for _ in 0..10_000 {
                jitter.add(1_000);
            }
            let mut waits: Vec<_> = (0..200).map(|_| jitter.add(1_000)).collect();
            waits.sort_unstable();
            waits.dedup();
            assert_eq!(waits.len(), 11, "each percentage, by seed {seed}");
        }
    }

    #[test]
    fn handshakes_are_limited() {
        let mut limit = HandshakeLimit::default();
        for now in 0..HANDSHAKES_A_MINUTE as Millis {
            assert_eq!(limit.earliest(now), now);
            limit.record(now);
        }
        assert_eq!(limit.earliest(500), MINUTE);
        limit.record(MINUTE);
        assert_eq!(limit.earliest(MINUTE), MINUTE + 1);
    }

    #[test]
    fn a_server_that_never_holds_is_asked_less_and_less_27() {
        let mut limit = ConnectLimit::default();
        for _ in 0..FAST_REPLIES {
            assert_eq!(limit.pause(0, false), 0);
        }
        assert_eq!(limit.pause(0, false), 100);
        for _ in 0..20 {
            limit.pause(0, false);
        }
        assert_eq!(limit.pause(0, false), 1_000);
        assert_eq!(limit.pause(0, true), 0, "events drive the rate");
        assert_eq!(limit.pause(0, false), 0);
    }
}
