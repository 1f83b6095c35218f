use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::ReadBufCursor;

use super::*;
use crate::error::ErrorKind;
use crate::session::tests::longevity::allocated;
use crate::transport::websocket::socket::Open;

/// Opens a socket to a server that says this and then reads; gives what came, how it
/// ended, and the code that the server was closed with.
fn said(bytes: impl Into<Vec<u8>>) -> (Vec<String>, Failure, Option<u16>) {
    let bytes = bytes.into();
    let (code, closed_with) = std::sync::mpsc::channel();
    let (url, server) = server(1, move |_, mut peer| {
        peer.open();
        peer.say(&bytes);
        let closed = loop {
            match peer.frame() {
                Some((0x88, payload)) => {
                    break payload.first_chunk().map(|it| u16::from_be_bytes(*it))
                }
                Some(_) => {}
                None => break None,
            }
        };
        code.send(closed).unwrap();
    });
    let mut messages = Vec::new();
    let failure = run(async {
        let mut settings = settings(&url);
        settings.maximum_message = 100_000;
        settings.leniencies = Arc::new(Leniencies::new(|text| {
            *text = text.replace("very-secret", "***");
        }));
        let mut socket = open(&client(settings)).await.ok().unwrap();
        loop {
            match message(&mut socket).await {
                Ok(message) => messages.push(message),
                Err(failure) => {
                    // The server may read its answer late.
                    let _ = poll_fn(|context| socket.poll_flush(context)).await;
                    return failure;
                }
            }
        }
    });
    server.join().unwrap();
    (messages, failure, closed_with.recv().unwrap())
}

#[test]
fn messages_come_in_order_whatever_is_between_them_240() {
    let mut bytes = text("[0]");
    bytes.extend(frame(0x82, "binary"));
    bytes.extend(frame(0x8a, "unasked"));
    let whole = "\u{e9}\u{1f600}[]".repeat(1_250);
    for (index, byte) in whole.as_bytes().chunks(1).enumerate() {
        let is_last = index + 1 == whole.len();
        let opcode = if index == 0 { 1 } else { 0 };
        bytes.extend(frame(opcode | if is_last { 0x80 } else { 0 }, byte));
        bytes.extend(frame(0x89, "p"));
        bytes.extend(frame(0, ""));
        if is_last {
            bytes.truncate(bytes.len() - 2);
        }
    }
    bytes.extend(text(""));
    bytes.extend(close_frame(1000, ""));
    let (messages, failure, code) = said(bytes);
    assert_eq!(messages, ["[0]".to_owned(), whole, String::new()]);
    assert_eq!((failure.websocket_code, code), (1000, Some(1000)));
}

#[test]
fn a_message_of_empty_fragments_has_an_end_240() {
    let mut bytes = frame(0x01, "[");
    bytes.extend(frame(0, "").repeat(100_100));
    let (messages, failure, _) = said(bytes);
    assert!(messages.is_empty());
    assert_eq!(failure.kind, ErrorKind::Protocol);
    assert_eq!(failure.websocket_code, 1002);
    assert_eq!(
        failure.text,
        "the server sent a message in too many empty frames"
    );
}

#[test]
fn wrong_frames_close_with_the_right_code_241() {
    for (bytes, code) in [
        (text(b"\xff\xfe"), 1007),
        (text(b"\xed\xa0\x80"), 1007),
        ([frame(0x01, b"\xc3"), frame(0x80, b"x")].concat(), 1007),
        (
            [frame(0x01, b"ok"), frame(0x80, b"\xe2\x82")].concat(),
            1007,
        ),
        (frame(0xc1, "[]"), 1002),
        (frame(0xa1, "[]"), 1002),
        (frame(0x91, "[]"), 1002),
        (vec![0x81, 0x82, 1, 2, 3, 4, 5, 6], 1002),
        (frame(0x89, "x".repeat(126)), 1002),
        (frame(0x09, "x"), 1002),
        (frame(0x08, ""), 1002),
        (frame(0x88, "x"), 1002),
        (close_frame(1000, b"\xff"), 1007),
        (frame(0x83, "x"), 1002),
        (frame(0x8b, "x"), 1002),
        (frame(0x80, "x"), 1002),
        ([frame(0x01, "x"), frame(0x81, "x")].concat(), 1002),
    ] {
        let (messages, failure, seen) = said([text("[1]"), bytes.clone()].concat());
        assert_eq!(messages, ["[1]"]);
        assert_eq!(failure.websocket_code, code, "{bytes:?}: {}", failure.text);
        assert_eq!(failure.kind, ErrorKind::Protocol);
        assert_eq!(seen, Some(code), "{bytes:?}");
    }
}

