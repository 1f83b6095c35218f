//! An HTTP/1.1 and WebSocket server that plays a script: what it expects, what it
//! answers, and every byte of it. For tests of CometD clients.
//!
//! A script is a text (see `README.md`) or is built of [`Step`]s; a [`Peer`]
//! plays it. For tests that need a server with a mind of its own there is
//! [`Server`], which calls back with each request, and [`Bayeux`] with sessions;
//! [`Socks`] and [`TlsFront`] stand between.

mod answer;
mod bayeux;
mod expect;
mod identity;
mod pattern;
mod peer;
mod script;
mod server;
mod sessions;
mod socket_step;
mod socks;
mod template;
mod tls_front;
mod upgrade;
pub mod websocket;
mod words;

pub use answer::{Answer, End, Framing, Place};
pub use bayeux::Bayeux;
pub use expect::{Expect, On, Over, What};
pub use identity::{identity, Identity};
pub use peer::{play, Peer};
pub use script::{ParseError, Script, Step};
pub use server::{Connection, Cut, Event, Request, Server};
pub use sessions::{Carried, Counts, Rules};
pub use socket_step::SocketStep;
pub use socks::{Socks, SocksAsked, SocksRules};
pub use tls_front::TlsFront;
pub use upgrade::Upgrade;
pub use websocket::Frame;
