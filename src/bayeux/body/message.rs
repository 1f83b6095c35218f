//! What one message of a body says, read as leniently as it can be: a field
//! that is absent, null or of another type is never an error here.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Body, Fields, ReplyFields};
use crate::bayeux::{json, replay, Advice, ErrorText};

/// Longer ones are nobody's: names of connection types, ids of sessions.
const LONGEST_NAME: usize = 4096;
/// What is read of connection types, and of the channels of a subscription.
const NAMES: json::Wanted = json::Wanted {
    most: 64,
    longest: LONGEST_NAME,
    usable: |_| true,
    strings_only: true,
};

/// One message of a body.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    body: &'a Body,
    index: usize,
    fields: &'a Fields,
}

impl<'a> Message<'a> {
    pub(super) fn new(body: &'a Body, index: usize, fields: &'a Fields) -> Self {
        Self {
            body,
            index,
            fields,
        }
    }

    /// The channel; a message without a usable one is not kept.
    pub fn channel(&self) -> Option<&'a str> {
        self.body.text(self.fields.channel)
    }

    /// The id's text without quotes: servers send strings, and numbers.
    pub fn id(&self) -> Option<&'a str> {
        let plain = self.reply().and_then(|it| self.body.text(it.plain_id));
        if plain.is_some() {
            return plain;
        }
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

    /// One field of the ext, if that is an object. In a large body it may be
    /// missing when it is long itself.
    pub fn ext_field(&self, name: &str) -> Option<&'a RawValue> {
        let digest = self.body.digest(self.index);
        let short = digest.and_then(|it| it.ext.as_deref());
        json::field_of(short.or_else(|| self.ext())?, name)
    }

    /// The id by which the replay extension names the event.
    pub fn replay_id(&self) -> Option<i64> {
        match self.body.digest(self.index).and_then(|it| it.replay_id) {
            Some(known) => known,
            None => replay::id_of(self.data()?),
        }
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
        let json = self.body.text(self.reply()?.client_id)?;
        let text = json::text(json).filter(|_| json.len() <= LONGEST_NAME)?;
        Some(text.into_owned())
    }

    /// The error as it came; one that is no string is taken as its JSON text.
    pub fn error(&self) -> Option<ErrorText> {
        self.error_json().map(ErrorText::of_json)
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
        let digest = self.body.digest(self.index);
        let short = digest.and_then(|it| it.advice.as_deref());
        Advice::parse(short.or_else(|| self.advice_json())?, connection_type)
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

    /// The subscription of a reply, a string or an array of them; the first of
    /// many.
    pub fn subscriptions(&self) -> Vec<String> {
        self.subscription_json()
            .and_then(|it| json::strings(it, &NAMES))
            .unwrap_or_default()
    }

    /// `None` when absent or not an array of strings; the first of many.
    pub fn supported_connection_types(&self) -> Option<Vec<String>> {
        let types = self.body.text(self.reply()?.supported_connection_types)?;
        json::strings(types, &NAMES)
    }

    /// How many events a server says it delivers with the reply to a handshake
    /// (CometD's field `x-messages`).
    pub fn promised_events(&self) -> u64 {
        self.reply()
            .and_then(|reply| json::lenient_integer_of(self.body.text(reply.x_messages)?))
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or(0)
    }

    /// The whole text of a reply that refuses a handshake.
    pub fn refusal(&self) -> Option<&'a str> {
        self.body.refusals.of(self.index)
    }

    fn reply(&self) -> Option<&'a ReplyFields> {
        self.body.replies.get(self.fields.reply as usize)
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
