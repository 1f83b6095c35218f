//! What goes in and out of a session.

use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::configuration::Millis;
use super::handover::Handover;
use super::servers::Server;
use super::socket::SocketId;
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::Body;
use crate::error::Error;

/// Where a client stands. The order of the C constants is the order here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Built, not started.
    Idle,
    Handshaking,
    /// There is a session; its first connect is under way.
    Connecting,
    Connected,
    /// There is a session, but the last connect failed; it is tried again.
    Unconnected,
    /// The session is lost, a new one is asked for.
    Rehandshaking,
    Disconnecting,
    /// Final.
    Closed,
}

/// The id that a subscribe, unsubscribe or publish has for the host.
pub type OperationId = u64;

/// What the host asks for. Channels and data were checked before.
#[derive(Debug)]
pub enum Command {
    Connect,
    Subscribe {
        id: OperationId,
        channels: Vec<String>,
    },
    Unsubscribe {
        id: OperationId,
        channels: Vec<String>,
    },
    Publish {
        id: OperationId,
        channel: String,
        data: Box<RawValue>,
    },
    /// A publish of bytes, which are in `data` (`bayeux::binary`).
    PublishBinary {
        id: OperationId,
        channel: String,
        data: Box<RawValue>,
    },
    /// A publish that is sent again, with the same message id, until the server
    /// has answered: at most so often, and not after `deadline`.
    PublishWithRetries {
        id: OperationId,
        channel: String,
        data: Box<RawValue>,
        attempts: Option<u32>,
        deadline: Option<Millis>,
    },
    /// A publish to a service channel whose answer is awaited until `deadline`.
    Call {
        id: OperationId,
        channel: String,
        data: Box<RawValue>,
        deadline: Millis,
    },
    /// These in one request.
    Batch(Vec<Command>),
    /// From where the next subscribe to this topic starts.
    ReplayFrom {
        topic: String,
        position: i64,
        /// Only unless the session knows where the topic stands.
        unless_known: bool,
    },
    /// Ends the session politely, at `limit` in any case.
    Disconnect {
        limit: Millis,
    },
    /// Ends the session at once; nothing is sent.
    Abort,
    /// The host has set other credentials, which are in force from the next request
    /// on.
    NewCredentials,
    /// Gives the session away and ends, unless there is none; nothing is sent.
    HandOver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Which URL a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Handshake,
    Connect,
    Disconnect,
    /// Subscribe, unsubscribe, publish, and every request of several messages.
    Messages,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub id: RequestId,
    pub server: Server,
    pub endpoint: Endpoint,
    /// The WebSocket over which it goes as a frame; `None`: by long polling.
    pub socket: Option<SocketId>,
    /// A JSON array of messages.
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub enum Output {
    /// Send this; its reply or failure comes back under its id.
    Send(Request),
    /// Give this request up; nothing of it may come back.
    Cancel(RequestId),
    /// Open a WebSocket; what comes of it goes to `handle_opened` or
    /// `handle_unopened`.
    Open { socket: SocketId, server: Server },
    /// Ask the other side of the socket for a byte.
    Ping(SocketId),
    /// Close the socket with this code (RFC 6455, section 7.4), or give up opening
    /// it. With 0 at once, without a word. Nothing of it may come back, but when
    /// `reads` what still comes until it has ended: that goes to `handle_frame`.
    CloseSocket {
        socket: SocketId,
        code: u16,
        reads: bool,
    },
    /// Tell the host.
    Event(Event),
    /// The server's clock is so many milliseconds since 1970 ahead of the
    /// session's.
    ServerClock(i64),
    /// The session that was asked for; `None`: there is none, and nothing has
    /// changed.
    HandedOver(Option<Box<Handover>>),
    /// Ask the token provider; its answer goes to `handle_credentials`, and that it
    /// cannot be asked to `handle_unasked`.
    RefreshCredentials,
    /// Ask the handshake provider; its answer goes to `handle_handshake_fields`.
    AskHandshake(HandshakeQuestion),
}

/// What the handshake provider is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeQuestion {
    /// Of this client's questions.
    pub number: u64,
    /// 1 for the first attempt since the last session that worked.
    pub attempt: u32,
    /// The reply, JSON, that refused the handshake before.
    pub refusal: Option<String>,
}

impl std::fmt::Debug for HandshakeQuestion {
    /// Without the reply: what a server says to the provider is for no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandshakeQuestion")
            .field("number", &self.number)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub enum Event {
    /// These messages of the body are events; never empty.
    Messages { body: Arc<Body>, range: Range<u32> },
    State {
        state: State,
        previous: State,
        /// Of the reply that brought it about, JSON; so below.
        ext: Option<Box<str>>,
    },
    Subscribed {
        id: OperationId,
        channel: String,
        ext: Option<Box<str>>,
        /// Not the first: the library has subscribed again, in a new session.
        /// `id` is that of the first, whose operation ended then.
        renewed: bool,
    },
    Unsubscribed {
        id: OperationId,
        channel: String,
        ext: Option<Box<str>>,
    },
    Published {
        id: OperationId,
        channel: String,
        ext: Option<Box<str>>,
    },
    /// What a server advises the host rather than the client: other hosts, or
    /// that several clients share its connections.
    Advice { json: String },
    /// The answer to a call; with an error when the service says that it failed.
    Result {
        id: OperationId,
        message: OwnedMessage,
        error: Option<Box<Error>>,
        ext: Option<Box<str>>,
    },
    /// `id` is 0 for what the library did by itself.
    Error { id: OperationId, error: Box<Error> },
    /// The last one.
    Closed,
}
