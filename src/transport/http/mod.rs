//! Long polling: one POST a request, JSON both ways (Bayeux specification,
//! section 5.1).

mod connection;
mod connections;
mod progress;
mod response;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Response, StatusCode};

use crate::clock;
use crate::error::{Error, ErrorKind, Failure};
use crate::runtime::lock;
use crate::session::{Endpoint, Server};
use crate::transport::authorization::Authorization;
use crate::transport::connector::Connector;
use crate::transport::cookies::kept::Kept;
use crate::transport::cookies::{self, Jar};
use crate::transport::endpoints::{self, Endpoints, Target};
use crate::transport::headers::Headers;
use crate::transport::leniencies::Leniencies;
use crate::transport::proxies::Proxies;
use crate::transport::proxy::through;
use crate::transport::redirects::{redirection, MAXIMUM_REDIRECTS};
use crate::transport::servers::Servers;
use crate::transport::tls::Tls;
use connections::{Connection, Connections};
pub use progress::Progress;
pub use response::parse;

/// A failure so soon after a request on a connection that was kept alive is
/// the server's closing of it, crossing the request on the way.
const CROSSED: Duration = Duration::from_millis(500);

/// What a transport is made from.
pub struct Settings {
    /// Of each server that the host gave; at least one.
    pub servers: Arc<[Arc<Endpoints>]>,
    pub authorization: Arc<Authorization>,
    pub cookies: Arc<Mutex<Jar>>,
    pub headers: Headers,
    /// The largest body accepted, after decompression.
    pub maximum_response: usize,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    pub proxies: Arc<Proxies>,
    pub tls: Tls,
    pub leniencies: Arc<Leniencies>,
}

/// One client's way to its server: its connections, cookies and headers.
pub struct LongPolling {
    connections: Connections,
    servers: Servers,
    authorization: Arc<Authorization>,
    cookies: Arc<Mutex<Jar>>,
    headers: Headers,
    maximum_response: usize,
    proxies: Arc<Proxies>,
    leniencies: Arc<Leniencies>,
}

