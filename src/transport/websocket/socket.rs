//! An open socket: its framing is tungstenite's, its connection the library's
//! own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

use super::closing::{closed, lost, ABNORMAL, INVALID_DATA, PROTOCOL_ERROR, TOO_BIG};
use super::stream::Followed;
use crate::error::{ErrorKind, Failure};
use crate::transport::coding::too_large;
use crate::transport::connector::Stream;
use crate::transport::failures::chain;
use crate::transport::leniencies::Leniencies;

/// Each socket has it all the time.
const READ_BUFFER: usize = 7 * 1024;
/// What is gathered for one write.
const WRITE_BUFFER: usize = 16 * 1024;
/// With what a server is answered that pings and does not read. Of pings beyond that
/// the last one is (RFC 6455, section 5.5.3).
const MAXIMUM_UNWRITTEN: usize = 2 * WRITE_BUFFER;
/// Places of the queue that are kept.
const IDLE_QUEUE: usize = 4;
/// More than this in one write leaves a buffer behind that is not kept.
const LARGE: usize = 4 * 1024;
/// So many frames that are no messages are passed over before other clients have
/// their turn.
const TURN: usize = 256;

/// An open socket.
pub struct Socket(Box<Open<Stream>>);

/// The same over any connection.
pub(super) struct Open<S> {
    stream: Followed<S>,
    framing: WebSocketContext,
    maximum_message: usize,
    /// Not with the framing yet.
    waiting: VecDeque<Message>,
    /// At most so much is with the framing and not with the system.
    unwritten: usize,
    /// The framing has held much at once.
    sent_large: bool,
    /// For why nothing can be written.
    woken_to_read: bool,
    /// The last that was taken closes it.
    is_closing: bool,
    end: Option<Failure>,
    /// The answer to the server's close frame is not with the system yet.
    answering: bool,
    leniencies: Arc<Leniencies>,
}

impl Socket {
    /// Over a connection of which these bytes have been read already.
    pub(super) fn new(
        stream: Stream,
        ahead: Vec<u8>,
        maximum_message: usize,
        leniencies: Arc<Leniencies>,
    ) -> Self {
        let open = Open::new(stream, ahead, maximum_message, leniencies);
        Self(Box::new(open))
    }

    /// Takes one text message, which is UTF-8; it leaves with [`Self::poll_flush`].
    pub fn send(&mut self, text: Vec<u8>) {
        self.0.send(text);
    }

    pub fn ping(&mut self) {
        self.0.take(Message::Ping(Bytes::new()));
    }

    /// Begins the closing handshake behind what was sent. What comes until it ends
    /// is still read.
    pub fn close(&mut self, code: u16) {
        let close = CloseFrame {
            code: code.into(),
            reason: Utf8Bytes::from_static(""),
        };
        self.0.take(Message::Close(Some(close)));
        self.0.is_closing = true;
    }

    /// The same, at once: of what was taken nothing leaves that has not begun to.
    pub fn leave(&mut self, code: u16) {
        self.0.waiting.clear();
        self.close(code);
    }

    /// Ready when the system has all that was taken. When nothing can be written any
    /// more it is [`Self::poll_text`] that tells, behind what the server has still
    /// said.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_flush(context)
    }

    /// The next text message, or how the socket has ended. Pings are answered on the
    /// way, and other messages passed over. The text is a part of what was read: to be
    /// dropped soon, since what it keeps is much larger.
    pub fn poll_text(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Failure>> {
        self.0.poll_text(context)
    }

    /// Whether it has ended, and the server's close frame is still to be answered: by
    /// [`Self::poll_flush`].
    pub fn is_answering(&self) -> bool {
        self.0.answering
    }

    /// How many bytes have come over it, of frames of any kind.
    pub fn heard(&self) -> u64 {
        self.0.stream.heard()
    }
}

fn framing(maximum_message: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAXIMUM_UNWRITTEN)
        .max_message_size(Some(maximum_message))
        .max_frame_size(Some(maximum_message));
    WebSocketContext::new(Role::Client, Some(config))
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(io) if io.kind() == std::io::ErrorKind::WouldBlock)
}

impl<S: hyper::rt::Read + hyper::rt::Write + Unpin> Open<S> {
    pub(super) fn new(
        stream: S,
        ahead: Vec<u8>,
        maximum_message: usize,
        leniencies: Arc<Leniencies>,
    ) -> Self {
        Self {
            stream: Followed::new(stream, ahead),
            framing: framing(maximum_message),
            maximum_message,
            waiting: VecDeque::new(),
            unwritten: 0,
            sent_large: false,
            woken_to_read: false,
            is_closing: false,
            end: None,
            answering: false,
            leniencies,
        }
    }

    pub(super) fn send(&mut self, text: Vec<u8>) {
        let frame = Frame::message(text, OpCode::Data(Data::Text), true);
        self.take(Message::Frame(frame));
    }

