//! The protocol in made-up time. Each test reads as its scenario; the numbers
//! in the names are those of the scenarios of the protocol's description.
//!
//! A [`World`] drives one session: it keeps the clock, collects what is sent
//! and told, and after every step checks what must always hold.

mod acknowledgement;
mod advice;
mod calls;
mod commands;
mod connect;
mod credentials;
mod disconnect;
mod edges;
mod endings;
mod faults;
mod handover;
mod handshake;
mod hooks;
mod hostile;
mod liveness;
mod log;
pub(crate) mod longevity;
mod losses;
mod missed;
mod renewals;
mod replay;
mod replies;
mod retries;
mod rules;
mod servers;
mod slow_lines;
mod sockets;
mod standstill;
mod storm;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::backoff::HANDSHAKES_A_MINUTE;
use super::*;
use crate::bayeux::{meta, Body};
use crate::error::ErrorKind;
use crate::platform::testing::thread_time;

/// A request that the session has sent.
#[derive(Debug, Clone)]
struct Sent {
    id: RequestId,
    server: Server,
    endpoint: Endpoint,
    socket: Option<SocketId>,
    at: Millis,
    text: String,
    messages: Vec<Value>,
}

impl Sent {
    /// A text field of its first message.
    fn field(&self, name: &str) -> Option<&str> {
        self.messages[0][name].as_str()
    }

    fn client_id(&self) -> &str {
        self.field("clientId").expect("a clientId")
    }

    /// Whether it asks to be answered at once.
    fn at_once(&self) -> bool {
        self.messages[0]["advice"]["timeout"] == 0
    }

    /// What each message does: `/meta/subscribe /a`, `/x`.
    fn summary(&self) -> Vec<String> {
        self.messages
            .iter()
            .map(|message| {
                let channel = message["channel"].as_str().expect("a channel");
                match message["subscription"].as_str() {
                    Some(subscription) => format!("{channel} {subscription}"),
                    None => channel.to_owned(),
                }
            })
            .collect()
    }
}

struct World {
    session: Session,
    now: Millis,
    /// Sent, and not yet looked at by the test.
    inbox: VecDeque<Sent>,
    /// Sent, and not yet answered, failed or cancelled.
    open: BTreeMap<RequestId, Sent>,
    cancelled: Vec<RequestId>,
    told: Vec<String>,
    /// Which events had an ext, and which.
    exts: Vec<String>,
    errors: Vec<Error>,
    refreshes: usize,
    server_clock: Option<i64>,
    /// What the handshake provider was asked and has not answered.
    questions: Vec<HandshakeQuestion>,
    /// Endings that the host is owed, by operation and channel.
    owed: BTreeMap<(OperationId, String), usize>,
    handshakes: VecDeque<Millis>,
    closed: bool,
    sends: usize,
    /// The socket that is asked for, and the one that is open.
    opening: Option<(SocketId, Server)>,
    socket: Option<SocketId>,
    /// Which sockets the session has closed, and with which codes.
    closings: Vec<(SocketId, u16)>,
    pings: usize,
    handed_over: Vec<Option<Box<Handover>>>,
    /// Print all that happens.
    verbose: bool,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(configure: impl FnOnce(&mut Configuration)) -> Self {
        let mut configuration = Configuration::default();
        configure(&mut configuration);
        Self {
            session: Session::new(configuration),
            now: 1_000_000,
            inbox: VecDeque::new(),
            open: BTreeMap::new(),
            cancelled: Vec::new(),
            told: Vec::new(),
            exts: Vec::new(),
            errors: Vec::new(),
            refreshes: 0,
            server_clock: None,
            questions: Vec::new(),
            owed: BTreeMap::new(),
            handshakes: VecDeque::new(),
            closed: false,
            sends: 0,
            opening: None,
            socket: None,
            closings: Vec::new(),
            pings: 0,
            handed_over: Vec::new(),
            verbose: false,
        }
    }

