//! Rules that stood in the protocol and in the header, and that no test held: a
//! session changed in one place broke each of them unseen.

use serde_json::value::RawValue;

use super::*;

fn lose(world: &mut World, held: &Sent) -> Sent {
    world.answer(held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    world.request(Endpoint::Connect)
}

fn one() -> Box<RawValue> {
    serde_json::from_str("1").unwrap()
}

/// Of 20,000 bytes.
fn long() -> Box<RawValue> {
    let text = format!("\"{}\"", "x".repeat(20_000));
    serde_json::from_str(&text).unwrap()
}

/// A late response of the old session ends nothing.
#[test]
fn a_late_disconnect_of_the_old_session_is_not_of_the_new_one() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let old = world.request(Endpoint::Messages);
    let connect = lose(&mut world, &held);
    world.answer(&connect, &connect_ok(""));
    world.answer(
        &old,
        r#"[{"channel":"/x","id":"$id","successful":true},
            {"channel":"/meta/disconnect","successful":true}]"#,
    );
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn a_disconnect_that_answers_the_handshake_ends_it() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        r#"[{"channel":"/meta/disconnect","successful":true}]"#,
    );
    assert_eq!(world.state(), State::Closed);
}

/// cometd_client_builder_set_token_provider: "a Bayeux error 403 on a connect
/// with the advice none", and no other.
#[test]
fn a_403_on_a_connect_asks_the_provider_with_none_only() {
    for (advice, asked) in [("none", 1), ("retry", 0), ("handshake", 0)] {
        let (mut world, held) = World::connected_with(|it| it.has_token_provider = true);
        let refusal = format!(r#","error":"403::no","advice":{{"reconnect":"{advice}"}}"#);
        world.answer(&held, &connect_refused(&refusal));
        assert_eq!(world.refreshes, asked, "{advice}");
    }
}

/// Without a provider nobody is asked, for a command either.
#[test]
fn a_command_refused_without_a_provider_asks_nobody() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.http(&sent, 401);
    assert_eq!(world.refreshes, 0);
}

/// One retry means one new session.
#[test]
fn with_one_retry_a_session_that_the_server_ends_is_made_once_more() {
    let (mut world, held) = World::connected_with(|it| {
        it.restart = true;
        it.number_of_retries = Some(1);
    });
    world.answer(&held, &connect_ok(r#","advice":{"reconnect":"none"}"#));
    assert_eq!(world.state(), State::Rehandshaking);
}

/// What was published in the same turn as the end is not sent behind it.
#[test]
fn nothing_is_sent_behind_the_end() {
    let (mut world, _) = World::connected();
    let publish = Command::Publish {
        id: 1,
        channel: "/x".to_owned(),
        data: one(),
    };
    *world.owed.entry((1, "/x".to_owned())).or_default() += 1;
    let now = world.now;
    world.session.handle_command(now, publish);
    world.session.handle_command(now, Command::Abort);
    let mut outputs = Vec::new();
    while let Some(output) = world.session.poll_output() {
        outputs.push(output);
    }
    assert!(
        !outputs.iter().any(|it| matches!(it, Output::Send(_))),
        "{outputs:?}"
    );
}

/// A call that an extension drops costs no other call of its request.
#[test]
fn a_dropped_call_leaves_its_neighbour() {
    let (mut world, _) = World::connected_with(|it| it.holds_requests = true);
    let call = |id| Command::Call {
        id,
        channel: "/service/s".to_owned(),
        data: one(),
        deadline: 1_009_000,
    };
    world.command(Command::Batch(vec![call(1), call(2)]));
    let sent = world.request(Endpoint::Messages);
    world.events();
    world.drops(&sent, &[0]);
    assert_eq!(world.events(), ["Error call MessageDeleted 1 /service/s"]);
}

/// The disconnect's reply may ride on the held connect's response.
#[test]
fn the_disconnects_reply_in_the_connects_response() {
    let (mut world, held) = World::connected();
    world.disconnect(5_000);
    let disconnect = world.request(Endpoint::Disconnect);
    let id = disconnect.field("id").unwrap().to_owned();
    let both = format!(
        r#"[{{"channel":"/meta/disconnect","id":"{id}","successful":true}},
            {{"channel":"/meta/connect","id":"$id","successful":true}}]"#
    );
    world.answer(&held, &both);
    assert_eq!(world.state(), State::Closed);
}

/// cometd_client_publish_with_retries: "what it advised to try again".
#[test]
fn a_refusal_with_the_advice_retry_is_tried_again() {
    let (mut world, _) = World::connected();
    world.command(Command::PublishWithRetries {
        id: 1,
        channel: "/x".to_owned(),
        data: one(),
        attempts: None,
        deadline: None,
    });
    let sent = world.request(Endpoint::Messages);
    world.events();
    world.refuse(&sent, "403::later", r#"{"reconnect":"retry"}"#);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1_300);
    world.request(Endpoint::Messages);
}

/// A batch is one request, with publishes that are retried too.
#[test]
fn retried_publishes_of_a_batch_travel_together() {
    let (mut world, _) = World::connected();
    let publish = |id| Command::PublishWithRetries {
        id,
        channel: "/x".to_owned(),
        data: long(),
        attempts: None,
        deadline: None,
    };
    world.command(Command::Batch(vec![publish(1), publish(2)]));
    assert_eq!(world.request(Endpoint::Messages).messages.len(), 2);
}

/// Subscribes with a replay position stay below the server's limit.
#[test]
fn subscribes_with_replay_stay_below_the_limit() {
    let (mut world, handshake) = World::handshaking(|it| {
        it.replay = Some(ReplayPolicy {
            start: -1,
            fallback: None,
        });
        it.request_capacity = Some(4_000);
    });
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"replay":true}"#));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
    let name = |it| format!("/event/A_rather_long_name_{it:02}__e");
    let names: Vec<String> = (0..60).map(name).collect();
    let channels: Vec<&str> = names.iter().map(String::as_str).collect();
    world.subscribe(1, &channels);
    let mut left = names.len();
    while left > 0 {
        let sent = world.request(Endpoint::Messages);
        assert!(sent.text.len() <= 4_000, "{}", sent.text.len());
        left -= sent.messages.len();
        world.accept(&sent);
    }
}

/// With a limit a batch is still as large as that lets it be.
#[test]
fn a_batch_fills_the_requests_that_the_limit_allows() {
    let (mut world, _) = World::connected_with(|it| it.request_capacity = Some(100_000));
    let publish = |id| Command::Publish {
        id,
        channel: "/x".to_owned(),
        data: long(),
    };
    world.command(Command::Batch((1..=4).map(publish).collect()));
    assert_eq!(world.request(Endpoint::Messages).messages.len(), 4);
}

const TOO_OLD: &str = "400::The replayId {0} you provided was invalid.";

fn replaying(start: i64) -> (World, Sent) {
    let (mut world, handshake) = World::handshaking(|it| {
        it.replay = Some(ReplayPolicy {
            start,
            fallback: Some(-2),
        });
    });
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"replay":true}"#));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.events();
    (world, held)
}

