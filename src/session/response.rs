//! What one response, or one frame, says: collected in one pass, decided in one place.
//!
//! Nothing is acted on before all is known, so that nothing that a response
//! says hides something else in it. A reply is told by what it must have, its
//! channel, and by its id; one without an id by its request, the channel that it
//! names, and the order in which the request's messages were asked (Bayeux
//! specification, section 4: the other fields of a reply are optional).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::connection::interval_of;
use super::flights::{Flight, Purpose, Stage};
use super::said::{Id, Item, ReplyTo, Said, Source};
use super::{Event, Exchange, Millis, RequestId, Session, State};
use crate::bayeux::{channel, meta, Body, Message};
use crate::error::{Error, ErrorKind, Phase};

impl Session {
    /// A request brought messages.
    pub fn handle_reply(&mut self, now: Millis, request: RequestId, body: &Arc<Body>) {
        let Some(flight) = self.flights.remove(request) else {
            return;
        };
        if self.state == State::Closed {
            return;
        }
        self.transports.long_polling_answered();
        self.handle_said(now, &Source::Response(request, flight), body);
        self.proceed(now);
    }

    pub(super) fn handle_said(&mut self, now: Millis, source: &Source, body: &Arc<Body>) {
        let said = self.collect(source, body);
        // Over a socket the flights of these are not yet looked at.
        let exchange = match source {
            Source::Response(_, flight) => Some(*flight),
            Source::Socket(_) => self.take_exchange(&said),
        };
        self.measure_time(now, exchange.as_ref(), body);
        self.act(now, source, body, &said);
        if said.unusable > 0 && self.state != State::Closed {
            let phase = exchange.map_or(Phase::Connect, |it| it.purpose.phase());
            self.emit_error(unusable(phase, said.unusable));
        }
        self.decide(now, source, exchange, body, &said);
    }

    /// The flight of what a frame has answered, apart from commands.
    fn take_exchange(&mut self, said: &Said) -> Option<Flight> {
        let mut exchange = None;
        if said.handshake_accepted || said.handshake_refusal.is_some() {
            exchange = self.handshake;
        }
        if said.disconnected {
            exchange = self.disconnect_awaited().or(exchange);
        }
        if said.connect.is_some() {
            exchange = self.connect.or(exchange);
        }
        let is_answer = exchange.is_some() || said.items.iter().any(Item::is_answer);
        if is_answer {
            self.socket_answered();
        }
        if let Some(socket) = self.socket.as_mut().filter(|_| said.events > 0) {
            socket.events = true;
            // Its connects may be held for longer than it lasts.
            if self.state == State::Connected && !self.works {
                self.session_works();
            }
        }
        self.flights.remove(exchange?.request)
    }

    /// Whether what was sent with this request may be answered from there.
    fn is_from(&self, source: &Source, request: RequestId) -> bool {
        match source {
            Source::Response(of, _) => *of == request,
            Source::Socket(socket) => {
                let flight = self.flights.get(request);
                flight.is_some_and(|it| it.socket() == Some(*socket))
            }
        }
    }

    /// The requests of commands that may be answered from there.
    fn asked(&self, source: &Source) -> Vec<RequestId> {
        match source {
            Source::Response(request, flight) => match flight.purpose {
                Purpose::Commands => vec![*request],
                _ => Vec::new(),
            },
            Source::Socket(socket) => {
                let commands = self.flights.iter().filter(|(_, flight)| {
                    flight.purpose == Purpose::Commands && flight.socket() == Some(*socket)
                });
                commands.map(|it| it.0).collect()
            }
        }
    }

    /// Whether what comes from there is of the session that there is.
    fn is_of_session(&self, source: &Source) -> bool {
        match source {
            Source::Response(_, flight) => flight.session == self.sessions,
            Source::Socket(_) => self.client_id.is_some() && self.handshake.is_none(),
        }
    }

