//! Connections, plain and TLS, to servers and to proxies, and what is said when
//! there is none.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper::Uri;
use hyper_tls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio_native_tls::{TlsConnector, TlsStream};

use super::addresses::few_by_turns;
use super::failures::ConnectFailure;
use super::proxies::Proxies;
use super::proxy::{Destination, Proxy};
use super::sockets::{self, Deadline, Place, Tcp};
use super::tls::Tls;
use super::watched::Watched;
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;

/// What leads to a server without TLS, or to a proxy.
type Line = MaybeHttpsStream<Tcp>;
/// What leads to a server.
pub type Stream = MaybeHttpsStream<Line>;

/// Makes connections to servers, plain and TLS.
pub struct Connector {
    proxies: Arc<Proxies>,
    /// For all that it takes to make a connection.
    limit: Duration,
    tls: Tls,
    /// From the start if there is an https server; otherwise a redirect may
    /// lead to one.
    https: Mutex<Option<TlsConnector>>,
}

impl Connector {
    pub fn new(
        is_https: bool,
        tls: Tls,
        proxies: Arc<Proxies>,
        limit: Duration,
    ) -> Result<Self, Error> {
        let connector = Self {
            proxies,
            limit,
            tls,
            https: Mutex::default(),
        };
        if is_https {
            connector.https()?;
        }
        if connector.proxies.are_over_tls() {
            connector.to_proxies()?;
        }
        Ok(connector)
    }

    fn https(&self) -> Result<TlsConnector, Error> {
        let mut https = lock(&self.https);
        let made = match https.take() {
            Some(made) => made,
            None => self.tls.connector()?.into(),
        };
        Ok(https.insert(made).clone())
    }

    /// Rare, and so no client has room for it: it is the builder's.
    fn to_proxies(&self) -> Result<TlsConnector, Error> {
        Ok(self.tls.connector_to_proxies()?.into())
    }

    /// Makes a connection. Dropping the future gives it up, and closes it.
    pub async fn connect(&self, uri: &Uri) -> Result<Watched<Stream>, ConnectFailure> {
        self.make(uri, uri.scheme_str() == Some("https")).await
    }

    /// The same, by a tunnel wherever there is a proxy: what is not HTTP goes
    /// through it no other way.
    pub async fn tunnel(&self, uri: &Uri) -> Result<Watched<Stream>, ConnectFailure> {
        self.make(uri, true).await
    }

    async fn make(&self, uri: &Uri, tunnel: bool) -> Result<Watched<Stream>, ConnectFailure> {
        let proxy = self.proxies.of(uri).map_err(|it| failed(it.clone()))?;
        let is_https = uri.scheme_str() == Some("https");
        let tls = is_https.then(|| self.https()).transpose();
        let tls = tls.map_err(failed)?;
        let deadline = Deadline::after(self.limit);
        let server = Place::new(uri);
        let (line, to_proxy) = match proxy {
            None => {
                let stream = sockets::connect(&server, deadline).await?;
                (Line::Http(stream), false)
            }
            Some(proxy) if proxy.reads_requests() && !tunnel => {
                (self.reach(proxy, deadline).await?, true)
            }
            Some(proxy) => (self.through(proxy, &server, deadline).await?, false),
        };
        let stream = match tls {
            None => Stream::Http(line),
            Some(tls) => Stream::Https(self.secured(tls, &server, line, deadline).await?),
        };
        Ok(Watched::new(stream, to_proxy))
    }

    async fn secured<S>(
        &self,
        tls: TlsConnector,
        place: &Place,
        stream: S,
        deadline: Deadline,
    ) -> Result<TokioIo<TlsStream<TokioIo<S>>>, ConnectFailure>
    where
        S: Read + Write + Unpin,
    {
        let shaking_hands = tls.connect(place.host(), TokioIo::new(stream));
        match deadline.within(shaking_hands).await {
            Some(Ok(stream)) => Ok(TokioIo::new(stream)),
            Some(Err(error)) => Err(self.tls.handshake_failed(&place.name, &error)),
            // Whatever keeps the server from answering, it is not its certificate.
            None => Err(ConnectFailure::new(
                ErrorKind::Timeout,
                format!("tls with {}: {}", place.name, deadline.words()),
            )),
        }
    }

    /// Goes as far as a proxy.
    async fn reach(&self, proxy: &Proxy, deadline: Deadline) -> Result<Line, ConnectFailure> {
        let place = Place::new(proxy.uri());
        let reaching = async {
            let stream = sockets::connect(&place, deadline).await?;
            if !proxy.is_over_tls() {
                return Ok(Line::Http(stream));
            }
            let tls = self.to_proxies().map_err(failed)?;
            let stream = self.secured(tls, &place, stream, deadline).await?;
            Ok(Line::Https(stream))
        };
        reaching.await.map_err(|failure: ConnectFailure| {
            let told = proxy.failure(format_args!("could not be reached: {}", failure.text));
            match failure.kind {
                ErrorKind::System => ConnectFailure {
                    kind: failure.kind,
                    ..told
                },
                _ => told,
            }
        })
    }

    /// Goes through a proxy, by a tunnel.
    async fn through(
        &self,
        proxy: &Proxy,
        server: &Place,
        deadline: Deadline,
    ) -> Result<Line, ConnectFailure> {
        let mut addresses = vec![None];
        if proxy.wants_addresses() {
            let known = sockets::addresses(server, deadline).await?;
            addresses = few_by_turns(known).map(Some).collect();
        }
        let mut failure = None;
        for address in addresses {
            let line = self.reach(proxy, deadline).await?;
            let to = Destination {
                host: server.host(),
                port: server.port(),
                name: &server.name,
                address,
            };
            match deadline.within(proxy.tunnel(line, &to)).await {
                Some(Ok(line)) => return Ok(line),
                Some(Err(it)) if it.of_address => failure = Some(it.failure),
                Some(Err(it)) => {
                    return Err(ConnectFailure {
                        // Those that read requests may pass them on instead.
                        no_tunnel: proxy.reads_requests(),
                        ..it.failure
                    });
                }
                None => {
                    let late = deadline.words();
                    let why = format_args!("did not connect to {}: {late}", server.name);
                    return Err(ConnectFailure {
                        no_tunnel: proxy.reads_requests(),
                        ..proxy.failure(why)
                    });
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            let why = format_args!("is given no address of {}", server.name);
            proxy.failure(why)
        }))
    }
}

fn failed(error: Error) -> ConnectFailure {
    ConnectFailure::new(error.kind, error.message)
}
