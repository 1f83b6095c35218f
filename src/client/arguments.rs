//! Checks of what the host gives.

use crate::bayeux::channel;
use crate::bayeux::json::JsonError;
use crate::error::{Error, ErrorKind};

/// An error about JSON that the host gave as the argument `what`.
pub(super) fn json_error(what: &str, error: &JsonError) -> Error {
    let kind = match error {
        JsonError::NotUtf8(_) => ErrorKind::NotUtf8,
        _ => ErrorKind::InvalidJson,
    };
    Error::call(kind, format!("{what}: {error}"))
}

/// The channels of a subscribe or an unsubscribe.
pub(super) fn check_channels(channels: &[String]) -> Result<(), Error> {
    for (index, name) in channels.iter().enumerate() {
        channel::check_subscription(name).map_err(|error| {
            Error::call(
                ErrorKind::InvalidChannel,
                format!("channels[{index}]: {error}"),
            )
            .on_channel(name.as_str())
        })?;
    }
    Ok(())
}
