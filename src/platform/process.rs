//! Which process this is.

pub use system::Identity;

/// Ends the process with status 0, without handlers.
pub fn end_at_once() -> ! {
    // SAFETY: it takes a number.
    #[cfg(unix)]
    unsafe {
        libc::_exit(0)
    }
    #[cfg(not(unix))]
    std::process::exit(0)
}

#[cfg(unix)]
mod system {
    use std::ptr;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Tells a process from the children that it forks, by whatever function: not
    /// all of them run the handlers of pthread_atfork, as _Fork and clone do not.
    pub struct Identity {
        /// A page that the kernel empties in a child, so that a look at it costs no
        /// system call; `None` where the kernel cannot do that.
        page: Option<ptr::NonNull<AtomicU8>>,
        id: libc::pid_t,
    }

    // SAFETY: the page is never unmapped while this lives, and is only used as an atomic.
    unsafe impl Send for Identity {}
    unsafe impl Sync for Identity {}

    /// The size of the smallest pages; the kernel takes whole ones.
    const PAGE: usize = 4096;

    impl Identity {
        pub fn current() -> Self {
            Self {
                page: Self::page(),
                id: Self::process_id(),
            }
        }

        fn process_id() -> libc::pid_t {
            // SAFETY: it takes nothing and cannot fail.
            unsafe { libc::getpid() }
        }

        #[cfg(all(target_os = "linux", not(miri)))]
        fn page() -> Option<ptr::NonNull<AtomicU8>> {
            // SAFETY: a fresh mapping, of which nobody else knows.
            unsafe {
                let page = libc::mmap(
                    ptr::null_mut(),
                    PAGE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                if page == libc::MAP_FAILED {
                    return None;
                }
                if libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) != 0 {
                    libc::munmap(page, PAGE);
                    return None;
                }
                let page = ptr::NonNull::new(page.cast::<AtomicU8>())?;
                page.as_ref().store(1, Ordering::Release);
                Some(page)
            }
        }

        #[cfg(not(all(target_os = "linux", not(miri))))]
        fn page() -> Option<ptr::NonNull<AtomicU8>> {
            None
        }

        // Each event that is called back asks for it.
        #[inline]
        pub fn is_own(&self) -> bool {
            match self.page {
                // SAFETY: mapped as long as this lives.
                Some(page) => unsafe { page.as_ref() }.load(Ordering::Acquire) == 1,
                None => Self::process_id() == self.id,
            }
        }
    }

    impl Drop for Identity {
        fn drop(&mut self) {
            if let Some(page) = self.page {
                // SAFETY: mapped by `page`, and used by nobody any more.
                unsafe { libc::munmap(page.as_ptr().cast(), PAGE) };
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::platform::testing::in_a_bare_child;

        #[test]
        fn limit_bare_fork_a_child_is_told_with_and_without_such_a_page() {
            let by_page = Identity::current();
            let by_id = Identity {
                page: None,
                id: Identity::process_id(),
            };
            in_a_bare_child(|| !by_page.is_own() && !by_id.is_own());
            assert!(by_page.is_own() && by_id.is_own());
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// Nothing forks.
    pub struct Identity;

    impl Identity {
        pub fn current() -> Self {
            Self
        }

        pub fn is_own(&self) -> bool {
            true
        }
    }
}
