//! SOCKS proxies, by one that answers byte for byte as a test says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod tls;

use std::net::ToSocketAddrs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cometd::bayeux::ConnectionType;
use cometd::client::{Builder, Client, Waited};
use cometd::error::{Error, ErrorKind};
use cometd::session::State;
use cometd_peer::{Bayeux, Rules, Socks, SocksRules};
use serde_json::json;
use tls::{client_with, identity, next_error, wait_until, Server, LIMIT};

const PASSWORD: &str = "very-secret-password";

fn bayeux() -> Bayeux {
    Bayeux::start("/cometd", Rules::default()).unwrap()
}

/// A proxy that leads to the server whatever it is asked for.
fn proxy(server: &Bayeux, change: impl FnOnce(&mut SocksRules)) -> Socks {
    let mut rules = SocksRules::new(server.port());
    change(&mut rules);
    Socks::start(rules).unwrap()
}

fn wants_password(rules: &mut SocksRules) {
    rules.method = 2;
    rules.credentials = ("us:er".to_owned(), PASSWORD.to_owned());
}

fn with_password() -> String {
    format!("us%3Aer:{PASSWORD}@")
}

/// A client of a server that no name server knows.
fn through(proxy: &Socks, userinfo: &str, configure: impl FnOnce(&mut Builder)) -> Client {
    client_with("http://bayeux.invalid:8080/cometd", None, |builder| {
        let url = format!("socks5h://{userinfo}{}", proxy.name());
        builder.set_proxy(&url).unwrap();
        configure(builder);
    })
}

fn connected(client: &Client) {
    assert_eq!(client.wait(State::Connected, LIMIT), Waited::Reached);
}

fn end(client: &Client) {
    client.disconnect(Duration::from_secs(30)).unwrap();
}

/// An error of the proxy, which is tried again.
fn told(proxy: &Socks, error: &Error, why: &str) {
    let expected = format!("handshake: the proxy {} {why} [client ", proxy.name());
    assert!(error.message.starts_with(&expected), "{}", error.message);
    assert_eq!((error.kind, error.http_status), (ErrorKind::Proxy, 0));
    assert!(error.retry_in.is_some() && !error.fatal);
    assert!(!error.message.contains(PASSWORD), "{}", error.message);
}

fn only(transport: ConnectionType) -> impl FnOnce(&mut Builder) {
    move |builder| builder.set_transports(&[transport]).unwrap()
}

#[test]
fn http_and_websocket_go_through_the_proxy_which_looks_the_name_up_263_264() {
    for transport in [ConnectionType::LongPolling, ConnectionType::WebSocket] {
        let server = bayeux();
        let proxy = proxy(&server, wants_password);
        let client = through(&proxy, &with_password(), |builder| {
            only(transport)(builder);
            builder.set_bearer_token("token-of-the-origin").unwrap();
        });
        connected(&client);
        client.publish("/a", b"1").unwrap();
        wait_until("a publish", || server.published("/a") == [json!(1)]);
        end(&client);
        let asked = proxy.asked();
        let methods = asked.methods.iter();
        assert!(methods.clone().all(|it| *it == [0, 2]), "{asked:?}");
        let given = ("us:er".to_owned(), PASSWORD.to_owned());
        assert!(asked.credentials.iter().all(|it| *it == given), "{asked:?}");
        let targets = asked.targets.iter();
        let name = "name bayeux.invalid:8080";
        assert!(targets.clone().all(|it| it == name), "{asked:?}");
        // Each tunnel is used for more than a request.
        let requests = server.requests();
        match transport {
            ConnectionType::LongPolling => assert!(targets.len() < requests.len()),
            ConnectionType::WebSocket => assert_eq!((targets.len(), requests.len()), (1, 1)),
        }
        // The server gets what it would get without a proxy.
        for request in requests {
            assert!(request.target.starts_with("/cometd"), "{}", request.target);
            let header = |name| request.header(name).next();
            assert_eq!(header("host"), Some("bayeux.invalid:8080"));
            assert_eq!(header("authorization"), Some("Bearer token-of-the-origin"));
            assert_eq!(header("proxy-authorization"), None);
        }
    }
}

#[test]
fn https_goes_through_the_proxy_and_is_verified_263_201() {
    let authority = identity("authority.example", None);
    let server = Server::new(&identity("bayeux.invalid", Some(&authority)));
    let proxy = Socks::start(SocksRules::new(server.port)).unwrap();
    let client = |trusted: &[u8]| {
        client_with("https://bayeux.invalid/cometd", None, |builder| {
            builder.set_certificate_authorities(trusted, false).unwrap();
            let url = format!("socks5h://{}", proxy.name());
            builder.set_proxy(&url).unwrap();
        })
    };
    let good = client(&authority.pem());
    connected(&good);
    end(&good);
    assert!(proxy
        .asked()
        .targets
        .iter()
        .all(|it| it == "name bayeux.invalid:443"));
    let careful = client(&identity("other.example", None).pem());
    let error = next_error(&careful);
    assert_eq!(error.kind, ErrorKind::Tls, "{}", error.message);
    let start = "handshake: tls with bayeux.invalid:443: ";
    assert!(error.message.starts_with(start), "{}", error.message);
    let through = format!("(through the proxy {})", proxy.name());
    assert!(error.message.contains(&through), "{}", error.message);
    assert_eq!(server.inside.handshakes.load(Ordering::SeqCst), 1);
}

