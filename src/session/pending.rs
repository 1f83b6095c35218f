//! Messages that were sent and wait for their replies.

use std::collections::{BTreeMap, BTreeSet};

use super::replay::Started;
use super::retries::Retried;
use super::{Millis, OperationId, RequestId};
use crate::error::Phase;

#[derive(Debug)]
pub(super) struct Pending {
    /// 0 for what the library does by itself.
    pub operation: OperationId,
    pub channel: String,
    pub phase: Phase,
    /// The number of a subscribe's call.
    pub call: u64,
    /// Was refused before by a server that had lost the session.
    pub second_try: bool,
    /// Was sent in a session that is gone.
    pub stale: bool,
    pub request: RequestId,
    /// From where a subscribe starts.
    pub started: Started,
    /// A publish that is sent again when this attempt fails.
    pub retried: Option<Box<Retried>>,
}

/// Those of one request, which run out of time together.
#[derive(Debug)]
struct Travelling {
    deadline: Millis,
    /// Some of them may have ended, or travel in another request by now.
    ids: Vec<u64>,
    /// How many are still pending.
    left: usize,
}

#[derive(Debug, Default)]
pub(super) struct PendingMessages {
    /// By message id.
    messages: BTreeMap<u64, Pending>,
    requests: BTreeMap<RequestId, Travelling>,
    /// In the order in which they run out of time; ids do not give it, as some
    /// requests are with the host's code before they are sent.
    deadlines: BTreeSet<(Millis, RequestId)>,
}

impl PendingMessages {
    /// The deadline is that of its request.
    pub(super) fn insert(&mut self, id: u64, pending: Pending, deadline: Millis) {
        self.remove(id);
        let request = pending.request;
        let travelling = self.requests.entry(request).or_insert_with(|| {
            self.deadlines.insert((deadline, request));
            Travelling {
                deadline,
                ids: Vec::new(),
                left: 0,
            }
        });
        travelling.ids.push(id);
        travelling.left += 1;
        self.messages.insert(id, pending);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.messages.remove(&id)?;
        self.ended(pending.request);
        Some(pending)
    }

    /// One of this request is no longer pending.
    fn ended(&mut self, request: RequestId) {
        let Some(travelling) = self.requests.get_mut(&request) else {
            return;
        };
        travelling.left = travelling.left.saturating_sub(1);
        if travelling.left == 0 {
            self.deadlines.remove(&(travelling.deadline, request));
            self.requests.remove(&request);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&Pending> {
        self.messages.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Pending)> {
        self.messages.iter().map(|(id, pending)| (*id, pending))
    }

    /// For changes that leave the request as it is.
    pub(super) fn for_each(&mut self, change: impl FnMut(&mut Pending)) {
        self.messages.values_mut().for_each(change);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Pending) -> bool) {
        let gone = self.iter().filter(|(_, pending)| !keep(pending));
        let gone: Vec<u64> = gone.map(|(id, _)| id).collect();
        for id in gone {
            self.remove(id);
        }
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Pending> {
        self.requests.clear();
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
            .flat_map(|(_, request)| self.of_request(*request))
            .collect()
    }

    /// Those that travelled in this request have until then.
    pub(super) fn set_deadline(&mut self, request: RequestId, deadline: Millis) {
        if let Some(travelling) = self.requests.get_mut(&request) {
            self.deadlines.remove(&(travelling.deadline, request));
            self.deadlines.insert((deadline, request));
            travelling.deadline = deadline;
        }
    }

    /// Those that travelled in this request.
    pub(super) fn iter_request(&self, request: RequestId) -> impl Iterator<Item = (u64, &Pending)> {
        let travelling = self.requests.get(&request);
        let ids = travelling.into_iter().flat_map(|it| it.ids.iter());
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
            .filter(move |(_, pending)| pending.request == request)
    }

    /// Their ids.
    pub(super) fn of_request(&self, request: RequestId) -> Vec<u64> {
        self.iter_request(request).map(|(id, _)| id).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert!(self.requests.len() <= self.messages.len());
        assert_eq!(self.requests.len(), self.deadlines.len());
        self.messages.len()
    }
}
