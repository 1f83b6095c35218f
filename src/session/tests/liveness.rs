//! Whatever servers, networks and hosts do: the session goes on or ends, and
//! never storms. The invariants themselves are in `World`.

use std::collections::BTreeSet;

use super::*;
use crate::bayeux::ConnectionType::{LongPolling, WebSocket};

/// So many seeds each; .ci/run has more.
const ENDINGS: u64 = 1_000;
const RETURNS: u64 = 500;
const STEPS: u32 = 120;

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const ADVICE: [&str; 16] = [
    r#","advice":{"reconnect":"handshake","hosts":["c","b"]}"#,
    r#","advice":{"hosts":["d"],"multiple-clients":true,"interval":50}"#,
    "",
    "",
    "",
    r#","advice":{"reconnect":"retry"}"#,
    r#","advice":{"reconnect":"handshake"}"#,
    r#","advice":{"reconnect":"handshake","interval":0}"#,
    r#","advice":{"reconnect":"none"}"#,
    r#","advice":{"reconnect":"banana","interval":"x"}"#,
    r#","advice":{"interval":2000,"timeout":5000}"#,
    r#","advice":{"interval":0,"timeout":0,"maxInterval":3000}"#,
    r#","advice":{"interval":-1}"#,
    r#","advice":{"timeout":"30000","interval":"10"}"#,
    r#","advice":7"#,
    r#","advice":{"long-polling":{"reconnect":"handshake","interval":1}}"#,
];

const ERRORS: [&str; 13] = [
    r#","error":"503::Server is too busy""#,
    r#","error":"403::Organization total events daily limit exceeded""#,
    r#","error":"403:denied:subscribe_denied","ext":{"sfdc":{"failureReason":"503::busy"}}"#,
    r#","error":"403::Unknown client","ext":7"#,
    r#","error":[1],"ext":{"message":null}"#,
    "",
    r#","error":"402::session_unknown""#,
    r#","error":"400::The replayId {7} you provided was invalid.""#,
    r#","error":"403::denied""#,
    r#","error":"401::Authentication invalid""#,
    r#","error":"boom""#,
    r#","error":{}"#,
    r#","error":null"#,
];

const TYPES: [&str; 5] = [
    r#"["websocket","long-polling"]"#,
    r#"["long-polling","websocket"]"#,
    r#"["websocket","long-polling","callback-polling"]"#,
    r#"["long-polling"]"#,
    r#"["websocket"]"#,
];

const CHANNELS: [&str; 5] = ["/a", "/a?x", "/b", "/c/*", "/d"];

const KINDS: [ErrorKind; 6] = [
    ErrorKind::Timeout,
    ErrorKind::Tcp,
    ErrorKind::ConnectionLost,
    ErrorKind::Html,
    ErrorKind::NotJson,
    ErrorKind::TooLarge,
];

