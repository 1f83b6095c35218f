//! The edges of rules: what is just inside, what is just outside, and what comes
//! of two things at once.

use super::*;
use crate::session::subscriptions::Subscriptions;

/// Connected, with these subscriptions being made again in a second session: the
/// renewal, and the connect that is held.
pub(super) fn renewing(
    channels: &[&str],
    configure: impl FnOnce(&mut Configuration),
) -> (World, Sent, Sent) {
    let (mut world, held) = World::connected_with(configure);
    for (id, channel) in (1..).zip(channels) {
        world.subscribe(id, &[channel]);
        let sent = world.request(Endpoint::Messages);
        world.accept(&sent);
    }
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let renewal = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.events();
    (world, renewal, held)
}

#[test]
fn a_refused_command_asks_the_provider_for_401_and_for_no_other_code() {
    for (error, asked) in [("401::expired", 1), ("403::denied", 0), ("400::no", 0)] {
        let provided = |it: &mut Configuration| it.has_token_provider = true;
        let commands: [fn(&mut World); 2] = [
            |world| world.subscribe(7, &["/b"]),
            |world| world.unsubscribe(7, &["/b"]),
        ];
        for command in commands {
            let (mut world, _) = World::connected_with(provided);
            command(&mut world);
            let sent = world.request(Endpoint::Messages);
            world.refuse(&sent, error, "");
            assert_eq!(world.refreshes, asked, "{error} {}", sent.text);
        }
        let (mut world, renewal, _) = renewing(&["/a"], provided);
        world.refuse(&renewal, error, "");
        assert_eq!(world.refreshes, asked, "{error}");
    }
}

#[test]
fn a_session_that_two_replies_of_a_response_call_lost_is_lost_once() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/meta/subscribe","id":"{id}","successful":false,"error":"402::session_unknown"}},
                {{"channel":"/meta/connect","id":"$id","successful":false{UNKNOWN}}}]"#
        ),
    );
    let (wait, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(wait, 0, "no failure of the next session");
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    world.accept(&again);
    assert_eq!(world.events().last().unwrap(), "Subscribed 1 /a");
}

#[test]
fn of_two_replies_to_one_connect_the_first_counts() {
    let (mut world, held) = World::connected();
    let ok = r#"{"channel":"/meta/connect","id":"$id","successful":true}"#;
    let no = r#"{"channel":"/meta/connect","id":"$id","successful":false,"error":"403::no","advice":{"reconnect":"none"}}"#;
    world.answer(&held, &format!("[{ok},{no}]"));
    assert_eq!(world.state(), State::Connected);
    let held = world.request(Endpoint::Connect);
    world.answer(&held, &format!("[{no},{ok}]"));
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn an_empty_id_is_no_id() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.answer(&sent, r#"[{"channel":"/x","id":"","successful":true}]"#);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn renewals_refused_together_are_tried_again_together() {
    let (mut world, renewal, _) = renewing(&["/a", "/b", "/c"], |_| {});
    assert_eq!(renewal.messages.len(), 3);
    let start = world.errors.len();
    world.refuse(&renewal, "503::busy", "");
    let waits: Vec<_> = world.errors[start..].iter().map(|it| it.retry_in).collect();
    assert_eq!(waits, [waits[0]; 3], "one wait for all of them");
    assert_within(waits[0].unwrap(), jittered(1_000));
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.messages.len(), 3);
    // Another request's failure is another one, at whatever time.
    let start = world.errors.len();
    world.refuse(&again, "503::busy", "");
    assert_within(world.errors[start].retry_in.unwrap(), jittered(2_000));
}

#[test]
fn renewals_whose_request_failed_travel_alone_until_all_are_well() {
    let (mut world, renewal, held) = renewing(&["/a", "/b"], |_| {});
    assert_eq!(renewal.messages.len(), 2);
    world.http(&renewal, 500);
    for channel in ["/a", "/b"] {
        let (_, alone) = world.next_request(Endpoint::Messages);
        assert_eq!(alone.summary(), [format!("/meta/subscribe {channel}")]);
        world.accept(&alone);
    }
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c3", ""));
    let together = world.request(Endpoint::Messages);
    assert_eq!(together.messages.len(), 2);
}

