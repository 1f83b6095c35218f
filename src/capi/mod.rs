//! The C interface: `extern "C"` only. A function checks its arguments, calls
//! one method of the library, and turns the result into a status; whatever
//! more there is to do belongs behind it.
//!
//! One file a handle: [`builder`], [`client`], [`receiver`], [`event`]
//! (as a whole in [`event_view`]), [`message`], [`error`] (in [`error_view`]), and the short-lived ones of the host's functions,
//! [`extension`], [`handshake`] and [`request`]. The setters of a builder stand by what they
//! are about ([`option`] has them all by name, [`urls`], [`authorization`], [`timing`], [`capacity`],
//! [`session_options`], [`network`], [`transport`], [`replay`]), and so does what a client does
//! ([`subscription`], [`publish`], [`statistics`], [`disconnect`], [`handover`],
//! [`own_receiver`]).
//!
//! Below them is what they share: [`boundary`] is the guard against panics and
//! the conversion of arguments, [`call`] turns errors into statuses, [`reading`]
//! takes events out of queues, [`view`] fills structs of any version, [`host`] has what the host's functions have in
//! common, and [`state`] and [`status`] the constants.

#![allow(non_camel_case_types)]
// What a caller must see to is said once, at the top of the header.
#![allow(clippy::missing_safety_doc)]

pub mod authorization;
mod boundary;
pub mod builder;
mod call;
pub mod capacity;
pub mod client;
pub mod disconnect;
pub mod error;
pub mod error_view;
pub mod event;
pub mod event_view;
pub mod extension;
pub mod handover;
pub mod handshake;
pub mod host;
pub mod log;
pub mod message;
pub mod network;
pub mod opaque;
pub mod option;
pub mod own_receiver;
pub mod process;
pub mod publish;
mod reading;
pub mod receiver;
pub mod replay;
pub mod request;
pub mod session_options;
pub mod state;
pub mod statistics;
pub mod status;
pub mod subscription;
pub mod timing;
pub mod transport;
pub mod urls;
pub mod version;
mod view;
