//! A file descriptor that is readable exactly while a queue holds something.

use std::io;
use std::sync::{Mutex, OnceLock};

use crate::platform::{Descriptor, RawDescriptor};
use crate::runtime::lock;

/// A descriptor, made when somebody first asks for it.
#[derive(Default)]
pub struct Readiness {
    descriptor: OnceLock<Descriptor>,
    /// Whether it is readable; guards the changes of that.
    readable: Mutex<bool>,
}

impl Readiness {
    /// The descriptor; the error when the system gives none.
    pub fn fd(&self) -> io::Result<RawDescriptor> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(descriptor.raw());
        }
        let _one_at_a_time = lock(&self.readable);
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(descriptor.raw());
        }
        let descriptor = Descriptor::new()?;
        Ok(self.descriptor.get_or_init(|| descriptor).raw())
    }

    /// Whether there is a descriptor, so that somebody may watch it.
    pub fn is_watched(&self) -> bool {
        self.descriptor.get().is_some()
    }

    /// Makes the descriptor tell what `has_something` tells. Called after each
    /// change of the queue; `has_something` is asked under the lock, so that of
    /// two changes the later caller sees both.
    pub fn update(&self, has_something: impl Fn() -> bool) {
        let Some(descriptor) = self.descriptor.get() else {
            return;
        };
        let mut readable = lock(&self.readable);
        let wanted = has_something();
        if *readable == wanted {
            return;
        }
        if wanted {
            descriptor.set();
        } else {
            descriptor.clear();
        }
        *readable = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::is_readable;

    #[test]
    #[cfg_attr(miri, ignore = "miri has no poll")]
    fn it_is_readable_as_long_as_there_is_something() {
        let readiness = Readiness::default();
        // Nobody has asked for one yet: nothing to tell, and nothing is asked.
        readiness.update(|| unreachable!());
        let fd = readiness.fd().unwrap();
        assert!(fd > 2 && !is_readable(fd));
        for _ in 0..3 {
            // As often as it is told, it is read once.
            readiness.update(|| true);
            readiness.update(|| true);
            assert!(is_readable(fd));
            readiness.update(|| false);
            assert!(!is_readable(fd));
            readiness.update(|| false);
            assert!(!is_readable(fd));
        }
        assert_eq!(readiness.fd().unwrap(), fd, "it stays the same");
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
