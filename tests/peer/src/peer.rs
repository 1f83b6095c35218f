//! Plays a script.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answer::Answer;
use crate::expect::{Expect, On};
use crate::pattern::Variables;
use crate::script::{Script, Step};
use crate::server::{lock, Connection, Event, Request, Server};
use crate::socket_step::SocketStep;
use crate::template::{self, Context};
use crate::upgrade::Upgrade;
use crate::websocket::Frame;

const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// How far the script is.
#[derive(Default)]
struct Progress {
    reached: BTreeSet<String>,
    /// What the script may go on from.
    released: BTreeSet<String>,
    dropped: bool,
    /// How many connections brought requests.
    connections: usize,
    /// The script has ended, well or not.
    outcome: Option<Result<(), String>>,
}

#[derive(Default)]
struct Board {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Board {
    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
        self.changed.notify_all();
    }
}

/// A script that is being played on a thread of its own.
pub struct Peer {
    port: u16,
    board: Arc<Board>,
    events: Arc<Mutex<Sender<Event>>>,
}

impl Peer {
    /// Plays a script on a free port of 127.0.0.1.
    pub fn start(script: Script) -> io::Result<Self> {
        Self::start_on(script, 0)
    }

    pub fn start_on(script: Script, port: u16) -> io::Result<Self> {
        let (events, received) = channel();
        let events = Arc::new(Mutex::new(events));
        let sink = events.clone();
        let server = Server::start(port, move |event| {
            let _ = lock(&sink).send(event);
        })?;
        let port = server.port();
        let board = Arc::new(Board::default());
        let mut player = Player {
            server,
            events: received,
            waiting: VecDeque::new(),
            controls: BTreeMap::new(),
            gone: BTreeSet::new(),
            seen: BTreeSet::new(),
            labels: BTreeMap::new(),
            last: None,
            variables: Variables::new(),
            clients: 0,
            base: None,
            limit: DEFAULT_LIMIT,
            acted: Instant::now(),
            history: Vec::new(),
            sending: Vec::new(),
            board: board.clone(),
        };
        thread::Builder::new().name("peer".into()).spawn(move || {
            let outcome = player.play(&script);
            let board = player.board.clone();
            let failed = outcome.is_err();
            board.update(|it| it.outcome = Some(outcome));
            if !failed {
                // What the script left open stays open, until the test ends.
                while player.events.recv().is_ok_and(|it| !is_end(&it)) {}
            }
        })?;
        Ok(Self {
            port,
            board,
            events,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Waits until the request with this label has come, or the mark is reached.
    pub fn wait_for(&self, label: &str) -> Result<(), String> {
        let mut progress = lock(&self.board.progress);
        loop {
            if progress.reached.contains(label) {
                return Ok(());
            }
            match &progress.outcome {
                Some(Err(why)) => return Err(why.clone()),
                Some(Ok(())) => return Err(format!("no request was called {label}")),
                None => {}
            }
            progress = self
                .board
                .changed
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the script go on behind its `await` of this name, now or when it
    /// gets there.
    pub fn release(&self, name: &str) {
        self.board.update(|it| {
            it.released.insert(name.to_owned());
        });
    }

    /// How many connections have brought requests so far.
    pub fn connections(&self) -> usize {
        lock(&self.board.progress).connections
    }

    /// Waits for the end of the script: what went wrong, if anything did.
    pub fn wait(&self) -> Result<(), String> {
        let mut progress = lock(&self.board.progress);
        loop {
            if let Some(outcome) = &progress.outcome {
                return outcome.clone();
            }
            progress = self
                .board
                .changed
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What went wrong so far.
    pub fn failure(&self) -> Option<String> {
        lock(&self.board.progress)
            .outcome
            .clone()
            .and_then(Result::err)
    }
}

/// Tells the player's thread that nobody needs its connections any more.
const END: usize = 0;

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Gone(END))
}

/// Plays a script to its end on the port, which is told as soon as it is open.
pub fn play(script: Script, port: u16, ready: impl FnOnce(u16)) -> io::Result<Result<(), String>> {
    let peer = Peer::start_on(script, port)?;
    ready(peer.port());
    Ok(peer.wait())
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.board.update(|it| it.dropped = true);
        // The player's thread owns the server and closes it.
        let _ = lock(&self.events).send(Event::Gone(END));
    }
}

/// A request that was expected and came.
#[derive(Clone)]
struct Taken {
    connection: Arc<Connection>,
    /// The Sec-WebSocket-Key of an upgrade.
    key: String,
    messages: Vec<Value>,
}

struct Player {
    server: Server,
    events: Receiver<Event>,
    waiting: VecDeque<(Request, Arc<Connection>)>,
    /// Pings, pongs and close frames, by connection.
    controls: BTreeMap<usize, VecDeque<Frame>>,
    gone: BTreeSet<usize>,
    /// Connections that carried an expected request.
    seen: BTreeSet<usize>,
    labels: BTreeMap<String, Taken>,
    last: Option<Taken>,
    variables: Variables,
    clients: usize,
    base: Option<String>,
    limit: Duration,
    /// When the peer was about to do something last.
    acted: Instant,
    history: Vec<String>,
    sending: Vec<JoinHandle<()>>,
    board: Arc<Board>,
}

impl Player {
    fn play(&mut self, script: &Script) -> Result<(), String> {
        for (line, step) in &script.steps {
            self.step(step)
                .map_err(|why| self.report(&format!("line {line}: {step}"), &why))?;
        }
        for sending in self.sending.drain(..) {
            let _ = sending.join();
        }
        while let Ok(event) = self.events.try_recv() {
            self.note(event)
                .map_err(|why| self.report("the end of the script", &why))?;
        }
        if let Some((request, _)) = self.waiting.front() {
            let why = format!("a request that is not in the script:\n{}", shown(request));
            return Err(self.report("the end of the script", &why));
        }
        Ok(())
    }

    fn report(&self, step: &str, why: &str) -> String {
        let mut report = format!("{step}\n{}", indented(why));
        if !self.history.is_empty() {
            report.push_str("\nbefore it:");
            let skipped = self.history.len().saturating_sub(12);
            if skipped > 0 {
                let _ = write!(report, "\n    … {skipped} more");
            }
            for line in self.history.iter().skip(skipped) {
                let _ = write!(report, "\n    {line}");
            }
        }
        report
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        // The client may answer before the action has come back.
        let begin = Instant::now();
        match step {
            Step::Base(path) => self.base = Some(path.clone()),
            Step::Limit(limit) => self.limit = *limit,
            Step::Expect(group) => return self.expect(group),
            Step::Answer(answer) => return self.answer(answer),
            Step::Send(label, bytes) => {
                let taken = self.taken(label.as_deref())?;
                let _ = taken.connection.write(bytes);
                self.acted(step, begin);
            }
            Step::Socket(on_socket) => {
                self.socket_step(on_socket)?;
                self.acted(step, begin);
            }
            Step::Close(label) => {
                self.taken(label.as_deref())?.connection.close();
                self.acted(step, begin);
            }
            Step::HalfClose(label) => {
                self.taken(label.as_deref())?.connection.half_close();
                self.acted(step, begin);
            }
            Step::Reset(label) => {
                self.taken(label.as_deref())?.connection.reset();
                self.acted(step, begin);
            }
            Step::Closed(label) => {
                let number = self.taken(label.as_deref())?.connection.number;
                let deadline = Instant::now() + self.limit;
                while !self.gone.contains(&number) {
                    if !self.receive(deadline)? {
                        return Err(format!(
                            "connection {number} is still open after {:?}",
                            self.limit
                        ));
                    }
                }
            }
            Step::Quiet(time) => {
                let deadline = Instant::now() + *time;
                while self.waiting.is_empty() && self.receive(deadline)? {}
                if let Some((request, _)) = self.waiting.front() {
                    return Err(format!("a request came:\n{}", shown(request)));
                }
            }
            Step::Pause(time) => thread::sleep(*time),
            Step::Mark(name) => self.reached(name),
            Step::Await(name) => self.released(name)?,
            Step::Down => {
                self.server.down();
                self.acted(step, begin);
            }
            Step::Up => {
                self.server
                    .up()
                    .map_err(|error| format!("the port cannot be opened again: {error}"))?;
                self.acted(step, begin);
            }
        }
        Ok(())
    }

    fn socket_step(&mut self, step: &SocketStep) -> Result<(), String> {
        match step {
            SocketStep::Upgrade(upgrade) => {
                self.upgrade(upgrade)?;
            }
            SocketStep::Text(label, size, text) => {
                let taken = self.taken(label.as_deref())?;
                let text = self.expanded(taken, text)?;
                let frames = match size {
                    0 => vec![Frame::text(text)],
                    size => Frame::fragments(&text, *size),
                };
                let bytes: Vec<_> = frames.iter().flat_map(Frame::to_bytes).collect();
                let _ = taken.connection.write(&bytes);
            }
            SocketStep::Frame(label, frame) => {
                let _ = self.taken(label.as_deref())?.connection.frame(frame);
            }
            SocketStep::Swallow(label) => self.taken(label.as_deref())?.connection.swallow(true),
            SocketStep::Read(label, reads) => self.taken(label.as_deref())?.connection.read(*reads),
            SocketStep::Cut(label, bytes, how) => {
                self.taken(label.as_deref())?
                    .connection
                    .cut_after(*bytes, *how);
            }
            SocketStep::Control(label, opcode, code) => {
                self.control(label.as_deref(), *opcode, *code)?;
            }
        }
        Ok(())
    }

    fn upgrade(&self, upgrade: &Upgrade) -> Result<(), String> {
        let taken = self.taken(upgrade.to.as_deref())?;
        if taken.key.is_empty() {
            return Err("the request is for no WebSocket".into());
        }
        let _ = taken.connection.upgrade(&upgrade.render(&taken.key));
        Ok(())
    }

    /// Waits for a control frame; others of its connection are passed over.
    fn control(
        &mut self,
        label: Option<&str>,
        opcode: u8,
        code: Option<u16>,
    ) -> Result<(), String> {
        let number = self.taken(label)?.connection.number;
        let deadline = Instant::now() + self.limit;
        loop {
            let frames = self.controls.entry(number).or_default();
            while let Some(frame) = frames.pop_front() {
                if frame.opcode != opcode {
                    continue;
                }
                if code.is_some() && frame.code() != code {
                    return Err(format!("the client closed with {:?}", frame.code()));
                }
                return Ok(());
            }
            if self.gone.contains(&number) {
                return Err(format!("connection {number} was closed without it"));
            }
            if !self.receive(deadline)? {
                return Err(format!("it did not come within {:?}", self.limit));
            }
        }
    }

    fn expanded(&self, taken: &Taken, text: &str) -> Result<String, String> {
        template::expand(
            text,
            &Context {
                messages: &taken.messages,
                variables: &self.variables,
            },
        )
    }

    /// Waits until the program lets it go on.
    fn released(&self, name: &str) -> Result<(), String> {
        let progress = lock(&self.board.progress);
        let (progress, _) = self
            .board
            .changed
            .wait_timeout_while(progress, self.limit, |it| {
                !it.dropped && !it.released.contains(name)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match progress.released.contains(name) {
            true => Ok(()),
            false => Err(format!("{name} was not released within {:?}", self.limit)),
        }
    }

    fn acted(&mut self, step: &Step, begin: Instant) {
        self.acted = begin;
        self.history.push(step.to_string());
    }

    /// Takes one event in; false when the time is up.
    fn receive(&mut self, deadline: Instant) -> Result<bool, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok(event) => self.note(event).map(|()| true),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(false),
        }
    }

    fn note(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Request(request, connection) => self.waiting.push_back((request, connection)),
            Event::Control(frame, connection) => {
                let frames = self.controls.entry(connection.number).or_default();
                frames.push_back(frame);
            }
            Event::Gone(END) => return Err("the peer was dropped".into()),
            Event::Gone(number) => {
                self.gone.insert(number);
            }
            Event::Garbage(number, why) => {
                return Err(format!("connection {number}: {why}"));
            }
        }
        Ok(())
    }

    fn taken(&self, label: Option<&str>) -> Result<&Taken, String> {
        match label {
            Some(label) => self
                .labels
                .get(label)
                .ok_or_else(|| format!("no request was called {label}")),
            None => self
                .last
                .as_ref()
                .ok_or_else(|| "no request has come yet".into()),
        }
    }

    fn expect(&mut self, group: &[Expect]) -> Result<(), String> {
        let mut open: Vec<&Expect> = group.iter().collect();
        let deadline = Instant::now() + self.limit;
        while !open.is_empty() {
            while self.waiting.is_empty() {
                if !self.receive(deadline)? {
                    return Err(format!("nothing came within {:?}", self.limit));
                }
            }
            let Some((request, connection)) = self.waiting.pop_front() else {
                continue;
            };
            let mut closest: Option<(usize, &Expect, Vec<String>)> = None;
            let mut matched = None;
            for (index, expect) in open.iter().enumerate() {
                let mut variables = self.variables.clone();
                let mut differences =
                    expect.compare(self.base.as_deref(), &request, &mut variables);
                // Another kind of request differs more than its parts tell.
                let weight = differences.len()
                    + usize::from(differences.iter().any(|it| it.contains(".channel"))) * 100;
                self.compare_circumstances(expect, &request, &mut differences);
                if differences.is_empty() {
                    matched = Some((index, variables));
                    break;
                }
                if closest.as_ref().is_none_or(|(least, ..)| weight < *least) {
                    closest = Some((weight, expect, differences));
                }
            }
            let Some((index, variables)) = matched else {
                let (_, expect, differences) = closest.ok_or("nothing was expected")?;
                return Err(format!(
                    "came:\n{}\nwhich differs from \"{expect}\":\n{}",
                    shown(&request),
                    indented(&differences.join("\n"))
                ));
            };
            let expect = open.remove(index);
            self.variables = variables;
            self.take(expect, &request, connection);
        }
        Ok(())
    }

    fn compare_circumstances(
        &self,
        expect: &Expect,
        request: &Request,
        differences: &mut Vec<String>,
    ) {
        let number = request.connection;
        let used = self.seen.contains(&number);
        match &expect.on {
            Some(On::New) if used => {
                differences.push(format!("it came on connection {number}, which was used"));
            }
            Some(On::Used) if !used => {
                differences.push(format!("it came on connection {number}, which is new"));
            }
            Some(On::Same(label)) => {
                let wanted = self.labels.get(label).map(|it| it.connection.number);
                if wanted != Some(number) {
                    differences.push(format!("it came on connection {number}, not on {label}'s"));
                }
            }
            _ => {}
        }
        if let Some((least, most)) = expect.after {
            let after = request.arrived.saturating_duration_since(self.acted);
            // Timers are exact to the millisecond, which is nobody's fault.
            if after + Duration::from_millis(1) < least || most.is_some_and(|most| after > most) {
                let most = most.map_or(String::new(), |it| it.as_millis().to_string());
                differences.push(format!(
                    "it came after {} ms, not {}..{most}",
                    after.as_millis(),
                    least.as_millis()
                ));
            }
        }
    }

    fn take(&mut self, expect: &Expect, request: &Request, connection: Arc<Connection>) {
        self.history.push(format!(
            "{expect}   (connection {}: {})",
            request.connection,
            shortened(&request.body_text(), 200)
        ));
        self.seen.insert(request.connection);
        self.board.update(|it| it.connections = self.seen.len());
        let messages = match serde_json::from_slice(&request.body) {
            Ok(Value::Array(messages)) => messages,
            Ok(message) => vec![message],
            Err(_) => Vec::new(),
        };
        let taken = Taken {
            connection,
            key: request
                .header("sec-websocket-key")
                .next()
                .unwrap_or_default()
                .to_owned(),
            messages,
        };
        self.last = Some(taken.clone());
        if let Some(label) = &expect.label {
            self.labels.insert(label.clone(), taken);
            self.reached(label);
        }
    }

    fn reached(&self, label: &str) {
        self.board.update(|it| {
            it.reached.insert(label.to_owned());
        });
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), String> {
        let taken = self.taken(answer.to.as_deref())?.clone();
        let is_handshake = taken
            .messages
            .iter()
            .any(|message| message.get("channel") == Some(&"/meta/handshake".into()));
        if is_handshake && (answer.client.is_some() || template::says_ok(&answer.body)) {
            self.clients += 1;
            let client = answer
                .client
                .clone()
                .unwrap_or_else(|| format!("client-{}", self.clients));
            self.variables.insert("client".into(), client.into());
        }
        let body = self.expanded(&taken, &answer.body)?;
        self.history
            .push(shortened(&format!("{answer}   ({body})"), 300));
        self.acted = Instant::now();
        if answer.background {
            let answer = answer.clone();
            self.sending.push(thread::spawn(move || {
                answer.send(&taken.connection, &body);
            }));
        } else {
            self.acted = answer.send(&taken.connection, &body);
        }
        Ok(())
    }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

fn shown(request: &Request) -> String {
    format!(
        "    {} {} (connection {})\n    {}",
        request.method,
        request.target,
        request.connection,
        shortened(&request.body_text(), 2000)
    )
}
