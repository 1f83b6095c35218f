//! The end of a client whose task did not come to it.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use super::shared::Shared;
use crate::error::{Error, ErrorKind, Phase};
use crate::session::{Event, State};

/// Ends the client when its task is dropped before its end: by a panic.
pub(super) struct Ending {
    pub shared: Arc<Shared>,
    pub done: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut error = Error::new(
            ErrorKind::Panic,
            Phase::Call,
            "the library panicked: this is a bug in it; the client has ended",
        );
        error.fatal = true;
        let previous = self.shared.board.state();
        for event in [
            Event::Error {
                id: 0,
                error: Box::new(error),
            },
            Event::State {
                state: State::Closed,
                previous,
                ext: None,
            },
            Event::Closed,
        ] {
            // What panicked once may do so again; a second panic during the
            // first would end the host.
            let publish = AssertUnwindSafe(|| self.shared.publish(event));
            let _ = catch_unwind(publish);
        }
    }
}
