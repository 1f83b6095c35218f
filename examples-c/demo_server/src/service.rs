//! The services that a client can call: a publish to a service channel is
//! answered on the same channel, with the same id. `/service/slow` never
//! answers, and neither does a channel that nobody serves.

use serde_json::value::RawValue;

use crate::message::{self, Message, Text};

const ECHO: &str = "/service/echo";
const FAIL: &str = "/service/fail";

/// What the service gives back: what it was given, as a result or as the
/// description of a failure.
pub fn answer(channel: &str, message: &Message, data: &RawValue) -> Option<Text> {
    let successful = match channel {
        ECHO => true,
        FAIL => false,
        _ => return None,
    };
    Some(message::service_answer(channel, message, successful, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(channel: &str) -> Option<Text> {
        let text = br#"{"channel":"/service/x","id":"7","data":{"a": 1}}"#;
        let message = Message::parse_all(text).unwrap().remove(0);
        answer(channel, &message, message.data.as_deref().unwrap())
    }

    #[test]
    fn answers_have_the_id_of_the_call() {
        assert_eq!(
            ask(ECHO).as_deref(),
            Some(r#"{"channel":"/service/echo","id":"7","successful":true,"data":{"a": 1}}"#)
        );
        assert_eq!(
            ask(FAIL).as_deref(),
            Some(r#"{"channel":"/service/fail","id":"7","successful":false,"data":{"a": 1}}"#)
        );
        assert_eq!(ask("/service/slow"), None);
    }
}
