//! The end of the process, as far as OpenSSL is concerned.
//!
//! A program, or another library in it, that initialises OpenSSL has it clean up
//! when the process ends. That frees what a thread in the middle of a TLS
//! handshake stands on, and threads run on while `exit` does its work. So OpenSSL
//! is asked to call back before it cleans up: from then on no I/O thread does
//! anything any more, once those that do something have come to its end. This
//! library itself initialises OpenSSL without that; then nobody calls back, and
//! nothing is cleaned up. Neither installs an exit handler of the library's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{on_io_thread, PerProcess};
use crate::platform::before_openssl_ends;

/// How many threads are inside, and whether any more may enter.
static GATE: PerProcess<AtomicUsize> = PerProcess::new();
const CLOSED: usize = 1 << (usize::BITS - 1);

/// What a thread does at once takes some milliseconds at most; but it may be in a
/// log sink, which waits for what the thread that ends the process holds.
const PATIENCE: Duration = Duration::from_secs(2);

fn gate() -> &'static AtomicUsize {
    GATE.get_or_make(AtomicUsize::default)
}

/// Before an I/O thread does something. Never returns at the end of the process.
pub(super) fn enter() {
    if gate().fetch_add(1, Ordering::SeqCst) & CLOSED != 0 {
        leave();
        loop {
            thread::park();
        }
    }
}

/// Behind what it has done, before it waits for more.
pub(super) fn leave() {
    gate().fetch_sub(1, Ordering::SeqCst);
}

/// For threads of the host's: `None` at the end of the process.
pub fn inside<T>(what: impl FnOnce() -> T) -> Option<T> {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            leave();
        }
    }
    let before = gate().fetch_add(1, Ordering::SeqCst);
    let _inside = Inside;
    (before & CLOSED == 0).then(what)
}

/// Has OpenSSL call back at the end. It has been initialised by now.
pub fn watch_openssl() {
    // A child has inherited the handler.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.swap(true, Ordering::SeqCst) {
        before_openssl_ends(close);
    }
}

/// Waits until nobody is inside. Whoever ends the process may be so itself.
extern "C" fn close() {
    let Some(gate) = GATE.get() else { return };
    gate.fetch_or(CLOSED, Ordering::SeqCst);
    let own = usize::from(on_io_thread());
    let start = Instant::now();
    while gate.load(Ordering::SeqCst) & !CLOSED > own && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
}
