//! Extensions of the host: they see, change and drop each message on its way
//! out, before the transport, and on its way in, before it is parsed.

use std::borrow::Cow;
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::arguments::json_error;
use crate::bayeux::body::{each_element, Text};
use crate::bayeux::json;
use crate::delivery::HostCode;
use crate::error::Error;

/// One direction of an extension. An error says why it failed; then the message
/// goes on as it was before.
pub type Extend = dyn Fn(&mut ExtensionMessage) -> Result<(), String> + Send + Sync;

#[derive(Clone, Default)]
pub struct Extension {
    pub outgoing: Option<Arc<Extend>>,
    pub incoming: Option<Arc<Extend>>,
}

/// A message while an extension has it.
pub struct ExtensionMessage {
    /// The text, then what it was replaced by; each ends in NUL, and all of them
    /// live as long as the message, for the host may have pointers to them.
    texts: Vec<String>,
    dropped: bool,
}

impl ExtensionMessage {
    fn new(json: &str) -> Self {
        Self {
            texts: vec![terminated(json)],
            dropped: false,
        }
    }

    /// The message, a JSON object. Behind it is a NUL.
    pub fn json(&self) -> &str {
        let text = self.texts.last().map_or("", String::as_str);
        text.strip_suffix('\0').unwrap_or(text)
    }

    /// What it was replaced by at last, if it was.
    fn replacement(mut self) -> Option<String> {
        if self.texts.len() < 2 {
            return None;
        }
        let mut text = self.texts.pop()?;
        text.pop();
        Some(text)
    }

    pub fn replace(&mut self, json: &[u8]) -> Result<(), Error> {
        let raw = json::check_object(json).map_err(|error| json_error("json", &error))?;
        self.texts.push(terminated(raw.get()));
        Ok(())
    }

    pub fn delete(&mut self) {
        self.dropped = true;
    }
}

fn terminated(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    text.push_str(json);
    text.push('\0');
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Outgoing,
    Incoming,
}

/// What became of a request's messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// `None`: nothing is left to be sent.
    pub body: Option<Vec<u8>>,
    /// The ids of the messages that were dropped.
    pub dropped: Vec<u64>,
    /// The new `ext` of a handshake, in an array: there may be several.
    pub handshake_ext: Option<String>,
}

/// All extensions of a client, in the order in which they were added.
#[derive(Clone, Default)]
pub(super) struct Extensions {
    all: Vec<Extension>,
}

impl Extensions {
    pub(super) fn new(all: Vec<Extension>) -> Self {
        Self { all }
    }

    pub(super) fn has_outgoing(&self) -> bool {
        self.all.iter().any(|it| it.outgoing.is_some())
    }

    pub(super) fn has_incoming(&self) -> bool {
        self.all.iter().any(|it| it.incoming.is_some())
    }

    /// Whether dropping this drops something of the host's.
    pub(super) fn is_last_owner(&self) -> bool {
        let functions = self.all.iter().flat_map(|it| [&it.outgoing, &it.incoming]);
        functions.flatten().any(|it| Arc::strong_count(it) == 1)
    }

    /// Runs the messages of a request through: the extension that was added last
    /// is the first. `failed` is told of each one that fails.
    pub(super) fn outgoing(&self, body: Vec<u8>, failed: &mut dyn FnMut(&str)) -> Outgoing {
        let mut outgoing = Outgoing {
            body: None,
            dropped: Vec::new(),
            handshake_ext: None,
        };
        // It is the library's own, and always an array.
        let messages: Vec<&RawValue> = serde_json::from_slice(&body).unwrap_or_default();
        let mut texts = Vec::with_capacity(messages.len());
        let mut changed = messages.is_empty();
        for message in messages {
            let Some(text) = self.run(Direction::Outgoing, message.get(), failed) else {
                let id = json::field(message, "id").and_then(json::lenient_integer);
                let id = id.and_then(|it| u64::try_from(it).ok());
                outgoing.dropped.extend(id);
                changed = true;
                continue;
            };
            if text != message.get() {
                changed = true;
                if is_handshake(message) {
                    outgoing.handshake_ext = all_of(&text, "ext");
                }
            }
            texts.push(text.into_owned());
        }
        outgoing.body = match (changed, texts.is_empty()) {
            (false, _) => Some(body),
            (true, true) => None,
            (true, false) => Some(array(&texts)),
        };
        outgoing
    }

