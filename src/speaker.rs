//! Whose log lines a thread writes: a process may have several clients.

use std::cell::RefCell;
use std::future::{poll_fn, Future};
use std::sync::Arc;

thread_local! {
    /// The name of the client that this thread works for at the moment.
    static SPEAKER: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// While it lives, log lines of this thread are of this client.
pub struct Speaking(Option<Arc<str>>);

pub fn speak(name: &Arc<str>) -> Speaking {
    let before = SPEAKER.try_with(|it| it.replace(Some(name.clone())));
    Speaking(before.unwrap_or_default())
}

impl Drop for Speaking {
    fn drop(&mut self) {
        // A thread that ends has no such place any more, and no lines to log.
        let _ = SPEAKER.try_with(|it| it.replace(self.0.take()));
    }
}

/// Whose log lines this thread writes.
pub fn speaker() -> Option<Arc<str>> {
    SPEAKER.try_with(|it| it.borrow().clone()).ok().flatten()
}

/// Runs a future of this client's. It lives in a box: a future that holds
/// another one as its argument keeps room for it twice.
pub fn speaking<F: Future>(name: Arc<str>, future: F) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |context| {
        let _speaking = speak(&name);
        future.as_mut().poll(context)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_which_client_one_inside_another_gives_the_place_back() {
        let [outer, inner]: [Arc<str>; 2] = ["outer".into(), "inner".into()];
        assert_eq!(speaker(), None);
        {
            let _outer = speak(&outer);
            assert_eq!(speaker(), Some(outer.clone()));
            {
                let _inner = speak(&inner);
                assert_eq!(speaker(), Some(inner.clone()));
            }
            assert_eq!(speaker(), Some(outer.clone()));
        }
        assert_eq!(speaker(), None);
    }

    #[test]
    fn case_which_client_a_future_speaks_only_while_it_is_polled() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let name: Arc<str> = "polled".into();
        let future = speaking(name.clone(), async {
            assert_eq!(speaker(), Some("polled".into()));
            tokio::task::yield_now().await;
            speaker()
        });
        runtime.block_on(async {
            let other = async {
                assert_eq!(speaker(), None);
                tokio::task::yield_now().await;
                assert_eq!(speaker(), None);
            };
            let (said, ()) = tokio::join!(future, other);
            assert_eq!(said, Some(name));
        });
    }
}
