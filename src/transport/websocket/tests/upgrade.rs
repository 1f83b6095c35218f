use cometd_peer::identity;
use openssl::ssl::{SslAcceptor, SslMethod};

use super::*;
use crate::error::ErrorKind;
use crate::runtime::lock;
use crate::transport::authorization::bearer;
use crate::transport::proxies::Choice;
use crate::transport::proxy::Proxy;

#[test]
fn the_upgrade_goes_to_the_url_to_the_letter_with_the_hosts_headers_223() {
    let (url, server) = server(1, |_, mut peer| {
        let first = peer.request.lines().next();
        assert_eq!(first, Some("GET /cometd?a=%20b HTTP/1.1"));
        let wanted = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("user-agent", "mine"),
            ("x-own", "1"),
            ("authorization", "Bearer token"),
            ("cookie", "c=2"),
        ];
        for (name, value) in wanted {
            assert_eq!(peer.header(name), Some(value), "{name}");
        }
        assert!(peer.header("host").unwrap().starts_with("127.0.0.1:"));
        for name in [
            "content-type",
            "content-length",
            "accept-encoding",
            "origin",
            "sec-websocket-extensions",
            "sec-websocket-protocol",
        ] {
            assert_eq!(peer.header(name), None);
        }
        peer.open();
        peer.until_end();
    });
    let mut settings = settings(&format!("{url}?a=%20b#there"));
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("mine"));
    headers.insert("x-own", HeaderValue::from_static("1"));
    settings.headers = Arc::new(headers);
    settings.authorization = Arc::new(Authorization::new(Some(bearer("token").unwrap())));
    lock(&settings.cookies).give("c", "2");
    assert!(run(open(&client(settings))).is_ok());
    server.join().unwrap();
}

#[test]
fn a_path_of_its_own_is_resolved_on_the_url_223() {
    let (url, server) = server(1, |_, mut peer| {
        assert!(peer.request.starts_with("GET /ws/here HTTP/1.1\r\n"));
        peer.open();
        peer.until_end();
    });
    let mut settings = settings(&url);
    let paths = BasePaths {
        websocket: Some("/ws/here".into()),
        handshake: Some("/other".into()),
        ..BasePaths::default()
    };
    let endpoints = Endpoints::new(&parse(&url).unwrap(), &paths, Append::Always);
    settings.servers = [Arc::new(endpoints.unwrap())].into();
    assert!(run(open(&client(settings))).is_ok());
    server.join().unwrap();
}

/// Opens a socket that is answered by 101 with these headers, in which ACCEPT
/// stands for the right one.
fn answered(headers: &str, protocol: Option<&'static str>) -> Result<(), Unopened> {
    let headers = headers.to_owned();
    let (url, server) = server(1, move |_, mut peer| {
        assert_eq!(peer.header("sec-websocket-protocol"), protocol);
        let headers = headers.replace("ACCEPT", &peer.accept());
        peer.say(format!("HTTP/1.1 101 Yes\r\n{headers}\r\n"));
        peer.until_end();
    });
    let mut settings = settings(&url);
    settings.protocol = protocol.map(HeaderValue::from_static);
    let opened = run(open(&client(settings))).map(drop);
    server.join().unwrap();
    opened
}

#[test]
fn a_101_is_read_leniently_224() {
    for headers in [
        "Upgrade: WEBSOCKET\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n",
        "UPGRADE: WebSocket\r\nconnection: x\r\nconnection: upgrade\r\nsec-websocket-accept:ACCEPT\r\n",
        "Upgrade : websocket\r\nBad\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\nContent-Length: 0\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions:\r\n",
    ] {
        let opened = answered(headers, None).map_err(|it| it.failure.text);
        assert_eq!(opened, Ok(()), "{headers}");
    }
    let chosen = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\
                  Sec-WebSocket-Protocol: bayeux\r\n";
    assert!(answered(chosen, Some("bayeux")).is_ok());
    // More than there is room for, of which those count that are read.
    let others: String = (0..150).map(|n| format!("X-{n}: {n}\r\n")).collect();
    assert!(answered(&format!("{others}{chosen}"), Some("bayeux")).is_ok());
    let extension = format!("{others}{chosen}Sec-WebSocket-Extensions: x\r\n");
    assert!(answered(&extension, Some("bayeux")).is_err());
}

