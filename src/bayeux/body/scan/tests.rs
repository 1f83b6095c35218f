//! The two doors against each other, by bodies that chance makes.

use fastrand::Rng;

use super::super::{reader, text, Body, Text, LARGE};

/// So many bodies, or COMETD_BODIES; .ci/run has more.
const BODIES: u64 = if cfg!(miri) { 20 } else { 20_000 };

/// What a body is made of.
struct Author {
    random: Rng,
    /// Whether all is as the scan has it: well-formed, and no escape in a key.
    is_plain: bool,
}

const BLANKS: [&str; 12] = ["", "", "", "", "", "", "", " ", "\n", "\t", "\r\n", "  "];
const ODD_BLANKS: [&str; 4] = ["\u{a0}", "\u{c}", "\u{b}", "\0"];

const CHANNELS: [&str; 20] = [
    r#""/a""#,
    r#""/a""#,
    r#""/a""#,
    r#""/a""#,
    r#""/b/c""#,
    r#""/b/c""#,
    r#""/channel/of/an/event""#,
    r#""/channel/of/another/event""#,
    r#""/topic/é""#,
    r#""/meta/connect""#,
    r#""/meta/handshake""#,
    r#""\/a""#,
    r#""/a\u00e9\ud83d""#,
    r#""/\u0000""#,
    "\"/\u{7f}\"",
    r#""no slash""#,
    r#""""#,
    "7",
    "null",
    r#"["/a"]"#,
];

const SCALARS: [&str; 30] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "7",
    "101.25",
    "-1.5e3",
    "1E+2",
    "1e-07",
    "1e400",
    "-1e999",
    "0.0",
    "12345678901234567890123",
    r#""""#,
    r#""7""#,
    r#""é😀""#,
    r#""\u0031""#,
    r#""\"quoted\" \\ \/ \b\f\n\r\t""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d""#,
    r#""\udE00x""#,
    r#""403::denied""#,
    "\"\u{7f}\u{80}\"",
    r#""a string that is longer than one step of sixteen bytes""#,
    r#""fifteen bytes..""#,
    r#""sixteen bytes...""#,
    r#"[]"#,
    r#"{}"#,
    r#"{"reconnect":"retry","interval":0,"hosts":["a"]}"#,
];

const ODD_SCALARS: [&str; 22] = [
    "01",
    "-",
    "-01",
    "1.",
    ".5",
    "1.e5",
    "1e",
    "1e+",
    "+1",
    "0x1",
    "tru",
    "trueX",
    "nul",
    "NaN",
    "\"\t\"",
    "\"\u{1f}\"",
    r#""\x""#,
    r#""\u12g4""#,
    r#""\u123""#,
    "\"",
    "",
    "'a'",
];

const NAMES: [&str; 18] = [
    "channel",
    "channel",
    "data",
    "data",
    "id",
    "ext",
    "successful",
    "clientId",
    "error",
    "advice",
    "subscription",
    "supportedConnectionTypes",
    "x-messages",
    "timestamp",
    "",
    "Channel",
    "channel ",
    "é",
];

const ODD_NAMES: [&str; 6] = [
    r"ch\u0061nnel",
    r"\u0069d",
    r"\ud83d",
    r"d\x",
    "da\tta",
    r"\u12",
];

