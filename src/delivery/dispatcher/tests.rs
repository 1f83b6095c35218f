use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::time::Instant;

use super::*;
use crate::delivery::event::Event;
use crate::delivery::host::in_callback;
use crate::delivery::limits::Overflow;
use crate::delivery::queue::tests::{body, queue};
use crate::delivery::queue::{EventCallback, Queue};

const PATIENT: Duration = Duration::from_secs(20);

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

/// A queue whose callback gets the data of each message.
fn with_callback(
    dispatcher: &Arc<Dispatcher>,
    callback: impl Fn(String) + Send + Sync + 'static,
) -> Arc<Queue> {
    let queue = queue(Overflow::Block, 100_000, usize::MAX);
    let callback: EventCallback = Box::new(move |event| {
        let Event::Message(message) = event else {
            panic!("{event:?}");
        };
        callback(message.get().unwrap().data().unwrap().to_owned());
    });
    queue.set_callback(Some((callback, dispatcher.clone())));
    queue
}

/// Gives it messages, and the dispatcher the queue.
fn push(queue: &Queue, count: usize) {
    queue.push_messages(&body(count, 0), 0, u32::try_from(count).unwrap());
    queue.wake_sleepers();
}

fn dispatcher() -> Arc<Dispatcher> {
    Arc::new(Dispatcher::start().unwrap())
}

/// Queues whose callbacks stand still until the sender is used or dropped. They
/// have begun.
fn blocked(dispatcher: &Arc<Dispatcher>, count: usize) -> (Vec<Arc<Queue>>, Sender<()>) {
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let begun = Arc::new(AtomicUsize::new(0));
    let queues = (0..count)
        .map(|_| {
            let (wait, begun) = (wait.clone(), begun.clone());
            let queue = with_callback(dispatcher, move |_| {
                begun.fetch_add(1, Ordering::SeqCst);
                let _ = lock(&wait).recv();
            });
            push(&queue, 1);
            queue
        })
        .collect();
    until("a blocked callback", || {
        begun.load(Ordering::SeqCst) == count
    });
    (queues, go)
}

#[test]
fn contract_2_one_receiver_has_one_call_at_a_time_and_in_order() {
    const COUNT: usize = if cfg!(miri) { 50 } else { 1_000 };
    let dispatcher = dispatcher();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inside = Arc::new(AtomicUsize::new(0));
    let queue = {
        let (seen, inside) = (seen.clone(), inside.clone());
        with_callback(&dispatcher, move |data| {
            assert!(in_callback());
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            std::thread::yield_now();
            lock(&seen).push(data);
            inside.fetch_sub(1, Ordering::SeqCst);
        })
    };
    let body = body(COUNT, 0);
    for start in (0..COUNT).step_by(10) {
        let start = u32::try_from(start).unwrap();
        queue.push_messages(&body, start, start + 10);
        queue.wake_sleepers();
    }
    until("all events", || lock(&seen).len() == COUNT);
    let expected: Vec<_> = (0..COUNT).map(|n| format!("\"{n}\"")).collect();
    assert_eq!(*lock(&seen), expected);
    assert!(!in_callback(), "only inside a call");
}

#[test]
fn contract_2_a_callback_that_blocks_delays_nobody_else() {
    let dispatcher = dispatcher();
    // More than there are threads: spare ones have to come, one after the other.
    let (queues, go) = blocked(&dispatcher, THREADS + 3);
    let (send, receive) = channel();
    let quick = with_callback(&dispatcher, move |data| send.send(data).unwrap());
    push(&quick, 2);
    assert_eq!(receive.recv_timeout(PATIENT).unwrap(), "\"0\"");
    assert_eq!(receive.recv_timeout(PATIENT).unwrap(), "\"1\"");
    drop(go);
    for queue in queues {
        until("the end of the blocked ones", || !queue.has_something());
    }
}

#[test]
fn threads_that_are_not_needed_end_and_the_last_one_stays() {
    let dispatcher = dispatcher();
    let threads = || lock(&dispatcher.pool.line).threads;
    assert_eq!(threads(), 1, "no more than are needed");
    let (_queues, go) = blocked(&dispatcher, THREADS + 1);
    assert!(threads() > THREADS);
    drop(go);
    until("the end of the threads", || threads() == 1);
    std::thread::sleep(3 * IDLE);
    assert_eq!(threads(), 1);
    let (send, receive) = channel();
    let queue = with_callback(&dispatcher, move |data| send.send(data).unwrap());
    push(&queue, 1);
    receive.recv_timeout(PATIENT).unwrap();
    assert_eq!(threads(), 1, "who is idle takes it");
}

#[test]
fn contract_10_with_the_dispatcher_its_threads_end_after_what_is_in_line() {
    let dispatcher = dispatcher();
    let pool = Arc::downgrade(&dispatcher.pool);
    let (queues, go) = blocked(&dispatcher, 2);
    // Callbacks hold it as well.
    for queue in &queues {
        queue.set_callback(None);
    }
    assert_eq!(Arc::strong_count(&dispatcher), 1);
    drop(dispatcher);
    assert!(pool.upgrade().is_some(), "two calls still run");
    drop(go);
    until("the end of the threads", || pool.upgrade().is_none());
}

#[test]
fn a_thread_is_started_only_where_nobody_has_time_and_up_to_a_bound() {
    let line = |threads, idle, spare| Line {
        waiting: VecDeque::from([queue(Overflow::Block, 1, 1) as Arc<dyn Serve>]),
        threads,
        idle,
        spare,
        ended: false,
    };
    for (threads, idle, spare, started) in [
        (1, 1, false, false),
        (1, 0, false, true),
        (THREADS - 1, 0, true, true),
        (THREADS, 0, false, true),
        (THREADS, 0, true, false),
        (MAXIMUM_THREADS - 1, 0, false, true),
        (MAXIMUM_THREADS, 0, false, false),
    ] {
        let pool = Arc::new(Pool::default());
        let mut it = line(threads, idle, spare);
        pool.see_to(&mut it);
        assert_eq!(
            it.threads,
            threads + usize::from(started),
            "{threads} {idle}"
        );
        let is_spare = started && threads >= THREADS;
        assert_eq!(it.spare, spare || is_spare, "{threads} {idle}");
        // The thread that was started finds nothing to do.
        lock(&pool.line).ended = true;
        pool.came.notify_all();
    }
    let pool = Arc::new(Pool::default());
    let mut nothing = line(0, 0, false);
    nothing.waiting.clear();
    pool.see_to(&mut nothing);
    assert_eq!(nothing.threads, 0, "nothing is in line");
}
