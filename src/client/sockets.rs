//! A client's WebSocket as its task sees it: one that opens, is open, or has been
//! left and says goodbye.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::HeaderMap;
use tokio::time::{sleep, Sleep};

use super::frames::{Frame, Frames};
use super::hooks::AskedHeaders;
use crate::clock;
use crate::error::{ErrorKind, Failure};
use crate::session::{Millis, Server, SocketId};
use crate::transport::websocket::{Socket, Unopened, WebSockets};

/// So much of one client is read in a turn; then other clients have theirs.
const FRAMES: usize = 64;
const BYTES: usize = 256 * 1024;
/// So many frames may be with the host's code, or be read by another thread.
const BACKLOG: usize = 16;
/// What has left is told with the next thing that happens, unless it is so much
/// that commands may wait for it.
const TELL: usize = 16 * 1024;
/// A socket that was left is read until the server closes it as well, but no longer.
const GOODBYE: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Socket, Unopened>> + Send>>;

/// What has happened to the socket.
pub(super) enum News {
    /// The host's code has given the headers of its request, which is sent now.
    Opening(SocketId),
    Opened(SocketId),
    Unopened(SocketId, Box<Unopened>),
    /// There are frames to be taken.
    Frames,
    /// Bytes have left, or a ping is answered.
    Progress,
    /// It has ended, and all that came before is handled.
    Ended(SocketId, Box<Failure>),
}

pub(super) struct Sockets {
    transport: Arc<WebSockets>,
    /// Whether small texts are joined.
    joins: bool,
    stage: Stage,
    left: Vec<Left>,
}

enum Stage {
    None,
    Asking(SocketId, Server, AskedHeaders),
    Opening(SocketId, Opening),
    Open(Box<Open>),
}

struct Open {
    id: SocketId,
    socket: Socket,
    /// Texts that have come, and are not handled.
    frames: Frames,
    /// So many are with the host's code, or with another thread.
    backlog: usize,
    /// Of what was given to it: not with the system, and with it but not told.
    unwritten: usize,
    untold: usize,
    /// All may have been flushed.
    flushed: bool,
    heard: u64,
    heard_at: Millis,
    pinged_at: Option<Millis>,
    /// From the last ping to what came then.
    round_trip: Option<Millis>,
    /// Writing has failed. What had come before is read first.
    broken: Option<Failure>,
    ended: Option<Failure>,
    /// There was more than a turn takes.
    more: bool,
}

struct Left {
    id: SocketId,
    socket: Socket,
    /// Texts that have come, and are not handled.
    frames: Frames,
    reads: bool,
    until: Pin<Box<Sleep>>,
    ended: bool,
}

impl Left {
    fn new(open: Open, reads: bool) -> Self {
        Self {
            id: open.id,
            socket: open.socket,
            frames: match reads {
                true => open.frames,
                false => Frames::new(false),
            },
            reads,
            until: Box::pin(sleep(GOODBYE)),
            ended: false,
        }
    }

    /// Whether something is left to be done about it. With `room` more is read, where
    /// what comes is to be taken.
    fn poll(&mut self, context: &mut Context<'_>, room: bool) -> bool {
        if !self.ended {
            self.ended = self.has_ended(context, room);
        }
        !self.ended || !self.frames.is_empty()
    }

    /// What comes is passed over from now on.
    fn passes_over(&mut self) {
        self.reads = false;
        self.frames = Frames::new(false);
    }

    fn has_ended(&mut self, context: &mut Context<'_>, room: bool) -> bool {
        let flushed = match self.socket.poll_flush(context) {
            Poll::Ready(Err(_)) => return true,
            flushed => flushed.is_ready(),
        };
        if self.until.as_mut().poll(context).is_ready() {
            return true;
        }
        if self.reads && !(room && self.frames.is_empty()) {
            return false;
        }
        // A flood ends with the time.
        for _ in 0..FRAMES {
            match self.socket.poll_text(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(text)) if self.reads => self.frames.push(text.as_str()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return flushed,
            }
        }
        context.waker().wake_by_ref();
        false
    }
}

