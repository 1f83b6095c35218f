use super::*;

#[test]
fn the_first_connect_asks_for_an_answer_at_once_the_second_does_not_24() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(&handshake, &handshake_ok("c1", ""));
    let first = world.request(Endpoint::Connect);
    assert_eq!(
        first.text,
        r#"[{"channel":"/meta/connect","id":"2","clientId":"c1","connectionType":"long-polling","advice":{"timeout":0}}]"#
    );
    world.answer(&first, &connect_ok(""));
    let second = world.request(Endpoint::Connect);
    assert_eq!(
        second.text,
        r#"[{"channel":"/meta/connect","id":"3","clientId":"c1","connectionType":"long-polling"}]"#
    );
    assert_eq!(
        world.events(),
        ["-> Handshaking", "-> Connecting", "-> Connected"]
    );
}

#[test]
fn after_a_failure_the_connect_asks_for_an_answer_at_once_again_24() {
    let (mut world, held) = World::connected();
    world.fail(&held, ErrorKind::ConnectionLost);
    let (_, again) = world.next_request(Endpoint::Connect);
    assert!(again.at_once());
    world.answer(&again, &connect_ok(""));
    assert!(!world.request(Endpoint::Connect).at_once());
}

#[test]
fn a_publish_does_not_wait_for_the_held_connect_26() {
    let (mut world, held) = World::connected();
    world.wait(20_000);
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    assert_eq!(publish.at, world.now);
    world.accept(&publish);
    assert_eq!(world.events(), ["Published 1 /x"]);
    world.assert_nothing_sent();
    assert!(world.open.contains_key(&held.id));
}

#[test]
fn a_server_that_never_holds_is_followed_but_one_at_a_time_27() {
    let (mut world, mut connect) = World::connected();
    for _ in 0..50 {
        world.answer(&connect, &connect_ok(""));
        connect = world.request(Endpoint::Connect);
        assert_eq!(connect.at, world.now);
        world.assert_nothing_sent();
    }
    for _ in 0..100 {
        world.answer(&connect, &connect_ok(""));
        connect = world.next_request(Endpoint::Connect).1;
    }
    world.answer(&connect, &connect_ok(""));
    let (waited, _) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, 1_000);
}

#[test]
fn the_failure_of_an_older_connect_is_ignored_29() {
    let (mut world, held) = World::connected();
    // The held connect's reply rides on the response to a publish.
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    let id = held.field("id").unwrap();
    world.answer(
        &publish,
        &format!(r#"[{{"channel":"/meta/connect","id":"{id}","successful":true}},{{"channel":"/x","id":"$id","successful":true}}]"#),
    );
    let next = world.request(Endpoint::Connect);
    world.events();
    world.http(&held, 500);
    assert_eq!(world.events(), [""; 0]);
    assert_eq!(world.state(), State::Connected);
    assert!(world.open.contains_key(&next.id));
}

#[test]
fn a_response_without_the_connects_reply_is_a_failure_30() {
    for (reply, mut expected) in [
        (r#"[{"channel":"/x","data":1}]"#, vec!["/x 1"]),
        ("[]", vec![]),
    ] {
        let (mut world, held) = World::connected();
        world.answer(&held, reply);
        expected.extend(["Error connect Protocol", "-> Unconnected"]);
        assert_eq!(world.events(), expected);
        let (waited, _) = world.next_request(Endpoint::Connect);
        assert_within(waited, jittered(1_000));
    }
}

#[test]
fn without_the_successful_field_it_is_unsuccessful_32() {
    let (mut world, held) = World::connected();
    world.answer(&held, r#"[{"channel":"/meta/connect","id":"$id"}]"#);
    assert_eq!(world.events(), ["Error connect Refused", "-> Unconnected"]);
    let (waited, _) = world.next_request(Endpoint::Connect);
    assert_within(waited, jittered(1_000));
}

#[test]
fn an_unknown_session_is_replaced_at_once_35() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_refused(UNKNOWN));
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(handshake.field("clientId"), None);
    assert_eq!(world.last_error().retry_in, Some(0));
    world.answer(&handshake, &handshake_ok("c2", ""));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.client_id(), "c2");
    world.answer(&connect, &connect_ok(""));
    assert_eq!(
        world.events(),
        [
            "Error connect Refused",
            "-> Rehandshaking",
            "-> Connecting",
            "-> Connected"
        ]
    );
}

#[test]
fn a_402_without_advice_means_a_handshake_too() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_refused(r#","error":"402::Unknown client""#));
    world.request(Endpoint::Handshake);
}

#[test]
fn the_loop_resumes_after_403_unknown_client_36() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_refused(r#","error":"403::Unknown client","advice":{"reconnect":"handshake"}"#),
    );
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let connect = world.request(Endpoint::Connect);
    world.answer(
        &connect,
        &connect_ok(r#","advice":{"reconnect":"retry","interval":0,"timeout":110000}"#),
    );
    let connect = world.request(Endpoint::Connect);
    world.wait(119_999);
    assert!(world.open.contains_key(&connect.id));
}

#[test]
fn a_balancer_that_mixes_up_sessions_causes_no_storm_38() {
    let (mut world, mut handshake) = World::handshaking(|_| {});
    let start = world.now;
    let mut handshakes = vec![0];
    while world.now < start + 10_000 {
        world.answer(&handshake, &handshake_ok("c", ""));
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_refused(UNKNOWN));
        handshake = world.next_request(Endpoint::Handshake).1;
        handshakes.push(world.now - start);
    }
    handshakes.retain(|at| *at <= 10_000);
    assert!(handshakes.len() <= 6, "{handshakes:?}");
    let waits: Vec<_> = handshakes.windows(2).map(|it| it[1] - it[0]).collect();
    assert!(waits.is_sorted(), "{waits:?}");
}

