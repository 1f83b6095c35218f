//! Bayeux messages as they come in a request body and go out in a response
//! body.
//!
//! What the server only hands on (ids, data) is kept as the JSON text that
//! came, so that it goes out byte for byte the same.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;

use crate::timesync;

/// A message in the form in which it is sent. One event is queued for many
/// sessions, hence the reference count.
pub type Text = Rc<str>;

/// A message from a client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub channel: Option<String>,
    pub id: Option<Box<RawValue>>,
    pub client_id: Option<String>,
    pub subscription: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    pub data: Option<Box<RawValue>>,
    pub advice: Option<Value>,
    pub ext: Option<Value>,
}

/// Unlike serde's own rule for an `Option`, `null` is a value: a client may
/// publish it.
fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(source).map(Some)
}

impl Message {
    /// The messages of a request: an array of them, or a single one.
    pub fn parse_all(body: &[u8]) -> serde_json::Result<Vec<Self>> {
        if body.trim_ascii_start().starts_with(b"{") {
            Ok(vec![serde_json::from_slice(body)?])
        } else {
            serde_json::from_slice(body)
        }
    }

    /// The channels to subscribe to or unsubscribe from, or the Bayeux error.
    pub fn subscriptions(&self) -> Result<Vec<String>, &'static str> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let raw = self
            .subscription
            .as_ref()
            .ok_or("403::subscription_missing")?;
        match serde_json::from_str(raw.get()) {
            Ok(OneOrMany::One(channel)) => Ok(vec![channel]),
            Ok(OneOrMany::Many(channels)) if !channels.is_empty() => Ok(channels),
            _ => Err("403::subscription_invalid"),
        }
    }

    /// How long the client wants this connect to be held, if it says so.
    pub fn advised_timeout(&self) -> Option<Duration> {
        let milliseconds = self.advice.as_ref()?.get("timeout")?.as_u64()?;
        Some(Duration::from_millis(milliseconds))
    }

    /// Whether a handshake offers the acknowledgement extension.
    pub fn offers_ack(&self) -> bool {
        self.ext_ack() == Some(&Value::Bool(true))
    }

    /// The last batch that a connect acknowledges.
    pub fn acknowledged(&self) -> Option<u64> {
        self.ext_ack()?.as_u64()
    }

    /// Whether a handshake offers the replay extension.
    pub fn offers_replay(&self) -> bool {
        self.ext_field("replay") == Some(&Value::Bool(true))
    }

    /// After which event of a channel a subscribe wants to start.
    pub fn replay_from(&self, channel: &str) -> Option<i64> {
        self.ext_field("replay")?.get(channel)?.as_i64()
    }

    /// Whether the data is bytes, as CometD's binary extension writes them.
    pub fn is_binary(&self) -> bool {
        self.ext_field("binary").is_some()
    }

    /// What a handshake answers to a challenge.
    pub fn answer(&self) -> Option<&str> {
        self.ext_field("authentication")?.get("answer")?.as_str()
    }

    fn ext_ack(&self) -> Option<&Value> {
        self.ext_field("ack")
    }

    fn ext_field(&self, name: &str) -> Option<&Value> {
        self.ext.as_ref()?.get(name)
    }
}

/// A reply of the server. The fields that are `None` are not sent.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a RawValue>,
    pub successful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported_connection_types: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    #[serde(skip_serializing_if = "Ext::is_empty")]
    pub ext: Option<Ext>,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Advice {
    pub reconnect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

impl Advice {
    pub fn reconnect(action: &'static str) -> Self {
        Self {
            reconnect: action,
            ..Self::default()
        }
    }
}

#[derive(Debug, Default, Serialize)]
pub struct Ext {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<Ack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timesync: Option<timesync::Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Challenge>,
}

/// What a handshake has to answer before it is accepted.
#[derive(Debug, Serialize)]
pub struct Challenge {
    pub challenge: String,
}

impl Ext {
    /// Nothing at all when none of its fields is there.
    fn is_empty(ext: &Option<Self>) -> bool {
        ext.as_ref().is_none_or(|ext| {
            ext.ack.is_none()
                && ext.replay.is_none()
                && ext.timesync.is_none()
                && ext.authentication.is_none()
        })
    }
}

/// `true` in the reply to a handshake, the number of the batch in the reply to
/// a connect.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Ack {
    Supported(bool),
    Batch(u64),
}