    /// A session whose handshake is under way.
    fn handshaking(configure: impl FnOnce(&mut Configuration)) -> (Self, Sent) {
        let mut world = Self::with(configure);
        world.connect();
        let handshake = world.request(Endpoint::Handshake);
        (world, handshake)
    }

    /// A connected session; its second connect is held by the server.
    fn connected_with(configure: impl FnOnce(&mut Configuration)) -> (Self, Sent) {
        let (mut world, handshake) = Self::handshaking(configure);
        world.answer(&handshake, &handshake_ok("c1", ""));
        let first = world.request(Endpoint::Connect);
        world.answer(&first, &connect_ok(""));
        let held = world.request(Endpoint::Connect);
        world.events();
        (world, held)
    }

    fn connected() -> (Self, Sent) {
        Self::connected_with(|_| {})
    }

    /// Connected and subscribed to these, by operations that count from 1.
    fn subscribed(channels: &[&str]) -> (Self, Sent) {
        let (mut world, held) = Self::connected();
        for (id, channel) in (1..).zip(channels) {
            world.subscribe(id, &[channel]);
            let sent = world.request(Endpoint::Messages);
            world.accept(&sent);
        }
        world.events();
        (world, held)
    }

    // What the host does.

    fn command(&mut self, command: Command) {
        fn owed(command: &Command) -> Vec<(OperationId, String)> {
            match command {
                Command::Subscribe { id, channels } | Command::Unsubscribe { id, channels } => {
                    channels.iter().map(|it| (*id, it.clone())).collect()
                }
                Command::Publish { id, channel, .. }
                | Command::PublishWithRetries { id, channel, .. }
                | Command::Call { id, channel, .. } => vec![(*id, channel.clone())],
                Command::Batch(commands) => commands.iter().flat_map(owed).collect(),
                _ => Vec::new(),
            }
        }
        self.note(|| format!("{command:?}"));
        for ending in owed(&command) {
            *self.owed.entry(ending).or_default() += 1;
        }
        self.session.handle_command(self.now, command);
        self.collect();
    }

    fn connect(&mut self) {
        self.command(Command::Connect);
    }

    fn subscribe(&mut self, id: OperationId, channels: &[&str]) {
        let channels = channels.iter().map(|it| (*it).to_owned()).collect();
        self.command(Command::Subscribe { id, channels });
    }

    /// Says from where the next subscribe starts; with `unless_known` as a
    /// position that was stored.
    fn replay_from(&mut self, topic: &str, position: i64, unless_known: bool) {
        self.command(Command::ReplayFrom {
            topic: topic.to_owned(),
            position,
            unless_known,
        });
    }

    fn unsubscribe(&mut self, id: OperationId, channels: &[&str]) {
        let channels = channels.iter().map(|it| (*it).to_owned()).collect();
        self.command(Command::Unsubscribe { id, channels });
    }

    fn publish(&mut self, id: OperationId, channel: &str, data: &str) {
        self.command(Command::Publish {
            id,
            channel: channel.to_owned(),
            data: serde_json::from_str(data).unwrap(),
        });
    }

    fn call(&mut self, id: OperationId, channel: &str, data: &str, within: Millis) {
        self.command(Command::Call {
            id,
            channel: channel.to_owned(),
            data: serde_json::from_str(data).unwrap(),
            deadline: self.now + within,
        });
    }

    fn disconnect(&mut self, within: Millis) {
        let limit = self.now + within;
        self.command(Command::Disconnect { limit });
    }

    fn abort(&mut self) {
        self.command(Command::Abort);
    }

    fn room(&mut self, room: bool) {
        self.session.handle_room(self.now, room);
        self.collect();
    }

    fn credentials(&mut self, result: Result<(), &str>) {
        self.session
            .handle_credentials(self.now, result.map_err(str::to_owned));
        self.collect();
    }

    fn unasked(&mut self, why: &str) {
        self.session.handle_unasked(self.now, why);
        self.collect();
    }

