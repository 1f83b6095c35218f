use super::*;

#[test]
fn a_held_connect_and_the_disconnect_are_both_answered_107() {
    let (mut world, held) = World::connected();
    world.disconnect(5_000);
    let disconnect = world.request(Endpoint::Disconnect);
    assert_eq!(
        disconnect.text,
        r#"[{"channel":"/meta/disconnect","id":"4","clientId":"c1"}]"#
    );
    world.accept(&disconnect);
    assert_eq!(world.state(), State::Disconnecting);
    world.answer(
        &held,
        r#"[{"channel":"/x","data":1},{"channel":"/meta/connect","id":"$id","successful":true,"advice":{"reconnect":"none"}}]"#,
    );
    assert_eq!(
        world.events(),
        ["-> Disconnecting", "/x 1", "-> Closed", "Closed"]
    );
    world.assert_quiet(100_000);
}

#[test]
fn the_connects_reply_may_come_first_107() {
    let (mut world, held) = World::connected();
    world.disconnect(5_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.answer(&held, &connect_refused(UNKNOWN));
    assert_eq!(world.state(), State::Disconnecting);
    world.accept(&disconnect);
    assert_eq!(world.events(), ["-> Disconnecting", "-> Closed", "Closed"]);
}

#[test]
fn a_held_connect_that_is_not_answered_is_awaited_for_a_second_only_107() {
    let (mut world, held) = World::connected();
    world.disconnect(5_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.accept(&disconnect);
    world.wait(999);
    assert_eq!(world.state(), State::Disconnecting);
    world.wait(1);
    assert_eq!(world.state(), State::Closed);
    assert_eq!(world.cancelled, [held.id]);
    assert_eq!(world.errors, []);
}

#[test]
fn a_disconnect_that_is_never_answered_ends_at_the_limit_108() {
    let (mut world, held) = World::connected();
    world.disconnect(5_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.wait(4_999);
    assert_eq!(world.state(), State::Disconnecting);
    world.wait(1);
    assert_eq!(
        world.events(),
        [
            "-> Disconnecting",
            "Error disconnect Timeout",
            "-> Closed",
            "Closed"
        ]
    );
    assert_eq!(world.cancelled, [held.id, disconnect.id]);
}

#[test]
fn a_limit_of_nothing_ends_at_once_108() {
    let (mut world, _) = World::connected();
    world.disconnect(0);
    world.wait(0);
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn the_limit_holds_for_a_publish_under_way_too_108() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.publish(2, "/x", "2");
    world.disconnect(500);
    world.assert_nothing_sent();
    world.wait(500);
    assert_eq!(
        world.events(),
        [
            "-> Disconnecting",
            "Error disconnect Timeout",
            "Error publish Aborted 1 /x",
            "Error publish Aborted 2 /x",
            "-> Closed",
            "Closed"
        ]
    );
    assert!(world.cancelled.contains(&publish.id));
}

#[test]
fn a_disconnect_without_a_session_sends_nothing_109() {
    // Before the start, in the handshake, and between two sessions.
    let mut world = World::new();
    world.subscribe(1, &["/a"]);
    world.disconnect(1_000);
    assert_eq!(
        world.events(),
        ["Error subscribe Aborted 1 /a", "-> Closed", "Closed"]
    );

    let (mut world, handshake) = World::handshaking(|_| {});
    world.disconnect(1_000);
    assert_eq!(world.events(), ["-> Handshaking", "-> Closed", "Closed"]);
    assert_eq!(world.cancelled, [handshake.id]);
    world.answer(&handshake, &handshake_ok("c1", ""));
    world.assert_quiet(100_000);

    let (mut world, held) = World::connected();
    world.answer(&held, &connect_refused(UNKNOWN));
    world.request(Endpoint::Handshake);
    world.disconnect(1_000);
    assert_eq!(world.state(), State::Closed);
    world.assert_quiet(100_000);
}

#[test]
fn a_disconnect_between_two_connects_stops_the_next_109() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok(r#","advice":{"interval":1000}"#));
    world.disconnect(10_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.wait(5_000);
    world.assert_nothing_sent();
    world.accept(&disconnect);
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn the_second_disconnect_only_shortens_the_time_111() {
    let (mut world, _) = World::connected();
    world.disconnect(5_000);
    world.request(Endpoint::Disconnect);
    world.disconnect(9_000);
    world.disconnect(300);
    world.assert_nothing_sent();
    world.wait(299);
    assert_eq!(world.state(), State::Disconnecting);
    world.wait(1);
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn after_the_end_nothing_happens_any_more_111() {
    let (mut world, held) = World::connected();
    world.abort();
    world.events();
    world.disconnect(1_000);
    world.abort();
    world.connect();
    world.room(false);
    world.room(true);
    world.credentials(Ok(()));
    world.answer(&held, &connect_ok(""));
    world.fail(&held, ErrorKind::Tcp);
    world.run_timers();
    world.assert_quiet(100_000);
}

#[test]
fn the_servers_own_disconnect_ends_it_113() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.publish(2, "/x", "2");
    world.answer(
        &held,
        r#"[{"channel":"/meta/disconnect","successful":true,"error":"idle"},{"channel":"/x","data":1},
            {"channel":"/meta/connect","id":"$id","successful":false,"advice":{"reconnect":"none"}}]"#,
    );
    assert_eq!(
        world.events(),
        [
            "/x 1",
            "Fatal disconnect ServerDisconnected",
            "Error publish Aborted 1 /x",
            "Error publish Aborted 2 /x",
            "-> Closed",
            "Closed"
        ]
    );
    assert_eq!(
        world.last_error().kind,
        ErrorKind::Aborted,
        "the last one is the publish's"
    );
    assert!(world.errors[0].message.ends_with("session: idle"));
    assert_eq!(world.cancelled, [publish.id]);
}

/// What a server sends that ends a session by itself, and the connect's reply.
const ENDED: &str = r#"[{"channel":"/meta/disconnect","successful":true},
    {"channel":"/meta/connect","id":"$id","successful":true,"advice":{"reconnect":"none"}}]"#;

#[test]
fn by_option_a_new_session_follows_the_one_that_the_server_ended_114() {
    for body in [
        ENDED,
        r#"[{"channel":"/meta/connect","id":"$id","successful":true,"advice":{"reconnect":"none"}}]"#,
        r#"[{"channel":"/x","data":1},{"channel":"/meta/disconnect","successful":true}]"#,
    ] {
        let (mut world, held) = World::connected_with(|it| it.restart = true);
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.accept(&sent);
        world.publish(2, "/x", "1");
        let publish = world.request(Endpoint::Messages);
        world.events();
        world.answer(&held, body);
        let told = world.events();
        let error = world.last_error();
        assert!(
            !error.fatal && error.kind == ErrorKind::ServerDisconnected,
            "{told:?}"
        );
        assert_eq!(world.state(), State::Rehandshaking);
        let wait = error.retry_in.unwrap();
        assert!((1_100..=1_200).contains(&wait), "not at once: {wait}");
        world.publish(3, "/x", "3");
        let (took, handshake) = world.next_request(Endpoint::Handshake);
        assert_eq!(took, wait);
        world.answer(&handshake, &handshake_ok("c2", ""));
        let again = world.request(Endpoint::Messages);
        assert_eq!(again.summary(), ["/meta/subscribe /a", "/x"]);
        world.events();
        world.accept(&publish);
        assert_eq!(
            world.events(),
            ["Published 2 /x"],
            "its answer came all the same"
        );
    }
}

#[test]
fn a_server_that_ends_every_session_is_not_stormed_114() {
    let mut world = World::with(|it| it.restart = true);
    world.connect();
    let mut handshakes = 0;
    while world.now < 1_000_000 + 600_000 {
        let sent = world.open.values().next().cloned();
        match sent {
            Some(sent) if sent.endpoint == Endpoint::Handshake => {
                handshakes += 1;
                world.answer(&sent, &handshake_ok("c", ""));
            }
            Some(sent) => world.answer(&sent, ENDED),
            None => assert!(world.next_timer()),
        }
    }
    assert!(
        (20..=121).contains(&handshakes),
        "{handshakes} in ten minutes"
    );
}

#[test]
fn a_restart_counts_as_a_failure_and_a_refusal_is_no_end_to_be_followed() {
    let (mut world, held) = World::connected_with(|it| {
        it.restart = true;
        it.number_of_retries = Some(0);
    });
    world.answer(&held, ENDED);
    assert!(world.closed);

    let (mut world, held) = World::connected_with(|it| it.restart = true);
    world.refuse(
        &held,
        "401::Authentication invalid",
        r#"{"reconnect":"none"}"#,
    );
    assert!(world.closed, "with a reason, it is final");
}

#[test]
fn pending_publishes_are_sent_and_end_before_the_disconnect_115() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let first = world.request(Endpoint::Messages);
    world.publish(2, "/x", "2");
    world.disconnect(5_000);
    world.assert_nothing_sent();
    world.accept(&first);
    let second = world.request(Endpoint::Messages);
    world.assert_nothing_sent();
    world.accept(&second);
    let disconnect = world.request(Endpoint::Disconnect);
    world.accept(&disconnect);
    world.answer(&held, &connect_ok(""));
    assert_eq!(
        world.events(),
        [
            "-> Disconnecting",
            "Published 1 /x",
            "Published 2 /x",
            "-> Closed",
            "Closed"
        ]
    );
}

#[test]
fn renewals_are_not_made_for_a_session_that_ends() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.publish(5, "/x", "1");
    let stuck = world.request(Endpoint::Messages);
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.room(false);
    world.answer(&handshake, &handshake_ok("c2", ""));
    world.disconnect(5_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.assert_nothing_sent();
    world.accept(&disconnect);
    assert_eq!(world.state(), State::Closed);
    assert!(world.cancelled.contains(&stuck.id));
}

#[test]
fn abort_ends_everything_at_once_117() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a", "/b"]);
    let sent = world.request(Endpoint::Messages);
    world.publish(2, "/x", "1");
    world.abort();
    world.assert_nothing_sent();
    assert_eq!(
        world.events(),
        [
            "Error subscribe Aborted 1 /a",
            "Error subscribe Aborted 1 /b",
            "Error publish Aborted 2 /x",
            "-> Closed",
            "Closed"
        ]
    );
    assert_eq!(world.cancelled, [held.id, sent.id]);
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn a_disconnect_that_is_refused_or_broken_ends_it_too_118() {
    let failures: [fn(&mut World, &Sent); 4] = [
        |world, sent| world.refuse(sent, "402::session_unknown", r#"{"reconnect":"handshake"}"#),
        |world, sent| world.http(sent, 500),
        |world, sent| world.answer(sent, "[]"),
        |world, sent| world.answer(sent, r#"[{"channel":"/meta/disconnect"}]"#),
    ];
    for failure in failures {
        let (mut world, held) = World::connected();
        world.disconnect(5_000);
        let disconnect = world.request(Endpoint::Disconnect);
        world.fail(&held, ErrorKind::ConnectionLost);
        failure(&mut world, &disconnect);
        assert_eq!(world.events(), ["-> Disconnecting", "-> Closed", "Closed"]);
    }
}

#[test]
fn a_command_refused_while_disconnecting_is_not_kept() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.disconnect(5_000);
    world.answer(&held, &connect_ok(""));
    world.refuse(
        &sent,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    let disconnect = world.request(Endpoint::Disconnect);
    world.accept(&disconnect);
    assert_eq!(
        world.events(),
        [
            "-> Disconnecting",
            "Error subscribe Refused 1 /a",
            "-> Closed",
            "Closed"
        ]
    );
}

#[test]
fn what_is_called_after_the_end_and_before_it_was_told_still_ends_before_it() {
    let mut session = Session::new(Configuration::default());
    session.handle_command(0, Command::Connect);
    session.handle_command(0, Command::Disconnect { limit: 1_000 });
    session.handle_command(
        0,
        Command::Publish {
            id: 7,
            channel: "/x".into(),
            data: serde_json::from_str("1").unwrap(),
        },
    );
    let mut told = Vec::new();
    while let Some(output) = session.poll_output() {
        if let Output::Event(event) = output {
            told.push(event);
        }
    }
    let at = |wanted: fn(&Event) -> bool| told.iter().position(wanted);
    let error = at(|it| matches!(it, Event::Error { id: 7, .. }));
    let closed = at(|it| matches!(it, Event::Closed));
    assert!(error.is_some() && error < closed);
    assert_eq!(closed, Some(told.len() - 1));
}
