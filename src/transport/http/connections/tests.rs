use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread;
use std::time::Duration;

use cometd_peer::identity;
use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};
use tokio::time::timeout;

use super::*;
use crate::error::ErrorKind;
use crate::session::{Endpoint, Server};
use crate::transport::endpoints::{parse, Append, BasePaths, Endpoints};
use crate::transport::headers::Headers;
use crate::transport::http::{LongPolling, Progress, Settings};
use crate::transport::tls::Tls;

/// This long only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

/// What a server does with a connection.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Accepted,
    Request,
    /// The client has closed it.
    End,
}

/// Answers the requests of each connection by these; at the end of them it is
/// closed. An empty one: it is closed without a word.
fn server(connections: Vec<Vec<&'static str>>) -> (String, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let (tell, seen) = channel();
    thread::spawn(move || {
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            tell.send(Seen::Accepted).unwrap();
            let tell = tell.clone();
            thread::spawn(move || {
                for answer in answers {
                    if !request_came(&mut stream) {
                        let _ = tell.send(Seen::End);
                        return;
                    }
                    let _ = tell.send(Seen::Request);
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, seen)
}

/// Whether there was one, and not the end.
fn request_came(stream: &mut impl std::io::Read) -> bool {
    let mut space = [0; 4096];
    let mut request = Vec::new();
    while !request.ends_with(b"[{}]") {
        match stream.read(&mut space) {
            Ok(read) if read > 0 => request.extend_from_slice(&space[..read]),
            _ => return false,
        }
    }
    true
}

fn transport(url: &str) -> LongPolling {
    transport_with(url, Tls::default())
}

fn transport_with(url: &str, tls: Tls) -> LongPolling {
    let url = parse(url).unwrap();
    let endpoints = Endpoints::new(&url, &BasePaths::default(), Append::default());
    LongPolling::new(Settings {
        servers: [Arc::new(endpoints.unwrap())].into(),
        authorization: Arc::default(),
        cookies: Arc::default(),
        headers: Headers::default(),
        maximum_response: 1_000,
        connect_timeout: PATIENCE,
        proxies: Arc::default(),
        tls,
        leniencies: Arc::default(),
    })
    .unwrap()
}

async fn exchange(transport: &LongPolling, endpoint: Endpoint) -> Result<Vec<u8>, Failure> {
    let progress = Progress::new(|| 0);
    let sent = transport.exchange(
        Server::Given(0),
        endpoint,
        b"[{}]".to_vec(),
        None,
        &progress,
    );
    timeout(PATIENCE, sent).await.unwrap()
}

async fn publish(transport: &LongPolling) -> Result<Vec<u8>, Failure> {
    exchange(transport, Endpoint::Messages).await
}

fn kept(transport: &LongPolling) -> usize {
    lock(&transport.connections.idle).kept.len()
}

/// Sees to the idle connections as the client's task does, until so many are left.
async fn until_kept(transport: &LongPolling, count: usize) {
    let left = poll_fn(|context| {
        transport.poll_idle(context);
        match kept(transport) == count {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    });
    timeout(PATIENCE, left).await.unwrap();
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

fn next(seen: &Receiver<Seen>) -> Seen {
    seen.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_request_that_is_held_has_no_room_for_what_is_rare() {
    let (url, _seen) = server(vec![]);
    let transport = transport(&url);
    let progress = Progress::new(|| 0);
    let sent = transport.exchange(
        Server::Given(0),
        Endpoint::Connect,
        Vec::new(),
        None,
        &progress,
    );
    // Every client has one all the time: connecting, redirects, refusals and codings
    // have boxes of their own.
    let size = size_of_val(&sent);
    assert!(size <= 640, "{size} bytes");
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let (url, seen) = server(vec![vec![OK, OK, OK, OK]]);
    let transport = transport(&url);
    run(async {
        for endpoint in [Endpoint::Handshake, Endpoint::Connect, Endpoint::Messages] {
            assert_eq!(exchange(&transport, endpoint).await.unwrap(), b"[]");
            assert_eq!(kept(&transport), 1);
        }
    });
    assert_eq!(next(&seen), Seen::Accepted);
    for _ in 0..3 {
        assert_eq!(next(&seen), Seen::Request);
    }
}

#[test]
fn a_connection_that_does_not_stay_open_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]",
    ] {
        let (url, seen) = server(vec![vec![answer, ""], vec![OK, ""]]);
        let transport = transport(&url);
        run(async {
            let first = publish(&transport).await;
            assert_eq!(first.is_ok(), answer.contains("200"));
            assert_eq!(kept(&transport), 0, "{answer}");
            assert_eq!(next(&seen), Seen::Accepted);
            assert_eq!(next(&seen), Seen::Request);
            assert_eq!(next(&seen), Seen::End);
            publish(&transport).await.unwrap();
            assert_eq!(kept(&transport), 1);
        });
    }
}

#[test]
fn a_response_that_is_not_read_to_its_end_takes_its_connection_along() {
    let large = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[";
    let (url, seen) = server(vec![vec![large, OK]]);
    let transport = transport(&url);
    run(async {
        let failure = publish(&transport).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::TooLarge, "{}", failure.text);
        assert_eq!(kept(&transport), 0);
    });
    assert_eq!(next(&seen), Seen::Accepted);
    assert_eq!(next(&seen), Seen::Request);
    assert_eq!(next(&seen), Seen::End);
}

#[test]
fn a_redirect_whose_body_does_not_come_is_followed_on_another_connection() {
    let unread = "HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nContent-Length: 100000\r\n\r\n[";
    let (url, seen) = server(vec![vec![unread, OK], vec![OK, OK]]);
    let transport = transport(&url);
    run(async {
        assert_eq!(publish(&transport).await.unwrap(), b"[]");
        assert_eq!(kept(&transport), 1);
    });
    let mut count = [0; 3];
    for _ in 0..5 {
        count[next(&seen) as usize] += 1;
    }
    assert_eq!(count, [2, 2, 1], "accepted, requests, ends");
    let whole = "HTTP/1.1 307 Elsewhere\r\nLocation: /other\r\nContent-Length: 2\r\n\r\n[]";
    let (url, seen) = server(vec![vec![whole, OK, OK]]);
    let transport = self::transport(&url);
    run(async { assert_eq!(publish(&transport).await.unwrap(), b"[]") });
    assert_eq!(next(&seen), Seen::Accepted);
    assert_eq!(next(&seen), Seen::Request);
    assert_eq!(next(&seen), Seen::Request);
}

/// Each connection is closed behind one answer, when that is told; then it is told
/// to have been closed.
fn closing() -> (String, Sender<()>, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let (close, told) = channel();
    let (tell, closed) = channel();
    thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(request_came(&mut stream));
            stream.write_all(OK.as_bytes()).unwrap();
            let _ = told.recv();
            drop(stream);
            let _ = tell.send(());
        }
    });
    (url, close, closed)
}

#[test]
fn one_that_the_server_has_closed_is_seen_to_be_closed() {
    let (url, close, _closed) = closing();
    let transport = transport(&url);
    run(async {
        publish(&transport).await.unwrap();
        assert_eq!(kept(&transport), 1);
        close.send(()).unwrap();
        until_kept(&transport, 0).await;
        publish(&transport).await.unwrap();
    });
}

#[test]
fn one_that_was_closed_and_not_yet_seen_to_be_costs_no_request() {
    let (url, close, closed) = closing();
    let transport = transport(&url);
    run(async {
        publish(&transport).await.unwrap();
        close.send(()).unwrap();
        closed.recv_timeout(PATIENCE).unwrap();
        // The runtime looks at its sockets, and nobody at the connection.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(kept(&transport), 1);
        // Nothing has left, so that even a publish may be sent.
        publish(&transport).await.unwrap();
    });
}

#[test]
fn a_closing_that_crosses_a_request_costs_no_connect_and_sends_no_publish_twice() {
    for (endpoint, goes_on) in [
        (Endpoint::Handshake, true),
        (Endpoint::Connect, true),
        (Endpoint::Messages, false),
        (Endpoint::Disconnect, false),
    ] {
        let (url, seen) = server(vec![vec![OK, ""], vec![OK, ""]]);
        let transport = transport(&url);
        let answer = run(async {
            publish(&transport).await.unwrap();
            exchange(&transport, endpoint).await
        });
        let mut requests = 0;
        while let Ok(seen) = seen.try_recv() {
            requests += usize::from(seen == Seen::Request);
        }
        match answer {
            Ok(_) => assert!(goes_on && requests == 3, "{endpoint:?} {requests}"),
            Err(failure) => {
                assert_eq!(failure.kind, ErrorKind::ConnectionLost);
                assert!(!goes_on && requests == 2, "{endpoint:?} {requests}");
            }
        }
    }
}

#[test]
fn a_new_connection_that_is_closed_without_a_word_is_no_crossing() {
    let (url, seen) = server(vec![vec![""], vec![OK]]);
    let transport = transport(&url);
    let failure = run(exchange(&transport, Endpoint::Connect)).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::ConnectionLost);
    assert_eq!(next(&seen), Seen::Accepted);
    assert_eq!(next(&seen), Seen::Request);
    assert!(seen.try_recv().is_err());
}