    /// What the host's extensions do: drops messages of a request, by their
    /// places in it.
    fn drops(&mut self, sent: &Sent, places: &[usize]) {
        let id = |place: &usize| sent.messages[*place]["id"].as_str().unwrap();
        let ids: Vec<u64> = places.iter().map(|it| id(it).parse().unwrap()).collect();
        self.note(|| format!("dropped {:?} {ids:?}", sent.id));
        if let Some(open) = self.open.get_mut(&sent.id) {
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            let is_dropped =
                |it: &Value| ids.iter().any(|id| it["id"].as_str() == Some(id.as_str()));
            open.messages.retain(|it| !is_dropped(it));
            if open.messages.is_empty() {
                self.open.remove(&sent.id);
            }
        }
        self.session.handle_dropped(self.now, sent.id, &ids);
        self.collect();
    }

    /// Extensions are done with a request, and it is sent.
    fn lets_go(&mut self, sent: &Sent) {
        self.note(|| format!("sent {:?}", sent.id));
        self.session.handle_sent(self.now, sent.id);
        self.collect();
    }

    /// So many bytes of the response have come since its first at `since`.
    fn progress(&mut self, sent: &Sent, since: Millis, bytes: u64) {
        self.note(|| format!("progress {:?} {bytes}", sent.id));
        self.session
            .handle_progress(self.now, sent.id, since, bytes);
        self.collect();
    }

    /// The response is there, and with the extensions.
    fn arrives(&mut self, sent: &Sent) {
        self.note(|| format!("arrived {:?}", sent.id));
        self.session.handle_arrived(self.now, sent.id);
        self.collect();
    }

    /// The one question of the handshake provider.
    fn question(&mut self) -> HandshakeQuestion {
        assert_eq!(self.questions.len(), 1);
        self.questions.remove(0)
    }

    /// The next question, whenever it comes.
    fn next_question(&mut self) -> HandshakeQuestion {
        while self.questions.is_empty() {
            assert!(self.next_timer(), "nobody will ever be asked");
        }
        self.question()
    }

    fn handshake_fields(&mut self, question: &HandshakeQuestion, answer: Result<&str, &str>) {
        self.note(|| format!("fields {answer:?}"));
        let answer = match answer {
            Ok("") => Ok(None),
            Ok(fields) => Ok(Some(serde_json::from_str(fields).unwrap())),
            Err(why) => Err(why.to_owned()),
        };
        self.session
            .handle_handshake_fields(self.now, question.number, answer);
        self.collect();
    }

    // What the server and the network do.

    /// Answers with this text, in which `$id`, `$0` is the id of the request's
    /// first message, `$1` of its second.
    fn answer(&mut self, sent: &Sent, text: &str) {
        let mut text = text.replace("$id", "$0");
        for (index, message) in sent.messages.iter().enumerate().rev() {
            if !text.contains('$') {
                break;
            }
            text = text.replace(&format!("${index}"), message["id"].as_str().unwrap());
        }
        self.note(|| format!("<- {:?} {text}", sent.id));
        let body = Body::parse(text.into_bytes()).expect("a body");
        if let Some(socket) = sent.socket {
            self.session.handle_frame(self.now, socket, &Arc::new(body));
        } else {
            self.open.remove(&sent.id);
            self.session
                .handle_reply(self.now, sent.id, &Arc::new(body));
        }
        self.collect();
    }

