//! What is under way between a client and its servers: requests, its socket, what
//! the host's code has of both, and what has come and is not handled.

use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::header::HeaderMap;

use super::arrivals::{Arrivals, Origin};
use super::frames::Frame;
use super::handover::Carried;
use super::header_provider::OutgoingRequest;
use super::hooks::{Done, Hooks};
use super::shared::Shared;
use super::sockets::{News, Sockets};
use super::underway::{Course, Sending, Underway};
use crate::bayeux::Body;
use crate::clock;
use crate::error::Failure;
use crate::runtime::Runtime;
use crate::session::{
    Endpoint, Handover, HandshakeQuestion, Request, RequestId, Server, Session, SocketId,
};
use crate::transport::http::LongPolling;
use crate::transport::websocket::ABNORMAL;

/// What has come: messages, or why there are none.
pub(super) type Came = (Origin, Result<Body, Failure>);

/// What has happened.
pub(super) enum Happened {
    Arrived(Underway, Result<Vec<u8>, Failure>),
    Came(Came),
    Hook(Done),
    Socket(News),
}

pub(super) struct Line {
    transport: Arc<LongPolling>,
    /// Where the host wants WebSocket.
    sockets: Option<Box<Sockets>>,
    hooks: Option<Hooks>,
    shared: Arc<Shared>,
    /// Keeps the runtime alive as long as the client lives.
    runtime: Arc<Runtime>,
    requests: Vec<Underway>,
    arrivals: Arrivals,
}

impl Line {
    pub fn new(
        transport: Arc<LongPolling>,
        sockets: Option<Sockets>,
        hooks: Option<Hooks>,
        shared: Arc<Shared>,
        runtime: Arc<Runtime>,
    ) -> Self {
        Self {
            transport,
            sockets: sockets.map(Box::new),
            hooks,
            shared,
            runtime,
            requests: Vec::new(),
            arrivals: Arrivals::default(),
        }
    }

    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    pub fn sockets(&mut self) -> Option<&mut Sockets> {
        self.sockets.as_deref_mut()
    }

    /// The code of the host's that a frame meets, or a request.
    fn outgoing(&self, is_frame: bool) -> Option<&Hooks> {
        let meets = |it: &&Hooks| it.has_outgoing() || !is_frame && it.has_header_provider();
        self.hooks.as_ref().filter(meets)
    }

    fn incoming(&self) -> Option<&Hooks> {
        self.hooks.as_ref().filter(|it| it.has_incoming())
    }

    pub fn ask(&self, question: HandshakeQuestion) {
        if let Some(hooks) = &self.hooks {
            hooks.ask(question);
        }
    }

    /// The session that was asked for, for whoever waits for it.
    pub fn handed_over(&self, handover: Option<Box<Handover>>) {
        let Some(outbox) = self.shared.outbox.get() else {
            return;
        };
        let is_given = handover.is_some();
        outbox.answer(handover.map(|session| {
            let server = Server::Given(session.server());
            let places = self.transport.places(server);
            let places = places.ok_or("its server is not known any more")?;
            Carried {
                url: places.base().to_string(),
                session: *session,
                cookies: self.transport.kept_cookies(),
            }
            .to_text()
        }));
        for notice in outbox.answered(&self.shared.name, is_given) {
            self.shared.tell_of_call(notice);
        }
    }

    pub fn send(&mut self, request: Request) {
        let Request {
            id,
            server,
            endpoint,
            body,
            socket,
        } = request;
        let frame = socket.map(|socket| (socket, body.len()));
        if let (Some((socket, bytes)), None) = (frame, self.outgoing(true)) {
            self.send_frame(socket, endpoint, body, bytes);
            return;
        }
        let course = Course::new();
        self.shared.goes_to(&server, &self.transport);
        let sending = match self.outgoing(frame.is_some()) {
            Some(hooks) => {
                let asked = match frame {
                    None if hooks.has_header_provider() => self.transport.places(server.clone()),
                    _ => None,
                };
                let asked = asked.map(|it| OutgoingRequest::post(&it, endpoint));
                hooks.outgoing(id, body, asked);
                None
            }
            None => Some(self.exchange(server.clone(), endpoint, body, None, course.clone())),
        };
        // Rarely more than one or two.
        self.requests.reserve_exact(1);
        self.requests.push(Underway {
            id,
            server,
            endpoint,
            sent: clock::now(),
            sending,
            course,
            frame,
        });
    }

    fn exchange(
        &self,
        server: Server,
        endpoint: Endpoint,
        body: Vec<u8>,
        headers: Option<Box<HeaderMap>>,
        course: Arc<Course>,
    ) -> Sending {
        tracing::debug!(target: "cometd::client", ?endpoint, bytes = body.len(), "request");
        self.shared.tell_body("sent", &body);
        self.shared.counters.sent(endpoint, body.len());
        let transport = self.transport.clone();
        Box::pin(async move {
            let progress = &course.progress;
            let exchange = transport.exchange(server, endpoint, body, headers, progress);
            exchange.await
        })
    }