#[test]
fn renewals_wait_as_long_as_the_server_asks_and_a_wait_of_their_own_is_no_shorter() {
    for (asked, range) in [(30_000, 30_000..=30_000), (10, jittered(1_000))] {
        let (mut world, renewal, _) = renewing(&["/a"], |_| {});
        let mut failure = Failure::new(ErrorKind::HttpStatus, "HTTP status 503");
        failure.http_status = 503;
        failure.retry_after = Some(asked);
        world.fail_with(&renewal, &failure);
        let told = world.last_error().retry_in.unwrap();
        let (wait, _) = world.next_request(Endpoint::Messages);
        assert_eq!(wait, told);
        assert_within(wait, range);
    }
}

#[test]
fn late_answers_of_several_calls_are_no_events_41() {
    let (mut world, _) = World::connected();
    let call = |id| Command::Call {
        id,
        channel: "/service/x".to_owned(),
        data: serde_json::from_str("1").unwrap(),
        deadline: 1_002_000,
    };
    world.command(Command::Batch(vec![call(1), call(2), call(3)]));
    let sent = world.request(Endpoint::Messages);
    world.wait(2_000);
    assert_eq!(world.events().len(), 3, "each has timed out");
    world.answer(&sent, &replies(&sent, r#""successful":true,"data":7"#));
    assert_eq!(world.events(), [""; 0]);
}

#[test]
fn small_messages_that_wait_share_a_request_whatever_comes_with_each() {
    for (timestamp, timesync) in [(None, false), (Some(Timestamp::Iso), true)] {
        let (mut world, handshake) = World::handshaking(|it| {
            it.timestamp = timestamp;
            it.timesync = timesync;
        });
        world.answer(&handshake, &handshake_ok(&"c".repeat(1_000), ""));
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_ok(""));
        world.request(Endpoint::Connect);
        world.publish(1, "/x", "1");
        let first = world.request(Endpoint::Messages);
        let channel = |number| format!("/{}{number}", "a".repeat(200));
        for id in 2..=8 {
            world.publish(id, &channel(id), &format!("\"{}\"", "d".repeat(200)));
        }
        world.subscribe(9, &[&channel(9)]);
        world.unsubscribe(10, &[&channel(10)]);
        world.accept(&first);
        assert_eq!(world.request(Endpoint::Messages).messages.len(), 9);
    }
}

#[test]
fn a_topic_is_needed_as_long_as_one_of_its_channels_is_wanted() {
    for channel in ["/t", "/t?a=1"] {
        let mut subscriptions = Subscriptions::new(Backoff::new(1_000, 60_000));
        for other in ["/", "/s?t", "/t/u", "/t0", "/t0?a", "/u"] {
            let call = subscriptions.subscribe_called(other);
            subscriptions.accepted(other, 1, false);
            subscriptions.subscribe_ended(other, call, false);
            subscriptions.subscribe_called(other);
        }
        assert!(!subscriptions.needs_topic("/t"));
        let call = subscriptions.subscribe_called(channel);
        assert!(subscriptions.needs_topic("/t"), "{channel} is asked for");
        subscriptions.accepted(channel, 2, false);
        assert!(subscriptions.needs_topic("/t"), "{channel} is both");
        subscriptions.subscribe_ended(channel, call, false);
        assert!(subscriptions.needs_topic("/t"), "{channel} is made");
        subscriptions.unsubscribe_called(channel, 1);
        assert!(!subscriptions.needs_topic("/t"), "{channel} is taken back");
    }
}

#[test]
fn a_subscribe_joins_a_renewal_unless_one_of_the_hosts_stands_in_for_it() {
    let mut subscriptions = Subscriptions::new(Backoff::new(1_000, 60_000));
    let call = subscriptions.subscribe_called("/a");
    subscriptions.accepted("/a", 1, false);
    subscriptions.subscribe_ended("/a", call, false);
    // Of the host's in the old session, where it stays.
    let call = subscriptions.subscribe_called("/a");
    subscriptions.session_ended();
    subscriptions.left_behind("/a", call, false);
    assert_eq!(subscriptions.plan(0).0, ["/a"]);
    assert!(subscriptions.joins("/a", 3, true));
    // It is sent once more in the new one.
    subscriptions.left_behind("/a", call, true);
    assert!(!subscriptions.joins("/a", 4, true));
    assert_eq!(subscriptions.joined(), 1);
}

#[test]
fn renewals_of_one_request_wait_the_same_and_those_of_the_next_one_longer() {
    let mut subscriptions = Subscriptions::new(Backoff::new(1_000, 60_000));
    let mut jitter = Jitter::new(1);
    let mut wait = |now, request| subscriptions.wait(now, request, &mut jitter, 0);
    let first = wait(0, RequestId(1));
    assert_eq!(wait(0, RequestId(1)), first);
    let second = wait(0, RequestId(2));
    assert!(second > first, "another request at the same time");
    assert!(wait(9, RequestId(2)) > second, "the same one later");
}

#[test]
fn what_is_taken_back_is_not_subscribed_to() {
    let mut subscriptions = Subscriptions::new(Backoff::new(1_000, 60_000));
    subscriptions.subscribe_called("/a");
    subscriptions.subscribe_called("/b");
    subscriptions.unsubscribe_called("/a", 1);
    assert_eq!(subscriptions.channels().collect::<Vec<_>>(), ["/b"]);
}

#[test]
fn a_line_is_slow_or_dead_by_its_last_seconds_and_not_by_its_best_one() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    let since = world.now;
    world.wait(1_000);
    world.progress(&sent, since, 10_000);
    // A great deal within the next second, and nothing more.
    while world.open.contains_key(&sent.id) {
        world.now = world.session.poll_timeout().unwrap();
        assert!(world.now < since + 13_000, "it is long dead");
        world.progress(&sent, since, 200_000);
        world.session.handle_timeout(world.now);
        world.collect();
    }
    assert!(world.now >= since + 10_000, "it had its time");
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
}

