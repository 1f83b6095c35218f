//! The server with sessions against a client made of nothing but a socket.

mod client;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use client::Client;
use cometd_peer::websocket::Frame;
use cometd_peer::{Bayeux, Cut, Rules};
use serde_json::{json, Value};

fn start(change: impl FnOnce(&mut Rules)) -> Bayeux {
    let mut rules = Rules::default();
    change(&mut rules);
    Bayeux::start("/cometd", rules).unwrap()
}

fn say(client: &mut Client, messages: Value) {
    client.say(&messages.to_string());
}

fn heard(client: &mut Client) -> Value {
    serde_json::from_slice(&client.frame().payload).unwrap()
}

fn connect(client: &str, id: u32, over: &str) -> Value {
    json!([{"channel": "/meta/connect", "id": id, "clientId": client, "connectionType": over}])
}

fn handshake(client: &mut Client, ext: Value) -> String {
    say(
        client,
        json!([{"channel": "/meta/handshake", "id": 1, "version": "1.0", "ext": ext,
                "supportedConnectionTypes": ["websocket"]}]),
    );
    heard(client)[0]["clientId"].as_str().unwrap().to_owned()
}

fn subscribe(client: &mut Client, id: &str) {
    say(
        client,
        json!([{"channel": "/meta/subscribe", "id": 2, "clientId": id, "subscription": "/a/*"}]),
    );
    assert_eq!(heard(client)[0]["successful"], true);
}

fn post(server: &Bayeux, messages: &Value) -> Value {
    let body = messages.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /cometd/ HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_session_goes_on_over_the_other_transport() {
    let server = start(|_| {});
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, Value::Null);
    subscribe(&mut client, &id);
    say(&mut client, connect(&id, 3, "websocket"));
    server.wait(|it| it.websocket.connects == 1).unwrap();
    server.publish("/a/b", [json!(1), json!(2)]);
    server.publish("/b", [json!(0)]);
    assert_eq!(heard(&mut client), json!([{"channel": "/a/b", "data": 1}]));
    assert_eq!(heard(&mut client), json!([{"channel": "/a/b", "data": 2}]));
    server.cut(Cut::Close);
    server.wait(|it| it.sockets == 0).unwrap();
    server.publish("/a/b", [json!(3)]);
    let replies = post(&server, &connect(&id, 4, "long-polling"));
    assert_eq!(replies[0]["data"], 3);
    assert_eq!(replies[1]["id"], 4);
    // And back.
    server.publish("/a/b", [json!(4)]);
    let mut client = Client::open(server.port());
    let publish = json!([{"channel": "/a/c", "id": 5, "clientId": id, "data": 5}]);
    say(&mut client, publish);
    for data in [4, 5] {
        assert_eq!(heard(&mut client)[0]["data"], data);
    }
    assert_eq!(heard(&mut client)[0]["id"], 5);
    assert_eq!(server.published("/a/c"), [json!(5)]);
    let counts = server.counts();
    assert_eq!(
        (counts.upgrades, counts.accepted, counts.sockets),
        (2, 2, 1)
    );
    assert_eq!(
        (counts.websocket.handshakes, counts.websocket.connects),
        (1, 1)
    );
    assert_eq!(
        (counts.long_polling.handshakes, counts.long_polling.connects),
        (0, 1)
    );
}

#[test]
fn a_session_of_another_transport_may_be_unknown() {
    let server = start(|rules| rules.own_transport_only = true);
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, Value::Null);
    let replies = post(&server, &connect(&id, 4, "long-polling"));
    assert_eq!(replies[0]["error"], "402::session_unknown");
    assert_eq!(server.counts().unknown, 1);
}

