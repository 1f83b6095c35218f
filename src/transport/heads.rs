//! The heads of responses on their way from a connection to hyper, which
//! refuses a whole response for one header that is not as it should be. curl and
//! browsers pass such headers over, and so does this; see [`mend`]. An ordinary
//! head is looked at where it lies and goes on as it is.
//!
//! Here stand the bounds of what comes before a body: [`MAXIMUM_HEAD`] bytes, in
//! which there may be [`MAXIMUM_INTERIM`] interim responses.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::mend::{mend, ordinary, Status};
use crate::transport::leniencies::Leniencies;

/// As much as curl and browsers take, and less than hyper's own buffer.
pub const MAXIMUM_HEAD: usize = 256 * 1024;
/// A server may say 102 each few seconds while it holds a connect.
pub const MAXIMUM_INTERIM: usize = 1_000;

/// What requests begin with.
const REQUESTS: [&[u8]; 2] = [b"POST ", b"GET "];

/// Why a head was given up.
#[derive(Debug)]
pub struct HeadFailure(String);

impl fmt::Display for HeadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for HeadFailure {}

/// A connection whose heads are looked at.
pub struct Looked<S> {
    stream: S,
    stage: Stage,
    leniencies: Arc<Leniencies>,
}

enum Stage {
    /// All goes through: the bodies, and what nobody has asked for.
    Through,
    /// A request was sent, and nothing of its response has come.
    Awaited,
    /// What has come of the head is held back.
    Begun(Box<Begun>),
    /// These go on first.
    Ready { bytes: Vec<u8>, taken: usize },
}

#[derive(Default)]
struct Begun {
    bytes: Vec<u8>,
    /// Of these, so many have been searched for the head's end.
    searched: usize,
    interim: usize,
    /// How long the interim responses were.
    passed_over: usize,
}

/// What is to be done with what has come.
enum Verdict {
    /// It goes on as it is.
    Plain,
    More(Box<Begun>),
    /// This instead.
    Instead(Vec<u8>),
}

impl Begun {
    /// Looks at what has come of a head.
    fn look(mut self: Box<Self>, leniencies: &Leniencies) -> Result<Verdict, HeadFailure> {
        loop {
            let head = match ending(&self.bytes, self.searched) {
                Ending::NoHead => return Ok(Verdict::Instead(self.bytes)),
                Ending::Unknown => {
                    if self.bytes.len() + self.passed_over > MAXIMUM_HEAD {
                        return Err(self.too_large());
                    }
                    self.searched = self.bytes.len();
                    return Ok(Verdict::More(self));
                }
                Ending::At(end) => end,
            };
            if head + self.passed_over > MAXIMUM_HEAD {
                return Err(self.too_large());
            }
            let (text, rest) = self.bytes.split_at(head);
            match Status::of(text) {
                Some(status) if status.is_interim() => {
                    self.interim += 1;
                    self.passed_over += head;
                    if self.interim > MAXIMUM_INTERIM {
                        return Err(HeadFailure(format!(
                            "the server sent more than {MAXIMUM_INTERIM} interim responses and \
                             no final one"
                        )));
                    }
                    self.bytes.drain(..head);
                    self.searched = 0;
                }
                _ if ordinary(text) == Some(head) => return Ok(Verdict::Instead(self.bytes)),
                _ => {
                    let mut mended = mend(text, leniencies);
                    mended.extend_from_slice(rest);
                    return Ok(Verdict::Instead(mended));
                }
            }
        }
    }

    fn too_large(&self) -> HeadFailure {
        HeadFailure(if self.interim > 0 {
            format!(
                "the response's head and {} interim responses before it are larger than \
                 {MAXIMUM_HEAD} bytes",
                self.interim
            )
        } else {
            format!("the response's head is larger than {MAXIMUM_HEAD} bytes")
        })
    }
}

enum Ending {
    NoHead,
    /// More has to come.
    Unknown,
    At(usize),
}

/// Where the first head in these bytes ends. The first `searched` of them are
/// known to hold no end.
fn ending(bytes: &[u8], searched: usize) -> Ending {
    const BEGINS: &[u8] = b"HTTP/";
    // Empty lines in front of it do not count.
    let Some(begin) = bytes.iter().position(|it| !matches!(it, b'\r' | b'\n')) else {
        return Ending::Unknown;
    };
    let head = bytes.get(begin..).unwrap_or_default();
    let begins = BEGINS.len().min(head.len());
    if head.get(..begins) != BEGINS.get(..begins) {
        return Ending::NoHead;
    }
    // An end may lie across.
    let mut from = searched.saturating_sub(3).max(begin);
    while let Some(found) = bytes
        .get(from..)
        .and_then(|it| it.iter().position(|byte| *byte == b'\n'))
    {
        let line = from + found + 1;
        match bytes.get(line..).unwrap_or_default() {
            [b'\n', ..] => return Ending::At(line + 1),
            [b'\r', b'\n', ..] => return Ending::At(line + 2),
            _ => from = line,
        }
    }
    Ending::Unknown
}

