//! The task that drives one session over its transport.

use std::ffi::CStr;
use std::future::{poll_fn, Future};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep_until, Instant, Sleep};

use super::builder::{TokenProvider, TokenReason};
use super::hooks::{Done, Hooks};
use super::{clock, Shared};
use crate::bayeux::Body;
use crate::delivery::HostCode;
use crate::error::{Error, ErrorKind, Failure, Phase};
use crate::runtime::{self, Runtime};
use crate::session::{Endpoint, Event, Millis, Output, Request, RequestId, Server, Session, State};
use crate::transport::http::LongPolling;

type Sending = Pin<Box<dyn Future<Output = Result<Arrival, Failure>> + Send>>;

/// What a request has brought.
enum Arrival {
    Messages(Body),
    /// They are for the host's extensions first.
    Unparsed(Vec<u8>),
}

/// A request under way.
struct Underway {
    id: RequestId,
    server: Server,
    endpoint: Endpoint,
    sent: Millis,
    /// `None` while the host's code has it.
    sending: Option<Sending>,
}

type Credentials = oneshot::Receiver<Result<hyper::header::HeaderValue, String>>;

/// However far the next deadline is, the clock is looked at so often: timers
/// stand still while a machine sleeps, and deadlines do not.
const LONGEST_SLEEP: Millis = 20_000;

pub(super) struct Task {
    pub session: Session,
    pub transport: Arc<LongPolling>,
    pub shared: Arc<Shared>,
    pub token_provider: Option<Arc<TokenProvider>>,
    /// Whether messages say when they are sent.
    pub timestamps: bool,
    pub hooks: Option<Hooks>,
    /// Keeps the runtime alive as long as the client lives.
    pub _runtime: Arc<Runtime>,
}

enum Wake {
    Reply(Underway, Result<Arrival, Failure>),
    Hook(Done),
    Commands,
    Room,
    Timer,
    Credentials(Result<hyper::header::HeaderValue, String>),
}

impl Task {
    pub async fn run(mut self) {
        let mut ending = Ending {
            shared: self.shared.clone(),
            done: false,
        };
        let mut requests: Vec<Underway> = Vec::new();
        let mut credentials: Option<Credentials> = None;
        let mut sleep = pin!(sleep_until(Instant::now()));
        loop {
            if self.timestamps {
                self.session.set_calendar(clock::calendar());
            }
            for command in self.shared.take_commands() {
                #[cfg(test)]
                super::tests::maybe_panic(&command);
                self.session.handle_command(clock::now(), command);
            }
            self.perform(&mut requests, &mut credentials);
            // Only now, with all events in their queues, is it known whether
            // there is room for more; until then nothing new was sent.
            let room = self.shared.hub.has_room();
            self.session.handle_room(clock::now(), room);
            self.perform(&mut requests, &mut credentials);
            if self.session.state() == State::Closed {
                break;
            }
            self.set_timer(sleep.as_mut());
            let wake = self
                .wake(&mut requests, &mut credentials, sleep.as_mut(), room)
                .await;
            self.session.handle_room(clock::now(), false);
            match wake {
                Wake::Reply(request, Ok(Arrival::Messages(body))) => {
                    let now = clock::now();
                    self.count_reply(&request, now, body.size());
                    self.session.handle_reply(now, request.id, &Arc::new(body));
                }
                Wake::Reply(request, Ok(Arrival::Unparsed(body))) => {
                    let now = clock::now();
                    self.count_reply(&request, now, body.len());
                    self.session.handle_arrived(now, request.id);
                    if let Some(hooks) = &self.hooks {
                        hooks.incoming(request.id, body);
                    }
                    requests.push(request);
                }
                Wake::Hook(done) => self.hook_done(&mut requests, done),
                Wake::Reply(request, Err(mut failure)) => {
                    failure.temporary = may_resolve_later(&failure);
                    self.session
                        .handle_failure(clock::now(), request.id, &failure);
                }
                Wake::Timer => self.session.handle_timeout(clock::now()),
                Wake::Credentials(result) => {
                    let result = result.map(|value| self.shared.authorization.set(value));
                    self.session.handle_credentials(clock::now(), result);
                }
                Wake::Commands | Wake::Room => {}
            }
        }
        ending.done = true;
    }

