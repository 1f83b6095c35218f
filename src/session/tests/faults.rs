use super::*;

#[test]
fn refused_connections_are_tried_after_0_1_2_or_1_2_3_seconds_up_to_the_cap_134() {
    let (mut world, mut handshake) = World::handshaking(|_| {});
    for count in 0..40 {
        world.fail(&handshake, ErrorKind::Tcp);
        let (waited, next) = world.next_request(Endpoint::Handshake);
        assert_within(waited, jittered((count * 1_000).min(30_000)));
        handshake = next;
    }
    let (mut world, mut connect) = World::connected();
    for count in 1..40 {
        world.fail(&connect, ErrorKind::Tcp);
        let told = world.last_error().retry_in;
        let (waited, next) = world.next_request(Endpoint::Connect);
        assert_within(waited, jittered((count * 1_000).min(30_000)));
        assert_eq!(told, Some(waited));
        connect = next;
    }
    assert!(world.events().iter().all(|it| !it.starts_with("Fatal")));
}

#[test]
fn clients_with_other_seeds_wait_otherwise_134() {
    let wait = |seed| {
        let (mut world, held) = World::connected_with(|it| {
            it.seed = seed;
            it.backoff_increment = 10_000;
        });
        world.fail(&held, ErrorKind::Tcp);
        world.next_request(Endpoint::Connect).0
    };
    let waits: std::collections::BTreeSet<_> = (0..50).map(wait).collect();
    assert!(waits.len() > 5, "{waits:?}");
}

