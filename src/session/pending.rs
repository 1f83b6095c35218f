//! Messages that were sent and wait for their replies.

use std::collections::{BTreeMap, BTreeSet};

use super::retries::Retried;
use super::{Millis, OperationId, RequestId};
use crate::error::Phase;

#[derive(Debug)]
pub(super) struct Pending {
    /// 0 for what the library does by itself.
    pub operation: OperationId,
    pub channel: String,
    pub phase: Phase,
    /// Was refused before by a server that had lost the session.
    pub second_try: bool,
    /// A subscribe that the host has since taken back by an unsubscribe.
    pub revoked: bool,
    /// Was sent in a session that is gone.
    pub stale: bool,
    pub request: RequestId,
    pub deadline: Millis,
    /// The position that a subscribe asked the server for.
    pub position: Option<i64>,
    /// A publish that is sent again when this attempt fails.
    pub retried: Option<Box<Retried>>,
}

/// By message id.
#[derive(Debug, Default)]
pub(super) struct PendingMessages {
    messages: BTreeMap<u64, Pending>,
    /// In the order in which they run out of time; ids do not give it, as a
    /// publish that is sent again keeps its own.
    deadlines: BTreeSet<(Millis, u64)>,
}

impl PendingMessages {
    pub(super) fn insert(&mut self, id: u64, pending: Pending) {
        self.remove(id);
        self.deadlines.insert((pending.deadline, id));
        self.messages.insert(id, pending);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.messages.remove(&id)?;
        self.deadlines.remove(&(pending.deadline, id));
        Some(pending)
    }

    pub(super) fn get(&self, id: u64) -> Option<&Pending> {
        self.messages.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Pending)> {
        self.messages.iter().map(|(id, pending)| (*id, pending))
    }

    /// For changes that leave the deadlines as they are.
    pub(super) fn for_each(&mut self, change: impl FnMut(&mut Pending)) {
        self.messages.values_mut().for_each(change);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Pending) -> bool) {
        let deadlines = &mut self.deadlines;
        self.messages.retain(|id, pending| {
            let keep = keep(pending);
            if !keep {
                deadlines.remove(&(pending.deadline, *id));
            }
            keep
        });
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Pending> {
        self.deadlines.clear();
        std::mem::take(&mut self.messages).into_values()
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The ids of those whose time has run out.
    pub(super) fn expired(&self, now: Millis) -> Vec<u64> {
        self.deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
            .collect()
    }

    /// Those that travelled in this request have until then.
    pub(super) fn set_deadline(&mut self, request: RequestId, deadline: Millis) {
        for id in self.of_request(request) {
            if let Some(pending) = self.remove(id) {
                self.insert(
                    id,
                    Pending {
                        deadline,
                        ..pending
                    },
                );
            }
        }
    }

    /// The ids of those that travelled in this request.
    pub(super) fn of_request(&self, request: RequestId) -> Vec<u64> {
        self.iter()
            .filter(|(_, pending)| pending.request == request)
            .map(|(id, _)| id)
            .collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}