    /// Runs the messages of a response through: the extension that was added
    /// first is the first. What is no JSON, or no message, is left as it is.
    ///
    /// One message after the other, so that at any time there are three copies
    /// at most: of the response, of what it becomes, and of the message that an
    /// extension has.
    pub(super) fn incoming(&self, body: Vec<u8>, failed: &mut dyn FnMut(&str)) -> Text {
        let whole = Text::from(body);
        let json = whole.json();
        // No extension sees the beginning of what turns out to be none.
        let is_json = serde_json::from_str::<&RawValue>(json).is_ok();
        if !is_json || !json.starts_with(['[', '{']) {
            return whole;
        }
        // What it becomes, from the first change on. Before that, the elements
        // that stay as they are, as they stand there.
        let mut changed: Option<String> = None;
        let mut unchanged: Option<Range<usize>> = None;
        each_element(json, |element| {
            let text = match element.starts_with('{') {
                true => self.run(Direction::Incoming, element, failed),
                false => Some(Cow::Borrowed(element)),
            };
            if changed.is_none() && text.as_deref() == Some(element) {
                let at = (element.as_ptr() as usize).wrapping_sub(json.as_ptr() as usize);
                let end = at + element.len();
                unchanged = Some(unchanged.take().map_or(at, |it| it.start)..end);
                return true;
            }
            let changed = changed.get_or_insert_with(|| {
                let mut new = String::with_capacity(json.len());
                new.push('[');
                let kept = unchanged.take().and_then(|it| json.get(it));
                new.push_str(kept.unwrap_or_default());
                new
            });
            if let Some(text) = text {
                if changed.len() > 1 {
                    changed.push(',');
                }
                changed.push_str(&text);
            }
            true
        });
        let Some(mut text) = changed else {
            return whole;
        };
        text.push(']');
        Text {
            text,
            replaced: whole.replaced,
        }
    }

    /// The message as it goes on; `None` when it was dropped.
    fn run<'m>(
        &self,
        direction: Direction,
        message: &'m str,
        failed: &mut dyn FnMut(&str),
    ) -> Option<Cow<'m, str>> {
        let mut current = Cow::Borrowed(message);
        let mut run = |extend: &Option<Arc<Extend>>| {
            let Some(extend) = extend else { return true };
            let mut held = ExtensionMessage::new(&current);
            let outcome = {
                let _host = HostCode::enter();
                catch_unwind(AssertUnwindSafe(|| extend(&mut held)))
            };
            match outcome.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                Ok(()) if held.dropped => return false,
                Ok(()) => {
                    if let Some(new) = held.replacement() {
                        current = Cow::Owned(match direction {
                            Direction::Outgoing => with_identity(message, &new),
                            Direction::Incoming => new,
                        });
                    }
                }
                Err(why) => failed(&why),
            }
            true
        };
        let kept = match direction {
            Direction::Outgoing => self.all.iter().rev().all(|it| run(&it.outgoing)),
            Direction::Incoming => self.all.iter().all(|it| run(&it.incoming)),
        };
        kept.then_some(current)
    }
}

/// The fields by which replies find their message, and messages their session.
const IDENTITY: [&str; 3] = ["channel", "id", "clientId"];

