//! What is answered, and how it comes over the wire.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::Connection;
use crate::websocket::Frame;

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By a Content-Length: the right one, or this one.
    Length(Option<usize>),
    /// By chunks of this size.
    Chunked(usize),
    /// By closing the connection.
    None,
}

/// A place in a response, head and body counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Byte(usize),
    /// So many bytes behind the head.
    Body(usize),
    /// So many bytes before the end.
    FromEnd(usize),
}

impl Place {
    pub fn at(self, head: usize, whole: usize) -> usize {
        match self {
            Self::Byte(at) => at.min(whole),
            Self::Body(at) => (head + at).min(whole),
            Self::FromEnd(at) => whole.saturating_sub(at),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_prefix("body+") {
            return number.parse().ok().map(Self::Body);
        }
        if let Some(number) = text.strip_prefix('-') {
            return number.parse().ok().map(Self::FromEnd);
        }
        text.parse().ok().map(Self::Byte)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(at) => write!(f, "{at}"),
            Self::Body(at) => write!(f, "body+{at}"),
            Self::FromEnd(at) => write!(f, "-{at}"),
        }
    }
}

/// What follows the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection is kept.
    Keep,
    /// All is sent, then the connection is closed.
    Close,
    /// Only the bytes before the place are sent, then it is closed …
    Cut(Place),
    /// … or kept open, but nothing more comes …
    Stall(Place),
    /// … or broken.
    Reset(Place),
}

/// One response.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The label of the request; none: the last one expected.
    pub to: Option<String>,
    pub status: u16,
    pub headers: Vec<String>,
    /// A text in which `$ok` and the like are put in.
    pub body: String,
    pub framing: Framing,
    pub gzip: bool,
    /// Begins with a byte order mark.
    pub bom: bool,
    pub http_1_0: bool,
    /// The client id that a handshake gets.
    pub client: Option<String>,
    pub delay: Duration,
    /// Bytes a piece, and the pause after each; 0: all at once.
    pub pieces: usize,
    pub pause: Duration,
    pub end: End,
    /// The script goes on while this is being sent.
    pub background: bool,
}

impl Default for Answer {
    /// Everything in the request succeeds.
    fn default() -> Self {
        Self {
            to: None,
            status: 200,
            headers: Vec::new(),
            body: "[$ok]".into(),
            framing: Framing::Length(None),
            gzip: false,
            bom: false,
            http_1_0: false,
            client: None,
            delay: Duration::ZERO,
            pieces: 0,
            pause: Duration::ZERO,
            end: End::Keep,
            background: false,
        }
    }
}

impl Answer {
    pub fn ok() -> Self {
        Self::default()
    }