/// What a field is instead of what it should be.
const WRONG: [&str; 7] = ["null", "true", "7", r#""x""#, "{}", "[]", "[null]"];

/// What the host must believe of its subscriptions, by what it called and was
/// told.
#[derive(Default)]
struct Belief {
    subscribed: BTreeSet<String>,
    revoked: BTreeSet<(OperationId, String)>,
}

impl Belief {
    fn unsubscribes(&mut self, world: &World, channel: &str) {
        self.subscribed.remove(channel);
        let under_way = world.owed.keys().filter(|(_, it)| it == channel);
        self.revoked.extend(under_way.cloned());
    }

    fn is_told(&mut self, event: &str) {
        let words: Vec<&str> = event.split(' ').collect();
        let (id, channel) = match words[..] {
            ["Subscribed", id, channel] => (id, channel),
            ["Error", "subscribe", "Refused", id, channel] => (id, channel),
            ["Error", "subscribe", "Refused", channel] => ("0", channel),
            _ => return,
        };
        let ending = (id.parse().unwrap(), channel.to_owned());
        if self.revoked.contains(&ending) {
            return;
        }
        if words[0] == "Subscribed" {
            self.subscribed.insert(ending.1);
        } else if id == "0" {
            self.subscribed.remove(channel);
        }
        // Refused beside an earlier one, that one stays.
    }
}

/// A run of a session with everything that can happen, in an order that the
/// seed decides.
struct Run {
    world: World,
    random: Random,
    belief: Belief,
    /// Whether the server or the host may end it on the way.
    mortal: bool,
    operations: OperationId,
    /// Requests that ended, whose responses may yet come.
    past: Vec<Sent>,
    answered_refreshes: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let world = World::with(|it| {
            it.seed = seed;
            it.has_token_provider = random.one_in(2);
            it.restart = random.one_in(2);
            it.await_credentials = random.one_in(3);
            it.servers = ["a", "b"][..1 + random.below(2) as usize]
                .iter()
                .map(|it| it.to_string())
                .collect();
            it.follow_hosts = random.one_in(2);
            it.timesync = random.one_in(4);
            it.timestamp = random.pick(&[None, None, Some(Timestamp::Http), Some(Timestamp::Iso)]);
            it.request_capacity = random.pick(&[None, None, Some(300), Some(1_024)]);
            if random.one_in(8) {
                it.backoff_increment = 0;
            }
            it.acknowledgement = random.one_in(4);
            it.replay = random.one_in(2).then(|| ReplayPolicy {
                start: random.pick(&[-1, -2, 7]),
                fallback: random.pick(&[None, Some(-1), Some(-2)]),
            });
            it.has_handshake_provider = random.one_in(3);
            it.holds_requests = random.one_in(3);
            it.transports = match random.below(6) {
                0 => [WebSocket].into(),
                1 => [WebSocket, LongPolling].into(),
                2 => [LongPolling, WebSocket].into(),
                _ => [LongPolling].into(),
            };
            it.ping_interval = random.pick(&[0, 1_000, 20_000]);
            it.number_of_retries = match random.below(8) {
                0 => Some(0),
                1 => Some(3),
                _ => None,
            };
        });
        Self {
            world,
            random,
            belief: Belief::default(),
            mortal: true,
            operations: 0,
            past: Vec::new(),
            answered_refreshes: 0,
        }
    }

    fn storm(&mut self) {
        self.world.connect();
        for _ in 0..STEPS {
            if self.world.closed {
                break;
            }
            self.step();
            self.learn();
        }
    }

    fn learn(&mut self) {
        for event in self.world.events() {
            self.belief.is_told(&event);
        }
    }

    fn run_to_the_end(mut self) {
        self.storm();
        if !self.world.closed {
            // Every way to end ends.
            match self.random.below(3) {
                0 => self.world.abort(),
                1 => self.world.disconnect(0),
                _ => self.world.disconnect(3_000),
            }
            self.world.wait(3_000);
        }
        assert!(self.world.closed);
        for sent in std::mem::take(&mut self.past) {
            self.answer(&sent);
        }
        self.world.credentials(Ok(()));
        for question in std::mem::take(&mut self.world.questions) {
            self.world.handshake_fields(&question, Ok("{}"));
        }
        self.world.wait(1_000_000);
    }

    /// After the storm the server has restarted and is sound: the session is
    /// back, with what the host believes to be subscribed; how many these are.
    fn calm_down(mut self) -> usize {
        self.mortal = false;
        let configuration = Arc::make_mut(&mut self.world.session.configuration);
        configuration.number_of_retries = None;
        self.storm();
        self.world.room(true);
        self.world.reads(true);
        let mut sessions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for _ in 0..1_000 {
            self.learn();
            let client_id = self.world.session.client_id.clone();
            let [queued, pending, _] = self.world.session.commands.counts();
            let planned = self.world.session.commands.subscriptions.next_renewal();
            let is_done = queued + pending == 0 && planned.is_none();
            if self.world.state() == State::Connected && is_done {
                if let Some(there) = client_id.and_then(|it| sessions.get(&it)) {
                    assert_eq!(*there, self.belief.subscribed);
                    return there.len();
                }
            }
            if self.world.refreshes > self.answered_refreshes {
                self.answered_refreshes = self.world.refreshes;
                self.world.credentials(Ok(()));
            }
            for question in std::mem::take(&mut self.world.questions) {
                self.world.handshake_fields(&question, Ok(""));
            }
            if self.world.opening.is_some() {
                self.world.opens();
                continue;
            }
            self.world.takes_all();
            let Some(sent) = self.world.open.values().next().cloned() else {
                self.world.next_timer();
                continue;
            };
            if sent.endpoint == Endpoint::Handshake {
                let client_id = format!("sound{}", sent.id.0);
                self.world.answer(&sent, &handshake_ok(&client_id, ""));
                sessions.insert(client_id, BTreeSet::new());
            } else if let Some(there) = sessions.get_mut(sent.client_id()) {
                for message in &sent.messages {
                    let channel = message["subscription"].as_str().map(str::to_owned);
                    match (message["channel"].as_str(), channel) {
                        (Some(meta::SUBSCRIBE), Some(channel)) => there.insert(channel),
                        (Some(meta::UNSUBSCRIBE), Some(channel)) => there.remove(&channel),
                        _ => false,
                    };
                }
                self.world.accept(&sent);
            } else {
                self.world.refuse(
                    &sent,
                    "402::session_unknown",
                    r#"{"reconnect":"handshake"}"#,
                );
            }
            // Over a socket there are many under way, which all have their time.
            let pause = 500 / (self.world.open.len() as u64 + 1);
            self.world.wait(pause);
        }
        panic!("it does not come back");
    }

    fn step(&mut self) {
        let open: Vec<Sent> = self.world.open.values().cloned().collect();
        self.world.inbox.clear();
        if self.random.one_in(4) {
            self.host_code(&open);
            if self.world.closed {
                return;
            }
        }
        if self.random.one_in(4) {
            self.socket();
            if self.world.closed {
                return;
            }
        }
        match self.random.below(100) {
            0..4 if !open.is_empty() => {
                let index = self.random.below(open.len() as u64) as usize;
                self.trickle(&open[index]);
            }
            0..45 if !open.is_empty() => {
                let index = self.random.below(open.len() as u64) as usize;
                self.answer(&open[index]);
                self.past.push(open[index].clone());
            }
            0..52 if !open.is_empty() => {
                let index = self.random.below(open.len() as u64) as usize;
                self.fail(&open[index]);
                self.past.push(open[index].clone());
            }
            45..56 if !self.past.is_empty() => {
                let index = self.random.below(self.past.len() as u64) as usize;
                let late = self.past[index].clone();
                self.answer(&late);
            }
            0..75 => {
                // Silence, to the next timer or past it.
                if self.random.one_in(10) {
                    self.world.now += self.random.below(200_000);
                }
                self.world.next_timer();
            }
            75..80 => {
                let time = self.random.below(3_000);
                self.world.wait(time);
            }
            80..92 => self.command(),
            92..96 => {
                let room = !self.world.session.room || self.random.one_in(4);
                self.world.room(!self.world.session.room || room);
            }
            96..98 if self.world.refreshes > self.answered_refreshes => {
                self.answered_refreshes = self.world.refreshes;
                match self.random.one_in(8) {
                    true => self.world.unasked("no thread"),
                    false => {
                        let result = self.random.pick(&[Ok(()), Ok(()), Err("no token")]);
                        self.world.credentials(result);
                    }
                }
            }
            96..98 if self.random.one_in(2) => self.world.command(Command::NewCredentials),
            96..98 => self.world.room(self.random.one_in(2)),
            _ if self.random.one_in(12) && self.mortal => {
                let within = self.random.below(20_000);
                self.world.disconnect(within);
            }
            _ => self.world.connect(),
        }
    }

    /// Extensions, in whichever order; and the handshake provider.
    fn host_code(&mut self, open: &[Sent]) {
        if !self.world.questions.is_empty() && self.random.one_in(2) {
            let question = self.world.questions.remove(0);
            let answer = self.random.pick(&[
                Ok(""),
                Ok(r#"{"ext":{"answer":1},"more":2}"#),
                Ok(r#"{"id":"9","ext":7}"#),
                Err("it returned -5"),
            ]);
            self.world.handshake_fields(&question, answer);
        } else if !open.is_empty() {
            let index = self.random.below(open.len() as u64) as usize;
            let sent = &open[index];
            match self.random.below(3) {
                0 => self.world.lets_go(sent),
                1 if sent.socket.is_none() => self.world.arrives(sent),
                1 => {}
                _ => {
                    let places = 0..sent.messages.len();
                    let places: Vec<_> = places.filter(|_| self.random.one_in(3)).collect();
                    self.world.drops(sent, &places);
                }
            }
        }
    }

    /// What sockets do: they open or do not, end, fall silent, are slow or full.
    fn socket(&mut self) {
        if self.world.opening.is_some() {
            let kind = self.random.pick(&KINDS);
            let mut failure = Failure::new(kind, "it did not open");
            if self.random.one_in(6) {
                failure.retry_after = Some(self.random.below(5_000));
            }
            match self.random.below(6) {
                0 => self.world.unopened(&failure, true),
                1 => self.world.unopened(&failure, false),
                2 => {
                    let failure = Failure::new(ErrorKind::Unauthorized, "HTTP 401");
                    self.world.unopened(&failure, false);
                }
                _ => {
                    self.world.opens();
                }
            }
            return;
        }
        if self.world.socket.is_none() {
            return;
        }
        match self.random.below(8) {
            0 => {
                let kind = self.random.pick(&KINDS);
                self.world.socket_ends(&Failure::new(kind, "it ended"));
            }
            1 => {
                let bytes = self.random.below(1_000_000);
                self.world.heard(bytes);
            }
            2 => self.world.reads(false),
            3 => self.world.reads(true),
            4 => self
                .world
                .frame(r#"[{"channel":"/a","data":3},{"channel":"/meta/connect"}]"#),
            _ => self.world.takes_all(),
        }
    }

    fn command(&mut self) {
        self.operations += 1;
        let id = self.operations;
        let first = self.random.pick(&CHANNELS);
        let second = self.random.pick(&CHANNELS);
        let channels: &[&str] = match self.random.one_in(2) {
            true => &[first],
            false => &[first, second],
        };
        let data = || serde_json::from_str("1").unwrap();
        match self.random.below(7) {
            0 | 1 => {
                if self.world.session.replay.is_wanted() && self.random.one_in(3) {
                    let unless_known = self.random.one_in(2);
                    self.world.replay_from("/a", 5, unless_known);
                }
                self.world.subscribe(id, channels);
            }
            2 => {
                for channel in channels {
                    self.belief.unsubscribes(&self.world, channel);
                }
                self.world.unsubscribe(id, channels);
            }
            4 => {
                let deadline = self.world.now + self.random.below(60_000);
                self.world.command(Command::PublishWithRetries {
                    id,
                    channel: "/y".into(),
                    data: serde_json::from_str("2").unwrap(),
                    attempts: self.random.pick(&[None, Some(1), Some(3)]),
                    deadline: self.random.pick(&[None, Some(deadline)]),
                });
            }
            5 => self.world.command(Command::Call {
                id,
                channel: "/service/x".to_owned(),
                data: data(),
                deadline: self.world.now + 1 + self.random.below(20_000),
            }),
            6 => {
                self.operations += 1;
                let publish = |id| Command::Publish {
                    id,
                    channel: "/x".to_owned(),
                    data: data(),
                };
                let channels = channels.iter().map(|it| (*it).to_owned()).collect();
                self.world.command(Command::Batch(vec![
                    publish(id),
                    Command::Subscribe {
                        id: self.operations,
                        channels,
                    },
                ]));
            }
            _ => self.world.publish(id, "/x", "1"),
        }
    }

    fn fail(&mut self, sent: &Sent) {
        if sent.socket.is_some() {
            return;
        }
        match self.random.below(3) {
            0 => {
                let kind = self.random.pick(&KINDS);
                self.world.fail(sent, kind);
            }
            1 => {
                let status = self
                    .random
                    .pick(&[400, 401, 403, 404, 410, 413, 429, 500, 503]);
                self.world.http(sent, status);
            }
            _ => {
                let mut failure = Failure::new(ErrorKind::HttpStatus, "busy");
                let wait = self.random.below(5_000);
                failure.retry_after = Some(match self.mortal && self.random.one_in(20) {
                    true => u64::MAX - wait,
                    false => wait,
                });
                self.world.fail_with(sent, &failure);
            }
        }
    }

    /// The field, missing or wrong.
    fn wrong(&mut self, field: &str) -> String {
        match self.random.one_in(4) {
            true => String::new(),
            false => format!(r#","{field}":{}"#, self.random.pick(&WRONG)),
        }
    }

    /// A response that comes in pieces, as slowly as it likes.
    fn trickle(&mut self, sent: &Sent) {
        if sent.socket.is_some() {
            return;
        }
        let since = sent.at + self.random.below(20_000);
        let bytes = self.random.pick(&[1, 500, 5_000, 100_000, u64::MAX]);
        for piece in 1..=self.random.below(6) {
            let time = self.random.below(2_500);
            self.world.wait(time);
            self.world.progress(sent, since, bytes / 6 * piece);
        }
    }

    fn advice(&mut self) -> &'static str {
        let advice = self.random.pick(&ADVICE);
        let ends = advice.contains("none") || advice.contains("-1");
        match ends && !self.mortal {
            true => "",
            false => advice,
        }
    }

    /// What the server speaks; in the end of all lives something in common.
    fn types(&mut self) -> &'static str {
        match self.mortal {
            true => self.random.pick(&TYPES),
            false => TYPES[0],
        }
    }

    /// A response to this request: often right, in some way wrong otherwise.
    fn answer(&mut self, sent: &Sent) {
        let mut replies = Vec::new();
        for message in &sent.messages {
            let channel = message["channel"].as_str().unwrap();
            let own = message["id"].as_str().unwrap();
            let id = match self.random.below(12) {
                0 => format!(r#","id":"{}""#, self.random.below(60)),
                1 => String::new(),
                2 => format!(r#","id":{own}"#),
                3 => r#","id":null"#.to_owned(),
                _ => format!(r#","id":"{own}""#),
            };
            let subscription = match message["subscription"].as_str() {
                Some(it) if self.random.one_in(3) => format!(r#","subscription":["{it}"]"#),
                Some(_) if self.random.one_in(4) => self.wrong("subscription"),
                Some(it) => format!(r#","subscription":"{it}""#),
                None => String::new(),
            };
            let outcome = match self.random.below(6) {
                0 => format!(
                    r#","successful":false{}{}"#,
                    self.random.pick(&ERRORS),
                    self.advice()
                ),
                1 if self.random.one_in(3) => self.wrong("successful"),
                1 => format!(r#","successful":true{}"#, self.advice()),
                _ => r#","successful":true"#.to_owned(),
            };
            // The answer of a service, in time or not; and data where none belongs.
            let often = if channel.starts_with("/service/") {
                2
            } else {
                10
            };
            let outcome = match self.random.one_in(often) {
                true => format!(r#"{outcome},"data":1"#),
                false => outcome,
            };
            let outcome = match self.random.below(12) {
                0 if channel != meta::HANDSHAKE => outcome + &self.wrong("clientId"),
                1 if !outcome.contains("advice") => outcome + &self.wrong("advice"),
                2 if !outcome.contains("ext") && channel != meta::HANDSHAKE => {
                    outcome + &self.wrong("ext")
                }
                _ => outcome,
            };
            let session = match channel {
                "/meta/handshake" if !self.random.one_in(8) => format!(
                    r#","clientId":"c{}","supportedConnectionTypes":{}{}"#,
                    sent.id.0,
                    self.types(),
                    self.random.pick(&[
                        "",
                        r#","ext":{"replay":true}"#,
                        r#","x-messages":1"#,
                        r#","x-messages":"3","ext":{"replay":true}"#,
                    ])
                ),
                _ => String::new(),
            };
            let reply = format!(r#"{{"channel":"{channel}"{id}{subscription}{outcome}{session}}}"#);
            let copies = self.random.pick(&[1, 1, 1, 1, 1, 1, 1, 2, 0]);
            replies.extend(std::iter::repeat_n(reply, copies));
        }
        // What earlier requests asked for, in whichever session.
        for _ in 0..self.random.below(3) {
            if self.past.is_empty() {
                break;
            }
            let index = self.random.below(self.past.len() as u64) as usize;
            for message in &self.past[index].messages {
                let channel = message["channel"].as_str().unwrap();
                if channel == meta::HANDSHAKE && !self.random.one_in(4) {
                    continue;
                }
                let subscription = match message["subscription"].as_str() {
                    Some(it) => format!(r#","subscription":"{it}""#),
                    None => String::new(),
                };
                let successful = !self.random.one_in(3);
                replies.push(format!(
                    r#"{{"channel":"{channel}","id":{}{subscription},"successful":{successful}}}"#,
                    message["id"]
                ));
            }
        }
        for _ in 0..self.random.below(3) {
            let ends = self.mortal || self.world.session.configuration.restart;
            let extra = match self.random.below(26) {
                0 if ends => r#"{"channel":"/meta/disconnect","successful":true}"#,
                24 if ends => r#"{"channel":"/meta/disconnect","error":"403::gone","ext":{}}"#,
                25 => r#"{"channel":"/x","successful":true,"data":2}"#,
                1 => r#"{"channel":7}"#,
                2 => r#"{"data":1}"#,
                3 => "null",
                4 => "[[]]",
                5 => r#"{"channel":"/meta/connect","successful":false}"#,
                6 => r#"{"channel":"/meta/handshake","id":"1","successful":true}"#,
                7 => r#"{"channel":"/meta/subscribe","id":"5","successful":true}"#,
                8 => r#"{"channel":"/x","id":"6","successful":false}"#,
                9..12 => r#"{"channel":"/a","data":{"event":{"replayId":9}}}"#,
                _ => r#"{"channel":"/a","data":{"n":1},"id":"7"}"#,
            };
            let at = self.random.below(replies.len() as u64 + 1) as usize;
            replies.insert(at, extra.to_owned());
        }
        let text = format!("[{}]", replies.join(","));
        self.world.answer(sent, &text);
    }
}

/// Prints the seed of a run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {0} fails; replay: COMETD_SEED={0} cargo test --lib session::tests::liveness",
                self.0
            );
        }
    }
}

pub(super) fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is no number: {text}"),
    }
}

/// So many seeds, or COMETD_SEEDS; or only COMETD_SEED, with all that happens in
/// it.
fn for_each_seed(count: u64, mut run: impl FnMut(Run)) {
    let seed = number_from_environment("COMETD_SEED");
    let replay = seed.is_some();
    let seeds = match seed {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_environment("COMETD_SEEDS").unwrap_or(count),
    };
    println!("seeds {seeds:?}");
    for seed in seeds {
        let _seed = Seed(seed);
        let mut one = Run::new(seed);
        one.world.verbose = replay;
        run(one);
    }
}

#[test]
fn whatever_happens_it_goes_on_or_ends() {
    for_each_seed(ENDINGS, Run::run_to_the_end);
}

#[test]
fn after_any_storm_it_comes_back_with_its_subscriptions() {
    let mut subscriptions = 0;
    for_each_seed(RETURNS, |run| subscriptions += run.calm_down());
    println!("they came back with {subscriptions} subscriptions");
}