    fn collect(&self, source: &Source, body: &Body) -> Said {
        let mut said = Said {
            unusable: body.malformed(),
            ..Said::default()
        };
        let mut nameless = Vec::new();
        let mut handshake = self.handshake;
        let mut asked = None;
        let mut has_asked = || {
            let asked = asked.get_or_insert_with(|| self.asked(source));
            asked.iter().any(|it| self.is_answerable(*it))
        };
        for (index, message) in body.messages().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let Some(name) = message.channel() else {
                said.unusable += 1;
                continue;
            };
            if !channel::is_meta(name) {
                if message.data().is_some() && message.successful().is_none() {
                    said.event(index);
                    continue;
                }
                match self.publish_answered(name, &message, source) {
                    Some(to) => said.items.push(Item::Reply(index, to)),
                    None if Id::of(&message) == Id::Missing && has_asked() => {
                        nameless.push(said.items.len());
                        said.items.push(Item::Reply(index, ReplyTo::Nothing));
                    }
                    None if message.data().is_some() => said.event(index),
                    None => {}
                }
                continue;
            }
            match name {
                meta::HANDSHAKE if self.is_awaited(handshake, &message, source) => {
                    handshake = None;
                    if message.successful() == Some(true) {
                        // An end that came before is that of another session.
                        said.ending = None;
                        said.handshake_accepted = true;
                        said.items.push(Item::Handshake(index));
                    } else {
                        said.handshake_refusal = Some(index);
                    }
                }
                meta::CONNECT
                    if said.connect.is_none()
                        && self.is_awaited(self.connect, &message, source) =>
                {
                    said.connect = Some(index);
                }
                meta::SUBSCRIBE | meta::UNSUBSCRIBE => match Id::of(&message) {
                    Id::Number(id) if self.awaits(id, phase_of(name)) => {
                        said.items.push(Item::Reply(index, ReplyTo::Pending(id)));
                    }
                    Id::Missing if has_asked() => {
                        nameless.push(said.items.len());
                        said.items.push(Item::Reply(index, ReplyTo::Nothing));
                    }
                    _ => {}
                },
                meta::DISCONNECT if self.is_disconnect_reply(&message) => said.disconnected = true,
                meta::DISCONNECT => {
                    // Of a session before this one it says nothing.
                    let is_handshakes = match source {
                        Source::Response(_, flight) => flight.purpose == Purpose::Handshake,
                        Source::Socket(_) => false,
                    };
                    let of_this_session =
                        self.is_of_session(source) && (self.client_id.is_some() || is_handshakes);
                    if self.disconnecting.is_none() && of_this_session {
                        said.ending = Some(index);
                    }
                }
                _ => {}
            }
        }
        if !nameless.is_empty() {
            let asked = asked.unwrap_or_default();
            self.match_nameless(&asked, body, &mut said, &nameless);
        }
        said
    }

    fn is_answerable(&self, request: RequestId) -> bool {
        let pending = self.commands.pending.iter_request(request).next();
        pending.is_some() || self.commands.calls.of_request(request).next().is_some()
    }

    fn awaits(&self, id: u64, phase: Phase) -> bool {
        let pending = self.commands.pending.get(id);
        pending.is_some_and(|it| it.phase == phase)
    }

    /// What a message that is no event, or may be none, answers by its id. An
    /// event of another client may have the same id: a reply says whether it was
    /// successful, and comes on the channel of what it answers (Bayeux, section
    /// 5.2).
    fn publish_answered(&self, name: &str, message: &Message, source: &Source) -> Option<ReplyTo> {
        let Id::Number(id) = Id::of(message) else {
            return None;
        };
        let successful = message.successful();
        let calls = &self.commands.calls;
        if calls.is_given_up(id) && successful.is_some() {
            return Some(ReplyTo::Nothing);
        }
        let pending = self.commands.pending.get(id);
        let is_publish = |phase| phase == Phase::Publish;
        let pending = pending.filter(|it| is_publish(it.phase) && it.channel == name);
        let travelled = pending.map(|it| it.request).or(calls.request_of(id));
        let own = travelled.is_some_and(|it| self.is_from(source, it));
        if successful.is_none() && !own {
            return None;
        }
        if calls.channel_of(id) == Some(name) {
            return Some(ReplyTo::Call(id));
        }
        if pending.is_some() {
            return Some(ReplyTo::Pending(id));
        }
        let late = successful == Some(true) && self.may_be_late(id, Some(name));
        late.then_some(ReplyTo::Late(id))
    }

    /// Finds what the replies without an id answer, of what these requests have
    /// asked: first those that name a channel, then the others in order.
    fn match_nameless(
        &self,
        asked: &[RequestId],
        body: &Body,
        said: &mut Said,
        nameless: &[usize],
    ) {
        let mut waiting = Waiting::of(self, asked, &said.items);
        for by_name in [true, false] {
            for place in nameless {
                let Some(Item::Reply(index, to @ ReplyTo::Nothing)) = said.items.get_mut(*place)
                else {
                    continue;
                };
                let Some(message) = body.message(*index as usize) else {
                    continue;
                };
                let found = waiting.take(&message, by_name);
                *to = found.unwrap_or(ReplyTo::Nothing);
            }
        }
        // With data, and no reply of ours after all: events.
        for place in nameless {
            if let Some(Item::Reply(index, ReplyTo::Nothing)) = said.items.get(*place) {
                let index = *index;
                let message = body.message(index as usize);
                let name = message.as_ref().and_then(Message::channel);
                let is_event = name.is_some_and(|it| !channel::is_meta(it))
                    && message.is_some_and(|it| it.data().is_some());
                if let (true, Some(item)) = (is_event, said.items.get_mut(*place)) {
                    *item = Item::Events(index, index + 1);
                    said.events += 1;
                }
            }
        }
    }

    /// Does what can be done at once, in the order of the response.
    fn act(&mut self, now: Millis, source: &Source, body: &Arc<Body>, said: &Said) {
        let follows = self.replay.is_wanted() && self.is_of_session(source);
        for item in &said.items {
            if self.state == State::Closed {
                return;
            }
            match *item {
                Item::Events(start, end) => {
                    // Where an old session stood is behind where this one is.
                    if follows {
                        let of_run = (start..end).filter_map(|it| body.message(it as usize));
                        for message in of_run {
                            self.replay.received(&message);
                        }
                    }
                    self.emit_events(body, start, end);
                }
                Item::Handshake(index) => {
                    if let Some(reply) = body.message(index as usize) {
                        self.handshake_replied(now, &reply);
                    }
                }
                Item::Reply(index, to) => {
                    if let Some(reply) = body.message(index as usize) {
                        self.act_on_reply(now, body, index, &reply, to);
                    }
                }
            }
        }
    }

    fn act_on_reply(
        &mut self,
        now: Millis,
        body: &Arc<Body>,
        index: u32,
        reply: &Message,
        to: ReplyTo,
    ) {
        match to {
            ReplyTo::Pending(id) => {
                // What a service answers with the reply is for the host as well.
                let is_event = reply.data().is_some() && reply.successful() == Some(true);
                let is_publish = reply.channel().is_some_and(|it| !channel::is_meta(it));
                if is_event && is_publish {
                    self.emit_events(body, index, index + 1);
                }
                self.replied(now, id, reply);
            }
            ReplyTo::Call(id) => self.call_replied(id, reply, body, index),
            ReplyTo::Late(id) => self.accepted_late(id, reply),
            ReplyTo::Nothing => {}
        }
    }

    /// What becomes of the session. All that the response says of it is known:
    /// whether the server has ended it, and why a handshake or connect was
    /// refused.
    fn decide(
        &mut self,
        now: Millis,
        source: &Source,
        exchange: Option<Flight>,
        body: &Body,
        said: &Said,
    ) {
        if self.state == State::Closed {
            return;
        }
        let message = |index: Option<u32>| index.and_then(|it| body.message(it as usize));
        // A session that could not be used has already had its end.
        let useless = said.handshake_accepted && self.client_id.is_none();
        let ending = message(said.ending).filter(|_| !useless);
        let connection_type = self.connection_type();
        let advised =
            |it| message(it).map_or(0, |it| interval_of(it.advice(connection_type).as_ref()));
        let interval = || advised(said.ending).max(advised(said.connect));
        if said.disconnected {
            self.disconnect_replied(now);
        }
        if said.connect.is_some() {
            self.connect = None;
        }
        if let Source::Response(request, flight) = source {
            self.request_answered(now, *request, flight);
        }
        if let Some(refusal) = message(said.handshake_refusal) {
            self.handshake = None;
            self.handshake_refused(now, &refusal, ending.is_some());
        } else if let Some(reply) = message(said.connect) {
            let took = exchange.map_or(0, |it| now.saturating_sub(it.sent));
            let pushed = self.socket.as_ref().is_some_and(|it| it.events);
            if reply.successful() != Some(true) {
                self.connect_refused(now, &reply, ending.as_ref().map(ended), interval());
            } else if let Some(ending) = &ending {
                self.ended_by_server(now, ended(ending), interval());
            } else {
                self.connect_succeeded(now, &reply, took, said.events > 0 || pushed);
            }
        } else if let Some(ending) = &ending {
            self.ended_by_server(now, ended(ending), interval());
        } else if let Source::Response(request, _) = source {
            self.missing_reply(now, *request);
        }
        if self.state == State::Closed {
            return;
        }
        self.promised_events_came(now, said.events);
        if std::mem::take(&mut self.commands.session_lost) {
            self.session_lost(now);
        }
    }

    /// What a response of commands has not answered may be answered by another;
    /// until its deadline.
    fn request_answered(&mut self, now: Millis, request: RequestId, flight: &Flight) {
        match flight.purpose {
            Purpose::Commands => {
                self.commands.request_ended(request);
                if flight.stage != Stage::Sent {
                    let deadline = flight.sent.saturating_add(flight.limit);
                    self.commands.pending.set_deadline(request, deadline);
                }
            }
            Purpose::Disconnect => self.disconnect_replied(now),
            Purpose::Handshake | Purpose::Connect => {}
        }
    }

    /// A handshake or connect must be answered by its own response.
    fn missing_reply(&mut self, now: Millis, request: RequestId) {
        let missing = |session: &Self, name: &str| {
            session.bad_reply(format!("the response holds no reply to {name}"))
        };
        let awaited = |exchange: Option<Exchange>| exchange.is_some_and(|it| it.request == request);
        if awaited(self.connect) {
            self.connect = None;
            self.connect_failed(now, &missing(self, meta::CONNECT));
        } else if awaited(self.handshake) {
            self.handshake = None;
            self.handshake_failed(now, &missing(self, meta::HANDSHAKE));
        }
    }

    /// What came over a socket that was left: its replies are those of what has failed.
    pub(super) fn handle_late_events(&mut self, body: &Arc<Body>) {
        if self.state == State::Closed {
            return;
        }
        for (index, message) in (0..).zip(body.messages()) {
            let is_event = message.channel().is_some_and(|it| !channel::is_meta(it))
                && message.data().is_some()
                && message.successful().is_none();
            if is_event {
                self.emit_events(body, index, index + 1);
            }
        }
    }

    fn emit_events(&mut self, body: &Arc<Body>, start: u32, end: u32) {
        self.emit(Event::Messages {
            body: body.clone(),
            range: start..end,
        });
    }

    /// Whether a reply is the one awaited. One without an id is when it comes from
    /// where the awaited one does.
    fn is_awaited(&self, awaited: Option<Exchange>, message: &Message, source: &Source) -> bool {
        awaited.is_some_and(|awaited| match Id::of(message) {
            Id::Missing => self.is_from(source, awaited.request),
            id => id == Id::Number(awaited.message_id),
        })
    }

    /// Whether a /meta/disconnect answers ours; any other is the server's own.
    fn is_disconnect_reply(&self, message: &Message) -> bool {
        self.disconnect_awaited()
            .is_some_and(|awaited| match Id::of(message) {
                Id::Missing => true,
                id => id == Id::Number(awaited.message_id),
            })
    }
}

