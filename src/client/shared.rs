//! What the host's side of a client and its task share, and what is told to
//! the host from there.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use hyper::header::HeaderValue;
use tokio::sync::Notify;

use super::board::Board;
use super::handover::Outbox;
use super::opaques::Opaques;
use super::outcomes::{outcome_of, Outcomes};
use super::replay::Positions;
use super::statistics::Counters;
use crate::bayeux::error_text::one_line;
use crate::bayeux::{Body, ConnectionType};
use crate::delivery::{Hub, Notice};
use crate::error::{Error, ErrorKind, Phase};
use crate::runtime::lock;
use crate::session::{Command, Endpoint, Event, Server, State};
use crate::transport::authorization::Authorization;
use crate::transport::endpoints::Endpoints;
use crate::transport::http::LongPolling;
use crate::transport::leniencies::{Leniencies, Leniency};
use crate::transport::secrets::Secrets;

/// A URL in a message is cut here.
const MAXIMUM_SHOWN: usize = 300;

/// What the host's side and the task share.
pub(crate) struct Shared {
    /// What the client is called.
    pub(super) name: Arc<str>,
    /// Where the last request went.
    pub(super) server: Mutex<(Server, Arc<Endpoints>)>,
    /// Of the session that there is.
    pub(super) session_id: Mutex<Option<Box<str>>>,
    /// Of the client itself, since it was last connected.
    pub(super) last_error: Mutex<Option<Box<Error>>>,
    pub(super) hub: Hub,
    pub(super) board: Board,
    pub(super) authorization: Arc<Authorization>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) mailbox: Mutex<Mailbox>,
    pub(super) commands_came: Notify,
    pub(super) is_freed: AtomicBool,
    /// Messages accepted of the host whose ending event is not yet queued.
    pub(super) outstanding: AtomicUsize,
    /// Who waits for those events.
    pub(super) outcomes: Outcomes,
    pub(super) opaques: Opaques,
    pub(super) commands_capacity: usize,
    pub(super) last_operation: AtomicU64,
    pub(super) counters: Counters,
    /// Over which the last reply came, as [`number_of`] has it; 0: none has.
    pub(super) transport: AtomicU8,
    pub(super) leniencies: Arc<Leniencies>,
    /// Once its session was asked for.
    pub(super) outbox: OnceLock<Box<Outbox>>,
    /// With the replay extension.
    pub(super) positions: Option<Box<Positions>>,
}

/// Commands on their way to the session.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) commands: Vec<Command>,
    /// How many batches are open, one inside the other.
    pub(super) batches: u32,
    pub(super) batched: Vec<Command>,
    /// The session is to know of new credentials.
    pub(super) has_new_credentials: bool,
}

impl Mailbox {
    /// Sends off what the open batches have collected so far.
    pub(super) fn post_batch(&mut self) {
        if !self.batched.is_empty() {
            let batch = std::mem::take(&mut self.batched);
            self.commands.push(Command::Batch(batch));
        }
    }
}

impl Shared {
    /// A reply has come over this one.
    pub(super) fn transport_is(&self, transport: ConnectionType) {
        match self.transport() {
            Some(before) if before == transport => return,
            Some(_) => self.counters.transport_changed(),
            None => {}
        }
        self.transport
            .store(number_of(transport), Ordering::Relaxed);
    }

    /// Over which the last reply came.
    pub(super) fn transport(&self) -> Option<ConnectionType> {
        let number = self.transport.load(Ordering::Relaxed);
        [ConnectionType::LongPolling, ConnectionType::WebSocket]
            .into_iter()
            .find(|it| number_of(*it) == number)
    }

