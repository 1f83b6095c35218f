//! https with the system's trust store and with the host's own, against a TLS
//! server made here.
//!
//! One process has one trust store of the system, read at its first https client;
//! so the tests share it.

mod tls;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::OnceLock;

use cometd::client::{Builder, Client, Waited};
use cometd::delivery::{Event, Notice, Polled};
use cometd::error::{ErrorKind, Phase};
use cometd::session::State;
use cometd::transport::tls::Version;
use openssl::ssl::SslVersion;
use std::time::{Duration, Instant};
use tls::{
    client, client_with, fatal_error, identity, next_error, wait_until, Identity, Server, LIMIT,
};

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
            store.extend(it.pem());
        }
        // Another run of these tests has certificates of its own.
        let name = format!("https-trust-{}.pem", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, store).unwrap();
        // OpenSSL reads its default store from here; nothing has used it yet.
        std::env::set_var("SSL_CERT_FILE", path);
        trusted
    })
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

#[test]
fn a_client_that_is_to_trust_anybody_does_201() {
    trusted();
    for host in ["127.0.0.1", "elsewhere.example"] {
        let server = Server::new(&identity(host, None));
        let insecure = client_with(&server.url, Some(0), |it| it.set_insecure(true));
        assert_eq!(insecure.wait(State::Connected, LIMIT), Waited::Reached);
        insecure.disconnect(Duration::from_secs(30)).unwrap();
        // Of the same builder, and of no other.
        let careful = client_with(&server.url, Some(0), |it| {
            it.set_insecure(true);
            it.set_insecure(false);
        });
        assert_eq!(fatal_error(&careful).kind, ErrorKind::Tls);
    }
}

#[test]
fn a_server_of_older_versions_of_tls_than_the_least_is_refused_in_these_words_201() {
    let here = &trusted().here;
    let met = |server: &Server, minimum: Option<Version>| {
        let client = client_with(&server.url, Some(0), |it| {
            if let Some(minimum) = minimum {
                it.set_minimum_tls_version(minimum);
            }
        });
        if client.wait(State::Connected, LIMIT) == Waited::Reached {
            client.disconnect(Duration::from_secs(30)).unwrap();
            return None;
        }
        let error = client.last_error().unwrap();
        assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
        Some(error.message)
    };
    let [old, usual, new] = [SslVersion::TLS1_1, SslVersion::TLS1_2, SslVersion::TLS1_3]
        .map(|version| Server::of_version(here, version));
    for (server, minimum, wanted) in [
        (&old, None, Some("TLS 1.2 or later")),
        (&old, Some(Version::Tls12), Some("TLS 1.2 or later")),
        (&usual, Some(Version::Tls13), Some("TLS 1.3")),
        (&usual, None, None),
        (&usual, Some(Version::Tls10), None),
        (&new, Some(Version::Tls13), None),
        (&new, None, None),
    ] {
        let said = met(server, minimum);
        let wanted = wanted.map(|it| {
            format!(
                "handshake: tls with 127.0.0.1:{}: the server does not speak {it}: ",
                server.port
            )
        });
        match (&said, &wanted) {
            (None, None) => {}
            (Some(said), Some(wanted)) => assert!(said.starts_with(wanted), "{said}"),
            _ => panic!("{said:?} instead of {wanted:?}"),
        }
    }
    // Whether it can be spoken is up to the system's OpenSSL.
    if let Some(said) = met(&old, Some(Version::Tls10)) {
        assert!(said.contains(": this system does not allow"), "{said}");
    }
}

#[test]
fn case_never_works_the_option_ends_it_for_a_certificate_that_nobody_trusts() {
    trusted();
    let server = Server::new(&identity("127.0.0.1", None));
    let client = client_with(&server.url, None, |it| it.set_fail_fast(true));
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Closed);
    let error = client.last_error().unwrap();
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    assert!(error.fatal, "{}", error.message);
    assert_eq!(fatal_error(&client), error);
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
        let connects = &server.inside.connects;
        wait_until("connects", || connects.load(Ordering::SeqCst) >= 3);
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

/// Waits until a TLS handshake is told to have been given up; of a connection that
/// was lost there may be a word before.
fn wait_for_timeout(client: &Client, phase: Phase) {
    loop {
        let error = next_error(client);
        assert!(!error.fatal && error.retry_in.is_some(), "{error:?}");
        if error.phase == phase && error.kind != ErrorKind::ConnectionLost {
            let kind = error.kind;
            assert!(
                matches!(kind, ErrorKind::Timeout | ErrorKind::Tls),
                "{error:?}"
            );
            return;
        }
    }
}