fn phase_of(name: &str) -> Phase {
    match name {
        meta::UNSUBSCRIBE => Phase::Unsubscribe,
        meta::SUBSCRIBE => Phase::Subscribe,
        _ => Phase::Publish,
    }
}

/// What a request has asked and this response has not answered by id.
struct Waiting<'s> {
    named: BTreeMap<&'static str, BTreeMap<&'s str, VecDeque<ReplyTo>>>,
    in_order: BTreeMap<&'static str, VecDeque<ReplyTo>>,
    taken: BTreeSet<u64>,
}

impl<'s> Waiting<'s> {
    fn of(session: &'s Session, requests: &[RequestId], items: &[Item]) -> Self {
        let taken = items.iter().filter_map(|item| match item {
            Item::Reply(_, ReplyTo::Pending(id) | ReplyTo::Call(id)) => Some(*id),
            _ => None,
        });
        let mut waiting = Self {
            named: BTreeMap::new(),
            in_order: BTreeMap::new(),
            taken: taken.collect(),
        };
        let calls = requests.iter();
        let calls = calls.flat_map(|it| session.commands.calls.of_request(*it));
        let calls = calls.map(|(id, channel)| (id, Phase::Call, channel));
        let pending = requests.iter();
        let pending = pending.flat_map(|it| session.commands.pending.iter_request(*it));
        let pending = pending.map(|(id, it)| (id, it.phase, it.channel.as_str()));
        let mut asked: Vec<_> = calls.chain(pending).collect();
        asked.sort_unstable_by_key(|it| it.0);
        for (id, phase, channel) in asked {
            let to = match phase {
                Phase::Call => ReplyTo::Call(id),
                _ => ReplyTo::Pending(id),
            };
            let kind = match phase {
                Phase::Subscribe => meta::SUBSCRIBE,
                Phase::Unsubscribe => meta::UNSUBSCRIBE,
                _ => "",
            };
            let named = waiting.named.entry(kind).or_default();
            named.entry(channel).or_default().push_back(to);
            if !kind.is_empty() {
                waiting.in_order.entry(kind).or_default().push_back(to);
            }
        }
        waiting
    }

