//! A question to the host's code that is answered when its function returns, or
//! later from any thread: a function that has retained the question gives its
//! thread back.

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

type Deliver<A> = Box<dyn FnOnce(Answer<A>) + Send>;

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
    /// Until it is answered.
    deliver: Option<Deliver<A>>,
}

impl<A> Question<A> {
    /// `answer` is there before anything is set. What is answered goes to `deliver`,
    /// once, without a lock.
    pub(super) fn new(
        name: &'static str,
        client: &Arc<Shared>,
        until: Millis,
        answer: Option<A>,
        nothing: fn(bool) -> Answer<A>,
        deliver: impl FnOnce(Answer<A>) + Send + 'static,
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
                deliver: Some(Box::new(deliver)),
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

    /// False: it was not retained, or by the parent process. The last one ends the
    /// question.
    pub(super) fn release(&self) -> bool {
        if !self.process.is_current() {
            return false;
        }
        let mut stage = lock(&self.stage);
        let Some(retained) = stage.retained.checked_sub(1) else {
            return false;
        };
        stage.retained = retained;
        self.settle(stage);
        true
    }

    /// The host's function has returned.
    pub(super) fn returned(&self, result: Answer<()>) {
        let mut stage = lock(&self.stage);
        stage.returned = true;
        if let Err(why) = result {
            let is_failed = matches!(stage.answer, Some(Err(_)));
            if !is_failed {
                stage.answer = Some(Err(why));
            }
            stage.is_final = true;
        }
        self.settle(stage);
    }

    pub(super) fn give(&self, answer: A) -> Result<(), Error> {
        self.answer(Ok(answer))
    }

    pub(super) fn fail(&self, why: Option<&str>) -> Result<(), Error> {
        let why = one_line(why.unwrap_or_default(), MAXIMUM_REASON);
        self.answer(Err(match why.is_empty() {
            true => "it gave no reason".to_owned(),
            false => why,
        }))
    }

    fn answer(&self, answer: Answer<A>) -> Result<(), Error> {
        let mut stage = self.open()?;
        stage.answer = Some(answer);
        stage.is_final = stage.was_retained;
        self.settle(stage);
        Ok(())
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
        // Not under the lock: the last who lets go of a client runs functions of the
        // host's that may let go of this question.
        let client_lives = self.client_lives();
        let stage = lock(&self.stage);
        if stage.was_retained {
            if !client_lives {
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

    /// Delivers the answer, when it is time for it.
    fn settle(&self, mut stage: MutexGuard<'_, Stage<A>>) {
        let is_over = stage.is_final || stage.retained == 0;
        if !stage.returned || !is_over {
            return;
        }
        let Some(deliver) = stage.deliver.take() else {
            return;
        };
        stage.is_final = true;
        let answer = stage.answer.take();
        let answer = answer.unwrap_or_else(|| (self.nothing)(stage.was_retained));
        drop(stage);
        deliver(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, Receiver};

    use super::*;
    use crate::client::{Builder, Client};

    fn client() -> Client {
        Builder::new("http://127.0.0.1:9/")
            .unwrap()
            .build()
            .unwrap()
    }

    /// And what is delivered.
    fn question(client: &Client) -> (Question<u32>, Receiver<Answer<u32>>) {
        question_until(client, Millis::MAX, None)
    }

    fn question_until(
        client: &Client,
        until: Millis,
        answer: Option<u32>,
    ) -> (Question<u32>, Receiver<Answer<u32>>) {
        let (send, receive) = channel();
        let nothing = |was_retained| match was_retained {
            true => Err("nothing later".into()),
            false => Err("nothing".into()),
        };
        let deliver = move |answer| send.send(answer).unwrap();
        let it = Question::new("it", &client.shared, until, answer, nothing, deliver);
        (it, receive)
    }

    fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
        result.err().map(|it| it.kind)
    }

    #[test]
    fn in_the_call_the_last_answer_counts() {
        let client = client();
        let (it, answer) = question(&client);
        it.give(1).unwrap();
        it.fail(Some("not\nnow")).unwrap();
        it.give(2).unwrap();
        assert!(answer.try_recv().is_err());
        it.returned(Ok(()));
        assert_eq!(answer.try_recv(), Ok(Ok(2)));
        assert_eq!(kind(it.give(3)), Some(ErrorKind::InvalidState));
        let (it, answer) = question(&client);
        it.returned(Ok(()));
        assert_eq!(answer.try_recv(), Ok(Err("nothing".into())));

        // Why it failed is better than that.
        let (it, answer) = question(&client);
        it.fail(Some("not\nnow")).unwrap();
        it.returned(Err("it returned 7".into()));
        assert_eq!(answer.try_recv(), Ok(Err("not now".into())));
        let (it, answer) = question(&client);
        it.give(1).unwrap();
        it.returned(Err("it returned 7".into()));
        assert_eq!(answer.try_recv(), Ok(Err("it returned 7".into())));
    }

    #[test]
    fn a_retained_one_is_answered_once() {
        let client = client();
        for in_the_call in [false, true] {
            let (it, answer) = question(&client);
            assert!(it.retain());
            if in_the_call {
                it.give(1).unwrap();
            }
            assert!(answer.try_recv().is_err());
            it.returned(Ok(()));
            if !in_the_call {
                assert!(answer.try_recv().is_err());
                it.give(1).unwrap();
            }
            assert_eq!(answer.try_recv(), Ok(Ok(1)));
            assert_eq!(kind(it.give(2)), Some(ErrorKind::InvalidState));
            assert_eq!(kind(it.fail(None)), Some(ErrorKind::InvalidState));
            assert!(it.release());
            assert!(!it.release(), "one too many");
            assert!(answer.try_recv().is_err());
        }
        // What was set before it was retained is no less an answer.
        let (it, answer) = question(&client);
        it.give(1).unwrap();
        it.retain();
        it.returned(Ok(()));
        assert!(answer.try_recv().is_err());
        assert!(it.release());
        assert_eq!(answer.try_recv(), Ok(Ok(1)));
    }

    #[test]
    fn the_last_of_those_who_retain_it_ends_it() {
        let client = client();
        let (it, answer) = question(&client);
        assert!(it.retain() && it.retain());
        assert!(it.release());
        it.returned(Ok(()));
        assert!(answer.try_recv().is_err());
        assert!(it.release());
        assert_eq!(answer.try_recv(), Ok(Err("nothing later".into())));
        // A status of a failure does not wait.
        let (it, answer) = question(&client);
        it.retain();
        it.returned(Err("it returned 7".into()));
        assert_eq!(answer.try_recv(), Ok(Err("it returned 7".into())));
        assert!(it.release());
        let (it, answer) = question(&client);
        it.retain();
        it.returned(Ok(()));
        it.fail(None).unwrap();
        assert_eq!(answer.try_recv(), Ok(Err("it gave no reason".into())));
    }

    #[test]
    fn an_answer_to_nobody_is_told_so() {
        let freed = client();
        let (it, answer) = question(&freed);
        assert!(it.retain());
        it.returned(Ok(()));
        drop(freed);
        assert_eq!(kind(it.give(1)), Some(ErrorKind::Closed));
        assert!(it.release());
        assert_eq!(answer.try_recv(), Ok(Err("nothing later".into())));

        let ended = client();
        let ((early, _), (late, _)) = (question(&ended), question(&ended));
        late.retain();
        ended.disconnect(std::time::Duration::ZERO).unwrap();
        assert_eq!(kind(late.give(1)), Some(ErrorKind::Closed));
        assert_eq!(kind(early.give(1)), None, "inside the call");

        let client = client();
        let (it, _answer) = question_until(&client, 0, None);
        it.retain();
        assert_eq!(kind(it.give(1)), Some(ErrorKind::Timeout));
    }

    #[test]
    fn what_is_changed_is_the_answer_when_it_ends() {
        let client = client();
        let (it, answer) = question_until(&client, Millis::MAX, Some(1));
        let add = |it: &mut u32| {
            *it += 1;
            Ok(())
        };
        it.change(add).unwrap();
        it.retain();
        it.returned(Ok(()));
        it.change(add).unwrap();
        assert!(it.release());
        assert_eq!(answer.try_recv(), Ok(Ok(3)));
        assert_eq!(kind(it.change(add)), Some(ErrorKind::InvalidState));
    }
}
