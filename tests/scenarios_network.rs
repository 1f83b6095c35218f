//! Servers that are down, silent, or in the middle of something else.

mod scenario;

use std::net::TcpListener;
use std::time::Duration;

use cometd::error::{Error, ErrorKind};
use scenario::{Host, Run, END, SESSION};

fn assert_waits(errors: &[Error], ranges: &[std::ops::RangeInclusive<u64>]) {
    let waits: Vec<_> = errors.iter().map(|error| error.retry_in.unwrap()).collect();
    assert!(waits.len() >= 3, "{waits:?}");
    for (wait, range) in waits.iter().zip(ranges) {
        assert!(range.contains(wait), "{waits:?}");
    }
}

/// Short enough to be waited for, long enough for all that is answered.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn refused_handshakes_come_again_after_0_1_2_times_the_backoff_134() {
    let mut run = Run::with(
        format!(
            "expect handshake
            down
            await refused
            up
            {SESSION}
            expect connect as held
            {END}"
        ),
        |builder| scenario::backoff(builder, 100, 200),
    )
    .start();
    let refused = "error handshake Tcp";
    run.until(refused).until(refused).until(refused);
    run.peer.release("refused");
    run.until("Connected");
    run.requested("held").disconnect().played();
    let errors = &run.host.errors;
    assert!(errors[1..].iter().all(|it| it.kind == ErrorKind::Tcp));
    // And 10 to 20 percent of jitter; at most the maximum.
    assert_waits(errors, &[0..=0, 110..=120, 220..=240, 220..=240]);
}

#[test]
fn refused_connects_come_again_after_1_2_times_the_backoff_in_the_same_session_134() {
    let mut run = Run::with(
        format!(
            "{SESSION}
            expect connect
            down
            await refused
            up
            expect connect at-once
            answer
            expect connect as held
            {END}"
        ),
        |builder| scenario::backoff(builder, 100, 200),
    )
    .start();
    run.until("Connected").until("Unconnected");
    run.until("error connect Tcp").until("error connect Tcp");
    run.peer.release("refused");
    run.until("Connected");
    run.requested("held").disconnect().played();
    assert_waits(&run.host.errors, &[110..=120, 220..=240, 220..=240]);
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_at_the_deadline_135() {
    let mut run = Run::with(
        format!(
            "expect handshake as h
            closed h
            {SESSION}
            expect connect as c
            closed c
            expect connect at-once
            answer
            expect connect as held
            {END}"
        ),
        |builder| {
            scenario::backoff(builder, 5, 20);
            builder.set_request_timeout(LIMIT);
            builder.set_timeout(Duration::from_millis(100));
        },
    )
    .start();
    for seen in [
        "error handshake Timeout",
        "Connected",
        "error connect Timeout",
        "Unconnected",
        "Connected",
    ] {
        run.until(seen);
    }
    run.requested("held").disconnect().played();
    assert!(run.host.error(0).message.contains("2000 ms"));
    assert!(run.host.error(1).message.contains("2100 ms"));
}

#[test]
fn a_response_that_stops_in_the_middle_is_given_up_at_the_deadline_135() {
    let mut run = Run::with(
        format!(
            r#"
            expect handshake
            answer stall=body+9
            expect handshake
            answer stall=20
            {SESSION}
            expect connect as c
            answer chunked=5 stall=-2 : [{{"channel":"/a","data":"half"}},$ok]
            closed c
            expect connect at-once
            answer : [{{"channel":"/a","data":"whole"}},$ok]
            expect connect as held
            {END}"#
        ),
        |builder| {
            scenario::backoff(builder, 5, 20);
            builder.set_request_timeout(LIMIT);
            builder.set_timeout(Duration::ZERO);
        },
    )
    .start();
    run.requested("held").disconnect().played();
    assert_eq!(
        run.told(),
        [
            "error handshake Timeout",
            "error handshake Timeout",
            "error connect Timeout",
            "message /a \"whole\"",
            "CLOSED"
        ]
    );
}

#[test]
fn a_tls_handshake_that_hangs_is_given_up_202() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut host = Host::new(&format!("https://127.0.0.1:{port}/cometd"), |builder| {
        scenario::backoff(builder, 5, 20);
        builder.set_request_timeout(Duration::from_millis(300));
    });
    host.client.connect().unwrap();
    for _ in 0..2 {
        // Accepted, and kept open.
        let silent = listener.accept().unwrap();
        host.until("error handshake Timeout", || None);
        drop(silent);
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_told_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut host = Host::new(&format!("https://127.0.0.1:{port}/cometd"), |builder| {
        scenario::backoff(builder, 5, 20);
    });
    host.client.connect().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    host.until("error handshake Tls", || None);
}

#[test]
fn a_name_that_does_not_resolve_is_tried_again() {
    let mut host = Host::new("http://does-not-exist.invalid/cometd", |builder| {
        scenario::backoff(builder, 5, 20);
    });
    host.client.connect().unwrap();
    host.until("error handshake Dns", || None);
    host.until("error handshake Dns", || None);
    assert!(!host.error(1).fatal);
}
