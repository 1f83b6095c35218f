//! Servers that refuse, choke and contradict themselves, all at once or for
//! long: nothing starves, nothing is forgotten, and what is told is kept.

use super::edges::renewing;
use super::*;

const RETRY: &str = r#"{"reconnect":"retry"}"#;

/// The next request that is no connect: those are held.
fn next_commands(world: &mut World) -> Sent {
    loop {
        if let Some(at) = world
            .inbox
            .iter()
            .position(|it| it.endpoint == Endpoint::Messages)
        {
            return world.inbox.remove(at).unwrap();
        }
        assert!(world.next_timer());
        let connects = |it: &&Sent| it.endpoint == Endpoint::Connect;
        let connect = world.inbox.iter().find(connects).cloned();
        if let Some(connect) = connect {
            world.inbox.retain(|it| it.id != connect.id);
            world.answer(&connect, &connect_ok(""));
        }
    }
}

#[test]
fn each_subscribe_that_is_put_off_is_tried_when_it_was_told() {
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "503::busy", RETRY);
    let told = world.last_error().retry_in.unwrap();
    let due = world.now + told;
    // Others that are put off later do not move it.
    for id in 2..5 {
        world.wait(200);
        let channel = format!("/b{id}");
        world.subscribe(id, &[&channel]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, "503::busy", RETRY);
    }
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    assert_eq!(world.now, due);
}

#[test]
fn what_the_host_sends_is_not_held_up_by_renewals_that_hang() {
    let (mut world, renewal, _) = renewing(&["/a", "/b", "/c"], |it| it.backoff_maximum = 1_000);
    world.fail(&renewal, ErrorKind::Timeout);
    let first = next_commands(&mut world);
    world.publish(7, "/x", "1");
    world.wait(5_000);
    world.fail(&first, ErrorKind::Timeout);
    let next = next_commands(&mut world);
    assert_eq!(next.summary(), ["/x"]);
}

