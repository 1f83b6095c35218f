//! https with the system's trust store, against a TLS server made here.
//!
//! One process has one trust store, read at its first https client; so all of
//! this is one test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

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

fn certificate(host: &str) -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", host).unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    let (from, to) = (
        Asn1Time::days_from_now(0).unwrap(),
        Asn1Time::days_from_now(1).unwrap(),
    );
    builder.set_not_before(&from).unwrap();
    builder.set_not_after(&to).unwrap();
    let authority = BasicConstraints::new().critical().ca().build().unwrap();
    builder.append_extension(authority).unwrap();
    let mut names = SubjectAlternativeName::new();
    match host.parse::<std::net::IpAddr>() {
        Ok(_) => names.ip(host),
        Err(_) => names.dns(host),
    };
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

/// Serves handshakes and connects; returns its port.
fn serve(certificate: &X509, key: &PKey<Private>) -> u16 {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(certificate).unwrap();
    acceptor.set_private_key(key).unwrap();
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let acceptor = acceptor.clone();
            thread::spawn(move || {
                if let Ok(stream) = acceptor.accept(stream) {
                    answer_all(stream);
                }
            });
        }
    });
    port
}

fn answer_all(stream: SslStream<TcpStream>) {
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

fn client(url: &str) -> Client {
    let mut builder = Builder::new(url).unwrap();
    builder.set_number_of_retries(Some(0));
    let client = builder.build().unwrap();
    client.connect().unwrap();
    client
}

fn fatal_error(client: &Client) -> Error {
    let queue = client.receiver().unwrap();
    loop {
        match queue.poll(LIMIT) {
            Polled::Event(Event::Notice(notice)) => {
                if let Notice::Error { error, .. } = &*notice {
                    assert!(error.fatal);
                    return error.clone();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn https_trusts_what_the_system_trusts_and_nothing_else_200() {
    let (trusted, trusted_key) = certificate("127.0.0.1");
    let (elsewhere, elsewhere_key) = certificate("elsewhere.example");
    let (unknown, unknown_key) = certificate("127.0.0.1");
    let store = std::env::temp_dir().join(format!("cometd-https-{}.pem", std::process::id()));
    let mut trust = trusted.to_pem().unwrap();
    trust.extend(elsewhere.to_pem().unwrap());
    std::fs::write(&store, trust).unwrap();
    // OpenSSL reads its default store from here; nothing has used it yet.
    std::env::set_var("SSL_CERT_FILE", &store);

    let port = serve(&trusted, &trusted_key);
    let good = client(&format!("https://127.0.0.1:{port}/cometd"));
    assert_eq!(good.wait(State::Connected, LIMIT), Waited::Reached);
    good.disconnect(Duration::from_secs(30)).unwrap();

    let port = serve(&elsewhere, &elsewhere_key);
    let wrong_host = client(&format!("https://127.0.0.1:{port}/cometd"));
    let error = fatal_error(&wrong_host);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    assert!(
        error
            .message
            .starts_with(&format!("handshake: tls with 127.0.0.1:{port}: ")),
        "{}",
        error.message
    );

    let port = serve(&unknown, &unknown_key);
    let untrusted = client(&format!("https://127.0.0.1:{port}/cometd"));
    let error = fatal_error(&untrusted);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    assert!(
        error.message.contains("certificate verify failed"),
        "{}",
        error.message
    );
    std::fs::remove_file(store).unwrap();
}
