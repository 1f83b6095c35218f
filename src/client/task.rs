//! The task that drives one session over its transport.

use std::future::{poll_fn, Future};
use std::ops::Range;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::task::yield_now;
use tokio::time::{sleep_until, Instant, Sleep};

use super::arrivals::Origin;
use super::ending::Ending;
use super::line::{Came, Happened, Line};
use super::shared::Shared;
use super::sockets::News;
#[cfg(test)]
use super::tests::maybe_panic;
use super::token_provider::{self, Credentials, TokenProvider};
use crate::bayeux::body::LARGE;
use crate::bayeux::Body;
use crate::clock;
use crate::session::{Configuration, Event, Millis, Output, Session, State};
use crate::speaker::speak;

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
    pub line: Line,
    pub shared: Arc<Shared>,
    pub token_provider: Option<Arc<TokenProvider>>,
    /// Whether messages say when they are sent.
    pub timestamps: bool,
}

/// What takes longer than other clients should wait.
enum Long {
    /// A response or a frame.
    Large { origin: Origin, body: Body },
    /// Messages of one, more than are told in a turn.
    Many { body: Arc<Body>, range: Range<u32> },
}

/// So many outputs of one frame are dealt with before the next one is taken.
const FRAME_OUTPUTS: usize = 16;

enum Wake {
    Happened(Happened),
    Commands,
    Room,
    Timer,
    Credentials(Result<HeaderValue, String>),
}