    pub fn body(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    pub fn to(mut self, label: impl Into<String>) -> Self {
        self.to = Some(label.into());
        self
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header, `Name: value`.
    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// In pieces of so many bytes with a pause after each.
    pub fn pieces(mut self, bytes: usize, pause: Duration) -> Self {
        self.pieces = bytes;
        self.pause = pause;
        self
    }

    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// The whole response with this body, and where its body begins.
    pub fn render(&self, body: &str) -> (Vec<u8>, usize) {
        let mut content = Vec::with_capacity(body.len() + 3);
        if self.bom {
            content.extend_from_slice(b"\xef\xbb\xbf");
        }
        content.extend_from_slice(body.as_bytes());
        if self.gzip {
            content = gzip(&content);
        }
        let version = if self.http_1_0 { "1.0" } else { "1.1" };
        let mut head = format!("HTTP/{version} {} {}\r\n", self.status, reason(self.status));
        let has = |name: &str| {
            self.headers.iter().any(|header| {
                header
                    .split(':')
                    .next()
                    .is_some_and(|it| it.eq_ignore_ascii_case(name))
            })
        };
        if !has("content-type") {
            head.push_str("Content-Type: application/json;charset=UTF-8\r\n");
        }
        if self.gzip && !has("content-encoding") {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        match self.framing {
            Framing::Length(length) => {
                let length = length.unwrap_or(content.len());
                head.push_str(&format!("Content-Length: {length}\r\n"));
            }
            Framing::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::None => {}
        }
        if self.end == End::Close && !has("connection") && !self.http_1_0 {
            head.push_str("Connection: close\r\n");
        }
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        let start = bytes.len();
        if let Framing::Chunked(size) = self.framing {
            for chunk in content.chunks(size.max(1)) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&content);
        }
        (bytes, start)
    }

    /// Sends it with this body, on a WebSocket as a text message; then nothing
    /// counts that is HTTP's only. A client that has gone is none of its errors:
    /// the next step will tell. Returns when its last bytes were about to go.
    pub fn send(&self, connection: &Arc<Connection>, body: &str) -> Instant {
        let is_frame = connection.is_upgraded();
        let (mut bytes, head) = if is_frame {
            let bytes = Frame::text(body).to_bytes();
            let head = bytes.len() - body.len();
            (bytes, head)
        } else {
            self.render(body)
        };
        let end = match self.end {
            End::Keep | End::Close => bytes.len(),
            End::Cut(place) | End::Stall(place) | End::Reset(place) => place.at(head, bytes.len()),
        };
        bytes.truncate(end);
        thread::sleep(self.delay);
        let mut last = Instant::now();
        if self.pieces == 0 {
            let _ = connection.write(&bytes);
        } else {
            for piece in bytes.chunks(self.pieces) {
                last = Instant::now();
                if connection.write(piece).is_err() {
                    break;
                }
                thread::sleep(self.pause);
            }
        }
        match self.end {
            End::Keep if self.framing == Framing::None && !is_frame => connection.close(),
            End::Keep | End::Stall(_) => {}
            End::Close | End::Cut(_) => connection.close(),
            End::Reset(_) => connection.reset(),
        }
        last
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to a Vec does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unspecified",
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("answer")?;
        if let Some(label) = &self.to {
            write!(f, " {label}")?;
        }
        if self.status != 200 {
            write!(f, " status={}", self.status)?;
        }
        for header in &self.headers {
            write!(f, " header={header:?}")?;
        }
        match self.framing {
            Framing::Length(None) => {}
            Framing::Length(Some(length)) => write!(f, " length={length}")?,
            Framing::Chunked(size) => write!(f, " chunked={size}")?,
            Framing::None => f.write_str(" no-length")?,
        }
        for (set, word) in [
            (self.gzip, " gzip"),
            (self.bom, " bom"),
            (self.http_1_0, " http-1.0"),
            (self.background, " background"),
        ] {
            if set {
                f.write_str(word)?;
            }
        }
        if let Some(client) = &self.client {
            write!(f, " client={client}")?;
        }
        if !self.delay.is_zero() {
            write!(f, " delay={}", self.delay.as_millis())?;
        }
        if self.pieces > 0 {
            write!(f, " pieces={}", self.pieces)?;
        }
        if !self.pause.is_zero() {
            write!(f, " pause={}", self.pause.as_millis())?;
        }
        match self.end {
            End::Keep => {}
            End::Close => f.write_str(" close")?,
            End::Cut(place) => write!(f, " cut={place}")?,
            End::Stall(place) => write!(f, " stall={place}")?,
            End::Reset(place) => write!(f, " reset={place}")?,
        }
        if self.body != "[$ok]" {
            write!(f, " : {}", self.body)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn text(answer: &Answer, body: &str) -> String {
        String::from_utf8(answer.render(body).0).unwrap()
    }

    #[test]
    fn by_length() {
        let answer = Answer::ok().status(503).header("Retry-After: 1");
        assert_eq!(
            text(&answer, "é"),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json;charset=UTF-8\r\n\
             Content-Length: 2\r\nRetry-After: 1\r\n\r\né"
        );
        let (bytes, head) = answer.render("é");
        assert_eq!(&bytes[head..], "é".as_bytes());
        let answer = Answer::ok().framing(Framing::Length(Some(99)));
        assert!(text(&answer, "x").contains("Content-Length: 99\r\n"));
    }

    #[test]
    fn in_chunks_and_without_length() {
        let answer = Answer::ok().framing(Framing::Chunked(2));
        let whole = text(&answer, "[12]");
        assert!(
            whole.ends_with("\r\n\r\n2\r\n[1\r\n2\r\n2]\r\n0\r\n\r\n"),
            "{whole}"
        );
        let answer = Answer::ok().framing(Framing::None).end(End::Close);
        assert!(!text(&answer, "[]").contains("Length"));
        assert!(text(&answer, "[]").contains("Connection: close"));
    }

    #[test]
    fn compressed() {
        let (bytes, head) = Answer::ok().gzip().render("[]");
        let mut body = String::new();
        flate2::read::GzDecoder::new(&bytes[head..])
            .read_to_string(&mut body)
            .unwrap();
        assert_eq!(body, "[]");
    }

    #[test]
    fn places() {
        assert_eq!(Place::parse("7"), Some(Place::Byte(7)));
        assert_eq!(Place::parse("body+3").unwrap().at(10, 20), 13);
        assert_eq!(Place::parse("-1").unwrap().at(10, 20), 19);
        assert_eq!(Place::Byte(99).at(10, 20), 20);
        assert_eq!(Place::parse("x"), None);
    }
}
