//! What a client is called in errors and log lines, so that a process that has
//! several of them can tell which one it is about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// The longest name, in bytes.
const MAXIMUM: usize = 128;

/// The name of one that the host has not named: its number in the process.
pub(super) fn next() -> Arc<str> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("client {}", NUMBER.fetch_add(1, Ordering::Relaxed) + 1).into()
}

/// A name that the host gives.
pub(super) fn check(name: &str) -> Result<Arc<str>, Error> {
    let refuse = |kind, why: String| Err(Error::call(kind, format!("name: {why}")));
    if name.is_empty() {
        return refuse(ErrorKind::InvalidArgument, "is empty".into());
    }
    if name.len() > MAXIMUM {
        let why = format!("is longer than {MAXIMUM} bytes");
        return refuse(ErrorKind::OutOfRange, why);
    }
    // It would begin another line.
    if name.chars().any(char::is_control) {
        let why = "holds a control character".into();
        return refuse(ErrorKind::InvalidArgument, why);
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_which_client_each_has_a_number_of_its_own() {
        let [first, second] = [next(), next()];
        assert_ne!(first, second);
        assert!(first.starts_with("client "));
    }

    #[test]
    fn case_which_client_a_name_is_one_line_of_text() {
        assert_eq!(
            &*check("Bestellungen für Köln").unwrap(),
            "Bestellungen für Köln"
        );
        assert!(check(&"n".repeat(MAXIMUM)).is_ok());
        for (bad, kind) in [
            (String::new(), ErrorKind::InvalidArgument),
            ("a\nb".into(), ErrorKind::InvalidArgument),
            ("a\u{7f}".into(), ErrorKind::InvalidArgument),
            ("n".repeat(MAXIMUM + 1), ErrorKind::OutOfRange),
        ] {
            assert_eq!(check(&bad).unwrap_err().kind, kind, "{bad:?}");
        }
    }
}
