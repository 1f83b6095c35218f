use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::bayeux::body::OwnedMessage;
use crate::delivery::event::Event;
use crate::delivery::limits::Overflow;
use crate::delivery::queue::tests::body;
use crate::delivery::queue::Polled;
use crate::error::{Error, ErrorKind, Phase};
use crate::session::{Event as Told, State};

fn hub(events: usize) -> Hub {
    let limits = Limits {
        events,
        bytes: 1_000_000,
        overflow: Overflow::Block,
    };
    Hub::new(limits, "a test".into())
}

fn messages(count: usize) -> Told {
    Told::Messages {
        body: body(count, 0),
        range: 0..u32::try_from(count).unwrap(),
    }
}

fn published(id: u64) -> Told {
    Told::Published {
        id,
        channel: "/p".into(),
        ext: None,
    }
}

fn failed(id: u64, phase: Phase) -> Told {
    Told::Error {
        id,
        error: Box::new(Error::new(ErrorKind::Refused, phase, "it failed")),
    }
}

fn next(queue: &Queue) -> Option<Event> {
    match queue.poll(Some(Duration::ZERO)) {
        Polled::Event(event) => Some(event),
        _ => None,
    }
}

fn count(queue: &Queue) -> usize {
    std::iter::from_fn(|| next(queue)).count()
}

#[test]
fn contract_1_every_receiver_sees_every_event_from_its_making_on() {
    let hub = hub(100);
    let first = hub.add();
    hub.publish(messages(2));
    let second = hub.add();
    hub.publish(published(7));
    hub.publish(messages(3));
    assert_eq!(count(&first), 6);
    assert_eq!(count(&second), 4);
}

#[test]
fn a_receiver_of_outcomes_sees_nothing_else_but_room_and_the_end() {
    let hub = hub(2);
    let queue = hub.add_of_outcomes();
    hub.publish(messages(9));
    hub.publish(Told::State {
        state: State::Connected,
        previous: State::Connecting,
        ext: None,
    });
    hub.publish(failed(0, Phase::Connect));
    assert!(hub.has_room());
    assert!(next(&queue).is_none());
    hub.publish(published(7));
    hub.publish(failed(8, Phase::Publish));
    hub.tell(Notice::Room);
    hub.publish(Told::Closed);
    assert_eq!(count(&queue), 4);
    assert!(matches!(queue.poll(None), Polled::Closed));
}

