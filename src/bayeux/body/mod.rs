//! A response body: read once, parsed once, shared by every event that it
//! carried.
//!
//! Parsing finds where each field stands and leaves the bytes where they are.
//! Afterwards the byte behind each text that C may see is overwritten with NUL:
//! behind a value there is always a bracket, a comma, a quote or white space
//! that nobody needs any more. So a `const char *` into the body is all that
//! an accessor has to give.

use std::fmt;
use std::ops::Range;

use super::error_text::one_line;
use super::{advice, channel, json, meta, replay};
use found::Found;
pub use message::{Message, OwnedMessage};
pub use reader::each_element;
pub use text::Text;

mod found;
mod message;
mod reader;
mod scan;
mod text;

/// A body from which on it is worth while to read it beside the thread that
/// does I/O: it takes longer than a thread's start.
pub const LARGE: usize = 256 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    Empty,
    /// Something is no UTF-8, and there is no message in it.
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

    fn new(start: usize, length: usize) -> Self {
        match (u32::try_from(start), u32::try_from(start + length)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::NONE,
        }
    }

    fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// Of none 0.
    fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    fn of(self, text: &str) -> Option<&str> {
        text.get(self.start as usize..self.end as usize)
    }
}

/// The fields that events have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    channel: Span,
    id: Span,
    data: Span,
    ext: Span,
    /// Which of the [`ReplyFields`] are its; `NO_REPLY` without any.
    reply: u32,
}

const NO_REPLY: u32 = u32::MAX;

impl Default for Fields {
    fn default() -> Self {
        Self {
            channel: Span::NONE,
            id: Span::NONE,
            data: Span::NONE,
            ext: Span::NONE,
            reply: NO_REPLY,
        }
    }
}

/// The fields that only replies have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReplyFields {
    successful: Span,
    client_id: Span,
    error: Span,
    advice: Span,
    subscription: Span,
    supported_connection_types: Span,
    x_messages: Span,
    /// An id that was written with escapes, without them.
    plain_id: Span,
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
            plain_id: Span::NONE,
        }
    }
}

/// What is looked for in long fields, found while the body was read: whoever
/// asks is the thread that does I/O. Without it all texts of the message are
/// short, or the body is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Digest {
    message: u32,
    advice: Option<Box<str>>,
    ext: Option<Box<str>>,
    replay_id: Option<Option<i64>>,
}

