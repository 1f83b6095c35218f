//! Connections, plain and TLS, and what is said when there is none.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_tls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
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

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
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
                        .map(MaybeHttpsStream::Http)
                        .map_err(|error| tcp_failure(&target, &error))
                })
            }
            Self::Tls(https) => {
                let connecting = https.call(uri);
                Box::pin(async move {
                    connecting.await.map_err(|error| {
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
