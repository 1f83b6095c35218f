//! The sessions of a Bayeux server, and what becomes of their messages.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::expect::Over;
use crate::server::{Connection, Cut, Request};
use crate::upgrade::Upgrade;
use crate::websocket::Frame;

/// How the server behaves; may be changed at any time.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The status that requests for a WebSocket are refused with.
    pub refuse: Option<u16>,
    /// More headers of such a refusal.
    pub refusal_headers: Vec<String>,
    /// They get no answer at all.
    pub ignore_upgrades: bool,
    /// How they are accepted.
    pub upgrade: Upgrade,
    /// New sockets are read and never answered.
    pub swallow: bool,
    /// What happens to the next socket after so many bytes behind the 101.
    pub cut_next: Option<(usize, Cut)>,
    /// What a handshake's reply lists.
    pub connection_types: Vec<&'static str>,
    /// A session is known only on the transport that its handshake came over.
    pub own_transport_only: bool,
    /// How long a connect is held.
    pub hold: Duration,
    /// Events in a frame, at most.
    pub events_per_frame: usize,
    /// Replies to publishes wait until this is taken back.
    pub withhold_publishes: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            refuse: None,
            refusal_headers: Vec::new(),
            ignore_upgrades: false,
            upgrade: Upgrade::default(),
            swallow: false,
            cut_next: None,
            connection_types: vec!["websocket", "long-polling"],
            own_transport_only: false,
            hold: Duration::from_secs(60),
            events_per_frame: 1,
            withhold_publishes: false,
        }
    }
}

/// What came over one transport.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    pub handshakes: usize,
    pub connects: usize,
    pub subscribes: usize,
    pub publishes: usize,
    pub disconnects: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests for a WebSocket, whatever became of them …
    pub upgrades: usize,
    /// … those accepted …
    pub accepted: usize,
    /// … and what is still open of these.
    pub sockets: usize,
    pub pings: usize,
    /// The codes of close frames that came.
    pub closes: Vec<Option<u16>>,
    pub websocket: Carried,
    pub long_polling: Carried,
    /// Messages answered with 402.
    pub unknown: usize,
    /// What came and should not have.
    pub garbage: Vec<String>,
}

impl Counts {
    pub fn over(&self, over: Over) -> &Carried {
        match over {
            Over::WebSocket => &self.websocket,
            Over::LongPolling => &self.long_polling,
        }
    }
}

/// A connect without a reply.
pub struct Held {
    pub id: Value,
    pub over: Over,
    pub connection: Arc<Connection>,
    pub until: Instant,
}

pub struct Session {
    pub over: Over,
    pub channels: Vec<String>,
    /// Events, and the batch of the acknowledge extension that they were in.
    pub events: Vec<(u64, Value)>,
    /// The last batch, if the client acknowledges.
    pub batch: Option<u64>,
    pub socket: Option<usize>,
    pub held: Option<Held>,
}

/// What waits to be written.
pub type Out = Vec<(Arc<Connection>, String)>;

pub struct Socket {
    pub connection: Arc<Connection>,
    pub frames: Sender<Vec<u8>>,
}

impl Socket {
    pub fn say(&self, messages: &[Value]) {
        let text = Value::Array(messages.to_vec()).to_string();
        let _ = self.frames.send(Frame::text(text).to_bytes());
    }
}

#[derive(Default)]
pub struct State {
    pub rules: Rules,
    pub counts: Counts,
    pub handshakes: usize,
    pub sessions: BTreeMap<String, Session>,
    pub sockets: BTreeMap<usize, Socket>,
    /// Channel and data of what was published.
    pub published: Vec<(String, Value)>,
    pub withheld: Vec<(Arc<Connection>, Over, Value)>,
    pub requests: Vec<Request>,
    pub ended: bool,
}

pub fn connect_reply(id: &Value, advice: &Value) -> Value {
    let mut reply = json!({"channel": "/meta/connect", "id": id, "successful": true});
    if !advice.is_null() {
        reply["advice"] = advice.clone();
    }
    reply
}

/// Whether a subscription takes an event.
fn covers(subscription: &str, channel: &str) -> bool {
    if let Some(above) = subscription.strip_suffix("**") {
        return channel.starts_with(above);
    }
    match subscription.strip_suffix('*') {
        Some(above) => channel
            .strip_prefix(above)
            .is_some_and(|rest| !rest.contains('/')),
        None => subscription == channel,
    }
}

impl State {
    pub fn gone(&mut self, number: usize) {
        if self.sockets.remove(&number).is_some() {
            self.counts.sockets -= 1;
        }
        for session in self.sessions.values_mut() {
            session.socket.take_if(|it| *it == number);
            session
                .held
                .take_if(|held| held.connection.number == number);
        }
    }

    pub fn reply(
        &self,
        connection: &Arc<Connection>,
        over: Over,
        replies: Vec<Value>,
        out: &mut Out,
    ) {
        match over {
            Over::LongPolling => {
                out.push((connection.clone(), Value::Array(replies).to_string()));
            }
            Over::WebSocket => {
                if let Some(socket) = self.sockets.get(&connection.number) {
                    socket.say(&replies);
                }
            }
        }
    }

    pub fn publish(&mut self, channel: &str, data: &Value) {
        for session in self.sessions.values_mut() {
            if session.channels.iter().any(|it| covers(it, channel)) {
                let event = json!({"channel": channel, "data": data});
                session.events.push((0, event));
            }
        }
    }

