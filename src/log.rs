//! Log lines for the host: one sink for the process, fed by `tracing`.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::delivery::HostCode;
use crate::runtime::{PerProcess, Process};

/// Takes level, target and text.
pub type Sink = dyn Fn(Level, &str, &str) + Send + Sync;

/// The sink; null when there is none.
static SINK: AtomicPtr<Arc<Sink>> = AtomicPtr::new(ptr::null_mut());
/// Held while a sink is looked up, and alone while one is put in its place.
/// Each process has its own: a thread of the parent's may have held it when the
/// child was forked. The sink itself is the child's as well.
static LOOKING: PerProcess<RwLock<()>> = PerProcess::new();
/// The maximum level.
static MAXIMUM: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// A sink that calls the library must not log about it, for ever.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Why there can be no sink.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("the program has installed another tracing subscriber")]
    Taken,
    #[error("the process was forked while its first sink was being installed")]
    Forked,
}

/// Above it there is what travels.
static BODIES: AtomicBool = AtomicBool::new(false);

/// Whether the log shows what travels.
pub fn wants_bodies() -> bool {
    BODIES.load(Ordering::SeqCst)
}

pub fn want_bodies(wanted: bool) {
    BODIES.store(wanted, Ordering::SeqCst);
}

/// Replaces the sink; the one before is dropped when its last call has returned.
pub fn set(sink: Option<Arc<Sink>>, maximum: LevelFilter) -> Result<(), Unavailable> {
    subscribe()?;
    let sink = sink.map_or(ptr::null_mut(), |sink| Box::into_raw(Box::new(sink)));
    let before = {
        let _alone = alone();
        MAXIMUM.store(rank(maximum), Ordering::SeqCst);
        SINK.swap(sink, Ordering::SeqCst)
    };
    tracing::callsite::rebuild_interest_cache();
    if !before.is_null() {
        // Not under the lock: dropping it runs the host's free function.
        // SAFETY: it came from Box::into_raw, and whoever looked at it has done so.
        drop(unsafe { Box::from_raw(before) });
    }
    Ok(())
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    let looking = LOOKING.get_or_make(RwLock::default);
    looking.write().unwrap_or_else(PoisonError::into_inner)
}

fn installed() -> Option<Arc<Sink>> {
    let looking = LOOKING.get_or_make(RwLock::default);
    let _looking = looking.read().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: one that is replaced is only dropped when nobody looks any more.
    unsafe { SINK.load(Ordering::SeqCst).as_ref() }.cloned()
}

/// Makes this library's subscriber that of the process, if there is none.
fn subscribe() -> Result<(), Unavailable> {
    /// The process that has begun it. That is done once, for tracing takes locks
    /// of its own then, and a child must not wait for them.
    static BY: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());
    const UNKNOWN: u8 = 0;
    const OURS: u8 = 1;
    const TAKEN: u8 = 2;
    static OUTCOME: AtomicU8 = AtomicU8::new(UNKNOWN);
    loop {
        match OUTCOME.load(Ordering::SeqCst) {
            UNKNOWN => {}
            OURS => return Ok(()),
            _ => return Err(Unavailable::Taken),
        }
        let own = ptr::from_ref(Process::current()).cast_mut();
        let begun = BY.compare_exchange(ptr::null_mut(), own, Ordering::SeqCst, Ordering::SeqCst);
        match begun {
            Ok(_) => {
                let ours = tracing::subscriber::set_global_default(ToSink).is_ok();
                OUTCOME.store(if ours { OURS } else { TAKEN }, Ordering::SeqCst);
            }
            Err(other) if other != own => return Err(Unavailable::Forked),
            // Another thread is at it.
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn rank(level: LevelFilter) -> usize {
    match level.into_level() {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(_) => 5,
    }
}

struct ToSink;

impl Subscriber for ToSink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries underneath may print headers; only our own lines are known
        // to hold no secrets.
        let target = metadata.target();
        (target == "cometd" || target.starts_with("cometd::"))
            && metadata.is_event()
            && rank(LevelFilter::from_level(*metadata.level())) <= MAXIMUM.load(Ordering::SeqCst)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match MAXIMUM.load(Ordering::SeqCst) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if LOGGING.replace(true) {
            return;
        }
        let _logged = Logged;
        let Some(sink) = installed() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(client) = crate::speaker::speaker() {
            line.text.insert_str(0, &format!("{client}: "));
        }
        let metadata = event.metadata();
        let _host = HostCode::enter();
        sink(*metadata.level(), metadata.target(), &line.text);
    }
}

struct Logged;

impl Drop for Logged {
    fn drop(&mut self) {
        LOGGING.set(false);
    }
}

/// The message, then its fields.
#[derive(Default)]
struct Line {
    text: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let fields = std::mem::take(&mut self.text);
            let _ = write!(self.text, "{value:?}{fields}");
        } else {
            let _ = write!(self.text, " {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::testing::{end_after, in_a_bare_child};

    #[test]
    fn limit_fork_log_a_sink_is_set_in_a_child_of_a_process_that_logs() {
        let sink: Arc<Sink> = Arc::new(|_, _, _| {});
        set(Some(sink.clone()), LevelFilter::WARN).unwrap();
        let looking = LOOKING.get().unwrap();
        for_each_lock(looking, || {
            in_a_bare_child(|| {
                // Were it to wait for a thread that is not there, this ends it.
                end_after(20);
                // That of the parent is still there, and can be replaced.
                installed().is_some() && {
                    let _alone = alone();
                    SINK.swap(ptr::null_mut(), Ordering::SeqCst);
                    true
                }
            });
        });
        assert!(installed().is_some());
        set(None, LevelFilter::OFF).unwrap();
        assert!(installed().is_none());
        assert_eq!(Arc::strong_count(&sink), 1);
    }

    /// Forks while one thread looks, and while one is about to replace.
    fn for_each_lock(lock: &RwLock<()>, fork: impl Fn()) {
        let looking = lock.read().unwrap();
        fork();
        drop(looking);
        let _alone = lock.write().unwrap();
        fork();
    }
}
