//! Proxies. For http the scripted peer is the proxy, as which it sees whole URLs;
//! https goes through a small proxy made here, which writes down all that it sees.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scenario;
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cometd::bayeux::ConnectionType;
use cometd::client::{Builder, Client, Waited};
use cometd::error::ErrorKind;
use cometd::session::State;
use cometd_peer::{Bayeux, Peer, Rules, Script, TlsFront};
use scenario::{backoff, Host, Run, END, SESSION};
use tls::{client_with, identity, next_error, wait_until, Identity, Server, LIMIT};

const TOKEN: &str = "token-of-the-origin";

// ---- http: requests that name the whole URL ----

/// A client of a server that no name server knows, and a peer as its proxy.
fn through_peer(script: &str, credentials: &str, configure: impl FnOnce(&mut Builder)) -> Run {
    let script = format!("base http://bayeux.invalid:8080/cometd\nlimit 20000\n{script}");
    let script = Script::parse(&script).unwrap_or_else(|error| panic!("{error}\n{script}"));
    let peer = Peer::start(script).unwrap();
    let proxy = peer
        .url("")
        .replacen("http://", &format!("http://{credentials}"), 1);
    let host = Host::new("http://bayeux.invalid:8080/cometd", |builder| {
        backoff(builder, 5, 20);
        builder.set_proxy(&proxy).unwrap();
        builder.set_bearer_token(TOKEN).unwrap();
        configure(builder);
    });
    Run { peer, host }
}

/// "127.0.0.1:PORT"
fn name_of(peer: &Peer) -> String {
    peer.url("")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned()
}

#[test]
fn http_requests_go_through_a_proxy_with_their_whole_url_and_its_credentials_204_205() {
    let both = r#"header="Host: bayeux.invalid:8080" header="Proxy-Authorization: Basic dXM6ZXI=" header="Authorization: Bearer token-of-the-origin""#;
    let mut run = through_peer(
        &format!(
            r#"
            expect handshake {both} as first
            answer header="Set-Cookie: A=1; Path=/"
            expect connect at-once {both} cookie="A=1" on=first
            answer
            expect connect {both} on=first as held
            expect publish /a {both} on=new as other
            answer other
            expect publish /a {both} on=other
            answer
            {END}"#
        ),
        "us:er@",
        |_| {},
    )
    .start();
    run.until("Connected").requested("held");
    for _ in 0..2 {
        let id = run.publish("/a", "1");
        run.until(&format!("published {id} /a"));
    }
    run.disconnect().played();
}

#[test]
fn a_proxy_that_wants_credentials_is_told_and_asked_again_205() {
    for (given, why) in [
        ("", "wants credentials"),
        ("wrong:very-secret@", "does not accept the credentials"),
    ] {
        let condition = match given {
            "" => "no-header=Proxy-Authorization",
            _ => "header=\"Proxy-Authorization: Basic *\"",
        };
        let refuse = r#"answer status=407 header="Proxy-Authenticate: Basic realm=x" header="Set-Cookie: P=1; Path=/" : very-secret token-of-the-origin"#;
        let mut run = through_peer(
            &format!(
                "expect handshake {condition}
                {refuse}
                expect handshake {condition} no-header=Cookie
                {refuse}
                {SESSION}
                expect connect
                {refuse}
                expect connect at-once
                answer
                expect connect as held
                {END}"
            ),
            given,
            // It has nothing for a proxy.
            |it| it.set_token_provider(Some(Arc::new(|_, _| panic!("it was asked")))),
        )
        .start();
        for expected in [
            "error handshake Proxy 407",
            "error handshake Proxy 407",
            "Connected",
            "error connect Proxy 407",
            "Connected",
        ] {
            run.until(expected);
        }
        run.requested("held").disconnect().played();
        let name = name_of(&run.peer);
        for error in &run.host.errors {
            let expected =
                format!("the proxy {name} {why}: HTTP 407 Proxy Authentication Required");
            assert!(error.message.contains(&expected), "{}", error.message);
            assert!(error.retry_in.is_some() && !error.fatal);
            for secret in ["secret", TOKEN] {
                assert!(!error.message.contains(secret), "{}", error.message);
            }
        }
    }
}

