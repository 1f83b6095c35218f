//! The text of a script: one step a line.

use std::fmt;
use std::time::Duration;

use crate::answer::{Answer, End, Framing, Place};
use crate::expect::{Expect, On, Over, What};
use crate::socket_step::{self, SocketStep};
use crate::words::{escape, is_number, json, milliseconds, number, split, unescape};

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The path of the server's URL; from here on requests must go to it and
    /// its `/handshake`, `/connect` and `/disconnect`.
    Base(String),
    /// How long each step from here on may wait.
    Limit(Duration),
    /// These requests must come next, in any order.
    Expect(Vec<Expect>),
    Answer(Answer),
    /// Bytes, as they are, on the connection of a request.
    Send(Option<String>, Vec<u8>),
    Socket(SocketStep),
    Close(Option<String>),
    HalfClose(Option<String>),
    Reset(Option<String>),
    /// The client must close the connection of a request.
    Closed(Option<String>),
    /// No request may come for so long.
    Quiet(Duration),
    /// Nothing is done for so long.
    Pause(Duration),
    /// The program that plays the script can wait for this.
    Mark(String),
    /// The program that plays the script lets it go on.
    Await(String),
    /// All connections are closed, new ones refused.
    Down,
    /// Connections are accepted again.
    Up,
}

/// Steps, and the lines in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    pub steps: Vec<(usize, Step)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub line: usize,
    pub why: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for ParseError {}

impl Script {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn step(mut self, step: Step) -> Self {
        self.steps.push((self.steps.len() + 1, step));
        self
    }

    pub fn expect(self, expect: Expect) -> Self {
        self.step(Step::Expect(vec![expect]))
    }

    pub fn answer(self, answer: Answer) -> Self {
        self.step(Step::Answer(answer))
    }

    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut script = Self::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let fail = |why| ParseError {
                line: line_number,
                why,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (words, rest) = split(line).map_err(fail)?;
            let mut words = words.iter().map(String::as_str);
            let name = words.next().unwrap_or_default();
            if name == "also" {
                let expect = parse_expect(words, rest).map_err(fail)?;
                match script.steps.last_mut() {
                    Some((_, Step::Expect(group))) => group.push(expect),
                    _ => return Err(fail("\"also\" follows an \"expect\"".into())),
                }
                continue;
            }
            let step = parse_step(name, words, rest).map_err(fail)?;
            script.steps.push((line_number, step));
        }
        Ok(script)
    }
}