impl Author {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.usize(..from.len())]
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random.u32(..count) == 0
    }

    /// Something that the scan may not like, if anything may.
    fn is_odd(&mut self) -> bool {
        !self.is_plain && self.one_in(60)
    }

    fn blank(&mut self, into: &mut String) {
        let blank = match self.is_odd() && self.one_in(4) {
            true => self.pick(&ODD_BLANKS),
            false => self.pick(&BLANKS),
        };
        into.push_str(blank);
    }

    fn name(&mut self, into: &mut String) {
        let name = match self.is_odd() {
            true => self.pick(&ODD_NAMES),
            false => self.pick(&NAMES),
        };
        into.push('"');
        into.push_str(name);
        into.push('"');
    }

    fn value(&mut self, into: &mut String, depth: u32) {
        match self.random.u32(..if depth > 4 { 6 } else { 9 }) {
            0..6 => {
                let scalar = match self.is_odd() {
                    true => self.pick(&ODD_SCALARS),
                    false => self.pick(&SCALARS),
                };
                into.push_str(scalar);
            }
            6 => self.list(into, '[', ']', |it, into| it.value(into, depth + 1)),
            7 => self.list(into, '{', '}', |it, into| {
                it.name(into);
                it.colon(into);
                it.value(into, depth + 1);
            }),
            _ => {
                let length = self.random.usize(..80);
                into.push('"');
                into.extend((0..length).map(|_| self.random.char(' '..'~')).map(|it| {
                    if matches!(it, '"' | '\\') {
                        'ü'
                    } else {
                        it
                    }
                }));
                into.push('"');
            }
        }
    }

    fn list(
        &mut self,
        into: &mut String,
        open: char,
        close: char,
        mut each: impl FnMut(&mut Self, &mut String),
    ) {
        into.push(open);
        self.blank(into);
        for index in 0..self.random.u32(..5) {
            if index > 0 {
                into.push(',');
                self.blank(into);
            }
            each(self, into);
            self.blank(into);
        }
        into.push(close);
    }

    fn colon(&mut self, into: &mut String) {
        self.blank(into);
        into.push(':');
        self.blank(into);
    }

    fn message(&mut self, into: &mut String) {
        into.push('{');
        self.blank(into);
        if !self.one_in(10) {
            into.push_str(r#""channel":"#);
            into.push_str(self.pick(&CHANNELS));
            into.push(',');
        }
        for _ in 0..self.random.u32(..6) {
            let start = into.len();
            self.name(into);
            let is_channel = into.get(start..) == Some("\"channel\"");
            self.colon(into);
            match is_channel && !self.one_in(4) {
                true => into.push_str(self.pick(&CHANNELS)),
                false => self.value(into, 0),
            }
            self.blank(into);
            into.push(',');
            self.blank(into);
        }
        into.push_str(r#""id":"#);
        into.push_str(self.pick(&SCALARS));
        self.blank(into);
        into.push('}');
    }

    fn body(&mut self) -> String {
        let mut body = String::new();
        if self.one_in(20) {
            body.push('\u{feff}');
        }
        self.blank(&mut body);
        match self.random.u32(..20) {
            0 | 1 => self.message(&mut body),
            2 if !self.is_plain => self.value(&mut body, 0),
            _ => self.list(&mut body, '[', ']', |it, into| match it.one_in(10) {
                true => it.value(into, 0),
                false => it.message(into),
            }),
        }
        self.blank(&mut body);
        if self.one_in(20) {
            body.push('\0');
        }
        body
    }

    /// Damage: a byte flipped, put in, taken out, a piece twice, the end cut off.
    fn damage(&mut self, body: &mut Vec<u8>) {
        const BYTES: &[u8] = b"\"\"\\{}[]:,,01.eE+-tnu \n\t\x00\x1f\x7f\x80\xc3\xed\xff";
        for _ in 0..self.random.u32(1..4) {
            if body.is_empty() {
                return;
            }
            let at = self.random.usize(..body.len());
            let end = body.len().min(at + self.random.usize(1..12));
            let byte = BYTES[self.random.usize(..BYTES.len())];
            match self.random.u32(..6) {
                0 => body[at] ^= 1 << self.random.u32(..8),
                1 => body[at] = byte,
                2 => body.insert(at, byte),
                3 => drop(body.drain(at..end)),
                4 => {
                    let piece = body[at..end].to_vec();
                    drop(body.splice(at..at, piece));
                }
                _ => body.truncate(at),
            }
        }
    }
}

/// Reads by serde_json alone, and as always.
fn read_by_both(bytes: &[u8]) -> Option<Body> {
    let told = || String::from_utf8_lossy(bytes);
    let text = Text::from(bytes.to_vec());
    let json = text::json(&text.text);
    let scanned = super::read(&text.text, json.clone());
    if let Some(scanned) = &scanned {
        let read = reader::read(&text.text, json).ok();
        assert_eq!(Some(scanned), read.as_ref(), "{}", told());
    }
    let theirs = Body::read_by(text, reader::read);
    let ours = Body::parse(bytes.to_vec());
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (ours, theirs) => {
            assert_eq!(ours.err(), theirs.err(), "{}", told());
            return None;
        }
    };
    assert_eq!(ours.text, theirs.text, "{}", told());
    assert_eq!(ours.messages, theirs.messages, "{}", told());
    assert_eq!(ours.replies, theirs.replies, "{}", told());
    assert_eq!(ours.refusals, theirs.refusals, "{}", told());
    assert_eq!(ours.digests, theirs.digests, "{}", told());
    let counts = |it: &Body| (it.malformed, it.replaced, it.len());
    assert_eq!(counts(&ours), counts(&theirs), "{}", told());
    scanned.map(|_| ours)
}

/// Prints the number of a body that fails.
struct Number(u64);

impl Drop for Number {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("body {} fails", self.0);
        }
    }
}

fn bodies() -> u64 {
    match std::env::var("COMETD_BODIES") {
        Ok(count) => count.parse().expect("COMETD_BODIES is a number"),
        Err(_) => BODIES,
    }
}

#[test]
fn both_doors_find_the_same_and_refuse_the_same() {
    let (mut taken, mut messages) = (0, 0);
    for number in 0..bodies() {
        let _number = Number(number);
        let mut author = Author {
            random: Rng::with_seed(number),
            is_plain: false,
        };
        author.is_plain = author.one_in(4);
        let mut bytes = author.body().into_bytes();
        let is_whole = author.is_plain || author.one_in(2);
        if !is_whole {
            author.damage(&mut bytes);
        }
        let body = read_by_both(&bytes);
        assert!(
            body.is_some() || !author.is_plain,
            "it is what servers send"
        );
        taken += u64::from(body.is_some());
        messages += body.map_or(0, |it| it.len());
    }
    println!("the scan took {taken}, with {messages} messages");
    assert!(taken > bodies() / 2 && taken < bodies());
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn both_doors_read_a_large_body_the_same() {
    let mut author = Author {
        random: Rng::with_seed(7),
        is_plain: true,
    };
    for _ in 0..4 {
        let mut text = String::from("[");
        while text.len() <= LARGE {
            author.message(&mut text);
            text.push(',');
        }
        let long = "x".repeat(LARGE);
        text.push_str(&format!(
            r#"{{"channel":"/a","data":{{"x":"{long}","event":{{"replayId":9}}}},"ext":{{"l":"{long}"}}}}]"#
        ));
        let body = read_by_both(text.as_bytes()).expect("it is what servers send");
        assert!(!body.digests.is_empty());
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many bytes take too long")]
fn both_doors_read_each_beginning_of_a_body_the_same() {
    let text = r#"[{"channel":"/a","data":{"a":[1,-2.5e3,true,null,"\u00e9é"],"b":{}},"id":"1"} ,
        7,{"channel":"/meta/connect","successful":true,"advice":{"interval":0}}] "#;
    for end in 0..text.len() {
        let is_read = read_by_both(&text.as_bytes()[..end]).is_some();
        assert_eq!(is_read, end + 1 >= text.len(), "{end}");
    }
}
