//! The words of a line, and what they say.

use std::time::Duration;

use serde_json::Value;

/// A line's words, and what stands behind a colon that stands alone.
pub fn split(line: &str) -> Result<(Vec<String>, Option<&str>), String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut in_word = false;
    let mut letters = line.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter.is_whitespace() {
            if in_word {
                words.push(std::mem::take(&mut word));
                in_word = false;
            }
            continue;
        }
        let rest = line.get(at + 1..).unwrap_or_default();
        if letter == ':' && !in_word && rest.chars().next().is_none_or(char::is_whitespace) {
            return Ok((words, Some(rest.trim())));
        }
        in_word = true;
        if letter != '"' {
            word.push(letter);
            continue;
        }
        loop {
            match letters.next().map(|(_, letter)| letter) {
                None => return Err("a quote that does not end".into()),
                Some('"') => break,
                // Kept for `unescape`, but for the quote itself.
                Some('\\') => match letters.next() {
                    Some((_, '"')) => word.push('"'),
                    Some((_, escaped)) => word.extend(['\\', escaped]),
                    None => return Err("a quote that does not end".into()),
                },
                Some(letter) => word.push(letter),
            }
        }
    }
    if in_word {
        words.push(word);
    }
    Ok((words, None))
}

/// `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend(letter.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        bytes.push(match letters.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))?
            }
            other => return Err(format!("the escape \\{}", other.unwrap_or(' '))),
        });
    }
    Ok(bytes)
}

pub fn escape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'\r' => "\\r".into(),
            b'\n' => "\\n".into(),
            b'\\' => "\\\\".into(),
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

pub fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_millis)
        .map_err(|_| format!("{text:?} is no number of milliseconds"))
}

pub fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

pub fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}: {text}"))
}

/// Labels are none.
pub fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}
