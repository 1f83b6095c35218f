//! Remote calls: a publish to a service channel, and the message on the same
//! channel with the same id that answers it. Each ends exactly once: by the
//! answer, by a refusal, or by its deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::connection::refused;
use super::deadlines::Deadlines;
use super::{Event, Millis, OperationId, RequestId, Session};
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::{Body, Message};
use crate::error::Phase;

/// Answers that come too late are swallowed, as nobody has subscribed to them;
/// of so many calls that were given up the ids are remembered.
const REMEMBERED: usize = 1_000;

#[derive(Debug)]
struct Call {
    operation: OperationId,
    channel: String,
    request: RequestId,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Sent, by message id.
    sent: BTreeMap<u64, Call>,
    /// Of all that have not ended, sent or not.
    deadlines: Deadlines,
    given_up: VecDeque<u64>,
}

impl Calls {
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.next()
    }

    pub(super) fn accept(&mut self, operation: OperationId, deadline: Millis) {
        self.deadlines.set(operation, deadline);
    }

    pub(super) fn sent(
        &mut self,
        message_id: u64,
        operation: OperationId,
        channel: String,
        request: RequestId,
    ) {
        self.sent.insert(
            message_id,
            Call {
                operation,
                channel,
                request,
            },
        );
    }

    /// The operations whose time is up, the first one first.
    pub(super) fn take_expired(&mut self, now: Millis) -> Vec<OperationId> {
        self.deadlines.take_expired(now)
    }

    /// Ends calls that were not answered; the channels of those that were sent.
    pub(super) fn abandon(
        &mut self,
        operations: &BTreeSet<OperationId>,
    ) -> BTreeMap<OperationId, String> {
        let abandoned = self.end_those(|_, call| operations.contains(&call.operation));
        abandoned.into_iter().collect()
    }

    fn give_up(&mut self, message_id: u64) {
        if self.given_up.len() == REMEMBERED {
            self.given_up.pop_front();
        }
        self.given_up.push_back(message_id);
    }

    fn end(&mut self, message_id: u64) -> Option<Call> {
        let call = self.sent.remove(&message_id)?;
        self.deadlines.forget(call.operation);
        Some(call)
    }

    /// Ends those that a failed request carried.
    pub(super) fn fail(&mut self, request: RequestId) -> Vec<(OperationId, String)> {
        self.end_those(|_, call| call.request == request)
    }

    /// Ends those of a request that extensions dropped.
    pub(super) fn end_deleted(
        &mut self,
        request: RequestId,
        ids: &[u64],
    ) -> Vec<(OperationId, String)> {
        self.end_those(|id, call| call.request == request && ids.contains(&id))
    }

    fn end_those(&mut self, which: impl Fn(u64, &Call) -> bool) -> Vec<(OperationId, String)> {
        let ids: Vec<u64> = self
            .sent
            .iter()
            .filter(|(id, call)| which(**id, call))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter()
            .filter_map(|id| {
                self.give_up(id);
                self.end(id)
            })
            .map(|call| (call.operation, call.channel))
            .collect()
    }

    /// How many are sent, and how many have not ended.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 2] {
        assert!(self.given_up.len() <= REMEMBERED);
        [self.sent.len(), self.deadlines.len()]
    }

    /// Ends all that were sent.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (OperationId, String)> {
        self.deadlines.clear();
        std::mem::take(&mut self.sent)
            .into_values()
            .map(|call| (call.operation, call.channel))
    }
}

impl Session {
    /// A quick look, as it is taken at each event.
    pub(super) fn may_answer_a_call(&self, message: &Message) -> bool {
        let calls = &self.commands.calls;
        !(calls.sent.is_empty() && calls.given_up.is_empty()) && message.successful().is_some()
    }

    /// Whether a message with data is the answer to a call, in time or not;
    /// then it is no event.
    pub(super) fn call_answered(&mut self, reply: &Message, body: &Arc<Body>, index: u32) -> bool {
        let calls = &mut self.commands.calls;
        // An event of another client may have the same id; an answer says
        // whether it was successful, and comes on the call's channel.
        let (Some(id), Some(successful)) = (
            reply.id().and_then(|id| id.parse::<u64>().ok()),
            reply.successful(),
        ) else {
            return false;
        };
        if calls.given_up.contains(&id) {
            return true;
        }
        if calls.sent.get(&id).map(|call| call.channel.as_str()) != reply.channel() {
            return false;
        }
        let Some(call) = calls.end(id) else {
            return false;
        };
        let error = (!successful).then(|| {
            let mut error = refused(Phase::Call, reply);
            if error.bayeux.is_none() {
                // A service says why in the data, which the host gets with it.
                "call: the service failed".clone_into(&mut error.message);
            }
            error.on_channel(call.channel)
        });
        self.emit(Event::Result {
            id: call.operation,
            message: OwnedMessage::new(body.clone(), index),
            error,
            ext: None,
        });
        true
    }

    /// Whether a reply without data belongs to a call. That it was accepted
    /// says nothing yet; that it was refused is its end.
    pub(super) fn call_acknowledged(&mut self, id: u64, successful: bool, reply: &Message) -> bool {
        let calls = &mut self.commands.calls;
        if calls.sent.get(&id).map(|call| call.channel.as_str()) != reply.channel() {
            return false;
        }
        if !successful {
            if let Some(call) = calls.end(id) {
                self.emit_failed(call.operation, call.channel, refused(Phase::Call, reply));
            }
        }
        true
    }
}
