//! A Bayeux server without a script: sessions that go on over either transport,
//! at the same port and path, and what a test does to them.

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::answer::Answer;
use crate::expect::Over;
use crate::server::{lock, Connection, Cut, Event, Request, Server};
use crate::sessions::{connect_reply, Counts, Out, Rules, Socket, State};
use crate::websocket::{self, Frame};

/// A test waits this long for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Inner {
    path: String,
    state: Mutex<State>,
    changed: Condvar,
}

/// A running server. Dropping it closes every connection.
pub struct Bayeux {
    server: Server,
    inner: Arc<Inner>,
}

impl Bayeux {
    /// On a free port of 127.0.0.1. Other paths than this one, and what it
    /// begins, are answered with 404.
    pub fn start(path: &str, rules: Rules) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            path: path.into(),
            state: Mutex::new(State {
                rules,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let server = Server::start(0, {
            let inner = inner.clone();
            move |event| inner.happened(event)
        })?;
        thread::Builder::new().name("bayeux".into()).spawn({
            let inner = inner.clone();
            move || release_connects(&inner)
        })?;
        Ok(Self { server, inner })
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port(), self.inner.path)
    }

    /// Closes every connection and refuses new ones.
    pub fn down(&self) {
        self.server.down();
    }

    pub fn up(&self) -> io::Result<()> {
        self.server.up()
    }

    pub fn rules(&self, change: impl FnOnce(&mut Rules)) {
        self.inner.act(|state, out| {
            change(&mut state.rules);
            if !state.rules.withhold_publishes {
                for (connection, over, reply) in std::mem::take(&mut state.withheld) {
                    state.reply(&connection, over, vec![reply], out);
                }
            }
        });
    }

    pub fn counts(&self) -> Counts {
        lock(&self.inner.state).counts.clone()
    }

    /// Waits until the counts are so.
    pub fn wait(&self, wanted: impl Fn(&Counts) -> bool) -> Result<Counts, String> {
        let state = lock(&self.inner.state);
        let (state, _) = self
            .inner
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !wanted(&state.counts))
            .unwrap_or_else(PoisonError::into_inner);
        match wanted(&state.counts) {
            true => Ok(state.counts.clone()),
            false => Err(format!("it did not come so: {:?}", state.counts)),
        }
    }

    /// All requests by HTTP so far, those for a WebSocket among them.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.inner.state).requests.clone()
    }

    /// The data that came for a channel.
    pub fn published(&self, channel: &str) -> Vec<Value> {
        lock(&self.inner.state)
            .published
            .iter()
            .filter(|(other, _)| other == channel)
            .map(|(_, data)| data.clone())
            .collect()
    }

    pub fn sessions(&self) -> Vec<String> {
        lock(&self.inner.state).sessions.keys().cloned().collect()
    }

    /// Sends events to all that have subscribed.
    pub fn publish(&self, channel: &str, data: impl IntoIterator<Item = Value>) {
        self.inner.act(|state, out| {
            for data in data {
                state.publish(channel, &data);
            }
            state.deliver(out);
        });
    }

    /// Ends all sessions: what is held is answered, and on a WebSocket there is
    /// a disconnect without an id before.
    pub fn kick(&self) {
        self.inner.act(|state, out| {
            state.deliver(out);
            for (_, session) in std::mem::take(&mut state.sessions) {
                let Some(held) = session.held else { continue };
                if let Some(socket) = session.socket.and_then(|it| state.sockets.get(&it)) {
                    socket.say(&[json!({"channel": "/meta/disconnect", "successful": true,
                        "advice": {"reconnect": "none"}})]);
                }
                let reply = connect_reply(&held.id, &json!({"reconnect": "none", "interval": 0}));
                state.reply(&held.connection, held.over, vec![reply], out);
            }
        });
    }

    /// Forgets all sessions without a word.
    pub fn forget(&self) {
        lock(&self.inner.state).sessions.clear();
    }

    /// Ends all sockets at once.
    pub fn cut(&self, how: Cut) {
        for connection in self.connections() {
            match how {
                Cut::Close => connection.close(),
                Cut::Reset => connection.reset(),
                Cut::Stall => connection.cut_after(0, Cut::Stall),
            }
        }
    }

    /// So many more bytes are sent on each open socket.
    pub fn cut_after(&self, bytes: usize, how: Cut) {
        for connection in self.connections() {
            connection.cut_after(bytes, how);
        }
    }

    /// Open sockets are read and not answered, or again.
    pub fn swallow(&self, swallows: bool) {
        for connection in self.connections() {
            connection.swallow(swallows);
        }
    }

    /// Whether open sockets are read.
    pub fn read(&self, reads: bool) {
        for connection in self.connections() {
            connection.read(reads);
        }
    }

    /// Sends a frame on every open socket, behind all that waits.
    pub fn frame(&self, frame: &Frame) {
        self.raw(&frame.to_bytes());
    }

    /// The same with bytes as they are.
    pub fn raw(&self, bytes: &[u8]) {
        for socket in lock(&self.inner.state).sockets.values() {
            let _ = socket.frames.send(bytes.to_vec());
        }
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        let state = lock(&self.inner.state);
        state
            .sockets
            .values()
            .map(|it| it.connection.clone())
            .collect()
    }
}