#[test]
fn silence_ends_at_the_deadline_135() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.wait(9_999);
    assert!(world.open.contains_key(&handshake.id));
    world.wait(1);
    assert_eq!(world.cancelled, [handshake.id]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c1", ""));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(r#","advice":{"timeout":30000}"#));
    let held = world.request(Endpoint::Connect);
    world.events();
    world.wait(39_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error connect Timeout", "-> Unconnected"]);
    assert_eq!(world.cancelled.last(), Some(&held.id));
}

#[test]
fn a_short_outage_keeps_the_session_136() {
    // The server counts from when the hold and the interval are over.
    for advice in [
        r#"{"maxInterval":20000}"#,
        r#"{"maxInterval":5000,"timeout":10000,"interval":1}"#,
    ] {
        short_outage(advice);
    }
}

fn short_outage(advice: &str) {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.answer(&held, &connect_ok(&format!(r#","advice":{advice}"#)));
    let (_, mut connect) = world.next_request(Endpoint::Connect);
    for _ in 0..3 {
        world.fail(&connect, ErrorKind::Tcp);
        connect = world.next_request(Endpoint::Connect).1;
    }
    world.answer(
        &connect,
        r#"[{"channel":"/a","data":1},{"channel":"/a","data":2},{"channel":"/meta/connect","id":"$id","successful":true}]"#,
    );
    let (_, next) = world.next_request(Endpoint::Connect);
    assert_eq!(next.client_id(), "c1");
    world.assert_nothing_sent();
    let told = world.events();
    assert_eq!(told[told.len() - 3..], ["/a 1", "/a 2", "-> Connected"]);
}

#[test]
fn a_long_outage_ends_in_a_new_session_with_the_old_subscriptions_137() {
    let (mut world, mut connect) = World::subscribed(&["/a"]);
    let start = world.now;
    while world.now < start + 120_000 {
        world.fail(&connect, ErrorKind::Tcp);
        connect = world.next_request(Endpoint::Connect).1;
    }
    world.answer(&connect, &connect_refused(UNKNOWN));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    assert_eq!(again.client_id(), "c2");
}

#[test]
fn the_backoff_starts_again_after_a_successful_connect() {
    let (mut world, mut connect) = World::connected();
    for _ in 0..5 {
        world.fail(&connect, ErrorKind::Tcp);
        connect = world.next_request(Endpoint::Connect).1;
    }
    world.answer(&connect, &connect_ok(""));
    let connect = world.request(Endpoint::Connect);
    world.fail(&connect, ErrorKind::Tcp);
    assert_within(world.next_request(Endpoint::Connect).0, jittered(1_000));
}

#[test]
fn server_errors_are_tried_again_and_tell_their_status_138() {
    for status in [500, 502, 503, 504, 400, 403, 408] {
        let (mut world, held) = World::connected();
        world.http(&held, status);
        assert_eq!(
            world.events(),
            ["Error connect HttpStatus", "-> Unconnected"]
        );
        assert_eq!(world.last_error().http_status, status);
        let (waited, _) = world.next_request(Endpoint::Connect);
        assert_within(waited, jittered(1_000));
    }
}

#[test]
fn retry_after_is_a_lower_bound_140() {
    for (retry_after, expected) in [
        (Some(20_000), 20_000..=20_000),
        (Some(5), jittered(1_000)),
        (None, jittered(1_000)),
        (Some(u64::MAX), MAXIMUM_INTERVAL..=MAXIMUM_INTERVAL),
    ] {
        let (mut world, held) = World::connected();
        let mut failure = Failure::new(ErrorKind::HttpStatus, "HTTP status 429");
        failure.http_status = 429;
        failure.retry_after = retry_after;
        world.fail_with(&held, &failure);
        assert_within(world.next_request(Endpoint::Connect).0, expected);
    }
    let (mut world, handshake) = World::handshaking(|_| {});
    let mut failure = Failure::new(ErrorKind::HttpStatus, "HTTP status 503");
    failure.retry_after = Some(7_000);
    world.fail_with(&handshake, &failure);
    assert_eq!(world.next_request(Endpoint::Handshake).0, 7_000);
}

#[test]
fn a_connect_that_is_gone_twice_means_a_handshake_141() {
    for status in [404, 410] {
        let (mut world, held) = World::connected();
        world.http(&held, status);
        let (waited, connect) = world.next_request(Endpoint::Connect);
        assert_within(waited, jittered(1_000));
        world.http(&connect, status);
        world.request(Endpoint::Handshake);
    }
}

#[test]
fn a_connect_that_is_gone_now_and_then_is_only_tried_again_141() {
    let (mut world, mut connect) = World::connected();
    for _ in 0..3 {
        world.http(&connect, 404);
        let (_, again) = world.next_request(Endpoint::Connect);
        world.answer(&again, &connect_ok(""));
        connect = world.request(Endpoint::Connect);
    }
}

#[test]
fn what_a_proxy_does_not_find_says_nothing_of_the_session_204() {
    let (mut world, mut connect) = World::connected();
    for status in [404, 410, 404, 407] {
        let failure = Failure::new(ErrorKind::Proxy, "refused").with_status(status);
        world.fail_with(&connect, &failure);
        connect = world.next_request(Endpoint::Connect).1;
    }
}

#[test]
fn http_400_on_a_handshake_is_a_failure_with_backoff_142() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.http(&handshake, 400);
    let (waited, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(waited, 0);
    world.http(&handshake, 400);
    assert_within(world.next_request(Endpoint::Handshake).0, jittered(1_000));
}

#[test]
fn http_413_costs_only_that_publish_142() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.http(&sent, 413);
    assert_eq!(world.events(), ["Error publish HttpStatus 1 /x"]);
    assert_eq!(world.last_error().http_status, 413);
    assert_eq!(world.state(), State::Connected);
    assert!(world.open.contains_key(&held.id));
}

#[test]
fn after_ten_minutes_of_sleep_the_deadline_is_seen_at_once_151() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.now += 600_000;
    world.run_timers();
    assert_eq!(
        world.events(),
        [
            "Error connect Timeout",
            "-> Unconnected",
            "Error publish Timeout 1 /x"
        ]
    );
    assert_eq!(world.cancelled, [held.id, sent.id]);
    assert_within(world.next_request(Endpoint::Connect).0, jittered(1_000));
}

#[test]
fn a_late_timer_sends_what_is_due_151() {
    let (mut world, held) = World::connected();
    world.fail(&held, ErrorKind::Tcp);
    world.now += 600_000;
    world.run_timers();
    world.request(Endpoint::Connect);
}

#[test]
fn an_early_timer_does_nothing() {
    let (mut world, held) = World::connected();
    world.run_timers();
    world.fail(&held, ErrorKind::Tcp);
    let at = world.session.poll_timeout();
    world.run_timers();
    assert_eq!(world.session.poll_timeout(), at);
    world.assert_nothing_sent();
}

#[test]
fn a_page_instead_of_messages_is_a_failure_154() {
    for kind in [ErrorKind::Html, ErrorKind::NotJson, ErrorKind::TooLarge] {
        let (mut world, held) = World::connected();
        world.fail(&held, kind);
        world.events();
        assert_eq!(world.last_error().kind, kind);
        assert!(!world.last_error().fatal);
        world.next_request(Endpoint::Connect);
    }
}

#[test]
fn bad_messages_are_passed_over_and_told_once_157() {
    let (mut world, held) = World::connected();
    let long = "a".repeat(1 << 20);
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":7,"data":1}},{{"channel":"/{long}","data":1}},{{"channel":"/a\u0000","data":1}},{{"data":1}},5,null,
                {{"channel":"/x","data":1}},{{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(world.events(), ["/x 1", "Error connect Protocol"]);
    assert!(world.last_error().message.contains("6 of the response's"));
    assert_eq!(world.state(), State::Connected);
    world.request(Endpoint::Connect);
}

#[test]
fn an_error_of_any_form_is_told_159() {
    for (error, text, code) in [
        (r#""boom""#, "boom", 0),
        ("7", "7", 0),
        (r#"{"a":[1]}"#, r#"{"a":[1]}"#, 0),
        (r#""402:a,b:c""#, "402:a,b:c", 402),
    ] {
        let (mut world, held) = World::connected();
        world.answer(
            &held,
            &connect_refused(&format!(
                r#","error":{error},"advice":{{"reconnect":"retry"}}"#
            )),
        );
        let bayeux = world.last_error().bayeux.as_ref().unwrap();
        assert_eq!((bayeux.text.as_str(), bayeux.code), (text, code));
    }
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_refused(r#","error":null"#));
    assert_eq!(world.last_error().bayeux, None);
}

#[test]
fn replies_that_nobody_awaits_are_ignored_162() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        r#"[{"channel":"/meta/subscribe","id":"999","successful":true,"subscription":"/a"},
            {"channel":"/meta/unsubscribe","id":"x","successful":true},
            {"channel":"/meta/subscribe","successful":true,"subscription":"/a"},
            {"channel":"/meta/handshake","id":"1","successful":false,"advice":{"reconnect":"none"}},
            {"channel":"/meta/connect","id":"2","successful":false,"advice":{"reconnect":"none"}},
            {"channel":"/meta/nonsense","id":"$id","successful":false},
            {"channel":"/x","id":"998","successful":true},
            {"channel":"/meta/connect","id":"$id","successful":true},
            {"channel":"/meta/connect","id":"$id","successful":false}]"#,
    );
    assert_eq!(world.events(), [""; 0]);
    world.request(Endpoint::Connect);
    world.assert_nothing_sent();
}

#[test]
fn a_response_that_comes_twice_or_after_its_end_is_ignored() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok(""));
    let next = world.request(Endpoint::Connect);
    world.answer(&held, &connect_ok(""));
    world.fail(&held, ErrorKind::Tcp);
    world.assert_nothing_sent();
    world.wait(70_000);
    assert_eq!(world.cancelled, [next.id]);
    world.answer(&next, &connect_ok(""));
    assert_eq!(world.state(), State::Unconnected);
}
