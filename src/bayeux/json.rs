//! JSON that comes from the host, checked before it is accepted, and pieces of
//! what comes from a server.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deeply JSON from the host may nest. serde_json, Jackson and most other
/// parsers give up at 128 or crash somewhat later; what is refused here is
/// refused while somebody can still do something about it.
pub const MAXIMUM_DEPTH: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("not UTF-8: {0}")]
    NotUtf8(#[from] std::str::Utf8Error),
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("nested more than {MAXIMUM_DEPTH} levels deep")]
    TooDeep,
    #[error("not a JSON object")]
    NotAnObject,
}

/// Checks that `bytes` is one JSON value.
pub fn check(bytes: &[u8]) -> Result<&RawValue, JsonError> {
    let text = std::str::from_utf8(bytes)?;
    let raw: &RawValue = serde_json::from_str(text)?;
    if depth(raw.get().as_bytes()) > MAXIMUM_DEPTH {
        return Err(JsonError::TooDeep);
    }
    Ok(raw)
}

/// Like [`check`], and the value must be an object.
pub fn check_object(bytes: &[u8]) -> Result<&RawValue, JsonError> {
    let raw = check(bytes)?;
    if raw.get().starts_with('{') {
        Ok(raw)
    } else {
        Err(JsonError::NotAnObject)
    }
}

/// Checks that `bytes` is one JSON value and keeps its text unchanged.
pub fn parse(bytes: &[u8]) -> Result<Box<RawValue>, JsonError> {
    check(bytes).map(ToOwned::to_owned)
}

/// Like [`parse`], and the value must be an object.
pub fn parse_object(bytes: &[u8]) -> Result<Box<RawValue>, JsonError> {
    check_object(bytes).map(ToOwned::to_owned)
}

/// The nesting depth of text that is known to be JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

/// A number written longer than this is none.
const LONGEST_NUMBER: usize = 1024;

/// A number, or a string that holds one: servers send both
/// (CometD's own client accepts `"timeout":"30000"`).
pub fn lenient_integer(raw: &RawValue) -> Option<i64> {
    lenient_integer_of(raw.get())
}

/// The same of a text.
pub fn lenient_integer_of(text: &str) -> Option<i64> {
    if text.len() > LONGEST_NUMBER {
        return None;
    }
    let text = text
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(text)
        .trim();
    text.parse::<i64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        // A float-to-integer cast saturates, so a huge number stays huge.
        number.is_finite().then_some(number as i64)
    })
}

/// The text of a JSON string; anything else is `None`.
///
/// Half a surrogate pair, which JSON can write and UTF-8 cannot, is U+FFFD.
pub fn string(raw: &RawValue) -> Option<String> {
    text(raw.get()).map(Cow::into_owned)
}

/// The same of a text that is known to be JSON, copied only where it must be.
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(match inner.contains('\\') {
        false => Cow::Borrowed(inner),
        true => Cow::Owned(unescaped(inner, usize::MAX)),
    })
}

/// What stands between the quotes of a JSON string, without escapes; of a long
/// one the first `most` bytes, or a few more.
pub fn unescaped(inner: &str, most: usize) -> String {
    let mut text = String::with_capacity(inner.len().min(most));
    // Escaped, each byte of it may take several here.
    let mut rest = up_to(inner, most.saturating_mul(LONGEST_ESCAPE));
    while text.len() < most {
        let (plain, escape) = rest.split_once('\\').unwrap_or((rest, ""));
        text.push_str(up_to(plain, most - text.len()));
        if plain.len() == rest.len() {
            break;
        }
        let mut letters = escape.chars();
        text.push(match letters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (character, length) = code_point(letters.as_str());
                let after = letters.as_str().get(length..);
                letters = after.unwrap_or_default().chars();
                character
            }
            Some(itself) => itself,
            None => break,
        });
        rest = letters.as_str();
    }
    text
}

/// The first `most` bytes of a text, or a few less, so that no character is cut.
pub fn up_to(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|it| text.is_char_boundary(*it));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

