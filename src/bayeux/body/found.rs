//! What is found in a body, by whichever door it was read.

use super::{channel, json, Fields, ReplyFields, Span, NO_REPLY};

/// The library's own ids are short, and no other is compared.
const LONGEST_ESCAPED_ID: usize = 256;

/// All that was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub messages: Vec<Fields>,
    pub replies: Vec<ReplyFields>,
    /// Texts that were written with escapes, without them. Where their spans
    /// say that they stand, this must come behind the body's text.
    pub unescaped: String,
    /// Elements of the array that were no message, or had no usable channel.
    pub malformed: usize,
}

/// A field of a message that the library knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
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

impl Field {
    pub fn named(name: &[u8]) -> Self {
        match name {
            b"channel" => Self::Channel,
            b"id" => Self::Id,
            b"data" => Self::Data,
            b"ext" => Self::Ext,
            b"successful" => Self::Successful,
            b"clientId" => Self::ClientId,
            b"error" => Self::Error,
            b"advice" => Self::Advice,
            b"subscription" => Self::Subscription,
            b"supportedConnectionTypes" => Self::SupportedConnectionTypes,
            b"x-messages" => Self::XMessages,
            _ => Self::Other,
        }
    }
}

/// The fields of the message that is being read.
#[derive(Default)]
pub(super) struct Draft {
    fields: Fields,
    reply: Option<ReplyFields>,
}

/// Takes fields and messages as a door comes by them.
pub(super) struct Finder<'t> {
    text: &'t str,
    /// The last channel that was found good, as JSON: most messages of a body
    /// are on the same one.
    last_channel: &'t str,
    found: Found,
}

impl<'t> Finder<'t> {
    /// For `length` bytes of JSON in the text.
    pub fn new(text: &'t str, length: usize) -> Self {
        Self {
            text,
            last_channel: "",
            found: Found {
                // For an event and a reply at least.
                messages: Vec::with_capacity((length / 256).clamp(2, 256)),
                ..Found::default()
            },
        }
    }

    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Takes the value of a field, JSON that stands at `span`. Of a field twice
    /// the last counts.
    pub fn field(&mut self, draft: &mut Draft, field: Field, span: Span) {
        let fields = &mut draft.fields;
        match field {
            Field::Channel => fields.channel = self.channel(span),
            Field::Data => fields.data = span,
            Field::Id => {
                fields.id = span;
                if let Some(plain) = self.plain_id(span) {
                    draft.reply.get_or_insert_default().plain_id = plain;
                } else if let Some(reply) = &mut draft.reply {
                    reply.plain_id = Span::NONE;
                }
            }
            Field::Ext => {
                let is_null = span.of(self.text) == Some("null");
                fields.ext = if is_null { Span::NONE } else { span };
            }
            Field::Other => {}
            reply_field => {
                let reply = draft.reply.get_or_insert_default();
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

    /// Takes a message whose fields are all there.
    pub fn message(&mut self, draft: Draft) {
        let Draft { mut fields, reply } = draft;
        let found = &mut self.found;
        if !fields.channel.is_some() {
            // Not kept: a body of nothing else would become a larger heap.
            found.malformed += 1;
            return;
        }
        if let Some(reply) = reply {
            fields.reply = u32::try_from(found.replies.len()).unwrap_or(NO_REPLY);
            // Most bodies have one.
            if found.replies.is_empty() {
                found.replies.reserve_exact(1);
            }
            found.replies.push(reply);
        }
        found.messages.push(fields);
    }

    /// Counts an element that is no message.
    pub fn malformed(&mut self) {
        self.found.malformed += 1;
    }

    pub fn finish(self) -> Found {
        self.found
    }

    fn channel(&mut self, span: Span) -> Span {
        let text = span.of(self.text).unwrap_or_default();
        let is_known = text == self.last_channel;
        let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
            return Span::NONE;
        };
        if is_known || !inner.contains('\\') {
            return if is_known || channel::is_deliverable(inner) {
                self.last_channel = text;
                // Without its quotes.
                Span::new(span.start as usize + 1, inner.len())
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
    fn plain_id(&mut self, span: Span) -> Option<Span> {
        let text = span.of(self.text)?;
        if text.len() > LONGEST_ESCAPED_ID || !text.contains('\\') {
            return None;
        }
        let id = json::text(text)?;
        Some(self.unescaped(&id))
    }

    /// The span of a text that does not stand in the body.
    fn unescaped(&mut self, text: &str) -> Span {
        let unescaped = &mut self.found.unescaped;
        let at = self.text.len() + unescaped.len();
        unescaped.push_str(text);
        // For the NUL.
        unescaped.push('"');
        Span::new(at, text.len())
    }
}
