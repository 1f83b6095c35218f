//! The `error` field of a reply: `code ":" arguments ":" text` (Bayeux
//! specification, section 3.6). Servers do not always keep to it, so whatever
//! they send is kept whole and read as far as it can be.

use super::json;

/// An error as a server told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorText {
    /// The whole text as it came, `403::Unknown client`.
    pub text: String,
    /// The code in front, 0 when there is none.
    pub code: i32,
}

/// What is kept of an error text; the rest is cut off.
const MAXIMUM_LENGTH: usize = 1024;

/// So much is looked at, most of it white space when it is not enough.
const MAXIMUM_READ: usize = 4 * MAXIMUM_LENGTH;

impl ErrorText {
    pub fn parse(text: &str) -> Self {
        let code = match text.split_once(':') {
            Some((code, _)) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => {
                code.parse().unwrap_or(0)
            }
            _ => 0,
        };
        Self {
            text: one_line(text, MAXIMUM_LENGTH),
            code,
        }
    }
}

impl ErrorText {
    /// Of a text that is known to be JSON: a string, or else the JSON itself.
    /// No more of it is read than is kept.
    pub fn of_json(json: &str) -> Self {
        match json.strip_prefix('"') {
            Some(inner) => Self::parse(&json::unescaped(
                inner.strip_suffix('"').unwrap_or(inner),
                MAXIMUM_READ,
            )),
            None => Self::parse(json::up_to(json, MAXIMUM_READ)),
        }
    }
}

/// Text of a server on one line of at most `maximum` bytes, free of control
/// characters, so that it can stand in a message or a log.
pub fn one_line(text: &str, maximum: usize) -> String {
    let mut line = String::with_capacity(text.len().min(maximum));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if line.len() + character.len_utf8() > maximum {
                line.push('…');
                return line;
            }
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_leniently_159() {
        for (text, code) in [
            ("403::Unknown client", 403),
            ("403:denied_by_security_policy:create_denied", 403),
            ("405:c[a],s[b]:no_transport", 405),
            ("boom", 0),
            ("", 0),
            ("40x::y", 0),
            ("4031::y", 0),
            (":::", 0),
        ] {
            let error = ErrorText::parse(text);
            assert_eq!((error.text.as_str(), error.code), (text, code));
        }
    }

    #[test]
    fn long_and_multi_line_texts_become_one_short_line() {
        assert_eq!(one_line("a\r\n\t b\0c", 100), "a b c");
        let cut = one_line(&"é".repeat(600), 1000);
        assert_eq!(cut.chars().filter(|c| *c == 'é').count(), 500);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn an_error_of_any_type_is_told_and_a_long_one_read_only_so_far() {
        for (json, text) in [
            (r#""403::\u0041\ud83d x""#, "403::A\u{fffd} x"),
            (r#"{"code" : 403}"#, r#"{"code" : 403}"#),
            ("7", "7"),
            ("true", "true"),
        ] {
            assert_eq!(ErrorText::of_json(json).text, text);
        }
        assert_eq!(ErrorText::of_json("\"402::x\"").code, 402);
        for long in [
            format!("\"403::{}\"", "é".repeat(1 << 20)),
            format!("\"403::{}\"", r"\u00e9".repeat(1 << 20)),
            format!("[{}]", "é ".repeat(1 << 20)),
        ] {
            let error = ErrorText::of_json(&long);
            assert!(error.text.ends_with("é…") || error.text.ends_with("é …"));
            assert!(error.text.len() < MAXIMUM_LENGTH + 8);
        }
    }
}
