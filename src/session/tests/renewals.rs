//! Subscriptions that are made again: what may pass is not final, and the host
//! is told of each try.

use super::*;

/// Connected, with these subscriptions made again in a second session, which is
/// open: the renewal, and the connect beside it.
fn renewing(channels: &[&str]) -> (World, Sent, Sent) {
    let (mut world, held) = World::subscribed(channels);
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

/// What the server says, and the advice.
const PASSING: [(&str, &str); 6] = [
    ("503::Server is too busy", ""),
    ("403::Organization total events daily limit exceeded", ""),
    ("500::oops", r#"{"reconnect":"retry"}"#),
    ("403::denied", r#"{"reconnect":"retry"}"#),
    ("402::session_unknown", r#"{"reconnect":"handshake"}"#),
    ("boom", ""),
];

#[test]
fn case_renewal_refused_is_tried_again_with_backoff_and_each_try_is_told() {
    for (error, advice) in PASSING {
        let (mut world, mut renewal, held) = renewing(&["/a"]);
        for attempt in 1..=5 {
            world.refuse(&renewal, error, advice);
            assert_eq!(
                world.events(),
                ["PutOff subscribe Refused /a"],
                "{error} {attempt}"
            );
            let told = world.last_error().retry_in.unwrap();
            assert_within(told, jittered(1_000 * attempt));
            let (wait, next) = world.next_request(Endpoint::Messages);
            assert_eq!(wait, told, "{error}");
            assert_eq!(next.summary(), ["/meta/subscribe /a"]);
            assert_eq!(next.client_id(), "c2", "the session lives");
            renewal = next;
        }
        world.accept(&renewal);
        assert_eq!(world.events(), ["Renewed 1 /a"]);
        assert!(world.open.contains_key(&held.id));
        world.assert_quiet(40_000);
    }
}

#[test]
fn case_renewal_refused_is_tried_again_in_later_sessions() {
    for (error, advice) in PASSING {
        let (mut world, renewal, held) = renewing(&["/a"]);
        world.refuse(&renewal, error, advice);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c3", ""));
        let again = world.request(Endpoint::Messages);
        assert_eq!(again.summary(), ["/meta/subscribe /a"]);
        assert_eq!(again.client_id(), "c3");
        world.accept(&again);
        assert_eq!(world.events().last().unwrap(), "Renewed 1 /a", "{error}");
    }
}

#[test]
fn case_renewal_refused_for_good_is_told_once() {
    for (error, advice) in [
        ("403::denied", ""),
        ("403::denied", r#"{"reconnect":"handshake"}"#),
        ("404::no such channel", ""),
        ("503::busy", r#"{"reconnect":"none"}"#),
    ] {
        let (mut world, renewal, held) = renewing(&["/a"]);
        world.refuse(&renewal, error, advice);
        assert_eq!(world.events(), ["Error subscribe Refused /a"], "{error}");
        assert_eq!(world.last_error().retry_in, None);
        world.assert_quiet(60_000);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c3", ""));
        world.request(Endpoint::Connect);
        world.assert_nothing_sent();
    }
}

#[test]
fn case_renewal_refused_leaves_an_applications_own_first_subscribe_final() {
    for (error, advice) in PASSING {
        if error.starts_with("402") || advice.contains("retry") {
            continue;
        }
        let (mut world, _) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, error, advice);
        assert_eq!(world.events(), ["Error subscribe Refused 1 /a"], "{error}");
        world.assert_quiet(60_000);
    }
}

#[test]
fn case_renewal_refused_a_first_subscribe_is_tried_again_when_the_advice_says_so() {
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a"]);
    let mut sent = world.request(Endpoint::Messages);
    for _ in 0..3 {
        world.refuse(&sent, "403::later", r#"{"reconnect":"retry"}"#);
        assert_eq!(world.events(), ["PutOff subscribe Refused /a"]);
        sent = world.next_request(Endpoint::Messages).1;
        assert_eq!(sent.summary(), ["/meta/subscribe /a"]);
    }
    world.accept(&sent);
    assert_eq!(world.events(), ["Subscribed 1 /a"]);
}

#[test]
fn case_renewal_refused_a_first_subscribe_that_was_put_off_may_yet_end() {
    let put_off = || {
        let (mut world, held) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, "403::later", r#"{"reconnect":"retry"}"#);
        world.events();
        (world, held)
    };
    // By a refusal for good.
    let (mut world, _) = put_off();
    let (_, again) = world.next_request(Endpoint::Messages);
    world.refuse(&again, "403::never", "");
    assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
    // By the host's own unsubscribe.
    let (mut world, _) = put_off();
    world.unsubscribe(2, &["/a"]);
    assert_eq!(world.events(), ["Error subscribe Aborted 1 /a"]);
    let unsubscribe = world.request(Endpoint::Messages);
    world.accept(&unsubscribe);
    assert_eq!(world.events(), ["Unsubscribed 2 /a"]);
    world.assert_quiet(50_000);
    // By the end of the client.
    let (mut world, _) = put_off();
    world.abort();
    assert_eq!(
        world.events(),
        ["Error subscribe Aborted 1 /a", "-> Closed", "Closed"]
    );
    // Through a lost session it is still one of the host's.
    let (mut world, held) = put_off();
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    world.accept(&again);
    assert_eq!(world.events().last().unwrap(), "Subscribed 1 /a");
}

#[test]
fn a_refusal_with_advice_of_the_session_waits_for_the_next_connect() {
    let undecided = || {
        let (mut world, held) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, "403::Unknown client", r#"{"reconnect":"handshake"}"#);
        assert_eq!(world.events(), [""; 0]);
        assert!(world.open.contains_key(&held.id), "the session goes on");
        (world, held)
    };
    // The session lives: once more, and then it is final.
    let (mut world, held) = undecided();
    world.answer(&held, &connect_ok(""));
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    world.refuse(
        &again,
        "403::Unknown client",
        r#"{"reconnect":"handshake"}"#,
    );
    assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
    // It is lost: in the next one.
    let (mut world, held) = undecided();
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    world.accept(&again);
    assert_eq!(world.events().last().unwrap(), "Subscribed 1 /a");
    // Taken back, it is not made after the unsubscribe that took it back.
    let (mut world, held) = undecided();
    world.unsubscribe(2, &["/a"]);
    let unsubscribe = world.request(Endpoint::Messages);
    world.accept(&unsubscribe);
    world.answer(&held, &connect_ok(""));
    assert_eq!(
        world.events(),
        ["Unsubscribed 2 /a", "Error subscribe Refused 1 /a"]
    );
    world.request(Endpoint::Connect);
    world.assert_nothing_sent();
    // The end ends it as well.
    let (mut world, _) = undecided();
    world.abort();
    assert_eq!(
        world.events(),
        ["Error subscribe Aborted 1 /a", "-> Closed", "Closed"]
    );
}

#[test]
fn case_resubscribed_each_subscription_that_is_back_is_told_with_its_first_id() {
    let (mut world, renewal, _) = renewing(&["/a", "/b", "/a"]);
    world.accept(&renewal);
    assert_eq!(world.events(), ["Renewed 1 /a", "Renewed 2 /b"]);
}

#[test]
fn case_resubscribed_is_told_when_a_subscribe_of_the_hosts_stood_in() {
    let (mut world, renewal, _) = renewing(&["/a"]);
    world.refuse(&renewal, "503::busy", "");
    world.events();
    // It does not wait for the library's next try.
    world.subscribe(7, &["/a"]);
    let own = world.request(Endpoint::Messages);
    world.accept(&own);
    assert_eq!(world.events(), ["Subscribed 7 /a", "Renewed 1 /a"]);
    world.assert_quiet(30_000);
}

#[test]
fn a_subscribe_joins_a_renewal_that_is_planned_and_shares_its_outcome() {
    for (refused, told) in [
        (
            None,
            vec!["Renewed 1 /a", "Subscribed 7 /a", "Subscribed 8 /a"],
        ),
        (
            Some("403::denied"),
            vec![
                "Error subscribe Refused 7 /a",
                "Error subscribe Refused 8 /a",
                "Error subscribe Refused /a",
            ],
        ),
        (
            Some("503::busy"),
            vec![
                "Error subscribe Refused 7 /a",
                "Error subscribe Refused 8 /a",
                "PutOff subscribe Refused /a",
            ],
        ),
    ] {
        let (mut world, held) = World::subscribed(&["/a"]);
        world.answer(&held, &connect_refused(UNKNOWN));
        world.subscribe(7, &["/a"]);
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c2", ""));
        let renewal = world.request(Endpoint::Messages);
        world.subscribe(8, &["/a"]);
        world.events();
        match refused {
            Some(error) => world.refuse(&renewal, error, ""),
            None => world.accept(&renewal),
        }
        assert_eq!(world.events(), told);
    }
}

#[test]
fn an_unsubscribe_ends_what_joined_the_renewal() {
    let (mut world, renewal, _) = renewing(&["/a"]);
    world.subscribe(7, &["/a"]);
    world.unsubscribe(8, &["/a"]);
    assert_eq!(world.events(), ["Error subscribe Aborted 7 /a"]);
    world.accept(&renewal);
    let unsubscribe = world.request(Endpoint::Messages);
    assert_eq!(unsubscribe.summary(), ["/meta/unsubscribe /a"]);
    world.accept(&unsubscribe);
    assert_eq!(world.events(), ["Unsubscribed 8 /a"]);
}

#[test]
fn an_unsubscribe_that_a_lost_session_overtakes_has_done_its_work() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.unsubscribe(5, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.answer(&held, &connect_refused(UNKNOWN));
    world.events();
    world.refuse(&sent, "402::session_unknown", "");
    assert_eq!(world.events(), ["Unsubscribed 5 /a"]);
}

#[test]
fn waits_between_responses_that_cannot_be_used_grow_whatever_comes_between() {
    let (mut world, mut held) = World::connected();
    let mut waits = Vec::new();
    for _ in 0..6 {
        // Each connect that is answered at once is well, each other one not.
        world.fail(&held, ErrorKind::NotJson);
        let (wait, at_once) = world.next_request(Endpoint::Connect);
        waits.push(wait);
        assert!(at_once.at_once());
        world.answer(&at_once, &connect_ok(""));
        held = world.request(Endpoint::Connect);
    }
    assert!(waits.is_sorted() && waits[5] >= 6_000, "{waits:?}");
    world.answer(&held, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    world.fail(&held, ErrorKind::NotJson);
    let (wait, _) = world.next_request(Endpoint::Connect);
    assert_within(wait, jittered(1_000));
}

#[test]
fn responses_that_cannot_be_used_count_as_failures_in_a_row() {
    let (mut world, mut held) = World::connected_with(|it| it.number_of_retries = Some(2));
    for _ in 0..2 {
        world.fail(&held, ErrorKind::TooLarge);
        let (_, at_once) = world.next_request(Endpoint::Connect);
        world.answer(&at_once, &connect_ok(""));
        held = world.request(Endpoint::Connect);
    }
    world.fail(&held, ErrorKind::TooLarge);
    assert_eq!(world.state(), State::Closed);
}

#[test]
fn case_words_one_failure_is_one() {
    for (retries, words) in [(0, "1 failure)"), (1, "2 failures in a row)")] {
        let (mut world, mut handshake) =
            World::handshaking(|it| it.number_of_retries = Some(retries));
        for _ in 0..retries {
            world.fail(&handshake, ErrorKind::Tcp);
            handshake = world.next_request(Endpoint::Handshake).1;
        }
        world.fail(&handshake, ErrorKind::Tcp);
        let message = &world.last_error().message;
        assert!(
            message.ends_with(&format!("(given up after {words}")),
            "{message}"
        );
    }
}
