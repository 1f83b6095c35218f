use super::*;

const DENIED: &str = r#","error":"403::Handshake denied","ext":{"sfdc":{"failureReason":"401::Authentication invalid"}},"advice":{"reconnect":"none"}"#;
const INVALID: &str = r#","error":"401::Authentication invalid","advice":{"reconnect":"none"}"#;

fn provided(configuration: &mut Configuration) {
    configuration.has_token_provider = true;
}

#[test]
fn a_denied_handshake_asks_the_provider_and_is_made_again_122() {
    let (mut world, handshake) = World::handshaking(provided);
    world.answer(&handshake, &handshake_refused(DENIED));
    assert_eq!(world.refreshes, 1);
    world.assert_nothing_sent();
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Refused"]
    );
    world.credentials(Ok(()));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c1", ""));
    world.request(Endpoint::Connect);
}

#[test]
fn without_a_provider_a_final_refusal_is_final_124() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.answer(
        &handshake,
        &handshake_refused(
            r#","error":"403::denied_by_security_policy:create_denied","advice":{"reconnect":"none"}"#,
        ),
    );
    assert_eq!(world.refreshes, 0);
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Fatal handshake Refused",
            "-> Closed",
            "Closed"
        ]
    );
    world.assert_quiet(100_000);
}

#[test]
fn a_provider_that_fails_makes_a_final_refusal_final_124() {
    let (mut world, held) = World::connected_with(provided);
    world.answer(&held, &connect_refused(INVALID));
    assert_eq!(world.refreshes, 1);
    world.credentials(Err("the vault is locked"));
    assert_eq!(
        world.events(),
        [
            "Error connect Refused",
            "-> Rehandshaking",
            "Error handshake Credentials",
            "Fatal connect Refused",
            "-> Closed",
            "Closed"
        ]
    );
    assert!(world.errors[1].message.ends_with(": the vault is locked"));
}

#[test]
fn a_slow_provider_delays_only_the_attempt_123() {
    let (mut world, held) = World::connected_with(provided);
    world.http(&held, 401);
    assert_eq!(
        world.events(),
        ["Error connect Unauthorized", "-> Unconnected"]
    );
    world.wait(2_000);
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.wait(1_000);
    world.credentials(Ok(()));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.at, world.now);
    world.accept(&publish);
    world.wait(9_999);
    assert!(world.open.contains_key(&connect.id), "its own ten seconds");
}

#[test]
fn a_silent_provider_is_given_up() {
    let (mut world, handshake) = World::handshaking(provided);
    world.http(&handshake, 401);
    world.wait(59_999);
    world.assert_nothing_sent();
    let (waited, _) = world.next_request(Endpoint::Handshake);
    assert_within(waited, 1_101..=1_201);
    assert_eq!(
        world.events(),
        [
            "-> Handshaking",
            "Error handshake Unauthorized",
            "Error handshake Credentials"
        ]
    );
    world.credentials(Ok(()));
    world.assert_nothing_sent();
}

#[test]
fn the_provider_is_asked_three_times_then_the_refusal_counts() {
    let (mut world, mut handshake) = World::handshaking(provided);
    for count in 1..=3 {
        world.answer(&handshake, &handshake_refused(DENIED));
        assert_eq!(world.refreshes, count);
        world.credentials(Ok(()));
        handshake = world.next_request(Endpoint::Handshake).1;
    }
    world.answer(&handshake, &handshake_refused(DENIED));
    assert_eq!(world.refreshes, 3);
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn a_successful_connect_starts_the_count_again() {
    let (mut world, mut held) = World::connected_with(provided);
    // More often than handshakes are allowed in a minute: they come later then.
    for count in 1..=30 {
        world.answer(&held, &connect_refused(INVALID));
        assert_eq!(world.refreshes, count);
        world.credentials(Ok(()));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c", ""));
        let first = world.request(Endpoint::Connect);
        world.answer(&first, &connect_ok(""));
        held = world.request(Endpoint::Connect);
    }
    assert!(world.now > 1_000_000 + 60_000);
}

#[test]
fn a_command_refused_for_its_credentials_asks_too_but_stops_nothing() {
    let (mut world, held) = World::connected_with(provided);
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.http(&sent, 401);
    assert_eq!(world.refreshes, 1);
    assert_eq!(world.events(), ["Error publish Unauthorized 1 /x"]);
    world.subscribe(2, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "401::expired", "");
    assert_eq!(world.refreshes, 1, "it is being asked already");
    world.answer(&held, &connect_ok(""));
    world.request(Endpoint::Connect);
    world.credentials(Ok(()));
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn a_connect_refused_while_the_provider_is_asked_waits_for_its_answer() {
    let (mut world, held) = World::connected_with(provided);
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.http(&sent, 401);
    world.answer(&held, &connect_refused(INVALID));
    assert_eq!(world.state(), State::Rehandshaking);
    assert_eq!(world.refreshes, 1);
    world.assert_nothing_sent();
    world.credentials(Ok(()));
    world.request(Endpoint::Handshake);
}

#[test]
fn a_session_lost_while_the_provider_is_asked_is_handshaken_once() {
    let (mut world, held) = World::connected_with(provided);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.http(&held, 401);
    world.refuse(&sent, "402::session_unknown", "");
    assert_eq!(world.state(), State::Rehandshaking);
    world.wait(1_000);
    world.assert_nothing_sent();
    world.credentials(Ok(()));
    let handshake = world.request(Endpoint::Handshake);
    world.assert_nothing_sent();
    world.answer(&handshake, &handshake_ok("c2", ""));
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /a"]
    );
}

#[test]
fn a_disconnect_does_not_wait_for_the_provider() {
    let (mut world, held) = World::connected_with(provided);
    world.http(&held, 401);
    world.disconnect(1_000);
    let disconnect = world.request(Endpoint::Disconnect);
    world.credentials(Ok(()));
    world.wait(500);
    world.assert_nothing_sent();
    world.accept(&disconnect);
    assert_eq!(world.state(), State::Closed);
}
