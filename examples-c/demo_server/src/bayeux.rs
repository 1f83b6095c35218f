//! The Bayeux protocol: what the server answers to messages. Nothing here
//! knows of HTTP or waits, except that a connect may ask to be held.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::channel::{
    self, META_CONNECT, META_DISCONNECT, META_HANDSHAKE, META_SUBSCRIBE, META_UNSUBSCRIBE,
};
use crate::message::{self, Ack, Advice, Challenge, Ext, Message, Reply, Text};
use crate::replay::{self, Replay};
use crate::service;
use crate::session::{Session, Socket, State};
use crate::timesync::{self, Question};

const SUBSCRIBE_DENIED: &str = "403:denied_by_security_policy:subscribe_denied";
const PUBLISH_DENIED: &str = "403:denied_by_security_policy:publish_denied";
const CHANNEL_INVALID: &str = "405::channel_invalid";

#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How long a connect is held.
    pub timeout: Duration,
    /// How long clients are told to pause between connects.
    pub interval: Duration,
    /// How long a session lives without a connect, beyond that pause.
    pub max_interval: Duration,
    /// The values of `Authorization` of which a handshake needs one. None at
    /// all: anybody may handshake.
    pub authorizations: Vec<String>,
    /// The password that the answer to a challenge has to hold.
    pub challenge: Option<String>,
    /// Whether a session is bound to the cookie of its handshake.
    pub cookie: bool,
    /// How many events of each channel are kept for replays.
    pub retain: usize,
    pub transports: Transports,
}

/// What clients may come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transports {
    pub long_polling: bool,
    pub websocket: bool,
}

impl Default for Transports {
    fn default() -> Self {
        Self {
            long_polling: true,
            websocket: true,
        }
    }
}

impl Transports {
    /// As the reply to a handshake lists them.
    fn names(self) -> &'static [&'static str] {
        match (self.websocket, self.long_polling) {
            (true, true) => &["websocket", "long-polling"],
            (true, false) => &["websocket"],
            (false, true) => &["long-polling"],
            (false, false) => &[],
        }
    }
}

impl Settings {
    fn advice(&self) -> Advice {
        Advice {
            reconnect: "retry",
            interval: Some(self.interval.as_millis() as u64),
            timeout: Some(self.timeout.as_millis() as u64),
        }
    }
}

/// What the HTTP request, or the one that became a WebSocket, tells about the
/// sender of its messages.
#[derive(Debug, Default)]
pub struct Sender {
    pub authorization: Option<String>,
    /// The value of the cookie `BAYEUX_BROWSER`.
    pub browser: Option<String>,
    /// The WebSocket that brought them.
    pub socket: Option<Socket>,
}

/// The number of messages that came, whatever they were answered, and of the
/// requests that brought them; a frame of a WebSocket counts as one.
#[derive(Debug, Default, Serialize)]
pub struct Stats {
    pub handshakes: u64,
    pub connects: u64,
    pub disconnects: u64,
    pub publishes: u64,
    pub requests: u64,
    pub subscribes: u64,
    /// WebSockets that were opened.
    pub upgrades: u64,
}

/// The messages of a response.
#[derive(Debug, Default)]
pub struct Answer {
    pub messages: Vec<Text>,
    /// The value of the cookie `BAYEUX_BROWSER` to set.
    pub browser: Option<String>,
}

#[derive(Debug)]
pub enum Outcome {
    Answer(Answer),
    Hold(HeldConnect),
}

/// A connect that is answered when `woken` completes, or after `timeout`.
#[derive(Debug)]
pub struct HeldConnect {
    pub timeout: Duration,
    pub woken: oneshot::Receiver<()>,
    connect: Connect,
}

impl HeldConnect {
    /// Waits until there is a reason to answer.
    pub async fn wait(&mut self) {
        // Whether it was woken or the time is over: the answer is the same.
        let _ = tokio::time::timeout(self.timeout, &mut self.woken).await;
    }
}

#[derive(Debug)]
struct Connect {
    client_id: String,
    number: u64,
    id: Option<Box<RawValue>>,
    wants_advice: bool,
    timesync: Option<Question>,
}

/// A handshake came together with other messages.
#[derive(Debug, PartialEq, Eq)]
pub struct HandshakeNotAlone;

impl HandshakeNotAlone {
    pub fn check(messages: &[Message]) -> Result<(), Self> {
        let is_handshake = |message: &Message| message.channel.as_deref() == Some(META_HANDSHAKE);
        if messages.len() > 1 && messages.iter().any(is_handshake) {
            return Err(Self);
        }
        Ok(())
    }
}

/// A newer connect of the same session has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced;

#[derive(Debug)]
pub struct Bayeux {
    pub stats: Stats,
    settings: Settings,
    sessions: HashMap<String, Session>,
    replay: Replay,
    /// The last challenge; a new one each time.
    challenge: String,
}

