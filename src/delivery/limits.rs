//! How much a queue holds, and what becomes of the rest.

/// What happens to messages that a full queue cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The next connect waits until there is room; nothing is dropped.
    Block,
    DropOldest,
    DropNewest,
}

/// The bounds of each receiver's queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub events: usize,
    pub bytes: usize,
    pub overflow: Overflow,
}