impl Task {
    pub async fn run(mut self: Box<Self>) {
        let mut ending = Ending {
            shared: self.shared.clone(),
            done: false,
        };
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
            self.perform(&mut credentials).await;
            // Only now, with all events in their queues, is it known whether
            // there is room for more; until then nothing new was sent.
            let room = self.shared.hub.has_room();
            let now = clock::now();
            self.session.handle_room(now, room);
            if let Some(sockets) = self.line.sockets() {
                let kept = sockets.has_backlog();
                let reads = room && !kept && !sockets.has_frames();
                self.session.handle_reading(now, reads);
                self.session.handle_kept(now, kept);
            }
            self.perform(&mut credentials).await;
            self.shared.tell_room();
            if self.session.state() == State::Closed {
                break;
            }
            self.set_timer(sleep.as_mut());
            let wake = self
                .wake(
                    &mut credentials,
                    commands_came.as_mut(),
                    sleep.as_mut(),
                    room,
                )
                .await;
            if matches!(wake, Wake::Commands) {
                commands_came.set(shared.commands_came());
            }
            if let Some(long) = self.woken(&mut credentials, wake) {
                // A box for these few, or every client has room for it.
                Box::pin(self.handle_long(long)).await;
            }
            if self.line.sockets().is_some_and(|it| it.has_more()) {
                yield_now().await;
            }
        }
        ending.done = true;
        Box::pin(self.line.end()).await;
    }

    /// Something has happened. What takes long is given back, to be done elsewhere
    /// or in parts.
    fn woken(&mut self, credentials: &mut Option<Credentials>, wake: Wake) -> Option<Box<Long>> {
        let now = clock::now();
        self.session.handle_room(now, false);
        if let Some(sockets) = self.line.sockets() {
            if let Some((socket, bytes)) = sockets.written() {
                self.session.handle_written(now, socket, bytes);
            }
            if let Some(took) = sockets.round_trip() {
                self.shared.counters.ponged(took);
                self.line.tell_progress(&mut self.session);
            }
        }
        match wake {
            Wake::Happened(happened) => return self.happened(credentials, happened),
            Wake::Timer => {
                self.line.tell_progress(&mut self.session);
                self.session.handle_timeout(clock::now());
            }
            Wake::Credentials(result) => {
                let result = result.map(|value| self.shared.authorization.set(value));
                self.session.handle_credentials(now, result);
            }
            Wake::Commands | Wake::Room => {}
        }
        None
    }

    fn happened(
        &mut self,
        credentials: &mut Option<Credentials>,
        happened: Happened,
    ) -> Option<Box<Long>> {
        let came = match happened {
            Happened::Arrived(request, arrival) => {
                self.line.arrived(&mut self.session, request, arrival)
            }
            Happened::Came(came) => Some(came),
            Happened::Hook(done) => self.line.hook_done(&mut self.session, done),
            Happened::Socket(news) => return self.socket_has(credentials, news),
        };
        let came = came?;
        if let (Origin::Socket(socket), Some(sockets)) = (came.0, self.line.sockets()) {
            sockets.handled(socket);
        }
        self.came(came)
    }

    fn came(&mut self, (origin, came): Came) -> Option<Box<Long>> {
        let now = clock::now();
        match (came, origin) {
            (Ok(body), _) => {
                self.shared.note_leniencies(&body);
                if body.size() > LARGE {
                    return Some(Box::new(Long::Large { origin, body }));
                }
                handle(&mut self.session, now, origin, body);
            }
            (Err(failure), Origin::Request(request)) => {
                self.session.handle_failure(now, request, &failure);
            }
            (Err(failure), Origin::Socket(socket)) => {
                self.session.handle_unreadable(now, socket, failure);
            }
        }
        None
    }

    fn socket_has(
        &mut self,
        credentials: &mut Option<Credentials>,
        news: News,
    ) -> Option<Box<Long>> {
        let now = clock::now();
        match news {
            News::Opened(socket) => {
                self.shared.counters.socket_opened();
                self.session.handle_opened(now, socket);
            }
            News::Opening(socket) => self.session.handle_opening(now, socket),
            News::Unopened(socket, unopened) => {
                let (failure, refused) = (&unopened.failure, unopened.refused);
                if refused {
                    self.shared.counters.socket_refused();
                }
                self.session.handle_unopened(now, socket, failure, refused);
            }
            News::Frames => {
                let long = self.frames(credentials);
                // Where more and more come, the timer has no turn.
                if self.session.poll_timeout().is_some_and(|at| at <= now) {
                    self.look_at_time(now);
                }
                return long;
            }
            News::Progress => {}
            News::Ended(socket, failure) => {
                self.line.ended(socket, failure.websocket_code);
                self.session.handle_closed(now, socket, &failure);
            }
        }
        None
    }

    /// A deadline has passed. What had come by then counts, also what is still to be
    /// handled: the process may have stood still.
    fn look_at_time(&mut self, now: Millis) {
        if let Some(sockets) = self.line.sockets() {
            if sockets.has_frames() {
                return;
            }
            if sockets.has_backlog() {
                self.session.handle_reading(now, false);
            }
        }
        self.line.tell_progress(&mut self.session);
        self.session.handle_timeout(now);
    }

    /// Frames have come. They are handled one after the other as long as there is
    /// room for what they bring.
    fn frames(&mut self, credentials: &mut Option<Credentials>) -> Option<Box<Long>> {
        while let Some(came) = self.line.next_frame() {
            let long = self.came(came);
            if long.is_some() {
                return long;
            }
            for count in 0.. {
                if count == FRAME_OUTPUTS {
                    return None;
                }
                let Some(output) = self.session.poll_output() else {
                    break;
                };
                if matches!(output, Output::Event(Event::State { .. })) {
                    self.tell_shared();
                }
                let long = self.perform_one(credentials, output);
                if long.is_some() {
                    return long;
                }
            }
            if !self.shared.hub.has_room() {
                break;
            }
        }
        None
    }

    async fn handle_long(&mut self, long: Box<Long>) {
        match *long {
            Long::Large { origin, body } => self.handle_large(origin, body).await,
            Long::Many { body, range } => publish_parts(&self.shared, body, range).await,
        }
    }

    /// What is large is handled by another thread as well. Nothing else happens to
    /// this client meanwhile.
    async fn handle_large(&mut self, origin: Origin, body: Body) {
        let now = clock::now();
        let nothing = Session::new(Configuration::default());
        let mut session = std::mem::replace(&mut self.session, nothing);
        let name = self.shared.name.clone();
        let handled = self.line.runtime().aside().start(move || {
            let _speaking = speak(&name);
            handle(&mut session, now, origin, body);
            Box::new(session)
        });
        self.session = *handled.await;
    }

    /// What the host may ask for, before it is told of the state that it belongs to.
    fn tell_shared(&self) {
        self.shared.session_is(self.session.client_id());
        if let Some(transport) = self.session.transport() {
            self.shared.transport_is(transport);
        }
    }

    /// Does what the session wants done; of much of it a part a turn.
    async fn perform(&mut self, credentials: &mut Option<Credentials>) {
        self.tell_shared();
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
            if let Some(long) = self.perform_one(credentials, output) {
                Box::pin(self.handle_long(long)).await;
            }
        }
    }

    /// Does one thing that the session wants done; gives back what is too much
    /// for one turn.
    fn perform_one(
        &mut self,
        credentials: &mut Option<Credentials>,
        output: Output,
    ) -> Option<Box<Long>> {
        match output {
            Output::Event(Event::Messages { body, range }) if range.len() > EVENTS => {
                return Some(Box::new(Long::Many { body, range }));
            }
            Output::Send(request) => self.line.send(request),
            Output::ServerClock(ahead) => self.shared.counters.server_clock(ahead),
            Output::Cancel(id) => self.line.cancel(id),
            Output::AskHandshake(question) => self.line.ask(question),
            Output::Event(event) => self.shared.publish(event),
            Output::HandedOver(handover) => self.line.handed_over(handover),
            Output::Open { socket, server } => {
                if self.line.open(socket, server) {
                    self.session.handle_opening(clock::now(), socket);
                }
            }
            Output::Ping(socket) => self.line.ping(socket),
            Output::CloseSocket {
                socket,
                code,
                reads,
            } => self.line.close(socket, code, reads),
            // One that is still busy with the last time is not asked
            // again; what it finds out counts.
            Output::RefreshCredentials if credentials.is_some() => {}
            Output::RefreshCredentials => {
                let provider = self.token_provider.as_ref();
                match provider.map(|it| token_provider::ask(it, &self.shared)) {
                    Some(Ok(asked)) => *credentials = Some(asked),
                    Some(Err(error)) => {
                        let why = format!("no thread could be started: {error}");
                        self.session.handle_unasked(clock::now(), &why);
                    }
                    None => {}
                }
            }
        }
        None
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
        credentials: &mut Option<Credentials>,
        mut commands_came: Pin<&mut impl Future<Output = ()>>,
        mut sleep: Pin<&mut Sleep>,
        room: bool,
    ) -> Wake {
        let Self { shared, line, .. } = self;
        let mut room_made = pin!(shared.hub.room_made());
        let mut told = false;
        let wake = poll_fn(|context| {
            if let Poll::Ready(happened) = line.poll(context, room) {
                return Poll::Ready(Wake::Happened(happened));
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
            let is_awaited = !room || shared.hub.has_promised();
            if is_awaited && room_made.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Room);
            }
            if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Timer);
            }
            line.poll_idle(context);
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

/// Hands the session what has come.
fn handle(session: &mut Session, now: Millis, origin: Origin, body: Body) {
    let body = Arc::new(body);
    match origin {
        Origin::Request(request) => session.handle_reply(now, request, &body),
        Origin::Socket(socket) => session.handle_frame(now, socket, &body),
    }
}

/// Tells of very many messages, a part a turn.
async fn publish_parts(shared: &Shared, body: Arc<Body>, range: Range<u32>) {
    for start in range.clone().step_by(EVENTS) {
        let end = range.end.min(start.saturating_add(EVENTS as u32));
        let body = body.clone();
        let range = start..end;
        shared.publish(Event::Messages { body, range });
        yield_now().await;
    }
}

#[cfg(test)]
mod tests;
