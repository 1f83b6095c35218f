use super::*;

fn acknowledging(configuration: &mut Configuration) {
    configuration.acknowledgement = true;
}

fn ack_of(sent: &Sent) -> Value {
    sent.messages[0]["ext"]["ack"].clone()
}

#[test]
fn connects_tell_the_last_batch_that_arrived_174() {
    let (mut world, handshake) = World::handshaking(acknowledging);
    assert_eq!(ack_of(&handshake), true);
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"ack":true}"#));
    let first = world.request(Endpoint::Connect);
    assert_eq!(ack_of(&first), 0);
    world.answer(&first, &connect_ok(r#","ext":{"ack":7}"#));
    let second = world.request(Endpoint::Connect);
    assert_eq!(ack_of(&second), 7);
    world.answer(&second, &connect_ok(""));
    assert_eq!(ack_of(&world.request(Endpoint::Connect)), 7);
}

#[test]
fn the_handshake_may_name_the_first_batch_175() {
    let (mut world, handshake) = World::handshaking(acknowledging);
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","ext":{"ack":{"enabled":true,"batch":2}}"#),
    );
    assert_eq!(ack_of(&world.request(Endpoint::Connect)), 2);
}

#[test]
fn a_server_without_the_extension_gets_plain_connects_176() {
    for answer in [
        "",
        r#","ext":{}"#,
        r#","ext":{"ack":false}"#,
        r#","ext":{"ack":"true"}"#,
        r#","ext":{"ack":{"enabled":false,"batch":2}}"#,
        r#","ext":{"ack":{}}"#,
        r#","ext":7"#,
    ] {
        let (mut world, handshake) = World::handshaking(acknowledging);
        world.answer(&handshake, &handshake_ok("c1", answer));
        let connect = world.request(Endpoint::Connect);
        assert_eq!(ack_of(&connect), Value::Null, "{answer}");
        world.answer(&connect, &connect_ok(r#","ext":{"ack":7}"#));
        assert_eq!(ack_of(&world.request(Endpoint::Connect)), Value::Null);
    }
}

#[test]
fn without_the_option_nothing_is_asked_for_176() {
    let (mut world, handshake) = World::handshaking(|_| {});
    assert_eq!(ack_of(&handshake), Value::Null);
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"ack":true}"#));
    assert_eq!(ack_of(&world.request(Endpoint::Connect)), Value::Null);
}

#[test]
fn a_new_session_starts_at_zero_179() {
    let (mut world, handshake) = World::handshaking(acknowledging);
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"ack":true}"#));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(r#","ext":{"ack":7}"#));
    let held = world.request(Endpoint::Connect);
    world.answer(
        &held,
        r#"[{"channel":"/meta/connect","id":"$id","successful":false,"error":"402::session_unknown","advice":{"reconnect":"handshake"}}]"#,
    );
    let again = world.request(Endpoint::Handshake);
    assert_eq!(ack_of(&again), true);
    world.answer(&again, &handshake_ok("c2", r#","ext":{"ack":true}"#));
    assert_eq!(ack_of(&world.request(Endpoint::Connect)), 0);
}

#[test]
fn what_failed_is_not_acknowledged_180_181() {
    let (mut world, handshake) = World::handshaking(acknowledging);
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"ack":true}"#));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(r#","ext":{"ack":7}"#));
    let held = world.request(Endpoint::Connect);
    world.answer(
        &held,
        r#"[{"channel":"/meta/connect","id":"$id","successful":false,"advice":{"reconnect":"retry"},"ext":{"ack":9}}]"#,
    );
    let (_, refused) = world.next_request(Endpoint::Connect);
    assert_eq!(ack_of(&refused), 7);
    // Its events never came: they are sent again to who still says 7.
    world.fail(&refused, ErrorKind::ConnectionLost);
    let (_, lost) = world.next_request(Endpoint::Connect);
    assert_eq!(ack_of(&lost), 7);
}

#[test]
fn the_hosts_own_ext_stays_beside_it() {
    let (_, handshake) = World::handshaking(|configuration| {
        acknowledging(configuration);
        configuration.handshake_ext =
            Some(serde_json::from_str(r#"{"auth":{"token":"t"}}"#).unwrap());
    });
    assert_eq!(
        handshake.messages[0]["ext"],
        serde_json::json!({"ack": true, "auth": {"token": "t"}})
    );
}

#[test]
fn nothing_is_acknowledged_before_there_was_room_for_it() {
    let (mut world, handshake) = World::handshaking(acknowledging);
    world.answer(&handshake, &handshake_ok("c1", r#","ext":{"ack":true}"#));
    let first = world.request(Endpoint::Connect);
    world.room(false);
    world.answer(&first, &connect_ok(r#","ext":{"ack":7}"#));
    world.assert_nothing_sent();
    world.room(true);
    assert_eq!(ack_of(&world.request(Endpoint::Connect)), 7);
}
