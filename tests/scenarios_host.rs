//! What the host is told: of a queue that is full, of outcomes that it does not
//! read, of which client it is, and why there is no session.

mod scenario;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cometd::client::{Builder, Client, Waited};
use cometd::delivery::{Event, Overflow, Polled};
use cometd::error::{Error, ErrorKind};
use cometd::session::State;
use cometd_peer::{Peer, Script};
use scenario::{Host, Run, END, PATIENCE, SESSION};

/// The log lines of one client.
fn lines(client: &Client) -> Vec<String> {
    let name = format!("{}: ", client.name());
    let all = locked();
    all.iter()
        .filter_map(|line| line.strip_prefix(&name).map(str::to_owned))
        .collect()
}

/// All lines of the process, of the tests beside this one as well.
fn log() -> &'static Mutex<Vec<String>> {
    static LINES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    LINES.get_or_init(|| {
        let sink: Arc<cometd::log::Sink> = Arc::new(|level, _, text: &str| {
            assert!(!text.contains('\n'));
            locked().push(format!("{text} ({level})"));
        });
        cometd::log::set(Some(sink), tracing::level_filters::LevelFilter::DEBUG).unwrap();
        Mutex::default()
    })
}

/// A test that failed with it in hand spoils no other.
fn locked() -> std::sync::MutexGuard<'static, Vec<String>> {
    log().lock().unwrap_or_else(PoisonError::into_inner)
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// In one request.
fn publish_all(client: &Client, count: usize) -> Vec<u64> {
    client.begin_batch().unwrap();
    let ids = (0..count).map(|_| client.publish("/p", b"1").unwrap());
    let ids = ids.collect();
    client.end_batch().unwrap();
    ids
}

#[test]
fn case_unread_outcomes_the_session_lives_on_and_nothing_is_lost() {
    const PUBLISHED: usize = 200;
    for overflow in [Overflow::Block, Overflow::DropOldest] {
        let mut run = Run::with(
            format!(
                "{SESSION}
                expect connect as first
                expect anything as p
                answer p
                answer first
                expect connect as second
                answer second
                expect connect as held
                {END}"
            ),
            |builder| {
                builder.set_events_capacity(10, 1_000).unwrap();
                builder.set_commands_capacity(PUBLISHED).unwrap();
                builder.set_overflow(overflow);
            },
        );
        let client = &run.host.client;
        client.connect().unwrap();
        run.peer.wait_for("first").unwrap();
        let mut ids = publish_all(client, PUBLISHED);
        // Far more outcomes than events fit, and the connects go on.
        run.peer.wait_for("held").unwrap();
        let statistics = client.statistics();
        assert_eq!(statistics.receivers[0].unread_outcomes, PUBLISHED);
        assert!(!statistics.receivers[0].full && !statistics.blocked);
        assert_eq!(statistics.times_blocked, 0);

        // What bounds them says so.
        let error = client.publish("/p", b"1").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Full);
        let why = format!("{PUBLISHED} outcomes have not been read");
        assert!(error.message.contains(&why), "{}", error.message);
        assert!(
            error.message.contains("0 messages wait"),
            "{}",
            error.message
        );

        run.disconnect().played();
        ids.retain(|id| run.host.count(&format!("published {id} /p")) != 1);
        assert!(ids.is_empty(), "without exactly one outcome: {ids:?}");
    }
}

#[test]
fn case_unread_outcomes_that_are_read_make_room_for_further_calls() {
    let mut run = Run::with(
        format!(
            "{SESSION}
            expect connect as held
            expect publish /p as p
            answer p
            expect publish /p as p
            answer p
            {END}"
        ),
        |builder| builder.set_commands_capacity(1).unwrap(),
    )
    .start();
    run.requested("held");
    for _ in 0..2 {
        // Whoever has read the outcome may go on at once.
        let id = run.publish("/p", "1");
        let error = run.host.client.publish("/p", b"1").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Full);
        run.until(&format!("published {id} /p"));
    }
    run.disconnect().played();
}

