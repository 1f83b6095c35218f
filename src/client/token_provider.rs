//! The program's function that fetches new credentials.

use std::sync::Arc;

use hyper::header::HeaderValue;
use tokio::sync::oneshot;

use crate::delivery::HostCode;
use crate::runtime;

/// Why the token provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenReason {
    /// The server refused the credentials in use.
    Refused,
}

/// Gives the value of a new `Authorization` header, or says why it cannot.
pub type TokenProvider = dyn Fn(TokenReason) -> Result<HeaderValue, String> + Send + Sync;

/// What a provider that was asked will say.
pub(super) type Credentials = oneshot::Receiver<Result<HeaderValue, String>>;

/// Asks it on a thread of its own: it may block for as long as it likes.
pub(super) fn ask(provider: &Arc<TokenProvider>) -> Credentials {
    let (send, receive) = oneshot::channel();
    let provider = provider.clone();
    let started = runtime::spawn("cometd-token", move || {
        let _host = HostCode::enter();
        let _ = send.send(provider(TokenReason::Refused));
    });
    if let Err(error) = started {
        let (send, receive) = oneshot::channel();
        let _ = send.send(Err(format!("no thread could be started for it: {error}")));
        return receive;
    }
    receive
}
