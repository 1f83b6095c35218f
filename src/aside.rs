//! Work that takes longer than the thread that does I/O may be busy for one
//! client, about ten milliseconds: a few threads for it, which end when there
//! is none left.
//!
//! What bounds such a turn where bodies are read:
//!
//! | what | bound | where |
//! | --- | --- | --- |
//! | a body that is read there | 256 KiB | `bayeux::body::LARGE`; larger ones come here |
//! | fields of a reply in a large body | 256 bytes each; longer ones are looked into when the body is read | `bayeux::body`, digests |
//! | memory of a body | a few times its length, whatever is in it | `bayeux::body::reader`: spans only |
//! | an error's text | 4 KiB read, 1 KiB kept | `bayeux::error_text` |
//! | hosts of an advice | 16 of 255 bytes | `bayeux::advice` |
//! | connection types, channels of a subscription | 64 of 4 KiB | `bayeux::body::message` |
//! | what a session wants done | 256 outputs or 2 ms a turn | `client::task` |
//! | odd lines of a head | 16 are told, all are counted | `transport::mend` |
//! | redaction of a text | 64 KiB, one pass for each of at most 32 suspects | `transport::secrets` |
//! | cookies | 200, 256 KiB together | `transport::cookies` |
//! | a response with extensions | three copies, on the thread of the host's code | `client::extensions` |

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crossbeam_channel::{unbounded, Receiver, Sender};
use tokio::sync::oneshot;

use crate::runtime::{lock, spawn};

/// So many at once, however many clients have work.
const MAXIMUM_THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;
type Thread = Box<dyn FnOnce() + Send>;

/// Of a process: one line of jobs of all its clients.
pub struct Aside {
    put: Sender<Job>,
    take: Receiver<Job>,
    /// Changes only together with the decision that it follows: a thread that
    /// ends has found no job, and a job that came later finds it gone.
    threads: Mutex<usize>,
}

impl Default for Aside {
    fn default() -> Self {
        let (put, take) = unbounded();
        Self {
            put,
            take,
            threads: Mutex::default(),
        }
    }
}

/// Work under way. Dropped before it is done, it is not begun, or nobody gets
/// what came of it.
pub enum Work<T> {
    Done(Option<T>),
    Underway(oneshot::Receiver<Result<T, Box<dyn Any + Send>>>),
}

impl Aside {
    /// Begins it on a thread of its own, or does it here when there is none
    /// and none can be started.
    pub fn start<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Work<T> {
        let (send, receive) = oneshot::channel();
        let job = move || {
            if !send.is_closed() {
                let _ = send.send(catch_unwind(AssertUnwindSafe(work)));
            }
        };
        let thread = |work: Thread| spawn("cometd-aside", work);
        if let Some(refused) = self.submit(Box::new(job), thread) {
            refused();
        }
        Work::Underway(receive)
    }

    /// Gives the job back when there is no thread for it.
    fn submit(
        self: &Arc<Self>,
        job: Job,
        thread: impl FnOnce(Thread) -> io::Result<()>,
    ) -> Option<Job> {
        let mut threads = lock(&self.threads);
        if *threads < MAXIMUM_THREADS {
            let of_thread = self.clone();
            match thread(Box::new(move || of_thread.work())) {
                Ok(()) => *threads += 1,
                Err(_) if *threads == 0 => return Some(job),
                Err(_) => {}
            }
        }
        // There is one, and it does not end before the lock is free. Both ends
        // live here, so that the channel is never closed.
        let _ = self.put.send(job);
        None
    }

    fn next(&self) -> Option<Job> {
        if let Ok(job) = self.take.try_recv() {
            return Some(job);
        }
        let mut threads = lock(&self.threads);
        let job = self.take.try_recv().ok();
        if job.is_none() {
            *threads = threads.saturating_sub(1);
        }
        job
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            // Jobs catch their panics.
            job();
        }
    }
}

impl<T: Unpin> Future for Work<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<T> {
        match &mut *self {
            Self::Done(done) => match done.take() {
                Some(done) => Poll::Ready(done),
                None => Poll::Pending,
            },
            Self::Underway(receiver) => match Pin::new(receiver).poll(context) {
                Poll::Ready(Ok(Ok(done))) => Poll::Ready(done),
                // As if it had been done here.
                Poll::Ready(Ok(Err(panic))) => resume_unwind(panic),
                // It is always sent.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn wait<T: Unpin>(work: Work<T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn work_is_done_elsewhere_by_a_few_threads_that_end() {
        let aside = Arc::new(Aside::default());
        let here = std::thread::current().id();
        let there = wait(aside.start(|| std::thread::current().id()));
        assert_ne!(here, there);
        let (go, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let all: Vec<_> = (0..20)
            .map(|number| {
                let waits = waits.clone();
                aside.start(move || {
                    lock(&waits).recv().unwrap();
                    number
                })
            })
            .collect();
        assert_eq!(*lock(&aside.threads), MAXIMUM_THREADS);
        (0..20).for_each(|_| go.send(()).unwrap());
        let done: Vec<_> = all.into_iter().map(wait).collect();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
        let deadline = Instant::now() + Duration::from_secs(20);
        while *lock(&aside.threads) > 0 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(wait(Work::Done(Some(7))), 7);
    }

    #[test]
    fn what_is_given_up_is_not_begun() {
        let aside = Arc::new(Aside::default());
        let (go, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let busy: Vec<_> = (0..MAXIMUM_THREADS)
            .map(|_| {
                let waits = waits.clone();
                aside.start(move || lock(&waits).recv().unwrap())
            })
            .collect();
        let (begun, begins) = mpsc::channel();
        drop(aside.start(move || begun.send(()).unwrap()));
        busy.iter().for_each(|_| go.send(()).unwrap());
        busy.into_iter().for_each(wait);
        assert!(begins.recv().is_err(), "its end was dropped unused");
    }

    #[test]
    fn where_no_thread_can_be_started_it_is_done_here() {
        let aside = Arc::new(Aside::default());
        let refuse = |_: Thread| Err(io::Error::other("a test asked for it"));
        let refused = aside.submit(Box::new(|| {}), refuse);
        assert!(refused.is_some());
        assert!(aside.take.is_empty());
        // Where there is one, that one does it.
        *lock(&aside.threads) = 1;
        assert!(aside.submit(Box::new(|| {}), refuse).is_none());
        assert_eq!(aside.take.len(), 1);
        aside.work();
        assert!(aside.take.is_empty());
    }

    #[test]
    fn a_panic_is_the_callers() {
        let aside = Arc::new(Aside::default());
        let work = aside.start(|| -> u8 { panic!("a test asked for it") });
        let panicked = catch_unwind(AssertUnwindSafe(|| wait(work)));
        assert!(panicked.is_err());
    }
}
