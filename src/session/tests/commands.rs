use super::*;

/// Loses the session by a connect that is answered 402, and handshakes again.
/// What is sent next belongs to the new session.
fn lose_session(world: &mut World, held: &Sent) {
    lose_session_for(world, held, "c2");
}

fn lose_session_for(world: &mut World, held: &Sent, client_id: &str) {
    world.answer(held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok(client_id, ""));
}

#[test]
fn subscribe_on_the_wire_64() {
    let (mut world, _) = World::connected();
    world.subscribe(7, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    assert_eq!(
        sent.text,
        r#"[{"channel":"/meta/subscribe","id":"4","clientId":"c1","subscription":"/a"}]"#
    );
    world.accept(&sent);
    assert_eq!(world.events(), ["Subscribed 7 /a"]);
}

#[test]
fn several_channels_are_one_request_with_one_message_each() {
    let (mut world, _) = World::connected();
    world.subscribe(7, &["/a", "/b/*", "/**"]);
    let sent = world.request(Endpoint::Messages);
    assert_eq!(
        sent.summary(),
        [
            "/meta/subscribe /a",
            "/meta/subscribe /b/*",
            "/meta/subscribe /**"
        ]
    );
    world.accept(&sent);
    assert_eq!(
        world.events(),
        ["Subscribed 7 /a", "Subscribed 7 /b/*", "Subscribed 7 /**"]
    );
}

#[test]
fn a_subscribe_reply_is_matched_by_id_whatever_its_subscription_65_161() {
    for subscription in [
        r#","subscription":["/a"]"#,
        "",
        r#","subscription":7"#,
        r#","subscription":"/other""#,
    ] {
        let (mut world, _) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.answer(
            &sent,
            &format!(
                r#"[{{"channel":"/meta/subscribe","id":"$id","successful":true{subscription}}}]"#
            ),
        );
        assert_eq!(world.events(), ["Subscribed 1 /a"], "{subscription}");
    }
}

#[test]
fn replies_without_id_are_matched_by_subscription_65() {
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a", "/b"]);
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        r#"[{"channel":"/meta/subscribe","successful":true,"subscription":["/b"]},
            {"channel":"/meta/subscribe","successful":false,"subscription":"/a"}]"#,
    );
    assert_eq!(
        world.events(),
        ["Subscribed 1 /b", "Error subscribe Refused 1 /a"]
    );
}

#[test]
fn a_denied_channel_costs_only_itself_68() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a", "/b"]);
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        r#"[{"channel":"/meta/subscribe","id":"$0","successful":true,"subscription":"/a"},
            {"channel":"/meta/subscribe","id":"$1","successful":false,"subscription":"/b","error":"403:no:subscribe_denied"}]"#,
    );
    assert_eq!(
        world.events(),
        ["Subscribed 1 /a", "Error subscribe Refused 1 /b"]
    );
    assert_eq!(
        world.last_error().message,
        "subscribe: the server refused: 403:no:subscribe_denied (channel /b)"
    );
    lose_session(&mut world, &held);
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /a"]
    );
}

#[test]
fn after_a_rehandshake_each_channel_is_subscribed_once_before_the_connect_73() {
    let (mut world, held) = World::subscribed(&["/a", "/b", "/a"]);
    lose_session(&mut world, &held);
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.client_id(), "c2");
    assert_eq!(
        again.summary(),
        ["/meta/subscribe /a", "/meta/subscribe /b"]
    );
    let connect = world.request(Endpoint::Connect);
    world.accept(&again);
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
    world.assert_nothing_sent();
    assert_eq!(
        world.events(),
        [
            "Error connect Refused",
            "-> Rehandshaking",
            "-> Connecting",
            "Renewed 1 /a",
            "Renewed 2 /b",
            "-> Connected"
        ]
    );
}

