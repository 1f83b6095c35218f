//! What a client has done so far, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use serde::Serialize;

use super::clock;
use crate::delivery::QueueStatistics;
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::{Endpoint, Millis, State};

/// Counters, each written where the thing happens.
#[derive(Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    events: AtomicU64,
    handshakes: AtomicU64,
    connected: AtomicU64,
    round_trip: AtomicU64,
    server_clock: Mutex<Option<i64>>,
    /// Failures of the client itself; those of single messages are told to
    /// whoever sent them.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

/// The numbers at one moment; its JSON is what the host gets.
#[derive(Debug, Serialize)]
pub struct Statistics {
    pub requests: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub events_received: u64,
    pub handshakes: u64,
    pub reconnects: u64,
    /// Of the last request that the server did not hold.
    pub round_trip_ms: u64,
    /// What the server's clock says, since 1970.
    pub server_time_ms: Option<i64>,
    pub failures: BTreeMap<&'static str, u64>,
    /// What was taken although it is not as it should be.
    pub leniencies: BTreeMap<&'static str, u64>,
    /// Whether nothing is sent at this moment because the host does not read.
    pub blocked: bool,
    /// How often that has begun.
    pub times_blocked: u64,
    /// The client's own receiver first, if it has one.
    pub receivers: Vec<QueueStatistics>,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl Counters {
    pub fn sent(&self, endpoint: Endpoint, bytes: usize) {
        add(&self.requests, 1);
        add(&self.bytes_sent, bytes as u64);
        if endpoint == Endpoint::Handshake {
            add(&self.handshakes, 1);
        }
    }

    pub fn replied(&self, endpoint: Endpoint, took: Millis, bytes: usize) {
        add(&self.bytes_received, bytes as u64);
        if endpoint != Endpoint::Connect {
            self.round_trip.store(took, Ordering::Relaxed);
        }
    }

    pub fn events(&self, number: usize) {
        add(&self.events, number as u64);
    }

    pub fn entered(&self, state: State) {
        if state == State::Connected {
            add(&self.connected, 1);
        }
    }

    pub fn failed(&self, error: &Error) {
        *lock(&self.failures).entry(name(error.kind)).or_default() += 1;
    }

    /// The server's clock is so far ahead of the client's.
    pub fn server_clock(&self, ahead: i64) {
        *lock(&self.server_clock) = Some(ahead);
    }

    pub fn server_time(&self, now: Millis) -> Option<i64> {
        let ahead = (*lock(&self.server_clock))?;
        Some(ahead.saturating_add(i64::try_from(now).unwrap_or(i64::MAX)))
    }

    pub fn extension_failed(&self) {
        *lock(&self.failures).entry("extension").or_default() += 1;
    }

    pub fn read(&self, receivers: Vec<QueueStatistics>) -> Statistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            requests: get(&self.requests),
            bytes_sent: get(&self.bytes_sent),
            bytes_received: get(&self.bytes_received),
            events_received: get(&self.events),
            handshakes: get(&self.handshakes),
            reconnects: get(&self.connected).saturating_sub(1),
            round_trip_ms: get(&self.round_trip),
            server_time_ms: self.server_time(clock::now()),
            failures: lock(&self.failures).clone(),
            leniencies: BTreeMap::new(),
            blocked: false,
            times_blocked: 0,
            receivers,
        }
    }
}

/// The kinds of failures that a client itself meets.
fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Timeout => "timeout",
        ErrorKind::Dns => "dns",
        ErrorKind::Tcp => "tcp",
        ErrorKind::Tls => "tls",
        ErrorKind::ConnectionLost => "connection_lost",
        ErrorKind::HttpStatus => "http_status",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Proxy => "proxy",
        ErrorKind::Html => "html",
        ErrorKind::NotJson => "not_json",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Refused => "refused",
        ErrorKind::MessageDeleted => "message_deleted",
        _ => "other",
    }
}
