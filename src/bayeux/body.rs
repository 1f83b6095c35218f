//! A response body: read once, parsed once, shared by every event that it
//! carried.
//!
//! Parsing finds where each field stands and leaves the bytes where they are.
//! Afterwards the byte behind each text that C may see is overwritten with NUL:
//! behind a value there is always a bracket, a comma, a quote or white space
//! that nobody needs any more. So a `const char *` into the body is all that
//! an accessor has to give.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error_text::one_line;
use super::{channel, json, meta, replay, Advice, ErrorText};

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    Empty,
    NotUtf8,
    /// An HTML page: of a proxy, a login form, an error page. With its title.
    Html(String),
    /// Not JSON: what the parser said, and how the body begins.
    NotJson {
        why: String,
        start: String,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the response has no body"),
            Self::NotUtf8 => f.write_str("the response is not UTF-8"),
            Self::Html(title) if title.is_empty() => {
                f.write_str("the response is an HTML page, not Bayeux messages")
            }
            Self::Html(title) => write!(
                f,
                "the response is an HTML page (\"{title}\"), not Bayeux messages"
            ),
            Self::NotJson { why, start } => {
                write!(f, "the response is not JSON: {why}; it begins \"{start}\"")
            }
        }
    }
}

/// Where a text stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    const NONE: Self = Self {
        start: u32::MAX,
        end: u32::MAX,
    };

    fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// The fields that events have.
#[derive(Debug, Clone)]
struct Fields {
    channel: Span,
    id: Span,
    data: Span,
    ext: Span,
    /// The fields that only replies have.
    reply: Option<Box<ReplyFields>>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            channel: Span::NONE,
            id: Span::NONE,
            data: Span::NONE,
            ext: Span::NONE,
            reply: None,
        }
    }
}

#[derive(Debug, Clone)]
struct ReplyFields {
    successful: Span,
    client_id: Span,
    error: Span,
    advice: Span,
    subscription: Span,
    supported_connection_types: Span,
    x_messages: Span,
}

impl Default for ReplyFields {
    fn default() -> Self {
        Self {
            successful: Span::NONE,
            client_id: Span::NONE,
            error: Span::NONE,
            advice: Span::NONE,
            subscription: Span::NONE,
            supported_connection_types: Span::NONE,
            x_messages: Span::NONE,
        }
    }
}

/// The messages of one response.
pub struct Body {
    text: String,
    messages: Vec<Fields>,
    /// Elements of the array that were no message, or had no usable channel.
    malformed: usize,
    /// What one message with data keeps in memory: all of them together keep
    /// the whole body.
    share: usize,
    /// Unsuccessful handshake replies as they were sent, by message.
    refusals: Vec<(usize, Box<str>)>,
}

impl fmt::Debug for Body {
    /// Without the text: it holds the host's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("bytes", &self.text.len())
            .field("messages", &self.messages.len())
            .finish_non_exhaustive()
    }
}

impl Body {
    /// Parses an array of messages, or one message alone.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BodyError> {
        let mut text = String::from_utf8(bytes).map_err(|_| BodyError::NotUtf8)?;
        let offset = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let json = text.get(offset..).unwrap_or_default();
        if json.trim_ascii().is_empty() {
            return Err(BodyError::Empty);
        }
        if text.len() >= u32::MAX as usize {
            return Err(not_json("longer than 4 GiB".into(), json));
        }
        let mut reader = Reader {
            base: text.as_ptr() as usize,
            last_channel: "",
            messages: Vec::with_capacity((json.len() / 256).clamp(1, 256)),
            unescaped: Vec::new(),
            malformed: 0,
        };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        ReadBody(&mut reader)
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map_err(|error| not_json(error.to_string(), json))?;
        let Reader {
            mut messages,
            unescaped,
            malformed,
            ..
        } = reader;
        let end = text.len();
        for (index, channel) in unescaped {
            let start = text.len();
            text.push_str(&channel);
            let end = text.len();
            text.push('"');
            if let (Some(fields), Ok(start), Ok(end)) = (
                messages.get_mut(index),
                u32::try_from(start),
                u32::try_from(end),
            ) {
                fields.channel = Span { start, end };
            }
        }
        let json = text.get(offset..end).unwrap_or_default();
        let refusals = refusals(&text, json, &messages);
        terminate(&mut text, &messages);
        let replies = messages.iter().filter(|it| it.reply.is_some()).count();
        let whole = text.capacity()
            + messages.capacity() * size_of::<Fields>()
            + replies * size_of::<ReplyFields>()
            + refusals.iter().map(|(_, text)| text.len()).sum::<usize>();
        let with_data = messages.iter().filter(|it| it.data.is_some()).count();
        Ok(Self {
            share: whole / with_data.max(1),
            text,
            messages,
            malformed,
            refusals,
        })
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// What one message with data keeps in memory, for the bound of the queue.
    pub fn share(&self) -> usize {
        self.share
    }