#[test]
fn a_101_that_is_not_as_it_should_be_is_a_refusal_225() {
    let right = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n";
    for (headers, protocol, why) in [
        ("", None, "something else"),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n", None, "something else"),
        ("Upgrade: websocket, h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n", None, "something else"),
        ("Upgrade: websocket\r\nConnection: Upgrades\r\nSec-WebSocket-Accept: ACCEPT\r\n", None, "Connection"),
        ("Upgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n", None, "Connection"),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", None, "Accept"),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", None, "Accept"),
        (concat!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate\r\n"), None, "extension"),
        (concat!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n",
            "Sec-WebSocket-Protocol: bayeux\r\n"), None, "Protocol that was not"),
        (concat!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n",
            "Sec-WebSocket-Protocol: other\r\n"), Some("bayeux"), "Protocol that was not"),
        (right, Some("bayeux"), "without the Sec-WebSocket-Protocol"),
    ] {
        let unopened = answered(headers, protocol).unwrap_err();
        assert!(unopened.refused, "{headers}");
        assert_eq!(unopened.failure.http_status, 101);
        assert_eq!(unopened.failure.kind, ErrorKind::Protocol);
        let text = unopened.failure.text;
        assert!(text.contains(why), "{text}: {headers}");
    }
}

#[test]
fn each_other_status_is_told_with_its_page_and_refuses_websocket_232() {
    // With 204, 205 and 304 there is no page.
    let statuses: Vec<u16> = (200..=599)
        .filter(|it| !matches!(it, 301 | 302 | 307 | 308))
        .collect();
    let said = statuses.clone();
    let (url, server) = server(statuses.len(), move |index, mut peer| {
        let status = said[index];
        peer.say(format!(
            "HTTP/1.1 {status} So\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
             <html><title>Error {status} Unknown</title></html>"
        ));
    });
    let client = client(settings(&url));
    for status in statuses {
        let (failure, refused) = run(unopened(&client));
        assert_eq!(failure.http_status, status);
        assert_eq!(refused, !matches!(status, 401 | 407), "{status}");
        assert_eq!(failure.websocket_code, 0);
        let has_page = !matches!(status, 204 | 304) && !(300..=399).contains(&status);
        let page = format!("(HTML page \"Error {status} Unknown\")");
        assert_eq!(failure.text.contains(&page), has_page, "{}", failure.text);
        if matches!(status, 429 | 503) {
            assert_eq!(failure.retry_after, Some(5_000));
        }
        if status == 401 {
            assert_eq!(failure.kind, ErrorKind::Unauthorized);
        }
    }
    server.join().unwrap();
}

