//! Rows of the tables in `rules.md` that no scenario shows: for each status,
//! each code.

use super::*;

/// Every HTTP status that a response may have, but 200.
fn every_status() -> impl Iterator<Item = u16> {
    (201..600).filter(|status| *status != 200)
}

#[test]
fn every_http_status_of_a_handshake_is_tried_again() {
    for status in every_status() {
        let (mut world, handshake) = World::handshaking(|_| {});
        world.http(&handshake, status);
        assert_eq!(world.last_error().http_status, status);
        let (wait, handshake) = world.next_request(Endpoint::Handshake);
        assert_eq!(wait, 0, "{status}");
        world.http(&handshake, status);
        let (wait, _) = world.next_request(Endpoint::Handshake);
        assert_within(wait, jittered(1_000));
        assert_eq!(world.last_error().retry_in, Some(wait));
    }
}

#[test]
fn every_http_status_of_a_connect_keeps_the_session_but_404_and_410_twice() {
    for status in every_status() {
        let (mut world, held) = World::connected();
        world.http(&held, status);
        assert_eq!(world.state(), State::Unconnected, "{status}");
        let (wait, connect) = world.next_request(Endpoint::Connect);
        assert_within(wait, jittered(1_000));
        world.http(&connect, status);
        let expected = match status {
            404 | 410 => State::Rehandshaking,
            _ => State::Unconnected,
        };
        assert_eq!(world.state(), expected, "{status}");
    }
}

#[test]
fn every_http_status_asks_the_provider_if_it_is_401_or_407_and_no_other() {
    for status in every_status() {
        let (mut world, held) = World::connected_with(|it| it.has_token_provider = true);
        world.http(&held, status);
        // 407 is the proxy's; the transport tells which of the two it is.
        let asked = usize::from(matches!(status, 401 | 407));
        assert_eq!(world.refreshes, asked, "{status}");
    }
}

#[test]
fn every_http_status_of_a_command_ends_it_unless_it_is_sent_with_retries() {
    for status in every_status() {
        let (mut world, _) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.http(&sent, status);
        assert_eq!(world.events().len(), 1, "{status}");
        let (mut world, _) = World::connected();
        world.command(Command::PublishWithRetries {
            id: 1,
            channel: "/x".into(),
            data: serde_json::from_str("1").unwrap(),
            attempts: None,
            deadline: None,
        });
        let sent = world.request(Endpoint::Messages);
        world.http(&sent, status);
        let ended = !world.events().is_empty();
        assert_eq!(ended, status == 413, "{status}");
    }
}

/// Whether a refusal with this code, and no words that say so, may pass.
fn may_pass(code: u16) -> bool {
    matches!(code, 402 | 408 | 425 | 429) || code >= 500
}

#[test]
fn every_code_of_a_refused_renewal_is_for_good_or_tried_again() {
    for code in 400..600 {
        let (mut world, held) = World::subscribed(&["/a"]);
        world.answer(&held, &connect_refused(UNKNOWN));
        let (_, handshake) = world.next_request(Endpoint::Handshake);
        world.answer(&handshake, &handshake_ok("c2", ""));
        let renewal = world.request(Endpoint::Messages);
        world.events();
        world.refuse(&renewal, &format!("{code}::x"), "");
        let expected = match may_pass(code) || code == 401 {
            true => "PutOff subscribe Refused /a",
            false => "Error subscribe Refused /a",
        };
        assert_eq!(world.events(), [expected], "{code}");
    }
}

#[test]
fn every_code_of_a_refused_publish_with_retries_is_for_good_or_tried_again() {
    for code in 400..600 {
        let (mut world, _) = World::connected();
        world.command(Command::PublishWithRetries {
            id: 1,
            channel: "/x".into(),
            data: serde_json::from_str("1").unwrap(),
            attempts: None,
            deadline: None,
        });
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, &format!("{code}::x"), "");
        assert_eq!(world.events().is_empty(), may_pass(code), "{code}");
    }
}

#[test]
fn every_code_of_the_hosts_own_subscribe_is_final_but_402() {
    for code in 400..600 {
        let (mut world, held) = World::connected();
        world.subscribe(1, &["/a"]);
        let sent = world.request(Endpoint::Messages);
        world.refuse(&sent, &format!("{code}::busy, try again later"), "");
        if code == 402 {
            assert_eq!(world.events(), ["-> Rehandshaking"]);
            continue;
        }
        assert_eq!(world.events(), ["Error subscribe Refused 1 /a"], "{code}");
        assert!(world.open.contains_key(&held.id), "the session goes on");
    }
}

