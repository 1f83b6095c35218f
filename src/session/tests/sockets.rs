//! Sessions over a WebSocket, and what makes them go over to long polling and
//! back.

use super::*;
use crate::bayeux::ConnectionType::{LongPolling, WebSocket};

const BOTH: &str = r#""supportedConnectionTypes":["websocket","long-polling"]"#;

fn preferring(types: &[crate::bayeux::ConnectionType]) -> World {
    let mut world = World::with(|it| it.transports = types.into());
    world.connect();
    world
}

fn accepted(client_id: &str, types: &str) -> String {
    format!(
        r#"[{{"channel":"/meta/handshake","id":"$id","successful":true,"clientId":"{client_id}",{types}}}]"#
    )
}

/// Connected over a socket, with a connect that is held.
pub(super) fn connected() -> (World, Sent) {
    let mut world = preferring(&[WebSocket, LongPolling]);
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(world.session.transport(), None);
    world.answer(&handshake, &accepted("c1", BOTH));
    assert_eq!(world.session.transport(), Some(WebSocket));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    let held = world.request(Endpoint::Connect);
    assert_eq!(held.socket, world.socket);
    assert!(held.socket.is_some());
    world.events();
    (world, held)
}

fn refusal(status: u16) -> Failure {
    let failure = Failure::new(ErrorKind::HttpStatus, format!("HTTP {status}"));
    failure.with_status(status)
}

fn lost() -> Failure {
    Failure::new(
        ErrorKind::ConnectionLost,
        "the server closed the WebSocket: 1006",
    )
}

fn unreachable() -> Failure {
    Failure::new(ErrorKind::Tcp, "connection refused")
}

