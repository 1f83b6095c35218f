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
    for error in &world.errors[1..] {
        let why = ": the token provider gave no credentials: the vault is locked";
        assert!(error.message.replace("; ", ": ").ends_with(why), "{error}");
    }
    let refused = "connect: the server refused: 401::Authentication invalid; the token";
    assert!(world.last_error().message.starts_with(refused));
}

#[test]
fn a_provider_that_cannot_be_asked_is_a_failure_of_the_system() {
    let (mut world, mut handshake) = World::handshaking(provided);
    for wait in [1_000, 1_000, 2_000, 3_000, 4_000, 5_000] {
        world.answer(&handshake, &handshake_refused(DENIED));
        world.unasked("no thread could be started");
        let error = world.last_error();
        assert_eq!(
            error.message,
            "handshake: the token provider could not be asked: no thread could be started"
        );
        assert_eq!((error.kind, error.fatal), (ErrorKind::System, false));
        assert_within(error.retry_in.unwrap(), wait..=wait + wait / 5 + 1);
        handshake = world.next_request(Endpoint::Handshake).1;
    }
    world.answer(&handshake, &handshake_refused(DENIED));
    world.credentials(Ok(()));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c1", ""));
    world.request(Endpoint::Connect);

    // It counts as one.
    let (mut world, held) = World::connected_with(|it| {
        provided(it);
        it.number_of_retries = Some(1);
    });
    world.http(&held, 401);
    world.unasked("no thread");
    let (wait, connect) = world.next_request(Endpoint::Connect);
    assert_within(wait, 1_000..=1_201);
    world.http(&connect, 401);
    world.unasked("no thread");
    assert_eq!(world.state(), State::Closed);
    assert_eq!(world.last_error().kind, ErrorKind::System);

    // Who waits for credentials waits for this as well; a command waits for nothing.
    let (mut world, handshake) = World::handshaking(awaited_of_a_provider);
    world.answer(&handshake, &handshake_refused(DENIED));
    world.unasked("no thread");
    assert_eq!(world.last_error().kind, ErrorKind::System);
    world.assert_nothing_sent();
    while world.refreshes < 2 {
        assert!(world.next_timer());
    }
    let (mut world, _held) = World::connected_with(provided);
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.http(&publish, 401);
    world.unasked("no thread");
    assert_eq!(world.state(), State::Connected);
    assert_eq!(world.last_error().kind, ErrorKind::System);
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
    let asked = "; the token provider was asked 3 times";
    assert!(world.last_error().message.ends_with(asked));
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

fn awaited(configuration: &mut Configuration) {
    configuration.await_credentials = true;
    configuration.number_of_retries = Some(0);
}

fn awaited_of_a_provider(configuration: &mut Configuration) {
    awaited(configuration);
    provided(configuration);
}

#[test]
fn awaited_credentials_that_are_set_are_tried_at_once() {
    let (mut world, handshake) = World::handshaking(awaited);
    world.answer(&handshake, &handshake_refused(DENIED));
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error handshake Refused"]
    );
    let error = world.last_error();
    assert!(error.message.ends_with("; waiting for new credentials"));
    assert_within(error.retry_in.unwrap(), jittered(60_000));
    world.assert_quiet(60_000);
    world.command(Command::NewCredentials);
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c1", ""));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn awaited_credentials_that_nobody_gives_are_tried_slowly_for_as_long_as_it_takes() {
    let (mut world, held) = World::connected_with(awaited);
    world.answer(&held, &connect_refused(INVALID));
    assert_eq!(
        world.events(),
        ["Error connect Refused", "-> Rehandshaking"]
    );
    for minutes in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
        let (wait, handshake) = world.next_request(Endpoint::Handshake);
        assert_within(wait, jittered(minutes * 60_000));
        world.answer(&handshake, &handshake_refused(DENIED));
    }
    // The account is unlocked.
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.http(&held, 401);
    let (wait, connect) = world.next_request(Endpoint::Connect);
    assert_within(wait, jittered(60_000));
    // It is a failure of its own kind only as far as credentials go.
    world.fail(&connect, ErrorKind::Tcp);
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn the_provider_is_asked_for_awaited_credentials_again_and_again() {
    let (mut world, handshake) = World::handshaking(|it| {
        awaited_of_a_provider(it);
        it.backoff_increment = 2_000;
        it.backoff_maximum = 8_000;
    });
    world.answer(&handshake, &handshake_refused(DENIED));
    for (count, wait) in (1..).zip([5_000, 5_000, 6_000, 8_000, 8_000]) {
        assert_eq!(world.refreshes, count);
        world.credentials(Err("the vault is locked"));
        let error = world.last_error();
        assert!(error.message.contains(": the vault is locked; waiting"));
        assert_within(error.retry_in.unwrap(), jittered(wait));
        let before = world.now;
        while world.refreshes == count {
            assert!(world.next_timer());
        }
        assert_within(world.now - before, jittered(wait));
        world.assert_nothing_sent();
    }
    world.credentials(Ok(()));
    let handshake = world.request(Endpoint::Handshake);
    // It has given what was refused.
    world.answer(&handshake, &handshake_refused(DENIED));
    assert_within(world.last_error().retry_in.unwrap(), jittered(8_000));
    assert!(!world.closed);
    assert_eq!(world.refreshes, 6);
}

