use super::*;

/// A connected session whose server has just given this advice; the next
/// connect is under way.
fn advised(advice: &str) -> (World, Sent) {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok(&format!(r#","advice":{advice}"#)));
    let (_, connect) = world.next_request(Endpoint::Connect);
    (world, connect)
}

/// How long until this connect is given up.
fn deadline(world: &mut World, connect: &Sent) -> Millis {
    while world.open.contains_key(&connect.id) {
        assert!(world.next_timer());
    }
    world.now - connect.at
}

#[test]
fn the_interval_holds_until_it_is_changed_43() {
    let (mut world, mut connect) = advised(r#"{"interval":2000}"#);
    for _ in 0..3 {
        world.wait(30_000);
        world.answer(&connect, &connect_ok(""));
        let (waited, next) = world.next_request(Endpoint::Connect);
        assert_eq!(waited, 2_000);
        connect = next;
    }
    world.answer(&connect, &connect_ok(r#","advice":{"interval":50}"#));
    let (waited, _) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, 50);
}

#[test]
fn commands_do_not_wait_for_the_interval_43() {
    let (mut world, connect) = advised(r#"{"interval":2000}"#);
    world.answer(&connect, &connect_ok(""));
    world.wait(100);
    world.publish(1, "/x", "1");
    assert_eq!(world.request(Endpoint::Messages).at, world.now);
}

#[test]
fn a_negative_interval_ends_it_with_the_reason_45() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_ok(r#","advice":{"reconnect":"retry","interval":-1}"#),
    );
    assert_eq!(
        world.events(),
        ["Fatal connect ServerDisconnected", "-> Closed", "Closed"]
    );
    assert!(world.last_error().message.contains("interval"));
    world.assert_quiet(100_000);
}

#[test]
fn newer_advice_replaces_and_does_not_merge_46() {
    let (mut world, connect) = advised(r#"{"timeout":30000,"interval":5000}"#);
    world.answer(&connect, &connect_ok(r#","advice":{"reconnect":"retry"}"#));
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, 0);
    assert_eq!(deadline(&mut world, &connect), 60_000 + 10_000);
}

#[test]
fn a_reply_without_advice_changes_none_46() {
    let (mut world, connect) = advised(r#"{"timeout":30000,"interval":5000}"#);
    world.wait(25_000);
    world.answer(&connect, &connect_ok(""));
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, 5_000);
    assert_eq!(deadline(&mut world, &connect), 40_000);
}

#[test]
fn a_handshake_forgets_the_advice_46() {
    let (mut world, connect) = advised(r#"{"timeout":30000,"interval":5000}"#);
    world.answer(&connect, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(deadline(&mut world, &connect), 70_000);
}

#[test]
fn a_successful_connect_with_none_ends_it_48() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        r#"[{"channel":"/meta/connect","id":"$id","successful":true,"advice":{"reconnect":"none"}},{"channel":"/x","data":1}]"#,
    );
    assert_eq!(
        world.events(),
        [
            "/x 1",
            "Fatal connect ServerDisconnected",
            "-> Closed",
            "Closed"
        ]
    );
}

#[test]
fn a_successful_connect_with_handshake_is_followed_by_a_connect() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok(r#","advice":{"reconnect":"handshake"}"#));
    let next = world.request(Endpoint::Connect);
    world.fail(&next, ErrorKind::Tcp);
    world.next_request(Endpoint::Connect);
}

#[test]
fn an_unsuccessful_connect_with_none_ends_it_with_the_servers_words_50() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_refused(r#","error":"401::Authentication invalid","advice":{"reconnect":"none"}"#),
    );
    assert_eq!(
        world.events(),
        ["Fatal connect Refused", "-> Closed", "Closed"]
    );
    let error = world.last_error();
    assert_eq!(
        error.message,
        "connect: the server refused: 401::Authentication invalid"
    );
    assert_eq!(error.bayeux.as_ref().unwrap().code, 401);
}

#[test]
fn an_unknown_action_is_the_default_with_backoff_51() {
    let (mut world, mut connect) = World::connected();
    for wait in [1_000, 2_000, 3_000] {
        world.answer(
            &connect,
            &connect_refused(r#","advice":{"reconnect":"banana"}"#),
        );
        let (waited, next) = world.next_request(Endpoint::Connect);
        assert_within(waited, jittered(wait));
        connect = next;
    }
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_refused(r#","advice":{"reconnect":"banana"}"#),
    );
    world.next_request(Endpoint::Handshake);
}

#[test]
fn the_first_connect_is_given_up_without_the_hold_time_53() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","advice":{"timeout":60000}"#),
    );
    let first = world.request(Endpoint::Connect);
    assert_eq!(deadline(&mut world, &first), 10_000);
    assert_eq!(world.last_error().kind, ErrorKind::Timeout);
    assert_eq!(
        world.last_error().message,
        "connect: no response within 10000 ms"
    );
}

#[test]
fn numbers_may_be_strings_54() {
    let (mut world, connect) = advised(r#"{"timeout":"30000","interval":"100"}"#);
    world.answer(&connect, &connect_ok(""));
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, 100);
    assert_eq!(deadline(&mut world, &connect), 40_000);
}

#[test]
fn the_section_for_long_polling_wins_55() {
    let (mut world, connect) =
        advised(r#"{"interval":0,"long-polling":{"interval":1500},"websocket":{"interval":9}}"#);
    world.answer(&connect, &connect_ok(""));
    assert_eq!(world.next_request(Endpoint::Connect).0, 1_500);
}

#[test]
fn past_the_maximum_interval_handshakes_come_but_no_storm_57() {
    let (mut world, mut handshake) = World::handshaking(|_| {});
    let accepted = handshake_ok("c", r#","advice":{"maxInterval":3000,"timeout":0}"#);
    let start = world.now;
    let mut handshakes = Vec::new();
    world.answer(&handshake, &accepted);
    let mut connect = world.request(Endpoint::Connect);
    while world.now < start + 120_000 {
        world.http(&connect, 503);
        while world.inbox.is_empty() {
            world.next_timer();
        }
        if world.inbox[0].endpoint == Endpoint::Handshake {
            handshake = world.request(Endpoint::Handshake);
            handshakes.push(world.now - start);
            world.answer(&handshake, &accepted);
        }
        connect = world.request(Endpoint::Connect);
    }
    assert!(!handshakes.is_empty(), "the old session is given up");
    assert!(handshakes[0] > 3_000, "but not early: {handshakes:?}");
    assert!(handshakes.len() <= 18, "{handshakes:?}");
    let waits: Vec<_> = handshakes.windows(2).map(|it| it[1] - it[0]).collect();
    assert!(waits.iter().all(|it| *it > 3_000), "{waits:?}");
    assert!(waits.last() > Some(&10_000), "{waits:?}");
}

#[test]
fn a_new_session_is_not_taken_for_expired_by_the_outage_before_it_57() {
    let (mut world, mut handshake) = World::handshaking(|_| {});
    let start = world.now;
    while world.now < start + 60_000 {
        world.fail(&handshake, ErrorKind::Tcp);
        handshake = world.next_request(Endpoint::Handshake).1;
    }
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","advice":{"maxInterval":10000}"#),
    );
    let connect = world.request(Endpoint::Connect);
    world.http(&connect, 503);
    world.next_request(Endpoint::Connect);
}

#[test]
fn without_a_maximum_interval_only_connects_are_tried_58() {
    let (mut world, mut connect) = World::connected();
    let start = world.now;
    while world.now < start + 60_000 {
        world.fail(&connect, ErrorKind::Tcp);
        connect = world.next_request(Endpoint::Connect).1;
        assert_eq!(connect.client_id(), "c1");
    }
    world.answer(&connect, &connect_refused(UNKNOWN));
    world.request(Endpoint::Handshake);
}

#[test]
fn the_interval_of_a_refused_connect_is_added_to_the_backoff() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_refused(r#","advice":{"reconnect":"retry","interval":5000}"#),
    );
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_within(waited, 6_100..=6_200);
    // It was that message's own: the next failure knows nothing of it.
    world.fail(&connect, ErrorKind::Tcp);
    let (waited, _) = world.next_request(Endpoint::Connect);
    assert_within(waited, jittered(2_000));
}

#[test]
fn a_stored_interval_counts_when_the_network_fails() {
    let (mut world, connect) = advised(r#"{"interval":4000}"#);
    world.fail(&connect, ErrorKind::Tcp);
    let (waited, _) = world.next_request(Endpoint::Connect);
    assert_within(waited, 5_100..=5_200);
}

#[test]
fn the_interval_of_a_handshake_advice_delays_the_handshake() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_refused(r#","advice":{"reconnect":"handshake","interval":3000}"#),
    );
    assert_eq!(world.next_request(Endpoint::Handshake).0, 3_000);
}

#[test]
fn hostile_numbers_are_bounded() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_ok(
            r#","advice":{"interval":1e300,"timeout":9223372036854775807,"maxInterval":1e18}"#,
        ),
    );
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, MAXIMUM_INTERVAL);
    assert_eq!(deadline(&mut world, &connect), MAXIMUM_HOLD + 10_000);
    let (_, connect) = world.next_request(Endpoint::Connect);
    world.answer(
        &connect,
        &connect_ok(r#","advice":{"interval":0,"timeout":-5}"#),
    );
    let connect = world.request(Endpoint::Connect);
    assert_eq!(deadline(&mut world, &connect), 70_000);
}

#[test]
fn a_publish_refused_with_handshake_waits_for_the_next_connect_63() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.refuse(
        &publish,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    assert_eq!(world.events(), ["Error publish Refused 1 /x"]);
    world.assert_nothing_sent();
    world.answer(&held, &connect_refused(UNKNOWN));
    world.request(Endpoint::Handshake);
    world.assert_nothing_sent();
}

#[test]
fn advice_that_is_none_is_ignored_161() {
    for advice in ["7", "null", "[]", r#""none""#, r#"{"reconnect":{}}"#] {
        let (mut world, held) = World::connected();
        world.answer(
            &held,
            &connect_ok(&format!(
                r#","advice":{advice},"ext":7,"subscription":{{}}"#
            )),
        );
        assert_eq!(world.events(), [""; 0]);
        world.request(Endpoint::Connect);
    }
}