    /// Tells every receiver, and whoever waits for a state.
    pub(super) fn publish(&self, mut event: Event) {
        if let Some(ext) = ext_of(&mut event) {
            Self::bound(ext);
        }
        if outcome_of(&event).is_some() {
            self.outstanding.fetch_sub(1, Ordering::SeqCst);
        }
        match &mut event {
            Event::Result { error, .. } => {
                if let Some(error) = error {
                    self.redact(error);
                    self.identify(error);
                }
            }
            // A renewed one is not the end of an operation.
            Event::Subscribed { renewed: true, .. } => {}
            Event::Subscribed { channel, .. } => {
                if let Some(positions) = &self.positions {
                    positions.accepted(channel);
                }
            }
            Event::Unsubscribed { .. } | Event::Published { .. } => {}
            Event::Error { id, error } => {
                self.redact(error);
                if *id == 0 {
                    self.counters.failed(error);
                }
                // With a further try to come it is not the end of a subscribe.
                if error.phase == Phase::Subscribe && error.retry_in.is_none() {
                    if let (Some(positions), Some(channel)) = (&self.positions, &error.channel) {
                        match *id {
                            0 => positions.ended(channel),
                            _ => positions.refused(channel),
                        }
                    }
                }
                if error.kind == ErrorKind::Timeout && error.phase == Phase::Disconnect {
                    self.board.note_disconnect_timeout();
                }
                let message = error.logged();
                self.identify(error);
                tracing::warn!(
                    target: "cometd::client",
                    fatal = error.fatal,
                    url = error.url.as_deref(),
                    "{message}"
                );
                // A renewal that failed keeps no client from being connected.
                if *id == 0 && !error.phase.is_of_commands() {
                    *lock(&self.last_error) = Some(error.clone());
                }
            }
            Event::State {
                state, previous, ..
            } => {
                let (state, previous) = (*state, *previous);
                tracing::info!(target: "cometd::client", ?previous, ?state, "state");
                self.counters.entered(state);
                if state == State::Connected {
                    *lock(&self.last_error) = None;
                }
                // The last one is told together with the end.
                if state != State::Closed {
                    self.board.enter(state, |_| self.hub.publish(event));
                }
                return;
            }
            Event::Messages { range, .. } => self.counters.events(range.len()),
            Event::Advice { .. } => {}
            Event::Closed => {
                // Under the lock under which commands are accepted: what came
                // too late for the session ends here, and none comes after.
                let mut mailbox = lock(&self.mailbox);
                mailbox.post_batch();
                for mut late in mailbox.commands.drain(..).flat_map(Command::into_aborted) {
                    self.outstanding.fetch_sub(1, Ordering::SeqCst);
                    if let Event::Error { error, .. } = &mut late {
                        self.identify(error);
                    }
                    self.tell(late);
                }
                for flush in self.outcomes.end() {
                    self.tell_of_call(flush.into_notice(&self.name));
                }
                if let Some(outbox) = self.outbox.get() {
                    for notice in outbox.unanswered(&self.name) {
                        self.tell_of_call(notice);
                    }
                }
                if let Some(mut error) = self.outcomes.in_vain(self.hub.failed_publishes()) {
                    self.identify(&mut error);
                    *lock(&self.last_error) = Some(Box::new(error.clone()));
                    self.tell(Event::Error {
                        id: 0,
                        error: Box::new(error),
                    });
                }
                self.board.enter(State::Closed, |previous| {
                    self.hub.publish(Event::State {
                        state: State::Closed,
                        previous,
                        ext: None,
                    });
                    self.tell(event);
                    self.hub.wake();
                });
                if let Some(outbox) = self.outbox.get() {
                    outbox.ended();
                }
                return;
            }
        }
        self.tell(event);
    }

    fn tell(&self, event: Event) {
        let outcome = outcome_of(&event);
        let opaque = self.opaques.of(&event);
        let ends = self.outcomes.is_last(outcome);
        self.hub.publish_of_call(event, opaque, ends);
        // Who has waited for it finds it.
        for flush in self.outcomes.told(outcome) {
            self.tell_of_call(flush.into_notice(&self.name));
        }
    }

    /// The end of a call that is no message.
    pub(super) fn tell_of_call(&self, notice: Notice) {
        self.outstanding.fetch_sub(1, Ordering::SeqCst);
        self.hub.tell(notice);
    }

    /// What an extension has done wrong stays with it.
    pub(super) fn extension_failed(&self, direction: &str, why: &str) {
        self.counters.extension_failed();
        tracing::warn!(
            target: "cometd::client",
            "an extension failed for an {direction} message, which goes on as it was before: {why}"
        );
    }

    /// Tells of what was mended in a response.
    pub(super) fn note_leniencies(&self, body: &Body) {
        if body.replaced() > 0 {
            self.leniencies.took(
                Leniency::NotUtf8,
                format_args!(
                    "a response is no UTF-8 in {} places, where U+FFFD stands now",
                    body.replaced()
                ),
            );
        }
    }

    /// Says which client it was, and where.
    pub(super) fn identify(&self, error: &mut Error) {
        let url = self.url(endpoint_of(error.phase));
        let shown = one_line(&url, MAXIMUM_SHOWN);
        error
            .message
            .push_str(&format!(" [{}, {shown}]", self.name));
        error.client = Some(self.name.clone());
        error.url = Some(url.into());
    }

