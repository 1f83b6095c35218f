//! What is made of a response's head that hyper would refuse, though curl or
//! browsers would not:
//!
//! | in the head | what is made of it |
//! | --- | --- |
//! | a control character in a value, DEL included | the header is passed over |
//! | a line without a colon, a header without a name, or with a name that is none | passed over |
//! | white space in front of the colon | taken away |
//! | a line that goes on in the next one (obs-fold) | one line |
//! | `Transfer-Encoding: identity` | passed over |
//! | `Transfer-Encoding` in HTTP/1.0 | undone as that of HTTP/1.1, on a connection that ends |
//! | more than [`MAXIMUM_HEADERS`] headers | those that nobody reads are passed over, then cookies |
//! | a control character in the reason phrase, white space around the status | taken away |
//!
//! Each is told to the client's [`Leniencies`], by name and without values. A
//! length that cannot be read is left for hyper to refuse: what follows would
//! be taken for something else.

use std::cell::Cell;
use std::fmt;

use crate::bayeux::error_text::one_line;
use crate::transport::leniencies::{Leniencies, Leniency};

/// hyper has room for so many on its stack.
pub const MAXIMUM_HEADERS: usize = 100;

/// The status of a head.
#[derive(Clone, Copy)]
pub struct Status(u16);

impl Status {
    pub fn of(head: &[u8]) -> Option<Self> {
        let line = head.trim_ascii_start();
        let line = line.strip_prefix(b"HTTP/1.")?.get(1..)?.trim_ascii_start();
        let digits = std::str::from_utf8(line.get(..3)?).ok()?;
        digits.parse().ok().map(Self)
    }

    /// Whether another response follows. 101 is the last one in this protocol.
    pub fn is_interim(self) -> bool {
        (100..200).contains(&self.0) && self.0 != 101
    }
}

/// The headers that anything reads, if there are too many.
const READ: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// The length of the head that these bytes begin with, if all of it is there,
/// hyper takes it and understands it as everybody does. It is looked at for each
/// response, so this goes over it once.
pub fn ordinary(bytes: &[u8]) -> Option<usize> {
    let status = bytes.strip_prefix(b"HTTP/1.")?.get(1..)?;
    if !matches!(status.get(..2)?, [b' ', digit] if digit.is_ascii_digit()) {
        return None;
    }
    let mut line = bytes;
    let mut value = 0;
    for _ in 0..=MAXIMUM_HEADERS {
        let text = line.get(value..)?;
        let end = value + text.iter().position(|byte| !is(*byte, VALUE))?;
        line = line.get(end..)?.strip_prefix(b"\r\n")?;
        if line.starts_with(b"\r\n") {
            return Some(bytes.len() - line.len() + 2);
        }
        let name = line.iter().position(|byte| !is(*byte, NAME))?;
        if name == 0 || line.get(name) != Some(&b':') {
            return None;
        }
        if line.get(..name)?.eq_ignore_ascii_case(TRANSFER_ENCODING) {
            let coding = line.get(name + 1..)?.trim_ascii_start();
            if !coding.starts_with(b"chunked\r\n") || bytes.get(7) != Some(&b'1') {
                return None;
            }
        }
        value = name + 1;
    }
    None
}

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// In names there are tokens (RFC 9110, section 5.6.2), in values all but
/// control characters.
const NAME: u8 = 1;
const VALUE: u8 = 2;

fn is(byte: u8, class: u8) -> bool {
    const CLASSES: [u8; 256] = {
        let marks = b"!#$%&'*+-.^_`|~";
        let mut classes = [0; 256];
        let mut byte = 0_u8;
        loop {
            let is_control = byte.is_ascii_control() && byte != b'\t';
            let is_name = byte.is_ascii_alphanumeric();
            classes[byte as usize] =
                if is_name { NAME } else { 0 } | if is_control { 0 } else { VALUE };
            if byte == u8::MAX {
                break;
            }
            byte += 1;
        }
        let mut mark = 0;
        while mark < marks.len() {
            classes[marks[mark] as usize] |= NAME;
            mark += 1;
        }
        classes
    };
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|it| it & class != 0)
}

fn is_control(byte: &u8) -> bool {
    !is(*byte, VALUE)
}

fn is_token(byte: &u8) -> bool {
    is(*byte, NAME)
}

/// One header of a head, with what follows it in further lines.
struct Header {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Header {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// What says where the body ends.
    fn is_framing(&self) -> bool {
        self.is("content-length") || self.is("transfer-encoding")
    }

