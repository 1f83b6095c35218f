//! An option as data, and how a text becomes what its setter takes.

use std::ffi::CStr;
use std::time::Duration;

use super::super::builder::Builder;
use crate::error::{Error, ErrorKind};

/// The largest number of milliseconds, as in C.
pub(super) const INT32: i64 = i32::MAX as i64;

/// What a word does.
type Word = (&'static str, fn(&mut Builder));

type Change<T> = fn(&mut Builder, T) -> Result<(), Error>;

/// An option of the builder's that can be said as text.
pub struct ClientOption {
    /// "cometd_client_builder_set_name"
    pub setter: &'static CStr,
    pub kind: Kind,
    /// Of numbers.
    pub unit: Option<&'static CStr>,
    pub default: Option<&'static CStr>,
    pub range: &'static CStr,
    pub text: &'static CStr,
    /// The value may be, or hold, a secret.
    pub secret: bool,
}

pub enum Kind {
    Text(fn(&mut Builder, &str) -> Result<(), Error>),
    Json(fn(&mut Builder, &str) -> Result<(), Error>),
    Pem(fn(&mut Builder, &str) -> Result<(), Error>),
    Boolean(fn(&mut Builder, bool)),
    Integer {
        minimum: i64,
        maximum: i64,
        /// What else it may be, for numbers that mean something of their own.
        words: &'static [(&'static str, i64)],
        set: Change<i64>,
    },
    Milliseconds {
        minimum: i64,
        set: fn(&mut Builder, Duration),
    },
    /// Two of one range, with a comma between them.
    Integers {
        minimum: i64,
        maximum: i64,
        set: Change<(i64, i64)>,
    },
    Choice(&'static [Word]),
    /// Some of these words, with commas between them.
    Choices {
        words: &'static [&'static str],
        set: fn(&mut Builder, &[&str]) -> Result<(), Error>,
    },
}

/// A text that is for C as well.
fn text(text: &'static CStr) -> &'static str {
    text.to_str().unwrap_or_default()
}

const BUILDER: &CStr = c"cometd_client_builder_";

impl ClientOption {
    /// "set_name"
    pub fn short_setter(&self) -> &'static str {
        let setter = text(self.setter);
        setter.strip_prefix(text(BUILDER)).unwrap_or(setter)
    }

    /// "name": the setter's, without "set_" or "add_".
    pub fn c_name(&self) -> &'static CStr {
        let bytes = self.setter.to_bytes_with_nul();
        let name = bytes.get(BUILDER.count_bytes() + "set_".len()..);
        let name = name.and_then(|it| CStr::from_bytes_with_nul(it).ok());
        name.unwrap_or(self.setter)
    }

    /// Whether it has another value with each call of its setter.
    pub fn is_repeatable(&self) -> bool {
        self.short_setter().starts_with("add_")
    }

    pub fn name(&self) -> &'static str {
        text(self.c_name())
    }

    pub fn range(&self) -> &'static str {
        text(self.range)
    }

    /// What the value is.
    pub fn kind_name(&self) -> &'static CStr {
        match self.kind {
            Kind::Text(_) => c"text",
            Kind::Json(_) => c"json",
            Kind::Pem(_) => c"pem",
            Kind::Boolean(_) => c"boolean",
            Kind::Integer { .. } | Kind::Milliseconds { .. } => c"integer",
            Kind::Integers { .. } => c"integers",
            Kind::Choice(_) => c"choice",
            Kind::Choices { .. } => c"choices",
        }
    }

    /// Reads the value and calls the setter.
    pub(super) fn apply(&self, builder: &mut Builder, value: &str) -> Result<(), Error> {
        match self.kind {
            Kind::Text(set) | Kind::Json(set) | Kind::Pem(set) => set(builder, value),
            Kind::Boolean(set) => {
                set(builder, boolean(value)?);
                Ok(())
            }
            Kind::Integer {
                minimum,
                maximum,
                words,
                set,
            } => {
                let word = words.iter().find(|it| it.0 == value);
                let number = word.map_or_else(|| integer(value, minimum, maximum), |it| Ok(it.1));
                set(builder, number?)
            }
            Kind::Milliseconds { minimum, set } => {
                set(builder, duration(integer(value, minimum, INT32)?));
                Ok(())
            }
            Kind::Integers {
                minimum,
                maximum,
                set,
            } => {
                let (first, second) = pair(value, ',', "two numbers with a comma between them")?;
                let first = integer(first, minimum, maximum)?;
                set(builder, (first, integer(second, minimum, maximum)?))
            }
            Kind::Choice(words) => {
                let word = words.iter().find(|it| it.0 == value);
                word.ok_or_else(none_of_the_words)?.1(builder);
                Ok(())
            }
            Kind::Choices { words, set } => {
                let chosen: Vec<&str> = value.split(',').collect();
                match chosen.iter().all(|it| words.contains(it)) {
                    true => set(builder, &chosen),
                    false => Err(none_of_the_words()),
                }
            }
        }
    }
}

fn none_of_the_words() -> Error {
    Error::call(ErrorKind::OutOfRange, "is none of the words")
}

fn boolean(value: &str) -> Result<bool, Error> {
    match value {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Error::call(
            ErrorKind::InvalidArgument,
            "is neither true nor false",
        )),
    }
}

pub(super) fn duration(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// Digits, perhaps behind a minus: nothing that somebody could read in another way.
pub(super) fn integer(value: &str, minimum: i64, maximum: i64) -> Result<i64, Error> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(Error::call(ErrorKind::InvalidArgument, "is no integer"));
    }
    // What is too large for any number is out of its range as well.
    let number = value.parse().ok();
    number
        .filter(|it| (minimum..=maximum).contains(it))
        .ok_or_else(|| Error::call(ErrorKind::OutOfRange, "is out of its range"))
}

/// What stands before the first separator, and behind it.
pub(super) fn pair<'a>(
    value: &'a str,
    separator: char,
    form: &str,
) -> Result<(&'a str, &'a str), Error> {
    value
        .split_once(separator)
        .ok_or_else(|| Error::call(ErrorKind::InvalidArgument, format!("is not {form}")))
}
