//! Advice: what a server asks of its clients (Bayeux specification, section 3.2).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{json, LONG_POLLING};

/// What to do after a message, `advice.reconnect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    Retry,
    Handshake,
    None,
}

/// One advice as it came. Fields that are absent, of the wrong type or of a
/// value nobody knows are `None`: the defaults depend on the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    pub reconnect: Option<Reconnect>,
    /// Milliseconds to wait before the next connect; negative: none may follow.
    pub interval: Option<i64>,
    /// Milliseconds that the server holds a connect.
    pub timeout: Option<i64>,
    /// Milliseconds, after `timeout` and `interval`, for which the server
    /// keeps a session that does not connect.
    pub maximum_interval: Option<i64>,
    pub multiple_clients: bool,
    /// Hosts to handshake with instead.
    pub hosts: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    reconnect: Option<&'a RawValue>,
    #[serde(borrow)]
    interval: Option<&'a RawValue>,
    #[serde(borrow)]
    timeout: Option<&'a RawValue>,
    #[serde(borrow, rename = "maxInterval")]
    maximum_interval: Option<&'a RawValue>,
    #[serde(borrow, rename = "multiple-clients")]
    multiple_clients: Option<&'a RawValue>,
    #[serde(borrow)]
    hosts: Option<&'a RawValue>,
    #[serde(borrow, rename = "long-polling")]
    long_polling: Option<&'a RawValue>,
}

impl Advice {
    /// Reads an advice; anything but an object is no advice.
    ///
    /// A section named after the connection type in use overrides the fields
    /// beside it (Bayeux specification, section 3.2: advice for a transport).
    pub fn parse(raw: &RawValue, connection_type: &str) -> Option<Self> {
        let mut advice = Self::default();
        let fields: Fields = serde_json::from_str(raw.get()).ok()?;
        advice.read(&fields);
        if connection_type == LONG_POLLING {
            if let Some(section) = fields.long_polling {
                if let Ok(fields) = serde_json::from_str(section.get()) {
                    advice.read(&fields);
                }
            }
        }
        Some(advice)
    }

    fn read(&mut self, fields: &Fields) {
        if let Some(raw) = fields.reconnect {
            self.reconnect = match raw.get() {
                r#""retry""# => Some(Reconnect::Retry),
                r#""handshake""# => Some(Reconnect::Handshake),
                r#""none""# => Some(Reconnect::None),
                _ => None,
            };
        }
        for (from, to) in [
            (fields.interval, &mut self.interval),
            (fields.timeout, &mut self.timeout),
            (fields.maximum_interval, &mut self.maximum_interval),
        ] {
            if let Some(number) = from.and_then(json::lenient_integer) {
                *to = Some(number);
            }
        }
        if let Some(raw) = fields.multiple_clients {
            self.multiple_clients = raw.get() == "true";
        }
        if let Some(hosts) = fields.hosts.and_then(json::strings) {
            self.hosts = hosts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(text: &str) -> Option<Advice> {
        Advice::parse(&json::parse(text.as_bytes()).unwrap(), LONG_POLLING)
    }

    #[test]
    fn numbers_may_be_strings_54() {
        let advice = advice(r#"{"timeout":"30000","interval":"100","maxInterval":5}"#).unwrap();
        assert_eq!(advice.timeout, Some(30_000));
        assert_eq!(advice.interval, Some(100));
        assert_eq!(advice.maximum_interval, Some(5));
        assert_eq!(advice.reconnect, None);
    }

    #[test]
    fn a_section_for_the_transport_overrides_55() {
        let advice = advice(
            r#"{"interval":0,"reconnect":"retry","long-polling":{"interval":1500,"reconnect":"handshake"},
                "websocket":{"interval":7}}"#,
        )
        .unwrap();
        assert_eq!(advice.interval, Some(1500));
        assert_eq!(advice.reconnect, Some(Reconnect::Handshake));
    }

    #[test]
    fn unknown_and_malformed_advice_is_no_advice_51_161() {
        assert_eq!(advice(r#"{"reconnect":"banana"}"#).unwrap().reconnect, None);
        let odd = advice(r#"{"reconnect":7,"interval":[],"timeout":{},"hosts":3}"#).unwrap();
        assert_eq!(odd, Advice::default());
        for text in ["null", "7", "\"retry\"", "[]"] {
            assert!(
                advice(text).is_none_or(|a| a == Advice::default()),
                "{text}"
            );
        }
    }
}
