//! The threads that run the host's callbacks.
//!
//! A queue with a callback is put in line when something comes; a thread takes
//! it, calls for a number of events, and puts it back behind the others. Four
//! threads serve everybody, as long as callbacks return soon. When all of them
//! are kept busy for longer, a spare one starts, so that a callback that blocks
//! delays nobody but its own client.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::event::Event;
use super::host::HostCode;
use super::queue::Queue;
use crate::runtime::{lock, spawn};
use crate::speaker::speak;

/// A callback with all that it needs.
pub type Callback = Box<dyn Fn(Event) + Send + Sync>;

const THREADS: usize = 4;
/// With so many callbacks blocked at once, further ones have to wait.
const MAXIMUM_THREADS: usize = 256;
/// How long all threads must be busy before a spare one helps.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a thread waits for work before it ends, if it is not the last.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 10_000 });
/// Events for one queue before the next queue's turn.
const TURN: usize = 64;

pub struct Dispatcher {
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Pool {
    line: Mutex<Line>,
    came: Condvar,
}

#[derive(Default)]
struct Line {
    queues: VecDeque<Arc<Queue>>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// A spare thread has started and is still patient.
    spare: bool,
    ended: bool,
}

impl Dispatcher {
    /// Starts the first thread, so that a system without threads says so here.
    pub fn start() -> io::Result<Self> {
        let pool = Arc::new(Pool::default());
        pool.start_thread(&mut lock(&pool.line), Duration::ZERO)?;
        Ok(Self { pool })
    }

    /// Puts a queue in line. Never blocks.
    pub(super) fn submit(&self, queue: Arc<Queue>) {
        let mut line = lock(&self.pool.line);
        line.queues.push_back(queue);
        self.pool.see_to(&mut line);
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        lock(&self.pool.line).ended = true;
        self.pool.came.notify_all();
    }
}

impl Pool {
    /// Makes somebody take what is in line.
    fn see_to(self: &Arc<Self>, line: &mut Line) {
        if line.queues.is_empty() {
            return;
        }
        if line.idle > 0 {
            self.came.notify_one();
            return;
        }
        // When none can be started, those that there are work for all.
        if line.threads < THREADS {
            let _ = self.start_thread(line, Duration::ZERO);
        } else if line.threads < MAXIMUM_THREADS && !line.spare {
            line.spare = self.start_thread(line, PATIENCE).is_ok();
        }
    }

    /// Starts a thread that waits for `patience` first.
    fn start_thread(self: &Arc<Self>, line: &mut Line, patience: Duration) -> io::Result<()> {
        let pool = self.clone();
        spawn("cometd-callback", move || {
            if !patience.is_zero() {
                std::thread::sleep(patience);
                lock(&pool.line).spare = false;
            }
            pool.work();
        })?;
        line.threads += 1;
        Ok(())
    }

    fn work(self: &Arc<Self>) {
        while let Some(queue) = self.next() {
            serve(&queue);
            queue.unschedule();
        }
    }

    /// The next queue in line; `None` when the thread is no longer needed.
    fn next(self: &Arc<Self>) -> Option<Arc<Queue>> {
        let mut line = lock(&self.line);
        loop {
            if let Some(queue) = line.queues.pop_front() {
                // This one may block; somebody must see to the rest.
                self.see_to(&mut line);
                return Some(queue);
            }
            let mut timed_out = false;
            if !line.ended {
                line.idle += 1;
                let (next, outcome) = self
                    .came
                    .wait_timeout(line, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                line = next;
                line.idle -= 1;
                timed_out = outcome.timed_out();
            }
            // One stays as long as the dispatcher does: with none left, a
            // system that refuses a thread would silence every callback.
            let spared = timed_out && line.threads > 1;
            if line.queues.is_empty() && (line.ended || spared) {
                line.threads -= 1;
                return None;
            }
        }
    }
}

fn serve(queue: &Arc<Queue>) {
    let _speaking = speak(queue.name());
    for _ in 0..TURN {
        // Asked for each event: it may be replaced or removed in between.
        let Some(callback) = queue.callback() else {
            return;
        };
        let Some(event) = queue.take() else { return };
        let _in_callback = HostCode::enter();
        let outcome: Result<(), Box<dyn Any + Send>> =
            catch_unwind(AssertUnwindSafe(|| callback(event)));
        if outcome.is_err() {
            tracing::error!(target: "cometd::delivery", "a callback panicked");
        }
        // The last use of a callback that was removed meanwhile runs the
        // host's free function; that, too, is the host's code.
        drop(callback);
    }
}

#[cfg(test)]
mod tests;