#[test]
fn an_upgrade_may_be_refused() {
    let server = start(|rules| {
        rules.refuse = Some(503);
        rules.refusal_headers = vec!["Retry-After: 5".into()];
    });
    let head = Client::ask(server.port()).head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("Retry-After: 5\r\n"), "{head}");
    server.rules(|rules| rules.refuse = None);
    Client::open(server.port());
    let counts = server.counts();
    assert_eq!((counts.upgrades, counts.accepted), (2, 1));
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let server = start(|_| {});
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, json!({"ack": true}));
    subscribe(&mut client, &id);
    server.publish("/a/b", [json!(1)]);
    let with = |number: u32, ack: u32| {
        let mut connect = connect(&id, number, "websocket");
        connect[0]["ext"] = json!({"ack": ack});
        connect
    };
    say(&mut client, with(3, 0));
    let first = heard(&mut client);
    assert_eq!(
        (&first[0]["data"], &first[1]["ext"]["ack"]),
        (&json!(1), &json!(1))
    );
    server.cut(Cut::Reset);
    server.publish("/a/b", [json!(2)]);
    let mut client = Client::open(server.port());
    say(&mut client, with(4, 0));
    let again = heard(&mut client);
    assert_eq!(
        (&again[0]["data"], &again[1]["data"]),
        (&json!(1), &json!(2))
    );
    say(&mut client, with(5, 2));
    server.publish("/a/b", [json!(3)]);
    assert_eq!(heard(&mut client)[0]["data"], 3);
}

#[test]
fn connects_are_held_so_long() {
    let server = start(|rules| rules.hold = Duration::from_millis(30));
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, Value::Null);
    for number in 3..6 {
        say(&mut client, connect(&id, number, "websocket"));
        assert_eq!(heard(&mut client)[0]["id"], number);
    }
    assert_eq!(post(&server, &connect(&id, 6, "long-polling"))[0]["id"], 6);
}

#[test]
fn a_kick_is_three_frames() {
    let server = start(|_| {});
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, Value::Null);
    subscribe(&mut client, &id);
    say(&mut client, connect(&id, 3, "websocket"));
    server.wait(|it| it.websocket.connects == 1).unwrap();
    server.publish("/a/b", [json!("last")]);
    server.kick();
    assert_eq!(heard(&mut client)[0]["data"], "last");
    let end = heard(&mut client);
    assert_eq!(
        (&end[0]["channel"], &end[0]["id"]),
        (&json!("/meta/disconnect"), &Value::Null)
    );
    let reply = heard(&mut client);
    assert_eq!(
        (&reply[0]["id"], &reply[0]["advice"]["reconnect"]),
        (&json!(3), &json!("none"))
    );
    assert!(server.sessions().is_empty());
}

#[test]
fn replies_wait_and_frames_are_swallowed() {
    let server = start(|rules| rules.withhold_publishes = true);
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, Value::Null);
    for number in 2..4 {
        say(
            &mut client,
            json!([{"channel": "/x", "id": number, "clientId": id, "data": number}]),
        );
    }
    server.wait(|it| it.websocket.publishes == 2).unwrap();
    server.frame(&Frame::ping("first"));
    server.rules(|rules| rules.withhold_publishes = false);
    assert_eq!(client.frame(), Frame::ping("first"));
    assert_eq!(heard(&mut client)[0]["id"], 2);
    assert_eq!(heard(&mut client)[0]["id"], 3);
    server.swallow(true);
    say(&mut client, connect(&id, 4, "websocket"));
    client.send(Frame::close(Some(1000), ""));
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let counts = server.wait(|it| it.sockets == 0).unwrap();
    assert_eq!((counts.websocket.connects, counts.closes.len()), (0, 0));
}

#[test]
fn ten_thousand_events_are_cut_in_the_middle() {
    let server = start(|_| {});
    let mut client = Client::open(server.port());
    let id = handshake(&mut client, Value::Null);
    subscribe(&mut client, &id);
    server.cut_after(100_000, Cut::Close);
    server.publish("/a/b", (0..10_000).map(Value::from));
    assert_eq!(client.rest().unwrap().len(), 100_000);
    assert_eq!(server.counts().garbage, [""; 0]);
}