    /// Answers each message as successful.
    fn accept(&mut self, sent: &Sent) {
        let text = replies(sent, r#""successful":true"#);
        self.answer(sent, &text);
    }

    /// Answers each message as unsuccessful.
    fn refuse(&mut self, sent: &Sent, error: &str, advice: &str) {
        let advice = match advice {
            "" => String::new(),
            advice => format!(r#","advice":{advice}"#),
        };
        let text = replies(
            sent,
            &format!(r#""successful":false,"error":"{error}"{advice}"#),
        );
        self.answer(sent, &text);
    }

    fn fail_with(&mut self, sent: &Sent, failure: &Failure) {
        self.note(|| format!("<- {:?} {failure:?}", sent.id));
        self.open.remove(&sent.id);
        self.session.handle_failure(self.now, sent.id, failure);
        self.collect();
    }

    fn fail(&mut self, sent: &Sent, kind: ErrorKind) {
        self.fail_with(sent, &Failure::new(kind, "broken"));
    }

    fn http(&mut self, sent: &Sent, status: u16) {
        let kind = match status {
            401 | 407 => ErrorKind::Unauthorized,
            _ => ErrorKind::HttpStatus,
        };
        let mut failure = Failure::new(kind, format!("HTTP status {status}"));
        failure.http_status = status;
        self.fail_with(sent, &failure);
    }

    // What a socket does.

    /// Waits until one is asked for.
    fn wants_socket(&mut self) {
        while self.opening.is_none() {
            assert!(self.next_timer(), "nobody will ever want one");
        }
    }

    /// The one that was asked for is open.
    fn opens(&mut self) -> SocketId {
        let (socket, _) = self.opening.take().expect("nobody wants a socket");
        self.socket = Some(socket);
        self.note(|| format!("{socket:?} is open"));
        self.session.handle_opened(self.now, socket);
        self.collect();
        socket
    }

    fn unopened(&mut self, failure: &Failure, refused: bool) {
        let (socket, _) = self.opening.take().expect("nobody wants a socket");
        self.note(|| format!("{socket:?} is not open: {failure:?}"));
        self.session
            .handle_unopened(self.now, socket, failure, refused);
        self.collect();
    }

    /// A frame with this text.
    fn frame(&mut self, text: &str) {
        let socket = self.socket.expect("a socket");
        self.note(|| format!("<- {text}"));
        let body = Body::parse(text.as_bytes().to_vec()).expect("a body");
        self.session.handle_frame(self.now, socket, &Arc::new(body));
        self.collect();
    }

    fn socket_ends(&mut self, failure: &Failure) {
        let socket = self.socket.take().expect("a socket");
        self.note(|| format!("{socket:?} ends: {failure:?}"));
        self.session.handle_closed(self.now, socket, failure);
        self.collect();
    }

    /// The system takes all that was sent.
    fn takes_all(&mut self) {
        if let Some(socket) = self.socket {
            self.session
                .handle_written(self.now, socket, usize::MAX / 2);
            self.collect();
        }
    }

    fn reads(&mut self, reads: bool) {
        self.session.handle_reading(self.now, reads);
        self.collect();
    }

    /// The host's code has frames, or has none any more.
    fn keeps(&mut self, kept: bool) {
        self.session.handle_kept(self.now, kept);
        self.reads(!kept);
    }

    fn heard(&mut self, bytes: u64) {
        let socket = self.socket.expect("a socket");
        self.session.handle_heard(socket, self.now, bytes);
    }

    // What time does.

    /// Lets this much time pass; timers run when they are due.
    fn wait(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.run_timers();
        }
        self.now = end;
    }

    /// Goes to the next timer; false when there is none.
    fn next_timer(&mut self) -> bool {
        let Some(at) = self.session.poll_timeout() else {
            return false;
        };
        self.now = self.now.max(at);
        self.run_timers();
        true
    }

    fn run_timers(&mut self) {
        let done = |it: &Self| {
            let opening = it.opening.as_ref().map(|it| it.0);
            (it.sends + it.questions.len(), it.pings, opening)
        };
        let before = done(self);
        self.session.handle_timeout(self.now);
        self.collect();
        assert!(
            done(self) != before || self.session.poll_timeout().is_none_or(|at| at > self.now),
            "a timer that is due again at once and does nothing"
        );
    }

    // What can be seen.

    /// The next request, which must be there already and go to this endpoint.
    fn request(&mut self, endpoint: Endpoint) -> Sent {
        let sent = self.inbox.pop_front().expect("a request");
        assert_eq!(sent.endpoint, endpoint, "{}", sent.text);
        sent
    }

    /// The next request, whenever it comes, and how long it took.
    fn next_request(&mut self, endpoint: Endpoint) -> (Millis, Sent) {
        let start = self.now;
        while self.inbox.is_empty() {
            assert!(self.next_timer(), "nothing will ever be sent");
            assert!(self.now < start + 1_000_000_000, "nothing is sent");
        }
        let sent = self.request(endpoint);
        (sent.at - start, sent)
    }

    fn assert_nothing_sent(&self) {
        assert!(self.inbox.is_empty(), "{:?}", self.inbox);
    }

    /// Nothing is sent for this long, and nothing told.
    fn assert_quiet(&mut self, time: Millis) {
        self.told.clear();
        self.wait(time);
        self.assert_nothing_sent();
        assert_eq!(self.told, [""; 0]);
    }

    /// What the host was told since the last call.
    fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn last_error(&self) -> &Error {
        self.errors.last().expect("an error")
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>9} {}", self.now, what());
        }
    }