/// The message that an extension has made, with these fields as they were.
fn with_identity(original: &str, changed: &str) -> String {
    let entries = |text| {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        json::entries(raw)
    };
    let (Some(before), Some(after)) = (entries(original), entries(changed)) else {
        return original.to_owned();
    };
    let kept = IDENTITY.iter().all(|name| {
        let values = |entries: &[(std::borrow::Cow<str>, &RawValue)]| -> Vec<String> {
            let of_name = entries.iter().filter(|(it, _)| it == name);
            of_name.map(|(_, value)| value.get().to_owned()).collect()
        };
        values(&before) == values(&after)
    });
    if kept {
        return changed.to_owned();
    }
    let is_identity = |name: &str| IDENTITY.contains(&name);
    let identity = before.iter().filter(|(name, _)| is_identity(name));
    let rest = after.iter().filter(|(name, _)| !is_identity(name));
    json::object(
        identity
            .chain(rest)
            .map(|(name, value)| (&**name, value.get())),
    )
}

fn is_handshake(message: &RawValue) -> bool {
    let channel = json::field(message, "channel").and_then(json::string);
    channel.as_deref() == Some(crate::bayeux::meta::HANDSHAKE)
}

/// The values of all fields of this name, as a JSON array; `None` without any.
fn all_of(object: &str, name: &str) -> Option<String> {
    let raw: &RawValue = serde_json::from_str(object).ok()?;
    let values: Vec<&str> = json::entries(raw)?
        .into_iter()
        .filter(|(it, _)| it == name)
        .map(|(_, value)| value.get())
        .collect();
    (!values.is_empty()).then(|| format!("[{}]", values.join(",")))
}

