//! Sockets that are not read for a while, since there is no room or the host's code
//! has what came: whose time passes meanwhile.

use super::sockets::connected;
use super::*;
use crate::session::flights::HOST_LIMIT;

fn with_extensions() -> (World, Sent) {
    let (mut world, held) = connected();
    Arc::make_mut(&mut world.session.configuration).holds_requests = true;
    (world, held)
}

#[test]
fn what_an_extension_lets_go_while_nothing_is_read_has_all_its_time() {
    let (mut world, _) = with_extensions();
    let limit = world.session.configuration.request_timeout;
    for is_held_first in [true, false] {
        world.reads(is_held_first);
        world.publish(1, "/x", "1");
        let publish = world.request(Endpoint::Messages);
        world.reads(false);
        world.wait(20_000);
        world.lets_go(&publish);
        world.wait(20_000);
        world.reads(true);
        world.wait(limit - 1);
        assert!(world.socket.is_some());
        world.accept(&publish);
        assert_eq!(world.events(), ["Published 1 /x"]);
    }
}

#[test]
fn an_extension_that_keeps_a_request_is_told_also_where_nothing_is_read() {
    let (mut world, _) = with_extensions();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.reads(false);
    world.wait(HOST_LIMIT);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
    assert!(world.cancelled.contains(&publish.id));
    assert!(world.socket.is_some());
}

#[test]
fn what_was_not_read_for_long_may_come_as_slowly_as_anything_else() {
    let (mut world, _) = connected();
    world.publish(1, "/x", "1");
    let publish = world.request(Endpoint::Messages);
    world.reads(false);
    world.wait(3_600_000);
    world.reads(true);
    for second in 1..=40 {
        world.wait(1_000);
        world.heard(second * 20_000);
    }
    assert!(world.socket.is_some());
    world.accept(&publish);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn an_extension_that_keeps_what_came_over_a_socket_costs_the_socket() {
    let (mut world, _) = connected();
    world.keeps(true);
    for _ in 0..3 {
        world.wait(HOST_LIMIT - 1);
        // One of several is given back.
        world.frame(r#"[{"channel":"/a","data":1}]"#);
        world.keeps(true);
    }
    world.events();
    world.wait(HOST_LIMIT - 1);
    assert!(world.socket.is_some());
    world.wait(1);
    assert!(world.socket.is_none());
    assert_eq!(world.events(), ["Error connect Timeout", "-> Unconnected"]);
    let message = &world.last_error().message;
    assert!(message.contains("extensions"), "{message}");
    world.wants_socket();
    world.opens();
    world.request(Endpoint::Connect);
    world.heard(1);
    // Given back in time it costs nothing.
    world.keeps(true);
    world.wait(HOST_LIMIT - 1);
    world.keeps(false);
    world.wait(5_000);
    assert!(world.socket.is_some());
}
