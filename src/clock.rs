//! The one clock that sessions live by.

use std::time::{Duration, SystemTime};

use crate::platform::since_start;
use crate::session::Millis;

/// When something is said: by this machine's clock and by the calendar of who
/// says it.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    pub now: Millis,
    pub calendar: SystemTime,
}

/// What the calendar says at the clock's 0, in milliseconds since 1970.
pub fn calendar() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let since_1970 = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    since_1970.saturating_sub(i64::try_from(now()).unwrap_or(i64::MAX))
}

/// A duration in the clock's unit.
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Milliseconds since the machine started, the time that it slept included:
/// after a suspend every deadline that has passed is seen to have passed.
pub fn now() -> Millis {
    millis(since_start())
}
