use super::*;

fn publish(
    world: &mut World,
    id: OperationId,
    attempts: Option<u32>,
    within: impl Into<Option<Millis>>,
) {
    let deadline = within.into().map(|it| world.now + it);
    world.command(Command::PublishWithRetries {
        id,
        channel: "/x".into(),
        data: serde_json::from_str(r#"{ "n":1e400 }"#).unwrap(),
        attempts,
        deadline,
    });
}

fn published(attempts: Option<u32>, within: impl Into<Option<Millis>>) -> (World, Sent, Sent) {
    let (mut world, held) = World::connected();
    publish(&mut world, 1, attempts, within);
    let sent = world.request(Endpoint::Messages);
    (world, held, sent)
}

/// The next attempt and how long it took to come; the connects go on beside it.
fn next(world: &mut World) -> (Millis, Sent) {
    let start = world.now;
    loop {
        let is_connect = |sent: &Sent| sent.endpoint == Endpoint::Connect;
        while world.inbox.front().is_some_and(is_connect) {
            let connect = world.request(Endpoint::Connect);
            world.answer(&connect, &connect_ok(r#","advice":{"interval":5000}"#));
        }
        if !world.inbox.is_empty() {
            let sent = world.request(Endpoint::Messages);
            return (sent.at - start, sent);
        }
        assert!(world.next_timer(), "nothing will ever be sent");
        assert!(world.now < start + 1_000_000_000, "nothing is sent");
    }
}

#[test]
fn the_same_message_is_sent_until_it_is_answered_92() {
    let (mut world, _, first) = published(Some(3), None);
    assert!(first.text.contains(r#""data":{ "n":1e400 }"#));
    world.fail(&first, ErrorKind::ConnectionLost);
    assert!(world.events().is_empty(), "it is not over");
    let (wait, second) = next(&mut world);
    assert!((1_100..=1_200).contains(&wait), "{wait}");
    assert_eq!(first.messages, second.messages, "with the same id");
    world.http(&second, 500);
    let (wait, third) = next(&mut world);
    assert!((2_200..=2_400).contains(&wait), "{wait}");
    assert_eq!(first.messages, third.messages);
    world.accept(&third);
    assert_eq!(world.events(), ["Published 1 /x"]);
    world.assert_quiet(20_000);
}

#[test]
fn after_the_last_attempt_its_failure_is_told_92() {
    let (mut world, _, first) = published(Some(3), None);
    world.fail(&first, ErrorKind::ConnectionLost);
    let (_, second) = next(&mut world);
    world.fail(&second, ErrorKind::ConnectionLost);
    let (_, third) = next(&mut world);
    world.http(&third, 503);
    assert_eq!(world.events(), ["Error publish HttpStatus 1 /x"]);
    let error = world.last_error();
    assert!(error.message.contains("given up after 3 attempts"));
    assert_eq!(error.http_status, 503);
    world.assert_quiet(20_000);
}

#[test]
fn no_attempt_is_made_after_the_deadline_92() {
    let (mut world, _, first) = published(None, 2_000);
    world.fail(&first, ErrorKind::ConnectionLost);
    let (_, second) = next(&mut world);
    world.fail(&second, ErrorKind::ConnectionLost);
    world.wait(2_000);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
    let message = &world.last_error().message;
    assert!(message.contains("sent 2 times, at last"), "{message}");
    world.assert_quiet(20_000);
}

#[test]
fn the_deadline_also_ends_what_is_under_way_or_was_never_sent() {
    let (mut world, _, sent) = published(None, 500);
    world.wait(500);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
    world.accept(&sent);
    assert!(world.events().is_empty(), "too late");

    let mut world = World::new();
    publish(&mut world, 1, None, 500);
    world.connect();
    world.wait(500);
    let timeout = "Error publish Timeout 1 /x".to_owned();
    assert!(world.events().contains(&timeout));
    assert!(world.last_error().message.contains("it was not sent"));
}

#[test]
fn silence_is_a_failed_attempt_and_a_late_reply_to_it_still_counts() {
    let (mut world, held, first) = published(None, None);
    let id = first.field("id").unwrap().to_owned();
    world.answer(&first, "[]");
    world.wait(10_000);
    assert!(world.events().is_empty());
    // It rides on another response, while the next attempt is waited for.
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/x","id":"{id}","successful":true}},
                {{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(world.events(), ["Published 1 /x"]);
    let (_, connect) = world.next_request(Endpoint::Connect);
    drop(connect);
    world.wait(9_000);
    world.assert_nothing_sent();
}

#[test]
fn a_lost_session_is_waited_out_and_the_next_one_gets_it() {
    let (mut world, held, first) = published(None, None);
    world.refuse(
        &first,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    world.refuse(
        &held,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    let handshake = world.request(Endpoint::Handshake);
    world.wait(5_000);
    world.assert_nothing_sent();
    world.answer(&handshake, &handshake_ok("c2", ""));
    let second = world.request(Endpoint::Messages);
    assert_eq!(second.client_id(), "c2");
    assert_eq!(second.field("id"), first.field("id"));
    world.events();
    world.accept(&second);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn what_will_not_get_better_is_final() {
    for (error, advice) in [
        ("403:/x:publish_denied", ""),
        ("400::no", ""),
        ("503::busy", r#"{"reconnect":"none"}"#),
    ] {
        let (mut world, _, sent) = published(None, None);
        world.refuse(&sent, error, advice);
        assert_eq!(world.events(), ["Error publish Refused 1 /x"], "{error}");
        world.assert_quiet(20_000);
    }
    let (mut world, _, sent) = published(None, None);
    world.http(&sent, 413);
    assert_eq!(world.events(), ["Error publish HttpStatus 1 /x"]);
    world.assert_quiet(20_000);
}

#[test]
fn what_an_extension_drops_is_not_sent_again_104() {
    let (mut world, _) = World::connected_with(|it| it.holds_requests = true);
    publish(&mut world, 1, None, None);
    let sent = world.request(Endpoint::Messages);
    let id = sent.field("id").unwrap().parse().unwrap();
    world.session.handle_dropped(world.now, sent.id, &[id]);
    world.open.remove(&sent.id);
    world.collect();
    assert_eq!(world.events(), ["Error publish MessageDeleted 1 /x"]);
    world.wait(9_000);
    world.assert_nothing_sent();
    assert_eq!(world.session.commands.retries.counts(), [0, 0]);
}

#[test]
fn a_server_in_trouble_is_asked_again_no_earlier_than_it_says() {
    let (mut world, _, first) = published(None, None);
    world.refuse(&first, "503::busy", "");
    let (wait, second) = next(&mut world);
    assert!((1_100..=1_200).contains(&wait), "{wait}");
    let mut failure = Failure::new(ErrorKind::HttpStatus, "busy").with_status(503);
    failure.retry_after = Some(7_000);
    world.fail_with(&second, &failure);
    let (wait, third) = next(&mut world);
    assert_eq!(wait, 7_000);
    world.refuse(&third, "500::x", r#"{"reconnect":"retry"}"#);
    let (_, fourth) = next(&mut world);
    world.accept(&fourth);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn a_retried_publish_does_not_hold_up_others() {
    let (mut world, _, first) = published(None, None);
    world.fail(&first, ErrorKind::ConnectionLost);
    world.publish(2, "/y", "2");
    let other = world.request(Endpoint::Messages);
    assert_eq!(other.summary(), ["/y"]);
    // It keeps its place in time, though its id is the lower one.
    let (_, second) = {
        world.accept(&other);
        next(&mut world)
    };
    world.publish(3, "/z", "3");
    world.assert_nothing_sent();
    world.fail(&second, ErrorKind::ConnectionLost);
    let third = world.request(Endpoint::Messages);
    assert_eq!(third.summary(), ["/z"]);
}

#[test]
fn a_disconnect_makes_one_last_attempt_115() {
    let (mut world, _, first) = published(None, None);
    world.fail(&first, ErrorKind::ConnectionLost);
    world.disconnect(5_000);
    let last = world.request(Endpoint::Messages);
    assert_eq!(last.messages, first.messages);
    world.fail(&last, ErrorKind::ConnectionLost);
    let told = world.events();
    assert!(
        told.contains(&"Error publish ConnectionLost 1 /x".to_owned()),
        "{told:?}"
    );
    world.request(Endpoint::Disconnect);
}

#[test]
fn an_abort_ends_what_waits() {
    let (mut world, _, first) = published(None, 60_000);
    world.fail(&first, ErrorKind::ConnectionLost);
    world.abort();
    assert!(world
        .events()
        .contains(&"Error publish Aborted 1 /x".to_owned()));
}

#[test]
fn nothing_is_kept_of_those_that_ended() {
    let (mut world, _) = World::connected();
    for id in 1..200 {
        publish(&mut world, id, Some(2), 3_000);
        let (_, sent) = next(&mut world);
        match id % 4 {
            0 => world.accept(&sent),
            1 => world.refuse(&sent, "403::no", ""),
            2 => {
                world.fail(&sent, ErrorKind::Tcp);
                let (_, again) = next(&mut world);
                world.fail(&again, ErrorKind::Tcp);
            }
            _ => {
                world.answer(&sent, "[]");
                world.wait(3_000);
            }
        }
    }
    assert_eq!(world.session.commands.retries.counts(), [0, 0]);
    assert_eq!(world.session.commands.counts(), [0, 0, 0]);
}

#[test]
fn a_server_cannot_put_an_attempt_off_for_ever() {
    let (mut world, _, first) = published(None, None);
    let mut failure = Failure::new(ErrorKind::HttpStatus, "busy").with_status(503);
    failure.retry_after = Some(u64::MAX);
    world.fail_with(&first, &failure);
    let (wait, second) = next(&mut world);
    assert_eq!(wait, MAXIMUM_INTERVAL);
    world.accept(&second);
    assert_eq!(world.events().last().unwrap(), "Published 1 /x");
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn replies_to_nothing_cost_no_search_through_all_that_waits() {
    assert_proportional(|scale| {
        let (mut world, held) = World::connected();
        for id in 1..=1_000 * scale {
            publish(&mut world, id, None, None);
        }
        let reply = r#"{"channel":"/x","id":"999999","successful":true},"#;
        let replies = reply.repeat(10_000 * scale as usize);
        let response = format!("[{replies}{}", &connect_ok("")[1..]);
        time_of(|| world.answer(&held, &response))
    });
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn deadlines_that_pass_together_cost_no_search_for_each() {
    assert_proportional(|scale| {
        let (mut world, _) = World::connected();
        world.room(false);
        let (half, all) = (2_000 * scale, 4_000 * scale);
        for id in 1..=half {
            world.publish(id, "/y", "1");
        }
        for id in half + 1..=all {
            publish(&mut world, id, None, 5_000 + all - id);
        }
        world.now += 100_000;
        let cost = time_of(|| world.run_timers());
        assert_eq!(world.session.commands.retries.counts(), [0, 0]);
        let told = world.events();
        let place = |id| {
            let end = format!("Error publish Timeout {id} /x");
            told.iter().position(|it| *it == end).unwrap()
        };
        assert!(
            place(all) < place(half + 1),
            "in the order of their deadlines"
        );
        cost
    });
}

/// What the server does not take because of one of them is not what the others
/// end by.
#[test]
fn one_that_the_server_chokes_on_takes_no_others_with_it_again() {
    let (mut world, _) = World::connected();
    world.publish(1, "/first", "1");
    let first = world.request(Endpoint::Messages);
    publish(&mut world, 2, None, None);
    publish(&mut world, 3, None, None);
    world.accept(&first);
    let both = world.request(Endpoint::Messages);
    assert_eq!(both.messages.len(), 2);
    world.http(&both, 413);
    let (_, alone) = next(&mut world);
    assert_eq!(alone.messages, both.messages[..1]);
    world.publish(4, "/y", "1");
    world.http(&alone, 413);
    let (_, other) = next(&mut world);
    world.accept(&other);
}
