//! Connections, plain and TLS, to servers and to proxies, and what is said when
//! there is none.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper::Uri;
use hyper_tls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::chain;
use super::proxy::Proxies;
use super::tls::{without_places, Tls};
use crate::error::{Error, ErrorKind, Failure};

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectFailure {
    pub kind: ErrorKind,
    pub text: String,
    /// Of the proxy's response; 0 when there was none.
    pub http_status: u16,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ConnectFailure {}

impl ConnectFailure {
    pub fn to_failure(&self) -> Failure {
        Failure::new(self.kind, self.text.clone()).with_status(self.http_status)
    }
}

pub type Tcp = TokioIo<TcpStream>;

/// Makes connections to servers, plain and TLS.
#[derive(Clone)]
pub struct Connector {
    route: Route,
    tls: Tls,
    /// From the start if there is an https server; otherwise a redirect may
    /// lead to one.
    https: Option<HttpsConnector<Route>>,
}

impl Connector {
    /// `timeout` is shared among the addresses of a name, so that a dead one
    /// does not keep from the others.
    pub fn new(
        is_https: bool,
        tls: Tls,
        proxies: Arc<Proxies>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(timeout));
        http.set_nodelay(true);
        http.enforce_http(false);
        let mut connector = Self {
            route: Route {
                http,
                proxies,
                timeout,
            },
            tls,
            https: None,
        };
        if is_https {
            connector.https()?;
        }
        Ok(connector)
    }

    fn https(&mut self) -> Result<&mut HttpsConnector<Route>, Error> {
        let https = match self.https.take() {
            Some(https) => https,
            None => HttpsConnector::from((self.route.clone(), self.tls.connector()?.into())),
        };
        Ok(self.https.insert(https))
    }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectFailure>> + Send>>;

/// The way to a server: directly, to a proxy that passes requests on, or through
/// a tunnel of it.
#[derive(Clone)]
struct Route {
    http: HttpConnector,
    proxies: Arc<Proxies>,
    timeout: Duration,
}

impl Service<Uri> for Route {
    type Response = Tcp;
    type Error = ConnectFailure;
    type Future = Connecting<Tcp>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        // As the connector within always is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let target = target_of(&uri);
        let proxy = match self.proxies.of(&uri) {
            Ok(Some(proxy)) => proxy.clone(),
            Ok(None) => {
                let connecting = self.http.call(uri);
                return Box::pin(async move {
                    let connected = connecting.await;
                    connected.map_err(|error| tcp_failure(&target, &error))
                });
            }
            Err(error) => return failed(error.clone()),
        };
        let connecting = self.http.call(proxy.uri().clone());
        let timeout = self.timeout;
        Box::pin(async move {
            let connected = async {
                let stream = connecting.await.map_err(|error| {
                    let why = tcp_failure(proxy.name(), &error).text;
                    proxy.failure(format_args!("could not be reached: {why}"))
                })?;
                if uri.scheme_str() == Some("https") {
                    proxy.tunnel(stream, &target).await
                } else {
                    Ok(stream)
                }
            };
            match tokio::time::timeout(timeout, connected).await {
                Ok(result) => result,
                Err(_) => {
                    let time = timeout.as_millis();
                    Err(proxy.failure(format_args!("made no connection within {time} ms")))
                }
            }
        })
    }
}

fn failed<T: Send + 'static>(error: Error) -> Connecting<T> {
    Box::pin(std::future::ready(Err(ConnectFailure {
        kind: error.kind,
        text: error.message,
        http_status: 0,
    })))
}

type Stream = MaybeHttpsStream<Tcp>;

/// What was heard over a connection.
#[derive(Clone, Default)]
pub struct Heard(Arc<Bytes>);

#[derive(Default)]
struct Bytes {
    ever: AtomicBool,
    since_written: AtomicBool,
}

impl Heard {
    /// Whether the server has answered here before, and has said nothing since
    /// something was last written: its closing crossed the request on the way.
    pub fn nothing_anew(&self) -> bool {
        self.0.ever.load(Ordering::Relaxed) && !self.0.since_written.load(Ordering::Relaxed)
    }

    fn some(&self) {
        self.0.ever.store(true, Ordering::Relaxed);
        self.0.since_written.store(true, Ordering::Relaxed);
    }
}

/// A connection that knows whether a response has begun.
pub struct Watched {
    stream: Stream,
    heard: Heard,
    /// It leads to a proxy, which is told the whole URL of each request.
    to_proxy: bool,
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected().proxy(self.to_proxy);
        connected.extra(self.heard.clone())
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: nothing is taken out of the buffer, only bytes are put in.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer.unfilled());
        let read = buffer.filled().len();
        if read > 0 {
            self.heard.some();
        }
        // SAFETY: so many bytes were just filled in, and so are initialized.
        unsafe { cursor.advance(read) };
        polled
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heard.0.since_written.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heard.0.since_written.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Service<Uri> for Connector {
    type Response = Watched;
    type Error = ConnectFailure;
    type Future = Connecting<Watched>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        // Both connectors are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let watched = |stream, to_proxy| Watched {
            stream,
            heard: Heard::default(),
            to_proxy,
        };
        if uri.scheme_str() != Some("https") {
            let to_proxy = matches!(self.route.proxies.of(&uri), Ok(Some(_)));
            let connecting = self.route.call(uri);
            return Box::pin(async move {
                let stream = MaybeHttpsStream::Http(connecting.await?);
                Ok(watched(stream, to_proxy))
            });
        }
        let target = target_of(&uri);
        let connecting = match self.https() {
            Ok(https) => https.call(uri),
            Err(error) => return failed(error),
        };
        Box::pin(async move {
            match connecting.await {
                Ok(stream) => Ok(watched(stream, false)),
                Err(error) => Err(match error.downcast::<ConnectFailure>() {
                    Ok(failure) => *failure,
                    Err(error) => ConnectFailure {
                        kind: ErrorKind::Tls,
                        text: format!("tls with {target}: {}", without_places(&chain(&*error))),
                        http_status: 0,
                    },
                }),
            }
        })
    }
}

fn target_of(uri: &Uri) -> String {
    let host = uri.host().unwrap_or("?");
    let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    });
    format!("{host}:{port}")
}

fn tcp_failure(target: &str, error: &(dyn StdError + 'static)) -> ConnectFailure {
    let text = chain(error);
    // The connector's error has no kinds, only its own first words.
    if let Some(cause) = text.strip_prefix("dns error") {
        let cause = cause.trim_start_matches(": ");
        ConnectFailure {
            kind: ErrorKind::Dns,
            text: format!("dns lookup for {target}: {cause}"),
            http_status: 0,
        }
    } else {
        let cause = text
            .trim_start_matches("tcp connect error")
            .trim_start_matches(": ");
        ConnectFailure {
            kind: ErrorKind::Tcp,
            text: format!("tcp connect to {target}: {cause}"),
            http_status: 0,
        }
    }
}
