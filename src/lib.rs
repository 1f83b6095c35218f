//! libcometd: a CometD (Bayeux 1.0) client for C, C++ and every language with
//! an FFI.
//!
//! # The map of the house
//!
//! Data goes one way, commands go the other:
//!
//! ```text
//! bytes -> transport -> bayeux -> session -> delivery -> capi -> the host
//! ```
//!
//! - [`bayeux`]: the wire. Messages, channels, advice, error texts. Pure.
//! - [`session`]: the protocol's state machine. What happened and when goes in,
//!   what to do comes out; it never touches a socket, a clock or a thread, so
//!   that its tests run a year of failures in a blink. Its documentation has the
//!   tables of what is tried again, and by which clock (`rules.md`).
//! - [`transport`]: long polling over HTTP, and WebSocket, each in a room of its own;
//!   beside them what both need: connector, proxies, TLS, cookies, authorization, and
//!   what is mended in responses.
//! - [`client`]: the builder, the tokio task that drives one session over its
//!   transport, and the thread that runs the host's extensions in between.
//! - [`delivery`]: events, the bounded queue of each receiver, its file
//!   descriptor, and the threads that call back.
//! - [`runtime`]: what the process has once, and what a fork, the end of the
//!   process and threads that the host ends do to it; [`aside`]: the threads for
//!   what would keep the I/O thread too long; [`clock`]: the one clock that
//!   sessions live by.
//! - [`platform`]: what differs between systems, and nothing else does.
//! - [`capi`]: `extern "C"` only; the header is generated from it.
//! - [`error`] and [`log`]: errors in the words that the host reads, and the
//!   sink for log lines; [`speaker`] says whose lines they are.
//!
//! A response's way: [`transport::http::LongPolling::exchange`] reads its bytes
//! and [`bayeux::Body::parse`] finds where each field stands in them, beside the
//! I/O thread when they are many ([`aside`]); the task gives the body to
//! [`session::Session::handle_reply`], which answers with
//! [`session::Output`]s; events go to the [`delivery::Hub`], which puts a run of
//! messages as one entry into the [`delivery::Queue`] of each receiver; a poll
//! takes them out one by one, as pointers into the body.
//!
//! A frame's way: [`transport::websocket::Socket`] gives its text, the client's
//! sockets join small ones that are there together, and all that are there are
//! read, given to [`session::Session::handle_frame`] and told in one turn. What
//! happens when a socket dies stands in `session/socket.rs`, which transport is
//! used and when in `session/transports.rs`.

pub mod aside;
pub mod bayeux;
pub mod capi;
pub mod client;
pub mod clock;
pub mod delivery;
pub mod error;
pub mod log;
pub mod platform;
pub mod runtime;
pub mod session;
pub mod speaker;
pub mod transport;
