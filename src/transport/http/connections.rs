//! The connections of one client. A request takes one that was kept, or makes
//! one, and drives it itself: there is no task for a connection, and one whose
//! request is given up is closed with it. What a response leaves open is kept for
//! the next request, and seen to by the client's task.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, TrySendError};
use hyper::{Request, Response, Uri};
use tokio::time::{sleep_until, Instant, Sleep};

use super::connector::{Connector, Heard, Watched};
use super::failures::http_failure;
use super::heads::Looked;
use crate::error::Failure;
use crate::runtime::lock;
use crate::transport::leniencies::Leniencies;

/// Idle connections are closed by us before the five seconds after which many
/// servers close them, so that a publish is rarely sent into a closing one.
const IDLE: Duration = Duration::from_secs(4);
/// One for the held connect, one for everything else (Bayeux, section 2.3).
const MOST: usize = 2;

type Sent = Request<Full<Bytes>>;

/// A connection to a server, or to a proxy.
pub struct Connection {
    /// Of its first request; the later ones go to the same server.
    uri: Uri,
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` when it has ended.
    driver: Option<http1::Connection<Looked<Watched>, Full<Bytes>>>,
    heard: Heard,
    to_proxy: bool,
}

impl Connection {
    /// Whether it leads to a proxy, which is told the whole URL of each request.
    pub fn is_to_proxy(&self) -> bool {
        self.to_proxy
    }

    /// Whether the server has answered here before, and has said nothing since the
    /// last request left: its closing crossed that on the way. Had a response
    /// begun, events may have been in it, and the host must hear of it.
    pub fn has_crossed(&self) -> bool {
        self.heard.nothing_anew()
    }

    /// Sends a request; its response, as far as its head. The error has the
    /// request if nothing of it has left.
    pub fn send(
        &mut self,
        request: Sent,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Sent>>> + '_ {
        // A box, since each future that it goes through has room for it.
        let answer = Box::pin(self.sender.try_send_request(request));
        self.drive(answer)
    }

    /// Waits for what needs this connection's bytes.
    pub async fn drive<T>(&mut self, needs: impl Future<Output = T>) -> T {
        let mut needs = pin!(needs);
        poll_fn(|context| {
            self.poll(context);
            needs.as_mut().poll(context)
        })
        .await
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

    fn is_ready(&mut self, context: &mut Context<'_>) -> bool {
        self.poll(context) && matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())))
    }

    fn is_to(&self, uri: &Uri) -> bool {
        self.uri.scheme() == uri.scheme() && self.uri.authority() == uri.authority()
    }

    /// Ends it as the protocols below would have it, as far as that needs no
    /// waiting.
    fn close(self, context: &mut Context<'_>) {
        let Self { sender, driver, .. } = self;
        drop(sender);
        if let Some(mut driver) = driver {
            let _ = Pin::new(&mut driver).poll(context);
        }
    }
}

/// One that no request uses.
struct Kept {
    connection: Box<Connection>,
    until: Instant,
}

#[derive(Default)]
struct Idle {
    /// The last one is the one that was used last.
    kept: Vec<Kept>,
    /// Until the time of the first of them is over.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Makes connections, and keeps those that have done their work.
pub struct Connections {
    connector: Connector,
    leniencies: Arc<Leniencies>,
    /// For how long one is kept.
    limit: Duration,
    idle: Mutex<Idle>,
}

impl Connections {
    pub fn new(connector: Connector, leniencies: Arc<Leniencies>) -> Self {
        Self {
            connector,
            leniencies,
            limit: IDLE,
            idle: Mutex::default(),
        }
    }

    pub async fn connect(&self, uri: &Uri) -> Result<Box<Connection>, Failure> {
        // Most requests need none of the room that this takes.
        let stream = Box::pin(self.connector.connect(uri)).await;
        let stream = stream.map_err(|failure| failure.to_failure())?;
        let heard = stream.heard();
        let to_proxy = stream.is_to_proxy() && uri.scheme_str() == Some("http");
        let made = http1::Builder::new()
            .title_case_headers(true)
            .handshake(Looked::new(stream, self.leniencies.clone()))
            .await;
        let (sender, driver) = made.map_err(|error| http_failure(&error))?;
        Ok(Box::new(Connection {
            uri: uri.clone(),
            sender,
            driver: Some(driver),
            heard,
            to_proxy,
        }))
    }

    /// One that leads to this server and waits to be used.
    pub fn take(&self, uri: &Uri) -> Option<Box<Connection>> {
        let mut idle = lock(&self.idle);
        let index = idle.kept.iter().rposition(|it| it.connection.is_to(uri))?;
        let kept = idle.kept.remove(index);
        // The task may not have had its turn since then.
        (Instant::now() < kept.until).then_some(kept.connection)
    }

    /// Keeps one whose response has been read, unless one of the two sides is
    /// about to close it.
    pub async fn keep(&self, mut connection: Box<Connection>) {
        let ready = poll_fn(|context| Poll::Ready(connection.is_ready(context))).await;
        if !ready {
            return;
        }
        let kept = Kept {
            connection,
            until: Instant::now() + self.limit,
        };
        let one_too_many = {
            let mut idle = lock(&self.idle);
            let full = idle.kept.len() == MOST;
            let first = full.then(|| idle.kept.remove(0));
            idle.kept.push(kept);
            first
        };
        if let Some(kept) = one_too_many {
            close([kept]).await;
        }
    }

    /// Closes those that are kept.
    pub async fn close_idle(&self) {
        let Idle { kept, .. } = std::mem::take(&mut *lock(&self.idle));
        close(kept).await;
    }

    /// Closes those that were idle for too long, and those that the server has
    /// closed, now and whenever the task is woken for it.
    pub fn poll_idle(&self, context: &mut Context<'_>) {
        let mut idle = lock(&self.idle);
        let Idle { kept, sleep } = &mut *idle;
        if kept.is_empty() {
            *sleep = None;
            return;
        }
        loop {
            let now = Instant::now();
            for index in (0..kept.len()).rev() {
                let Some(one) = kept.get_mut(index) else {
                    continue;
                };
                if now >= one.until {
                    kept.remove(index).connection.close(context);
                } else if !one.connection.poll(context) {
                    kept.remove(index);
                }
            }
            let Some(until) = kept.iter().map(|it| it.until).min() else {
                *sleep = None;
                return;
            };
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            if sleep.as_mut().poll(context).is_pending() {
                return;
            }
        }
    }
}

async fn close(connections: impl IntoIterator<Item = Kept>) {
    let mut connections = Some(connections);
    poll_fn(|context| {
        for kept in connections.take().into_iter().flatten() {
            kept.connection.close(context);
        }
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests;
