//! A server that costs next to nothing: it answers with ready-made Bayeux bytes.
//!
//! - `http://127.0.0.1:PORT/flood/E/P/`: each connect but the first brings E
//!   events of P bytes of data each, at once.
//! - `http://127.0.0.1:PORT/pushed/E/P/`: over WebSocket, frames of E events of P
//!   bytes of data follow each other from the second connect on, which is held; as
//!   many as fit go into one write.
//! - `http://127.0.0.1:PORT/idle/`: each connect but the first is held for ever.
//! - `http://127.0.0.1:PORT/idle/P/`: the same over WebSocket, once an event of P
//!   bytes of data has come.
//! - `http://127.0.0.1:PORT/pace/R/`: R events a second in all, one by one, each to
//!   the connect that is held longest; over WebSocket each to the next socket, whose
//!   connect is held on. Its data has the time, `{"at":NANOSECONDS,…}` of
//!   CLOCK_MONOTONIC, taken right before it is written.
//!
//! Whoever asks for WebSocket at these URLs gets it, a frame for each response.
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

mod websocket;

use websocket::Frame;

/// A connection's thread parses a few hundred bytes and keeps the rest on the heap.
const STACK: usize = 64 * 1024;
const LARGEST_REQUEST: usize = 1 << 20;
const LARGEST_RESPONSE: usize = 1 << 30;
/// Frames that follow each other are written so many bytes at a time.
const LARGEST_WRITE: usize = 256 * 1024;

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
    serve_all(&listener)
}

fn serve_all(listener: &TcpListener) -> io::Result<()> {
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
    /// The same as frames, as many as one write takes.
    frames: Mutex<HashMap<Shape, Arc<Vec<u8>>>>,
    /// The connects that wait for the next event of a pace, the longest first.
    waiting: Mutex<VecDeque<Waiting>>,
    somebody_waits: Condvar,
    pace: OnceLock<()>,
}

struct Waiting {
    stream: Arc<TcpStream>,
    /// What goes with the event, over long polling.
    replies: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    events: usize,
    payload: usize,
}

#[derive(Clone, Copy)]
enum Mode {
    Flood(Shape),
    Pushed(Shape),
    /// With an event before.
    Idle(Option<Shape>),
    /// Events a second.
    Pace(u32),
}