    fn state(&self) -> State {
        self.session.state()
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(request) => self.collect_request(request),
                Output::Cancel(request) => {
                    assert!(self.open.remove(&request).is_some(), "cancelled what ended");
                    self.cancelled.push(request);
                }
                Output::ServerClock(ahead) => self.server_clock = Some(ahead),
                Output::HandedOver(handover) => {
                    self.note(|| format!("handed over: {}", handover.is_some()));
                    self.handed_over.push(handover);
                }
                Output::RefreshCredentials => self.refreshes += 1,
                Output::AskHandshake(question) => {
                    assert!(!self.closed, "asked after the end");
                    self.note(|| format!("{question:?}"));
                    self.questions.push(question);
                }
                Output::Open { socket, server } => {
                    assert!(!self.closed && self.opening.is_none() && self.socket.is_none());
                    self.note(|| format!("open {socket:?}"));
                    self.opening = Some((socket, server));
                }
                Output::Ping(socket) => {
                    assert_eq!(self.socket, Some(socket));
                    self.pings += 1;
                }
                Output::CloseSocket { socket, code, .. } => {
                    self.note(|| format!("close {socket:?} {code}"));
                    let opening = self.opening.take().map(|it| it.0);
                    assert_eq!(opening.or(self.socket.take()), Some(socket));
                    self.closings.push((socket, code));
                }
                Output::Event(event) => self.collect_event(event),
            }
        }
        // Over a socket a request is under way until its messages are answered.
        let flights = &self.session.flights;
        self.open
            .retain(|id, sent| sent.socket.is_none() || flights.get(*id).is_some());
        self.check();
    }

    fn collect_request(&mut self, request: Request) {
        self.sends += 1;
        assert!(!self.closed, "sent after the end");
        let text = String::from_utf8(request.body).unwrap();
        self.note(|| format!("-> {:?} {text}", request.id));
        // A number that no f64 holds is for the text only.
        let messages: Vec<Value> = serde_json::from_str(&text.replace("1e400", "1")).unwrap();
        assert!(!messages.is_empty());
        // A connect that travelled with others would hold them up.
        let connects = |message: &Value| message["channel"] == meta::CONNECT;
        assert!(messages.len() == 1 || !messages.iter().any(connects));
        assert_eq!(
            request.endpoint == Endpoint::Connect,
            connects(&messages[0])
        );
        if request.endpoint == Endpoint::Handshake {
            self.handshakes.push_back(self.now);
            if self.handshakes.len() > HANDSHAKES_A_MINUTE {
                let earlier = self.handshakes.pop_front().unwrap();
                assert!(self.now >= earlier + 60_000, "a storm of handshakes");
            }
        }
        let sent = Sent {
            id: request.id,
            server: request.server,
            endpoint: request.endpoint,
            socket: request.socket,
            at: self.now,
            text,
            messages,
        };
        self.open.insert(sent.id, sent.clone());
        self.inbox.push_back(sent);
    }

    fn collect_event(&mut self, event: Event) {
        assert!(!self.closed, "told after the end: {event:?}");
        self.note(|| format!("{event:?}"));
        self.collect_ext(&event);
        match event {
            Event::Messages { body, range } => {
                assert!(!range.is_empty());
                for index in range {
                    let message = body.message(index as usize).unwrap();
                    let (channel, data) = (message.channel().unwrap(), message.data().unwrap());
                    self.told.push(format!("{channel} {data}"));
                }
            }
            Event::State {
                state, previous, ..
            } => {
                assert_ne!(state, previous);
                self.told.push(format!("-> {state:?}"));
            }
            Event::Subscribed {
                id,
                channel,
                renewed: true,
                ..
            } => self.told.push(format!("Renewed {id} {channel}")),
            Event::Subscribed { id, channel, .. } => self.ended("Subscribed", id, channel),
            Event::Unsubscribed { id, channel, .. } => self.ended("Unsubscribed", id, channel),
            Event::Published { id, channel, .. } => self.ended("Published", id, channel),
            Event::Advice { json } => self.told.push(format!("Advice {json}")),
            Event::Result {
                id, message, error, ..
            } => {
                let message = message.get().unwrap();
                let (channel, data) = (message.channel().unwrap(), message.data().unwrap());
                self.errors.extend(error.as_deref().cloned());
                let what = match error {
                    Some(error) => format!("Failed {:?} {data}", error.bayeux.map(|it| it.text)),
                    None => format!("Result {data}"),
                };
                self.ended(&what, id, channel.to_owned());
            }
            Event::Error { id, error } => {
                assert!(!error.message.contains('\n') && error.message.len() < 4_000);
                assert!(
                    error.message.starts_with(error.phase.name()),
                    "{}",
                    error.message
                );
                assert!(!error.fatal || error.retry_in.is_none());
                // A subscribe that was refused ends, starts elsewhere, or is tried
                // again.
                let again = error
                    .retry_in
                    .filter(|_| id == 0 && error.kind == ErrorKind::Refused);
                let what = format!(
                    "{} {} {:?}",
                    match (error.fatal, &error.channel, again) {
                        (true, ..) => "Fatal",
                        (false, Some(_), Some(0)) => "Fallback",
                        (false, Some(_), Some(_)) => "PutOff",
                        _ => "Error",
                    },
                    error.phase.name(),
                    error.kind
                );
                match (id, error.channel.clone()) {
                    (0, None) => self.told.push(what),
                    (0, Some(channel)) => self.told.push(format!("{what} {channel}")),
                    (id, channel) => self.ended(&what, id, channel.expect("a channel")),
                }
                self.errors.push(*error);
            }
            Event::Closed => {
                self.closed = true;
                self.told.push("Closed".to_owned());
                assert_eq!(self.owed, BTreeMap::new(), "endings that never came");
                assert!(self.session.poll_output().is_none());
            }
        }
    }

    fn collect_ext(&mut self, event: &Event) {
        let (what, ext) = match event {
            Event::State { ext, .. } => ("State", ext),
            Event::Subscribed { ext, .. } => ("Subscribed", ext),
            Event::Unsubscribed { ext, .. } => ("Unsubscribed", ext),
            Event::Published { ext, .. } => ("Published", ext),
            Event::Result { ext, .. } => ("Result", ext),
            _ => return,
        };
        let ext = ext.as_ref().map(|it| format!("{what} {it}"));
        self.exts.extend(ext);
    }

    fn exts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.exts)
    }

    fn ended(&mut self, what: &str, id: OperationId, channel: String) {
        self.told.push(format!("{what} {id} {channel}"));
        let ending = (id, channel);
        let Some(count) = self.owed.get_mut(&ending) else {
            panic!("ended twice: {ending:?}");
        };
        *count -= 1;
        if *count == 0 {
            self.owed.remove(&ending);
        }
    }

    /// What always holds, whatever servers and hosts do.
    fn check(&self) {
        let session = &self.session;
        assert!(is_live(session), "nothing will ever happen");
        assert_eq!(session.state == State::Closed, self.closed);
        assert!(session.handshake.is_none() || session.connect.is_none());
        assert!(
            session.next_attempt.is_none()
                || (session.handshake.is_none() && session.connect.is_none()),
            "an attempt is planned while another is awaited"
        );
        assert!(
            session.handshake_fields.deadline().is_none()
                || (session.next_attempt.is_none() && session.handshake.is_none()),
            "asked for a handshake beside an attempt"
        );
        for awaited in [session.handshake, session.connect].into_iter().flatten() {
            assert!(session.flights.get(awaited.request).is_some());
        }
        let queue = session.commands.line();
        assert!(queue.len() > 1_000 || session.commands.retries.is_consistent(queue));
        assert!(session.replay.count() == 0 || self.closed || session.replay_is_needed());
        let in_flight: Vec<_> = session.flights.iter().map(|(id, _)| id).collect();
        assert_eq!(in_flight, self.open.keys().collect::<Vec<_>>());
        let command_requests = self
            .open
            .values()
            .filter(|sent| {
                sent.endpoint == Endpoint::Messages
                    && sent.socket.is_none()
                    && sent.field("clientId") == session.client_id.as_deref()
            })
            .count();
        assert!(command_requests <= 1, "two requests race each other");
    }
}

