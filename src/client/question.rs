//! A question to the host's code that is answered when its function returns, or
//! later from any thread: a function that has retained the question gives its
//! thread back. What a call ends is given back to who delivers it.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::shared::Shared;
use crate::bayeux::error_text::one_line;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::runtime::{lock, Process};
use crate::session::{Millis, State};

/// A reason of the host's is cut here.
const MAXIMUM_REASON: usize = 1024;

/// What was found, or why it was not.
pub(super) type Answer<A> = Result<A, String>;

pub(super) struct Question<A> {
    /// What the host calls it.
    name: &'static str,
    process: &'static Process,
    client: Weak<Shared>,
    /// Nobody waits any longer.
    until: Millis,
    /// What it means that nothing was set, in the call or after it was retained.
    nothing: fn(bool) -> Answer<A>,
    stage: Mutex<Stage<A>>,
}

struct Stage<A> {
    retained: usize,
    was_retained: bool,
    /// The host's function has.
    returned: bool,
    answer: Option<Answer<A>>,
    /// No other answer counts.
    is_final: bool,
    delivered: bool,
}

impl<A> Question<A> {
    /// `answer` is there before anything is set.
    pub(super) fn new(
        name: &'static str,
        client: &Arc<Shared>,
        until: Millis,
        answer: Option<A>,
        nothing: fn(bool) -> Answer<A>,
    ) -> Self {
        Self {
            name,
            process: Process::current(),
            client: Arc::downgrade(client),
            until,
            nothing,
            stage: Mutex::new(Stage {
                retained: 0,
                was_retained: false,
                returned: false,
                answer: answer.map(Ok),
                is_final: false,
                delivered: false,
            }),
        }
    }

    /// False in a forked child.
    pub(super) fn retain(&self) -> bool {
        if !self.process.is_current() {
            return false;
        }
        let mut stage = lock(&self.stage);
        stage.retained = stage.retained.saturating_add(1);
        stage.was_retained = true;
        true
    }

    /// `None`: it was not retained, or by the parent process. The last one ends
    /// the question.
    pub(super) fn release(&self) -> Option<Option<Answer<A>>> {
        if !self.process.is_current() {
            return None;
        }
        let mut stage = lock(&self.stage);
        stage.retained = stage.retained.checked_sub(1)?;
        Some(self.ended(stage))
    }

    /// The host's function has returned.
    pub(super) fn returned(&self, result: Answer<()>) -> Option<Answer<A>> {
        let mut stage = lock(&self.stage);
        stage.returned = true;
        if let Err(why) = result {
            let is_failed = matches!(stage.answer, Some(Err(_)));
            if !is_failed {
                stage.answer = Some(Err(why));
            }
            stage.is_final = true;
        }
        self.ended(stage)
    }

    pub(super) fn give(&self, answer: A) -> Result<Option<Answer<A>>, Error> {
        self.answer(Ok(answer))
    }

    pub(super) fn fail(&self, why: Option<&str>) -> Result<Option<Answer<A>>, Error> {
        let why = one_line(why.unwrap_or_default(), MAXIMUM_REASON);
        self.answer(Err(match why.is_empty() {
            true => "it gave no reason".to_owned(),
            false => why,
        }))
    }

    fn answer(&self, answer: Answer<A>) -> Result<Option<Answer<A>>, Error> {
        let mut stage = self.open()?;
        stage.answer = Some(answer);
        stage.is_final = stage.was_retained;
        Ok(self.ended(stage))
    }

