//! Connections, plain and TLS, to servers and to proxies, and what is said when
//! there is none.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Uri;
use hyper_tls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio_native_tls::TlsConnector;

use super::failures::ConnectFailure;
use super::proxy::{Proxies, Proxy};
use super::sockets::{self, Deadline, Place, Tcp};
use super::tls::Tls;
use super::watched::Watched;
use crate::error::{Error, ErrorKind};
use crate::runtime::lock;

/// What leads to a server, or to a proxy.
pub type Stream = MaybeHttpsStream<Tcp>;

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
        let failed = |error: Error| ConnectFailure::new(error.kind, error.message);
        let proxy = self.proxies.of(uri).map_err(|it| failed(it.clone()))?;
        let is_https = uri.scheme_str() == Some("https");
        let tls = is_https.then(|| self.https()).transpose();
        let tls = tls.map_err(failed)?;
        let deadline = Deadline::after(self.limit);
        let tls = tls.map(|it| (it, &self.tls));
        attempt(uri, proxy.map(|it| &**it), tunnel, tls, deadline).await
    }
}

/// Goes to the server: directly, to a proxy that passes requests on, or through
/// a tunnel of it.
async fn attempt(
    uri: &Uri,
    proxy: Option<&Proxy>,
    tunnel: bool,
    tls: Option<(TlsConnector, &Tls)>,
    deadline: Deadline,
) -> Result<Watched<Stream>, ConnectFailure> {
    let server = Place::new(uri);
    let stream = match proxy {
        None => sockets::connect(&server, deadline).await?,
        Some(proxy) => {
            let connecting = through(proxy, &server, tunnel, deadline);
            connecting.await?
        }
    };
    let Some((connector, tls)) = tls else {
        return Ok(Watched::new(
            MaybeHttpsStream::Http(stream),
            proxy.is_some() && !tunnel,
        ));
    };
    let shaking_hands = connector.connect(server.host(), TokioIo::new(stream));
    match deadline.within(shaking_hands).await {
        Some(Ok(stream)) => Ok(Watched::new(
            MaybeHttpsStream::Https(TokioIo::new(stream)),
            false,
        )),
        Some(Err(error)) => Err(tls.handshake_failed(&server.name, &error)),
        // Whatever keeps the server from answering, it is not its certificate.
        None => Err(ConnectFailure::new(
            ErrorKind::Timeout,
            format!("tls with {}: {}", server.name, deadline.words()),
        )),
    }
}

/// Goes as far as a proxy, or through it.
async fn through(
    proxy: &Proxy,
    server: &Place,
    tunnel: bool,
    deadline: Deadline,
) -> Result<Tcp, ConnectFailure> {
    let stream = sockets::connect(&Place::new(proxy.uri()), deadline).await;
    let stream = stream.map_err(|mut failure| {
        let kind = failure.kind;
        failure = proxy.failure(format_args!("could not be reached: {}", failure.text));
        if kind == ErrorKind::System {
            failure.kind = kind;
        }
        failure
    })?;
    if !tunnel {
        return Ok(stream);
    }
    let tunnelled = deadline.within(proxy.tunnel(stream, &server.name)).await;
    let tunnelled = tunnelled.unwrap_or_else(|| {
        let why = format_args!("did not connect to {}: {}", server.name, deadline.words());
        Err(proxy.failure(why))
    });
    tunnelled.map_err(|failure| ConnectFailure {
        no_tunnel: true,
        ..failure
    })
}
