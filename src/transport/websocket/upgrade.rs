//! How a socket is opened: a GET that the server answers by switching to the other
//! protocol (RFC 6455, section 4), with the connector, headers, cookies and words of
//! long polling.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use base64::prelude::{Engine, BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, AUTHORIZATION, CONNECTION, COOKIE, HOST,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode};
use sha1::{Digest, Sha1};

use super::socket::Socket;
use super::{Unopened, WebSockets};
use crate::clock;
use crate::error::{Error, ErrorKind, Failure};
use crate::runtime::lock;
use crate::session::Server;
use crate::transport::connector::Stream;
use crate::transport::cookies;
use crate::transport::endpoints::{host_and_port, Endpoints, Target};
use crate::transport::failures::{http_failure, ConnectFailure};
use crate::transport::headers::AGENT;
use crate::transport::heads::Looked;
use crate::transport::proxy::through;
use crate::transport::redirects::{redirection, MAXIMUM_REDIRECTS};
use crate::transport::refusal::refused;
use crate::transport::watched::Watched;

/// What a key is answered with (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What came of one request.
enum Answer {
    Opened(Socket),
    /// It is to be asked for there.
    Elsewhere(Box<Target>),
}

/// What lets long polling fail as well.
fn unreachable(failure: Failure) -> Unopened {
    Unopened {
        failure,
        refused: false,
    }
}

fn unusable(error: Error) -> Unopened {
    unreachable(Failure::new(error.kind, error.message))
}

fn refusal(failure: Failure) -> Unopened {
    let wants_credentials = matches!(failure.http_status, 401 | 407);
    Unopened {
        // A server that wants a certificate of the client says so when TLS is over.
        refused: !wants_credentials && failure.kind != ErrorKind::Tls,
        failure,
    }
}

/// A proxy that makes no tunnel to an http server, whatever it does instead, may pass
/// requests on to it.
fn unconnected(failure: &ConnectFailure, target: &Target) -> Unopened {
    let wants_credentials = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let proxy_refuses = failure.no_tunnel && failure.http_status != wants_credentials;
    Unopened {
        refused: proxy_refuses && target.url.scheme() == "http",
        failure: failure.to_failure(),
    }
}

impl WebSockets {
    pub(super) async fn upgrade(
        &self,
        server: Server,
        given: Option<&HeaderMap>,
    ) -> Result<Socket, Unopened> {
        let endpoints = self.servers.endpoints(server).map_err(unreachable)?;
        let mut redirected: Option<Box<Target>> = None;
        for hop in 0..=MAXIMUM_REDIRECTS {
            let at = redirected.as_deref().unwrap_or(endpoints.websocket());
            let proxy = self.proxies.of(&at.uri).ok().flatten();
            match self.ask(at, hop, given, &endpoints).await {
                Ok(Answer::Opened(socket)) => return Ok(socket),
                Ok(Answer::Elsewhere(target)) => redirected = Some(target),
                Err(unopened) => {
                    return Err(Unopened {
                        failure: through(proxy, unopened.failure),
                        ..unopened
                    })
                }
            }
        }
        let text = format!("more than {MAXIMUM_REDIRECTS} redirects");
        Err(refusal(Failure::new(ErrorKind::Redirect, text)))
    }

    async fn ask(
        &self,
        at: &Target,
        hop: usize,
        given: Option<&HeaderMap>,
        endpoints: &Endpoints,
    ) -> Result<Answer, Unopened> {
        let sent = Instant::now();
        let key = key().map_err(unreachable)?;
        let request = self.request(at, &key, given).map_err(unusable)?;
        let stream = self.connector.tunnel(&at.uri).await;
        let stream = stream.map_err(|failure| unconnected(&failure, at))?;
        let mut asking = Asking::new(Looked::new(stream, self.leniencies.clone())).await?;
        let response = asking.send(request).await?;
        let (status, headers) = (response.status(), response.headers());
        self.told(hop, at, status, sent);
        let (base, leniencies) = (endpoints.base(), &*self.leniencies);
        cookies::keep(&self.cookies, headers, &at.url, base, leniencies);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            check(headers, &key, self.protocol.as_ref()).map_err(refusal)?;
            drop(response);
            let (stream, ahead) = asking.into_stream().await?;
            let maximum = self.maximum_message;
            let socket = Socket::new(stream, ahead, maximum, self.leniencies.clone());
            return Ok(Answer::Opened(socket));
        }
        match redirection(at, status, headers, Method::GET) {
            Ok(Some(target)) => return Ok(Answer::Elsewhere(target)),
            Ok(None) => {}
            Err(failure) => return Err(refusal(failure)),
        }
        let (parts, body) = response.into_parts();
        let refused = Box::pin(refused(status, parts.headers, body, |_| {}, leniencies));
        Err(refusal(asking.drive(refused).await))
    }

    fn request(
        &self,
        at: &Target,
        key: &HeaderValue,
        given: Option<&HeaderMap>,
    ) -> Result<Request<Empty<Bytes>>, Error> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = at.path()?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for name in self.headers.keys() {
            headers.remove(name);
        }
        for (name, value) in &*self.headers {
            headers.append(name, value.clone());
        }
        headers.insert(HOST, at.host()?);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, key.clone());
        if let Some(protocol) = &self.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        if let Some(value) = self.authorization.value() {
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(value) = lock(&self.cookies).header(&at.url, clock::now()) {
            headers.insert(COOKIE, value);
        }
        for (name, value) in given.into_iter().flatten() {
            headers.insert(name, value.clone());
        }
        Ok(request)
    }

    /// A line of the log for each response. A URL's query is nobody's business, and
    /// where a redirect led to is the server's word.
    fn told(&self, hop: usize, at: &Target, status: StatusCode, sent: Instant) {
        if !tracing::event_enabled!(target: "cometd::websocket", tracing::Level::DEBUG) {
            return;
        }
        let url = match hop {
            0 => at.shown(),
            _ => {
                let (scheme, place) = (at.url.scheme(), host_and_port(&at.url));
                format!("{scheme}://{place}/\u{2026} (redirected)")
            }
        };
        let url = self.leniencies.redacted(url);
        let ms = u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX);
        let what = match status {
            StatusCode::SWITCHING_PROTOCOLS => "opened",
            _ => "not opened",
        };
        let status = status.as_u16();
        tracing::debug!(target: "cometd::websocket", url, status, ms, "{what}");
    }
}