    fn count_reply(&self, request: &Underway, now: Millis, bytes: usize) {
        let took = now.saturating_sub(request.sent);
        self.shared.counters.replied(request.endpoint, took, bytes);
    }

    /// The host's code is done with something.
    fn hook_done(&mut self, requests: &mut Vec<Underway>, done: Done) {
        let now = clock::now();
        // One that is not there was given up meanwhile.
        let find = |requests: &[Underway], id| {
            let with_hooks = |it: &Underway| it.id == id && it.sending.is_none();
            requests.iter().position(with_hooks)
        };
        match done {
            Done::Outgoing { request, outgoing } => {
                let Some(index) = find(requests, request) else {
                    return;
                };
                if !outgoing.dropped.is_empty() {
                    self.session.handle_dropped(now, request, &outgoing.dropped);
                }
                match (outgoing.body, requests.get_mut(index)) {
                    (Some(body), Some(underway)) => {
                        self.session.handle_sent(now, request);
                        underway.sent = now;
                        underway.sending =
                            Some(self.send(underway.server.clone(), underway.endpoint, body));
                    }
                    _ => {
                        requests.swap_remove(index);
                    }
                }
            }
            Done::Incoming { request, reply } => {
                let Some(index) = find(requests, request) else {
                    return;
                };
                requests.swap_remove(index);
                match reply {
                    Ok(body) => self.session.handle_reply(now, request, &Arc::new(body)),
                    Err(failure) => self.session.handle_failure(now, request, &failure),
                }
            }
            Done::Fields { question, answer } => {
                self.session.handle_handshake_fields(now, question, answer);
            }
        }
    }

    fn send(&self, server: Server, endpoint: Endpoint, body: Vec<u8>) -> Sending {
        tracing::debug!(target: "cometd::client", ?endpoint, bytes = body.len(), "request");
        self.shared.counters.sent(endpoint, body.len());
        let transport = self.transport.clone();
        let logged = Logged::begin(&self.shared, endpoint);
        if self.hooks.as_ref().is_some_and(Hooks::has_incoming) {
            return Box::pin(async move {
                let body = transport.exchange(server, endpoint, body).await;
                logged.end(body.as_ref().map(Vec::len));
                Ok(Arrival::Unparsed(body?))
            });
        }
        Box::pin(async move {
            let body = transport.send(server, endpoint, body).await;
            logged.end(body.as_ref().map(Body::size));
            Ok(Arrival::Messages(body?))
        })
    }

