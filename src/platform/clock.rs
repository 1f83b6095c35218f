//! A clock that goes on while the machine sleeps, where the system has one.

use std::time::Duration;

/// Since the machine started, the time that it slept included.
#[cfg(unix)]
pub fn since_start() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the call to write.
    unsafe {
        if libc::clock_gettime(COUNTS_SLEEP, &mut time) != 0 {
            libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time);
        }
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.into()))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const COUNTS_SLEEP: libc::clockid_t = libc::CLOCK_BOOTTIME;
/// It counts the sleep on macOS. FreeBSD promises that of none.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const COUNTS_SLEEP: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Since the machine started, the time that it slept included; in steps of some
/// 16 milliseconds.
#[cfg(windows)]
pub fn since_start() -> Duration {
    #[link(name = "kernel32")]
    extern "system" {
        fn GetTickCount64() -> u64;
    }
    // SAFETY: it takes nothing and cannot fail.
    Duration::from_millis(unsafe { GetTickCount64() })
}
