//! What a response says is told whole: of several endings none hides another.

use super::*;

const GOODBYE: &str = r#"{"channel":"/meta/disconnect"}"#;

/// The held connect's response: the server's disconnect and a refusal, in either
/// order.
fn ends(world: &mut World, held: &Sent, refusal: &str, behind: bool) {
    let refusal =
        format!(r#"{{"channel":"/meta/connect","id":"$id","successful":false{refusal}}}"#);
    let text = match behind {
        true => format!("[{refusal},{GOODBYE}]"),
        false => format!("[{GOODBYE},{refusal}]"),
    };
    world.answer(held, &text);
}

const UNKNOWN_CLIENT: &str = r#","error":"403::Unknown client","advice":{"reconnect":"none"}"#;
const INVALID: &str = r#","error":"401::Authentication invalid","advice":{"reconnect":"none"}"#;

#[test]
fn case_disconnect_and_refusal_is_one_end_with_the_refusals_text() {
    for behind in [true, false] {
        let (mut world, held) = World::connected();
        ends(&mut world, &held, UNKNOWN_CLIENT, behind);
        assert_eq!(
            world.events(),
            ["Fatal connect Refused", "-> Closed", "Closed"]
        );
        assert_eq!(
            world.last_error().message,
            "connect: the server refused: 403::Unknown client"
        );
    }
}

#[test]
fn case_disconnect_and_refusal_asks_the_provider_as_any_401() {
    for behind in [true, false] {
        let (mut world, held) = World::connected_with(|it| it.has_token_provider = true);
        ends(&mut world, &held, INVALID, behind);
        assert_eq!(world.refreshes, 1);
        assert_eq!(world.state(), State::Rehandshaking);
        world.credentials(Ok(()));
        world.next_request(Endpoint::Handshake);
    }
    // Where it has nothing, the refusal is what remains.
    let (mut world, held) = World::connected_with(|it| it.has_token_provider = true);
    ends(&mut world, &held, INVALID, false);
    world.credentials(Err("no"));
    assert_eq!(
        world.events().last_chunk::<3>().unwrap(),
        &["Fatal connect Refused", "-> Closed", "Closed"]
    );
}

#[test]
fn case_disconnect_and_refusal_with_restart_is_followed_by_a_new_session() {
    for refusal in [UNKNOWN_CLIENT, INVALID, r#","error":"500::no""#, ""] {
        for provider in [None, Some(Ok(())), Some(Err("no"))] {
            let (mut world, held) = World::connected_with(|it| {
                it.restart = true;
                it.has_token_provider = provider.is_some();
            });
            ends(&mut world, &held, refusal, false);
            if let (Some(answer), 1) = (provider, world.refreshes) {
                world.credentials(answer);
            }
            assert_eq!(world.state(), State::Rehandshaking, "{refusal}");
            world.next_request(Endpoint::Handshake);
        }
    }
}

#[test]
fn case_disconnect_and_refusal_advice_handshake_is_followed() {
    let (mut world, held) = World::connected();
    let refusal = r#","error":"402::session_unknown","advice":{"reconnect":"handshake"}"#;
    ends(&mut world, &held, refusal, false);
    assert_eq!(
        world.events(),
        ["Error connect Refused", "-> Rehandshaking"]
    );
    world.next_request(Endpoint::Handshake);
}

#[test]
fn case_disconnect_and_refusal_retry_brings_no_ended_session_back() {
    let (mut world, held) = World::connected();
    let refusal = r#","error":"503::busy","advice":{"reconnect":"retry"}"#;
    ends(&mut world, &held, refusal, false);
    assert_eq!(
        world.events(),
        ["Fatal connect Refused", "-> Closed", "Closed"]
    );
}

#[test]
fn case_disconnect_and_refusal_of_a_handshake() {
    for (more, state) in [
        (r#","error":"403::no""#, State::Closed),
        (
            r#","error":"403::no","advice":{"reconnect":"none"}"#,
            State::Closed,
        ),
        (
            r#","error":"503::busy","advice":{"reconnect":"handshake"}"#,
            State::Handshaking,
        ),
    ] {
        let (mut world, handshake) = World::handshaking(|_| {});
        let refused = handshake_refused(more);
        let refused = refused.trim_matches(['[', ']']);
        world.answer(&handshake, &format!("[{GOODBYE},{refused}]"));
        assert_eq!(world.state(), state, "{more}");
        assert_eq!(world.errors.len(), 1);
        assert!(world.last_error().bayeux.is_some());
    }
}

#[test]
fn everything_beside_an_end_is_told_before_it() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.publish(5, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    let id = publish.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{GOODBYE},{{"channel":"/a","data":1}},{{"channel":"/x","id":"{id}","successful":false,"error":"403::full"}},
                {{"channel":7}},{{"channel":"/meta/connect","id":"$id","successful":false,"error":"403::gone"}},{{"channel":"/a","data":2}}]"#
        ),
    );
    assert_eq!(
        world.events(),
        [
            "/a 1",
            "Error publish Refused 5 /x",
            "/a 2",
            "Error connect Protocol",
            "Fatal connect Refused",
            "-> Closed",
            "Closed"
        ]
    );
}

