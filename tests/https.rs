//! https with the system's trust store, against a TLS server made here.
//!
//! One process has one trust store, read at its first https client; so the tests
//! share it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use cometd::client::{Builder, Client, Waited};
use cometd::delivery::{Event, Notice, Polled};
use cometd::error::{Error, ErrorKind};
use cometd::session::State;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509NameBuilder, X509};

const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate for a host: signed by an authority, or by itself.
fn identity(host: &str, authority: Option<&Identity>) -> Identity {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", host).unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    static SERIAL: AtomicUsize = AtomicUsize::new(1);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed) as u32;
    let serial = BigNum::from_u32(serial).unwrap();
    let serial = serial.to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    let issuer = authority.map_or(&*name, |it| it.certificate.subject_name());
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(&key).unwrap();
    let (from, to) = (
        Asn1Time::days_from_now(0).unwrap(),
        Asn1Time::days_from_now(1).unwrap(),
    );
    builder.set_not_before(&from).unwrap();
    builder.set_not_after(&to).unwrap();
    if authority.is_none() {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
    }
    let mut names = SubjectAlternativeName::new();
    match host.parse::<std::net::IpAddr>() {
        Ok(_) => names.ip(host),
        Err(_) => names.dns(host),
    };
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    let signer = authority.map_or(&key, |it| &it.key);
    builder.sign(signer, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    Identity { certificate, key }
}

/// What the system trusts in these tests.
struct Trusted {
    here: Identity,
    elsewhere: Identity,
    authority: Identity,
}

fn trusted() -> &'static Trusted {
    static TRUSTED: OnceLock<Trusted> = OnceLock::new();
    TRUSTED.get_or_init(|| {
        let trusted = Trusted {
            here: identity("127.0.0.1", None),
            elsewhere: identity("elsewhere.example", None),
            authority: identity("authority.example", None),
        };
        let mut store = Vec::new();
        for it in [&trusted.here, &trusted.elsewhere, &trusted.authority] {
            store.extend(it.certificate.to_pem().unwrap());
        }
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/https-trust.pem");
        std::fs::write(path, store).unwrap();
        // OpenSSL reads its default store from here; nothing has used it yet.
        std::env::set_var("SSL_CERT_FILE", path);
        trusted
    })
}

/// Serves handshakes and connects.
struct Server {
    url: String,
    port: u16,
    inside: Arc<Inside>,
}

struct Inside {
    acceptor: Mutex<SslAcceptor>,
    connections: Mutex<Vec<TcpStream>>,
    /// Bayeux handshakes, and connects since the last renewal.
    handshakes: AtomicUsize,
    connects: AtomicUsize,
}

fn acceptor(identity: &Identity) -> SslAcceptor {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&identity.certificate).unwrap();
    acceptor.set_private_key(&identity.key).unwrap();
    acceptor.build()
}