#[test]
fn a_proxy_that_breaks_a_held_connect_is_a_network_failure_in_the_same_session_204() {
    let mut run = through_peer(
        &format!(
            "{SESSION}
            expect connect as dying
            pause 700
            close dying
            expect connect at-once as again
            reset again
            expect connect at-once
            answer status=502
            expect connect at-once
            answer
            expect connect as held
            {END}"
        ),
        "",
        |_| {},
    )
    .start();
    run.requested("held").disconnect().played();
    let through = format!("(through the proxy {})", name_of(&run.peer));
    let kinds: Vec<_> = run.host.errors.iter().map(|it| it.kind).collect();
    assert_eq!(
        kinds,
        [
            ErrorKind::ConnectionLost,
            ErrorKind::ConnectionLost,
            ErrorKind::HttpStatus
        ]
    );
    for error in &run.host.errors {
        assert!(error.message.contains(&through), "{}", error.message);
    }
}

// ---- https: tunnels ----

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Tunnel,
    /// As many proxies do: an old version, and headers of a response with a body.
    OldTunnel,
    /// Only with these credentials.
    For(&'static str),
    Refuse(&'static str),
    Close,
    Silence,
    /// Bytes behind its answer, before the client has said anything.
    Early,
}

/// A proxy that leads to one server, whatever name it is asked for.
struct Proxy {
    port: u16,
    inside: Arc<Inside>,
}

struct Inside {
    server: AtomicU16,
    answer: Mutex<Answer>,
    /// All bytes that clients have sent.
    seen: Mutex<Vec<u8>>,
    heads: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn new(server: &Server, answer: Answer) -> Self {
        Self::to(server.port, answer)
    }

    fn to(server: u16, answer: Answer) -> Self {
        let inside = Arc::new(Inside {
            server: AtomicU16::new(server),
            answer: Mutex::new(answer),
            seen: Mutex::default(),
            heads: Mutex::default(),
            streams: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = inside.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inside = shared.clone();
                let copy = stream.try_clone().unwrap();
                inside.streams.lock().unwrap().push(copy);
                thread::spawn(move || inside.serve(stream));
            }
        });
        Self { port, inside }
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn answers(&self, answer: Answer) {
        *self.inside.answer.lock().unwrap() = answer;
    }

    fn leads_to(&self, port: u16) {
        self.inside.server.store(port, Ordering::SeqCst);
    }

    /// Breaks all connections.
    fn kill(&self) {
        for stream in self.inside.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn heads(&self) -> Vec<String> {
        self.inside.heads.lock().unwrap().clone()
    }

    fn saw(&self, text: &str) -> bool {
        let seen = self.inside.seen.lock().unwrap();
        seen.windows(text.len()).any(|it| it == text.as_bytes())
    }
}

impl Inside {
    fn serve(&self, mut client: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if client.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.extend(byte);
        }
        self.seen.lock().unwrap().extend(&head);
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        self.heads.lock().unwrap().push(head.clone());
        let answer = *self.answer.lock().unwrap();
        let good = "HTTP/1.1 200 Connection established\r\n\r\n";
        let (text, tunnels) = match answer {
            Answer::Tunnel => (good.to_owned(), true),
            Answer::OldTunnel => (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nProxy-Agent: old\r\n\r\n".to_owned(),
                true,
            ),
            Answer::For(credentials) => {
                let header = format!("\r\nproxy-authorization: basic {credentials}\r\n");
                if head.contains(&header.to_ascii_lowercase()) {
                    (good.to_owned(), true)
                } else {
                    (refusal("407 Proxy Authentication Required"), false)
                }
            }
            Answer::Refuse(status) => (refusal(status), false),
            Answer::Close => (String::new(), false),
            Answer::Silence => {
                let _ = client.read(&mut [0]);
                return;
            }
            Answer::Early => (format!("{good}early"), true),
        };
        client.write_all(text.as_bytes()).unwrap();
        if !tunnels {
            if answer == Answer::Close {
                let _ = client.shutdown(Shutdown::Both);
            }
            // What is refused is not closed: the client must not wait for that.
            let _ = client.read(&mut [0]);
            return;
        }
        let server = TcpStream::connect(("127.0.0.1", self.server.load(Ordering::SeqCst))).unwrap();
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let (mut from, mut to) = (client, server);
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            self.seen.lock().unwrap().extend(&buffer[..length]);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn refusal(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 1000\r\nConnection: keep-alive\r\n\r\nbegin")
}

struct Setup {
    server: Server,
    proxy: Proxy,
    authority: Identity,
}

impl Setup {
    fn new(answer: Answer) -> Self {
        let authority = identity("authority.example", None);
        let server = Server::new(&identity("bayeux.invalid", Some(&authority)));
        let proxy = Proxy::new(&server, answer);
        Self {
            server,
            proxy,
            authority,
        }
    }

    /// A client of a server that no name server knows.
    fn client(&self, credentials: &str, configure: impl FnOnce(&mut Builder)) -> Client {
        client_with("https://bayeux.invalid/cometd", None, |builder| {
            let authorities = self.authority.pem();
            builder
                .set_certificate_authorities(&authorities, false)
                .unwrap();
            let url = format!("http://{credentials}{}", self.proxy.name());
            builder.set_proxy(&url).unwrap();
            builder.set_bearer_token(TOKEN).unwrap();
            builder
                .add_cookie("cookie", "cookie-of-the-origin")
                .unwrap();
            configure(builder);
        })
    }
}

fn end(client: &Client) {
    client.disconnect(Duration::from_secs(30)).unwrap();
}

#[test]
fn https_goes_through_a_tunnel_in_which_the_proxy_sees_nothing_204_205_201() {
    for answer in [Answer::For("dXM6ZXI="), Answer::OldTunnel] {
        let setup = Setup::new(answer);
        let client = setup.client("us:er@", |_| {});
        let inside = &setup.server.inside;
        wait_until("connects", || inside.connects.load(Ordering::SeqCst) >= 4);
        end(&client);
        // The proxy hears where to, and what is its own.
        let heads = setup.proxy.heads();
        for head in &heads {
            assert!(
                head.starts_with("connect bayeux.invalid:443 http/1.1\r\n"),
                "{head}"
            );
            assert!(head.contains("\r\nhost: bayeux.invalid:443\r\n"), "{head}");
            assert!(
                head.contains("\r\nproxy-authorization: basic dxm6zxi=\r\n"),
                "{head}"
            );
            for other in ["\r\nauthorization", "cookie", "content-type"] {
                assert!(!head.contains(other), "{head}");
            }
        }
        for secret in [TOKEN, "cookie-of-the-origin", "/meta/", "/cometd"] {
            assert!(!setup.proxy.saw(secret), "the proxy saw {secret}");
        }
        // The server hears of no proxy, and each tunnel is used again.
        let requests = inside.heads.lock().unwrap();
        for head in &*requests {
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("post /cometd/"), "{head}");
            assert!(
                head.contains(&format!("\r\nauthorization: bearer {TOKEN}\r\n")),
                "{head}"
            );
            assert!(head.contains("cookie=cookie-of-the-origin"), "{head}");
            assert!(!head.contains("proxy-"), "{head}");
        }
        assert!(heads.len() < requests.len(), "{} tunnels", heads.len());
        for name in &*inside.names.lock().unwrap() {
            assert_eq!(name.as_deref(), Some("bayeux.invalid"));
        }
    }
}

#[test]
fn a_tunnel_refused_for_credentials_is_told_and_asked_for_again_205() {
    for (given, why) in [
        ("", "wants credentials"),
        ("wrong:very-secret@", "does not accept the credentials"),
    ] {
        let setup = Setup::new(Answer::For("cmlnaHQ6cmlnaHQ="));
        let client = setup.client(given, |it| {
            it.set_token_provider(Some(Arc::new(|_, _| panic!("it was asked"))));
        });
        for _ in 0..3 {
            let error = next_error(&client);
            assert_eq!(error.kind, ErrorKind::Proxy);
            assert_eq!(error.http_status, 407);
            assert!(error.retry_in.is_some() && !error.fatal);
            let name = setup.proxy.name();
            let expected = format!(
                "handshake: the proxy {name} {why}: HTTP 407 Proxy Authentication Required [client "
            );
            assert!(error.message.starts_with(&expected), "{}", error.message);
        }
        for secret in [TOKEN, "cookie-of-the-origin", "/meta/"] {
            assert!(!setup.proxy.saw(secret), "the proxy saw {secret}");
        }
        // As soon as it lets the client through, all is well.
        setup.proxy.answers(Answer::Tunnel);
        assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
        end(&client);
        assert!(!setup.proxy.saw(TOKEN));
    }
}

#[test]
fn a_proxy_that_makes_no_tunnel_is_told_by_its_name_and_tried_again_204() {
    for (answer, why, status) in [
        (
            Answer::Refuse("403 Forbidden"),
            "does not connect to bayeux.invalid:443: HTTP 403 Forbidden",
            403,
        ),
        // The server's path is not what is not found.
        (
            Answer::Refuse("404 Not Found"),
            "does not connect to bayeux.invalid:443: HTTP 404 Not Found",
            404,
        ),
        (
            Answer::Refuse("599 Odd"),
            "does not connect to bayeux.invalid:443: HTTP 599",
            599,
        ),
        (Answer::Close, "closed the connection before it answered", 0),
        (
            Answer::Silence,
            "did not connect to bayeux.invalid:443: timed out after 2400 ms",
            0,
        ),
        (
            Answer::Early,
            "sends something before the tunnel is in use",
            0,
        ),
    ] {
        let setup = Setup::new(answer);
        let client = setup.client("", |it| it.set_request_timeout(Duration::from_secs(3)));
        for _ in 0..2 {
            let error = next_error(&client);
            let name = setup.proxy.name();
            let expected = format!("handshake: the proxy {name} {why} [client ");
            assert!(error.message.starts_with(&expected), "{}", error.message);
            assert_eq!((error.kind, error.http_status), (ErrorKind::Proxy, status));
            assert!(error.retry_in.is_some() && !error.fatal);
        }
        setup.proxy.answers(Answer::Tunnel);
        assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
        end(&client);
    }
}

#[test]
fn a_proxy_that_is_not_there_is_told_by_its_name_204() {
    let vacant = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let nowhere = "nowhere.invalid:3128".to_owned();
    for (proxy, why) in [
        (vacant.to_string(), "tcp connect to "),
        (nowhere, "dns lookup for "),
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://127.0.0.1:9/cometd");
            let client = client_with(&url, Some(0), |it| it.set_proxy(&proxy).unwrap());
            let error = next_error(&client);
            assert_eq!(error.kind, ErrorKind::Proxy);
            let start = format!("handshake: the proxy {proxy} could not be reached: {why}{proxy}");
            assert!(error.message.starts_with(&start), "{}", error.message);
        }
    }
}

#[test]
fn a_proxy_that_dies_under_a_held_connect_costs_no_session_204() {
    let setup = Setup::new(Answer::Tunnel);
    let inside = &setup.server.inside;
    let client = setup.client("", |_| {});
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
    inside.holds.store(true, Ordering::SeqCst);
    for times in 1..=3 {
        wait_until("a held connect", || {
            inside.held.load(Ordering::SeqCst) >= times
        });
        // An end within half a second could be of an idle connection, and the
        // connect would go out again without a word.
        thread::sleep(Duration::from_millis(700));
        setup.proxy.kill();
        let error = next_error(&client);
        assert_eq!(error.kind, ErrorKind::ConnectionLost, "{}", error.message);
        let through = format!("(through the proxy {})", setup.proxy.name());
        assert!(error.message.contains(&through), "{}", error.message);
    }
    inside.holds.store(false, Ordering::SeqCst);
    setup.proxy.kill();
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
    end(&client);
    assert_eq!(inside.handshakes.load(Ordering::SeqCst), 1);
}

#[test]
fn the_servers_certificate_is_verified_through_a_tunnel_as_well_204_201() {
    let mut setup = Setup::new(Answer::Tunnel);
    setup.authority = identity("other.example", None);
    let client = setup.client("", |_| {});
    let error = next_error(&client);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    let start = "handshake: tls with bayeux.invalid:443: ";
    assert!(error.message.starts_with(start), "{}", error.message);
    let through = format!("(through the proxy {})", setup.proxy.name());
    assert!(error.message.contains(&through), "{}", error.message);
    assert!(!setup.proxy.saw(TOKEN));
}

// ---- TLS to the proxy ----

/// The same, with TLS in front of the proxy.
struct Secured {
    setup: Setup,
    front: TlsFront,
}

impl Secured {
    fn new(answer: Answer) -> Self {
        let setup = Setup::new(answer);
        let own = identity("127.0.0.1", Some(&setup.authority));
        let front = TlsFront::start(&own, setup.proxy.port).unwrap();
        Self { setup, front }
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}", self.front.port())
    }

    fn client(&self, credentials: &str, configure: impl FnOnce(&mut Builder)) -> Client {
        self.setup.client("", |builder| {
            let url = format!("https://{credentials}{}", self.name());
            builder.set_proxy(&url).unwrap();
            configure(builder);
        })
    }
}

