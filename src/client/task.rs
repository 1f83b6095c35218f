//! The task that drives one session over its transport.

use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep_until, Instant, Sleep};

use super::hooks::{Done, Hooks};
use super::shared::Shared;
#[cfg(test)]
use super::tests::maybe_panic;
use super::token_provider::{TokenProvider, TokenReason};
use super::underway::{Course, Sending, Underway};
use crate::aside::Work;
use crate::bayeux::body::LARGE;
use crate::bayeux::Body;
use crate::clock;
use crate::delivery::HostCode;
use crate::error::{Error, ErrorKind, Failure, Phase};
use crate::runtime::{self, Runtime};
use crate::session::{
    Configuration, Endpoint, Event, Millis, Output, Request, RequestId, Server, Session, State,
};
use crate::speaker::speak;
use crate::transport::http::{self, LongPolling};

/// What requests have brought and the session has not seen, in the order in
/// which it came: behind a large body, which takes its time to be read, others
/// wait.
type Arrivals = VecDeque<(RequestId, Work<Result<Body, Failure>>)>;

type Credentials = oneshot::Receiver<Result<hyper::header::HeaderValue, String>>;

/// However far the next deadline is, the clock is looked at so often: timers
/// stand still while a machine sleeps, and deadlines do not.
const LONGEST_SLEEP: Millis = 20_000;

/// So many commands, or outputs of the session, and so many events of a response
/// are dealt with in a turn; then other clients have theirs. Outputs may be large,
/// so that a turn of them has its time as well.
const TURN: usize = 256;
const EVENTS: usize = 8_192;
const TURN_TIME: Duration = Duration::from_millis(2);

pub(super) struct Task {
    pub session: Session,
    pub transport: Arc<LongPolling>,
    pub shared: Arc<Shared>,
    pub token_provider: Option<Arc<TokenProvider>>,
    /// Whether messages say when they are sent.
    pub timestamps: bool,
    pub hooks: Option<Hooks>,
    /// Keeps the runtime alive as long as the client lives.
    pub runtime: Arc<Runtime>,
}

/// A response that takes longer than other clients should wait.
struct Large {
    request: RequestId,
    body: Body,
}

/// Messages of one response, more than are told in a turn.
struct Many {
    body: Arc<Body>,
    range: Range<u32>,
}

enum Wake {
    Arrived(Underway, Result<Vec<u8>, Failure>),
    Reply(RequestId, Result<Body, Failure>),
    Hook(Done),
    Commands,
    Room,
    Timer,
    Credentials(Result<hyper::header::HeaderValue, String>),
}

impl Task {
    pub async fn run(mut self: Box<Self>) {
        let mut ending = Ending {
            shared: self.shared.clone(),
            done: false,
        };
        let mut requests: Vec<Underway> = Vec::new();
        let mut arrivals = Arrivals::new();
        let mut credentials: Option<Credentials> = None;
        let mut sleep = pin!(sleep_until(Instant::now()));
        let shared = self.shared.clone();
        let mut commands_came = pin!(shared.commands_came());
        loop {
            if self.timestamps {
                self.session.set_calendar(clock::calendar());
            }
            for (count, command) in (1..).zip(self.shared.take_commands()) {
                #[cfg(test)]
                maybe_panic(&command);
                self.session.handle_command(clock::now(), command);
                if count % TURN == 0 {
                    yield_now().await;
                }
            }
            self.perform(&mut requests, &mut arrivals, &mut credentials)
                .await;
            // Only now, with all events in their queues, is it known whether
            // there is room for more; until then nothing new was sent.
            let room = self.shared.hub.has_room();
            self.session.handle_room(clock::now(), room);
            self.perform(&mut requests, &mut arrivals, &mut credentials)
                .await;
            if self.session.state() == State::Closed {
                break;
            }
            self.set_timer(sleep.as_mut());
            let wake = self
                .wake(
                    &mut requests,
                    &mut arrivals,
                    &mut credentials,
                    commands_came.as_mut(),
                    sleep.as_mut(),
                    room,
                )
                .await;
            if matches!(wake, Wake::Commands) {
                commands_came.set(shared.commands_came());
            }
            if let Some(large) = self.woken(&mut requests, &mut arrivals, wake) {
                // A box for these few, or every client has room for it.
                Box::pin(self.handle_large(large)).await;
            }
        }
        ending.done = true;
        self.transport.close_idle().await;
    }

