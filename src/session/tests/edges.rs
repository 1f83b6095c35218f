//! The edges of rules: what is just inside, what is just outside, and what comes
//! of two things at once.

use super::*;

/// Connected, with these subscriptions being made again in a second session: the
/// renewal, and the connect that is held.
fn renewing(channels: &[&str], configure: impl FnOnce(&mut Configuration)) -> (World, Sent, Sent) {
    let (mut world, held) = World::connected_with(configure);
    for (id, channel) in (1..).zip(channels) {
        world.subscribe(id, &[channel]);
        let sent = world.request(Endpoint::Messages);
        world.accept(&sent);
    }
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let renewal = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.events();
    (world, renewal, held)
}

#[test]
fn a_refused_command_asks_the_provider_for_401_and_for_no_other_code() {
    for (error, asked) in [("401::expired", 1), ("403::denied", 0), ("400::no", 0)] {
        let provided = |it: &mut Configuration| it.has_token_provider = true;
        let commands: [fn(&mut World); 2] = [
            |world| world.subscribe(7, &["/b"]),
            |world| world.unsubscribe(7, &["/b"]),
        ];
        for command in commands {
            let (mut world, _) = World::connected_with(provided);
            command(&mut world);
            let sent = world.request(Endpoint::Messages);
            world.refuse(&sent, error, "");
            assert_eq!(world.refreshes, asked, "{error} {}", sent.text);
        }
        let (mut world, renewal, _) = renewing(&["/a"], provided);
        world.refuse(&renewal, error, "");
        assert_eq!(world.refreshes, asked, "{error}");
    }
}

#[test]
fn a_session_that_two_replies_of_a_response_call_lost_is_lost_once() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/meta/subscribe","id":"{id}","successful":false,"error":"402::session_unknown"}},
                {{"channel":"/meta/connect","id":"$id","successful":false{UNKNOWN}}}]"#
        ),
    );
    let (wait, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(wait, 0, "no failure of the next session");
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    world.accept(&again);
    assert_eq!(world.events().last().unwrap(), "Subscribed 1 /a");
}

#[test]
fn of_two_replies_to_one_connect_the_first_counts() {
    let (mut world, held) = World::connected();
    let ok = r#"{"channel":"/meta/connect","id":"$id","successful":true}"#;
    let no = r#"{"channel":"/meta/connect","id":"$id","successful":false,"error":"403::no","advice":{"reconnect":"none"}}"#;
    world.answer(&held, &format!("[{ok},{no}]"));
    assert_eq!(world.state(), State::Connected);
    let held = world.request(Endpoint::Connect);
    world.answer(&held, &format!("[{no},{ok}]"));
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn an_empty_id_is_no_id() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.answer(&sent, r#"[{"channel":"/x","id":"","successful":true}]"#);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn renewals_refused_together_are_tried_again_together() {
    let (mut world, renewal, _) = renewing(&["/a", "/b", "/c"], |_| {});
    assert_eq!(renewal.messages.len(), 3);
    let start = world.errors.len();
    world.refuse(&renewal, "503::busy", "");
    let waits: Vec<_> = world.errors[start..].iter().map(|it| it.retry_in).collect();
    assert_eq!(waits, [waits[0]; 3], "one wait for all of them");
    assert_within(waits[0].unwrap(), jittered(1_000));
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.messages.len(), 3);
    // Another request's failure is another one, at whatever time.
    let start = world.errors.len();
    world.refuse(&again, "503::busy", "");
    assert_within(world.errors[start].retry_in.unwrap(), jittered(2_000));
}

#[test]
fn renewals_whose_request_failed_travel_alone_until_all_are_well() {
    let (mut world, renewal, held) = renewing(&["/a", "/b"], |_| {});
    assert_eq!(renewal.messages.len(), 2);
    world.http(&renewal, 500);
    for channel in ["/a", "/b"] {
        let (_, alone) = world.next_request(Endpoint::Messages);
        assert_eq!(alone.summary(), [format!("/meta/subscribe {channel}")]);
        world.accept(&alone);
    }
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c3", ""));
    let together = world.request(Endpoint::Messages);
    assert_eq!(together.messages.len(), 2);
}

#[test]
fn renewals_wait_as_long_as_the_server_asks_and_a_wait_of_their_own_is_no_shorter() {
    for (asked, range) in [(30_000, 30_000..=30_000), (10, jittered(1_000))] {
        let (mut world, renewal, _) = renewing(&["/a"], |_| {});
        let mut failure = Failure::new(ErrorKind::HttpStatus, "HTTP status 503");
        failure.http_status = 503;
        failure.retry_after = Some(asked);
        world.fail_with(&renewal, &failure);
        let told = world.last_error().retry_in.unwrap();
        let (wait, _) = world.next_request(Endpoint::Messages);
        assert_eq!(wait, told);
        assert_within(wait, range);
    }
}