    /// Without userinfo and query.
    pub(super) fn url(&self, endpoint: Endpoint) -> String {
        let server = lock(&self.server);
        let mut url = server.1.target(endpoint).shown();
        if matches!(server.0, Server::Advised(_)) {
            // What a server names may be anything, a secret that it was sent as
            // well.
            self.secrets.redact(&mut url);
        }
        url
    }

    /// Where the next request goes.
    pub(super) fn goes_to(&self, server: &Server, transport: &LongPolling) {
        let mut before = lock(&self.server);
        if before.0 != *server {
            if let Some(places) = transport.places(server.clone()) {
                *before = (server.clone(), places);
            }
        }
    }

    pub(super) fn session_is(&self, id: Option<&str>) {
        let mut session_id = lock(&self.session_id);
        if session_id.as_deref() != id {
            *session_id = id.map(Box::from);
        }
    }

    /// For the task, as long as there is one.
    pub(super) fn command(&self, command: Command) {
        let mut mailbox = lock(&self.mailbox);
        if self.board.state() == State::Closed {
            return;
        }
        // What an open batch holds was accepted before the end was asked for.
        mailbox.post_batch();
        mailbox.commands.push(command);
        drop(mailbox);
        self.commands_came.notify_one();
    }

    pub(super) fn take_commands(&self) -> Vec<Command> {
        let mut mailbox = lock(&self.mailbox);
        let mut commands = std::mem::take(&mut mailbox.commands);
        if std::mem::take(&mut mailbox.has_new_credentials) {
            commands.push(Command::NewCredentials);
        }
        commands
    }

    /// However often, before the session hears of it: one is as good as many.
    pub(super) fn set_authorization(&self, value: HeaderValue) {
        self.authorization.set(value);
        lock(&self.mailbox).has_new_credentials = true;
        self.commands_came.notify_one();
    }

    /// The host has freed the client: nothing of it is waited for.
    pub(super) fn free(&self) {
        self.is_freed.store(true, Ordering::SeqCst);
        self.commands_came.notify_one();
    }

    pub(super) fn was_freed(&self) -> bool {
        self.is_freed.load(Ordering::SeqCst)
    }

    pub(super) async fn freed(&self) {
        while !self.was_freed() {
            self.commands_came.notified().await;
        }
    }

    pub(super) async fn commands_came(&self) {
        self.commands_came.notified().await;
    }
}

/// Where the requests of a phase go.
fn endpoint_of(phase: Phase) -> Endpoint {
    match phase {
        Phase::Handshake => Endpoint::Handshake,
        Phase::Connect => Endpoint::Connect,
        Phase::Disconnect => Endpoint::Disconnect,
        Phase::Subscribe | Phase::Unsubscribe | Phase::Publish | Phase::Call => Endpoint::Messages,
    }
}

fn number_of(transport: ConnectionType) -> u8 {
    match transport {
        ConnectionType::LongPolling => 1,
        ConnectionType::WebSocket => 2,
    }
}

