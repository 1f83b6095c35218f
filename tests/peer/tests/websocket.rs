//! The peer's WebSocket against a client made of nothing but a socket.

mod client;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use client::Client;
use cometd_peer::websocket::{self, Frame};
use cometd_peer::{Peer, Script};

fn peer(script: &str) -> Peer {
    let script = format!("base /cometd\nexpect upgrade\n{script}");
    Peer::start(Script::parse(&script).unwrap()).unwrap()
}

const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","supportedConnectionTypes":["websocket"]}]"#;

fn connect(id: u32) -> String {
    format!(
        r#"[{{"channel":"/meta/connect","id":"{id}","clientId":"client-1","connectionType":"websocket"}}]"#
    )
}

#[test]
fn a_session_is_played_over_a_socket() {
    let peer = peer(
        r#"upgrade header="Set-Cookie: c=d" : [{"channel":"/early"}]
        expect handshake over=websocket cookie="a=b"
        answer
        expect connect as held over=websocket
        frame held : [{"channel":"/x","data":"$client"}]
        expect publish /x as p
        answer p
        answer held
        closes 1000"#,
    );
    let mut client = Client::ask(peer.port());
    assert!(client.head().contains("\r\nSet-Cookie: c=d\r\n"));
    assert_eq!(client.frame(), Frame::text(r#"[{"channel":"/early"}]"#));
    client.say(HANDSHAKE);
    assert_eq!(
        client.frame(),
        Frame::text(
            r#"[{"channel":"/meta/handshake","clientId":"client-1","id":"1","successful":true,"supportedConnectionTypes":["websocket"],"version":"1.0"}]"#
        )
    );
    client.say(&connect(2));
    assert_eq!(
        client.frame(),
        Frame::text(r#"[{"channel":"/x","data":"client-1"}]"#)
    );
    client.say(r#"[{"channel":"/x","id":"3","clientId":"client-1","data":1}]"#);
    let ok = |channel: &str, id: u32| {
        Frame::text(format!(
            r#"[{{"channel":"{channel}","id":"{id}","successful":true}}]"#
        ))
    };
    assert_eq!(client.frame(), ok("/x", 3));
    assert_eq!(client.frame(), ok("/meta/connect", 2));
    client.send(Frame::close(Some(1000), ""));
    assert_eq!(client.frame(), Frame::close(Some(1000), ""));
    assert_eq!(client.rest().unwrap(), b"");
    peer.wait().unwrap();
}

#[test]
fn frames_come_as_the_script_says() {
    let peer = peer(
        r"upgrade
        fragment size=2 : [{}]
        binary : \xff
        ping : a
        pong
        raw opcode=1 reserved=4 masked length=4611686018427387904 : \xc0
        close 4001 : why",
    );
    let mut client = Client::open(peer.port());
    let fragments = Frame::fragments("[{}]", 2);
    assert_eq!(client.frame(), fragments[0]);
    assert_eq!(client.frame(), fragments[1]);
    assert_eq!(client.frame(), Frame::binary(*b"\xff"));
    assert_eq!(client.frame(), Frame::ping("a"));
    assert_eq!(client.frame(), Frame::pong(""));
    client.send(Frame::close(Some(4001), ""));
    assert_eq!(
        client.rest().unwrap(),
        b"\xc1\xff\x40\0\0\0\0\0\0\0\x37\xfa\x21\x3d\xf7\x88\x05\x0f\xa1why"
    );
    peer.wait().unwrap();
}

#[test]
fn an_upgrade_is_refused_or_wrong() {
    let refused = peer("answer status=403 : no");
    let mut client = Client::ask(refused.port());
    assert!(client.head().starts_with("HTTP/1.1 403 "));
    refused.wait().unwrap();
    let wrong = peer("upgrade accept=x connection= upgrade=WEBSOCKET");
    let mut client = Client::ask(wrong.port());
    assert_eq!(
        client.head(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WEBSOCKET\r\nSec-WebSocket-Accept: x\r\n\r\n"
    );
    wrong.wait().unwrap();
}

#[test]
fn control_frames_are_answered_and_waited_for() {
    let peer = peer("upgrade\npinged\nping\nponged\ncloses 1001\nclosed");
    let mut client = Client::open(peer.port());
    client.send(Frame::ping("x"));
    assert_eq!(client.frame(), Frame::pong("x"));
    assert_eq!(client.frame(), Frame::ping(""));
    client.send(Frame::pong(""));
    client.send(Frame::close(Some(1001), ""));
    assert_eq!(
        client.rest().unwrap(),
        Frame::close(Some(1001), "").to_bytes()
    );
    peer.wait().unwrap();
}

#[test]
fn what_is_wrong_is_told() {
    for (frame, why) in [
        (Frame::text("[]").masked([0; 4]), "an empty array"),
        (Frame::text(HANDSHAKE), "not masked"),
        (
            Frame::text(HANDSHAKE).masked([0; 4]),
            "over: expected long-polling, came websocket",
        ),
        (
            Frame::close(Some(1002), "").masked([0; 4]),
            "closed with Some(1002)",
        ),
    ] {
        let step = match frame.opcode {
            websocket::CLOSE => "closes 1000",
            _ => "expect handshake over=long-polling",
        };
        let peer = peer(&format!("upgrade\n{step}"));
        let mut client = Client::open(peer.port());
        client.stream.write_all(&frame.to_bytes()).unwrap();
        let told = peer.wait().unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn what_is_swallowed_is_not_answered() {
    let peer = peer("upgrade\nswallow\nmark swallows\nquiet 50\nawait said\nclosed");
    let mut client = Client::open(peer.port());
    peer.wait_for("swallows").unwrap();
    client.say(HANDSHAKE);
    client.send(Frame::ping(""));
    client.send(Frame::close(None, ""));
    peer.release("said");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest().unwrap(), b"");
    peer.wait().unwrap();
}

#[test]
fn what_is_not_read_stays_in_the_socket() {
    let peer = peer(
        "upgrade\nexpect handshake as h\nnot-read\nanswer h\nawait full\nread\nlimit 20000\nclosed",
    );
    let mut client = Client::open(peer.port());
    client.say(HANDSHAKE);
    client.frame();
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let piece = Frame::pong([0; 100]).masked([0; 4]).to_bytes().repeat(1000);
    let mut left = Vec::new();
    let mut sent = 0;
    loop {
        if left.is_empty() {
            left = piece.clone();
        }
        match client.stream.write(&left) {
            Ok(count) => drop(left.drain(..count)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
        sent += 1;
        assert!(sent < 1000, "somebody reads");
    }
    peer.release("full");
    client.stream.set_write_timeout(None).unwrap();
    client.stream.write_all(&left).unwrap();
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    peer.wait().unwrap();
}

#[test]
fn it_is_cut_after_any_byte() {
    let text = "[{\"channel\":\"/x\"}]";
    for at in [0, 1, 5, text.len() + 1] {
        for how in ["", "reset", "stall"] {
            let peer = peer(&format!(
                "upgrade\ncut {at} {how}\nframe : {text}\nframe : []\nmark sent\nawait seen"
            ));
            let mut client = Client::open(peer.port());
            peer.wait_for("sent").unwrap();
            let whole = Frame::text(text).to_bytes();
            if how == "stall" {
                let mut bytes = vec![0; at];
                client.stream.read_exact(&mut bytes).unwrap();
                assert_eq!(bytes, whole[..at]);
                client
                    .stream
                    .set_read_timeout(Some(Duration::from_millis(20)))
                    .unwrap();
            }
            match (how, client.rest()) {
                ("", Ok(bytes)) => assert_eq!(bytes, whole[..at]),
                ("reset", Err(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                ("stall", Err(error)) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                (_, other) => panic!("{how}: {other:?}"),
            }
            peer.release("seen");
            peer.wait().unwrap();
        }
    }
}
