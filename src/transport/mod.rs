//! How messages reach a server: long polling over HTTP, and beside it what any
//! transport needs. Connections, with proxies and TLS; places, cookies,
//! authorization and headers; what is mended in responses, and how failures and
//! refusals are told.

mod addresses;
pub mod authorization;
mod coding;
mod connector;
pub mod cookies;
mod dates;
pub mod endpoints;
mod failures;
pub mod headers;
mod heads;
pub mod http;
pub mod leniencies;
mod mend;
pub mod messages;
pub mod proxies;
pub mod proxy;
mod redirects;
mod refusal;
pub mod secrets;
mod servers;
mod sockets;
mod socks;
pub mod tls;
mod watched;
pub mod websocket;