#[test]
fn a_length_beyond_the_limit_ends_it_before_anything_has_come_242() {
    let long = |length: u64| [&[0x81, 127][..], &length.to_be_bytes()].concat();
    let fragments = [
        frame(0x01, "x".repeat(60_000)),
        frame(0x80, "x".repeat(60_000)),
    ]
    .concat();
    for bytes in [long(1 << 62), long(u64::MAX), long(100_001), fragments] {
        let (_, failure, seen) = said(bytes);
        assert_eq!(failure.kind, ErrorKind::TooLarge);
        assert_eq!(
            failure.text,
            "the response is too large: more than 100000 bytes"
        );
        assert_eq!((failure.websocket_code, seen), (1009, Some(1009)));
    }
    let largest = "x".repeat(100_000);
    let (messages, ..) = said([text(&largest), close_frame(1000, "")].concat());
    assert!(messages == [largest]);
}

#[test]
fn how_the_server_closes_is_told_by_code_and_answered_244() {
    for (code, kind, told) in [
        (
            1000,
            ErrorKind::ConnectionLost,
            "1000 (normal closure): why",
        ),
        (1001, ErrorKind::ConnectionLost, "1001 (going away): why"),
        (1002, ErrorKind::Protocol, "1002 (protocol error): why"),
        (1003, ErrorKind::Protocol, "1003 (unsupported data): why"),
        (1007, ErrorKind::Protocol, "1007 (invalid data): why"),
        (
            1008,
            ErrorKind::ConnectionLost,
            "1008 (policy violation): why",
        ),
        (1009, ErrorKind::TooLarge, "1009 (message too big): why"),
        (1010, ErrorKind::Protocol, "1010 (extension missing): why"),
        (
            1011,
            ErrorKind::ConnectionLost,
            "1011 (unexpected condition): why",
        ),
        (
            1012,
            ErrorKind::ConnectionLost,
            "1012 (service restart): why",
        ),
        (
            1013,
            ErrorKind::ConnectionLost,
            "1013 (try again later): why",
        ),
        (1014, ErrorKind::ConnectionLost, "1014 (bad gateway): why"),
        (3000, ErrorKind::ConnectionLost, "3000: why"),
        (4001, ErrorKind::ConnectionLost, "4001: why"),
        // None that may be sent, but told as it was.
        (2500, ErrorKind::ConnectionLost, "2500: why"),
    ] {
        let (messages, failure, seen) = said([text("[1]"), close_frame(code, "why")].concat());
        assert_eq!(messages, ["[1]"]);
        assert_eq!(failure.kind, kind, "{code}");
        assert_eq!(failure.websocket_code, code);
        assert_eq!(
            failure.text,
            format!("the server closed the WebSocket: {told}")
        );
        // As the framing knows them.
        let answer = if [1014, 2500].contains(&code) {
            1002
        } else {
            code
        };
        assert_eq!(seen, Some(answer));
    }
    let (_, failure, seen) = said(frame(0x88, ""));
    assert_eq!(
        failure.text,
        "the server closed the WebSocket: 1005 (no code)"
    );
    assert_eq!((failure.websocket_code, seen), (1005, None));
    let (url, server) = server(1, |_, mut peer| peer.open());
    let failure = run(async { message(&mut opened(&url).await).await.unwrap_err() });
    assert_eq!(
        (failure.kind, failure.websocket_code),
        (ErrorKind::ConnectionLost, 1006)
    );
    server.join().unwrap();
}

