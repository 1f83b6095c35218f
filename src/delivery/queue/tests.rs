use std::time::{Duration, Instant};

use super::*;
use crate::platform::testing::is_readable;

pub(in crate::delivery) fn body(count: usize, pad: usize) -> Arc<Body> {
    let messages: Vec<_> = (0..count)
        .map(|n| format!(r#"{{"channel":"/x","data":"{n}{}"}}"#, "p".repeat(pad)))
        .collect();
    Arc::new(Body::parse(format!("[{}]", messages.join(",")).into_bytes()).unwrap())
}

pub(in crate::delivery) fn queue(overflow: Overflow, events: usize, bytes: usize) -> Arc<Queue> {
    Queue::new(
        Limits {
            events,
            bytes,
            overflow,
        },
        Arc::<Room>::default(),
    )
}

pub(in crate::delivery) fn state() -> Arc<Notice> {
    Arc::new(Notice::State {
        state: crate::session::State::Connected,
        previous: crate::session::State::Connecting,
        ext: None,
    })
}

/// Everything in the queue, shortly: data of messages, `s` for notices,
/// `-n` for n dropped.
fn drain(queue: &Queue) -> Vec<String> {
    let mut all = Vec::new();
    while let Polled::Event(event) = queue.poll(Some(Duration::ZERO)) {
        all.push(match event {
            Event::Message(message) | Event::Tracked(message, _) => {
                let data = message.get().unwrap().data().unwrap();
                data.trim_matches(|c| c == '"' || c == 'p').to_owned()
            }
            Event::Notice(_) => "s".to_owned(),
            Event::Dropped(dropped) => format!("-{dropped}"),
        });
    }
    assert!(!queue.has_something());
    assert_eq!(queue.bytes.load(Ordering::SeqCst), 0);
    assert_eq!(queue.messages.load(Ordering::SeqCst), 0);
    assert_eq!(queue.notice_bytes.load(Ordering::SeqCst), 0);
    assert_eq!(queue.outcomes(), 0);
    all
}

#[test]
fn block_keeps_everything_and_says_when_there_is_room_contract_8() {
    let queue = queue(Overflow::Block, 3, 1_000_000);
    assert!(queue.has_room());
    queue.push_messages(&body(5, 0), 0, 5);
    assert!(!queue.has_room());
    for _ in 0..2 {
        queue.poll(Some(Duration::ZERO));
    }
    assert!(!queue.has_room());
    assert_eq!(drain(&queue), ["2", "3", "4"]);
    assert!(queue.has_room());
}

#[test]
fn block_is_bounded_in_bytes_too_contract_8() {
    let queue = queue(Overflow::Block, 1_000, 400);
    queue.push_messages(&body(1, 100), 0, 1);
    assert!(queue.has_room());
    queue.push_messages(&body(1, 100), 0, 1);
    assert!(!queue.has_room());
}

#[test]
fn drop_oldest_counts_exactly_and_keeps_notices_contract_8() {
    let queue = queue(Overflow::DropOldest, 3, 1_000_000);
    queue.push_notice(&state(), None);
    queue.push_messages(&body(2, 0), 0, 2);
    queue.push_notice(&state(), None);
    queue.push_messages(&body(10, 0), 0, 2);
    queue.push_messages(&body(10, 0), 2, 4);
    assert_eq!(drain(&queue), ["s", "-2", "s", "-1", "1", "2", "3"]);
    queue.push_messages(&body(10, 0), 0, 10);
    assert_eq!(drain(&queue), ["-7", "7", "8", "9"]);
}

#[test]
fn drop_oldest_takes_from_a_run_half_given_out_contract_8() {
    let queue = queue(Overflow::DropOldest, 4, 1_000_000);
    queue.push_messages(&body(4, 0), 0, 4);
    queue.poll(Some(Duration::ZERO));
    queue.push_messages(&body(10, 0), 7, 10);
    assert_eq!(drain(&queue), ["-2", "3", "7", "8", "9"]);
}

#[test]
fn drop_newest_counts_exactly_at_its_place_contract_8() {
    let queue = queue(Overflow::DropNewest, 3, 1_000_000);
    queue.push_messages(&body(5, 0), 0, 5);
    queue.push_messages(&body(5, 0), 0, 5);
    queue.push_notice(&state(), None);
    queue.push_messages(&body(1, 0), 0, 1);
    assert_eq!(drain(&queue), ["0", "1", "2", "-7", "s", "-1"]);
    queue.push_messages(&body(1, 0), 0, 1);
    assert_eq!(drain(&queue), ["0"]);
}

#[test]
fn one_message_larger_than_the_queue_still_passes_contract_8() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Block] {
        let queue = queue(overflow, 10, 50);
        queue.push_messages(&body(1, 1_000), 0, 1);
        assert_eq!(drain(&queue), ["0"], "{overflow:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many events take too long")]
fn a_flood_that_is_not_read_takes_bounded_memory_167() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let queue = queue(overflow, 10, 10_000);
        let body = body(100, 500);
        for _ in 0..1_000 {
            queue.push_messages(&body, 0, 100);
        }
        assert!(queue.bytes.load(Ordering::SeqCst) <= 10_000);
        let mut messages = 0;
        let mut dropped = 0;
        while let Polled::Event(event) = queue.poll(Some(Duration::ZERO)) {
            match event {
                Event::Message(_) | Event::Tracked(..) => messages += 1,
                Event::Dropped(n) => dropped += n,
                Event::Notice(_) => unreachable!(),
            }
        }
        assert_eq!(messages + dropped, 100_000, "{overflow:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many events take too long")]
