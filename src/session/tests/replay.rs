use super::*;
use crate::bayeux::replay::{ALL, NEW};

const SUPPORTED: &str = r#","ext":{"replay":true}"#;
const INVALID: &str = "400::The replayId {7} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.";

fn replaying(start: i64) -> impl FnOnce(&mut Configuration) {
    with_fallback(start, Some(ALL))
}

fn with_fallback(start: i64, fallback: Option<i64>) -> impl FnOnce(&mut Configuration) {
    move |configuration| configuration.replay = Some(ReplayPolicy { start, fallback })
}

/// A connected session with a server that takes part.
fn connected(configure: impl FnOnce(&mut Configuration)) -> (World, Sent) {
    let (mut world, handshake) = World::handshaking(configure);
    assert_eq!(handshake.messages[0]["ext"]["replay"], true);
    world.answer(&handshake, &handshake_ok("c1", SUPPORTED));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.events();
    (world, held)
}

/// Subscribes, with success, and gives the positions that were asked for.
fn subscribe(world: &mut World, id: OperationId, channels: &[&str]) -> Vec<String> {
    world.subscribe(id, channels);
    let sent = world.request(Endpoint::Messages);
    world.accept(&sent);
    positions(&sent)
}

/// The channel of each subscribe of a request, and what its ext says.
fn positions(sent: &Sent) -> Vec<String> {
    let messages = sent.messages.iter();
    messages
        .filter(|it| it["channel"] == "/meta/subscribe")
        .map(|it| {
            let channel = it["subscription"].as_str().unwrap();
            format!("{channel} {}", it["ext"]["replay"])
        })
        .collect()
}

