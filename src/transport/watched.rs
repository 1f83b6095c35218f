//! What lies between a socket and hyper. It knows what was heard and whether all
//! was written, and lets hyper go while a response is awaited, with its buffers,
//! and come back when the response begins.
//!
//! A hyper that comes back knows of no request, and takes no response without
//! one. So it is given a stand-in to send, which ends here; until it has been
//! sent, hyper gets nothing to read.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

/// Most responses that are worth waiting for are not longer, and need no second
/// read.
const FIRST: usize = 2_048;

/// What was heard over a connection.
#[derive(Clone, Default)]
pub struct Heard(Arc<Bytes>);

#[derive(Default)]
struct Bytes {
    ever: AtomicBool,
    since_written: AtomicBool,
    /// Something was written and not flushed.
    unflushed: AtomicBool,
}

impl Heard {
    /// Whether the server has answered here before, and has said nothing since
    /// something was last written: its closing crossed the request on the way.
    pub fn nothing_anew(&self) -> bool {
        self.0.ever.load(Ordering::Relaxed) && !self.0.since_written.load(Ordering::Relaxed)
    }

    /// Whether all that was written has left, and nothing has come since.
    pub fn is_quiet(&self) -> bool {
        !self.0.unflushed.load(Ordering::Relaxed) && !self.0.since_written.load(Ordering::Relaxed)
    }

    fn some(&self) {
        self.0.ever.store(true, Ordering::Relaxed);
        self.0.since_written.store(true, Ordering::Relaxed);
    }

    fn writes(&self) {
        self.0.since_written.store(false, Ordering::Relaxed);
        self.0.unflushed.store(true, Ordering::Relaxed);
    }

    fn flushed(&self) {
        self.0.unflushed.store(false, Ordering::Relaxed);
    }
}

/// A connection that knows whether a response has begun.
pub struct Watched<S> {
    stream: S,
    heard: Heard,
    /// It leads to a proxy, which is told the whole URL of each request.
    to_proxy: bool,
    /// While hyper is away, and comes back.
    away: Option<Box<Away>>,
}

/// What hyper has missed.
#[derive(Default)]
struct Away {
    bytes: Vec<u8>,
    /// So many of them it has read since.
    taken: usize,
    /// How the stream has ended behind them, if it has.
    end: Option<io::Result<()>>,
    stand_in: StandIn,
}

#[derive(Default, PartialEq, Eq)]
enum StandIn {
    #[default]
    Awaited,
    Begun,
    Sent,
}

impl<S> Watched<S> {
    pub fn new(stream: S, to_proxy: bool) -> Self {
        Self {
            stream,
            heard: Heard::default(),
            to_proxy,
            away: None,
        }
    }

    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// The stream itself, from which nobody has been away.
    pub fn into_inner(self) -> S {
        self.stream
    }

    pub fn is_to_proxy(&self) -> bool {
        self.to_proxy
    }

    /// hyper goes, and leaves these bytes, which it had read already.
    pub fn leave(&mut self, bytes: &[u8]) {
        self.away = Some(Box::new(Away {
            bytes: bytes.to_vec(),
            ..Away::default()
        }));
    }

    /// The stand-in, or a part of it, unless what is written is meant for the
    /// server.
    fn swallow(&mut self) -> bool {
        match &mut self.away {
            Some(away) if away.stand_in != StandIn::Sent => {
                away.stand_in = StandIn::Begun;
                true
            }
            _ => false,
        }
    }
}

impl<S: Read + Unpin> Watched<S> {
    /// Waits for something that hyper has to see: bytes, or the stream's end.
    pub fn poll_away(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(away) = &mut self.away else {
            return Poll::Ready(());
        };
        let mut space = [MaybeUninit::uninit(); FIRST];
        let mut buffer = ReadBuf::uninit(&mut space);
        let stream = Pin::new(&mut self.stream);
        match ready!(stream.poll_read(context, buffer.unfilled())) {
            Ok(()) if buffer.filled().is_empty() => away.end = Some(Ok(())),
            Ok(()) => {
                away.bytes.extend_from_slice(buffer.filled());
                self.heard.some();
            }
            Err(error) => away.end = Some(Err(error)),
        }
        Poll::Ready(())
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(away) = &mut self.away {
            if away.stand_in != StandIn::Sent {
                // Who sends it wakes who reads.
                return Poll::Pending;
            }
            let rest = away.bytes.get(away.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let part = rest.get(..cursor.remaining()).unwrap_or(rest);
                cursor.put_slice(part);
                away.taken += part.len();
                return Poll::Ready(Ok(()));
            }
            let end = away.end.take();
            self.away = None;
            if let Some(end) = end {
                return Poll::Ready(end);
            }
        }
        // SAFETY: nothing is taken out of the buffer, only bytes are put in.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer.unfilled());
        let read = buffer.filled().len();
        if read > 0 {
            self.heard.some();
        }
        // SAFETY: so many bytes were just filled in, and so are initialized.
        unsafe { cursor.advance(read) };
        polled
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.swallow() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.heard.writes();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.swallow() {
            return Poll::Ready(Ok(parts.iter().map(|it| it.len()).sum()));
        }
        self.heard.writes();
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written the whole of a request.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.away {
            Some(away) if away.stand_in == StandIn::Begun => {
                away.stand_in = StandIn::Sent;
                context.waker().wake_by_ref();
                return Poll::Ready(Ok(()));
            }
            Some(away) if away.stand_in == StandIn::Awaited => return Poll::Ready(Ok(())),
            _ => {}
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        if flushed.is_ok() {
            self.heard.flushed();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
