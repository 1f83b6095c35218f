//! The extensions that speak of time. The world's clock begins at 1,000,000.

use super::*;
use serde_json::json;

/// The server's clock, by the session's.
fn server_time(world: &World) -> Option<i64> {
    let ahead = world.server_clock?;
    Some(ahead + world.now as i64)
}

/// The timesync answer to a message that came at this time.
fn answer(came: i64, took: i64, sent: &Sent) -> String {
    let asked = &sent.messages[0]["ext"]["timesync"]["tc"];
    format!(r#","ext":{{"timesync":{{"tc":{asked},"ts":{came},"p":{took},"a":0}}}}"#)
}

fn handshaking() -> (World, Sent) {
    World::handshaking(|it| {
        it.timesync = true;
        it.calendar = 1_700_000_000_000;
    })
}

#[test]
fn the_servers_clock_is_told_from_its_replies_215() {
    let (mut world, handshake) = handshaking();
    let here = 1_700_000_000_000 + world.now as i64;
    assert_eq!(
        handshake.messages[0]["ext"],
        json!({"timesync": {"tc": here, "l": 0, "o": 0}})
    );
    assert_eq!(server_time(&world), None);
    // Ahead by an hour; 40 ms there, 20 ms at the server, 40 ms back.
    let hour = 3_600_000;
    world.wait(100);
    let reply = handshake_ok("c", &answer(here + hour + 40, 20, &handshake));
    world.answer(&handshake, &reply);
    let first = here + hour + 100;
    assert_eq!(server_time(&world), Some(first));

    // A connect that the server held for 20 s says no less.
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.messages[0]["ext"]["timesync"]["l"], 40);
    assert_eq!(connect.messages[0]["ext"]["timesync"]["o"], hour);
    world.answer(&connect, &connect_ok(r#","advice":{"timeout":60000}"#));
    let held = world.request(Endpoint::Connect);
    world.wait(20_080);
    let came = first + 40;
    world.answer(&held, &connect_ok(&answer(came, 20_000, &held)));
    assert_eq!(server_time(&world), Some(first + 20_080));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.messages[0]["ext"]["timesync"]["l"], 40, "not 10 s");
}

#[test]
fn every_meta_message_asks_and_keeps_what_others_say_215() {
    let (mut world, handshake) = World::handshaking(|it| {
        it.timesync = true;
        it.acknowledgement = true;
        it.handshake_ext = serde_json::from_str(r#"{"token":"t"}"#).unwrap();
    });
    let ext = &handshake.messages[0]["ext"];
    assert_eq!(ext["token"], "t");
    assert_eq!(ext["ack"], true);
    assert!(ext["timesync"]["tc"].is_number());
    world.answer(&handshake, &handshake_ok("c", r#","ext":{"ack":true}"#));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.messages[0]["ext"]["ack"], 0);
    assert!(connect.messages[0]["ext"]["timesync"]["tc"].is_number());
    world.subscribe(1, &["/a"]);
    world.publish(2, "/x", "1");
    world.unsubscribe(3, &["/a"]);
    let subscribe = world.request(Endpoint::Messages);
    world.accept(&subscribe);
    let others = world.request(Endpoint::Messages);
    assert!(subscribe.messages[0]["ext"]["timesync"].is_object());
    assert!(
        others.messages[0].get("ext").is_none(),
        "a publish does not"
    );
    assert!(others.messages[1]["ext"]["timesync"].is_object());
    world.accept(&others);
    world.disconnect(1_000);
    let disconnect = world.request(Endpoint::Disconnect);
    assert!(disconnect.messages[0]["ext"]["timesync"].is_object());
}

#[test]
fn answers_that_make_no_sense_change_nothing_215() {
    let (mut world, handshake) = handshaking();
    let here = 1_700_000_000_000 + world.now as i64;
    for bad in [
        format!(r#"{{"tc":{},"ts":5,"p":0}}"#, here + 1),
        format!(r#"{{"tc":{here},"ts":5,"p":1}}"#),
        format!(r#"{{"tc":{here},"ts":5,"p":-1}}"#),
        format!(r#"{{"tc":{here},"p":0}}"#),
        format!(
            r#"{{"tc":{},"ts":{},"p":{}}}"#,
            i64::MIN,
            i64::MAX,
            i64::MIN
        ),
        r#"{"ts":5}"#.into(),
        "{}".into(),
        "[]".into(),
        "7".into(),
    ] {
        let (mut world, handshake) = handshaking();
        let reply = handshake_ok("c", &format!(r#","ext":{{"timesync":{bad}}}"#));
        world.answer(&handshake, &reply);
        assert_eq!(server_time(&world), None, "{bad}");
        world.request(Endpoint::Connect);
    }
    // Numbers may be texts.
    let text = format!(r#","ext":{{"timesync":{{"tc":"{here}","ts":"{here}"}}}}"#);
    world.answer(&handshake, &handshake_ok("c", &text));
    assert_eq!(server_time(&world), Some(here));
}

#[test]
fn extremes_of_a_hostile_server_do_no_harm_215() {
    for ts in [i64::MIN, i64::MIN + 1, -1, i64::MAX] {
        let (mut world, handshake) = handshaking();
        let answer = answer(ts, 0, &handshake);
        world.answer(&handshake, &handshake_ok("c", &answer));
        for _ in 0..30 {
            let connect = world.request(Endpoint::Connect);
            world.answer(&connect, &connect_ok(&answer));
        }
    }
}

#[test]
fn messages_say_when_they_are_sent_if_they_shall() {
    for (format, expected) in [
        (Timestamp::Http, "Tue, 14 Nov 2023 22:13:20 GMT"),
        (Timestamp::Iso, "2023-11-14T22:13:20.12"),
    ] {
        let (mut world, handshake) = World::handshaking(|it| {
            it.timestamp = Some(format);
            it.calendar = 1_700_000_000_123 - 1_000_000;
        });
        assert_eq!(handshake.field("timestamp"), Some(expected));
        world.session.set_calendar(0);
        world.answer(&handshake, &handshake_ok("c", ""));
        world.publish(1, "/x", "1");
        let connect = world.request(Endpoint::Connect);
        let publish = world.request(Endpoint::Messages);
        for sent in [connect, publish] {
            let day = sent.field("timestamp").unwrap();
            assert!(day.contains("1970") && day.contains("16:40"), "{day}");
        }
    }
}

#[test]
fn a_clock_out_of_all_bounds_has_a_timestamp_all_the_same() {
    for calendar in [i64::MIN, -1, i64::MAX] {
        for format in [Timestamp::Http, Timestamp::Iso] {
            let (_, handshake) = World::handshaking(|it| {
                it.timestamp = Some(format);
                it.calendar = calendar;
            });
            assert!(handshake.field("timestamp").is_some());
        }
    }
}

#[test]
fn without_the_options_nothing_is_said() {
    let (mut world, handshake) = World::handshaking(|_| {});
    assert!(!handshake.text.contains("timestamp") && !handshake.text.contains("ext"));
    let reply = handshake_ok("c", r#","ext":{"timesync":{"tc":1,"ts":2,"p":0}}"#);
    world.answer(&handshake, &reply);
    assert_eq!(server_time(&world), None);
}

#[test]
fn what_the_hosts_code_takes_is_not_taken_for_the_way_215() {
    let (mut world, handshake) = World::handshaking(|it| {
        it.timesync = true;
        it.holds_requests = true;
        it.calendar = 1_700_000_000_000;
    });
    let here = 1_700_000_000_000 + world.now as i64;
    world.wait(3_000);
    world.lets_go(&handshake);
    // The clocks are the same; 40 ms there and 40 ms back.
    world.wait(80);
    world.arrives(&handshake);
    world.wait(9_000);
    let reply = handshake_ok("c", &answer(here + 3_040, 0, &handshake));
    world.answer(&handshake, &reply);
    assert_eq!(server_time(&world), Some(here + 12_080));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.messages[0]["ext"]["timesync"]["l"], 40);
}