#[test]
fn a_denied_renewal_is_told_with_its_channel_75() {
    let (mut world, held) = World::subscribed(&["/a", "/b", "/c"]);
    lose_session(&mut world, &held);
    let again = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.events();
    world.answer(
        &again,
        r#"[{"channel":"/meta/subscribe","id":"$0","successful":true},
            {"channel":"/meta/subscribe","id":"$1","successful":false,"error":"403::denied"},
            {"channel":"/meta/subscribe","id":"$2","successful":true}]"#,
    );
    assert_eq!(
        world.events(),
        ["Renewed 1 /a", "Error subscribe Refused /b", "Renewed 3 /c"]
    );
    lose_session(&mut world, &connect);
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /a", "/meta/subscribe /c"]
    );
}

#[test]
fn renewals_that_fail_on_the_way_are_made_again_later_each_in_a_request_of_its_own() {
    let (mut world, held) = World::subscribed(&["/a", "/b"]);
    lose_session(&mut world, &held);
    let again = world.request(Endpoint::Messages);
    assert_eq!(
        again.summary(),
        ["/meta/subscribe /a", "/meta/subscribe /b"]
    );
    let connect = world.request(Endpoint::Connect);
    world.fail(&again, ErrorKind::ConnectionLost);
    let waits: Vec<_> = world.errors.iter().rev().map(|it| it.retry_in).collect();
    let wait = waits[0].unwrap();
    assert_eq!(waits[1], Some(wait));
    assert!((1_100..=1_200).contains(&wait));
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
    world.wait(wait - 1);
    world.assert_nothing_sent();
    world.wait(1);
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    world.accept(&again);
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /b"]);
    world.accept(&again);
    world.assert_nothing_sent();
}

#[test]
fn renewals_that_go_on_failing_are_no_storm() {
    let (mut world, held) = World::subscribed(&["/a"]);
    lose_session(&mut world, &held);
    let mut renewal = world.request(Endpoint::Messages);
    let mut connect = world.request(Endpoint::Connect);
    let mut renewals = 0;
    // A busy connect loop beside it.
    for _ in 0..6_000 {
        world.answer(
            &connect,
            r#"[{"channel":"/x","data":1},{"channel":"/meta/connect","id":"$id","successful":true}]"#,
        );
        if world.open.contains_key(&renewal.id) {
            renewals += 1;
            world.http(&renewal.clone(), 500);
        }
        world.wait(10);
        while let Some(sent) = world.inbox.pop_front() {
            match sent.endpoint {
                Endpoint::Messages => renewal = sent,
                _ => connect = sent,
            }
        }
    }
    assert!((8..=12).contains(&renewals), "{renewals} in a minute");
}

#[test]
fn a_subscribe_that_stood_in_for_a_renewal_and_failed_is_followed_by_one() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.answer(&held, &connect_refused(UNKNOWN));
    world.subscribe(9, &["/a"]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let sent = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.events();
    world.fail(&sent, ErrorKind::ConnectionLost);
    let told = world.events();
    assert_eq!(told[0], "Error subscribe ConnectionLost 9 /a");
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
}

#[test]
fn a_late_failure_of_the_old_session_does_not_double_a_renewal_73() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.subscribe(9, &["/a"]);
    world.request(Endpoint::Messages);
    world.wait(9_000);
    lose_session(&mut world, &held);
    world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.wait(1_000);
    assert_eq!(
        world.events().last().unwrap(),
        "Error subscribe Timeout 9 /a"
    );
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
    world.assert_nothing_sent();
}

#[test]
fn commands_before_the_session_are_held_and_sent_in_order_76() {
    let mut world = World::new();
    world.subscribe(1, &["/a"]);
    world.publish(2, "/x", "2");
    world.assert_nothing_sent();
    world.connect();
    world.unsubscribe(3, &["/a"]);
    let handshake = world.request(Endpoint::Handshake);
    world.assert_nothing_sent();
    world.answer(&handshake, &handshake_ok("c1", ""));
    let sent = world.request(Endpoint::Messages);
    assert_eq!(
        sent.summary(),
        ["/meta/subscribe /a", "/x", "/meta/unsubscribe /a"]
    );
    assert_eq!(sent.client_id(), "c1");
    world.request(Endpoint::Connect);
}