    /// Sends what waits to those that can take it.
    pub fn deliver(&mut self, out: &mut Out) {
        let per_frame = self.rules.events_per_frame.max(1);
        let mut replies = Vec::new();
        for session in self.sessions.values_mut() {
            if session.events.is_empty() {
                continue;
            }
            let socket = session.socket.and_then(|it| self.sockets.get(&it));
            if let (Some(socket), None) = (socket, session.batch) {
                let events: Vec<_> = session.events.drain(..).map(|it| it.1).collect();
                for events in events.chunks(per_frame) {
                    socket.say(events);
                }
                continue;
            }
            let Some(held) = session.held.take() else {
                continue;
            };
            let mut reply = connect_reply(&held.id, &Value::Null);
            let mut messages = Vec::new();
            match &mut session.batch {
                Some(batch) => {
                    *batch += 1;
                    reply["ext"] = json!({"ack": *batch});
                    for (number, event) in &mut session.events {
                        if *number == 0 {
                            *number = *batch;
                        }
                        messages.push(event.clone());
                    }
                }
                None => messages.extend(session.events.drain(..).map(|it| it.1)),
            }
            messages.push(reply);
            replies.push((held, messages));
        }
        for (held, messages) in replies {
            self.reply(&held.connection, held.over, messages, out);
        }
    }

    /// The reply to one message; none while a connect is held.
    pub fn message(
        &mut self,
        message: &Value,
        connection: &Arc<Connection>,
        over: Over,
        out: &mut Out,
    ) -> Option<Value> {
        let channel = message["channel"].as_str().unwrap_or_default();
        let carried = match over {
            Over::WebSocket => &mut self.counts.websocket,
            Over::LongPolling => &mut self.counts.long_polling,
        };
        match channel {
            "/meta/handshake" => carried.handshakes += 1,
            "/meta/connect" => carried.connects += 1,
            "/meta/disconnect" => carried.disconnects += 1,
            "/meta/subscribe" => carried.subscribes += 1,
            channel if !channel.starts_with("/meta/") => carried.publishes += 1,
            _ => {}
        }
        let mut reply = json!({"channel": channel, "id": message["id"], "successful": true});
        if channel == "/meta/handshake" {
            self.handshakes += 1;
            let client = format!("session-{}", self.handshakes);
            reply["clientId"] = client.as_str().into();
            reply["version"] = "1.0".into();
            reply["supportedConnectionTypes"] = json!(self.rules.connection_types);
            let hold = self.rules.hold.as_millis() as u64;
            reply["advice"] = json!({"reconnect": "retry", "interval": 0, "timeout": hold});
            let acknowledges = message["ext"]["ack"] == true;
            if acknowledges {
                reply["ext"] = json!({"ack": true});
            }
            self.sessions.insert(
                client,
                Session {
                    over,
                    channels: Vec::new(),
                    events: Vec::new(),
                    batch: acknowledges.then_some(0),
                    socket: (over == Over::WebSocket).then_some(connection.number),
                    held: None,
                },
            );
            return Some(reply);
        }
        let client = message["clientId"].as_str().unwrap_or_default();
        let own_only = self.rules.own_transport_only;
        let known = self.sessions.get_mut(client);
        let Some(session) = known.filter(|it| !own_only || it.over == over) else {
            self.counts.unknown += 1;
            reply["successful"] = false.into();
            reply["error"] = "402::session_unknown".into();
            reply["advice"] = json!({"reconnect": "handshake", "interval": 0});
            return Some(reply);
        };
        session.socket = (over == Over::WebSocket).then_some(connection.number);
        match channel {
            "/meta/connect" => {
                if let Some(acknowledged) = message["ext"]["ack"].as_u64() {
                    session
                        .events
                        .retain(|(batch, _)| *batch == 0 || *batch > acknowledged);
                }
                // The older one is never answered on a socket; a request must be.
                let older = session.held.replace(Held {
                    id: message["id"].clone(),
                    over,
                    connection: connection.clone(),
                    until: Instant::now() + self.rules.hold,
                });
                if message["advice"]["timeout"] == 0 {
                    if let Some(held) = &mut session.held {
                        held.until = Instant::now();
                    }
                    self.deliver(out);
                    let session = self.sessions.get_mut(client)?;
                    return session
                        .held
                        .take()
                        .map(|held| connect_reply(&held.id, &Value::Null));
                }
                if let Some(held) = older.filter(|it| it.over == Over::LongPolling) {
                    let reply = connect_reply(&held.id, &Value::Null);
                    self.reply(&held.connection, held.over, vec![reply], out);
                }
                None
            }
            "/meta/subscribe" | "/meta/unsubscribe" => {
                let subscriptions = match &message["subscription"] {
                    Value::Array(several) => several.clone(),
                    one => vec![one.clone()],
                };
                for subscription in subscriptions.iter().filter_map(Value::as_str) {
                    session.channels.retain(|it| it != subscription);
                    if channel == "/meta/subscribe" {
                        session.channels.push(subscription.into());
                    }
                }
                reply["subscription"] = message["subscription"].clone();
                Some(reply)
            }
            "/meta/disconnect" => {
                if let Some(held) = self.sessions.remove(client).and_then(|it| it.held) {
                    let none = json!({"reconnect": "none", "interval": 0});
                    let last = connect_reply(&held.id, &none);
                    self.reply(connection, over, vec![reply], out);
                    self.reply(&held.connection, held.over, vec![last], out);
                    return None;
                }
                Some(reply)
            }
            _ => {
                let data = message["data"].clone();
                self.publish(channel, &data);
                self.published.push((channel.into(), data));
                if self.rules.withhold_publishes {
                    self.withheld.push((connection.clone(), over, reply));
                    return None;
                }
                Some(reply)
            }
        }
    }
}
