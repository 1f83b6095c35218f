//! What the process has once: the I/O runtime, alive as long as a client needs
//! it, and dead in a forked child; and threads that are left in peace.

pub mod exit;
mod process;

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::aside::Aside;
use crate::platform::{end_at_once, stay_loaded, SignalsBlocked, Uncancelled};
pub use process::{PerProcess, Process};

/// Locks; a panic of another thread does not make the data unusable here, for
/// no lock of the library is held across code that can leave it half changed.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many threads do I/O.
static THREADS: AtomicUsize = AtomicUsize::new(1);

/// The largest number of I/O threads.
pub const MAXIMUM_THREADS: usize = 64;

/// Sets the number of I/O threads for the runtime that starts next.
pub fn set_threads(threads: usize) {
    THREADS.store(threads.clamp(1, MAXIMUM_THREADS), Ordering::Relaxed);
}

fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

thread_local! {
    static DOES_IO: Cell<bool> = const { Cell::new(false) };
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// Calls code of the host's, which may fork. Where it returns in the child on a
/// thread of the library's, that is the only one there, and would go on with the
/// parent's work, on the parent's sockets: the child ends, as a process does with
/// its last thread.
pub fn forkable<T>(call: impl FnOnce() -> T) -> T {
    let process = Process::current();
    let result = call();
    if IS_OURS.get() && !process.is_current() {
        // Exit handlers are the parent's, and may wait for threads that only the
        // parent has.
        end_at_once();
    }
    result
}

/// Whether this thread does I/O, so that nothing of the host's may run on it.
pub fn on_io_thread() -> bool {
    DOES_IO.get()
}

/// The tokio runtime. Dropping it stops it without waiting, from any thread,
/// one of its own included.
pub struct Runtime {
    handle: Handle,
    aside: Arc<Aside>,
    /// Dropped with the runtime, which is what its thread waits for.
    _stop: oneshot::Sender<()>,
}

impl Runtime {
    fn start(threads: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        // Everything is built on the thread that blocks all signals, so that
        // whatever tokio starts inherits that from its first instruction on.
        spawn("cometd-io", move || {
            DOES_IO.set(true);
            if let Err(error) = rehearse(if threads > 1 { threads } else { 0 }) {
                let _ = started.send(Err(error));
                return;
            }
            let mut builder = if threads > 1 {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            } else {
                // This thread is the one that works.
                exit::enter();
                Builder::new_current_thread()
            };
            let runtime = builder
                .enable_io()
                .enable_time()
                .thread_name("cometd-io")
                .on_thread_start(|| {
                    DOES_IO.set(true);
                    IS_OURS.set(true);
                    exit::enter();
                })
                .on_thread_park(exit::leave)
                .on_thread_unpark(exit::enter)
                .on_thread_stop(exit::leave)
                .build();
            match runtime {
                Ok(runtime) => {
                    let _ = started.send(Ok(runtime.handle().clone()));
                    runtime.block_on(async {
                        let _ = stopped.await;
                    });
                    // Without waiting for its other threads.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
            if threads == 1 {
                exit::leave();
            }
        })?;
        let handle = outcome
            .recv()
            .map_err(|_| io::Error::other("the I/O thread ended at its start"))??;
        Ok(Self {
            handle,
            aside: Arc::default(),
            _stop: stop,
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// For what would keep the I/O thread too long.
    pub fn aside(&self) -> &Arc<Aside> {
        &self.aside
    }
}

/// Starts so many threads and ends them again: tokio panics, and leaves behind
/// those that it has, when the system refuses it one of its own.
fn rehearse(threads: usize) -> io::Result<()> {
    // Free when they may end.
    let all_there = Arc::new(Mutex::new(()));
    let not_yet = lock(&all_there);
    let mut started = Vec::with_capacity(threads);
    let mut outcome = Ok(());
    for _ in 0..threads {
        let wait = all_there.clone();
        match spawn_joinable("cometd-io", move || drop(lock(&wait))) {
            Ok(thread) => started.push(thread),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    drop(not_yet);
    for thread in started {
        let _ = thread.join();
    }
    outcome
}

/// Starts a thread that no signal of the host is delivered to.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn_joinable(name, body).map(drop)
}

fn spawn_joinable(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    stay_loaded();
    let _blocked = SignalsBlocked::from_here();
    let body = || {
        // Only code of the host's can know of this thread.
        let _uncancelled = Uncancelled::from_here();
        IS_OURS.set(true);
        body();
    };
    thread::Builder::new().name(name.into()).spawn(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::blocks_signals;

    #[test]
    fn a_thread_blocks_all_signals_and_the_callers_mask_is_kept_contract_10() {
        let before = blocks_signals();
        let (send, receive) = std::sync::mpsc::channel();
        spawn("test", move || send.send(blocks_signals()).unwrap()).unwrap();
        assert_eq!(receive.recv().unwrap(), [true; 4]);
        assert_eq!(blocks_signals(), before);
    }
}