    /// How many elements of the array were no object with a usable channel.
    pub fn malformed(&self) -> usize {
        self.malformed
    }

    pub fn message(&self, index: usize) -> Option<Message<'_>> {
        self.messages
            .get(index)
            .map(|fields| Message { body: self, fields })
    }

    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.messages
            .iter()
            .map(|fields| Message { body: self, fields })
    }

    fn text(&self, span: Span) -> Option<&str> {
        self.text.get(span.start as usize..span.end as usize)
    }

    fn raw(&self, span: Span) -> Option<&RawValue> {
        if !span.is_some() {
            return None;
        }
        serde_json::from_str(self.text(span)?).ok()
    }
}

fn not_json(why: String, json: &str) -> BodyError {
    let start = json.trim_start();
    let lower = start
        .get(..64.min(start.len()))
        .map(str::to_ascii_lowercase);
    if start.starts_with('<')
        && lower.is_none_or(|text| {
            text.starts_with("<!doctype html") || text.contains("<h") || text.contains("<b")
        })
    {
        return BodyError::Html(html_title(start));
    }
    BodyError::NotJson {
        why,
        start: one_line(json, 80),
    }
}

fn html_title(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let inner = |tag: &str| -> Option<&str> {
        let open = lower.find(&format!("<{tag}"))?;
        let start = open + lower.get(open..)?.find('>')? + 1;
        let end = start + lower.get(start..)?.find("</")?;
        page.get(start..end)
    };
    one_line(inner("title").or_else(|| inner("h1")).unwrap_or(""), 80)
}

/// The text of each message that refuses a handshake. It is rare, and worth a
/// second look: it may hold a challenge, in whichever field.
fn refusals(text: &str, json: &str, messages: &[Fields]) -> Vec<(usize, Box<str>)> {
    let is =
        |span: Span, wanted: &str| text.get(span.start as usize..span.end as usize) == Some(wanted);
    let refused: Vec<_> = messages
        .iter()
        .enumerate()
        .filter_map(|(index, fields)| Some((index, fields, fields.reply.as_deref()?)))
        .filter(|(_, fields, reply)| {
            is(fields.channel, meta::HANDSHAKE) && !is(reply.successful, "true")
        })
        .collect();
    if refused.is_empty() {
        return Vec::new();
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json)
        .or_else(|_| serde_json::from_str(json).map(|one| vec![one]))
        .unwrap_or_default();
    let base = text.as_ptr() as usize;
    let begins = |element: &&RawValue| (element.get().as_ptr() as usize).wrapping_sub(base);
    let around = |at: usize| {
        let behind = elements.partition_point(|element| begins(element) <= at);
        let element = elements.get(behind.checked_sub(1)?)?;
        (at < begins(element) + element.get().len()).then(|| element.get())
    };
    let mut found = Vec::new();
    for (index, fields, reply) in refused {
        // A channel with escapes stands elsewhere; some other field tells where
        // the message is.
        let spans = [
            fields.channel,
            fields.id,
            fields.ext,
            reply.successful,
            reply.error,
            reply.advice,
            reply.client_id,
            reply.subscription,
            reply.supported_connection_types,
        ];
        let element = spans.iter().find_map(|span| around(span.start as usize));
        found.extend(element.map(|it| (index, Box::from(it))));
    }
    found
}

/// Writes a NUL behind each text that an accessor may hand to C.
fn terminate(text: &mut str, messages: &[Fields]) {
    // SAFETY: only ASCII bytes are overwritten, by NUL, so the text stays UTF-8.
    let bytes = unsafe { text.as_bytes_mut() };
    for fields in messages {
        for span in [fields.channel, fields.id, fields.data, fields.ext] {
            if let Some(byte) = bytes.get_mut(span.end as usize) {
                if byte.is_ascii() {
                    *byte = 0;
                }
            }
        }
    }
}

/// One message of a body.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    body: &'a Body,
    fields: &'a Fields,
}

