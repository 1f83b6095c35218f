//! No server can make a client storm it, whatever it advises and however it
//! answers: in every minute there are at most so many handshakes and requests,
//! unless events drive the rate.

use super::*;

/// What the manual says: requests in any minute that brought no events. The
/// most come when a server answers each connect just so late that it can be
/// taken for a hold.
const REQUESTS_A_MINUTE: usize = 1_250;

/// How the server behaves towards what is not a handshake.
#[derive(Debug, Clone, Copy)]
enum Server {
    /// It accepts everything, without events.
    Content,
    /// It refuses every connect.
    Refusing,
    /// It knows no session for long: 402, whatever it advises.
    Forgetful,
    /// It refuses every subscription, as of a lost session.
    Grudging,
    /// Its responses hold no reply.
    Mute,
    /// It answers connects with a page of this status.
    Status(u16),
    /// It ends each session by itself.
    Ending,
    /// It refuses handshakes.
    Closed,
}

const SERVERS: [Server; 9] = [
    Server::Content,
    Server::Refusing,
    Server::Forgetful,
    Server::Grudging,
    Server::Mute,
    Server::Status(503),
    Server::Status(404),
    Server::Ending,
    Server::Closed,
];

/// Of how many milliseconds each answer takes.
const LATENCIES: [Millis; 4] = [0, 1, 49, 50];

fn every_advice() -> Vec<String> {
    let mut all = vec![String::new()];
    for reconnect in [
        "",
        r#""reconnect":"retry","#,
        r#""reconnect":"handshake","#,
        r#""reconnect":"none","#,
        r#""reconnect":"banana","#,
    ] {
        for interval in [
            "",
            r#""interval":0,"#,
            r#""interval":-1,"#,
            r#""interval":1,"#,
        ] {
            for rest in [
                "",
                r#""timeout":0,"#,
                r#""timeout":0,"maxInterval":0,"#,
                r#""maxInterval":1,"hosts":["a","b"],"#,
            ] {
                let fields = format!("{reconnect}{interval}{rest}");
                let fields = fields.trim_end_matches(',');
                all.push(format!(r#","advice":{{{fields}}}"#));
            }
        }
    }
    all
}

fn answer(world: &mut World, sent: &Sent, server: Server, advice: &str) {
    let session_lost = format!(r#","error":"402::session_unknown"{advice}"#);
    let successful = format!(r#""successful":true{advice}"#);
    match (sent.endpoint, server) {
        (Endpoint::Handshake, Server::Closed) => {
            world.answer(sent, &handshake_refused(advice));
        }
        (Endpoint::Handshake, _) => {
            world.answer(sent, &handshake_ok("c", advice));
        }
        (_, Server::Mute) => world.answer(sent, "[]"),
        (Endpoint::Connect, Server::Status(status)) => world.http(sent, status),
        (Endpoint::Connect, Server::Refusing) => {
            world.answer(sent, &connect_refused(advice));
        }
        (Endpoint::Connect, Server::Forgetful) => {
            world.answer(sent, &connect_refused(&session_lost));
        }
        (Endpoint::Connect, Server::Ending) => world.answer(
            sent,
            &format!(r#"[{{"channel":"/meta/disconnect","successful":true{advice}}}]"#),
        ),
        (Endpoint::Messages, Server::Grudging | Server::Forgetful) => {
            let text = replies(sent, &format!(r#""successful":false{session_lost}"#));
            world.answer(sent, &text);
        }
        _ => {
            let text = replies(sent, &successful);
            world.answer(sent, &text);
        }
    }
}

/// The most requests in any of the first three minutes.
fn most_in_a_minute(server: Server, advice: &str, latency: Millis) -> usize {
    let mut world = World::with(|it| {
        it.restart = true;
        it.servers = vec!["a".into(), "b".into()];
        it.follow_hosts = true;
        it.acknowledgement = true;
    });
    world.subscribe(1, &["/a"]);
    world.subscribe(2, &["/b"]);
    world.connect();
    let end = world.now + 180_000;
    let (mut times, mut most) = (VecDeque::new(), 0);
    while world.now < end && !world.closed {
        let Some(sent) = world.inbox.pop_front() else {
            assert!(world.next_timer(), "it stands still");
            continue;
        };
        if !world.open.contains_key(&sent.id) {
            continue;
        }
        while times.front().is_some_and(|at| at + 60_000 <= sent.at) {
            times.pop_front();
        }
        times.push_back(sent.at);
        most = most.max(times.len());
        world.wait(latency);
        if world.open.contains_key(&sent.id) {
            answer(&mut world, &sent, server, advice);
        }
        world.told.clear();
        world.errors.clear();
    }
    most
}

#[test]
fn no_server_makes_a_client_storm_it_38_57() {
    // That there are at most twelve handshakes in a minute, each world checks.
    let mut most = 0;
    for (turn, advice) in every_advice().iter().enumerate() {
        for (place, server) in SERVERS.into_iter().enumerate() {
            for (index, latency) in LATENCIES.into_iter().enumerate() {
                // In a debug build each server and advice with one latency only.
                if cfg!(debug_assertions) && (turn + place) % LATENCIES.len() != index {
                    continue;
                }
                let requests = most_in_a_minute(server, advice, latency);
                assert!(
                    requests <= REQUESTS_A_MINUTE,
                    "{requests} requests in a minute: {server:?}, {advice}, {latency} ms"
                );
                most = most.max(requests);
            }
        }
    }
    assert!(
        most > REQUESTS_A_MINUTE / 2,
        "the bound is far from the worst: {most}"
    );
}
