//! Which server a session is asked of: one of those that the host gave, and by
//! option one of those that a server's advice names (`hosts`; Bayeux
//! specification, section 3.2).

use std::sync::Arc;

use super::{Configuration, Event, Session};
use crate::bayeux::{Advice, Message};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// One of those that the host gave, in their order.
    Given(usize),
    /// A host that a server has named, perhaps with a port.
    Advised(Arc<str>),
}

/// Advice that is longer is not told to the host: a server can change it with
/// each reply, and events of this kind are never dropped.
const MAXIMUM_ADVICE: usize = 4096;

pub(super) struct Servers {
    /// Has those that the host gave.
    configuration: Arc<Configuration>,
    advised: Vec<Arc<str>>,
    /// In the one list after the other.
    current: usize,
    /// The advice that the host was told of last.
    told: Option<String>,
}

impl Servers {
    pub(super) fn new(configuration: Arc<Configuration>) -> Self {
        Self {
            configuration,
            advised: Vec::new(),
            current: 0,
            told: None,
        }
    }

    /// The hosts of those that the host gave.
    fn given(&self) -> &[String] {
        &self.configuration.servers
    }

    pub(super) fn current(&self) -> Server {
        let past = self.current.checked_sub(self.given().len());
        match past.and_then(|index| self.advised.get(index)) {
            Some(host) => Server::Advised(host.clone()),
            None => Server::Given(self.current),
        }
    }

    /// The number of the current one among those that the host gave, or of the first,
    /// and its host.
    pub(super) fn named(&self) -> Option<(usize, String)> {
        let is_given = self.current < self.given().len();
        Some((
            if is_given { self.current } else { 0 },
            self.current_host()?,
        ))
    }

    /// Goes on at this one. False when it is none of ours.
    pub(super) fn resume(&mut self, number: usize, host: &str) -> bool {
        let is_it = |it: &String| it.eq_ignore_ascii_case(host);
        if self.given().get(number).is_some_and(is_it) {
            self.current = number;
            return true;
        }
        if self.configuration.follow_hosts && self.position(host).is_none() {
            self.advised.push(host.into());
        }
        let position = self.position(host);
        self.current = position.unwrap_or(self.current);
        position.is_some()
    }

    pub(super) fn count(&self) -> usize {
        self.given().len() + self.advised.len()
    }

    /// The current one did not give a session: the next one is asked.
    pub(super) fn failed(&mut self) {
        if self.count() > 1 {
            self.current = (self.current + 1) % self.count();
            // By its number: a host that a server names may be anything, a secret
            // that it was sent as well.
            tracing::info!(
                target: "cometd::session",
                number = self.current,
                advised = self.current >= self.given().len(),
                "another server is asked"
            );
        }
    }

    fn position(&self, host: &str) -> Option<usize> {
        let all = self.given().iter().map(String::as_str);
        all.chain(self.advised.iter().map(AsRef::as_ref))
            .position(|it| it.eq_ignore_ascii_case(host))
    }

    fn current_host(&self) -> Option<String> {
        match self.current() {
            Server::Given(index) => self.given().get(index).cloned(),
            Server::Advised(host) => Some(host.to_string()),
        }
    }

    /// The server names other hosts. When it wants a new session at the same
    /// time and is none of them, the first of them is asked.
    fn advise(&mut self, hosts: &[String], wants_handshake: bool) {
        if !self.configuration.follow_hosts || hosts.is_empty() {
            return;
        }
        let current = self.current_host();
        let is_named = |current: &String| hosts.iter().any(|it| it.eq_ignore_ascii_case(current));
        let goes_on = current.filter(|it| !wants_handshake || is_named(it));
        self.advised.clear();
        // One in use that is not in the list keeps a place all the same.
        for host in hosts.iter().chain(&goes_on) {
            if self.position(host).is_none() {
                self.advised.push(host.as_str().into());
            }
        }
        if goes_on.is_some() && self.current < self.given().len() {
            // There may be two at one host.
            return;
        }
        let next = goes_on.as_ref().or(hosts.first());
        self.current = next.and_then(|it| self.position(it)).unwrap_or(0);
    }
}

impl Session {
    /// Looks at what an advice says of servers, and tells the host of what only
    /// it can act on.
    pub(super) fn advised(
        &mut self,
        reply: &Message,
        advice: Option<&Advice>,
        wants_handshake: bool,
    ) {
        let Some(advice) = advice else { return };
        if advice.hosts.is_empty() && !advice.multiple_clients {
            return;
        }
        self.servers.advise(&advice.hosts, wants_handshake);
        let Some(json) = reply.advice_json() else {
            return;
        };
        if json.len() <= MAXIMUM_ADVICE && self.servers.told.as_deref() != Some(json) {
            self.servers.told = Some(json.to_owned());
            self.emit(Event::Advice {
                json: json.to_owned(),
            });
        }
    }
}