    /// Changes what will be the answer.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut A) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut stage = self.open()?;
        match &mut stage.answer {
            Some(Ok(answer)) => change(answer),
            _ => Ok(()),
        }
    }

    /// Somebody waits for the answer. Inside the call that is always so.
    fn open(&self) -> Result<MutexGuard<'_, Stage<A>>, Error> {
        if !self.process.is_current() {
            return Err(Error::forked());
        }
        let refuse = |kind, why: &str| Err(Error::call(kind, format!("{}: {why}", self.name)));
        let stage = lock(&self.stage);
        if stage.was_retained {
            if !self.client_lives() {
                return refuse(ErrorKind::Closed, "its client has ended");
            }
            if clock::now() >= self.until {
                return refuse(ErrorKind::Timeout, "it is too late for an answer");
            }
        }
        match stage.is_final {
            true => refuse(ErrorKind::InvalidState, "it has been answered"),
            false => Ok(stage),
        }
    }

    fn client_lives(&self) -> bool {
        self.client
            .upgrade()
            .is_some_and(|it| !it.was_freed() && it.board.state() != State::Closed)
    }

    /// The answer, when it is time for it.
    fn ended(&self, mut stage: MutexGuard<'_, Stage<A>>) -> Option<Answer<A>> {
        let is_over = stage.is_final || stage.retained == 0;
        if !stage.returned || !is_over || stage.delivered {
            return None;
        }
        stage.delivered = true;
        stage.is_final = true;
        let answer = stage.answer.take();
        Some(answer.unwrap_or_else(|| (self.nothing)(stage.was_retained)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Builder, Client};

    fn client() -> Client {
        Builder::new("http://127.0.0.1:9/")
            .unwrap()
            .build()
            .unwrap()
    }

    fn question(client: &Client) -> Question<u32> {
        Question::new(
            "it",
            &client.shared,
            Millis::MAX,
            None,
            |was_retained| match was_retained {
                true => Err("nothing later".into()),
                false => Err("nothing".into()),
            },
        )
    }

    fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
        result.err().map(|it| it.kind)
    }

    #[test]
    fn in_the_call_the_last_answer_counts() {
        let client = client();
        let it = question(&client);
        assert_eq!(it.give(1).unwrap(), None);
        assert_eq!(it.fail(Some("not\nnow")).unwrap(), None);
        assert_eq!(it.give(2).unwrap(), None);
        assert_eq!(it.returned(Ok(())), Some(Ok(2)));
        assert_eq!(kind(it.give(3)), Some(ErrorKind::InvalidState));
        assert_eq!(
            question(&client).returned(Ok(())),
            Some(Err("nothing".into()))
        );

        // Why it failed is better than that.
        let it = question(&client);
        it.fail(Some("not\nnow")).unwrap();
        let returned = it.returned(Err("it returned 7".into()));
        assert_eq!(returned, Some(Err("not now".into())));
        let it = question(&client);
        it.give(1).unwrap();
        let returned = it.returned(Err("it returned 7".into()));
        assert_eq!(returned, Some(Err("it returned 7".into())));
    }

    #[test]
    fn a_retained_one_is_answered_once() {
        let client = client();
        for in_the_call in [false, true] {
            let it = question(&client);
            assert!(it.retain());
            let answer = match in_the_call {
                true => {
                    assert_eq!(it.give(1).unwrap(), None);
                    it.returned(Ok(()))
                }
                false => {
                    assert_eq!(it.returned(Ok(())), None);
                    it.give(1).unwrap()
                }
            };
            assert_eq!(answer, Some(Ok(1)));
            assert_eq!(kind(it.give(2)), Some(ErrorKind::InvalidState));
            assert_eq!(kind(it.fail(None)), Some(ErrorKind::InvalidState));
            assert_eq!(it.release(), Some(None));
            assert_eq!(it.release(), None, "one too many");
        }
        // What was set before it was retained is no less an answer.
        let it = question(&client);
        it.give(1).unwrap();
        it.retain();
        assert_eq!(it.returned(Ok(())), None);
        assert_eq!(it.release(), Some(Some(Ok(1))));
    }

    #[test]
    fn the_last_of_those_who_retain_it_ends_it() {
        let client = client();
        let it = question(&client);
        assert!(it.retain() && it.retain());
        assert_eq!(it.release(), Some(None));
        assert_eq!(it.returned(Ok(())), None);
        assert_eq!(it.release(), Some(Some(Err("nothing later".into()))));
        // A status of a failure does not wait.
        let it = question(&client);
        it.retain();
        let returned = it.returned(Err("it returned 7".into()));
        assert_eq!(returned, Some(Err("it returned 7".into())));
        assert_eq!(it.release(), Some(None));
        let it = question(&client);
        it.retain();
        it.returned(Ok(()));
        let failed = it.fail(None).unwrap();
        assert_eq!(failed, Some(Err("it gave no reason".into())));
    }

    #[test]
    fn an_answer_to_nobody_is_told_so() {
        let freed = client();
        let it = question(&freed);
        assert!(it.retain());
        assert_eq!(it.returned(Ok(())), None);
        drop(freed);
        assert_eq!(kind(it.give(1)), Some(ErrorKind::Closed));
        assert_eq!(it.release(), Some(Some(Err("nothing later".into()))));

        let ended = client();
        let (early, late) = (question(&ended), question(&ended));
        late.retain();
        ended.disconnect(std::time::Duration::ZERO).unwrap();
        assert_eq!(kind(late.give(1)), Some(ErrorKind::Closed));
        assert_eq!(kind(early.give(1)), None, "inside the call");

        let client = client();
        let it: Question<u32> = Question::new("it", &client.shared, 0, None, |_| Ok(0));
        it.retain();
        assert_eq!(kind(it.give(1)), Some(ErrorKind::Timeout));
    }

    #[test]
    fn what_is_changed_is_the_answer_when_it_ends() {
        let client = client();
        let it = Question::new("it", &client.shared, Millis::MAX, Some(1), |_| Ok(0));
        it.change(|it| {
            *it += 1;
            Ok(())
        })
        .unwrap();
        it.retain();
        assert_eq!(it.returned(Ok(())), None);
        it.change(|it| {
            *it += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(it.release(), Some(Some(Ok(3))));
        assert_eq!(kind(it.change(|_| Ok(()))), Some(ErrorKind::InvalidState));
    }
}
