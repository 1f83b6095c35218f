//! What a client has done so far, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use serde::Serialize;

use crate::clock;
use crate::delivery::QueueStatistics;
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;
use crate::session::{Endpoint, Millis, State};

/// So many close codes are counted one by one: a server may send any.
const MAXIMUM_CODES: usize = 64;

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
    /// Most clients have none.
    websockets: OnceLock<Box<WebSocketCounters>>,
    server_clock: Mutex<Option<i64>>,
    /// Failures of the client itself; those of single messages are told to
    /// whoever sent them.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

/// What is counted of WebSockets, and of the way to them.
#[derive(Default)]
struct WebSocketCounters {
    opened: AtomicU64,
    refused: AtomicU64,
    closed: Mutex<Closed>,
    frames_sent: AtomicU64,
    frames_received: AtomicU64,
    pings: AtomicU64,
    transport_changes: AtomicU64,
}

/// How often sockets were closed with each code.
#[derive(Debug, Default)]
struct Closed {
    codes: BTreeMap<u16, u64>,
    others: u64,
}

impl Closed {
    fn count(&mut self, code: u16) {
        let is_counted = self.codes.len() < MAXIMUM_CODES || self.codes.contains_key(&code);
        let counter = match is_counted {
            true => self.codes.entry(code).or_default(),
            false => &mut self.others,
        };
        *counter = counter.saturating_add(1);
    }

    fn by_name(&self) -> BTreeMap<String, u64> {
        let codes = self.codes.iter().map(|it| (it.0.to_string(), *it.1));
        let others = (self.others > 0).then(|| ("other".to_owned(), self.others));
        codes.chain(others).collect()
    }
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
    /// Calls that were refused because too many were under way or unread.
    pub calls_refused: u64,
    /// Of the last request that the server did not hold, or ping.
    pub round_trip_ms: u64,
    /// What the server's clock says, since 1970.
    pub server_time_ms: Option<i64>,
    /// Over which connection type the last reply came.
    pub transport: Option<&'static str>,
    pub websockets_opened: u64,
    pub websockets_refused: u64,
    /// By close code.
    pub websockets_closed: BTreeMap<String, u64>,
    pub frames_sent: u64,
    pub frames_received: u64,
    pub pings: u64,
    /// How often the client has gone from one connection type to the other.
    pub transport_changes: u64,
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
        let websockets = self.websockets.get();
        let of_websockets = |counter: fn(&WebSocketCounters) -> &AtomicU64| {
            websockets.map_or(0, |it| get(counter(it)))
        };
        Statistics {
            requests: get(&self.requests),
            bytes_sent: get(&self.bytes_sent),
            bytes_received: get(&self.bytes_received),
            events_received: get(&self.events),
            handshakes: get(&self.handshakes),
            reconnects: get(&self.connected).saturating_sub(1),
            calls_refused: 0,
            round_trip_ms: get(&self.round_trip),
            server_time_ms: self.server_time(clock::now()),
            transport: None,
            websockets_opened: of_websockets(|it| &it.opened),
            websockets_refused: of_websockets(|it| &it.refused),
            websockets_closed: websockets
                .map_or_else(BTreeMap::new, |it| lock(&it.closed).by_name()),
            frames_sent: of_websockets(|it| &it.frames_sent),
            frames_received: of_websockets(|it| &it.frames_received),
            pings: of_websockets(|it| &it.pings),
            transport_changes: of_websockets(|it| &it.transport_changes),
            failures: lock(&self.failures).clone(),
            leniencies: BTreeMap::new(),
            blocked: false,
            times_blocked: 0,
            receivers,
        }
    }
}

impl Counters {
    fn websockets(&self) -> &WebSocketCounters {
        self.websockets.get_or_init(Box::default)
    }

    pub fn socket_opened(&self) {
        add(&self.websockets().opened, 1);
    }

    pub fn socket_refused(&self) {
        add(&self.websockets().refused, 1);
    }

    /// With this code (RFC 6455, section 7.4), whoever has closed it.
    pub fn socket_closed(&self, code: u16) {
        lock(&self.websockets().closed).count(code);
    }

    /// A frame of messages, its text so long.
    pub fn frame_sent(&self, endpoint: Endpoint, bytes: usize) {
        add(&self.websockets().frames_sent, 1);
        add(&self.bytes_sent, bytes as u64);
        if endpoint == Endpoint::Handshake {
            add(&self.handshakes, 1);
        }
    }

    pub fn frames_received(&self, count: usize, bytes: usize) {
        add(&self.websockets().frames_received, count as u64);
        add(&self.bytes_received, bytes as u64);
    }

    pub fn pinged(&self) {
        add(&self.websockets().pings, 1);
    }

    pub fn ponged(&self, took: Millis) {
        self.round_trip.store(took, Ordering::Relaxed);
    }

    pub fn transport_changed(&self) {
        add(&self.websockets().transport_changes, 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_and_their_close_codes_are_bounded() {
        let counters = Counters::default();
        counters.socket_opened();
        counters.frame_sent(Endpoint::Handshake, 3);
        counters.frames_received(1, 4);
        counters.ponged(17);
        counters.socket_closed(1006);
        // A server that closes with whatever code it likes.
        for code in 3000..4999 {
            counters.socket_closed(code);
        }
        counters.socket_closed(1006);
        let read = counters.read(Vec::new());
        assert_eq!((read.websockets_opened, read.round_trip_ms), (1, 17));
        assert_eq!((read.frames_sent, read.bytes_sent), (1, 3));
        assert_eq!((read.frames_received, read.bytes_received), (1, 4));
        let closed = &read.websockets_closed;
        assert_eq!(closed["1006"], 2);
        assert_eq!(closed.len(), MAXIMUM_CODES + 1);
        assert_eq!(closed.values().sum::<u64>(), 2001);
        let json = serde_json::to_string(&read).unwrap();
        assert!(json.contains(r#""transport":null,"websockets_opened":1"#));
        assert!(json.contains(r#""websockets_closed":{"1006":2,"3000":1,"#));
    }
}
