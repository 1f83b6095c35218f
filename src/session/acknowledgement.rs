//! The message acknowledgement extension: a server keeps the events of each
//! connect reply until the next connect says that they have arrived.
//!
//! The number that a connect carries is that of the last reply whose events
//! are all in the receivers' queues: the session sends a connect only when the
//! reply before has been processed as a whole.

use serde_json::value::RawValue;

use crate::bayeux::{json, Message};

/// The name of the extension's field in `ext`.
pub(super) const FIELD: &str = "ack";

#[derive(Debug, Default)]
pub(super) struct Acknowledgement {
    wanted: bool,
    /// The last batch that has arrived; `None`: the server does not take part.
    batch: Option<i64>,
}

impl Acknowledgement {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            batch: None,
        }
    }

    /// What a handshake says: each session starts anew.
    pub(super) fn for_handshake(&mut self) -> Option<(&'static str, String)> {
        self.batch = None;
        self.wanted.then(|| (FIELD, "true".to_owned()))
    }

    /// The server's answer: `true`, or an object that names the batch of what
    /// it has delivered with the handshake. Anything else is no support.
    pub(super) fn handshake_replied(&mut self, reply: &Message) {
        if !self.wanted {
            return;
        }
        self.batch = reply.ext_field(FIELD).and_then(|answer| {
            if answer.get() == "true" {
                return Some(0);
            }
            let enabled = json::field(answer, "enabled")?;
            (enabled.get() == "true").then(|| {
                json::field(answer, "batch")
                    .and_then(json::lenient_integer)
                    .unwrap_or(0)
            })
        });
    }

    pub(super) fn batch(&self) -> Option<i64> {
        self.batch
    }

    /// Goes on in a session whose server keeps what has come since.
    pub(super) fn resume(&mut self, batch: Option<i64>) {
        self.batch = batch;
    }

    pub(super) fn for_connect(&self) -> Option<(&'static str, String)> {
        self.batch.map(|batch| (FIELD, batch.to_string()))
    }

    /// A successful connect reply was processed. One without a number leaves
    /// the batch as it is.
    pub(super) fn connect_replied(&mut self, reply: &Message) {
        if self.batch.is_none() {
            return;
        }
        let number = |it: &&RawValue| !it.get().starts_with('"');
        if let Some(batch) = reply
            .ext_field(FIELD)
            .filter(number)
            .and_then(json::lenient_integer)
        {
            self.batch = Some(batch);
        }
    }
}