type Connected = Looked<Watched<Stream>>;

/// A connection that is asked to become a socket.
struct Asking {
    sender: http1::SendRequest<Empty<Bytes>>,
    connection: http1::Connection<Connected, Empty<Bytes>>,
    /// hyper has let it go.
    ended: bool,
}

impl Asking {
    async fn new(stream: Connected) -> Result<Self, Unopened> {
        let mut builder = http1::Builder::new();
        let made = builder.title_case_headers(true).handshake(stream).await;
        let (sender, connection) = made.map_err(|error| refusal(http_failure(&error)))?;
        Ok(Self {
            sender,
            connection,
            ended: false,
        })
    }

    async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Unopened> {
        let answer = self.sender.send_request(request);
        let response = self.drive(answer).await;
        response.map_err(|error| refusal(http_failure(&error)))
    }

    /// Waits for what needs this connection's bytes.
    async fn drive<T>(&mut self, needs: impl Future<Output = T>) -> T {
        let mut needs = pin!(needs);
        poll_fn(|context| {
            if !self.ended {
                // What went wrong, who waits for the response is told.
                self.ended = self.connection.poll_without_shutdown(context).is_ready();
            }
            needs.as_mut().poll(context)
        })
        .await
    }

    /// The connection, and what was read of it behind the response.
    async fn into_stream(mut self) -> Result<(Stream, Vec<u8>), Unopened> {
        poll_fn(|context| match self.ended {
            true => Poll::Ready(Ok(())),
            false => self.connection.poll_without_shutdown(context),
        })
        .await
        .map_err(|error| refusal(http_failure(&error)))?;
        let parts = self.connection.into_parts();
        // No larger than what is in it: hyper's buffer would stay.
        let mut ahead = parts.read_buf.to_vec();
        let (stream, unread) = parts.io.into_parts();
        ahead.extend_from_slice(&unread);
        Ok((stream.into_inner(), ahead))
    }
}

/// 16 bytes that nobody can know before.
fn key() -> Result<HeaderValue, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        let text = format!("the system has no random bytes: {error}");
        Failure::new(ErrorKind::System, text)
    })?;
    let text = BASE64_STANDARD.encode(bytes);
    HeaderValue::try_from(text).map_err(|error| Failure::new(ErrorKind::System, error.to_string()))
}

fn answer_to(key: &HeaderValue) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    BASE64_STANDARD.encode(hash.finalize())
}

/// Whether a 101 opens the socket that was asked for (RFC 6455, section 4.1).
fn check(
    headers: &HeaderMap,
    key: &HeaderValue,
    protocol: Option<&HeaderValue>,
) -> Result<(), Failure> {
    let fail = |why: &str| {
        let text = format!("HTTP 101 Switching Protocols {why}");
        let status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        Err(Failure::new(ErrorKind::Protocol, text).with_status(status))
    };
    let is = |name: HeaderName, wanted: &[u8]| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(|it| it.as_bytes().trim_ascii());
        value.is_some_and(|it| it.eq_ignore_ascii_case(wanted)) && values.next().is_none()
    };
    if !is(UPGRADE, b"websocket") {
        return fail("to something else than a WebSocket");
    }
    let connection = headers.get_all(CONNECTION).iter();
    let mut tokens = connection.flat_map(|it| it.as_bytes().split(|byte| *byte == b','));
    if !tokens.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"upgrade")) {
        return fail("without \"Connection: Upgrade\"");
    }
    let mut accept = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    let (first, second) = (accept.next(), accept.next());
    if first.is_none_or(|it| it.as_bytes() != answer_to(key).as_bytes()) || second.is_some() {
        return fail("without the Sec-WebSocket-Accept that belongs to the request");
    }
    let extensions = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    if extensions.into_iter().any(|it| !it.is_empty()) {
        return fail("with an extension that was not asked for");
    }
    let mut chosen = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    match (protocol, chosen.next(), chosen.next()) {
        (None, None, _) => Ok(()),
        (Some(asked), Some(chosen), None) if asked.as_bytes() == chosen.as_bytes() => Ok(()),
        (Some(_), None, _) => fail("without the Sec-WebSocket-Protocol that was asked for"),
        _ => fail("with a Sec-WebSocket-Protocol that was not asked for"),
    }
}
