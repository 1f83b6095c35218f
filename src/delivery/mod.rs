//! From the session to the host: events, the bounded queue of each receiver,
//! the file descriptor that tells of it, and the threads that call back.

mod dispatcher;
mod event;
mod host;
mod hub;
mod limits;
mod queue;
mod readiness;
mod room;
mod tracker;

pub use dispatcher::Dispatcher;
pub use event::{Event, Exported, Notice};
pub use host::{in_callback, FreeUser, HostCode, HostData};
pub use hub::{FailedPublishes, Hub};
pub use limits::{Limits, Overflow};
pub use queue::{Callback, Occupied, Polled, Queue, QueueStatistics};
pub use tracker::{SavePosition, Ticket, Tracker};
