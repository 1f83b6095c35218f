use std::sync::atomic::Ordering;

use super::arrivals::Origin;
use super::*;
use crate::delivery::{Event, Notice, Polled};
use crate::session::{Endpoint, HandshakeQuestion, RequestId, Server, SocketId};
use crate::transport::endpoints::Endpoints;

/// A publish to this channel makes the task panic, in tests.
const PANIC: &str = "/test/panic";

pub(super) fn maybe_panic(command: &Command) {
    if matches!(command, Command::Publish { channel, .. } if channel == PANIC) {
        panic!("a test asked for it");
    }
}

#[test]
fn design_2_a_panic_ends_the_client_and_nothing_else_210() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    client.connect().unwrap();
    client.publish(PANIC, b"1").unwrap();
    assert_eq!(client.wait(State::Closed, None), Waited::Reached);
    let queue = client.receiver().unwrap();
    let mut fatal = None;
    while let Polled::Event(event) = queue.poll(None) {
        if let Event::Notice(notice) = event {
            if let Notice::Error { error, .. } = &*notice {
                if error.fatal {
                    fatal = Some(error.kind);
                }
            }
        }
    }
    assert_eq!(fatal, Some(ErrorKind::Panic));
    assert_eq!(
        client.publish("/x", b"1").unwrap_err().kind,
        ErrorKind::Closed
    );
}

#[test]
fn an_idle_client_ends_without_a_thread_contract_10() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    let id = client.subscribe(vec!["/a".into(), "/b".into()]).unwrap();
    client.disconnect(Duration::ZERO).unwrap();
    let queue = client.receiver().unwrap();
    let mut failed = Vec::new();
    while let Polled::Event(Event::Notice(notice)) = queue.poll(None) {
        if let Notice::Error { id: of, error, .. } = &*notice {
            assert_eq!(*of, id);
            failed.push(error.channel.clone().unwrap());
        }
    }
    assert_eq!(failed, ["/a", "/b"]);
    assert_eq!(client.connect().unwrap_err().kind, ErrorKind::Closed);
}

#[test]
fn batches_nest_and_an_end_too_many_is_an_error_100() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    let waiting = || lock(&client.shared.mailbox).commands.len();
    client.begin_batch().unwrap();
    client.begin_batch().unwrap();
    client.publish("/a", b"1").unwrap();
    client.end_batch().unwrap();
    client.publish("/b", b"1").unwrap();
    assert_eq!(waiting(), 0);
    client.end_batch().unwrap();
    assert_eq!(waiting(), 1, "both in one");
    assert_eq!(
        client.end_batch().unwrap_err().kind,
        ErrorKind::InvalidState
    );
    client.begin_batch().unwrap();
    client.end_batch().unwrap();
    assert_eq!(waiting(), 1, "an empty batch is nothing");
}

#[test]
fn what_an_open_batch_holds_ends_with_the_client() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    client.begin_batch().unwrap();
    let id = client.publish("/a", b"1").unwrap();
    client.disconnect(Duration::ZERO).unwrap();
    let queue = client.receiver().unwrap();
    let mut ended = 0;
    while let Polled::Event(Event::Notice(notice)) = queue.poll(None) {
        if let Notice::Error { id: of, .. } = &*notice {
            assert_eq!(*of, id);
            ended += 1;
        }
    }
    assert_eq!(ended, 1);
    assert_eq!(client.shared.outstanding.load(Ordering::SeqCst), 0);
}

