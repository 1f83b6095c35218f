//! Where a client stands, for threads that ask or wait.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::runtime::lock;
use crate::session::State;

/// What came of waiting for a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Reached,
    TimedOut,
    /// The client has ended and will not reach it any more.
    Closed,
}

pub struct Board {
    entries: Mutex<Entries>,
    changed: Condvar,
}

struct Entries {
    state: State,
    /// How often each state was entered, so that a waiting thread does not miss
    /// one that was left again before it woke.
    entered: [u32; STATES],
    disconnect_timed_out: bool,
}

const STATES: usize = State::Closed as usize + 1;

/// How far a state is on the way; those of one phase are as far as each other.
fn progress(state: State) -> u8 {
    match state {
        State::Idle => 0,
        State::Handshaking | State::Rehandshaking => 1,
        State::Connecting => 2,
        State::Connected | State::Unconnected => 3,
        State::Disconnecting => 4,
        State::Closed => 5,
    }
}

/// Whether a client in `state` has reached or passed `wanted`.
fn satisfies(state: State, wanted: State) -> bool {
    match wanted {
        // These two come and go beside the way; being further on says nothing.
        State::Rehandshaking | State::Unconnected => state == wanted,
        State::Connected => state == State::Connected,
        State::Disconnecting | State::Closed => progress(state) >= progress(wanted),
        _ => progress(state) >= progress(wanted) && state != State::Closed,
    }
}

impl Board {
    pub fn new() -> Self {
        Self {
            entries: Mutex::new(Entries {
                state: State::Idle,
                entered: [0; STATES],
                disconnect_timed_out: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub fn state(&self) -> State {
        lock(&self.entries).state
    }

    /// Enters a state and tells of it, so that nobody sees the one without the
    /// other.
    pub fn enter(&self, state: State, tell: impl FnOnce(State)) {
        let mut entries = lock(&self.entries);
        let previous = std::mem::replace(&mut entries.state, state);
        if let Some(times) = entries.entered.get_mut(state as usize) {
            *times = times.wrapping_add(1);
        }
        tell(previous);
        drop(entries);
        self.changed.notify_all();
    }

    pub fn note_disconnect_timeout(&self) {
        lock(&self.entries).disconnect_timed_out = true;
    }

    pub fn disconnect_timed_out(&self) -> bool {
        lock(&self.entries).disconnect_timed_out
    }

    /// Waits until `wanted` is reached or passed; `None` waits without limit.
    pub fn wait(&self, wanted: State, timeout: Option<Duration>) -> Waited {
        let deadline = timeout.and_then(|it| Instant::now().checked_add(it));
        let mut entries = lock(&self.entries);
        let times = |entries: &Entries| entries.entered.get(wanted as usize).copied();
        let before = times(&entries);
        loop {
            if satisfies(entries.state, wanted) || times(&entries) != before {
                return Waited::Reached;
            }
            if entries.state == State::Closed {
                return Waited::Closed;
            }
            entries = match deadline {
                None => self
                    .changed
                    .wait(entries)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Waited::TimedOut;
                    }
                    self.changed
                        .wait_timeout(entries, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_state_that_was_passed_counts_as_reached_212() {
        let board = Board::new();
        assert_eq!(board.wait(State::Idle, NOW), Waited::Reached);
        assert_eq!(board.wait(State::Connected, NOW), Waited::TimedOut);
        board.enter(State::Connected, |_| {});
        for wanted in [
            State::Idle,
            State::Handshaking,
            State::Connecting,
            State::Connected,
        ] {
            assert_eq!(board.wait(wanted, NOW), Waited::Reached, "{wanted:?}");
        }
        board.enter(State::Unconnected, |_| {});
        assert_eq!(board.wait(State::Connected, NOW), Waited::TimedOut);
        board.enter(State::Closed, |_| {});
        assert_eq!(board.wait(State::Connected, None), Waited::Closed);
        assert_eq!(board.wait(State::Disconnecting, None), Waited::Reached);
        assert_eq!(board.wait(State::Closed, None), Waited::Reached);
    }

    #[test]
    fn a_short_lived_state_is_not_missed_212() {
        let board = std::sync::Arc::new(Board::new());
        let waiter = {
            let board = board.clone();
            std::thread::spawn(move || board.wait(State::Connected, None))
        };
        // Whenever the waiter begins, one of the coming rounds is new to it.
        while !waiter.is_finished() {
            board.enter(State::Connected, |_| {});
            board.enter(State::Unconnected, |_| {});
            std::thread::yield_now();
        }
        assert_eq!(waiter.join().unwrap(), Waited::Reached);
    }
}