#[test]
fn https_goes_by_tls_in_tls_and_the_proxy_is_not_told_who_the_client_is_265_205_201() {
    let secured = Secured::new(Answer::For("dXM6ZXI="));
    let setup = &secured.setup;
    // This one wants a certificate, and the proxy would like one.
    let clients = identity("clients.example", None);
    let own = identity("a-client.example", Some(&clients));
    let server = identity("bayeux.invalid", Some(&setup.authority));
    let server = Server::for_clients_of(&server, &clients);
    setup.proxy.leads_to(server.port);
    let client = secured.client("us:er@", |builder| {
        let (certificate, key) = (own.pem(), own.key_pem());
        builder.set_client_certificate(&certificate, &key).unwrap();
    });
    let inside = &server.inside;
    wait_until("connects", || inside.connects.load(Ordering::SeqCst) >= 4);
    end(&client);
    let heads = setup.proxy.heads();
    for head in &heads {
        let start = "connect bayeux.invalid:443 http/1.1\r\n";
        assert!(head.starts_with(start), "{head}");
    }
    for secret in [TOKEN, "cookie-of-the-origin", "/meta/", "/cometd"] {
        assert!(!setup.proxy.saw(secret), "the proxy saw {secret}");
    }
    for client in &*inside.clients.lock().unwrap() {
        assert_eq!(client.as_deref(), Some("a-client.example"));
    }
    assert_eq!(secured.front.accepted(), heads.len());
    assert_eq!(secured.front.certificates(), 0);
}