/// The character whose code stands behind `\u`, and how many bytes that takes.
fn code_point(digits: &str) -> (char, usize) {
    let unit = |at: usize| u16::from_str_radix(digits.get(at..at + 4)?, 16).ok();
    let Some(first) = unit(0) else {
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    let second = match digits.get(4..6) {
        Some("\\u") => unit(6),
        _ => None,
    };
    match char::decode_utf16([first].into_iter().chain(second)).next() {
        Some(Ok(character)) if character.len_utf16() == 2 => (character, 10),
        Some(Ok(character)) => (character, 4),
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

/// Which strings of a list are read.
pub struct Wanted {
    /// So many, the first of them.
    pub most: usize,
    /// None that is longer.
    pub longest: usize,
    /// Those only of which this is true; others do not count.
    pub usable: fn(&str) -> bool,
    /// Whether a list that holds anything else is no list. Otherwise that is
    /// passed over.
    pub strings_only: bool,
}

/// The strings of a JSON array, or a single string as one; `None` for anything
/// else.
///
/// Nothing but these is built of an array of millions, and nothing is read that
/// stands behind the last of them.
pub fn strings(json: &str, wanted: &Wanted) -> Option<Vec<String>> {
    struct Strings<'w> {
        found: Vec<String>,
        wanted: &'w Wanted,
        refused: bool,
    }
    impl Strings<'_> {
        fn take(&mut self, json: &str) {
            let longest = self.wanted.longest.saturating_mul(LONGEST_ESCAPE) + 2;
            if !json.starts_with('"') {
                self.refused |= self.wanted.strings_only;
            } else if json.len() <= longest {
                let usable = |it: &str| it.len() <= self.wanted.longest && (self.wanted.usable)(it);
                let text = text(json).filter(|it| usable(it));
                self.found.extend(text.map(Cow::into_owned));
            }
        }
    }
    impl<'de> Visitor<'de> for &mut Strings<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            while self.found.len() < self.wanted.most && !self.refused {
                let Some(element) = elements.next_element::<&RawValue>()? else {
                    break;
                };
                self.take(element.get());
            }
            Ok(())
        }
    }
    let mut strings = Strings {
        found: Vec::new(),
        wanted,
        refused: false,
    };
    if json.starts_with('"') {
        strings.take(json);
    } else if json.starts_with('[') {
        // It complains of what was left unread; there is nothing else, for this
        // is JSON.
        let _ = serde_json::Deserializer::from_str(json).deserialize_seq(&mut strings);
    } else {
        return None;
    }
    (!strings.refused).then_some(strings.found)
}

/// So many bytes a byte of text may take in a JSON string, `\u0041`.
const LONGEST_ESCAPE: usize = 6;

/// Calls `each` for the fields of a JSON object in their order; false when the
/// text is no object. Nothing is kept of an object of millions.
pub fn each_field<'a>(object: &'a str, each: impl FnMut(Cow<'a, str>, &'a RawValue)) -> bool {
    struct Each<F>(F);
    impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                (self.0)(text(name.get()).unwrap_or_default(), value);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(object)
        .deserialize_map(Each(each))
        .is_ok()
}

/// One field of a JSON object, of one name the last; `None` when there is none,
/// or no object.
pub fn field<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    field_of(object.get(), name)
}

/// The same of a text.
pub fn field_of<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let is_object = each_field(object, |it, value| {
        if it == name {
            found = Some(value);
        }
    });
    found.filter(|_| is_object)
}

/// An object of the fields that are short, of a huge one the first.
pub fn short_fields(object: &str) -> Option<String> {
    const SHORT: usize = 4 * 1024;
    const MOST: usize = 64 * 1024;
    let (mut fields, mut length) = (Vec::new(), 0);
    let is_object = each_field(object, |name, value| {
        let takes = name.len() + value.get().len() + 4;
        if takes <= SHORT && length + takes <= MOST {
            length += takes;
            fields.push((name, value.get()));
        }
    });
    let fields = fields.iter().map(|(name, value)| (&**name, *value));
    is_object.then(|| self::object(fields))
}

