//! The connections of one client. A request takes one that was kept, or makes
//! one. What a response leaves open is kept for the next request, and seen to by
//! the client's task.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::Uri;
use tokio::time::{sleep_until, Instant, Sleep};

use super::connection::{self, Quiet};
use crate::error::Failure;
use crate::runtime::lock;
use crate::transport::connector::{Connector, Stream};
use crate::transport::leniencies::Leniencies;

/// Idle connections are closed by us before the five seconds after which many
/// servers close them, so that a publish is rarely sent into a closing one.
const IDLE: Duration = Duration::from_secs(4);
/// One for the held connect, one for everything else (Bayeux, section 2.3).
const MOST: usize = 2;
/// A response that has not begun for so long, or twice as long, may take its time:
/// what a connection needs to read it is given back until then. To wake costs
/// more than to stay awake for a moment; clients that get an event each few
/// seconds never pay for it.
const TICK: Duration = Duration::from_secs(6);

pub type Connection = connection::Connection<Stream>;

/// One that no request uses.
struct Kept {
    connection: Box<Connection>,
    until: Instant,
    /// The alarm rings when something happens to it.
    watched: bool,
}

/// Of the connections that no request uses, and of time. The client's task has
/// many turns in which there is nothing to be done here.
#[derive(Default)]
struct Alarm {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Alarm {
    /// Whether it has rung since the last time; when it does again, this task is
    /// woken.
    fn has_rung(&self, context: &Context<'_>) -> bool {
        let mut task = lock(&self.task);
        if !task
            .as_ref()
            .is_some_and(|it| it.will_wake(context.waker()))
        {
            *task = Some(context.waker().clone());
        }
        // Under the lock: a ring from now on wakes this task.
        self.has_rung.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let task = lock(&self.task);
        self.has_rung.store(true, Ordering::Relaxed);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

#[derive(Default)]
struct Idle {
    /// The last one is the one that was used last.
    kept: Vec<Kept>,
    /// When those who wait for a response are told that time goes by.
    tick: Option<Instant>,
    /// Until the time of the first of them is over, or the next tick.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Makes connections, and keeps those that have done their work.
pub struct Connections {
    connector: Connector,
    leniencies: Arc<Leniencies>,
    /// For how long one is kept.
    limit: Duration,
    tick: Duration,
    idle: Mutex<Idle>,
    quiet: Quiet,
    alarm: Arc<Alarm>,
}

impl Connections {
    pub fn new(connector: Connector, leniencies: Arc<Leniencies>) -> Self {
        Self {
            connector,
            leniencies,
            limit: IDLE,
            tick: TICK,
            idle: Mutex::default(),
            quiet: Quiet::default(),
            alarm: Arc::default(),
        }
    }

    pub async fn connect(&self, uri: &Uri) -> Result<Box<Connection>, Failure> {
        // Most requests need none of the room that this takes.
        let stream = Box::pin(self.connector.connect(uri)).await;
        let stream = stream.map_err(|failure| failure.to_failure())?;
        let connection = Connection::new(uri.clone(), stream, self.leniencies.clone());
        connection.await.map(Box::new)
    }

    /// What the requests wait by.
    pub fn quiet(&self) -> &Quiet {
        &self.quiet
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
            watched: false,
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
    /// closed, and sees to it that those who wait for a response learn that time
    /// goes by; now and whenever the task is woken for it. To be called when all
    /// requests have been polled.
    pub fn poll_idle(&self, context: &mut Context<'_>) {
        let has_rung = self.alarm.has_rung(context);
        let mut idle = lock(&self.idle);
        let Idle { kept, tick, sleep } = &mut *idle;
        let is_awaited = self.quiet.is_awaited();
        let all_watched = kept.iter().all(|it| it.watched);
        if !has_rung && all_watched && is_awaited == tick.is_some() {
            return;
        }
        let waker = Waker::from(self.alarm.clone());
        let alarm = &mut Context::from_waker(&waker);
        loop {
            let now = Instant::now();
            for index in (0..kept.len()).rev() {
                let Some(one) = kept.get_mut(index) else {
                    continue;
                };
                if now >= one.until {
                    kept.remove(index).connection.close(alarm);
                } else if !one.connection.poll(alarm) {
                    kept.remove(index);
                } else {
                    one.watched = true;
                }
            }
            if !is_awaited {
                *tick = None;
            } else if tick.is_none_or(|at| now >= at) {
                // Who waits already waits for this tick and the next.
                self.quiet.tick();
                if tick.is_some() {
                    context.waker().wake_by_ref();
                }
                *tick = Some(now + self.tick);
            }
            let Some(until) = kept.iter().map(|it| it.until).chain(*tick).min() else {
                *sleep = None;
                return;
            };
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            if sleep.as_mut().poll(alarm).is_pending() {
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
