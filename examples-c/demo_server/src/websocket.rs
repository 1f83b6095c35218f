//! The Bayeux server on WebSocket: the opening, and one socket from then on.
//!
//! As with CometD, each event has a frame of its own, events go before the
//! replies of the frame that caused them, and these share a frame.

use std::rc::Rc;
use std::slice;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Utf8Bytes};
use tokio_tungstenite::tungstenite::protocol::{Message as Frame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::WebSocketStream;

use crate::bayeux::{Bayeux, HandshakeNotAlone, HeldConnect, Outcome, Sender};
use crate::http::HttpResponse;
use crate::message::{Message, Text};
use crate::script::Record;
use crate::server::{self, Shared, MAXIMUM_BODY, PATH};

/// How long a client may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(1);

/// A request that becomes a WebSocket when its response has been sent.
#[derive(Debug)]
pub struct Upgrade {
    stream: OnUpgrade,
    headers: HeaderMap,
}

impl Upgrade {
    pub fn new<B>(request: &mut Request<B>) -> Self {
        Self {
            stream: hyper::upgrade::on(&mut *request),
            headers: request.headers().clone(),
        }
    }
}

/// Whether a request wants a WebSocket, be it by the rules or not.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// The response that opens the WebSocket, if the request keeps the rules.
pub fn response(headers: &HeaderMap) -> Option<HttpResponse> {
    if !has_token(headers, &CONNECTION, "upgrade") || headers.get(SEC_WEBSOCKET_VERSION)? != "13" {
        return None;
    }
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

/// Whether a field that is a list holds this word.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Serves a WebSocket until either side ends it.
pub async fn serve(upgrade: Upgrade, shared: &Shared) {
    // The client may have gone before the response was sent.
    let Ok(stream) = upgrade.stream.await else {
        return;
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAXIMUM_BODY))
        .max_frame_size(Some(MAXIMUM_BODY));
    let stream = TokioIo::new(stream);
    let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (announce, mut announced) = mpsc::unbounded_channel();
    let mut socket = Socket {
        stream,
        sender: Sender {
            socket: Some(announce),
            ..server::sender(&upgrade.headers)
        },
        headers: upgrade.headers,
        shared,
    };
    let mut held = JoinSet::new();
    loop {
        let turn = tokio::select! {
            frame = socket.stream.next() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    socket.receive(&text, &mut announced, &mut held).await
                }
                // Binary frames are ignored, and pings are answered already.
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(End::of(&error)),
                None => return,
            },
            Some(client_id) = announced.recv() => {
                let events = socket.pushed(&client_id);
                socket.send(&events, &[]).await
            }
            Some(Ok(connect)) = held.join_next() => socket.finish(&connect).await,
        };
        match turn {
            Ok(()) => {}
            Err(End::Cut) => return,
            Err(End::Close(code, reason)) => return socket.close(code, reason).await,
        }
    }
}

/// Why a socket ends.
#[derive(Debug)]
enum End {
    /// Without a word: it broke, or shall break.
    Cut,
    Close(CloseCode, String),
}

impl End {
    fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(why) => Self::Close(CloseCode::Size, why.to_string()),
            Error::Protocol(why) => Self::Close(CloseCode::Protocol, why.to_string()),
            Error::Utf8(why) => Self::Close(CloseCode::Invalid, why.clone()),
            _ => Self::Cut,
        }
    }

    fn violation() -> Self {
        Self::Close(CloseCode::Error, "bayeux protocol violation".to_owned())
    }
}

struct Socket<'a> {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    sender: Sender,
    /// Those of the opening request, which each frame is recorded with.
    headers: HeaderMap,
    shared: &'a Shared,
}