#[test]
fn a_subscribe_in_the_place_of_a_renewal_that_comes_to_nothing_brings_the_renewal() {
    for is_refused in [true, false] {
        let (mut world, held) = World::subscribed(&["/a"]);
        world.publish(5, "/x", "1");
        world.request(Endpoint::Messages);
        world.subscribe(7, &["/a"]);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c2", ""));
        let own = world.request(Endpoint::Messages);
        assert_eq!(own.summary(), ["/meta/subscribe /a"], "once");
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_ok(""));
        world.request(Endpoint::Connect);
        world.events();
        match is_refused {
            true => world.refuse(&own, "403::denied", ""),
            false => world.http(&own, 500),
        }
        let told = world.events();
        assert!(told[0].starts_with("Error subscribe "), "{told:?}");
        assert!(told[0].ends_with(" 7 /a"), "{told:?}");
        let (_, renewal) = world.next_request(Endpoint::Messages);
        assert_eq!(renewal.summary(), ["/meta/subscribe /a"]);
        world.accept(&renewal);
        assert!(world.events().contains(&"Renewed 1 /a".to_owned()));
    }
}

#[test]
fn a_late_reply_ends_a_publish_that_stands_in_line_again() {
    let (mut world, held) = World::connected();
    world.command(Command::PublishWithRetries {
        id: 1,
        channel: "/x".to_owned(),
        data: serde_json::from_str("1").unwrap(),
        attempts: None,
        deadline: None,
    });
    let first = world.request(Endpoint::Messages);
    world.fail(&first, ErrorKind::Tcp);
    world.room(false);
    world.wait(5_000);
    let id = first.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/x","id":"{id}","successful":true}},
                {{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(world.events(), ["Published 1 /x"]);
    world.room(true);
    world.request(Endpoint::Connect);
    world.assert_nothing_sent();
}
