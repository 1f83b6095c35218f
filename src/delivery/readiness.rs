//! A file descriptor that is readable exactly while a queue holds something.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock};

use crate::runtime::lock;

/// An eventfd, made when somebody first asks for it.
#[derive(Default)]
pub struct Readiness {
    fd: OnceLock<OwnedFd>,
    /// Whether it is readable; guards the reads and writes of it.
    readable: Mutex<bool>,
}

impl Readiness {
    /// The descriptor; -1 and the error when the system gives none.
    pub fn fd(&self) -> io::Result<RawFd> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_raw_fd());
        }
        let _one_at_a_time = lock(&self.readable);
        if let Some(fd) = self.fd.get() {
            return Ok(fd.as_raw_fd());
        }
        // SAFETY: a plain system call; the result is checked and owned here.
        let fd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(self.fd.get_or_init(|| fd).as_raw_fd())
    }

    /// Whether there is a descriptor, so that somebody may watch it.
    pub fn is_watched(&self) -> bool {
        self.fd.get().is_some()
    }

    /// Makes the descriptor tell what `has_something` tells. Called after each
    /// change of the queue; `has_something` is asked under the lock, so that of
    /// two changes the later caller sees both.
    pub fn update(&self, has_something: impl Fn() -> bool) {
        let Some(fd) = self.fd.get() else { return };
        let mut readable = lock(&self.readable);
        let wanted = has_something();
        if *readable == wanted {
            return;
        }
        let mut counter: u64 = 1;
        let counter: *mut u64 = &mut counter;
        // SAFETY: the descriptor is open, and an eventfd reads and writes 8
        // bytes. Neither blocks: the counter is 0 or 1 as `readable` says.
        unsafe {
            if wanted {
                libc::write(fd.as_raw_fd(), counter.cast_const().cast(), 8);
            } else {
                libc::read(fd.as_raw_fd(), counter.cast(), 8);
            }
        }
        *readable = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(fd: RawFd) -> bool {
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri has no poll")]
    fn it_is_readable_as_long_as_there_is_something() {
        let readiness = Readiness::default();
        // Nobody has asked for one yet: nothing to tell, and nothing is asked.
        readiness.update(|| unreachable!());
        let fd = readiness.fd().unwrap();
        assert!(fd > 2 && !readable(fd));
        for _ in 0..3 {
            // As often as it is told, it is read once.
            readiness.update(|| true);
            readiness.update(|| true);
            assert!(readable(fd));
            readiness.update(|| false);
            assert!(!readable(fd));
            readiness.update(|| false);
            assert!(!readable(fd));
        }
        assert_eq!(readiness.fd().unwrap(), fd, "it stays the same");
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri cannot ask an eventfd for its flags")]
    fn programs_that_are_started_do_not_get_it_and_it_never_blocks() {
        let readiness = Readiness::default();
        let fd = readiness.fd().unwrap();
        let [descriptor, status] =
            [libc::F_GETFD, libc::F_GETFL].map(|it| unsafe { libc::fcntl(fd, it) });
        assert_ne!(descriptor & libc::FD_CLOEXEC, 0);
        assert_ne!(status & libc::O_NONBLOCK, 0);
    }

    #[test]
    fn of_threads_that_ask_at_once_all_get_the_same() {
        let readiness = Readiness::default();
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| readiness.fd().unwrap()))
                .collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(all.iter().all(|it| *it == all[0]), "{all:?}");
    }
}
