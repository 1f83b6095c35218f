use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::delivery::dispatcher::Dispatcher;
use crate::delivery::event::Notice;
use crate::delivery::host::in_callback;
use crate::delivery::limits::Overflow;
use crate::delivery::queue::tests::{body, queue};
use crate::delivery::queue::{Callback, Polled, Queue};
use crate::runtime::lock;

const LIMIT: Duration = Duration::from_secs(20);

fn unbounded() -> Arc<Queue> {
    queue(Overflow::Block, usize::MAX, usize::MAX)
}

/// Tells of each call.
fn woken(queue: &Queue) -> Receiver<()> {
    let (send, calls) = channel();
    let wake = Callback::Wake(Box::new(move || {
        assert!(in_callback());
        let _ = send.send(());
    }));
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    queue.install(wake, dispatcher).unwrap();
    calls
}

fn push(queue: &Queue) {
    queue.push_messages(&body(1, 0), 0, 1);
    queue.wake_sleepers();
}

fn poll_all(queue: &Queue) -> usize {
    let polled = || queue.poll(Some(Duration::ZERO));
    std::iter::from_fn(|| matches!(polled(), Polled::Event(_)).then_some(())).count()
}

/// Whether a call is in line or will be when the next event comes.
fn is_told(queue: &Queue) -> bool {
    queue.wake.0.load(Ordering::SeqCst) == TOLD
}

#[test]
fn the_host_is_woken_once_until_it_has_polled_all() {
    let queue = unbounded();
    let calls = woken(&queue);
    for _ in 0..3 {
        push(&queue);
        calls.recv_timeout(LIMIT).unwrap();
        push(&queue);
        push(&queue);
        assert!(is_told(&queue));
        queue.poll(Some(Duration::ZERO));
        push(&queue);
        assert!(is_told(&queue), "something was left");
        assert_eq!(poll_all(&queue), 3);
        assert!(calls.try_recv().is_err());
    }
}

#[test]
fn what_empties_the_queue_by_the_last_event_need_not_poll_again() {
    let queue = unbounded();
    let calls = woken(&queue);
    for _ in 0..3 {
        push(&queue);
        calls.recv_timeout(LIMIT).unwrap();
        assert!(matches!(queue.poll(Some(Duration::ZERO)), Polled::Event(_)));
    }
}

#[test]
fn what_is_there_when_it_is_installed_is_told_of_and_so_is_the_end() {
    let queue = unbounded();
    push(&queue);
    woken(&queue).recv_timeout(LIMIT).unwrap();
    // Another one knows nothing of what the first was told.
    let calls = woken(&queue);
    calls.recv_timeout(LIMIT).unwrap();
    poll_all(&queue);
    queue.push_notice(&Arc::new(Notice::Closed), None);
    queue.wake_sleepers();
    calls.recv_timeout(LIMIT).unwrap();
    poll_all(&queue);
    woken(&queue).recv_timeout(LIMIT).unwrap();
    let made_too_late = unbounded();
    made_too_late.end();
    woken(&made_too_late).recv_timeout(LIMIT).unwrap();
}

#[test]
fn of_each_kind_only_its_own_takes_the_place() {
    let queue = unbounded();
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    let kinds: [fn() -> Callback; 3] = [
        || Callback::Event(Box::new(|_| {})),
        || Callback::Events(Box::new(|_| {})),
        || Callback::Wake(Box::new(|| {})),
    ];
    for (own, kind) in kinds.iter().enumerate() {
        let is_own = |it: &Callback| kind().is_alike(Some(it));
        queue.install(kind(), dispatcher.clone()).unwrap();
        for (other, kind) in kinds.iter().enumerate() {
            let installed = queue.install(kind(), dispatcher.clone());
            assert_eq!(installed.is_ok(), own == other);
        }
        queue.remove(|it| !is_own(it));
        assert!(queue.callback().is_some());
        assert_eq!(queue.has_callback(), own != 2);
        queue.remove(is_own);
        assert!(queue.callback().is_none() && !queue.has_callback());
    }
}

#[test]
fn one_that_is_removed_or_whose_receiver_is_freed_is_not_called() {
    let queue = unbounded();
    let calls = woken(&queue);
    queue.remove(|it| matches!(it, Callback::Wake(_)));
    push(&queue);
    assert!(calls.recv_timeout(LIMIT).is_err(), "it is dropped");
    poll_all(&queue);
    let calls = woken(&queue);
    queue.detach();
    push(&queue);
    assert!(calls.recv_timeout(LIMIT).is_err());
}

#[test]
fn a_call_that_was_due_to_the_one_after_is_made_to_that() {
    let queue = unbounded();
    // The dispatcher has it in hand.
    queue.scheduled.store(true, Ordering::SeqCst);
    let first = woken(&queue);
    let before = queue.installations.load(Ordering::SeqCst);
    let callback = queue.callback().unwrap();
    let Callback::Wake(callback) = &*callback else {
        unreachable!()
    };
    let second = woken(&queue);
    push(&queue);
    queue.call_wake(callback, before);
    assert!(first.try_recv().is_err() && queue.wake.is_due());
    queue.call();
    assert!(second.try_recv().is_ok() && !queue.wake.is_due());
}

#[test]
fn what_is_announced_and_found_by_no_poll_is_told_of_again() {
    let queue = unbounded();
    let calls = woken(&queue);
    push(&queue);
    calls.recv_timeout(LIMIT).unwrap();
    // As while a producer is interrupted.
    queue.events.fetch_add(1, Ordering::SeqCst);
    assert_eq!(poll_all(&queue), 1);
    calls.recv_timeout(LIMIT).unwrap();
}

#[test]
fn no_wake_is_lost_however_many_push_and_poll() {
    const EVENTS: usize = if cfg!(miri) { 100 } else { 20_000 };
    let queue = unbounded();
    let calls = Mutex::new(woken(&queue));
    let polled = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while polled.load(Ordering::SeqCst) < EVENTS {
                    let woken = lock(&calls).recv_timeout(Duration::from_millis(100));
                    if woken.is_ok() {
                        polled.fetch_add(poll_all(&queue), Ordering::SeqCst);
                    }
                }
            });
        }
        for number in 0..EVENTS {
            push(&queue);
            // Sometimes the queue falls empty before the next one.
            if number % 7 == 0 {
                std::thread::yield_now();
            }
        }
        let deadline = std::time::Instant::now() + 3 * LIMIT;
        while polled.load(Ordering::SeqCst) < EVENTS {
            let left = EVENTS - polled.load(Ordering::SeqCst);
            if std::time::Instant::now() > deadline {
                polled.store(EVENTS, Ordering::SeqCst);
                panic!("{left} events were told to nobody");
            }
            std::thread::yield_now();
        }
    });
}