impl<'a> Message<'a> {
    /// The channel; a message without a usable one is not kept.
    pub fn channel(&self) -> Option<&'a str> {
        self.body.text(self.fields.channel)
    }

    /// The id's text without quotes: servers send strings, and numbers.
    pub fn id(&self) -> Option<&'a str> {
        let text = self.id_json()?;
        let id = text
            .strip_prefix('"')
            .and_then(|inner| inner.strip_suffix('"'))
            .unwrap_or(text);
        (id != "null").then_some(id)
    }

    /// The id as JSON, quotes included.
    pub fn id_json(&self) -> Option<&'a str> {
        self.body.text(self.fields.id)
    }

    pub fn data(&self) -> Option<&'a str> {
        self.body.text(self.fields.data)
    }

    pub fn ext(&self) -> Option<&'a str> {
        self.body.text(self.fields.ext)
    }

    /// One field of the ext, if that is an object.
    pub fn ext_field(&self, name: &str) -> Option<&'a RawValue> {
        json::field(self.body.raw(self.fields.ext)?, name)
    }

    /// The id by which the replay extension names the event.
    pub fn replay_id(&self) -> Option<i64> {
        replay::id_of(self.body.raw(self.fields.data)?)
    }

    /// The `successful` field. Absent or of another type is `None`, and for a
    /// meta reply means false (Bayeux specification, section 3.5).
    pub fn successful(&self) -> Option<bool> {
        match self.body.text(self.reply()?.successful)? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    pub fn client_id(&self) -> Option<String> {
        json::string(self.body.raw(self.reply()?.client_id)?)
    }

    /// The error as it came; one that is no string is taken as its JSON text.
    pub fn error(&self) -> Option<ErrorText> {
        let raw = self.body.raw(self.reply()?.error)?;
        if raw.get() == "null" {
            return None;
        }
        let text = json::string(raw).unwrap_or_else(|| raw.get().to_owned());
        Some(ErrorText::parse(&text))
    }

    /// Whether there is a `successful` field, of whichever type.
    pub fn has_successful(&self) -> bool {
        self.reply().is_some_and(|it| it.successful.is_some())
    }

    /// The whole of the error as JSON; `None` when it is absent or null.
    pub fn error_json(&self) -> Option<&'a str> {
        self.body
            .text(self.reply()?.error)
            .filter(|it| *it != "null")
    }

    /// Whether it says what only a reply says: how something went. What has
    /// `data` as well may still be an event.
    pub fn is_reply_shaped(&self) -> bool {
        self.has_successful() || self.error_json().is_some()
    }

    pub fn advice(&self, connection_type: &str) -> Option<Advice> {
        Advice::parse(self.body.raw(self.reply()?.advice)?, connection_type)
    }

    /// The advice as JSON.
    pub fn advice_json(&self) -> Option<&'a str> {
        self.body.text(self.reply()?.advice)
    }

    /// The subscription as JSON; `None` when it is absent or null.
    pub fn subscription_json(&self) -> Option<&'a str> {
        self.body
            .text(self.reply()?.subscription)
            .filter(|it| *it != "null")
    }

    /// The subscription of a reply, a string or an array of them.
    pub fn subscriptions(&self) -> Vec<String> {
        self.reply()
            .and_then(|reply| self.body.raw(reply.subscription))
            .and_then(json::strings)
            .unwrap_or_default()
    }

    /// `None` when absent or not an array of strings.
    pub fn supported_connection_types(&self) -> Option<Vec<String>> {
        json::strings(self.body.raw(self.reply()?.supported_connection_types)?)
    }

    /// How many events a server says it delivers with the reply to a handshake
    /// (CometD's field `x-messages`).
    pub fn promised_events(&self) -> u64 {
        self.reply()
            .and_then(|reply| json::lenient_integer(self.body.raw(reply.x_messages)?))
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or(0)
    }

    /// The whole text of a reply that refuses a handshake.
    pub fn refusal(&self) -> Option<&'a str> {
        let is_this = |message: &Fields| std::ptr::eq(message, self.fields);
        let of = |index: &usize| self.body.messages.get(*index).is_some_and(is_this);
        let refusals = &self.body.refusals;
        refusals
            .iter()
            .find(|(index, _)| of(index))
            .map(|(_, it)| &**it)
    }

    fn reply(&self) -> Option<&'a ReplyFields> {
        self.fields.reply.as_deref()
    }
}