#[test]
fn http_and_websocket_go_through_a_proxy_over_tls_265() {
    // As which the peer sees whole URLs.
    let authority = identity("authority.example", None);
    let script = r#"
        base http://bayeux.invalid:8080/cometd
        limit 20000
        expect handshake header="Proxy-Authorization: Basic dXM6ZXI="
        answer
        expect connect at-once header="Proxy-Authorization: Basic dXM6ZXI="
        answer
        expect connect as held
        expect disconnect
        answer"#;
    let peer = Peer::start(Script::parse(script).unwrap()).unwrap();
    let port = name_of(&peer).rsplit(':').next().unwrap().parse().unwrap();
    let front = TlsFront::start(&identity("127.0.0.1", Some(&authority)), port).unwrap();
    let url = format!("https://us:er@127.0.0.1:{}", front.port());
    let trusting = |builder: &mut Builder| {
        builder
            .set_certificate_authorities(&authority.pem(), false)
            .unwrap();
    };
    let there = "http://bayeux.invalid:8080/cometd";
    let client = client_with(there, None, |builder| {
        builder.set_proxy(&url).unwrap();
        trusting(builder);
    });
    peer.wait_for("held").unwrap();
    end(&client);
    peer.wait().unwrap();

    let server = Bayeux::start("/cometd", Rules::default()).unwrap();
    let proxy = Proxy::to(server.port(), Answer::Tunnel);
    let front = TlsFront::start(&identity("127.0.0.1", Some(&authority)), proxy.port).unwrap();
    let client = client_with(there, None, |builder| {
        let url = format!("https://127.0.0.1:{}", front.port());
        builder.set_proxy(&url).unwrap();
        builder
            .set_transports(&[ConnectionType::WebSocket])
            .unwrap();
        trusting(builder);
    });
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
    end(&client);
    assert_eq!(server.counts().accepted, 1);
    let asked = proxy.heads();
    let start = "connect bayeux.invalid:8080 http/1.1\r\n";
    assert!(asked.iter().all(|it| it.starts_with(start)), "{asked:?}");
}