#[test]
fn socks5_looks_names_up_here_and_tries_each_address_263() {
    let server = bayeux();
    let here = ("localhost", 8080).to_socket_addrs().unwrap();
    let wanted: Vec<_> = here.map(|it| format!("address {it}")).collect();
    let proxy = proxy(&server, |it| it.refuse_first = wanted.len() - 1);
    let to = |url: &str| {
        client_with(url, Some(0), |builder| {
            let url = format!("socks5://{}", proxy.name());
            builder.set_proxy(&url).unwrap();
        })
    };
    let client = to("http://localhost:8080/cometd");
    connected(&client);
    end(&client);
    assert_eq!(proxy.asked().targets[..wanted.len()], wanted);
    // What nobody knows here, the proxy does not hear of.
    let before = proxy.asked().methods.len();
    let error = next_error(&to("http://bayeux.invalid/cometd"));
    assert_eq!(error.kind, ErrorKind::Dns, "{}", error.message);
    assert_eq!(proxy.asked().methods.len(), before);
}

#[test]
fn addresses_are_told_as_addresses_263() {
    for (host, wanted) in [
        ("127.0.0.1", "address 127.0.0.1:80"),
        ("[::1]", "address [::1]:80"),
    ] {
        for scheme in ["socks5", "socks5h"] {
            let server = bayeux();
            let proxy = proxy(&server, |_| {});
            let client = client_with(&format!("http://{host}/cometd"), Some(0), |builder| {
                let url = format!("{scheme}://{}", proxy.name());
                builder.set_proxy(&url).unwrap();
            });
            connected(&client);
            end(&client);
            assert!(proxy.asked().targets.iter().all(|it| it == wanted));
        }
    }
}

#[test]
fn each_reply_is_told_in_words_and_tried_again_263() {
    for transport in [ConnectionType::LongPolling, ConnectionType::WebSocket] {
        let server = bayeux();
        for (reply, words) in [
            (1, "1, general failure"),
            (2, "2, not allowed by its rules"),
            (3, "3, network unreachable"),
            (4, "4, host unreachable"),
            (5, "5, connection refused"),
            (6, "6, TTL expired"),
            (7, "7, command not supported"),
            (8, "8, kind of address not supported"),
            (255, "255, which means nothing"),
        ] {
            let proxy = proxy(&server, |it| it.reply = reply);
            let client = through(&proxy, "", only(transport));
            for _ in 0..2 {
                let why = format!("does not connect to bayeux.invalid:8080: SOCKS reply {words}");
                told(&proxy, &next_error(&client), &why);
            }
            proxy.rules(|it| it.reply = 0);
            connected(&client);
            end(&client);
        }
    }
}

#[test]
fn a_proxy_that_refuses_sockets_refuses_long_polling_as_well_263() {
    let server = bayeux();
    let proxy = proxy(&server, |it| it.reply = 2);
    let client = through(&proxy, "", |builder| {
        let both = [ConnectionType::WebSocket, ConnectionType::LongPolling];
        builder.set_transports(&both).unwrap();
    });
    next_error(&client);
    next_error(&client);
    proxy.rules(|it| it.reply = 0);
    connected(&client);
    // The server may have them, and was not asked.
    server.wait(|it| it.websocket.connects > 0).unwrap();
    end(&client);
}

#[test]
fn credentials_that_are_refused_or_missing_are_told_264() {
    let server = bayeux();
    for (userinfo, method, why) in [
        ("", 255, "wants credentials: no acceptable SOCKS method"),
        ("", 2, "wants the SOCKS method 2, which was not offered"),
        (
            "us%3Aer:very-secret-password@",
            255,
            "wants something else than user and password: no acceptable SOCKS method",
        ),
        (
            "us%3Aer:very-secret-password@",
            1,
            "wants the SOCKS method 1, which was not offered",
        ),
        (
            "other:very-secret-password@",
            2,
            "does not accept the credentials: SOCKS status 1",
        ),
        (
            "very-secret-password@",
            2,
            "does not accept the credentials: SOCKS status 1",
        ),
    ] {
        let proxy = proxy(&server, |it| {
            wants_password(it);
            it.method = method;
        });
        let client = through(&proxy, userinfo, |_| {});
        for _ in 0..2 {
            told(&proxy, &next_error(&client), why);
        }
        // Who asks for nothing gets nothing.
        proxy.rules(|it| it.method = 0);
        let before = proxy.asked().credentials.len();
        connected(&client);
        end(&client);
        assert_eq!(proxy.asked().credentials.len(), before);
    }
}

