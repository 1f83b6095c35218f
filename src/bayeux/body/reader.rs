//! Finds where each field of each message stands.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{channel, json, Fields, ReplyFields, Span, NO_REPLY};

/// What was found.
pub(super) struct Read {
    pub messages: Vec<Fields>,
    pub replies: Vec<ReplyFields>,
    /// Texts that were written with escapes, without them. Where their spans
    /// say that they stand, this must come behind the body's text.
    pub unescaped: String,
    pub malformed: usize,
}

/// Reads the messages in `json`, which is a part of `text`.
pub(super) fn read(text: &str, json: &str) -> Result<Read, serde_json::Error> {
    let read = |way: Way| {
        let mut reader = Reader {
            base: text.as_ptr() as usize,
            length: text.len(),
            last_channel: "",
            read: Read {
                messages: Vec::with_capacity((json.len() / 256).clamp(1, 256)),
                replies: Vec::new(),
                unescaped: String::new(),
                malformed: 0,
            },
        };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        ReadBody(&mut reader, way)
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map(|()| reader.read)
    };
    // What serde_json calls an error may be JSON all the same: a number beyond
    // all numbers, half a surrogate pair. In an element that is no message.
    read(Way::AtOnce).or_else(|error| read(Way::OneByOne).map_err(|_| error))
}

/// Calls `each` for the elements of an array, or for the one message, as long
/// as it wants more.
pub fn each_element<'t>(json: &'t str, each: impl FnMut(&'t str) -> bool) {
    struct Each<F>(F);
    impl<'de, F: FnMut(&'de str) -> bool> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
            while let Some(element) = elements.next_element::<&RawValue>()? {
                if !(self.0)(element.get()) {
                    break;
                }
            }
            Ok(())
        }
    }
    let mut each = each;
    if json.starts_with('{') {
        each(json);
        return;
    }
    // An error is of what was left unread.
    let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Each(each));
}

struct Reader<'t> {
    /// The address of the text, to turn what serde_json borrows into spans.
    base: usize,
    length: usize,
    /// The last channel that was found good, as JSON: most messages of a body
    /// are on the same one.
    last_channel: &'t str,
    read: Read,
}

impl<'t> Reader<'t> {
    fn span(&self, text: &str) -> Span {
        span((text.as_ptr() as usize).wrapping_sub(self.base), text.len())
    }

    /// The span of a text that does not stand in the body.
    fn unescaped(&mut self, text: &str) -> Span {
        let unescaped = &mut self.read.unescaped;
        let at = self.length + unescaped.len();
        unescaped.push_str(text);
        // For the NUL.
        unescaped.push('"');
        span(at, text.len())
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
        let channel = json::unescaped(inner, channel::MAXIMUM_LENGTH + 1);
        match channel::is_deliverable(&channel) {
            true => self.unescaped(&channel),
            false => Span::NONE,
        }
    }

    /// An id without its escapes, if it has any.
    fn plain_id(&mut self, raw: &RawValue) -> Option<Span> {
        let text = raw.get();
        if text.len() > LONGEST_ESCAPED_ID || !text.contains('\\') {
            return None;
        }
        let id = json::string(raw)?;
        Some(self.unescaped(&id))
    }
}

/// The library's own ids are short, and no other is compared.
const LONGEST_ESCAPED_ID: usize = 256;

pub(super) fn span(start: usize, length: usize) -> Span {
    match (u32::try_from(start), u32::try_from(start + length)) {
        (Ok(start), Ok(end)) => Span { start, end },
        _ => Span::NONE,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    AtOnce,
    /// Each element is looked at twice, and one that cannot be read does not
    /// cost the others.
    OneByOne,
}

/// The whole body: an array of messages or one message.
struct ReadBody<'r, 't>(&'r mut Reader<'t>, Way);

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
        if self.1 == Way::AtOnce {
            while elements.next_element_seed(ReadMessage(self.0))?.is_some() {}
            return Ok(());
        }
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let mut alone = serde_json::Deserializer::from_str(element.get());
            if ReadMessage(self.0).deserialize(&mut alone).is_err() {
                self.0.read.malformed += 1;
            }
        }
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
            self.0.read.malformed += 1;
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
        self.0.read.malformed += 1;
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut fields = Fields::default();
        let mut reply: Option<ReplyFields> = None;
        while let Some(field) = map.next_key_seed(ReadField)? {
            if field == Field::Other {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw: &'de RawValue = map.next_value()?;
            match field {
                Field::Channel => fields.channel = reader.channel(raw),
                Field::Id => {
                    fields.id = reader.span(raw.get());
                    if let Some(plain) = reader.plain_id(raw) {
                        reply.get_or_insert_default().plain_id = plain;
                    } else if let Some(reply) = &mut reply {
                        reply.plain_id = Span::NONE;
                    }
                }
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
                    let reply = reply.get_or_insert_default();
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
        let read = &mut reader.read;
        if !fields.channel.is_some() {
            // Not kept: a body of nothing else would become a larger heap.
            read.malformed += 1;
            return Ok(());
        }
        if let Some(reply) = reply {
            fields.reply = u32::try_from(read.replies.len()).unwrap_or(NO_REPLY);
            read.replies.push(reply);
        }
        read.messages.push(fields);
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
        // Not as text, which would refuse half a surrogate pair.
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for ReadField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Field, E> {
        Ok(match name {
            b"channel" => Field::Channel,
            b"id" => Field::Id,
            b"data" => Field::Data,
            b"ext" => Field::Ext,
            b"successful" => Field::Successful,
            b"clientId" => Field::ClientId,
            b"error" => Field::Error,
            b"advice" => Field::Advice,
            b"subscription" => Field::Subscription,
            b"supportedConnectionTypes" => Field::SupportedConnectionTypes,
            b"x-messages" => Field::XMessages,
            _ => Field::Other,
        })
    }
}