/// A request is in flight, something will happen at a known time, or it is the
/// host's turn.
fn is_live(session: &Session) -> bool {
    matches!(session.state, State::Closed | State::Idle)
        || session.flights.iter().next().is_some()
        || session.poll_timeout().is_some()
        || !session.room
}

/// Asserts that twenty times as much costs about twenty times as much time, by
/// two readings of the same run; with a search through all for each it would be
/// four hundred times.
fn assert_proportional(cost: impl Fn(u64) -> Duration) {
    let once = (0..3).map(|_| cost(1)).min().unwrap_or_default();
    // A search costs as much each time; what else a machine does, it does once.
    let often = (0..3).map(|_| cost(20)).find(|it| *it < once * 100);
    assert!(often.is_some(), "{once:?}, and twenty of it over a hundred");
}

/// What something takes of this thread's time: others of the machine's may run
/// in between for as long as they like.
fn time_of(what: impl FnOnce()) -> Duration {
    let start = thread_time();
    what();
    thread_time().saturating_sub(start)
}

fn handshake_ok(client_id: &str, more: &str) -> String {
    format!(
        r#"[{{"channel":"/meta/handshake","id":"$id","successful":true,"version":"1.0","clientId":"{client_id}","supportedConnectionTypes":["websocket","long-polling"]{more}}}]"#
    )
}