/// 0 is the position of an event like any other; only -1 and -2 are none.
#[test]
fn a_position_of_zero_that_is_too_old_falls_back() {
    let (mut world, _) = replaying(-1);
    world.replay_from("/a", 0, false);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    assert_eq!(sent.messages[0]["ext"]["replay"]["/a"], 0);
    world.refuse(&sent, TOO_OLD, "");
    assert_eq!(world.events(), ["Fallback subscribe Refused /a"]);
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.messages[0]["ext"]["replay"]["/a"], -2);
    world.accept(&again);
    assert_eq!(world.events(), ["Subscribed 1 /a"]);
}

/// Behind -1 and -2 there is nothing to fall back to.
#[test]
fn a_start_that_is_no_position_does_not_fall_back() {
    for start in [-1, -2] {
        let (mut world, _) = replaying(start);
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, TOO_OLD, "");
        assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
        world.assert_quiet(1_000);
    }
}

/// A host's subscribe of another channel that is refused while a renewal is under
/// way costs that renewal nothing, and is no subscription of later sessions.
#[test]
fn a_subscribe_that_fails_beside_a_renewal_costs_itself_only() {
    for has_id in [true, false] {
        let (mut world, held) = World::subscribed(&["/a"]);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c2", ""));
        let renewal = world.request(Endpoint::Messages);
        assert_eq!(renewal.summary(), ["/meta/subscribe /a"]);
        let connect = world.request(Endpoint::Connect);
        world.subscribe(2, &["/b"]);
        world.events();
        // One request at a time: the host's own comes behind the renewal.
        if has_id {
            world.accept(&renewal);
        } else {
            let reply = r#"[{"channel":"/meta/subscribe","subscription":"/a","successful":true}]"#;
            world.answer(&renewal, reply);
        }
        let own = world.request(Endpoint::Messages);
        assert_eq!(own.summary(), ["/meta/subscribe /b"]);
        world.refuse(&own, "403::denied", "");
        let told = world.events();
        assert!(
            told.contains(&"Error subscribe Refused 2 /b".to_owned()),
            "{told:?}"
        );
        assert!(told.contains(&"Renewed 1 /a".to_owned()), "{told:?}");
        // The next session gets the one that is there.
        world.answer(&connect, &connect_ok(""));
        let held = world.request(Endpoint::Connect);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c3", ""));
        let renewal = world.request(Endpoint::Messages);
        assert_eq!(renewal.summary(), ["/meta/subscribe /a"]);
    }
}