impl Default for Bayeux {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Bayeux {
    pub fn new(settings: Settings) -> Self {
        Self {
            stats: Stats::default(),
            replay: Replay::new(settings.retain),
            challenge: String::new(),
            settings,
            sessions: HashMap::new(),
        }
    }

    pub fn transports(&self) -> Transports {
        self.settings.transports
    }

    /// Handles the messages of one request, in their order.
    pub fn receive(
        &mut self,
        messages: &[Message],
        sender: &Sender,
    ) -> Result<Outcome, HandshakeNotAlone> {
        HandshakeNotAlone::check(messages)?;
        let alone = messages.len() == 1;
        let received = timesync::now();
        let timed = |reply: Reply<'_>, message: &Message| {
            let question = Question::of(message, received);
            let answer = question.and_then(|it| it.answer(timesync::now()));
            reply.timed(answer).text()
        };
        let mut answer = Answer::default();
        for message in messages {
            let reply = match message.channel.as_deref() {
                Some(META_HANDSHAKE) => {
                    let client_id = random_name();
                    timed(
                        self.handshake(message, sender, &client_id, &mut answer),
                        message,
                    )
                }
                Some(META_CONNECT) => match self.connect(message, sender, alone, received) {
                    Connected::Answer(messages) => {
                        answer.messages.extend(messages);
                        continue;
                    }
                    Connected::Hold(held) => return Ok(Outcome::Hold(held)),
                },
                Some(META_SUBSCRIBE) => timed(self.subscribe(message, sender), message),
                Some(META_UNSUBSCRIBE) => timed(self.unsubscribe(message, sender), message),
                Some(META_DISCONNECT) => timed(self.disconnect(message, sender), message),
                Some(channel) => self.publish(channel, message, sender).text(),
                None => Reply::failure(message, "400::channel_missing").text(),
            };
            answer.messages.push(reply);
        }
        Ok(Outcome::Answer(answer))
    }

