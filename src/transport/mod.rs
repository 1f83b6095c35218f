//! How requests reach a server: long polling over HTTP.

pub mod http;
pub mod leniencies;
