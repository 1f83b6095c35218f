//! All clients of a process share the thread that does I/O. While one of them
//! meets a hostile server, or a hostile host, the others go on.
//!
//! A neighbour gets an event every few milliseconds. What counts is how much
//! CPU time the I/O thread spends between two of them: that does not depend on
//! how busy the machine is. Each case also has a limit for the memory that it
//! takes.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "scenario/io_thread.rs"]
mod io_thread;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cometd::client::{Builder, Client, Extension};
use cometd::delivery::{Event, Notice, Polled, Queue};
use serde_json::{json, Value};

/// What one thing may take, in a release build about ten times what it should:
/// tests tell seconds from milliseconds.
const TURNS: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 150 });
/// Generous: this long only when a test fails.
const PATIENCE: Duration = Duration::from_secs(240);

const MIB: usize = 1 << 20;
/// A bit less than a client takes, and in a debug build what it reads as fast.
const LARGE: usize = if cfg!(debug_assertions) {
    4 * MIB
} else {
    16 * MIB - 1024
};

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One case at a time: they share the I/O thread.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer = dyn Fn(&[Value], &mut TcpStream) -> std::io::Result<()> + Send + Sync;

/// A server that answers each request as it is told; its URL.
fn server(
    answer: impl Fn(&[Value], &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let answer: Arc<Answer> = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(stream, &*answer));
        }
    });
    url
}

fn serve(mut stream: TcpStream, answer: &Answer) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut got = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = got.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 16 * 1024];
            let length = stream.read(&mut piece).ok().filter(|it| *it > 0)?;
            got.extend_from_slice(&piece[..length]);
        };
        let text = String::from_utf8_lossy(&got[..head]).to_ascii_lowercase();
        let length = text.split_once("content-length:")?.1;
        let length: usize = length.split_once("\r\n")?.0.trim().parse().ok()?;
        let mut body = got.split_off(head);
        let there = body.len();
        body.resize(length.max(there), 0);
        stream.read_exact(&mut body[there..]).ok()?;
        got = body.split_off(length);
        let messages: Vec<Value> = serde_json::from_slice(&body).ok()?;
        answer(&messages, &mut stream).ok()?;
    }
}

fn respond(stream: &mut TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n"
    )?;
    stream.write_all(body)
}

fn channel(messages: &[Value]) -> &str {
    messages[0]["channel"].as_str().unwrap()
}

/// The successful reply to a message.
fn ok(message: &Value) -> Value {
    json!({
        "channel": message["channel"],
        "id": message["id"],
        "successful": true,
        "clientId": "c",
        "subscription": message["subscription"],
        "supportedConnectionTypes": ["long-polling"],
    })
}

fn accept(messages: &[Value], stream: &mut TcpStream) -> std::io::Result<()> {
    let replies: Vec<Value> = messages.iter().map(ok).collect();
    respond(stream, "", serde_json::to_string(&replies)?.as_bytes())
}

/// A server whose first connects are answered, and all others by this.
fn hostile(
    connects: usize,
    answer: impl Fn(&[Value], &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let count = AtomicUsize::new(0);
    server(move |messages, stream| {
        let connect = channel(messages) == "/meta/connect";
        if connect && count.fetch_add(1, Ordering::SeqCst) >= connects {
            return answer(messages, stream);
        }
        accept(messages, stream)
    })
}

/// An array of events and the reply to the first message; as long as a client
/// takes.
fn events(messages: &[Value]) -> Vec<u8> {
    format!("[{}{}]", EVENT.repeat(EVENTS), ok(&messages[0])).into_bytes()
}

fn client(url: &str, configure: impl FnOnce(&mut Builder)) -> Client {
    let mut builder = Builder::new(url).unwrap();
    builder.set_proxy("").unwrap();
    builder
        .set_backoff(Duration::from_millis(20), Duration::from_millis(20))
        .unwrap();
    configure(&mut builder);
    builder.build().unwrap()
}

/// Takes events until one is what is waited for.
fn take(queue: &Queue, mut done: impl FnMut(&Event) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Polled::Event(event) = queue.poll(Some(Duration::from_millis(100))) {
            if done(&event) {
                return;
            }
        }
    }
    panic!("it did not come");
}

