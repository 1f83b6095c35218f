//! A server that costs next to nothing: it answers with ready-made Bayeux bytes.
//!
//! - `http://127.0.0.1:PORT/flood/E/P/`: each connect but the first brings E
//!   events of P bytes of data each, at once.
//! - `http://127.0.0.1:PORT/idle/`: each connect but the first is held for ever.
//! - `http://127.0.0.1:PORT/pace/R/`: R events a second in all, one by one, each to
//!   the connect that is held longest. Its data has the time, `{"at":NANOSECONDS,…}`
//!   of CLOCK_MONOTONIC, taken right before it is written.
//!
//! It prints `READY PORT` and ends when its standard input does. It reads what
//! libcometd and the yardstick write, field by field in their order, and not
//! JSON in general.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A connection's thread parses a few hundred bytes and keeps the rest on the heap.
const STACK: usize = 64 * 1024;
const LARGEST_REQUEST: usize = 1 << 20;
const LARGEST_RESPONSE: usize = 1 << 30;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // A wave of clients connects faster than this processor starts threads, and
    // a connection that the backlog drops comes again seconds later.
    // SAFETY: the descriptor is open; the call takes nothing else.
    if unsafe { libc::listen(listener.as_raw_fd(), 4096) } != 0 {
        return Err(io::Error::last_os_error());
    }
    println!("READY {}", listener.local_addr()?.port());
    io::stdout().flush()?;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let server = Arc::new(Server::default());
    for stream in listener.incoming() {
        let stream = stream?;
        let server = server.clone();
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || match server.serve(stream) {
                // A held connection needs no thread, only to stay open.
                Ok(Some(held)) => lock(&server.held).push(held),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    eprintln!("cometd_flood_server: {error}");
                }
                // Whoever is measured goes away in the middle of a response.
                Err(_) => {}
            })?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Server {
    held: Mutex<Vec<TcpStream>>,
    /// The events of each shape, made once and the same for everybody.
    floods: Mutex<HashMap<Shape, Arc<Vec<u8>>>>,
    /// The connects that wait for the next event of a pace, the longest first.
    waiting: Mutex<VecDeque<Waiting>>,
    somebody_waits: Condvar,
    pace: OnceLock<()>,
}

struct Waiting {
    stream: Arc<TcpStream>,
    replies: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    events: usize,
    payload: usize,
}

enum Mode {
    Flood(Shape),
    Idle,
    /// Events a second.
    Pace(u32),
}

impl Mode {
    fn of(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        match segments.next()? {
            "idle" => Some(Self::Idle),
            "pace" => {
                let rate = segments.next()?.parse().ok()?;
                (rate > 0).then_some(Self::Pace(rate))
            }
            "flood" => {
                let events = segments.next()?.parse().ok()?;
                let payload: usize = segments.next()?.parse().ok()?;
                let fits = payload.checked_mul(events)? <= LARGEST_RESPONSE;
                (fits && payload >= SMALLEST_PAYLOAD)
                    .then_some(Self::Flood(Shape { events, payload }))
            }
            _ => None,
        }
    }
}

impl Server {
    /// Serves a connection until its end; one whose connect is held comes back.
    fn serve(self: &Arc<Self>, stream: TcpStream) -> io::Result<Option<TcpStream>> {
        stream.set_nodelay(true)?;
        let shared = Arc::new(stream);
        let mut stream = &*shared;
        let mut requests = Requests::default();
        let mut flood: Option<(Shape, Arc<Vec<u8>>)> = None;
        while let Some(request) = requests.next(&mut stream)? {
            let Some(mode) = Mode::of(request.path) else {
                let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(none.as_bytes())?;
                continue;
            };
            let replies = Replies::to(request.body, &mode)?;
            let mut events: &[u8] = &[];
            if replies.wants_events {
                match mode {
                    Mode::Idle => {
                        drop(requests);
                        return Ok(Arc::into_inner(shared));
                    }
                    Mode::Pace(rate) => {
                        self.wait(shared.clone(), replies.json, rate);
                        continue;
                    }
                    Mode::Flood(shape) => {
                        if flood.as_ref().is_none_or(|(of, _)| *of != shape) {
                            flood = Some((shape, self.flood(shape)));
                        }
                        events = flood.as_ref().map_or(&[], |(_, events)| events);
                    }
                }
            }
            respond(stream, events, replies.json.as_bytes())?;
        }
        Ok(None)
    }

