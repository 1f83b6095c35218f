//! When operations run out of the time that the host gave them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Millis, OperationId};

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    in_order: BTreeSet<(Millis, OperationId)>,
    by_operation: BTreeMap<OperationId, Millis>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Millis> {
        self.in_order.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn set(&mut self, operation: OperationId, deadline: Millis) {
        self.forget(operation);
        self.in_order.insert((deadline, operation));
        self.by_operation.insert(operation, deadline);
    }

    pub(super) fn forget(&mut self, operation: OperationId) {
        if let Some(deadline) = self.by_operation.remove(&operation) {
            self.in_order.remove(&(deadline, operation));
        }
    }

    /// The operations whose time has run out, the first one first; they are
    /// forgotten.
    pub(super) fn take_expired(&mut self, now: Millis) -> Vec<OperationId> {
        let mut expired = Vec::new();
        while let Some((deadline, operation)) = self.in_order.pop_first() {
            if deadline > now {
                self.in_order.insert((deadline, operation));
                break;
            }
            self.by_operation.remove(&operation);
            expired.push(operation);
        }
        expired
    }

    pub(super) fn clear(&mut self) {
        self.in_order.clear();
        self.by_operation.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_operation.len()
    }
}