#[test]
fn case_reason_elsewhere_stands_in_the_error_and_its_ext() {
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    let ext = r#"{"sfdc":{"failureReason":"503::Server is too busy. Please try again"}}"#;
    world.answer(
        &sent,
        &format!(
            r#"[{{"channel":"/meta/subscribe","id":"$id","successful":false,"ext":{ext},
                "error":"403:denied_by_security_policy:subscribe_denied"}}]"#
        ),
    );
    let error = world.last_error();
    assert_eq!(
        error.message,
        "subscribe: the server refused: 403:denied_by_security_policy:subscribe_denied; \
         reason: 503::Server is too busy. Please try again (channel /a)"
    );
    assert_eq!(error.reply_ext.as_deref(), Some(ext));
    assert_eq!(
        error.reply_error.as_deref(),
        Some(r#""403:denied_by_security_policy:subscribe_denied""#)
    );
}

#[test]
fn each_error_of_a_reply_has_its_ext_and_its_whole_error() {
    let more = r#","successful":false,"error":{"code":7},"ext":{"why":1}"#;
    let whole = |world: &World| {
        let error = world.last_error();
        assert_eq!(error.reply_error.as_deref(), Some(r#"{"code":7}"#));
        assert_eq!(error.reply_ext.as_deref(), Some(r#"{"why":1}"#));
    };
    let (mut world, handshake) = World::handshaking(|_| {});
    let text = format!(r#"[{{"channel":"/meta/handshake","id":"$id"{more}}}]"#);
    world.answer(&handshake, &text);
    whole(&world);
    let (mut world, held) = World::connected();
    let text = format!(r#"[{{"channel":"/meta/connect","id":"$id"{more}}}]"#);
    world.answer(&held, &text);
    whole(&world);
    for verb in ["subscribe", "unsubscribe", "publish", "call"] {
        let (mut world, _) = World::connected();
        match verb {
            "subscribe" => world.subscribe(1, &["/a"]),
            "unsubscribe" => world.unsubscribe(1, &["/a"]),
            "publish" => world.publish(1, "/a", "1"),
            _ => world.call(1, "/a", "1", 1_000_000),
        }
        let sent = world.request(Endpoint::Messages);
        let channel = sent.field("channel").unwrap();
        let text = format!(r#"[{{"channel":"{channel}","id":"$id"{more}}}]"#);
        world.answer(&sent, &text);
        whole(&world);
    }
    let (mut world, held) = World::connected();
    let text = format!(r#"[{{"channel":"/meta/disconnect"{more}}}]"#);
    world.answer(&held, &text);
    whole(&world);
}

#[test]
fn each_event_of_a_reply_has_its_ext() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let ext = |number| format!(r#","ext":{{"n":{number}}}"#);
    world.answer(&handshake, &handshake_ok("c1", &ext(1)));
    assert_eq!(world.exts(), [r#"State {"n":1}"#]);
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(&ext(2)));
    assert_eq!(world.exts(), [r#"State {"n":2}"#]);
    let held = world.request(Endpoint::Connect);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    let successful = |number| format!(r#""successful":true{}"#, ext(number));
    world.answer(&sent, &replies(&sent, &successful(3)));
    assert_eq!(world.exts(), [r#"Subscribed {"n":3}"#]);
    world.publish(2, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    world.answer(&sent, &replies(&sent, &successful(4)));
    assert_eq!(world.exts(), [r#"Published {"n":4}"#]);
    world.call(3, "/service/x", "1", 1_000_000);
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        &replies(&sent, &format!(r#"{},"data":1"#, successful(5))),
    );
    assert_eq!(world.exts(), [r#"Result {"n":5}"#]);
    world.answer(&held, &connect_refused(&format!("{UNKNOWN}{}", ext(6))));
    assert_eq!(world.exts(), [r#"State {"n":6}"#]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let renewal = world.request(Endpoint::Messages);
    world.answer(&renewal, &replies(&renewal, &successful(7)));
    assert_eq!(world.exts(), [r#"Subscribed {"n":7}"#]);
    world.unsubscribe(4, &["/a"]);
    let sent = world.request(Endpoint::Connect);
    let _ = sent;
    let sent = world.request(Endpoint::Messages);
    world.answer(&sent, &replies(&sent, &successful(8)));
    assert_eq!(world.exts(), [r#"Unsubscribed {"n":8}"#]);
}

/// A status, with a message that advises.
fn status_that_advises(channel: &str, advice: &str) -> Failure {
    let mut failure = Failure::new(ErrorKind::HttpStatus, "HTTP 400 Bad Request");
    failure.http_status = 400;
    failure.bayeux = Some(crate::bayeux::ErrorText::parse("402::unknown"));
    failure.reply_ext = Some(r#"{"a":1}"#.into());
    let advice = crate::bayeux::Advice::parse(advice, crate::bayeux::LONG_POLLING).unwrap();
    failure.advice = Some(Box::new((channel.to_owned(), advice)));
    failure
}

#[test]
fn advice_that_comes_with_an_http_status_is_followed() {
    for (advice, state) in [
        (r#"{"reconnect":"handshake"}"#, State::Rehandshaking),
        (
            r#"{"reconnect":"retry","interval":3000}"#,
            State::Unconnected,
        ),
        (r#"{"reconnect":"none"}"#, State::Closed),
        (r#"{"reconnect":"retry","interval":-1}"#, State::Closed),
        (r#"{}"#, State::Unconnected),
    ] {
        let (mut world, held) = World::connected();
        world.fail_with(&held, &status_that_advises(meta::CONNECT, advice));
        assert_eq!(world.state(), state, "{advice}");
        let error = world.last_error();
        assert_eq!(error.reply_ext.as_deref(), Some(r#"{"a":1}"#));
        if advice.contains("3000") {
            assert_within(error.retry_in.unwrap(), 4_100..=4_200);
        }
        // Of another message it is not the connect's.
        let (mut world, held) = World::connected();
        world.fail_with(&held, &status_that_advises("/meta/subscribe", advice));
        assert_eq!(world.state(), State::Unconnected, "{advice}");
    }
    for (advice, state) in [
        (r#"{"reconnect":"handshake"}"#, State::Handshaking),
        (r#"{"reconnect":"retry"}"#, State::Handshaking),
        (r#"{"reconnect":"none"}"#, State::Closed),
        (r#"{"interval":-1}"#, State::Closed),
    ] {
        let (mut world, handshake) = World::handshaking(|_| {});
        world.fail_with(&handshake, &status_that_advises(meta::HANDSHAKE, advice));
        assert_eq!(world.state(), state, "{advice}");
    }
}
