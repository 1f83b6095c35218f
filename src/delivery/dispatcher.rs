//! The threads that run the host's callbacks.
//!
//! A queue with a callback is put in line when something comes; a thread takes
//! it, calls for a number of events, and puts it back behind the others. Four
//! threads serve everybody, as long as callbacks return soon. When all of them
//! are kept busy for longer, a spare one starts, so that a callback that blocks
//! delays nobody but its own client.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{unbounded, Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::event::Event;
use super::queue::Queue;
use crate::runtime::spawn;

/// A callback with all that it needs.
pub type Callback = Box<dyn Fn(Event) + Send + Sync>;

const THREADS: usize = 4;
/// With so many callbacks blocked at once, further ones have to wait.
const MAXIMUM_THREADS: usize = 256;
/// How long all threads must be busy before a spare one helps.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);
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
    line: Sender<Arc<Queue>>,
    pool: Arc<Pool>,
}

struct Pool {
    waiting: Receiver<Arc<Queue>>,
    threads: AtomicUsize,
    idle: AtomicUsize,
    /// Spare threads that are still patient; at most one.
    spare: AtomicUsize,
}

impl Dispatcher {
    /// Starts the first thread, so that a system without threads says so here.
    pub fn start() -> io::Result<Self> {
        let (line, waiting) = unbounded();
        let pool = Arc::new(Pool {
            waiting,
            threads: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
        });
        start_thread(&pool)?;
        Ok(Self { line, pool })
    }

    /// Puts a queue in line. Never blocks.
    pub(super) fn submit(&self, queue: Arc<Queue>) {
        // The pool holds the other end, so the channel is never closed.
        let _ = self.line.send(queue);
        ensure_threads(&self.pool);
    }
}

fn ensure_threads(pool: &Arc<Pool>) {
    if pool.idle.load(Ordering::SeqCst) > 0 || pool.waiting.is_empty() {
        return;
    }
    let threads = pool.threads.load(Ordering::SeqCst);
    let started = if threads < THREADS {
        start_thread(pool)
    } else if threads < MAXIMUM_THREADS && pool.spare.swap(1, Ordering::SeqCst) == 0 {
        start_spare(pool)
    } else {
        Ok(())
    };
    // One that could not be started is tried again with the next event; until
    // then the others work for all.
    drop(started);
}

fn start_thread(pool: &Arc<Pool>) -> io::Result<()> {
    pool.threads.fetch_add(1, Ordering::SeqCst);
    let of_thread = pool.clone();
    spawn("cometd-callback", move || {
        work(&of_thread);
        of_thread.threads.fetch_sub(1, Ordering::SeqCst);
    })
    .inspect_err(|_| {
        pool.threads.fetch_sub(1, Ordering::SeqCst);
    })
}

fn start_spare(pool: &Arc<Pool>) -> io::Result<()> {
    pool.threads.fetch_add(1, Ordering::SeqCst);
    let of_thread = pool.clone();
    spawn("cometd-callback", move || {
        std::thread::sleep(PATIENCE);
        of_thread.spare.store(0, Ordering::SeqCst);
        work(&of_thread);
        of_thread.threads.fetch_sub(1, Ordering::SeqCst);
    })
    .inspect_err(|_| {
        pool.spare.store(0, Ordering::SeqCst);
        pool.threads.fetch_sub(1, Ordering::SeqCst);
    })
}

fn work(pool: &Arc<Pool>) {
    loop {
        let queue = match pool.waiting.try_recv() {
            Ok(queue) => queue,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                pool.idle.fetch_add(1, Ordering::SeqCst);
                let next = pool.waiting.recv_timeout(IDLE);
                pool.idle.fetch_sub(1, Ordering::SeqCst);
                match next {
                    Ok(queue) => queue,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        // A queue that came in this very moment counted on it.
                        match pool.waiting.try_recv() {
                            Ok(queue) => queue,
                            Err(_) => return,
                        }
                    }
                }
            }
        };
        // This one may block; somebody must see to the rest of the line.
        ensure_threads(pool);
        serve(&queue);
        queue.unschedule();
    }
}

fn serve(queue: &Arc<Queue>) {
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
        if let Some(free) = self.free.get() {
            let _in_callback = HostCode::enter();
            // SAFETY: the host gave both for this purpose.
            unsafe { free(self.user) };
        }
    }
}