#[test]
fn a_subscribe_while_rehandshaking_is_sent_once_with_the_new_client_id_76() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.answer(&held, &connect_refused(UNKNOWN));
    world.subscribe(9, &["/a", "/b"]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.assert_nothing_sent();
    world.answer(&handshake, &handshake_ok("c2", ""));
    let sent = world.request(Endpoint::Messages);
    assert_eq!(sent.client_id(), "c2");
    assert_eq!(sent.summary(), ["/meta/subscribe /a", "/meta/subscribe /b"]);
    world.events();
    world.accept(&sent);
    assert_eq!(
        world.events(),
        ["Renewed 1 /a", "Subscribed 9 /a", "Subscribed 9 /b"]
    );
}

#[test]
fn none_on_a_subscribe_ends_only_the_subscribe_78() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "403::denied", r#"{"reconnect":"none"}"#);
    assert_eq!(world.events(), ["Error subscribe Refused 1 /a"]);
    assert!(!world.last_error().fatal);
    world.answer(&held, &connect_ok(""));
    world.request(Endpoint::Connect);
}

#[test]
fn a_subscribe_that_met_a_lost_session_is_made_once_more_in_the_next() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a", "/b"]);
    world.publish(2, "/x", "2");
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "402::session_unknown", "");
    assert_eq!(world.cancelled, [held.id]);
    assert_eq!(world.events(), ["-> Rehandshaking"]);
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let sent = world.request(Endpoint::Messages);
    assert_eq!(
        sent.summary(),
        ["/meta/subscribe /a", "/meta/subscribe /b", "/x"],
        "in the order of the calls"
    );
    world.refuse(&sent, "402::session_unknown", "");
    let told = world.events();
    assert_eq!(
        told,
        [
            "-> Connecting",
            "Error subscribe Refused 1 /a",
            "Error subscribe Refused 1 /b",
            "Error publish Refused 2 /x",
            "-> Rehandshaking"
        ]
    );
}

#[test]
fn a_late_refusal_of_the_old_session_does_not_cost_the_new_one_63() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    lose_session(&mut world, &held);
    world.request(Endpoint::Connect);
    world.refuse(
        &sent,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    assert_eq!(world.state(), State::Connecting);
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.client_id(), "c2");
    world.accept(&again);
    assert_eq!(world.events().last().unwrap(), "Subscribed 1 /a");
    world.assert_nothing_sent();
}

#[test]
fn a_late_success_of_the_old_session_is_made_again_in_the_new_one_73() {
    for late in [false, true] {
        let (mut world, held) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        if !late {
            world.accept(&sent);
        }
        world.answer(&handshake, &handshake_ok("c2", ""));
        if late {
            world.accept(&sent);
            let connect = world.request(Endpoint::Connect);
            world.answer(&connect, &connect_ok(""));
        }
        let again = world.request(Endpoint::Messages);
        assert_eq!(again.summary(), ["/meta/subscribe /a"]);
        assert_eq!(again.client_id(), "c2");
        assert!(world.events().contains(&"Subscribed 1 /a".to_owned()));
    }
}

#[test]
fn a_late_renewal_of_the_old_session_counts_for_nothing_73() {
    let (mut world, held) = World::subscribed(&["/a"]);
    lose_session(&mut world, &held);
    let renewal = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.accept(&renewal);
    world.answer(&handshake, &handshake_ok("c3", ""));
    let again = world.request(Endpoint::Messages);
    assert_eq!(again.client_id(), "c3");
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
}