#[test]
fn redirects_are_followed_on_the_same_server_only_226() {
    for (status, kept) in [
        (301, true),
        (302, true),
        (303, false),
        (307, true),
        (308, true),
    ] {
        let connections = if kept { 2 } else { 1 };
        let (url, server) = server(connections, move |index, mut peer| match index {
            0 => peer.say(format!(
                "HTTP/1.1 {status} So\r\nLocation: /ws\r\nContent-Length: 0\r\n\r\n"
            )),
            _ => {
                assert!(peer.request.starts_with("GET /ws HTTP/1.1\r\n"));
                peer.open();
                peer.until_end();
            }
        });
        match run(open(&client(settings(&url)))) {
            Ok(_) => assert!(kept),
            Err(unopened) => {
                assert!(!kept && unopened.refused, "{}", unopened.failure.text);
                assert_eq!(unopened.failure.kind, ErrorKind::Redirect);
            }
        }
        server.join().unwrap();
    }
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}/cometd", other.local_addr().unwrap());
    let (url, server) = server(7, move |index, mut peer| {
        let to = if index == 0 { &elsewhere } else { "/cometd" };
        peer.say(format!(
            "HTTP/1.1 302 So\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        ));
    });
    let client = client(settings(&url));
    let (failure, refused) = run(unopened(&client));
    assert_eq!((failure.kind, refused), (ErrorKind::Redirect, true));
    assert!(other.accept().is_err(), "nothing is sent there");
    // In a circle.
    let (failure, refused) = run(unopened(&client));
    assert_eq!(failure.text, "more than 5 redirects");
    assert!(refused);
    server.join().unwrap();
}

#[test]
fn cookies_of_any_status_are_sent_with_the_next_request_229() {
    let (url, server) = server(3, |index, mut peer| match index {
        0 => {
            assert_eq!(peer.header("cookie"), None);
            peer.say("HTTP/1.1 403 No\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n");
        }
        1 => {
            assert_eq!(peer.header("cookie"), Some("a=1"));
            let head = peer
                .switching()
                .replacen("\r\n", "\r\nSet-Cookie: a=2\r\n", 1);
            peer.say(head);
            peer.until_end();
        }
        _ => assert_eq!(peer.header("cookie"), Some("a=2")),
    });
    let client = client(settings(&url));
    run(async {
        assert!(unopened(&client).await.1);
        assert!(open(&client).await.is_ok());
        // Closed without an answer.
        let (failure, refused) = unopened(&client).await;
        assert_eq!(failure.kind, ErrorKind::ConnectionLost);
        assert!(refused);
    });
    server.join().unwrap();
}

#[test]
fn what_comes_with_the_101_is_not_lost_230() {
    // One that hyper takes as it is, and one that is mended on its way.
    for odd in ["", "Odd : 1\r\n"] {
        let (url, server) = server(1, move |_, mut peer| {
            let head = peer.switching().replacen("\r\n", &format!("\r\n{odd}"), 1);
            let mut said = head.into_bytes();
            for index in 0..3_000 {
                said.extend(text(format!("[{index}]")));
            }
            peer.say(said);
            peer.until_end();
        });
        run(async {
            let mut socket = opened(&url).await;
            for index in 0..3_000 {
                assert_eq!(message(&mut socket).await.unwrap(), format!("[{index}]"));
            }
        });
        server.join().unwrap();
    }
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_231() {
    for (answer, kind, refused) in [
        ("403 No", ErrorKind::Proxy, true),
        ("502 No", ErrorKind::Proxy, true),
        ("401 No", ErrorKind::Proxy, true),
        ("407 No", ErrorKind::Proxy, false),
        ("200 Yes", ErrorKind::HttpStatus, true),
    ] {
        let (url, server) = server(1, move |_, mut peer| {
            assert!(peer
                .request
                .starts_with("CONNECT server.example:80 HTTP/1.1\r\n"));
            assert_eq!(peer.header("x-own"), None);
            peer.say(format!("HTTP/1.1 {answer}\r\n\r\n"));
            if answer.starts_with("200") {
                let mut peer = Peer::new(peer.stream);
                assert!(peer.request.starts_with("GET /cometd HTTP/1.1\r\n"));
                assert_eq!(peer.header("host"), Some("server.example"));
                assert_eq!(peer.header("x-own"), Some("1"));
                peer.say("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let proxy = Proxy::parse(url.trim_end_matches("/cometd")).unwrap();
        let mut settings = settings("http://server.example/cometd");
        settings.proxies = Arc::new(Choice::Always(Arc::new(proxy)).proxies());
        let headers = [("x-own".parse().unwrap(), HeaderValue::from_static("1"))];
        settings.headers = Arc::new(HeaderMap::from_iter(headers));
        let (failure, was_refused) = run(unopened(&client(settings)));
        assert_eq!((failure.kind, was_refused), (kind, refused), "{answer}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_or_a_proxy_that_is_not_there_refuses_nothing_231() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{place}/cometd");
    let (failure, refused) = run(unopened(&client(settings(&url))));
    assert_eq!((failure.kind, refused), (ErrorKind::Tcp, false));
    let mut settings = settings("http://server.example/cometd");
    let proxy = Arc::new(Proxy::parse(&place.to_string()).unwrap());
    settings.proxies = Arc::new(Choice::Always(proxy).proxies());
    let (failure, refused) = run(unopened(&client(settings)));
    assert_eq!((failure.kind, refused), (ErrorKind::Proxy, false));
}

#[test]
fn a_socket_is_opened_over_tls() {
    let identity = identity("127.0.0.1", None);
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&identity.certificate).unwrap();
    acceptor.set_private_key(&identity.key).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/cometd", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut peer = Peer::new(acceptor.accept(stream).unwrap());
        peer.open();
        let (_, sent) = peer.frame().unwrap();
        peer.say(text(sent));
        peer.until_end();
    });
    let mut settings = settings(&url);
    settings
        .tls
        .set_authorities(&identity.pem(), false)
        .unwrap();
    run(async {
        let mut socket = open(&client(settings)).await.ok().unwrap();
        let sent = "[1]".repeat(40_000);
        socket.send(sent.clone().into_bytes());
        flushed(&mut socket).await;
        assert!(message(&mut socket).await.unwrap() == sent);
    });
    server.join().unwrap();
}

#[test]
fn a_socket_cut_at_any_byte_is_an_error_and_what_came_before_it_counts() {
    let frames = [
        text("[1]"),
        frame(0x89, "p"),
        text("[2]"),
        close_frame(1000, "x"),
    ]
    .concat();
    let head = 129; // As long as its answers are.
    let length = head + frames.len();
    let said = frames.clone();
    let (url, server) = server(length, move |cut, mut peer| {
        let all = [peer.switching().into_bytes(), said.clone()].concat();
        assert_eq!(all.len(), length);
        peer.say(&all[..cut]);
        let _ = peer.stream.shutdown(std::net::Shutdown::Write);
        peer.until_end();
    });
    let client = client(settings(&url));
    for cut in 0..length {
        run(async {
            let mut socket = match open(&client).await {
                Ok(socket) => socket,
                Err(unopened) => {
                    assert!(cut < head && unopened.refused, "{cut}");
                    return;
                }
            };
            let came = cut - head;
            let mut messages = 0;
            let failure = loop {
                match message(&mut socket).await {
                    Ok(_) => messages += 1,
                    Err(failure) => break failure,
                }
            };
            assert_eq!(socket.heard(), came as u64);
            let ends = [5, 5 + 3 + 5];
            assert_eq!(messages, ends.iter().filter(|it| came >= **it).count());
            assert_eq!(failure.kind, ErrorKind::ConnectionLost);
            assert_eq!(failure.websocket_code, 1006);
            assert_eq!(message(&mut socket).await, Err(failure));
        });
    }
    server.join().unwrap();
}
