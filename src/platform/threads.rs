//! What may happen to a thread from outside.

pub use cancellation::Uncancelled;
pub use signals::SignalsBlocked;

#[cfg(all(target_os = "linux", not(miri)))]
mod cancellation {
    use std::ptr;

    /// While it lives, `pthread_cancel` does nothing to this thread: it takes effect
    /// when the library is left. In the middle, the unwinding would meet a place where
    /// panics are caught, and end the process.
    pub struct Uncancelled {
        before: libc::c_int,
    }

    extern "C" {
        fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
    }

    impl Uncancelled {
        pub fn from_here() -> Self {
            const DISABLED: libc::c_int = 1;
            let mut before = 0;
            // SAFETY: both are of this thread only.
            unsafe { pthread_setcancelstate(DISABLED, &mut before) };
            Self { before }
        }
    }

    impl Drop for Uncancelled {
        fn drop(&mut self) {
            // SAFETY: as above; it is the state that the thread had. This is no
            // cancellation point.
            unsafe { pthread_setcancelstate(self.before, ptr::null_mut()) };
        }
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod cancellation {
    /// Nobody cancels threads here.
    pub struct Uncancelled;

    impl Uncancelled {
        pub fn from_here() -> Self {
            Self
        }
    }
}

#[cfg(all(unix, not(miri)))]
mod signals {
    use std::mem::MaybeUninit;
    use std::ptr;

    /// While it lives, this thread takes no signals, nor does one that it starts.
    pub struct SignalsBlocked(Option<libc::sigset_t>);

    impl SignalsBlocked {
        pub fn from_here() -> Self {
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
    }

    impl Drop for SignalsBlocked {
        fn drop(&mut self) {
            if let Some(before) = &self.0 {
                // SAFETY: it is the mask that the thread had.
                unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
            }
        }
    }
}

#[cfg(not(all(unix, not(miri))))]
mod signals {
    /// There are none.
    pub struct SignalsBlocked;

    impl SignalsBlocked {
        pub fn from_here() -> Self {
            Self
        }
    }
}
