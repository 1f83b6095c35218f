//! The threads that run the host's callbacks.
//!
//! A queue with a callback is put in line when something comes; a thread takes
//! it, calls for a number of events, and puts it back behind the others. Four
//! threads serve everybody, as long as callbacks return soon. When all of them
//! are kept busy for longer, a spare one starts, so that a callback that blocks
//! delays nobody but its own client.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::event::Event;
use super::queue::Queue;
use crate::runtime::{lock, on_io_thread, spawn};
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

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs code of the host's that the library called.
pub fn in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Marks the calls of the host's code.
pub struct HostCode(bool);

impl HostCode {
    pub fn enter() -> Self {
        Self(IN_CALLBACK.replace(true))
    }
}

impl Drop for HostCode {
    fn drop(&mut self) {
        IN_CALLBACK.set(self.0);
    }
}

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

/// A pointer of the host's, and the function that frees it: called once, when
/// the last user of the pointer is gone.
pub struct HostData {
    user: *mut c_void,
    free: OnceLock<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the host promises with each callback that `user` may be used and
// freed on another thread; the library itself never looks into it.
unsafe impl Send for HostData {}
unsafe impl Sync for HostData {}

impl HostData {
    pub fn new(user: *mut c_void, free: Option<unsafe extern "C" fn(*mut c_void)>) -> Self {
        let data = Self::unarmed(user);
        data.arm(free);
        data
    }

    /// One that is not freed until it is armed.
    pub fn unarmed(user: *mut c_void) -> Self {
        Self {
            user,
            free: OnceLock::new(),
        }
    }

    pub fn arm(&self, free: Option<unsafe extern "C" fn(*mut c_void)>) {
        if let Some(free) = free {
            let _ = self.free.set(free);
        }
    }

    pub fn user(&self) -> *mut c_void {
        self.user
    }
}

impl Drop for HostData {
    fn drop(&mut self) {
        let Some(free) = self.free.take() else { return };
        let last = Last {
            user: self.user,
            free,
        };
        // It may block, and the I/O thread is everybody's. Without another
        // thread it runs here all the same, with the closure that holds it.
        if on_io_thread() {
            let _ = spawn("cometd-free", move || drop(last));
        }
    }
}

/// Frees the host's pointer when it is dropped.
struct Last {
    user: *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: as of HostData.
unsafe impl Send for Last {}

impl Drop for Last {
    fn drop(&mut self) {
        let _in_callback = HostCode::enter();
        // SAFETY: the host gave both for this purpose.
        unsafe { (self.free)(self.user) };
    }
}

#[cfg(test)]
mod tests;
