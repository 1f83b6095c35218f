use std::sync::atomic::AtomicUsize;
use std::sync::OnceLock;

use super::*;
use crate::delivery::host::in_callback;
use crate::delivery::limits::Overflow;
use crate::delivery::queue::tests::{body, queue};

/// Installed where the dispatcher does not see to it.
fn unscheduled(callback: Callback) -> (Arc<Queue>, Arc<Dispatcher>) {
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    let queue = queue(Overflow::Block, 100_000, usize::MAX);
    queue.set_callback(Some((callback, dispatcher.clone())));
    (queue, dispatcher)
}

#[test]
fn a_turn_is_so_many_events_and_then_others_have_theirs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let (queue, _dispatcher) = unscheduled(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    queue.push_messages(&body(TURN + 1, 0), 0, u32::try_from(TURN).unwrap() + 1);
    queue.call();
    assert_eq!(calls.load(Ordering::SeqCst), TURN);
    queue.call();
    assert_eq!(calls.load(Ordering::SeqCst), TURN + 1);
    queue.call();
    assert_eq!(calls.load(Ordering::SeqCst), TURN + 1);
}

#[test]
fn a_callback_that_is_removed_in_a_call_is_not_called_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let own = Arc::new(OnceLock::<Arc<Queue>>::new());
    let inside = own.clone();
    let (queue, _dispatcher) = unscheduled(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        inside.get().unwrap().set_callback(None);
    }));
    let _ = own.set(queue.clone());
    queue.push_messages(&body(3, 0), 0, 3);
    queue.call();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(queue.has_something());
}

#[test]
fn a_callback_that_panics_is_called_for_the_next_event() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let (queue, _dispatcher) = unscheduled(Box::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("a test asked for it");
    }));
    queue.push_messages(&body(3, 0), 0, 3);
    queue.call();
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(!in_callback());
}