/// Events, as channel and replayId, in the reply of a connect; gives the next
/// connect.
fn deliver(world: &mut World, connect: &Sent, events: &[(&str, &str)]) -> Sent {
    let mut messages: Vec<_> = events
        .iter()
        .map(|(channel, id)| {
            format!(r#"{{"channel":"{channel}","data":{{"event":{{"replayId":{id}}}}}}}"#)
        })
        .collect();
    messages.push(r#"{"channel":"/meta/connect","id":"$id","successful":true}"#.into());
    world.answer(connect, &format!("[{}]", messages.join(",")));
    world.events();
    world.request(Endpoint::Connect)
}

/// Loses the session and makes another; gives what is subscribed to again, and
/// the first connect.
fn renew(world: &mut World, held: &Sent, client_id: &str) -> (Vec<String>, Sent) {
    let (again, connect) = renewal(world, held, client_id);
    world.accept(&again);
    world.answer(&connect, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.events();
    (positions(&again), held)
}

fn renewal(world: &mut World, held: &Sent, client_id: &str) -> (Sent, Sent) {
    world.answer(held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok(client_id, SUPPORTED));
    let again = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    (again, connect)
}

#[test]
fn handshake_and_subscribe_on_the_wire() {
    let (mut world, handshake) = World::handshaking(|it| {
        replaying(NEW)(it);
        it.acknowledgement = true;
        it.handshake_ext = Some(serde_json::from_str(r#"{"x":1,"replay":"host"}"#).unwrap());
    });
    assert!(handshake
        .text
        .ends_with(r#""ext":{"ack":true,"replay":true,"x":1}}]"#));
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","ext":{"replay":true,"payload.format":true}"#),
    );
    world.request(Endpoint::Connect);
    world.subscribe(1, &["/event/X__e"]);
    assert_eq!(
        world.request(Endpoint::Messages).text,
        r#"[{"channel":"/meta/subscribe","id":"3","clientId":"c1","subscription":"/event/X__e","ext":{"replay":{"/event/X__e":-1}}}]"#
    );
}

#[test]
fn without_the_option_nothing_is_asked_for() {
    let (mut world, handshake) = World::handshaking(|_| {});
    assert!(!handshake.text.contains("ext"));
    world.answer(&handshake, &handshake_ok("c1", SUPPORTED));
    world.request(Endpoint::Connect);
    world.subscribe(1, &["/a"]);
    assert!(!world.request(Endpoint::Messages).text.contains("ext"));
    assert_eq!(world.session.replay.count(), 0);
}

#[test]
fn each_subscribe_names_its_own_channel_and_none_of_the_others() {
    let (mut world, _) = connected(replaying(ALL));
    assert_eq!(
        subscribe(&mut world, 1, &["/a", "/b", "/c/*", "/**"]),
        [
            r#"/a {"/a":-2}"#,
            r#"/b {"/b":-2}"#,
            "/c/* null",
            "/** null"
        ],
        "a pattern has no position"
    );
}

#[test]
fn the_query_is_stripped_and_the_subscription_keeps_it() {
    let (mut world, held) = connected(replaying(NEW));
    assert_eq!(
        subscribe(&mut world, 1, &["/topic/A?b=c"]),
        [r#"/topic/A?b=c {"/topic/A":-1}"#]
    );
    // Servers name events by one or the other.
    let held = deliver(&mut world, &held, &[("/topic/A", "5")]);
    let (again, held) = renew(&mut world, &held, "c2");
    assert_eq!(again, [r#"/topic/A?b=c {"/topic/A":5}"#]);
    let held = deliver(&mut world, &held, &[("/topic/A?b=c", "6")]);
    let (again, _) = renew(&mut world, &held, "c3");
    assert_eq!(again, [r#"/topic/A?b=c {"/topic/A":6}"#]);
}

#[test]
fn two_queries_of_one_topic_share_the_position() {
    let (mut world, held) = connected(replaying(ALL));
    subscribe(&mut world, 1, &["/a?x"]);
    let held = deliver(&mut world, &held, &[("/a", "5")]);
    assert_eq!(subscribe(&mut world, 2, &["/a?y"]), [r#"/a?y {"/a":5}"#]);
    world.unsubscribe(3, &["/a?x"]);
    let sent = world.request(Endpoint::Messages);
    world.accept(&sent);
    let (again, _) = renew(&mut world, &held, "c2");
    assert_eq!(again, [r#"/a?y {"/a":5}"#]);
}

#[test]
fn after_402_it_goes_on_after_the_newest_event_and_not_at_the_start_217() {
    for start in [ALL, NEW, 3] {
        let (mut world, held) = connected(replaying(start));
        assert_eq!(
            subscribe(&mut world, 1, &["/a", "/b"]),
            [
                format!(r#"/a {{"/a":{start}}}"#),
                format!(r#"/b {{"/b":{start}}}"#)
            ]
        );
        let held = deliver(
            &mut world,
            &held,
            &[("/a", "5"), ("/a", "9"), ("/other", "70")],
        );
        let (again, held) = renew(&mut world, &held, "c2");
        assert_eq!(
            again,
            [
                r#"/a {"/a":9}"#.to_owned(),
                format!(r#"/b {{"/b":{start}}}"#)
            ]
        );
        // Nothing has come since; the session is lost once more.
        let (again, held) = renew(&mut world, &held, "c3");
        assert_eq!(again[0], r#"/a {"/a":9}"#);
        let held = deliver(&mut world, &held, &[("/b", "\"11\"")]);
        let (again, _) = renew(&mut world, &held, "c4");
        assert_eq!(again, [r#"/a {"/a":9}"#, r#"/b {"/b":11}"#]);
    }
}

#[test]
fn events_before_the_reply_that_ends_the_session_count_217() {
    let (mut world, held) = connected(replaying(ALL));
    subscribe(&mut world, 1, &["/a"]);
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/a","data":{{"event":{{"replayId":5}}}}}},{{"channel":"/meta/connect","id":"$id","successful":false{UNKNOWN}}},{{"channel":"/a","data":{{"event":{{"replayId":6}}}}}}]"#
        ),
    );
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", SUPPORTED));
    assert_eq!(
        positions(&world.request(Endpoint::Messages)),
        [r#"/a {"/a":6}"#]
    );
}

#[test]
fn a_response_that_never_came_whole_moves_nothing_217() {
    let (mut world, held) = connected(replaying(ALL));
    subscribe(&mut world, 1, &["/a"]);
    let held = deliver(&mut world, &held, &[("/a", "5")]);
    world.fail(&held, ErrorKind::ConnectionLost);
    let (_, connect) = world.next_request(Endpoint::Connect);
    let (again, _) = renew(&mut world, &connect, "c2");
    assert_eq!(again, [r#"/a {"/a":5}"#]);
}

#[test]
fn the_position_follows_the_newest_event_also_when_its_id_is_smaller() {
    let (mut world, held) = connected(replaying(NEW));
    subscribe(&mut world, 1, &["/a"]);
    let held = deliver(&mut world, &held, &[("/a", "9223372036854775807")]);
    let held = deliver(&mut world, &held, &[("/a", "2")]);
    let (again, _) = renew(&mut world, &held, "c2");
    assert_eq!(again, [r#"/a {"/a":2}"#]);
}

#[test]
fn ids_that_are_none_move_nothing() {
    let (mut world, held) = connected(replaying(NEW));
    subscribe(&mut world, 1, &["/a"]);
    let mut held = deliver(&mut world, &held, &[("/a", "5")]);
    for id in [
        "-2",
        "-1",
        "\"-2\"",
        "99999999999999999999",
        "7.5",
        "{}",
        "[6]",
        "null",
        "\"\"",
        "\"six\"",
    ] {
        held = deliver(&mut world, &held, &[("/a", id)]);
    }
    world.answer(
        &held,
        r#"[{"channel":"/a","data":7},{"channel":"/a","data":{"event":6}},{"channel":"/meta/connect","id":"$id","successful":true}]"#,
    );
    let held = world.request(Endpoint::Connect);
    let (again, _) = renew(&mut world, &held, "c2");
    assert_eq!(again, [r#"/a {"/a":5}"#]);
}

#[test]
fn only_channels_that_are_subscribed_to_are_kept() {
    let (mut world, mut held) = connected(replaying(NEW));
    subscribe(&mut world, 1, &["/a", "/x/**"]);
    for n in 0..100 {
        held = deliver(&mut world, &held, &[(&format!("/x/{n}"), "5")]);
    }
    assert_eq!(world.session.replay.count(), 1);
}

#[test]
fn an_unsubscribe_forgets() {
    let (mut world, held) = connected(replaying(ALL));
    subscribe(&mut world, 1, &["/a"]);
    let held = deliver(&mut world, &held, &[("/a", "5")]);
    world.unsubscribe(2, &["/a"]);
    assert_eq!(world.session.replay.count(), 0);
    let sent = world.request(Endpoint::Messages);
    // One that was under way.
    deliver(&mut world, &held, &[("/a", "6")]);
    world.accept(&sent);
    assert_eq!(subscribe(&mut world, 3, &["/a"]), [r#"/a {"/a":-2}"#]);
    // Taken back before it was sent: it leaves no trace.
    let (mut world, _) = World::handshaking(replaying(ALL));
    world.subscribe(1, &["/a"]);
    world.unsubscribe(2, &["/a"]);
    let handshake = world.open.values().next().unwrap().clone();
    world.answer(&handshake, &handshake_ok("c1", SUPPORTED));
    let sent = world.request(Endpoint::Messages);
    world.accept(&sent);
    assert_eq!(world.session.replay.count(), 0);
}

#[test]
fn a_subscribe_that_fails_forgets_unless_the_topic_has_another() {
    let (mut world, held) = connected(replaying(NEW));
    world.subscribe(1, &["/denied"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "403::denied", "");
    assert_eq!(world.session.replay.count(), 0);
    world.subscribe(2, &["/lost"]);
    let sent = world.request(Endpoint::Messages);
    world.fail(&sent, ErrorKind::ConnectionLost);
    assert_eq!(world.session.replay.count(), 0);
    subscribe(&mut world, 3, &["/a?x"]);
    let held = deliver(&mut world, &held, &[("/a", "5")]);
    world.subscribe(4, &["/a?y"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "403::denied", "");
    let (again, held) = renew(&mut world, &held, "c2");
    assert_eq!(again, [r#"/a?x {"/a":5}"#]);
    // A renewal that is refused is its end as well.
    let (again, _) = renewal(&mut world, &held, "c3");
    world.refuse(&again, "403::denied", "");
    assert_eq!(world.session.replay.count(), 0);
}

#[test]
fn positions_that_the_host_gives_are_for_the_next_subscribe_in_order() {
    let (mut world, handshake) = World::handshaking(replaying(NEW));
    world.replay_from("/a", 5, true);
    world.subscribe(1, &["/a", "/b"]);
    world.replay_from("/a", 9, false);
    world.subscribe(2, &["/a?x"]);
    world.replay_from("/a", 11, true);
    world.subscribe(3, &["/a?y"]);
    world.answer(&handshake, &handshake_ok("c1", SUPPORTED));
    let sent = world.request(Endpoint::Messages);
    world.request(Endpoint::Connect);
    assert_eq!(
        positions(&sent),
        [
            r#"/a {"/a":5}"#,
            r#"/b {"/b":-1}"#,
            r#"/a?x {"/a":9}"#,
            r#"/a?y {"/a":9}"#
        ]
    );
}

#[test]
fn a_given_position_moves_a_live_topic_and_a_stored_one_does_not() {
    let (mut world, held) = connected(replaying(NEW));
    subscribe(&mut world, 1, &["/a"]);
    let held = deliver(&mut world, &held, &[("/a", "50")]);
    world.replay_from("/a", 5, true);
    assert_eq!(subscribe(&mut world, 2, &["/a"]), [r#"/a {"/a":50}"#]);
    world.replay_from("/a", 5, false);
    assert_eq!(subscribe(&mut world, 3, &["/a"]), [r#"/a {"/a":5}"#]);
    let held = deliver(&mut world, &held, &[("/a", "6"), ("/a", "7")]);
    let (again, _) = renew(&mut world, &held, "c2");
    assert_eq!(again, [r#"/a {"/a":7}"#]);
}

#[test]
fn a_subscribe_that_found_the_session_lost_keeps_its_position_217() {
    let (mut world, held) = connected(replaying(NEW));
    world.replay_from("/a", 5, false);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(
        &sent,
        "402::session_unknown",
        r#"{"reconnect":"handshake","interval":0}"#,
    );
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert!(!world.open.contains_key(&held.id));
    world.answer(&handshake, &handshake_ok("c2", SUPPORTED));
    assert_eq!(
        positions(&world.request(Endpoint::Messages)),
        [r#"/a {"/a":5}"#]
    );
}

#[test]
fn a_server_without_the_extension_is_told_of_once_until_that_changes() {
    for answer in [
        "",
        r#","ext":{}"#,
        r#","ext":{"replay":false}"#,
        r#","ext":{"replay":"true"}"#,
        r#","ext":{"replay":1}"#,
        r#","ext":{"replay":null}"#,
        r#","ext":7"#,
    ] {
        let (mut world, handshake) = World::handshaking(replaying(ALL));
        world.answer(&handshake, &handshake_ok("c1", answer));
        let connect = world.request(Endpoint::Connect);
        assert_eq!(
            world.events(),
            [
                "-> Handshaking",
                "Error handshake Negotiation",
                "-> Connecting"
            ],
            "{answer}"
        );
        assert!(!world.last_error().fatal);
        world.answer(&connect, &connect_ok(""));
        let held = world.request(Endpoint::Connect);
        assert_eq!(subscribe(&mut world, 1, &["/a"]), ["/a null"]);
        // Once more the same, then one that can, then again one that cannot.
        let mut held = deliver(&mut world, &held, &[("/a", "5")]);
        let mut told = Vec::new();
        for (client_id, answer) in [("c2", answer), ("c3", SUPPORTED), ("c4", ""), ("c5", "")] {
            world.answer(&held, &connect_refused(UNKNOWN));
            let (_, handshake) = world.next_request(Endpoint::Handshake);
            world.answer(&handshake, &handshake_ok(client_id, answer));
            let again = world.request(Endpoint::Messages);
            told.push(positions(&again).remove(0));
            world.accept(&again);
            let connect = world.request(Endpoint::Connect);
            world.answer(&connect, &connect_ok(""));
            held = world.request(Endpoint::Connect);
            let count = world
                .events()
                .iter()
                .filter(|it| it.contains("Negotiation"))
                .count();
            assert_eq!(count, usize::from(client_id == "c4"), "{client_id}");
        }
        assert_eq!(told, ["/a null", r#"/a {"/a":5}"#, "/a null", "/a null"]);
    }
}

#[test]
fn an_object_is_taken_for_support() {
    for answer in [r#"{"enabled":true}"#, "{}"] {
        let (mut world, handshake) = World::handshaking(replaying(ALL));
        world.answer(
            &handshake,
            &handshake_ok("c1", &format!(r#","ext":{{"replay":{answer}}}"#)),
        );
        world.request(Endpoint::Connect);
        world.subscribe(1, &["/a"]);
        assert_eq!(
            positions(&world.request(Endpoint::Messages)),
            [r#"/a {"/a":-2}"#]
        );
    }
}

#[test]
fn a_position_that_is_too_old_falls_back_and_the_subscribe_ends_once() {
    for (fallback, says) in [(ALL, "all events"), (NEW, "new events only")] {
        let (mut world, held) = connected(with_fallback(NEW, Some(fallback)));
        world.replay_from("/a", 7, true);
        world.subscribe(1, &["/a", "/b"]);
        let sent = world.request(Endpoint::Messages);
        world.answer(
            &sent,
            &format!(
                r#"[{{"channel":"/meta/subscribe","id":"$0","successful":false,"error":"{INVALID}"}},{{"channel":"/meta/subscribe","id":"$1","successful":true}}]"#
            ),
        );
        assert_eq!(
            world.events(),
            ["Fallback subscribe Refused /a", "Subscribed 1 /b"]
        );
        let error = world.last_error();
        assert!(error.message.contains(says), "{}", error.message);
        assert!(error.message.contains("The replayId {7}"));
        assert_eq!((error.fatal, error.retry_in), (false, Some(0)));
        assert_eq!(error.bayeux.as_ref().unwrap().code, 400);
        let again = world.request(Endpoint::Messages);
        assert_eq!(positions(&again), [format!(r#"/a {{"/a":{fallback}}}"#)]);
        world.accept(&again);
        assert_eq!(world.events(), ["Subscribed 1 /a"]);
        let held = deliver(&mut world, &held, &[("/a", "100")]);
        let (again, _) = renew(&mut world, &held, "c2");
        assert_eq!(again, [r#"/a {"/a":100}"#, r#"/b {"/b":-1}"#]);
    }
}

#[test]
fn a_fallback_that_is_refused_too_is_the_end() {
    let (mut world, _) = connected(with_fallback(NEW, Some(ALL)));
    world.replay_from("/a", 7, true);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, INVALID, "");
    world.events();
    let again = world.request(Endpoint::Messages);
    world.refuse(&again, INVALID, "");
    assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
    assert_eq!(world.last_error().retry_in, None);
    world.assert_quiet(1_000);
    assert_eq!(world.session.replay.count(), 0);
}

#[test]
fn a_renewal_whose_position_is_too_old_falls_back_as_well() {
    let (mut world, held) = connected(with_fallback(NEW, Some(ALL)));
    subscribe(&mut world, 1, &["/a?x", "/a?y", "/b"]);
    let held = deliver(&mut world, &held, &[("/a", "7")]);
    let (again, connect) = renewal(&mut world, &held, "c2");
    world.events();
    world.refuse(&again, INVALID, "");
    // The start of /b was no position of an event: that is an ordinary error.
    assert_eq!(
        world.events(),
        [
            "Fallback subscribe Refused /a?x",
            "Fallback subscribe Refused /a?y",
            "Error subscribe Refused /b"
        ]
    );
    let retries: Vec<_> = world
        .errors
        .iter()
        .rev()
        .take(3)
        .map(|it| it.retry_in)
        .collect();
    assert_eq!(retries, [None, Some(0), Some(0)]);
    let again = world.request(Endpoint::Messages);
    let mut asked = positions(&again);
    asked.sort();
    assert_eq!(asked, [r#"/a?x {"/a":-2}"#, r#"/a?y {"/a":-2}"#]);
    world.accept(&again);
    world.answer(&connect, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    let held = deliver(&mut world, &held, &[("/a", "90")]);
    let (again, _) = renew(&mut world, &held, "c3");
    assert_eq!(again, [r#"/a?x {"/a":90}"#, r#"/a?y {"/a":90}"#]);
}

#[test]
fn a_fallback_during_which_the_session_is_lost_is_made_in_the_next() {
    let (mut world, held) = connected(with_fallback(NEW, Some(ALL)));
    subscribe(&mut world, 1, &["/a"]);
    let held = deliver(&mut world, &held, &[("/a", "7")]);
    let (again, connect) = renewal(&mut world, &held, "c2");
    world.refuse(&again, INVALID, "");
    let fallback = world.request(Endpoint::Messages);
    world.answer(&connect, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c3", SUPPORTED));
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.client_id(), "c3");
    assert_eq!(positions(&again), [r#"/a {"/a":-2}"#]);
    world.refuse(&fallback, INVALID, "");
    world.accept(&again);
    world.request(Endpoint::Connect);
    world.assert_quiet(1_000);
}

#[test]
fn without_a_fallback_it_is_an_ordinary_error() {
    let (mut world, held) = connected(with_fallback(NEW, None));
    world.replay_from("/a", 7, true);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, INVALID, "");
    assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
    subscribe(&mut world, 2, &["/b"]);
    let held = deliver(&mut world, &held, &[("/b", "7")]);
    let (again, _) = renewal(&mut world, &held, "c2");
    world.events();
    world.refuse(&again, INVALID, "");
    assert_eq!(world.events(), ["Error subscribe Refused /b"]);
    assert_eq!(world.last_error().retry_in, None);
    world.assert_nothing_sent();
}

#[test]
fn other_refusals_do_not_fall_back() {
    for (position, error) in [
        (7, "403::no replay for you"),
        (7, "400::bad channel"),
        (7, "the REPLAYID was invalid"),
        (ALL, INVALID),
        (NEW, INVALID),
    ] {
        let (mut world, _) = connected(with_fallback(NEW, Some(ALL)));
        world.replay_from("/a", position, false);
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, error, "");
        assert_eq!(world.events(), ["Error subscribe Refused 1 /a"], "{error}");
        world.assert_nothing_sent();
    }
    // The case of the letters says nothing.
    let (mut world, _) = connected(with_fallback(NEW, Some(ALL)));
    world.replay_from("/a", 7, false);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "400::REPLAY ID unknown", "");
    world.request(Endpoint::Messages);
}

#[test]
fn a_subscribe_that_was_taken_back_does_not_fall_back() {
    let (mut world, _) = connected(with_fallback(NEW, Some(ALL)));
    world.replay_from("/a", 7, false);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.unsubscribe(2, &["/a"]);
    world.refuse(&sent, INVALID, "");
    assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/unsubscribe /a"]
    );
}

#[test]
fn a_disconnect_ends_a_fallback() {
    let (mut world, _) = connected(with_fallback(NEW, Some(ALL)));
    world.replay_from("/a", 7, false);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.disconnect(1_000);
    world.refuse(&sent, INVALID, "");
    world.request(Endpoint::Disconnect);
    world.wait(2_000);
    assert!(world.closed);
}

#[test]
fn a_refused_position_that_comes_with_advice_to_handshake_is_no_loop() {
    let (mut world, held) = connected(with_fallback(NEW, Some(ALL)));
    subscribe(&mut world, 1, &["/a"]);
    let held = deliver(&mut world, &held, &[("/a", "7")]);
    let (again, _) = renewal(&mut world, &held, "c2");
    world.refuse(&again, INVALID, r#"{"reconnect":"handshake","interval":0}"#);
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.client_id(), "c2", "the next connect decides");
    assert_eq!(positions(&again), [r#"/a {"/a":-2}"#]);
    world.accept(&again);
}

#[test]
fn requests_with_positions_keep_to_the_limit_of_their_size() {
    let (mut world, _) = connected(replaying(i64::MAX));
    let channels: Vec<String> = (0..400)
        .map(|n| format!("/event/{n}{}", "x".repeat(100)))
        .collect();
    world.subscribe(1, &channels.iter().map(String::as_str).collect::<Vec<_>>());
    let mut messages = 0;
    while messages < channels.len() {
        let sent = world.request(Endpoint::Messages);
        assert!(sent.text.len() <= 32_768, "{}", sent.text.len());
        messages += sent.messages.len();
        world.accept(&sent);
    }
}

#[test]
fn in_a_batch_positions_stay_before_their_subscribe() {
    let (mut world, _) = connected(replaying(NEW));
    let subscribe = |id, channel: &str| Command::Subscribe {
        id,
        channels: vec![channel.to_owned()],
    };
    let from = |position| Command::ReplayFrom {
        topic: "/a".to_owned(),
        position,
        unless_known: false,
    };
    world.command(Command::Batch(vec![
        from(5),
        subscribe(1, "/a"),
        from(6),
        subscribe(2, "/a"),
    ]));
    assert_eq!(
        positions(&world.request(Endpoint::Messages)),
        [r#"/a {"/a":5}"#, r#"/a {"/a":6}"#]
    );
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn many_unsubscribes_one_by_one_cost_no_search_through_all_subscriptions() {
    assert_proportional(|scale| {
        let (mut world, _) = World::connected_with(|it| {
            it.replay = Some(ReplayPolicy {
                start: -1,
                fallback: None,
            });
        });
        let channels: Vec<String> = (0..500 * scale)
            .map(|it| format!("/some/channel/{it}"))
            .collect();
        world.command(Command::Batch(vec![Command::Subscribe {
            id: 1,
            channels: channels.clone(),
        }]));
        let sent = world.request(Endpoint::Messages);
        world.accept(&sent);
        world.room(false);
        let cost = time_of(|| {
            for (id, channel) in (2..).zip(&channels) {
                let channels = vec![channel.clone()];
                let command = Command::Unsubscribe { id, channels };
                world.session.handle_command(world.now, command);
            }
        });
        assert_eq!(world.session.replay.count(), 0);
        world.session.outputs.clear();
        cost
    });
}

#[test]
fn a_renewal_that_a_lost_session_ends_leaves_no_position_behind() {
    let (mut world, held) = World::connected_with(|it| {
        it.replay = Some(ReplayPolicy {
            start: -1,
            fallback: None,
        });
    });
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.accept(&sent);
    let (renewal, connect) = renewal(&mut world, &held, "c2");
    // The host's own subscribe has joined the renewal, and both are refused.
    world.subscribe(2, &["/a"]);
    world.refuse(&renewal, "403::no", "");
    world.answer(&connect, &connect_refused(UNKNOWN));
    assert_eq!(world.session.replay.count(), 0);
}