#[test]
fn each_kind_of_event_arrives_as_what_it_is() {
    let hub = hub(100);
    let queue = hub.add();
    let ext = || Some(Box::from("{}"));
    let told = [
        Told::State {
            state: State::Connected,
            previous: State::Connecting,
            ext: ext(),
        },
        Told::Subscribed {
            id: 1,
            channel: "/s".into(),
            ext: ext(),
            renewed: true,
        },
        Told::Unsubscribed {
            id: 2,
            channel: "/u".into(),
            ext: ext(),
        },
        Told::Published {
            id: 3,
            channel: "/p".into(),
            ext: ext(),
        },
        Told::Result {
            id: 4,
            message: OwnedMessage::new(body(1, 0), 0),
            error: None,
            ext: ext(),
        },
        Told::Advice { json: "[]".into() },
        failed(5, Phase::Publish),
        Told::Closed,
    ];
    for event in told {
        hub.publish(event);
    }
    let all: Vec<_> = std::iter::from_fn(|| next(&queue))
        .map(|event| match event {
            Event::Notice(notice) => match &*notice {
                Notice::State {
                    state: State::Connected,
                    previous: State::Connecting,
                    ext: Some(_),
                } => "state".to_owned(),
                Notice::Subscribed {
                    id,
                    opaque: 0,
                    ends: false,
                    channel,
                    ext: Some(_),
                    renewed: true,
                } => format!("subscribed {id} {channel}"),
                Notice::Unsubscribed {
                    id,
                    opaque: 0,
                    ends: false,
                    channel,
                    ext: Some(_),
                } => format!("unsubscribed {id} {channel}"),
                Notice::Published {
                    id,
                    opaque: 0,
                    ends: false,
                    channel,
                    ext: Some(_),
                } => format!("published {id} {channel}"),
                Notice::Result {
                    id,
                    error: None,
                    ext: Some(_),
                    ..
                } => format!("result {id}"),
                Notice::Advice { json } => format!("advice {json}"),
                Notice::Error { id, error, .. } => format!("error {id} {error}"),
                Notice::Closed => "closed".into(),
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        all,
        [
            "state",
            "subscribed 1 /s",
            "unsubscribed 2 /u",
            "published 3 /p",
            "result 4",
            "advice []",
            "error 5 it failed",
            "closed"
        ]
    );
}

#[test]
fn contract_9_nothing_comes_behind_closed_and_a_later_receiver_is_told_so() {
    let hub = hub(100);
    let queue = hub.add();
    hub.publish(Told::Closed);
    hub.publish(messages(1));
    hub.publish(failed(1, Phase::Publish));
    assert_eq!(count(&queue), 1);
    assert!(matches!(queue.poll(None), Polled::Closed));
    assert!(matches!(hub.add().poll(None), Polled::Closed));
    assert_eq!(hub.statistics().len(), 1, "the late one is not kept");
    assert_eq!(hub.failed_publishes().all, 0);
}

#[test]
fn a_receiver_that_is_removed_gets_nothing_and_the_others_go_on() {
    let hub = hub(100);
    let [kept, removed] = [hub.add(), hub.add()];
    hub.publish(messages(1));
    hub.remove(&removed);
    hub.publish(messages(1));
    assert!(matches!(removed.poll(None), Polled::Closed));
    assert_eq!(count(&kept), 2);
    assert_eq!(hub.statistics().len(), 1);
}

#[test]
fn wake_wakes_who_waits_for_what_was_published() {
    let hub = hub(100);
    let queue = hub.add();
    let (send, receive) = std::sync::mpsc::channel();
    let poller = queue.clone();
    std::thread::spawn(move || {
        let came = matches!(poller.poll(None), Polled::Event(_));
        send.send(came).unwrap();
    });
    while !queue.is_waited_for() {
        std::thread::yield_now();
    }
    hub.publish(messages(1));
    hub.wake();
    assert!(receive.recv_timeout(Duration::from_secs(20)).unwrap());
}

#[test]
fn contract_8_there_is_room_only_where_every_receiver_has_some() {
    let hub = hub(2);
    let queues = [hub.add(), hub.add()];
    assert!(hub.has_room());
    hub.publish(messages(2));
    assert!(!hub.has_room());
    next(&queues[0]);
    assert!(!hub.has_room(), "the other one is full");
    next(&queues[1]);
    assert!(hub.has_room());
    // The first of them counts as much as the last.
    hub.publish(messages(1));
    next(&queues[1]);
    assert!(!hub.has_room());
    hub.remove(&queues[0]);
    assert!(hub.has_room());
}

#[test]
fn contract_8_whoever_was_told_of_no_room_is_told_of_room() {
    let hub = hub(2);
    let queues = [hub.add(), hub.add()];
    let mut context = Context::from_waker(Waker::noop());
    let mut is_told = || pin!(hub.room_made()).poll(&mut context) == Poll::Ready(());
    hub.publish(messages(2));
    next(&queues[0]);
    assert!(!is_told(), "nobody has asked");
    hub.publish(messages(1));
    assert!(!hub.has_room());
    assert!(!is_told());
    next(&queues[0]);
    assert!(is_told());
    next(&queues[1]);
    assert!(!is_told(), "it is still full");
    next(&queues[1]);
    assert!(is_told());
    hub.publish(messages(2));
    assert!(!hub.has_room());
    hub.remove(&queues[0]);
    assert!(is_told(), "a receiver that is gone makes room");
}

#[test]
fn case_unread_outcomes_waiting_for_the_host_is_counted_each_time_that_it_begins() {
    let hub = hub(1);
    let queue = hub.add();
    assert!(hub.has_room());
    assert_eq!(hub.waiting(), (false, 0));
    for times in 1..=3 {
        hub.publish(messages(1));
        for _ in 0..3 {
            assert!(!hub.has_room());
            assert_eq!(hub.waiting(), (true, times));
        }
        next(&queue);
        assert!(hub.has_room());
        assert_eq!(hub.waiting(), (false, times));
    }
}

#[test]
fn case_unread_outcomes_are_those_of_the_receiver_that_is_furthest_behind() {
    let hub = hub(1);
    assert_eq!(hub.unread_outcomes(), 0);
    let [quick, slow] = [hub.add(), hub.add()];
    for id in 1..=3 {
        hub.publish(published(id));
    }
    // These end no call of the host's.
    hub.publish(failed(0, Phase::Connect));
    hub.publish(Told::Subscribed {
        id: 9,
        channel: "/s".into(),
        ext: None,
        renewed: true,
    });
    assert_eq!(hub.unread_outcomes(), 3);
    assert_eq!(count(&quick), 5);
    assert_eq!(hub.unread_outcomes(), 3);
    next(&slow);
    assert_eq!(hub.unread_outcomes(), 2);
    let statistics = hub.statistics();
    assert_eq!(statistics[0].unread_outcomes, 0);
    assert_eq!(statistics[1].unread_outcomes, 2);
    hub.remove(&slow);
    assert_eq!(hub.unread_outcomes(), 0);
}

#[test]
fn case_unread_outcomes_failed_publishes_are_known_once_any_receiver_has_told() {
    let hub = hub(1);
    let [first, second] = [hub.add(), hub.add()];
    let is = |all, unread| assert_eq!(hub.failed_publishes(), FailedPublishes { all, unread });
    for (id, phase) in [
        (0, Phase::Publish),
        (1, Phase::Subscribe),
        (2, Phase::Call),
        (3, Phase::Publish),
        (4, Phase::Publish),
    ] {
        hub.publish(failed(id, phase));
    }
    hub.publish(published(5));
    is(2, 2);
    assert_eq!(count(&first), 6);
    is(2, 0);
    assert_eq!(count(&second), 6);
    is(2, 0);
    // What a freed receiver throws away was told to nobody.
    hub.publish(failed(6, Phase::Publish));
    hub.remove(&first);
    is(3, 1);
    hub.remove(&second);
    is(3, 1);
    hub.publish(failed(7, Phase::Publish));
    is(4, 2);
}

#[test]
fn statistics_are_of_each_receiver_the_oldest_first() {
    let hub = hub(100);
    let first = hub.add();
    hub.publish(messages(4));
    let _second = hub.add();
    hub.publish(messages(1));
    next(&first);
    let read: Vec<_> = hub
        .statistics()
        .iter()
        .map(|it| (it.queued, it.queued_most, it.delivered, it.dropped, it.full))
        .collect();
    assert_eq!(read, [(4, 5, 1, 0, false), (1, 1, 0, 0, false)]);
}

#[test]
fn case_unread_outcomes_the_log_is_told_once_in_a_while() {
    let mut waiting = Waiting::default();
    let now = Instant::now();
    assert!(waiting.may_tell(now), "at once, the first time");
    waiting.told = Some(now);
    assert!(!waiting.may_tell(now));
    assert!(!waiting.may_tell(now + TELL - Duration::from_millis(1)));
    assert!(waiting.may_tell(now + TELL));
    // Told only where there is something to tell.
    let hub = hub(1);
    let queue = hub.add();
    assert!(hub.has_room());
    assert!(lock(&hub.state).waiting.told.is_none());
    hub.publish(messages(1));
    assert!(!hub.has_room());
    let told = lock(&hub.state).waiting.told;
    assert!(told.is_some());
    next(&queue);
    assert!(hub.has_room());
    hub.publish(messages(1));
    assert!(!hub.has_room());
    assert_eq!(lock(&hub.state).waiting.told, told, "not again so soon");
}
