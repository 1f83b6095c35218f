use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::*;
use crate::bayeux::Body;
use crate::delivery::event::Notice;
use crate::delivery::host::in_callback;
use crate::delivery::limits::Overflow;
use crate::delivery::queue::tests::{body, queue, state, tracked};
use crate::delivery::queue::Polled;
use crate::delivery::tracker::Tracker;
use crate::platform::testing::is_readable;

/// Installed where the dispatcher does not see to it.
fn unscheduled(callback: EventCallback) -> (Arc<Queue>, Arc<Dispatcher>) {
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

/// An event, shortly: the data of a message, `s` for a notice, `-n` for n dropped.
fn short(event: &Event) -> String {
    match event {
        Event::Message(message) | Event::Tracked(message, _) => {
            let data = message.get().unwrap().data().unwrap().to_owned();
            data.trim_matches('"').to_owned()
        }
        Event::Notice(_) => "s".to_owned(),
        Event::Dropped(dropped) => format!("-{dropped}"),
    }
}

fn poll(queue: &Queue) -> Option<String> {
    match queue.poll(Some(Duration::ZERO)) {
        Polled::Event(event) => Some(short(&event)),
        _ => None,
    }
}

/// What `queue` gives a callback in one turn, where the callback does `inside`
/// with each event.
fn called_with(
    queue: &Arc<Queue>,
    inside: impl Fn(&Arc<Queue>, &str) + Send + Sync + 'static,
) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let own = Arc::downgrade(queue);
    // One of its own, so that nothing is in line.
    queue.scheduled.store(true, Ordering::SeqCst);
    let callback: EventCallback = Box::new(move |event| {
        let event = short(&event);
        lock(&log).push(event.clone());
        inside(&own.upgrade().unwrap(), &event);
    });
    queue.set_callback(Some((callback, Arc::new(Dispatcher::start().unwrap()))));
    queue.call();
    let seen = lock(&seen).clone();
    seen
}

fn counters(queue: &Queue) -> [usize; 4] {
    [
        &queue.events,
        &queue.messages,
        &queue.bytes,
        &queue.outcomes,
    ]
    .map(|it| it.load(Ordering::SeqCst))
}

#[test]
fn what_is_left_of_a_run_goes_to_polls_in_order_when_its_callback_is_removed() {
    let queue = queue(Overflow::Block, 100, 100_000);
    queue.push_messages(&body(5, 0), 0, 5);
    queue.push_notice(&state(), None);
    let polled = Arc::new(Mutex::new(Vec::new()));
    let log = polled.clone();
    let called = called_with(&queue, move |queue, event| {
        if event == "1" {
            queue.set_callback(None);
            // While the call still runs.
            assert_eq!(queue.statistics().queued, 4);
            lock(&log).extend([poll(queue), poll(queue)]);
            assert_eq!(queue.statistics().queued, 2);
        }
    });
    assert_eq!(called, ["0", "1"]);
    assert_eq!(*lock(&polled), [Some("2".into()), Some("3".into())]);
    let rest = [poll(&queue), poll(&queue), poll(&queue)];
    assert_eq!(rest, [Some("4".into()), Some("s".into()), None]);
    assert_eq!(counters(&queue), [0; 4]);
    assert_eq!(queue.statistics().delivered, 6);
}

#[test]
fn what_is_left_of_a_run_goes_to_the_callback_that_replaces_the_first() {
    let queue = queue(Overflow::Block, 100, 100_000);
    queue.push_messages(&body(5, 0), 0, 5);
    let second = Arc::new(Mutex::new(Vec::new()));
    let log = second.clone();
    let first = called_with(&queue, move |queue, event| {
        if event == "1" {
            let log = log.clone();
            let next: EventCallback = Box::new(move |event| lock(&log).push(short(&event)));
            queue.set_callback(Some((next, Arc::new(Dispatcher::start().unwrap()))));
        }
    });
    assert_eq!(first, ["0", "1"]);
    assert_eq!(*lock(&second), ["2", "3", "4"]);
    assert_eq!(counters(&queue), [0; 4]);
}