#[test]
fn an_unsubscribe_that_fails_is_told_and_the_subscription_is_gone_80() {
    for refused in [true, false] {
        let (mut world, held) = World::subscribed(&["/a"]);
        world.unsubscribe(5, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        assert_eq!(
            sent.text,
            r#"[{"channel":"/meta/unsubscribe","id":"5","clientId":"c1","subscription":"/a"}]"#
        );
        if refused {
            world.refuse(&sent, "400::no", "");
            assert_eq!(world.events(), ["Error unsubscribe Refused 5 /a"]);
        } else {
            world.fail(&sent, ErrorKind::ConnectionLost);
            assert_eq!(world.events(), ["Error unsubscribe ConnectionLost 5 /a"]);
        }
        lose_session(&mut world, &held);
        world.request(Endpoint::Connect);
        world.assert_nothing_sent();
    }
}

#[test]
fn a_subscribe_that_was_revoked_on_the_way_is_not_renewed_80() {
    for accepted in [true, false] {
        let (mut world, held) = World::connected();
        world.subscribe(1, &["/a"]);
        let subscribe = world.request(Endpoint::Messages);
        world.unsubscribe(2, &["/a"]);
        world.accept(&subscribe);
        let unsubscribe = world.request(Endpoint::Messages);
        match accepted {
            true => world.accept(&unsubscribe),
            false => world.fail(&unsubscribe, ErrorKind::ConnectionLost),
        }
        lose_session(&mut world, &held);
        world.request(Endpoint::Connect);
        world.assert_nothing_sent();
    }
}

#[test]
fn unsubscribe_and_subscribe_in_one_request_leave_it_subscribed_in_any_order_of_replies() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.publish(5, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.unsubscribe(6, &["/a"]);
    world.subscribe(7, &["/a"]);
    world.accept(&publish);
    let both = world.request(Endpoint::Messages);
    assert_eq!(
        both.summary(),
        ["/meta/unsubscribe /a", "/meta/subscribe /a"]
    );
    world.answer(
        &both,
        r#"[{"channel":"/meta/subscribe","id":"$1","successful":true},{"channel":"/meta/unsubscribe","id":"$0","successful":true}]"#,
    );
    lose_session(&mut world, &held);
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /a"]
    );
}

#[test]
fn a_revoked_subscribe_is_not_made_once_more_in_the_next_session_80() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.subscribe(2, &["/a"]);
    world.unsubscribe(3, &["/a"]);
    world.accept(&publish);
    let both = world.request(Endpoint::Messages);
    world.refuse(&both, "402::session_unknown", "");
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    world.request(Endpoint::Connect);
    world.assert_nothing_sent();
    assert_eq!(
        world.events(),
        [
            "Published 1 /x",
            "Error subscribe Refused 2 /a",
            "Error unsubscribe Refused 3 /a",
            "-> Rehandshaking",
            "-> Connecting"
        ]
    );
}

#[test]
fn an_unsubscribe_while_rehandshaking_stops_the_renewal() {
    let (mut world, held) = World::subscribed(&["/a", "/b"]);
    world.answer(&held, &connect_refused(UNKNOWN));
    world.unsubscribe(5, &["/a"]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    // The new session's server was never asked for it.
    let sent = world.request(Endpoint::Messages);
    assert_eq!(sent.summary(), ["/meta/subscribe /b"]);
    assert_eq!(world.events().last().unwrap(), "Unsubscribed 5 /a");
}

#[test]
fn published_data_is_verbatim_81() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", r#"{ "é":[1e400, 9007199254740993 ,"\u00e9/\/"] }"#);
    assert_eq!(
        world.request(Endpoint::Messages).text,
        r#"[{"channel":"/x","id":"4","clientId":"c1","data":{ "é":[1e400, 9007199254740993 ,"\u00e9/\/"] }}]"#
    );
}

