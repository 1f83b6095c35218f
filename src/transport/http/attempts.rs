//! Attempts to make a connection, tied to whom they are for.
//!
//! The pool asks for a connection and waits for one that becomes free at the
//! same time. When the latter is faster it lets the attempt go on in a task of
//! its own, for the requests to come. Were nothing done about it, a server that
//! accepts connections and then stalls would hold one for each request, for as
//! long as it likes and when the client is long gone.

use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::task;

/// So many go on for which no request waits.
const SPARE: usize = 1;

/// The attempts of one client. They end when it and its clones are gone.
#[derive(Clone)]
pub struct Attempts {
    alive: watch::Sender<()>,
    spare: Arc<AtomicUsize>,
}

impl Attempts {
    pub fn new() -> Self {
        Self {
            alive: watch::Sender::new(()),
            spare: Arc::default(),
        }
    }

    /// Makes an attempt; `None` when nobody waits for it any more.
    pub fn tie<T>(&self, connecting: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        // Neither of these may keep the client alive.
        let mut alive = self.alive.subscribe();
        let spares = self.spare.clone();
        async move {
            let mut connecting = pin!(connecting);
            let mut gone = pin!(alive.changed());
            let mut begun_by = None;
            let mut spare = None;
            poll_fn(|context| {
                // A request drives its own attempt; in another task than it
                // began in, it is one that nobody waits for.
                let task = task::try_id();
                if *begun_by.get_or_insert(task) != task && spare.is_none() {
                    spare = Spare::new(&spares);
                    if spare.is_none() {
                        return Poll::Ready(None);
                    }
                }
                if gone.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                connecting.as_mut().poll(context).map(Some)
            })
            .await
        }
    }
}

struct Spare(Arc<AtomicUsize>);

impl Spare {
    fn new(all: &Arc<AtomicUsize>) -> Option<Self> {
        let counted = Self(all.clone());
        (all.fetch_add(1, Ordering::Relaxed) < SPARE).then_some(counted)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn limit_tls_stall_one_attempt_goes_on_without_a_request() {
        let attempts = Attempts::new();
        let mut spares = Vec::new();
        for _ in 0..5 {
            let mut attempt = Box::pin(attempts.tie(pending::<()>()));
            let once = poll_fn(|context| Poll::Ready(attempt.as_mut().poll(context))).await;
            assert!(once.is_pending(), "its request waits");
            spares.push(task::spawn(attempt));
        }
        for spare in spares.drain(1..) {
            assert_eq!(spare.await.unwrap(), None);
        }
        task::yield_now().await;
        assert!(!spares[0].is_finished());
        // And that one for as long as there is a client.
        let clone = attempts.clone();
        drop(attempts);
        task::yield_now().await;
        assert!(!spares[0].is_finished());
        drop(clone);
        assert_eq!(spares.remove(0).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_attempt_gives_what_it_finds() {
        let attempts = Attempts::new();
        assert_eq!(attempts.tie(async { 7 }).await, Some(7));
        let mut attempt = Box::pin(attempts.tie(async {
            task::yield_now().await;
            8
        }));
        let once = poll_fn(|context| Poll::Ready(attempt.as_mut().poll(context))).await;
        assert!(once.is_pending());
        assert_eq!(task::spawn(attempt).await.unwrap(), Some(8));
        assert_eq!(attempts.spare.load(Ordering::Relaxed), 0);
    }
}
