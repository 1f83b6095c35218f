//! Messages that the client sends.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{json, meta, LONG_POLLING, VERSION};

/// One outgoing message. Its order of fields is the order on the wire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    channel: &'a str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supported_connection_types: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<OutgoingAdvice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OutgoingAdvice {
    timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u64>,
}

impl<'a> Outgoing<'a> {
    fn new(channel: &'a str, id: u64) -> Self {
        Self {
            channel,
            id: id.to_string(),
            version: None,
            minimum_version: None,
            supported_connection_types: None,
            client_id: None,
            connection_type: None,
            subscription: None,
            advice: None,
            data: None,
            ext: None,
            timestamp: None,
        }
    }
}

/// What the host cannot set in a handshake: what is sent there, or must not be.
const HANDSHAKE_FIELDS: [&str; 8] = [
    "channel",
    "id",
    "version",
    "minimumVersion",
    "supportedConnectionTypes",
    "clientId",
    "advice",
    "ext",
];

/// The JSON array of one request.
#[derive(Debug)]
pub struct Messages {
    json: Vec<u8>,
    count: usize,
    /// When they are sent, if they are to say so (section 3.4).
    timestamp: Option<String>,
}

impl Default for Messages {
    fn default() -> Self {
        Self::new()
    }
}

impl Messages {
    pub fn new() -> Self {
        // Room for a connect, the message that is sent over and over.
        let mut json = Vec::with_capacity(256);
        json.push(b'[');
        Self {
            json,
            count: 0,
            timestamp: None,
        }
    }

    pub fn at(timestamp: Option<String>) -> Self {
        Self {
            timestamp,
            ..Self::new()
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.json.len()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn push(&mut self, message: Outgoing) {
        let Self {
            json,
            count,
            timestamp,
        } = self;
        if *count > 0 {
            json.push(b',');
        }
        *count += 1;
        let message = Outgoing {
            timestamp: timestamp.as_deref(),
            ..message
        };
        // Writing to a Vec fails never, and none of the fields can fail.
        let written = serde_json::to_writer(json, &message);
        debug_assert!(written.is_ok());
    }

    /// A handshake (Bayeux specification, section 4.1). It never names a client id.
    /// `more` is an object with further fields; the protocol's own win.
    pub fn handshake(
        &mut self,
        id: u64,
        timeout: u64,
        interval: u64,
        ext: Option<&RawValue>,
        more: Option<&RawValue>,
    ) {
        self.push(Outgoing {
            version: Some(VERSION),
            minimum_version: Some(VERSION),
            supported_connection_types: Some([LONG_POLLING]),
            advice: Some(OutgoingAdvice {
                timeout,
                interval: Some(interval),
            }),
            ext,
            ..Outgoing::new(meta::HANDSHAKE, id)
        });
        let more = more.and_then(json::fields).unwrap_or_default();
        let more: Vec<_> = more
            .iter()
            .filter(|(name, _)| !HANDSHAKE_FIELDS.contains(&&***name))
            .map(|(name, value)| (&**name, value.get()))
            .collect();
        if !more.is_empty() {
            // In front of the brace that ends the message.
            self.json.pop();
            self.json.push(b',');
            let object = json::object(more);
            self.json.extend(object.bytes().skip(1));
        }
    }

    /// A connect (section 4.2); `at_once` asks the server not to hold it.
    pub fn connect(&mut self, id: u64, client_id: &str, at_once: bool, ext: Option<&RawValue>) {
        self.push(Outgoing {
            client_id: Some(client_id),
            connection_type: Some(LONG_POLLING),
            advice: at_once.then_some(OutgoingAdvice {
                timeout: 0,
                interval: None,
            }),
            ext,
            ..Outgoing::new(meta::CONNECT, id)
        });
    }

    pub fn disconnect(&mut self, id: u64, client_id: &str, ext: Option<&RawValue>) {
        self.push(Outgoing {
            client_id: Some(client_id),
            ext,
            ..Outgoing::new(meta::DISCONNECT, id)
        });
    }

    pub fn subscribe(&mut self, id: u64, client_id: &str, channel: &str, ext: Option<&RawValue>) {
        self.push(Outgoing {
            client_id: Some(client_id),
            subscription: Some(channel),
            ext,
            ..Outgoing::new(meta::SUBSCRIBE, id)
        });
    }

    pub fn unsubscribe(&mut self, id: u64, client_id: &str, channel: &str, ext: Option<&RawValue>) {
        self.push(Outgoing {
            client_id: Some(client_id),
            subscription: Some(channel),
            ext,
            ..Outgoing::new(meta::UNSUBSCRIBE, id)
        });
    }

    pub fn publish(&mut self, id: u64, client_id: &str, channel: &str, data: &RawValue) {
        self.push(Outgoing {
            client_id: Some(client_id),
            data: Some(data),
            ..Outgoing::new(channel, id)
        });
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(messages: Messages) -> String {
        String::from_utf8(messages.finish()).unwrap()
    }

    #[test]
    fn handshake_1() {
        let ext: Box<RawValue> = serde_json::from_str(r#"{"token": "t"}"#).unwrap();
        let mut messages = Messages::new();
        messages.handshake(1, 60_000, 0, Some(&ext), None);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"advice":{"timeout":60000,"interval":0},"ext":{"token": "t"}}]"#
        );
    }

    #[test]
    fn the_hosts_fields_of_a_handshake_are_sent_and_the_protocols_own_win_2() {
        let more: Box<RawValue> = serde_json::from_str(
            r#"{"i\u0064":"7","channel":"/x","version":"9","clientId":"c","advice":1,"ext":2,"a b": [1.50],"z":"é"}"#,
        )
        .unwrap();
        let mut messages = Messages::new();
        messages.handshake(1, 60_000, 0, None, Some(&more));
        messages.connect(2, "c", false, None);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"advice":{"timeout":60000,"interval":0},"a b":[1.50],"z":"é"},{"channel":"/meta/connect","id":"2","clientId":"c","connectionType":"long-polling"}]"#
        );
    }

    #[test]
    fn connects_24() {
        let mut messages = Messages::new();
        messages.connect(2, "c", true, None);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/meta/connect","id":"2","clientId":"c","connectionType":"long-polling","advice":{"timeout":0}}]"#
        );
        let mut messages = Messages::new();
        messages.connect(3, "c", false, None);
        assert!(!text(messages).contains("advice"));
    }

    #[test]
    fn published_data_is_verbatim_81() {
        let data: Box<RawValue> =
            serde_json::from_str(r#"{ "n": 9007199254740993, "x":1e400 }"#).unwrap();
        let mut messages = Messages::new();
        messages.subscribe(4, "c", "/a\"b", None);
        messages.publish(5, "c", "/x", &data);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/meta/subscribe","id":"4","clientId":"c","subscription":"/a\"b"},{"channel":"/x","id":"5","clientId":"c","data":{ "n": 9007199254740993, "x":1e400 }}]"#
        );
    }
}