#[test]
fn a_publish_is_ended_by_its_reply_and_by_nothing_else_82() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    let id = sent.field("id").unwrap();
    // Another client's event with the same id, a reply on another channel, a
    // reply that says nothing of success.
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/x","id":"{id}","data":7}},{{"channel":"/y","id":"{id}","successful":true}},
                {{"channel":"/x","id":"{id}"}},{{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(world.events(), ["/x 7"]);
    let reply = r#"{"channel":"/x","id":"$id","successful":true}"#;
    world.answer(&sent, &format!("[{reply},{reply}]"));
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn a_denied_publish_tells_the_servers_words_and_costs_nothing_else_85() {
    let (mut world, held) = World::subscribed(&["/x"]);
    world.publish(5, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "403:not_you:publish_denied", "");
    assert_eq!(world.events(), ["Error publish Refused 5 /x"]);
    let bayeux = world.last_error().bayeux.as_ref().unwrap();
    assert_eq!(
        (bayeux.code, bayeux.text.as_str()),
        (403, "403:not_you:publish_denied")
    );
    lose_session(&mut world, &held);
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /x"]
    );
}

#[test]
fn a_publish_while_unconnected_is_sent_now_86() {
    let (mut world, held) = World::connected();
    world.fail(&held, ErrorKind::Tcp);
    assert_eq!(world.state(), State::Unconnected);
    world.events();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.fail(&sent, ErrorKind::Tcp);
    assert_eq!(world.events(), ["Error publish Tcp 1 /x"]);
    assert_eq!(world.last_error().retry_in, None);
}

#[test]
fn a_publish_while_disconnecting_fails_at_once_87() {
    let (mut world, _) = World::connected();
    world.disconnect(1_000);
    world.events();
    world.publish(1, "/x", "1");
    world.subscribe(2, &["/a", "/b"]);
    assert_eq!(
        world.events(),
        [
            "Error publish Aborted 1 /x",
            "Error subscribe Aborted 2 /a",
            "Error subscribe Aborted 2 /b"
        ]
    );
}

#[test]
fn a_hundred_publishes_arrive_in_order_90() {
    let (mut world, _) = World::connected();
    for id in 1..=100 {
        world.publish(id, "/x", &id.to_string());
    }
    let mut data = Vec::new();
    for _ in 0..2 {
        let sent = world.request(Endpoint::Messages);
        world.assert_nothing_sent();
        data.extend(sent.messages.iter().map(|it| it["data"].as_u64().unwrap()));
        world.wait(20);
        world.accept(&sent);
    }
    assert_eq!(data, (1..=100).collect::<Vec<_>>());
    let expected: Vec<_> = (1..=100).map(|id| format!("Published {id} /x")).collect();
    assert_eq!(world.events(), expected);
}

#[test]
fn a_lost_publish_fails_once_and_is_not_sent_again_91() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.fail(&sent, ErrorKind::ConnectionLost);
    assert_eq!(world.events(), ["Error publish ConnectionLost 1 /x"]);
    world.assert_quiet(60_000);
}

#[test]
fn what_was_not_answered_fails_at_its_deadline_103() {
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a", "/b", "/c"]);
    let sent = world.request(Endpoint::Messages);
    world.wait(4_000);
    world.answer(
        &sent,
        r#"[{"channel":"/meta/subscribe","id":"$0","successful":true},{"channel":"/meta/subscribe","id":"$2","successful":true}]"#,
    );
    assert_eq!(world.events(), ["Subscribed 1 /a", "Subscribed 1 /c"]);
    world.wait(5_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error subscribe Timeout 1 /b"]);
}

#[test]
fn a_reply_may_come_in_another_response_103() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.answer(&sent, "[]");
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(r#"[{{"channel":"/x","id":"{id}","successful":true}},{{"channel":"/meta/connect","id":"$id","successful":true}}]"#),
    );
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn ten_thousand_subscriptions_come_back_in_requests_of_bounded_size_169() {
    let (mut world, held) = World::connected();
    let names: Vec<String> = (0..10_000).map(|it| format!("/channel/{it:05}")).collect();
    let channels: Vec<&str> = names.iter().map(String::as_str).collect();
    world.subscribe(1, &channels);
    let mut subscribed = 0;
    while subscribed < names.len() {
        let sent = world.request(Endpoint::Messages);
        assert!(sent.text.len() <= 32_768, "{}", sent.text.len());
        subscribed += sent.messages.len();
        world.accept(&sent);
    }
    lose_session(&mut world, &held);
    let mut again = Vec::new();
    let mut sent = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    loop {
        assert!(sent.text.len() <= 32_768);
        again.extend(sent.summary());
        world.accept(&sent);
        match again.len() < names.len() {
            true => sent = world.request(Endpoint::Messages),
            false => break,
        }
    }
    again.sort();
    again.dedup();
    assert_eq!(again.len(), names.len());
    world.assert_nothing_sent();
    assert!(world.open.contains_key(&connect.id));
}

#[test]
fn renewals_that_were_still_waiting_are_not_made_twice_73() {
    let names: Vec<String> = (0..400).map(|it| format!("/{it:0>100}")).collect();
    let channels: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut world, held) = World::subscribed(&channels);
    lose_session(&mut world, &held);
    let some = world.request(Endpoint::Messages);
    assert!(some.messages.len() < names.len());
    let connect = world.request(Endpoint::Connect);
    lose_session_for(&mut world, &connect, "c3");
    let mut again = 0;
    while again < names.len() {
        let sent = world.inbox.pop_front().expect("more renewals");
        if sent.endpoint == Endpoint::Messages {
            again += sent.messages.len();
            world.accept(&sent);
        }
    }
    assert_eq!(again, names.len());
    world.assert_nothing_sent();
}

