use super::*;

const SERVICE: &str = "/service/s";

fn call(world: &mut World, id: OperationId, within: Millis) {
    world.call(id, SERVICE, r#"{"q":1}"#, within);
}

/// A connected world with one call under way.
fn called() -> (World, Sent, Sent) {
    let (mut world, held) = World::connected();
    call(&mut world, 1, 5_000);
    let sent = world.request(Endpoint::Messages);
    (world, held, sent)
}

#[test]
fn the_acknowledgement_says_nothing_the_answer_does_95() {
    let (mut world, _, sent) = called();
    assert_eq!(sent.messages[0]["data"], serde_json::json!({"q": 1}));
    world.answer(
        &sent,
        r#"[{"channel":"/service/s","id":"$id","successful":true},
            {"channel":"/service/s","id":"$id","successful":true,"data":{"a":2}}]"#,
    );
    assert_eq!(world.events(), [r#"Result {"a":2} 1 /service/s"#]);
}

#[test]
fn an_answer_that_failed_is_a_result_with_an_error_96() {
    let (mut world, _, sent) = called();
    world.answer(
        &sent,
        r#"[{"channel":"/service/s","id":"$id","successful":false,"error":"500::no","data":"why"}]"#,
    );
    assert_eq!(
        world.events(),
        [r#"Failed Some("500::no") "why" 1 /service/s"#]
    );
}

#[test]
fn a_service_that_fails_says_why_in_its_data_96() {
    let (mut world, _, sent) = called();
    world.answer(
        &sent,
        r#"[{"channel":"/service/s","id":"$id","successful":false,"data":"why"}]"#,
    );
    assert_eq!(world.events(), [r#"Failed None "why" 1 /service/s"#]);
    assert_eq!(world.last_error().message, "call: the service failed");
}

#[test]
fn the_answer_may_ride_the_connect_reply_98() {
    let (mut world, held, sent) = called();
    world.answer(
        &sent,
        r#"[{"channel":"/service/s","id":"$id","successful":true}]"#,
    );
    assert!(world.events().is_empty());
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/x","data":1}},{{"channel":"/service/s","id":"{id}","successful":true,"data":2}},
                {{"channel":"/x","data":3}},{{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(
        world.events(),
        ["/x 1", "Result 2 1 /service/s", "/x 3"],
        "in the order of the response"
    );
}

#[test]
fn a_refusal_without_data_is_the_end() {
    let (mut world, _, sent) = called();
    world.answer(
        &sent,
        r#"[{"channel":"/service/s","id":"$id","successful":false,"error":"403::denied"}]"#,
    );
    assert_eq!(world.events(), ["Error call Refused 1 /service/s"]);
}

#[test]
fn without_an_answer_the_time_ends_it_and_a_late_one_is_swallowed() {
    let (mut world, held, sent) = called();
    world.answer(
        &sent,
        r#"[{"channel":"/service/s","id":"$id","successful":true}]"#,
    );
    world.wait(4_999);
    assert!(world.events().is_empty());
    world.wait(1);
    assert_eq!(world.events(), ["Error call Timeout 1 /service/s"]);
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/service/s","id":"{id}","successful":true,"data":2}},
                {{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert!(world.events().is_empty());
}

#[test]
fn a_call_that_was_never_sent_ends_by_its_time_too() {
    let (mut world, _) = World::handshaking(|configuration| {
        configuration.request_timeout = 60_000;
    });
    call(&mut world, 1, 5_000);
    world.wait(5_000);
    assert_eq!(
        world.events(),
        ["-> Handshaking", "Error call Timeout 1 /service/s"]
    );
}

#[test]
fn a_failed_request_fails_its_calls_91() {
    let (mut world, _, sent) = called();
    world.fail(&sent, ErrorKind::ConnectionLost);
    assert_eq!(world.events(), ["Error call ConnectionLost 1 /service/s"]);
    world.wait(10_000);
    assert!(world.events().is_empty());
}

#[test]
fn an_event_with_the_same_id_is_no_answer_82() {
    let (mut world, held, sent) = called();
    let id = sent.field("id").unwrap();
    world.answer(
        &held,
        &format!(
            r#"[{{"channel":"/service/s","id":"{id}","data":1}},
                {{"channel":"/other","id":"{id}","successful":true,"data":2}},
                {{"channel":"/meta/connect","id":"$id","successful":true}}]"#
        ),
    );
    assert_eq!(world.events(), ["/service/s 1", "/other 2"]);
    world.abort();
    assert_eq!(
        world.events(),
        ["Error call Aborted 1 /service/s", "-> Closed", "Closed"]
    );
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn calls_whose_time_is_up_together_cost_no_search_for_each() {
    assert_proportional(|scale| {
        let (mut world, _) = World::connected();
        world.room(false);
        let (half, all) = (2_000 * scale, 4_000 * scale);
        for id in 1..=half {
            world.publish(id, "/y", "1");
        }
        for id in half + 1..=all {
            world.call(id, "/service/x", "1", 5_000 + all - id);
        }
        world.now += 100_000;
        let cost = time_of(|| world.run_timers());
        assert_eq!(world.session.commands.calls.sizes(), [0, 0]);
        let told = world.events();
        let place = |id| {
            let end = format!("Error call Timeout {id} /service/x");
            told.iter().position(|it| *it == end).unwrap()
        };
        assert!(
            place(all) < place(half + 1),
            "in the order of their deadlines"
        );
        cost
    });
}
