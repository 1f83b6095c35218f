//! A proxy: what it is spoken to in, and the tunnel through it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HeaderValue, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authorization::{self, Authorization};
use super::endpoints;
use super::failures::{chain, plain, ConnectFailure};
use super::headers::AGENT;
use super::socks::{Conversation, Credentials, Refusal, Target};
use crate::error::{Error, ErrorKind, Failure};

const CLOSED: &str = "closed the connection before it answered";

/// Where a tunnel is to lead.
pub struct Destination<'a> {
    pub host: &'a str,
    pub port: u16,
    /// Host and port, as they are told.
    pub name: &'a str,
    /// Where the host was looked up here.
    pub address: Option<IpAddr>,
}

/// Why there is no tunnel.
pub struct NoTunnel {
    pub failure: ConnectFailure,
    /// To another address of the server there may be one.
    pub of_address: bool,
}

impl NoTunnel {
    fn whatever_the_address(failure: ConnectFailure) -> Self {
        Self {
            failure,
            of_address: false,
        }
    }
}

/// A proxy. Its debug output shows no secret.
pub struct Proxy {
    uri: Uri,
    name: String,
    speaks: Speaks,
}

enum Speaks {
    Http {
        over_tls: bool,
        authorization: Option<HeaderValue>,
    },
    Socks {
        /// Servers' names are looked up here, and not by the proxy.
        looks_up: bool,
        credentials: Option<Credentials>,
    },
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.name)
    }
}

