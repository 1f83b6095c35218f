//! What the process has once: the I/O runtime, alive as long as a client needs
//! it, and dead in a forked child; and threads that are left in peace.

pub mod exit;
mod process;
pub mod unwind;

use std::cell::Cell;
use std::io;
#[cfg(any(not(miri), test))]
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::aside::Aside;
#[cfg(test)]
pub(crate) use process::in_a_bare_child;
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
        // SAFETY: it takes a number. Exit handlers are the parent's, and may wait
        // for threads that only the parent has.
        unsafe { libc::_exit(0) };
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

/// While it lives, `pthread_cancel` does nothing to this thread: it takes effect
/// when the library is left. In the middle, the unwinding would meet a place where
/// panics are caught, and end the process.
pub struct Uncancelled {
    #[cfg(all(target_os = "linux", not(miri)))]
    before: libc::c_int,
}

#[cfg(all(target_os = "linux", not(miri)))]
extern "C" {
    fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
}

impl Uncancelled {
    #[cfg(all(target_os = "linux", not(miri)))]
    pub fn new() -> Self {
        const DISABLED: libc::c_int = 1;
        let mut before = 0;
        // SAFETY: both are of this thread only.
        unsafe { pthread_setcancelstate(DISABLED, &mut before) };
        Self { before }
    }

    #[cfg(not(all(target_os = "linux", not(miri))))]
    pub fn new() -> Self {
        Self {}
    }
}

impl Default for Uncancelled {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
impl Drop for Uncancelled {
    fn drop(&mut self) {
        // SAFETY: as above; it is the state that the thread had. This is no
        // cancellation point.
        unsafe { pthread_setcancelstate(self.before, std::ptr::null_mut()) };
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
    let _masked = Masked::new();
    let body = || {
        // Only code of the host's can know of this thread.
        let _uncancelled = Uncancelled::new();
        IS_OURS.set(true);
        body();
    };
    thread::Builder::new().name(name.into()).spawn(body)
}

/// While it lives, this thread takes no signals, nor does one that it starts.
struct Masked(Option<libc::sigset_t>);

impl Masked {
    #[cfg(not(miri))]
    fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are written before they are read; the mask is the
        // calling thread's own and is put back when this goes.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            let status =
                libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self((status == 0).then(|| before.assume_init()))
        }
    }

    // It has no signals.
    #[cfg(miri)]
    fn new() -> Self {
        Self(None)
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: it is the mask that the thread had.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_blocks_all_signals_and_the_callers_mask_is_kept_contract_10() {
        let blocked = || {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            unsafe {
                libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), set.as_mut_ptr());
                let set = set.assume_init();
                [libc::SIGTERM, libc::SIGUSR1, libc::SIGPIPE, libc::SIGCHLD]
                    .map(|signal| libc::sigismember(&set, signal) == 1)
            }
        };
        let before = blocked();
        let (send, receive) = std::sync::mpsc::channel();
        spawn("test", move || send.send(blocked()).unwrap()).unwrap();
        assert_eq!(receive.recv().unwrap(), [true; 4]);
        assert_eq!(blocked(), before);
    }
}