/// The messages of one response.
pub struct Body {
    text: String,
    messages: Vec<Fields>,
    replies: Vec<ReplyFields>,
    /// Elements of the array that were no message, or had no usable channel.
    malformed: usize,
    /// What one message with data keeps in memory: all of them together keep
    /// the whole body.
    share: usize,
    /// Unsuccessful handshake replies as they were sent, by message.
    refusals: Refusals,
    /// In the order of their messages.
    digests: Vec<Digest>,
    /// How many times something that was no UTF-8 became U+FFFD.
    replaced: usize,
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
        Self::read(Text::from(bytes))
    }

    pub fn read(text: Text) -> Result<Self, BodyError> {
        Self::read_by(text, |text, json| match scan::read(text, json.clone()) {
            Some(found) => Ok(found),
            None => reader::read(text, json),
        })
    }

    /// Reads by the door that finds the messages in a part of the text.
    fn read_by(
        text: Text,
        door: impl Fn(&str, Range<usize>) -> Result<Found, serde_json::Error>,
    ) -> Result<Self, BodyError> {
        let Text { mut text, replaced } = text;
        let span = self::text::json(&text);
        let json = text.get(span.clone()).unwrap_or_default();
        if json.is_empty() {
            return Err(BodyError::Empty);
        }
        if text.len() >= u32::MAX as usize {
            return Err(not_json("longer than 4 GiB".into(), json));
        }
        let found = door(&text, span.clone()).map_err(|error| not_json(error.to_string(), json))?;
        let Found {
            mut messages,
            mut replies,
            unescaped,
            malformed,
        } = found;
        if replaced > 0 && messages.is_empty() {
            return Err(BodyError::NotUtf8);
        }
        let is_large = json.len() > LARGE;
        if is_large {
            messages.shrink_to_fit();
            replies.shrink_to_fit();
        }
        if !unescaped.is_empty() {
            text.reserve_exact(unescaped.len());
            text.push_str(&unescaped);
        }
        let refusals = refusals(&text, span, &messages, &replies);
        let digests = match is_large {
            true => digests(&text, &messages, &replies),
            false => Vec::new(),
        };
        let with_data = terminate(&mut text, &messages);
        let whole = text.capacity()
            + messages.capacity() * size_of::<Fields>()
            + replies.capacity() * size_of::<ReplyFields>()
            + refusals.texts.capacity();
        Ok(Self {
            share: whole / with_data.max(1),
            text,
            messages,
            replies,
            malformed,
            refusals,
            digests,
            replaced,
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

    /// How many times something that was no UTF-8 became U+FFFD.
    pub fn replaced(&self) -> usize {
        self.replaced
    }

    pub fn message(&self, index: usize) -> Option<Message<'_>> {
        let fields = self.messages.get(index)?;
        Some(Message::new(self, index, fields))
    }

    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let all = self.messages.iter().enumerate();
        all.map(|(index, fields)| Message::new(self, index, fields))
    }

    fn text(&self, span: Span) -> Option<&str> {
        span.of(&self.text)
    }

    fn digest(&self, message: usize) -> Option<&Digest> {
        let message = u32::try_from(message).ok()?;
        let find = |it: &Digest| it.message.cmp(&message);
        self.digests.get(self.digests.binary_search_by(find).ok()?)
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

/// Copies of the messages that refuse a handshake.
#[derive(Debug, Default, PartialEq, Eq)]
struct Refusals {
    texts: String,
    /// Of which message each is, and where it stands in the texts.
    places: Vec<(u32, Span)>,
}

impl Refusals {
    fn of(&self, message: usize) -> Option<&str> {
        let message = u32::try_from(message).ok()?;
        let found = self.places.binary_search_by_key(&message, |it| it.0).ok()?;
        self.places.get(found)?.1.of(&self.texts)
    }
}

/// The text of each message that refuses a handshake. It is rare, and worth a
/// second look: it may hold a challenge, in whichever field.
fn refusals(
    text: &str,
    json: Range<usize>,
    messages: &[Fields],
    replies: &[ReplyFields],
) -> Refusals {
    let is = |span: Span, wanted: &str| span.of(text) == Some(wanted);
    let place_of = |fields: &Fields| {
        // Most messages are events, and end here.
        let reply = replies.get(fields.reply as usize)?;
        if !is(fields.channel, meta::HANDSHAKE) || is(reply.successful, "true") {
            return None;
        }
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
        let starts = spans.iter().map(|it| it.start as usize);
        starts.filter(|it| json.contains(it)).min()
    };
    let mut refused = messages
        .iter()
        .enumerate()
        .filter_map(|(index, fields)| Some((u32::try_from(index).ok()?, place_of(fields)?)))
        .peekable();
    let mut found = Refusals::default();
    if refused.peek().is_none() {
        return found;
    }
    let base = text.as_ptr() as usize;
    let json = text.get(json.clone()).unwrap_or_default();
    reader::each_element(json, |element| {
        let begins = (element.as_ptr() as usize).wrapping_sub(base);
        let place = begins..begins.saturating_add(element.len());
        if let Some((index, _)) = refused.next_if(|(_, at)| place.contains(at)) {
            let span = Span::new(found.texts.len(), element.len());
            found.places.push((index, span));
            found.texts.push_str(element);
        }
        refused.peek().is_some()
    });
    found
}

/// In a large body a field that is longer is looked into once, when it is read.
const SHORT: usize = 256;
/// The same of data: it is asked for one number only, if at all.
const SHORT_DATA: usize = 64 * 1024;

fn digests(text: &str, messages: &[Fields], replies: &[ReplyFields]) -> Vec<Digest> {
    let mut digests = Vec::new();
    for (index, fields) in messages.iter().enumerate() {
        let mut digest = Digest {
            message: u32::try_from(index).unwrap_or(u32::MAX),
            ..Digest::default()
        };
        let reply = replies.get(fields.reply as usize);
        let advice = reply.map_or(Span::NONE, |it| it.advice);
        if advice.len() > SHORT {
            let advice = advice.of(text).and_then(advice::shortened);
            digest.advice = Some(advice.unwrap_or_default().into());
        }
        let is_event = fields.data.is_some() && reply.is_none();
        if !is_event && fields.ext.len() > SHORT {
            let ext = fields.ext.of(text).and_then(json::short_fields);
            digest.ext = Some(ext.unwrap_or_default().into());
        }
        if fields.data.len() > SHORT_DATA {
            digest.replay_id = Some(fields.data.of(text).and_then(replay::id_of_much));
        }
        if digest.advice.is_some() || digest.ext.is_some() || digest.replay_id.is_some() {
            digests.push(digest);
        }
    }
    digests
}

/// Writes a NUL behind each text that an accessor may hand to C, and counts the
/// messages with data.
fn terminate(text: &mut str, messages: &[Fields]) -> usize {
    // SAFETY: only ASCII bytes are overwritten, by NUL, so the text stays UTF-8.
    let bytes = unsafe { text.as_bytes_mut() };
    let mut with_data = 0;
    for fields in messages {
        with_data += usize::from(fields.data.is_some());
        for span in [fields.channel, fields.id, fields.data, fields.ext] {
            if let Some(byte) = bytes.get_mut(span.end as usize) {
                if byte.is_ascii() {
                    *byte = 0;
                }
            }
        }
    }
    with_data
}

#[cfg(test)]
mod tests;