    /// What this reply answers: by the channel that it names, or as the next in
    /// order when it names none.
    fn take(&mut self, message: &Message, by_name: bool) -> Option<ReplyTo> {
        let name = message.channel()?;
        let kind = match name {
            meta::SUBSCRIBE => meta::SUBSCRIBE,
            meta::UNSUBSCRIBE => meta::UNSUBSCRIBE,
            _ => "",
        };
        let subscription;
        let named = match kind {
            "" => Some(name),
            _ => {
                // One reply is about one message, which is about one channel.
                subscription = message.subscriptions().into_iter().next();
                subscription.as_deref()
            }
        };
        let line = match (named, by_name) {
            (Some(channel), true) => self.named.get_mut(kind)?.get_mut(channel)?,
            (None, false) => self.in_order.get_mut(kind)?,
            _ => return None,
        };
        // That a call was accepted is not yet its answer.
        let accepts = message.data().is_none() && message.successful() == Some(true);
        while let Some(to) = line.front().copied() {
            match to {
                ReplyTo::Call(id) if accepts && !self.taken.contains(&id) => return Some(to),
                ReplyTo::Pending(id) | ReplyTo::Call(id) => {
                    line.pop_front();
                    if self.taken.insert(id) {
                        return Some(to);
                    }
                }
                ReplyTo::Late(_) | ReplyTo::Nothing => {
                    line.pop_front();
                }
            }
        }
        None
    }
}

/// The server has ended the session by itself.
fn ended(message: &Message) -> Error {
    let bayeux = message.error();
    let why = bayeux.as_ref().map(|it| format!(": {}", it.text));
    let why = why.unwrap_or_default();
    let mut error = Error::new(
        ErrorKind::ServerDisconnected,
        Phase::Disconnect,
        format!("disconnect: the server ended the session{why}"),
    );
    error.bayeux = bayeux;
    error.reply_ext = super::refusals::ext_of(message);
    error.reply_error = message.error_json().map(Into::into);
    error
}

fn unusable(phase: Phase, count: usize) -> Error {
    let text = format!(
        "{}: {count} of the response's messages had no usable channel and were passed over",
        phase.name()
    );
    Error::new(ErrorKind::Protocol, phase, text)
}
