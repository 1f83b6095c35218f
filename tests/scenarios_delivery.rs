//! Hosts that do not keep up, over sockets.

mod scenario;

use cometd::delivery::Overflow;
use scenario::{Run, END, SESSION};

/// So many events in an array with the connect's reply behind them.
fn flood(from: usize, count: usize) -> String {
    let events: String = (from..from + count)
        .map(|n| format!(r#"{{"channel":"/flood","data":{n}}},"#))
        .collect();
    format!("[{events}$ok]")
}

#[test]
fn a_host_that_stands_still_holds_the_connect_up_and_all_comes_in_order_167_170() {
    let mut run = Run::with(
        format!(
            "expect handshake
            answer
            expect connect at-once
            answer
            expect connect
            answer : {}
            quiet 300
            mark stopped
            expect connect
            answer : {}
            expect connect as held
            {END}",
            flood(0, 200),
            flood(200, 50)
        ),
        |builder| builder.set_events_capacity(100, 1 << 20).unwrap(),
    );
    run.host.client.connect().unwrap();
    run.requested("stopped");
    // The host wakes up.
    run.until("message /flood 249");
    run.requested("held").disconnect().played();
    let events: Vec<_> = run
        .told()
        .into_iter()
        .filter_map(|seen| seen.strip_prefix("message /flood "))
        .map(|number| number.parse::<usize>().unwrap())
        .collect();
    assert_eq!(events, (0..250).collect::<Vec<_>>());
}

#[test]
fn a_host_that_stands_still_loses_the_oldest_or_the_newest_by_choice_and_is_told_167() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let floods: String = (0..20)
            .map(|n| format!("expect connect\nanswer : {}\n", flood(n * 100, 100)))
            .collect();
        let mut run = Run::with(
            format!("{SESSION}\n{floods}\nexpect connect as held\n{END}"),
            |builder| {
                builder.set_events_capacity(100, 1 << 20).unwrap();
                builder.set_overflow(overflow);
            },
        );
        run.host.client.connect().unwrap();
        // All of it has come before the host takes the first one.
        run.requested("held");
        run.disconnect().played();
        let (mut came, mut dropped) = (Vec::new(), 0);
        for seen in run.told() {
            if let Some(number) = seen.strip_prefix("message /flood ") {
                came.push(number.parse::<usize>().unwrap());
            } else if let Some(count) = seen.strip_prefix("dropped ") {
                dropped += count.parse::<usize>().unwrap();
            }
        }
        assert_eq!(came.len() + dropped, 2_000, "{overflow:?}");
        assert!(came.len() <= 100, "{overflow:?}");
        assert!(came.is_sorted());
        let last = came.last().copied();
        match overflow {
            Overflow::DropNewest => assert_eq!(came, (0..came.len()).collect::<Vec<_>>()),
            _ => assert_eq!(last, Some(1_999)),
        }
    }
}

#[test]
fn connects_and_deadlines_do_not_wait_for_a_host_that_is_busy_34() {
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect
        answer : [{{"channel":"/a","data":1}},$ok]
        expect connect as held
        {END}"#
    ));
    // The host takes no event at all until the connect is out again.
    run.host.client.connect().unwrap();
    run.requested("held");
    run.disconnect().played();
}
