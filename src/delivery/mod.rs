//! From the session to the host: events, the bounded queue of each receiver,
//! the file descriptor that tells of it, and the threads that call back.

mod dispatcher;
mod event;
mod hub;
mod queue;
mod readiness;
mod tracker;

pub use dispatcher::{in_callback, Callback, Dispatcher, HostCode, HostData};
pub use event::{Event, Notice};
pub use hub::{FailedPublishes, Hub, Limits, Overflow};
pub use queue::{Polled, Queue, QueueStatistics};
pub use tracker::{SavePosition, Ticket, Tracker};