fn is_error(event: &Event) -> bool {
    matches!(event, Event::Notice(notice) if matches!(&**notice, Notice::Error { .. }))
}

/// The longest that the neighbour waited.
#[derive(Debug, Default, Clone, Copy)]
struct Longest {
    wall: Duration,
    /// Of the I/O thread.
    cpu: Duration,
}

struct Neighbour {
    queue: Arc<Queue>,
    _client: Client,
}

impl Neighbour {
    fn start() -> Self {
        let url = server(|messages, stream| {
            if channel(messages) != "/meta/connect" {
                return accept(messages, stream);
            }
            thread::sleep(Duration::from_millis(3));
            let event = json!({"channel": "/tick", "data": 1});
            let body = format!("[{event},{}]", ok(&messages[0]));
            respond(stream, "", body.as_bytes())
        });
        let client = client(&url, |_| {});
        client.connect().unwrap();
        let queue = client.receiver().unwrap().clone();
        let neighbour = Self {
            queue,
            _client: client,
        };
        let start = Instant::now();
        neighbour.watch(|| start.elapsed() > Duration::from_millis(200));
        neighbour
    }

    /// Watches it until something is done.
    fn watch(&self, done: impl Fn() -> bool) -> Longest {
        let mut longest = Longest::default();
        let (mut then, mut cpu) = (Instant::now(), io_thread::cpu_time());
        let mut finished = false;
        // Once more behind the end: what began before it counts.
        while !finished {
            finished = done();
            let deadline = Instant::now() + PATIENCE;
            loop {
                assert!(Instant::now() < deadline, "the neighbour got no event");
                let polled = self.queue.poll(Some(Duration::from_millis(100)));
                if let Polled::Event(Event::Message(_) | Event::Tracked(..)) = polled {
                    break;
                }
            }
            let (now, used) = (Instant::now(), io_thread::cpu_time());
            longest.wall = longest.wall.max(now - then);
            longest.cpu = longest.cpu.max(used.saturating_sub(cpu));
            (then, cpu) = (now, used);
        }
        longest
    }
}

/// What went on meanwhile.
struct Seen {
    longest: Longest,
    /// The most memory, beyond what there was at the start.
    heap: usize,
}

/// Watches the neighbour while something goes on.
fn beside(what: &str, goes_on: impl FnOnce() + Send + 'static) -> Seen {
    let neighbour = Neighbour::start();
    let start = Instant::now();
    let idle = neighbour.watch(|| start.elapsed() > Duration::from_millis(300));
    let before = LIVE.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let done = Arc::new(AtomicBool::new(false));
    let thread = {
        let done = done.clone();
        thread::spawn(move || {
            // Told even when it panics.
            struct Tell(Arc<AtomicBool>);
            impl Drop for Tell {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::SeqCst);
                }
            }
            let _tell = Tell(done);
            goes_on();
        })
    };
    let longest = neighbour.watch(|| done.load(Ordering::SeqCst));
    thread.join().unwrap();
    let heap = MOST.load(Ordering::SeqCst).saturating_sub(before);
    eprintln!(
        "{what}: {longest:?}, idle {idle:?}, {} KiB of heap",
        heap / 1024
    );
    Seen { longest, heap }
}

fn assert_short(seen: &Seen) {
    let cpu = seen.longest.cpu;
    assert!(
        cpu < TURNS,
        "the I/O thread was busy for {cpu:?} between two events"
    );
}