fn array(messages: &[String]) -> Vec<u8> {
    let length: usize = messages.iter().map(|it| it.len() + 1).sum();
    let mut body = Vec::with_capacity(length + 2);
    body.push(b'[');
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(message.as_bytes());
    }
    body.push(b']');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(
        outgoing: impl Fn(&mut ExtensionMessage) -> Result<(), String> + Send + Sync + 'static,
    ) -> Extensions {
        let outgoing: Arc<Extend> = Arc::new(outgoing);
        let both = Extension {
            incoming: Some(outgoing.clone()),
            outgoing: Some(outgoing),
        };
        Extensions::new(vec![both])
    }

    fn outgoing(extensions: &Extensions, body: &str) -> (Option<String>, Vec<u64>) {
        let result = extensions.outgoing(body.as_bytes().to_vec(), &mut |_| {});
        let body = result.body.map(|it| String::from_utf8(it).unwrap());
        (body, result.dropped)
    }

    fn incoming(extensions: &Extensions, body: &str) -> String {
        let body = extensions.incoming(body.as_bytes().to_vec(), &mut |_| {});
        assert_eq!(body.replaced, 0);
        body.text
    }

    /// Puts its letter behind the data.
    fn append(letter: char) -> Extension {
        let extend: Arc<Extend> = Arc::new(move |message| {
            assert!(crate::delivery::in_callback());
            let text = message.json().replace("\"}", &format!("{letter}\"}}"));
            message.replace(text.as_bytes()).unwrap();
            Ok(())
        });
        Extension {
            outgoing: Some(extend.clone()),
            incoming: Some(extend),
        }
    }

    #[test]
    fn outgoing_runs_in_reverse_and_incoming_in_order_220() {
        let only_in = Extension {
            outgoing: None,
            ..append('x')
        };
        let all = Extensions::new(vec![append('a'), only_in, append('b')]);
        assert!(all.has_incoming() && all.has_outgoing());
        let message = r#"[{"data":"-"}]"#;
        assert_eq!(outgoing(&all, message).0.unwrap(), r#"[{"data":"-ba"}]"#);
        assert_eq!(incoming(&all, message), r#"[{"data":"-axb"}]"#);
    }

    #[test]
    fn the_identity_of_an_outgoing_message_cannot_be_changed_220() {
        for (given, expected) in [
            (
                r#"{"id":"1","channel":"/a","x":1}"#,
                r#"{"id":"1","channel":"/a","x":1}"#,
            ),
            (r#"{"x":1,"id":"2"}"#, r#"{"channel":"/a","id":"1","x":1}"#),
            (
                r#"{"id":"1","channel":"/a","clientId":"c"}"#,
                r#"{"channel":"/a","id":"1"}"#,
            ),
            (
                r#"{"id":"2","channel":"/a","id":"1","\u0069d":"3","x":2}"#,
                r#"{"channel":"/a","id":"1","x":2}"#,
            ),
        ] {
            let all = extension(move |message| {
                message.replace(given.as_bytes()).unwrap();
                Ok(())
            });
            let original = r#"[{"channel":"/a","id":"1"}]"#;
            assert_eq!(outgoing(&all, original).0.unwrap(), format!("[{expected}]"));
            // What the server sent may be changed as one likes.
            assert_eq!(incoming(&all, original), format!("[{given}]"));
        }
    }

    #[test]
    fn one_of_three_is_dropped_104() {
        let all = extension(|message| {
            if message.json().contains("/b") {
                message.delete();
            }
            Ok(())
        });
        let three =
            r#"[{"channel":"/a","id":"7"},{"channel":"/b","id":"8"},{"channel":"/c","id":"9"}]"#;
        let two = r#"[{"channel":"/a","id":"7"},{"channel":"/c","id":"9"}]"#;
        assert_eq!(outgoing(&all, three), (Some(two.to_owned()), vec![8]));
        assert_eq!(incoming(&all, three), two);
        let one = r#"[{"channel":"/b","id":"8"}]"#;
        assert_eq!(outgoing(&all, one), (None, vec![8]));
        assert_eq!(incoming(&all, one), "[]");
        assert_eq!(incoming(&all, r#"{"channel":"/b"}"#), "[]");
    }

    #[test]
    fn one_that_fails_changes_nothing_and_stops_nobody_210() {
        let failing: [Arc<Extend>; 3] = [
            Arc::new(|message| {
                message.replace(b"{}").unwrap();
                Err("it returned -3".to_owned())
            }),
            Arc::new(|message| {
                message.delete();
                Err("it returned 1".to_owned())
            }),
            Arc::new(|_| panic!("a test asked for it")),
        ];
        let mut all = vec![append('a')];
        all.extend(failing.map(|it| Extension {
            outgoing: Some(it.clone()),
            incoming: Some(it),
        }));
        all.push(append('b'));
        let all = Extensions::new(all);
        let mut failures = Vec::new();
        let mut failed = |why: &str| failures.push(why.to_owned());
        let message = br#"[{"data":"-"}]"#.to_vec();
        let out = all.outgoing(message.clone(), &mut failed);
        assert_eq!(out.body.unwrap(), br#"[{"data":"-ba"}]"#);
        assert_eq!(
            all.incoming(message, &mut failed).text,
            r#"[{"data":"-ab"}]"#
        );
        assert_eq!(
            failures,
            [
                "it panicked",
                "it returned 1",
                "it returned -3",
                "it returned -3",
                "it returned 1",
                "it panicked"
            ]
        );
    }

    #[test]
    fn what_is_replaced_must_be_an_object_and_old_pointers_stay_good() {
        let all = extension(|message| {
            let before = message.json().as_ptr();
            for bad in ["", "[]", "{", "7", "{}{}"] {
                assert!(message.replace(bad.as_bytes()).is_err(), "{bad}");
            }
            let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
            assert!(message.replace(deep.as_bytes()).is_err());
            assert_eq!(message.json().as_ptr(), before, "nothing was changed");
            message.replace(b" {\"a\":1} ").unwrap();
            assert_eq!(message.json(), r#"{"a":1}"#);
            let text = &message.texts[0];
            assert_eq!(text.as_ptr(), before);
            assert!(text.ends_with('\0') && message.texts[1].ends_with('\0'));
            Ok(())
        });
        assert_eq!(incoming(&all, r#"[{"b":2}]"#), r#"[{"a":1}]"#);
    }

    #[test]
    fn what_is_no_message_is_passed_on_as_it_is() {
        let all = extension(|message| {
            message.replace(b"{\"seen\":1}").unwrap();
            Ok(())
        });
        for text in ["", "<html>", "7", "[{]", "\"{}\"", "[]", "[1,null,[]]"] {
            assert_eq!(incoming(&all, text), text);
        }
        assert_eq!(incoming(&all, "[1, {\"a\":2}]"), r#"[1,{"seen":1}]"#);
        assert_eq!(incoming(&all, "\u{feff} {\"a\":2}\n"), r#"[{"seen":1}]"#);
        let deep = format!("[{{\"d\":{}{}}}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(incoming(&all, &deep), r#"[{"seen":1}]"#);
    }

    #[test]
    fn case_surrogates_and_padding_pass_no_extension_by() {
        let all = append('x');
        let all = Extensions::new(vec![all]);
        let odd = b"\xef\xbb\xbf [{\"data\":\"\xff\"},{\"data\":1}]\0\n".to_vec();
        let text = all.incoming(odd, &mut |_| {});
        assert_eq!(text.text, "[{\"data\":\"\u{fffd}x\"},{\"data\":1}]");
        assert_eq!(text.replaced, 1);
    }

    #[test]
    fn what_is_not_changed_is_not_touched_before_a_change_and_behind_it() {
        let all = extension(|message| {
            match message.json() {
                r#"{"a":3}"# => message.delete(),
                r#"{"a":4}"# => message.replace(b"{}").unwrap(),
                _ => {}
            }
            Ok(())
        });
        for (text, expected) in [
            (r#" [ {"a" :1} , 7 ]"#, r#" [ {"a" :1} , 7 ]"#),
            (
                r#"[{"a" :1} , 7,{"a":4}, {"b": 2},8]"#,
                r#"[{"a" :1} , 7,{},{"b": 2},8]"#,
            ),
            (r#"[{"a":3},{"a":1}]"#, r#"[{"a":1}]"#),
            (r#"[{"a":1}, {"a":3}]"#, r#"[{"a":1}]"#),
            (r#"[{"a":3},{"a":3}]"#, "[]"),
            (r#"{"a":4}"#, "[{}]"),
        ] {
            assert_eq!(incoming(&all, text), expected);
        }
        // One that ends badly is seen by nobody.
        let text = r#"[{"a":4},{"a":3}"#;
        assert_eq!(incoming(&all, text), text);
    }

    #[test]
    fn a_handshakes_new_ext_is_told_so_that_it_can_be_kept_secret() {
        let all = extension(|message| {
            message
                .replace(br#"{"channel":"/meta/handshake","id":"1","ext":{"k":"v"}}"#)
                .unwrap();
            Ok(())
        });
        let ext = |text: &str| {
            let result = all.outgoing(text.as_bytes().to_vec(), &mut |_| {});
            result.handshake_ext
        };
        assert_eq!(
            ext(r#"[{"channel":"/meta/handshake","id":"1"}]"#).unwrap(),
            r#"[{"k":"v"}]"#
        );
        assert_eq!(ext(r#"[{"channel":"/x","id":"1"}]"#), None);
        // Each of them is sent.
        let all = extension(|message| {
            let json = r#"{"channel":"/meta/handshake","id":"1","ext":{"k":"v"},"\u0065xt":7}"#;
            message.replace(json.as_bytes()).unwrap();
            Ok(())
        });
        let handshake = br#"[{"channel":"/meta/handshake","id":"1"}]"#;
        let result = all.outgoing(handshake.to_vec(), &mut |_| {});
        assert_eq!(result.handshake_ext.unwrap(), r#"[{"k":"v"},7]"#);
    }
}