#[test]
fn one_socket_carries_the_handshake_the_connects_and_all_else() {
    let (mut world, held) = connected();
    assert!(held.text.contains(r#""connectionType":"websocket""#));
    world.subscribe(1, &["/a"]);
    let subscribe = world.request(Endpoint::Messages);
    world.publish(2, "/x", "1");
    world.publish(3, "/x", "2");
    let publishes = [Endpoint::Messages; 2].map(|it| world.request(it));
    assert!(publishes.iter().all(|it| it.socket == held.socket));
    // Events at any time, and replies in any frame and any order.
    world.frame(r#"[{"channel":"/a","data":1}]"#);
    world.accept(&publishes[1]);
    world.accept(&subscribe);
    world.frame(r#"[{"channel":"/a","data":2}]"#);
    world.accept(&publishes[0]);
    assert_eq!(
        world.events(),
        [
            "/a 1",
            "Published 3 /x",
            "Subscribed 1 /a",
            "/a 2",
            "Published 2 /x"
        ]
    );
    world.answer(&held, &connect_ok(""));
    let next = world.request(Endpoint::Connect);
    assert_eq!((next.socket, world.closings.len()), (held.socket, 0));
}

#[test]
fn a_reply_without_an_id_is_that_of_what_the_socket_was_asked_first() {
    let (mut world, held) = connected();
    world.subscribe(1, &["/a"]);
    world.subscribe(2, &["/b"]);
    for reply in [
        r#"[{"channel":"/meta/subscribe","successful":true,"subscription":"/b"}]"#,
        r#"[{"channel":"/meta/subscribe","successful":true}]"#,
        r#"[{"channel":"/meta/subscribe","successful":true}]"#,
    ] {
        world.frame(reply);
    }
    assert_eq!(world.events(), ["Subscribed 2 /b", "Subscribed 1 /a"]);
    world.inbox.clear();
    world.frame(r#"[{"channel":"/meta/connect","successful":true}]"#);
    let next = world.request(Endpoint::Connect);
    assert_ne!(next.id, held.id);
}

#[test]
fn each_refusal_of_an_upgrade_goes_on_by_long_polling_and_is_no_failure() {
    for failure in [
        refusal(400),
        refusal(403),
        refusal(404),
        refusal(500),
        refusal(200),
        Failure::new(ErrorKind::Protocol, "the 101 has no Sec-WebSocket-Accept"),
        Failure::new(ErrorKind::Timeout, "no answer to the upgrade"),
        Failure::new(ErrorKind::Redirect, "another server"),
    ] {
        let mut world = preferring(&[WebSocket, LongPolling]);
        Arc::make_mut(&mut world.session.configuration).number_of_retries = Some(0);
        world.unopened(&failure, true);
        let handshake = world.request(Endpoint::Handshake);
        assert_eq!((handshake.socket, handshake.at), (None, 1_000_000));
        let error = world.last_error();
        assert_eq!(error.retry_in, Some(0));
        assert!(error.message.contains("going on with long polling"));
        assert_eq!(world.session.transport(), None);
        world.answer(&handshake, &accepted("c1", BOTH));
        assert_eq!(world.session.transport(), Some(LongPolling));
        assert_eq!(world.request(Endpoint::Connect).socket, None);
    }
}

#[test]
fn one_that_is_not_open_in_time_is_refused_227() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    let limit = world.session.configuration.request_timeout;
    world.wait(limit - 1);
    world.assert_nothing_sent();
    world.wait(1);
    assert_eq!(world.closings.len(), 1);
    assert_eq!(world.request(Endpoint::Handshake).socket, None);
}

#[test]
fn a_network_that_is_down_is_a_failure_and_the_socket_is_tried_again() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    for wait in [0, 1_000, 2_000] {
        world.wait(wait * 12 / 10);
        world.unopened(&unreachable(), false);
        assert!(world.last_error().retry_in.is_some());
        world.assert_nothing_sent();
    }
    world.wait(3_600);
    world.opens();
    world.request(Endpoint::Handshake);
}

#[test]
fn what_was_refused_is_off_for_a_minute_and_twice_as_long_each_time_up_to_an_hour() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    let mut off = 60_000;
    for round in 0..9 {
        world.unopened(&refusal(404), true);
        let since = world.now;
        // Sessions are lost all the time; the first handshake behind it asks again.
        while world.opening.is_none() {
            let (_, handshake) = world.next_request(Endpoint::Handshake);
            assert_eq!(handshake.socket, None);
            world.answer(&handshake, &accepted("c", BOTH));
            let (_, first) = world.next_request(Endpoint::Connect);
            world.answer(&first, &connect_ok(""));
            let (_, held) = world.next_request(Endpoint::Connect);
            world.wait(20_000);
            world.refuse(&held, "402::unknown", r#"{"reconnect":"handshake"}"#);
            while world.inbox.is_empty() && world.opening.is_none() {
                assert!(world.next_timer());
            }
        }
        let was_off = world.now - since;
        assert!(
            was_off >= off && was_off < off + 60_000,
            "{round}: {was_off}"
        );
        off = (off * 2).min(3_600_000);
    }
}

#[test]
fn a_refusal_is_forgotten_when_long_polling_finds_the_network_down_238() {
    let down: [fn(&mut World, &Sent); 3] = [
        |world, handshake| world.fail(handshake, ErrorKind::Dns),
        |world, handshake| world.http(handshake, 500),
        |world, handshake| world.http(handshake, 503),
    ];
    for down in down {
        let mut world = preferring(&[WebSocket, LongPolling]);
        world.unopened(&refusal(502), true);
        let handshake = world.request(Endpoint::Handshake);
        down(&mut world, &handshake);
        while world.opening.is_none() {
            assert!(world.next_timer());
            world.assert_nothing_sent();
        }
    }
}

#[test]
fn retry_after_of_a_refused_upgrade_holds_232() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    let mut failure = refusal(503);
    failure.retry_after = Some(5_000);
    world.unopened(&failure, true);
    world.assert_nothing_sent();
    let (after, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!((after, handshake.socket), (5_000, None));
}

#[test]
fn refused_by_one_server_the_other_is_still_asked_233() {
    let mut world = World::with(|it| {
        it.transports = [WebSocket, LongPolling].into();
        it.servers = vec!["a".into(), "b".into()];
    });
    world.connect();
    world.unopened(&refusal(404), true);
    let handshake = world.request(Endpoint::Handshake);
    world.fail(&handshake, ErrorKind::HttpStatus);
    world.wants_socket();
    let (_, server) = world.opening.clone().unwrap();
    assert_eq!(server, Server::Given(1));
}

#[test]
fn a_session_that_is_sent_elsewhere_does_not_ask_what_is_switched_off_there() {
    let mut world = World::with(|it| {
        it.transports = [WebSocket, LongPolling].into();
        it.servers = vec!["a".into(), "b".into()];
        it.follow_hosts = true;
    });
    let (here, there) = (Server::Given(0), Server::Given(1));
    world.session.transports.refused(&there, world.now);
    world.connect();
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(handshake.server, here);
    world.answer(&handshake, &accepted("c1", BOTH));
    let first = world.request(Endpoint::Connect);
    world.refuse(
        &first,
        "402::unknown",
        r#"{"reconnect":"handshake","hosts":["b"]}"#,
    );
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!((handshake.server, handshake.socket), (there, None));
    assert_eq!(world.closings.len(), 1);
}

#[test]
fn where_nothing_else_is_wanted_a_refusal_is_a_failure_with_backoff_234() {
    let mut world = preferring(&[WebSocket]);
    Arc::make_mut(&mut world.session.configuration).number_of_retries = Some(3);
    let mut waits = Vec::new();
    while !world.closed {
        let start = world.now;
        world.wants_socket();
        waits.push(world.now - start);
        world.unopened(&refusal(404), true);
    }
    assert_eq!(waits.len(), 4);
    assert!(
        waits[0] == 0 && waits[2] > 1_000 && waits[3] > 2_000,
        "{waits:?}"
    );
    assert!(world.events().last().is_some_and(|it| it == "Closed"));
}

#[test]
fn a_401_asks_the_provider_once_and_is_then_a_refusal_228() {
    let unauthorized = || Failure::new(ErrorKind::Unauthorized, "HTTP 401").with_status(401);
    let mut world = World::with(|it| {
        it.transports = [WebSocket, LongPolling].into();
        it.has_token_provider = true;
    });
    world.connect();
    world.unopened(&unauthorized(), false);
    assert_eq!(world.refreshes, 1);
    world.credentials(Ok(()));
    assert_eq!(world.sends, 0);
    world.unopened(&unauthorized(), false);
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!((handshake.socket, world.refreshes), (None, 1));
}

#[test]
fn a_socket_that_swallows_the_handshake_is_refused_within_a_third_of_the_time() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    assert!(handshake.socket.is_some());
    assert_eq!(world.pings, 1);
    let (after, again) = world.next_request(Endpoint::Handshake);
    assert_eq!(again.socket, None);
    assert!((3_300..=3_400).contains(&after), "{after}");
    assert_eq!(world.closings.len(), 1);
}

#[test]
fn one_that_answers_pings_and_no_handshake_is_refused_at_the_handshakes_deadline() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    world.opens();
    world.request(Endpoint::Handshake);
    world.heard(2);
    let (after, again) = world.next_request(Endpoint::Handshake);
    assert_eq!((after, again.socket), (10_000, None));
}

#[test]
fn a_header_provider_holds_up_requests_and_no_frames() {
    let mut world = World::with(|it| {
        it.transports = [WebSocket, LongPolling].into();
        it.has_header_provider = true;
    });
    world.connect();
    world.opens();
    world.request(Endpoint::Handshake);
    world.heard(2);
    let (after, again) = world.next_request(Endpoint::Handshake);
    assert_eq!((after, again.socket), (10_000, None));
    world.events();
    world.wait(59_999);
    assert_eq!(world.events(), [""; 0]);
    world.wait(1);
    assert_eq!(world.events(), ["Error handshake Timeout"]);
}

#[test]
fn closed_before_a_reply_is_a_refusal() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    world.opens();
    world.request(Endpoint::Handshake);
    world.socket_ends(&lost());
    assert_eq!(world.request(Endpoint::Handshake).socket, None);
}