impl Socket<'_> {
    /// Handles the messages of one frame.
    async fn receive(
        &mut self,
        text: &str,
        announced: &mut mpsc::UnboundedReceiver<Rc<str>>,
        held: &mut JoinSet<HeldConnect>,
    ) -> Result<(), End> {
        let messages = Message::parse_all(text.as_bytes());
        self.shared.bayeux.borrow_mut().stats.requests += 1;
        let failure = {
            let mut script = self.shared.script.borrow_mut();
            script.record(Record::new(PATH, &self.headers, text.as_bytes()));
            let channels = messages.iter().flatten();
            let channels: Vec<&str> = channels
                .filter_map(|message| message.channel.as_deref())
                .collect();
            script.next_failure(&channels)
        };
        if let Some(failure) = failure {
            return Err(End::Close(CloseCode::Error, failure.status.to_string()));
        }
        let messages = match messages {
            Ok(messages) if !messages.is_empty() => messages,
            Ok(_) => return Err(End::violation()),
            Err(error) => return Err(End::Close(CloseCode::Error, error.to_string())),
        };
        let received = {
            let mut bayeux = self.shared.bayeux.borrow_mut();
            Received::of(&mut bayeux, &messages, &self.sender)
        };
        let mut received = received.map_err(|_| End::violation())?;
        for mut connect in received.held {
            held.spawn_local(async move {
                connect.wait().await;
                connect
            });
        }
        while let Ok(client_id) = announced.try_recv() {
            received.events.extend(self.pushed(&client_id));
        }
        self.send(&received.events, &received.replies).await
    }

    /// The events that a session has for this socket.
    fn pushed(&self, client_id: &str) -> Vec<Text> {
        let mut bayeux = self.shared.bayeux.borrow_mut();
        let socket = self.sender.socket.as_ref();
        socket.map_or_else(Vec::new, |socket| bayeux.take_pushed(client_id, socket))
    }

    /// Answers a connect that was held, unless a newer one has come.
    async fn finish(&mut self, connect: &HeldConnect) -> Result<(), End> {
        let answered = self.shared.bayeux.borrow_mut().finish(connect);
        match answered.as_deref() {
            Ok([events @ .., reply]) => self.send(events, slice::from_ref(reply)).await,
            _ => Ok(()),
        }
    }

    /// Sends each event in a frame, and then all replies in another one.
    async fn send(&mut self, events: &[Text], replies: &[Text]) -> Result<(), End> {
        if !events.is_empty() && self.shared.script.borrow_mut().take_loss() {
            return Err(End::Cut);
        }
        for messages in events.chunks(1).chain([replies]) {
            if !messages.is_empty() {
                let text = format!("[{}]", messages.join(","));
                let sent = self.stream.feed(Frame::text(text)).await;
                sent.map_err(|_| End::Cut)?;
            }
        }
        self.stream.flush().await.map_err(|_| End::Cut)
    }

    /// Closes in order: what the client still says is read, for a while.
    async fn close(&mut self, code: CloseCode, reason: String) {
        let frame = CloseFrame {
            code,
            reason: shortened(&reason),
        };
        let closing = async {
            if self.stream.close(Some(frame)).await.is_err() {
                return;
            }
            while let Some(frame) = self.stream.next().await {
                if matches!(frame, Ok(Frame::Close(_))) {
                    return;
                }
            }
            // Frames cannot be told apart any more. Bytes that are not read
            // would reset the connection, and the close frame would be lost.
            let mut bytes = [0; 4096];
            while let Ok(1..) = self.stream.get_mut().read(&mut bytes).await {}
        };
        // Over time is as good as an end.
        let _ = tokio::time::timeout(CLOSING, closing).await;
    }
}

/// The beginning of a reason that fits into a close frame.
fn shortened(reason: &str) -> Utf8Bytes {
    const MAXIMUM: usize = 123;
    let ends = reason.char_indices().map(|(at, it)| at + it.len_utf8());
    let end = ends.take_while(|end| *end <= MAXIMUM).last();
    reason.get(..end.unwrap_or(0)).unwrap_or_default().into()
}

/// What the messages of one frame have led to.
#[derive(Debug, Default)]
struct Received {
    events: Vec<Text>,
    replies: Vec<Text>,
    held: Vec<HeldConnect>,
}

