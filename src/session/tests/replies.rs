//! A reply is told by its request and its id, never by fields that servers may
//! leave out or add (Bayeux specification, section 4).

use serde_json::json;

use super::*;

/// What a field may be instead of what it should be; `None`: it is missing.
fn every_wrong() -> Vec<Option<Value>> {
    let wrong = [
        json!(null),
        json!(true),
        json!({}),
        json!({"a": [1]}),
        json!([]),
        json!([7]),
    ];
    wrong.into_iter().map(Some).chain([None]).collect()
}

fn with(mut reply: Value, field: &str, value: Option<&Value>) -> Value {
    let fields = reply.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
    reply
}

/// One message of a request, and a reply to it in full.
fn reply_in_full(message: &Value, successful: bool) -> Value {
    let mut reply = json!({
        "channel": message["channel"],
        "id": message["id"],
        "successful": successful,
        "clientId": message["clientId"],
        "advice": {},
        "ext": {"x": 1},
        "timestamp": "1994-11-06T08:49:37",
    });
    if !successful {
        reply["error"] = json!("403::no");
    }
    if !message["subscription"].is_null() {
        reply["subscription"] = message["subscription"].clone();
    }
    reply
}

const OPTIONAL: [&str; 7] = [
    "id",
    "subscription",
    "clientId",
    "advice",
    "ext",
    "timestamp",
    "error",
];

/// Each verb, alone in its request; what comes of it.
fn outcomes(reply: impl Fn(&Value) -> Value) -> Vec<Vec<String>> {
    let data = || serde_json::from_str("1").unwrap();
    let channel = || "/service/x".to_owned();
    let commands: [fn(&mut World); 2] = [
        |world| world.subscribe(1, &["/a"]),
        |world| world.unsubscribe(1, &["/b"]),
    ];
    let mut told = Vec::new();
    let mut play = |command: &dyn Fn(&mut World)| {
        let (mut world, _) = World::subscribed(&["/b"]);
        command(&mut world);
        let sent = world.request(Endpoint::Messages);
        world.answer(&sent, &json!([reply(&sent.messages[0])]).to_string());
        told.push(world.events());
    };
    for command in commands {
        play(&command);
    }
    play(&|world: &mut World| world.publish(1, "/x", "1"));
    play(&|world: &mut World| {
        world.command(Command::Call {
            id: 1,
            channel: channel(),
            data: data(),
            deadline: world.now + 5_000,
        });
    });
    told
}

#[test]
fn case_reply_fields_any_optional_field_may_be_missing_null_or_of_another_type_161() {
    let answered = |message: &Value, successful| {
        let reply = reply_in_full(message, successful);
        match message["channel"] == "/service/x" && successful {
            true => with(reply, "data", Some(&json!(7))),
            false => reply,
        }
    };
    for successful in [true, false] {
        let expected = outcomes(|message| answered(message, successful));
        assert!(expected.iter().all(|it| it.len() == 1), "{expected:?}");
        for field in OPTIONAL {
            for wrong in every_wrong() {
                let told =
                    outcomes(|message| with(answered(message, successful), field, wrong.as_ref()));
                assert_eq!(told, expected, "{field}: {wrong:?}");
            }
        }
        // All of them at once.
        for wrong in every_wrong() {
            let told = outcomes(|message| {
                let reply = answered(message, successful);
                let fields = OPTIONAL.iter();
                fields.fold(reply, |it, field| with(it, field, wrong.as_ref()))
            });
            assert_eq!(told, expected, "{wrong:?}");
        }
    }
}

#[test]
fn case_reply_fields_a_reply_without_a_usable_success_is_none_32() {
    for wrong in every_wrong() {
        if wrong == Some(json!(true)) {
            continue;
        }
        let told = outcomes(|message| {
            let reply = reply_in_full(message, true);
            with(reply, "successful", wrong.as_ref())
        });
        for (told, verb) in told
            .iter()
            .zip(["subscribe", "unsubscribe", "publish", "call"])
        {
            assert_eq!(told.len(), 1, "{wrong:?} {told:?}");
            assert!(
                told[0].starts_with(&format!("Error {verb} Refused 1 ")),
                "{told:?}"
            );
        }
    }
}

