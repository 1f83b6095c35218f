//! Connections, plain and TLS, and what is said when there is none.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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
use crate::error::{Error, ErrorKind};

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectFailure {
    pub kind: ErrorKind,
    pub text: String,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ConnectFailure {}

#[derive(Clone)]
pub enum Connector {
    Plain(HttpConnector),
    /// For both, as a redirect may lead from one to the other.
    Tls(HttpsConnector<HttpConnector>),
}

impl Connector {
    /// `timeout` is shared among the addresses of a name, so that a dead one
    /// does not keep from the others.
    pub fn new(tls: bool, timeout: Duration) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(timeout));
        http.set_nodelay(true);
        http.enforce_http(false);
        if !tls {
            return Ok(Self::Plain(http));
        }
        Ok(Self::Tls(HttpsConnector::from((http, trust()?.into()))))
    }
}

/// The system's trust store. Reading it costs a megabyte and some
/// milliseconds, so all clients share one.
fn trust() -> Result<native_tls::TlsConnector, Error> {
    static TRUST: OnceLock<Result<native_tls::TlsConnector, String>> = OnceLock::new();
    TRUST
        .get_or_init(|| {
            native_tls::TlsConnector::builder()
                .min_protocol_version(Some(native_tls::Protocol::Tlsv12))
                .build()
                .map_err(|error| error.to_string())
        })
        .clone()
        .map_err(|why| {
            Error::call(
                ErrorKind::Tls,
                format!("the system's TLS library could not be set up: {why}"),
            )
        })
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

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
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.heard.clone())
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

fn watched(stream: Stream) -> Watched {
    Watched {
        stream,
        heard: Heard::default(),
    }
}

impl Service<Uri> for Connector {
    type Response = Watched;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        // Both connectors are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let target = target_of(&uri);
        let is_https = uri.scheme_str() == Some("https");
        match self {
            Self::Plain(http) => {
                if is_https {
                    // A redirect of http's own server to https.
                    return match trust() {
                        Ok(trust) => {
                            let https = HttpsConnector::from((http.clone(), trust.into()));
                            Self::Tls(https).call(uri)
                        }
                        Err(error) => Box::pin(std::future::ready(Err(ConnectFailure {
                            kind: error.kind,
                            text: error.message,
                        }))),
                    };
                }
                let connecting = http.call(uri);
                Box::pin(async move {
                    connecting
                        .await
                        .map(|stream| watched(MaybeHttpsStream::Http(stream)))
                        .map_err(|error| tcp_failure(&target, &error))
                })
            }
            Self::Tls(https) => {
                let connecting = https.call(uri);
                Box::pin(async move {
                    connecting.await.map(watched).map_err(|error| {
                        let is_tls = error.downcast_ref::<native_tls::Error>().is_some()
                            || error.downcast_ref::<std::io::Error>().is_some();
                        if is_tls && is_https {
                            ConnectFailure {
                                kind: ErrorKind::Tls,
                                text: format!(
                                    "tls with {target}: {}",
                                    without_places(&chain(&*error))
                                ),
                            }
                        } else {
                            tcp_failure(&target, &*error)
                        }
                    })
                })
            }
        }
    }
}

/// OpenSSL's errors without the places in its source:
/// "…:certificate verify failed:../ssl/statem/statem_clnt.c:1889:".
fn without_places(text: &str) -> String {
    let mut parts = text.split(':').peekable();
    let mut kept: Vec<&str> = Vec::new();
    while let Some(part) = parts.next() {
        if part.ends_with(".c") {
            parts.next_if(|next| next.bytes().all(|byte| byte.is_ascii_digit()));
        } else {
            kept.push(part);
        }
    }
    kept.join(":").replace(":: ", ": ")
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
        }
    } else {
        let cause = text
            .trim_start_matches("tcp connect error")
            .trim_start_matches(": ");
        ConnectFailure {
            kind: ErrorKind::Tcp,
            text: format!("tcp connect to {target}: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_errors_are_told_without_places_in_openssls_source() {
        assert_eq!(
            without_places(
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate \
                 verify failed:../ssl/statem/statem_clnt.c:1889:: (self-signed certificate)"
            ),
            "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate \
             verify failed: (self-signed certificate)"
        );
    }
}
