//! Bodies as servers write them: text that is none, channels with filters, and
//! bodies that take long to read.

mod scenario;

use scenario::{Run, END, SESSION};

/// A connect whose response is these bytes behind its head; the script's
/// escapes stand for bytes, so the length is given.
fn sent(length: usize, body: &str) -> String {
    format!(
        r"send : HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn case_surrogates_one_of_three_events_is_no_utf_8_and_all_three_come() {
    for (odd, length, told) in [
        (
            r"\xED\xA0\xBD\xED\xB8\x80",
            6,
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
        ),
        (r"\xFF", 1, "\u{fffd}"),
    ] {
        let connect = r#"{"channel":"/meta/connect","id":"2","successful":true,"clientId":"c"},{"channel":"/a","data":1}"#;
        let events = |odd: &str| {
            format!(r#"[{connect},{{"channel":"/b","data":"{odd}"}},{{"channel":"/c","data":3}}]"#)
        };
        let body = events(odd);
        let length = events("").len() + length;
        let mut run = Run::quick(format!(
            "expect handshake
            answer
            expect connect at-once
            {}
            expect connect as held
            {END}",
            sent(length, &body)
        ))
        .start();
        run.requested("held").disconnect().played();
        let events = [
            "message /a 1",
            &format!("message /b \"{told}\""),
            "message /c 3",
            "CLOSED",
        ];
        assert_eq!(run.told(), events);
        let statistics = run.host.client.statistics();
        assert_eq!(statistics.leniencies.get("not_utf8"), Some(&1));
        assert_eq!(statistics.events_received, 3);
    }
}

#[test]
fn case_filters_are_subscribed_to_and_their_events_come() {
    let channels = [
        "/topic/A?Url='https://example.com/a'",
        "/topic/A?Subject='5 * 3'",
    ];
    let [url, subject] = channels;
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as held
        expect messages : [{{"channel":"/meta/subscribe","subscription":"{url}","...":0}},{{"channel":"/meta/subscribe","subscription":"{subject}","...":0}}]
        answer : [$ok,{{"channel":"{url}","data":1}},{{"channel":"{subject}","data":2}}]
        {END}"#
    ))
    .start();
    run.requested("held");
    let id = run.subscribe(&channels);
    run.until(&format!("subscribed {id} {subject}"));
    run.disconnect().played();
    assert_eq!(run.host.count(&format!("message {url} 1")), 1);
    assert_eq!(run.host.count(&format!("message {subject} 2")), 1);
}

/// A large body is read beside the I/O thread; what comes meanwhile waits. Which
/// of two responses is there first, the network decides.
#[test]
fn a_large_body_and_what_comes_behind_it_lose_nothing() {
    let long = "x".repeat(3 << 20);
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as large
        expect publish /p as publish
        answer large : [{{"channel":"/a","data":"{long}"}},{{"channel":"/b","data":2}},$ok]
        answer publish : [{{"channel":"/c","data":3}},$ok]
        expect connect as held
        {END}"#
    ))
    .start();
    run.requested("large");
    let id = run.publish("/p", "1");
    run.until(&format!("published {id} /p"));
    run.requested("held").disconnect().played();
    let told: Vec<_> = run
        .told()
        .iter()
        .map(|it| it.get(..10).unwrap_or(it).to_owned())
        .collect();
    let of = |names: &[&str]| -> Vec<String> {
        let named = told.iter().filter(|it| names.contains(&it.as_str()));
        named.cloned().collect()
    };
    assert_eq!(
        of(&["message /a", "message /b"]),
        ["message /a", "message /b"]
    );
    assert_eq!(
        of(&["message /c", "published "]),
        ["message /c", "published "]
    );
    assert_eq!(told.len(), 5, "{told:?}");
}

/// Its end does not wait for what is being read.
#[test]
fn a_client_ends_while_a_large_body_is_read() {
    let many = r#"{"channel":"/a","data":1},"#.repeat(200_000);
    let mut run = Run::quick(format!(
        r#"{SESSION}
        expect connect as large
        answer large : [{many}$ok]
        mark answered
        "#
    ))
    .start();
    run.requested("answered");
    drop(run);
}
