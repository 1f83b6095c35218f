//! What can go wrong, in the words that the host gets to read.

use std::sync::Arc;

use crate::bayeux::{Advice, ErrorText};

/// The kind of an error; the C interface gives each a status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    InvalidArgument,
    NotUtf8,
    InvalidUrl,
    InvalidChannel,
    InvalidJson,
    InvalidHeader,
    OutOfRange,
    InvalidState,
    Closed,
    Full,
    WouldDeadlock,
    Forked,
    Panic,
    System,
    Timeout,
    Dns,
    Tcp,
    Tls,
    ConnectionLost,
    MalformedHttp,
    HttpStatus,
    Unauthorized,
    Redirect,
    Html,
    NotJson,
    TooLarge,
    Protocol,
    Refused,
    Negotiation,
    ServerDisconnected,
    Aborted,
    Credentials,
    Proxy,
    /// A function of the host's failed with this status.
    Host(i32),
    /// An extension of the host's deleted the message.
    MessageDeleted,
    /// Messages that were accepted have failed.
    Undelivered,
}

/// What the client was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Handshake,
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Disconnect,
    /// The call of a function: its arguments, or its time.
    Call,
}

impl Phase {
    /// Of what the host has called, or the library for it.
    pub fn is_of_commands(self) -> bool {
        matches!(self, Self::Subscribe | Self::Unsubscribe | Self::Publish)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::Disconnect => "disconnect",
            Self::Call => "call",
        }
    }
}

/// An error with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: ErrorKind,
    /// One line, with the whole chain of causes.
    pub message: String,
    pub phase: Phase,
    /// The client has stopped and will not recover by itself.
    pub fatal: bool,
    /// The log was told of its like.
    pub repeated: bool,
    /// 0 when there was no HTTP response.
    pub http_status: u16,
    /// With which code a WebSocket was closed (RFC 6455, section 7.4); 0: there was
    /// none, or it has not ended.
    pub websocket_code: u16,
    /// The server's reason for that, which stands in the message, and in no log.
    pub websocket_reason: Option<Box<str>>,
    pub bayeux: Option<ErrorText>,
    /// The `ext` of the reply that caused it, JSON.
    pub reply_ext: Option<Box<str>>,
    /// The whole `error` of that reply, JSON: servers send objects, too.
    pub reply_error: Option<Box<str>>,
    pub channel: Option<String>,
    /// What the client is called that it is of.
    pub client: Option<Arc<str>>,
    /// Where the request went, without userinfo and query.
    pub url: Option<Box<str>>,
    /// Milliseconds until the next attempt; `None`: there will be none.
    pub retry_in: Option<u64>,
}

impl Error {
    pub fn new(kind: ErrorKind, phase: Phase, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            phase,
            fatal: false,
            repeated: false,
            http_status: 0,
            websocket_code: 0,
            websocket_reason: None,
            bayeux: None,
            reply_ext: None,
            reply_error: None,
            channel: None,
            client: None,
            url: None,
            retry_in: None,
        }
    }

    /// In a forked child, about what the parent has built.
    pub fn forked() -> Self {
        Self::call(
            ErrorKind::Forked,
            "the object belongs to the parent process; build a new client after fork",
        )
    }

    /// An error of the call itself; nothing was changed by it.
    pub fn call(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Phase::Call, message)
    }

    /// The message without what is for no log.
    pub fn logged(&self) -> String {
        match &self.websocket_reason {
            Some(reason) => self
                .message
                .replacen(&format!(": {reason}"), ": \u{2026}", 1),
            None => self.message.clone(),
        }
    }

    /// Says which client it is of, unless that is known.
    pub fn of(mut self, client: &Arc<str>) -> Self {
        self.client.get_or_insert_with(|| client.clone());
        self
    }

    pub fn on_channel(mut self, channel: impl Into<String>) -> Self {
        self.channel = Some(channel.into());
        self
    }
}

/// Why a request brought no Bayeux messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    /// The chain of causes, without the phase.
    pub text: String,
    pub http_status: u16,
    /// With which code a WebSocket was closed; 0: none was.
    pub websocket_code: u16,
    /// The server's reason for that: how many bytes at the end of the text.
    pub websocket_reason: u16,
    /// The error of a message that came with the status.
    pub bayeux: Option<ErrorText>,
    /// The `ext` of that message, and the whole of its `error`, JSON.
    pub reply_ext: Option<Box<str>>,
    pub reply_error: Option<Box<str>>,
    /// What it advises, and its channel.
    pub advice: Option<Box<(String, Advice)>>,
    /// Of a kind that is final, but this one may pass: a resolver that could
    /// not be asked.
    pub temporary: bool,
    /// Milliseconds that the server asked to wait (`Retry-After`, RFC 9110
    /// section 10.2.3).
    pub retry_after: Option<u64>,
}

impl Failure {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            http_status: 0,
            websocket_code: 0,
            websocket_reason: 0,
            bayeux: None,
            reply_ext: None,
            reply_error: None,
            advice: None,
            temporary: false,
            retry_after: None,
        }
    }

    /// The status of the response that is, or carried, the failure.
    pub fn with_status(mut self, status: u16) -> Self {
        self.http_status = status;
        self
    }

    /// The error that this failure is in a phase.
    pub fn to_error(&self, phase: Phase) -> Error {
        let mut error = Error::new(self.kind, phase, format!("{}: {}", phase.name(), self.text));
        error.http_status = self.http_status;
        error.websocket_code = self.websocket_code;
        let reason = self.text.len().checked_sub(self.websocket_reason.into());
        let reason = reason.and_then(|it| self.text.get(it..));
        error.websocket_reason = reason.filter(|it| !it.is_empty()).map(Into::into);
        error.bayeux.clone_from(&self.bayeux);
        error.reply_ext.clone_from(&self.reply_ext);
        error.reply_error.clone_from(&self.reply_error);
        error
    }

    /// What a message on this channel advises that came with the status.
    pub fn advice_on(&self, channel: &str) -> Option<&Advice> {
        let advice = self.advice.as_deref();
        advice.filter(|it| it.0 == channel).map(|it| &it.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_that_a_server_closes_with_is_for_no_log_245() {
        let mut failure = Failure::new(
            ErrorKind::ConnectionLost,
            "the server closed the WebSocket: 4001: no, you",
        );
        failure.websocket_reason = "no, you".len() as u16;
        let mut error = failure.to_error(Phase::Connect);
        error.message.push_str("; going on with long polling");
        assert_eq!(
            error.logged(),
            "connect: the server closed the WebSocket: 4001: …; going on with long polling"
        );
        failure.websocket_reason = 0;
        let error = failure.to_error(Phase::Connect);
        assert_eq!(error.logged(), error.message);
    }
}