    /// The session has counted it as so many bytes.
    fn send_frame(&mut self, socket: SocketId, endpoint: Endpoint, body: Vec<u8>, counted: usize) {
        tracing::debug!(target: "cometd::client", ?endpoint, bytes = body.len(), "frame");
        self.shared.tell_body("sent", &body);
        self.shared.counters.frame_sent(endpoint, body.len());
        if let Some(sockets) = &mut self.sockets {
            sockets.send(socket, body, counted);
        }
    }

    pub fn cancel(&mut self, id: RequestId) {
        if let Some(index) = self.requests.iter().position(|it| it.id == id) {
            let frame = self.requests.remove(index).frame;
            self.unsent(frame);
        }
        self.arrivals.forget(Origin::Request(id));
        if let Some(hooks) = &self.hooks {
            hooks.cancel(Origin::Request(id));
        }
    }

    /// Whether that begins at once.
    pub fn open(&mut self, socket: SocketId, server: Server) -> bool {
        self.shared.goes_to(&server, &self.transport);
        let headers = self.hooks.as_ref().and_then(|hooks| {
            let places = self.transport.places(server.clone())?;
            hooks.headers(socket, OutgoingRequest::upgrade(&places))
        });
        let begins = headers.is_none();
        if let Some(sockets) = &mut self.sockets {
            sockets.open(socket, server, headers);
        }
        begins
    }

    pub fn close(&mut self, socket: SocketId, code: u16, reads: bool) {
        let sockets = self.sockets.as_mut();
        if sockets.is_some_and(|it| it.close(socket, code, reads)) {
            // Without a word it looks to the server as if it had broken.
            let told = if code == 0 { ABNORMAL } else { code };
            self.shared.counters.socket_closed(told);
        }
        self.forget_requests(socket);
        if !reads {
            self.forget_arrivals(socket);
        }
    }

    pub fn ping(&mut self, socket: SocketId) {
        if let Some(sockets) = &mut self.sockets {
            sockets.ping(socket);
            self.shared.counters.pinged();
        }
    }

    /// The socket has ended by itself.
    pub fn ended(&mut self, socket: SocketId, code: u16) {
        self.shared.counters.socket_closed(code);
        self.forget_requests(socket);
        self.forget_arrivals(socket);
    }

    /// Nothing may come any more of what came over a socket.
    fn forget_arrivals(&mut self, socket: SocketId) {
        self.arrivals.forget(Origin::Socket(socket));
        if let Some(hooks) = &self.hooks {
            hooks.cancel(Origin::Socket(socket));
        }
    }

    /// What was about to leave over a socket leaves no more.
    fn forget_requests(&mut self, socket: SocketId) {
        let hooks = self.hooks.as_ref();
        self.requests.retain(|request| {
            let is_of_it = request.frame.is_some_and(|it| it.0 == socket);
            if let Some(hooks) = hooks.filter(|_| is_of_it) {
                hooks.cancel(Origin::Request(request.id));
            }
            !is_of_it
        });
    }

    /// The response to a request is there. It is given back to be handled at once
    /// unless that takes its time, or another is before it.
    pub fn arrived(
        &mut self,
        session: &mut Session,
        request: Underway,
        arrival: Result<Vec<u8>, Failure>,
    ) -> Option<Came> {
        let now = clock::now();
        let id = request.id;
        let origin = Origin::Request(id);
        let read = match arrival {
            Err(failure) => self.arrivals.line_up(origin, Err(failure)),
            Ok(body) => {
                let took = now.saturating_sub(request.sent);
                let counters = &self.shared.counters;
                counters.replied(request.endpoint, took, body.len());
                self.shared.tell_body("received", &body);
                if let Some(hooks) = self.incoming() {
                    session.handle_arrived(now, id);
                    hooks.incoming(origin, body);
                    self.requests.push(request);
                    return None;
                }
                let aside = self.runtime.aside();
                self.arrivals.read(aside, origin, body.len(), body)
            }
        };
        if read.is_none() {
            session.handle_arrived(now, id);
        }
        read.map(|read| (origin, read))
    }

    fn received(&self, frame: &Frame) {
        let (count, bytes) = frame.size();
        self.shared.counters.frames_received(count, bytes);
        self.shared.tell_body("received", frame.text().as_bytes());
    }

    /// The next frame that can be handled at once.
    pub fn next_frame(&mut self) -> Option<Came> {
        loop {
            let (socket, frame) = self.sockets.as_mut()?.take()?;
            let origin = Origin::Socket(socket);
            if frame.is_joined() {
                let Ok(body) = origin.parse(frame.text().to_owned()) else {
                    self.sockets.as_mut()?.take_apart(socket, &frame);
                    continue;
                };
                self.received(&frame);
                match self.arrivals.line_up(origin, Ok(body)) {
                    Some(read) => return Some((origin, read)),
                    None => self.sockets.as_mut()?.set_aside(socket),
                }
                continue;
            }
            self.received(&frame);
            let text = frame.into_text();
            let read = match self.incoming() {
                Some(hooks) => {
                    hooks.incoming(origin, text.into_bytes());
                    None
                }
                None => {
                    let aside = self.runtime.aside();
                    self.arrivals.read(aside, origin, text.len(), text)
                }
            };
            match read {
                Some(read) => return Some((origin, read)),
                None => self.sockets.as_mut()?.set_aside(socket),
            }
        }
    }

