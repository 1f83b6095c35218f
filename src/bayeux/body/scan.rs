//! The door for the bodies that servers send: an array of messages, or one
//! message, of well-formed JSON. It goes over the bytes once, and says no to
//! whatever it does not like; serde_json reads that then, or says what is wrong.
//! So it may refuse too much, and must never take what serde_json refuses.

use std::ops::Range;

use super::found::{Draft, Field, Finder, Found};
use super::Span;
use json::Json;

mod json;

/// Reads the messages in `text`, of which `json` is the JSON. `None` when it is
/// not for this door.
pub(super) fn read(text: &str, json: Range<usize>) -> Option<Found> {
    let Range { start, end } = json;
    let json = Json(text.as_bytes().get(..end)?);
    let mut finder = Finder::new(text, end.checked_sub(start)?);
    let behind = match json.byte(start)? {
        b'{' => message(json, start, &mut finder)?,
        b'[' => messages(json, start, &mut finder)?,
        _ => return None,
    };
    (json.blank(behind) == end).then(|| finder.finish())
}

/// The array that begins at `at`; where it ends.
fn messages(json: Json, at: usize, finder: &mut Finder) -> Option<usize> {
    let mut at = json.blank(at + 1);
    if json.byte(at)? == b']' {
        return Some(at + 1);
    }
    loop {
        at = match json.byte(at)? {
            b'{' => message(json, at, finder)?,
            _ => {
                finder.malformed();
                json.value(at)?
            }
        };
        at = json.blank(at);
        match json.byte(at)? {
            b',' => at = json.blank(at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The object that begins at `at`; where it ends.
fn message(json: Json, at: usize, finder: &mut Finder) -> Option<usize> {
    let mut draft = Draft::default();
    let mut at = json.blank(at + 1);
    if json.byte(at)? == b'}' {
        finder.message(draft);
        return Some(at + 1);
    }
    loop {
        let (name, value) = json.plain_key(at)?;
        at = json.value(value)?;
        finder.field(&mut draft, Field::named(name), Span::new(value, at - value));
        at = json.blank(at);
        match json.byte(at)? {
            b',' => at = json.blank(at + 1),
            b'}' => {
                finder.message(draft);
                return Some(at + 1);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
