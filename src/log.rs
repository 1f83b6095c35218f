//! Log lines for the host: one sink for the process, fed by `tracing`.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::delivery::HostCode;

/// Takes level, target and text.
pub type Sink = dyn Fn(Level, &str, &str) + Send + Sync;

struct Installed {
    sink: Option<Arc<Sink>>,
    maximum: LevelFilter,
}

static INSTALLED: RwLock<Installed> = RwLock::new(Installed {
    sink: None,
    maximum: LevelFilter::OFF,
});
/// The maximum level again, where it can be read without a lock.
static MAXIMUM: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// A sink that calls the library must not log about it, for ever.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Another subscriber of the program's own is installed.
#[derive(Debug, thiserror::Error)]
#[error("the program has installed another tracing subscriber")]
pub struct AlreadyTaken;

/// Replaces the sink; the one before is dropped when its last call has returned.
pub fn set(sink: Option<Arc<Sink>>, maximum: LevelFilter) -> Result<(), AlreadyTaken> {
    static SUBSCRIBED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let ours = *SUBSCRIBED.get_or_init(|| tracing::subscriber::set_global_default(ToSink).is_ok());
    if !ours {
        return Err(AlreadyTaken);
    }
    let before = {
        let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
        installed.maximum = maximum;
        MAXIMUM.store(rank(maximum), Ordering::SeqCst);
        std::mem::replace(&mut installed.sink, sink)
    };
    tracing::callsite::rebuild_interest_cache();
    // Not under the lock: dropping it runs the host's free function.
    drop(before);
    Ok(())
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
        Some(
            INSTALLED
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .maximum,
        )
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
        let sink = INSTALLED
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .sink
            .clone();
        let Some(sink) = sink else { return };
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