#[test]
fn a_large_message_goes_alone() {
    let (mut world, _) = World::connected();
    world.publish(1, "/first", "1");
    let first = world.request(Endpoint::Messages);
    world.publish(2, "/small", "1");
    world.publish(3, "/large", &format!("\"{}\"", "x".repeat(100_000)));
    world.publish(4, "/small", "1");
    world.accept(&first);
    for expected in ["/small", "/large", "/small"] {
        let sent = world.request(Endpoint::Messages);
        assert_eq!(sent.summary(), [expected]);
        world.accept(&sent);
    }
}

#[test]
fn the_clients_own_id_in_an_event_changes_nothing_94() {
    let (mut world, held) = World::connected();
    world.answer(
        &held,
        r#"[{"channel":"/x","data":1,"clientId":"other"},{"channel":"/meta/connect","id":"$id","successful":true}]"#,
    );
    assert_eq!(world.events(), ["/x 1"]);
    assert_eq!(world.request(Endpoint::Connect).client_id(), "c1");
}

#[test]
fn a_batch_is_one_request_however_large_99() {
    let (mut world, _) = World::connected();
    let data = format!("\"{}\"", "x".repeat(20_000));
    let publish = |id: OperationId, channel: &str| Command::Publish {
        id,
        channel: channel.into(),
        data: serde_json::from_str(&data).unwrap(),
    };
    world.command(Command::Batch(vec![
        Command::Subscribe {
            id: 1,
            channels: vec!["/a".into()],
        },
        publish(2, "/b"),
        publish(3, "/c"),
    ]));
    let sent = world.request(Endpoint::Messages);
    assert_eq!(sent.summary(), ["/meta/subscribe /a", "/b", "/c"]);
    world.accept(&sent);
    assert_eq!(
        world.events(),
        ["Subscribed 1 /a", "Published 2 /b", "Published 3 /c"]
    );
    world.assert_nothing_sent();
}

#[test]
fn a_batch_before_the_handshake_is_held_99() {
    let (mut world, handshake) = World::handshaking(|_| {});
    world.command(Command::Batch(vec![
        Command::Subscribe {
            id: 1,
            channels: vec!["/a".into()],
        },
        Command::Unsubscribe {
            id: 2,
            channels: vec!["/a".into()],
        },
    ]));
    world.assert_nothing_sent();
    world.answer(&handshake, &handshake_ok("c1", ""));
    let sent = world.request(Endpoint::Messages);
    assert_eq!(
        sent.summary(),
        ["/meta/subscribe /a", "/meta/unsubscribe /a"]
    );
}

