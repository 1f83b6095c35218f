//! Which process this is, and what each makes for itself: a forked child has the
//! memory of its parent, and none of its threads.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::{lock, Runtime};
use crate::platform::Identity;

/// The state of one process. A forked child gets another one: the locks of
/// the parent's may be held for ever by threads that the child does not have.
pub struct Process {
    identity: Identity,
    runtime: Mutex<Weak<Runtime>>,
}

static CURRENT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

impl Process {
    /// This process's. Never freed: a handle asks its own whether it has crossed
    /// a fork.
    // Each event that is called back asks for it.
    #[inline]
    pub fn current() -> &'static Self {
        let current = CURRENT.load(Ordering::Acquire);
        // SAFETY: a Process that CURRENT ever pointed to is never freed.
        match unsafe { current.as_ref() } {
            Some(process) if process.is_current() => process,
            _ => Self::replace(current),
        }
    }

    #[cold]
    fn replace(current: *mut Self) -> &'static Self {
        let fresh = Box::into_raw(Box::new(Self {
            identity: Identity::current(),
            runtime: Mutex::new(Weak::new()),
        }));
        match CURRENT.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: `fresh` came from Box::into_raw, and is never freed from here on.
            Ok(_) => unsafe { &*fresh },
            Err(other) => {
                // SAFETY: `fresh` came from Box::into_raw and nobody else saw it;
                // `other` was put there by another thread of this process.
                unsafe {
                    drop(Box::from_raw(fresh));
                    &*other
                }
            }
        }
    }

    /// Whether this is still the process that it was.
    #[inline]
    pub fn is_current(&self) -> bool {
        self.identity.is_own()
    }

    /// The runtime, started when there is none.
    pub fn runtime(&self) -> io::Result<Arc<Runtime>> {
        let mut slot = lock(&self.runtime);
        if let Some(runtime) = slot.upgrade() {
            return Ok(runtime);
        }
        let runtime = Arc::new(Runtime::start(super::threads())?);
        *slot = Arc::downgrade(&runtime);
        Ok(runtime)
    }
}

/// Something that each process makes for itself, and once. There is no lock in
/// it, which a fork could leave locked in the child: two threads that come at
/// once both make it, and one of the two is kept.
pub struct PerProcess<T> {
    entry: AtomicPtr<Entry<T>>,
}

struct Entry<T> {
    process: &'static Process,
    value: T,
}

impl<T> PerProcess<T> {
    pub const fn new() -> Self {
        Self {
            entry: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// What this process has made, if it has.
    pub fn get(&self) -> Option<&T> {
        // SAFETY: an entry lives as long as `self`, or longer.
        let entry = unsafe { self.entry.load(Ordering::Acquire).as_ref() }?;
        entry.process.is_current().then_some(&entry.value)
    }

    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        let before = self.entry.load(Ordering::Acquire);
        // SAFETY: an entry lives as long as `self`, or longer.
        if let Some(entry) = unsafe { before.as_ref() } {
            if entry.process.is_current() {
                return &entry.value;
            }
        }
        let fresh = Box::into_raw(Box::new(Entry {
            process: Process::current(),
            value: make(),
        }));
        // What a parent has made stays where it is: a lock in it may be held.
        let exchanged =
            self.entry
                .compare_exchange(before, fresh, Ordering::AcqRel, Ordering::Acquire);
        match exchanged {
            // SAFETY: as above.
            Ok(_) => unsafe { &(*fresh).value },
            Err(other) => {
                // SAFETY: `fresh` came from Box::into_raw and nobody else saw it;
                // `other` was put there by another thread of this process.
                unsafe {
                    drop(Box::from_raw(fresh));
                    &(*other).value
                }
            }
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: it came from Box::into_raw, and nobody uses `self` any more.
            drop(unsafe { Box::from_raw(*self.entry.get_mut()) });
        }
    }
}

// SAFETY: it gives out `&T` to whichever thread, and drops a `T` on another one
// than made it.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::platform::testing::{end_after, in_a_bare_child};

    #[test]
    fn limit_bare_fork_the_process_is_told_without_a_handler() {
        let own = Process::current();
        assert!(own.is_current());
        in_a_bare_child(|| !own.is_current());
        assert!(own.is_current());
        assert!(ptr::eq(own, Process::current()));
    }

    #[test]
    fn limit_fork_what_a_process_makes_is_made_once_and_anew_in_a_child() {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let alive = AtomicUsize::new(0);
        let make = || {
            alive.fetch_add(1, Ordering::SeqCst);
            Counted(&alive)
        };
        let made = PerProcess::new();
        assert!(made.get().is_none());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| made.get_or_make(make));
            }
        });
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        in_a_bare_child(|| made.get().is_none());
        drop(made);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    /// As the settings of the first https client are, and whatever else takes time.
    #[test]
    fn limit_fork_tls_what_is_being_made_at_the_fork_is_made_by_the_child() {
        use std::sync::mpsc::sync_channel;
        static MADE: PerProcess<u32> = PerProcess::new();
        let (begun, has_begun) = sync_channel(0);
        let (go, may_go) = sync_channel::<()>(0);
        let making = std::thread::spawn(move || {
            *MADE.get_or_make(|| {
                begun.send(()).unwrap();
                may_go.recv().unwrap();
                1
            })
        });
        has_begun.recv().unwrap();
        in_a_bare_child(|| {
            // Were it to wait for a thread that is not there, this ends it.
            end_after(20);
            *MADE.get_or_make(|| 2) == 2 && MADE.get() == Some(&2)
        });
        go.send(()).unwrap();
        assert_eq!(making.join().unwrap(), 1);
        in_a_bare_child(|| *MADE.get_or_make(|| 3) == 3);
        assert_eq!(MADE.get(), Some(&1));
    }
}
