//! The end of a session, over sockets.

mod scenario;

use std::time::{Duration, Instant};

use cometd::error::ErrorKind;
use scenario::{Run, SESSION};

#[test]
fn a_disconnect_passes_the_held_connect_and_both_are_answered_107() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as held
        expect disconnect as end
        answer end
        answer held : [{{"channel":"/a","data":"last"}},$ok{{"advice":{{"reconnect":"none"}}}}]
        quiet 300"#
    ))
    .start();
    run.requested("held").disconnect();
    assert_eq!(
        run.host.seen[run.host.seen.len() - 4..],
        ["Disconnecting", "message /a \"last\"", "Closed", "CLOSED"]
    );
    run.played();
    assert!(run.host.errors.is_empty());
}

#[test]
fn the_connects_reply_may_come_before_the_disconnects_107() {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect as held
        expect disconnect as end
        answer held
        quiet 100
        answer end
        quiet 200"
    ))
    .start();
    run.requested("held").disconnect().played();
}

#[test]
fn a_disconnect_that_is_never_answered_ends_in_time_and_aborts_the_connect_108() {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect as held
        expect disconnect as end
        closed held
        closed end"
    ))
    .start();
    run.requested("held");
    let begin = Instant::now();
    // In which the request itself has to get there.
    let limit = Duration::from_secs(2);
    let error = run.host.client.disconnect(limit).unwrap_err();
    assert!(begin.elapsed() >= limit);
    assert_eq!(error.kind, ErrorKind::Timeout);
    run.closes().played();
    assert_eq!(run.host.count("error disconnect Timeout"), 1);
}

#[test]
fn an_abort_closes_every_connection_and_sends_nothing_117() {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect as held
        expect publish /x as p
        closed held
        closed p
        quiet 100"
    ))
    .start();
    run.requested("held");
    run.publish("/x", "1");
    run.requested("p");
    run.host.client.abort();
    run.played();
}

#[test]
fn the_servers_own_disconnect_ends_it_behind_the_events_222() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect
        answer : [{{"channel":"/a","data":1}},{{"channel":"/meta/disconnect","successful":true}},$ok{{"advice":{{"reconnect":"none"}}}}]
        quiet 200"#
    ))
    .start();
    run.closes().played();
    assert_eq!(
        run.told(),
        [
            "message /a 1",
            "error disconnect ServerDisconnected fatal",
            "CLOSED"
        ]
    );
}