#[test]
fn a_connect_travels_alone_whatever_waits_beside_it_106() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let batch = |id: OperationId| {
        let channels = vec!["/a".to_owned(), "/b".to_owned()];
        Command::Batch(vec![Command::Subscribe { id, channels }])
    };
    world.command(batch(1));
    world.publish(2, "/x", "1");
    world.answer(&handshake, &handshake_ok("c1", ""));
    let sent = world.request(Endpoint::Messages);
    assert_eq!(
        sent.summary(),
        ["/meta/subscribe /a", "/meta/subscribe /b", "/x"]
    );
    let first = world.request(Endpoint::Connect);
    assert!(first.at_once());
    assert_eq!(first.summary(), [meta::CONNECT]);
    world.accept(&sent);
    // While the server says when the next connect is due.
    world.answer(&first, &connect_ok(r#","advice":{"interval":1000}"#));
    world.command(batch(3));
    world.publish(4, "/x", "1");
    world.wait(1_000);
    // One request of commands at a time; the connect waits for none of them.
    let sent = world.request(Endpoint::Messages);
    assert_eq!(sent.summary(), ["/meta/subscribe /a", "/meta/subscribe /b"]);
    let second = world.request(Endpoint::Connect);
    assert!(!second.at_once());
    assert_eq!(second.summary(), [meta::CONNECT]);
}

#[test]
fn no_request_of_several_messages_is_larger_than_the_server_takes_it() {
    let capacity = 2_000;
    for format in [None, Some(Timestamp::Http), Some(Timestamp::Iso)] {
        for length in 1..300 {
            let (mut world, _) = World::connected_with(|it| {
                it.request_capacity = Some(capacity);
                it.timestamp = format;
                it.timesync = true;
                it.calendar = 1_700_000_000_000;
                it.replay = Some(ReplayPolicy {
                    start: i64::MAX,
                    fallback: None,
                });
            });
            let channels = (0..30).map(|it| format!("/{}{it}", "c".repeat(length)));
            world.command(Command::Batch(vec![Command::Subscribe {
                id: 1,
                channels: channels.collect(),
            }]));
            let sent = world.request(Endpoint::Messages);
            assert!(sent.messages.len() > 1);
            let size = sent.text.len();
            assert!(size <= capacity, "{size} bytes, channels of {length}");
        }
    }
}

#[test]
fn one_renewal_that_the_server_chokes_on_stays_apart_from_all_else() {
    let (mut world, held) = World::subscribed(&["/a", "/bad", "/c"]);
    world.answer(&held, &connect_refused(UNKNOWN));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let mut chokes = 0;
    let end = world.now + 60_000;
    while world.now < end {
        let Some(sent) = world.inbox.pop_front() else {
            world.publish(world.now, "/x", "1");
            continue;
        };
        if sent.endpoint == Endpoint::Connect {
            world.answer(&sent, &connect_ok(r#","advice":{"interval":100}"#));
        } else if sent.text.contains("/bad") {
            chokes += 1;
            assert!(chokes == 1 || sent.messages.len() == 1, "{}", sent.text);
            world.http(&sent, 500);
        } else {
            // The host is busy: there is always something that waits.
            world.publish(world.now, "/x", "1");
            world.wait(300);
            world.accept(&sent);
        }
    }
    assert!((4..=12).contains(&chokes), "{chokes} in a minute");
}

#[test]
fn a_server_cannot_put_a_renewal_off_for_ever() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.answer(&held, &connect_refused(UNKNOWN));
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let renewal = world.request(Endpoint::Messages);
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(r#","advice":{"timeout":3600000}"#));
    let mut failure = Failure::new(ErrorKind::HttpStatus, "busy").with_status(503);
    failure.retry_after = Some(u64::MAX);
    world.fail_with(&renewal, &failure);
    assert_eq!(world.last_error().retry_in, Some(MAXIMUM_INTERVAL));
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn replies_without_an_id_cost_no_search_through_all_that_is_pending() {
    assert_proportional(|scale| {
        let (mut world, held) = World::connected();
        for id in 1..=5 * scale {
            let publishes = (1..=200).map(|number| Command::Publish {
                id: id * 1_000 + number,
                channel: "/x".into(),
                data: serde_json::from_str("1").unwrap(),
            });
            world.command(Command::Batch(publishes.collect()));
            let sent = world.request(Endpoint::Messages);
            world.answer(&sent, "[]");
        }
        assert_eq!(world.session.commands.pending.len() as u64, 1_000 * scale);
        let reply = r#"{"channel":"/meta/subscribe","subscription":"/x","successful":true},"#;
        let replies = reply.repeat(10_000 * scale as usize);
        let response = format!("[{replies}{}", &connect_ok("")[1..]);
        time_of(|| world.answer(&held, &response))
    });
}
