use super::*;
use crate::bayeux::json;
use crate::bayeux::{body::OwnedMessage, Body};
use crate::error::{Error, ErrorKind};

fn subscribe(id: OperationId, channels: &[&str]) -> Command {
    let channels = channels.iter().map(|it| (*it).to_owned()).collect();
    Command::Subscribe { id, channels }
}

fn unsubscribe(id: OperationId, channels: &[&str]) -> Command {
    let channels = channels.iter().map(|it| (*it).to_owned()).collect();
    Command::Unsubscribe { id, channels }
}

fn subscribed(id: OperationId, channel: &str, renewed: bool) -> Event {
    Event::Subscribed {
        id,
        channel: channel.to_owned(),
        ext: None,
        renewed,
    }
}

fn unsubscribed(id: OperationId, channel: &str) -> Event {
    Event::Unsubscribed {
        id,
        channel: channel.to_owned(),
        ext: None,
    }
}

fn failed(id: OperationId, phase: Phase, channel: &str, again: bool) -> Event {
    let mut error = Error::new(ErrorKind::Refused, phase, "no").on_channel(channel);
    error.retry_in = again.then_some(0);
    let error = Box::new(error);
    Event::Error { id, error }
}

/// What is kept: calls, and subscriptions.
fn kept(opaques: &Opaques) -> (usize, usize) {
    let table = opaques.table.get();
    table.map_or((0, 0), |it| {
        let table = lock(it);
        (table.calls.len(), table.subscriptions.len())
    })
}

#[test]
fn who_gives_no_value_costs_nothing() {
    let opaques = Opaques::default();
    opaques.accepted(&subscribe(1, &["/a"]), 0);
    opaques.accepted(&unsubscribe(2, &["/a"]), 0);
    assert_eq!(opaques.of(&subscribed(1, "/a", false)), 0);
    assert!(opaques.table.get().is_none());
}

