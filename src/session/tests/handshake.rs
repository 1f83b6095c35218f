use super::*;

/// A handshake was answered, with the promise of so many events.
fn promised(more: &str, events: &str) -> (World, Vec<String>) {
    let (mut world, handshake) = World::handshaking(|_| {});
    let reply = handshake_ok("c", more);
    let body = format!("{}{events}]", reply.trim_end_matches(']'));
    world.answer(&handshake, &body);
    let told = world.events();
    (world, told)
}

#[test]
fn events_that_come_with_the_handshake_come_before_the_first_connect_15() {
    let event = r#",{"channel":"/x","data":1}"#;
    let two = format!("{event}{event}");
    let (mut world, told) = promised(r#","x-messages":2"#, &two);
    assert_eq!(told, ["-> Handshaking", "-> Connecting", "/x 1", "/x 1"]);
    world.request(Endpoint::Connect);

    // One is missing: another response may bring it.
    let (mut world, _) = promised(r#","x-messages":2"#, event);
    world.assert_nothing_sent();
    world.publish(1, "/y", "1");
    let publish = world.request(Endpoint::Messages);
    world.answer(
        &publish,
        r#"[{"channel":"/x","data":2},{"channel":"/y","id":"$id","successful":true}]"#,
    );
    assert_eq!(world.events(), ["/x 2", "Published 1 /y"]);
    world.request(Endpoint::Connect);

    // Or none does: the wait has a bound.
    let (mut world, _) = promised(r#","x-messages":"2""#, event);
    let (wait, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(wait, 10_000);
    // Afterwards it is over.
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
}

#[test]
fn a_promise_that_makes_no_sense_is_none_15() {
    for promise in ["0", "-1", "null", "[]", "\"many\"", "true"] {
        let (mut world, _) = promised(&format!(r#","x-messages":{promise}"#), "");
        world.request(Endpoint::Connect);
    }
    let (mut world, _) = promised(r#","x-messages":1e300"#, "");
    assert_eq!(world.next_request(Endpoint::Connect).0, 10_000);
}

#[test]
fn one_handshake_alone_without_client_id_1() {
    let (mut world, handshake) = World::handshaking(|_| {});
    assert_eq!(
        handshake.text,
        r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"advice":{"timeout":60000,"interval":0}}]"#
    );
    world.assert_nothing_sent();
    assert_eq!(world.events(), ["-> Handshaking"]);
}

#[test]
fn ext_goes_to_the_letter_into_each_handshake_and_into_nothing_else_2_126() {
    let (mut world, first) = World::handshaking(|it| {
        it.handshake_ext = Some(serde_json::from_str(r#"{"id": "99", "n":1e400}"#).unwrap());
        it.timeout = 5;
        it.interval = 7;
    });
    let fields = r#""advice":{"timeout":5,"interval":7},"ext":{"id": "99", "n":1e400}}]"#;
    assert!(first.text.ends_with(fields), "{}", first.text);
    world.answer(&first, &handshake_refused(""));
    let (_, second) = world.next_request(Endpoint::Handshake);
    assert!(second.text.ends_with(fields), "{}", second.text);
    world.answer(&second, &handshake_ok("c1", ""));
    assert!(!world.request(Endpoint::Connect).text.contains("ext"));
}

#[test]
fn connect_again_does_nothing() {
    let (mut world, _) = World::handshaking(|_| {});
    world.connect();
    world.assert_nothing_sent();
}

#[test]
fn refused_without_advice_is_tried_again_after_0_1_2_seconds_up_to_the_cap_4() {
    let (mut world, mut handshake) = World::handshaking(|it| it.backoff_maximum = 3_000);
    for wait in [0, 1_000, 2_000, 3_000, 3_000, 3_000] {
        world.answer(&handshake, &handshake_refused(""));
        assert_eq!(world.last_error().kind, ErrorKind::Refused);
        let told = world.last_error().retry_in;
        let (waited, next) = world.next_request(Endpoint::Handshake);
        assert_within(waited, jittered(wait));
        assert_eq!(told, Some(waited), "the error tells when");
        handshake = next;
    }
    assert_eq!(world.state(), State::Handshaking);
}

#[test]
fn refused_with_none_ends_it_5() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_refused(r#","error":"403::no","advice":{"reconnect":"none"}"#),
    );
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Fatal handshake Refused",
            "-> Closed",
            "Closed"
        ]
    );
    assert_eq!(world.last_error().bayeux.as_ref().unwrap().text, "403::no");
    world.assert_quiet(5_000);
}

#[test]
fn refused_with_retry_is_handshaken_again_after_the_interval_6() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let refused = handshake_refused(r#","advice":{"reconnect":"retry","interval":700}"#);
    world.answer(&handshake, &refused);
    let (waited, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(waited, 700);
    world.answer(&handshake, &refused);
    let (waited, _) = world.next_request(Endpoint::Handshake);
    assert_within(waited, 1_800..=1_900);
}

#[test]
fn no_common_connection_type_ends_it_7() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":"c","supportedConnectionTypes":["websocket","callback-polling"]}]"#,
    );
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Fatal handshake Negotiation",
            "-> Closed",
            "Closed"
        ]
    );
    let bayeux = world.last_error().bayeux.clone().unwrap();
    assert_eq!(
        bayeux.text,
        "405:c[long-polling],s[websocket,callback-polling]:no_transport"
    );
    assert_eq!(bayeux.code, 405);
    world.assert_quiet(5_000);
}

#[test]
fn unusable_successful_replies_are_failures_8() {
    for reply in [
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":"c"}]"#,
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":"c","supportedConnectionTypes":[1,"long-polling"]}]"#,
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":"c","supportedConnectionTypes":null}]"#,
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"supportedConnectionTypes":["long-polling"]}]"#,
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":"","supportedConnectionTypes":["long-polling"]}]"#,
        r#"[{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":7,"supportedConnectionTypes":["long-polling"]}]"#,
    ] {
        let (mut world, handshake) = World::handshaking(|_| {});
        world.answer(&handshake, reply);
        assert_eq!(
            world.events(),
            ["-> Handshaking", "Error handshake Protocol"],
            "{reply}"
        );
        world.next_request(Endpoint::Handshake);
    }
}