#[test]
fn a_proxy_whose_certificate_nobody_trusts_hears_nothing_265() {
    let setup = Setup::new(Answer::Tunnel);
    for own in [
        identity("127.0.0.1", None),
        identity("elsewhere.example", Some(&setup.authority)),
    ] {
        let front = TlsFront::start(&own, setup.proxy.port).unwrap();
        let name = format!("127.0.0.1:{}", front.port());
        let through = |builder: &mut Builder| {
            let url = format!("https://user:very-secret@{name}");
            builder.set_proxy(&url).unwrap();
        };
        for target in [
            "https://bayeux.invalid/cometd",
            "http://bayeux.invalid/cometd",
        ] {
            let client = client_with(target, None, |builder| {
                let authorities = setup.authority.pem();
                builder
                    .set_certificate_authorities(&authorities, false)
                    .unwrap();
                through(builder);
            });
            for _ in 0..2 {
                let error = next_error(&client);
                let start = format!(
                    "handshake: the proxy {name} could not be reached: tls with {name}: \
                     certificate verify failed: "
                );
                assert!(error.message.starts_with(&start), "{}", error.message);
                assert_eq!(error.kind, ErrorKind::Proxy);
                assert!(error.retry_in.is_some() && !error.fatal);
                assert!(!error.message.contains("secret"), "{}", error.message);
            }
        }
        assert_eq!(front.accepted(), 0);
        wait_until("the ends of four attempts", || front.refused() >= 4);
        // Whoever wants it all the same.
        let client = setup.client("", |builder| {
            through(builder);
            builder.set_insecure(true);
        });
        assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
        end(&client);
    }
}