    fn is_read(&self) -> bool {
        READ.iter().any(|name| self.is(name))
    }
}

/// So many things of a head are told, each in a line; the others are counted. A
/// head has room for a hundred thousand.
const MAXIMUM_TOLD: usize = 16;

/// What is told of one head.
struct Told<'a> {
    leniencies: &'a Leniencies,
    times: Cell<usize>,
}

impl Told<'_> {
    fn took(&self, kind: Leniency, what: impl fmt::Display) {
        let before = self.times.replace(self.times.get().saturating_add(1));
        if before < MAXIMUM_TOLD {
            self.leniencies.took(kind, what);
        } else {
            self.leniencies.took_another(kind);
        }
    }
}

/// A head that hyper takes, as far as one can be made of it.
pub fn mend(head: &[u8], leniencies: &Leniencies) -> Vec<u8> {
    let leniencies = &Told {
        leniencies,
        times: Cell::new(0),
    };
    let passed_over = |what: fmt::Arguments| {
        let text = format_args!("in the head of a response {what} was passed over");
        leniencies.took(Leniency::Header, text);
    };
    let mut lines = head
        .trim_ascii_start()
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines.next().unwrap_or_default();
    let mut mended = mend_status(status, leniencies);
    let mut headers: Vec<Header> = Vec::new();
    // What a folded line belongs to was itself passed over.
    let mut orphaned = true;
    for line in lines.filter(|it| !it.is_empty()) {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            match headers.last_mut().filter(|_| !orphaned) {
                Some(header) => {
                    leniencies.took(
                        Leniency::Header,
                        format_args!(
                            "the header {} of a response goes on in another line; both were \
                             taken as one",
                            Shown(&header.name)
                        ),
                    );
                    header.value.push(b' ');
                    header.value.extend_from_slice(line.trim_ascii());
                }
                None => passed_over(format_args!("a line that belongs to no header")),
            }
            continue;
        }
        orphaned = true;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            passed_over(format_args!("a line without a colon"));
            continue;
        };
        let (name, value) = line.split_at(colon);
        let trimmed = name.trim_ascii_end();
        if trimmed.is_empty() {
            passed_over(format_args!("a header without a name"));
            continue;
        }
        if !trimmed.iter().all(is_token) {
            passed_over(format_args!(
                "the header {}, which is no name,",
                Shown(trimmed)
            ));
            continue;
        }
        if trimmed.len() < name.len() {
            leniencies.took(
                Leniency::Header,
                format_args!(
                    "the header {} of a response has white space in front of its colon, which \
                     was taken away",
                    Shown(trimmed)
                ),
            );
        }
        orphaned = false;
        headers.push(Header {
            name: trimmed.to_vec(),
            value: value.get(1..).unwrap_or_default().trim_ascii().to_vec(),
        });
    }
    headers.retain_mut(|header| {
        if header.is("transfer-encoding") {
            return mend_transfer_encoding(header, leniencies);
        }
        let keep = header.is_framing() || !header.value.iter().any(is_control);
        if !keep {
            passed_over(format_args!(
                "the header {}, which holds a control character,",
                Shown(&header.name)
            ));
        }
        keep
    });
    if mended.starts_with(b"HTTP/1.0") && headers.iter().any(|it| it.is("transfer-encoding")) {
        leniencies.took(
            Leniency::TransferEncoding,
            "a response of HTTP/1.0 has a transfer encoding, which was undone",
        );
        if let Some(minor) = mended.get_mut(7) {
            *minor = b'1';
        }
        headers.push(Header {
            name: b"Connection".to_vec(),
            value: b"close".to_vec(),
        });
    }
    thin_out(&mut headers, leniencies);
    for header in headers {
        mended.extend_from_slice(&header.name);
        mended.extend_from_slice(b": ");
        mended.extend_from_slice(&header.value);
        mended.extend_from_slice(b"\r\n");
    }
    mended.extend_from_slice(b"\r\n");
    mended
}