impl Server {
    fn new(identity: &Identity) -> Self {
        let inside = Arc::new(Inside {
            acceptor: Mutex::new(acceptor(identity)),
            connections: Mutex::default(),
            handshakes: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = inside.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inside = shared.clone();
                let acceptor = {
                    let mut connections = inside.connections.lock().unwrap();
                    connections.push(stream.try_clone().unwrap());
                    inside.acceptor.lock().unwrap().clone()
                };
                thread::spawn(move || {
                    if let Ok(stream) = acceptor.accept(stream) {
                        inside.answer_all(stream);
                    }
                });
            }
        });
        Self {
            url: format!("https://127.0.0.1:{port}/cometd"),
            port,
            inside,
        }
    }

    /// As a restart does: all connections are closed, and new ones get this
    /// certificate.
    fn renew(&self, identity: &Identity) {
        let mut connections = self.inside.connections.lock().unwrap();
        *self.inside.acceptor.lock().unwrap() = acceptor(identity);
        self.inside.connects.store(0, Ordering::SeqCst);
        for stream in connections.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Inside {
    fn answer_all(&self, stream: SslStream<TcpStream>) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let counter = match message[0]["channel"].as_str() {
                Some("/meta/handshake") => &self.handshakes,
                _ => &self.connects,
            };
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = serde_json::json!([{
                "channel": message[0]["channel"],
                "id": message[0]["id"],
                "successful": true,
                "version": "1.0",
                "clientId": "c",
                "supportedConnectionTypes": ["long-polling"],
                "advice": {"interval": 100},
            }])
            .to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let stream = stream.get_mut();
            if stream.write_all((head + &answer).as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn client(url: &str, retries: Option<u32>) -> Client {
    let mut builder = Builder::new(url).unwrap();
    builder.set_number_of_retries(retries);
    let (increment, maximum) = (Duration::from_millis(10), Duration::from_millis(100));
    builder.set_backoff(increment, maximum).unwrap();
    let client = builder.build().unwrap();
    client.connect().unwrap();
    client
}

fn next_error(client: &Client) -> Error {
    let queue = client.receiver().unwrap();
    loop {
        match queue.poll(LIMIT) {
            Polled::Event(Event::Notice(notice)) => {
                if let Notice::Error { error, .. } = &*notice {
                    return error.clone();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn fatal_error(client: &Client) -> Error {
    let error = next_error(client);
    assert!(error.fatal);
    error
}

#[test]
fn https_trusts_what_the_system_trusts_and_nothing_else_200() {
    let trusted = trusted();
    let server = Server::new(&trusted.here);
    let good = client(&server.url, Some(0));
    assert_eq!(good.wait(State::Connected, LIMIT), Waited::Reached);
    good.disconnect(Duration::from_secs(30)).unwrap();

    let server = Server::new(&trusted.elsewhere);
    let wrong_host = client(&server.url, Some(0));
    let error = fatal_error(&wrong_host);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    let start = format!("handshake: tls with 127.0.0.1:{}: ", server.port);
    assert!(error.message.starts_with(&start), "{}", error.message);

    let server = Server::new(&identity("127.0.0.1", None));
    let untrusted = client(&server.url, Some(0));
    let error = fatal_error(&untrusted);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    let reason = "certificate verify failed";
    assert!(error.message.contains(reason), "{}", error.message);
}

/// The next state of the client that is told.
fn next_state(client: &Client) -> State {
    let queue = client.receiver().unwrap();
    loop {
        match queue.poll(LIMIT) {
            Polled::Event(Event::Notice(notice)) => {
                if let Notice::State { state, .. } = &*notice {
                    return *state;
                }
            }
            Polled::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_certificate_that_is_renewed_in_the_middle_of_a_session_costs_nothing_203() {
    let authority = &trusted().authority;
    let server = Server::new(&identity("127.0.0.1", Some(authority)));
    let client = client(&server.url, None);
    for expected in [State::Handshaking, State::Connecting, State::Connected] {
        assert_eq!(next_state(&client), expected);
    }
    for _ in 0..3 {
        server.renew(&identity("127.0.0.1", Some(authority)));
        // Over new connections only, and in the same session.
        let start = Instant::now();
        while server.inside.connects.load(Ordering::SeqCst) < 3 {
            assert!(start.elapsed() < LIMIT.unwrap(), "no connect comes");
            thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(server.inside.handshakes.load(Ordering::SeqCst), 1);

    // One that nobody trusts is told, and tried again until there is a good one.
    server.renew(&identity("127.0.0.1", None));
    loop {
        let error = next_error(&client);
        if error.kind == ErrorKind::Tls {
            assert!(
                !error.fatal && error.retry_in.is_some(),
                "{}",
                error.message
            );
            break;
        }
    }
    server.renew(&identity("127.0.0.1", Some(authority)));
    while next_state(&client) != State::Connected {}
    assert_eq!(server.inside.handshakes.load(Ordering::SeqCst), 1);
    client.disconnect(Duration::from_secs(30)).unwrap();
}