#[test]
fn case_reply_fields_of_handshakes_and_connects_39_21() {
    for field in [
        "id",
        "clientId",
        "advice",
        "ext",
        "version",
        "minimumVersion",
        "authSuccessful",
    ] {
        for wrong in every_wrong() {
            let (mut world, handshake) = World::handshaking(|_| {});
            let mut reply = json!({
                "channel": "/meta/handshake", "id": handshake.messages[0]["id"], "successful": true,
                "clientId": "c1", "supportedConnectionTypes": ["long-polling"], "version": "1.0",
                "advice": {}, "ext": {},
            });
            if field != "clientId" {
                reply = with(reply, field, wrong.as_ref());
            }
            world.answer(&handshake, &json!([reply]).to_string());
            assert_eq!(world.state(), State::Connecting, "{field}: {wrong:?}");
            let connect = world.request(Endpoint::Connect);
            let reply = json!({
                "channel": "/meta/connect", "id": connect.messages[0]["id"], "successful": true,
                "clientId": "c1", "advice": {}, "ext": {},
            });
            let reply = with(reply, field, wrong.as_ref());
            world.answer(&connect, &json!([reply]).to_string());
            assert_eq!(world.state(), State::Connected, "{field}: {wrong:?}");
            world.disconnect(1_000);
            let disconnect = world.request(Endpoint::Connect);
            let _ = disconnect;
            let disconnect = world.request(Endpoint::Disconnect);
            let reply = json!({"channel": "/meta/disconnect", "id": disconnect.messages[0]["id"]});
            let reply = with(reply, field, wrong.as_ref());
            world.answer(&disconnect, &json!([reply]).to_string());
            world.wait(1_000);
            assert_eq!(world.events().last().unwrap(), "Closed");
            assert!(world.errors.is_empty(), "{:?}", world.errors);
        }
    }
}

#[test]
fn case_reply_fields_what_a_handshake_must_have_is_a_failure_without_8() {
    for field in ["clientId", "supportedConnectionTypes"] {
        for wrong in every_wrong() {
            let (mut world, handshake) = World::handshaking(|_| {});
            let reply = json!({
                "channel": "/meta/handshake", "id": handshake.messages[0]["id"], "successful": true,
                "clientId": "c1", "supportedConnectionTypes": ["long-polling"],
            });
            world.answer(
                &handshake,
                &json!([with(reply, field, wrong.as_ref())]).to_string(),
            );
            assert_ne!(world.state(), State::Connecting, "{field}: {wrong:?}");
            assert_eq!(world.errors.len(), 1, "{field}: {wrong:?}");
        }
    }
}

#[test]
fn case_reply_fields_without_ids_replies_go_by_channel_and_order() {
    let (mut world, _) = World::connected();
    let publish = |id, channel: &str| Command::Publish {
        id,
        channel: channel.into(),
        data: serde_json::from_str("1").unwrap(),
    };
    let subscribe = |id, channels: &[&str]| Command::Subscribe {
        id,
        channels: channels.iter().map(|it| (*it).to_owned()).collect(),
    };
    world.command(Command::Batch(vec![
        subscribe(1, &["/a", "/b", "/c"]),
        publish(2, "/x"),
        publish(3, "/y"),
        publish(4, "/x"),
    ]));
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        r#"[{"channel":"/x","successful":false,"error":"403::first"},
            {"channel":"/meta/subscribe","successful":true},
            {"channel":"/x","successful":true},
            {"channel":"/meta/subscribe","successful":true,"id":"$0"},
            {"channel":"/meta/subscribe","successful":false,"subscription":"/c"},
            {"channel":"/y","successful":true},
            {"channel":"/x","successful":true},
            {"channel":"/meta/subscribe","successful":true}]"#,
    );
    assert_eq!(
        world.events(),
        [
            "Error publish Refused 2 /x",
            "Subscribed 1 /b",
            "Published 4 /x",
            "Subscribed 1 /a",
            "Error subscribe Refused 1 /c",
            "Published 3 /y",
        ]
    );
    world.assert_quiet(20_000 - 10_000);
}

#[test]
fn case_reply_fields_without_ids_replies_of_other_requests_say_nothing() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &held,
        r#"[{"channel":"/meta/subscribe","successful":false},{"channel":"/meta/subscribe","successful":false,"subscription":"/a"},
            {"channel":"/meta/connect","successful":true}]"#,
    );
    assert_eq!(world.events(), [""; 0]);
    world.accept(&sent);
    assert_eq!(world.events(), ["Subscribed 1 /a"]);
}

