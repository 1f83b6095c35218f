//! WebSocket as servers may play it, and the way from it to long polling.

mod scenario;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cometd::bayeux::ConnectionType;
use cometd::client::{Builder, Extend, Extension};
use cometd::delivery::Overflow;
use cometd::error::ErrorKind;
use cometd::session::State;
use cometd_peer::{Bayeux, Cut, Frame, Rules};
use scenario::{backoff, Host, Run, END, PATIENCE, SESSION};
use serde_json::{json, Value};

fn both(builder: &mut Builder) {
    builder
        .set_transports(&[ConnectionType::WebSocket, ConnectionType::LongPolling])
        .unwrap();
    backoff(builder, 5, 20);
}

/// A socket, a handshake and the first connect.
const SOCKET: &str = "
expect upgrade as u
upgrade
expect handshake over=websocket
answer
expect connect at-once over=websocket on=u
answer
";

/// The same session on another socket.
const AGAIN: &str = "
expect upgrade
upgrade
expect connect at-once over=websocket
answer
expect connect as held
";

fn play(script: &str) -> Run {
    let mut run = Run::with(script, both).start();
    run.requested("held").disconnect().played();
    run
}

/// Each event of a session, in order.
fn events(run: &mut Run, channel: &str) -> Vec<String> {
    let start = format!("message {channel} ");
    let told = run.told().into_iter();
    told.filter_map(|seen| seen.strip_prefix(&start))
        .map(str::to_owned)
        .collect()
}

fn server(change: impl FnOnce(&mut Rules)) -> Bayeux {
    let mut rules = Rules::default();
    change(&mut rules);
    Bayeux::start("/cometd", rules).unwrap()
}

fn connected(server: &Bayeux, configure: impl FnOnce(&mut Builder)) -> Host {
    let mut host = Host::new(&server.url(), |builder| {
        both(builder);
        configure(builder);
    });
    host.client.connect().unwrap();
    host.until("Connected", || None);
    host
}

fn subscribed(host: &mut Host, channel: &str) {
    let id = host.client.subscribe(vec![channel.to_owned()]).unwrap();
    host.until(&format!("subscribed {id} {channel}"), || None);
}

/// The numbers among a host's events.
fn numbers(host: &Host) -> Vec<u64> {
    host.seen
        .iter()
        .filter_map(|seen| seen.strip_prefix("message /n ")?.parse().ok())
        .collect()
}

