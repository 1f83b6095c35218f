//! A client that runs for years: a million times its connection breaks or its
//! session is lost, in every way, with work under way, and it needs no more
//! memory than in its first days.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use serde::de::IgnoredAny;
use serde::Deserialize;

use super::liveness::Random;
use super::*;

/// Slow without the optimizer.
const RECONNECTS: u32 = if cfg!(debug_assertions) {
    20_000
} else {
    1_000_000
};

/// Counts what the threads of the tests have allocated, each its own.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // At the end of a thread there is nobody to count for.
    let _ = ALLOCATED.try_with(|it| it.set(it.get() + bytes));
}

// SAFETY: everything is left to the system's allocator; what is counted is in a
// plain cell, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) fn allocated() -> isize {
    ALLOCATED.with(Cell::get)
}

/// What the server reads of a message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    channel: &'a str,
    id: &'a str,
    client_id: Option<&'a str>,
    subscription: Option<&'a str>,
    /// Of a connect: that it wants to be answered at once.
    advice: Option<IgnoredAny>,
    ext: Option<SaidExt>,
}

#[derive(Deserialize)]
struct SaidExt {
    ack: Option<Value>,
}

fn said(request: &Request) -> Vec<Said<'_>> {
    serde_json::from_slice(&request.body).unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The session is forgotten: the held connect is answered by 402.
    Forgotten,
    /// The connection breaks, and the next few with it.
    Cut,
    /// The application is gone from the server for a while: 404.
    Gone,
    /// The server restarts: nobody listens, then nobody knows the session.
    Restart,
    /// A page with 503 instead of messages, for handshakes as well.
    Sick,
    /// Nothing is answered until the client's own deadline.
    Silent,
    /// The reply to a publish says first that the session is lost.
    ToldByPublish,
    /// A response that holds events, but not the connect's reply.
    Incomplete,
}

const TROUBLES: [Trouble; 8] = [
    Trouble::Forgotten,
    Trouble::Cut,
    Trouble::Gone,
    Trouble::Restart,
    Trouble::Sick,
    Trouble::Silent,
    Trouble::ToldByPublish,
    Trouble::Incomplete,
];

struct Life {
    session: Session,
    now: Millis,
    random: Random,
    inbox: VecDeque<Request>,
    /// The connect that the server holds, with the id of its message.
    held: Option<(RequestId, String)>,
    /// The session that the server knows.
    known: Option<String>,
    sessions: u64,
    /// Connects and handshakes that still fail, and how.
    failing_connects: u64,
    failing_handshakes: u64,
    failure: Failure,
    /// The batch that the next connect has to acknowledge.
    batch: u64,
    operations: OperationId,
    /// Endings that the host waits for.
    owed: usize,
    events_sent: usize,
    events_told: usize,
    connected: bool,
    reconnects: u32,
    troubles: [u32; TROUBLES.len()],
}

