//! A session that goes from one client to another.

use super::*;
use crate::bayeux::ConnectionType::{LongPolling, WebSocket};
use crate::session::configuration::ReplayPolicy;

fn hands_over(world: &mut World) -> Option<Box<Handover>> {
    world.command(Command::HandOver);
    world.handed_over.pop().expect("an answer")
}

/// Through the text that goes from process to process.
fn carried(handover: &Handover) -> Handover {
    serde_json::from_str(&serde_json::to_string(handover).unwrap()).unwrap()
}

fn resumed(handover: &Handover, configure: impl FnOnce(&mut Configuration)) -> World {
    let mut world = World::with(configure);
    assert_eq!(world.session.resume(&carried(handover)), Ok(()));
    world.connect();
    world
}

fn everything(it: &mut Configuration) {
    it.acknowledgement = true;
    it.replay = Some(ReplayPolicy {
        start: -1,
        fallback: None,
    });
}

#[test]
fn the_second_client_goes_on_where_the_first_has_ended() {
    let (mut world, handshake) = World::handshaking(everything);
    world.answer(
        &handshake,
        &handshake_ok("c1", r#","ext":{"ack":true,"replay":true}"#),
    );
    let first = world.request(Endpoint::Connect);
    world.answer(
        &first,
        &connect_ok(r#","ext":{"ack":7},"advice":{"interval":50,"timeout":20000}"#),
    );
    world.subscribe(1, &["/event/a"]);
    let subscribe = world.request(Endpoint::Messages);
    world.accept(&subscribe);
    let (_, held) = world.next_request(Endpoint::Connect);
    let event = r#"{"channel":"/event/a","data":{"event":{"replayId":41}}},"#;
    let reply = connect_ok(r#","ext":{"ack":8}"#).replacen('[', &format!("[{event}"), 1);
    world.answer(&held, &reply);
    let (_, held) = world.next_request(Endpoint::Connect);
    world.events();
    let handover = hands_over(&mut world).expect("a session");
    assert!(world.closed, "it has ended");
    assert_eq!(world.cancelled, [held.id]);
    world.assert_nothing_sent();

    let mut world = resumed(&handover, everything);
    let connect = world.request(Endpoint::Connect);
    assert_eq!(world.events(), ["-> Connecting"]);
    assert_eq!(connect.client_id(), "c1");
    assert!(connect.at_once());
    assert!(connect.text.contains(r#""ack":8"#), "{}", connect.text);
    let number = |sent: &Sent| sent.field("id").unwrap().parse::<u64>().unwrap();
    assert!(number(&connect) > number(&held), "no id is used twice");
    world.answer(&connect, &connect_ok(r#","ext":{"ack":8}"#));
    // The advice holds, and so does the subscription.
    assert_eq!(world.next_request(Endpoint::Connect).0, 50);
    world.unsubscribe(5, &["/event/a"]);
    let unsubscribe = world.request(Endpoint::Messages);
    assert_eq!(unsubscribe.summary(), ["/meta/unsubscribe /event/a"]);
    world.accept(&unsubscribe);
}

#[test]
fn a_session_that_the_server_has_forgotten_leads_to_a_handshake_and_all_is_renewed() {
    let (mut world, _) = World::subscribed(&["/a", "/b"]);
    let handover = hands_over(&mut world).expect("a session");
    let mut world = resumed(&handover, |_| {});
    let connect = world.request(Endpoint::Connect);
    world.refuse(&connect, "402::unknown", r#"{"reconnect":"handshake"}"#);
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let renewal = world.request(Endpoint::Messages);
    assert_eq!(
        renewal.summary(),
        ["/meta/subscribe /a", "/meta/subscribe /b"]
    );
    assert_eq!(renewal.client_id(), "c2");
}

#[test]
fn what_the_server_has_yet_to_get_is_sent_when_the_session_works() {
    let (mut world, held) = World::subscribed(&["/a"]);
    world.refuse(&held, "402::unknown", r#"{"reconnect":"handshake"}"#);
    let handshake = world.request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    // The renewal is on its way, and nobody will know what became of it.
    let handover = hands_over(&mut world).expect("a session");
    let mut world = resumed(&handover, |_| {});
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.client_id(), "c2");
    world.answer(&connect, &connect_ok(""));
    assert_eq!(
        world.request(Endpoint::Messages).summary(),
        ["/meta/subscribe /a"]
    );
}

#[test]
fn there_is_nothing_to_give_where_there_is_no_session() {
    let (mut world, handshake) = World::handshaking(|_| {});
    assert!(hands_over(&mut world).is_none());
    world.answer(&handshake, &handshake_ok("c1", ""));
    let first = world.request(Endpoint::Connect);
    world.answer(&first, &connect_ok(""));
    world.request(Endpoint::Connect);
    world.disconnect(1_000);
    assert!(hands_over(&mut world).is_none());
    let disconnect = world.request(Endpoint::Disconnect);
    world.accept(&disconnect);
    world.run_timers();
    assert!(hands_over(&mut world).is_none());
}

#[test]
fn it_goes_on_over_the_connection_type_that_it_had_where_that_is_wanted() {
    let mut world = World::with(|it| it.transports = [WebSocket, LongPolling].into());
    world.connect();
    world.opens();
    let handshake = world.request(Endpoint::Handshake);
    world.answer(
        &handshake,
        &handshake_ok("c1", "").replace(r#"["long-polling"]"#, r#"["websocket","long-polling"]"#),
    );
    let handover = hands_over(&mut world).expect("a session");
    assert_eq!(world.closings.last().map(|it| it.1), Some(0), "at once");

    let mut world = resumed(&handover, |it| {
        it.transports = [LongPolling, WebSocket].into()
    });
    world.wants_socket();
    world.opens();
    assert_eq!(world.request(Endpoint::Connect).socket, world.socket);
    let mut world = resumed(&handover, |_| {});
    assert_eq!(world.request(Endpoint::Connect).socket, None);
}

#[test]
fn it_goes_on_at_its_server_or_not_at_all() {
    let servers = ["a:1".to_owned(), "b:2".to_owned()];
    let (mut world, _) = World::connected_with(|it| it.servers = servers.to_vec());
    let handover = hands_over(&mut world).expect("a session");
    let resume = |names: &[&str]| {
        let mut world =
            World::with(|it| it.servers = names.iter().map(|it| (*it).into()).collect());
        let result = world.session.resume(&handover);
        world.connect();
        let endpoint = match result {
            Ok(()) => Endpoint::Connect,
            Err(_) => Endpoint::Handshake,
        };
        (result.is_ok(), world.request(endpoint).server)
    };
    assert_eq!(resume(&["a:1"]), (true, Server::Given(0)));
    assert_eq!(resume(&["b:2", "A:1"]), (true, Server::Given(1)));
    assert_eq!(resume(&["b:2"]), (false, Server::Given(0)));
    // One that has begun has a session of its own.
    let (mut world, _) = World::connected_with(|it| it.servers = servers.to_vec());
    assert!(world.session.resume(&handover).is_err());
}

#[test]
fn what_has_no_outcome_ends_with_the_client() {
    let (mut world, _) = World::connected();
    world.events();
    world.publish(1, "/x", "1");
    assert!(hands_over(&mut world).is_some());
    let events = world.events();
    assert_eq!(
        events,
        ["Error publish Aborted 1 /x", "-> Closed", "Closed"]
    );
}

#[test]
fn no_log_has_a_clientid() {
    let (mut world, _) = World::connected();
    let handover = hands_over(&mut world).expect("a session");
    assert_eq!(format!("{handover:?}"), "Handover(…)");
}