#[test]
fn an_upgrade_goes_to_the_url_with_everything_of_the_host_182_223() {
    let mut run = Run::with(
        format!(
            r#"expect upgrade path=/cometd header="X-Own: 1" cookie="a=b" header="Authorization: Bearer t" no-header=Sec-WebSocket-Extensions no-header=Content-Type
            upgrade
            expect handshake over=websocket
            answer
            expect connect at-once over=websocket
            answer
            expect connect as held
            {END}
            closes held 1000"#
        ),
        |builder| {
            both(builder);
            builder.add_header("X-Own", "1").unwrap();
            builder.add_cookie("a", "b").unwrap();
            builder.set_bearer_token("t").unwrap();
        },
    )
    .start();
    run.requested("held").disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn a_socket_that_ends_is_opened_again_for_the_same_session_183() {
    let run = play(&format!(
        "{SOCKET}\nexpect connect as first\nclose first\n{AGAIN}{END}"
    ));
    assert_eq!(run.host.errors.len(), 1, "{:?}", run.host.seen);
    assert_eq!(run.host.error(0).kind, ErrorKind::ConnectionLost);
    assert_eq!(run.host.error(0).websocket_code, 1006);
}

#[test]
fn replies_are_found_by_their_id_in_whatever_frame_185() {
    let mut run = Run::with(
        format!(
            r#"{SOCKET}
            expect connect as held
            expect publish /a as a
            expect publish /b as b
            frame b : [{{"channel":"/x","data":1}},$ok]
            answer a
            expect publish /c as c
            expect disconnect as end
            frame end : [$ok]
            answer c
            answer held"#
        ),
        both,
    )
    .start();
    run.requested("held");
    let one = run.publish("/a", "1");
    run.requested("a");
    let two = run.publish("/b", "1");
    run.until(&format!("published {two} /b"));
    run.until(&format!("published {one} /a"));
    run.publish("/c", "1");
    run.requested("c").disconnect().played();
    assert_eq!(events(&mut run, "/x"), ["1"]);
}

#[test]
fn fragments_and_pings_between_them_are_one_message_186() {
    let mut run = Run::with(
        format!(
            r#"{SOCKET}
            expect connect as held
            raw opcode=1 more : [{{"channel":"/x",
            ping : between
            raw opcode=0 more :
            raw opcode=0 : "data":"whole"}}]
            ponged
            fragment held : [{{"channel":"/x","data":"bytes"}}]
            mark sent
            {END}"#
        ),
        both,
    )
    .start();
    run.until("message /x \"whole\"");
    run.until("message /x \"bytes\"");
    run.disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn binary_frames_and_empty_arrays_mean_nothing_187() {
    let run = play(&format!(
        "{SOCKET}\nexpect connect as held\nbinary : [1]\nframe : []\npong : none asked\n{END}"
    ));
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn wrong_frames_are_closed_with_their_code_188_241_242() {
    for (frame, code) in [
        ("raw masked : []", 1002),
        ("raw reserved=4 : []", 1002),
        ("raw opcode=11 :", 1002),
        ("raw : \\xff", 1007),
        ("raw length=4611686018427387904 :", 1009),
        ("frame : no json", 1002),
    ] {
        let run = play(&format!(
            "{SOCKET}\nexpect connect as first\n{frame}\ncloses first {code}\n{AGAIN}{END}"
        ));
        assert_eq!(run.host.errors.len(), 1, "{frame}: {:?}", run.host.seen);
    }
}

#[test]
fn a_close_code_is_told_and_the_session_goes_on_244_188() {
    for code in [1000, 1001, 1008, 1011, 1012, 4001] {
        let run = play(&format!(
            "{SOCKET}\nexpect connect as first\nclose {code} : going\n{AGAIN}{END}"
        ));
        assert_eq!(run.host.errors.len(), 1, "{code}: {:?}", run.host.seen);
        let error = run.host.error(0);
        assert_eq!(error.websocket_code, code);
        assert!(error.message.contains("going"), "{}", error.message);
    }
}

#[test]
fn a_disconnect_ends_with_1000_189() {
    play(&format!(
        "{SOCKET}\nexpect connect as held\n{END}\ncloses held 1000\nclosed held"
    ));
}

#[test]
fn a_protocol_that_is_not_chosen_is_a_refusal_190() {
    let mut run = Run::with(
        format!(
            r#"expect upgrade as u header="Sec-WebSocket-Protocol: own"
            upgrade
            {SESSION}
            expect connect over=long-polling as held
            {END}"#
        ),
        |builder| {
            both(builder);
            builder.set_websocket_protocol("own").unwrap();
        },
    )
    .start();
    run.requested("held").disconnect().played();
}

#[test]
fn an_unknown_session_is_made_anew_on_the_same_socket_191() {
    play(&format!(
        r#"{SOCKET}
        expect connect
        answer : [$no{{"error":"402::session_unknown","advice":{{"reconnect":"handshake","interval":0}}}}]
        expect handshake over=websocket on=u
        answer
        expect connect at-once on=u
        answer
        expect connect as held
        {END}"#
    ));
}

#[test]
fn events_behind_what_cannot_be_read_are_told() {
    let mut run = Run::with(
        format!(
            r#"{SOCKET}
            expect connect as held
            send u : \x81\x01x\x81\x1c[{{"channel":"/a","data":17}}]
            {AGAIN}
            mark again
            {END}"#
        ),
        both,
    )
    .start();
    run.requested("again");
    run.host.until("message /a 17", || None);
    run.disconnect().played();
}

#[test]
fn a_held_connect_is_kept_alive_by_pings_192() {
    let mut run = Run::with(
        format!("{SOCKET}\nexpect connect as held\npinged\npinged\npinged\nmark kept\n{END}"),
        |builder| {
            both(builder);
            builder.set_ping_interval(Duration::from_millis(50));
            // Each ping that is answered is followed by the next one, whatever else may
            // run out.
            builder.set_request_timeout(Duration::from_secs(600));
        },
    )
    .start();
    run.requested("kept").disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn a_refused_upgrade_leads_to_long_polling_at_once_194() {
    for status in [400, 403, 404] {
        let run = play(&format!(
            "expect upgrade
            answer status={status} :
            {SESSION}
            expect connect over=long-polling as held
            {END}"
        ));
        assert_eq!(run.host.errors.len(), 1, "{:?}", run.host.seen);
        assert_eq!(run.host.error(0).http_status, status);
    }
}

#[test]
fn an_unreachable_server_is_asked_for_websocket_again_195() {
    let server = server(|_| {});
    server.down();
    let mut host = Host::new(&server.url(), both);
    host.client.connect().unwrap();
    host.until("error handshake Tcp", || None);
    server.up().unwrap();
    host.until("Connected", || None);
    let counts = server.counts();
    assert_eq!(counts.websocket.handshakes, 1);
    assert_eq!(counts.long_polling.handshakes, 0);
}

#[test]
fn a_server_without_websocket_gets_the_session_by_long_polling_197() {
    play(&format!(
        r#"expect upgrade as u
        upgrade
        expect handshake over=websocket
        answer : [$ok{{"supportedConnectionTypes":["long-polling"]}}]
        expect connect at-once over=long-polling
        answer
        closes u
        expect connect over=long-polling as held
        {END}"#
    ));
}

#[test]
fn cookies_of_an_upgrade_are_kept_whatever_became_of_it_229() {
    play(&format!(
        r#"expect upgrade
        upgrade header="Set-Cookie: a=b"
        expect handshake
        answer
        expect connect at-once
        answer
        expect connect as first
        close first
        expect upgrade cookie="a=b"
        answer status=403 header="Set-Cookie: c=d" :
        expect connect at-once over=long-polling cookie="a=b" cookie="c=d"
        answer
        expect connect as held
        {END}"#
    ));
}

#[test]
fn a_frame_in_the_packet_of_the_101_counts_230() {
    let mut run = play(&format!(
        r#"{SOCKET}
        expect connect as first
        close first
        expect upgrade
        upgrade : [{{"channel":"/early","data":1}}]
        expect connect at-once
        answer
        expect connect as held
        {END}"#
    ));
    assert_eq!(events(&mut run, "/early"), ["1"]);
}

#[test]
fn a_thousand_frames_in_one_write_come_in_order_239() {
    let server = server(|_| {});
    let mut host = connected(&server, |_| {});
    subscribed(&mut host, "/n");
    let frames: Vec<_> = (0..1000)
        .map(|n| Frame::text(json!([{"channel": "/n", "data": n}]).to_string()))
        .flat_map(|frame| frame.to_bytes())
        .collect();
    server.raw(&frames);
    host.until("message /n 999", || None);
    assert_eq!(numbers(&host), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_kick_is_an_event_and_one_end_247() {
    let server = server(|_| {});
    let mut host = connected(&server, |_| {});
    subscribed(&mut host, "/n");
    server.wait(|it| it.websocket.connects == 2).unwrap();
    server.publish("/n", [json!(7)]);
    server.kick();
    host.until("message /n 7", || None);
    host.until("Closed", || None);
    host.drain();
    assert_eq!(host.errors.len(), 1, "{:?}", host.seen);
    assert_eq!(host.errors[0].kind, ErrorKind::ServerDisconnected);
}

#[test]
fn publishes_do_not_wait_for_replies_250() {
    let server = server(|rules| rules.withhold_publishes = true);
    let mut host = connected(&server, |builder| {
        builder.set_commands_capacity(10_000).unwrap();
        builder.set_request_timeout(PATIENCE);
    });
    let last = (0..5000)
        .map(|n| host.client.publish("/p", n.to_string().as_bytes()).unwrap())
        .last()
        .unwrap();
    server.wait(|it| it.websocket.publishes == 5000).unwrap();
    server.rules(|rules| rules.withhold_publishes = false);
    host.until(&format!("published {last} /p"), || None);
    let wanted: Vec<_> = (0..5000).map(Value::from).collect();
    assert_eq!(server.published("/p"), wanted);
    assert!(host.errors.is_empty());
}

#[test]
fn what_is_published_while_a_socket_opens_goes_behind_the_connect_252() {
    let mut run = Run::with(
        format!(
            "{SOCKET}
            expect connect as first
            close first
            expect upgrade as opening
            await published
            upgrade opening
            expect connect at-once over=websocket on=opening
            answer
            expect connect as held
            also publish /a as a on=opening
            answer a
            {END}"
        ),
        both,
    )
    .start();
    run.requested("opening");
    let id = run.publish("/a", "1");
    run.peer.release("published");
    run.until(&format!("published {id} /a"));
    run.requested("held").disconnect().played();
}

#[test]
fn a_host_that_stands_still_is_waited_for_and_nothing_times_out_253() {
    let server = server(|_| {});
    let mut host = connected(&server, |builder| {
        builder.set_events_capacity(20, 1 << 20).unwrap();
        builder.set_request_timeout(Duration::from_millis(700));
        builder.set_ping_interval(Duration::from_millis(300));
    });
    subscribed(&mut host, "/n");
    server.publish("/n", (0..5000).map(Value::from));
    // The host stands still for longer than any of the limits.
    std::thread::sleep(Duration::from_millis(2500));
    host.until("message /n 4999", || None);
    assert_eq!(numbers(&host), (0..5000).collect::<Vec<_>>());
    assert!(host.errors.is_empty(), "{:?}", host.errors);
    assert_eq!(server.counts().websocket.handshakes, 1);
}

#[test]
fn a_reply_may_take_long_while_bytes_come_255() {
    let data = "x".repeat(3000);
    let mut run = Run::with(
        format!(
            r#"{SOCKET}
            expect connect
            answer pieces=100 pause=50 : [{{"channel":"/x","data":"{data}"}},$ok]
            expect connect as held
            {END}"#
        ),
        |builder| {
            both(builder);
            builder.set_request_timeout(Duration::from_millis(500));
        },
    )
    .start();
    run.requested("held").disconnect().played();
    assert!(run.host.errors.is_empty(), "{:?}", run.host.seen);
}

#[test]
fn ten_thousand_events_with_the_socket_cut_none_twice_and_none_lost_with_ack_258() {
    for how in [Cut::Close, Cut::Reset] {
        let server = server(|_| {});
        let mut host = connected(&server, |builder| {
            builder.set_acknowledgement(true);
            builder.set_events_capacity(20_000, 1 << 24).unwrap();
        });
        subscribed(&mut host, "/n");
        server.wait(|it| it.websocket.connects >= 2).unwrap();
        server.cut_after(150_000, how);
        server.publish("/n", (0..10_000).map(Value::from));
        host.until("message /n 9999", || None);
        assert_eq!(numbers(&host), (0..10_000).collect::<Vec<_>>());
        let counts = server.counts();
        assert_eq!((counts.accepted, counts.websocket.handshakes), (2, 1));
    }
}

#[test]
fn a_server_that_never_closes_holds_no_end_up_259() {
    let mut run = Run::with(
        format!("{SOCKET}\nexpect connect as held\n{END}\nswallow\nclosed held"),
        both,
    )
    .start();
    run.requested("held").disconnect();
    assert_eq!(run.host.client.state(), State::Closed);
    run.played();
}

#[test]
fn a_client_is_freed_at_once_while_its_socket_opens_260() {
    let server = server(|rules| rules.ignore_upgrades = true);
    let host = Host::new(&server.url(), both);
    host.client.connect().unwrap();
    server.wait(|it| it.upgrades == 1).unwrap();
    let begin = Instant::now();
    drop(host);
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_proxy_without_tunnels_leads_to_long_polling_231() {
    let there = "http://example.invalid/cometd";
    let peer = cometd_peer::Peer::start(
        cometd_peer::Script::parse(&format!(
            r#"expect anything path=example.invalid:80
            answer status=403 :
            expect handshake path={there}/handshake
            answer
            expect connect at-once path={there}/connect
            answer
            expect connect path={there}/connect"#
        ))
        .unwrap(),
    )
    .unwrap();
    let mut host = Host::new(there, |builder| {
        both(builder);
        builder.set_proxy(&peer.url("")).unwrap();
    });
    host.client.connect().unwrap();
    host.until("Connected", || peer.failure());
    peer.wait().unwrap();
}

#[test]
fn a_session_of_the_other_transport_costs_one_handshake_236() {
    let server = server(|rules| rules.own_transport_only = true);
    let mut host = connected(&server, |_| {});
    subscribed(&mut host, "/n");
    server.rules(|rules| rules.refuse = Some(400));
    server.cut(Cut::Reset);
    server.wait(|it| it.long_polling.subscribes == 1).unwrap();
    server.publish("/n", [json!(1)]);
    host.until("message /n 1", || None);
    let counts = server.counts();
    assert_eq!(counts.websocket.handshakes, 1);
    assert_eq!(counts.long_polling.handshakes, 1);
}

#[test]
fn a_server_that_swallows_frames_or_upgrades_is_spoken_to_by_long_polling_227() {
    for swallows in [true, false] {
        let server = server(|rules| {
            rules.swallow = swallows;
            rules.ignore_upgrades = !swallows;
        });
        let _host = connected(&server, |builder| {
            builder.set_request_timeout(Duration::from_millis(900));
        });
        assert_eq!(server.counts().long_polling.handshakes, 1);
    }
}

#[test]
fn retry_after_of_a_refusal_is_heeded_232() {
    play(&format!(
        "expect upgrade
        answer status=503 header=\"Retry-After: 1\" :
        expect handshake over=long-polling after=1000..
        answer
        expect connect at-once
        answer
        expect connect as held
        {END}"
    ));
}

#[test]
fn a_message_in_ten_thousand_fragments_is_whole_240() {
    let server = server(|_| {});
    let mut host = connected(&server, |_| {});
    subscribed(&mut host, "/n");
    let data = "x".repeat(10_000);
    let text = json!([{"channel": "/n", "data": data}]).to_string();
    let mut bytes = Vec::new();
    for (index, fragment) in Frame::fragments(&text, 1).iter().enumerate() {
        bytes.extend(fragment.to_bytes());
        if index % 100 == 50 {
            bytes.extend(Frame::ping("").to_bytes());
        }
    }
    server.raw(&bytes);
    host.until(&format!("message /n {:?}", data), || None);
    assert!(host.errors.is_empty());
}

#[test]
fn a_close_reason_is_redacted_and_one_line_245() {
    let mut run = Run::with(
        format!(
            "{SOCKET}\nexpect connect as first\nclose 4001 : no sesame-77\\r\\nhere\n{AGAIN}{END}"
        ),
        |builder| {
            both(builder);
            builder.set_bearer_token("sesame-77").unwrap();
        },
    )
    .start();
    run.requested("held").disconnect().played();
    let message = &run.host.error(0).message;
    assert!(message.contains("here"), "{message}");
    assert!(!message.contains("sesame-77"), "{message}");
    assert!(!message.contains(char::is_control), "{message}");
}

#[test]
fn a_refused_handshake_is_tried_again_on_the_same_socket_249() {
    play(&format!(
        r#"expect upgrade as u
        upgrade
        expect handshake over=websocket
        answer : [$no{{"error":"challenged","ext":{{"challenge":1}},"advice":{{"reconnect":"handshake","interval":0}}}}]
        expect handshake over=websocket on=u
        answer
        expect connect at-once on=u
        answer
        expect connect as held on=u
        {END}"#
    ));
}

#[test]
fn a_server_that_does_not_read_leaves_no_publish_without_an_end_251() {
    let server = server(|_| {});
    let mut host = connected(&server, |builder| {
        builder.set_request_timeout(Duration::from_secs(1));
        builder.set_commands_capacity(100).unwrap();
    });
    server.read(false);
    let data = format!("{:?}", "x".repeat(100_000));
    let mut open = Vec::new();
    for _ in 0..1000 {
        if let Ok(id) = host.client.publish("/p", data.as_bytes()) {
            open.push(id);
        }
    }
    assert!(open.len() < 1000, "there is no bound");
    let ended = |seen: &str, id: u64| {
        seen == format!("published {id} /p") || seen.starts_with(&format!("error {id} "))
    };
    for id in &open {
        while !host.seen.iter().any(|seen| ended(seen, *id)) {
            assert!(host.take(PATIENCE), "{id}: {:?}", host.seen);
        }
    }
    host.drain();
    for id in &open {
        let times = host.seen.iter().filter(|seen| ended(seen, *id)).count();
        assert_eq!(times, 1, "{id}: {:?}", host.seen);
    }
}

#[test]
fn a_path_that_goes_silent_is_noticed_256() {
    let mut run = Run::with(
        format!("{SOCKET}\nexpect connect as first\nswallow first\n{AGAIN}{END}"),
        |builder| {
            both(builder);
            builder.set_ping_interval(Duration::from_millis(100));
            builder.set_request_timeout(Duration::from_millis(500));
        },
    )
    .start();
    run.requested("held").disconnect().played();
    assert_eq!(run.host.errors.len(), 1, "{:?}", run.host.seen);
}

#[test]
fn a_socket_cut_in_ten_thousand_events_brings_none_twice_258() {
    let server = server(|_| {});
    let mut host = connected(&server, |builder| {
        builder.set_events_capacity(20_000, 1 << 24).unwrap();
    });
    subscribed(&mut host, "/n");
    server.cut_after(150_000, Cut::Close);
    server.publish("/n", (0..10_000).map(Value::from));
    server
        .wait(|it| it.accepted == 2 && it.websocket.connects > 2)
        .unwrap();
    server.publish("/n", [json!(10_000)]);
    host.until("message /n 10000", || None);
    let came = numbers(&host);
    assert!(came.windows(2).all(|pair| pair[0] < pair[1]), "{came:?}");
    assert!(came.len() > 1000, "{}", came.len());
    assert_eq!(server.counts().websocket.handshakes, 1);
}

#[test]
fn a_client_with_a_full_socket_is_freed_at_once_260() {
    let server = server(|_| {});
    let host = connected(&server, |_| {});
    server.read(false);
    let data = format!("{:?}", "x".repeat(100_000));
    for _ in 0..100 {
        // Some find no room.
        let _ = host.client.publish("/p", data.as_bytes());
    }
    let begin = Instant::now();
    drop(host);
    assert!(begin.elapsed() < Duration::from_secs(3));
    server.read(true);
    server.wait(|it| it.sockets == 0).unwrap();
}

#[test]
fn drop_oldest_under_a_flood_counts_exactly_and_connects_go_on_254() {
    let server = server(|_| {});
    let mut host = connected(&server, |builder| {
        builder.set_events_capacity(100, 1 << 20).unwrap();
        builder.set_overflow(Overflow::DropOldest);
    });
    subscribed(&mut host, "/n");
    server.publish("/n", (0..20_000).map(Value::from));
    // All has come when it is counted, whether or not it was dropped.
    let since = Instant::now();
    while host.client.statistics().events_received < 20_000 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    host.until("message /n 19999", || None);
    let dropped = host
        .seen
        .iter()
        .filter_map(|it| it.strip_prefix("dropped "));
    let dropped: usize = dropped.map(|it| it.parse::<usize>().unwrap()).sum();
    let came = numbers(&host);
    assert!(came.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(came.len() + dropped, 20_000);
    assert!(dropped > 0);
    let id = host.client.publish("/p", b"1").unwrap();
    host.until(&format!("published {id} /p"), || None);
    assert!(host.errors.is_empty(), "{:?}", host.errors);
    assert_eq!(server.counts().websocket.handshakes, 1);
}

#[test]
fn a_slow_extension_gets_each_message_once_and_in_order_262() {
    let server = server(|_| {});
    let passed = Arc::new(AtomicUsize::new(0));
    let counted = passed.clone();
    let slow: Arc<Extend> = Arc::new(move |message| {
        if message.json().contains(r#""channel":"/n""#) {
            std::thread::sleep(Duration::from_micros(200));
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    let mut host = connected(&server, |builder| {
        builder.add_extension(Extension {
            outgoing: None,
            incoming: Some(slow),
        });
        builder.set_request_timeout(Duration::from_millis(500));
    });
    subscribed(&mut host, "/n");
    server.publish("/n", (0..5_000).map(Value::from));
    host.until("message /n 4999", || None);
    assert_eq!(numbers(&host), (0..5_000).collect::<Vec<_>>());
    assert_eq!(passed.load(Ordering::SeqCst), 5_000);
    assert!(host.errors.is_empty(), "{:?}", host.errors);
    assert_eq!(server.counts().websocket.handshakes, 1);
}