    /// Something has happened. Of a large response it gives back what is to be
    /// handled elsewhere.
    fn woken(
        &mut self,
        requests: &mut Vec<Underway>,
        arrivals: &mut Arrivals,
        wake: Wake,
    ) -> Option<Box<Large>> {
        self.session.handle_room(clock::now(), false);
        let replied = match wake {
            Wake::Arrived(request, arrival) => self.arrived(requests, arrivals, request, arrival),
            Wake::Reply(request, reply) => Some((request, reply)),
            Wake::Hook(done) => self.hook_done(requests, done),
            Wake::Timer => {
                let now = clock::now();
                for request in requests.iter().filter(|it| it.sending.is_some()) {
                    let (since, bytes) = request.course.progress.so_far();
                    if bytes > 0 {
                        self.session.handle_progress(now, request.id, since, bytes);
                    }
                }
                self.session.handle_timeout(now);
                None
            }
            Wake::Credentials(result) => {
                let result = result.map(|value| self.shared.authorization.set(value));
                self.session.handle_credentials(clock::now(), result);
                None
            }
            Wake::Commands | Wake::Room => None,
        };
        let (request, reply) = replied?;
        self.replied(request, reply)
    }

    /// The response to a request is there. A small one is read and given back to
    /// be handled at once, unless another is before it; a large one is read by
    /// another thread, so that the other clients of this one need not wait.
    fn arrived(
        &mut self,
        requests: &mut Vec<Underway>,
        arrivals: &mut Arrivals,
        request: Underway,
        arrival: Result<Vec<u8>, Failure>,
    ) -> Option<(RequestId, Result<Body, Failure>)> {
        let now = clock::now();
        let id = request.id;
        let reply = match arrival {
            Err(failure) => Work::Done(Some(Err(failure))),
            Ok(body) => {
                self.count_reply(&request, now, body.len());
                if let Some(hooks) = self.hooks.as_ref().filter(|it| it.has_incoming()) {
                    self.session.handle_arrived(now, id);
                    hooks.incoming(id, body);
                    requests.push(request);
                    return None;
                }
                match body.len() > LARGE {
                    false => Work::Done(Some(http::parse(body))),
                    true => self.runtime.aside().start(|| http::parse(body)),
                }
            }
        };
        match reply {
            Work::Done(Some(reply)) if arrivals.is_empty() => Some((id, reply)),
            reply => {
                self.session.handle_arrived(now, id);
                arrivals.push_back((id, reply));
                None
            }
        }
    }

    fn replied(&mut self, request: RequestId, reply: Result<Body, Failure>) -> Option<Box<Large>> {
        let now = clock::now();
        match reply {
            Ok(body) => {
                self.shared.note_leniencies(&body);
                if body.size() > LARGE {
                    return Some(Box::new(Large { request, body }));
                }
                self.session.handle_reply(now, request, &Arc::new(body));
            }
            Err(failure) => self.session.handle_failure(now, request, &failure),
        }
        None
    }

    /// A large response is handled by another thread as well. Nothing else
    /// happens to this client meanwhile.
    async fn handle_large(&mut self, large: Box<Large>) {
        let now = clock::now();
        let nothing = Session::new(Configuration::default());
        let mut session = std::mem::replace(&mut self.session, nothing);
        let name = self.shared.name.clone();
        let handled = self.runtime.aside().start(move || {
            let _speaking = speak(&name);
            session.handle_reply(now, large.request, &Arc::new(large.body));
            Box::new(session)
        });
        self.session = *handled.await;
    }

    fn count_reply(&self, request: &Underway, now: Millis, bytes: usize) {
        let took = now.saturating_sub(request.sent);
        self.shared.counters.replied(request.endpoint, took, bytes);
    }

