//! Several servers: those that the host gave, and those that advice names.

use super::*;

fn given(index: usize) -> Server {
    Server::Given(index)
}

fn advised(host: &str) -> Server {
    Server::Advised(host.into())
}

fn two(configuration: &mut Configuration) {
    configuration.servers = vec!["a".into(), "b:8080".into()];
}

fn following(configuration: &mut Configuration) {
    configuration.servers = vec!["a".into()];
    configuration.follow_hosts = true;
}

/// The servers of the next handshakes, each of which comes to nothing.
fn fails_at(world: &mut World, count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    while servers.len() < count {
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        servers.push(handshake.server.clone());
        world.fail(&handshake, ErrorKind::Tcp);
    }
    servers
}

const HOSTS: &str = r#"{"reconnect":"handshake","hosts":["B","c:81"]}"#;

#[test]
fn the_next_one_is_asked_when_a_handshake_fails_199() {
    let mut world = World::with(two);
    world.connect();
    assert_eq!(
        fails_at(&mut world, 3),
        [given(0), given(1), given(0)],
        "after the last comes the first"
    );
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(handshake.server, given(1));
    world.answer(&handshake, &handshake_ok("c", ""));
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.server, given(1), "and kept for the session");
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    assert_eq!(publish.server, given(1));
    world.accept(&publish);
    world.disconnect(1_000);
    assert_eq!(world.request(Endpoint::Disconnect).server, given(1));
}