#[test]
fn a_tls_handshake_that_hangs_costs_its_attempt_and_leaves_no_connection_202() {
    const LIMIT_OF_ATTEMPT: Duration = Duration::from_secs(1);
    trusted();
    let authority = identity("authority.example", None);
    let server = Server::new(&identity("127.0.0.1", Some(&authority)));
    let inside = &server.inside;
    let all_hung_up =
        || inside.hung_up.load(Ordering::SeqCst) == inside.stalled.load(Ordering::SeqCst);

    // Before the first session. Each attempt gets its time, and is given up.
    inside.stalls.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    let client = client_with(&server.url, None, |it| {
        it.set_certificate_authorities(&authority.pem(), false)
            .unwrap();
        it.set_request_timeout(LIMIT_OF_ATTEMPT);
        it.set_timeout(LIMIT_OF_ATTEMPT);
    });
    for times in 1..=2 {
        wait_for_timeout(&client, Phase::Handshake);
        // The limit may be shared with what comes behind the TLS handshake.
        assert!(begin.elapsed() >= LIMIT_OF_ATTEMPT / 2 * times);
    }
    assert!(inside.stalled.load(Ordering::SeqCst) >= 2);
    inside.stalls.store(false, Ordering::SeqCst);
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
    wait_until("the end of each connection", all_hung_up);

    // And in its middle, when the connections have to be made anew.
    let before = inside.stalled.load(Ordering::SeqCst);
    inside.stalls.store(true, Ordering::SeqCst);
    server.kill();
    wait_for_timeout(&client, Phase::Connect);
    assert!(inside.stalled.load(Ordering::SeqCst) > before);
    inside.stalls.store(false, Ordering::SeqCst);
    while next_state(&client) != State::Connected {}
    wait_until("the end of each connection", all_hung_up);
    assert_eq!(inside.handshakes.load(Ordering::SeqCst), 1);
    client.disconnect(Duration::from_secs(30)).unwrap();
}

#[test]
fn the_hosts_own_authorities_are_trusted_beside_the_systems_or_alone_201() {
    let trusted = trusted();
    let own = identity("own.example", None);
    let of_own = Server::new(&identity("127.0.0.1", Some(&own)));
    let of_system = Server::new(&trusted.here);
    let other = identity("other.example", None);
    // A bundle of several, with text between them.
    let bundle = [&other.pem()[..], b"The own one:\n", &own.pem()].concat();

    for (server, with_system, is_good) in [
        (&of_own, true, true),
        (&of_own, false, true),
        (&of_system, true, true),
        (&of_system, false, false),
    ] {
        let client = client_with(&server.url, Some(0), |it| {
            it.set_certificate_authorities(&bundle, with_system)
                .unwrap();
        });
        if is_good {
            assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
            client.disconnect(Duration::from_secs(30)).unwrap();
        } else {
            let error = fatal_error(&client);
            assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
            let reason = "certificate verify failed";
            assert!(error.message.contains(reason), "{}", error.message);
        }
    }
    // Other clients of the process know nothing of it.
    let error = fatal_error(&client(&of_own.url, Some(0)));
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    // A trusted authority does not make every name right.
    let elsewhere = Server::new(&identity("elsewhere.example", Some(&own)));
    let client = client_with(&elsewhere.url, Some(0), |it| {
        it.set_certificate_authorities(&bundle, false).unwrap();
    });
    assert_eq!(fatal_error(&client).kind, ErrorKind::Tls);
}

