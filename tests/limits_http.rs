//! While one server does its worst, the clients of others get theirs.

#[path = "scenario/io_thread.rs"]
mod io_thread;
mod scenario;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cometd::error::ErrorKind;
use flate2::write::GzEncoder;
use flate2::Compression;
use scenario::{backoff, Host, Run, END, PATIENCE, SESSION};

/// So much of the I/O thread's CPU time nobody waits for, even in a debug build;
/// the bound itself is some milliseconds. How busy the machine is does not count.
const LONGEST: Duration = Duration::from_secs(1);

/// A server that answers each request by this, until it is dropped.
struct Hostile {
    url: String,
    ended: Arc<AtomicBool>,
}

impl Hostile {
    fn new(answer: impl Fn(&mut TcpStream, &AtomicBool) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/cometd", listener.local_addr().unwrap());
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, until) = (Arc::new(answer), ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let (answer, until) = (answer.clone(), until.clone());
                thread::spawn(move || {
                    let mut space = [0; 4096];
                    let mut request = Vec::new();
                    while !request.ends_with(b"}]") {
                        match stream.read(&mut space) {
                            Ok(read) if read > 0 => request.extend_from_slice(&space[..read]),
                            _ => return,
                        }
                    }
                    answer(&mut stream, &until);
                });
            }
        });
        Self { url, ended }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(
            self.url
                .trim_start_matches("http://")
                .trim_end_matches("/cometd"),
        );
    }
}

/// Another client publishes all the while; none of its publishes may wait long.
/// The client of the hostile server must have told such errors.
fn others_are_served(hostile: &Hostile, kind: ErrorKind, told: &str) {
    const PUBLISHES: usize = 60;
    let publish = "expect publish /x as p
        answer p
        ";
    let mut other = Run::quick(format!(
        "{SESSION}
        expect connect as held
        {}
        {END}",
        publish.repeat(PUBLISHES)
    ))
    .start();
    other.requested("held");
    let mut victim = Host::new(&hostile.url, |builder| backoff(builder, 5, 20));
    victim.client.connect().unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..PUBLISHES {
        let sent = io_thread::cpu_time();
        let id = other.publish("/x", "1");
        other.until(&format!("published {id} /x"));
        longest = longest.max(io_thread::cpu_time() - sent);
        // So that it goes on for a while.
        thread::sleep(Duration::from_millis(10));
    }
    other.disconnect().played();
    assert!(longest < LONGEST, "{longest:?}");
    let deadline = Instant::now() + PATIENCE;
    while victim.errors.is_empty() && Instant::now() < deadline {
        victim.take(Duration::from_millis(100));
    }
    let error = victim.error(0);
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(error.message.contains(told), "{error:?}");
}

#[test]
fn limit_gzip_members_keep_no_other_client_waiting() {
    let mut empty = GzEncoder::new(Vec::new(), Compression::fast());
    empty.flush().unwrap();
    let empty = empty.finish().unwrap();
    let body = empty.repeat(14 * 1024 * 1024 / empty.len());
    let hostile = Hostile::new(move |stream, _| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body);
    });
    others_are_served(&hostile, ErrorKind::Protocol, "next to nothing");
}

#[test]
fn limit_interim_responses_keep_no_other_client_waiting() {
    let hostile = Hostile::new(|stream, ended| {
        let many = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000);
        while !ended.load(Ordering::SeqCst) && stream.write_all(&many).is_ok() {}
    });
    others_are_served(&hostile, ErrorKind::MalformedHttp, "interim responses");
}

#[test]
fn limit_interim_responses_that_are_long_and_heads_without_end_are_given_up() {
    let hostile = Hostile::new(|stream, ended| {
        let long = [
            &b"HTTP/1.1 103 Early Hints\r\nLink: "[..],
            &[b'x'; 60_000],
            b"\r\n\r\n",
        ]
        .concat();
        while !ended.load(Ordering::SeqCst) && stream.write_all(&long).is_ok() {}
    });
    others_are_served(&hostile, ErrorKind::MalformedHttp, "larger than");
    let hostile = Hostile::new(|stream, ended| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let header = b"X-Header: x\r\n".repeat(1_000);
        while !ended.load(Ordering::SeqCst) && stream.write_all(&header).is_ok() {}
    });
    others_are_served(&hostile, ErrorKind::MalformedHttp, "larger than");
}

#[test]
fn limit_body_in_the_smallest_chunks_keeps_no_other_client_waiting() {
    let hostile = Hostile::new(|stream, ended| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunks = b"1\r\n \r\n".repeat(1_000);
        for _ in 0..200 {
            if ended.load(Ordering::SeqCst) || stream.write_all(&chunks).is_err() {
                return;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    others_are_served(&hostile, ErrorKind::NotJson, "no body");
}
