//! A client against a scripted peer, and what its host gets to see.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cometd::client::{Builder, Client, Waited};
use cometd::delivery::{Event, Notice, Polled, Queue};
use cometd::error::Error;
use cometd::session::State;
use cometd_peer::{Peer, Script};

/// Generous: tests wait for conditions, and this long only when they fail.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a host sees of an event, as one line.
pub fn line(event: &Event) -> String {
    match event {
        Event::Message(message) | Event::Tracked(message, _) => {
            let message = message.get().unwrap();
            let channel = message.channel().unwrap_or("?").to_owned();
            format!("message {channel} {}", message.data().unwrap_or("?"))
        }
        Event::Dropped(count) => format!("dropped {count}"),
        Event::Notice(notice) => match &**notice {
            Notice::State { state, .. } => format!("{state:?}"),
            Notice::Subscribed { id, channel, .. } => format!("subscribed {id} {channel}"),
            Notice::Unsubscribed { id, channel, .. } => format!("unsubscribed {id} {channel}"),
            Notice::Published { id, channel, .. } => format!("published {id} {channel}"),
            Notice::Closed => "CLOSED".into(),
            Notice::Error { id, error, .. } => {
                let id = match id {
                    0 => String::new(),
                    id => format!(" {id}"),
                };
                let fatal = if error.fatal { " fatal" } else { "" };
                let status = match error.http_status {
                    0 | 200 => String::new(),
                    status => format!(" {status}"),
                };
                format!(
                    "error{id} {} {:?}{status}{fatal}",
                    error.phase.name(),
                    error.kind
                )
            }
            other => format!("{other:?}"),
        },
    }
}

/// A client whose events are written down.
pub struct Host {
    pub client: Client,
    queue: Arc<Queue>,
    /// Everything that was seen.
    pub seen: Vec<String>,
    pub errors: Vec<Error>,
    /// How far `until` has looked.
    looked: usize,
}

impl Host {
    pub fn new(url: &str, configure: impl FnOnce(&mut Builder)) -> Self {
        let mut builder = Builder::new(url).unwrap();
        // Whatever the environment says.
        builder.set_proxy("").unwrap();
        configure(&mut builder);
        let client = builder.build().unwrap();
        let queue = client.receiver().unwrap().clone();
        Self {
            client,
            queue,
            seen: Vec::new(),
            errors: Vec::new(),
            looked: 0,
        }
    }

    /// Takes one event; false when none comes in time.
    pub fn take(&mut self, wait: Duration) -> bool {
        match self.queue.poll(Some(wait)) {
            Polled::Event(event) => {
                self.seen.push(line(&event));
                if let Event::Notice(notice) = &event {
                    if let Notice::Error { error, .. } = &**notice {
                        self.errors.push(error.clone());
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// Waits for an event that looks so and comes after the one waited for before.
    pub fn until(&mut self, wanted: &str, explain: impl Fn() -> Option<String>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(seen) = self.seen.get(self.looked) {
                self.looked += 1;
                if seen == wanted {
                    return;
                }
            }
            if let Some(why) = explain() {
                panic!(
                    "waiting for {wanted:?}: the peer says\n{why}\nseen: {:#?}",
                    self.seen
                );
            }
            if !self.take(Duration::from_millis(100)) && Instant::now() > deadline {
                panic!("{wanted:?} did not come; seen: {:#?}", self.seen);
            }
        }
    }

    /// What is there already.
    pub fn drain(&mut self) {
        while self.take(Duration::ZERO) {}
    }

    /// How often a line was seen.
    pub fn count(&self, wanted: &str) -> usize {
        self.seen.iter().filter(|seen| *seen == wanted).count()
    }

    pub fn error(&self, index: usize) -> &Error {
        &self.errors[index]
    }
}

/// A script, and a client that meets it.
pub struct Run {
    pub peer: Peer,
    pub host: Host,
}

impl Run {
    /// With backoffs of a few milliseconds.
    pub fn quick(script: impl Display) -> Self {
        Self::with(script, |builder| {
            backoff(builder, 5, 20);
        })
    }

    pub fn with(script: impl Display, configure: impl FnOnce(&mut Builder)) -> Self {
        let script = format!("base /cometd\nlimit 20000\n{script}");
        let script = Script::parse(&script).unwrap_or_else(|error| panic!("{error}\n{script}"));
        let peer = Peer::start(script).unwrap();
        let host = Host::new(&peer.url("/cometd"), configure);
        Self { peer, host }
    }

    /// Starts the client.
    pub fn start(mut self) -> Self {
        self.host.client.connect().unwrap();
        self.host.drain();
        self
    }

    pub fn until(&mut self, wanted: &str) -> &mut Self {
        let peer = &self.peer;
        self.host.until(wanted, || peer.failure());
        self
    }

    /// Waits until the peer has the labelled request, or reached the mark.
    pub fn requested(&mut self, label: &str) -> &mut Self {
        if let Err(why) = self.peer.wait_for(label) {
            self.host.drain();
            panic!("{why}\nseen: {:#?}", self.host.seen);
        }
        self
    }

    pub fn subscribe(&mut self, channels: &[&str]) -> u64 {
        let channels = channels.iter().map(|it| (*it).to_owned()).collect();
        self.host.client.subscribe(channels).unwrap()
    }

    pub fn publish(&mut self, channel: &str, data: &str) -> u64 {
        self.host.client.publish(channel, data.as_bytes()).unwrap()
    }

    /// Ends the session by the script's last steps: `expect disconnect`.
    pub fn disconnect(&mut self) -> &mut Self {
        self.host.client.disconnect(PATIENCE).unwrap();
        self.host.drain();
        self
    }

    /// The script must have been played to its end.
    pub fn played(&mut self) -> &mut Self {
        let outcome = self.peer.wait();
        self.host.drain();
        if let Err(why) = outcome {
            panic!("{why}\nseen: {:#?}", self.host.seen);
        }
        self
    }

    /// Everything seen, without the states' comings and goings.
    pub fn told(&mut self) -> Vec<&str> {
        self.host.drain();
        const STATES: [State; 7] = [
            State::Handshaking,
            State::Connecting,
            State::Connected,
            State::Unconnected,
            State::Rehandshaking,
            State::Disconnecting,
            State::Closed,
        ];
        let is_state = |seen: &str| STATES.iter().any(|state| format!("{state:?}") == seen);
        self.host
            .seen
            .iter()
            .map(String::as_str)
            .filter(|seen| !is_state(seen))
            .collect()
    }

    /// The client must close by itself.
    pub fn closes(&mut self) -> &mut Self {
        assert_eq!(
            self.host.client.wait(State::Closed, Some(PATIENCE)),
            Waited::Reached,
            "seen: {:#?}",
            self.host.seen
        );
        self.host.drain();
        self
    }
}

pub fn backoff(builder: &mut Builder, increment: u64, maximum: u64) {
    builder
        .set_backoff(
            Duration::from_millis(increment),
            Duration::from_millis(maximum),
        )
        .unwrap();
}

/// A handshake and the first connect.
pub const SESSION: &str = "
expect handshake
answer
expect connect at-once
answer
";

/// The end that `Run::disconnect` asks for, while a connect is held.
pub const END: &str = "
expect disconnect as end
answer end
answer held : [$ok{\"advice\":{\"reconnect\":\"none\"}}]
";