impl LongPolling {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let connector = Connector::new(
            settings.servers.iter().any(|it| it.is_https()),
            settings.tls,
            settings.proxies.clone(),
            settings.connect_timeout,
        )?;
        Ok(Self {
            connections: Connections::new(connector, settings.leniencies.clone()),
            servers: Servers::new(settings.servers),
            authorization: settings.authorization,
            cookies: settings.cookies,
            headers: settings.headers,
            maximum_response: settings.maximum_response,
            proxies: settings.proxies,
            leniencies: settings.leniencies,
        })
    }

    /// Posts a JSON array of messages and reads what comes back; [`parse`] finds
    /// the messages in it. `given` are the host's headers of this request, which take
    /// the place of others. Dropping the future closes the connection that it used.
    pub async fn exchange(
        &self,
        server: Server,
        endpoint: Endpoint,
        body: Vec<u8>,
        given: Option<Box<HeaderMap>>,
        progress: &Progress,
    ) -> Result<Vec<u8>, Failure> {
        let body = Bytes::from(body);
        let given = given.as_deref();
        let endpoints = self.servers.endpoints(server)?;
        let target = endpoints.target(endpoint);
        // Saying these twice does no harm; a publish must not be sent twice.
        let repeatable = matches!(endpoint, Endpoint::Handshake | Endpoint::Connect);
        // Rare, as all that has a box here: a held connect has no room for it.
        let mut redirected: Option<Box<Target>> = None;
        let mut status = 0;
        for hop in 0..=MAXIMUM_REDIRECTS {
            let at = redirected.as_deref().unwrap_or(target);
            let proxy = self.proxies.of(&at.uri).ok().flatten();
            let sent = Instant::now();
            // What the response was read from is gone when its body is awaited.
            let (mut connection, read) = {
                let (connection, response) = match self.post(at, &body, given, repeatable).await {
                    Ok(answered) => answered,
                    Err(failure) => return Err(through(proxy, failure)),
                };
                progress.begun();
                status = response.status().as_u16();
                if let Some(proxy) = proxy.filter(|it| it.reads_requests()) {
                    // Of http requests a proxy's own refusals look like the server's.
                    let is_https = at.url.scheme() == "https";
                    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED && !is_https {
                        return Err(proxy.wants_credentials().to_failure());
                    }
                }
                cookies::keep(
                    &self.cookies,
                    response.headers(),
                    &at.url,
                    endpoints.base(),
                    &self.leniencies,
                );
                match redirection(at, response.status(), response.headers(), Method::POST) {
                    Ok(None) => {}
                    Ok(Some(next)) => {
                        self.told(hop, at, status, sent, progress);
                        drop(response);
                        Box::pin(self.connections.keep(connection)).await;
                        redirected = Some(next);
                        continue;
                    }
                    Err(failure) => {
                        self.told(hop, at, status, sent, progress);
                        return Err(through(proxy, failure));
                    }
                }
                let maximum = self.maximum_response;
                let read = response::read(response, maximum, progress, &self.leniencies);
                (connection, read)
            };
            let read = {
                let read = pin!(read);
                connection.drive(read).await
            };
            self.connections.keep(connection).await;
            self.told(hop, at, status, sent, progress);
            return read.map_err(|failure| through(proxy, failure));
        }
        Err(Failure::new(
            ErrorKind::Redirect,
            format!("more than {MAXIMUM_REDIRECTS} redirects"),
        )
        .with_status(status))
    }

    /// The places of a server, if it has any.
    pub fn places(&self, server: Server) -> Option<Arc<Endpoints>> {
        self.servers.endpoints(server).ok()
    }

    /// The cookies that servers have set.
    pub fn kept_cookies(&self) -> Vec<Kept> {
        lock(&self.cookies).kept(clock::now())
    }

    /// Sees to the connections that no request uses, and to time, for those that
    /// one does. To be called with each turn of the client's task, when all requests
    /// have been polled.
    pub fn poll_idle(&self, context: &mut Context<'_>) {
        self.connections.poll_idle(context);
    }

    /// Closes the connections that no request uses, as TLS would have it: with a
    /// word to the server.
    pub async fn close_idle(&self) {
        self.connections.close_idle().await;
    }

    async fn post(
        &self,
        target: &Target,
        body: &Bytes,
        given: Option<&HeaderMap>,
        repeatable: bool,
    ) -> Result<(Box<Connection>, Response<Incoming>), Failure> {
        let sent = Instant::now();
        let mut kept = self.connections.take(&target.uri);
        loop {
            let is_kept = kept.is_some();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Box::pin(self.connections.connect(&target.uri)).await?,
            };
            let to_proxy = connection.is_to_proxy();
            let request = self.request(target, body, given, to_proxy)?;
            let answered = connection.send(request, self.connections.quiet());
            let unanswered = match answered.await {
                Ok(response) => return Ok((connection, response)),
                Err(unanswered) => unanswered,
            };
            if is_kept && unanswered.unsent {
                // The server had closed it, and nothing has left.
                kept = self.connections.take(&target.uri);
                continue;
            }
            if repeatable && sent.elapsed() < CROSSED && connection.has_crossed() {
                continue;
            }
            return Err(unanswered.failure);
        }
    }

    fn request(
        &self,
        target: &Target,
        body: &Bytes,
        given: Option<&HeaderMap>,
        to_proxy: bool,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = match to_proxy {
            true => target.uri.clone(),
            false => target
                .path()
                .map_err(|it| Failure::new(it.kind, it.message))?,
        };
        let host = target
            .host()
            .map_err(|it| Failure::new(it.kind, it.message))?;
        let headers = request.headers_mut();
        *headers = self.headers.of_request(host, body.len());
        if let Some(value) = self.authorization.value() {
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(value) = lock(&self.cookies).header(&target.url, clock::now()) {
            headers.insert(COOKIE, value);
        }
        for (name, value) in given.into_iter().flatten() {
            headers.insert(name, value.clone());
        }
        if target.url.scheme() == "http" {
            // The server behind a tunnel must not see it.
            let proxy = self.proxies.of(&target.uri).ok().flatten();
            if let Some(value) = proxy.and_then(|it| it.authorization()) {
                headers.insert(PROXY_AUTHORIZATION, value.clone());
            }
        }
        Ok(request)
    }

    /// A line of the log for each response. A URL's query is nobody's business,
    /// and a target has no userinfo. Where a redirect led to is the server's
    /// word, which may be what it was sent at any time before.
    fn told(&self, hop: usize, at: &Target, status: u16, sent: Instant, progress: &Progress) {
        if !tracing::event_enabled!(target: "cometd::http", tracing::Level::DEBUG) {
            return;
        }
        let url = match hop {
            0 => at.shown(),
            _ => format!(
                "{}://{}/\u{2026} (redirected)",
                at.url.scheme(),
                endpoints::host_and_port(&at.url)
            ),
        };
        // Its host may be one that a server has named.
        let url = self.leniencies.redacted(url);
        let ms = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX);
        let bytes = progress.so_far().1;
        tracing::debug!(target: "cometd::http", url, status, ms, bytes, "response");
    }
}