impl Sockets {
    /// With `joins` small texts that come one behind the other are one.
    pub fn new(transport: Arc<WebSockets>, joins: bool) -> Self {
        Self {
            transport,
            joins,
            stage: Stage::None,
            left: Vec::new(),
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.stage {
            Stage::Open(open) => Some(open),
            _ => None,
        }
    }

    fn current(&mut self, socket: SocketId) -> Option<&mut Open> {
        self.open_mut().filter(|it| it.id == socket)
    }

    /// With the host's headers, where they are asked for.
    pub fn open(&mut self, socket: SocketId, server: Server, headers: Option<AskedHeaders>) {
        self.stage = match headers {
            Some(headers) => Stage::Asking(socket, server, headers),
            None => self.opening(socket, server, None),
        };
    }

    fn opening(&self, socket: SocketId, server: Server, headers: Option<Box<HeaderMap>>) -> Stage {
        let transport = self.transport.clone();
        let opening = Box::pin(async move { transport.open(server, headers).await });
        Stage::Opening(socket, opening)
    }

    /// Sends a text, of which so many bytes are counted; they are told when all has
    /// left.
    pub fn send(&mut self, socket: SocketId, text: Vec<u8>, counted: usize) {
        if let Some(open) = self.current(socket) {
            open.socket.send(text);
        }
        self.count(socket, counted);
    }

    /// Tells of so many bytes as if they had been sent.
    pub fn count(&mut self, socket: SocketId, bytes: usize) {
        if let Some(open) = self.current(socket) {
            open.unwritten = open.unwritten.saturating_add(bytes);
            open.flushed = false;
        }
    }

    pub fn ping(&mut self, socket: SocketId) {
        if let Some(open) = self.current(socket) {
            open.socket.ping();
            open.pinged_at = Some(clock::now());
            open.flushed = false;
        }
    }

    /// Leaves it: with 0 at once, otherwise with this code and a moment for the other
    /// side to close it as well; when it `reads`, what came and still comes can be
    /// taken. Whether it was open.
    pub fn close(&mut self, socket: SocketId, code: u16, reads: bool) -> bool {
        let is_it = match &self.stage {
            Stage::None => false,
            Stage::Asking(id, ..) | Stage::Opening(id, _) => *id == socket,
            Stage::Open(open) => open.id == socket,
        };
        if !is_it {
            return false;
        }
        let Stage::Open(open) = std::mem::replace(&mut self.stage, Stage::None) else {
            return false;
        };
        if code != 0 {
            let mut left = Left::new(*open, reads);
            left.socket.leave(code);
            self.left.push(left);
        }
        true
    }

    /// The next text that has come, and over which socket.
    pub fn take(&mut self) -> Option<(SocketId, Frame)> {
        for left in &mut self.left {
            if let Some(frame) = left.frames.take() {
                return Some((left.id, frame));
            }
        }
        let open = self.open_mut().filter(|it| it.backlog < BACKLOG)?;
        Some((open.id, open.frames.take()?))
    }

    /// What was taken last is to come again, each of its texts by itself.
    pub fn take_apart(&mut self, socket: SocketId, frame: &Frame) {
        let left = self.left.iter_mut().find(|it| it.id == socket);
        if let Some(left) = left {
            left.frames.take_apart(frame);
        } else if let Some(open) = self.current(socket) {
            open.frames.take_apart(frame);
        }
    }

    /// What was taken last is not handled at once.
    pub fn set_aside(&mut self, socket: SocketId) {
        if let Some(open) = self.current(socket) {
            open.backlog += 1;
        }
    }

    /// One that was not handled at once is now.
    pub fn handled(&mut self, socket: SocketId) {
        if let Some(open) = self.current(socket) {
            open.backlog = open.backlog.saturating_sub(1);
        }
    }

    /// Whether there are frames that can be taken, now or when there is room.
    pub fn has_frames(&self) -> bool {
        matches!(&self.stage, Stage::Open(open) if !open.frames.is_empty())
    }

    /// Whether something of it is with the host's code, or with another thread.
    pub fn has_backlog(&self) -> bool {
        matches!(&self.stage, Stage::Open(open) if open.backlog > 0)
    }

    /// Whether the last turn had more than it took. Asked once.
    pub fn has_more(&mut self) -> bool {
        let open = self.open_mut();
        open.is_some_and(|it| std::mem::take(&mut it.more))
    }

    /// Until when bytes have come, and how many.
    pub fn heard(&self) -> Option<(SocketId, Millis, u64)> {
        match &self.stage {
            Stage::Open(open) => Some((open.id, open.heard_at, open.heard)),
            _ => None,
        }
    }

    /// How long the last ping took, if that is not told yet.
    pub fn round_trip(&mut self) -> Option<Millis> {
        self.open_mut()?.round_trip.take()
    }

    /// How many bytes have left since the last time.
    pub fn written(&mut self) -> Option<(SocketId, usize)> {
        let open = self.open_mut().filter(|it| it.untold > 0)?;
        Some((open.id, std::mem::take(&mut open.untold)))
    }

    /// A server that closes is answered, however slowly it reads.
    fn answer(&mut self, ended: Stage, context: &mut Context<'_>) {
        if let Stage::Open(open) = ended {
            if open.socket.is_answering() {
                self.left.push(Left::new(*open, false));
                self.poll_left(context, false);
            }
        }
    }

    /// Waits until those that were left have ended. What still comes is passed over.
    pub async fn said_goodbye(&mut self) {
        self.left.iter_mut().for_each(Left::passes_over);
        std::future::poll_fn(|context| {
            self.poll_left(context, false);
            match self.left.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn poll_left(&mut self, context: &mut Context<'_>, room: bool) {
        self.left.retain_mut(|it| it.poll(context, room));
    }

    /// What happens next. With `room` more is read.
    pub fn poll(&mut self, context: &mut Context<'_>, room: bool) -> Poll<News> {
        if !self.left.is_empty() {
            self.poll_left(context, room);
            if room && self.left.iter().any(|it| !it.frames.is_empty()) {
                return Poll::Ready(News::Frames);
            }
        }
        let (id, opened) = match &mut self.stage {
            Stage::None => return Poll::Pending,
            Stage::Asking(id, server, headers) => {
                let (id, server) = (*id, server.clone());
                let asked = match Pin::new(headers).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    // It is given up with the socket only.
                    Poll::Ready(Err(_)) => Err(Failure::new(
                        ErrorKind::Aborted,
                        "the question for the headers was given up",
                    )),
                    Poll::Ready(Ok(asked)) => asked,
                };
                return Poll::Ready(match asked {
                    Ok(headers) => {
                        self.stage = self.opening(id, server, Some(headers));
                        News::Opening(id)
                    }
                    Err(failure) => {
                        self.stage = Stage::None;
                        let refused = false;
                        News::Unopened(id, Box::new(Unopened { failure, refused }))
                    }
                });
            }
            Stage::Opening(id, opening) => match opening.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(opened) => (*id, opened),
            },
            Stage::Open(open) => {
                let news = open.poll(context, room);
                if matches!(news, Poll::Ready(News::Ended(..))) {
                    let ended = std::mem::replace(&mut self.stage, Stage::None);
                    self.answer(ended, context);
                }
                return news;
            }
        };
        Poll::Ready(match opened {
            Ok(socket) => {
                self.stage = Stage::Open(Box::new(Open::new(id, socket, self.joins)));
                News::Opened(id)
            }
            Err(unopened) => {
                self.stage = Stage::None;
                News::Unopened(id, Box::new(unopened))
            }
        })
    }
}

impl Open {
    fn new(id: SocketId, socket: Socket, joins: bool) -> Self {
        Self {
            id,
            heard: socket.heard(),
            socket,
            frames: Frames::new(joins),
            backlog: 0,
            unwritten: 0,
            untold: 0,
            flushed: false,
            heard_at: clock::now(),
            pinged_at: None,
            round_trip: None,
            broken: None,
            ended: None,
            more: false,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, room: bool) -> Poll<News> {
        self.flush(context);
        if room && self.backlog < BACKLOG {
            if self.frames.is_empty() {
                self.read(context);
            }
            if !self.frames.is_empty() {
                return Poll::Ready(News::Frames);
            }
        }
        if self.frames.is_empty() && self.backlog == 0 {
            if let Some(failure) = self.ended.take() {
                return Poll::Ready(News::Ended(self.id, Box::new(failure)));
            }
        }
        // The session looks for silence by another clock while a ping is unanswered.
        match self.untold >= TELL || self.round_trip.is_some() {
            true => Poll::Ready(News::Progress),
            false => Poll::Pending,
        }
    }

    fn flush(&mut self, context: &mut Context<'_>) {
        if self.flushed || self.broken.is_some() || self.ended.is_some() {
            return;
        }
        match self.socket.poll_flush(context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.flushed = true;
                self.untold = self
                    .untold
                    .saturating_add(std::mem::take(&mut self.unwritten));
            }
            Poll::Ready(Err(failure)) => self.broken = Some(failure),
        }
    }

    fn read(&mut self, context: &mut Context<'_>) {
        let (mut count, mut bytes) = (0, 0);
        while self.ended.is_none() {
            match self.socket.poll_text(context) {
                Poll::Ready(Ok(text)) => {
                    let text = text.as_str();
                    (count, bytes) = (count + 1, bytes + text.len());
                    self.frames.push(text);
                    if count == FRAMES || bytes >= BYTES {
                        self.more = true;
                        break;
                    }
                }
                Poll::Ready(Err(failure)) => self.ended = Some(failure),
                Poll::Pending => {
                    self.ended = self.broken.take();
                    break;
                }
            }
        }
        let heard = self.socket.heard();
        if heard != self.heard {
            self.heard = heard;
            self.heard_at = clock::now();
            if let Some(at) = self.pinged_at.take() {
                self.round_trip = Some(self.heard_at.saturating_sub(at));
            }
        }
    }
}
