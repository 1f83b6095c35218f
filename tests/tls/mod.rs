//! A TLS server that speaks a little Bayeux, certificates for it, and clients.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cometd::client::{Builder, Client};
use cometd::delivery::{Event, Notice, Polled};
use cometd::error::Error;
use openssl::ssl::{
    AlpnError, NameType, SslAcceptor, SslAcceptorBuilder, SslMethod, SslOptions, SslStream,
    SslVerifyMode, SslVersion,
};

pub const LIMIT: Option<Duration> = Some(Duration::from_secs(60));

pub use cometd_peer::{identity, Identity};

/// Serves handshakes and connects.
pub struct Server {
    pub url: String,
    pub port: u16,
    pub inside: Arc<Inside>,
}

#[derive(Default)]
pub struct Inside {
    acceptor: Mutex<Option<SslAcceptor>>,
    connections: Mutex<Vec<TcpStream>>,
    /// Bayeux handshakes, and connects since the last renewal.
    pub handshakes: AtomicUsize,
    pub connects: AtomicUsize,
    /// Connects are answered by nothing.
    pub holds: AtomicBool,
    /// Connects that were answered by nothing.
    pub held: AtomicUsize,
    /// New connections are accepted, and their TLS handshakes not answered.
    pub stalls: AtomicBool,
    /// Connections that met that, and those of them that the client has closed.
    pub stalled: AtomicUsize,
    pub hung_up: AtomicUsize,
    /// The request line and the headers of each request.
    pub heads: Mutex<Vec<String>>,
    /// Of each connection, the name that was asked for, who the client is, and
    /// the protocol that was agreed on.
    pub names: Mutex<Vec<Option<String>>>,
    pub clients: Mutex<Vec<Option<String>>>,
    pub protocols: Mutex<Vec<Option<Vec<u8>>>>,
}

fn acceptor(identity: &Identity) -> SslAcceptorBuilder {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&identity.certificate).unwrap();
    acceptor.set_private_key(&identity.key).unwrap();
    acceptor
}

impl Server {
    pub fn new(identity: &Identity) -> Self {
        Self::with(acceptor(identity).build())
    }

    /// Which serves only clients whose certificate the authority has signed.
    pub fn for_clients_of(identity: &Identity, authority: &Identity) -> Self {
        let mut acceptor = acceptor(identity);
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        acceptor.set_session_id_context(b"cometd").unwrap();
        let authority = authority.certificate.clone();
        acceptor.cert_store_mut().add_cert(authority).unwrap();
        Self::with(acceptor.build())
    }

    /// Which speaks this version and no other.
    pub fn of_version(identity: &Identity, version: SslVersion) -> Self {
        let mut acceptor = acceptor(identity);
        // OpenSSL's own options and level keep TLS 1.1 from being spoken.
        acceptor
            .clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1 | SslOptions::NO_TLSV1_3);
        acceptor.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
        acceptor.set_min_proto_version(Some(version)).unwrap();
        acceptor.set_max_proto_version(Some(version)).unwrap();
        Self::with(acceptor.build())
    }

    /// Which would rather speak HTTP/2.
    pub fn of_http_2(identity: &Identity) -> Self {
        let mut acceptor = acceptor(identity);
        acceptor.set_alpn_select_callback(|_, offered| {
            openssl::ssl::select_next_proto(b"\x02h2\x08http/1.1", offered).ok_or(AlpnError::NOACK)
        });
        Self::with(acceptor.build())
    }

    fn with(acceptor: SslAcceptor) -> Self {
        let inside = Arc::new(Inside {
            acceptor: Mutex::new(Some(acceptor)),
            ..Inside::default()
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
                    inside.acceptor.lock().unwrap().clone().unwrap()
                };
                thread::spawn(move || {
                    if inside.stalls.load(Ordering::SeqCst) {
                        return inside.stall(stream);
                    }
                    if let Ok(stream) = acceptor.accept(stream) {
                        inside.note(&stream);
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

    /// Closes all connections.
    pub fn kill(&self) {
        for stream in self.inside.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// As a restart does: all connections are closed, and new ones get this
    /// certificate.
    pub fn renew(&self, identity: &Identity) {
        let mut connections = self.inside.connections.lock().unwrap();
        *self.inside.acceptor.lock().unwrap() = Some(acceptor(identity).build());
        self.inside.connects.store(0, Ordering::SeqCst);
        for stream in connections.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Waits for a condition that nothing else tells of.
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT.unwrap(), "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Inside {
    /// Says nothing for as long as the client waits.
    fn stall(&self, mut stream: TcpStream) {
        self.stalled.fetch_add(1, Ordering::SeqCst);
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).is_ok_and(|it| it > 0) {}
        self.hung_up.fetch_add(1, Ordering::SeqCst);
    }

    fn note(&self, stream: &SslStream<TcpStream>) {
        let ssl = stream.ssl();
        let name = ssl.servername(NameType::HOST_NAME).map(str::to_owned);
        self.names.lock().unwrap().push(name);
        let client = ssl.peer_certificate().map(|it| {
            let name = it.subject_name().entries().next().unwrap().data();
            String::from_utf8(name.as_slice().to_vec()).unwrap()
        });
        self.clients.lock().unwrap().push(client);
        let protocol = ssl.selected_alpn_protocol().map(<[u8]>::to_vec);
        self.protocols.lock().unwrap().push(protocol);
    }

    fn answer_all(&self, stream: SslStream<TcpStream>) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut length = 0;
            let mut head = String::new();
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
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
            self.heads.lock().unwrap().push(head);
            let is_connect = message[0]["channel"] == "/meta/connect";
            if is_connect && self.holds.load(Ordering::SeqCst) {
                self.held.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0]);
                return;
            }
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

pub fn build(url: &str, retries: Option<u32>, configure: impl FnOnce(&mut Builder)) -> Client {
    let mut builder = Builder::new(url).unwrap();
    builder.set_proxy("").unwrap();
    builder.set_number_of_retries(retries);
    let (increment, maximum) = (Duration::from_millis(10), Duration::from_millis(100));
    builder.set_backoff(increment, maximum).unwrap();
    configure(&mut builder);
    builder.build().unwrap()
}

pub fn client_with(
    url: &str,
    retries: Option<u32>,
    configure: impl FnOnce(&mut Builder),
) -> Client {
    let client = build(url, retries, configure);
    client.connect().unwrap();
    client
}

pub fn client(url: &str, retries: Option<u32>) -> Client {
    client_with(url, retries, |_| {})
}

pub fn next_error(client: &Client) -> Error {
    let queue = client.receiver().unwrap();
    loop {
        match queue.poll(LIMIT) {
            Polled::Event(Event::Notice(notice)) => {
                if let Notice::Error { error, .. } = &*notice {
                    return error.clone();
                }
            }
            Polled::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

pub fn fatal_error(client: &Client) -> Error {
    let error = next_error(client);
    assert!(error.fatal);
    error
}
