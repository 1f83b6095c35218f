//! The program's function that is asked for the fields of each handshake.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::arguments::json_error;
use super::question::{Answer, Question};
use super::shared::Shared;
use crate::bayeux::json;
use crate::delivery::HostCode;
use crate::error::{Error, ErrorKind};
use crate::session::{HandshakeQuestion, Millis};

/// Sets the fields of a handshake, or says why it cannot.
pub type HandshakeProvider = dyn Fn(&Arc<Handshake>) -> Result<(), String> + Send + Sync;

/// An object, or nothing.
pub(super) type Fields = Option<Box<RawValue>>;

/// A handshake before it is made.
pub struct Handshake {
    attempt: u32,
    /// With a NUL at the end.
    refusal: Option<String>,
    question: Question<Fields>,
}

impl Handshake {
    pub(super) fn new(
        question: HandshakeQuestion,
        until: Millis,
        client: &Arc<Shared>,
        finish: impl FnOnce(Answer<Fields>) + Send + 'static,
    ) -> Self {
        let nothing = |was_retained| match was_retained {
            true => Err("it set no fields".to_owned()),
            false => Ok(None),
        };
        let of = Arc::downgrade(client);
        let deliver = move |answer: Answer<Fields>| {
            if let (Ok(Some(fields)), Some(client)) = (&answer, of.upgrade()) {
                client.secrets.remember(fields.get());
            }
            finish(answer);
        };
        Self {
            attempt: question.attempt,
            refusal: question.refusal.map(|it| it + "\0"),
            question: Question::new("handshake", client, until, None, nothing, deliver),
        }
    }

    /// 1 for the first attempt since the last session that worked.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The reply, JSON, that refused the handshake before. Behind it is a NUL.
    pub fn refusal(&self) -> Option<&str> {
        let text = self.refusal.as_deref()?;
        Some(text.strip_suffix('\0').unwrap_or(text))
    }

    /// An object.
    pub fn set_fields(&self, fields: &[u8]) -> Result<(), Error> {
        self.question.give(Some(handshake_fields(fields)?))
    }

    pub fn fail(&self, why: Option<&str>) -> Result<(), Error> {
        self.question.fail(why)
    }

    /// To be answered later. False in a forked child.
    pub fn retain(&self) -> bool {
        self.question.retain()
    }

    /// False when it was not retained.
    pub fn release(&self) -> bool {
        self.question.release()
    }

    pub(super) fn ask(self, provider: Arc<HandshakeProvider>) {
        let handshake = Arc::new(self);
        let result = {
            let _host = HostCode::enter();
            provider(&handshake)
        };
        // Before the client learns of it: it may be the last one.
        drop(provider);
        handshake.question.returned(result);
    }
}

/// The fields that a handshake provider gives.
fn handshake_fields(json: &[u8]) -> Result<Box<RawValue>, Error> {
    let fields = json::parse_object(json).map_err(|error| json_error("json", &error))?;
    let is_object = |it: &RawValue| it.get().starts_with('{');
    if !json::field(&fields, "ext").is_none_or(is_object) {
        return Err(Error::call(
            ErrorKind::InvalidJson,
            "json: its ext is not a JSON object",
        ));
    }
    Ok(fields)
}