impl<S> Looked<S> {
    pub fn new(stream: S, leniencies: Arc<Leniencies>) -> Self {
        Self {
            stream,
            stage: Stage::Through,
            leniencies,
        }
    }

    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream itself, and what has come of it that nobody has read yet.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        let unread = match self.stage {
            Stage::Ready { mut bytes, taken } => bytes.split_off(taken.min(bytes.len())),
            Stage::Begun(begun) => begun.bytes,
            Stage::Through | Stage::Awaited => Vec::new(),
        };
        (self.stream, unread)
    }

    /// What is written begins a request.
    fn written(&mut self, bytes: &[u8]) {
        // A request may be written in pieces, and answered before its end. None
        // of its pieces but the first begins so: its body is a JSON array.
        let begins = REQUESTS.iter().any(|it| bytes.starts_with(it));
        if matches!(self.stage, Stage::Through) && begins {
            self.stage = Stage::Awaited;
        }
    }

    fn look(&mut self, begun: Option<Box<Begun>>, came: &[u8]) -> Result<Verdict, HeadFailure> {
        let is_final = |bytes| Status::of(bytes).is_some_and(|it| !it.is_interim());
        if begun.is_none() && ordinary(came).is_some() && is_final(came) {
            return Ok(Verdict::Plain);
        }
        let mut begun = begun.unwrap_or_default();
        begun.bytes.extend_from_slice(came);
        begun.look(&self.leniencies)
    }
}

impl<S: Read + Unpin> Read for Looked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Through => return Pin::new(&mut this.stream).poll_read(context, cursor),
                Stage::Ready { bytes, taken } => {
                    let rest = bytes.get(*taken..).unwrap_or_default();
                    let part = rest.get(..cursor.remaining()).unwrap_or(rest);
                    cursor.put_slice(part);
                    *taken += part.len();
                    if *taken == bytes.len() {
                        this.stage = Stage::Through;
                    }
                    return Poll::Ready(Ok(()));
                }
                Stage::Awaited | Stage::Begun(_) => {}
            }
            // SAFETY: nothing is taken out of the buffer, only bytes are put in.
            let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer.unfilled()))?;
            let came = buffer.filled();
            let begun = match std::mem::replace(&mut this.stage, Stage::Through) {
                Stage::Begun(begun) => Some(begun),
                _ => None,
            };
            if came.is_empty() {
                // The end. hyper has to see what there was before it.
                let bytes = begun.map(|it| it.bytes).unwrap_or_default();
                if bytes.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                this.stage = Stage::Ready { bytes, taken: 0 };
                continue;
            }
            let read = came.len();
            match this.look(begun, came) {
                Ok(Verdict::Plain) => {
                    // SAFETY: so many bytes were just filled in, and so are
                    // initialized.
                    unsafe { cursor.advance(read) };
                    return Poll::Ready(Ok(()));
                }
                Ok(Verdict::More(begun)) => this.stage = Stage::Begun(begun),
                Ok(Verdict::Instead(bytes)) => this.stage = Stage::Ready { bytes, taken: 0 },
                Err(failure) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, failure)))
                }
            }
        }
    }
}