    fn handshake<'a>(
        &mut self,
        message: &'a Message,
        sender: &Sender,
        client_id: &'a str,
        answer: &mut Answer,
    ) -> Reply<'a> {
        self.stats.handshakes += 1;
        let accepted = &self.settings.authorizations;
        let is_accepted = |value: &String| accepted.contains(value);
        if !accepted.is_empty() && !sender.authorization.as_ref().is_some_and(is_accepted) {
            return Reply {
                advice: Some(Advice::reconnect("none")),
                ..Reply::failure(message, "403::handshake_denied")
            };
        }
        if let Some(password) = &self.settings.challenge {
            let answer = format!("{}:{password}", self.challenge);
            if self.challenge.is_empty() || message.answer() != Some(&answer) {
                self.challenge = random_name();
                return Reply {
                    advice: Some(Advice::reconnect("handshake")),
                    ext: Some(Ext {
                        authentication: Some(Challenge {
                            challenge: self.challenge.clone(),
                        }),
                        ..Ext::default()
                    }),
                    ..Reply::failure(message, "401::challenge")
                };
            }
            self.challenge.clear();
        }
        if self.settings.cookie {
            // A browser that has the cookie keeps it for all its sessions; a
            // WebSocket has no response that could bring one.
            let new = || sender.socket.is_none().then(random_name);
            answer.browser = sender.browser.clone().or_else(new);
        }
        let with_acks = message.offers_ack();
        let with_replay = message.offers_replay();
        let mut session = Session::new(answer.browser.clone(), with_acks);
        if let Some(socket) = &sender.socket {
            session.attach(client_id, socket);
        }
        self.sessions.insert(client_id.to_owned(), session);
        Reply {
            version: Some("1.0"),
            minimum_version: Some("1.0"),
            supported_connection_types: Some(self.settings.transports.names()),
            client_id: Some(client_id),
            advice: Some(self.settings.advice()),
            ext: Some(Ext {
                ack: with_acks.then_some(Ack::Supported(true)),
                replay: with_replay.then_some(true),
                ..Ext::default()
            }),
            ..Reply::success(message)
        }
    }

    fn connect(
        &mut self,
        message: &Message,
        sender: &Sender,
        may_hold: bool,
        received: i64,
    ) -> Connected {
        self.stats.connects += 1;
        let server_timeout = self.settings.timeout;
        let Some((client_id, session)) = self.find(message, sender) else {
            return Connected::Answer(vec![unknown_session(message).text()]);
        };
        let number = session.start_connect();
        if let Some(batch) = message.acknowledged() {
            session.acknowledge(batch);
        }
        let first = number == 1;
        let connect = Connect {
            client_id: client_id.to_owned(),
            number,
            id: message.id.clone(),
            wants_advice: first || message.advice.is_some(),
            timesync: Question::of(message, received),
        };
        let timeout = message
            .advised_timeout()
            .map_or(server_timeout, |advised| advised.min(server_timeout));
        // Like CometD, the first connect is answered at once even if it does
        // not ask for that: the client learns that it is connected.
        let brings_events = session.has_events() && !session.pushes();
        if may_hold && !first && session.is_open() && !brings_events && !timeout.is_zero() {
            return Connected::Hold(HeldConnect {
                timeout,
                woken: session.hold(),
                connect,
            });
        }
        Connected::Answer(self.answer_connect(&connect))
    }

    /// Answers a connect that was held.
    pub fn finish(&mut self, held: &HeldConnect) -> Result<Vec<Text>, Replaced> {
        let connect = &held.connect;
        match self.sessions.get(&connect.client_id) {
            Some(session) if !session.is_current_connect(connect.number) => Err(Replaced),
            _ => Ok(self.answer_connect(connect)),
        }
    }

    /// The events of a session that go out on this WebSocket by themselves.
    pub fn take_pushed(&mut self, client_id: &str, socket: &Socket) -> Vec<Text> {
        let session = self.sessions.get_mut(client_id);
        session.map_or_else(Vec::new, |session| session.take_pushed(socket))
    }

    /// The events that wait, then the reply to the connect.
    fn answer_connect(&mut self, connect: &Connect) -> Vec<Text> {
        let mut reply = Reply {
            channel: Some(META_CONNECT),
            id: connect.id.as_deref(),
            successful: true,
            ..Reply::default()
        };
        // A session may be forgotten while its connect is held.
        let Some(session) = self.sessions.get_mut(&connect.client_id) else {
            return vec![refuse_unknown_session(reply).text()];
        };
        let (mut messages, batch) = session.take_batch();
        reply.ext = Some(Ext {
            ack: batch.map(Ack::Batch),
            timesync: connect.timesync.and_then(|it| it.answer(timesync::now())),
            ..Ext::default()
        });
        let state = session.state;
        if state == State::Open {
            reply.advice = connect.wants_advice.then(|| self.settings.advice());
        } else {
            if state == State::DisconnectedByServer {
                // No id: this answers no message of the client.
                let farewell = Reply {
                    channel: Some(META_DISCONNECT),
                    successful: true,
                    ..Reply::default()
                };
                messages.push(farewell.text());
            }
            reply.advice = Some(Advice::reconnect("none"));
            self.sessions.remove(&connect.client_id);
        }
        messages.push(reply.text());
        messages
    }

    /// All channels of the message are subscribed to, or none.
    fn subscribe<'a>(&mut self, message: &'a Message, sender: &Sender) -> Reply<'a> {
        self.stats.subscribes += 1;
        if self.find_open(message, sender).is_none() {
            return unknown_session(message);
        }
        let replayed = |channels: Vec<String>| {
            let events = channels.iter().map(|it| self.replay.ask(it, message));
            let events: Result<Vec<_>, _> = events.collect();
            events.map(|events| (channels, events.concat()))
        };
        let wanted = subscribable(message).map_err(Cow::from);
        let wanted = wanted.and_then(|it| replayed(it).map_err(Cow::from));
        let reply = match (wanted, self.find_open(message, sender)) {
            (Ok((channels, events)), Some(session)) => {
                for channel in channels {
                    session.subscribe(replay::topic(&channel).to_owned());
                }
                for event in events {
                    session.enqueue(event);
                }
                Reply::success(message)
            }
            (Err(error), _) => Reply::failure(message, error),
            (_, None) => unknown_session(message),
        };
        Reply {
            subscription: message.subscription.as_deref(),
            ..reply
        }
    }

    fn unsubscribe<'a>(&mut self, message: &'a Message, sender: &Sender) -> Reply<'a> {
        let Some(session) = self.find_open(message, sender) else {
            return unknown_session(message);
        };
        let reply = match message.subscriptions() {
            Ok(channels) => {
                for channel in channels {
                    session.unsubscribe(replay::topic(&channel));
                }
                Reply::success(message)
            }
            Err(error) => Reply::failure(message, error),
        };
        Reply {
            subscription: message.subscription.as_deref(),
            ..reply
        }
    }

    fn disconnect<'a>(&mut self, message: &'a Message, sender: &Sender) -> Reply<'a> {
        self.stats.disconnects += 1;
        let Some((client_id, session)) = self.find(message, sender) else {
            return unknown_session(message);
        };
        if session.is_holding() {
            session.disconnect(State::DisconnectedByClient);
        } else {
            self.sessions.remove(client_id);
        }
        Reply::success(message)
    }

    fn publish<'a>(&mut self, channel: &str, message: &'a Message, sender: &Sender) -> Reply<'a> {
        self.stats.publishes += 1;
        let Some(session) = self.find_open(message, sender) else {
            return unknown_session(message);
        };
        if !channel::is_valid(channel) {
            return Reply::failure(message, CHANNEL_INVALID);
        }
        if channel::is_denied(channel) || channel::is_meta(channel) || channel::is_wild(channel) {
            return Reply::failure(message, PUBLISH_DENIED);
        }
        let Some(data) = message.data.as_deref() else {
            return Reply::failure(message, "400::data_missing");
        };
        if let Some(answer) = service::answer(channel, message, data) {
            session.enqueue(answer);
        } else if message.is_binary() && !channel::is_service(channel) {
            self.deliver(channel, message::binary_event(channel, data));
        } else if !channel::is_service(channel) {
            self.broadcast(channel, data);
        }
        Reply::success(message)
    }

    /// Queues an event for every session that is subscribed to the channel.
    pub fn broadcast(&mut self, channel: &str, data: &RawValue) {
        let event = self.replay.event(channel, data);
        self.deliver(channel, event);
    }

    fn deliver(&mut self, channel: &str, event: Text) {
        for session in self.sessions.values_mut() {
            if session.is_open() && session.is_subscribed(channel) {
                session.enqueue(Rc::clone(&event));
            }
        }
    }

    pub fn session_count(&self) -> usize {
        self.sessions.values().filter(|s| s.is_open()).count()
    }

    /// Disconnects every session; returns how many there were. CometD forgets
    /// at once a session without a held connect, so that its client learns of
    /// the end from a 402; here it stays until its client has been told,
    /// which makes the outcome independent of the moment.
    pub fn disconnect_all(&mut self) -> usize {
        let count = self.session_count();
        for session in self.sessions.values_mut().filter(|s| s.is_open()) {
            session.disconnect(State::DisconnectedByServer);
        }
        count
    }

    /// Forgets every session without telling; returns how many there were.
    pub fn forget_all(&mut self) -> usize {
        let count = self.session_count();
        self.sessions.clear();
        count
    }

    /// Forgets the sessions that have been without a connect for too long.
    pub fn sweep(&mut self, now: Instant) {
        let limit = self.settings.interval + self.settings.max_interval;
        self.sessions
            .retain(|_, session| now.saturating_duration_since(session.last_seen(now)) <= limit);
    }

    /// The session of a message, even if it has been disconnected. It goes on
    /// over what has brought the message.
    fn find<'a>(
        &mut self,
        message: &'a Message,
        sender: &Sender,
    ) -> Option<(&'a str, &mut Session)> {
        let client_id = message.client_id.as_deref()?;
        let session = self.sessions.get_mut(client_id)?;
        // CometD looks for the cookie with long polling only.
        if let Some(socket) = &sender.socket {
            session.attach(client_id, socket);
        } else if session.browser.is_some() && session.browser != sender.browser {
            return None;
        } else {
            session.detach();
        }
        Some((client_id, session))
    }

    fn find_open(&mut self, message: &Message, sender: &Sender) -> Option<&mut Session> {
        self.find(message, sender)
            .map(|(_, session)| session)
            .filter(|session| session.is_open())
    }
}