impl Proxy {
    /// A URL, or a host and a port, with or without user and password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |why: &str| Error::call(ErrorKind::InvalidUrl, format!("url: {why}"));
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = scheme.to_ascii_lowercase();
        let port = match &*scheme {
            "http" => 80,
            "https" => 443,
            "socks5" | "socks5h" => 1080,
            // curl's name for it.
            "socks4" | "socks4a" | "socks" => {
                return Err(fail(
                    "is of SOCKS 4; of SOCKS are spoken socks5h and socks5",
                ))
            }
            _ => {
                let why =
                    "has another scheme than http, https, socks5h and socks5, which a proxy has";
                return Err(fail(why));
            }
        };
        // A port that is the scheme's own is not kept, so it is asked for by two.
        let url = endpoints::parse(&format!("http://{rest}"))?;
        let other = endpoints::parse(&format!("https://{rest}"))?;
        let port = url.port().or(other.port()).unwrap_or(port);
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(fail(
                "holds more than a proxy's host, port, user and password",
            ));
        }
        let userinfo = endpoints::userinfo(&url)?;
        let speaks = if scheme.starts_with("socks") {
            let credentials = match &userinfo {
                None => None,
                Some((user, password)) => {
                    let credentials = Credentials::new(user, password.as_deref().unwrap_or(""));
                    Some(credentials.ok_or_else(|| {
                        fail("holds no user, or a user or password of more than 255 bytes")
                    })?)
                }
            };
            Speaks::Socks {
                looks_up: scheme == "socks5",
                credentials,
            }
        } else {
            let authorization = userinfo.map(|(user, password)| {
                authorization::basic(&user, password.as_deref()).map_err(|mut error| {
                    error.message = format!("url: {}", error.message);
                    error
                })
            });
            Speaks::Http {
                over_tls: scheme == "https",
                authorization: authorization.transpose()?,
            }
        };
        let host = url.host_str().unwrap_or_default();
        let name = format!("{host}:{port}");
        let uri = format!("http://{name}/")
            .parse()
            .map_err(|error| fail(&format!("{error}")))?;
        Ok(Self { uri, name, speaks })
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its host and port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is said to it goes over TLS.
    pub fn is_over_tls(&self) -> bool {
        matches!(self.speaks, Speaks::Http { over_tls: true, .. })
    }

    /// It can read requests to http servers, and pass them on.
    pub fn reads_requests(&self) -> bool {
        matches!(self.speaks, Speaks::Http { .. })
    }

    /// It is given no names, but addresses.
    pub fn wants_addresses(&self) -> bool {
        matches!(self.speaks, Speaks::Socks { looks_up: true, .. })
    }

    /// What it is told with each request that it is to read.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        match &self.speaks {
            Speaks::Http { authorization, .. } => authorization.as_ref(),
            Speaks::Socks { .. } => None,
        }
    }

    /// What must not be read anywhere.
    pub fn secrets(&self) -> Vec<String> {
        match &self.speaks {
            Speaks::Http { authorization, .. } => {
                Authorization::new(authorization.clone()).secrets()
            }
            Speaks::Socks { credentials, .. } => {
                let secret = |it: &Credentials| match it.password() {
                    // Without a password the user is a token.
                    "" => it.user().to_owned(),
                    password => password.to_owned(),
                };
                credentials.iter().map(secret).collect()
            }
        }
    }

    pub fn failure(&self, text: impl fmt::Display) -> ConnectFailure {
        ConnectFailure::new(ErrorKind::Proxy, format!("the proxy {} {text}", self.name))
    }

    /// How a 407 of it is told.
    pub fn wants_credentials(&self) -> ConnectFailure {
        let why = match self.authorization() {
            Some(_) => "does not accept the credentials",
            None => "wants credentials",
        };
        self.refusal(why, StatusCode::PROXY_AUTHENTICATION_REQUIRED)
    }

    fn refusal(&self, why: impl fmt::Display, status: StatusCode) -> ConnectFailure {
        let reason = status.canonical_reason().unwrap_or("");
        let code = status.as_u16();
        let mut failure = self.failure(format_args!("{why}: HTTP {code} {reason}"));
        failure.text.truncate(failure.text.trim_end().len());
        failure.http_status = code;
        failure
    }

    /// Asks for a tunnel to a host and port. Nothing that is meant for the
    /// server is in what is said.
    pub async fn tunnel<S>(&self, stream: S, to: &Destination<'_>) -> Result<S, NoTunnel>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        match &self.speaks {
            Speaks::Http { authorization, .. } => {
                let tunnel = self.http_tunnel(stream, to.name, authorization.as_ref());
                tunnel.await.map_err(NoTunnel::whatever_the_address)
            }
            Speaks::Socks { credentials, .. } => {
                self.socks_tunnel(stream, to, credentials.as_ref()).await
            }
        }
    }

    async fn http_tunnel<S>(
        &self,
        stream: S,
        target: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<S, ConnectFailure>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let mut request = Request::connect(target)
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.failure(format_args!("cannot be asked for {target}: {error}")))?;
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(target) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(value) = authorization {
            headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
        let broken = |error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        let asking = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            match response.status() {
                status if status.is_success() => Ok(()),
                StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(self.wants_credentials()),
                status => Err(self.refusal(format_args!("does not connect to {target}"), status)),
            }
        };
        // The connection ends, and gives the stream back, where the tunnel begins.
        let becoming = async { connection.without_shutdown().await.map_err(broken) };
        let ((), parts) = tokio::try_join!(asking, becoming)?;
        if !parts.read_buf.is_empty() {
            // The client speaks first; these bytes are none of the server's.
            return Err(self.failure("sends something before the tunnel is in use"));
        }
        Ok(parts.io)
    }

    async fn socks_tunnel<S>(
        &self,
        stream: S,
        to: &Destination<'_>,
        credentials: Option<&Credentials>,
    ) -> Result<S, NoTunnel>
    where
        S: Read + Write + Unpin,
    {
        let whatever = NoTunnel::whatever_the_address;
        let target = match to.address {
            Some(address) => Some(Target::address(address, to.port)),
            None => Target::name(to.host, to.port),
        };
        let target = target.ok_or_else(|| {
            let why = "cannot be asked for a name of more than 255 bytes";
            whatever(self.failure(why))
        })?;
        let mut stream = TokioIo::new(stream);
        let mut conversation = Conversation::new(credentials, &target);
        let mut next = conversation.begin();
        loop {
            let mut bytes = vec![0; next.read];
            let exchange = async {
                stream.write_all(&next.say).await?;
                stream.flush().await?;
                stream.read_exact(&mut bytes).await
            };
            let exchanged = exchange.await;
            exchanged.map_err(|error| whatever(self.broken_off(&error)))?;
            match conversation.heard(&bytes) {
                Ok(Some(more)) => next = more,
                Ok(None) => return Ok(stream.into_inner()),
                Err(refusal @ Refusal::Reply(_)) => {
                    let why = format_args!("does not connect to {}: {refusal}", to.name);
                    return Err(NoTunnel {
                        failure: self.failure(why),
                        of_address: true,
                    });
                }
                Err(refusal) => return Err(whatever(self.failure(refusal))),
            }
        }
    }

    fn broken_off(&self, error: &io::Error) -> ConnectFailure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.failure(CLOSED),
            _ => self.failure(format_args!("broke the connection: {}", plain(error))),
        }
    }

    fn broken(&self, error: &hyper::Error) -> ConnectFailure {
        if error.is_parse() {
            return self.failure(format_args!(
                "does not answer in HTTP/1.1: {}",
                chain(error)
            ));
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return self.failure(CLOSED);
        }
        self.failure(format_args!("broke the connection: {}", chain(error)))
    }
}