impl Life {
    fn new() -> Self {
        Self {
            session: Session::new(Configuration {
                acknowledgement: true,
                timesync: true,
                ..Configuration::default()
            }),
            now: 0,
            random: Random::new(7),
            inbox: VecDeque::new(),
            held: None,
            known: None,
            sessions: 0,
            failing_connects: 0,
            failing_handshakes: 0,
            failure: Failure::new(ErrorKind::ConnectionLost, "broken"),
            batch: 0,
            operations: 0,
            owed: 0,
            events_sent: 0,
            events_told: 0,
            connected: false,
            reconnects: 0,
            troubles: [0; TROUBLES.len()],
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(request) => self.inbox.push_back(request),
                Output::Cancel(id) => {
                    self.inbox.retain(|request| request.id != id);
                    if self.held.as_ref().is_some_and(|(held, _)| *held == id) {
                        self.held = None;
                    }
                }
                Output::ServerClock(_) => {}
                Output::Open { .. } | Output::Ping(_) | Output::CloseSocket { .. } => {
                    panic!("it speaks long polling")
                }
                Output::HandedOver(_) => panic!("nobody asks for its session"),
                Output::RefreshCredentials | Output::AskHandshake(_) => {
                    panic!("there is no provider")
                }
                Output::Event(event) => self.told(event),
            }
        }
        let [queued, pending, subscriptions] = self.session.commands.counts();
        assert!(queued + pending <= self.owed + 2 * CHANNELS);
        assert!(subscriptions <= CHANNELS);
        assert!(self.session.flights.iter().count() <= 8);
        assert!(self.session.outputs.capacity() <= 256);
    }

    fn told(&mut self, event: Event) {
        match event {
            Event::Messages { range, .. } => self.events_told += range.len(),
            Event::State {
                state, previous, ..
            } => {
                assert_ne!(state, State::Closed);
                self.connected = state == State::Connected;
                // The very first time is none.
                let again = self.sessions > 1 || previous == State::Unconnected;
                self.reconnects += u32::from(self.connected && again);
            }
            Event::Subscribed { renewed: true, .. } => {}
            Event::Subscribed { .. }
            | Event::Unsubscribed { .. }
            | Event::Published { .. }
            | Event::Result { .. } => self.owed -= 1,
            Event::Error { id, error } => {
                assert!(!error.fatal, "{}", error.message);
                self.owed -= usize::from(id != 0);
            }
            Event::Advice { .. } => panic!("no such advice was given"),
            Event::Closed => panic!("nobody has closed it"),
        }
    }

    fn command(&mut self, command: Command) {
        self.session.handle_command(self.now, command);
        self.collect();
    }

    fn fail(&mut self, request: RequestId) {
        self.session
            .handle_failure(self.now, request, &self.failure);
        self.collect();
    }

    fn reply(&mut self, request: RequestId, text: String) {
        let body = Arc::new(Body::parse(text.into_bytes()).unwrap());
        self.session.handle_reply(self.now, request, &body);
        self.collect();
    }

    fn events(&mut self) -> String {
        let count = self.random.below(3) as usize;
        self.events_sent += count;
        r#"{"channel":"/s0","data":{"n":1}},"#.repeat(count)
    }

    /// Some work of the host, one message or several.
    fn act(&mut self) {
        let channels = ["/s0", "/s1", "/s2", "/s3"];
        assert_eq!(channels.len(), CHANNELS);
        let command = |id, random: &mut Random, now| {
            let channel = random.pick(&channels).to_owned();
            let data = || serde_json::from_str("1").unwrap();
            match random.below(8) {
                0 => Command::Unsubscribe {
                    id,
                    channels: vec![channel],
                },
                1..3 => Command::Subscribe {
                    id,
                    channels: vec![channel],
                },
                3..5 => Command::Call {
                    id,
                    channel: "/service/x".to_owned(),
                    data: data(),
                    deadline: now + 1 + random.below(20_000),
                },
                5 => Command::PublishWithRetries {
                    id,
                    channel,
                    data: data(),
                    attempts: random.pick(&[None, Some(1), Some(3)]),
                    deadline: random.pick(&[None, Some(now + 30_000)]),
                },
                _ => Command::Publish {
                    id,
                    channel,
                    data: data(),
                },
            }
        };
        let count = self.random.below(4) as usize;
        self.owed += count;
        let mut commands = Vec::with_capacity(count);
        for _ in 0..count {
            self.operations += 1;
            commands.push(command(self.operations, &mut self.random, self.now));
        }
        if self.random.one_in(3) {
            self.command(Command::Batch(commands));
        } else {
            commands.into_iter().for_each(|it| self.command(it));
        }
    }

    /// What the server does with a request.
    fn serve(&mut self, request: &Request) {
        let messages = said(request);
        let first = messages.first().unwrap();
        match request.endpoint {
            Endpoint::Handshake => {
                if self.failing_handshakes > 0 {
                    self.failing_handshakes -= 1;
                    return self.fail(request.id);
                }
                self.sessions += 1;
                let client_id = format!("c{}", self.sessions);
                let reply = handshake_ok(&client_id, r#","ext":{"ack":true}"#);
                self.known = Some(client_id);
                self.batch = 0;
                self.reply(request.id, reply.replace("$id", first.id));
            }
            Endpoint::Connect => {
                if self.failing_connects > 0 {
                    self.failing_connects -= 1;
                    return self.fail(request.id);
                }
                if first.client_id != self.known.as_deref() {
                    let reply = connect_refused(UNKNOWN).replace("$id", first.id);
                    return self.reply(request.id, reply);
                }
                let ack = first.ext.as_ref().and_then(|ext| ext.ack.as_ref());
                assert_eq!(ack.and_then(Value::as_u64), Some(self.batch));
                if first.advice.is_some() {
                    self.connect_reply(request.id, first.id);
                } else {
                    self.held = Some((request.id, first.id.to_owned()));
                }
            }
            Endpoint::Disconnect => panic!("nobody has disconnected"),
            Endpoint::Messages => {
                let knows = first.client_id == self.known.as_deref();
                let mut replies = Vec::with_capacity(messages.len());
                for message in &messages {
                    let Said { channel, id, .. } = message;
                    let subscription = match message.subscription {
                        Some(it) => format!(r#","subscription":"{it}""#),
                        None => String::new(),
                    };
                    let outcome = match knows {
                        true => r#""successful":true"#,
                        false => {
                            r#""successful":false,"error":"402::session_unknown","advice":{"reconnect":"handshake"}"#
                        }
                    };
                    replies.push(format!(
                        r#"{{"channel":"{channel}","id":"{id}"{subscription},{outcome}}}"#
                    ));
                    // One in two calls is never answered.
                    if knows && *channel == "/service/x" && self.random.one_in(2) {
                        replies.push(format!(
                            r#"{{"channel":"{channel}","id":"{id}","successful":true,"data":2}}"#
                        ));
                    }
                }
                self.reply(request.id, format!("[{}]", replies.join(",")));
            }
        }
    }

    fn connect_reply(&mut self, request: RequestId, id: &str) {
        self.batch += 1;
        let (events, batch) = (self.events(), self.batch);
        self.reply(
            request,
            format!(
                r#"[{events}{{"channel":"/meta/connect","id":"{id}","successful":true,"ext":{{"ack":{batch}}}}}]"#
            ),
        );
    }

    fn break_it(&mut self) {
        let index = self.random.below(TROUBLES.len() as u64) as usize;
        self.troubles[index] += 1;
        let (request, id) = self.held.take().unwrap();
        let lost = || Failure::new(ErrorKind::ConnectionLost, "broken");
        let http = |status| {
            let mut failure = Failure::new(ErrorKind::HttpStatus, "a page");
            failure.http_status = status;
            failure
        };
        match TROUBLES[index] {
            Trouble::Forgotten => {
                self.known = None;
                let reply = connect_refused(UNKNOWN).replace("$id", &id);
                self.reply(request, reply);
            }
            Trouble::Cut => {
                self.failure = lost();
                self.failing_connects = self.random.below(3);
                self.fail(request);
                // What was on the way with it is lost as well.
                if let Some(command) = self.inbox.pop_front() {
                    self.fail(command.id);
                }
            }
            Trouble::Gone => {
                self.failure = http(404);
                self.known = None;
                self.failing_connects = 1;
                self.fail(request);
            }
            Trouble::Restart => {
                self.known = None;
                self.failure = lost();
                self.fail(request);
                while let Some(command) = self.inbox.pop_front() {
                    self.fail(command.id);
                }
                self.failure = Failure::new(ErrorKind::Tcp, "connection refused");
                self.failing_connects = self.random.below(4);
            }
            Trouble::Sick => {
                self.failure = http(503);
                self.failing_connects = self.random.below(3);
                self.failing_handshakes = self.random.below(3);
                if self.random.one_in(2) {
                    self.known = None;
                }
                self.fail(request);
            }
            Trouble::Silent => {
                self.inbox.clear();
            }
            Trouble::ToldByPublish => {
                self.known = None;
                self.owed += 1;
                self.operations += 1;
                self.command(Command::Publish {
                    id: self.operations,
                    channel: "/s0".to_owned(),
                    data: serde_json::from_str("1").unwrap(),
                });
                while let Some(command) = self.inbox.pop_front() {
                    self.serve(&command);
                }
                // The connect is answered at last, if it is still awaited.
                let reply = connect_refused(UNKNOWN).replace("$id", &id);
                self.reply(request, reply);
            }
            Trouble::Incomplete => {
                self.events_sent += 1;
                self.reply(request, r#"[{"channel":"/s0","data":1}]"#.to_owned());
            }
        }
    }

    /// Until the client is connected and its connect is held.
    fn recover(&mut self) {
        loop {
            while let Some(request) = self.inbox.pop_front() {
                self.serve(&request);
            }
            if self.connected && self.held.is_some() {
                return;
            }
            self.next_timer();
        }
    }

    fn next_timer(&mut self) {
        self.now = self.session.poll_timeout().expect("a timer").max(self.now);
        self.session.handle_timeout(self.now);
        self.collect();
    }

    /// Until every operation has ended.
    fn rest(&mut self) {
        self.recover();
        while self.owed > 0 {
            if let Some((request, id)) = self.held.take() {
                self.connect_reply(request, &id);
            }
            self.recover();
            if self.owed > 0 {
                self.next_timer();
            }
        }
        self.recover();
    }
}

const CHANNELS: usize = 4;

/// How often it is looked at while nothing is under way.
const LOOKS: u32 = 100;

#[test]
fn a_million_reconnects_need_no_more_room_than_a_few_213() {
    let mut life = Life::new();
    life.command(Command::Connect);
    life.recover();
    let (mut early, mut most) = (0, 0);
    for look in 1..=LOOKS {
        let until = RECONNECTS / LOOKS * look;
        while life.reconnects < until {
            // In half of the troubles the host is at work, and in half of these
            // its request is still on the way.
            if life.random.one_in(2) {
                life.act();
            }
            if life.random.one_in(2) {
                life.recover();
            }
            if life.random.one_in(8) {
                // An ordinary reply, with events or without.
                if let Some((request, id)) = life.held.take() {
                    life.connect_reply(request, &id);
                }
                life.recover();
            }
            if life.held.is_some() && life.connected {
                life.break_it();
            }
            life.recover();
        }
        life.rest();
        assert_eq!(life.events_told, life.events_sent);
        assert_eq!(life.session.commands.counts()[..2], [0, 0]);
        assert_eq!(life.session.flights.iter().count(), 1);
        assert!(life
            .session
            .commands
            .calls
            .sizes()
            .iter()
            .all(|it| *it == 0));
        let now = allocated();
        if look <= LOOKS / 3 {
            early = early.max(now);
        }
        most = most.max(now);
    }
    println!(
        "{} reconnects in {} days of made-up time, {} handshakes, {} operations, {} events, by kind {:?}; \
         {early} bytes early, {most} at most",
        life.reconnects,
        life.now / 86_400_000,
        life.sessions,
        life.operations,
        life.events_told,
        life.troubles,
    );
    assert!(life.troubles.iter().all(|it| *it > RECONNECTS / 20));
    assert!(life.sessions > u64::from(RECONNECTS) / 4);
    assert!(most <= early + 4_096, "{early} bytes grew to {most}");
    assert!(std::mem::size_of::<Session>() <= 2_048);
}

#[test]
fn what_a_burst_took_is_given_back() {
    let (mut world, _) = World::connected();
    let room = world.session.outputs.capacity();
    let channels: Vec<String> = (0..1_000).map(|it| format!("/a/{it}")).collect();
    let id = 1;
    world.command(Command::Subscribe { id, channels });
    world.session.handle_command(world.now, Command::Abort);
    assert!(world.session.outputs.capacity() >= 1_000);
    while world.session.poll_output().is_some() {}
    assert_eq!(world.session.outputs.capacity(), room);
}