#[test]
fn every_code_of_a_refused_connect_is_tried_again_and_402_in_a_new_session() {
    for code in 400..600 {
        let (mut world, held) = World::connected();
        world.answer(&held, &connect_refused(&format!(r#","error":"{code}::x""#)));
        let expected = match code {
            402 => State::Rehandshaking,
            _ => State::Unconnected,
        };
        assert_eq!(world.state(), expected, "{code}");
    }
}

#[test]
fn every_code_of_a_refused_handshake_is_tried_again() {
    for code in 400..600 {
        let (mut world, handshake) = World::handshaking(|_| {});
        world.answer(
            &handshake,
            &handshake_refused(&format!(r#","error":"{code}::x""#)),
        );
        world.next_request(Endpoint::Handshake);
    }
}

#[test]
fn a_subscribe_whose_request_failed_is_over() {
    let (mut world, _) = World::connected();
    world.subscribe(1, &["/a"]);
    let sent = world.request(Endpoint::Messages);
    world.fail(&sent, ErrorKind::ConnectionLost);
    assert_eq!(world.events(), ["Error subscribe ConnectionLost 1 /a"]);
    world.assert_quiet(60_000);
}

/// Twenty times as many replies or commands cost about twenty times as much.
#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn limit_replies_without_ids_cost_no_search() {
    assert_proportional(|scale| {
        let (mut world, _) = World::connected();
        let names: Vec<String> = (0..500 * scale).map(|it| format!("/{it}")).collect();
        let channels = names.clone();
        world.command(Command::Batch(vec![Command::Subscribe { id: 1, channels }]));
        let sent = world.request(Endpoint::Messages);
        assert_eq!(sent.messages.len(), names.len());
        // Most of them answer nothing; some name their channel, some do not.
        let one = r#"{"channel":"/meta/subscribe","successful":true},"#;
        let named = names.iter().map(|it| {
            format!(
                r#"{one}{{"channel":"/meta/subscribe","successful":true,"subscription":"{it}"}},"#
            )
        });
        let text: String = named.collect::<String>() + &one.repeat(names.len() * 31);
        let text = format!("[{}]", text.trim_end_matches(','));
        let body = Arc::new(Body::parse(text.into_bytes()).unwrap());
        let cost = time_of(|| world.session.handle_reply(world.now, sent.id, &body));
        world.open.remove(&sent.id);
        world.collect();
        assert_eq!(world.events().len(), names.len());
        cost
    });
}

#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn limit_waiting_commands_cost_no_search() {
    assert_proportional(|scale| {
        let (mut world, held) = World::connected();
        world.answer(&held, &connect_refused(UNKNOWN));
        world.room(false);
        let cost = time_of(|| {
            for id in 0..500 * scale {
                let channels = vec![format!("/{id}")];
                let subscribe = Command::Subscribe {
                    id: 2 * id + 1,
                    channels: channels.clone(),
                };
                let unsubscribe = Command::Unsubscribe {
                    id: 2 * id + 2,
                    channels,
                };
                world.session.handle_command(world.now, subscribe);
                world.session.handle_command(world.now, unsubscribe);
            }
        });
        assert_eq!(
            world.session.commands.counts()[0] as u64,
            1_000 * scale,
            "they wait"
        );
        world.session.outputs.clear();
        cost
    });
}

/// Refusals that put back, by the thousand, with all that they need.
#[test]
#[cfg_attr(miri, ignore = "miri has no time of a thread's own")]
fn limit_waiting_commands_that_are_put_back_cost_no_search() {
    assert_proportional(|scale| {
        let (mut world, _) = World::connected();
        let channels: Vec<String> = (0..500 * scale).map(|it| format!("/{it}")).collect();
        world.command(Command::Batch(vec![Command::Subscribe { id: 1, channels }]));
        let sent = world.request(Endpoint::Messages);
        let text = replies(
            &sent,
            r#""successful":false,"error":"402::session_unknown""#,
        );
        let body = Arc::new(Body::parse(text.into_bytes()).unwrap());
        let cost = time_of(|| world.session.handle_reply(world.now, sent.id, &body));
        world.session.outputs.clear();
        assert_eq!(world.session.commands.counts()[0] as u64, 500 * scale);
        cost
    });
}