/// What two responses that came one after the other were told in which order.
#[test]
fn responses_pass_extensions_in_the_order_in_which_they_came() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow: Arc<Extend> = Arc::new(move |message| {
        if message.json().contains("/slow") {
            lock(&wait).recv().unwrap();
        }
        Ok(())
    });
    let extensions = Extensions::new(vec![Extension {
        outgoing: None,
        incoming: Some(slow),
    }]);
    let mut hooks = Hooks::new(extensions, None, None, client.shared.clone()).unwrap();
    let channels = ["/slow", "/fast", "/given/up", "/last"];
    for (number, channel) in (1..).zip(channels) {
        let body = format!(r#"[{{"channel":"{channel}","data":1}}]"#);
        hooks.incoming(Origin::Request(RequestId(number)), body.into_bytes());
    }
    hooks.cancel(Origin::Request(RequestId(3)));
    go.send(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for expected in [1, 2, 4] {
        let done = runtime.block_on(std::future::poll_fn(|context| hooks.poll_done(context)));
        let hooks::Done::Incoming { origin, reply } = done else {
            panic!("something else was done");
        };
        assert_eq!(origin, Origin::Request(RequestId(expected)));
        let channel = channels[expected as usize - 1];
        assert_eq!(reply.unwrap().message(0).unwrap().channel(), Some(channel));
    }
}

#[test]
fn questions_do_not_pile_up_before_a_provider_that_hangs() {
    let client = Builder::new("http://127.0.0.1:9/")
        .unwrap()
        .build()
        .unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let both = Mutex::new((begun, wait));
    let provider: Arc<HandshakeProvider> = Arc::new(move |handshake| {
        let (begun, wait) = &*lock(&both);
        begun.send(handshake.attempt()).unwrap();
        wait.recv().map_err(|_| "the test is over".to_owned())
    });
    let shared = client.shared.clone();
    let mut hooks = Hooks::new(Extensions::default(), Some(provider), None, shared).unwrap();
    for number in 1..=1_000 {
        hooks.ask(HandshakeQuestion {
            number,
            attempt: u32::try_from(number).unwrap(),
            refusal: None,
        });
        if number == 1 {
            assert_eq!(begins.recv().unwrap(), 1);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for expected in [1, 1_000] {
        go.send(()).unwrap();
        let done = runtime.block_on(std::future::poll_fn(|context| hooks.poll_done(context)));
        let hooks::Done::Fields { question, .. } = done else {
            panic!("something else was done");
        };
        assert_eq!(question, expected);
    }
}

/// What a provider says of requests and of an upgrade, one after the other.
#[test]
fn headers_are_asked_for_behind_extensions_and_of_upgrades_as_well() {
    let client = Builder::new("http://127.0.0.1:9/cometd?a")
        .unwrap()
        .build()
        .unwrap();
    let shared = client.shared.clone();
    let changes: Arc<Extend> = Arc::new(|message| {
        message
            .replace(br#"{"channel":"/a","data":"changed"}"#)
            .map_err(|error| error.message)
    });
    let extensions = Extensions::new(vec![Extension {
        outgoing: Some(changes),
        incoming: None,
    }]);
    let provider: Arc<HeaderProvider> = Arc::new(|request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let seen = format!("{:?} {} {body}", request.method(), request.url());
        request
            .set_header("x-seen", &seen)
            .map_err(|error| error.message)
    });
    let mut hooks = Hooks::new(extensions, None, Some(provider), shared.clone()).unwrap();
    let (_, places) = lock(&shared.server).clone();
    let body = br#"[{"channel":"/a","data":1}]"#.to_vec();
    let asked = OutgoingRequest::post(&places, Endpoint::Messages);
    hooks.outgoing(RequestId(1), body.clone(), Some(asked));
    let upgrade = hooks.headers(SocketId(1), OutgoingRequest::upgrade(&places));
    // A frame.
    hooks.outgoing(RequestId(2), body, None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let changed = r#"[{"channel":"/a","data":"changed"}]"#;
    for expected in [
        Some(format!(r#""POST" http://127.0.0.1:9/cometd?a {changed}"#)),
        None,
    ] {
        let done = runtime.block_on(std::future::poll_fn(|context| hooks.poll_done(context)));
        let hooks::Done::Outgoing {
            outgoing, headers, ..
        } = done
        else {
            panic!("something else was done");
        };
        assert_eq!(outgoing.body.as_deref(), Some(changed.as_bytes()));
        let seen = headers.unwrap().map(|it| it["x-seen"].clone());
        assert_eq!(seen, expected.map(|it| it.parse().unwrap()));
    }
    let headers = runtime.block_on(upgrade.unwrap()).unwrap().unwrap();
    assert_eq!(headers["x-seen"], r#""GET" http://127.0.0.1:9/cometd?a "#);
}

#[test]
fn a_client_that_waits_has_no_room_for_what_is_rare() {
    fn size_of_future<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
    // Each client has one of these as long as it lives. What makes one larger is
    // rare, more often than not, and goes into a box.
    for (what, size, limit) in [
        ("the task", size_of::<Task>(), 1_672),
        ("its future", size_of_future(Task::run), 512),
        ("what it shares with the host", size_of::<Shared>(), 624),
        ("the transport", size_of::<LongPolling>(), 288),
        ("an output", size_of::<crate::session::Output>(), 80),
    ] {
        assert!(size <= limit, "{what}: {size} bytes");
        println!("{what}: {size} bytes of {limit}");
    }
}

#[test]
fn clients_of_one_builder_share_what_is_the_same_and_keep_what_they_had() {
    let mut builder = Builder::new("http://127.0.0.1:9/cometd").unwrap();
    let built = |builder: &Builder| {
        let client = builder.build().unwrap();
        let start = lock(&client.unstarted).take().unwrap();
        let places = start.transport.places(Server::Given(0)).unwrap();
        (start.configuration, places)
    };
    let (first, second) = (built(&builder), built(&builder));
    assert!(Arc::ptr_eq(&first.0, &second.0));
    assert!(Arc::ptr_eq(&first.1, &second.1));
    builder.set_connect_base_path("elsewhere/").unwrap();
    builder.set_interval(Duration::from_millis(7));
    builder.add_url("http://127.0.0.2:9/cometd").unwrap();
    let third = built(&builder);
    let shown = |it: &(_, Arc<Endpoints>)| it.1.target(Endpoint::Connect).shown();
    assert_eq!(shown(&second), "http://127.0.0.1:9/cometd/connect");
    assert_eq!(shown(&third), "http://127.0.0.1:9/cometd/elsewhere/connect");
    assert_eq!((second.0.interval, third.0.interval), (0, 7));
    assert_eq!(second.0.servers, ["127.0.0.1:9"]);
    assert_eq!(third.0.servers, ["127.0.0.1:9", "127.0.0.2:9"]);
}
