//! The connect loop, its events and its failures, over sockets.

mod scenario;

use std::time::Duration;

use cometd::error::ErrorKind;
use scenario::{Run, END, SESSION};

#[test]
fn a_publish_goes_out_while_the_connect_is_held_and_there_is_one_connect_only_26() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as first
        expect publish /chat as p1 : {{"text":"hi"}}
        answer p1
        expect publish /chat as p2 : 2
        answer p2
        quiet 200
        answer first
        expect connect as held on=first
        {END}"#
    ))
    .start();
    run.requested("first");
    let first = run.publish("/chat", r#"{"text":"hi"}"#);
    run.until(&format!("published {first} /chat"));
    let second = run.publish("/chat", "2");
    run.until(&format!("published {second} /chat"));
    run.requested("held").disconnect().played();
}

#[test]
fn a_response_of_events_only_delivers_them_and_the_loop_goes_on_30() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect
        answer : [{{"channel":"/a","data":1}},{{"channel":"/a","data":2}}]
        expect connect at-once
        answer
        expect connect as held
        {END}"#
    ))
    .start();
    run.until("Connected");
    for seen in [
        "message /a 1",
        "message /a 2",
        "error connect Protocol",
        "Unconnected",
        "Connected",
    ] {
        run.until(seen);
    }
    run.requested("held").disconnect().played();
}

#[test]
fn an_empty_array_as_the_answer_to_a_connect_is_a_failure_at_once_30() {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect
        answer : []
        expect connect at-once after=0..5000
        answer
        expect connect as held
        {END}"
    ))
    .start();
    run.until("error connect Protocol").until("Connected");
    run.requested("held").disconnect().played();
}

#[test]
fn replies_without_ids_are_taken_39() {
    let mut run = Run::quick(format!(
        r#"
        expect handshake
        answer : [$ok{{"id":"$absent"}}]
        expect connect at-once
        answer : [$ok{{"id":"$absent"}}]
        expect connect
        answer : [$ok{{"id":null}}]
        expect connect as held
        {END}"#
    ))
    .start();
    run.requested("held").disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn a_first_connect_that_fails_is_made_again_after_a_second_42() {
    let mut run = Run::with(
        format!(
            "expect handshake
            answer
            expect connect at-once
            answer status=503 : <html><head><title>Busy</title></head></html>
            expect connect at-once after=1000..9000
            answer
            expect connect as held
            {END}"
        ),
        |_| {},
    )
    .start();
    run.requested("held").disconnect().played();
    assert_eq!(
        run.host.seen[..5],
        [
            "Handshaking",
            "Connecting",
            "error connect HttpStatus 503",
            "Unconnected",
            "Connected"
        ]
    );
    assert_eq!(run.host.count("Unconnected"), 1);
    assert!(run.host.error(0).message.contains("Busy"));
}

#[test]
fn events_come_after_the_handshake_and_before_the_state_of_the_connect_17_171() {
    let mut run = Run::quick(format!(
        r#"
        expect handshake
        answer : [$ok,{{"channel":"/a","data":1}}]
        expect connect at-once
        answer : [{{"channel":"/a","data":2}},$ok,{{"channel":"/a","data":3}}]
        expect connect as held
        {END}"#
    ))
    .start();
    run.requested("held").disconnect().played();
    assert_eq!(
        run.host.seen[..6],
        [
            "Handshaking",
            "Connecting",
            "message /a 1",
            "message /a 2",
            "message /a 3",
            "Connected"
        ]
    );
}

#[test]
fn a_lazy_message_may_come_with_a_later_connect_173() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as first
        expect subscribe /lazy as s
        answer s
        answer first
        expect connect
        answer : [$ok]
        expect connect
        answer delay=100 : [{{"channel":"/lazy","data":"late","id":"1"}},$ok]
        expect connect as held
        {END}"#
    ))
    .start();
    run.requested("first");
    let id = run.subscribe(&["/lazy"]);
    run.until(&format!("subscribed {id} /lazy"))
        .until("message /lazy \"late\"");
    run.requested("held").disconnect().played();
}

#[test]
fn the_reply_to_a_publish_may_ride_on_the_connect() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as first
        expect messages as p : [{{"channel":"/x","id":"$pid","clientId":"$client","data":1}}]
        answer p : []
        quiet 100
        answer first : [$ok,{{"channel":"/x","id":"$pid","successful":true}}]
        expect connect as held
        {END}"#
    ))
    .start();
    run.requested("first");
    let id = run.publish("/x", "1");
    run.until(&format!("published {id} /x"));
    run.requested("held").disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn the_reply_to_the_connect_may_ride_on_another_response() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect messages as c : [{{"channel":"/meta/connect","id":"$cid","...":""}}]
        expect publish /x as p
        answer p : [$ok,{{"channel":"/meta/connect","id":"$cid","successful":true}}]
        expect connect as held
        answer c : []
        quiet 100
        mark quiet
        {END}"#
    ))
    .start();
    run.requested("c");
    let id = run.publish("/x", "1");
    run.until(&format!("published {id} /x"));
    run.requested("quiet").disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn an_event_with_the_clients_own_id_and_a_reply_twice_are_no_trouble() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect
        answer : [$ok,$ok,{{"channel":"/a","data":1,"clientId":"$client"}}]
        expect connect as held
        quiet 150
        mark quiet
        {END}"#
    ))
    .start();
    run.until("message /a 1")
        .requested("quiet")
        .disconnect()
        .played();
}

#[test]
fn a_proxy_that_ends_idle_connections_is_a_network_failure_206() {
    let mut run = Run::with(
        format!(
            r#"
            expect messages : [{{"channel":"/meta/handshake","advice":{{"timeout":20000,"interval":0}},"...":""}}]
            answer
            expect connect at-once
            answer
            expect connect as idle
            pause 700
            close idle
            expect connect at-once after=20..
            answer
            expect connect as held
            {END}"#
        ),
        |builder| {
            scenario::backoff(builder, 20, 20);
            builder.set_timeout(Duration::from_millis(20_000));
        },
    )
    .start();
    for seen in [
        "Connected",
        "error connect ConnectionLost",
        "Unconnected",
        "Connected",
    ] {
        run.until(seen);
    }
    run.requested("held").disconnect().played();
    assert_eq!(run.host.error(0).kind, ErrorKind::ConnectionLost);
}
