//! What tests ask of the system, or do to it.

use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use super::RawDescriptor;

pub fn is_readable(fd: RawDescriptor) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    unsafe { libc::poll(&mut poll, 1, 0) == 1 }
}

pub fn is_closed_by_exec(fd: RawDescriptor) -> bool {
    unsafe { libc::fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

pub fn never_blocks(fd: RawDescriptor) -> bool {
    unsafe { libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// Whether this thread blocks signals that a host may have a handler for.
pub fn blocks_signals() -> [bool; 4] {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), set.as_mut_ptr());
        let set = set.assume_init();
        [libc::SIGTERM, libc::SIGUSR1, libc::SIGPIPE, libc::SIGCHLD]
            .map(|signal| libc::sigismember(&set, signal) == 1)
    }
}

/// What this thread has taken of a processor.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A signal ends this process then.
pub fn end_after(seconds: u32) {
    unsafe { libc::alarm(seconds) };
}

/// From here on the process gets no descriptors.
pub fn refuse_descriptors() {
    let limit = libc::rlimit {
        rlim_cur: 3,
        rlim_max: 3,
    };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// The kernel keeps one connection that is not accepted, and answers nobody any more.
pub fn keep_nobody_waiting(server: &TcpListener) {
    assert_eq!(unsafe { libc::listen(server.as_raw_fd(), 0) }, 0);
}

/// Forks; the child answers by its status.
pub fn in_a_child(check: impl FnOnce() -> bool) {
    answered(unsafe { libc::fork() }, check);
}

/// Forks without running anybody's handlers, where that can be.
pub fn in_a_bare_child(check: impl FnOnce() -> bool) {
    #[cfg(target_os = "linux")]
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } as libc::pid_t;
    #[cfg(not(target_os = "linux"))]
    let child = unsafe { libc::fork() };
    answered(child, check);
}

fn answered(child: libc::pid_t, check: impl FnOnce() -> bool) {
    if child == 0 {
        let good = check();
        // SAFETY: it takes a number.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = -1;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}

/// How a dead line is noticed: in seconds, and milliseconds.
#[derive(Debug)]
pub struct DeadLine {
    pub probes: bool,
    pub sends_at_once: bool,
    pub idle: i32,
    pub interval: i32,
    pub count: i32,
    pub unacknowledged: Option<i32>,
}

impl DeadLine {
    pub fn of(socket: &impl AsRawFd) -> Self {
        #[cfg(target_vendor = "apple")]
        use libc::TCP_KEEPALIVE as TCP_KEEPIDLE;
        #[cfg(not(target_vendor = "apple"))]
        use libc::TCP_KEEPIDLE;
        let option = |level, name| {
            let mut value: i32 = -1;
            let mut length = std::mem::size_of::<i32>() as libc::socklen_t;
            let result = unsafe {
                let value: *mut i32 = &mut value;
                let socket = socket.as_raw_fd();
                libc::getsockopt(socket, level, name, value.cast(), &mut length)
            };
            assert_eq!(result, 0);
            value
        };
        let tcp = |name| option(libc::IPPROTO_TCP, name);
        Self {
            probes: option(libc::SOL_SOCKET, libc::SO_KEEPALIVE) != 0,
            sends_at_once: tcp(libc::TCP_NODELAY) != 0,
            idle: tcp(TCP_KEEPIDLE),
            interval: tcp(libc::TCP_KEEPINTVL),
            count: tcp(libc::TCP_KEEPCNT),
            #[cfg(target_os = "linux")]
            unacknowledged: Some(tcp(libc::TCP_USER_TIMEOUT)),
            #[cfg(not(target_os = "linux"))]
            unacknowledged: None,
        }
    }
}
