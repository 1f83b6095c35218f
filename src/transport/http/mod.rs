//! Long polling: one POST a request, JSON both ways (Bayeux specification,
//! section 5.1).

pub mod authorization;
mod coding;
mod connection;
mod connections;
mod connector;
pub mod cookies;
pub mod endpoints;
mod failures;
pub mod headers;
mod heads;
mod mend;
mod progress;
pub mod proxy;
mod response;
pub mod secrets;
mod sockets;
pub mod tls;
mod watched;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode, Uri};
use url::Url;

use crate::bayeux::error_text::one_line;
use crate::clock::{self, Said};
use crate::error::{Error, ErrorKind, Failure};
use crate::runtime::lock;
use crate::session::{Endpoint, Server};
use crate::transport::leniencies::{Leniencies, Leniency};
use authorization::Authorization;
use connections::{Connection, Connections};
use connector::Connector;
use cookies::Jar;
use endpoints::{Endpoints, Target};
use headers::Headers;
pub use progress::Progress;
use proxy::{Proxies, Proxy};
pub use response::parse;
use tls::Tls;

/// What the library says it is.
const AGENT: &str = concat!("libcometd/", env!("CARGO_PKG_VERSION"));

const MAXIMUM_REDIRECTS: usize = 5;
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
    servers: Arc<[Arc<Endpoints>]>,
    /// The server that advice has led to.
    advised: Mutex<Option<(Arc<str>, Arc<Endpoints>)>>,
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
            servers: settings.servers,
            advised: Mutex::default(),
            authorization: settings.authorization,
            cookies: settings.cookies,
            headers: settings.headers,
            maximum_response: settings.maximum_response,
            proxies: settings.proxies,
            leniencies: settings.leniencies,
        })
    }

    /// Posts a JSON array of messages and reads what comes back; [`parse`] finds
    /// the messages in it. Dropping the future closes the connection that it
    /// used.
    pub async fn exchange(
        &self,
        server: Server,
        endpoint: Endpoint,
        body: Vec<u8>,
        progress: &Progress,
    ) -> Result<Vec<u8>, Failure> {
        let body = Bytes::from(body);
        let endpoints = self.endpoints(server)?;
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
                let (connection, response) = match self.post(at, &body, repeatable).await {
                    Ok(answered) => answered,
                    Err(failure) => return Err(through(proxy, failure)),
                };
                progress.begun();
                status = response.status().as_u16();
                if let Some(proxy) = proxy {
                    // Of http requests a proxy's own refusals look like the server's.
                    let is_https = at.url.scheme() == "https";
                    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED && !is_https {
                        return Err(proxy.wants_credentials().to_failure());
                    }
                }
                self.keep_cookies(at, endpoints.base(), response.headers());
                match redirection(at, &response) {
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
        self.endpoints(server).ok()
    }

    fn endpoints(&self, server: Server) -> Result<Arc<Endpoints>, Failure> {
        let refuse = |why| Failure::new(ErrorKind::InvalidUrl, why);
        let given = |index| self.servers.get(index).cloned();
        match server {
            Server::Given(index) => {
                given(index).ok_or_else(|| refuse("there is no such server".into()))
            }
            Server::Advised(host) => {
                let mut advised = lock(&self.advised);
                if let Some((_, endpoints)) = advised.as_ref().filter(|it| it.0 == host) {
                    return Ok(endpoints.clone());
                }
                let endpoints = given(0).and_then(|it| it.at_host(&host)).ok_or_else(|| {
                    refuse(format!("the server advises the host {host}, which is none"))
                })?;
                let endpoints = Arc::new(endpoints);
                *advised = Some((host, endpoints.clone()));
                Ok(endpoints)
            }
        }
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
            let request = self.request(target, body, to_proxy)?;
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
        if target.url.scheme() == "http" {
            // The server behind a tunnel must not see it.
            let proxy = self.proxies.of(&target.uri).ok().flatten();
            if let Some(value) = proxy.and_then(|it| it.authorization()) {
                headers.insert(PROXY_AUTHORIZATION, value.clone());
            }
        }
        Ok(request)
    }

    fn keep_cookies(&self, target: &Target, base: &Url, headers: &HeaderMap) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        let said = Said {
            now: clock::now(),
            calendar: response::calendar(headers),
        };
        let mut passed_over = Vec::new();
        let mut jar = lock(&self.cookies);
        for value in headers.get_all(SET_COOKIE) {
            if let Some(why) = jar.store(value, &target.url, base, said) {
                passed_over.push((value, why));
            }
        }
        // What is told is looked through for cookies.
        drop(jar);
        for (value, why) in passed_over {
            let name = cookies::shown_name(value);
            let text = format!("the cookie{name} of a response was passed over: {why}");
            self.leniencies.took(Leniency::Cookie, text);
        }
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

/// Where a response sends the request on to: another place of the same server,
/// or the same one by https. What the host gave to be sent to one server, in
/// headers and in the handshake, is sent to no other. Only 307 and 308 keep the POST
/// (RFC 9110, sections 15.4.8 and 15.4.9); the others would lose it.
fn redirection<B>(from: &Target, response: &Response<B>) -> Result<Option<Box<Target>>, Failure> {
    let status = response.status();
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    // Servers write UTF-8 where only ASCII belongs; the URL gets it encoded.
    let location = response.headers().get(LOCATION);
    let location = location.map(|it| String::from_utf8_lossy(it.as_bytes()));
    let location = location
        .as_deref()
        .map(str::trim)
        .filter(|it| !it.is_empty());
    let fail = |why: String| {
        let text = format!("HTTP {}: {why}", status.as_u16());
        Err(Failure::new(ErrorKind::Redirect, text).with_status(status.as_u16()))
    };
    let Some(location) = location else {
        return fail("a redirect without a Location".into());
    };
    // A query may hold what is nobody's business.
    let shown = location.split(['?', '#']).next().unwrap_or_default();
    let shown = one_line(shown, 200);
    if !matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    ) {
        return fail(format!(
            "redirect to {shown}, which does not keep the POST; only 307 and 308 are followed"
        ));
    }
    let Ok(url) = from.url.join(location) else {
        return fail(format!("redirect to {shown}, which is not a URL"));
    };
    let is_upgrade = from.url.scheme() == "http" && url.scheme() == "https";
    if url.scheme() != from.url.scheme() && !is_upgrade {
        return fail(format!("redirect from https to {}", url.scheme()));
    }
    let is_same_server = url.host() == from.url.host()
        && (is_upgrade || url.port_or_known_default() == from.url.port_or_known_default());
    if !is_same_server {
        return fail(format!("redirect to {shown}, which is another server"));
    }
    match Target::new(url) {
        Ok(target) => Ok(Some(Box::new(target))),
        Err(error) => fail(error.message),
    }
}

/// Says in a failure that a proxy stood between.
fn through(proxy: Option<&Arc<Proxy>>, mut failure: Failure) -> Failure {
    if let Some(proxy) = proxy.filter(|_| failure.kind != ErrorKind::Proxy) {
        let name = proxy.name();
        failure
            .text
            .push_str(&format!(" (through the proxy {name})"));
    }
    failure
}

pub(crate) fn uri_of(url: &Url) -> Result<Uri, Error> {
    // Userinfo never belongs into a request's target.
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url.as_str()
        .parse()
        .map_err(|error| Error::call(ErrorKind::InvalidUrl, format!("url: {error}")))
}