/// "HTTP/1.1 200 OK". What is no status line stays what it is.
fn mend_status(line: &[u8], leniencies: &Told) -> Vec<u8> {
    let mut mended = line.to_vec();
    if let (Some(status), Some(version)) = (Status::of(line), line.get(..8)) {
        let behind = line.get(8..).unwrap_or_default().trim_ascii_start();
        let reason = behind.get(3..).unwrap_or_default();
        let is_status = reason.first().is_none_or(|it| matches!(it, b' ' | b'\t'));
        let has_control = reason.iter().any(is_control);
        let reason = reason.trim_ascii();
        if is_status {
            mended = [version, format!(" {:03} ", status.0).as_bytes()].concat();
            if has_control {
                leniencies.took(
                    Leniency::Header,
                    "the status of a response has a control character in its text, which was \
                     passed over",
                );
            } else {
                mended.extend_from_slice(reason);
            }
        }
    }
    mended.extend_from_slice(b"\r\n");
    mended
}

/// "identity" says that there is none. False when nothing else is left.
fn mend_transfer_encoding(header: &mut Header, leniencies: &Told) -> bool {
    let codings = header
        .value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii);
    let others: Vec<_> = codings
        .clone()
        .filter(|it| !it.eq_ignore_ascii_case(b"identity"))
        .collect();
    if others.len() == codings.count() {
        return true;
    }
    leniencies.took(
        Leniency::TransferEncoding,
        "a response has the transfer encoding identity, which was passed over",
    );
    let value = others.join(&b", "[..]);
    header.value = value;
    !header.value.is_empty()
}

/// Leaves so many headers as there is room for.
fn thin_out(headers: &mut Vec<Header>, leniencies: &Told) {
    let before = headers.len();
    if before <= MAXIMUM_HEADERS {
        return;
    }
    headers.retain(Header::is_read);
    let others = headers.iter().filter(|it| !it.is("set-cookie")).count();
    let mut room = MAXIMUM_HEADERS.saturating_sub(others);
    let mut cookies_lost = 0;
    headers.retain(|header| {
        if !header.is("set-cookie") {
            return true;
        }
        let keep = room > 0;
        room = room.saturating_sub(1);
        cookies_lost += usize::from(!keep);
        keep
    });
    let cookies = match cookies_lost {
        0 => String::new(),
        lost => format!(", and {lost} of Set-Cookie"),
    };
    leniencies.took(
        Leniency::Header,
        format!(
            "a response has {before} headers: those that nobody reads were passed over{cookies}"
        ),
    );
}