#[test]
fn sessions_that_are_forgotten_at_once_are_asked_for_less_and_less_38() {
    // The server keeps forgetting sessions whose first connect it has answered:
    // none of them works.
    let (mut world, mut connect) = World::connected();
    let start = world.now;
    let mut count = 1;
    while world.now < start + 600_000 {
        world.answer(&connect, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        count += 1;
        world.answer(&handshake, &handshake_ok("c", ""));
        let first = world.request(Endpoint::Connect);
        world.answer(&first, &connect_ok(""));
        connect = world.next_request(Endpoint::Connect).1;
    }
    assert_within(count, 25..=40);
}

#[test]
fn commands_that_meet_lost_sessions_cause_no_storm_either_38() {
    let (mut world, _) = World::connected();
    let start = world.now;
    for id in 1..=60 {
        world.subscribe(id, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, "402::session_unknown", "");
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok(&format!("again{id}"), ""));
        let again = world.request(Endpoint::Messages);
        world.accept(&again);
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_ok(""));
        world.next_request(Endpoint::Connect);
    }
    assert!(world.now - start >= 240_000);
}

#[test]
fn connect_reply_without_id_is_accepted_39() {
    for id in ["", r#""id":null,"#] {
        let (mut world, held) = World::connected();
        world.answer(&held, &connect_ok("").replace(r#""id":"$id","#, id));
        assert_eq!(world.events(), [""; 0]);
        world.request(Endpoint::Connect);
    }
}

#[test]
fn a_number_as_id_is_accepted() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok("").replace(r#""$id""#, "$id"));
    assert_eq!(world.events(), [""; 0]);
    world.request(Endpoint::Connect);
}

#[test]
fn another_client_id_in_the_reply_is_ignored_40() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok(r#","clientId":"other""#));
    assert_eq!(world.request(Endpoint::Connect).client_id(), "c1");
}

#[test]
fn a_server_that_restarts_is_waited_for_and_then_handshaken_at_once_41() {
    let (mut world, held) = World::connected();
    world.fail(&held, ErrorKind::Tcp);
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_within(waited, jittered(1_000));
    world.fail(&connect, ErrorKind::Tcp);
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_within(waited, jittered(2_000));
    assert_eq!(connect.client_id(), "c1");
    world.answer(&connect, &connect_refused(UNKNOWN));
    world.request(Endpoint::Handshake);
}

#[test]
fn the_first_connect_failing_once_is_seen_once_42() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(&handshake, &handshake_ok("c1", ""));
    let connect = world.request(Endpoint::Connect);
    world.http(&connect, 503);
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_within(waited, jittered(1_000));
    world.answer(&connect, &connect_ok(""));
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "-> Connecting",
            "Error connect HttpStatus",
            "-> Unconnected",
            "-> Connected"
        ]
    );
}

#[test]
fn events_come_before_the_state_on_either_side_of_the_reply_171() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(&handshake, &handshake_ok("c1", ""));
    let connect = world.request(Endpoint::Connect);
    world.events();
    world.answer(
        &connect,
        r#"[{"channel":"/a","data":1},{"channel":"/meta/connect","id":"$id","successful":true},{"channel":"/b","data":2},{"channel":"/c","data":null}]"#,
    );
    assert_eq!(world.events(), ["/a 1", "/b 2", "/c null", "-> Connected"]);
}

#[test]
fn lazy_messages_may_come_late_173() {
    let (mut world, held) = World::connected();
    let with_event = r#"[{"channel":"/lazy","data":1,"id":"1"},{"channel":"/meta/connect","id":"$id","successful":true}]"#;
    world.answer(&held, &connect_ok(""));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, with_event);
    assert_eq!(world.events(), ["/lazy 1"]);
}

#[test]
fn events_ride_on_any_response() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.answer(
        &publish,
        r#"[{"channel":"/x","id":"$id","successful":true},{"channel":"/x","data":1,"clientId":"c1"}]"#,
    );
    assert_eq!(world.events(), ["Published 1 /x", "/x 1"]);
}

#[test]
fn a_full_queue_holds_up_the_next_connect_and_the_commands_only() {
    let (mut world, held) = World::connected();
    world.room(false);
    world.answer(
        &held,
        r#"[{"channel":"/x","data":1},{"channel":"/meta/connect","id":"$id","successful":true}]"#,
    );
    world.publish(1, "/x", "1");
    assert_eq!(world.session.poll_timeout(), None);
    world.assert_nothing_sent();
    world.wait(1_000_000);
    world.room(true);
    assert_eq!(world.events(), ["/x 1"]);
    world.request(Endpoint::Messages);
    assert_eq!(world.request(Endpoint::Connect).at, world.now);
}

#[test]
fn a_full_queue_does_not_hold_up_deadlines_or_the_end() {
    let (mut world, held) = World::connected();
    world.room(false);
    world.wait(70_000);
    assert_eq!(world.events(), ["Error connect Timeout", "-> Unconnected"]);
    assert_eq!(world.cancelled, [held.id]);
    world.disconnect(500);
    let disconnect = world.request(Endpoint::Disconnect);
    world.accept(&disconnect);
    assert_eq!(world.events(), ["-> Disconnecting", "-> Closed", "Closed"]);
}