    /// The host's code is done with something: with a reply, when it gives one
    /// back to be handled.
    fn hook_done(
        &mut self,
        requests: &mut Vec<Underway>,
        done: Done,
    ) -> Option<(RequestId, Result<Body, Failure>)> {
        let now = clock::now();
        // One that is not there was given up meanwhile.
        let find = |requests: &[Underway], id| {
            let with_hooks = |it: &Underway| it.id == id && it.sending.is_none();
            requests.iter().position(with_hooks)
        };
        match done {
            Done::Outgoing { request, outgoing } => {
                let index = find(requests, request)?;
                if !outgoing.dropped.is_empty() {
                    self.session.handle_dropped(now, request, &outgoing.dropped);
                }
                match (outgoing.body, requests.get_mut(index)) {
                    (Some(body), Some(underway)) => {
                        self.session.handle_sent(now, request);
                        underway.sent = now;
                        let (server, endpoint) = (underway.server.clone(), underway.endpoint);
                        let course = underway.course.clone();
                        underway.sending = Some(self.send(server, endpoint, body, course));
                    }
                    _ => {
                        requests.swap_remove(index);
                    }
                }
            }
            Done::Incoming { request, reply } => {
                let index = find(requests, request)?;
                requests.swap_remove(index);
                return Some((request, reply));
            }
            Done::Fields { question, answer } => {
                self.session.handle_handshake_fields(now, question, answer);
            }
        }
        None
    }

    fn send(
        &self,
        server: Server,
        endpoint: Endpoint,
        body: Vec<u8>,
        course: Arc<Course>,
    ) -> Sending {
        tracing::debug!(target: "cometd::client", ?endpoint, bytes = body.len(), "request");
        self.shared.counters.sent(endpoint, body.len());
        let transport = self.transport.clone();
        Box::pin(async move {
            let progress = &course.progress;
            transport.exchange(server, endpoint, body, progress).await
        })
    }

    /// Does what the session wants done; of much of it a part a turn.
    async fn perform(
        &mut self,
        requests: &mut Vec<Underway>,
        arrivals: &mut Arrivals,
        credentials: &mut Option<Credentials>,
    ) {
        // Before anybody is told of the state that it belongs to.
        self.shared.session_is(self.session.client_id());
        let mut count = 0;
        // Looked at from the second output on: most turns have one.
        let mut since: Option<Instant> = None;
        loop {
            count += 1;
            if count > 1 {
                let begun = *since.get_or_insert_with(Instant::now);
                if count == TURN || begun.elapsed() >= TURN_TIME {
                    yield_now().await;
                    count = 0;
                    since = None;
                }
            }
            // Not in the room of this future, which every client has.
            let Some(output) = self.session.poll_output() else {
                break;
            };
            if let Some(many) = self.perform_one(requests, arrivals, credentials, output) {
                Box::pin(self.publish_parts(many)).await;
            }
        }
    }

    /// Tells of very many messages, a part a turn.
    async fn publish_parts(&self, many: Box<Many>) {
        let Many { body, range } = *many;
        for start in range.clone().step_by(EVENTS) {
            let end = range.end.min(start.saturating_add(EVENTS as u32));
            let body = body.clone();
            let range = start..end;
            self.shared.publish(Event::Messages { body, range });
            yield_now().await;
        }
    }

    /// Does one thing that the session wants done; gives back what is too much
    /// for one turn.
    fn perform_one(
        &mut self,
        requests: &mut Vec<Underway>,
        arrivals: &mut Arrivals,
        credentials: &mut Option<Credentials>,
        output: Output,
    ) -> Option<Box<Many>> {
        match output {
            Output::Event(Event::Messages { body, range }) if range.len() > EVENTS => {
                return Some(Box::new(Many { body, range }));
            }
            Output::Send(Request {
                id,
                server,
                endpoint,
                body,
                socket: _,
            }) => {
                let course = Course::new();
                self.shared.goes_to(&server, &self.transport);
                let sending = match &self.hooks {
                    Some(hooks) if hooks.has_outgoing() => {
                        hooks.outgoing(id, body);
                        None
                    }
                    _ => {
                        let course = course.clone();
                        Some(self.send(server.clone(), endpoint, body, course))
                    }
                };
                // Rarely more than one or two.
                requests.reserve_exact(1);
                requests.push(Underway {
                    id,
                    server,
                    endpoint,
                    sent: clock::now(),
                    sending,
                    course,
                });
            }
            Output::ServerClock(ahead) => self.shared.counters.server_clock(ahead),
            Output::Cancel(id) => {
                requests.retain(|request| request.id != id);
                arrivals.retain(|(request, _)| *request != id);
                if let Some(hooks) = &self.hooks {
                    hooks.cancel(id);
                }
            }
            Output::AskHandshake(question) => {
                if let Some(hooks) = &self.hooks {
                    hooks.ask(question);
                }
            }
            Output::Event(event) => self.shared.publish(event),
            // A client's configuration names long polling alone: no session asks for
            // a socket.
            Output::Open { .. } | Output::Ping(_) | Output::CloseSocket { .. } => {}
            // One that is still busy with the last time is not asked
            // again; what it finds out counts.
            Output::RefreshCredentials if credentials.is_some() => {}
            Output::RefreshCredentials => *credentials = Some(self.refresh()),
        }
        None
    }

