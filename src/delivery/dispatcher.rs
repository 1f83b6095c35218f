//! The threads that run the host's callbacks.
//!
//! Who has calls to make is put in line; a thread takes it, has it make a number
//! of them, and turns to the next. Four threads serve everybody, as long as
//! callbacks return soon. When all of them are kept busy for longer, a spare one
//! starts, so that a callback that blocks delays nobody but its own client.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::runtime::{lock, spawn, PerProcess};

/// Who has calls to make.
pub trait Serve: Send + Sync {
    /// Makes a number of them, few enough that others have their turn soon. Who
    /// has more to make then gets in line again. It does not panic.
    fn serve(&self);
}

const THREADS: usize = 4;
/// With so many callbacks blocked at once, further ones have to wait.
const MAXIMUM_THREADS: usize = 256;
/// How long all threads must be busy before a spare one helps.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a thread waits for work before it ends, if it is not the last.
const IDLE: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 10_000 });

/// Of each process, as long as somebody needs it.
static SHARED: PerProcess<Mutex<Weak<Dispatcher>>> = PerProcess::new();

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
    waiting: VecDeque<Arc<dyn Serve>>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// A spare thread has started and is still patient.
    spare: bool,
    ended: bool,
}

impl Dispatcher {
    /// This process's, started when there is none.
    pub fn shared() -> io::Result<Arc<Self>> {
        let mut slot = lock(SHARED.get_or_make(Mutex::default));
        if let Some(dispatcher) = slot.upgrade() {
            return Ok(dispatcher);
        }
        let dispatcher = Arc::new(Self::start()?);
        *slot = Arc::downgrade(&dispatcher);
        Ok(dispatcher)
    }

    /// Starts the first thread, so that a system without threads says so here.
    pub fn start() -> io::Result<Self> {
        let pool = Arc::new(Pool::default());
        pool.start_thread(&mut lock(&pool.line), Duration::ZERO)?;
        Ok(Self { pool })
    }

    /// Puts somebody in line. Never blocks.
    pub(super) fn submit(&self, who: Arc<dyn Serve>) {
        let mut line = lock(&self.pool.line);
        line.waiting.push_back(who);
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
        if line.waiting.is_empty() {
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
        while let Some(next) = self.next() {
            next.serve();
        }
    }

    /// The next in line; `None` when the thread is no longer needed.
    fn next(self: &Arc<Self>) -> Option<Arc<dyn Serve>> {
        let mut line = lock(&self.line);
        loop {
            if let Some(next) = line.waiting.pop_front() {
                // This one may block; somebody must see to the rest.
                self.see_to(&mut line);
                return Some(next);
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
            if line.waiting.is_empty() && (line.ended || spared) {
                line.threads -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