#[test]
fn a_session_is_given_up_after_three_failures_and_subscribed_anew_199() {
    let (mut world, mut connect) = World::connected_with(two);
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.accept(&sent);
    for _ in 0..2 {
        world.fail(&connect, ErrorKind::Tcp);
        (_, connect) = world.next_request(Endpoint::Connect);
        assert_eq!(connect.server, given(0), "it may come back");
    }
    world.fail(&connect, ErrorKind::Tcp);
    assert_eq!(fails_at(&mut world, 1), [given(0)]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(handshake.server, given(1));
    world.answer(&handshake, &handshake_ok("c2", ""));
    let again = world.request(Endpoint::Messages);
    assert_eq!(
        (again.server.clone(), again.summary()),
        (given(1), vec!["/meta/subscribe /a".to_owned()])
    );
}

#[test]
fn a_lost_session_and_a_refusal_are_answers_of_a_server_that_works() {
    let (mut world, held) = World::connected_with(two);
    world.refuse(
        &held,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(handshake.server, given(0));
    world.answer(&handshake, &handshake_refused(r#","error":"403::no""#));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(handshake.server, given(0));
}

#[test]
fn one_server_alone_is_asked_for_ever() {
    let mut world = World::new();
    world.connect();
    assert_eq!(fails_at(&mut world, 5), vec![given(0); 5]);
    let (mut world, mut connect) = World::connected();
    for _ in 0..5 {
        world.fail(&connect, ErrorKind::Tcp);
        (_, connect) = world.next_request(Endpoint::Connect);
    }
}

#[test]
fn advised_hosts_are_asked_in_their_order_60() {
    let (mut world, handshake) = World::handshaking(following);
    assert_eq!(handshake.server, given(0));
    world.refuse(&handshake, "403::moved", HOSTS);
    assert_eq!(
        fails_at(&mut world, 4),
        [advised("B"), advised("c:81"), given(0), advised("B")]
    );

    // The same by a connect that was refused.
    let (mut world, held) = World::connected_with(following);
    world.refuse(&held, "402::session_unknown", HOSTS);
    let handshake = world.request(Endpoint::Handshake);
    assert_eq!(handshake.server, advised("B"));
    world.answer(&handshake, &handshake_ok("c2", ""));
    assert_eq!(world.request(Endpoint::Connect).server, advised("B"));
}

#[test]
fn a_server_that_is_among_the_hosts_is_asked_again_60() {
    let (mut world, held) = World::connected_with(following);
    world.refuse(
        &held,
        "402::session_unknown",
        r#"{"reconnect":"handshake","hosts":["b","A"]}"#,
    );
    assert_eq!(world.request(Endpoint::Handshake).server, given(0));
}

#[test]
fn without_the_option_hosts_are_told_and_not_followed_60() {
    let (mut world, held) = World::connected();
    world.refuse(&held, "402::session_unknown", HOSTS);
    assert_eq!(world.request(Endpoint::Handshake).server, given(0));
    assert_eq!(world.events()[0], format!("Advice {HOSTS}"));
}

#[test]
fn a_session_goes_on_where_it_is_whatever_a_later_advice_names_60() {
    let (mut world, held) = World::connected_with(following);
    world.refuse(&held, "402::session_unknown", HOSTS);
    let handshake = world.request(Endpoint::Handshake);
    world.answer(
        &handshake,
        &handshake_ok("c2", r#","advice":{"hosts":["x"]}"#),
    );
    let connect = world.request(Endpoint::Connect);
    assert_eq!(connect.server, advised("B"));
    world.answer(&connect, &connect_ok(r#","advice":{"hosts":["y","a"]}"#));
    let held = world.request(Endpoint::Connect);
    assert_eq!(held.server, advised("B"));
    // Once it is over, the newest list counts.
    world.refuse(
        &held,
        "402::session_unknown",
        r#"{"reconnect":"handshake"}"#,
    );
    assert_eq!(
        fails_at(&mut world, 3),
        [advised("B"), given(0), advised("y")]
    );
}

#[test]
fn names_that_are_no_hosts_are_passed_over_60() {
    let (mut world, handshake) = World::handshaking(following);
    let long = "h".repeat(300);
    let many: Vec<String> = (0..100).map(|it| format!("\"h{it}\"")).collect();
    world.refuse(
        &handshake,
        "403::moved",
        &format!(
            r#"{{"reconnect":"handshake","hosts":["","a b","http://x/","u@h","h/p","{long}",{}]}}"#,
            many.join(",")
        ),
    );
    let servers = fails_at(&mut world, 18);
    assert_eq!(servers[0], advised("h0"));
    assert_eq!(servers[15], advised("h15"));
    assert_eq!(servers[16..], [given(0), advised("h0")], "16 at most");
    // Hosts that are none at all change nothing.
    let (mut world, handshake) = World::handshaking(following);
    world.refuse(&handshake, "403::moved", r#"{"hosts":[7]}"#);
    assert_eq!(fails_at(&mut world, 2), [given(0), given(0)]);
}

#[test]
fn several_clients_on_a_connection_are_told_of_and_the_interval_is_kept_59() {
    let (mut world, held) = World::connected();
    let advice = r#"{"multiple-clients":true,"interval":2000,"reconnect":"retry"}"#;
    world.answer(&held, &connect_ok(&format!(r#","advice":{advice}"#)));
    assert_eq!(world.events(), [format!("Advice {advice}")]);
    let (wait, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(wait, 2_000);
    // The same again is no news; something else is, but nothing that is too long.
    let long = format!(
        r#"{{"multiple-clients":true,"interval":2000,"x":"{}"}}"#,
        "y".repeat(4096)
    );
    world.answer(&connect, &connect_ok(&format!(r#","advice":{long}"#)));
    assert!(world.events().is_empty());
    let (_, connect) = world.next_request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(&format!(r#","advice":{advice}"#)));
    assert!(world.events().is_empty());
    let (wait, connect) = world.next_request(Endpoint::Connect);
    assert_eq!(wait, 2_000);
    let refused = r#"{"multiple-clients":true,"reconnect":"none"}"#;
    world.refuse(&connect, "", refused);
    assert_eq!(world.events()[0], format!("Advice {refused}"));
}

#[test]
fn a_server_that_takes_handshakes_and_no_connects_is_left_199() {
    let mut world = World::with(two);
    world.connect();
    let mut servers = Vec::new();
    for _ in 0..3 {
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        servers.push(handshake.server.clone());
        world.answer(&handshake, &handshake_ok("c", ""));
        loop {
            let (_, connect) = world.next_request(Endpoint::Connect);
            world.fail(&connect, ErrorKind::ConnectionLost);
            if world.state() == State::Rehandshaking {
                break;
            }
        }
    }
    assert_eq!(servers, [given(0), given(1), given(0)]);
}

#[test]
fn of_two_urls_at_one_host_the_session_keeps_its_own_60() {
    let mut world = World::with(|it| {
        it.servers = vec!["a".into(), "a".into()];
        it.follow_hosts = true;
    });
    world.connect();
    assert_eq!(fails_at(&mut world, 1), [given(0)]);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    assert_eq!(handshake.server, given(1));
    world.answer(&handshake, &handshake_ok("c", ""));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(r#","advice":{"hosts":["b"]}"#));
    let held = world.request(Endpoint::Connect);
    assert_eq!(held.server, given(1));
    // Named itself, it is asked for the next one as well.
    world.refuse(
        &held,
        "402::session_unknown",
        r#"{"reconnect":"handshake","hosts":["A"]}"#,
    );
    assert_eq!(world.request(Endpoint::Handshake).server, given(1));
}