#[test]
fn a_server_that_speaks_first_is_told_to_speak_no_http_154() {
    for (greeting, told) in [
        (
            "220 mail.example.com ESMTP\r\n",
            ["unexpected message", "not HTTP/1.1"],
        ),
        ("", ["closed the connection", "connection reset"]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let transport = transport(&format!("http://{}/", listener.local_addr().unwrap()));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            // Until the client has had enough of it.
            if !greeting.is_empty() {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let failure = run(exchange(&transport, Endpoint::Handshake)).unwrap_err();
        let text = failure.text;
        assert!(told.iter().any(|it| text.contains(it)), "{text}");
        server.join().unwrap();
    }
}

#[test]
fn kept_connections_are_closed_with_the_client() {
    let (url, seen) = server(vec![vec![OK, OK]]);
    let transport = transport(&url);
    run(async {
        publish(&transport).await.unwrap();
        transport.close_idle().await;
    });
    assert_eq!(next(&seen), Seen::Accepted);
    assert_eq!(next(&seen), Seen::Request);
    assert_eq!(next(&seen), Seen::End);
}

#[test]
fn a_request_that_is_given_up_closes_its_connection() {
    let (url, seen) = server(vec![vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[",
        OK,
    ]]);
    let transport = transport(&url);
    run(async {
        let mut waiting = Box::pin(publish(&transport));
        poll_fn(|context| {
            assert!(waiting.as_mut().poll(context).is_pending());
            match seen.try_recv() {
                Ok(Seen::Request) => Poll::Ready(()),
                _ => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
        .await;
        drop(waiting);
        assert_eq!(kept(&transport), 0);
        assert_eq!(next(&seen), Seen::End);
    });
}

#[test]
fn idle_ones_are_closed_in_time_and_two_are_kept_at_most() {
    let (url, seen) = server(vec![vec![OK, OK], vec![OK, OK], vec![OK, OK]]);
    let mut transport = transport(&url);
    run(async {
        let all = tokio::join!(
            publish(&transport),
            publish(&transport),
            publish(&transport)
        );
        assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok());
        assert_eq!(kept(&transport), MOST);
    });
    let ends = |count| {
        let mut left = count;
        while left > 0 {
            left -= usize::from(next(&seen) == Seen::End);
        }
    };
    ends(1);
    transport.connections.limit = Duration::from_millis(20);
    run(async {
        // Those of before were driven by a runtime that is gone.
        lock(&transport.connections.idle).kept.clear();
        ends(2);
    });
    let (url, seen) = server(vec![vec![OK, OK]]);
    let mut transport = self::transport(&url);
    transport.connections.limit = Duration::from_millis(20);
    run(async {
        publish(&transport).await.unwrap();
        until_kept(&transport, 0).await;
    });
    assert_eq!(next(&seen), Seen::Accepted);
    assert_eq!(next(&seen), Seen::Request);
    assert_eq!(next(&seen), Seen::End);
    // One whose time is over is not used, though nobody has closed it yet.
    let (url, _seen) = server(vec![vec![OK, OK], vec![OK]]);
    let mut transport = self::transport(&url);
    transport.connections.limit = Duration::ZERO;
    run(async {
        publish(&transport).await.unwrap();
        let uri = url.parse().unwrap();
        assert!(transport.connections.take(&uri).is_none());
    });
}

#[test]
fn one_server_gets_no_request_of_another() {
    let (url, _seen) = server(vec![vec![OK, OK]]);
    let transport = transport(&url);
    run(async {
        publish(&transport).await.unwrap();
        let place = url.replace("http://", "").replace("/cometd", "");
        let port: u16 = place.rsplit(':').next().unwrap().parse().unwrap();
        for other in [
            format!("https://{place}/"),
            format!("http://localhost:{port}/"),
            format!("http://127.0.0.1:{}/", port ^ 1),
        ] {
            assert!(transport
                .connections
                .take(&other.parse().unwrap())
                .is_none());
        }
        let same = format!("http://{place}/another/path").parse().unwrap();
        assert!(transport.connections.take(&same).is_some());
    });
}

/// The connection of each of these requests sleeps before its response comes.
fn sleeps(transport: &LongPolling, answer: &Sender<()>) {
    let quiet = transport.connections.quiet();
    run(async {
        for count in 1..=3 {
            let mut exchanging = Box::pin(exchange(transport, Endpoint::Connect));
            let mut is_answered = false;
            let answered = poll_fn(|context| {
                let polled = exchanging.as_mut().poll(context);
                if polled.is_ready() {
                    return polled;
                }
                transport.poll_idle(context);
                if quiet.slept.load(Ordering::Relaxed) == count && !is_answered {
                    assert!(!quiet.is_awaited());
                    assert!(lock(&transport.connections.idle).sleep.is_none());
                    is_answered = true;
                    answer.send(()).unwrap();
                }
                Poll::Pending
            });
            assert_eq!(answered.await.unwrap(), b"[]");
            assert_eq!(kept(transport), 1);
        }
        transport.close_idle().await;
    });
}

#[test]
fn a_connection_whose_response_does_not_come_sleeps_and_needs_no_timer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut transport = transport(&format!("http://{}/", listener.local_addr().unwrap()));
    transport.connections.tick = Duration::from_millis(5);
    let (answer, may_answer) = channel::<()>();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..3 {
            assert!(request_came(&mut stream));
            may_answer.recv().unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        }
        assert!(!request_came(&mut stream));
    });
    sleeps(&transport, &answer);
    server.join().unwrap();
}

#[test]
fn a_connection_sleeps_over_tls_as_well() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let identity = identity("127.0.0.1", None);
        let mut tls = Tls::default();
        tls.set_authorities(&identity.pem(), false).unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_certificate(&identity.certificate).unwrap();
        acceptor.set_private_key(&identity.key).unwrap();
        acceptor.set_min_proto_version(Some(version)).unwrap();
        acceptor.set_max_proto_version(Some(version)).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let mut transport = transport_with(&url, tls);
        transport.connections.tick = Duration::from_millis(5);
        let (answer, may_answer) = channel::<()>();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = acceptor.accept(stream).unwrap();
            for _ in 0..3 {
                assert!(request_came(&mut stream));
                may_answer.recv().unwrap();
                // Records that end anywhere in the head and in the body.
                for piece in OK.as_bytes().chunks(7) {
                    stream.write_all(piece).unwrap();
                }
            }
            assert!(!request_came(&mut stream));
        });
        sleeps(&transport, &answer);
        server.join().unwrap();
    }
}
