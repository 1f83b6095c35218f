//! What is subscribed to, in whichever session: made again in each new one,
//! and again when that was refused for a reason that may pass.
//!
//! A subscription is one of the host's that a server has accepted, or has put
//! off. The library makes it again by itself, by one message a channel; what the
//! host subscribes to beside that joins it and ends with it.

use std::collections::BTreeMap;

use super::backoff::{Backoff, Jitter};
use super::{Millis, OperationId, RequestId};
use crate::bayeux::replay;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The server has accepted it in this session.
    Live,
    /// It must be made again: the session is new, or the last try failed.
    Wanted,
    /// It is in line to be made again.
    Planned,
    /// It is being made again.
    Underway,
}

/// A subscribe of the host's that ends with the next renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    pub operation: OperationId,
    /// The server has asked for another try; it waits for as many as it takes.
    pub patient: bool,
}

#[derive(Debug)]
pub(super) struct Subscription {
    /// The host's subscribe that made it first; 0 while none has.
    pub operation: OperationId,
    pub standing: Standing,
    pub joined: Vec<Joined>,
    /// The session in which a server was last asked for it.
    asked_in: u64,
    /// While it is wanted: when it is tried again.
    at: Millis,
}

impl Subscription {
    fn new(operation: OperationId, standing: Standing) -> Self {
        Self {
            operation,
            standing,
            joined: Vec::new(),
            asked_in: 0,
            at: 0,
        }
    }
}

/// What the host's own commands for a channel that wait or are under way come
/// to.
#[derive(Debug, Default)]
struct Asked {
    subscribes: usize,
    /// Those of them that no later unsubscribe takes back.
    in_force: usize,
    /// Those of these that no lost session has left behind.
    current: usize,
    unsubscribes: usize,
    /// Calls up to this one are taken back.
    revoked_up_to: u64,
    /// The session in which the server was last asked for it.
    asked_in: u64,
}

#[derive(Debug)]
pub(super) struct Subscriptions {
    made: BTreeMap<String, Subscription>,
    asked: BTreeMap<String, Asked>,
    last_call: u64,
    /// When the first of those that are `Wanted` is due.
    due: Option<Millis>,
    /// Requests with renewals that failed in a row.
    failed_requests: u32,
    backoff: Backoff,
    /// The wait after the renewals of this request that have failed just now.
    last_wait: Option<(Millis, RequestId, Millis)>,
}

