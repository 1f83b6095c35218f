//! The program's function that is asked for the headers of each request.

use std::ffi::CStr;
use std::panic::{catch_unwind, AssertUnwindSafe};

use hyper::header::HeaderMap;

use crate::delivery::HostCode;
use crate::error::{Error, ErrorKind, Failure};
use crate::session::Endpoint;
use crate::transport::endpoints::{Endpoints, Target};
use crate::transport::headers;

/// Sets headers of a request, or says why it cannot.
pub type HeaderProvider = dyn Fn(&mut OutgoingRequest) -> Result<(), String> + Send + Sync;

/// A request before it is sent.
pub struct OutgoingRequest {
    method: &'static CStr,
    endpoint: Option<Endpoint>,
    /// These two with a NUL at the end.
    url: String,
    body: Vec<u8>,
    headers: HeaderMap,
}

impl OutgoingRequest {
    /// A request of long polling; its body is still to come.
    pub(super) fn post(endpoints: &Endpoints, endpoint: Endpoint) -> Self {
        let target = endpoints.target(endpoint);
        Self::new(c"POST", Some(endpoint), target)
    }

    /// The request that opens a WebSocket.
    #[allow(dead_code)] // Until upgrades ask for headers.
    pub(super) fn upgrade(endpoints: &Endpoints) -> Self {
        Self::new(c"GET", None, endpoints.websocket())
    }

    fn new(method: &'static CStr, endpoint: Option<Endpoint>, target: &Target) -> Self {
        let mut url = target.url.clone();
        url.set_fragment(None);
        Self {
            method,
            endpoint,
            url: String::from(url) + "\0",
            body: Vec::new(),
            headers: HeaderMap::new(),
        }
    }

    pub fn method(&self) -> &'static CStr {
        self.method
    }

    /// `None`: it opens a WebSocket.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint
    }

    /// Without user and password, with the query. Behind it is a NUL.
    pub fn url(&self) -> &str {
        self.url.strip_suffix('\0').unwrap_or(&self.url)
    }

    /// Behind it is a NUL.
    pub fn body(&self) -> &[u8] {
        self.body.strip_suffix(b"\0").unwrap_or_default()
    }

    /// Of one name the last one counts.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = headers::check(name, value)?;
        if !self.headers.contains_key(&name) {
            headers::check_number(self.headers.len())?;
        }
        self.headers.insert(name, value);
        Ok(())
    }

    /// Asks the provider about a request with this body.
    pub(super) fn ask(
        mut self,
        provider: &HeaderProvider,
        body: &mut Vec<u8>,
    ) -> Result<Box<HeaderMap>, Failure> {
        self.body = std::mem::take(body);
        self.body.push(0);
        let result = {
            let _host = HostCode::enter();
            catch_unwind(AssertUnwindSafe(|| provider(&mut self)))
        };
        self.body.pop();
        *body = self.body;
        match result.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(()) => Ok(Box::new(self.headers)),
            Err(why) => Err(Failure::new(
                ErrorKind::Credentials,
                format!("the header provider failed: {why}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::endpoints::{parse, Append, BasePaths};

    fn request() -> OutgoingRequest {
        let url = parse("http://u:p@h/cometd?a=b#c").unwrap();
        let endpoints = Endpoints::new(&url, &BasePaths::default(), Append::default()).unwrap();
        OutgoingRequest::post(&endpoints, Endpoint::Connect)
    }

    #[test]
    fn the_provider_sees_what_goes_out_and_no_password() {
        let mut body = b"[{}]".to_vec();
        let headers = request().ask(
            &|it| {
                assert!(crate::delivery::in_callback());
                assert_eq!(
                    (it.method(), it.endpoint()),
                    (c"POST", Some(Endpoint::Connect))
                );
                assert_eq!((it.url(), it.body()), ("http://h/cometd?a=b", &b"[{}]"[..]));
                it.set_header("X-Signature", "a").unwrap();
                it.set_header("x-signature", "b").unwrap();
                it.set_header("Authorization", "Sign c").unwrap();
                Ok(())
            },
            &mut body,
        );
        let headers = headers.unwrap();
        assert_eq!(
            (headers.len(), &headers["x-signature"]),
            (2, &"b".parse().unwrap())
        );
        assert_eq!(headers["authorization"], "Sign c");
        assert_eq!(body, b"[{}]");
    }

    #[test]
    fn one_that_fails_or_panics_fails_its_request_only() {
        let failures: [(&HeaderProvider, &str); 2] = [
            (&|_| Err("it returned 7".into()), "it returned 7"),
            (&|_| panic!("a test asked for it"), "it panicked"),
        ];
        for (provider, why) in failures {
            let failure = request().ask(provider, &mut Vec::new()).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::Credentials);
            assert_eq!(failure.text, format!("the header provider failed: {why}"));
        }
    }

    #[test]
    fn headers_that_are_refused_change_nothing() {
        let provider: &HeaderProvider = &|it| {
            it.set_header("x-0", "kept").unwrap();
            for (name, value, kind) in [
                ("Host", "h", ErrorKind::InvalidArgument),
                ("Cookie", "a=b", ErrorKind::InvalidArgument),
                ("Content-Length", "1", ErrorKind::InvalidArgument),
                ("Sec-WebSocket-Key", "k", ErrorKind::InvalidArgument),
                ("a b", "1", ErrorKind::InvalidHeader),
                ("x-0", "a\r\nb: c", ErrorKind::InvalidHeader),
                ("Authorization", "", ErrorKind::InvalidArgument),
            ] {
                assert_eq!(it.set_header(name, value).unwrap_err().kind, kind, "{name}");
            }
            for number in 1..headers::MOST {
                it.set_header(&format!("x-{number}"), "").unwrap();
            }
            let more = it.set_header("x-more", "1").unwrap_err();
            assert_eq!(more.kind, ErrorKind::OutOfRange);
            it.set_header("x-1", "again").unwrap();
            Ok(())
        };
        let headers = request().ask(provider, &mut Vec::new()).unwrap();
        assert_eq!(
            (headers.len(), &headers["x-0"]),
            (headers::MOST, &"kept".parse().unwrap())
        );
    }
}
