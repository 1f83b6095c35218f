pub mod bayeux;
pub mod error;
pub mod session;