#[test]
fn a_proven_socket_that_is_lost_is_opened_again_with_the_same_client_id() {
    let (mut world, _) = connected();
    world.subscribe(1, &["/a"]);
    let subscribe = world.request(Endpoint::Messages);
    world.accept(&subscribe);
    world.publish(2, "/x", "1");
    world.request(Endpoint::Messages);
    world.events();
    world.socket_ends(&lost());
    assert_eq!(
        world.events(),
        [
            "Error connect ConnectionLost",
            "-> Unconnected",
            "Error publish ConnectionLost 2 /x",
        ]
    );
    world.assert_nothing_sent();
    world.wants_socket();
    world.opens();
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.client_id(), "c1");
    assert!(connect.at_once() && connect.socket.is_some());
    world.answer(&connect, &connect_ok(""));
    assert_eq!(world.events(), ["-> Connected"]);
    assert_eq!(world.request(Endpoint::Connect).client_id(), "c1");
    world.assert_nothing_sent();
}

#[test]
fn opened_three_times_without_a_reply_a_proven_one_is_refused() {
    let (mut world, _) = connected();
    world.socket_ends(&lost());
    for _ in 0..3 {
        world.wants_socket();
        world.opens();
        let connect = world.request(Endpoint::Connect);
        assert!(connect.socket.is_some());
        world.socket_ends(&lost());
    }
    let connect = world.request(Endpoint::Connect);
    assert_eq!((connect.socket, connect.client_id()), (None, "c1"));
}