impl Mode {
    fn of(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let kind = segments.next()?;
        match kind {
            "idle" => {
                let payload = segments.next().and_then(|it| it.parse().ok());
                Some(Self::Idle(
                    payload.map(|payload| Shape { events: 1, payload }),
                ))
            }
            "pace" => {
                let rate = segments.next()?.parse().ok()?;
                (rate > 0).then_some(Self::Pace(rate))
            }
            "flood" | "pushed" => {
                let events = segments.next()?.parse().ok()?;
                let payload: usize = segments.next()?.parse().ok()?;
                let fits = payload.checked_mul(events)? <= LARGEST_RESPONSE;
                let shape = Shape { events, payload };
                (fits && events > 0 && payload >= SMALLEST_PAYLOAD).then_some(match kind {
                    "flood" => Self::Flood(shape),
                    _ => Self::Pushed(shape),
                })
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
        let mut input = Input::default();
        let mut flood: Option<(Shape, Arc<Vec<u8>>)> = None;
        while let Some(request) = input.request(&mut stream)? {
            let Some(mode) = Mode::of(request.path) else {
                let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(none.as_bytes())?;
                continue;
            };
            if let Some(key) = request.websocket_key {
                stream.write_all(websocket::opening(key).as_bytes())?;
                self.serve_socket(&shared, input, mode)?;
                return Ok(None);
            }
            let replies = Replies::to(request.body)?;
            let mut events: &[u8] = &[];
            if !replies.held.is_empty() {
                match mode {
                    Mode::Idle(_) => {
                        drop(input);
                        return Ok(Arc::into_inner(shared));
                    }
                    Mode::Pace(rate) => {
                        self.wait(shared.clone(), Some(replies.all()), rate);
                        continue;
                    }
                    Mode::Flood(shape) | Mode::Pushed(shape) => {
                        if flood.as_ref().is_none_or(|(of, _)| *of != shape) {
                            flood = Some((shape, self.flood(shape)));
                        }
                        events = flood.as_ref().map_or(&[], |(_, events)| events);
                    }
                }
            }
            respond(stream, events, replies.all().as_bytes())?;
        }
        Ok(None)
    }

    /// Serves a socket until its end.
    fn serve_socket(
        self: &Arc<Self>,
        shared: &Arc<TcpStream>,
        mut input: Input,
        mode: Mode,
    ) -> io::Result<()> {
        let mut stream = &**shared;
        let mut held = String::new();
        let mut pushed: Option<Arc<Vec<u8>>> = None;
        let mut waits = false;
        let flood = match mode {
            Mode::Flood(shape) => Some(self.flood(shape)),
            _ => None,
        };
        loop {
            if let Some(frames) = &pushed {
                while !input.has_more(stream)? {
                    stream.write_all(frames)?;
                }
            }
            let text = match input.frame(&mut stream)? {
                Some(Frame::Text(text)) => text,
                Some(Frame::Ping(payload)) => {
                    websocket::send(stream, websocket::PONG, &[payload])?;
                    continue;
                }
                Some(Frame::Close(payload)) => {
                    return websocket::send(stream, websocket::CLOSE, &[payload]);
                }
                Some(Frame::Pong) => continue,
                None => return Ok(()),
            };
            let mut replies = Replies::to(text)?;
            if let (Some(events), false) = (&flood, replies.held.is_empty()) {
                let all = replies.all();
                websocket::send(stream, websocket::TEXT, &[b"[", events, all.as_bytes()])?;
                continue;
            }
            let is_held = !replies.held.is_empty();
            if is_held {
                held = std::mem::take(&mut replies.held);
            }
            if replies.ends {
                pushed = None;
                replies.held = std::mem::take(&mut held);
            }
            if !replies.is_empty() {
                let all = replies.all();
                websocket::send(stream, websocket::TEXT, &[b"[", all.as_bytes()])?;
            }
            match mode {
                Mode::Pushed(shape) if is_held => pushed = Some(self.frames(shape)),
                Mode::Idle(Some(shape)) if is_held && !waits => {
                    waits = true;
                    let events = self.flood(shape);
                    let events = events.strip_suffix(b",").unwrap_or(&events);
                    websocket::send(stream, websocket::TEXT, &[b"[", events, b"]"])?;
                }
                Mode::Pace(rate) if is_held && !waits => {
                    waits = true;
                    self.wait(shared.clone(), None, rate);
                }
                _ => {}
            }
        }
    }

    /// Hands a connect to the thread of the pace, which the first one starts: a
    /// server has one pace.
    fn wait(self: &Arc<Self>, stream: Arc<TcpStream>, replies: Option<String>, rate: u32) {
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
            let event = paced_event(now());
            match replies {
                Some(replies) => {
                    let _ = respond(&stream, event.as_bytes(), replies.as_bytes());
                }
                None => {
                    let event = event.trim_end_matches(',').as_bytes();
                    let parts = [b"[".as_slice(), event, b"]"];
                    if websocket::send(&stream, websocket::TEXT, &parts).is_ok() {
                        lock(&self.waiting).push_back(Waiting { stream, replies });
                    }
                }
            }
        }
    }

    fn frames(&self, shape: Shape) -> Arc<Vec<u8>> {
        let events = self.flood(shape);
        lock(&self.frames)
            .entry(shape)
            .or_insert_with(|| {
                let events = events.strip_suffix(b",").unwrap_or(&events);
                let mut frame = websocket::head(websocket::TEXT, events.len() + 2);
                frame.push(b'[');
                frame.extend_from_slice(events);
                frame.push(b']');
                Arc::new(frame.repeat((LARGEST_WRITE / frame.len()).max(1)))
            })
            .clone()
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
fn respond(stream: &TcpStream, events: &[u8], replies: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 24 Nov 2025 22:07:31 GMT\r\n\
         Content-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\n\r\n[",
        1 + events.len() + replies.len()
    );
    write_all_of(stream, &[head.as_bytes(), events, replies])
}

fn write_all_of(mut stream: &TcpStream, parts: &[&[u8]]) -> io::Result<()> {
    let mut parts: Vec<IoSlice> = parts.iter().map(|part| IoSlice::new(part)).collect();
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
    /// WebSocket is asked for.
    websocket_key: Option<&'a str>,
    body: &'a str,
}

/// Reads one request or frame after the other from a connection.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    /// The length of what was given out last.
    used: usize,
}

impl Input {
    /// `None` when the connection ends between two requests.
    fn request(&mut self, stream: &mut &TcpStream) -> io::Result<Option<Request<'_>>> {
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
        let length: usize = match header(head, "content-length") {
            Some(length) => length.parse().ok(),
            None => head.starts_with("GET ").then_some(0),
        }
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
            websocket_key: header(&text[..body_at], "sec-websocket-key"),
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

/// A header's value in the head of a request.
fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.trim())
}

/// The replies to the messages of a request or frame, without brackets.
#[derive(Default)]
struct Replies {
    at_once: String,
    /// To a connect which is not to be answered at once.
    held: String,
    /// There is a disconnect.
    ends: bool,
}

const CHANNEL: &str = r#""channel":""#;

impl Replies {
    fn to(body: &str) -> io::Result<Self> {
        let mut replies = Self::default();
        // Each message begins with its channel.
        for message in body.split(CHANNEL).skip(1) {
            let channel = message.split('"').next().unwrap_or_default();
            let id = field(message, "id").ok_or_else(|| invalid("a message has no id"))?;
            let held = channel == "/meta/connect" && !message.contains(r#""timeout":0"#);
            let json = if held {
                &mut replies.held
            } else {
                &mut replies.at_once
            };
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
                    r#","supportedConnectionTypes":["websocket","long-polling"]"#,
                    r#","advice":{"reconnect":"retry","interval":0,"timeout":30000}"#
                )),
                "/meta/connect" if !held => json
                    .push_str(r#","advice":{"reconnect":"retry","interval":0,"timeout":30000}"#),
                "/meta/subscribe" | "/meta/unsubscribe" => {
                    let subscription = field(message, "subscription").unwrap_or_default();
                    let _ = write!(json, r#","subscription":"{subscription}""#);
                }
                "/meta/disconnect" => replies.ends = true,
                _ => {}
            }
            json.push('}');
        }
        Ok(replies)
    }

    fn is_empty(&self) -> bool {
        self.at_once.is_empty() && self.held.is_empty()
    }

    /// With the array's end.
    fn all(&self) -> String {
        let comma = if self.at_once.is_empty() || self.held.is_empty() {
            ""
        } else {
            ","
        };
        format!("{}{comma}{}]", self.at_once, self.held)
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
        let replies = Replies::to(body).unwrap();
        assert_eq!(
            replies.all(),
            r#"{"channel":"/meta/subscribe","id":"2","successful":true,"subscription":"/a"},{"channel":"/meta/subscribe","id":"3","successful":true,"subscription":"/b"}]"#
        );
        assert!(replies.held.is_empty());
        let connect = r#"[{"channel":"/meta/connect","id":"4","clientId":"c"}]"#;
        assert!(!Replies::to(connect).unwrap().held.is_empty());
    }
}