    /// Runs the host's token provider on a thread of its own: it may block for
    /// as long as it likes.
    fn refresh(&self) -> Credentials {
        let (send, receive) = oneshot::channel();
        if let Some(provider) = self.token_provider.clone() {
            let started = runtime::spawn("cometd-token", move || {
                let _host = HostCode::enter();
                let _ = send.send(provider(TokenReason::Refused));
            });
            if let Err(error) = started {
                let (send, receive) = oneshot::channel();
                let _ = send.send(Err(format!("no thread could be started for it: {error}")));
                return receive;
            }
        }
        receive
    }

    fn set_timer(&self, mut sleep: Pin<&mut Sleep>) {
        let now = clock::now();
        let at = self
            .session
            .poll_timeout()
            .unwrap_or(Millis::MAX)
            .saturating_sub(now)
            .min(LONGEST_SLEEP);
        let deadline = Instant::now() + Duration::from_millis(at);
        // A deadline that moved back costs one early look at the clock, which
        // is cheaper than moving the timer with each message.
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
    }

    /// Waits for what happens next; on the way wakes the host's threads for
    /// what has happened before.
    async fn wake(
        &mut self,
        requests: &mut Vec<Underway>,
        arrivals: &mut Arrivals,
        credentials: &mut Option<Credentials>,
        mut commands_came: Pin<&mut impl Future<Output = ()>>,
        mut sleep: Pin<&mut Sleep>,
        room: bool,
    ) -> Wake {
        let Self {
            shared,
            hooks,
            transport,
            ..
        } = self;
        let mut room_made = pin!(shared.hub.room_made());
        let mut told = false;
        let wake = poll_fn(|context| {
            if let Some(hooks) = hooks {
                if let Poll::Ready(done) = hooks.poll_done(context) {
                    return Poll::Ready(Wake::Hook(done));
                }
            }
            if let Some((request, work)) = arrivals.front_mut() {
                let request = *request;
                if let Poll::Ready(reply) = Pin::new(work).poll(context) {
                    arrivals.pop_front();
                    return Poll::Ready(Wake::Reply(request, reply));
                }
            }
            for index in 0..requests.len() {
                let Some(request) = requests.get_mut(index) else {
                    break;
                };
                if let Poll::Ready(arrival) = request.poll(context) {
                    let mut request = requests.swap_remove(index);
                    request.sending = None;
                    return Poll::Ready(Wake::Arrived(request, arrival));
                }
            }
            if let Some(receiver) = credentials {
                if let Poll::Ready(result) = Pin::new(receiver).poll(context) {
                    *credentials = None;
                    let result = result.unwrap_or_else(|_| Err("it panicked".into()));
                    return Poll::Ready(Wake::Credentials(result));
                }
            }
            if commands_came.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Commands);
            }
            if !room && room_made.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Room);
            }
            if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Timer);
            }
            transport.poll_idle(context);
            if !told {
                // New requests have been written by now: they go before the host's
                // threads.
                told = true;
                shared.hub.wake();
            }
            Poll::Pending
        })
        .await;
        if !told {
            shared.hub.wake();
        }
        wake
    }
}

/// Ends the client when its task is dropped before its end: by a panic.
struct Ending {
    shared: Arc<Shared>,
    done: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut error = Error::new(
            ErrorKind::Panic,
            Phase::Call,
            "the library panicked: this is a bug in it; the client has ended",
        );
        error.fatal = true;
        let previous = self.shared.board.state();
        for event in [
            Event::Error {
                id: 0,
                error: Box::new(error),
            },
            Event::State {
                state: State::Closed,
                previous,
                ext: None,
            },
            Event::Closed,
        ] {
            // What panicked once may do so again; a second panic during the
            // first would end the host.
            let publish = AssertUnwindSafe(|| self.shared.publish(event));
            let _ = catch_unwind(publish);
        }
    }
}
