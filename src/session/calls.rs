//! Remote calls: a publish to a service channel, and the message on the same
//! channel with the same id that answers it. Each ends exactly once: by the
//! answer, by a refusal, or by its deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::deadlines::Deadlines;
use super::refusals::{ext_of, refused};
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
    /// In the order of their ids.
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
        let place = self.given_up.partition_point(|it| *it < message_id);
        self.given_up.insert(place, message_id);
    }

    pub(super) fn is_given_up(&self, message_id: u64) -> bool {
        self.given_up.binary_search(&message_id).is_ok()
    }

    /// The channel of a call that was sent and has not ended.
    pub(super) fn channel_of(&self, message_id: u64) -> Option<&str> {
        self.sent.get(&message_id).map(|call| call.channel.as_str())
    }

    /// In which request it travelled.
    pub(super) fn request_of(&self, message_id: u64) -> Option<RequestId> {
        self.sent.get(&message_id).map(|it| it.request)
    }

    /// Those that travelled in this request and have not ended.
    pub(super) fn of_request(&self, request: RequestId) -> impl Iterator<Item = (u64, &str)> {
        let of_request = move |it: &(&u64, &Call)| it.1.request == request;
        let sent = self.sent.iter().filter(of_request);
        sent.map(|(id, call)| (*id, call.channel.as_str()))
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
    /// The answer to a call, or that it was accepted or refused. That it was
    /// accepted says nothing yet; that it was refused is its end.
    pub(super) fn call_replied(&mut self, id: u64, reply: &Message, body: &Arc<Body>, index: u32) {
        let successful = reply.successful() == Some(true);
        if reply.data().is_none() && successful {
            return;
        }
        let Some(call) = self.commands.calls.end(id) else {
            return;
        };
        if reply.data().is_none() {
            self.emit_failed(call.operation, call.channel, refused(Phase::Call, reply));
            return;
        }
        let error = (!successful).then(|| {
            let mut error = refused(Phase::Call, reply);
            if error.bayeux.is_none() {
                // A service says why in the data, which the host gets with it.
                "call: the service failed".clone_into(&mut error.message);
            }
            Box::new(error.on_channel(call.channel))
        });
        self.emit(Event::Result {
            id: call.operation,
            message: OwnedMessage::new(body.clone(), index),
            error,
            ext: ext_of(reply),
        });
    }
}