#[test]
fn case_unread_outcomes_of_the_slowest_receiver_count() {
    let run = Run::with(
        format!(
            "{SESSION}
            expect connect as held
            expect publish /p as p
            answer p
            expect publish /p as p
            answer p
            {END}"
        ),
        |builder| builder.set_commands_capacity(1).unwrap(),
    );
    let slow = run.host.client.add_receiver();
    let mut run = run.start();
    run.requested("held");
    let id = run.publish("/p", "1");
    run.until(&format!("published {id} /p"));
    let error = run.host.client.publish("/p", b"1").unwrap_err();
    assert!(error.message.contains("1 outcomes have not been read"));
    // One that is gone counts no more.
    drop(slow);
    let id = run.publish("/p", "1");
    run.until(&format!("published {id} /p"));
    run.disconnect().played();
}

#[test]
fn case_unread_outcomes_block_is_one_warning_and_stands_in_the_statistics() {
    log();
    let event = r#"{"channel":"/a","data":1},"#;
    let mut run = Run::with(
        format!(
            "{SESSION}
            expect connect
            answer : [{}$ok]
            quiet 100
            mark stopped
            expect connect
            answer : [{}$ok]
            quiet 100
            mark stopped-again
            expect connect as held
            expect publish /p as p
            answer p
            {END}",
            event.repeat(20),
            event.repeat(20)
        ),
        |builder| builder.set_events_capacity(10, 1 << 20).unwrap(),
    );
    run.host.client.connect().unwrap();
    for (label, times) in [("stopped", 1), ("stopped-again", 2)] {
        run.requested(label);
        let statistics = run.host.client.statistics();
        assert!(statistics.blocked && statistics.receivers[0].full);
        assert_eq!(statistics.times_blocked, times);
        if times == 2 {
            // What waits meanwhile is refused with the reason.
            let capacity = cometd::client::DEFAULT_COMMANDS;
            publish_all(&run.host.client, 1);
            let error = publish_until_full(&run.host.client, capacity);
            assert!(
                error.message.contains("full of messages"),
                "{}",
                error.message
            );
            run.host.client.disconnect(Duration::ZERO).unwrap();
            break;
        }
        run.host.drain();
    }
    let warnings = lines(&run.host.client);
    let warnings: Vec<_> = warnings.iter().filter(|it| it.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let text = "nothing more is sent until the program reads its events: \
                a queue holds 20 messages of ";
    assert!(warnings[0].starts_with(text), "{warnings:?}");
    assert!(warnings[0].contains("of a capacity of 10 and 1048576"));
}

fn publish_until_full(client: &Client, most: usize) -> Error {
    (0..=most)
        .find_map(|_| client.publish("/p", b"1").err())
        .unwrap()
}

#[test]
fn case_unread_outcomes_disconnect_says_when_accepted_publishes_have_failed() {
    let refused = "
        expect publish /p as p
        answer p : [$no{\"error\":\"403::denied\"}]
    ";
    for read in [false, true] {
        let mut run = Run::quick(format!(
            "{SESSION}\nexpect connect as held\n{refused}\n{END}"
        ));
        run.host.client.connect().unwrap();
        run.requested("held");
        let id = run.publish("/p", "1");
        if read {
            run.until(&format!("error {id} publish Refused"));
        } else {
            until("the outcome", || {
                let unread = run.host.client.statistics().receivers[0].unread_outcomes;
                (unread == 1).then_some(())
            });
        }
        let ended = run.host.client.disconnect(PATIENCE);
        run.peer.wait().unwrap();
        if read {
            ended.unwrap();
            continue;
        }
        let error = ended.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Undelivered);
        assert!(
            error.message.contains("1 message that"),
            "{}",
            error.message
        );
        // Still so, until it is read.
        let again = run.host.client.disconnect(PATIENCE);
        assert_eq!(again.unwrap_err().kind, ErrorKind::Undelivered);
        run.host.drain();
        run.host.client.disconnect(PATIENCE).unwrap();
    }
}

#[test]
fn case_unread_outcomes_disconnect_tells_of_what_fails_on_the_way_though_it_is_read() {
    let client = idle("http://127.0.0.1:9/");
    let queue = client.receiver().unwrap().clone();
    let reader = std::thread::spawn(move || while let Polled::Event(_) = queue.poll(None) {});
    for _ in 0..3 {
        client.publish("/p", b"1").unwrap();
    }
    client.subscribe(vec!["/a".into()]).unwrap();
    let error = client.disconnect(PATIENCE).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Undelivered);
    assert!(
        error.message.contains("3 messages that"),
        "{}",
        error.message
    );
    reader.join().unwrap();
    client.disconnect(PATIENCE).unwrap();
}

fn builder(url: &str) -> Builder {
    let mut builder = Builder::new(url).unwrap();
    builder.set_proxy("").unwrap();
    scenario::backoff(&mut builder, 5, 20);
    builder
}

fn idle(url: &str) -> Client {
    builder(url).build().unwrap()
}

#[test]
fn case_which_client_each_error_and_line_names_the_client_and_the_url() {
    log();
    let script = format!("base /cometd\nlimit 20000\n{SESSION}\nexpect connect as held\n{END}");
    let good = Peer::start(Script::parse(&script).unwrap()).unwrap();
    let script = "base /typo\nlimit 20000\nexpect handshake path=/typo/handshake?key=very-secret\n\
                  answer status=404\nexpect handshake path=/typo/handshake?key=very-secret as second\n\
                  answer status=404";
    let wrong = Peer::start(Script::parse(script).unwrap()).unwrap();
    let url = wrong.url("/typo").replace("://", "://user:hidden-word@") + "?key=very-secret";
    let typo = Host::new(&url, |it| {
        it.set_name("orders").unwrap();
        it.set_append_message_type(cometd::transport::endpoints::Append::Always);
        it.set_number_of_retries(Some(1));
        scenario::backoff(it, 5, 20);
    });
    let mut fine = Host::new(&good.url("/cometd"), |it| it.set_name("news").unwrap());
    let unnamed = idle("http://127.0.0.1:9/");
    typo.client.connect().unwrap();
    fine.client.connect().unwrap();
    unnamed.disconnect(PATIENCE).unwrap();
    assert_eq!(
        typo.client.wait(State::Closed, Some(PATIENCE)),
        Waited::Reached
    );

    let shown = wrong.url("/typo/handshake");
    let error = typo.client.last_error().unwrap();
    assert_eq!(error.client.as_deref(), Some("orders"));
    assert_eq!(error.url.as_deref(), Some(shown.as_str()));
    assert!(
        error.message.starts_with("handshake: HTTP 404"),
        "{}",
        error.message
    );
    let end = format!(" [orders, {shown}]");
    assert!(error.message.ends_with(&end), "{}", error.message);

    good.wait_for("held").unwrap();
    fine.client.disconnect(PATIENCE).unwrap();
    fine.drain();
    assert_eq!(fine.errors, []);

    let told = lines(&typo.client);
    let warned: Vec<_> = told.iter().filter(|it| it.contains("(WARN)")).collect();
    assert_eq!(warned.len(), 2, "{told:?}");
    for line in warned {
        assert!(line.starts_with("handshake: HTTP 404"), "{line}");
        assert!(line.contains(&format!("url={shown}")), "{line}");
    }
    let response = told.iter().find(|it| it.contains("status=404")).unwrap();
    assert!(response.contains(&format!("url={shown} ")), "{response}");
    assert!(response.contains(" ms="), "{response}");
    let told = lines(&fine.client);
    let url = good.url("/cometd/connect");
    assert!(told.iter().any(|it| {
        it.contains(&format!("url={url} ")) && it.contains("status=200") && it.contains(" ms=")
    }));
    assert!(told.iter().all(|it| !it.contains("WARN")), "{told:?}");
    for line in locked().iter() {
        assert!(
            !line.contains("hidden-word") && !line.contains("very-secret"),
            "{line}"
        );
        let of = line.split(": ").next().unwrap();
        assert!(
            ["orders", "news", "two of a name"].contains(&of) || of.starts_with("client "),
            "of nobody: {line}"
        );
    }
    assert!(unnamed.name().starts_with("client "));
}

#[test]
fn case_which_client_a_name_is_checked_where_it_is_given() {
    let mut builder = builder("http://127.0.0.1:9/");
    let error = builder.set_name("a\nb").unwrap_err();
    assert!(error.message.starts_with("name: "), "{}", error.message);
    builder.set_name("two of a name").unwrap();
    for _ in 0..2 {
        assert_eq!(&**builder.build().unwrap().name(), "two of a name");
    }
}

#[test]
fn case_which_client_the_id_of_the_session_is_that_which_the_server_has_given() {
    let mut run = Run::quick(format!(
        "expect handshake
        answer client=first
        expect connect at-once
        answer
        expect connect as lost
        answer lost : [$no{{\"error\":\"402::Unknown client\",\"advice\":{{\"reconnect\":\"handshake\"}}}}]
        expect handshake
        answer client=second
        expect connect at-once
        answer
        expect connect as held
        {END}"
    ));
    assert_eq!(run.host.client.session_id(), None);
    run.host.client.connect().unwrap();
    run.requested("lost");
    run.until("Connected")
        .until("Rehandshaking")
        .until("Connected");
    assert_eq!(run.host.client.session_id().as_deref(), Some("second"));
    run.requested("held").disconnect().played();
    assert_eq!(run.host.client.session_id(), None);
}

/// A server that answers each handshake so.
fn answering(status: u16) -> (Peer, String) {
    let script = format!(
        "base /cometd\nlimit 20000\n{}",
        format!("expect handshake\nanswer status={status}\n").repeat(3)
    );
    let peer = Peer::start(Script::parse(&script).unwrap()).unwrap();
    let url = peer.url("/cometd");
    (peer, url)
}

#[test]
fn case_never_works_wait_has_a_reason_and_the_client_goes_on() {
    for status in [404, 405] {
        let (_peer, url) = answering(status);
        let client = idle(&url);
        assert_eq!(client.last_error(), None);
        client.connect().unwrap();
        let error = until("an error", || {
            assert_ne!(
                client.wait(State::Connected, Some(Duration::from_millis(10))),
                Waited::Reached
            );
            client.last_error()
        });
        assert_eq!(
            (error.kind, error.http_status),
            (ErrorKind::HttpStatus, status)
        );
        assert!(!error.fatal && error.retry_in.is_some());
        assert_ne!(client.state(), State::Closed);
    }
}

#[test]
fn case_never_works_once_connected_there_is_no_reason_left() {
    let mut run = Run::quick(format!(
        "expect handshake
        answer status=503
        {SESSION}
        expect connect as held
        {END}"
    ));
    run.host.client.connect().unwrap();
    run.until("error handshake HttpStatus 503");
    run.until("Connected");
    assert_eq!(run.host.client.last_error(), None);
    run.requested("held").disconnect().played();
}

/// Ends by itself, for that reason.
fn ends_at_once(url: &str) -> Error {
    let mut builder = builder(url);
    builder.set_fail_fast(true);
    let client = builder.build().unwrap();
    client.connect().unwrap();
    assert_eq!(
        client.wait(State::Connected, Some(PATIENCE)),
        Waited::Closed
    );
    let error = client.last_error().unwrap();
    assert!(error.fatal, "{}", error.message);
    // The events say the same.
    let queue = client.receiver().unwrap();
    let mut fatal = 0;
    while let Polled::Event(event) = queue.poll(None) {
        if let Event::Notice(notice) = event {
            if let cometd::delivery::Notice::Error { error: told, .. } = &*notice {
                assert_eq!(*told, error);
                fatal += 1;
            }
        }
    }
    assert_eq!(fatal, 1);
    error
}

#[test]
fn case_never_works_the_option_ends_it_for_404_and_405() {
    for status in [404, 405] {
        let (_peer, url) = answering(status);
        assert_eq!(ends_at_once(&url).http_status, status);
    }
}

#[test]
fn case_never_works_the_option_ends_it_for_tls_against_a_plain_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/cometd", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    assert_eq!(ends_at_once(&url).kind, ErrorKind::Tls);
}

#[test]
fn case_never_works_the_option_ends_no_client_that_may_still_get_its_session() {
    let mut run = Run::with(
        format!(
            "expect handshake
            answer status=503
            expect handshake
            answer status=403
            expect handshake
            close
            {SESSION}
            expect connect
            answer : [$no{{\"error\":\"402::Unknown client\",\"advice\":{{\"reconnect\":\"handshake\"}}}}]
            expect handshake
            answer status=404
            {SESSION}
            expect connect as held
            {END}"
        ),
        |builder| {
            builder.set_fail_fast(true);
            scenario::backoff(builder, 5, 20);
        },
    );
    run.host.client.connect().unwrap();
    run.until("Connected");
    run.until("error handshake HttpStatus 404");
    run.until("Connected");
    run.requested("held").disconnect().played();
}