/// Says in a failure that a proxy stood between.
pub fn through(proxy: Option<&Arc<Proxy>>, mut failure: Failure) -> Failure {
    if let Some(proxy) = proxy.filter(|_| failure.kind != ErrorKind::Proxy) {
        let name = proxy.name();
        failure
            .text
            .push_str(&format!(" (through the proxy {name})"));
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_url_or_a_host_and_a_port_204() {
        for (text, name) in [
            ("http://proxy:3128", "proxy:3128"),
            ("HTTP://proxy:3128/", "proxy:3128"),
            ("proxy:3128", "proxy:3128"),
            ("proxy", "proxy:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:3128", "[::1]:3128"),
            ("http://u:p@proxy:3128", "proxy:3128"),
            ("http://proxy:443", "proxy:443"),
            ("https://proxy", "proxy:443"),
            ("https://proxy:80", "proxy:80"),
            ("socks5://proxy", "proxy:1080"),
            ("socks5h://proxy:80", "proxy:80"),
            ("SOCKS5H://u:p@[::1]:443", "[::1]:443"),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(proxy.name(), name, "{text}");
            assert_eq!(proxy.uri().to_string(), format!("http://{name}/"));
        }
        for (bad, why) in [
            ("", "host"),
            ("http://", "host"),
            ("ftp://proxy", "scheme"),
            ("socks6://proxy", "scheme"),
            ("socks4://proxy:1080", "SOCKS 4"),
            ("socks4a://proxy:1080", "SOCKS 4"),
            ("socks://proxy:1080", "SOCKS 4"),
            ("socks5://:password@proxy", "no user"),
            (&format!("socks5://{}@proxy", "u".repeat(256)), "255 bytes"),
            (
                &format!("socks5h://u:{}@proxy", "p".repeat(256)),
                "255 bytes",
            ),
            ("socks5h://proxy/path", "more than"),
            ("socks5h://", "host"),
            ("http://proxy/path", "more than"),
            ("http://proxy/?q", "more than"),
            ("http://proxy/#f", "more than"),
            ("proxy:99999", "port"),
            ("pro xy", "space"),
            ("http://a%0ab@proxy", "control"),
        ] {
            let error = Proxy::parse(bad).unwrap_err();
            assert!(error.message.starts_with("url: "), "{}", error.message);
            assert!(error.message.contains(why), "{bad}: {}", error.message);
        }
    }

    #[test]
    fn credentials_are_basic_and_are_never_shown_205() {
        let proxy = Proxy::parse("http://Aladdin:open%20sesame@proxy:3128").unwrap();
        let value = proxy.authorization().unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let refused = proxy.wants_credentials().text;
        let shown = format!("{proxy:?} {value:?} {refused} {}", proxy.name());
        for secret in ["Aladdin", "sesame", "QWxh"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let secrets = proxy.secrets();
        assert!(secrets.contains(&"open sesame".to_owned()));
        assert!(secrets.contains(&"QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned()));
        let proxy = Proxy::parse("http://a-token@proxy").unwrap();
        let secrets = proxy.secrets();
        assert!(secrets.contains(&"a-token".to_owned()));
        for url in ["socks5h://a-token@proxy", "socks5://user:a-token@proxy"] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.secrets(), ["a-token"]);
            assert!(proxy.authorization().is_none());
            assert_eq!(format!("{proxy:?}"), "Proxy(proxy:1080)");
        }
    }

    #[test]
    fn what_a_proxy_is_told_goes_by_its_scheme_263_265() {
        for (scheme, over_tls, reads_requests, wants_addresses) in [
            ("http", false, true, false),
            ("https", true, true, false),
            ("socks5", false, false, true),
            ("socks5h", false, false, false),
        ] {
            let proxy = Proxy::parse(&format!("{scheme}://proxy")).unwrap();
            assert_eq!(proxy.is_over_tls(), over_tls);
            assert_eq!(proxy.reads_requests(), reads_requests);
            assert_eq!(proxy.wants_addresses(), wants_addresses);
        }
    }
}