/// What answers whatever comes by HTTP: its host and port.
fn plain_http() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    name
}

#[test]
fn a_proxy_that_speaks_no_tls_or_nothing_at_all_is_told_265() {
    let setup = Setup::new(Answer::Tunnel);
    // The system accepts what comes here, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_name = silent.local_addr().unwrap().to_string();
    for (name, why) in [
        (
            plain_http(),
            "wrong version number; does the server speak plain HTTP on this port?",
        ),
        (silent_name, "timed out after 1600 ms"),
    ] {
        let client = setup.client("", |builder| {
            builder.set_proxy(&format!("https://{name}")).unwrap();
            builder.set_request_timeout(Duration::from_secs(2));
        });
        let error = next_error(&client);
        let start = format!(
            "handshake: the proxy {name} could not be reached: tls with {name}: {why} [client "
        );
        assert!(error.message.starts_with(&start), "{}", error.message);
        assert_eq!(error.kind, ErrorKind::Proxy);
    }
}

#[test]
fn a_tls_proxy_that_refuses_or_dies_is_told_and_tried_again_265_205() {
    let secured = Secured::new(Answer::Tunnel);
    let inside = &secured.setup.server.inside;
    for (answer, why, status) in [
        (
            Answer::Refuse("403 Forbidden"),
            "does not connect to bayeux.invalid:443: HTTP 403 Forbidden",
            403,
        ),
        (
            Answer::For("cmlnaHQ6cmlnaHQ="),
            "does not accept the credentials: HTTP 407 Proxy Authentication Required",
            407,
        ),
        (Answer::Close, "closed the connection before it answered", 0),
    ] {
        secured.setup.proxy.answers(answer);
        inside.handshakes.store(0, Ordering::SeqCst);
        inside.held.store(0, Ordering::SeqCst);
        let client = secured.client("user:very-secret@", |_| {});
        for _ in 0..2 {
            let error = next_error(&client);
            let start = format!("handshake: the proxy {} {why} [client ", secured.name());
            assert!(error.message.starts_with(&start), "{}", error.message);
            assert_eq!((error.kind, error.http_status), (ErrorKind::Proxy, status));
            assert!(error.retry_in.is_some() && !error.fatal);
        }
        secured.setup.proxy.answers(Answer::Tunnel);
        assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
        // It dies under a held connect.
        inside.holds.store(true, Ordering::SeqCst);
        wait_until("a held connect", || inside.held.load(Ordering::SeqCst) > 0);
        inside.holds.store(false, Ordering::SeqCst);
        secured.setup.proxy.kill();
        inside.connects.store(0, Ordering::SeqCst);
        wait_until("connects", || inside.connects.load(Ordering::SeqCst) >= 2);
        end(&client);
        assert_eq!(inside.handshakes.load(Ordering::SeqCst), 1);
    }
}
