//! Code of the host's between the session and the wire: extensions that drop
//! messages and take their time, and the handshake provider.

use super::*;

fn held(configuration: &mut Configuration) {
    configuration.holds_requests = true;
}

fn provided(configuration: &mut Configuration) {
    configuration.has_handshake_provider = true;
}

const DELETED: &str = "an extension deleted the message: 404::message_deleted";

#[test]
fn of_three_messages_one_is_dropped_and_the_others_are_sent_104() {
    let (mut world, _held) = World::connected_with(held);
    world.command(Command::Batch(
        (1..=3)
            .map(|id| Command::Publish {
                id,
                channel: format!("/{id}"),
                data: serde_json::from_str("1").unwrap(),
            })
            .collect(),
    ));
    let request = world.request(Endpoint::Messages);
    world.drops(&request, &[1]);
    assert_eq!(world.events(), ["Error publish MessageDeleted 2 /2"]);
    let error = world.last_error();
    assert_eq!(error.message, format!("publish: {DELETED} (channel /2)"));
    assert_eq!(error.bayeux.as_ref().map(|it| it.code), Some(404));
    assert!(!error.fatal);
    world.lets_go(&request);
    let rest = world.open[&request.id].clone();
    world.accept(&rest);
    assert_eq!(world.events(), ["Published 1 /1", "Published 3 /3"]);
}