fn case_unread_outcomes_never_hold_up_the_client() {
    for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::DropNewest] {
        let queue = queue(overflow, 2, 100);
        let published = Arc::new(Notice::Published {
            id: 1,
            opaque: 0,
            channel: "/x".into(),
            ext: None,
        });
        for _ in 0..20_000 {
            queue.push_notice(&published, None);
            queue.push_notice(&state(), None);
        }
        assert!(queue.has_room(), "{overflow:?}");
        assert_eq!(queue.outcomes(), 20_000);
        // Nor do they push messages out.
        queue.push_messages(&body(1, 0), 0, 1);
        let all = drain(&queue);
        assert_eq!(all.len(), 40_001, "{overflow:?}");
        assert_eq!(all[40_000], "0", "{overflow:?}");
    }
}

#[test]
fn case_unread_outcomes_are_bounded_in_memory_whatever_the_policy() {
    for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::DropNewest] {
        let queue = queue(overflow, 2, 100);
        let large = Arc::new(Notice::Advice {
            json: "a".repeat(1024 * 1024),
        });
        let mut taken = 0;
        while queue.has_room() {
            queue.push_notice(&large, None);
            taken += large.size();
            assert!(taken < 2 * NOTICE_BYTES, "{overflow:?}");
        }
        assert!(taken >= NOTICE_BYTES, "{overflow:?}");
        assert!(queue.full().unwrap().contains("bytes of outcomes"));
        queue.poll(Some(Duration::ZERO));
        assert!(queue.has_room(), "{overflow:?}");
        assert_eq!(queue.full(), None);
        drain(&queue);
    }
}

#[test]
fn closed_is_the_last_event_and_then_poll_says_so_contract_9() {
    let queue = queue(Overflow::Block, 10, 10_000);
    queue.push_notice(&Arc::new(Notice::Closed), None);
    queue.push_notice(&state(), None);
    queue.push_messages(&body(1, 0), 0, 1);
    assert_eq!(drain(&queue), ["s"]);
    assert!(matches!(queue.poll(None), Polled::Closed));
    assert!(matches!(queue.poll(Some(Duration::ZERO)), Polled::Closed));
}

#[test]
fn several_threads_share_one_queue_and_each_event_goes_to_one_contract_1() {
    let queue = queue(Overflow::Block, 1_000_000, usize::MAX);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                loop {
                    match queue.poll(None) {
                        Polled::Event(Event::Message(message)) => {
                            seen.push(message.get().unwrap().data().unwrap().to_owned())
                        }
                        Polled::Closed => return seen,
                        _ => {}
                    }
                }
            })
        })
        .collect();
    const COUNT: u32 = if cfg!(miri) { 100 } else { 1_000 };
    let body = body(COUNT as usize, 0);
    for start in (0..COUNT).step_by(10) {
        queue.push_messages(&body, start, start + 10);
        queue.wake_sleepers();
    }
    queue.push_notice(&Arc::new(Notice::Closed), None);
    let mut all: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), COUNT as usize);
}

