//! Publishes and requests of several messages, over sockets.

mod scenario;

use std::time::{Duration, Instant};

use scenario::{Run, END, SESSION};

/// What happens to the connection once the publish was read.
fn a_lost_publish(how: &str, kind: &str) {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect as held
        expect publish /x as p
        {how}
        quiet 300
        mark quiet
        expect publish /y as p
        answer p
        {END}"
    ))
    .start();
    run.requested("held");
    let id = run.publish("/x", "1");
    run.until(&format!("error {id} publish {kind}"));
    run.requested("quiet");
    let next = run.publish("/y", "1");
    run.until(&format!("published {next} /y"));
    run.disconnect().played();
    assert_eq!(run.host.errors.len(), 1, "{:?}", run.host.seen);
    assert_eq!(run.host.error(0).channel.as_deref(), Some("/x"));
}

#[test]
fn a_publish_whose_connection_is_closed_fails_once_and_is_not_sent_again_91() {
    a_lost_publish("close p", "ConnectionLost");
}

#[test]
fn a_publish_whose_connection_is_reset_fails_once_and_is_not_sent_again_91() {
    a_lost_publish("reset p", "ConnectionLost");
}

#[test]
fn a_publish_whose_answer_is_cut_fails_once_and_is_not_sent_again_91() {
    a_lost_publish("answer p cut=-3", "ConnectionLost");
    a_lost_publish("answer p reset=body+2", "ConnectionLost");
}

#[test]
fn a_publish_that_gets_a_page_or_nothing_fails_once() {
    a_lost_publish("answer p : <html><body>login</body></html>", "Html");
    a_lost_publish("answer p :", "NotJson");
    a_lost_publish("answer p : {", "NotJson");
}

/// Short enough to be waited for, long enough for all that is answered.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn what_a_response_leaves_unanswered_fails_at_its_deadline_and_not_earlier_103() {
    let mut run = Run::with(
        format!(
            "{SESSION}
            expect connect as held
            expect publish /first as p
            await all
            answer p
            expect messages as batch : [
            "
        )
        .trim_end()
        .to_owned()
            + r#"{"channel":"/a","id":"$*","clientId":"$client","data":1},{"channel":"/b","id":"$*","clientId":"$client","data":2},{"channel":"/c","id":"$*","clientId":"$client","data":3}]
            answer batch : [$ok.0,$ok.2]
            expect publish /d as p
            answer p
            "#
            + END,
        |builder| {
            scenario::backoff(builder, 5, 20);
            builder.set_request_timeout(LIMIT);
        },
    )
    .start();
    run.requested("held");
    let first = run.publish("/first", "0");
    run.requested("p");
    let [a, b, c] = [("/a", "1"), ("/b", "2"), ("/c", "3")].map(|it| run.publish(it.0, it.1));
    // All three wait for the first one's reply, and so travel together.
    let called = Instant::now();
    run.peer.release("all");
    run.until(&format!("published {first} /first"))
        .until(&format!("published {a} /a"))
        .until(&format!("published {c} /c"));
    // The one without a reply holds nothing up.
    let d = run.publish("/d", "4");
    run.until(&format!("published {d} /d"));
    run.until(&format!("error {b} publish Timeout"));
    assert!(called.elapsed() >= LIMIT);
    run.disconnect().played();
    assert_eq!(run.host.errors.len(), 1, "{:?}", run.host.seen);
}

#[test]
fn a_413_costs_only_that_publish_142() {
    let mut run = Run::quick(format!(
        "{SESSION}
        expect connect as first
        expect publish /big as p
        answer p status=413 : too large
        expect publish /small as p
        answer p
        answer first
        expect connect as held
        {END}"
    ))
    .start();
    run.requested("first");
    let big = run.publish("/big", &format!("\"{}\"", "x".repeat(100_000)));
    run.until(&format!("error {big} publish HttpStatus 413"));
    let small = run.publish("/small", "1");
    run.until(&format!("published {small} /small"));
    run.requested("held").disconnect().played();
    assert_eq!(run.host.errors.len(), 1, "{:?}", run.host.seen);
    assert_eq!(run.host.count("Connected"), 1);
}
