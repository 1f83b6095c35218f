//! The program's function that is asked for the headers of each request.

use std::ffi::CStr;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use hyper::header::HeaderMap;

use super::question::{Answer, Question};
use super::shared::Shared;
use crate::delivery::HostCode;
use crate::error::{Error, ErrorKind, Failure};
use crate::session::{Endpoint, Millis};
use crate::transport::endpoints::{Endpoints, Target};
use crate::transport::headers;

/// Sets headers of a request, or says why it cannot.
pub type HeaderProvider = dyn Fn(&Arc<OutgoingRequest>) -> Result<(), String> + Send + Sync;

/// A request before it is sent.
pub struct OutgoingRequest {
    method: &'static CStr,
    endpoint: Option<Endpoint>,
    /// These two with a NUL at the end.
    url: String,
    body: Arc<Vec<u8>>,
    /// Once the host is asked about it.
    question: Option<Arc<Question<HeaderMap>>>,
}

impl OutgoingRequest {
    /// A request of long polling; its body is still to come.
    pub(super) fn post(endpoints: &Endpoints, endpoint: Endpoint) -> Self {
        let target = endpoints.target(endpoint);
        Self::new(c"POST", Some(endpoint), target)
    }

    /// The request that opens a WebSocket.
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
            body: Arc::default(),
            question: None,
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
    pub fn set_header(&self, name: &str, value: &str) -> Result<(), Error> {
        let (name, value) = headers::check(name, value)?;
        let Some(question) = &self.question else {
            return Ok(());
        };
        question.change(|all| {
            if !all.contains_key(&name) {
                headers::check_number(all.len())?;
            }
            all.insert(name, value);
            Ok(())
        })
    }

    pub fn fail(&self, why: Option<&str>) -> Result<(), Error> {
        self.question.as_ref().map_or(Ok(()), |it| it.fail(why))
    }

    /// Its headers are complete when it is released. False in a forked child.
    pub fn retain(&self) -> bool {
        self.question.as_ref().is_some_and(|it| it.retain())
    }

    /// False when it was not retained.
    pub fn release(&self) -> bool {
        self.question.as_ref().is_some_and(|it| it.release())
    }