impl Drop for Bayeux {
    fn drop(&mut self) {
        lock(&self.inner.state).ended = true;
        self.inner.changed.notify_all();
        self.server.down();
    }
}

/// Answers connects whose time has come.
fn release_connects(inner: &Inner) {
    loop {
        let mut out = Out::new();
        let mut state = lock(&inner.state);
        while out.is_empty() {
            if state.ended {
                return;
            }
            let now = Instant::now();
            let mut next = now + PATIENCE;
            let mut due = Vec::new();
            for session in state.sessions.values_mut() {
                match session.held.take_if(|held| held.until <= now) {
                    Some(held) => due.push(held),
                    None => {
                        next = session
                            .held
                            .iter()
                            .map(|it| it.until)
                            .fold(next, Instant::min)
                    }
                }
            }
            for held in &due {
                let reply = connect_reply(&held.id, &Value::Null);
                state.reply(&held.connection, held.over, vec![reply], &mut out);
            }
            if due.is_empty() {
                (state, _) = inner
                    .changed
                    .wait_timeout(state, next - now)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        drop(state);
        write(out);
    }
}

fn write(out: Out) {
    for (connection, body) in out {
        Answer::ok().send(&connection, &body);
    }
}

impl Inner {
    /// Changes the state, then writes what has to be written by HTTP.
    fn act(&self, change: impl FnOnce(&mut State, &mut Out)) {
        let mut out = Out::new();
        change(&mut lock(&self.state), &mut out);
        self.changed.notify_all();
        write(out);
    }

    fn happened(&self, event: Event) {
        match event {
            Event::Request(request, connection) if request.is_frame => {
                self.messages(&request, &connection, Over::WebSocket);
            }
            Event::Request(request, connection) => {
                lock(&self.state).requests.push(request.clone());
                if !request.target.starts_with(&self.path) {
                    Answer::body("").status(404).send(&connection, "");
                } else if request.is_upgrade() {
                    self.upgrade(&request, &connection);
                } else {
                    self.messages(&request, &connection, Over::LongPolling);
                }
            }
            Event::Control(frame, _) => self.act(|state, _| match frame.opcode {
                websocket::PING => state.counts.pings += 1,
                websocket::CLOSE => state.counts.closes.push(frame.code()),
                _ => {}
            }),
            Event::Garbage(number, why) => self.act(|state, _| {
                state
                    .counts
                    .garbage
                    .push(format!("connection {number}: {why}"));
            }),
            Event::Gone(number) => self.act(|state, _| state.gone(number)),
        }
    }

    fn upgrade(&self, request: &Request, connection: &Arc<Connection>) {
        let key = request.header("sec-websocket-key").next();
        let (frames, waiting) = channel::<Vec<u8>>();
        let mut accepted = None;
        let mut refused = None;
        self.act(|state, _| {
            state.counts.upgrades += 1;
            let rules = &mut state.rules;
            if let Some(status) = rules.refuse {
                let mut answer = Answer::body("").status(status);
                answer.headers.clone_from(&rules.refusal_headers);
                refused = Some(answer);
            } else if !rules.ignore_upgrades {
                let response = rules.upgrade.render(key.unwrap_or_default());
                accepted = Some((response, rules.cut_next.take()));
                connection.swallow(rules.swallow);
                state.counts.accepted += 1;
                state.counts.sockets += 1;
                state.sockets.insert(
                    connection.number,
                    Socket {
                        connection: connection.clone(),
                        frames,
                    },
                );
            }
        });
        if let Some(answer) = refused {
            answer.send(connection, "");
        }
        let Some((response, cut)) = accepted else {
            return;
        };
        connection.wait_for_reader();
        let _ = connection.upgrade(&response);
        if let Some((bytes, how)) = cut {
            connection.cut_after(bytes, how);
        }
        // A client that does not read must not hold up the others.
        let connection = connection.clone();
        thread::spawn(move || {
            for bytes in waiting {
                if connection.write(&bytes).is_err() {
                    break;
                }
            }
        });
    }

    fn messages(&self, request: &Request, connection: &Arc<Connection>, over: Over) {
        let messages = match serde_json::from_slice(&request.body) {
            Ok(Value::Array(messages)) => messages,
            _ => {
                Answer::body("").status(400).send(connection, "");
                return;
            }
        };
        self.act(|state, out| {
            let mut replies = Vec::new();
            for message in &messages {
                replies.extend(state.message(message, connection, over, out));
            }
            state.deliver(out);
            if !replies.is_empty() {
                state.reply(connection, over, replies, out);
            }
        });
    }
}