#[test]
fn in_the_middle_of_a_run_what_was_given_is_no_longer_counted_contract_8() {
    let queued = Arc::new(Mutex::new(Vec::new()));
    let log = queued.clone();
    let six = || {
        let queue = queue(Overflow::Block, 3, 100_000);
        queue.push_messages(&body(6, 0), 0, 6);
        queue
    };
    called_with(&six(), move |queue, _| {
        let it = queue.statistics();
        assert_eq!(it.queued as u64 + it.delivered, 6);
        lock(&log).push((it.queued, it.full));
    });
    let full = |queued| (queued, queued >= 3);
    assert_eq!(*lock(&queued), [5, 4, 3, 2, 1, 0].map(full));
    let room = Arc::new(Mutex::new(Vec::new()));
    let log = room.clone();
    called_with(&six(), move |queue, event| {
        // Asked for the first time where there is some.
        if ["0", "3"].contains(&event) {
            lock(&log).push(queue.has_room());
            queue.told_full.store(false, Ordering::SeqCst);
        }
    });
    assert_eq!(*lock(&room), [false, true]);
}

#[test]
fn a_run_half_given_out_does_not_count_into_the_most_that_were_queued() {
    for is_removed in [false, true] {
        let queue = queue(Overflow::Block, 100, 100_000);
        queue.push_messages(&body(5, 0), 0, 5);
        called_with(&queue, move |queue, event| {
            if event == "2" {
                if is_removed {
                    queue.set_callback(None);
                }
                queue.push_messages(&body(5, 0), 0, 4);
            }
        });
        assert_eq!(queue.statistics().queued_most, 6, "{is_removed}");
    }
}

/// A callback that stands still at one message until it may go on.
fn standing_at(queue: &Arc<Queue>, message: &'static str) -> (Receiver<()>, Sender<()>) {
    let (tell, is_there) = channel();
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let callback: EventCallback = Box::new(move |event| {
        if short(&event) == message {
            tell.send(()).unwrap();
            let _ = lock(&wait).recv();
        }
    });
    queue.set_callback(Some((callback, Arc::new(Dispatcher::start().unwrap()))));
    (is_there, go)
}