    /// Asks the provider about a request with this body. The answer may come later.
    pub(super) fn ask(
        mut self,
        provider: Arc<HeaderProvider>,
        mut body: Vec<u8>,
        client: &Arc<Shared>,
        until: Millis,
        finish: impl FnOnce(Vec<u8>, Result<Box<HeaderMap>, Failure>) + Send + 'static,
    ) {
        body.push(0);
        let body = Arc::new(body);
        self.body = body.clone();
        let of = Arc::downgrade(client);
        let deliver = move |answer: Answer<HeaderMap>| {
            let headers = answer.map(Box::new).map_err(|why| {
                let text = format!("the header provider failed: {why}");
                Failure::new(ErrorKind::Credentials, text)
            });
            if let (Ok(headers), Some(client)) = (&headers, of.upgrade()) {
                client.secrets.remember_headers(headers);
            }
            let mut body = Arc::unwrap_or_clone(body);
            body.pop();
            finish(body, headers);
        };
        let none = Some(HeaderMap::new());
        let nothing = |_| Ok(HeaderMap::new());
        let question = Question::new("request", client, until, none, nothing, deliver);
        let question = Arc::new(question);
        self.question = Some(question.clone());
        let request = Arc::new(self);
        let result = {
            let _host = HostCode::enter();
            catch_unwind(AssertUnwindSafe(|| provider(&request)))
        };
        // Before the client learns of it: it may be the last one.
        drop(provider);
        // Unless it was retained nobody else has the body now.
        drop(request);
        question.returned(result.unwrap_or_else(|_| Err("it panicked".to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, Receiver};
    use std::sync::Mutex;

    use super::*;
    use crate::client::{Builder, Client};
    use crate::runtime::lock;
    use crate::transport::endpoints::{parse, Append, BasePaths};

    fn request() -> OutgoingRequest {
        let url = parse("http://u:p@h/cometd?a=b#c").unwrap();
        let endpoints = Endpoints::new(&url, &BasePaths::default(), Append::default()).unwrap();
        OutgoingRequest::post(&endpoints, Endpoint::Connect)
    }

    type Done = (Vec<u8>, Result<Box<HeaderMap>, Failure>);

    /// What became of a request with this body, and the client that it is of.
    fn ask(
        body: &[u8],
        provider: impl Fn(&Arc<OutgoingRequest>) -> Result<(), String> + Send + Sync + 'static,
    ) -> (Client, Receiver<Done>) {
        let client = Builder::new("http://h/cometd").unwrap().build().unwrap();
        let (send, receive) = channel();
        let until = Millis::MAX;
        let finish = move |body, headers| send.send((body, headers)).unwrap();
        request().ask(
            Arc::new(provider),
            body.to_vec(),
            &client.shared,
            until,
            finish,
        );
        (client, receive)
    }

    #[test]
    fn the_provider_sees_what_goes_out_and_no_password() {
        let (_client, done) = ask(b"[{}]", |it| {
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
        });
        let (body, headers) = done.try_recv().unwrap();
        let headers = headers.unwrap();
        assert_eq!(
            (headers.len(), &headers["x-signature"]),
            (2, &"b".parse().unwrap())
        );
        assert_eq!(headers["authorization"], "Sign c");
        assert_eq!(body, b"[{}]");
    }

    #[test]
    fn one_that_is_retained_is_complete_when_it_is_released() {
        let (give, take) = channel();
        let give = Mutex::new(give);
        let (client, done) = ask(b"[{}]", move |it| {
            it.set_header("x-a", "1").unwrap();
            assert!(it.retain());
            lock(&give).send(it.clone()).unwrap();
            Ok(())
        });
        let request = take.recv().unwrap();
        request.set_header("x-b", "secret-of-b").unwrap();
        assert!(done.try_recv().is_err());
        assert_eq!(request.body(), b"[{}]");
        assert!(request.release());
        let (body, headers) = done.try_recv().unwrap();
        let headers = headers.unwrap();
        assert_eq!((body.as_slice(), headers.len()), (&b"[{}]"[..], 2));
        let mut text = "secret-of-b".to_owned();
        client.shared.secrets.redact(&mut text);
        assert_eq!(text, "…");
        let late = request.set_header("x-c", "1").unwrap_err();
        assert_eq!(late.kind, ErrorKind::InvalidState);
        assert!(!request.release());
    }

    #[test]
    fn one_that_is_retained_can_fail() {
        let (give, take) = channel();
        let give = Mutex::new(give);
        let (_client, done) = ask(b"[{}]", move |it| {
            assert!(it.retain());
            lock(&give).send(it.clone()).unwrap();
            Ok(())
        });
        let request = take.recv().unwrap();
        request.fail(Some("no key")).unwrap();
        let failure = done.try_recv().unwrap().1.unwrap_err();
        assert_eq!(failure.text, "the header provider failed: no key");
        assert!(request.release());
        assert!(done.try_recv().is_err());
    }

    #[test]
    fn one_that_fails_or_panics_fails_its_request_only() {
        type Fails = fn() -> Result<(), String>;
        let failures: [(Fails, &str); 2] = [
            (|| Err("it returned 7".into()), "it returned 7"),
            (|| panic!("a test asked for it"), "it panicked"),
        ];
        for (provider, why) in failures {
            let (_client, done) = ask(b"", move |_| provider());
            let failure = done.try_recv().unwrap().1.unwrap_err();
            assert_eq!(failure.kind, ErrorKind::Credentials);
            assert_eq!(failure.text, format!("the header provider failed: {why}"));
        }
    }

    #[test]
    fn headers_that_are_refused_change_nothing() {
        let (_client, done) = ask(b"", |it| {
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
        });
        let headers = done.try_recv().unwrap().1.unwrap();
        assert_eq!(
            (headers.len(), &headers["x-0"]),
            (headers::MOST, &"kept".parse().unwrap())
        );
    }
}
