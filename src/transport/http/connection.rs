//! One connection to a server. A request drives it itself: there is no task for
//! a connection, and one whose request is given up is closed with it.
//!
//! A connect is held for half a minute and longer, and most of what a connection
//! takes are hyper's buffers. So hyper goes when nothing has come for a while,
//! and only the socket stays; see [`crate::transport::watched`] for how it comes back.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, TrySendError};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, Uri};

use crate::error::{ErrorKind, Failure};
use crate::transport::failures::http_failure;
use crate::transport::heads::Looked;
use crate::transport::leniencies::Leniencies;
use crate::transport::watched::{Heard, Watched};

type Sent = Request<Full<Bytes>>;
type Answer = Result<Response<Incoming>, TrySendError<Sent>>;

/// What a connection is made over.
pub trait Socket: Read + Write + Unpin + Send + 'static {}

impl<S: Read + Write + Unpin + Send + 'static> Socket for S {}

/// A connection to a server, or to a proxy.
pub struct Connection<S: Socket> {
    /// Of its first request; the later ones go to the same server.
    uri: Uri,
    state: State<S>,
    heard: Heard,
    to_proxy: bool,
}

enum State<S: Socket> {
    Awake(Box<Awake<S>>),
    Asleep(Box<Looked<Watched<S>>>),
    Ended,
}

