//! What a session must not lose, repeat or give up: each of these was once
//! done wrong.

use super::*;

fn lose(world: &mut World, held: &Sent) {
    world.answer(held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
}

/// 1.9: a refused second subscribe must not cost the first one, which the server has.
#[test]
fn session_1_a_refused_second_subscribe_leaves_the_first_alive() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.subscribe(2, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        r#"[{"channel":"/meta/subscribe","id":"$id","successful":false,"error":"403::already"}]"#,
    );
    lose(&mut world, &held);
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /a"]
    );
}

/// Spec 560-564: a negative interval says that it shall not be tried again.
#[test]
fn session_5_a_negative_interval_on_an_unsuccessful_connect() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        &connect_refused(r#","advice":{"reconnect":"retry","interval":-1}"#),
    );
    world.wait(60_000);
    world.assert_nothing_sent();
}

#[test]
fn session_5_a_negative_interval_on_a_refused_handshake() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_refused(r#","advice":{"reconnect":"handshake","interval":-1}"#),
    );
    world.wait(60_000);
    world.assert_nothing_sent();
}

#[test]
fn session_5_a_negative_interval_on_a_successful_handshake() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","advice":{"reconnect":"retry","interval":-1}"#),
    );
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    world.wait(60_000);
    world.assert_nothing_sent();
}

/// A /meta/disconnect behind a handshake's reply in one response ends that session.
#[test]
fn session_8_a_server_disconnect_behind_the_handshake_reply() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let ok = handshake_ok("c1", "");
    let both = format!(
        "{},{}",
        ok.trim_end_matches(']'),
        r#"{"channel":"/meta/disconnect","successful":true}]"#
    );
    world.answer(&handshake, &both);
    assert!(
        world.events().iter().any(|it| it == "Closed"),
        "{:?}",
        world.state()
    );
}

/// And one before it says nothing of it.
#[test]
fn session_8_a_server_disconnect_before_the_handshake_reply() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let ok = handshake_ok("c1", "");
    let both = format!(
        "{},{}",
        r#"[{"channel":"/meta/disconnect","successful":true}"#,
        ok.trim_start_matches('[')
    );
    world.answer(&handshake, &both);
    assert_eq!(world.state(), State::Connecting);
}

/// 1.9: what the host subscribes while the renewal is under way is one subscribe on the wire.
#[test]
fn session_3_a_subscribe_joins_the_renewal_under_way() {
    let (mut world, held) = World::subscribed(&["/a"]);
    lose(&mut world, &held);
    let renewal = world.request(Endpoint::Messages);
    assert_eq!(renewal.summary(), ["/meta/subscribe /a"]);
    world.request(Endpoint::Connect);
    world.subscribe(2, &["/a"]);
    world.accept(&renewal);
    world.assert_nothing_sent();
}

/// A late response of the old session moves a replay position back.
#[test]
fn session_6_a_late_response_of_the_old_session_moves_no_position_back() {
    let (mut world, handshake) = World::handshaking(|it| {
        it.replay = Some(ReplayPolicy {
            start: -1,
            fallback: None,
        })
    });
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"replay":true}"#));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.accept(&sent);
    world.publish(2, "/b", "1");
    let publish = world.request(Endpoint::Messages);
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", r#","ext":{"replay":true}"#));
    let renewal = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.accept(&renewal);
    world.answer(&connect, r#"[{"channel":"/a","data":{"event":{"replayId":9}}},{"channel":"/meta/connect","id":"$id","successful":true}]"#);
    let connect = world.request(Endpoint::Connect);
    world.answer(&publish, r#"[{"channel":"/a","data":{"event":{"replayId":5}}},{"channel":"/b","id":"$id","successful":true}]"#);
    world.answer(&connect, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c3", r#","ext":{"replay":true}"#));
    let renewal = world.request(Endpoint::Messages);
    assert_eq!(renewal.messages[0]["ext"]["replay"]["/a"], 9);
}

/// An unsubscribe that waited for a new session is sent to a server that never knew the subscription.
#[test]
fn session_7_an_unsubscribe_that_waited_for_the_new_session() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.unsubscribe(2, &["/a"]);
    world.answer(&handshake, &handshake_ok("c2", ""));
    world.events();
    while let Some(sent) = world.inbox.pop_front() {
        assert_ne!(
            sent.summary(),
            ["/meta/unsubscribe /a"],
            "the new session has no such subscription"
        );
    }
}

/// How a balancer without stickiness is met when each first connect succeeds: bursts, then silence?
#[test]
fn session_4_sessions_that_work_for_one_connect_only() {
    let (mut world, mut handshake) = World::handshaking(|_| {});
    let start = world.now;
    let mut at = Vec::new();
    for _ in 0..30 {
        at.push(world.now - start);
        world.answer(&handshake, &handshake_ok("c1", ""));
        let first = world.request(Endpoint::Connect);
        world.answer(&first, &connect_ok(""));
        let second = world.request(Endpoint::Connect);
        world.answer(&second, &connect_refused(UNKNOWN));
        handshake = world.next_request(Endpoint::Handshake).1;
    }
    let in_ten = at.iter().filter(|it| **it < 10_000).count();
    let longest = at.windows(2).map(|it| it[1] - it[0]).max().unwrap();
    assert!(
        in_ten <= 6 && longest < 35_000,
        "{in_ten} handshakes in ten seconds, then silence for {longest} ms: {at:?}"
    );
}

/// 63, 75, 78: a renewal that is refused costs itself only, and is told, whatever advice the refusal carries.
#[test]
fn session_2_a_renewal_refused_with_the_advice_handshake() {
    let (mut world, held) = World::subscribed(&["/a", "/b"]);
    lose(&mut world, &held);
    let start = world.now;
    world.events();
    let mut handshakes = 0;
    while world.now < start + 120_000 {
        while let Some(sent) = world.inbox.pop_front() {
            match sent.endpoint {
                Endpoint::Handshake => {
                    handshakes += 1;
                    world.answer(&sent, &handshake_ok("c", ""));
                }
                Endpoint::Connect if sent.at_once() && world.open.contains_key(&sent.id) => {
                    world.answer(&sent, &connect_ok(""))
                }
                Endpoint::Messages if world.open.contains_key(&sent.id) => {
                    let replies: Vec<String> = sent.messages.iter().map(|it| match it["subscription"] == "/b" {
                        true => format!(r#"{{"channel":"/meta/subscribe","id":{},"successful":false,"error":"403::denied","advice":{{"reconnect":"handshake"}}}}"#, it["id"]),
                        false => format!(r#"{{"channel":"/meta/subscribe","id":{},"successful":true}}"#, it["id"]),
                    }).collect();
                    world.answer(&sent, &format!("[{}]", replies.join(",")));
                }
                _ => {}
            }
        }
        world.wait(1_000);
    }
    let told = world.events();
    let about = told.iter().filter(|it| it.contains("/b")).count();
    assert!(
        handshakes <= 1 && about == 1,
        "{handshakes} handshakes in two minutes, {about} events about /b"
    );
}