#[test]
fn each_kind_of_call_has_its_value_back_once_a_message_and_then_nothing_is_kept() {
    let data = || json::parse(b"1").unwrap();
    let channel = || "/service/a".to_owned();
    let body = Body::parse(br#"[{"channel":"/service/a","data":1}]"#.to_vec()).unwrap();
    let body = std::sync::Arc::new(body);
    let published = |id| Event::Published {
        id,
        channel: "/a".to_owned(),
        ext: None,
    };
    let calls: [(Command, Vec<Event>); 6] = [
        (
            subscribe(1, &["/a", "/b"]),
            vec![
                subscribed(1, "/b", false),
                failed(1, Phase::Subscribe, "/a", false),
            ],
        ),
        (
            unsubscribe(2, &["/b", "/c"]),
            vec![
                unsubscribed(2, "/b"),
                failed(2, Phase::Unsubscribe, "/c", false),
            ],
        ),
        (
            Command::Publish {
                id: 3,
                channel: channel(),
                data: data(),
            },
            vec![published(3)],
        ),
        (
            Command::PublishWithRetries {
                id: 4,
                channel: channel(),
                data: data(),
                attempts: None,
                deadline: None,
            },
            vec![failed(4, Phase::Publish, "/a", false)],
        ),
        (
            Command::Call {
                id: 5,
                channel: channel(),
                data: data(),
                deadline: 9,
            },
            vec![Event::Result {
                id: 5,
                message: OwnedMessage::new(body, 0),
                error: None,
                ext: None,
            }],
        ),
        (
            Command::Call {
                id: 6,
                channel: channel(),
                data: data(),
                deadline: 9,
            },
            vec![failed(6, Phase::Call, "/service/a", false)],
        ),
    ];
    let opaques = Opaques::default();
    for (index, (command, _)) in calls.iter().enumerate() {
        opaques.accepted(command, index + 1);
    }
    for (index, (_, events)) in calls.iter().enumerate() {
        for event in events {
            assert_eq!(opaques.of(event), index + 1, "{event:?}");
        }
    }
    assert_eq!(kept(&opaques), (0, 0));
}

#[test]
fn a_renewal_and_what_goes_wrong_with_it_have_the_value_of_the_subscribe() {
    let opaques = Opaques::default();
    opaques.accepted(&subscribe(1, &["/a", "/b"]), 7);
    // The server has put it off.
    assert_eq!(opaques.of(&failed(0, Phase::Subscribe, "/a", true)), 7);
    assert_eq!(opaques.of(&subscribed(1, "/a", false)), 7);
    assert_eq!(opaques.of(&subscribed(1, "/a", true)), 7);
    assert_eq!(opaques.of(&failed(0, Phase::Subscribe, "/a", true)), 7);
    assert_eq!(opaques.of(&failed(0, Phase::Connect, "/a", true)), 0);
    assert_eq!(opaques.of(&failed(0, Phase::Subscribe, "/c", true)), 0);
    // A second one does not take it over, and has its own outcome.
    opaques.accepted(&subscribe(2, &["/a"]), 8);
    assert_eq!(opaques.of(&subscribed(2, "/a", false)), 8);
    assert_eq!(opaques.of(&subscribed(1, "/a", true)), 7);
    // For good.
    assert_eq!(opaques.of(&failed(0, Phase::Subscribe, "/a", false)), 7);
    assert_eq!(opaques.of(&subscribed(1, "/b", false)), 7);
    assert_eq!(kept(&opaques), (0, 1));
    opaques.accepted(&subscribe(3, &["/a"]), 9);
    assert_eq!(opaques.of(&subscribed(3, "/a", false)), 9);
    assert_eq!(opaques.of(&subscribed(3, "/a", true)), 9);
    assert_eq!(opaques.of(&Event::Closed), 0);
    assert_eq!(kept(&opaques), (0, 0));
}

#[test]
fn an_unsubscribe_ends_what_was_subscribed_before_it_in_whatever_order_that_is_told() {
    // The outcomes of subscribe 1, unsubscribe 2 and subscribe 3, in each order; `false`
    // is an unsubscribe that failed.
    let orders = [
        [1, 2, 3],
        [1, 3, 2],
        [2, 1, 3],
        [2, 3, 1],
        [3, 1, 2],
        [3, 2, 1],
    ];
    for order in orders {
        for succeeds in [true, false] {
            let opaques = Opaques::default();
            opaques.accepted(&subscribe(1, &["/a"]), 11);
            opaques.accepted(&unsubscribe(2, &["/a"]), 0);
            opaques.accepted(&subscribe(3, &["/a"]), 13);
            for id in order {
                let (event, value) = match id {
                    2 if succeeds => (unsubscribed(2, "/a"), 0),
                    2 => (failed(2, Phase::Unsubscribe, "/a", false), 0),
                    id => (subscribed(id, "/a", false), 10 + id as usize),
                };
                assert_eq!(opaques.of(&event), value, "{order:?}");
            }
            let renewed = opaques.of(&subscribed(3, "/a", true));
            assert_eq!(renewed, 13, "{order:?} {succeeds}");
            opaques.accepted(&unsubscribe(4, &["/a"]), 14);
            assert_eq!(opaques.of(&unsubscribed(4, "/a")), 14);
            assert_eq!(kept(&opaques), (0, 0), "{order:?} {succeeds}");
        }
    }
}

#[test]
fn a_subscription_without_a_value_has_none_when_it_is_renewed() {
    let opaques = Opaques::default();
    opaques.accepted(&subscribe(1, &["/a"]), 0);
    assert_eq!(opaques.of(&subscribed(1, "/a", false)), 0);
    opaques.accepted(&subscribe(2, &["/a"]), 8);
    assert_eq!(opaques.of(&subscribed(2, "/a", false)), 8);
    assert_eq!(opaques.of(&subscribed(1, "/a", true)), 0);
    // What has no id is told to who has given a value.
    assert_eq!(opaques.of(&failed(0, Phase::Subscribe, "/a", true)), 8);
}