struct Awake<S: Socket> {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` when it has ended.
    driver: Option<http1::Connection<Looked<Watched<S>>, Full<Bytes>>>,
}

/// Why there is no response.
pub struct Unanswered {
    pub failure: Failure,
    /// Nothing of the request has left, so that it may be sent again.
    pub unsent: bool,
}

impl<S: Socket> Awake<S> {
    async fn new(stream: Looked<Watched<S>>) -> Result<Box<Self>, Failure> {
        let made = http1::Builder::new()
            .title_case_headers(true)
            .handshake(stream)
            .await;
        let (sender, driver) = made.map_err(|error| http_failure(&error))?;
        let driver = Some(driver);
        Ok(Box::new(Self { sender, driver }))
    }

    /// Whether it is still open.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(driver) = &mut self.driver {
            // What went wrong, who waits for the response is told.
            if Pin::new(driver).poll(context).is_ready() {
                self.driver = None;
            }
        }
        self.driver.is_some()
    }
}

impl<S: Socket> Connection<S> {
    pub async fn new(
        uri: Uri,
        stream: Watched<S>,
        leniencies: Arc<Leniencies>,
    ) -> Result<Self, Failure> {
        let heard = stream.heard();
        let to_proxy = stream.is_to_proxy() && uri.scheme_str() == Some("http");
        let awake = Awake::new(Looked::new(stream, leniencies)).await?;
        Ok(Self {
            uri,
            state: State::Awake(awake),
            heard,
            to_proxy,
        })
    }

    /// Whether it leads to a proxy, which is told the whole URL of each request.
    pub fn is_to_proxy(&self) -> bool {
        self.to_proxy
    }

    pub fn is_to(&self, uri: &Uri) -> bool {
        self.uri.scheme() == uri.scheme() && self.uri.authority() == uri.authority()
    }

    /// Whether the server has answered here before, and has said nothing since the
    /// last request left: its closing crossed that on the way. Had a response
    /// begun, events may have been in it, and the host must hear of it.
    pub fn has_crossed(&self) -> bool {
        self.heard.nothing_anew()
    }

    /// Sends a request; its response, as far as its head.
    pub fn send<'a>(
        &'a mut self,
        request: Sent,
        quiet: &'a Quiet,
    ) -> impl Future<Output = Result<Response<Incoming>, Unanswered>> + 'a {
        // A box, since each future that it goes through has room for it.
        let answer = match &mut self.state {
            State::Awake(awake) => Some(Box::pin(awake.sender.try_send_request(request))),
            _ => None,
        };
        async move {
            let Some(answer) = answer else {
                return Err(ended(true));
            };
            if let Some(answered) = self.until_quiet(answer, quiet).await {
                return answered;
            }
            self.fall_asleep();
            #[cfg(test)]
            quiet.slept.fetch_add(1, Ordering::Relaxed);
            poll_fn(|context| self.poll_asleep(context)).await;
            Box::pin(self.wake()).await
        }
    }

    /// Waits for an answer, until nothing has been heard for a while.
    fn until_quiet<'a>(
        &'a mut self,
        mut answer: Pin<Box<impl Future<Output = Answer> + 'a>>,
        quiet: &'a Quiet,
    ) -> impl Future<Output = Option<Result<Response<Incoming>, Unanswered>>> + 'a {
        let listening = quiet.listen();
        poll_fn(move |context| {
            self.poll(context);
            match answer.as_mut().poll(context) {
                Poll::Ready(answered) => Poll::Ready(Some(answered.map_err(|error| Unanswered {
                    failure: http_failure(error.error()),
                    unsent: error.message().is_some(),
                }))),
                Poll::Pending if listening.is_over() && self.may_sleep() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
    }

    fn may_sleep(&self) -> bool {
        let State::Awake(awake) = &self.state else {
            return false;
        };
        awake.driver.is_some() && self.heard.is_quiet()
    }

    fn fall_asleep(&mut self) {
        let State::Awake(awake) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        if let Some(driver) = awake.driver {
            let parts = driver.into_parts();
            let mut stream = parts.io;
            stream.get_mut().leave(&parts.read_buf);
            self.state = State::Asleep(Box::new(stream));
        }
    }

    fn poll_asleep(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Asleep(stream) => stream.get_mut().poll_away(context),
            _ => Poll::Ready(()),
        }
    }

    /// The response to the request before it slept.
    async fn wake(&mut self) -> Result<Response<Incoming>, Unanswered> {
        let State::Asleep(stream) = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(ended(false));
        };
        let awake = Awake::new(*stream).await;
        let mut awake = awake.map_err(|failure| Unanswered {
            failure,
            unsent: false,
        })?;
        let mut stand_in = Sent::default();
        // hyper reads the response to this method.
        *stand_in.method_mut() = Method::POST;
        let answer = awake.sender.try_send_request(stand_in);
        self.state = State::Awake(awake);
        let answered = self.drive(answer).await;
        answered.map_err(|error| Unanswered {
            failure: http_failure(error.error()),
            unsent: false,
        })
    }

    /// Waits for what needs this connection's bytes.
    pub async fn drive<T>(&mut self, needs: impl Future<Output = T>) -> T {
        let mut needs = pin!(needs);
        poll_fn(|context| {
            // What is there already may be all that it needs.
            let polled = needs.as_mut().poll(context);
            if polled.is_ready() {
                return polled;
            }
            self.poll(context);
            needs.as_mut().poll(context)
        })
        .await
    }

    /// Whether it is still open.
    pub fn poll(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.state {
            State::Awake(awake) => awake.poll(context),
            _ => false,
        }
    }

    /// Whether the next request may be sent.
    pub fn is_ready(&mut self, context: &mut Context<'_>) -> bool {
        let State::Awake(awake) = &mut self.state else {
            return false;
        };
        if awake.driver.is_none() {
            return false;
        }
        match awake.sender.poll_ready(context) {
            Poll::Ready(ready) => ready.is_ok(),
            // The end of a response may be still to be read.
            Poll::Pending => {
                let is_open = awake.poll(context);
                is_open && matches!(awake.sender.poll_ready(context), Poll::Ready(Ok(())))
            }
        }
    }

    /// Ends it as the protocols below would have it, as far as that needs no
    /// waiting.
    pub fn close(self, context: &mut Context<'_>) {
        let State::Awake(awake) = self.state else {
            return;
        };
        let Awake { sender, driver } = *awake;
        drop(sender);
        if let Some(mut driver) = driver {
            let _ = Pin::new(&mut driver).poll(context);
        }
    }
}

/// No request gets here: one that has ended is not kept.
fn ended(unsent: bool) -> Unanswered {
    let text = "the connection has ended";
    Unanswered {
        failure: Failure::new(ErrorKind::ConnectionLost, text),
        unsent,
    }
}

/// How long the requests of a client have waited for a response: in ticks, which
/// cost a request nothing.
#[derive(Default)]
pub struct Quiet {
    ticks: AtomicUsize,
    /// Of so many requests.
    listening: AtomicUsize,
    /// So many have slept.
    #[cfg(test)]
    pub slept: AtomicUsize,
}

/// A request that waits.
struct Listening<'a> {
    quiet: &'a Quiet,
    since: usize,
}

impl Quiet {
    /// To be called again and again while [`Self::is_awaited`], and those who wait
    /// to be polled then. Between one and two such times after its last byte a
    /// connection sleeps.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_awaited(&self) -> bool {
        self.listening.load(Ordering::Relaxed) > 0
    }

    fn listen(&self) -> Listening<'_> {
        self.listening.fetch_add(1, Ordering::Relaxed);
        Listening {
            quiet: self,
            since: self.ticks.load(Ordering::Relaxed),
        }
    }
}

impl Listening<'_> {
    fn is_over(&self) -> bool {
        let now = self.quiet.ticks.load(Ordering::Relaxed);
        now.wrapping_sub(self.since) >= 2
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.quiet.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