impl<'a> Reply<'a> {
    pub fn success(message: &'a Message) -> Self {
        Self {
            channel: message.channel.as_deref(),
            id: message.id.as_deref(),
            successful: true,
            ..Self::default()
        }
    }

    pub fn failure(message: &'a Message, error: impl Into<Cow<'static, str>>) -> Self {
        Self {
            successful: false,
            error: Some(error.into()),
            ..Self::success(message)
        }
    }

    pub fn text(&self) -> Text {
        to_text(self)
    }

    pub fn timed(mut self, timesync: Option<timesync::Answer>) -> Self {
        self.ext.get_or_insert_default().timesync = timesync;
        self
    }
}

/// An event: what subscribers receive for a published message.
pub fn event(channel: &str, data: &RawValue) -> Text {
    event_with(channel, data, None)
}

/// The same for bytes.
pub fn binary_event(channel: &str, data: &RawValue) -> Text {
    event_with(channel, data, Some(serde_json::json!({ "binary": {} })))
}

fn event_with(channel: &str, data: &RawValue, ext: Option<Value>) -> Text {
    #[derive(Serialize)]
    struct Event<'a> {
        channel: &'a str,
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        ext: Option<Value>,
    }
    to_text(&Event { channel, data, ext })
}

/// What a service answers to one session.
pub fn service_answer(channel: &str, call: &Message, successful: bool, data: &RawValue) -> Text {
    #[derive(Serialize)]
    struct ServiceAnswer<'a> {
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        successful: bool,
        data: &'a RawValue,
    }
    to_text(&ServiceAnswer {
        channel,
        id: call.id.as_deref(),
        successful,
        data,
    })
}

fn to_text(message: &impl Serialize) -> Text {
    serde_json::to_string(message)
        .expect("a message holds nothing that JSON cannot")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message {
        Message::parse_all(text.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn array_or_single_message() {
        let two = Message::parse_all(br#"[{"channel":"/a"},{"channel":"/b"}]"#).unwrap();
        assert_eq!(two.len(), 2);
        let one = Message::parse_all(b" \r\n{\"channel\":\"/a\"}").unwrap();
        assert_eq!(one[0].channel.as_deref(), Some("/a"));
        for bad in ["", "null", "[1]", "[{]", "[{}", "<html>"] {
            assert!(Message::parse_all(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_and_data_stay_as_they_came() {
        let message = parse(r#"{"channel":"/a","id":7,"data":{"x": 1.50, "y":"\u00e9"}}"#);
        let data = message.data.as_deref().unwrap();
        assert_eq!(
            &*event("/a", data),
            r#"{"channel":"/a","data":{"x": 1.50, "y":"\u00e9"}}"#
        );
        assert_eq!(
            &*binary_event("/a", data),
            r#"{"channel":"/a","data":{"x": 1.50, "y":"\u00e9"},"ext":{"binary":{}}}"#
        );
        assert_eq!(
            &*Reply::success(&message).text(),
            r#"{"channel":"/a","id":7,"successful":true}"#
        );
        assert_eq!(parse(r#"{"data":null}"#).data.unwrap().get(), "null");
        assert!(parse("{}").data.is_none());
    }

    #[test]
    fn subscriptions() {
        let of = |text: &str| parse(text).subscriptions();
        assert_eq!(of(r#"{"subscription":"/a"}"#).unwrap(), ["/a"]);
        assert_eq!(of(r#"{"subscription":["/a","/b"]}"#).unwrap(), ["/a", "/b"]);
        assert_eq!(of("{}"), Err("403::subscription_missing"));
        for invalid in ["7", "[]", "[7]", "{}"] {
            let text = format!(r#"{{"subscription":{invalid}}}"#);
            assert_eq!(of(&text), Err("403::subscription_invalid"), "{invalid}");
        }
    }

    #[test]
    fn advice_and_ack() {
        let message = parse(r#"{"advice":{"timeout":0},"ext":{"ack":3}}"#);
        assert_eq!(message.advised_timeout(), Some(Duration::ZERO));
        assert_eq!(message.acknowledged(), Some(3));
        assert!(!message.offers_ack());
        assert!(parse(r#"{"ext":{"ack":true}}"#).offers_ack());
    }
}
