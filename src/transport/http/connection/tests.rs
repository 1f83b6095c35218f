use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::*;
use crate::runtime::lock;
use crate::transport::http::{response, Progress};

/// What a socket would have.
#[derive(Default)]
struct Wire {
    comes: VecDeque<u8>,
    end: Option<io::ErrorKind>,
    written: Vec<u8>,
    /// So many bytes leave, and no more.
    stuck_at: Option<usize>,
    /// Who waits for either.
    waits: Option<Waker>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Wire>>);

/// The stream's end where an error's kind is wanted.
const EOF: io::ErrorKind = io::ErrorKind::UnexpectedEof;

impl Memory {
    fn change(&self, change: impl FnOnce(&mut Wire)) {
        let mut wire = lock(&self.0);
        change(&mut wire);
        if let Some(waker) = wire.waits.take() {
            waker.wake();
        }
    }

    fn written(&self) -> String {
        lock(&self.0).written.escape_ascii().to_string()
    }
}

impl Read for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.0);
        if wire.comes.is_empty() {
            return match wire.end {
                Some(EOF) => Poll::Ready(Ok(())),
                Some(kind) => Poll::Ready(Err(kind.into())),
                None => {
                    wire.waits = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        }
        let count = cursor.remaining().min(wire.comes.len());
        let part: Vec<u8> = wire.comes.drain(..count).collect();
        cursor.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.0);
        let room = wire.stuck_at.map(|it| it - wire.written.len());
        let count = bytes.len().min(room.unwrap_or(usize::MAX));
        if count == 0 {
            wire.waits = Some(context.waker().clone());
            return Poll::Pending;
        }
        wire.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls as often as it is woken, as a runtime would.
fn go_on<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
    }
    None
}

fn request() -> Sent {
    let mut request = Request::new(Full::new(Bytes::from_static(b"[{}]")));
    *request.method_mut() = Method::POST;
    request
}

const REQUEST: &str = "POST / HTTP/1.1\\r\\nContent-Length: 4\\r\\n\\r\\n[{}]";

struct Client {
    connection: Connection<Memory>,
    socket: Memory,
    quiet: Quiet,
    leniencies: Arc<Leniencies>,
}

impl Client {
    fn new() -> Self {
        let socket = Memory::default();
        let leniencies = Arc::new(Leniencies::default());
        let stream = Watched::new(socket.clone(), false);
        let made = Connection::new(Uri::default(), stream, leniencies.clone());
        let made = go_on(pin!(made)).unwrap();
        Self {
            connection: made.map_err(|it| it.text).unwrap(),
            socket,
            quiet: Quiet::default(),
            leniencies,
        }
    }

    fn slept(&self) -> usize {
        self.quiet.slept.load(Ordering::Relaxed)
    }

    /// What becomes of a request that waits for so long, and is answered then, by a
    /// piece, the rest and the end.
    fn exchange(&mut self, ticks: usize, pieces: [&[u8]; 2], end: Option<io::ErrorKind>) -> String {
        let Self {
            connection,
            socket,
            quiet,
            leniencies,
        } = self;
        let progress = Progress::new(|| 0);
        let mut exchange = pin!(async {
            let response = match connection.send(request(), quiet).await {
                Ok(response) => response,
                Err(unanswered) => {
                    let Unanswered { failure, unsent } = unanswered;
                    return format!("{:?} {} unsent: {unsent}", failure.kind, failure.text);
                }
            };
            let status = response.status();
            let headers = format!("{:?}", response.headers());
            let read = response::read(response, 100_000, &progress, leniencies);
            match connection.drive(read).await {
                Ok(body) => format!("{status} {headers} {}", body.escape_ascii()),
                Err(failure) => format!("{status} {headers} {:?} {}", failure.kind, failure.text),
            }
        });
        let mut done = go_on(exchange.as_mut());
        for _ in 0..ticks {
            quiet.tick();
            done = done.or_else(|| go_on(exchange.as_mut()));
        }
        for piece in pieces {
            socket.change(|it| it.comes.extend(piece));
            done = done.or_else(|| go_on(exchange.as_mut()));
        }
        socket.change(|it| it.end = end);
        done = done.or_else(|| go_on(exchange.as_mut()));
        done.unwrap_or_else(|| "nothing yet".to_owned())
    }

    fn is_ready(&mut self) -> bool {
        let ready = poll_fn(|context| Poll::Ready(self.connection.is_ready(context)));
        go_on(pin!(ready)).unwrap()
    }
}

