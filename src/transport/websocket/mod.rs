//! WebSocket: one connection for all messages of a client, JSON arrays as text
//! messages both ways (RFC 6455).
#![allow(dead_code)] // Until clients can be asked for it.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};

use crate::error::{Error, Failure};
use crate::session::Server;
use crate::transport::authorization::Authorization;
use crate::transport::cookies::Jar;
use crate::transport::endpoints::Endpoints;
use crate::transport::leniencies::Leniencies;
use crate::transport::proxy::Proxies;
use crate::transport::tls::Tls;

/// What the way to a server's WebSocket is made from.
pub struct Settings {
    /// Of each server that the host gave; at least one.
    pub servers: Arc<[Arc<Endpoints>]>,
    /// The one that is asked for (`Sec-WebSocket-Protocol`).
    pub protocol: Option<HeaderValue>,
    pub authorization: Arc<Authorization>,
    pub cookies: Arc<Mutex<Jar>>,
    /// The host's own.
    pub headers: Arc<HeaderMap>,
    /// The largest message accepted, put together from its fragments.
    pub maximum_message: usize,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    pub proxies: Arc<Proxies>,
    pub tls: Tls,
    pub leniencies: Arc<Leniencies>,
}

/// One client's way to its server's WebSocket.
pub struct WebSockets {}

/// Why there is no socket.
pub struct Unopened {
    pub failure: Failure,
    /// WebSocket itself was refused: long polling may work.
    pub refused: bool,
}

/// An open socket.
pub struct Socket {}

impl WebSockets {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let _ = settings;
        Ok(Self {})
    }

    /// Opens a socket. Dropping the future gives it up, and closes what was made.
    pub async fn open(&self, server: Server) -> Result<Socket, Unopened> {
        let _ = server;
        std::future::pending().await
    }
}

impl Socket {
    /// Takes one text message; it leaves with [`Self::poll_flush`].
    pub fn send(&mut self, text: Vec<u8>) {
        let _ = text;
    }

    pub fn ping(&mut self) {}

    /// Begins the closing handshake. What comes until it ends is still read.
    pub fn close(&mut self, code: u16) {
        let _ = code;
    }

    /// Ready when the system has all that was taken.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let _ = context;
        Poll::Pending
    }

    /// The next text message. Pings are answered on the way.
    pub fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<String, Failure>> {
        let _ = context;
        Poll::Pending
    }

    /// How many bytes have come over it, of frames of any kind.
    pub fn heard(&self) -> u64 {
        0
    }
}
