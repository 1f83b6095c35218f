//! The peer against a client made of nothing but a socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cometd_peer::{Peer, Script};

fn peer(script: &str) -> Peer {
    Peer::start(Script::parse(script).unwrap()).unwrap()
}

fn open(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

fn post(stream: &mut TcpStream, path: &str, body: &str) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
}

/// One response with a Content-Length: its head and body.
fn response(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","supportedConnectionTypes":["long-polling"]}]"#;

fn connect(client: &str, id: u32) -> String {
    format!(
        r#"[{{"channel":"/meta/connect","id":"{id}","clientId":"{client}","connectionType":"long-polling"}}]"#
    )
}

#[test]
fn a_script_is_played_to_its_end() {
    let peer = peer(
        r#"
        base /cometd
        expect handshake
        answer client=c9
        expect connect as held on=used
        also publish /x as p on=new : {"n":1}
        answer p
        answer held : [$ok{"advice":{"interval":0}},{"channel":"/x","data":{"to":"$client"}}]
        "#,
    );
    let mut one = open(peer.port());
    post(&mut one, "/cometd/handshake", HANDSHAKE);
    assert!(response(&mut one).1.contains(r#""clientId":"c9""#));
    let mut two = open(peer.port());
    post(
        &mut two,
        "/cometd/",
        r#"[{"channel":"/x","id":"2","clientId":"c9","data":{"n":1}}]"#,
    );
    post(&mut one, "/cometd/connect", &connect("c9", 3));
    assert_eq!(
        response(&mut two).1,
        r#"[{"channel":"/x","id":"2","successful":true}]"#
    );
    assert_eq!(
        response(&mut one).1,
        r#"[{"advice":{"interval":0},"channel":"/meta/connect","id":"3","successful":true},{"channel":"/x","data":{"to":"c9"}}]"#
    );
    peer.wait().unwrap();
}

#[test]
fn something_else_is_told_with_the_difference() {
    let peer = peer("expect handshake\nanswer client=c1\nexpect connect at-once as c");
    let mut stream = open(peer.port());
    post(&mut stream, "/handshake", HANDSHAKE);
    response(&mut stream);
    post(&mut stream, "/connect", &connect("c2", 2));
    let why = peer.wait().unwrap_err();
    for part in [
        "line 3: expect connect at-once as c",
        "POST /connect",
        r#"[0].clientId: expected $client = "c1", came "c2""#,
        r#"[0].advice: expected {"...":"","timeout":0}, nothing came"#,
        "before it:",
        "handshake   (connection 1: [{",
    ] {
        assert!(why.contains(part), "{part} in:\n{why}");
    }
    assert_eq!(peer.wait_for("c").unwrap_err(), why);
    // And the client is not left waiting.
    assert_eq!(rest(&mut stream), b"");
}

#[test]
fn one_request_too_many_fails_the_script() {
    let peer = peer("expect handshake\nquiet 5000");
    let mut stream = open(peer.port());
    post(&mut stream, "/", HANDSHAKE);
    post(&mut stream, "/", HANDSHAKE);
    assert!(peer.wait().unwrap_err().contains("a request came"));
}

#[test]
fn nothing_at_all_fails_the_script() {
    let peer = peer("limit 20\nexpect handshake");
    assert!(peer
        .wait()
        .unwrap_err()
        .contains("nothing came within 20ms"));
}

#[test]
fn what_is_not_http_fails_the_script() {
    let peer = peer("expect handshake");
    open(peer.port()).write_all(b"hello\r\n\r\n").unwrap();
    assert!(peer.wait().unwrap_err().contains("no HTTP request"));
}

#[test]
fn every_byte_is_under_control() {
    let peer = peer(
        r"
        expect anything as one
        expect anything as two
        expect anything as raw
        answer one cut=body+2 : [1,2]
        answer two reset=5
        send raw : HTTP/1.1 100 \xff\r\n
        half-close raw
        expect anything
        closed raw
        ",
    );
    let mut streams = [(); 3].map(|()| open(peer.port()));
    for (stream, label) in streams.iter_mut().zip(["one", "two", "raw"]) {
        post(stream, "/", "[]");
        peer.wait_for(label).unwrap();
    }
    assert!(rest(&mut streams[0]).ends_with(b"\r\n\r\n[1"));
    let mut bytes = Vec::new();
    let outcome = streams[1].read_to_end(&mut bytes);
    let error = outcome.expect_err(&format!("{bytes:?} {:?}", peer.failure()));
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(rest(&mut streams[2]), b"HTTP/1.1 100 \xff\r\n");
    // Its other half still works.
    post(&mut streams[2], "/", "[]");
    drop(streams);
    peer.wait().unwrap();
}

#[test]
fn times_are_kept_and_checked() {
    let peer = peer(
        "expect anything\nanswer delay=50 pieces=40 pause=5 : []\nexpect anything after=30..9000\n\
         answer : []\nexpect anything after=5000.. as late",
    );
    let mut stream = open(peer.port());
    let begin = Instant::now();
    post(&mut stream, "/", "[]");
    response(&mut stream);
    assert!(begin.elapsed() >= Duration::from_millis(60));
    std::thread::sleep(Duration::from_millis(40));
    post(&mut stream, "/", "[]");
    response(&mut stream);
    post(&mut stream, "/", "[]");
    let why = peer.wait().unwrap_err();
    assert!(why.contains("not 5000.."), "{why}");
}

#[test]
fn down_is_refused_and_up_is_accepted() {
    let peer =
        peer("expect anything as first\ndown\nawait refused\nup\nexpect anything\nanswer : []");
    let mut stream = open(peer.port());
    post(&mut stream, "/", "[]");
    peer.wait_for("first").unwrap();
    assert_eq!(rest(&mut stream), b"");
    let refused = Instant::now();
    let mut times = 0;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", peer.port())) {
            Ok(stream) => break stream,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
        }
        times += 1;
        peer.release("refused");
        assert!(refused.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(times > 0);
    post(&mut stream, "/", "[]");
    assert_eq!(response(&mut stream).1, "[]");
    peer.wait().unwrap();
}

#[test]
fn answers_in_the_background_do_not_hold_up_the_script() {
    let peer = peer(
        "expect anything as slow\nanswer slow background delay=300 : [1]\nexpect anything\nanswer : [2]",
    );
    let mut slow = open(peer.port());
    post(&mut slow, "/", "[]");
    peer.wait_for("slow").unwrap();
    let mut fast = open(peer.port());
    post(&mut fast, "/", "[]");
    assert_eq!(response(&mut fast).1, "[2]");
    assert_eq!(response(&mut slow).1, "[1]");
    peer.wait().unwrap();
}

/// Runs the program with a script on its standard input, and a client.
fn program(script: &str, client: impl FnOnce(u16)) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cometd_peer"))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let mut out = child.stdout.take().unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    if let Some(port) = line.strip_prefix("READY ") {
        client(port.parse().unwrap());
    }
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn the_program_tells_by_its_exit_status() {
    let script = "expect anything\nanswer : [7]\n";
    let played = program(script, |port| {
        let mut stream = open(port);
        post(&mut stream, "/", "[]");
        assert_eq!(response(&mut stream).1, "[7]");
    });
    assert_eq!(played, (Some(0), String::new()));
    let (status, why) = program("expect handshake", |port| {
        post(&mut open(port), "/", "[{}]");
    });
    assert_eq!(status, Some(1));
    assert!(why.contains("-: line 1: expect handshake"), "{why}");
    let (status, why) = program("expect", |_| panic!("it is not ready"));
    assert_eq!(status, Some(2));
    assert!(why.contains("line 1: what is expected?"), "{why}");
}

#[test]
fn the_readme_shows_the_format_that_help_shows() {
    let format = include_str!("../FORMAT.txt");
    let indented: String = format
        .lines()
        .map(|line| format!("    {line}").trim_end().to_owned() + "\n")
        .collect();
    assert!(include_str!("../README.md").contains(&indented));
    let help = Command::new(env!("CARGO_BIN_EXE_cometd_peer"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains(format));
}

#[test]
fn the_readme_s_script_plays() {
    let readme = include_str!("../README.md");
    let script: String = readme
        .split("```\n")
        .nth(1)
        .unwrap()
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    Script::parse(&script).unwrap();
}