#[test]
fn case_reply_fields_numbers_are_ids_as_well() {
    for id in ["$id", "\"$id\"", "$id.0", "\"$id.0\""] {
        let (mut world, _) = World::connected();
        world.publish(1, "/x", "1");
        let sent = world.request(Endpoint::Messages);
        world.answer(
            &sent,
            &format!(r#"[{{"channel":"/x","id":{id},"successful":true}}]"#),
        );
        assert_eq!(world.events(), ["Published 1 /x"], "{id}");
    }
    // One that is another's is not ours.
    for id in ["99", "\"99\"", "\"x\"", "-4", "4.5", "1e400"] {
        let (mut world, _) = World::connected();
        world.publish(1, "/x", "1");
        let sent = world.request(Endpoint::Messages);
        world.answer(
            &sent,
            &format!(r#"[{{"channel":"/x","id":{id},"successful":true}}]"#),
        );
        assert_eq!(world.events(), [""; 0], "{id}");
    }
}

#[test]
fn case_reply_with_data_is_a_reply() {
    for id in [r#","id":"$id""#, ""] {
        let (mut world, _) = World::connected();
        world.publish(1, "/service/room/enter", "{}");
        let sent = world.request(Endpoint::Messages);
        world.answer(
            &sent,
            &format!(
                r#"[{{"channel":"/service/room/enter"{id},"successful":true,"data":{{"seat":4}}}}]"#
            ),
        );
        assert_eq!(
            world.events(),
            [
                r#"/service/room/enter {"seat":4}"#,
                "Published 1 /service/room/enter"
            ]
        );
        world.assert_quiet(15_000);
    }
}

#[test]
fn case_reply_with_data_ends_a_publish_that_would_be_sent_again() {
    let (mut world, _) = World::connected();
    world.command(Command::PublishWithRetries {
        id: 1,
        channel: "/service/x".into(),
        data: serde_json::from_str("1").unwrap(),
        attempts: None,
        deadline: None,
    });
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        r#"[{"channel":"/service/x","id":"$id","successful":true,"data":null}]"#,
    );
    assert_eq!(
        world.events(),
        ["/service/x null", "Published 1 /service/x"]
    );
    world.assert_quiet(15_000);
}

#[test]
fn case_refused_with_data_is_one_error() {
    for data in ["{}", "null", "7", r#"{"why":"full"}"#] {
        for id in [r#","id":"$id""#, ""] {
            let (mut world, _) = World::connected();
            world.publish(1, "/service/room/enter", "{}");
            let sent = world.request(Endpoint::Messages);
            world.answer(
                &sent,
                &format!(
                    r#"[{{"channel":"/service/room/enter"{id},"successful":false,"error":"403::full","data":{data}}}]"#
                ),
            );
            assert_eq!(
                world.events(),
                ["Error publish Refused 1 /service/room/enter"]
            );
            assert_eq!(
                world.last_error().message,
                "publish: the server refused: 403::full (channel /service/room/enter)"
            );
            world.assert_quiet(15_000);
        }
    }
}

#[test]
fn case_reply_with_data_of_nobody_is_an_event() {
    let (mut world, held) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    // Of another channel, of another id, in another response without an id.
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/y","id":"{id}","successful":true,"data":1}},
                {{"channel":"/x","id":"99","successful":true,"data":2}},
                {{"channel":"/x","successful":true,"data":3}},
                {{"channel":"/x","id":"{id}","data":4}},
                {{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(world.events(), ["/y 1", "/x 2", "/x 3", "/x 4"]);
    world.accept(&sent);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn calls_are_answered_without_ids() {
    let (mut world, _) = World::connected();
    let call = |id| Command::Call {
        id,
        channel: "/service/x".into(),
        data: serde_json::from_str("1").unwrap(),
        deadline: 1_100_000,
    };
    world.command(Command::Batch(vec![call(1), call(2)]));
    let sent = world.request(Endpoint::Messages);
    world.answer(
        &sent,
        r#"[{"channel":"/service/x","successful":true},
            {"channel":"/service/x","successful":true,"data":"one"},
            {"channel":"/service/x","successful":false,"error":"500::no"}]"#,
    );
    assert_eq!(
        world.events(),
        [
            r#"Result "one" 1 /service/x"#,
            "Error call Refused 2 /service/x"
        ]
    );
}