enum Connected {
    Answer(Vec<Text>),
    Hold(HeldConnect),
}

/// The channels that a message subscribes to, if all of them may be.
fn subscribable(message: &Message) -> Result<Vec<String>, &'static str> {
    let channels = message.subscriptions()?;
    if !channels.iter().all(|name| channel::is_valid(name)) {
        return Err(CHANNEL_INVALID);
    }
    let is_denied = |name: &String| channel::is_denied(name) || channel::is_meta(name);
    if channels.iter().any(is_denied) {
        return Err(SUBSCRIBE_DENIED);
    }
    Ok(channels)
}

fn unknown_session(message: &Message) -> Reply<'_> {
    refuse_unknown_session(Reply::success(message))
}

fn refuse_unknown_session(reply: Reply<'_>) -> Reply<'_> {
    // Only a connect is told not to wait before the new handshake.
    let interval = (reply.channel == Some(META_CONNECT)).then_some(0);
    Reply {
        successful: false,
        error: Some("402::session_unknown".into()),
        advice: Some(Advice {
            interval,
            ..Advice::reconnect("handshake")
        }),
        ..reply
    }
}

/// A name that no client can guess. Every `RandomState` has other keys, which
/// come from the random numbers of the system.
fn random_name() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};
    use tokio::sync::oneshot::error::TryRecvError;

    fn server() -> Bayeux {
        server_with(Settings::default())
    }

    fn server_with(settings: Settings) -> Bayeux {
        Bayeux::new(Settings {
            timeout: Duration::from_secs(10),
            max_interval: Duration::from_secs(10),
            ..settings
        })
    }

    fn receive_from(server: &mut Bayeux, sender: &Sender, messages: &Value) -> Outcome {
        let messages = Message::parse_all(messages.to_string().as_bytes()).unwrap();
        server.receive(&messages, sender).unwrap()
    }

    fn values(messages: &[Text]) -> Vec<Value> {
        let parse = |text: &Text| serde_json::from_str(text).unwrap();
        messages.iter().map(parse).collect()
    }

    fn ask(server: &mut Bayeux, messages: Value) -> Vec<Value> {
        match receive_from(server, &Sender::default(), &messages) {
            Outcome::Answer(answer) => values(&answer.messages),
            Outcome::Hold(_) => panic!("held"),
        }
    }

    fn hold(server: &mut Bayeux, client: &str) -> HeldConnect {
        let connect = json!({"channel": META_CONNECT, "id": "h", "clientId": client});
        match receive_from(server, &Sender::default(), &connect) {
            Outcome::Hold(held) => held,
            Outcome::Answer(answer) => panic!("not held: {answer:?}"),
        }
    }

    fn is_woken(held: &mut HeldConnect) -> bool {
        held.woken.try_recv() == Err(TryRecvError::Closed)
    }

    /// Handshake and first connect.
    fn join(server: &mut Bayeux) -> String {
        let replies = ask(server, json!({"channel": META_HANDSHAKE}));
        let client = replies[0]["clientId"].as_str().unwrap().to_owned();
        let connect =
            json!({"channel": META_CONNECT, "clientId": client, "advice": {"timeout": 0}});
        assert_eq!(ask(server, connect)[0]["successful"], true);
        client
    }

    fn subscribe(server: &mut Bayeux, client: &str, subscription: Value) -> Value {
        let message =
            json!({"channel": META_SUBSCRIBE, "clientId": client, "subscription": subscription});
        ask(server, message).remove(0)
    }

    fn publish(server: &mut Bayeux, client: &str, channel: &str, data: Value) -> Value {
        ask(
            server,
            json!({"channel": channel, "clientId": client, "id": 1, "data": data}),
        )
        .remove(0)
    }

    #[test]
    fn handshake_and_first_connect() {
        let mut server = server();
        let replies = ask(
            &mut server,
            json!([{"channel": META_HANDSHAKE, "id": "1", "version": "1.0"}]),
        );
        let client = &replies[0]["clientId"];
        assert_eq!(
            replies,
            [json!({
                "channel": META_HANDSHAKE, "id": "1", "successful": true, "version": "1.0",
                "minimumVersion": "1.0",
                "supportedConnectionTypes": ["websocket", "long-polling"],
                "clientId": client,
                "advice": {"reconnect": "retry", "interval": 0, "timeout": 10000},
            })]
        );
        // Answered at once though it does not ask for it, and with advice.
        let connect = json!({"channel": META_CONNECT, "id": 2, "clientId": client});
        assert_eq!(
            ask(&mut server, connect),
            [json!({
                "channel": META_CONNECT, "id": 2, "successful": true,
                "advice": {"reconnect": "retry", "interval": 0, "timeout": 10000},
            })]
        );
        assert_eq!((server.stats.handshakes, server.stats.connects), (1, 1));
    }

    #[test]
    fn a_handshake_travels_alone() {
        let two = br#"[{"channel":"/meta/handshake"},{"channel":"/meta/connect"}]"#;
        let messages = Message::parse_all(two).unwrap();
        let outcome = server().receive(&messages, &Sender::default());
        assert_eq!(outcome.unwrap_err(), HandshakeNotAlone);
    }

    #[test]
    fn a_challenge_is_new_each_time_and_its_answer_opens_the_door() {
        let mut server = server_with(Settings {
            challenge: Some("P".into()),
            ..Settings::default()
        });
        let handshake = |answer: &str| json!({"channel": META_HANDSHAKE, "ext": {"authentication": {"answer": answer}}});
        let mut challenge = String::new();
        for answer in ["", ":P", "old"] {
            let answer = match answer {
                "old" => format!("{challenge}:Q"),
                answer => answer.to_owned(),
            };
            let reply = ask(&mut server, handshake(&answer)).remove(0);
            assert_eq!(reply["successful"], false);
            assert_eq!(reply["advice"], json!({"reconnect": "handshake"}));
            let next = reply["ext"]["authentication"]["challenge"].as_str();
            assert_ne!(next, Some(challenge.as_str()));
            challenge = next.unwrap().to_owned();
        }
        let answer = format!("{challenge}:P");
        assert_eq!(ask(&mut server, handshake(&answer))[0]["successful"], true);
        assert_eq!(
            ask(&mut server, handshake(&answer))[0]["successful"],
            false,
            "good for once"
        );
    }

    #[test]
    fn a_handshake_needs_one_of_the_authorizations() {
        let mut server = server_with(Settings {
            authorizations: vec!["Bearer T".into(), "Basic dTpw".into()],
            ..Settings::default()
        });
        let handshake = json!({"channel": META_HANDSHAKE, "id": "1"});
        for (authorization, successful) in [
            (None, false),
            (Some("Bearer X"), false),
            (Some("Bearer T"), true),
            (Some("Basic dTpw"), true),
        ] {
            let sender = Sender {
                authorization: authorization.map(Into::into),
                ..Sender::default()
            };
            let Outcome::Answer(answer) = receive_from(&mut server, &sender, &handshake) else {
                panic!("held");
            };
            let reply = values(&answer.messages).remove(0);
            assert_eq!(reply["successful"], successful, "{authorization:?}");
            if !successful {
                assert_eq!(reply["error"], "403::handshake_denied");
                assert_eq!(reply["advice"], json!({"reconnect": "none"}));
            }
        }
        assert_eq!(server.session_count(), 2);
    }

    #[test]
    fn a_session_is_bound_to_its_cookie() {
        let mut server = server_with(Settings {
            cookie: true,
            ..Settings::default()
        });
        let handshake = json!({"channel": META_HANDSHAKE});
        let outcome = receive_from(&mut server, &Sender::default(), &handshake);
        let Outcome::Answer(answer) = outcome else {
            panic!("held");
        };
        let client = values(&answer.messages)[0]["clientId"].clone();
        let connect = json!({"channel": META_CONNECT, "clientId": client});
        let replies = ask(&mut server, connect.clone());
        assert_eq!(replies[0]["error"], "402::session_unknown");
        let sender = Sender {
            browser: answer.browser,
            ..Sender::default()
        };
        let Outcome::Answer(answer) = receive_from(&mut server, &sender, &connect) else {
            panic!("held");
        };
        assert_eq!(values(&answer.messages)[0]["successful"], true);
        // The cookie is kept by a second handshake.
        let Outcome::Answer(answer) = receive_from(&mut server, &sender, &handshake) else {
            panic!("held");
        };
        assert_eq!(answer.browser, sender.browser);
    }

    #[test]
    fn an_unknown_session_is_told_to_handshake() {
        let mut server = server();
        let connect = json!({"channel": META_CONNECT, "id": "1", "clientId": "nobody"});
        assert_eq!(
            ask(&mut server, connect),
            [json!({
                "channel": META_CONNECT, "id": "1", "successful": false,
                "error": "402::session_unknown",
                "advice": {"reconnect": "handshake", "interval": 0},
            })]
        );
        for channel in [META_SUBSCRIBE, META_UNSUBSCRIBE, META_DISCONNECT, "/a"] {
            let reply = ask(&mut server, json!({"channel": channel, "data": 1})).remove(0);
            assert_eq!(reply["error"], "402::session_unknown", "{channel}");
            assert_eq!(reply["advice"], json!({"reconnect": "handshake"}));
        }
    }

    #[test]
    fn events_come_before_the_reply_of_the_held_connect() {
        let mut server = server();
        let client = join(&mut server);
        subscribe(&mut server, &client, json!(["/a", "/b/**"]));
        let mut held = hold(&mut server, &client);
        assert_eq!(held.timeout, Duration::from_secs(10));
        assert!(!is_woken(&mut held));
        publish(&mut server, &client, "/c", json!(0));
        assert!(!is_woken(&mut held));
        let reply = publish(&mut server, &client, "/a", json!(1));
        assert_eq!(reply, json!({"channel": "/a", "id": 1, "successful": true}));
        assert!(is_woken(&mut held));
        publish(&mut server, &client, "/b/c/d", Value::Null);
        let messages = server.finish(&held).unwrap();
        assert_eq!(
            values(&messages),
            [
                json!({"channel": "/a", "data": 1}),
                json!({"channel": "/b/c/d", "data": null}),
                json!({"channel": META_CONNECT, "id": "h", "successful": true}),
            ]
        );
    }

    #[test]
    fn a_connect_is_answered_at_once_when_events_wait() {
        let mut server = server();
        let client = join(&mut server);
        subscribe(&mut server, &client, json!("/a"));
        publish(&mut server, &client, "/a", json!(1));
        let connect = json!({"channel": META_CONNECT, "clientId": client});
        let replies = ask(&mut server, connect);
        assert_eq!(replies.len(), 2);
        assert_eq!(replies[1].get("advice"), None);
    }

    #[test]
    fn a_held_connect_is_replaced_by_a_newer_one() {
        let mut server = server();
        let client = join(&mut server);
        let mut older = hold(&mut server, &client);
        let mut newer = hold(&mut server, &client);
        assert!(is_woken(&mut older));
        assert_eq!(server.finish(&older), Err(Replaced));
        assert!(!is_woken(&mut newer));
        assert_eq!(server.finish(&newer).unwrap().len(), 1);
    }

    #[test]
    fn a_connect_in_a_batch_is_not_held() {
        let mut server = server();
        let client = join(&mut server);
        let replies = ask(
            &mut server,
            json!([
                {"channel": META_SUBSCRIBE, "clientId": client, "subscription": "/a", "id": 1},
                {"channel": "/a", "clientId": client, "data": "x", "id": 2},
                {"channel": META_CONNECT, "clientId": client, "id": 3},
            ]),
        );
        let channels: Vec<_> = replies.iter().map(|reply| &reply["channel"]).collect();
        assert_eq!(channels, [META_SUBSCRIBE, "/a", "/a", META_CONNECT]);
        assert_eq!(replies[2]["data"], "x");
    }

    #[test]
    fn one_refused_channel_refuses_the_whole_subscribe() {
        let mut server = server();
        let client = join(&mut server);
        let reply = subscribe(&mut server, &client, json!(["/a", "/denied/x"]));
        assert_eq!(reply["successful"], false);
        assert_eq!(reply["error"], SUBSCRIBE_DENIED);
        assert_eq!(reply["subscription"], json!(["/a", "/denied/x"]));
        let reply = subscribe(&mut server, &client, json!(["/a", "b"]));
        assert_eq!(reply["error"], CHANNEL_INVALID);
        let reply = subscribe(&mut server, &client, json!("/meta/connect"));
        assert_eq!(reply["error"], SUBSCRIBE_DENIED);
        publish(&mut server, &client, "/a", json!(1));
        hold(&mut server, &client);
        let reply = subscribe(&mut server, &client, json!("/**"));
        assert_eq!(reply["successful"], true);
    }

    #[test]
    fn unsubscribe_stops_the_events() {
        let mut server = server();
        let client = join(&mut server);
        subscribe(&mut server, &client, json!("/a"));
        let message =
            json!({"channel": META_UNSUBSCRIBE, "clientId": client, "subscription": "/a"});
        let reply = ask(&mut server, message).remove(0);
        assert_eq!(reply["successful"], true);
        assert_eq!(reply["subscription"], "/a");
        publish(&mut server, &client, "/a", json!(1));
        hold(&mut server, &client);
    }

    #[test]
    fn refused_publishes() {
        let mut server = server();
        let client = join(&mut server);
        for (channel, error) in [
            ("/denied", PUBLISH_DENIED),
            ("/a/*", PUBLISH_DENIED),
            ("/meta/other", PUBLISH_DENIED),
            ("a", CHANNEL_INVALID),
        ] {
            let reply = publish(&mut server, &client, channel, json!(1));
            assert_eq!(reply["error"], error, "{channel}");
            assert_eq!(reply["successful"], false);
        }
        let reply = ask(&mut server, json!({"channel": "/a", "clientId": client})).remove(0);
        assert_eq!(reply["error"], "400::data_missing");
        let reply = ask(&mut server, json!({"id": 9})).remove(0);
        assert_eq!(
            reply,
            json!({"id": 9, "successful": false, "error": "400::channel_missing"})
        );
    }

    #[test]
    fn the_echo_goes_to_its_session_only() {
        let mut server = server();
        let (client, other) = (join(&mut server), join(&mut server));
        subscribe(&mut server, &other, json!("/service/echo"));
        let held = hold(&mut server, &client);
        let mut other_held = hold(&mut server, &other);
        let reply = publish(&mut server, &client, "/service/echo", json!({"x": [1]}));
        assert_eq!(
            reply,
            json!({"channel": "/service/echo", "id": 1, "successful": true})
        );
        let messages = server.finish(&held).unwrap();
        assert_eq!(
            &*messages[0],
            r#"{"channel":"/service/echo","id":1,"successful":true,"data":{"x":[1]}}"#
        );
        assert!(!is_woken(&mut other_held));
    }

    #[test]
    fn a_client_disconnects() {
        let mut server = server();
        let client = join(&mut server);
        let mut held = hold(&mut server, &client);
        let disconnect = json!({"channel": META_DISCONNECT, "clientId": client, "id": "d"});
        assert_eq!(
            ask(&mut server, disconnect.clone()),
            [json!({"channel": META_DISCONNECT, "id": "d", "successful": true})]
        );
        assert_eq!(server.session_count(), 0);
        assert!(is_woken(&mut held));
        assert_eq!(
            values(&server.finish(&held).unwrap()),
            [json!({
                "channel": META_CONNECT, "id": "h", "successful": true,
                "advice": {"reconnect": "none"},
            })]
        );
        let reply = ask(&mut server, disconnect).remove(0);
        assert_eq!(reply["error"], "402::session_unknown");
    }

    #[test]
    fn the_server_disconnects_all() {
        let mut server = server();
        let (holding, late) = (join(&mut server), join(&mut server));
        subscribe(&mut server, &late, json!("/a"));
        let held = hold(&mut server, &holding);
        publish(&mut server, &holding, "/a", json!(1));
        assert_eq!(server.disconnect_all(), 2);
        assert_eq!(server.session_count(), 0);
        let farewell = json!({"channel": META_DISCONNECT, "successful": true});
        let advice = json!({"reconnect": "none"});
        let replies = values(&server.finish(&held).unwrap());
        assert_eq!((&replies[0], &replies[1]["advice"]), (&farewell, &advice));
        // A publish finds no session, but the next connect is told why.
        let reply = publish(&mut server, &late, "/a", json!(2));
        assert_eq!(reply["error"], "402::session_unknown");
        let connect = json!({"channel": META_CONNECT, "clientId": late});
        let replies = ask(&mut server, connect.clone());
        assert_eq!(replies[0], json!({"channel": "/a", "data": 1}));
        assert_eq!((&replies[1], &replies[2]["advice"]), (&farewell, &advice));
        let reply = ask(&mut server, connect).remove(0);
        assert_eq!(reply["error"], "402::session_unknown");
    }

    #[test]
    fn forgotten_sessions_have_to_handshake() {
        let mut server = server();
        let client = join(&mut server);
        let mut held = hold(&mut server, &client);
        assert_eq!(server.forget_all(), 1);
        assert!(is_woken(&mut held));
        let replies = values(&server.finish(&held).unwrap());
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0]["id"], "h");
        assert_eq!(replies[0]["error"], "402::session_unknown");
        assert_eq!(replies[0]["advice"]["reconnect"], "handshake");
    }

    #[test]
    fn a_session_without_connect_is_swept() {
        let mut server = server();
        let (holding, silent) = (join(&mut server), join(&mut server));
        let held = hold(&mut server, &holding);
        server.sweep(Instant::now() + Duration::from_secs(9));
        assert_eq!(server.session_count(), 2);
        server.sweep(Instant::now() + Duration::from_secs(11));
        assert_eq!(server.session_count(), 1);
        let reply = publish(&mut server, &silent, "/a", json!(1));
        assert_eq!(reply["error"], "402::session_unknown");
        assert_eq!(server.finish(&held).unwrap().len(), 1);
    }

    #[test]
    fn the_time_is_told_with_replies_of_the_meta_channels() {
        let mut server = server();
        let ext = json!({"timesync": {"tc": 5, "l": 0, "o": 0}});
        let handshake = json!({"channel": META_HANDSHAKE, "ext": ext});
        let reply = ask(&mut server, handshake).remove(0);
        assert_eq!(reply["ext"]["timesync"]["tc"], 5);
        let client = reply["clientId"].as_str().unwrap().to_owned();
        for channel in [META_CONNECT, META_SUBSCRIBE, "/a", META_DISCONNECT] {
            let message = json!({"channel": channel, "clientId": client, "ext": ext,
                "subscription": "/b", "data": 1});
            let reply = ask(&mut server, message).remove(0);
            assert_eq!(reply["successful"], true, "{channel}");
            let timesync = reply.pointer("/ext/timesync");
            assert_eq!(timesync.is_some(), channel != "/a", "{channel}");
        }
    }

    #[test]
    fn replays() {
        let mut server = server_with(Settings {
            retain: 2,
            ..Settings::default()
        });
        let handshake = json!({"channel": META_HANDSHAKE, "ext": {"ack": true, "replay": true}});
        let reply = ask(&mut server, handshake).remove(0);
        assert_eq!(reply["ext"], json!({"ack": true, "replay": true}));
        let client = reply["clientId"].as_str().unwrap().to_owned();
        for n in 0..3 {
            publish(&mut server, &client, "/event/a", json!({ "n": n }));
        }
        let mut subscribe = |after: i64| {
            let message = json!({"channel": META_SUBSCRIBE, "clientId": client,
                "subscription": "/event/a?x=y", "ext": {"replay": {"/event/a": after}}});
            ask(&mut server, message).remove(0)
        };
        let refused = subscribe(0);
        assert_eq!(refused["successful"], false);
        assert_eq!(
            refused["error"],
            "400::The replayId {0} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
        );
        assert_eq!(subscribe(2)["successful"], true);
        publish(&mut server, &client, "/event/a", json!(7));
        let connect = json!({"channel": META_CONNECT, "clientId": client});
        let replies = ask(&mut server, connect);
        assert_eq!(
            replies[0]["data"],
            json!({"n": 2, "event": {"replayId": 3}})
        );
        assert_eq!(
            replies[1]["data"],
            json!({"payload": 7, "event": {"replayId": 4}})
        );
        assert_eq!(replies.len(), 3);
    }

    #[test]
    fn acknowledgements() {
        let mut server = server();
        let handshake = json!({"channel": META_HANDSHAKE, "ext": {"ack": true}});
        let reply = ask(&mut server, handshake).remove(0);
        assert_eq!(reply["ext"], json!({"ack": true}));
        let client = reply["clientId"].as_str().unwrap().to_owned();
        subscribe(&mut server, &client, json!("/a"));
        publish(&mut server, &client, "/a", json!(1));
        let mut connect = |ack: u64| {
            let message = json!({"channel": META_CONNECT, "clientId": client, "ext": {"ack": ack},
                "advice": {"timeout": 0}});
            ask(&mut server, message)
        };
        let replies = connect(0);
        assert_eq!(replies[0]["data"], 1);
        assert_eq!(replies[1]["ext"], json!({"ack": 1}));
        // The reply was lost: the same again.
        let replies = connect(0);
        assert_eq!(replies[0]["data"], 1);
        assert_eq!(replies[1]["ext"], json!({"ack": 2}));
        let replies = connect(2);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0]["ext"], json!({"ack": 3}));
    }
}