/// All that can be seen of a request that is answered so, and of the next one.
fn seen(ticks: usize, pieces: [&[u8]; 2], end: Option<io::ErrorKind>) -> String {
    let mut client = Client::new();
    let first = client.exchange(ticks, pieces, end);
    assert_eq!(client.slept(), usize::from(ticks == 2), "{first}");
    assert!(!client.quiet.is_awaited() || first == "nothing yet");
    let is_ready = client.is_ready();
    let mut next = String::new();
    if is_ready {
        next = client.exchange(0, [OK, b""], None);
    }
    let Client {
        socket, leniencies, ..
    } = client;
    let counts = format!("{:?}", leniencies.counts());
    format!("{first}\n{is_ready} {next}\n{counts}\n{}", socket.written())
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

/// A runtime for the time that the explanation of a refusal gets.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn one_that_sleeps_hears_what_one_that_is_awake_hears_cut_anywhere() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let long_head = format!(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a={}\r\nContent-Length: 2\r\n\r\n[]",
        "x".repeat(3_000)
    );
    let long_body = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}",
        "[]  ".repeat(5_000)
    );
    let responses: &[&[u8]] = &[
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nOdd : 1\r\nContent-Length: 2\r\n\r\n[]",
        b"\r\nHTTP/1.1 200\nContent-Length: 2\n\n[]",
        b"HTTP/1.0 200 OK\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nwhy",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 2",
        b"",
        long_head.as_bytes(),
        long_body.as_bytes(),
    ];
    let mut count = 0;
    for response in responses {
        let step = (response.len() / 200).max(1);
        for cut in (0..=response.len()).step_by(step) {
            let (one, two) = response.split_at(cut);
            for end in [None, Some(EOF), Some(io::ErrorKind::ConnectionReset)] {
                let awake = seen(0, [one, two], end);
                let asleep = seen(2, [one, two], end);
                assert_eq!(awake, asleep, "{} at {cut}", response.escape_ascii());
                count += 1;
            }
        }
    }
    assert!(count > 2_000, "{count}");
}

#[test]
fn one_that_sleeps_sends_its_request_once_and_serves_the_next() {
    let mut client = Client::new();
    for _ in 0..3 {
        let answered = client.exchange(2, [OK, b""], None);
        assert!(answered.starts_with("200 OK"), "{answered}");
        assert!(client.is_ready());
    }
    assert_eq!(client.slept(), 3);
    assert_eq!(client.socket.written(), REQUEST.repeat(3));
    assert!(!client.quiet.is_awaited());
}

#[test]
fn a_closing_while_it_sleeps_is_no_request_that_did_not_leave() {
    for end in [EOF, io::ErrorKind::ConnectionReset] {
        let mut client = Client::new();
        let answered = client.exchange(2, [b"", b""], Some(end));
        assert!(answered.starts_with("ConnectionLost"), "{answered}");
        assert!(answered.ends_with("unsent: false"), "{answered}");
        assert!(!client.is_ready());
        assert_eq!(client.slept(), 1);
    }
}

#[test]
fn it_does_not_sleep_before_its_request_has_left_nor_when_a_response_has_begun() {
    // The request has not left.
    let mut client = Client::new();
    lock(&client.socket.0).stuck_at = Some(10);
    assert_eq!(client.exchange(9, [b"", b""], None), "nothing yet");
    assert_eq!(client.slept(), 0);
    assert_eq!(client.socket.written(), REQUEST[..10]);
    // It is too early.
    let mut client = Client::new();
    client.exchange(1, [OK, b""], None);
    assert_eq!(client.slept(), 0);
    // Some of the head is there, or a word between.
    for begun in [&b"H"[..], b"HTTP/1.1 102 Processing\r\n\r\n"] {
        let mut client = Client::new();
        let Client {
            connection,
            socket,
            quiet,
            ..
        } = &mut client;
        let mut sending = pin!(connection.send(request(), quiet));
        assert!(go_on(sending.as_mut()).is_none());
        socket.change(|it| it.comes.extend(begun));
        for _ in 0..9 {
            assert!(go_on(sending.as_mut()).is_none());
            quiet.tick();
        }
        assert!(quiet.is_awaited());
        assert_eq!(quiet.slept.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn who_waits_is_counted_until_it_sleeps_or_is_given_up() {
    let mut client = Client::new();
    let Client {
        connection, quiet, ..
    } = &mut client;
    {
        let mut sending = Box::pin(connection.send(request(), quiet));
        assert!(go_on(sending.as_mut()).is_none());
        assert!(quiet.is_awaited());
        drop(sending);
        assert!(!quiet.is_awaited());
    }
    let mut client = Client::new();
    assert_eq!(client.exchange(2, [b"", b""], None), "nothing yet");
    assert_eq!(client.slept(), 1);
}

#[test]
fn what_hyper_had_read_comes_first_when_it_is_back() {
    fn read(stream: &mut Watched<Memory>) -> Poll<Vec<u8>> {
        let mut space = [0; 3];
        let mut buffer = hyper::rt::ReadBuf::new(&mut space);
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(stream).poll_read(&mut context, buffer.unfilled());
        polled.map(|it| it.map(|()| buffer.filled().to_vec()).unwrap())
    }
    let socket = Memory::default();
    let mut stream = Watched::new(socket.clone(), false);
    let mut context = Context::from_waker(Waker::noop());
    stream.leave(b"HT");
    assert!(stream.poll_away(&mut context).is_pending());
    socket.change(|it| it.comes.extend(b"TP"));
    assert!(stream.poll_away(&mut context).is_ready());
    // Not before the stand-in was sent, which goes nowhere.
    assert_eq!(read(&mut stream), Poll::Pending);
    let written = Pin::new(&mut stream).poll_write(&mut context, b"POST");
    assert!(matches!(written, Poll::Ready(Ok(4))));
    assert!(Pin::new(&mut stream).poll_flush(&mut context).is_ready());
    assert_eq!(read(&mut stream), Poll::Ready(b"HTT".to_vec()));
    assert_eq!(read(&mut stream), Poll::Ready(b"P".to_vec()));
    assert_eq!(read(&mut stream), Poll::Pending);
    assert_eq!(socket.written(), "");
}