/// The fields of a JSON object, each as it came; of one name the last counts.
pub fn fields(object: &RawValue) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    let mut fields = BTreeMap::new();
    let each = |name, value| {
        fields.insert(name, value);
    };
    each_field(object.get(), each).then_some(fields)
}

/// The fields of a JSON object in their order, each as often as it is there.
pub fn entries(object: &RawValue) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    let mut entries = Vec::new();
    each_field(object.get(), |name, value| entries.push((name, value))).then_some(entries)
}

/// An object of these fields, in this order.
pub fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (name, value) in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(name).to_string());
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

/// The fields of both objects; of one name those of `over` count.
pub fn merged(base: Option<&RawValue>, over: Option<&RawValue>) -> Option<Box<RawValue>> {
    let (Some(below), Some(above)) = (base.and_then(fields), over.and_then(fields)) else {
        return over.or(base).map(ToOwned::to_owned);
    };
    let mut all = below;
    all.extend(above);
    serde_json::value::to_raw_value(&all).ok()
}

/// An object with the fields of `base`, and these in their place.
pub fn with_fields(base: Option<&RawValue>, added: &[(&str, String)]) -> Option<Box<RawValue>> {
    if added.is_empty() {
        return base.map(ToOwned::to_owned);
    }
    let mut object: BTreeMap<Cow<str>, Box<RawValue>> = base
        .and_then(fields)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    for (name, value) in added {
        let value = RawValue::from_string(value.clone()).ok()?;
        object.insert(Cow::Borrowed(name), value);
    }
    serde_json::value::to_raw_value(&object).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_to_the_letter() {
        for text in ["1e400", "9007199254740993", r#"{ "a" : "\u00e9" }"#, "null"] {
            assert_eq!(parse(text.as_bytes()).unwrap().get(), text);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", " ", "{", "{}x", "[1,]", "nul", "NaN", "\u{feff}{}"] {
            assert!(
                matches!(parse(text.as_bytes()), Err(JsonError::NotJson(_))),
                "{text:?}"
            );
        }
        assert!(matches!(parse(b"\"\xff\""), Err(JsonError::NotUtf8(_))));
        assert!(matches!(parse_object(b"[]"), Err(JsonError::NotAnObject)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take too long")]
    fn depth_is_limited_and_brackets_in_strings_do_not_count() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(deep(MAXIMUM_DEPTH).as_bytes()).is_ok());
        assert!(matches!(
            parse(deep(MAXIMUM_DEPTH + 1).as_bytes()),
            Err(JsonError::TooDeep)
        ));
        assert!(matches!(
            parse(deep(100_000).as_bytes()),
            Err(JsonError::TooDeep)
        ));
        let string = format!(r#""{}\"[""#, "[".repeat(1000));
        assert!(parse(string.as_bytes()).is_ok());
    }

    #[test]
    fn fields_are_added_and_replaced_and_the_rest_is_kept_to_the_letter() {
        let base = parse(br#"{"token":{ "a" : 1e400 },"ack":"host"}"#).unwrap();
        assert_eq!(
            with_fields(Some(&base), &[("ack", "true".into())])
                .unwrap()
                .get(),
            r#"{"ack":true,"token":{ "a" : 1e400 }}"#
        );
        assert!(with_fields(None, &[]).is_none());
        assert_eq!(
            with_fields(None, &[("ack", "3".into())]).unwrap().get(),
            r#"{"ack":3}"#
        );
    }

    #[test]
    fn objects_are_taken_apart_and_put_together() {
        let text = r#"{"a":1, "\u0062" : {"x" :1e400},"a":[2]}"#;
        let raw = parse(text.as_bytes()).unwrap();
        let entries = entries(&raw).unwrap();
        let names: Vec<_> = entries.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a", "b", "a"]);
        let again = object(entries.iter().map(|(name, value)| (&**name, value.get())));
        assert_eq!(again, r#"{"a":1,"b":{"x" :1e400},"a":[2]}"#);
        assert_eq!(object([("\"\n", "1")]), r#"{"\"\n":1}"#);
        assert!(super::entries(&parse(b"[1]").unwrap()).is_none());
        assert_eq!(object([]), "{}");
    }

    #[test]
    fn objects_are_merged_field_by_field() {
        let raw = |text: &str| parse(text.as_bytes()).unwrap();
        let (base, over) = (raw(r#"{"a":{"x":1},"b":1}"#), raw(r#"{"a":{"y":2},"c":3}"#));
        let merged = |base: Option<&RawValue>, over: Option<&RawValue>| {
            super::merged(base, over).map(|it| it.get().to_owned())
        };
        assert_eq!(
            merged(Some(&base), Some(&over)).unwrap(),
            r#"{"a":{"y":2},"b":1,"c":3}"#
        );
        assert_eq!(merged(Some(&base), None).unwrap(), base.get());
        assert_eq!(merged(None, Some(&over)).unwrap(), over.get());
        assert_eq!(merged(None, None), None);
    }

    #[test]
    fn integers_may_be_strings() {
        let integer = |text: &str| lenient_integer(&parse(text.as_bytes()).unwrap());
        assert_eq!(integer("30000"), Some(30000));
        assert_eq!(integer("\"30000\""), Some(30000));
        assert_eq!(integer("1.5e3"), Some(1500));
        assert_eq!(integer("-1"), Some(-1));
        assert_eq!(integer("1e300"), Some(i64::MAX));
        assert_eq!(integer("true"), None);
        assert_eq!(integer("\"soon\""), None);
        assert_eq!(integer("[]"), None);
    }
    #[test]
    fn case_surrogates_in_escapes_that_stand_alone_refuse_nothing() {
        for (json, expected) in [
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\ude00b""#, "\u{fffd}b"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\b\f\n\r\t\"\\\/\u00E9é""#, "\u{8}\u{c}\n\r\t\"\\/éé"),
            (r#""""#, ""),
        ] {
            let raw = parse(json.as_bytes()).unwrap();
            assert_eq!(string(&raw).as_deref(), Some(expected), "{json}");
        }
        assert_eq!(string(&parse(b"7").unwrap()), None);
        let object = r#"{"\ud83d":1,"a":2,"\u0061":[3]}"#;
        assert_eq!(field_of(object, "a").unwrap().get(), "[3]");
        assert_eq!(fields(&parse(object.as_bytes()).unwrap()).unwrap().len(), 2);
        assert_eq!(unescaped(&"é".repeat(100), 9), "é".repeat(4));
        assert_eq!(unescaped(r"ab\u0041\ud83d\ude00", 4), "abA\u{1f600}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take too long")]
    fn of_a_list_of_millions_only_the_first_are_read() {
        let wanted = |strings_only| Wanted {
            most: 2,
            longest: 4,
            usable: |it| it != "no",
            strings_only,
        };
        let some = |json: &str| strings(json, &wanted(false));
        assert_eq!(some(r#"["a","bc","d"]"#).unwrap(), ["a", "bc"]);
        assert_eq!(
            some(r#"["longer",7,"no","\u0061\u0062\u0063\u0064",{}]"#).unwrap(),
            ["abcd"]
        );
        assert_eq!(some(r#""one""#).unwrap(), ["one"]);
        assert!(some(r#""longer""#).unwrap().is_empty());
        assert!(some("[]").unwrap().is_empty());
        for none in ["7", "{}", "null"] {
            assert_eq!(some(none), None, "{none}");
        }
        let only = |json: &str| strings(json, &wanted(true));
        assert_eq!(only(r#"["a",7]"#), None);
        assert_eq!(only(r#"["a","b",7]"#).unwrap(), ["a", "b"]);
    }
}