#[test]
fn a_server_that_wants_a_certificate_gets_it_and_its_refusal_is_told_201() {
    trusted();
    let authority = identity("authority.example", None);
    let server_side = identity("127.0.0.1", Some(&authority));
    let server = Server::for_clients_of(&server_side, &authority);
    let me = identity("me.example", Some(&authority));
    let stranger = identity("stranger.example", None);

    // What OpenSSL writes in front of a key does no harm.
    let key = [b"Bag Attributes: <No Attributes>\n", &me.key_pem()[..]].concat();
    let good = client_with(&server.url, Some(0), |it| {
        it.set_certificate_authorities(&authority.pem(), false)
            .unwrap();
        it.set_client_certificate(&me.pem(), &key).unwrap();
    });
    assert_eq!(good.wait(State::Connected, LIMIT), Waited::Reached);
    good.disconnect(Duration::from_secs(30)).unwrap();
    for client in &*server.inside.clients.lock().unwrap() {
        assert_eq!(client.as_deref(), Some("me.example"));
    }

    let without = client_with(&server.url, Some(0), |it| {
        it.set_certificate_authorities(&authority.pem(), false)
            .unwrap();
    });
    let error = fatal_error(&without);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    assert!(
        error.message.contains("certificate required"),
        "{}",
        error.message
    );
    let with_another = client_with(&server.url, Some(0), |it| {
        it.set_certificate_authorities(&authority.pem(), false)
            .unwrap();
        it.set_client_certificate(&stranger.pem(), &stranger.key_pem())
            .unwrap();
    });
    let error = fatal_error(&with_another);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    assert!(!error.message.contains(".c:"), "{}", error.message);
}

#[test]
fn bad_certificates_and_keys_are_refused_at_once_201() {
    let mut builder = Builder::new("https://127.0.0.1:9/").unwrap();
    let (me, other) = (
        identity("me.example", None),
        identity("other.example", None),
    );
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (bad, why) in [
        (&b""[..], "pem: holds no certificate"),
        (b"x", "pem: holds no certificate"),
        (b"\xff\0", "pem: holds no certificate"),
        (broken, "pem: is malformed: "),
        (&[&me.pem()[..], broken].concat(), "pem: is malformed: "),
    ] {
        let error = builder.set_certificate_authorities(bad, true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(error.message.starts_with(why), "{}", error.message);
        assert!(!error.message.contains(".c:"), "{}", error.message);
    }
    let encrypted = me
        .key
        .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret")
        .unwrap();
    let traditional = me.key.rsa().unwrap().private_key_to_pem().unwrap();
    let cut: Vec<u8> = me.key_pem().drain(..200).collect();
    for (chain, key, why) in [
        (
            &b""[..],
            &me.key_pem()[..],
            "pem_chain: holds no certificate",
        ),
        (broken, &me.key_pem(), "pem_chain: is malformed: "),
        (&me.pem(), b"", "pem_key: holds no private key"),
        (&me.pem(), &me.pem(), "pem_key: holds no private key"),
        (&me.pem(), &encrypted, "pem_key: is encrypted"),
        (&me.pem(), &traditional, "pem_key: is no PKCS #8"),
        (&me.pem(), &cut, "pem_key: is malformed: "),
        (
            &me.pem(),
            &other.key_pem(),
            "pem_key: does not go with pem_chain: ",
        ),
    ] {
        let error = builder.set_client_certificate(chain, key).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(error.message.starts_with(why), "{}", error.message);
        // Nothing of the key is in it.
        let text = String::from_utf8_lossy(key);
        for line in text
            .lines()
            .filter(|it| it.len() > 20 && !it.starts_with('-'))
        {
            assert!(!error.message.contains(line), "{}", error.message);
        }
    }
}

#[test]
fn the_server_is_told_its_name_and_that_http_1_is_spoken_201() {
    trusted();
    let authority = identity("authority.example", None);
    let server = Server::of_http_2(&identity("localhost", Some(&authority)));
    let url = server.url.replace("127.0.0.1", "localhost");
    let named = client_with(&url, Some(0), |it| {
        it.set_certificate_authorities(&authority.pem(), false)
            .unwrap();
    });
    assert_eq!(named.wait(State::Connected, LIMIT), Waited::Reached);
    named.disconnect(Duration::from_secs(30)).unwrap();
    for name in &*server.inside.names.lock().unwrap() {
        assert_eq!(name.as_deref(), Some("localhost"));
    }
    // An address is no name (RFC 6066, section 3).
    let server = Server::new(&identity("127.0.0.1", Some(&authority)));
    let addressed = client_with(&server.url, Some(0), |it| {
        it.set_certificate_authorities(&authority.pem(), false)
            .unwrap();
    });
    assert_eq!(addressed.wait(State::Connected, LIMIT), Waited::Reached);
    addressed.disconnect(Duration::from_secs(30)).unwrap();
    let inside = &server.inside;
    assert!(inside.names.lock().unwrap().iter().all(Option::is_none));
    assert!(inside.protocols.lock().unwrap().iter().all(Option::is_none));
}