#[test]
fn renewals_that_hang_leave_every_channel_its_turn() {
    let (mut world, renewal, _) = renewing(&["/a", "/b", "/c"], |it| it.backoff_maximum = 1_000);
    world.fail(&renewal, ErrorKind::Timeout);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let next = next_commands(&mut world);
        seen.extend(next.summary());
        world.wait(5_000);
        world.fail(&next, ErrorKind::Timeout);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn an_unsubscribe_is_sent_when_the_server_may_have_taken_a_renewal() {
    let (mut world, renewal, _) = renewing(&["/a"], |_| {});
    world.fail(&renewal, ErrorKind::Timeout);
    world.unsubscribe(7, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    assert_eq!(sent.summary(), ["/meta/unsubscribe /a"]);
}

#[test]
fn an_unsubscribe_is_sent_when_the_server_may_have_taken_a_stand_in() {
    let (mut world, renewal, _) = renewing(&["/a"], |_| {});
    world.refuse(&renewal, "503::busy", "");
    world.subscribe(7, &["/a"]);
    let own = world.request(Endpoint::Messages);
    world.fail(&own, ErrorKind::Timeout);
    world.unsubscribe(8, &["/a"]);
    // The renewal that follows at once may be before it.
    let sent = world.request(Endpoint::Messages);
    let mut summary = sent.summary();
    if summary == ["/meta/subscribe /a"] {
        world.accept(&sent);
        summary = world.request(Endpoint::Messages).summary();
    }
    assert_eq!(summary, ["/meta/unsubscribe /a"]);
}

#[test]
fn new_credentials_do_not_hurry_a_server_that_wants_to_be_left_alone() {
    let refused = r#","error":"401::expired","advice":{"reconnect":"handshake","interval":7000}"#;
    let mut failure = Failure::new(ErrorKind::Unauthorized, "HTTP 401").with_status(401);
    failure.retry_after = Some(7_000);
    for answer in [Ok(()), Err("no")] {
        for in_reply in [true, false] {
            // A handshake.
            let (mut world, handshake) = World::handshaking(|it| it.has_token_provider = true);
            match in_reply {
                true => world.answer(&handshake, &handshake_refused(refused)),
                false => world.fail_with(&handshake, &failure),
            }
            assert!(world.last_error().retry_in.unwrap() >= 7_000);
            world.credentials(answer);
            let (wait, _) = world.next_request(Endpoint::Handshake);
            assert!(wait >= 7_000, "{wait}");
            // A connect.
            let (mut world, held) = World::connected_with(|it| it.has_token_provider = true);
            match in_reply {
                true => world.answer(&held, &connect_refused(refused)),
                false => world.fail_with(&held, &failure),
            }
            world.credentials(answer);
            let start = world.now;
            while world.inbox.is_empty() {
                assert!(world.next_timer());
            }
            assert!(world.now - start >= 7_000, "{}", world.now - start);
        }
    }
}

#[test]
fn a_session_that_follows_one_that_was_ended_comes_when_the_server_wants_it() {
    let advice = r#","advice":{"reconnect":"none","interval":7000}"#;
    let ended = format!(r#"[{{"channel":"/meta/disconnect"{advice}}}]"#);
    for (what, text) in [
        ("refused", connect_refused(advice)),
        ("successful", connect_ok(advice)),
        ("disconnect", ended),
        (
            "both",
            r#"[{"channel":"/meta/disconnect"},{"channel":"/meta/connect","id":"$id","successful":false,"advice":{"interval":7000}}]"#
                .to_owned(),
        ),
    ] {
        let (mut world, held) = World::connected_with(|it| it.restart = true);
        world.answer(&held, &text);
        if what == "refused" {
            // That refuses this client.
            assert_eq!(world.state(), State::Closed);
            continue;
        }
        let told = world.last_error().retry_in.unwrap();
        let (wait, _) = world.next_request(Endpoint::Handshake);
        assert!(wait >= 7_000, "{what}: {wait}");
        assert_eq!(wait, told, "{what}");
    }
}

#[test]
fn each_subscribe_that_the_advice_puts_off_waits_for_as_long_as_it_takes() {
    // Two at once to one channel: both are put off.
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a"]);
    world.subscribe(2, &["/a"]);
    let first = world.request(Endpoint::Messages);
    world.refuse(&first, "503::busy", RETRY);
    let second = world.request(Endpoint::Messages);
    world.refuse(&second, "503::busy", RETRY);
    assert_eq!(
        world.events(),
        ["PutOff subscribe Refused /a", "PutOff subscribe Refused /a"]
    );
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    world.accept(&again);
    assert_eq!(world.events(), ["Subscribed 1 /a", "Subscribed 2 /a"]);
    world.assert_quiet(50_000);
}

#[test]
fn a_subscribe_beside_a_renewal_that_the_advice_puts_off_joins_it() {
    let (mut world, renewal, _) = renewing(&["/a"], |_| {});
    world.refuse(&renewal, "503::busy", "");
    world.subscribe(7, &["/a"]);
    let own = world.request(Endpoint::Messages);
    world.refuse(&own, "503::busy", RETRY);
    world.events();
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    world.accept(&again);
    assert_eq!(world.events(), ["Renewed 1 /a", "Subscribed 7 /a"]);
}

#[test]
fn a_put_off_that_comes_late_is_tried_in_the_new_session() {
    let (mut world, held) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.answer(&held, &connect_refused(UNKNOWN));
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let connect = world.request(Endpoint::Connect);
    world.answer(&connect, &connect_ok(""));
    world.request(Endpoint::Connect);
    world.refuse(&sent, "503::busy", RETRY);
    let (_, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    world.accept(&again);
    assert_eq!(world.events().last().unwrap(), "Subscribed 1 /a");
}

#[test]
fn a_goodbye_behind_a_session_that_cannot_be_used_ends_nothing_more() {
    for restart in [true, false] {
        let (mut world, handshake) = World::handshaking(|it| it.restart = restart);
        let unusable =
            r#"{"channel":"/meta/handshake","id":"$id","successful":true,"version":"1.0"}"#;
        let text = format!(r#"[{unusable},{{"channel":"/meta/disconnect"}}]"#);
        world.answer(&handshake, &text);
        assert_eq!(
            world.events(),
            ["-> Handshaking", "Error handshake Protocol"]
        );
        world.next_request(Endpoint::Handshake);
    }
}

#[test]
fn a_subscribe_that_was_refused_leaves_the_position_where_it_was() {
    let position = |sent: &Sent| sent.messages[0]["ext"]["replay"].clone();
    for outcome in ["refused", "failed"] {
        let (mut world, handshake) = World::handshaking(|it| {
            it.replay = Some(ReplayPolicy {
                start: -1,
                fallback: Some(-2),
            });
        });
        let ext = r#","ext":{"replay":true}"#;
        world.answer(&handshake, &handshake_ok("c1", ext));
        let connect = world.request(Endpoint::Connect);
        world.answer(&connect, &connect_ok(""));
        let held = world.request(Endpoint::Connect);
        world.subscribe(1, &["/t"]);
        let sent = world.request(Endpoint::Messages);
        world.accept(&sent);
        let event = r#"{"channel":"/t","data":{"event":{"replayId":100}}}"#;
        let ok = connect_ok("");
        let ok = ok.trim_matches(['[', ']']);
        world.answer(&held, &format!("[{event},{ok}]"));
        let held = world.request(Endpoint::Connect);
        world.replay_from("/t", -1, false);
        world.subscribe(2, &["/t?x=1"]);
        let sent = world.request(Endpoint::Messages);
        match outcome {
            "refused" => world.refuse(&sent, "403::no", ""),
            _ => world.fail(&sent, ErrorKind::ConnectionLost),
        }
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c2", ext));
        let renewal = world.request(Endpoint::Messages);
        assert_eq!(renewal.summary(), ["/meta/subscribe /t"]);
        assert_eq!(position(&renewal)["/t"], 100, "{outcome}");
    }
}

#[test]
fn a_refusal_that_asks_for_a_pause_gets_it_before_the_next_try() {
    const PAUSE: &str = r#"{"reconnect":"retry","interval":7000}"#;
    // A renewal.
    let (mut world, renewal, _) = renewing(&["/a", "/b"], |_| {});
    let reply = |index: usize, advice: &str| {
        format!(
            r#"{{"channel":"/meta/subscribe","id":"${index}","successful":false,"error":"503::busy","advice":{advice}}}"#
        )
    };
    let text = format!("[{},{}]", reply(0, RETRY), reply(1, PAUSE));
    world.answer(&renewal, &text);
    let (wait, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /a"]);
    assert!(wait < 7_000);
    world.accept(&again);
    let (more, again) = world.next_request(Endpoint::Messages);
    assert_eq!(again.summary(), ["/meta/subscribe /b"]);
    assert!(wait + more >= 7_000, "{wait} {more}");
    // A subscribe of the host's.
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "503::busy", PAUSE);
    assert!(world.last_error().retry_in.unwrap() >= 7_000);
    assert!(world.next_request(Endpoint::Messages).0 >= 7_000);
    // A publish with retries.
    let (mut world, _) = World::connected();
    world.command(Command::PublishWithRetries {
        id: 1,
        channel: "/x".to_owned(),
        data: serde_json::from_str("1").unwrap(),
        attempts: None,
        deadline: None,
    });
    let sent = world.request(Endpoint::Messages);
    world.refuse(&sent, "503::busy", PAUSE);
    assert!(world.next_request(Endpoint::Messages).0 >= 7_000);
}

#[test]
fn a_new_session_is_not_given_up_for_what_the_old_one_met() {
    let (mut world, held) = World::connected();
    world.http(&held, 404);
    let (_, connect) = world.next_request(Endpoint::Connect);
    world.http(&connect, 404);
    let (_, handshake) = world.next_request(Endpoint::Handshake);
    world.answer(&handshake, &handshake_ok("c2", ""));
    let connect = world.request(Endpoint::Connect);
    world.http(&connect, 404);
    assert_eq!(world.state(), State::Unconnected);
    let (_, connect) = world.next_request(Endpoint::Connect);
    world.http(&connect, 404);
    world.next_request(Endpoint::Handshake);
}

#[test]
fn no_other_try_is_promised_while_the_client_ends() {
    let (mut world, renewal, _) = renewing(&["/a"], |_| {});
    world.disconnect(5_000);
    world.refuse(&renewal, "503::busy", "");
    assert_eq!(world.last_error().retry_in, None);
}

#[test]
fn a_refusal_that_nobody_asks_for_is_not_kept() {
    let (mut world, handshake) = World::handshaking(|_| {});
    let long = format!(
        r#","error":"403::no","challenge":"{}""#,
        "x".repeat(1_000_000)
    );
    let before = super::longevity::allocated();
    world.answer(&handshake, &handshake_refused(&long));
    let kept = super::longevity::allocated() - before;
    assert!(kept < 100_000, "{kept}");
}

/// What a server knows that does what it is asked, though its answers may be
/// lost on the way.
#[derive(Default)]
struct Truth {
    session: u64,
    known: std::collections::BTreeSet<String>,
}

impl Truth {
    /// Takes each message that `takes` lets in; the replies.
    fn replies(&mut self, sent: &Sent, takes: &mut impl FnMut() -> bool) -> String {
        let mut replies = Vec::new();
        for message in &sent.messages {
            let name = message["channel"].as_str().unwrap();
            let subscription = message["subscription"].as_str().unwrap_or_default();
            let is_current = sent.client_id() == format!("c{}", self.session);
            let taken = is_current && takes();
            match name {
                meta::SUBSCRIBE if taken => {
                    self.known.insert(subscription.to_owned());
                }
                meta::UNSUBSCRIBE if taken => {
                    self.known.remove(subscription);
                }
                _ => {}
            }
            let outcome = match (taken, is_current) {
                (true, _) => r#""successful":true"#,
                (false, true) => {
                    r#""successful":false,"error":"503::busy","advice":{"reconnect":"retry"}"#
                }
                _ => r#""successful":false,"error":"402::session_unknown""#,
            };
            let id = &message["id"];
            replies.push(format!(r#"{{"channel":"{name}","id":{id},{outcome}}}"#));
        }
        format!("[{}]", replies.join(","))
    }
}

/// Channels by the host's last call, whether it was a subscribe, and its id.
type LastCalls = BTreeMap<String, (bool, OperationId)>;

/// One life: the server refuses, loses answers and sessions for a while, then
/// all is well; it knows in the end what the host was told.
fn the_server_knows_what_the_host_was_told(seed: u64) {
    let mut random = liveness::Random::new(seed);
    let mut world = World::with(|it| {
        it.seed = seed;
        it.backoff_maximum = 3_000;
    });
    let mut truth = Truth::default();
    let mut last = LastCalls::new();
    let mut outcomes: BTreeMap<(OperationId, String), bool> = BTreeMap::new();
    let mut waiting: Vec<Sent> = Vec::new();
    let mut operations = 0;
    world.connect();
    for step in 0..400 {
        let is_well = step > 250;
        waiting.extend(world.inbox.drain(..));
        waiting.retain(|it| world.open.contains_key(&it.id));
        let held = waiting.iter().position(|it| {
            it.endpoint != Endpoint::Connect || it.at_once() || is_well && random.one_in(20)
        });
        match random.below(8) {
            0 | 1 if !is_well => {
                let channel = random.pick(&["/a", "/b", "/c"]);
                operations += 1;
                let subscribes = random.one_in(2);
                last.insert(channel.to_owned(), (subscribes, operations));
                match subscribes {
                    true => world.subscribe(operations, &[channel]),
                    false => world.unsubscribe(operations, &[channel]),
                }
            }
            2 if !is_well => {
                // The session is lost.
                let connect = waiting.iter().find(|it| it.endpoint == Endpoint::Connect);
                if let Some(connect) = connect.cloned() {
                    truth.session += 1;
                    truth.known.clear();
                    world.answer(&connect, &connect_refused(UNKNOWN));
                }
            }
            3 => {
                world.next_timer();
            }
            _ => {
                let Some(sent) = held.map(|it| waiting.remove(it)) else {
                    world.wait(100);
                    continue;
                };
                match sent.endpoint {
                    Endpoint::Handshake => {
                        truth.session += 1;
                        truth.known.clear();
                        let client_id = format!("c{}", truth.session);
                        world.answer(&sent, &handshake_ok(&client_id, ""));
                    }
                    Endpoint::Connect => {
                        let is_known = sent.client_id() == format!("c{}", truth.session);
                        match is_known {
                            true => world.answer(&sent, &connect_ok("")),
                            false => world.answer(&sent, &connect_refused(UNKNOWN)),
                        }
                    }
                    _ => {
                        let mut takes = || is_well || !random.one_in(3);
                        let text = truth.replies(&sent, &mut takes);
                        match is_well || !random.one_in(3) {
                            true => world.answer(&sent, &text),
                            false => world.fail(&sent, ErrorKind::ConnectionLost),
                        }
                    }
                }
            }
        }
        for event in world.events() {
            let words: Vec<&str> = event.split(' ').collect();
            let (good, id, channel) = match words[..] {
                ["Subscribed" | "Unsubscribed", id, channel] => (true, id, channel),
                ["Error", _, _, id, channel] => (false, id, channel),
                _ => continue,
            };
            outcomes.insert((id.parse().unwrap(), channel.to_owned()), good);
        }
    }
    for (channel, (subscribed, id)) in last {
        let outcome = outcomes.get(&(id, channel.clone()));
        assert!(outcome.is_some(), "{seed}: {id} {channel} never ends");
        if outcome == Some(&true) {
            let known = truth.known.contains(&channel);
            assert_eq!(known, subscribed, "{seed}: {id} {channel}");
        }
    }
}

#[test]
fn servers_know_in_the_end_what_hosts_were_told() {
    let seeds = liveness::number_from_environment("COMETD_SEEDS");
    for seed in 0..seeds.unwrap_or(200) {
        the_server_knows_what_the_host_was_told(seed);
    }
}
