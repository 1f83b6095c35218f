//! What is told without the secrets that a server has sent back.

use super::shared::Shared;
use crate::bayeux::error_text::one_line;
use crate::error::Error;

impl Shared {
    /// A part of a reply that is longer is not told: thousands of events that are
    /// not read may have one each.
    pub(super) const MAXIMUM_PART: usize = 64 * 1024;

    pub(super) fn bound(part: &mut Option<Box<str>>) {
        if part
            .as_ref()
            .is_some_and(|it| it.len() > Self::MAXIMUM_PART)
        {
            *part = None;
        }
    }

    pub(super) fn redact(&self, error: &mut Error) {
        self.redact_text(&mut error.message);
        if let Some(reason) = error.websocket_reason.take() {
            let mut reason = String::from(reason);
            self.redact_text(&mut reason);
            error.websocket_reason = Some(reason.into());
        }
        if let Some(bayeux) = &mut error.bayeux {
            self.redact_text(&mut bayeux.text);
        }
        for json in [&mut error.reply_ext, &mut error.reply_error] {
            Self::bound(json);
            if let Some(text) = json.take() {
                *json = Some(self.redact_json(text.into()).into());
            }
        }
    }

    /// A text may hold JSON as the server has written it.
    fn redact_text(&self, text: &mut String) {
        self.secrets.redact(text);
        if let Some(redacted) = self.redacted_inside(text) {
            *text = one_line(&redacted, redacted.len());
        }
    }

    /// What a server has sent stays as it is but for secrets, however it has
    /// written them.
    pub(super) fn redact_json(&self, mut json: String) -> String {
        self.secrets.redact(&mut json);
        match self.redacted_inside(&json) {
            Some(_) => r#""…""#.to_owned(),
            None => json,
        }
    }

    /// The text as it is meant, less the secrets; `None` when its escapes hide
    /// none.
    fn redacted_inside(&self, text: &str) -> Option<String> {
        let plain = unescaped(text)?;
        let mut redacted = plain.clone();
        self.secrets.redact(&mut redacted);
        (redacted != plain).then_some(redacted)
    }
}

/// The text that JSON is with its strings as they are meant; `None` when it is
/// so already.
fn unescaped(json: &str) -> Option<String> {
    if !json.contains('\\') {
        return None;
    }
    let mut plain = String::with_capacity(json.len());
    // Of a character outside the first plane there are two, one after the other.
    let mut units: Vec<u16> = Vec::new();
    let flush = |units: &mut Vec<u16>, plain: &mut String| {
        let characters = char::decode_utf16(units.drain(..));
        plain.extend(characters.map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)));
    };
    let mut rest = json;
    while let Some((before, escaped)) = rest.split_once('\\') {
        if !before.is_empty() {
            flush(&mut units, &mut plain);
            plain.push_str(before);
        }
        let unit = escaped.strip_prefix('u').and_then(|it| it.get(..4));
        if let Some(unit) = unit.and_then(|it| u16::from_str_radix(it, 16).ok()) {
            units.push(unit);
            rest = escaped.get(5..).unwrap_or_default();
            continue;
        }
        flush(&mut units, &mut plain);
        let mut letters = escaped.chars();
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some(letter) => plain.push(letter),
            None => {}
        }
        rest = letters.as_str();
    }
    flush(&mut units, &mut plain);
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_json_means_them() {
        assert_eq!(unescaped(r#"{"a":"b"}"#), None);
        let read = |json| unescaped(json).unwrap();
        assert_eq!(read(r#"a\/b\"c\\d\ne\tf\rg"#), "a/b\"c\\d\ne\tf\rg");
        assert_eq!(read(r"\u0041B\u00e4"), "ABä");
        assert_eq!(read(r"a\ud83d\ude00b"), "a😀b");
        assert_eq!(read(r"\ud83dx\ude00"), "\u{fffd}x\u{fffd}");
        // What is no JSON makes no trouble.
        assert_eq!(read(r"\u12"), "u12");
        assert_eq!(read(r"\uäää"), "uäää");
        assert_eq!(read(r"a\"), "a");
    }
}
