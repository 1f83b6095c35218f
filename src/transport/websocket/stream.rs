//! A connection as the framing wants it: one that says that it would block.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBuf, Write};

use super::frames::Frames;

/// A connection whose frames are followed.
pub struct Followed<S> {
    stream: S,
    /// Of who polls.
    waker: Waker,
    /// What had been read with the response that opened it.
    ahead: Vec<u8>,
    /// So much of that has been read again.
    taken: usize,
    heard: u64,
    pub frames: Frames,
    unwritable: Option<io::Error>,
}

impl<S> Followed<S> {
    pub fn new(stream: S, ahead: Vec<u8>) -> Self {
        Self {
            stream,
            waker: Waker::noop().clone(),
            ahead,
            taken: 0,
            heard: 0,
            frames: Frames::default(),
            unwritable: None,
        }
    }

    /// Who is to be woken when it blocks no more.
    pub fn polled_by(&mut self, context: &Context<'_>) {
        self.waker.clone_from(context.waker());
    }

    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Why nothing can be written any more.
    pub fn unwritable(&self) -> Option<&io::Error> {
        self.unwritable.as_ref()
    }

    fn came(&mut self, bytes: &[u8]) {
        self.heard = self.heard.saturating_add(bytes.len() as u64);
        self.frames.follow(bytes);
    }

    /// What cannot be written is taken all the same: the server may have said why,
    /// and that is read first.
    fn written<T>(&mut self, polled: Poll<io::Result<T>>, otherwise: T) -> io::Result<T> {
        match polled {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(Ok(written)) => Ok(written),
            Poll::Ready(Err(error)) => {
                self.unwritable = Some(error);
                Ok(otherwise)
            }
        }
    }
}

impl<S: Read + Unpin> io::Read for Followed<S> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.frames.is_endless() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let rest = self.ahead.get(self.taken..).unwrap_or_default();
        let read = if rest.is_empty() {
            let mut buffer = ReadBuf::new(space);
            let mut context = Context::from_waker(&self.waker);
            match Pin::new(&mut self.stream).poll_read(&mut context, buffer.unfilled()) {
                Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                Poll::Ready(polled) => polled?,
            }
            buffer.filled().len()
        } else {
            let length = rest.len().min(space.len());
            if let (Some(to), Some(from)) = (space.get_mut(..length), rest.get(..length)) {
                to.copy_from_slice(from);
            }
            self.taken += length;
            if self.taken == self.ahead.len() {
                self.ahead = Vec::new();
                self.taken = 0;
            }
            length
        };
        self.came(space.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl<S: Write + Unpin> io::Write for Followed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unwritable.is_some() {
            return Ok(bytes.len());
        }
        let mut context = Context::from_waker(&self.waker);
        let polled = Pin::new(&mut self.stream).poll_write(&mut context, bytes);
        self.written(polled, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.unwritable.is_some() {
            return Ok(());
        }
        let mut context = Context::from_waker(&self.waker);
        let polled = Pin::new(&mut self.stream).poll_flush(&mut context);
        self.written(polled, ())
    }
}
