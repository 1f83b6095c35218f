//! The program's function that fetches new credentials.

use std::io;
use std::sync::Arc;

use hyper::header::HeaderValue;
use tokio::sync::oneshot;

use super::question::{Answer, Question};
use super::shared::Shared;
use crate::delivery::HostCode;
use crate::error::Error;
use crate::runtime;
use crate::session::Millis;
use crate::transport::authorization;

/// Why the token provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenReason {
    /// The server refused the credentials in use.
    Refused,
}

/// Gives the token the value of a new `Authorization` header, or says why it
/// cannot.
pub type TokenProvider = dyn Fn(TokenReason, &Arc<Token>) -> Result<(), String> + Send + Sync;

/// Where the provider puts what it has found.
pub struct Token(Question<HeaderValue>);

impl Token {
    /// What is found when the client waits no more counts all the same: no limit.
    fn new(client: &Arc<Shared>, send: oneshot::Sender<Answer<HeaderValue>>) -> Self {
        let nothing = |_| Err("it set no authorization".to_owned());
        let deliver = move |answer| drop(send.send(answer));
        Self(Question::new(
            "token",
            client,
            Millis::MAX,
            None,
            nothing,
            deliver,
        ))
    }

    pub fn set_authorization(&self, value: &str) -> Result<(), Error> {
        self.0.give(authorization::any(value)?)
    }

    pub fn fail(&self, why: Option<&str>) -> Result<(), Error> {
        self.0.fail(why)
    }

    /// To be answered later. False in a forked child.
    pub fn retain(&self) -> bool {
        self.0.retain()
    }

    /// False when it was not retained.
    pub fn release(&self) -> bool {
        self.0.release()
    }
}

/// What a provider that was asked will say.
pub(super) type Credentials = oneshot::Receiver<Answer<HeaderValue>>;

/// Asks it on a thread of its own: it may block for as long as it likes.
pub(super) fn ask(provider: &Arc<TokenProvider>, client: &Arc<Shared>) -> io::Result<Credentials> {
    let (send, receive) = oneshot::channel();
    let provider = provider.clone();
    let token = Arc::new(Token::new(client, send));
    runtime::spawn("cometd-token", move || {
        let result = {
            let _host = HostCode::enter();
            provider(TokenReason::Refused, &token)
        };
        // Before the client learns of it: it may be the last one.
        drop(provider);
        token.0.returned(result);
    })?;
    Ok(receive)
}
