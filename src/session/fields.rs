//! The fields that the host gives a handshake: asked for before each attempt,
//! in force for that one only.

use serde_json::value::RawValue;

use super::flights::HOST_LIMIT;
use super::{HandshakeQuestion, Millis, Output, Session};
use crate::bayeux::Message;
use crate::error::{ErrorKind, Failure};

/// What the provider has said for the attempt that comes next.
type Answer = Option<Box<RawValue>>;

#[derive(Default)]
pub(super) struct HandshakeFields {
    questions: u64,
    /// Attempts since the last session that worked.
    attempts: u32,
    /// When the question of this number has taken too long.
    asked: Option<(u64, Millis)>,
    answer: Option<Answer>,
    /// The reply that refused the last handshake, as the server sent it.
    refusal: Option<String>,
}

impl HandshakeFields {
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.asked.map(|(_, deadline)| deadline)
    }

    /// A session works; the next handshake is a first one again.
    pub(super) fn session_works(&mut self) {
        self.attempts = 0;
    }

    pub(super) fn handshake_refused(&mut self, reply: &Message) {
        self.refusal = reply.refusal().map(str::to_owned);
    }
}

impl Session {
    /// Sends the handshake, or first asks for its fields.
    pub(super) fn begin_handshake(&mut self, now: Millis) {
        if !self.configuration.has_handshake_provider {
            self.send_handshake(now, None);
            return;
        }
        let fields = &mut self.handshake_fields;
        if let Some(answer) = fields.answer.take() {
            fields.refusal = None;
            self.send_handshake(now, answer.as_deref());
            return;
        }
        fields.questions += 1;
        fields.attempts = fields.attempts.saturating_add(1);
        fields.asked = Some((fields.questions, now.saturating_add(HOST_LIMIT)));
        let question = HandshakeQuestion {
            number: fields.questions,
            attempt: fields.attempts,
            refusal: fields.refusal.clone(),
        };
        self.next_attempt = None;
        self.outputs.push_back(Output::AskHandshake(question));
    }

    /// The handshake provider has answered the question of this number: with
    /// fields, with none, or with the reason why it failed. An answer that comes
    /// too late was for another attempt, and is for none.
    pub fn handle_handshake_fields(
        &mut self,
        now: Millis,
        question: u64,
        answer: Result<Option<Box<RawValue>>, String>,
    ) {
        let fields = &mut self.handshake_fields;
        if fields.asked.map(|(number, _)| number) != Some(question) {
            return;
        }
        fields.asked = None;
        match answer {
            Ok(answer) => {
                fields.answer = Some(answer);
                self.attempt_handshake(now);
            }
            Err(why) => {
                let why = format!("the handshake provider failed: {why}");
                self.handshake_not_begun(now, ErrorKind::Credentials, why);
            }
        }
        self.proceed(now);
    }

    pub(super) fn handshake_fields_timed_out(&mut self, now: Millis) {
        let deadline = self.handshake_fields.deadline();
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.handshake_fields.asked = None;
            let why = format!("the handshake provider took longer than {HOST_LIMIT} ms");
            self.handshake_not_begun(now, ErrorKind::Timeout, why);
        }
    }

    fn handshake_not_begun(&mut self, now: Millis, kind: ErrorKind, why: String) {
        // It counts as an attempt: with backoffs of 0 nothing else would slow
        // a provider down that always fails.
        self.handshake_limit.record(now);
        self.handshake_not_made(now, &Failure::new(kind, why));
    }
}