/// One message that keeps its body alive.
#[derive(Clone)]
pub struct OwnedMessage {
    body: Arc<Body>,
    index: u32,
}

impl OwnedMessage {
    pub fn new(body: Arc<Body>, index: u32) -> Self {
        Self { body, index }
    }

    pub fn get(&self) -> Option<Message<'_>> {
        self.body.message(self.index as usize)
    }

    /// What it keeps in memory.
    pub fn share(&self) -> usize {
        self.body.share()
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedMessage")
            .field("channel", &self.get().and_then(|m| m.channel()))
            .finish_non_exhaustive()
    }
}

struct Reader<'t> {
    /// The address of the text, to turn what serde_json borrows into spans.
    base: usize,
    /// The last channel that was found good, as JSON: most messages of a body
    /// are on the same one.
    last_channel: &'t str,
    messages: Vec<Fields>,
    /// Channels that were written with escapes, by message.
    unescaped: Vec<(usize, String)>,
    malformed: usize,
}

impl<'t> Reader<'t> {
    fn span(&self, text: &str) -> Span {
        let start = (text.as_ptr() as usize).wrapping_sub(self.base);
        match (u32::try_from(start), u32::try_from(start + text.len())) {
            (Ok(start), Ok(end)) => Span { start, end },
            _ => Span::NONE,
        }
    }

    fn channel(&mut self, raw: &'t RawValue) -> Span {
        let text = raw.get();
        let is_known = text == self.last_channel;
        let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
            return Span::NONE;
        };
        if is_known || !inner.contains('\\') {
            return if is_known || channel::is_deliverable(inner) {
                self.last_channel = text;
                self.span(inner)
            } else {
                Span::NONE
            };
        }
        if let Some(channel) = json::string(raw) {
            if channel::is_deliverable(&channel) {
                self.unescaped.push((self.messages.len(), channel));
            }
        }
        Span::NONE
    }
}

/// The whole body: an array of messages or one message.
struct ReadBody<'r, 't>(&'r mut Reader<'t>);

impl<'de> DeserializeSeed<'de> for ReadBody<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadBody<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of Bayeux messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(ReadMessage(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        ReadMessage(self.0).visit_map(map)
    }
}

/// One element of the array. Only an object is a message; anything else is
/// counted and passed over, so that one bad element does not cost the others.
struct ReadMessage<'r, 't>(&'r mut Reader<'t>);

