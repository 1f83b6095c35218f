//! JSON that comes from the host, checked before it is accepted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
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

/// Checks that `bytes` is one JSON value and keeps its text unchanged.
pub fn parse(bytes: &[u8]) -> Result<Box<RawValue>, JsonError> {
    let text = std::str::from_utf8(bytes)?;
    let raw: Box<RawValue> = serde_json::from_str(text)?;
    if depth(raw.get().as_bytes()) > MAXIMUM_DEPTH {
        return Err(JsonError::TooDeep);
    }
    Ok(raw)
}

/// Like [`parse`], and the value must be an object.
pub fn parse_object(bytes: &[u8]) -> Result<Box<RawValue>, JsonError> {
    let raw = parse(bytes)?;
    if raw.get().starts_with('{') {
        Ok(raw)
    } else {
        Err(JsonError::NotAnObject)
    }
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

/// A number, or a string that holds one: servers send both
/// (CometD's own client accepts `"timeout":"30000"`).
pub fn lenient_integer(raw: &RawValue) -> Option<i64> {
    let text = raw.get();
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
pub fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// The strings of a JSON array of strings, or a single string as one.
/// `None` when the value is anything else or the array holds anything else.
pub fn strings(raw: &RawValue) -> Option<Vec<String>> {
    if raw.get().starts_with('"') {
        return string(raw).map(|text| vec![text]);
    }
    serde_json::from_str(raw.get()).ok()
}

/// One field of a JSON object; `None` when there is none, or no object.
pub fn field<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    fields(object)?.remove(name)
}

/// The fields of a JSON object, each as it came; of one name the last counts.
pub fn fields(object: &RawValue) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(object.get()).ok()
}

/// The fields of a JSON object in their order, each as often as it is there.
pub fn entries(object: &RawValue) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    serde_json::Deserializer::from_str(object.get())
        .deserialize_map(Entries)
        .ok()
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
}