#[test]
fn a_proxy_that_dies_at_any_byte_is_told_and_tried_again_263() {
    let server = bayeux();
    let proxy = proxy(&server, wants_password);
    // The method, the status of the credentials, the reply.
    for cut in 0..2 + 2 + 10 {
        proxy.rules(|it| it.cut = Some(cut));
        let client = through(&proxy, &with_password(), |_| {});
        let error = next_error(&client);
        told(&proxy, &error, "closed the connection before it answered");
        proxy.rules(|it| it.cut = None);
        connected(&client);
        end(&client);
    }
}

#[test]
fn a_proxy_that_is_slow_meets_the_limit_or_is_waited_for_263() {
    let server = bayeux();
    let proxy = proxy(&server, wants_password);
    for stall in [0, 1, 3, 4, 8, 13] {
        proxy.rules(|it| it.stall = Some(stall));
        let client = through(&proxy, &with_password(), |builder| {
            builder.set_request_timeout(Duration::from_millis(500));
        });
        let why = "did not connect to bayeux.invalid:8080: timed out after 400 ms";
        told(&proxy, &next_error(&client), why);
    }
    // Byte by byte, and a little later each.
    proxy.rules(|it| {
        it.stall = None;
        it.pieces = Some((1, Duration::from_millis(5)));
    });
    let client = through(&proxy, &with_password(), |_| {});
    connected(&client);
    end(&client);
}

#[test]
fn a_client_that_is_freed_while_the_proxy_is_asked_hangs_up_263() {
    let server = bayeux();
    let proxy = proxy(&server, |it| it.stall = Some(1));
    let client = through(&proxy, "", |_| {});
    wait_until("a question", || !proxy.asked().methods.is_empty());
    drop(client);
    wait_until("the end of it", || proxy.hung_up() > 0);
}

#[test]
fn the_address_in_a_reply_is_of_any_kind_263() {
    let server = bayeux();
    for bound in [
        vec![1, 0, 0, 0, 0, 0, 0],
        [&[4][..], &[0; 18]].concat(),
        vec![3, 0, 0, 80],
        [&[3, 255][..], &[b'x'; 255], &[0, 80]].concat(),
    ] {
        let proxy = proxy(&server, |it| it.bound = bound.clone());
        let client = through(&proxy, "", |_| {});
        connected(&client);
        end(&client);
        proxy.rules(|it| it.bound = vec![2, 0, 0, 0, 0, 0, 0]);
        let client = through(&proxy, "", |_| {});
        let why = "does not answer in SOCKS 5: there is no address of the kind 2";
        told(&proxy, &next_error(&client), why);
    }
}

#[test]
fn what_speaks_another_protocol_is_told_263() {
    let server = bayeux();
    for (version, why) in [
        (0, "it begins with 0x00; does it speak SOCKS 4?"),
        (b'H', "it begins with 0x48; does it speak HTTP?"),
        (4, "it begins with 0x04"),
    ] {
        let proxy = proxy(&server, |it| it.version = version);
        let client = through(&proxy, "", |_| {});
        let why = format!("does not answer in SOCKS 5: {why}");
        told(&proxy, &next_error(&client), &why);
    }
}

#[test]
fn a_407_of_the_server_behind_is_the_servers_263() {
    let peer = cometd_peer::Peer::start(
        cometd_peer::Script::parse("expect handshake\nanswer status=407 :").unwrap(),
    )
    .unwrap();
    let url = peer.url("");
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let proxy = Socks::start(SocksRules::new(port.parse().unwrap())).unwrap();
    let client = client_with("http://bayeux.invalid/cometd", Some(0), |builder| {
        let url = format!("socks5h://{}", proxy.name());
        builder.set_proxy(&url).unwrap();
    });
    let error = next_error(&client);
    assert_eq!(
        (error.kind, error.http_status),
        (ErrorKind::Unauthorized, 407)
    );
}

#[test]
fn a_proxy_that_dies_under_a_held_connect_costs_no_session_263() {
    let server = bayeux();
    let proxy = proxy(&server, |_| {});
    let client = through(&proxy, "", |_| {});
    connected(&client);
    for _ in 0..3 {
        let before = server.counts().long_polling.connects;
        proxy.kill();
        server.wait(|it| it.long_polling.connects > before).unwrap();
    }
    connected(&client);
    end(&client);
    assert_eq!(server.counts().long_polling.handshakes, 1);
}