/// A client that gets one such response, with so many events, and then one more
/// event.
fn one_response(
    what: &str,
    events: usize,
    body: impl Fn(&[Value]) -> Vec<u8> + Send + Sync + 'static,
    configure: impl FnOnce(&mut Builder) + Send + 'static,
) -> Seen {
    let first = AtomicBool::new(true);
    let url = hostile(1, move |messages, stream| {
        if first.swap(false, Ordering::SeqCst) {
            return respond(stream, "", &body(messages));
        }
        let body = json!([{"channel": "/last", "data": 1}, ok(&messages[0])]);
        respond(stream, "", body.to_string().as_bytes())?;
        thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    beside(what, move || {
        let client = client(&url, configure);
        client.connect().unwrap();
        take(client.receiver().unwrap(), |event| match event {
            Event::Message(message) => message.get().unwrap().channel() == Some("/last"),
            _ => false,
        });
        let seen = client.statistics().events_received;
        assert_eq!(seen, events as u64 + 1);
    })
}

const EVENTS: usize = (LARGE - 1024) / EVENT.len();
const EVENT: &str = r#"{"channel":"/flood/of/events","data":{"number":12345678}},"#;

#[test]
fn limit_advice_hosts_cost_the_neighbour_little() {
    let _alone = alone();
    let seen = one_response(
        "advice of millions of hosts",
        0,
        |messages| {
            let mut reply = ok(&messages[0]);
            reply["advice"] = json!({"reconnect": "retry", "interval": 0, "hosts": "HOSTS"});
            let hosts = "\"h\",".repeat((LARGE - 1024) / 4);
            let reply = reply.to_string();
            let body = reply.replace("\"HOSTS\"", &format!("[{hosts}\"last\"]"));
            format!("[{body}]").into_bytes()
        },
        |builder| builder.set_follow_hosts(true),
    );
    assert_short(&seen);
    // The server's own copies are among them.
    assert!(seen.heap < 8 * LARGE, "{}", seen.heap);
}

#[test]
fn neighbour_of_one_huge_ext_and_error() {
    let _alone = alone();
    let seen = one_response(
        "an ext and an error of megabytes",
        0,
        |messages| {
            let mut refused = ok(&messages[0]);
            refused["successful"] = json!(false);
            refused["error"] = json!(["ERROR"]);
            refused["ext"] = json!({"EXT": 0});
            refused["advice"] = json!({"reconnect": "retry", "interval": 0});
            let error = "0,".repeat(LARGE / 5);
            let ext = "\"a\":1,".repeat(LARGE / 12);
            let text = refused.to_string();
            let text = text.replace("\"ERROR\"", &format!("{error}0"));
            let text = text.replace("\"EXT\":0", &format!("{ext}\"b\":2"));
            format!("[{text}]").into_bytes()
        },
        |builder| builder.set_acknowledgement(true),
    );
    assert_short(&seen);
    assert!(seen.heap < 8 * LARGE, "{}", seen.heap);
}

#[test]
fn neighbour_of_a_body_that_is_no_json() {
    let _alone = alone();
    let seen = one_response(
        "megabytes that are no JSON",
        0,
        |_| [&[b'['; 1][..], &[0xff; LARGE - 1]].concat(),
        |_| {},
    );
    assert_short(&seen);
    // Each byte becomes three.
    assert!(seen.heap < 8 * LARGE, "{}", seen.heap);
}

#[test]
fn neighbour_of_a_large_body_of_events() {
    let _alone = alone();
    let seen = one_response("megabytes of events", EVENTS, events, |_| {});
    assert_short(&seen);
    assert!(seen.heap < 10 * LARGE, "{}", seen.heap);
}

#[test]
fn limit_extension_memory_is_a_few_times_the_response() {
    let _alone = alone();
    for (what, changes) in [("looks", false), ("changes each message", true)] {
        let seen = one_response(
            &format!("megabytes with an extension that {what}"),
            EVENTS,
            events,
            move |builder| {
                let incoming = move |message: &mut cometd::client::ExtensionMessage| {
                    if changes {
                        let text = message.json().replace("12345678", "87654321");
                        message.replace(text.as_bytes()).unwrap();
                    }
                    Ok(())
                };
                builder.add_extension(Extension {
                    outgoing: None,
                    incoming: Some(Arc::new(incoming)),
                });
            },
        );
        assert_short(&seen);
        // The server's two copies are among them.
        assert!(seen.heap < 10 * LARGE, "{}", seen.heap);
    }
}

#[test]
fn limit_cookies_redaction_of_many_errors_costs_the_neighbour_little() {
    let _alone = alone();
    const ERRORS: usize = 300;
    let given = AtomicUsize::new(0);
    let url = server(move |messages, stream| match channel(messages) {
        "/meta/subscribe" => {
            let refused: Vec<Value> = messages
                .iter()
                .map(|message| {
                    let mut reply = ok(message);
                    reply["successful"] = json!(false);
                    reply["error"] = json!(format!("403::{}", "no reason at all ".repeat(60)));
                    reply
                })
                .collect();
            respond(stream, "", serde_json::to_string(&refused)?.as_bytes())
        }
        "/meta/connect" => {
            // 200 cookies of 8 KB, seven a response.
            let mut headers = String::new();
            for _ in 0..7 {
                let number = given.fetch_add(1, Ordering::SeqCst);
                if number < 200 {
                    let value = "v".repeat(8_000);
                    headers += &format!("Set-Cookie: c{number}={number}{value}; Path=/\r\n");
                }
            }
            if headers.is_empty() {
                let body = json!([{"channel": "/full", "data": 1}, ok(&messages[0])]);
                respond(stream, "", body.to_string().as_bytes())?;
                thread::sleep(Duration::from_millis(50));
                return Ok(());
            }
            let body = json!([ok(&messages[0])]);
            respond(stream, &headers, body.to_string().as_bytes())
        }
        _ => accept(messages, stream),
    });
    let seen = beside("300 errors with 200 cookies of 8 KB", move || {
        let client = client(&url, |_| {});
        client.connect().unwrap();
        let queue = client.receiver().unwrap().clone();
        take(&queue, |event| matches!(event, Event::Message(_)));
        let channels = (0..ERRORS).map(|it| format!("/refused/{it}")).collect();
        client.subscribe(channels).unwrap();
        let mut errors = 0;
        take(&queue, |event| {
            errors += usize::from(is_error(event));
            errors == ERRORS
        });
    });
    assert_short(&seen);
}

#[test]
fn neighbour_of_many_refusals_with_a_long_ext() {
    let _alone = alone();
    const REFUSED: usize = 100;
    let url = server(move |messages, stream| {
        if !channel(messages).starts_with("/a") {
            return accept(messages, stream);
        }
        let refused: Vec<Value> = messages
            .iter()
            .zip(0_u64..)
            .map(|(message, index)| {
                // Of all sorts of letters, so that all that is looked for seems to be there.
                let part = |at: u64| {
                    let mixed = (index << 32 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    format!("{mixed:016x}")
                };
                let ext: String = (0..3_900).map(part).collect();
                let mut reply = ok(message);
                reply["successful"] = json!(false);
                reply["ext"] = json!({"why": ext});
                reply
            })
            .collect();
        respond(stream, "", serde_json::to_string(&refused)?.as_bytes())
    });
    let seen = beside("100 refusals with an ext of 62 KB", move || {
        let client = client(&url, |builder| {
            for number in 0..200 {
                let name = format!("c{number}");
                let value = format!("{number}-{}", "v".repeat(20));
                builder.add_cookie(&name, &value).unwrap();
            }
        });
        client.connect().unwrap();
        let queue = client.receiver().unwrap().clone();
        client.begin_batch().unwrap();
        for _ in 0..REFUSED {
            client.publish("/a", b"1").unwrap();
        }
        client.end_batch().unwrap();
        let mut errors = 0;
        take(&queue, |event| {
            errors += usize::from(is_error(event));
            errors == REFUSED
        });
    });
    assert_short(&seen);
}

#[test]
fn neighbour_of_interim_responses_without_end() {
    let _alone = alone();
    let url = hostile(1, |_, stream| {
        let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            stream.write_all(many.as_bytes())?;
        }
        Ok(())
    });
    let seen = beside("interim responses without end", move || {
        let client = client(&url, |_| {});
        client.connect().unwrap();
        take(client.receiver().unwrap(), is_error);
    });
    assert_short(&seen);
    // The neighbour had 98 of 100 taken away, one at a time.
    assert!(
        seen.longest.wall < Duration::from_secs(5),
        "{:?}",
        seen.longest
    );
}

#[test]
fn neighbour_of_a_gzip_of_empty_members() {
    let _alone = alone();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"").unwrap();
    let member = encoder.finish().unwrap();
    let body = member.repeat(14 * MIB / member.len());
    let url = hostile(1, move |_, stream| {
        respond(stream, "Content-Encoding: gzip\r\n", &body)
    });
    let seen = beside("a gzip of 14 MB of empty members", move || {
        let client = client(&url, |_| {});
        client.connect().unwrap();
        take(client.receiver().unwrap(), is_error);
    });
    assert_short(&seen);
}

#[test]
fn limit_replies_without_ids_to_a_batch_cost_the_neighbour_little() {
    let _alone = alone();
    const BATCH: usize = 10_000;
    let url = server(move |messages, stream| {
        if channel(messages) != "/meta/subscribe" {
            if channel(messages) == "/meta/connect" {
                thread::sleep(Duration::from_millis(100));
            }
            return accept(messages, stream);
        }
        let reply = r#"{"channel":"/meta/subscribe","successful":true},"#;
        let reply = reply.repeat(330_000);
        respond(
            stream,
            "",
            format!("[{}]", reply.trim_end_matches(',')).as_bytes(),
        )
    });
    let seen = beside("330,000 replies without ids", move || {
        let client = client(&url, |builder| {
            builder.set_commands_capacity(2 * BATCH).unwrap();
        });
        client.connect().unwrap();
        let queue = client.receiver().unwrap().clone();
        let channels: Vec<String> = (0..BATCH).map(|it| format!("/many/{it}")).collect();
        client.subscribe(channels).unwrap();
        // Each ends somehow, by a reply or by its deadline.
        let mut ended = 0;
        take(&queue, |event| {
            ended += usize::from(match event {
                Event::Notice(notice) => {
                    matches!(&**notice, Notice::Subscribed { .. } | Notice::Error { .. })
                }
                _ => false,
            });
            ended == BATCH
        });
    });
    assert_short(&seen);
}

#[test]
fn limit_waiting_commands_cost_the_neighbour_little() {
    let _alone = alone();
    const WAITING: usize = 5_000;
    let go = Arc::new(AtomicBool::new(false));
    let may = go.clone();
    let url = server(move |messages, stream| {
        // All commands are there before the session is.
        while channel(messages) == "/meta/handshake" && !may.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        if channel(messages) == "/meta/connect" {
            thread::sleep(Duration::from_millis(20));
        }
        accept(messages, stream)
    });
    let seen = beside("5,000 subscribes and unsubscribes that wait", move || {
        let client = client(&url, |builder| {
            builder.set_commands_capacity(4 * WAITING).unwrap();
        });
        client.connect().unwrap();
        let queue = client.receiver().unwrap().clone();
        let mut ids = BTreeSet::new();
        for number in 0..WAITING {
            let channel = vec![format!("/waiting/{number}")];
            ids.insert(client.subscribe(channel.clone()).unwrap());
            ids.insert(client.unsubscribe(channel).unwrap());
        }
        go.store(true, Ordering::SeqCst);
        take(&queue, |event| {
            if let Event::Notice(notice) = event {
                match &**notice {
                    Notice::Subscribed { id, .. }
                    | Notice::Unsubscribed { id, .. }
                    | Notice::Error { id, .. } => {
                        ids.remove(id);
                    }
                    _ => {}
                }
            }
            ids.is_empty()
        });
    });
    assert_short(&seen);
}