#[test]
fn a_session_that_does_not_survive_the_change_costs_one_handshake_and_no_failure_236() {
    let (mut world, _) = connected();
    world.subscribe(1, &["/a"]);
    let subscribe = world.request(Endpoint::Messages);
    world.accept(&subscribe);
    Arc::make_mut(&mut world.session.configuration).number_of_retries = Some(1);
    world.socket_ends(&lost());
    world.wants_socket();
    world.unopened(&refusal(400), true);
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.socket, None);
    world.refuse(&connect, "402::unknown", r#"{"reconnect":"handshake"}"#);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(handshake.socket, None);
    world.answer(&handshake, &accepted("c2", BOTH));
    let renewal = world.request(Endpoint::Messages);
    assert_eq!(renewal.summary(), ["/meta/subscribe /a"]);
    assert!(!world.closed);
}

#[test]
fn what_the_reply_lists_decides_with_the_same_client_id_235() {
    // By long polling, and over to what is preferred.
    let mut world = preferring(&[LongPolling, WebSocket]);
    let handshake = world.request(Endpoint::Handshake);
    assert!(handshake
        .text
        .contains(r#""supportedConnectionTypes":["long-polling","websocket"]"#));
    let only = r#""supportedConnectionTypes":["websocket"]"#;
    world.answer(&handshake, &accepted("c1", only));
    world.opens();
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.client_id(), "c1");
    assert!(connect.socket.is_some());
    // Over a socket, and back to long polling.
    let mut world = preferring(&[WebSocket, LongPolling]);
    let socket = world.opens();
    let handshake = world.request(Endpoint::Handshake);
    let only = r#""supportedConnectionTypes":["long-polling"]"#;
    world.answer(&handshake, &accepted("c1", only));
    assert_eq!(world.closings, [(socket, 1000)]);
    let connect = world.request(Endpoint::Connect);
    assert_eq!((connect.socket, connect.client_id()), (None, "c1"));
    // Nothing in common.
    let mut world = preferring(&[WebSocket]);
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &accepted("c1", only));
    assert!(world.closed);
    assert_eq!(world.last_error().kind, ErrorKind::Negotiation);
}