fn handshake_refused(more: &str) -> String {
    format!(r#"[{{"channel":"/meta/handshake","id":"$id","successful":false{more}}}]"#)
}

fn connect_ok(more: &str) -> String {
    format!(r#"[{{"channel":"/meta/connect","id":"$id","successful":true{more}}}]"#)
}

fn connect_refused(more: &str) -> String {
    format!(r#"[{{"channel":"/meta/connect","id":"$id","successful":false{more}}}]"#)
}

/// 402 as CometD sends it.
const UNKNOWN: &str =
    r#","error":"402::session_unknown","advice":{"reconnect":"handshake","interval":0}"#;

/// A reply to each message of a request.
fn replies(sent: &Sent, outcome: &str) -> String {
    let replies: Vec<String> = sent
        .messages
        .iter()
        .map(|message| {
            let subscription = match message.get("subscription") {
                Some(subscription) => format!(r#","subscription":{subscription}"#),
                None => String::new(),
            };
            format!(
                r#"{{"channel":{},"id":{}{subscription},{outcome}}}"#,
                message["channel"], message["id"]
            )
        })
        .collect();
    format!("[{}]", replies.join(","))
}

/// The wait with its jitter.
fn jittered(wait: Millis) -> RangeInclusive<Millis> {
    wait + wait / 10..=wait + wait / 5
}

#[track_caller]
fn assert_within(waited: Millis, range: RangeInclusive<Millis>) {
    assert!(range.contains(&waited), "{waited} is not within {range:?}");
}