impl std::str::FromStr for Script {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

fn parse_step<'a>(
    name: &str,
    mut words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<Step, String> {
    let step = match name {
        "expect" => return Ok(Step::Expect(vec![parse_expect(words, rest)?])),
        "answer" => return Ok(Step::Answer(parse_answer(words, rest)?)),
        "send" => {
            let label = words.next().map(str::to_owned);
            let bytes = rest.ok_or("send needs \" : BYTES\"")?;
            Step::Send(label, unescape(bytes)?)
        }
        "close" => {
            let words: Vec<_> = words.collect();
            if words.iter().any(|word| is_number(word)) || rest.is_some() {
                return socket_step::parse_close(words.into_iter(), rest).map(Step::Socket);
            }
            return match words.as_slice() {
                [] => Ok(Step::Close(None)),
                [label] => Ok(Step::Close(Some((*label).to_owned()))),
                [_, word, ..] => Err(format!("{word:?} is too much")),
            };
        }
        "base" => Step::Base(words.next().ok_or("base needs a path")?.to_owned()),
        "limit" | "quiet" | "pause" => {
            let time = words.next().ok_or("it needs a number of milliseconds")?;
            let time = milliseconds(time)?;
            match name {
                "limit" => Step::Limit(time),
                "quiet" => Step::Quiet(time),
                _ => Step::Pause(time),
            }
        }
        "mark" => Step::Mark(words.next().ok_or("mark needs a name")?.to_owned()),
        "await" => Step::Await(words.next().ok_or("await needs a name")?.to_owned()),
        "half-close" => Step::HalfClose(words.next().map(str::to_owned)),
        "reset" => Step::Reset(words.next().map(str::to_owned)),
        "closed" => Step::Closed(words.next().map(str::to_owned)),
        "down" => Step::Down,
        "up" => Step::Up,
        _ => return socket_step::parse(name, words, rest).map(Step::Socket),
    };
    match words.next() {
        Some(word) => Err(format!("{word:?} is too much")),
        None if rest.is_some() && name != "send" => Err(format!("{name} takes no \" : …\"")),
        None => Ok(step),
    }
}

/// Options of an answer that may stand without a value.
const OPTIONS: [&str; 10] = [
    "chunked",
    "no-length",
    "gzip",
    "bom",
    "http-1.0",
    "background",
    "close",
    "cut",
    "stall",
    "reset",
];

fn parse_expect<'a>(
    words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<Expect, String> {
    let mut words = words.peekable();
    let kind = words.next().ok_or("what is expected?")?;
    let data = rest.map(json).transpose()?;
    let takes_data = matches!(kind, "publish" | "messages");
    if data.is_some() && !takes_data {
        return Err(format!("{kind} takes no \" : JSON\""));
    }
    let mut channels = Vec::new();
    while let Some(channel) = words.next_if(|word| word.starts_with('/')) {
        channels.push(channel.to_owned());
    }
    let single = |channels: &[String]| match channels {
        [channel] => Ok(channel.clone()),
        _ => Err(format!("{kind} takes one channel")),
    };
    let what = match kind {
        "handshake" => What::Handshake,
        "connect" => What::Connect(words.next_if_eq(&"at-once").is_some()),
        "disconnect" => What::Disconnect,
        "subscribe" => What::Subscribe(std::mem::take(&mut channels)),
        "unsubscribe" => What::Unsubscribe(std::mem::take(&mut channels)),
        "publish" => What::Publish(single(&std::mem::take(&mut channels))?, data),
        "messages" => What::Messages(data.ok_or("messages needs \" : JSON\"")?),
        "anything" => What::Anything,
        "upgrade" => What::Upgrade,
        _ => return Err(format!("there is no request {kind:?}")),
    };
    if !channels.is_empty() {
        return Err(format!("{kind} takes no channel"));
    }
    let mut expect = Expect::new(what);
    while let Some(word) = words.next() {
        if word == "as" {
            let label = words.next().ok_or("as what?")?;
            if OPTIONS.contains(&label) || matches!(label, "new" | "used") {
                return Err(format!("{label:?} is an option, and so no label"));
            }
            expect.label = Some(label.to_owned());
            continue;
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "over" => {
                expect.over = Some(match value {
                    "websocket" => Over::WebSocket,
                    "long-polling" => Over::LongPolling,
                    _ => return Err(format!("{value:?} is neither websocket nor long-polling")),
                });
            }
            "path" => expect.path = Some(value.to_owned()),
            "header" => expect.headers.push(value.to_owned()),
            "no-header" => expect.no_headers.push(value.to_owned()),
            "cookie" => expect.cookies.push(value.to_owned()),
            "on" => {
                expect.on = Some(match value {
                    "new" => On::New,
                    "used" => On::Used,
                    label => On::Same(label.to_owned()),
                });
            }
            "after" => {
                let (least, most) = value
                    .split_once("..")
                    .ok_or("after is written LEAST..MOST or LEAST..")?;
                let most = Some(most).filter(|it| !it.is_empty());
                expect.after = Some((milliseconds(least)?, most.map(milliseconds).transpose()?));
            }
            _ => return Err(format!("expect has no {key:?}")),
        }
    }
    Ok(expect)
}

fn parse_answer<'a>(
    words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<Answer, String> {
    let mut answer = Answer::default();
    if let Some(body) = rest {
        answer.body = body.to_owned();
    }
    for (index, word) in words.enumerate() {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let needed = || value.ok_or_else(|| format!("{key} needs a value"));
        let place = || {
            let text = value.unwrap_or("0");
            Place::parse(text).ok_or_else(|| format!("{text:?} is no place in a response"))
        };
        match key {
            "status" => {
                answer.status = needed()?
                    .parse()
                    .map_err(|_| format!("{word:?} is no status"))?;
            }
            "header" => answer
                .headers
                .push(String::from_utf8_lossy(&unescape(needed()?)?).into_owned()),
            "length" => answer.framing = Framing::Length(Some(number(needed()?)?)),
            "chunked" => answer.framing = Framing::Chunked(number(value.unwrap_or("1000000"))?),
            "no-length" => answer.framing = Framing::None,
            "gzip" => answer.gzip = true,
            "bom" => answer.bom = true,
            "http-1.0" => answer.http_1_0 = true,
            "background" => answer.background = true,
            "client" => answer.client = Some(needed()?.to_owned()),
            "delay" => answer.delay = milliseconds(needed()?)?,
            "pieces" => answer.pieces = number(needed()?)?,
            "pause" => answer.pause = milliseconds(needed()?)?,
            "close" => answer.end = End::Close,
            "cut" => answer.end = End::Cut(place()?),
            "stall" => answer.end = End::Stall(place()?),
            "reset" => answer.end = End::Reset(place()?),
            label if index == 0 && value.is_none() => answer.to = Some(label.to_owned()),
            _ => return Err(format!("answer has no {key:?}")),
        }
    }
    Ok(answer)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labelled = |f: &mut fmt::Formatter<'_>, name: &str, label: &Option<String>| {
            f.write_str(name)?;
            label.iter().try_for_each(|label| write!(f, " {label}"))
        };
        match self {
            Self::Base(path) => write!(f, "base {path}"),
            Self::Limit(time) => write!(f, "limit {}", time.as_millis()),
            Self::Quiet(time) => write!(f, "quiet {}", time.as_millis()),
            Self::Pause(time) => write!(f, "pause {}", time.as_millis()),
            Self::Expect(group) => {
                for (index, expect) in group.iter().enumerate() {
                    f.write_str(if index == 0 { "expect " } else { "\nalso " })?;
                    write!(f, "{expect}")?;
                }
                Ok(())
            }
            Self::Answer(answer) => write!(f, "{answer}"),
            Self::Send(label, bytes) => {
                labelled(f, "send", label)?;
                write!(f, " : {}", escape(bytes))
            }
            Self::Socket(step) => write!(f, "{step}"),
            Self::Close(label) => labelled(f, "close", label),
            Self::HalfClose(label) => labelled(f, "half-close", label),
            Self::Reset(label) => labelled(f, "reset", label),
            Self::Closed(label) => labelled(f, "closed", label),
            Self::Mark(name) => write!(f, "mark {name}"),
            Self::Await(name) => write!(f, "await {name}"),
            Self::Down => f.write_str("down"),
            Self::Up => f.write_str("up"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, step) in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALL: &str = r#"
        # Everything that a script can say.
        base /cometd
        limit 5000
        expect handshake as h path="/x y" header="A: b*" no-header=Cookie on=new
        answer h status=503 header="Retry-After: 1" chunked=7 gzip delay=5 : $no{"error":"x"}
        expect connect at-once after=900..1300 cookie="a=b"
        also subscribe /a /b/** as s on=h
        also publish /x on=used after=5.. : {"n":1}
        answer s pieces=1 pause=2 background cut=body+3
        answer bom http-1.0 no-length close : [] : []
        answer client=c1 length=5 stall=-1 :
        answer reset=17
        expect messages : [{"id":"$i","...":""}]
        expect anything
        expect unsubscribe /a
        expect disconnect
        expect connect over=long-polling
        expect upgrade as u header="Sec-WebSocket-Protocol: p"
        upgrade u protocol=p header="Set-Cookie: a=b" connection="keep-alive, Upgrade" upgrade=X accept= : []
        upgrade
        expect connect over=websocket
        frame u : [$ok]
        fragment size=3 : [{}]
        fragment u : [{}]
        binary : \xff\x00
        ping u
        pong : abc
        raw u opcode=11 reserved=7 more masked length=4611686018427387904 : \x80
        close u 4001 : gone\r\n
        close 1000
        swallow u
        not-read
        read u
        cut 17
        cut u 0 reset
        cut 5 stall
        pinged
        ponged u
        closes u 1000
        closes
        send s : HTTP/1.1 100 Continue\r\n\r\n\xff\\
        half-close s
        close
        closed s
        reset
        quiet 100
        pause 5
        mark there
        down
        up
    "#;

    #[test]
    fn what_is_read_is_what_is_shown() {
        let script = Script::parse(ALL).unwrap();
        let shown = script.to_string();
        let again = Script::parse(&shown).unwrap();
        assert_eq!(again.to_string(), shown);
        let steps = |script: Script| -> Vec<Step> {
            script.steps.into_iter().map(|(_, step)| step).collect()
        };
        assert_eq!(steps(script), steps(again));
    }

    #[test]
    fn text_and_builder_make_the_same_steps() {
        let text = Script::parse(
            "expect handshake as h\nanswer h status=503 : <html>\nexpect publish /a : {\"n\":1}\nanswer",
        )
        .unwrap();
        let built = Script::new()
            .expect(Expect::handshake().label("h"))
            .answer(Answer::body("<html>").to("h").status(503))
            .expect(Expect::publish("/a", Some(json!({"n": 1}))))
            .answer(Answer::ok());
        assert_eq!(text, built);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line, why) in [
            ("\nexpekt handshake", 2, "no step \"expekt\""),
            ("expect handshak", 1, "no request \"handshak\""),
            ("expect handshake /x", 1, "takes no channel"),
            ("expect publish", 1, "one channel"),
            ("expect messages", 1, "needs"),
            ("expect messages : [", 1, "not JSON"),
            ("expect connect after=5", 1, "LEAST..MOST"),
            ("expect connect colour=red", 1, "no \"colour\""),
            ("expect connect as cut", 1, "is an option"),
            ("answer\nanswer x colour", 2, "no \"colour\""),
            ("answer cut=x", 1, "no place"),
            ("answer header=\"x", 1, "does not end"),
            ("also connect", 1, "follows"),
            ("send : \\q", 1, "escape"),
            ("quiet soon", 1, "milliseconds"),
            ("frame", 1, "needs"),
            ("raw opcode=16", 1, "0 to 15"),
            ("ping u size=3", 1, "no \"size\""),
            ("close 70000", 1, "no code"),
            ("close : bye", 1, "needs a code"),
            ("cut u", 1, "number of bytes"),
            ("cut 5 softly", 1, "too much"),
            ("upgrade colour=red", 1, "no \"colour=red\""),
            ("expect connect over=pigeon", 1, "neither"),
            ("close a b", 1, "too much"),
            ("down : x", 1, "takes no"),
        ] {
            let error = Script::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.why.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_body_is_verbatim_and_may_be_empty() {
        let Step::Answer(answer) = &Script::parse("answer : ").unwrap().steps[0].1 else {
            panic!();
        };
        assert_eq!(answer.body, "");
        let Step::Answer(answer) = &Script::parse("answer :  a : \"b\\n\"").unwrap().steps[0].1
        else {
            panic!();
        };
        assert_eq!(answer.body, "a : \"b\\n\"");
    }
}