/// The lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<BTreeSet<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("cometd::")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Told(String);
        impl tracing::field::Visit for Told {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut told = Told(String::new());
        event.record(&mut told);
        self.0.lock().unwrap().insert(told.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_reason_is_one_line_without_secrets_and_is_not_logged_245() {
    let lines = Lines::default();
    let reason = "no\r\n\tvery-secret\u{7}\0 for you";
    let (_, failure, _) = tracing::subscriber::with_default(lines.clone(), || {
        // Who logs a line first decides whether it is logged, which may be another test.
        said(close_frame(1008, reason));
        tracing::callsite::rebuild_interest_cache();
        said(close_frame(1008, reason))
    });
    assert_eq!(
        failure.text,
        "the server closed the WebSocket: 1008 (policy violation): no *** for you"
    );
    let lines = lines
        .0
        .lock()
        .unwrap()
        .iter()
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(lines.contains("message=closed code=1008"), "{lines}");
    assert!(
        lines.contains("opened") && lines.contains("status=101"),
        "{lines}"
    );
    assert!(
        !lines.contains("secret") && !lines.contains("for you"),
        "{lines}"
    );
}

#[test]
fn a_ping_is_answered_and_one_is_sent() {
    let (url, server) = server(1, |_, mut peer| {
        peer.open();
        assert_eq!(peer.frame(), Some((0x89, vec![])));
        peer.say(frame(0x8a, ""));
        peer.say(frame(0x89, "are you there?"));
        assert_eq!(peer.frame(), Some((0x8a, b"are you there?".to_vec())));
        peer.say(text("[1]"));
        peer.until_end();
    });
    run(async {
        let mut socket = opened(&url).await;
        assert_eq!(socket.heard(), 0);
        socket.ping();
        flushed(&mut socket).await;
        assert_eq!(message(&mut socket).await.unwrap(), "[1]");
        assert_eq!(socket.heard(), 2 + 16 + 5);
    });
    server.join().unwrap();
}

#[test]
fn what_is_sent_arrives_in_order_and_whole() {
    let sizes = [
        0, 1, 125, 126, 65_535, 65_536, 1_000_000, 3, 20_000, 20_000, 5,
    ];
    let (url, server) = server(1, move |_, mut peer| {
        peer.open();
        for (index, size) in sizes.into_iter().enumerate() {
            let expected = vec![b'a' + index as u8; size];
            assert!(peer.frame() == Some((0x81, expected)), "{size}");
        }
        for index in 0..5_000 {
            assert_eq!(
                peer.frame(),
                Some((0x81, format!("[{index}]").into_bytes()))
            );
        }
        peer.say(text("[]"));
        peer.until_end();
    });
    run(async {
        let mut socket = opened(&url).await;
        for (index, size) in sizes.into_iter().enumerate() {
            socket.send(vec![b'a' + index as u8; size]);
        }
        for index in 0..5_000 {
            socket.send(format!("[{index}]").into_bytes());
        }
        flushed(&mut socket).await;
        assert_eq!(message(&mut socket).await.unwrap(), "[]");
    });
    server.join().unwrap();
}

#[test]
fn after_our_close_what_still_comes_is_read_until_the_server_closes_too() {
    for code in [1000, 1001, 1002, 1007, 1009, 4001] {
        let (url, server) = server(1, move |_, mut peer| {
            peer.open();
            assert_eq!(peer.frame(), Some((0x81, b"[0]".to_vec())));
            assert_eq!(peer.frame(), Some((0x88, u16::to_be_bytes(code).to_vec())));
            peer.say(text("[1]"));
            peer.say(frame(0x89, "not answered"));
            peer.say(text("[2]"));
            peer.say(close_frame(code, ""));
            assert_eq!(peer.frame(), None);
        });
        run(async {
            let mut socket = opened(&url).await;
            socket.send(b"[0]".to_vec());
            socket.close(code);
            socket.close(1011);
            socket.send(b"[too late]".to_vec());
            socket.ping();
            flushed(&mut socket).await;
            assert_eq!(message(&mut socket).await.unwrap(), "[1]");
            assert_eq!(message(&mut socket).await.unwrap(), "[2]");
            let failure = message(&mut socket).await.unwrap_err();
            assert_eq!(failure.websocket_code, code);
            let flushing = poll_fn(|context| socket.poll_flush(context)).await;
            assert_eq!(flushing, Err(failure));
        });
        server.join().unwrap();
    }
}

/// A connection to which nothing can be written, with something to be read.
struct Deaf(Vec<u8>);

impl hyper::rt::Read for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        cursor.put_slice(&std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How often.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn why_nothing_can_be_written_is_first_looked_for_in_what_the_server_has_said() {
    let closed = [text("[1]"), frame(0x89, "p"), close_frame(4001, "bye")].concat();
    for (said, messages, code, told) in [
        (
            closed,
            1,
            4001,
            "the server closed the WebSocket: 4001: bye",
        ),
        (text("[1]"), 1, 1006, "the connection broke: broken pipe"),
        (vec![], 0, 1006, "the connection broke: broken pipe"),
    ] {
        let mut socket = Open::new(Deaf(said), Vec::new(), 1_000, Arc::default());
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        socket.send(b"[0]".to_vec());
        for _ in 0..3 {
            assert!(socket.poll_flush(&mut context).is_pending());
            assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        }
        for _ in 0..messages {
            let polled = socket.poll_text(&mut context);
            assert_eq!(polled, Poll::Ready(Ok("[1]".into())));
        }
        let Poll::Ready(Err(failure)) = socket.poll_text(&mut context) else {
            panic!("it goes on");
        };
        assert_eq!(
            (failure.websocket_code, failure.text.as_str()),
            (code, told)
        );
        let flushed = socket.poll_flush(&mut context);
        assert_eq!(flushed, Poll::Ready(Err(failure)));
    }
}

/// Waits until nothing more is there.
async fn drained(socket: &mut Socket, heard: u64) {
    let all = poll_fn(|context| match socket.poll_text(context) {
        Poll::Pending if socket.heard() == heard => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(_)) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
    });
    all.await.unwrap();
}

/// What an idle socket may take, with what tokio has of its connection.
const IDLE: isize = 11 * 1024;

#[test]
fn an_idle_socket_is_small_also_after_large_messages() {
    const LARGE: usize = 1_000_000;
    let (url, server) = server(1, |_, mut peer| {
        peer.open();
        // Nothing has come with the 101.
        assert!(peer.frame().is_some());
        peer.say(text("[]"));
        assert!(peer.frame().is_some());
        peer.say(text("x".repeat(LARGE)));
        peer.say(frame(0x01, "x".repeat(LARGE)));
        peer.say(frame(0x80, "x".repeat(LARGE)));
        for _ in 0..2 {
            assert!(peer.frame().is_some() && peer.frame().is_some());
            peer.say(text("[]"));
        }
        peer.until_end();
    });
    run(async {
        let client = client(settings(&url));
        let before = allocated();
        let mut socket = open(&client).await.ok().unwrap();
        socket.send(b"[]".to_vec());
        flushed(&mut socket).await;
        let mut heard = 4;
        drained(&mut socket, heard).await;
        assert!(allocated() - before < IDLE, "{}", allocated() - before);
        socket.send(b"[]".to_vec());
        flushed(&mut socket).await;
        heard += 3 * (10 + LARGE as u64);
        drained(&mut socket, heard).await;
        assert!(allocated() - before < IDLE, "{}", allocated() - before);
        for size in [LARGE, 20_000] {
            socket.send(vec![b'x'; size]);
            socket.send(vec![b'x'; size]);
            flushed(&mut socket).await;
            heard += 4;
            drained(&mut socket, heard).await;
            assert!(allocated() - before < IDLE, "{}", allocated() - before);
        }
    });
    server.join().unwrap();
}

/// Slow without the optimizer.
const PINGS: usize = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

#[test]
fn pings_without_end_take_no_memory_and_no_message_243() {
    for reads in [true, false] {
        let (url, server) = server(1, move |_, mut peer| {
            peer.open();
            let mut stream = peer.stream.try_clone().unwrap();
            let reading = thread::spawn(move || match reads {
                true => io::copy(&mut stream, &mut io::sink()).map(drop),
                false => Ok(()),
            });
            let pings = frame(0x89, "x".repeat(125)).repeat(100);
            for _ in 0..PINGS / 100 {
                peer.say(&pings);
            }
            peer.say(text("[]"));
            if !reads {
                // At last.
                let _ = io::copy(&mut peer.stream, &mut io::sink());
            }
            let _ = reading.join().unwrap();
        });
        run(async {
            let mut socket = opened(&url).await;
            let before = allocated();
            socket.send(b"[]".to_vec());
            let mut most = 0;
            let came = poll_fn(|context| {
                let flushed = socket.poll_flush(context);
                assert!(!matches!(flushed, Poll::Ready(Err(_))));
                let polled = socket.poll_text(context);
                most = most.max(allocated() - before);
                polled
            });
            assert_eq!(came.await.unwrap().as_str(), "[]");
            assert!(most < 100_000, "{most}");
        });
        server.join().unwrap();
    }
}

#[test]
fn other_clients_have_their_turn_while_a_server_sends_what_is_no_message() {
    let pings = frame(0x8a, "").repeat(1_000);
    let said = [pings, text("[]")].concat();
    let mut socket = Open::new(Deaf(Vec::new()), said, 1_000, Arc::default());
    let mut context = Context::from_waker(Waker::noop());
    let mut turns = 0;
    while socket.poll_text(&mut context).is_pending() {
        turns += 1;
    }
    assert!((2..100).contains(&turns), "{turns}");
}