#[test]
fn room_is_told_of_while_a_call_in_the_middle_of_a_run_stands_still_contract_8() {
    let queue = queue(Overflow::Block, 3, 100_000);
    queue.push_messages(&body(6, 0), 0, 6);
    assert!(!queue.has_room());
    let (is_there, go) = standing_at(&queue, "3");
    is_there.recv_timeout(Duration::from_secs(20)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let made = async { tokio::time::timeout(Duration::from_secs(20), queue.room.made()).await };
    runtime.block_on(made).unwrap();
    assert!(queue.has_room());
    assert_eq!(queue.statistics().queued, 2);
    drop(go);
}

#[test]
fn dropping_the_oldest_in_the_middle_of_a_run_keeps_its_place_contract_8() {
    let queue = queue(Overflow::DropOldest, 4, 100_000);
    queue.push_messages(&body(4, 0), 0, 4);
    let seen = called_with(&queue, |queue, event| {
        if event == "1" {
            queue.push_messages(&body(10, 0), 7, 10);
        }
    });
    assert_eq!(seen, ["0", "1", "-1", "3", "7", "8", "9"]);
    assert_eq!(counters(&queue), [0; 4]);
    let it = queue.statistics();
    assert_eq!((it.delivered, it.dropped), (7, 1));
    // What fits now that some were given out stays.
    queue.push_messages(&body(4, 0), 0, 4);
    queue.push_notice(&state(), None);
    let seen = called_with(&queue, |queue, event| {
        if event == "2" {
            queue.push_messages(&body(10, 0), 7, 10);
        }
    });
    assert_eq!(seen, ["0", "1", "2", "3", "s", "7", "8", "9"]);
}

#[test]
fn dropping_the_newest_takes_what_fits_since_some_of_a_run_were_given_contract_8() {
    let queue = queue(Overflow::DropNewest, 4, 100_000);
    queue.push_messages(&body(4, 0), 0, 4);
    let seen = called_with(&queue, |queue, event| {
        if event == "1" {
            queue.push_messages(&body(10, 0), 7, 10);
        }
    });
    assert_eq!(seen, ["0", "1", "2", "3", "7", "8", "-1"]);
    assert_eq!(counters(&queue), [0; 4]);
}

#[test]
#[cfg_attr(miri, ignore = "miri has no poll")]
fn the_descriptor_is_readable_in_a_run_exactly_while_something_is_left_of_it() {
    let queue = queue(Overflow::Block, 100, 100_000);
    queue.push_messages(&body(3, 0), 0, 3);
    let fd = queue.fd().unwrap();
    let readable = Arc::new(Mutex::new(Vec::new()));
    let log = readable.clone();
    called_with(&queue, move |_, _| {
        lock(&log).push(is_readable(fd));
    });
    assert_eq!(*lock(&readable), [true, true, false]);
}

#[test]
fn a_receiver_that_is_freed_in_a_run_has_no_further_call_and_keeps_nothing() {
    let queue = queue(Overflow::Block, 100, 100_000);
    queue.push_messages(&body(5, 0), 0, 5);
    queue.push_notice(&state(), None);
    let seen = called_with(&queue, |queue, event| {
        if event == "1" {
            queue.detach();
            assert_eq!(counters(queue), [0; 4]);
        }
    });
    assert_eq!(seen, ["0", "1"]);
    assert_eq!(queue.statistics().delivered, 2);
}

#[test]
fn a_callback_that_follows_its_events_gets_each_with_its_ticket() {
    let saved = Arc::new(Mutex::new(Vec::new()));
    let log = saved.clone();
    let tracker = Arc::new(Tracker::new(Arc::new(move |_: &str, position| {
        lock(&log).push(position);
        Ok(())
    })));
    tracker.follow("/e", |_| true);
    let queue = tracked(&tracker, &[1]);
    let run = [2, 3, 4, 5]
        .map(|id| format!(r#"{{"channel":"/e","data":{{"event":{{"replayId":{id}}}}}}}"#));
    let run = format!("[{}]", run.join(","));
    let run = Arc::new(Body::parse(run.into_bytes()).unwrap());
    queue.push_messages(&run, 0, 4);
    queue.scheduled.store(true, Ordering::SeqCst);
    let callback: EventCallback = Box::new(|event| match event {
        Event::Tracked(message, ticket) => ticket.finish(&message.get().unwrap()),
        other => panic!("{other:?}"),
    });
    queue.set_callback(Some((callback, Arc::new(Dispatcher::start().unwrap()))));
    queue.call();
    assert_eq!(*lock(&saved), [1, 2, 3, 4, 5]);
}

#[test]
fn callbacks_that_come_and_go_and_polls_between_get_each_event_once_contract_1() {
    const COUNT: u32 = if cfg!(miri) { 200 } else { 20_000 };
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    let queue = queue(Overflow::Block, 1_000_000, usize::MAX);
    let all = Arc::new(Mutex::new(Vec::new()));
    let switching = {
        let (queue, all) = (queue.clone(), all.clone());
        std::thread::spawn(move || {
            while !queue.ended.load(Ordering::SeqCst) || queue.has_something() {
                let log = all.clone();
                let own = Mutex::new(Vec::<u32>::new());
                let callback: EventCallback = Box::new(move |event| {
                    if let Event::Message(_) = event {
                        let number = short(&event).parse().unwrap();
                        lock(&own).push(number);
                        assert!(lock(&own).is_sorted());
                        lock(&log).push(number);
                    }
                });
                queue.set_callback(Some((callback, dispatcher.clone())));
                std::thread::yield_now();
                queue.set_callback(None);
                std::thread::yield_now();
            }
        })
    };
    let polling: Vec<_> = (0..2)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let mut own = Vec::<u32>::new();
                loop {
                    let mut take = |event: Event| {
                        if let Event::Message(_) = event {
                            own.push(short(&event).parse().unwrap());
                        }
                    };
                    match queue.poll_each(Some(Duration::ZERO), 7, &mut take) {
                        Polled::Closed => return own,
                        _ => std::thread::yield_now(),
                    }
                }
            })
        })
        .collect();
    let body = body(COUNT as usize, 0);
    for start in (0..COUNT).step_by(100) {
        queue.push_messages(&body, start, start + 100);
        queue.wake_sleepers();
    }
    queue.push_notice(&Arc::new(Notice::Closed), None);
    queue.wake_sleepers();
    switching.join().unwrap();
    for thread in polling {
        let own = thread.join().unwrap();
        assert!(own.is_sorted());
        lock(&all).extend(own);
    }
    // The last call may still run.
    let deadline = Instant::now() + Duration::from_secs(20);
    while lock(&all).len() < COUNT as usize {
        assert!(Instant::now() < deadline, "{} came", lock(&all).len());
        std::thread::yield_now();
    }
    let mut all = lock(&all).clone();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..COUNT));
    drop(queue.settled());
    assert_eq!(counters(&queue), [0; 4]);
    assert_eq!(queue.statistics().delivered, u64::from(COUNT) + 1);
}