impl<'de> DeserializeSeed<'de> for ReadMessage<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! count_as_malformed {
    ($($method:ident($($argument:ty)?)),* $(,)?) => {
        $(fn $method<E: serde::de::Error>(self $(, _: $argument)?) -> Result<(), E> {
            self.0.malformed += 1;
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for ReadMessage<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Bayeux message")
    }

    count_as_malformed!(
        visit_bool(bool),
        visit_i64(i64),
        visit_u64(u64),
        visit_f64(f64),
        visit_str(&str),
        visit_unit(),
    );

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.malformed += 1;
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut fields = Fields::default();
        while let Some(field) = map.next_key_seed(ReadField)? {
            if field == Field::Other {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw: &'de RawValue = map.next_value()?;
            match field {
                Field::Channel => fields.channel = reader.channel(raw),
                Field::Id => fields.id = reader.span(raw.get()),
                Field::Data => fields.data = reader.span(raw.get()),
                Field::Ext => {
                    fields.ext = if raw.get() == "null" {
                        Span::NONE
                    } else {
                        reader.span(raw.get())
                    }
                }
                reply_field => {
                    let span = reader.span(raw.get());
                    let reply = fields.reply.get_or_insert_default();
                    match reply_field {
                        Field::Successful => reply.successful = span,
                        Field::ClientId => reply.client_id = span,
                        Field::Error => reply.error = span,
                        Field::Advice => reply.advice = span,
                        Field::Subscription => reply.subscription = span,
                        Field::XMessages => reply.x_messages = span,
                        _ => reply.supported_connection_types = span,
                    }
                }
            }
        }
        let index = reader.messages.len();
        let has_channel =
            fields.channel.is_some() || reader.unescaped.last().is_some_and(|(of, _)| *of == index);
        if has_channel {
            reader.messages.push(fields);
        } else {
            // Not kept: a body of nothing else would become a larger heap.
            reader.malformed += 1;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Channel,
    Id,
    Data,
    Ext,
    Successful,
    ClientId,
    Error,
    Advice,
    Subscription,
    SupportedConnectionTypes,
    XMessages,
    Other,
}

struct ReadField;

impl<'de> DeserializeSeed<'de> for ReadField {
    type Value = Field;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for ReadField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "channel" => Field::Channel,
            "id" => Field::Id,
            "data" => Field::Data,
            "ext" => Field::Ext,
            "successful" => Field::Successful,
            "clientId" => Field::ClientId,
            "error" => Field::Error,
            "advice" => Field::Advice,
            "subscription" => Field::Subscription,
            "supportedConnectionTypes" => Field::SupportedConnectionTypes,
            "x-messages" => Field::XMessages,
            _ => Field::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_event_keeps_the_servers_bytes() {
        let body = body(
            r#" [ {"data": { "a" : 1e400, "b":"\u00e9" } ,"channel":"/x","id":"7","ext":{"k":[1, 2]}} , {"id":7,"channel":"/y","data":null}]"#,
        );
        let first = body.message(0).unwrap();
        assert_eq!(first.channel(), Some("/x"));
        assert_eq!(first.data(), Some(r#"{ "a" : 1e400, "b":"\u00e9" }"#));
        assert_eq!(first.ext(), Some(r#"{"k":[1, 2]}"#));
        assert_eq!(first.id_json(), Some(r#""7""#));
        assert_eq!(first.id(), Some("7"));
        let second = body.message(1).unwrap();
        assert_eq!(
            second.data(),
            Some("null"),
            "a falsy datum is still an event"
        );
        assert_eq!(second.id(), Some("7"));
        assert_eq!(second.ext(), None);
        assert!(body.message(2).is_none());
    }

    #[test]
    fn each_text_ends_in_nul() {
        let body = body(
            r#"[{"channel":"/x","data":12345,"id":9,"ext":"e"},{"data":[1],"channel":"\/y"}]"#,
        );
        for message in body.messages() {
            for text in [
                message.channel(),
                message.data(),
                message.id_json(),
                message.ext(),
            ]
            .into_iter()
            .flatten()
            {
                let end = text.as_ptr() as usize + text.len() - body.text.as_ptr() as usize;
                assert_eq!(body.text.as_bytes()[end], 0, "{text}");
            }
        }
        assert_eq!(body.message(1).unwrap().channel(), Some("/y"));
        assert_eq!(body.message(0).unwrap().data(), Some("12345"));
    }

    #[test]
    fn one_message_alone_is_accepted_and_so_is_a_byte_order_mark() {
        let body = body("\u{feff}  {\"channel\":\"/meta/connect\",\"successful\":true}");
        assert_eq!(body.len(), 1);
        assert_eq!(body.message(0).unwrap().successful(), Some(true));
        assert_eq!(body.message(0).unwrap().channel(), Some("/meta/connect"));
    }

    #[test]
    fn reply_fields_are_read_leniently_8_65_159_161() {
        let body = body(
            r#"[{"channel":"/meta/subscribe","id":null,"successful":"yes","clientId":5,"error":{"a":1},
                "advice":3,"subscription":["/a","/b"],"supportedConnectionTypes":[1]},
               {"channel":"/meta/subscribe","subscription":"/c","error":"403::x","clientId":"abc"}]"#,
        );
        let odd = body.message(0).unwrap();
        assert_eq!(odd.id(), None);
        assert_eq!(odd.successful(), None);
        assert_eq!(odd.client_id(), None);
        assert_eq!(odd.error().unwrap().text, r#"{"a":1}"#);
        assert!(odd
            .advice(super::super::LONG_POLLING)
            .is_none_or(|a| a == Advice::default()));
        assert_eq!(odd.subscriptions(), ["/a", "/b"]);
        assert_eq!(odd.supported_connection_types(), None);
        let good = body.message(1).unwrap();
        assert_eq!(good.subscriptions(), ["/c"]);
        assert_eq!(good.error().unwrap().code, 403);
        assert_eq!(good.client_id().as_deref(), Some("abc"));
    }

    #[test]
    fn what_only_replies_say_tells_them_from_events() {
        let parsed = body(
            r#"[{"channel":"/s","data":{"seat":4},"successful":true},
                {"channel":"/s","data":{},"successful":null},
                {"channel":"/s","data":{},"error":{"code" : 403}},
                {"channel":"/s","data":{},"error":null,"subscription":null},
                {"channel":"/s","data":{},"subscription":["/a", "/b"]}]"#,
        );
        let shapes: Vec<_> = parsed.messages().map(|it| it.is_reply_shaped()).collect();
        assert_eq!(shapes, [true, true, true, false, false]);
        let has: Vec<_> = parsed.messages().map(|it| it.has_successful()).collect();
        assert_eq!(has, [true, true, false, false, false]);
        let message = |index| parsed.message(index).unwrap();
        assert_eq!(message(2).error_json(), Some(r#"{"code" : 403}"#));
        assert_eq!(message(3).error_json(), None);
        assert_eq!(message(3).subscription_json(), None);
        assert_eq!(message(4).subscription_json(), Some(r#"["/a", "/b"]"#));
    }

    #[test]
    fn a_refused_handshake_keeps_its_whole_text_13() {
        let refused = r#"{"challenge" : {"n":[1]},"channel":"/meta/handshake","id":"1" ,"successful":false,"ext":{"x":"é"} }"#;
        let escaped = r#"{"channel":"\/meta\/handshake","successful":false,"own":"\u0041"}"#;
        let accepted = r#"{"channel":"/meta/handshake","successful":true}"#;
        let bare = r#"{"channel":"/meta/handshake"}"#;
        let text = format!(" [7, {refused} ,{{\"data\":1}},{escaped},{accepted},{bare}] ");
        let parsed = body(&text);
        let refusals: Vec<_> = parsed.messages().map(|it| it.refusal()).collect();
        assert_eq!(refusals, [Some(refused), Some(escaped), None, None]);
        let alone = body(&format!("\u{feff}{refused}\n"));
        assert_eq!(alone.message(0).unwrap().refusal(), Some(refused));
        let many = format!("[{}1]", format!("{escaped},").repeat(30_000));
        assert_eq!(
            body(&many).message(29_999).unwrap().refusal(),
            Some(escaped)
        );
    }

    #[test]
    fn bad_channels_and_bad_elements_do_not_cost_the_others_157() {
        let long = "a".repeat(1 << 20);
        let text = format!(
            r#"[1,null,"x",[[]],true,1.5,{{"channel":7}},{{"channel":"/{long}"}},{{"channel":"/a\u0000b"}},
               {{"channel":"no-slash"}},{{"data":1}},{{"channel":"/ok","data":1}}]"#
        );
        let body = body(&text);
        assert_eq!(body.malformed(), 11);
        assert_eq!(body.len(), 1);
        let channels: Vec<_> = body.messages().filter_map(|m| m.channel()).collect();
        assert_eq!(channels, ["/ok"]);
    }

    #[test]
    fn what_is_not_json_is_told_apart_154() {
        let error = |text: &[u8]| Body::parse(text.to_vec()).unwrap_err();
        assert_eq!(error(b""), BodyError::Empty);
        assert_eq!(error(b" \r\n"), BodyError::Empty);
        assert_eq!(error(b"[\"\xff\"]"), BodyError::NotUtf8);
        assert_eq!(
            error(b"<!DOCTYPE html><html><head><title>Sign\n in</title></head></html>"),
            BodyError::Html("Sign in".into())
        );
        assert_eq!(
            error(b"<html><body><h1>503 Service Unavailable</h1></body></html>"),
            BodyError::Html("503 Service Unavailable".into())
        );
        for text in [
            "[{\"channel\":\"/x\"",
            "[]x",
            "7",
            "<?xml version=\"1.0\"?>",
            "[{]",
            "nil",
        ] {
            assert!(
                matches!(error(text.as_bytes()), BodyError::NotJson { .. }),
                "{text}"
            );
        }
        assert!(Body::parse(b"[]".to_vec()).unwrap().is_empty());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let parsed = body(&format!(r#"[{{"channel":"/x","data":{deep}}},{deep}]"#));
        assert_eq!(parsed.message(0).unwrap().data().unwrap().len(), 200_000);
        assert_eq!(parsed.malformed(), 1);
        assert!(matches!(
            Body::parse("[".repeat(100_000).into_bytes()),
            Err(BodyError::NotJson { .. })
        ));
    }

    #[test]
    fn cut_at_every_byte_never_panics() {
        let text = r#"[{"channel":"\/a\u00e9","data":{"x":"é"},"id":"1","advice":{"interval":1}},{"successful":true}]"#;
        for end in 0..text.len() {
            let _ = Body::parse(text.as_bytes()[..end].to_vec());
        }
        assert_eq!(body(text).message(0).unwrap().channel(), Some("/aé"));
    }
}