#[test]
fn an_unknown_session_is_replaced_on_the_same_socket_and_others_on_a_new_one_191_248() {
    let (mut world, held) = connected();
    let socket = held.socket;
    world.refuse(&held, "402::unknown", r#"{"reconnect":"handshake"}"#);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!((handshake.socket, world.closings.len()), (socket, 0));
    // The session lives, and its events may still be on their way.
    let (mut world, held) = connected();
    world.refuse(&held, "500::no", r#"{"reconnect":"handshake"}"#);
    world.wants_socket();
    assert_eq!(world.closings, [(held.socket.unwrap(), 1000)]);
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    assert_ne!(handshake.socket, held.socket);
}

#[test]
fn a_refused_handshake_is_made_again_on_its_socket_unless_for_its_credentials() {
    for (error, provider, same) in [
        ("500::busy", false, true),
        ("", false, true),
        ("401::who", true, false),
    ] {
        let mut world = World::with(|it| {
            it.transports = [WebSocket, LongPolling].into();
            it.has_token_provider = provider;
        });
        world.connect();
        let socket = world.opens();
        let handshake = world.request(Endpoint::Handshake);
        match error {
            // A challenge may stand in `ext` alone.
            "" => world.answer(
                &handshake,
                r#"[{"channel":"/meta/handshake","id":"$id","successful":false,"ext":{"authentication":{"challenge":1}},"advice":{"reconnect":"handshake"}}]"#,
            ),
            error => world.refuse(&handshake, error, ""),
        }
        if provider {
            world.credentials(Ok(()));
        }
        while world.inbox.is_empty() && world.opening.is_none() {
            assert!(world.next_timer());
        }
        assert_eq!(world.opening.is_none(), same, "{error}");
        if !same {
            assert_eq!(world.closings, [(socket, 1000)]);
            world.opens();
        }
        let again = world.request(Endpoint::Handshake);
        assert_eq!(again.socket == Some(socket), same, "{error}");
    }
}

#[test]
fn a_server_that_ends_a_session_in_three_frames_ends_it_once_247() {
    for restart in [false, true] {
        let (mut world, held) = connected();
        Arc::make_mut(&mut world.session.configuration).restart = restart;
        world.frame(r#"[{"channel":"/a","data":1}]"#);
        world.frame(r#"[{"channel":"/meta/disconnect","successful":true}]"#);
        let told = world.events();
        if !restart {
            assert!(world.closed, "{told:?}");
            continue;
        }
        // The last one is of a session that is over.
        world.answer(&held, r#"[{"channel":"/meta/connect","id":"$id","successful":true,"advice":{"reconnect":"none"}}]"#);
        assert_eq!(world.events(), [""; 0]);
        world.wants_socket();
        assert!(!world.closed);
    }
}

#[test]
fn a_silent_path_is_noticed_by_a_ping_within_the_interval_and_the_request_timeout_256() {
    let (mut world, _) = connected();
    world.heard(10);
    world.wait(20_000);
    assert_eq!(world.pings, 2, "one at its opening");
    world.heard(12);
    world.wait(19_999);
    assert_eq!(world.pings, 2);
    world.wait(1);
    assert_eq!(world.pings, 3);
    world.wait(9_999);
    assert!(world.socket.is_some());
    world.wait(1);
    assert_eq!(world.socket, None);
    assert_eq!(world.last_error().kind, ErrorKind::Timeout);
    assert_eq!(world.state(), State::Unconnected);
}

#[test]
fn without_pings_the_connects_own_deadline_ends_a_silent_socket() {
    let mut world = World::with(|it| {
        it.transports = [WebSocket].into();
        it.ping_interval = 0;
    });
    world.connect();
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &accepted("c1", BOTH));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(r#","advice":{"timeout":30000}"#));
    world.request(Endpoint::Connect);
    world.wait(39_999);
    assert!(world.socket.is_some() && world.pings == 0);
    world.wait(1);
    assert!(world.socket.is_none());
}

#[test]
fn a_deadline_waits_while_bytes_arrive_up_to_ten_times_its_length() {
    // The reply stands behind ten megabytes, which take forty seconds.
    let (mut world, _) = connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    for second in 1..=40 {
        world.wait(1_000);
        world.heard(second * 250_000);
    }
    world.accept(&publish);
    assert_eq!(world.events(), ["Published 1 /x"]);
    // A byte a second is no line that is well.
    let (mut world, _) = connected();
    world.publish(1, "/x", "1");
    for second in 1..10 {
        world.wait(1_000);
        world.heard(second);
    }
    assert!(world.socket.is_some());
    world.wait(1_000);
    assert!(world.socket.is_none());
    // But not for ever.
    let (mut world, _) = connected();
    world.publish(1, "/x", "1");
    let start = world.now;
    for second in 1..=200 {
        world.wait(1_000);
        if world.socket.is_none() {
            break;
        }
        world.heard(second * 100_000);
    }
    assert!(world.socket.is_none());
    assert!(world.now - start <= 102_000, "{}", world.now - start);
}

#[test]
fn no_time_passes_while_nothing_is_read_253() {
    let (mut world, held) = connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.wait(5_000);
    world.room(false);
    world.session.handle_reading(world.now, false);
    world.collect();
    world.wait(600_000);
    assert!(world.socket.is_some());
    assert_eq!(world.events(), [""; 0]);
    world.session.handle_reading(world.now, true);
    world.room(true);
    world.wait(4_000);
    assert!(world.socket.is_some());
    world.accept(&publish);
    world.answer(&held, &connect_ok(""));
    assert_eq!(world.events(), ["Published 1 /x"]);
    assert_eq!(world.request(Endpoint::Connect).socket, held.socket);
}

#[test]
fn publishes_do_not_wait_for_replies_and_no_more_is_sent_than_is_taken_250() {
    let (mut world, _) = connected();
    let data = format!("\"{}\"", "x".repeat(7_000));
    for id in 1..=100 {
        world.publish(id, "/x", &data);
    }
    let bytes: usize = world.inbox.iter().map(|it| it.text.len()).sum();
    assert!((65_536..80_000).contains(&bytes), "{bytes}");
    let mut order = Vec::new();
    while let Some(sent) = world.inbox.pop_front() {
        order.extend(sent.messages.iter().map(|it| it["id"].clone()));
        let socket = world.socket.unwrap();
        let length = sent.text.len();
        world.session.handle_written(world.now, socket, length);
        world.collect();
    }
    assert_eq!(order.len(), 100);
    let mut sorted = order.clone();
    sorted.sort_by_key(|it| it.as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(order, sorted);
    // None of them has been answered: the socket's end is the end of each.
    world.socket_ends(&lost());
    assert_eq!(world.owed.len(), 0);
}

#[test]
fn frames_are_small_and_a_batch_is_whole() {
    let (mut world, _) = connected();
    world.session.handle_room(world.now, false);
    for id in 1..=20 {
        world.publish(id, "/x", &format!("\"{}\"", "x".repeat(1_000)));
    }
    world.room(true);
    assert!(world.inbox.len() > 2);
    assert!(world.inbox.iter().all(|it| it.text.len() <= 8_200));
    world.inbox.clear();
    let batch = (30..45).map(|id| Command::Publish {
        id,
        channel: "/y".into(),
        data: serde_json::from_str(&format!("\"{}\"", "y".repeat(1_000))).unwrap(),
    });
    world.command(Command::Batch(batch.collect()));
    assert_eq!(world.request(Endpoint::Messages).messages.len(), 15);
}

#[test]
fn a_message_that_finds_no_socket_opens_one_and_the_connect_goes_first_252() {
    let (mut world, _) = connected();
    world.socket_ends(&lost());
    world.events();
    world.publish(1, "/x", "1");
    world.publish(2, "/x", "2");
    assert!(world.opening.is_some());
    world.assert_nothing_sent();
    world.opens();
    world.request(Endpoint::Connect);
    assert_eq!(world.request(Endpoint::Messages).messages.len(), 2);
    // They share the fate of an opening that fails.
    let (mut world, _) = connected();
    world.socket_ends(&lost());
    world.events();
    world.publish(1, "/x", "1");
    world.unopened(&unreachable(), false);
    assert_eq!(world.events(), ["Error publish Tcp 1 /x"]);
    world.wants_socket();
}

#[test]
fn a_large_frame_that_the_server_closes_for_is_told_as_too_large_246() {
    let (mut world, _) = connected();
    world.publish(1, "/x", "1");
    world.publish(2, "/x", "2");
    let too_large = Failure::new(ErrorKind::TooLarge, "the server closed the WebSocket: 1009");
    world.socket_ends(&too_large);
    let told = world.events();
    assert!(
        told.contains(&"Error publish ConnectionLost 1 /x".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"Error publish TooLarge 2 /x".to_owned()),
        "{told:?}"
    );
    // Renewals that were too large together are made one by one.
    fn messages(world: &mut World) -> Sent {
        loop {
            match world.inbox.pop_front() {
                Some(sent) if sent.endpoint == Endpoint::Messages => return sent,
                Some(_) => {}
                None => assert!(world.next_timer()),
            }
        }
    }
    world.inbox.clear();
    world.wants_socket();
    world.opens();
    let connect = world.request(Endpoint::Connect);
    world.accept(&connect);
    world.subscribe(3, &["/a", "/b"]);
    let subscribe = messages(&mut world);
    world.accept(&subscribe);
    let held = world.open.values().next().cloned().expect("a connect");
    world.refuse(&held, "402::unknown", r#"{"reconnect":"handshake"}"#);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &accepted("c2", BOTH));
    assert_eq!(messages(&mut world).messages.len(), 2);
    world.socket_ends(&too_large);
    world.wants_socket();
    world.opens();
    let (_, connect) = world.next_request(Endpoint::Connect);
    world.accept(&connect);
    for _ in 0..2 {
        let renewal = messages(&mut world);
        assert_eq!(renewal.messages.len(), 1, "{}", renewal.text);
        world.accept(&renewal);
    }
}

#[test]
fn a_call_that_waits_for_long_ends_no_socket() {
    let (mut world, held) = connected();
    world.call(1, "/service/x", "1", 60_000);
    let call = world.request(Endpoint::Messages);
    world.accept(&call);
    for second in 1..50 {
        world.wait(1_000);
        world.heard(second);
    }
    assert!(world.socket.is_some());
    world.answer(
        &call,
        r#"[{"channel":"/service/x","id":"$id","successful":true,"data":7}]"#,
    );
    assert_eq!(world.events(), ["Result 7 1 /service/x"]);
    assert!(world.open.keys().eq([&held.id]));
}

#[test]
fn the_clients_disconnect_ends_the_socket_with_it() {
    // The server answers and closes nothing; closes at once; or says nothing.
    for how in 0..3 {
        let (mut world, _) = connected();
        world.publish(1, "/x", "1");
        let publish = world.request(Endpoint::Messages);
        world.disconnect(3_000);
        // Behind the publish, without waiting for its reply.
        let disconnect = world.request(Endpoint::Disconnect);
        let start = world.now;
        match how {
            0 => {
                world.accept(&publish);
                world.accept(&disconnect);
                world.wait(1_000);
                assert_eq!(world.closings.len(), 1);
            }
            1 => {
                world.accept(&publish);
                world.accept(&disconnect);
                world.socket_ends(&lost());
                assert!(world.closings.is_empty());
            }
            _ => world.wait(3_000),
        }
        assert!(world.closed && world.now - start <= 3_000, "{how}");
        assert!(how == 2 || world.told.contains(&"Published 1 /x".to_owned()));
    }
    let (mut world, _) = connected();
    world.abort();
    assert!(world.closed);
    assert_eq!(world.closings.len(), 1);
    assert_eq!(world.closings[0].1, 0, "without a word");
}

#[test]
fn a_client_that_ends_while_it_opens_gives_the_opening_up() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    world.disconnect(1_000);
    assert!(world.closed && world.opening.is_none());
    assert_eq!(world.closings.len(), 1);
}

#[test]
fn what_comes_over_an_old_socket_is_nobodys() {
    let (mut world, held) = connected();
    let old = held.socket.unwrap();
    world.socket_ends(&lost());
    world.events();
    let text = br#"[{"channel":"/a","data":1},{"channel":"/meta/disconnect"}]"#;
    let body = Arc::new(Body::parse(text.to_vec()).unwrap());
    world.session.handle_frame(world.now, old, &body);
    world.session.handle_closed(world.now, old, &lost());
    world.session.handle_opened(world.now, old);
    world.collect();
    assert_eq!(world.events(), [""; 0]);
}

#[test]
fn events_still_come_over_a_socket_that_was_left_unless_they_come_again() {
    for (acknowledged, replayed) in [(false, false), (true, false), (false, true)] {
        let mut world = World::with(|it| {
            it.transports = [WebSocket].into();
            it.acknowledgement = acknowledged;
            it.replay = replayed.then_some(ReplayPolicy {
                start: -1,
                fallback: None,
            });
        });
        world.connect();
        world.opens();
        let handshake = world.request(Endpoint::Handshake);
        let types = match acknowledged {
            true => format!(r#"{BOTH},"ext":{{"ack":true}}"#),
            false => BOTH.to_owned(),
        };
        world.answer(&handshake, &accepted("c1", &types));
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_ok(""));
        world.events();
        let socket = world.socket.expect("a socket");
        let failure = Failure::new(ErrorKind::NotJson, "no messages");
        world.session.handle_unreadable(world.now, socket, failure);
        world.collect();
        world.events();
        let text = br#"[{"channel":"/a","data":1},{"channel":"/meta/disconnect"},
            {"channel":"/meta/connect","successful":false},{"channel":"/a","data":2,"successful":true},
            {"channel":"/b","data":3}]"#;
        let body = Arc::new(Body::parse(text.to_vec()).unwrap());
        world.session.handle_frame(world.now, socket, &body);
        world.collect();
        let told = world.events();
        match acknowledged || replayed {
            true => assert_eq!(told, [""; 0]),
            false => assert_eq!(told.len(), 2, "{told:?}"),
        }
        assert_eq!(world.closings.len(), 1);
    }
}

#[test]
fn the_advice_of_the_connection_type_in_use_counts() {
    let (mut world, held) = connected();
    world.answer(
        &held,
        &connect_ok(
            r#","advice":{"interval":0,"websocket":{"interval":700},"long-polling":{"interval":9}}"#,
        ),
    );
    let (after, _) = world.next_request(Endpoint::Connect);
    assert_eq!(after, 700);
}

#[test]
fn where_sessions_are_forgotten_all_the_time_nothing_storms_237() {
    let mut world = preferring(&[WebSocket, LongPolling]);
    world.unopened(&refusal(404), true);
    let since = world.now;
    while world.now < since + 60_000 {
        let request = world.inbox.pop_front();
        let Some(request) = request else {
            assert!(world.next_timer());
            continue;
        };
        // `World` holds the handshakes to twelve a minute.
        assert_eq!(request.socket, None, "no upgrade within a minute");
        assert!(world.opening.is_none());
        match request.endpoint {
            Endpoint::Handshake => world.answer(&request, &accepted("c", BOTH)),
            _ if request.at_once() => world.answer(&request, &connect_ok("")),
            _ => {
                world.wait(1_000);
                world.refuse(&request, "402::unknown", r#"{"reconnect":"handshake"}"#);
            }
        }
    }
}

#[test]
fn a_thousand_sockets_that_die_at_once_are_not_opened_at_once_261() {
    let waits: Vec<_> = (0..1_000)
        .map(|seed| {
            let mut world = World::with(|it| {
                it.transports = [WebSocket, LongPolling].into();
                it.seed = seed;
            });
            world.connect();
            world.opens();
            let handshake = world.request(Endpoint::Handshake);
            world.answer(&handshake, &accepted("c1", BOTH));
            let first = world.request(Endpoint::Connect);
            world.answer(&first, &connect_ok(""));
            world.request(Endpoint::Connect);
            // What is lost once is opened at once; what is lost again is waited for.
            for _ in 0..2 {
                world.socket_ends(&lost());
                let since = world.now;
                world.wants_socket();
                if world.now > since {
                    return world.now - since;
                }
                world.opens();
                world.request(Endpoint::Connect);
            }
            0
        })
        .collect();
    for part in waits.chunks(100) {
        let mut different = part.to_vec();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 8, "{part:?}");
    }
}

#[test]
fn a_session_that_has_brought_events_has_worked() {
    let (mut world, held) = connected();
    for round in 0..5 {
        world.frame(r#"[{"channel":"/a","data":1}]"#);
        world.frame(&format!(
            r#"[{{"channel":"/meta/connect","id":{},"successful":false,"error":"402::unknown","advice":{{"reconnect":"handshake"}}}}]"#,
            world.open.values().next().map_or(held.field("id"), |it| it.field("id")).unwrap()
        ));
        let (wait, handshake) = world.next_request(Endpoint::Handshake);
        assert!(wait < 1_000, "{round}: {wait}");
        world.answer(&handshake, &accepted("c1", BOTH));
        let first = world.request(Endpoint::Connect);
        world.answer(&first, &connect_ok(""));
        world.request(Endpoint::Connect);
    }
}

#[test]
fn the_time_of_an_opening_runs_from_when_the_hosts_code_has_let_it_go() {
    let opening = || {
        let mut world = World::with(|it| {
            it.transports = [WebSocket, LongPolling].into();
            it.has_header_provider = true;
        });
        world.connect();
        assert!(world.opening.is_some());
        world
    };
    let mut world = opening();
    let limit = world.session.configuration.request_timeout;
    world.wait(limit * 3);
    assert!(world.opening.is_some());
    let (socket, _) = world.opening.clone().expect("an opening");
    world.session.handle_opening(world.now, socket);
    world.wait(limit - 1);
    assert!(world.opening.is_some());
    world.wait(1);
    assert!(world.opening.is_none());
    assert!(world
        .last_error()
        .message
        .contains("going on with long polling"));
    // What never lets it go is no refusal of the server's.
    let mut world = opening();
    world.wait(60_000);
    assert_eq!(world.last_error().kind, ErrorKind::Timeout);
    assert!(world.last_error().message.contains("the host's code"));
    world.wants_socket();
}

#[test]
fn what_cannot_be_read_ends_the_socket_with_its_code_and_the_session_goes_on() {
    for (kind, code) in [(ErrorKind::NotJson, 1002), (ErrorKind::System, 1000)] {
        let (mut world, _) = connected();
        let socket = world.socket.expect("a socket");
        let failure = Failure::new(kind, "no messages");
        world.session.handle_unreadable(world.now, socket, failure);
        world.collect();
        assert_eq!(world.closings, [(socket, code)]);
        let error = world.last_error();
        assert_eq!((error.kind, error.websocket_code), (kind, code));
        world.wants_socket();
        world.opens();
        assert_eq!(world.request(Endpoint::Connect).client_id(), "c1");
        // Of a socket that is gone it says nothing.
        let failure = Failure::new(kind, "no messages");
        world.session.handle_unreadable(world.now, socket, failure);
        world.collect();
        assert_eq!(world.closings.len(), 1);
    }
}