#[test]
#[cfg_attr(miri, ignore = "miri has no poll")]
fn the_fd_is_readable_exactly_while_there_is_something() {
    let queue = queue(Overflow::DropNewest, 2, 10_000);
    queue.push_notice(&state(), None);
    let fd = queue.fd().unwrap();
    assert!(is_readable(fd));
    queue.push_messages(&body(5, 0), 0, 5);
    for left in [3, 2, 1] {
        assert!(is_readable(fd), "{left}");
        queue.poll(Some(Duration::ZERO));
    }
    assert!(is_readable(fd), "the count of the dropped");
    queue.poll(Some(Duration::ZERO));
    assert!(!is_readable(fd));
    queue.push_notice(&Arc::new(Notice::Closed), None);
    assert!(is_readable(fd));
    queue.poll(Some(Duration::ZERO));
    assert!(!is_readable(fd));
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn a_body_is_counted_with_all_that_it_keeps_in_memory_contract_8() {
    let queue = queue(Overflow::Block, 1_000, 100_000);
    let text = format!(
        r#"[{{"junk":"{}"}},{{"channel":"/x","data":1}}]"#,
        "j".repeat(60_000)
    );
    for room in [true, true, false] {
        assert_eq!(queue.has_room(), room);
        let body = Arc::new(Body::parse(text.clone().into_bytes()).unwrap());
        queue.push_messages(&body, 0, 1);
    }
    assert_eq!(drain(&queue).len(), 3);
}

#[test]
fn callbacks_that_are_set_and_removed_at_once_leave_a_clear_state() {
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    for _ in 0..if cfg!(miri) { 5 } else { 200 } {
        let queue = queue(Overflow::Block, 10, 10_000);
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (queue, dispatcher) = (queue.clone(), dispatcher.clone());
                std::thread::spawn(move || {
                    let callback: EventCallback = Box::new(|_| {});
                    queue.set_callback((n % 2 == 0).then_some((callback, dispatcher)));
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(queue.has_callback(), queue.callback().is_some());
        queue.detach();
        assert!(!queue.has_callback());
        queue.set_callback(Some((Box::new(|_| {}), dispatcher.clone())));
        assert!(!queue.has_callback(), "a freed receiver takes none");
    }
}

#[test]
fn a_poll_that_waits_is_told_of_the_callback() {
    let queue = queue(Overflow::Block, 10, 10_000);
    let poller = {
        let queue = queue.clone();
        std::thread::spawn(move || matches!(queue.poll(None), Polled::HasCallback))
    };
    while queue.waiting.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    queue.set_callback(Some((Box::new(|_| {}), dispatcher)));
    assert!(poller.join().unwrap());
}

#[test]
fn a_freed_receiver_lets_its_pollers_go() {
    let queue = queue(Overflow::Block, 10, 10_000);
    let poller = {
        let queue = queue.clone();
        std::thread::spawn(move || matches!(queue.poll(None), Polled::Closed))
    };
    while queue.waiting.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    queue.detach();
    assert!(poller.join().unwrap());
}

#[test]
fn poll_each_takes_as_many_as_it_may_and_waits_for_the_first_only() {
    let queue = queue(Overflow::Block, 10, 10_000);
    queue.push_messages(&body(5, 0), 0, 5);
    for (most, taken) in [(2, 2), (1, 1), (10, 2), (10, 0)] {
        let mut count = 0;
        let end = queue.poll_each(Some(Duration::ZERO), most, |_| count += 1);
        assert!(matches!(end, Polled::Nothing));
        assert_eq!(count, taken);
    }
    let start = Instant::now();
    let wait = Duration::from_millis(30);
    assert!(matches!(queue.poll(Some(wait)), Polled::Nothing));
    assert!(start.elapsed() >= wait);
    // A time that no clock can tell is no time limit.
    queue.push_messages(&body(1, 0), 0, 1);
    assert!(matches!(queue.poll(Some(Duration::MAX)), Polled::Event(_)));
}

#[test]
fn one_wake_that_brings_several_events_wakes_as_many_threads() {
    let queue = queue(Overflow::Block, 100, 10_000);
    let (send, receive) = std::sync::mpsc::channel();
    for _ in 0..3 {
        let (queue, send) = (queue.clone(), send.clone());
        std::thread::spawn(move || {
            send.send(matches!(queue.poll(None), Polled::Event(_)))
                .unwrap()
        });
    }
    while queue.waiting.load(Ordering::SeqCst) < 3 {
        std::thread::yield_now();
    }
    queue.push_messages(&body(3, 0), 0, 3);
    queue.wake_sleepers();
    for _ in 0..3 {
        assert!(receive.recv_timeout(Duration::from_secs(20)).unwrap());
    }
}

#[test]
fn the_numbers_of_a_queue_are_those_of_what_it_did() {
    let queue = queue(Overflow::DropOldest, 3, 10_000);
    let read = || {
        let it = queue.statistics();
        (it.queued, it.queued_most, it.delivered, it.dropped)
    };
    assert_eq!(read(), (0, 0, 0, 0));
    queue.push_messages(&body(2, 0), 0, 2);
    queue.push_notice(&state(), None);
    assert_eq!(read(), (3, 3, 0, 0));
    queue.poll(Some(Duration::ZERO));
    assert_eq!(read(), (2, 3, 1, 0));
    queue.push_messages(&body(4, 0), 0, 4);
    // What came last, the count of what went, and the notice between them.
    assert_eq!(read(), (6, 6, 1, 2));
    assert_eq!(drain(&queue), ["-1", "s", "-1", "1", "2", "3"]);
    assert_eq!(read(), (0, 6, 7, 2));
}

#[test]
fn drop_newest_counts_bytes_and_messages_up_to_the_bound_itself_contract_8() {
    let one = body(1, 100);
    let share = one.share();
    let newest = queue(Overflow::DropNewest, 1_000, 2 * share);
    for _ in 0..3 {
        newest.push_messages(&one, 0, 1);
    }
    assert_eq!(drain(&newest), ["0", "0", "-1"]);
    let oldest = queue(Overflow::DropOldest, 1_000, 2 * share);
    for _ in 0..3 {
        oldest.push_messages(&one, 0, 1);
    }
    assert_eq!(drain(&oldest), ["-1", "0", "0"]);
    let block = queue(Overflow::Block, 1_000, 2 * share);
    block.push_messages(&one, 0, 1);
    assert!(block.has_room());
    block.push_messages(&one, 0, 1);
    assert!(!block.has_room());
    assert!(block.full().unwrap().starts_with("2 messages of "));
    // Neither messages nor bytes are short where something is dropped instead.
    oldest.push_messages(&one, 0, 1);
    assert!(oldest.has_room() && oldest.full().is_none());
}

#[test]
fn what_is_dropped_at_several_places_is_counted_at_each_contract_8() {
    let queue = queue(Overflow::DropOldest, 2, 10_000);
    for _ in 0..2 {
        queue.push_messages(&body(4, 0), 0, 4);
        queue.push_notice(&state(), None);
    }
    queue.push_messages(&body(4, 0), 0, 2);
    assert_eq!(drain(&queue), ["-4", "s", "-4", "s", "0", "1"]);
    queue.push_notice(&state(), None);
    queue.push_messages(&body(4, 0), 0, 4);
    queue.push_messages(&body(4, 0), 0, 4);
    assert_eq!(drain(&queue), ["s", "-6", "2", "3"]);
}

#[test]
fn a_freed_receiver_keeps_nothing_and_takes_nothing() {
    let queue = queue(Overflow::Block, 1, 10_000);
    queue.push_messages(&body(3, 0), 0, 3);
    queue.push_notice(&state(), None);
    assert!(!queue.has_room());
    queue.detach();
    assert!(queue.has_room() && queue.full().is_none());
    queue.push_messages(&body(3, 0), 0, 3);
    queue.push_notice(&state(), None);
    queue.wake_sleepers();
    assert!(!queue.has_something());
    assert_eq!(queue.statistics().delivered, 0);
    assert!(matches!(queue.poll(None), Polled::Closed));
}

#[test]
fn a_callback_gets_what_is_there_already_and_who_polls_is_told() {
    let queue = queue(Overflow::Block, 10, 10_000);
    queue.push_messages(&body(2, 0), 0, 2);
    let (send, receive) = std::sync::mpsc::channel();
    let callback: EventCallback = Box::new(move |event| send.send(format!("{event:?}")).unwrap());
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    queue.set_callback(Some((callback, dispatcher)));
    for _ in 0..2 {
        receive.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert!(matches!(queue.poll(None), Polled::HasCallback));
    queue.set_callback(None);
    queue.push_messages(&body(1, 0), 0, 1);
    queue.wake_sleepers();
    assert_eq!(drain(&queue), ["0"]);
    assert!(receive.recv().is_err(), "it was dropped");
}

#[test]
fn a_callback_makes_room_as_a_poll_does() {
    let room = Arc::<Room>::default();
    let limits = Limits {
        events: 2,
        bytes: 10_000,
        overflow: Overflow::Block,
    };
    let queue = Queue::new(limits, room.clone());
    queue.push_messages(&body(2, 0), 0, 2);
    assert!(!queue.has_room());
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    queue.set_callback(Some((Box::new(|_| {}), dispatcher)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let made = async { tokio::time::timeout(Duration::from_secs(20), room.made()).await };
    runtime.block_on(made).unwrap();
    assert!(queue.has_room());
}

#[test]
fn what_came_before_a_thread_could_be_seen_to_wait_is_not_slept_through() {
    let returns_at_once = |queue: &Queue| {
        let begun = Instant::now();
        let front = lock(&queue.front);
        let long = Duration::from_secs(30);
        drop(queue.wait(front, begun.checked_add(long)));
        assert!(begun.elapsed() < long / 2);
        assert_eq!(queue.waiting.load(Ordering::SeqCst), 0);
    };
    let something = queue(Overflow::Block, 10, 10_000);
    something.push_messages(&body(1, 0), 0, 1);
    returns_at_once(&something);
    let over = queue(Overflow::Block, 10, 10_000);
    over.end();
    returns_at_once(&over);
    let with_callback = queue(Overflow::Block, 10, 10_000);
    let dispatcher = Arc::new(Dispatcher::start().unwrap());
    with_callback.set_callback(Some((Box::new(|_| {}), dispatcher)));
    returns_at_once(&with_callback);
}

/// A queue of this tracker's, with one event for each of these replay ids.
pub(in crate::delivery) fn tracked(tracker: &Arc<Tracker>, ids: &[i64]) -> Arc<Queue> {
    let limits = Limits {
        events: 100,
        bytes: 100_000,
        overflow: Overflow::Block,
    };
    let queue = Queue::of(
        "a test".into(),
        limits,
        Arc::<Room>::default(),
        Some(tracker.clone()),
    );
    for id in ids {
        let text = format!(r#"[{{"channel":"/e","data":{{"event":{{"replayId":{id}}}}}}}]"#);
        let body = Arc::new(Body::parse(text.into_bytes()).unwrap());
        queue.push_messages(&body, 0, 1);
    }
    queue
}

#[test]
fn what_is_given_out_is_followed_and_what_a_freed_receiver_throws_away_is_not_219() {
    let saved = Arc::new(Mutex::new(Vec::new()));
    let log = saved.clone();
    let tracker = Arc::new(Tracker::new(Arc::new(move |_: &str, position| {
        lock(&log).push(position);
        Ok(())
    })));
    tracker.follow("/e", |_| true);
    let finish_one = |queue: &Queue| {
        let Polled::Event(Event::Tracked(message, ticket)) = queue.poll(Some(Duration::ZERO))
        else {
            panic!("nobody would know what becomes of it");
        };
        ticket.finish(&message.get().unwrap());
    };
    let freed = tracked(&tracker, &[1, 2]);
    finish_one(&freed);
    assert_eq!(*lock(&saved), [1]);
    freed.detach();
    assert_eq!(*lock(&saved), [1], "nobody was given the second");
    // Nor does it hold back what others are given.
    finish_one(&tracked(&tracker, &[3]));
    assert_eq!(*lock(&saved), [1, 3]);
    // Who follows nothing gets plain events.
    let queue = queue(Overflow::Block, 10, 10_000);
    queue.push_messages(&body(1, 0), 0, 1);
    let polled = queue.poll(Some(Duration::ZERO));
    assert!(matches!(polled, Polled::Event(Event::Message(_))));
}

#[test]
fn what_is_counted_and_does_not_come_keeps_a_poll_only_so_long() {
    let queue = queue(Overflow::Block, 10, 10_000);
    queue.events.fetch_add(1, Ordering::SeqCst);
    let polled = queue.poll(Some(Duration::ZERO));
    assert!(matches!(polled, Polled::Nothing));
    // What comes meanwhile is taken.
    queue.push_messages(&body(1, 0), 0, 1);
    let polled = queue.poll(Some(Duration::ZERO));
    assert!(matches!(polled, Polled::Event(_)));
}
