//! The C interface: `extern "C"` only. A function checks its arguments, calls
//! one method of the library, and turns the result into a status; whatever
//! more there is to do belongs behind it.
//!
//! One file a handle. [`boundary`] holds what all share: the guard against
//! panics and the conversion of arguments.

#![allow(non_camel_case_types)]
// What a caller must see to is said once, at the top of the header.
#![allow(clippy::missing_safety_doc)]

mod boundary;
pub mod builder;
pub mod client;
pub mod error;
pub mod event;
pub mod extension;
pub mod handshake;
pub mod log;
pub mod message;
pub mod process;
pub mod receiver;
pub mod replay;
pub mod status;
pub mod version;