/// A header's name for the log.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", one_line(&String::from_utf8_lossy(self.0), 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(head: &str) -> (String, Vec<(&'static str, u64)>) {
        let leniencies = Leniencies::default();
        let text = mend(head.as_bytes(), &leniencies);
        assert_eq!(ordinary(&text), Some(text.len()), "{}", text.escape_ascii());
        let counts = leniencies.counts().into_iter().collect();
        (String::from_utf8(text).unwrap(), counts)
    }

    #[test]
    fn an_ordinary_head_is_known_as_one() {
        for head in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA:b\r\nC: \td\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \u{e9}\r\nEmpty:\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let body = format!("{head}[]");
            assert_eq!(ordinary(body.as_bytes()), Some(head.len()), "{head}");
            for cut in 0..head.len() {
                assert_eq!(ordinary(&head.as_bytes()[..cut]), None, "{head}");
            }
        }
    }

    #[test]
    fn case_odd_headers_are_passed_over_or_mended() {
        let header = |number: u64| vec![("header", number)];
        let encoding = || vec![("transfer_encoding", 1)];
        for (odd, left, counts) in [
            ("Set-Cookie: a=\x7fb\r\nA: 1", "A: 1\r\n", header(1)),
            ("Set-Cookie: a=\0b\r\nA: 1", "A: 1\r\n", header(1)),
            ("A: 1\rB: 2\r\nC: 3", "C: 3\r\n", header(1)),
            ("X-Trace : 1", "X-Trace: 1\r\n", header(1)),
            ("Content-Length\t : 2", "Content-Length: 2\r\n", header(1)),
            (
                "A: 1\r\n 2\r\n\t3\r\nB: 4",
                "A: 1 2 3\r\nB: 4\r\n",
                header(2),
            ),
            (" 0\r\nA: 1", "A: 1\r\n", header(1)),
            (": 1\r\n 2\r\nA: 3", "A: 3\r\n", header(2)),
            ("no colon\r\nA: 1", "A: 1\r\n", header(1)),
            ("two words: 1\r\nA: 1", "A: 1\r\n", header(1)),
            ("N\u{e4}me: 1\r\nA: 1", "A: 1\r\n", header(1)),
            ("A: 1\r\nB: 2\x01\r\n 3", "A: 1\r\n", header(2)),
            (
                "Transfer-Encoding: identity\r\nContent-Length: 2",
                "Content-Length: 2\r\n",
                encoding(),
            ),
            ("transfer-encoding:IDENTITY", "", encoding()),
            (
                "Transfer-Encoding: chunked , identity",
                "Transfer-Encoding: chunked\r\n",
                encoding(),
            ),
        ] {
            let (text, counted) = mended(&format!("HTTP/1.1 200 OK\r\n{odd}\r\n\r\n"));
            assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{left}\r\n"), "{odd:?}");
            assert_eq!(counted, counts, "{odd:?}");
        }
    }

    #[test]
    fn a_transfer_encoding_in_http_1_0_is_undone() {
        let leniencies = Leniencies::default();
        let head = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(ordinary(head.as_bytes()), None);
        let text = mend(head.as_bytes(), &leniencies);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(leniencies.counts()["transfer_encoding"], 1);
    }

    #[test]
    fn case_odd_headers_that_say_how_long_a_body_is_are_left() {
        let leniencies = Leniencies::default();
        for odd in ["Content-Length: 5\x7f", "Transfer-Encoding: chun\x01ked"] {
            let head = format!("HTTP/1.1 200 OK\r\n{odd}\r\n\r\n");
            assert_eq!(ordinary(head.as_bytes()), None);
            let text = mend(head.as_bytes(), &leniencies);
            assert_eq!(String::from_utf8(text).unwrap(), head);
        }
    }

    #[test]
    fn case_odd_headers_hundreds_of_them() {
        let others: String = (0..150).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let head = |cookies: usize| {
            let cookies: String = (0..cookies)
                .map(|n| format!("Set-Cookie: c{n}=1\r\n"))
                .collect();
            format!("HTTP/1.1 200 OK\r\n{cookies}{others}Content-Length: 2\r\n\r\n")
        };
        let (text, counted) = mended(&head(1));
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nSet-Cookie: c0=1\r\nContent-Length: 2\r\n\r\n"
        );
        assert_eq!(counted, [("header", 1)]);
        let (text, _) = mended(&head(200));
        assert_eq!(text.matches("Set-Cookie").count(), MAXIMUM_HEADERS - 1);
        assert!(text.ends_with("Content-Length: 2\r\n\r\n"));
    }

    #[test]
    fn a_status_is_mended_or_left() {
        for (status, left) in [
            ("HTTP/1.1  200  OK", "HTTP/1.1 200 OK"),
            ("HTTP/1.1 200 O\x7fK", "HTTP/1.1 200 "),
            ("HTTP/1.1\t404", "HTTP/1.1 404 "),
            ("HTTP/1.1 2000 OK", "HTTP/1.1 2000 OK"),
            ("HTTP/3.7 OK", "HTTP/3.7 OK"),
        ] {
            let text = mend(
                format!("{status}\r\nA : 1\r\n\r\n").as_bytes(),
                &Leniencies::default(),
            );
            assert_eq!(
                String::from_utf8(text).unwrap(),
                format!("{left}\r\nA: 1\r\n\r\n")
            );
        }
    }

    #[test]
    fn of_a_head_that_is_full_of_odd_lines_a_few_are_told_and_all_counted() {
        #[derive(Clone, Default)]
        struct Lines(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl tracing::Subscriber for Lines {
            fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
                metadata.is_event() && metadata.target() == "cometd::http"
            }
            fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
                tracing::span::Id::from_u64(1)
            }
            fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
            fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
            fn event(&self, _: &tracing::Event<'_>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            fn enter(&self, _: &tracing::span::Id) {}
            fn exit(&self, _: &tracing::span::Id) {}
        }
        const ODD: usize = 10_000;
        let lines = Lines::default();
        let odd = ["x", ":", "\u{e9}:1", "a :", "c: \0"].map(|it| format!("{it}\r\n"));
        let odd = odd.concat().repeat(ODD / 5);
        let head = format!("HTTP/1.1 200 OK\r\n{odd}\r\n");
        let (_, counts) = tracing::subscriber::with_default(lines.clone(), || mended(&head));
        // The headers with a space are too many besides.
        assert_eq!(counts, [("header", ODD as u64 + 1)]);
        let told = lines.0.load(std::sync::atomic::Ordering::Relaxed);
        assert!((1..=MAXIMUM_TOLD).contains(&told), "{told} lines");
    }
}