impl Received {
    /// Unlike a request, a frame may be answered in parts: a connect is held
    /// whatever comes with it.
    fn of(
        bayeux: &mut Bayeux,
        messages: &[Message],
        sender: &Sender,
    ) -> Result<Self, HandshakeNotAlone> {
        HandshakeNotAlone::check(messages)?;
        let mut received = Self::default();
        for message in messages {
            match bayeux.receive(slice::from_ref(message), sender)? {
                Outcome::Hold(connect) => received.held.push(connect),
                Outcome::Answer(mut answer) => {
                    received.replies.extend(answer.messages.pop());
                    received.events.append(&mut answer.messages);
                }
            }
        }
        Ok(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::Future;

    use serde_json::{json, Value};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio::task::{spawn_local, LocalSet};
    use tokio_tungstenite::client_async;

    use crate::bayeux::{Settings, Transports};
    use crate::script::{Failure, Script};

    fn settings() -> Settings {
        Settings {
            timeout: Duration::from_secs(60),
            max_interval: Duration::from_secs(60),
            ..Settings::default()
        }
    }

    /// Runs a test against a server.
    fn with_server<F: Future<Output = ()>>(
        settings: Settings,
        test: impl FnOnce(u16, Rc<Shared>) -> F,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = crate::http::listen((std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let port = listener.local_addr().unwrap().port();
            let (restart, restarts) = mpsc::unbounded_channel();
            let shared = Rc::new(Shared {
                bayeux: RefCell::new(Bayeux::new(settings)),
                script: RefCell::new(Script::default()),
                restart,
            });
            spawn_local(server::serve(listener, Rc::clone(&shared), restarts));
            let test = tokio::time::timeout(Duration::from_secs(60), test(port, shared));
            test.await.expect("the test waits for ever");
        });
    }

    struct Client {
        stream: WebSocketStream<TcpStream>,
        port: u16,
        id: Value,
    }

    impl Client {
        async fn open(port: u16) -> Self {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (stream, _) = client_async("ws://127.0.0.1/cometd", stream).await.unwrap();
            Self {
                stream,
                port,
                id: Value::Null,
            }
        }

        /// With a session that has connected once.
        async fn join(port: u16, ext: Value) -> Self {
            let mut client = Self::open(port).await;
            let handshake = json!([{"channel": "/meta/handshake", "id": "1", "ext": ext}]);
            let replies = client.ask(handshake).await;
            client.id = replies[0]["clientId"].clone();
            let connected = client.ask(client.connect("2", 0)).await;
            assert_eq!(connected[0]["successful"], true);
            client
        }

        /// Takes the session to a new socket, without closing the old one.
        async fn reopen(self) -> Self {
            let Self { port, id, .. } = self;
            drop(self.stream);
            Self {
                id,
                ..Self::open(port).await
            }
        }

        fn connect(&self, id: &str, batch: u64) -> Value {
            json!([{"channel": "/meta/connect", "id": id, "clientId": self.id,
                    "ext": {"ack": batch}}])
        }

        fn message(&self, channel: &str, id: &str) -> Value {
            json!({"channel": channel, "id": id, "clientId": self.id, "subscription": "/a",
                   "data": id})
        }

        async fn say(&mut self, messages: Value) {
            let text = messages.to_string();
            self.stream.send(Frame::text(text)).await.unwrap();
        }

        /// The messages of the next frame.
        async fn hear(&mut self) -> Value {
            match self.stream.next().await {
                Some(Ok(Frame::Text(text))) => serde_json::from_str(&text).unwrap(),
                other => panic!("{other:?}"),
            }
        }

        async fn ask(&mut self, messages: Value) -> Value {
            self.say(messages).await;
            self.hear().await
        }

        async fn subscribe(&mut self) {
            let reply = self.ask(self.message("/meta/subscribe", "s")).await;
            assert_eq!(reply[0]["successful"], true);
        }

        /// The code and the reason with which the server closes.
        async fn closed(&mut self) -> (u16, String) {
            match self.stream.next().await {
                Some(Ok(Frame::Close(Some(frame)))) => {
                    (frame.code.into(), frame.reason.to_string())
                }
                other => panic!("{other:?}"),
            }
        }

        async fn is_cut(&mut self) -> bool {
            matches!(self.stream.next().await, None | Some(Err(_)))
        }
    }

    fn publish(shared: &Shared, data: u8) {
        let data = serde_json::value::to_raw_value(&data).unwrap();
        shared.bayeux.borrow_mut().broadcast("/a", &data);
    }

    fn event(data: impl Into<Value>) -> Value {
        json!([{"channel": "/a", "data": data.into()}])
    }

    /// The status of the response to a request, and all of it.
    async fn status(port: u16, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|it| it == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        let text = String::from_utf8(bytes).unwrap();
        (text[9..12].parse().unwrap(), text)
    }

    fn opening(path: &str, rest: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n{rest}\r\n")
    }

    const RULES: &str = "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    #[test]
    fn it_opens_at_the_url_and_nowhere_else() {
        with_server(settings(), |port, shared| async move {
            let (opened, head) = status(port, &opening("/cometd", RULES)).await;
            assert_eq!(opened, 101);
            // The example of RFC 6455.
            assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
            assert_eq!(status(port, &opening("/cometd?a=b", RULES)).await.0, 101);
            for path in ["/cometd/", "/cometd/handshake", "/other"] {
                assert_eq!(status(port, &opening(path, RULES)).await.0, 400, "{path}");
            }
            for rule in RULES.lines() {
                let broken = RULES.replace(&format!("{rule}\r\n"), "");
                let request = opening("/cometd", &broken);
                assert_eq!(status(port, &request).await.0, 400, "{rule}");
            }
            assert_eq!(shared.bayeux.borrow().stats.upgrades, 2);
        });
    }

    #[test]
    fn a_transport_that_is_not_offered_is_refused() {
        let post = "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]";
        for (websocket, statuses) in [(false, (400, 200)), (true, (101, 400))] {
            let transports = Transports {
                long_polling: !websocket,
                websocket,
            };
            let settings = Settings {
                transports,
                ..settings()
            };
            with_server(settings, |port, _| async move {
                let opened = status(port, &opening("/cometd", RULES)).await.0;
                assert_eq!((opened, status(port, post).await.0), statuses);
            });
        }
    }

    #[test]
    fn an_opening_fails_as_the_script_says_and_brings_its_cookie() {
        with_server(settings(), |port, shared| async move {
            let failure = Failure {
                status: StatusCode::SERVICE_UNAVAILABLE,
                count: 1,
                on: Some("upgrade".into()),
                retry_after: Some(HeaderValue::from_static("5")),
                set_cookie: None,
            };
            shared.script.borrow_mut().add_failure(failure);
            let cookie = HeaderValue::from_static("a=b");
            shared.script.borrow_mut().set_cookie(cookie);
            let (refused, head) = status(port, &opening("/cometd", RULES)).await;
            assert_eq!(refused, 503);
            assert!(head.contains("retry-after: 5"), "{head}");
            assert!(head.contains("set-cookie: a=b"), "{head}");
            assert_eq!(status(port, &opening("/cometd", RULES)).await.0, 101);
        });
    }

    #[test]
    fn a_session_from_its_handshake_to_its_end() {
        with_server(settings(), |port, shared| async move {
            let mut client = Client::open(port).await;
            let replies = client.ask(json!([{"channel": "/meta/handshake"}])).await;
            assert_eq!(
                replies[0]["supportedConnectionTypes"],
                json!(["websocket", "long-polling"])
            );
            client.id = replies[0]["clientId"].clone();
            client.ask(client.connect("c", 0)).await;
            client.subscribe().await;
            client.say(client.connect("held", 0)).await;
            // Pushed one a frame, while the connect stays held.
            publish(&shared, 1);
            publish(&shared, 2);
            assert_eq!(client.hear().await, event(1));
            assert_eq!(client.hear().await, event(2));
            // Events before the replies, which share a frame.
            let both = json!([client.message("/a", "p"), client.message("/a", "q")]);
            assert_eq!(client.ask(both).await, event("p"));
            assert_eq!(client.hear().await, event("q"));
            let replies = client.hear().await;
            assert_eq!(
                (&replies[0]["id"], &replies[1]["id"]),
                (&json!("p"), &json!("q"))
            );
            let echo = client.ask(client.message("/service/echo", "e")).await;
            assert_eq!(echo[0]["data"], "e");
            assert_eq!(client.hear().await[0].get("data"), None);
            let reply = client.ask(client.message("/meta/disconnect", "d")).await;
            assert_eq!(reply[0]["id"], "d");
            let reply = client.hear().await;
            assert_eq!(reply[0]["id"], "held");
            assert_eq!(reply[0]["advice"]["reconnect"], "none");
            client.stream.close(None).await.unwrap();
            while let Some(frame) = client.stream.next().await {
                assert!(matches!(frame, Ok(Frame::Close(_))), "{frame:?}");
            }
        });
    }

    #[test]
    fn a_connect_that_does_not_travel_alone_is_held_too() {
        with_server(settings(), |port, _| async move {
            let mut client = Client::join(port, json!({})).await;
            let connect = client.connect("c", 0)[0].clone();
            let publish = client.message("/a", "p");
            let replies = client.ask(json!([connect, publish])).await;
            assert_eq!(replies.as_array().unwrap().len(), 1);
            assert_eq!(replies[0]["id"], "p");
        });
    }

    #[test]
    fn the_session_goes_on_over_a_new_socket_and_from_long_polling() {
        let settings = Settings {
            cookie: true,
            ..settings()
        };
        with_server(settings, |port, shared| async move {
            let mut client = Client::join(port, json!({})).await;
            client.subscribe().await;
            let mut client = client.reopen().await;
            publish(&shared, 1);
            client.say(client.connect("c", 0)).await;
            assert_eq!(client.hear().await, event(1));
            // By long polling its cookie would be needed.
            let sender = Sender {
                browser: Some("b".into()),
                ..Sender::default()
            };
            let handshake = Message::parse_all(br#"{"channel":"/meta/handshake"}"#).unwrap();
            let outcome = shared.bayeux.borrow_mut().receive(&handshake, &sender);
            let Ok(Outcome::Answer(answer)) = outcome else {
                panic!("{outcome:?}");
            };
            let reply: Value = serde_json::from_str(&answer.messages[0]).unwrap();
            client.id = reply["clientId"].clone();
            client.subscribe().await;
            publish(&shared, 2);
            // Both sessions live on this socket.
            assert_eq!(client.hear().await, event(2));
            assert_eq!(client.hear().await, event(2));
        });
    }

    #[test]
    fn with_acknowledgements_events_come_on_a_connect_s_turn() {
        with_server(settings(), |port, shared| async move {
            let mut client = Client::join(port, json!({"ack": true})).await;
            client.subscribe().await;
            publish(&shared, 1);
            assert_eq!(client.ask(client.connect("a", 1)).await, event(1));
            assert_eq!(client.hear().await[0]["ext"]["ack"], 2);
            // The reply got lost with the socket: the same again.
            let mut client = client.reopen().await;
            assert_eq!(client.ask(client.connect("b", 1)).await, event(1));
            assert_eq!(client.hear().await[0]["ext"]["ack"], 3);
            client.say(client.connect("c", 3)).await;
            let answer = client.ask(client.message("/meta/subscribe", "s")).await;
            assert_eq!(answer[0]["id"], "s");
            publish(&shared, 2);
            assert_eq!(client.hear().await, event(2));
            assert_eq!(client.hear().await[0]["id"], "c");
        });
    }

    #[test]
    fn the_server_s_farewell_is_three_frames() {
        with_server(settings(), |port, shared| async move {
            let mut client = Client::join(port, json!({})).await;
            client.subscribe().await;
            client.say(client.connect("c", 0)).await;
            let answer = client.ask(client.message("/meta/unsubscribe", "u")).await;
            assert_eq!(answer[0]["id"], "u");
            client.subscribe().await;
            publish(&shared, 1);
            assert_eq!(shared.bayeux.borrow_mut().disconnect_all(), 1);
            assert_eq!(client.hear().await, event(1));
            let farewell = json!([{"channel": "/meta/disconnect", "successful": true}]);
            assert_eq!(client.hear().await, farewell);
            assert_eq!(client.hear().await[0]["advice"]["reconnect"], "none");
        });
    }

    #[test]
    fn a_forgotten_session_may_handshake_on_its_socket() {
        with_server(settings(), |port, shared| async move {
            let mut client = Client::join(port, json!({})).await;
            assert_eq!(shared.bayeux.borrow_mut().forget_all(), 1);
            let reply = client.ask(client.connect("c", 0)).await;
            assert_eq!(reply[0]["error"], "402::session_unknown");
            let reply = client.ask(json!({"channel": "/meta/handshake"})).await;
            assert_eq!(reply[0]["successful"], true);
        });
    }

    #[test]
    fn events_get_lost_with_their_socket() {
        with_server(settings(), |port, shared| async move {
            let mut client = Client::join(port, json!({})).await;
            client.subscribe().await;
            shared.script.borrow_mut().lose(1);
            publish(&shared, 1);
            assert!(client.is_cut().await);
            assert_eq!(shared.script.borrow().lost, 1);
            let mut client = client.reopen().await;
            client.subscribe().await;
            publish(&shared, 2);
            assert_eq!(client.hear().await, event(2));
        });
    }

    #[test]
    fn a_restart_breaks_sockets_and_the_sessions_are_gone() {
        with_server(settings(), |port, shared| async move {
            let mut client = Client::join(port, json!({})).await;
            shared.restart.send(Duration::ZERO).unwrap();
            assert!(client.is_cut().await);
            assert_eq!(shared.bayeux.borrow().session_count(), 0);
        });
    }

    #[test]
    fn what_cometd_closes_for_is_closed_for() {
        let violation = "bayeux protocol violation";
        let two = r#"[{"channel":"/meta/handshake"},{"channel":"/a"}]"#;
        with_server(settings(), |port, shared| async move {
            for (text, why) in [
                ("[]", violation),
                (two, violation),
                ("<p>", "expected value"),
            ] {
                let mut client = Client::open(port).await;
                client.stream.send(Frame::text(text)).await.unwrap();
                let (code, reason) = client.closed().await;
                assert_eq!(code, 1011, "{text}");
                assert!(reason.starts_with(why), "{reason}");
            }
            // A text frame that says that it has 2^62 bytes.
            let mut client = Client::open(port).await;
            let header = [0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
            client.stream.get_mut().write_all(&header).await.unwrap();
            assert_eq!(client.closed().await.0, 1009);
            let mut client = Client::join(port, json!({})).await;
            let failure = Failure {
                status: StatusCode::SERVICE_UNAVAILABLE,
                count: 1,
                on: Some("/a".into()),
                retry_after: None,
                set_cookie: None,
            };
            shared.script.borrow_mut().add_failure(failure);
            client.say(client.message("/a", "p")).await;
            let expected = (1011, "503 Service Unavailable".to_owned());
            assert_eq!(client.closed().await, expected);
        });
    }

    #[test]
    fn pings_are_answered_and_binary_frames_ignored() {
        with_server(settings(), |port, _| async move {
            let mut client = Client::join(port, json!({})).await;
            client.stream.send(Frame::binary("[]")).await.unwrap();
            client.stream.send(Frame::Ping("x".into())).await.unwrap();
            let pong = client.stream.next().await.unwrap().unwrap();
            assert_eq!(pong, Frame::Pong("x".into()));
            client.subscribe().await;
        });
    }

    #[test]
    fn a_reason_fits_into_its_frame() {
        assert_eq!(shortened("short").as_str(), "short");
        let long = format!("{}é", "x".repeat(122));
        assert_eq!(shortened(&long).as_str(), "x".repeat(122));
    }
}