impl<S: Write + Unpin> Write for Looked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written(bytes);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(parts.first().map_or(&[], |it| it));
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::task::Waker;

    /// A stream that gives one piece a read.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Read for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            mut cursor: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(cursor.remaining()));
                cursor.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    impl Write for Pieces {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// What hyper would get to read of these pieces, each of which comes in a
    /// read of its own, after a request.
    fn read(pieces: &[&[u8]]) -> (io::Result<Vec<u8>>, Arc<Leniencies>) {
        let leniencies = Arc::new(Leniencies::default());
        let pieces = Pieces(pieces.iter().map(|it| it.to_vec()).collect());
        let mut looked = Looked::new(pieces, leniencies.clone());
        let mut context = Context::from_waker(Waker::noop());
        let request = b"POST / HTTP/1.1\r\n\r\n[]";
        let written = Pin::new(&mut looked).poll_write(&mut context, request);
        assert!(matches!(written, Poll::Ready(Ok(_))));
        let mut all = Vec::new();
        loop {
            let mut space = [0; 100];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut looked).poll_read(&mut context, buffer.unfilled()) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return (Ok(all), leniencies),
                Poll::Ready(Ok(())) => all.extend_from_slice(buffer.filled()),
                Poll::Ready(Err(error)) => return (Err(error), leniencies),
                Poll::Pending => panic!("it is always ready"),
            }
        }
    }

    #[test]
    fn a_head_is_seen_however_it_comes_in_pieces() {
        let whole = b"\r\n\r\n\nHTTP/1.1 102 Processing\r\nA : 1\r\n\r\nHTTP/1.1 200 OK\r\nB : 2\r\nC: 3\n\n[body]\r\n\r\n";
        let wanted = b"HTTP/1.1 200 OK\r\nB: 2\r\nC: 3\r\n\r\n[body]\r\n\r\n";
        for size in 1..whole.len() {
            let pieces: Vec<_> = whole.chunks(size).collect();
            let (all, leniencies) = read(&pieces);
            assert_eq!(
                all.unwrap().escape_ascii().to_string(),
                wanted.escape_ascii().to_string()
            );
            assert_eq!(leniencies.counts()["header"], 1, "in pieces of {size}");
        }
        for cut in 1..whole.len() {
            let (one, two) = whole.split_at(cut);
            assert_eq!(read(&[one, two]).0.unwrap(), wanted, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_ordinary_or_no_head_goes_on_as_it_is() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n[body]"[..],
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00",
            b"220 mail.example.com ESMTP\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: 1",
            b"HTT",
            b"\r\n",
            b"",
        ] {
            for size in [1, 3, 1_000] {
                let pieces: Vec<_> = text.chunks(size).collect();
                let (all, leniencies) = read(&pieces);
                assert_eq!(all.unwrap(), text);
                assert!(leniencies.counts().is_empty());
            }
        }
    }

    #[test]
    fn what_nobody_has_read_behind_a_head_is_left_with_the_stream() {
        let all = b"HTTP/1.1 101 Switching Protocols\r\nA : 1\r\n\r\nand what is no HTTP";
        let wanted = b"HTTP/1.1 101 Switching Protocols\r\nA: 1\r\n\r\nand what is no HTTP";
        let (one, two) = all.split_at(20);
        for taken in 1..wanted.len() {
            let pieces = Pieces([one.to_vec(), two.to_vec()].into());
            let mut looked = Looked::new(pieces, Arc::default());
            let mut context = Context::from_waker(Waker::noop());
            let written = Pin::new(&mut looked).poll_write(&mut context, b"GET / HTTP/1.1\r\n");
            assert!(written.is_ready());
            let mut read = Vec::new();
            while read.len() < taken {
                let mut space = [0; 100];
                let space = space.get_mut(..taken - read.len()).unwrap();
                let mut buffer = ReadBuf::new(space);
                let polled = Pin::new(&mut looked).poll_read(&mut context, buffer.unfilled());
                assert!(matches!(polled, Poll::Ready(Ok(()))));
                read.extend_from_slice(buffer.filled());
            }
            let (stream, unread) = looked.into_parts();
            read.extend(unread);
            read.extend(stream.0.into_iter().flatten());
            assert_eq!(
                read.escape_ascii().to_string(),
                wanted.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn limit_interim_responses_and_heads_end_in_an_error() {
        let interim = b"HTTP/1.1 102 Processing\r\n\r\n";
        let last = b"HTTP/1.1 200 OK\r\n\r\n[]";
        let some = interim.repeat(MAXIMUM_INTERIM);
        assert_eq!(read(&[&some, last]).0.unwrap(), last);
        let error = read(&[&some, interim, last]).0.unwrap_err();
        assert!(error.to_string().contains("interim responses"), "{error}");
        let large = [
            &b"HTTP/1.1 103 Early Hints\r\nLink: "[..],
            &b"x".repeat(1_000),
            b"\r\n\r\n",
        ]
        .concat();
        let error = read(&[&large.repeat(300), last]).0.unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
        let head = |bytes: usize| {
            let name = b"HTTP/1.1 200 OK\r\nA: ";
            [&name[..], &b"x".repeat(bytes - name.len() - 4), b"\r\n\r\n"].concat()
        };
        assert!(read(&[&head(MAXIMUM_HEAD)]).0.is_ok());
        let error = read(&[&head(MAXIMUM_HEAD + 1)]).0.unwrap_err();
        assert!(error.to_string().contains("head is larger"), "{error}");
    }
}
