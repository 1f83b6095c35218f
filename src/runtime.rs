//! What the process has once: the I/O runtime and the dispatcher of callbacks,
//! alive as long as a client needs them, and dead in a forked child.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::aside::Aside;
use crate::delivery::Dispatcher;

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

thread_local! {
    static DOES_IO: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread does I/O, so that nothing of the host's may run on it.
pub fn on_io_thread() -> bool {
    DOES_IO.get()
}

/// The state of one process. A forked child gets another one: the locks of
/// the parent's may be held for ever by threads that the child does not have.
pub struct Process {
    runtime: Mutex<Weak<Runtime>>,
    dispatcher: Mutex<Weak<Dispatcher>>,
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

extern "C" fn forget_in_child() {
    CURRENT.store(ptr::null_mut(), Ordering::SeqCst);
}

impl Process {
    /// This process's. Never freed: a handle compares it with its own to learn
    /// whether it has crossed a fork.
    pub fn current() -> &'static Self {
        let mut current = CURRENT.load(Ordering::Acquire);
        if current.is_null() {
            static REGISTERED: std::sync::Once = std::sync::Once::new();
            REGISTERED.call_once(|| {
                // SAFETY: the handler does one atomic store and lives as long as
                // the library, which is never unloaded (linked with nodelete).
                unsafe { libc::pthread_atfork(None, None, Some(forget_in_child)) };
            });
            let fresh = Box::into_raw(Box::new(Self {
                runtime: Mutex::new(Weak::new()),
                dispatcher: Mutex::new(Weak::new()),
            }));
            match CURRENT.compare_exchange(
                ptr::null_mut(),
                fresh,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => current = fresh,
                Err(other) => {
                    // SAFETY: `fresh` came from Box::into_raw and nobody else saw it.
                    drop(unsafe { Box::from_raw(fresh) });
                    current = other;
                }
            }
        }
        // SAFETY: a Process that CURRENT ever pointed to is never freed.
        unsafe { &*current }
    }

    /// Whether this is still the process that it was.
    pub fn is_current(&self) -> bool {
        ptr::eq(CURRENT.load(Ordering::Acquire), self)
    }

    /// The runtime, started when there is none.
    pub fn runtime(&self) -> io::Result<Arc<Runtime>> {
        let mut slot = lock(&self.runtime);
        if let Some(runtime) = slot.upgrade() {
            return Ok(runtime);
        }
        let runtime = Arc::new(Runtime::start(THREADS.load(Ordering::Relaxed))?);
        *slot = Arc::downgrade(&runtime);
        Ok(runtime)
    }

    /// The dispatcher, started when there is none.
    pub fn dispatcher(&self) -> io::Result<Arc<Dispatcher>> {
        let mut slot = lock(&self.dispatcher);
        if let Some(dispatcher) = slot.upgrade() {
            return Ok(dispatcher);
        }
        let dispatcher = Arc::new(Dispatcher::start()?);
        *slot = Arc::downgrade(&dispatcher);
        Ok(dispatcher)
    }
}

/// The tokio runtime. Dropping it stops it without waiting, from any thread,
/// one of its own included.
pub struct Runtime {
    handle: Handle,
    aside: Arc<Aside>,
    /// Dropped with the runtime, which is what its thread waits for.
    _stop: oneshot::Sender<()>,
}

/// getaddrinfo blocks; so many of them run at once, and their threads go soon.
const BLOCKING_THREADS: usize = 16;
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(2);

impl Runtime {
    fn start(threads: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        // Everything is built on the thread that blocks all signals, so that
        // whatever tokio starts inherits that from its first instruction on.
        spawn("cometd-io", move || {
            DOES_IO.set(true);
            let mut builder = if threads > 1 {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            } else {
                Builder::new_current_thread()
            };
            let runtime = builder
                .enable_io()
                .enable_time()
                .thread_name("cometd-io")
                .on_thread_start(|| DOES_IO.set(true))
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_keep_alive(BLOCKING_KEEP_ALIVE)
                .build();
            match runtime {
                Ok(runtime) => {
                    let _ = started.send(Ok(runtime.handle().clone()));
                    runtime.block_on(async {
                        let _ = stopped.await;
                    });
                    // Without waiting for a getaddrinfo that hangs.
                    runtime.shutdown_background();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
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

/// Starts a thread that no signal of the host is delivered to.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are written before they are read; the mask is the
    // calling thread's own and is put back below.
    let masked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let result = thread::Builder::new().name(name.into()).spawn(body);
    if masked {
        // SAFETY: `before` was written by the successful call above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    }
    result.map(drop)
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
