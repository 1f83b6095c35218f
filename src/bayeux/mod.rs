//! The wire: messages, channels, advice and error texts as the Bayeux 1.0
//! specification defines them. Pure: no I/O, no clock, no threads.

pub mod advice;
pub mod binary;
pub mod body;
pub mod channel;
mod connection_type;
pub mod error_text;
pub mod json;
pub mod outgoing;
pub mod replay;
pub mod z85;

#[cfg(test)]
mod tests;

pub use advice::{Advice, Reconnect};
pub use binary::Binary;
pub use body::{Body, BodyError, Message};
pub use connection_type::ConnectionType;
pub use error_text::ErrorText;

/// The protocol version that handshakes name (Bayeux specification, section 4.1).
pub const VERSION: &str = "1.0";

/// The names of the connection types (Bayeux specification, section 6.1).
pub const LONG_POLLING: &str = "long-polling";
pub const WEBSOCKET: &str = "websocket";

/// The meta channels (Bayeux specification, section 2.2).
pub mod meta {
    pub const HANDSHAKE: &str = "/meta/handshake";
    pub const CONNECT: &str = "/meta/connect";
    pub const DISCONNECT: &str = "/meta/disconnect";
    pub const SUBSCRIBE: &str = "/meta/subscribe";
    pub const UNSUBSCRIBE: &str = "/meta/unsubscribe";
}
