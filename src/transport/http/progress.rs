//! How far a response has come, for who waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Filled by the transport and read by the task while the request is under way.
#[derive(Debug)]
pub struct Progress {
    /// The clock that the session lives by, in milliseconds.
    clock: fn() -> u64,
    /// When the response began; 0 before.
    since: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub fn new(clock: fn() -> u64) -> Self {
        Self {
            clock,
            since: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The response's head is there. Behind a redirect there is another one.
    pub(super) fn begun(&self) {
        self.since.store((self.clock)(), Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// So much more of its body is there.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// When the response began, and how many bytes of its body have come so far.
    pub fn so_far(&self) -> (u64, u64) {
        let since = self.since.load(Ordering::Relaxed);
        (since, self.bytes.load(Ordering::Relaxed))
    }
}