impl Subscriptions {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            made: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_call: 0,
            due: None,
            failed_requests: 0,
            backoff,
            last_wait: None,
        }
    }

    // What the host calls.

    /// Whether a subscribe to this channel can end with the renewal that is
    /// about to be made, or is under way; then it does. One that waits for
    /// another try in this session is not waited for.
    pub(super) fn joins(
        &mut self,
        channel: &str,
        operation: OperationId,
        has_session: bool,
    ) -> bool {
        if self.asked.get(channel).is_some_and(|it| it.current > 0) {
            return false;
        }
        let Some(subscription) = self.made.get_mut(channel) else {
            return false;
        };
        let soon = match subscription.standing {
            Standing::Planned | Standing::Underway => true,
            Standing::Wanted => !has_session,
            Standing::Live => false,
        };
        if soon {
            let patient = false;
            subscription.joined.push(Joined { operation, patient });
        }
        soon
    }

    /// A subscribe of the host's waits to be sent; the number of its call.
    pub(super) fn subscribe_called(&mut self, channel: &str) -> u64 {
        self.last_call += 1;
        let asked = self.asked.entry(channel.to_owned()).or_default();
        asked.subscribes += 1;
        asked.in_force += 1;
        asked.current += 1;
        self.last_call
    }

    /// The host wants this channel no more, whatever is under way for it.
    /// Whether a server may know of it, and which subscribes end here.
    pub(super) fn unsubscribe_called(
        &mut self,
        channel: &str,
        session: u64,
    ) -> (bool, Vec<OperationId>) {
        let made = self.made.remove(channel);
        let asked = self.asked.entry(channel.to_owned()).or_default();
        let is_ours = made.is_some() || asked.subscribes > 0;
        asked.unsubscribes += 1;
        asked.in_force = 0;
        asked.current = 0;
        asked.revoked_up_to = self.last_call;
        let Some(made) = made else {
            return (is_ours, Vec::new());
        };
        asked.asked_in = asked.asked_in.max(match made.standing {
            Standing::Live => session,
            _ => made.asked_in,
        });
        let ended = made.joined.iter().map(|it| it.operation);
        (is_ours, ended.collect())
    }

    pub(super) fn standings(&self) -> impl Iterator<Item = (&str, Standing)> {
        let made = self.made.iter();
        made.map(|(channel, it)| (channel.as_str(), it.standing))
    }

    /// Goes on in a session that has this subscription, or has yet to get it.
    pub(super) fn resume(&mut self, channel: &str, is_live: bool, session: u64) {
        let mut made = match is_live {
            true => Subscription::new(0, Standing::Live),
            false => Subscription::new(0, Standing::Wanted),
        };
        made.asked_in = session;
        self.made.insert(channel.to_owned(), made);
        if !is_live {
            self.is_wanted_at(0);
        }
    }

    // What is sent.

    /// A subscribe of the host's is sent.
    pub(super) fn subscribe_sent(&mut self, channel: &str, session: u64) {
        if let Some(asked) = self.asked.get_mut(channel) {
            asked.asked_in = session;
        }
        if let Some(made) = self.made.get_mut(channel) {
            made.asked_in = session;
        }
    }

    /// An unsubscribe is about to be sent; whether this session's server knows
    /// of the subscription.
    pub(super) fn unsubscribe_sent(&mut self, channel: &str, session: u64) -> bool {
        let Some(asked) = self.asked.get_mut(channel) else {
            return false;
        };
        asked.unsubscribes = asked.unsubscribes.saturating_sub(1);
        let known = asked.asked_in == session;
        self.forget_if_done(channel);
        known
    }

    /// A renewal is about to be sent, if it is still wanted.
    pub(super) fn renewal_sent(&mut self, channel: &str, session: u64) -> bool {
        match self.made.get_mut(channel) {
            Some(it) if it.standing == Standing::Planned => {
                it.standing = Standing::Underway;
                it.asked_in = session;
                true
            }
            _ => false,
        }
    }

    // How it ends.

    /// Whether the host has taken this subscribe back since it called it.
    pub(super) fn is_revoked(&self, channel: &str, call: u64) -> bool {
        let asked = self.asked.get(channel);
        asked.is_some_and(|it| call <= it.revoked_up_to)
    }

    /// The session in which a subscribe of the host's was sent is gone; or it
    /// `is_back`, to be sent in the next one.
    pub(super) fn left_behind(&mut self, channel: &str, call: u64, is_back: bool) {
        let asked = self.asked.get_mut(channel);
        if let Some(asked) = asked.filter(|it| call > it.revoked_up_to) {
            match is_back {
                true => asked.current += 1,
                false => asked.current = asked.current.saturating_sub(1),
            }
        }
    }

    /// A subscribe of the host's ends, `stale` in a session that is gone;
    /// whether it was taken back.
    pub(super) fn subscribe_ended(&mut self, channel: &str, call: u64, stale: bool) -> bool {
        let Some(asked) = self.asked.get_mut(channel) else {
            return false;
        };
        let revoked = call <= asked.revoked_up_to;
        asked.subscribes = asked.subscribes.saturating_sub(1);
        if !revoked {
            asked.in_force = asked.in_force.saturating_sub(1);
            asked.current = asked.current.saturating_sub(usize::from(!stale));
        }
        self.forget_if_done(channel);
        revoked
    }

    fn forget_if_done(&mut self, channel: &str) {
        let done = |it: &Asked| it.subscribes == 0 && it.unsubscribes == 0;
        if self.asked.get(channel).is_some_and(done) {
            self.asked.remove(channel);
        }
    }

    /// The server has accepted a subscribe of the host's. The subscribe that
    /// made it first, when it stands in for a renewal.
    pub(super) fn accepted(
        &mut self,
        channel: &str,
        operation: OperationId,
        stale: bool,
    ) -> Option<(OperationId, Vec<Joined>)> {
        if stale {
            // The old session had it; the new one must get it.
            if !self.made.contains_key(channel) {
                let made = Subscription::new(operation, Standing::Wanted);
                self.made.insert(channel.to_owned(), made);
                self.due = Some(0);
            }
            return None;
        }
        let Some(made) = self.made.get_mut(channel) else {
            let made = Subscription::new(operation, Standing::Live);
            self.made.insert(channel.to_owned(), made);
            return None;
        };
        let before = std::mem::replace(&mut made.standing, Standing::Live);
        let joined = std::mem::take(&mut made.joined);
        let renewed = made.operation;
        if renewed == 0 {
            made.operation = operation;
        }
        (before != Standing::Live).then_some((renewed, joined))
    }

    /// The subscription whose renewal has just been answered; `None`: the host
    /// has taken it back, or it was made in another way.
    pub(super) fn renewal_answered(&mut self, channel: &str) -> Option<&mut Subscription> {
        let underway = |it: &&mut Subscription| it.standing == Standing::Underway;
        self.made.get_mut(channel).filter(underway)
    }

    /// All is well, unless something still waits for another try.
    pub(super) fn renewal_accepted(&mut self) {
        if self.due.is_none() {
            // One that still fails stays apart, and is not tried at once
            // because others are well.
            self.failed_requests = 0;
            self.backoff.reset();
        }
    }

    /// A try came to nothing, and another will follow, then.
    pub(super) fn want_again(&mut self, channel: &str, at: Millis) {
        if let Some(subscription) = self.made.get_mut(channel) {
            subscription.standing = Standing::Wanted;
            subscription.at = at;
            self.is_wanted_at(at);
        }
    }

    fn is_wanted_at(&mut self, at: Millis) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The host's own subscribe came to nothing; it may have stood in for a
    /// renewal.
    pub(super) fn attempt_failed(&mut self, channel: &str) {
        let made = self.made.get(channel);
        let wanted = made.filter(|it| it.standing == Standing::Wanted);
        if let Some(at) = wanted.map(|it| it.at) {
            self.is_wanted_at(at);
        }
    }

    /// The server has put a subscribe of the host's off: where it stands that it
    /// waits for from now on, unless the channel has one that lives.
    pub(super) fn put_off(&mut self, channel: &str, operation: OperationId) -> Option<Standing> {
        let made = self
            .made
            .entry(channel.to_owned())
            .or_insert_with(|| Subscription::new(0, Standing::Wanted));
        if made.standing == Standing::Live {
            return None;
        }
        let asked = self.asked.get(channel).map_or(0, |it| it.asked_in);
        made.asked_in = made.asked_in.max(asked);
        made.joined.push(Joined {
            operation,
            patient: true,
        });
        Some(made.standing)
    }

    pub(super) fn remove(&mut self, channel: &str) {
        self.made.remove(channel);
    }

    /// A request that carried renewals has failed: from here on each travels
    /// alone, as it may be one of them that the server chokes on.
    pub(super) fn request_failed(&mut self) {
        self.failed_requests = self.failed_requests.saturating_add(1);
    }

    /// How long renewals wait that have failed in this request; the same for
    /// all of them but those of which more is asked.
    pub(super) fn wait(
        &mut self,
        now: Millis,
        request: RequestId,
        jitter: &mut Jitter,
        not_before: Millis,
    ) -> Millis {
        let same = |it: &(Millis, RequestId, Millis)| it.0 == now && it.1 == request;
        if let Some((_, _, wait)) = self.last_wait.filter(same) {
            return wait.max(not_before);
        }
        let wait = jitter.add(self.backoff.after());
        self.last_wait = Some((now, request, wait));
        wait.max(not_before)
    }

    // Sessions.

    /// What was subscribed belongs to a session that is gone.
    pub(super) fn session_ended(&mut self) {
        for subscription in self.made.values_mut() {
            subscription.standing = Standing::Wanted;
            subscription.at = 0;
        }
        self.due = (!self.made.is_empty()).then_some(0);
    }

    /// The channels to subscribe to again now, and whether each travels alone.
    pub(super) fn plan(&mut self, now: Millis) -> (Vec<String>, bool) {
        let mut planned = Vec::new();
        if self.due.is_some_and(|at| at <= now) {
            self.due = None;
            for (channel, subscription) in &mut self.made {
                let asked = self.asked.get(channel);
                let own = asked.is_some_and(|it| it.current > 0);
                if own || subscription.standing != Standing::Wanted {
                    continue;
                }
                if subscription.at <= now {
                    subscription.standing = Standing::Planned;
                    planned.push(channel.clone());
                } else {
                    let due = self.due.unwrap_or(Millis::MAX);
                    self.due = Some(due.min(subscription.at));
                }
            }
        }
        (planned, self.failed_requests > 0)
    }

    /// When the next renewal is due.
    pub(super) fn next_renewal(&self) -> Option<Millis> {
        self.due
    }

    /// The end of the client: which subscribes end with it.
    pub(super) fn take_all(&mut self) -> Vec<(OperationId, String)> {
        self.asked.clear();
        let made = std::mem::take(&mut self.made).into_iter();
        made.flat_map(|(channel, it)| {
            let joined = it.joined.into_iter();
            joined.map(move |it| (it.operation, channel.clone()))
        })
        .collect()
    }

    // What is needed of topics.

    fn is_asked_for(&self, channel: &str) -> bool {
        self.asked.get(channel).is_some_and(|it| it.in_force > 0)
    }

    /// What is subscribed to, or may yet be.
    pub(super) fn channels(&self) -> impl Iterator<Item = &str> {
        let asked = self.asked.iter().filter(|(_, it)| it.in_force > 0);
        let asked = asked.map(|(channel, _)| channel.as_str());
        self.made.keys().map(String::as_str).chain(asked)
    }

    /// Whether one of those belongs to this topic.
    pub(super) fn needs_topic(&self, topic: &str) -> bool {
        let of_topic = |channel: &&String| replay::topic(channel) == topic;
        // Channels of a topic are itself and those that go on with a query.
        let query = format!("{topic}?");
        let made = self.made.range(query.clone()..).map(|it| it.0);
        let asked = self.asked.range(query..);
        self.made.contains_key(topic)
            || self.is_asked_for(topic)
            || made.take_while(of_topic).next().is_some()
            || asked
                .take_while(|it| of_topic(&it.0))
                .any(|it| it.1.in_force > 0)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.made.len(), self.asked.len()]
    }

    /// Subscribes that wait for a renewal.
    #[cfg(test)]
    pub(super) fn joined(&self) -> usize {
        self.made.values().map(|it| it.joined.len()).sum()
    }
}
