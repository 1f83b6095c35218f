//! The messages in what a server has sent.

use super::refusal::{beginning, holds_messages, shown};
use crate::bayeux::body::Text;
use crate::bayeux::{Body, BodyError};
use crate::error::{ErrorKind, Failure};

/// Reads the messages of a response or a frame.
pub fn parse(text: impl Into<Text>) -> Result<Body, Failure> {
    let text = text.into();
    let start = beginning(text.text.as_bytes());
    let body = Body::read(text).map_err(|error| {
        let kind = match error {
            BodyError::Html(_) => ErrorKind::Html,
            _ => ErrorKind::NotJson,
        };
        Failure::new(kind, error.to_string())
    })?;
    // An empty array is from a server that has nothing to say.
    if body.malformed() > 0 && !holds_messages(&body) {
        let start = shown(&start);
        return Err(Failure::new(
            ErrorKind::Protocol,
            format!("the response holds no Bayeux message; it begins \"{start}\""),
        ));
    }
    Ok(body)
}
