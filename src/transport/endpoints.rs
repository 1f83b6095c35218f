//! Which URL a request goes to.

use std::fmt::Display;

use hyper::header::HeaderValue;
use hyper::http::uri::Parts;
use hyper::Uri;
use url::Url;

use crate::error::{Error, ErrorKind};
use crate::session::Endpoint;

/// Longer URLs are refused by most servers, and are a mistake.
pub const MAXIMUM_URL: usize = 8_000;

/// When the message's type is appended to the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Append {
    /// Unless the URL has a query or its last segment a dot.
    #[default]
    Auto,
    Always,
    Never,
}

/// Paths to resolve on the URL, one for each kind of request.
#[derive(Debug, Clone, Default)]
pub struct BasePaths {
    pub handshake: Option<String>,
    pub subscribe: Option<String>,
    pub connect: Option<String>,
    pub disconnect: Option<String>,
    pub websocket: Option<String>,
}

/// A URL, and the same for hyper.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: Url,
    pub uri: Uri,
}

impl Target {
    pub fn new(url: Url) -> Result<Self, Error> {
        let uri = uri_of(&url)?;
        Ok(Self { url, uri })
    }

    /// What a server is asked for (RFC 9112, section 3.2.1).
    pub fn path(&self) -> Result<Uri, Error> {
        let mut parts = Parts::default();
        parts.path_and_query = self.uri.path_and_query().cloned();
        Uri::from_parts(parts).map_err(unusable)
    }

    /// Which of a server's hosts is asked (RFC 9110, section 7.2). The port of the
    /// scheme is not in a URL any more.
    pub fn host(&self) -> Result<HeaderValue, Error> {
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        HeaderValue::from_str(authority).map_err(unusable)
    }

    /// For people to read: a query may hold what is nobody's business.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }
}

fn unusable(error: impl Display) -> Error {
    Error::call(ErrorKind::InvalidUrl, format!("url: {error}"))
}

#[derive(Debug)]
pub struct Endpoints {
    handshake: Target,
    connect: Target,
    disconnect: Target,
    messages: Target,
    websocket: Target,
}

/// Checks the URL that the host gave.
pub fn parse(text: &str) -> Result<Url, Error> {
    let fail = |why: String| Err(Error::call(ErrorKind::InvalidUrl, format!("url: {why}")));
    if text.is_empty() {
        return fail("is empty".into());
    }
    if text.len() > MAXIMUM_URL {
        return fail(format!("is longer than {MAXIMUM_URL} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return fail("holds a space or a control character".into());
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return fail("is relative; it starts with http:// or https://".into())
        }
        Err(error) => return fail(error.to_string()),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return fail(format!(
            "has the scheme {}; it starts with http:// or https://",
            url.scheme()
        ));
    }
    // The parser repairs what browsers repair; "http:///x" names no host.
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    if authority.is_empty() || authority.starts_with(['/', '?', '#']) || text.contains('\\') {
        return fail("has no host".into());
    }
    Ok(url)
}

/// The host of a URL as advice would name it.
pub fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The credentials in a URL, percent-decoded.
pub fn userinfo(url: &Url) -> Result<Option<(String, Option<String>)>, Error> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text: &str| {
        String::from_utf8(percent_decode(text))
            .map_err(|_| Error::call(ErrorKind::NotUtf8, "url: the user or password is not UTF-8"))
    };
    let user = decode(url.username())?;
    let password = url.password().map(decode).transpose()?;
    Ok(Some((user, password)))
}

fn percent_decode(text: &str) -> Vec<u8> {
    // application/x-www-form-urlencoded would also turn '+' into a space.
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
        if byte == b'%' {
            let mut ahead = bytes.clone();
            if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
                continue;
            }
        }
        decoded.push(byte);
    }
    decoded
}

/// Checks that a base path leads to a place of the same server.
pub fn check_base_path(url: &Url, path: &str) -> Result<(), Error> {
    resolve(url, path).map(drop)
}

