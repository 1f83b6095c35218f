//! The thread that all clients of a process share.

use std::time::Duration;

/// The CPU time that the I/O thread has taken so far.
pub fn cpu_time() -> Duration {
    let of = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let id: libc::pid_t = task.file_name().to_str()?.parse().ok()?;
        (name.trim() == "cometd-io").then_some(id)
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let thread = tasks.flatten().find_map(of).unwrap();
    // What pthread_getcpuclockid gives for a thread by its id.
    let clock = (!thread << 3) | 6;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