#[test]
fn refused_twice_then_accepted_10() {
    let (mut world, first) = World::handshaking(|_| {});
    world.subscribe(1, &["/a"]);
    world.answer(&first, &handshake_refused(""));
    let (_, second) = world.next_request(Endpoint::Handshake);
    world.answer(&second, &handshake_refused(""));
    let (_, third) = world.next_request(Endpoint::Handshake);
    world.answer(&third, &handshake_ok("c1", ""));
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Error handshake Refused",
            "Error handshake Refused",
            "-> Connecting"
        ]
    );
    let subscribe = world.request(Endpoint::Messages);
    assert_eq!(subscribe.summary(), ["/meta/subscribe /a"]);
    world.request(Endpoint::Connect);
}

#[test]
fn any_version_is_accepted_12() {
    for version in [r#""1.0beta""#, r#""2.0""#, "7"] {
        let (mut world, handshake) = World::handshaking(|_| {});
        let reply = handshake_ok("c1", "").replace(r#""1.0""#, version);
        world.answer(&handshake, &reply);
        assert_eq!(world.state(), State::Connecting);
    }
}

#[test]
fn an_event_beside_the_reply_is_delivered_17() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let reply = handshake_ok("c1", "").replace(
        "[{\"channel\"",
        r#"[{"channel":"/before","data":1},{"channel""#,
    );
    let reply = reply.replace("}]", r#"},{"channel":"/after","data":2}]"#);
    world.answer(&handshake, &reply);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "/before 1", "-> Connecting", "/after 2"]
    );
}

#[test]
fn events_beside_a_final_refusal_come_before_the_end() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let refused = handshake_refused(r#","advice":{"reconnect":"none"}"#);
    world.answer(
        &handshake,
        &refused.replace("}}]", r#"}},{"channel":"/x","data":1}]"#),
    );
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "/x 1",
            "Fatal handshake Refused",
            "-> Closed",
            "Closed"
        ]
    );
}

#[test]
fn the_first_of_two_replies_wins_19() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let two = format!("{}{}", handshake_ok("c1", ""), handshake_ok("c2", "")).replace("][", ",");
    world.answer(&handshake, &two);
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.client_id(), "c1");
    world.assert_nothing_sent();
}

#[test]
fn the_first_of_two_replies_wins_though_it_refuses_19() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let two = format!("{}{}", handshake_refused(""), handshake_ok("c2", "")).replace("][", ",");
    world.answer(&handshake, &two);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Refused"]
    );
    world.next_request(Endpoint::Handshake);
}

#[test]
fn a_reply_without_id_is_accepted_21() {
    for id in [r#""id":null,"#, ""] {
        let (mut world, handshake) = World::handshaking(|_| {});
        let reply = handshake_ok("c1", "").replace(r#""id":"$id","#, id);
        world.answer(&handshake, &reply);
        world.request(Endpoint::Connect);
    }
}

#[test]
fn a_reply_with_another_id_is_none_162() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(&handshake, &handshake_ok("c1", "").replace("$id", "77"));
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Protocol"]
    );
    world.next_request(Endpoint::Handshake);
}

