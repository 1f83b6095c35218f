//! The program's function that fetches new credentials.

use hyper::header::HeaderValue;

/// Why the token provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenReason {
    /// The server refused the credentials in use.
    Refused,
}

/// Gives the value of a new `Authorization` header, or says why it cannot.
pub type TokenProvider = dyn Fn(TokenReason) -> Result<HeaderValue, String> + Send + Sync;
