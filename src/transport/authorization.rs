//! The `Authorization` header, which may change while the client runs.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, RwLock};

use base64::prelude::{Engine, BASE64_STANDARD};
use hyper::header::HeaderValue;

use crate::error::{Error, ErrorKind};
use crate::runtime::lock;

/// So many values that were replaced are still kept from being read anywhere.
const PAST: usize = 4;

/// The current value. Its debug output never shows it.
#[derive(Default)]
pub struct Authorization {
    value: RwLock<Option<HeaderValue>>,
    /// Values before it, which a server may still send back.
    past: Mutex<VecDeque<HeaderValue>>,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

impl Authorization {
    pub fn new(value: Option<HeaderValue>) -> Self {
        Self {
            value: RwLock::new(value),
            past: Mutex::default(),
        }
    }

    pub fn value(&self) -> Option<HeaderValue> {
        self.value
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// What of the current value and of those before must not be read anywhere.
    pub fn secrets(&self) -> Vec<String> {
        let past = lock(&self.past).clone();
        let mut secrets = Vec::new();
        for value in past.into_iter().chain(self.value()) {
            // Not `to_str`, which takes visible ASCII only.
            let text = String::from_utf8_lossy(value.as_bytes());
            let credentials = text.split_once(' ').map_or(&*text, |(_, it)| it.trim());
            if text.starts_with("Basic ") {
                let decoded = BASE64_STANDARD.decode(credentials).unwrap_or_default();
                let decoded = String::from_utf8_lossy(&decoded).into_owned();
                if let Some((user, password)) = decoded.split_once(':') {
                    // Without a password the user is a token.
                    let secret = if password.is_empty() { user } else { password };
                    secrets.push(secret.to_owned());
                }
                secrets.push(decoded);
            }
            secrets.push(credentials.to_owned());
        }
        secrets
    }

    /// From the next request on.
    pub fn set(&self, value: HeaderValue) {
        let before = self
            .value
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .replace(value);
        let mut past = lock(&self.past);
        if past.len() == PAST {
            past.pop_front();
        }
        past.extend(before);
    }
}

/// A header's value as the host gave it. `what` names it in the error.
pub fn header_value(what: &str, text: &str) -> Result<HeaderValue, Error> {
    // `from_str` takes visible ASCII only; UTF-8 is what servers expect beyond.
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        Error::call(
            ErrorKind::InvalidHeader,
            format!("{what}: a header's value holds no CR, LF, NUL or other control character"),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// `header_value` itself: any scheme.
pub fn any(value: &str) -> Result<HeaderValue, Error> {
    if value.trim().is_empty() {
        return Err(Error::call(
            ErrorKind::InvalidArgument,
            "header_value: an authorization is not empty",
        ));
    }
    header_value("header_value", value)
}

/// `Bearer` (RFC 6750, section 2.1).
pub fn bearer(token: &str) -> Result<HeaderValue, Error> {
    if token.is_empty() || token.contains(' ') {
        return Err(Error::call(
            ErrorKind::InvalidArgument,
            "token: a bearer token is not empty and holds no space",
        ));
    }
    header_value("token", &format!("Bearer {token}"))
}

/// `Basic` with UTF-8 (RFC 7617, sections 2 and 2.1).
pub fn basic(user: &str, password: Option<&str>) -> Result<HeaderValue, Error> {
    if user.contains(':') {
        return Err(Error::call(
            ErrorKind::InvalidArgument,
            "user: a user name for Basic holds no colon",
        ));
    }
    let password = password.unwrap_or("");
    for (what, text) in [("user", user), ("password", password)] {
        if text.chars().any(char::is_control) {
            return Err(Error::call(
                ErrorKind::InvalidHeader,
                format!("{what}: holds no control character"),
            ));
        }
    }
    let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
    header_value("user", &format!("Basic {credentials}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes() {
        assert_eq!(bearer("abc").unwrap(), "Bearer abc");
        assert_eq!(any("OAuth abc").unwrap(), "OAuth abc");
        // The example of RFC 7617, section 2.
        assert_eq!(
            basic("Aladdin", Some("open sesame")).unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        // And of section 2.1, UTF-8.
        assert_eq!(
            basic("test", Some("123£")).unwrap(),
            "Basic dGVzdDoxMjPCow=="
        );
        assert_eq!(basic("user", None).unwrap(), "Basic dXNlcjo=");
        assert_eq!(basic("", Some("p")).unwrap(), "Basic OnA=");
    }

    #[test]
    fn what_would_break_out_of_a_header_is_refused_contract_13() {
        for bad in ["a\r\nX: y", "a\nb", "a\0b", "a\x7fb"] {
            assert!(bearer(bad).is_err(), "{bad:?}");
            assert!(any(bad).is_err(), "{bad:?}");
            assert!(basic(bad, None).is_err(), "{bad:?}");
            assert!(basic("u", Some(bad)).is_err(), "{bad:?}");
        }
        assert!(basic("a:b", None).is_err());
        assert!(any(" ").is_err());
    }

    #[test]
    fn debug_output_shows_no_secret_contract_13() {
        let value = bearer("very-secret").unwrap();
        let authorization = Authorization::new(Some(value.clone()));
        let shown = format!("{value:?} {authorization:?}");
        assert!(!shown.contains("very-secret"), "{shown}");
    }
}
