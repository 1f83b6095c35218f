//! WebSocket: one connection for all messages of a client, JSON arrays as text
//! messages both ways (RFC 6455).

mod closing;
mod frames;
mod socket;
mod stream;
mod upgrade;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};

use crate::error::{Error, Failure};
use crate::session::Server;
use crate::transport::authorization::Authorization;
use crate::transport::connector::Connector;
use crate::transport::cookies::Jar;
use crate::transport::endpoints::Endpoints;
use crate::transport::leniencies::Leniencies;
use crate::transport::proxies::Proxies;
use crate::transport::servers::Servers;
use crate::transport::tls::Tls;
pub use closing::ABNORMAL;
pub use socket::Socket;

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
pub struct WebSockets {
    connector: Connector,
    servers: Servers,
    protocol: Option<HeaderValue>,
    authorization: Arc<Authorization>,
    cookies: Arc<Mutex<Jar>>,
    headers: Arc<HeaderMap>,
    maximum_message: usize,
    proxies: Arc<Proxies>,
    leniencies: Arc<Leniencies>,
}

/// Why there is no socket.
pub struct Unopened {
    pub failure: Failure,
    /// WebSocket itself was refused: long polling may work.
    pub refused: bool,
}

impl WebSockets {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let connector = Connector::new(
            settings.servers.iter().any(|it| it.is_https()),
            settings.tls,
            settings.proxies.clone(),
            settings.connect_timeout,
        )?;
        Ok(Self {
            connector,
            servers: Servers::new(settings.servers),
            protocol: settings.protocol,
            authorization: settings.authorization,
            cookies: settings.cookies,
            headers: settings.headers,
            maximum_message: settings.maximum_message,
            proxies: settings.proxies,
            leniencies: settings.leniencies,
        })
    }

    /// Opens a socket. `given` are the host's headers of this request, which take the
    /// place of others. Dropping the future gives it up, and closes what was made.
    pub async fn open(
        &self,
        server: Server,
        given: Option<Box<HeaderMap>>,
    ) -> Result<Socket, Unopened> {
        Box::pin(self.upgrade(server, given.as_deref())).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