fn ext_of(event: &mut Event) -> Option<&mut Option<Box<str>>> {
    match event {
        Event::State { ext, .. }
        | Event::Subscribed { ext, .. }
        | Event::Unsubscribed { ext, .. }
        | Event::Published { ext, .. }
        | Event::Result { ext, .. } => Some(ext),
        Event::Messages { .. } | Event::Advice { .. } | Event::Error { .. } | Event::Closed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Builder;
    use crate::delivery::{Notice, Polled};

    #[test]
    fn what_the_last_reply_came_over_is_told() {
        let builder = Builder::new("http://127.0.0.1:9/").unwrap();
        let client = builder.build().unwrap();
        assert_eq!(client.transport(), None);
        for (transport, name) in [
            (ConnectionType::WebSocket, "websocket"),
            (ConnectionType::LongPolling, "long-polling"),
        ] {
            client.shared.transport_is(transport);
            assert_eq!(client.transport(), Some(transport));
            assert_eq!(client.statistics().transport, Some(name));
        }
    }

    #[test]
    fn case_reason_elsewhere_a_part_of_a_reply_that_is_very_long_is_not_told() {
        let client = Builder::new("http://127.0.0.1:9/")
            .unwrap()
            .build()
            .unwrap();
        client.shared.outstanding.store(2, Ordering::SeqCst);
        let ext = |length: usize| Some(Box::from(format!("\"{}\"", "e".repeat(length - 2))));
        for (length, is_told) in [
            (Shared::MAXIMUM_PART, true),
            (Shared::MAXIMUM_PART + 1, false),
        ] {
            client.shared.publish(Event::Published {
                id: 1,
                channel: "/a".into(),
                ext: ext(length),
            });
            let mut error = Error::new(ErrorKind::Refused, Phase::Connect, "connect: refused");
            error.reply_ext = ext(length);
            error.reply_error = ext(length);
            let error = Box::new(error);
            client.shared.publish(Event::Error { id: 0, error });
            let queue = client.receiver().unwrap();
            for _ in 0..2 {
                let Polled::Event(crate::delivery::Event::Notice(notice)) = queue.poll(None) else {
                    panic!("nothing was told");
                };
                match &*notice {
                    Notice::Published { ext, .. } => assert_eq!(ext.is_some(), is_told),
                    Notice::Error { error, .. } => {
                        assert_eq!(error.reply_ext.is_some(), is_told);
                        assert_eq!(error.reply_error.is_some(), is_told);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn case_never_works_a_renewal_that_failed_is_no_reason_to_wait() {
        let client = Builder::new("http://127.0.0.1:9/")
            .unwrap()
            .build()
            .unwrap();
        let fails = |phase: Phase| {
            let error = Box::new(Error::new(ErrorKind::Refused, phase, "it failed"));
            client.shared.publish(Event::Error { id: 0, error });
            client.last_error().map(|it| it.phase)
        };
        assert_eq!(fails(Phase::Subscribe), None);
        assert_eq!(fails(Phase::Connect), Some(Phase::Connect));
        assert_eq!(fails(Phase::Subscribe), Some(Phase::Connect));
        assert_eq!(fails(Phase::Handshake), Some(Phase::Handshake));
    }

    #[test]
    fn a_host_that_a_server_names_shows_no_secret_in_capitals_contract_13() {
        let mut builder = Builder::new("http://127.0.0.1:9/cometd?q").unwrap();
        builder.set_bearer_token("Very-Secret-Token").unwrap();
        let client = builder.build().unwrap();
        for (host, shown) in [
            ("Other.example.com:8", "http://other.example.com:8/cometd"),
            (
                "Very-Secret-Token.example.com:8",
                "http://….example.com:8/cometd",
            ),
        ] {
            let server = Server::Advised(host.into());
            let unstarted = lock(&client.unstarted);
            let transport = &unstarted.as_ref().unwrap().transport;
            client.shared.goes_to(&server, transport);
            let mut error = Error::new(
                ErrorKind::Dns,
                Phase::Publish,
                "publish: dns lookup for very-secret-token.example.com:8: no",
            );
            client.shared.redact(&mut error);
            client.shared.identify(&mut error);
            assert!(!error.message.contains("very-secret-token"));
            assert_eq!(error.url.as_deref(), Some(shown));
            assert!(error.message.ends_with(&format!(", {shown}]")), "{error:?}");
        }
    }

    #[test]
    fn secrets_are_in_no_part_of_an_error_contract_13() {
        let mut builder = Builder::new("http://127.0.0.1:9/").unwrap();
        builder.set_bearer_token("very/secret/token").unwrap();
        let client = builder.build().unwrap();
        for (sent, told) in [
            (r#"{"a":["very/secret/token"]}"#, r#"{"a":["…"]}"#),
            (r#"{"a":"very\/secret\/token"}"#, r#""…""#),
            (r#"{"a":"very\u002fsecret/token"}"#, r#""…""#),
            (r#"{"a":"b\/c","d":1}"#, r#"{"a":"b\/c","d":1}"#),
        ] {
            let mut error = Error::new(ErrorKind::Refused, Phase::Connect, "connect: refused");
            error.reply_ext = Some(sent.into());
            error.reply_error = Some(sent.into());
            client.shared.redact(&mut error);
            assert_eq!(error.reply_ext.as_deref(), Some(told), "{sent}");
            assert_eq!(error.reply_error.as_deref(), Some(told), "{sent}");
        }
        // An error that is an object is told as it was written.
        for sent in [
            r#"{"a":"very\/secret\/token"}"#,
            r#"{"a":"\u0076ery\u002fsecret/token"}"#,
        ] {
            let message = format!("connect: refused: {sent}");
            let mut error = Error::new(ErrorKind::Refused, Phase::Connect, message);
            error.bayeux = Some(crate::bayeux::error_text::ErrorText::parse(sent));
            client.shared.redact(&mut error);
            assert_eq!(error.message, r#"connect: refused: {"a":"…"}"#);
            assert_eq!(error.bayeux.unwrap().text, r#"{"a":"…"}"#);
        }
        let message = r#"connect: refused: {"a":"b\/c"}"#;
        let mut error = Error::new(ErrorKind::Refused, Phase::Connect, message);
        client.shared.redact(&mut error);
        assert_eq!(error.message, message);
    }
}