/// Resolves a base path (RFC 3986, section 5) on the URL, which counts as a
/// folder whether or not it ends in a slash.
fn resolve(url: &Url, path: &str) -> Result<Url, Error> {
    let fail = |why: String| {
        Err(Error::call(
            ErrorKind::InvalidArgument,
            format!("path: {why}"),
        ))
    };
    if path.len() > MAXIMUM_URL {
        return fail(format!("is longer than {MAXIMUM_URL} bytes"));
    }
    if path.chars().any(|c| c.is_control() || c == ' ') {
        return fail("holds a space or a control character".into());
    }
    let resolved = match folder(url).join(path) {
        Ok(resolved) => resolved,
        Err(error) => return fail(error.to_string()),
    };
    if resolved.origin() != url.origin() {
        return fail("leads to another server".into());
    }
    Ok(resolved)
}

fn folder(url: &Url) -> Url {
    let mut folder = url.clone();
    if !folder.path().ends_with('/') {
        folder.set_path(&format!("{}/", url.path()));
    }
    folder
}

fn appends(url: &Url, append: Append) -> bool {
    match append {
        Append::Always => true,
        Append::Never => false,
        Append::Auto => {
            let last = url.path().rsplit('/').find(|segment| !segment.is_empty());
            url.query().is_none() && !last.is_some_and(|segment| segment.contains('.'))
        }
    }
}

/// A URL as hyper takes it.
pub fn uri_of(url: &Url) -> Result<Uri, Error> {
    // Userinfo never belongs into a request's target.
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url.as_str()
        .parse()
        .map_err(|error| Error::call(ErrorKind::InvalidUrl, format!("url: {error}")))
}

impl Endpoints {
    pub fn new(url: &Url, paths: &BasePaths, append: Append) -> Result<Self, Error> {
        let mut url = url.clone();
        // The credentials travel in a header (RFC 7617), the fragment not at all.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let appends = appends(&url, append);
        let base = |path: &Option<String>| match path {
            Some(path) => resolve(&url, path),
            None if appends => Ok(folder(&url)),
            None => Ok(url.clone()),
        };
        let named = |path: &Option<String>, name: &str| -> Result<Target, Error> {
            let mut base = base(path)?;
            if appends {
                base = folder(&base);
                base.set_path(&format!("{}{name}", base.path()));
            }
            Target::new(base)
        };
        Ok(Self {
            handshake: named(&paths.handshake, "handshake")?,
            connect: named(&paths.connect, "connect")?,
            disconnect: named(&paths.disconnect, "disconnect")?,
            messages: Target::new(base(&paths.subscribe)?)?,
            websocket: Target::new(match &paths.websocket {
                Some(path) => resolve(&url, path)?,
                None => url.clone(),
            })?,
        })
    }

    pub fn target(&self, endpoint: Endpoint) -> &Target {
        match endpoint {
            Endpoint::Handshake => &self.handshake,
            Endpoint::Connect => &self.connect,
            Endpoint::Disconnect => &self.disconnect,
            Endpoint::Messages => &self.messages,
        }
    }

    /// Where a WebSocket is opened: the URL to the letter, unless it has a path of its
    /// own. Servers refuse an upgrade where a slash or a message's type is added.
    pub fn websocket(&self) -> &Target {
        &self.websocket
    }

