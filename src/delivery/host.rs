//! The host's own code, where the library calls it: what holds inside, and what
//! belongs to it.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use crate::platform::contain;
use crate::runtime::{forkable, on_io_thread, spawn};

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

/// A function of the host's has ended the thread that it ran on. That is how
/// CPython treats threads that come back to it while it ends, and soon after
/// there is nothing left for its functions to run on: no other one is called.
static ENDING: AtomicBool = AtomicBool::new(false);

/// A pointer of the host's, and the function that frees it: called once, when
/// the last user of the pointer is gone.
pub struct HostData {
    user: *mut c_void,
    free: OnceLock<FreeUser>,
}

/// A function that frees a pointer of the host's.
pub type FreeUser = unsafe extern "C-unwind" fn(*mut c_void);

// SAFETY: the host promises with each callback that `user` may be used and
// freed on another thread; the library itself never looks into it.
unsafe impl Send for HostData {}
unsafe impl Sync for HostData {}

impl HostData {
    pub fn new(user: *mut c_void, free: Option<FreeUser>) -> Self {
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

    pub fn arm(&self, free: Option<FreeUser>) {
        if let Some(free) = free {
            let _ = self.free.set(free);
        }
    }

    /// Calls a function of the host's with this pointer. `None` when it, or another
    /// one before, has ended its thread.
    pub fn call<T>(&self, function: impl FnOnce(*mut c_void) -> T) -> Option<T> {
        if ENDING.load(Ordering::SeqCst) {
            return None;
        }
        let _host = HostCode::enter();
        let result = forkable(|| contain(|| function(self.user)));
        if result.is_none() {
            ENDING.store(true, Ordering::SeqCst);
        }
        result
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
    free: FreeUser,
}

// SAFETY: as of HostData.
unsafe impl Send for Last {}

impl Drop for Last {
    fn drop(&mut self) {
        let _in_callback = HostCode::enter();
        // SAFETY: the host gave both for this purpose.
        forkable(|| contain(|| unsafe { (self.free)(self.user) }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::runtime::Process;

    #[test]
    fn a_call_of_the_hosts_inside_another_leaves_the_outer_one_marked() {
        assert!(!in_callback());
        let outer = HostCode::enter();
        drop(HostCode::enter());
        assert!(in_callback());
        drop(outer);
        assert!(!in_callback());
    }

    /// What a free function saw: how often it ran, whether inside a call of the
    /// host's, and whether on a thread that does I/O.
    #[derive(Default)]
    struct Freed {
        times: AtomicUsize,
        in_callback: AtomicUsize,
        on_io_thread: AtomicUsize,
    }

    unsafe extern "C-unwind" fn free(user: *mut c_void) {
        let freed = unsafe { &*user.cast::<Freed>() };
        let add = |counter: &AtomicUsize, yes: bool| {
            counter.fetch_add(usize::from(yes), Ordering::SeqCst);
        };
        add(&freed.in_callback, in_callback());
        add(&freed.on_io_thread, on_io_thread());
        add(&freed.times, true);
    }

    #[test]
    fn contract_5_the_hosts_data_is_freed_once_as_the_hosts_code() {
        let freed = Freed::default();
        let user = std::ptr::from_ref(&freed).cast_mut().cast();
        let data = HostData::new(user, Some(free));
        assert_eq!(data.call(|it| it), Some(user));
        assert_eq!(freed.times.load(Ordering::SeqCst), 0);
        drop(data);
        assert_eq!(freed.times.load(Ordering::SeqCst), 1);
        assert_eq!(freed.in_callback.load(Ordering::SeqCst), 1);
        assert!(!in_callback());
    }

    #[test]
    fn contract_5_data_that_was_never_the_librarys_is_not_freed() {
        let freed = Freed::default();
        let user = std::ptr::from_ref(&freed).cast_mut().cast();
        drop(HostData::unarmed(user));
        drop(HostData::new(user, None));
        assert_eq!(freed.times.load(Ordering::SeqCst), 0);
        let data = HostData::unarmed(user);
        data.arm(None);
        data.arm(Some(free));
        drop(data);
        assert_eq!(freed.times.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn contract_5_a_free_function_never_runs_on_the_thread_of_everybodys_io() {
        // It lives as long as whatever thread frees it.
        static FREED: std::sync::OnceLock<Freed> = std::sync::OnceLock::new();
        let freed = FREED.get_or_init(Freed::default);
        let data = HostData::new(std::ptr::from_ref(freed).cast_mut().cast(), Some(free));
        let runtime = Process::current().runtime().unwrap();
        runtime.handle().spawn(async move {
            assert!(on_io_thread());
            drop(data);
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while freed.times.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < deadline, "the free function did not come");
            std::thread::yield_now();
        }
        assert_eq!(freed.on_io_thread.load(Ordering::SeqCst), 0);
    }
}
