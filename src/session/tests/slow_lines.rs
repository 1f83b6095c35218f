//! A slow line is no dead one: deadlines wait while bytes arrive at a fair
//! rate, within a bound.

use super::*;

/// Lets `seconds` pass with so many bytes a second, from now on; whether the
/// request lives on.
fn trickles(world: &mut World, sent: &Sent, rate: u64, seconds: u64) -> bool {
    let since = world.now;
    for _ in 0..seconds * 10 {
        let end = world.now + 100;
        // Told before each timer, and at no other time.
        while let Some(at) = world.session.poll_timeout().filter(|at| *at <= end) {
            world.now = world.now.max(at);
            let bytes = (world.now - since) * rate / 1_000;
            world.progress(sent, since, bytes);
            world.session.handle_timeout(world.now);
            world.collect();
        }
        world.now = end;
        if !world.open.contains_key(&sent.id) {
            return false;
        }
    }
    true
}

#[test]
fn case_slow_line_300_kb_at_21_kb_a_second_arrive() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    assert!(trickles(&mut world, &sent, 21_000, 14));
    world.accept(&sent);
    assert_eq!(world.events(), ["Published 1 /x"]);
}

#[test]
fn case_slow_line_of_every_kind_of_request() {
    for kind in ["handshake", "connect", "publish", "disconnect"] {
        let (mut world, sent) = match kind {
            "handshake" => World::handshaking(|_| {}),
            _ => World::connected(),
        };
        let sent = match kind {
            "publish" => {
                world.publish(1, "/x", "1");
                world.request(Endpoint::Messages)
            }
            "disconnect" => {
                // Its own limit is the host's, and holds.
                world.disconnect(3_000);
                let sent = world.request(Endpoint::Disconnect);
                assert!(!trickles(&mut world, &sent, 5_000, 4));
                continue;
            }
            _ => sent,
        };
        if kind == "connect" {
            world.wait(65_000);
        }
        assert!(trickles(&mut world, &sent, 1_100, 25), "{kind}");
    }
}

#[test]
fn case_slow_line_that_is_too_slow_ends_at_its_deadline() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    let start = world.now;
    assert!(!trickles(&mut world, &sent, 1_000, 20));
    assert!(world.now - start <= 10_100, "{}", world.now - start);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
    assert_eq!(
        world.last_error().message,
        "publish: no whole response within 10000 ms: 10000 bytes came (channel /x)"
    );
}

#[test]
fn case_slow_line_is_waited_for_up_to_ten_times_its_deadline() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    let start = world.now;
    assert!(!trickles(&mut world, &sent, 2_000, 200));
    assert_within(world.now - start, 99_900..=100_200);
}

#[test]
fn case_slow_line_that_stalls_is_noticed_soon() {
    let (mut world, _) = World::connected();
    world.publish(1, "/x", "1");
    let sent = world.request(Endpoint::Messages);
    assert!(trickles(&mut world, &sent, 21_000, 14));
    // Nobody tells of more.
    world.wait(16_100);
    assert_eq!(world.events(), ["Error publish Timeout 1 /x"]);
}

#[test]
fn case_slow_line_begins_with_its_first_byte_not_with_its_request() {
    let (mut world, held) = World::connected();
    // Held for a minute, and then 15 KB a second.
    world.wait(68_000);
    assert!(world.open.contains_key(&held.id));
    assert!(trickles(&mut world, &held, 15_000, 20));
    world.answer(&held, &connect_ok(""));
    world.request(Endpoint::Connect);
}

#[test]
fn case_slow_line_progress_of_what_has_ended_changes_nothing() {
    let (mut world, held) = World::connected();
    world.answer(&held, &connect_ok(""));
    let now = world.now;
    world.progress(&held, now, 5_000);
    world.progress(&held, now + 5_000, 0);
    let next = world.request(Endpoint::Connect);
    // Bytes that shrink, a time that runs backwards.
    world.progress(&next, now + 100_000, 10);
    world.wait(1_000);
    world.progress(&next, 0, u64::MAX);
    world.progress(&next, 0, 1);
    world.wait(800_000);
    assert!(!world.open.contains_key(&next.id));
}