    /// The host's code is done with something: with what has come, when it gives
    /// something back to be handled.
    pub fn hook_done(&mut self, session: &mut Session, done: Done) -> Option<Came> {
        let now = clock::now();
        // One that is not there was given up meanwhile.
        let find = |requests: &[Underway], id| {
            let with_hooks = |it: &Underway| it.id == id && it.sending.is_none();
            requests.iter().position(with_hooks)
        };
        match done {
            Done::Outgoing {
                request,
                outgoing,
                headers,
            } => {
                let index = find(&self.requests, request)?;
                if !outgoing.dropped.is_empty() {
                    session.handle_dropped(now, request, &outgoing.dropped);
                }
                let mut underway = self.requests.swap_remove(index);
                let headers = match headers {
                    Ok(headers) => headers,
                    Err(failure) => return Some((Origin::Request(request), Err(failure))),
                };
                if outgoing.body.is_some() {
                    session.handle_sent(now, request);
                }
                match (outgoing.body, underway.frame) {
                    (Some(body), Some((socket, counted))) => {
                        self.send_frame(socket, underway.endpoint, body, counted);
                    }
                    (Some(body), None) => {
                        underway.sent = now;
                        let (server, endpoint) = (underway.server.clone(), underway.endpoint);
                        let course = underway.course.clone();
                        let sending = self.exchange(server, endpoint, body, headers, course);
                        underway.sending = Some(sending);
                        self.requests.push(underway);
                    }
                    (None, frame) => self.unsent(frame),
                }
                None
            }
            Done::Incoming { origin, reply } => {
                if let Origin::Request(request) = origin {
                    let index = find(&self.requests, request)?;
                    let frame = self.requests.swap_remove(index).frame;
                    self.unsent(frame);
                }
                Some((origin, reply))
            }
            Done::Fields { question, answer } => {
                session.handle_handshake_fields(now, question, answer);
                None
            }
        }
    }

    /// What was counted as a frame will be none.
    fn unsent(&mut self, frame: Option<(SocketId, usize)>) {
        if let (Some((socket, counted)), Some(sockets)) = (frame, &mut self.sockets) {
            sockets.count(socket, counted);
        }
    }

    /// Tells the session how far all has come.
    pub fn tell_progress(&self, session: &mut Session) {
        if let Some((socket, at, bytes)) = self.sockets.as_ref().and_then(|it| it.heard()) {
            session.handle_heard(socket, at, bytes);
        }
        let now = clock::now();
        for request in self.requests.iter().filter(|it| it.sending.is_some()) {
            let (since, bytes) = request.course.progress.so_far();
            if bytes > 0 {
                session.handle_progress(now, request.id, since, bytes);
            }
        }
    }

    /// What happens next. With `room` more is read of the socket.
    pub fn poll(&mut self, context: &mut Context<'_>, room: bool) -> Poll<Happened> {
        if let Some(hooks) = &mut self.hooks {
            if let Poll::Ready(done) = hooks.poll_done(context) {
                return Poll::Ready(Happened::Hook(done));
            }
        }
        if let Poll::Ready(came) = self.arrivals.poll(context) {
            return Poll::Ready(Happened::Came(came));
        }
        for index in 0..self.requests.len() {
            let Some(request) = self.requests.get_mut(index) else {
                break;
            };
            if let Poll::Ready(arrival) = request.poll(context) {
                let mut request = self.requests.swap_remove(index);
                request.sending = None;
                return Poll::Ready(Happened::Arrived(request, arrival));
            }
        }
        match &mut self.sockets {
            Some(sockets) => sockets.poll(context, room).map(Happened::Socket),
            None => Poll::Pending,
        }
    }

    /// Sees to what no request uses, when nothing else is to be done.
    pub fn poll_idle(&self, context: &mut Context<'_>) {
        self.transport.poll_idle(context);
    }

    /// Ends what is left as the protocols below would have it.
    pub async fn end(&mut self) {
        // With the last of what the host's code may have of the client.
        self.requests.clear();
        self.hooks = None;
        let Self {
            transport,
            sockets,
            shared,
            ..
        } = self;
        let goodbye = async {
            if let Some(sockets) = sockets {
                tokio::select! {
                    () = sockets.said_goodbye() => {}
                    () = shared.freed() => {}
                }
            }
        };
        tokio::join!(goodbye, transport.close_idle());
    }
}

#[cfg(test)]
pub(super) mod tests;
