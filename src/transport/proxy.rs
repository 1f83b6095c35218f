//! Proxies: which requests go through one, and the tunnel that https takes.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HeaderValue, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use super::authorization::{self, Authorization};
use super::endpoints;
use super::failures::{chain, ConnectFailure};
use super::headers::AGENT;
use super::sockets::Tcp;
use crate::error::{Error, ErrorKind, Failure};

/// A proxy that is spoken to by plain HTTP. Its debug output shows no secret.
pub struct Proxy {
    uri: Uri,
    name: String,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.name)
    }
}

impl Proxy {
    /// A URL, or a host and a port, with or without user and password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |why: String| Error::call(ErrorKind::InvalidUrl, format!("url: {why}"));
        let whole = match text.split_once("://") {
            None => format!("http://{text}"),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => text.to_owned(),
            Some(_) => {
                return Err(fail(
                    "has another scheme than http, which a proxy has".into(),
                ))
            }
        };
        let url = endpoints::parse(&whole)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            let why = "holds more than a proxy's host, port, user and password";
            return Err(fail(why.into()));
        }
        let authorization = match endpoints::userinfo(&url)? {
            Some((user, password)) => {
                let value = authorization::basic(&user, password.as_deref());
                Some(value.map_err(|mut error| {
                    error.message = format!("url: {}", error.message);
                    error
                })?)
            }
            None => None,
        };
        let host = url.host_str().unwrap_or_default();
        let name = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        let uri = format!("http://{name}/")
            .parse()
            .map_err(|error| fail(format!("{error}")))?;
        Ok(Self {
            uri,
            name,
            authorization,
        })
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its host and port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is told with each request that it is to read.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub fn failure(&self, text: impl fmt::Display) -> ConnectFailure {
        ConnectFailure::new(ErrorKind::Proxy, format!("the proxy {} {text}", self.name))
    }

    /// How a 407 of it is told.
    pub fn wants_credentials(&self) -> ConnectFailure {
        let why = match self.authorization {
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
    /// server is in this request.
    pub async fn tunnel(&self, stream: Tcp, target: &str) -> Result<Tcp, ConnectFailure> {
        let mut request = Request::connect(target)
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.failure(format_args!("cannot be asked for {target}: {error}")))?;
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::from_str(target) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(value) = &self.authorization {
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

    fn broken(&self, error: &hyper::Error) -> ConnectFailure {
        if error.is_parse() {
            return self.failure(format_args!(
                "does not answer in HTTP/1.1: {}",
                chain(error)
            ));
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return self.failure("closed the connection before it answered");
        }
        self.failure(format_args!("broke the connection: {}", chain(error)))
    }
}

/// Which proxy the host wants.
#[derive(Clone, Default)]
pub enum Choice {
    /// That of the environment's variables, if any.
    #[default]
    Environment,
    None,
    Always(Arc<Proxy>),
}

impl Choice {
    /// Reads the environment, if that is what counts.
    pub fn proxies(&self) -> Proxies {
        match self {
            Self::Environment => Proxies::from_variables(|name| std::env::var_os(name)),
            Self::None => Proxies::default(),
            Self::Always(proxy) => Proxies::new(Chosen {
                http: Some(Ok(proxy.clone())),
                https: Some(Ok(proxy.clone())),
                exempt: None,
            }),
        }
    }
}

/// A variable that names no proxy counts when a request would need it.
type Found = Option<Result<Arc<Proxy>, Error>>;

/// Which requests go through which proxy.
///
/// Most have none, and each client has this.
#[derive(Default)]
pub struct Proxies(Option<Box<Chosen>>);

struct Chosen {
    http: Found,
    https: Found,
    /// Finds a proxy for all that do not go around it.
    exempt: Option<Matcher>,
}

impl Chosen {
    fn exempts(&self, uri: &Uri) -> bool {
        let exempt = self.exempt.as_ref();
        exempt.is_some_and(|it| it.intercept(uri).is_none())
    }
}

impl Proxies {
    fn new(chosen: Chosen) -> Self {
        Self(Some(Box::new(chosen)))
    }

    /// Of these variables curl's rules hold. HTTP_PROXY does not count, as in a
    /// CGI program it is a header of whoever sent the request.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).filter(|it| !it.is_empty())?;
                Some((*name, value))
            })
        };
        let proxy = |names: &[&'static str]| {
            let (name, value) = first(names).or_else(|| first(&["all_proxy", "ALL_PROXY"]))?;
            let parsed = match value.to_str() {
                Some(text) => Proxy::parse(text).map(Arc::new),
                None => Err(Error::call(ErrorKind::InvalidUrl, "url: is not UTF-8")),
            };
            Some(parsed.map_err(|mut error| {
                let why = error.message.trim_start_matches("url: ");
                error.message = format!("the environment's {name}: {why}");
                error.kind = ErrorKind::InvalidUrl;
                error
            }))
        };
        let (http, https) = (
            proxy(&["http_proxy"]),
            proxy(&["https_proxy", "HTTPS_PROXY"]),
        );
        if http.is_none() && https.is_none() {
            return Self::default();
        }
        let mut exempt = None;
        if let Some((_, list)) = first(&["no_proxy", "NO_PROXY"]) {
            let list = list.to_string_lossy();
            let entries: Vec<&str> = list
                .split(|c: char| c == ',' || c.is_whitespace())
                .map(|it| it.trim_matches(['[', ']']))
                .collect();
            // The matcher takes the star for names only.
            if entries.contains(&"*") {
                return Self::default();
            }
            let matcher = Matcher::builder().all("http://any").no(entries.join(","));
            exempt = Some(matcher.build());
        }
        Self::new(Chosen {
            http,
            https,
            exempt,
        })
    }

    /// The proxy that a request goes through.
    pub fn of(&self, uri: &Uri) -> Result<Option<&Arc<Proxy>>, &Error> {
        let Some(chosen) = &self.0 else {
            return Ok(None);
        };
        let found = match uri.scheme_str() {
            Some("https") => &chosen.https,
            _ => &chosen.http,
        };
        match found {
            None => Ok(None),
            Some(_) if chosen.exempts(uri) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(error)) => Err(error),
        }
    }

    /// What must not be read anywhere.
    pub fn secrets(&self) -> Vec<String> {
        let chosen = self.0.iter().flat_map(|it| [&it.http, &it.https]);
        let proxies = chosen.flatten().flatten();
        proxies
            .flat_map(|it| Authorization::new(it.authorization.clone()).secrets())
            .collect()
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

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            let found = variables.iter().find(|it| it.0 == name);
            found.map(|it| it.1.into())
        })
    }

    /// The proxy's host and port, "" for none, or the error.
    fn of(proxies: &Proxies, uri: &str) -> String {
        match proxies.of(&uri.parse().unwrap()) {
            Ok(None) => String::new(),
            Ok(Some(proxy)) => proxy.name().to_owned(),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::InvalidUrl);
                error.message.clone()
            }
        }
    }

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
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!(proxy.name(), name, "{text}");
            assert_eq!(proxy.uri().to_string(), format!("http://{name}/"));
        }
        for (bad, why) in [
            ("", "host"),
            ("http://", "host"),
            ("https://proxy", "scheme"),
            ("socks5://proxy:1080", "scheme"),
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
        let secrets = Choice::Always(Arc::new(proxy)).proxies().secrets();
        assert!(secrets.contains(&"open sesame".to_owned()));
        assert!(secrets.contains(&"QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned()));
        let proxy = Proxy::parse("http://a-token@proxy").unwrap();
        let secrets = Choice::Always(Arc::new(proxy)).proxies().secrets();
        assert!(secrets.contains(&"a-token".to_owned()));
    }

    #[test]
    fn the_environment_is_read_as_curl_reads_it_204() {
        let (http, https) = ("http://h/cometd", "https://h/cometd");
        for (variables, at_http, at_https) in [
            (&[][..], "", ""),
            (&[("http_proxy", "a:1")], "a:1", ""),
            (&[("HTTP_PROXY", "a:1")], "", ""),
            (&[("https_proxy", "a:1")], "", "a:1"),
            (&[("HTTPS_PROXY", "a:1")], "", "a:1"),
            (&[("https_proxy", "a:1"), ("HTTPS_PROXY", "b:1")], "", "a:1"),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "b:1")], "", "b:1"),
            (&[("all_proxy", "a:1")], "a:1", "a:1"),
            (&[("ALL_PROXY", "a:1")], "a:1", "a:1"),
            (&[("ALL_PROXY", "a:1"), ("http_proxy", "b:1")], "b:1", "a:1"),
            (&[("http_proxy", "a:1"), ("no_proxy", "h")], "", ""),
            (&[("http_proxy", "a:1"), ("NO_PROXY", "*")], "", ""),
        ] {
            let proxies = proxies(variables);
            assert_eq!(of(&proxies, http), at_http, "{variables:?}");
            assert_eq!(of(&proxies, https), at_https, "{variables:?}");
        }
    }

    #[test]
    fn what_no_proxy_names_goes_directly_204() {
        let list = "example.com .inner.net,10.0.0.0/8, 127.0.0.1  [::1] *.star.org";
        let proxies = proxies(&[("all_proxy", "p:1"), ("no_proxy", list)]);
        for direct in [
            "http://example.com/",
            "https://EXAMPLE.com:8443/",
            "http://www.example.com/",
            "http://inner.net/",
            "http://a.inner.net/",
            "http://10.1.2.3/",
            "http://127.0.0.1:8080/",
            "http://[::1]:8080/",
        ] {
            assert_eq!(of(&proxies, direct), "", "{direct}");
        }
        for through in [
            "http://notexample.com/",
            "http://example.com.org/",
            "http://11.1.2.3/",
            "http://localhost/",
            "http://[::2]/",
            "http://a.star.org/",
        ] {
            assert_eq!(of(&proxies, through), "p:1", "{through}");
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_told_where_it_would_count_204() {
        let variables = [
            ("http_proxy", "p:1"),
            ("ALL_PROXY", "socks5://user:secret@p:1"),
            ("no_proxy", "direct"),
        ];
        let proxies = proxies(&variables);
        assert_eq!(of(&proxies, "http://h/"), "p:1");
        assert_eq!(of(&proxies, "https://direct/"), "");
        let told = of(&proxies, "https://h/");
        assert!(told.starts_with("the environment's ALL_PROXY: "), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}
