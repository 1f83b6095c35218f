//! Messages that the client sends.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{binary, json, meta, ConnectionType, VERSION};

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

    /// Begins a message to a meta channel. Its fields are written in the order of
    /// the wire, and then its end.
    fn begin(&mut self, meta: &str, id: u64) {
        self.open();
        self.plain(meta);
        self.id(id);
    }

    /// The same with whatever channel the host has named.
    fn begin_on(&mut self, channel: &str, id: u64) {
        self.open();
        self.value(channel);
        self.id(id);
    }

    fn open(&mut self) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
        self.json.extend_from_slice(br#"{"channel":"#);
    }

    /// A name of the protocol's own: in these is nothing to escape.
    fn plain(&mut self, name: &str) {
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.push(b'"');
    }

    fn id(&mut self, id: u64) {
        self.json.extend_from_slice(br#","id":""#);
        self.value(&id);
        self.json.push(b'"');
    }

    /// One field more; the name is none that needs escapes.
    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.json.extend_from_slice(b",\"");
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
        self.value(value);
    }

    fn optional(&mut self, name: &str, value: Option<&RawValue>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        // Writing to a Vec fails never, and neither do texts and numbers.
        let written = serde_json::to_writer(&mut self.json, value);
        debug_assert!(written.is_ok());
    }

    fn end(&mut self) {
        if let Some(timestamp) = self.timestamp.take() {
            self.field("timestamp", &timestamp);
            self.timestamp = Some(timestamp);
        }
        self.json.push(b'}');
    }

    /// A handshake (Bayeux specification, section 4.1). It never names a client id.
    /// `more` is an object with further fields; the protocol's own win.
    pub fn handshake(
        &mut self,
        id: u64,
        types: &[ConnectionType],
        timeout: u64,
        interval: u64,
        ext: Option<&RawValue>,
        more: Option<&RawValue>,
    ) {
        self.begin(meta::HANDSHAKE, id);
        self.field("version", VERSION);
        self.field("minimumVersion", VERSION);
        let types: Vec<_> = types.iter().map(|it| it.name()).collect();
        self.field("supportedConnectionTypes", &types);
        self.json.extend_from_slice(br#","advice":{"timeout":"#);
        self.value(&timeout);
        self.field("interval", &interval);
        self.json.push(b'}');
        self.optional("ext", ext);
        self.end();
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
    pub fn connect(
        &mut self,
        id: u64,
        client_id: &str,
        connection_type: ConnectionType,
        at_once: bool,
        ext: Option<&RawValue>,
    ) {
        self.begin(meta::CONNECT, id);
        self.field("clientId", client_id);
        self.json.extend_from_slice(br#","connectionType":"#);
        self.plain(connection_type.name());
        if at_once {
            self.json.extend_from_slice(br#","advice":{"timeout":0}"#);
        }
        self.optional("ext", ext);
        self.end();
    }

    pub fn disconnect(&mut self, id: u64, client_id: &str, ext: Option<&RawValue>) {
        self.begin(meta::DISCONNECT, id);
        self.field("clientId", client_id);
        self.optional("ext", ext);
        self.end();
    }

    pub fn subscribe(&mut self, id: u64, client_id: &str, channel: &str, ext: Option<&RawValue>) {
        self.of_channel(meta::SUBSCRIBE, id, client_id, channel, ext);
    }

    pub fn unsubscribe(&mut self, id: u64, client_id: &str, channel: &str, ext: Option<&RawValue>) {
        self.of_channel(meta::UNSUBSCRIBE, id, client_id, channel, ext);
    }

    fn of_channel(
        &mut self,
        meta: &str,
        id: u64,
        client_id: &str,
        channel: &str,
        ext: Option<&RawValue>,
    ) {
        self.begin(meta, id);
        self.field("clientId", client_id);
        self.field("subscription", channel);
        self.optional("ext", ext);
        self.end();
    }

    pub fn publish(&mut self, id: u64, client_id: &str, channel: &str, data: &RawValue) {
        self.begin_on(channel, id);
        self.field("clientId", client_id);
        self.field("data", data);
        self.end();
    }

    /// A publish of bytes; `data` is made by [`binary::data`].
    pub fn publish_binary(&mut self, id: u64, client_id: &str, channel: &str, data: &RawValue) {
        self.begin_on(channel, id);
        self.field("clientId", client_id);
        self.json.extend_from_slice(br#","ext":"#);
        self.json.extend_from_slice(binary::EXT.as_bytes());
        self.field("data", data);
        self.end();
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
        messages.handshake(
            1,
            &[ConnectionType::LongPolling],
            60_000,
            0,
            Some(&ext),
            None,
        );
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
        messages.handshake(
            1,
            &[ConnectionType::LongPolling],
            60_000,
            0,
            None,
            Some(&more),
        );
        messages.connect(2, "c", ConnectionType::LongPolling, false, None);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","minimumVersion":"1.0","supportedConnectionTypes":["long-polling"],"advice":{"timeout":60000,"interval":0},"a b":[1.50],"z":"é"},{"channel":"/meta/connect","id":"2","clientId":"c","connectionType":"long-polling"}]"#
        );
    }

    #[test]
    fn connects_24() {
        let mut messages = Messages::new();
        messages.connect(2, "c", ConnectionType::LongPolling, true, None);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/meta/connect","id":"2","clientId":"c","connectionType":"long-polling","advice":{"timeout":0}}]"#
        );
        let mut messages = Messages::new();
        messages.connect(3, "c", ConnectionType::LongPolling, false, None);
        assert!(!text(messages).contains("advice"));
    }

    #[test]
    fn each_message_says_when_it_is_sent_and_texts_are_escaped() {
        let ext: Box<RawValue> = serde_json::from_str(r#"{"ack": 7}"#).unwrap();
        let data: Box<RawValue> = serde_json::from_str("[1 ]").unwrap();
        let mut messages = Messages::at(Some("2026 \"now\"".into()));
        messages.connect(
            u64::MAX,
            "c\n\"\u{e9}\u{1}",
            ConnectionType::LongPolling,
            true,
            Some(&ext),
        );
        messages.unsubscribe(0, "c", "/a\\b", Some(&ext));
        messages.disconnect(2, "c", Some(&ext));
        messages.publish(3, "c", "/\"x", &data);
        assert_eq!(messages.count(), 4);
        assert_eq!(
            text(messages),
            concat!(
                r#"[{"channel":"/meta/connect","id":"18446744073709551615","clientId":"c\n\"é\u0001","connectionType":"long-polling","advice":{"timeout":0},"ext":{"ack": 7},"timestamp":"2026 \"now\""},"#,
                r#"{"channel":"/meta/unsubscribe","id":"0","clientId":"c","subscription":"/a\\b","ext":{"ack": 7},"timestamp":"2026 \"now\""},"#,
                r#"{"channel":"/meta/disconnect","id":"2","clientId":"c","ext":{"ack": 7},"timestamp":"2026 \"now\""},"#,
                r#"{"channel":"/\"x","id":"3","clientId":"c","data":[1 ],"timestamp":"2026 \"now\""}]"#,
            )
        );
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

    #[test]
    fn published_bytes_are_marked_216() {
        let data = binary::data(b"\x86", true, None).unwrap();
        let mut messages = Messages::new();
        messages.publish_binary(5, "c", "/x", &data);
        assert_eq!(
            text(messages),
            r#"[{"channel":"/x","id":"5","clientId":"c","ext":{"binary":{}},"data":{"data":"H5","last":true}}]"#
        );
    }
}