    fn take(&mut self, message: Message) {
        // Nothing follows a close frame.
        if !self.is_closing && self.end.is_none() {
            self.waiting.push_back(message);
        }
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.stream.polled_by(context);
        if let Some(end) = &self.end {
            let end = end.clone();
            if self.answering && self.flush().is_err_and(|it| would_block(&it)) {
                return Poll::Pending;
            }
            self.answering = false;
            return Poll::Ready(Err(end));
        }
        loop {
            while self.unwritten < WRITE_BUFFER {
                let Some(message) = self.waiting.pop_front() else {
                    self.waiting.shrink_to(IDLE_QUEUE);
                    break;
                };
                if let Err(error) = self.write(message) {
                    return Poll::Ready(Err(self.wrong(error)));
                }
            }
            match self.flush() {
                Ok(()) if self.waiting.is_empty() => break,
                Ok(()) => {}
                Err(error) if would_block(&error) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(self.wrong(error))),
            }
        }
        if self.stream.unwritable().is_some() {
            // Once: who does not read now would be woken for ever.
            if !std::mem::replace(&mut self.woken_to_read, true) {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives a message to the framing, however large it is.
    fn write(&mut self, message: Message) -> Result<(), Error> {
        let length = message.len();
        self.unwritten = self.unwritten.saturating_add(length);
        self.sent_large |= self.unwritten > LARGE;
        self.framing
            .set_config(|it| it.max_write_buffer_size = usize::MAX);
        let written = self.framing.write(&mut self.stream, message);
        self.framing
            .set_config(|it| it.max_write_buffer_size = MAXIMUM_UNWRITTEN);
        match written {
            // It is with the framing.
            Err(error) if would_block(&error) => Ok(()),
            written => written,
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.framing.flush(&mut self.stream)?;
        self.unwritten = 0;
        Ok(())
    }

    pub(super) fn poll_text(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Utf8Bytes, Failure>> {
        if let Some(end) = &self.end {
            return Poll::Ready(Err(end.clone()));
        }
        self.stream.polled_by(context);
        for _ in 0..TURN {
            match self.framing.read(&mut self.stream) {
                Ok(Message::Text(text)) => return Poll::Ready(Ok(text)),
                Ok(Message::Close(_)) => {
                    // The answer; what the server does not read yet, `poll_flush` gives.
                    self.answering = self.flush().is_err_and(|it| would_block(&it));
                    let payload = self.stream.frames.close().unwrap_or_default();
                    let failure = closed(payload, &self.leniencies);
                    return Poll::Ready(Err(self.ends(failure)));
                }
                Ok(_) => {}
                Err(error) if would_block(&error) => {
                    if let Some(error) = self.stream.unwritable() {
                        let failure = broke(error);
                        return Poll::Ready(Err(self.ends(failure)));
                    }
                    self.renew();
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(self.wrong(error))),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gives back the buffers that large messages have left: those of the framing
    /// never shrink. Nothing has to be kept when all that came are whole messages,
    /// and all that was written has left.
    fn renew(&mut self) {
        let is_due = self.sent_large || self.stream.frames.has_been_large();
        let may_be = self.framing.can_write() && self.stream.frames.is_between_messages();
        if is_due && may_be && self.flush().is_ok() {
            self.framing = framing(self.maximum_message);
            self.sent_large = false;
            self.stream.frames.forget_large();
        }
    }

    /// Ends it for what the framing does not take, and tells the server why.
    fn wrong(&mut self, error: Error) -> Failure {
        let (code, failure) = match error {
            _ if self.stream.frames.is_endless() => {
                let text = "the server sent a message in too many empty frames";
                let failure = lost(ErrorKind::Protocol, text, PROTOCOL_ERROR);
                (Some(PROTOCOL_ERROR), failure)
            }
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                let mut failure = too_large(self.maximum_message);
                failure.websocket_code = TOO_BIG;
                (Some(TOO_BIG), failure)
            }
            Error::Utf8(_) => {
                let text = "the server sent text that is not UTF-8";
                let failure = lost(ErrorKind::Protocol, text, INVALID_DATA);
                (Some(INVALID_DATA), failure)
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => {
                let text = "the server closed the connection without closing the WebSocket";
                (None, lost(ErrorKind::ConnectionLost, text, ABNORMAL))
            }
            Error::Io(error) => (None, broke(&error)),
            error => {
                let text = format!("the server sent wrong frames: {}", chain(&error));
                let failure = lost(ErrorKind::Protocol, text, PROTOCOL_ERROR);
                (Some(PROTOCOL_ERROR), failure)
            }
        };
        if let Some(code) = code {
            let close = CloseFrame {
                code: code.into(),
                reason: Utf8Bytes::from_static(""),
            };
            let _ = self.write(Message::Close(Some(close)));
            let _ = self.flush();
        }
        self.ends(failure)
    }

    fn ends(&mut self, failure: Failure) -> Failure {
        self.waiting = VecDeque::new();
        let code = failure.websocket_code;
        tracing::debug!(target: "cometd::websocket", code, "closed");
        self.end.insert(failure).clone()
    }
}

fn broke(error: &std::io::Error) -> Failure {
    let text = format!("the connection broke: {}", chain(error));
    lost(ErrorKind::ConnectionLost, text, ABNORMAL)
}