    /// The same places at another host, `name` or `name:port`; without a port
    /// it is the same one. `None` when that is no host.
    pub fn at_host(&self, host: &str) -> Option<Self> {
        let at = |target: &Target| {
            let mut url = target.url.clone();
            let other = Url::parse(&format!("{}://{host}/", url.scheme())).ok()?;
            let is_plain = other.path() == "/"
                && other.username().is_empty()
                && other.password().is_none()
                && other.query().is_none()
                && other.fragment().is_none();
            url.set_host(other.host_str().filter(|_| is_plain)).ok()?;
            // The parser takes the default port for none.
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| {
                !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit())
            });
            if has_port {
                url.set_port(other.port_or_known_default()).ok()?;
            }
            Target::new(url).ok()
        };
        Some(Self {
            handshake: at(&self.handshake)?,
            connect: at(&self.connect)?,
            disconnect: at(&self.disconnect)?,
            messages: at(&self.messages)?,
            websocket: at(&self.websocket)?,
        })
    }

    pub fn is_https(&self) -> bool {
        self.messages.url.scheme() == "https"
    }

    /// The URL for all that has no name of its own.
    pub fn base(&self) -> &Url {
        &self.messages.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(url: &str, paths: BasePaths, append: Append) -> [String; 4] {
        let endpoints = Endpoints::new(&parse(url).unwrap(), &paths, append).unwrap();
        [
            Endpoint::Handshake,
            Endpoint::Connect,
            Endpoint::Disconnect,
            Endpoint::Messages,
        ]
        .map(|endpoint| endpoints.target(endpoint).uri.to_string())
    }

    #[test]
    fn another_host_has_the_same_places_60() {
        let at = |url: &str, host: &str| {
            let endpoints =
                Endpoints::new(&parse(url).unwrap(), &BasePaths::default(), Append::Auto).unwrap();
            let other = endpoints.at_host(host)?;
            Some(other.target(Endpoint::Connect).uri.to_string())
        };
        let url = "http://a:8080/cometd";
        assert_eq!(
            at(url, "b").unwrap(),
            "http://b:8080/cometd/connect",
            "the same port"
        );
        assert_eq!(at(url, "b:81").unwrap(), "http://b:81/cometd/connect");
        assert_eq!(at(url, "b:80").unwrap(), "http://b/cometd/connect");
        assert_eq!(
            at(url, "[::1]").unwrap(),
            "http://[::1]:8080/cometd/connect"
        );
        assert_eq!(at(url, "[::1]:9").unwrap(), "http://[::1]:9/cometd/connect");
        assert_eq!(
            at("https://a/c", "b:444").unwrap(),
            "https://b:444/c/connect"
        );
        for bad in [
            "", ":", "b:99999", "b:x", "b/c", "u@b", "b?c", "b#c", "[::1", "a b",
        ] {
            assert_eq!(at(url, bad), None, "{bad:?}");
        }
    }

    fn path(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn nothing_set() {
        for url in [
            "http://[::1]:1025/notifications/",
            "http://[::1]:1025/notifications",
        ] {
            assert_eq!(
                endpoints(url, BasePaths::default(), Append::Auto),
                [
                    "http://[::1]:1025/notifications/handshake",
                    "http://[::1]:1025/notifications/connect",
                    "http://[::1]:1025/notifications/disconnect",
                    "http://[::1]:1025/notifications/",
                ]
            );
        }
        assert_eq!(
            endpoints("http://example.com", BasePaths::default(), Append::Auto),
            [
                "http://example.com/handshake",
                "http://example.com/connect",
                "http://example.com/disconnect",
                "http://example.com/",
            ]
        );
    }

    #[test]
    fn base_paths() {
        let paths = BasePaths {
            handshake: path("node/0/"),
            subscribe: path("sub/"),
            connect: path("con/"),
            disconnect: path("discon/"),
            websocket: None,
        };
        for url in [
            "http://[::1]:1025/notifications/",
            "http://[::1]:1025/notifications",
        ] {
            assert_eq!(
                endpoints(url, paths.clone(), Append::Auto),
                [
                    "http://[::1]:1025/notifications/node/0/handshake",
                    "http://[::1]:1025/notifications/con/connect",
                    "http://[::1]:1025/notifications/discon/disconnect",
                    "http://[::1]:1025/notifications/sub/",
                ]
            );
        }
    }

    #[test]
    fn a_websocket_is_opened_at_the_url_to_the_letter_223() {
        let at = |url: &str, websocket: &str| {
            let paths = BasePaths {
                handshake: path("node/0/"),
                subscribe: path("sub/"),
                websocket: path(websocket).filter(|it| !it.is_empty()),
                ..BasePaths::default()
            };
            let endpoints = Endpoints::new(&parse(url).unwrap(), &paths, Append::Always).unwrap();
            let other = endpoints.at_host("b:81").unwrap();
            (
                endpoints.websocket().uri.to_string(),
                other.websocket().uri.to_string(),
            )
        };
        for (url, websocket, wanted) in [
            ("/cometd", "", "/cometd"),
            ("/cometd/", "", "/cometd/"),
            ("/cometd?a=b%20c", "", "/cometd?a=b%20c"),
            ("/cometd", "socket", "/cometd/socket"),
            ("/cometd/", "/socket?x", "/socket?x"),
        ] {
            let (given, advised) = at(&format!("http://u:p@h{url}"), websocket);
            assert_eq!(given, format!("http://h{wanted}"));
            assert_eq!(advised, format!("http://b:81{wanted}"));
        }
    }

    #[test]
    fn base_paths_are_resolved_as_rfc_3986_says() {
        let paths = BasePaths {
            handshake: path("/top/"),
            connect: path("../up/"),
            disconnect: path("no-slash"),
            subscribe: path("a%20b/?q=%2F"),
            websocket: None,
        };
        assert_eq!(
            endpoints("http://h/a/b/", paths, Append::Auto),
            [
                "http://h/top/handshake",
                "http://h/a/up/connect",
                "http://h/a/b/no-slash/disconnect",
                "http://h/a/b/a%20b/?q=%2F",
            ]
        );
        let url = parse("http://h/a/").unwrap();
        for bad in ["http://other/", "//other/x", "https://h/", "a b", "a\nb"] {
            assert!(check_base_path(&url, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn append_auto_always_never() {
        let plain = BasePaths::default;
        for url in [
            "https://x.salesforce.com/cometd/60.0",
            "https://x.salesforce.com/cometd/60.0/",
            "http://h/cometd?token=1",
        ] {
            assert_eq!(
                endpoints(url, plain(), Append::Auto),
                [url, url, url, url],
                "{url}"
            );
        }
        let dotted_folder = endpoints("http://h/v1.0/cometd", plain(), Append::Auto);
        assert_eq!(dotted_folder[0], "http://h/v1.0/cometd/handshake");
        let always = endpoints("http://h/cometd/60.0?q=1", plain(), Append::Always);
        assert_eq!(always[0], "http://h/cometd/60.0/handshake?q=1");
        assert_eq!(always[3], "http://h/cometd/60.0/?q=1");
        let never = endpoints("http://h/cometd", plain(), Append::Never);
        assert_eq!(never, ["http://h/cometd"; 4]);
    }

    #[test]
    fn ports_userinfo_and_encoding() {
        let url = parse("http://us%40er:p%3Aw%C2%A3@[::1]:8080/a%2Fb/é").unwrap();
        assert_eq!(
            userinfo(&url).unwrap(),
            Some(("us@er".into(), Some("p:w£".into())))
        );
        let endpoints = Endpoints::new(&url, &BasePaths::default(), Append::Auto).unwrap();
        assert_eq!(
            endpoints.target(Endpoint::Connect).uri,
            "http://[::1]:8080/a%2Fb/%C3%A9/connect"
        );
        assert_eq!(userinfo(&parse("http://h/").unwrap()).unwrap(), None);
        assert_eq!(
            userinfo(&parse("http://u@h/").unwrap()).unwrap(),
            Some(("u".into(), None))
        );
        assert!(userinfo(&parse("http://%ff@h/").unwrap()).is_err());
    }

    #[test]
    fn bad_urls_are_refused() {
        let long = format!("http://h/{}", "a".repeat(MAXIMUM_URL));
        for (bad, why) in [
            ("", "empty"),
            ("cometd", "relative"),
            ("/cometd", "relative"),
            ("ftp://h/x", "scheme ftp"),
            ("file:///x", "scheme file"),
            ("http://", "host"),
            ("http:///x", "host"),
            ("http:/x", "host"),
            ("http:x", "host"),
            ("http:\\\\x", "host"),
            ("http://h:99999/", "port"),
            ("http://[::1/", "IPv6"),
            ("http://h/ x", "space"),
            ("http://h/\n", "control"),
            (long.as_str(), "longer"),
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidUrl);
            assert!(error.message.contains(why), "{bad}: {}", error.message);
            assert!(error.message.starts_with("url: "));
        }
    }
}
