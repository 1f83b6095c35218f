//! Salesforce's replay extension: events of a channel carry ids that grow, and
//! a subscribe says after which of them it wants to start.

use serde_json::value::RawValue;

pub use super::channel::topic;
use super::json;

/// The name of the extension's field in `ext`.
pub const FIELD: &str = "replay";

/// The position of who wants new events only.
pub const NEW: i64 = -1;
/// The position of who wants all events that the server still has.
pub const ALL: i64 = -2;

/// Whether a subscribe may start there: one of the two above, or behind an
/// event.
pub fn is_position(position: i64) -> bool {
    position >= ALL
}

/// Whether positions belong to it at all: they belong to a topic, and the ids of
/// several channels have nothing to do with each other.
pub fn has_position(channel: &str) -> bool {
    let topic = topic(channel);
    !topic.ends_with("/*") && !topic.ends_with("/**")
}

/// Whether the answer to a handshake's offer takes it: `true`, or an object,
/// which some servers send.
pub fn is_accepted(answer: &RawValue) -> bool {
    answer.get() == "true" || answer.get().starts_with('{')
}

/// The id of an event, from its `data.event.replayId`: a number, or a string
/// of digits. Anything else is none, negative numbers too: they are positions
/// with another meaning.
pub fn id_of(data: &str) -> Option<i64> {
    let event = json::field_of(data, "event")?;
    let id = json::field(event, "replayId")?.get();
    let digits = id
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(id);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

/// The same of data that is long: most has no id, which a search for the name tells
/// faster than a look at each field. The name may be written with escapes.
pub fn id_of_much(data: &str) -> Option<i64> {
    let may_have_one = data.contains("replayId") || data.contains("\\u");
    may_have_one.then(|| id_of(data)).flatten()
}

/// The `ext` field of a subscribe to a channel.
pub fn field(channel: &str, position: i64) -> Option<(&'static str, String)> {
    let topic = serde_json::to_string(topic(channel)).ok()?;
    Some((FIELD, format!("{{{topic}:{position}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_has_the_same_id() {
        for data in [
            r#"{"event":{"replayId":7}}"#,
            r#"{"event":{"r\u0065playId":7}}"#,
            r#"{"\u0065vent":{"replayId":7}}"#,
            r#"{"event":{"replayId":"x"}}"#,
            r#"{"event":{}}"#,
            r#""replayId""#,
        ] {
            assert_eq!(id_of_much(data), id_of(data), "{data}");
        }
        assert_eq!(id_of_much(r#"{"event":{"r\u0065playId":7}}"#), Some(7));
    }

    #[test]
    fn ids_are_numbers_or_strings_of_digits_and_nothing_else() {
        let id = |replay_id: &str| {
            let data = format!(r#"{{"payload":{{}},"event":{{"x":1,"replayId":{replay_id}}}}}"#);
            id_of(&data)
        };
        assert_eq!(id("0"), Some(0));
        assert_eq!(id("7"), Some(7));
        assert_eq!(id("\"7\""), Some(7));
        assert_eq!(id("9223372036854775807"), Some(i64::MAX));
        for none in [
            "9223372036854775808",
            "1e400",
            "1e3",
            "7.5",
            "-1",
            "-2",
            "\"-2\"",
            "\"+7\"",
            "\"\"",
            "\" 7\"",
            "\"7\\n\"",
            "\"seven\"",
            "null",
            "true",
            "[7]",
            "{\"replayId\":7}",
        ] {
            assert_eq!(id(none), None, "{none}");
        }
        for data in [
            "7",
            "null",
            "[]",
            "[{\"replayId\":7}]",
            "{}",
            r#"{"event":7}"#,
            r#"{"event":[{"replayId":7}]}"#,
            r#"{"replayId":7}"#,
        ] {
            assert_eq!(id_of(data), None, "{data}");
        }
    }

    #[test]
    fn a_position_belongs_to_the_channel_without_its_query() {
        for (channel, its_topic) in [
            ("/event/A__e", "/event/A__e"),
            ("/topic/A?b=c", "/topic/A"),
            ("/topic/A?b=c?d", "/topic/A"),
            ("/topic/A?", "/topic/A"),
        ] {
            assert_eq!(topic(channel), its_topic);
            assert!(has_position(channel));
        }
        for pattern in ["/event/*", "/event/**", "/*", "/event/*?a=b"] {
            assert!(!has_position(pattern), "{pattern}");
        }
        assert_eq!(
            field("/a\"b?c=d", 7),
            Some(("replay", r#"{"/a\"b":7}"#.to_owned()))
        );
    }
}
