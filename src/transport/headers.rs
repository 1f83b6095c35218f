//! What each request of a client says of itself.

use std::sync::Arc;

use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    HOST, USER_AGENT,
};

use super::authorization;
use crate::error::{Error, ErrorKind};

/// The longest header value that is taken, and how many of the host's.
const LONGEST: usize = 64 * 1024;
pub const MOST: usize = 100;

/// What the library says it is.
pub const AGENT: &str = concat!("libcometd/", env!("CARGO_PKG_VERSION"));

/// JSON, or what else there is, rather than a refusal. Some firewalls refuse
/// requests that do not say.
const ACCEPTED: &str = "application/json, */*;q=0.1";

/// Places for what is not in every request: authorization, cookies, a proxy's. A
/// map that is full becomes twice as large before a header is so much as looked for
/// in it, which hyper does when it writes a request.
const SPARE: usize = 3;

/// A header as the host gives it, as the arguments `name` and `value`.
pub fn check(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let refuse = |kind, why: &str| Err(Error::call(kind, format!("name: {why}")));
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        return refuse(
            ErrorKind::InvalidHeader,
            "a header's name is made of letters, digits and !#$%&'*+-.^_`|~",
        );
    };
    match header.as_str() {
        "authorization" => {
            let value = authorization::any(value).map_err(|mut error| {
                error.message = error.message.replacen("header_value", "value", 1);
                error
            })?;
            return Ok((header, value));
        }
        "cookie" => {
            return refuse(
                ErrorKind::InvalidArgument,
                "cookies are added by cometd_client_builder_add_cookie",
            )
        }
        of_websocket if of_websocket.starts_with("sec-websocket-") => {
            return refuse(
                ErrorKind::InvalidArgument,
                "the headers of WebSocket belong to the transport; a protocol is asked for by \
                 cometd_client_builder_set_websocket_protocol",
            )
        }
        "host" | "content-length" | "content-type" | "transfer-encoding" | "connection"
        | "upgrade" | "te" | "trailer" | "expect" | "accept-encoding" | "keep-alive" => {
            return refuse(
                ErrorKind::InvalidArgument,
                "this header belongs to the transport",
            )
        }
        "proxy-authorization" => {
            return refuse(
                ErrorKind::InvalidArgument,
                "a proxy's user and password are given by cometd_client_builder_set_proxy",
            )
        }
        _ => {}
    }
    if value.len() > LONGEST {
        return Err(Error::call(
            ErrorKind::OutOfRange,
            format!("value: a header is at most {LONGEST} bytes long"),
        ));
    }
    Ok((header, authorization::header_value("value", value)?))
}

/// Whether the host may give another header beside so many.
pub fn check_number(given: usize) -> Result<(), Error> {
    if given >= MOST {
        return Err(Error::call(
            ErrorKind::OutOfRange,
            format!("name: there are at most {MOST} extra headers"),
        ));
    }
    Ok(())
}

/// The headers that are the same with each request, with places for Host and
/// Content-Length. Those that have the same share them.
#[derive(Clone)]
pub struct Headers(Arc<HeaderMap>);

impl Headers {
    /// With what the host gives beside the library's own, or in their place.
    pub fn new(given: &HeaderMap) -> Self {
        let mut headers = HeaderMap::with_capacity(given.keys_len() + 6 + SPARE);
        headers.insert(HOST, HeaderValue::from_static(""));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json;charset=UTF-8"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for name in given.keys() {
            headers.remove(name);
        }
        for (name, value) in given {
            headers.append(name, value.clone());
        }
        Self(Arc::new(headers))
    }

    /// Those of a request.
    pub fn of_request(&self, host: HeaderValue, length: usize) -> HeaderMap {
        let mut headers = HeaderMap::clone(&self.0);
        headers.insert(HOST, host);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self::new(&HeaderMap::new())
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{AUTHORIZATION, COOKIE};

    use super::*;

    #[test]
    fn what_differs_from_request_to_request_makes_the_map_no_larger() {
        let headers = Headers::default();
        let mut request = headers.of_request(HeaderValue::from_static("h:9"), 4);
        assert_eq!(request["host"], "h:9");
        assert_eq!(request["content-length"], "4");
        // As hyper looks for it when it writes the request.
        let _ = request.entry(CONTENT_LENGTH);
        request.insert(AUTHORIZATION, HeaderValue::from_static("a"));
        request.insert(COOKIE, HeaderValue::from_static("c"));
        assert_eq!(request.capacity(), headers.0.capacity());
    }

    #[test]
    fn the_hosts_own_stand_in_place_of_the_librarys() {
        let mut given = HeaderMap::new();
        given.append(ACCEPT, HeaderValue::from_static("text/plain"));
        given.append("x-two", HeaderValue::from_static("1"));
        given.append("x-two", HeaderValue::from_static("2"));
        let request = Headers::new(&given).of_request(HeaderValue::from_static("h"), 0);
        let all = |name: &str| request.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("accept"), ["text/plain"]);
        assert_eq!(all("x-two"), ["1", "2"]);
        assert_eq!(all("user-agent"), [AGENT]);
    }
}