#[test]
fn a_rehandshake_refused_without_advice_is_tried_until_it_succeeds_22() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_ok(r#","advice":{"reconnect":"retry","interval":0,"timeout":30000}"#),
    );
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_refused(UNKNOWN));
    for wait in [0, 1_000, 2_000] {
        let (waited, handshake) = world.next_request(Endpoint::Handshake);
        assert_within(waited, jittered(wait));
        world.answer(&handshake, &handshake_refused(""));
    }
    let (waited, handshake) = world.next_request(Endpoint::Handshake);
    assert_within(waited, jittered(3_000));
    world.answer(&handshake, &handshake_ok("c2", ""));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    let told = world.events();
    assert_eq!(told.first().unwrap(), "Error connect Refused");
    assert_eq!(told.last().unwrap(), "-> Connected");
    assert_eq!(told.iter().filter(|it| it.starts_with("->")).count(), 3);
}

#[test]
fn the_replys_advice_is_for_the_connects_after_the_first_23() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","advice":{"timeout":20000,"interval":300}"#),
    );
    let first = world.request(Endpoint::Connect);
    assert!(first.at_once());
    world.answer(&first, &connect_ok(""));
    let (waited, second) = world.next_request(Endpoint::Connect);
    assert_eq!(waited, 300);
    world.wait(29_999);
    assert_eq!(world.state(), State::Connected);
    world.wait(1);
    assert_eq!(world.state(), State::Unconnected);
    assert_eq!(world.cancelled, [second.id]);
    assert_eq!(world.last_error().kind, ErrorKind::Timeout);
}

#[test]
fn a_handshake_reply_after_the_session_began_is_ignored_162() {
    let (mut world, held) = World::connected();
    let late = handshake_ok("other", "").replace("$id", "1");
    let reply = format!("{late}{}", connect_ok("")).replace("][", ",");
    world.answer(&held, &reply);
    assert_eq!(world.events(), [""; 0]);
    assert_eq!(world.request(Endpoint::Connect).client_id(), "c1");
}

#[test]
fn retries_are_counted() {
    let (mut world, handshake) = World::handshaking(|it| it.number_of_retries = Some(2));
    world.fail(&handshake, ErrorKind::Tcp);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_refused(""));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.http(&handshake, 503);
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Error handshake Tcp",
            "Error handshake Refused",
            "Fatal handshake HttpStatus",
            "-> Closed",
            "Closed"
        ]
    );
    assert_eq!(world.last_error().http_status, 503);
    assert!(world
        .last_error()
        .message
        .contains("given up after 3 failures"));
}

#[test]
fn no_retries_end_with_the_first_failure() {
    let (mut world, handshake) = World::handshaking(|it| it.number_of_retries = Some(0));
    world.fail(&handshake, ErrorKind::Dns);
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Fatal handshake Dns",
            "-> Closed",
            "Closed"
        ]
    );
}

#[test]
fn a_successful_handshake_does_not_start_the_count_again_but_a_connect_does() {
    let (mut world, handshake) = World::handshaking(|it| it.number_of_retries = Some(2));
    world.fail(&handshake, ErrorKind::Tcp);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c1", ""));
    let connect = world.request(Endpoint::Connect);
    world.fail(&connect, ErrorKind::Tcp);
    let (_, connect) = world.next_request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    let mut connect = world.request(Endpoint::Connect);
    for _ in 0..2 {
        world.fail(&connect, ErrorKind::Tcp);
        connect = world.next_request(Endpoint::Connect).1;
    }
    world.fail(&connect, ErrorKind::Tcp);
    assert_eq!(world.state(), State::Closed);
    assert!(world.last_error().fatal);
}

#[test]
fn a_server_that_forgets_each_new_session_is_a_failure() {
    let (mut world, mut connect) = World::connected_with(|it| it.number_of_retries = Some(2));
    for _ in 0..3 {
        world.answer(&connect, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("next", ""));
        connect = world.request(Endpoint::Connect);
    }
    world.answer(&connect, &connect_refused(UNKNOWN));
    assert_eq!(world.state(), State::Closed);
    assert!(world.last_error().fatal);
}

#[test]
fn a_server_that_forgot_a_session_that_worked_is_no_failure() {
    let (mut world, mut held) = World::connected_with(|it| it.number_of_retries = Some(0));
    for _ in 0..5 {
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("next", ""));
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_ok(""));
        held = world.request(Endpoint::Connect);
    }
    assert_eq!(world.state(), State::Connected);
}
