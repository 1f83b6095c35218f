//! What a host's event loop waits on: readable, or not.

use std::io;

pub use system::{Descriptor, RawDescriptor, NO_DESCRIPTOR};

/// An eventfd.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

    use super::io;

    pub type RawDescriptor = RawFd;
    pub const NO_DESCRIPTOR: RawDescriptor = -1;

    pub struct Descriptor(OwnedFd);

    impl Descriptor {
        /// Not readable yet.
        pub fn new() -> io::Result<Self> {
            // SAFETY: a plain system call; the result is checked and owned here.
            unsafe {
                let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
                if fd < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(Self(OwnedFd::from_raw_fd(fd)))
            }
        }

        pub fn raw(&self) -> RawDescriptor {
            self.0.as_raw_fd()
        }

        /// Makes it readable, which it is not.
        pub fn set(&self) {
            let counter: u64 = 1;
            let counter: *const u64 = &counter;
            // SAFETY: the descriptor is open, and an eventfd is written 8 bytes.
            // That does not block: the counter is 0.
            unsafe { libc::write(self.raw(), counter.cast(), 8) };
        }

        /// Makes it not readable, which it is.
        pub fn clear(&self) {
            let mut counter: u64 = 0;
            let counter: *mut u64 = &mut counter;
            // SAFETY: the descriptor is open, and an eventfd reads 8 bytes.
            unsafe { libc::read(self.raw(), counter.cast(), 8) };
        }
    }
}

/// One end of a socket pair, where there is no eventfd.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod system {
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, RawFd};
    use std::os::unix::net::UnixStream;

    use super::io;

    pub type RawDescriptor = RawFd;
    pub const NO_DESCRIPTOR: RawDescriptor = -1;

    pub struct Descriptor {
        read: UnixStream,
        write: UnixStream,
    }

    impl Descriptor {
        /// Not readable yet.
        pub fn new() -> io::Result<Self> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            Ok(Self { read, write })
        }

        pub fn raw(&self) -> RawDescriptor {
            self.read.as_raw_fd()
        }

        /// Makes it readable, which it is not.
        pub fn set(&self) {
            let _ = (&self.write).write(&[1]);
        }

        /// Makes it not readable, which it is.
        pub fn clear(&self) {
            let _ = (&self.read).read(&mut [0]);
        }
    }
}

/// One end of a connection over the loopback: sockets are what select, WSAPoll and
/// event loops wait on, and WSAEventSelect makes an event of one.
#[cfg(windows)]
mod system {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::windows::io::{AsRawSocket, RawSocket};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::io;

    pub type RawDescriptor = RawSocket;
    /// INVALID_SOCKET.
    pub const NO_DESCRIPTOR: RawDescriptor = RawSocket::MAX;

    /// A byte takes microseconds to the other end. A host that has read it itself
    /// makes this wait in vain.
    const PATIENCE: Duration = Duration::from_secs(1);
    /// How many connections of other programs are sent away.
    const STRANGERS: usize = 100;

    pub struct Descriptor {
        read: TcpStream,
        write: TcpStream,
    }

    impl Descriptor {
        /// Not readable yet.
        pub fn new() -> io::Result<Self> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let read = TcpStream::connect(listener.local_addr()?)?;
            let own = read.local_addr()?;
            for _ in 0..STRANGERS {
                match listener.accept() {
                    Ok((write, peer)) if peer == own => {
                        read.set_nonblocking(true)?;
                        write.set_nonblocking(true)?;
                        write.set_nodelay(true)?;
                        return Ok(Self { read, write });
                    }
                    Ok(_) => {}
                    // One that has gone again.
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                    Err(error) => return Err(error),
                }
            }
            Err(io::Error::other("other programs took the connection"))
        }

        pub fn raw(&self) -> RawDescriptor {
            self.read.as_raw_socket()
        }

        /// Makes it readable, which it is not.
        pub fn set(&self) {
            let _ = (&self.write).write(&[1]);
        }

        /// Makes it not readable, which it is, or is about to be.
        pub fn clear(&self) {
            let start = Instant::now();
            while let Err(error) = (&self.read).read(&mut [0]) {
                if error.kind() != ErrorKind::WouldBlock || start.elapsed() > PATIENCE {
                    return;
                }
                thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::{is_closed_by_exec, is_readable, never_blocks};

    #[test]
    #[cfg_attr(miri, ignore = "miri cannot ask an eventfd for its flags")]
    fn programs_that_are_started_do_not_get_it_and_it_never_blocks() {
        let descriptor = Descriptor::new().unwrap();
        assert!(is_closed_by_exec(descriptor.raw()));
        assert!(never_blocks(descriptor.raw()));
        assert!(!is_readable(descriptor.raw()));
    }
}