    fn perform(&mut self, requests: &mut Vec<Underway>, credentials: &mut Option<Credentials>) {
        // Before anybody is told of the state that it belongs to.
        self.shared.session_is(self.session.client_id());
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(Request {
                    id,
                    server,
                    endpoint,
                    body,
                }) => {
                    self.shared.goes_to(&server, &self.transport);
                    let sending = match &self.hooks {
                        Some(hooks) if hooks.has_outgoing() => {
                            hooks.outgoing(id, body);
                            None
                        }
                        _ => Some(self.send(server.clone(), endpoint, body)),
                    };
                    requests.push(Underway {
                        id,
                        server,
                        endpoint,
                        sent: clock::now(),
                        sending,
                    });
                }
                Output::ServerClock(ahead) => self.shared.counters.server_clock(ahead),
                Output::Cancel(id) => {
                    requests.retain(|request| request.id != id);
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
                // One that is still busy with the last time is not asked
                // again; what it finds out counts.
                Output::RefreshCredentials if credentials.is_some() => {}
                Output::RefreshCredentials => *credentials = Some(self.refresh()),
            }
        }
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
        credentials: &mut Option<Credentials>,
        mut sleep: Pin<&mut Sleep>,
        room: bool,
    ) -> Wake {
        let Self { shared, hooks, .. } = self;
        let mut commands = pin!(shared.commands_came());
        let mut room_made = pin!(shared.hub.room_made());
        let mut turn = 0;
        let wake = poll_fn(|context| {
            turn += 1;
            if turn == 2 {
                shared.hub.wake();
            }
            if let Some(hooks) = hooks {
                if let Poll::Ready(done) = hooks.poll_done(context) {
                    return Poll::Ready(Wake::Hook(done));
                }
            }
            for index in 0..requests.len() {
                let Some(request) = requests.get_mut(index) else {
                    break;
                };
                let Some(sending) = &mut request.sending else {
                    continue;
                };
                if let Poll::Ready(reply) = sending.as_mut().poll(context) {
                    let mut request = requests.swap_remove(index);
                    request.sending = None;
                    return Poll::Ready(Wake::Reply(request, reply));
                }
            }
            if let Some(receiver) = credentials {
                if let Poll::Ready(result) = Pin::new(receiver).poll(context) {
                    *credentials = None;
                    let result = result.unwrap_or_else(|_| Err("it panicked".into()));
                    return Poll::Ready(Wake::Credentials(result));
                }
            }
            if commands.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Commands);
            }
            if !room && room_made.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Room);
            }
            if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Timer);
            }
            if turn == 1 {
                // Once more, after the connection's own task has written the
                // new requests: only then are the host's threads woken.
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        if turn < 2 {
            shared.hub.wake();
        }
        wake
    }
}

/// Whether the name could not be looked up, rather than that there is none. The
/// system's resolver tells the two apart by its text only, which is in the
/// language that the host has chosen.
fn may_resolve_later(failure: &Failure) -> bool {
    if failure.kind != ErrorKind::Dns {
        return false;
    }
    // SAFETY: it gives a text of its own for any number, or NULL.
    let again = unsafe { libc::gai_strerror(libc::EAI_AGAIN) };
    if again.is_null() {
        return false;
    }
    // SAFETY: not NULL, and such a text ends in NUL and stays where it is.
    let again = unsafe { CStr::from_ptr(again) };
    failure.text.contains(&*again.to_string_lossy())
}

/// A request, for the log: where it went, what came of it and when.
struct Logged(Option<(String, Instant)>);

impl Logged {
    fn begin(shared: &Shared, endpoint: Endpoint) -> Self {
        let wanted = tracing::event_enabled!(target: "cometd::client", tracing::Level::DEBUG);
        Self(wanted.then(|| (shared.url(endpoint), Instant::now())))
    }

    fn end(self, came: Result<usize, &Failure>) {
        let Some((url, sent)) = self.0 else { return };
        let ms = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX);
        match came {
            Ok(bytes) => tracing::debug!(
                target: "cometd::client", url, status = 200, ms, bytes, "response"
            ),
            // Its text is told with the error, without secrets.
            Err(failure) => tracing::debug!(
                target: "cometd::client", url, status = failure.http_status, ms,
                kind = ?failure.kind, "no usable response"
            ),
        }
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
            Event::Error { id: 0, error },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_never_works_a_resolver_out_of_reach_is_told_from_a_name_that_is_none() {
        let failed = |kind, text: &str| Failure::new(kind, text);
        let again = "dns lookup for a:80: failed to lookup address information: \
                     Temporary failure in name resolution";
        assert!(may_resolve_later(&failed(ErrorKind::Dns, again)));
        let none = "dns lookup for a:80: failed to lookup address information: \
                    Name or service not known";
        assert!(!may_resolve_later(&failed(ErrorKind::Dns, none)));
        assert!(!may_resolve_later(&failed(ErrorKind::Tcp, again)));
    }
}
