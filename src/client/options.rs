//! What a client is told before it is built, by name and as text: for files,
//! command lines and languages that would otherwise need each setter.

mod kinds;
mod table;
#[cfg(test)]
mod tests;

pub use kinds::{ClientOption, Kind};
pub use table::{FUNCTIONS, OPTIONS};

use super::builder::Builder;
use crate::bayeux::error_text::one_line;
use crate::error::{Error, ErrorKind};

/// So much of a name or a value is shown in an error.
const MAXIMUM_SHOWN: usize = 80;

pub fn find(name: &str) -> Option<&'static ClientOption> {
    OPTIONS.iter().find(|it| it.name() == name)
}

/// Sets an option. Its error names it, its range and, unless it is secret, the value.
pub fn set(builder: &mut Builder, name: &str, value: Result<&str, Error>) -> Result<(), Error> {
    let Some(option) = find(name) else {
        let shown = one_line(name, MAXIMUM_SHOWN);
        let why = format!("name: \"{shown}\" is no option");
        // No later call makes up for it.
        return builder.call("set", |_| Err(Error::call(ErrorKind::InvalidArgument, why)));
    };
    builder.change(option.short_setter(), |it| {
        let result = match (&value, option.secret) {
            (Ok(value), false) => option.apply(it, value).map_err(|error| {
                let shown = one_line(value, MAXIMUM_SHOWN);
                within(&format!("{name}: \"{shown}\""), error)
            }),
            _ => value
                .and_then(|it_is| option.apply(it, it_is))
                .map_err(|error| within(name, error)),
        };
        result.map_err(|mut error| {
            error.message = format!("{} (it is {})", error.message, option.range());
            error
        })
    })
}

fn within(what: &str, mut error: Error) -> Error {
    error.message = format!("{what}: {}", error.message);
    error
}
