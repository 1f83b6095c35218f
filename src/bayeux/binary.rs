//! CometD's binary extension: a message whose data is bytes, written as Z85, and
//! whose `ext` says so.

use serde_json::value::RawValue;

use super::{json, z85, Message};

/// What stands in the `ext` of such a message.
pub const EXT: &str = r#"{"binary":{}}"#;
const FIELD: &str = "binary";

/// The data of such a message around its bytes and `meta`, at most.
pub const DATA_OVERHEAD: usize = r#"{"data":"","last":false,"meta":}"#.len();

/// The data of such a message. `meta` is an object.
pub fn data(bytes: &[u8], last: bool, meta: Option<&RawValue>) -> Option<Box<RawValue>> {
    let text = z85::encode(bytes);
    let meta = meta.map_or("", RawValue::get);
    let mut data = String::with_capacity(DATA_OVERHEAD + text.len() + meta.len());
    // In Z85 is nothing to escape.
    for part in [r#"{"data":""#, &text, r#"","last":"#] {
        data.push_str(part);
    }
    data.push_str(if last { "true" } else { "false" });
    if !meta.is_empty() {
        data.push_str(r#","meta":"#);
        data.push_str(meta);
    }
    data.push('}');
    RawValue::from_string(data).ok()
}

/// What such a message holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Binary {
    /// `None`: what should be Z85 is none.
    pub bytes: Option<Vec<u8>>,
    /// Whether nothing belongs behind it: so it is unless it says otherwise.
    pub last: bool,
    /// JSON, as it came.
    pub meta: Option<String>,
}

impl Binary {
    /// `None`: the message is of another kind.
    pub fn of(message: &Message) -> Option<Self> {
        if !Self::is(message) {
            return None;
        }
        let data = message.data().unwrap_or_default();
        let field = |name| json::field_of(data, name).map(RawValue::get);
        let text = field("data").and_then(json::text);
        Some(Self {
            bytes: text.and_then(|it| z85::decode(&it).ok()),
            last: field("last") != Some("false"),
            meta: field("meta").filter(|it| *it != "null").map(str::to_owned),
        })
    }

    /// Whether the message says that its data is bytes.
    pub fn is(message: &Message) -> bool {
        let field = message.ext_field(FIELD).map(RawValue::get);
        field.is_some_and(|it| !matches!(it, "null" | "false"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::Body;

    fn of(message: &str) -> Option<Binary> {
        let body = Body::parse(format!("[{message}]").into_bytes()).unwrap();
        let message = body.message(0).unwrap();
        let binary = Binary::of(&message);
        assert_eq!(binary.is_some(), Binary::is(&message));
        binary
    }

    #[test]
    fn what_is_published_is_read_again_216() {
        let meta = json::parse_object(br#"{"name" : "a\"b"}"#).unwrap();
        for length in 0..=8 {
            for (last, meta) in [(true, None), (false, Some(&*meta))] {
                let bytes: Vec<u8> = (0..length).map(|it: u8| it.wrapping_mul(37)).collect();
                let data = data(&bytes, last, meta).unwrap();
                assert!(
                    data.get().len() <= DATA_OVERHEAD + 10 + meta.map_or(0, |it| it.get().len())
                );
                let message = format!(r#"{{"channel":"/a","data":{data},"ext":{EXT}}}"#);
                let expected = Binary {
                    bytes: Some(bytes),
                    last,
                    meta: meta.map(|it| it.get().to_owned()),
                };
                assert_eq!(of(&message), Some(expected), "{message}");
            }
        }
    }

    #[test]
    fn the_data_is_cometds_216() {
        let meta = json::parse_object(br#"{"a":1}"#).unwrap();
        let data = |meta| data(b"\x86\x4f\xd2", false, meta).unwrap().get().to_owned();
        assert_eq!(data(None), r#"{"data":"Helj","last":false}"#);
        let with_meta = r#"{"data":"Helj","last":false,"meta":{"a":1}}"#;
        assert_eq!(data(Some(&meta)), with_meta);
    }

    #[test]
    fn only_the_ext_makes_a_message_binary_216() {
        let data = r#""data":{"data":"H5","last":true}"#;
        for ext in [
            "",
            r#","ext":{}"#,
            r#","ext":"binary""#,
            r#","ext":{"binary":null}"#,
            r#","ext":{"binary":false}"#,
        ] {
            assert_eq!(of(&format!(r#"{{"channel":"/a",{data}{ext}}}"#)), None);
        }
        let binary = of(&format!(
            r#"{{"channel":"/a",{data},"ext":{{"binary":true}}}}"#
        ));
        assert_eq!(binary.unwrap().bytes.unwrap(), b"\x86");
    }

    #[test]
    fn bad_data_gives_no_bytes_and_the_rest_all_the_same_216() {
        for (data, last, meta) in [
            (r#"{"data":"H","last":false}"#, false, None),
            (r#"{"data":"H 5","last":true}"#, true, None),
            (
                r#"{"data":"%nSc1","meta":{"a":1}}"#,
                true,
                Some(r#"{"a":1}"#),
            ),
            (r#"{"data":7,"last":7,"meta":null}"#, true, None),
            (r#"{"last":false,"meta":[1]}"#, false, Some("[1]")),
            (r#""H5""#, true, None),
            ("null", true, None),
        ] {
            let message = format!(r#"{{"channel":"/a","data":{data},"ext":{EXT}}}"#);
            let expected = Binary {
                bytes: None,
                last,
                meta: meta.map(str::to_owned),
            };
            assert_eq!(of(&message), Some(expected), "{message}");
        }
    }

    #[test]
    fn escapes_are_read_216() {
        let message =
            r#"{"channel":"/a","data":{"data":"Hel\u006c\/","last":true},"ext":{"binary":{}}}"#;
        let bytes = of(message).unwrap().bytes.unwrap();
        assert_eq!(z85::encode(&bytes), "Hell/");
    }
}