    /// Hands a connect to the thread of the pace, which the first one starts: a
    /// server has one pace.
    fn wait(self: &Arc<Self>, stream: Arc<TcpStream>, replies: String, rate: u32) {
        lock(&self.waiting).push_back(Waiting { stream, replies });
        self.somebody_waits.notify_one();
        self.pace.get_or_init(|| {
            let server = self.clone();
            thread::spawn(move || server.keep_pace(Duration::from_secs(1) / rate));
        });
    }

    fn keep_pace(&self, period: Duration) {
        let mut next = Instant::now();
        loop {
            // What nobody was there for is not made up: a crowd of events at
            // once is no pace.
            next = (next + period).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let mut waiting = lock(&self.waiting);
            let Waiting { stream, replies } = loop {
                match waiting.pop_front() {
                    Some(first) => break first,
                    None => {
                        waiting = self
                            .somebody_waits
                            .wait(waiting)
                            .unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(waiting);
            // One that has gone away misses its event.
            let _ = respond(&stream, paced_event(now()).as_bytes(), replies.as_bytes());
        }
    }

    fn flood(&self, shape: Shape) -> Arc<Vec<u8>> {
        lock(&self.floods)
            .entry(shape)
            .or_insert_with(|| {
                let data = payload(shape.payload);
                let mut events = String::with_capacity(shape.events * (data.len() + 60));
                for id in 1..=shape.events {
                    let _ = write!(
                        events,
                        r#"{{"channel":"/flood/events","data":{data},"id":"{id}"}},"#
                    );
                }
                Arc::new(events.into_bytes())
            })
            .clone()
    }
}

/// Sends `[`, the events and the replies in one system call.
fn respond(mut stream: &TcpStream, events: &[u8], replies: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 24 Nov 2025 22:07:31 GMT\r\n\
         Content-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\n\r\n[",
        1 + events.len() + replies.len()
    );
    let mut parts = [
        IoSlice::new(head.as_bytes()),
        IoSlice::new(events),
        IoSlice::new(replies),
    ];
    let mut left = &mut parts[..];
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An event with the time and, as the smallest of the floods, 100 bytes of data.
fn paced_event(at: u64) -> String {
    let data = format!(r#"{{"at":{at},"note":""#);
    format!(r#"{{"channel":"/flood/events","data":{data:.<98}"}},"id":"1"}},"#)
}

/// Nanoseconds of CLOCK_MONOTONIC, the same in all processes.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to `time` and keeps nothing of it; it cannot fail for
    // a clock that every Linux has.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

struct Request<'a> {
    path: &'a str,
    body: &'a str,
}

/// Reads one request after the other from a connection.
#[derive(Default)]
struct Requests {
    buffer: Vec<u8>,
    /// The length of the request that was given out last.
    used: usize,
}

impl Requests {
    /// `None` when the connection ends between two requests.
    fn next(&mut self, stream: &mut &TcpStream) -> io::Result<Option<Request<'_>>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let body_at = loop {
            if let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more(stream)? {
                return Ok(None);
            }
        };
        let head = std::str::from_utf8(&self.buffer[..body_at])
            .map_err(|_| invalid("a request's head is not UTF-8"))?;
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .ok_or_else(|| invalid("a request has no Content-Length"))?;
        while self.buffer.len() < body_at + length {
            if !self.more(stream)? {
                return Ok(None);
            }
        }
        self.used = body_at + length;
        let text = std::str::from_utf8(&self.buffer[..self.used])
            .map_err(|_| invalid("a request is not UTF-8"))?;
        Ok(Some(Request {
            path: text.split(' ').nth(1).unwrap_or_default(),
            body: &text[body_at..],
        }))
    }

    fn more(&mut self, stream: &mut &TcpStream) -> io::Result<bool> {
        if self.buffer.len() > LARGEST_REQUEST {
            return Err(invalid("a request is too large"));
        }
        let mut chunk = [0; 8192];
        loop {
            match stream.read(&mut chunk) {
                Ok(read) => {
                    self.buffer.extend_from_slice(&chunk[..read]);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The replies to the messages of a request, with the array's end.
struct Replies {
    json: String,
    /// There is a connect which is not to be answered at once.
    wants_events: bool,
}

const CHANNEL: &str = r#""channel":""#;

impl Replies {
    fn to(body: &str, mode: &Mode) -> io::Result<Self> {
        let mut json = String::new();
        let mut wants_events = false;
        // Each message begins with its channel.
        for message in body.split(CHANNEL).skip(1) {
            let channel = message.split('"').next().unwrap_or_default();
            let id = field(message, "id").ok_or_else(|| invalid("a message has no id"))?;
            if !json.is_empty() {
                json.push(',');
            }
            let _ = write!(
                json,
                r#"{{"channel":"{channel}","id":"{id}","successful":true"#
            );
            match channel {
                "/meta/handshake" => json.push_str(concat!(
                    r#","version":"1.0","minimumVersion":"1.0","clientId":"Un1q31d3nt1f13r0123456789ab""#,
                    r#","supportedConnectionTypes":["long-polling"]"#,
                    r#","advice":{"reconnect":"retry","interval":0,"timeout":30000}"#
                )),
                "/meta/connect" => {
                    let at_once = message.contains(r#""timeout":0"#);
                    wants_events |= !at_once;
                    if at_once || matches!(mode, Mode::Idle) {
                        json.push_str(
                            r#","advice":{"reconnect":"retry","interval":0,"timeout":30000}"#,
                        );
                    }
                }
                "/meta/subscribe" | "/meta/unsubscribe" => {
                    let subscription = field(message, "subscription").unwrap_or_default();
                    let _ = write!(json, r#","subscription":"{subscription}""#);
                }
                _ => {}
            }
            json.push('}');
        }
        json.push(']');
        Ok(Self { json, wants_events })
    }
}

/// The text of a field that is a string without escapes.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(&format!(r#""{name}":""#))?;
    rest.split('"').next()
}

const SMALLEST_PAYLOAD: usize = 80;

/// A JSON object of exactly so many bytes: strings, numbers, nesting, now and
/// then an escape and a letter beyond ASCII.
fn payload(size: usize) -> String {
    const END: &str = r#"],"note":""}"#;
    let mut text = String::from(r#"{"symbol":"ACME","bid":101.25,"open":true,"lines":["#);
    for number in 0.. {
        let name = match number % 4 {
            0 => "Gr\u{fc}\u{df}e aus M\u{fc}nchen",
            1 => r#"the \"quick\" brown fox"#,
            _ => "an ordinary name",
        };
        let line = format!(
            r#"{}{{"id":{},"name":"{name}","price":{}.25,"tags":["new","eu"],"at":{{"day":"2025-11-24","ms":{}}}}}"#,
            if number == 0 { "" } else { "," },
            100_000 + number,
            number % 977,
            number * 37,
        );
        if text.len() + line.len() + END.len() > size {
            break;
        }
        text.push_str(&line);
    }
    text.push_str(r#"],"note":""#);
    while text.len() + r#""}"#.len() < size {
        text.push(char::from(b'a' + (text.len() % 26) as u8));
    }
    text.push_str(r#""}"#);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_size_asked_for() {
        for size in [SMALLEST_PAYLOAD, 100, 1_000, 10_000, 100_000] {
            assert_eq!(payload(size).len(), size);
        }
    }

    #[test]
    fn a_paced_event_has_its_time_and_the_size_of_the_smallest_flood() {
        let event = paced_event(123_456_789_012);
        let data = event
            .strip_prefix(r#"{"channel":"/flood/events","data":"#)
            .and_then(|rest| rest.strip_suffix(r#","id":"1"},"#))
            .unwrap();
        assert_eq!(data.len(), 100);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(data).unwrap()["at"],
            123_456_789_012_u64
        );
    }

    #[test]
    fn replies_name_what_was_asked() {
        let body = r#"[{"channel":"/meta/subscribe","id":"2","clientId":"c","subscription":"/a"},{"channel":"/meta/subscribe","id":"3","clientId":"c","subscription":"/b"}]"#;
        let replies = Replies::to(body, &Mode::Idle).unwrap();
        assert_eq!(
            replies.json,
            r#"{"channel":"/meta/subscribe","id":"2","successful":true,"subscription":"/a"},{"channel":"/meta/subscribe","id":"3","successful":true,"subscription":"/b"}]"#
        );
        assert!(!replies.wants_events);
        let connect = r#"[{"channel":"/meta/connect","id":"4","clientId":"c"}]"#;
        assert!(Replies::to(connect, &Mode::Idle).unwrap().wants_events);
    }
}
