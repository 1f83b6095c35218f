//! Bytes of a server as text.

use std::ops::Range;

/// A response as text. What is no UTF-8 in it is U+FFFD, as browsers have it
/// (WHATWG Encoding, section 4.1: one for each maximal part of what could have
/// become a character): six of them for a pair of surrogates coded one by one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    /// How many U+FFFD there are that the server did not send.
    pub replaced: usize,
}

impl Text {
    /// The JSON in it.
    pub fn json(&self) -> &str {
        self.text.get(json(&self.text)).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => return Self { text, replaced: 0 },
            Err(error) => error.into_bytes(),
        };
        let mut text = String::with_capacity(bytes.len());
        let mut replaced = 0;
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                replaced += 1;
            }
        }
        Self { text, replaced }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, replaced: 0 }
    }
}

/// Where in a text the JSON stands: behind a byte order mark, and before the
/// white space and NULs that some servers pad with.
pub(super) fn json(text: &str) -> Range<usize> {
    let is_padding = |c: char| c.is_ascii_whitespace() || c == '\0';
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = unmarked.trim_ascii_start();
    let start = text.len() - json.len();
    start..start + json.trim_end_matches(is_padding).len()
}
