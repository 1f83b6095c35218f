//! The end of a client that gives its session to another one.

use std::ffi::CStr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::handover::no_session;
use super::{closed, Client};
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::{Command, OperationId, State};

impl Client {
    /// Gives the session as a text for [`super::Builder::set_resume`], and ends without
    /// a word to the server. Without a session it goes on as before. The text is kept:
    /// it is given again to who asks again, also when the time was not enough.
    pub fn export(&self, timeout: Duration) -> Result<&CStr, Error> {
        if lock(&self.unstarted).is_some() {
            return Err(no_session());
        }
        let outbox = self.shared.outbox.get_or_init(Box::default);
        let deadline = Instant::now().checked_add(timeout);
        let before = *lock(&outbox.refusals);
        outbox.asks();
        self.shared.command(Command::HandOver);
        let mut refusals = lock(&outbox.refusals);
        loop {
            if let Some(given) = outbox.given.get() {
                let refuse = |why: &_| Error::call(ErrorKind::TooLarge, format!("client: {why}"));
                return given.as_deref().map_err(refuse);
            }
            if *refusals != before {
                return Err(no_session());
            }
            if self.shared.board.state() == State::Closed {
                return Err(closed());
            }
            let left = deadline.map_or(timeout, |it| it.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Error::call(
                    ErrorKind::Timeout,
                    "client: the session was not given in time; ask again",
                ));
            }
            refusals = outbox
                .came
                .wait_timeout(refusals, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
    /// The same without waiting: an event tells it.
    pub fn start_export(&self, opaque: usize) -> Result<OperationId, Error> {
        if lock(&self.unstarted).is_some() {
            return Err(no_session());
        }
        let outbox = self.shared.outbox.get_or_init(Box::default);
        let (id, mut mailbox) = self.begin_call()?;
        outbox.asks();
        lock(&outbox.asked).calls.push((id, opaque));
        mailbox.commands.push(Command::HandOver);
        drop(mailbox);
        self.shared.commands_came.notify_one();
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Builder;
    use super::*;

    #[test]
    fn there_is_nothing_to_give_before_and_after() {
        let client = Builder::new("http://127.0.0.1:9/cometd")
            .unwrap()
            .build()
            .unwrap();
        let export = || client.export(Duration::from_secs(60)).unwrap_err().kind;
        assert_eq!(export(), ErrorKind::InvalidState);
        client.abort();
        assert_eq!(export(), ErrorKind::Closed);
    }
}