#[test]
fn a_provider_that_is_asked_is_not_waited_for_when_the_host_sets_credentials() {
    let (mut world, handshake) = World::handshaking(awaited_of_a_provider);
    world.answer(&handshake, &handshake_refused(DENIED));
    assert_eq!(world.refreshes, 1);
    world.command(Command::NewCredentials);
    let handshake = world.request(Endpoint::Handshake);
    // What it finds is no news.
    world.credentials(Err("cancelled"));
    world.answer(&handshake, &handshake_ok("c1", ""));
    world.request(Endpoint::Connect);
    assert!(!world
        .events()
        .contains(&"Error handshake Credentials".to_owned()));
}

#[test]
fn what_a_provider_finds_too_late_is_tried_at_once() {
    let (mut world, handshake) = World::handshaking(awaited_of_a_provider);
    world.http(&handshake, 401);
    world.wait(60_000);
    assert_eq!(world.last_error().kind, ErrorKind::Credentials);
    world.assert_nothing_sent();
    world.credentials(Ok(()));
    world.request(Endpoint::Handshake);
}

#[test]
fn credentials_that_were_set_before_the_refusal_came_are_not_awaited() {
    let (mut world, held) = World::connected_with(awaited);
    world.command(Command::NewCredentials);
    world.http(&held, 401);
    assert_eq!(world.last_error().retry_in, Some(0));
    let connect = world.request(Endpoint::Connect);
    world.http(&connect, 401);
    world.assert_nothing_sent();
    assert_within(world.last_error().retry_in.unwrap(), jittered(60_000));
}

#[test]
fn awaited_credentials_do_not_hurry_a_server_that_wants_to_be_left_alone() {
    let (mut world, handshake) = World::handshaking(awaited);
    let mut refused = Failure::new(ErrorKind::Unauthorized, "HTTP 401").with_status(401);
    refused.retry_after = Some(7_000);
    world.fail_with(&handshake, &refused);
    world.wait(1_000);
    world.command(Command::NewCredentials);
    let (wait, _) = world.next_request(Endpoint::Handshake);
    assert_eq!(wait, 6_000);
}

#[test]
fn a_session_that_is_lost_while_credentials_are_awaited_is_not_asked_for() {
    for configure in [awaited, awaited_of_a_provider] {
        let (mut world, held) = World::connected_with(configure);
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.http(&held, 401);
        world.credentials(Err("none"));
        world.refuse(&sent, "402::session_unknown", "");
        assert_eq!(world.state(), State::Rehandshaking);
        world.wait(4_000);
        world.assert_nothing_sent();
        world.command(Command::NewCredentials);
        let handshake = world.request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c2", ""));
        let renewal = world.request(Endpoint::Messages);
        assert_eq!(renewal.summary(), ["/meta/subscribe /a"]);
    }
}

#[test]
fn a_client_that_awaits_credentials_ends_when_the_host_ends_it() {
    for configure in [awaited, awaited_of_a_provider] {
        let (mut world, handshake) = World::handshaking(configure);
        world.answer(&handshake, &handshake_refused(DENIED));
        world.credentials(Err("none"));
        world.disconnect(1_000);
        assert_eq!(world.state(), State::Closed);

        let (mut world, held) = World::connected_with(configure);
        world.http(&held, 401);
        world.credentials(Err("none"));
        world.disconnect(1_000);
        let disconnect = world.request(Endpoint::Disconnect);
        world.command(Command::NewCredentials);
        world.assert_nothing_sent();
        world.accept(&disconnect);
        assert_eq!(world.state(), State::Closed);
    }
}

#[test]
fn whoever_gives_credentials_with_each_request_is_asked_soon() {
    for configure in [
        (|it| it.has_handshake_provider = true) as fn(&mut Configuration),
        |it| it.has_header_provider = true,
    ] {
        let mut world = World::with(|it| {
            awaited(it);
            configure(it);
        });
        world.connect();
        for _ in 0..3 {
            while let Some(question) = world.questions.pop() {
                world.handshake_fields(&question, Ok("{}"));
            }
            let handshake = world.request(Endpoint::Handshake);
            world.answer(&handshake, &handshake_refused(DENIED));
            let wait = world.last_error().retry_in.unwrap();
            assert_within(wait, jittered(5_000));
            world.wait(wait);
        }
    }
}

#[test]
fn a_refused_socket_is_opened_anew_with_awaited_credentials() {
    let mut world = World::with(|it| {
        awaited(it);
        it.transports = [crate::bayeux::ConnectionType::WebSocket].into();
    });
    world.connect();
    let refused = Failure::new(ErrorKind::Unauthorized, "HTTP 401");
    world.unopened(&refused, false);
    assert!(!world.closed && world.opening.is_none());
    world.command(Command::NewCredentials);
    // Set while it opens they are not those that it has.
    world.command(Command::NewCredentials);
    world.unopened(&refused, false);
    assert!(world.opening.is_some());
    world.unopened(&refused, false);
    assert!(world.opening.is_none());
    world.wants_socket();
    let socket = world.opens();
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(handshake.socket, Some(socket));
    // It has the credentials that opened it.
    world.command(Command::NewCredentials);
    world.answer(&handshake, &handshake_refused(DENIED));
    assert!(world.opening.is_some());
}
