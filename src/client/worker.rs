//! The thread on which a client runs the host's code, one call at a time and in
//! the order in which it was asked for. It starts with the first call and ends
//! when there was none for a while, so that idle clients have none.

use std::collections::VecDeque;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::arrivals::Origin;
use crate::runtime::{lock, spawn};
use crate::speaker::speak;

/// How long a thread waits for the next call.
const IDLE: Duration = Duration::from_secs(2);

pub(super) type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Worker {
    line: Arc<Line>,
}

struct Line {
    /// Of the client.
    name: Arc<str>,
    entries: Mutex<Entries>,
    came: Condvar,
}

#[derive(Default)]
struct Entries {
    jobs: VecDeque<(Option<Origin>, Job)>,
    has_thread: bool,
    ended: bool,
}

impl Worker {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            line: Arc::new(Line {
                name,
                entries: Mutex::default(),
                came: Condvar::new(),
            }),
        }
    }

    /// Runs it after all that was submitted before. Never blocks.
    pub(super) fn submit(&self, origin: Option<Origin>, job: Job) -> io::Result<()> {
        let mut entries = lock(&self.line.entries);
        if entries.has_thread {
            entries.jobs.push_back((origin, job));
            drop(entries);
            self.line.came.notify_one();
            return Ok(());
        }
        let line = self.line.clone();
        spawn("cometd-host", move || line.work())?;
        entries.has_thread = true;
        entries.jobs.push_back((origin, job));
        Ok(())
    }

    /// What was not begun for this origin, or for none, is not run.
    pub(super) fn cancel(&self, origin: Option<Origin>) {
        let mut given_up = Vec::new();
        let mut entries = lock(&self.line.entries);
        for (of, job) in std::mem::take(&mut entries.jobs) {
            if of == origin {
                given_up.push(job);
            } else {
                entries.jobs.push_back((of, job));
            }
        }
        // Dropping what is the host's runs code of the host's.
        drop(entries);
        drop(given_up);
    }

    /// Whether there is a thread at this moment.
    pub(super) fn has_thread(&self) -> bool {
        lock(&self.line.entries).has_thread
    }

    /// Runs nothing more but this, after what is running; then the thread ends.
    pub(super) fn end(&self, last: Job) {
        let waiting = {
            let mut entries = lock(&self.line.entries);
            entries.ended = true;
            std::mem::take(&mut entries.jobs)
        };
        let last = move || {
            drop(waiting);
            last();
        };
        // Without a thread the job ends here, unrun, with all that it holds.
        let _ = self.submit(None, Box::new(last));
        self.line.came.notify_one();
    }
}

impl Line {
    fn work(&self) {
        let _speaking = speak(&self.name);
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(target: "cometd::client", "code of the host's panicked");
            }
        }
    }

    /// The next job; `None` when the thread is no longer needed.
    fn next(&self) -> Option<Job> {
        let mut entries = lock(&self.entries);
        loop {
            if let Some((_, job)) = entries.jobs.pop_front() {
                return Some(job);
            }
            let mut timed_out = false;
            if !entries.ended {
                let (next, outcome) = self
                    .came
                    .wait_timeout(entries, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                entries = next;
                timed_out = outcome.timed_out();
            }
            if entries.jobs.is_empty() && (entries.ended || timed_out) {
                entries.has_thread = false;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::session::RequestId;

    #[test]
    fn jobs_run_in_order_and_cancelled_ones_do_not() {
        let worker = Worker::new("a test".into());
        assert!(!worker.has_thread());
        let (send, receive) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let job = |number: u32| -> Job {
            let send = send.clone();
            Box::new(move || send.send(number).unwrap())
        };
        worker
            .submit(None, Box::new(move || wait.recv().unwrap()))
            .unwrap();
        for (request, number) in [(1, 1), (2, 2), (1, 3), (3, 4)] {
            worker
                .submit(Some(Origin::Request(RequestId(request))), job(number))
                .unwrap();
        }
        worker.cancel(Some(Origin::Request(RequestId(1))));
        go.send(()).unwrap();
        assert_eq!([2, 4], [(); 2].map(|()| receive.recv().unwrap()));
        worker
            .submit(None, Box::new(|| panic!("a test asked for it")))
            .unwrap();
        worker.submit(None, job(5)).unwrap();
        assert_eq!(receive.recv().unwrap(), 5, "a panic costs nothing else");
    }

    #[test]
    fn its_end_waits_for_what_runs_and_drops_the_rest() {
        let worker = Worker::new("a test".into());
        let (send, receive) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let done = send.clone();
        worker
            .submit(
                None,
                Box::new(move || {
                    done.send("begun").unwrap();
                    wait.recv().unwrap();
                    done.send("ran").unwrap();
                }),
            )
            .unwrap();
        assert_eq!(receive.recv().unwrap(), "begun");
        let never = send.clone();
        worker
            .submit(None, Box::new(move || never.send("never").unwrap()))
            .unwrap();
        worker.end(Box::new(move || send.send("last").unwrap()));
        assert!(receive.try_recv().is_err());
        go.send(()).unwrap();
        let all: Vec<_> = receive.iter().collect();
        assert_eq!(all, ["ran", "last"]);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while worker.has_thread() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