#[test]
fn a_request_of_which_nothing_is_left_holds_up_nobody_104() {
    let (mut world, _held) = World::connected_with(held);
    world.subscribe(1, &["/a", "/b"]);
    world.publish(2, "/x", "1");
    let request = world.request(Endpoint::Messages);
    world.assert_nothing_sent();
    world.drops(&request, &[0, 1]);
    assert_eq!(
        world.events(),
        [
            "Error subscribe MessageDeleted 1 /a",
            "Error subscribe MessageDeleted 1 /b"
        ]
    );
    let next = world.request(Endpoint::Messages);
    assert_eq!(next.summary(), ["/x"]);
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn a_dropped_call_ends_at_once_104() {
    let (mut world, _held) = World::connected_with(held);
    world.call(1, "/service/a", "1", 100_000);
    let request = world.request(Endpoint::Messages);
    world.drops(&request, &[0]);
    assert_eq!(world.events(), ["Error call MessageDeleted 1 /service/a"]);
    world.assert_quiet(50_000);
}

#[test]
fn a_dropped_handshake_is_tried_again_with_backoff() {
    let (mut world, handshake) = World::handshaking(held);
    world.drops(&handshake, &[0]);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake MessageDeleted"]
    );
    let (waited, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(waited, 0);
    world.drops(&handshake, &[0]);
    let (waited, handshake) = world.next_request(Endpoint::Handshake);
    assert_within(waited, jittered(1_000));
    world.answer(&handshake, &handshake_ok("c1", ""));
    world.request(Endpoint::Connect);
}

#[test]
fn a_dropped_connect_is_tried_again_with_backoff() {
    let (mut world, held) = World::connected_with(held);
    world.answer(&held, &connect_ok(""));
    let connect = world.request(Endpoint::Connect);
    world.drops(&connect, &[0]);
    assert_eq!(
        world.events(),
        ["Error connect MessageDeleted", "-> Unconnected"]
    );
    assert_eq!(world.last_error().message, format!("connect: {DELETED}"));
    let (waited, connect) = world.next_request(Endpoint::Connect);
    assert_within(waited, jittered(1_000));
    assert!(connect.at_once());
}

#[test]
fn a_dropped_disconnect_ends_as_if_it_was_answered() {
    let (mut world, held) = World::connected_with(held);
    world.disconnect(10_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.drops(&disconnect, &[0]);
    world.answer(&held, &connect_ok(r#","advice":{"reconnect":"none"}"#));
    assert_eq!(world.events(), ["-> Disconnecting", "-> Closed", "Closed"]);
}

#[test]
fn a_dropped_renewal_is_tried_again_later() {
    let (mut world, held) = World::connected_with(held);
    world.subscribe(1, &["/a"]);
    let request = world.request(Endpoint::Messages);
    world.accept(&request);
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    world.drops(&again, &[0]);
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    world.request(Endpoint::Connect);
    let (waited, again) = world.next_request(Endpoint::Messages);
    assert_within(waited, jittered(1_000));
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
}

#[test]
fn the_time_that_extensions_take_is_not_the_servers_123() {
    let (mut world, handshake) = World::handshaking(held);
    world.wait(30_000);
    world.lets_go(&handshake);
    world.wait(9_999);
    assert!(
        world.open.contains_key(&handshake.id),
        "its own ten seconds"
    );
    world.wait(1);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Timeout"]
    );
    assert_eq!(
        world.last_error().message,
        "handshake: no response within 10000 ms"
    );
}

#[test]
fn a_publish_that_waits_for_extensions_has_its_time_from_then_on_123() {
    let (mut world, _held) = World::connected_with(held);
    world.publish(1, "/x", "1");
    let request = world.request(Endpoint::Messages);
    world.wait(20_000);
    world.lets_go(&request);
    // Answered, but not this message: it has its ten seconds.
    world.wait(5_000);
    world.answer(&request, "[]");
    world.publish(2, "/y", "1");
    let next = world.request(Endpoint::Messages);
    world.lets_go(&next);
    world.events();
    world.wait(4_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
    world.wait(5_000);
    assert_eq!(world.events(), ["Error publish Timeout 2 /y"]);
}

#[test]
fn extensions_that_never_come_back_are_a_failure_that_says_so() {
    let (mut world, held) = World::connected_with(held);
    world.lets_go(&held);
    world.publish(1, "/x", "1");
    let request = world.request(Endpoint::Messages);
    world.wait(59_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
    assert_eq!(
        world.last_error().message,
        "publish: the host's code took longer than 60000 ms: nothing was sent (channel /x)"
    );
    assert_eq!(world.cancelled, [request.id]);
    world.lets_go(&request);
    world.publish(2, "/x", "1");
    world.request(Endpoint::Messages);
}

#[test]
fn a_requests_time_begins_when_its_headers_are_there() {
    let (mut world, held) = World::connected_with(|it| it.has_header_provider = true);
    world.lets_go(&held);
    world.publish(1, "/x", "1");
    let request = world.request(Endpoint::Messages);
    world.wait(59_000);
    world.lets_go(&request);
    world.wait(9_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
}

#[test]
fn a_response_with_the_extensions_is_not_late() {
    let (mut world, held) = World::connected_with(|_| {});
    world.publish(1, "/x", "1");
    let request = world.request(Endpoint::Messages);
    world.wait(9_000);
    world.arrives(&request);
    world.arrives(&held);
    world.wait(59_999);
    assert_eq!(world.events(), [""; 0]);
    world.accept(&request);
    assert_eq!(world.events(), ["Published 1 /x"]);
    world.wait(1);
    assert_eq!(world.events(), ["Error connect Timeout", "-> Unconnected"]);
    assert_eq!(
        world.last_error().message,
        "connect: the host's extensions took longer than 60000 ms: the response is lost"
    );
}

#[test]
fn what_an_arrived_response_leaves_unanswered_ends_at_its_deadline_103() {
    let (mut world, _held) = World::connected();
    world.publish(1, "/x", "1");
    let request = world.request(Endpoint::Messages);
    world.wait(1_000);
    world.arrives(&request);
    world.wait(2_000);
    world.answer(&request, "[]");
    world.wait(6_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
}

#[test]
fn at_the_end_a_connect_reply_with_the_extensions_is_awaited() {
    let (mut world, held) = World::connected();
    world.disconnect(10_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.arrives(&held);
    world.accept(&disconnect);
    world.wait(5_000);
    assert_eq!(world.events(), ["-> Disconnecting"]);
    world.answer(
        &held,
        r#"[{"channel":"/a","data":1},{"channel":"/meta/connect","id":"$id","successful":true}]"#,
    );
    assert_eq!(world.events(), ["/a 1", "-> Closed", "Closed"]);
}

#[test]
fn a_disconnect_does_not_wait_longer_for_extensions_than_it_was_told() {
    let (mut world, held) = World::connected_with(held);
    world.publish(1, "/x", "1");
    world.request(Endpoint::Messages);
    world.disconnect(3_000);
    world.arrives(&held);
    world.wait(3_000);
    assert_eq!(world.state(), State::Closed);
}

// The handshake provider.

#[test]
fn a_challenge_is_answered_by_the_next_handshake_13() {
    let mut world = World::with(|it| {
        provided(it);
        it.handshake_ext = Some(serde_json::from_str(r#"{"app":"a","kept":1}"#).unwrap());
        it.acknowledgement = true;
    });
    world.connect();
    world.assert_nothing_sent();
    let question = world.question();
    assert_eq!((question.attempt, question.refusal.as_deref()), (1, None));
    world.handshake_fields(&question, Ok(""));
    let first = world.request(Endpoint::Handshake);
    assert_eq!(
        first.messages[0]["ext"].to_string(),
        r#"{"ack":true,"app":"a","kept":1}"#
    );
    let challenge =
        r#","error":"401::who","ext":{"challenge":"c-1"},"advice":{"reconnect":"handshake"}"#;
    world.answer(&first, &handshake_refused(challenge));
    let question = world.next_question();
    assert_eq!(question.attempt, 2);
    let refusal: Value = serde_json::from_str(&question.refusal.clone().unwrap()).unwrap();
    assert_eq!(refusal["ext"]["challenge"], "c-1");
    assert!(!format!("{question:?}").contains("c-1"));
    world.handshake_fields(
        &question,
        Ok(r#"{"ext":{"answer":"a-1","app":"b","ack":"no"},"extra":[1]}"#),
    );
    let second = world.request(Endpoint::Handshake);
    assert_eq!(
        second.messages[0]["ext"].to_string(),
        r#"{"ack":true,"answer":"a-1","app":"b","kept":1}"#
    );
    assert_eq!(second.messages[0]["extra"].to_string(), "[1]");
    world.answer(&second, &handshake_ok("c1", ""));
    world.request(Endpoint::Connect);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Refused", "-> Connecting"]
    );
}

#[test]
fn each_attempt_has_its_own_fields_14() {
    let mut world = World::with(provided);
    world.connect();
    for attempt in 1..=3 {
        let question = world.next_question();
        assert_eq!(question.attempt, attempt);
        let fields = match attempt {
            3 => String::new(),
            attempt => format!(r#"{{"ext":{{"n":{attempt}}}}}"#),
        };
        world.handshake_fields(&question, Ok(&fields));
        let handshake = world.request(Endpoint::Handshake);
        match attempt {
            3 => assert!(handshake.messages[0].get("ext").is_none()),
            attempt => assert_eq!(handshake.messages[0]["ext"]["n"], attempt),
        }
        // One that the network failed was not refused.
        world.fail(&handshake, ErrorKind::Tcp);
    }
    let question = world.next_question();
    assert_eq!((question.attempt, question.refusal), (4, None));
}

#[test]
fn attempts_are_counted_since_the_last_session_that_worked() {
    let mut world = World::with(provided);
    world.connect();
    let question = world.question();
    world.handshake_fields(&question, Ok(""));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c1", ""));
    let first = world.request(Endpoint::Connect);
    // It never worked.
    world.answer(&first, &connect_refused(UNKNOWN));
    let question = world.next_question();
    assert_eq!(question.attempt, 2);
    world.handshake_fields(&question, Ok(""));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.answer(&held, &connect_refused(UNKNOWN));
    assert_eq!(world.next_question().attempt, 1);
}

#[test]
fn a_provider_that_fails_is_a_failed_attempt_and_asked_again() {
    let mut world = World::with(provided);
    world.connect();
    let question = world.question();
    world.handshake_fields(&question, Err("it returned -14 (COMETD_E_SYSTEM)"));
    world.assert_nothing_sent();
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Credentials"]
    );
    let error = world.last_error();
    assert_eq!(
        error.message,
        "handshake: the handshake provider failed: it returned -14 (COMETD_E_SYSTEM)"
    );
    assert!(!error.fatal && error.retry_in.is_some());
    let question = world.next_question();
    assert_eq!(question.attempt, 2);
    world.handshake_fields(&question, Err("again"));
    let start = world.now;
    world.next_timer();
    assert_within(world.now - start, jittered(1_000));
    let question = world.question();
    world.handshake_fields(&question, Ok(""));
    world.request(Endpoint::Handshake);
}

#[test]
fn a_challenge_outlives_an_attempt_that_the_provider_failed() {
    let mut world = World::with(provided);
    world.connect();
    let question = world.question();
    world.handshake_fields(&question, Ok(""));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_refused(r#","ext":{"challenge":1}"#));
    for _ in 0..2 {
        let question = world.next_question();
        assert!(question.refusal.clone().unwrap().contains("challenge"));
        world.handshake_fields(&question, Err("not now"));
    }
    let question = world.next_question();
    world.handshake_fields(&question, Ok(""));
    let handshake = world.request(Endpoint::Handshake);
    world.fail(&handshake, ErrorKind::Tcp);
    assert_eq!(world.next_question().refusal, None);
}

#[test]
fn a_provider_that_always_fails_at_once_is_no_hot_loop() {
    let mut world = World::with(|it| {
        provided(it);
        it.backoff_increment = 0;
        it.backoff_maximum = 0;
    });
    world.connect();
    let start = world.now;
    let mut asked = 0;
    loop {
        let question = world.next_question();
        if world.now >= start + 60_000 {
            break;
        }
        asked += 1;
        world.handshake_fields(&question, Err("no"));
    }
    assert_eq!(asked, HANDSHAKES_A_MINUTE);
}

#[test]
fn a_silent_provider_is_given_up_and_its_late_answer_is_for_no_other_attempt() {
    let mut world = World::with(provided);
    world.connect();
    let late = world.question();
    world.wait(60_000);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Timeout"]
    );
    assert_eq!(
        world.last_error().message,
        "handshake: the handshake provider took longer than 60000 ms"
    );
    let question = world.next_question();
    world.handshake_fields(&late, Ok(r#"{"late":1}"#));
    world.assert_nothing_sent();
    world.handshake_fields(&question, Ok(r#"{"fresh":1}"#));
    let handshake = world.request(Endpoint::Handshake);
    assert!(handshake.messages[0].get("late").is_none());
    assert_eq!(handshake.messages[0]["fresh"], 1);
}

#[test]
fn while_the_provider_is_asked_other_requests_go_on_and_its_time_is_not_the_servers_123() {
    let (mut world, _) = {
        let mut world = World::with(provided);
        world.connect();
        let question = world.question();
        world.handshake_fields(&question, Ok(""));
        let handshake = world.request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c1", ""));
        let first = world.request(Endpoint::Connect);
        world.answer(&first, &connect_ok(""));
        let held = world.request(Endpoint::Connect);
        world.publish(1, "/x", "1");
        let publish = world.request(Endpoint::Messages);
        world.answer(&held, &connect_refused(UNKNOWN));
        (world, publish)
    };
    let question = world.next_question();
    world.events();
    let publish = world.open.values().next().cloned().unwrap();
    world.accept(&publish);
    assert_eq!(world.events(), ["Published 1 /x"]);
    world.wait(30_000);
    world.handshake_fields(&question, Ok(""));
    let handshake = world.request(Endpoint::Handshake);
    world.wait(9_999);
    assert!(world.open.contains_key(&handshake.id));
}

#[test]
fn an_end_while_the_provider_is_asked_is_an_end() {
    for abort in [true, false] {
        let mut world = World::with(provided);
        world.connect();
        let question = world.question();
        match abort {
            true => world.abort(),
            false => world.disconnect(1_000),
        }
        assert_eq!(world.state(), State::Closed);
        world.handshake_fields(&question, Ok(""));
        world.assert_quiet(100_000);
    }
}

#[test]
fn a_final_refusal_stays_final_with_a_provider_5() {
    let mut world = World::with(provided);
    world.connect();
    let question = world.question();
    world.handshake_fields(&question, Ok(""));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(
        &handshake,
        &handshake_refused(r#","ext":{"challenge":1},"advice":{"reconnect":"none"}"#),
    );
    assert_eq!(world.state(), State::Closed);
    world.assert_quiet(100_000);
}

#[test]
fn without_room_the_answer_waits() {
    let mut world = World::with(provided);
    world.connect();
    let question = world.question();
    world.room(false);
    world.handshake_fields(&question, Ok(r#"{"mine":1}"#));
    world.wait(100_000);
    world.assert_nothing_sent();
    world.room(true);
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(handshake.messages[0]["mine"], 1);
}