#[test]
fn what_is_dropped_while_a_callback_goes_on_is_counted_where_it_is_missing_contract_8() {
    const COUNT: u32 = if cfg!(miri) { 200 } else { 20_000 };
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    let body = body(COUNT as usize, 0);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let queue = queue(overflow, 50, usize::MAX);
        let (send, receive) = channel();
        let callback: EventCallback = Box::new(move |event| send.send(short(&event)).unwrap());
        queue.set_callback(Some((callback, dispatcher.clone())));
        for start in (0..COUNT).step_by(20) {
            queue.push_messages(&body, start, start + 20);
            queue.wake_sleepers();
            if start % 100 == 0 {
                std::thread::yield_now();
            }
        }
        queue.push_notice(&state(), None);
        queue.wake_sleepers();
        let mut next = 0;
        let mut events = 0;
        loop {
            let event = receive.recv_timeout(Duration::from_secs(20)).unwrap();
            events += 1;
            match (event.strip_prefix('-'), event.parse::<u32>()) {
                (Some(dropped), _) => next += dropped.parse::<u32>().unwrap(),
                (None, Ok(number)) => {
                    assert_eq!(number, next, "{overflow:?}");
                    next += 1;
                }
                (None, Err(_)) => break,
            }
        }
        assert_eq!(next, COUNT, "{overflow:?}");
        drop(queue.settled());
        assert_eq!(counters(&queue), [0; 4], "{overflow:?}");
        assert_eq!(queue.statistics().delivered, events);
    }
}

fn several(
    queue: &Arc<Queue>,
    inside: impl Fn(&Queue, &[String]) + Send + Sync + 'static,
) -> Arc<Dispatcher> {
    let own = Arc::downgrade(queue);
    // One of its own, so that nothing is in line.
    queue.scheduled.store(true, Ordering::SeqCst);
    let callback = Callback::Events(Box::new(move |events| {
        let events: Vec<_> = events.iter().map(short).collect();
        inside(&own.upgrade().unwrap(), &events);
    }));
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    queue.install(callback, dispatcher.clone()).unwrap();
    dispatcher
}

#[test]
fn several_events_come_in_one_call_in_their_order_and_so_many_at_most() {
    let queue = queue(Overflow::Block, 100_000, usize::MAX);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = calls.clone();
    let _dispatcher = several(&queue, move |_, events| lock(&log).push(events.to_vec()));
    queue.push_messages(&body(2, 0), 0, 2);
    queue.push_notice(&state(), None);
    queue.push_messages(&body(3, 0), 2, 3);
    queue.call();
    queue.call();
    assert_eq!(*lock(&calls), [["0", "1", "s", "2"]], "none with nothing");
    lock(&calls).clear();
    let count = u32::try_from(MOST).unwrap() + 3;
    queue.push_messages(&body(MOST + 3, 0), 0, count);
    queue.call();
    queue.call();
    let lengths: Vec<_> = lock(&calls).iter().map(Vec::len).collect();
    assert_eq!(lengths, [MOST, 3]);
    let numbers = lock(&calls).concat();
    assert!(numbers.into_iter().eq((0..count).map(|it| it.to_string())));
    assert_eq!(counters(&queue), [0; 4]);
}

#[test]
fn events_of_a_call_take_room_until_it_has_returned_contract_8() {
    let queue = queue(Overflow::Block, 3, 100_000);
    let _dispatcher = several(&queue, |queue, events| {
        assert_eq!(events.len(), 3);
        assert!(!queue.has_room());
        // For who polls, and for the descriptor, there is nothing.
        assert!(!queue.has_something());
    });
    queue.push_messages(&body(3, 0), 0, 3);
    assert!(!queue.has_room());
    queue.call();
    assert!(queue.has_room());
    assert_eq!(counters(&queue), [0; 4]);
}

#[test]
fn events_of_a_call_are_not_dropped_and_drop_none_contract_8() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let queue = queue(overflow, 3, 100_000);
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        let _dispatcher = several(&queue, move |queue, events| {
            lock(&log).push(events.to_vec());
            if events[0] == "0" {
                queue.push_messages(&body(6, 0), 3, 6);
            }
        });
        queue.push_messages(&body(3, 0), 0, 3);
        queue.call();
        queue.call();
        assert_eq!(*lock(&calls), [["0", "1", "2"], ["3", "4", "5"]]);
        assert_eq!(counters(&queue), [0; 4]);
    }
}

#[test]
fn a_call_with_several_that_panics_or_frees_its_receiver_leaves_the_account_clear() {
    let queue = queue(Overflow::Block, 3, 100_000);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let _dispatcher = several(&queue, move |queue, _| {
        if counted.fetch_add(1, Ordering::SeqCst) == 1 {
            queue.push_messages(&body(2, 0), 0, 2);
            queue.detach();
        }
        panic!("a test asked for it");
    });
    for _ in 0..3 {
        queue.push_messages(&body(3, 0), 0, 3);
        queue.call();
        assert_eq!(counters(&queue), [0; 4]);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
