//! What one response says: collected in one pass, decided in one place.
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
use super::{Event, Exchange, Millis, RequestId, Session, State};
use crate::bayeux::{channel, meta, Body, Message, LONG_POLLING};
use crate::error::{Error, ErrorKind, Failure, Phase};

/// The id of a message, as far as it can be one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    /// Absent, null, or of a type that no id has.
    Missing,
    Number(u64),
    /// Not one that this client gives.
    Foreign,
}

impl Id {
    fn of(message: &Message) -> Self {
        let Some(json) = message.id_json() else {
            return Self::Missing;
        };
        let quoted = json.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let is_number = json.starts_with(|it: char| it.is_ascii_digit() || it == '-');
        match quoted {
            Some("") => Self::Missing,
            None if !is_number => Self::Missing,
            _ => {
                let text = quoted.unwrap_or(json);
                // Some servers have no integers.
                let text = text.strip_suffix(".0").unwrap_or(text);
                text.parse().map_or(Self::Foreign, Self::Number)
            }
        }
    }
}

/// What a reply answers, apart from handshakes, connects and disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplyTo {
    Pending(u64),
    Call(u64),
    /// An earlier attempt of a publish that is about to be sent again.
    Late(u64),
    /// Nothing that is still waited for.
    Nothing,
}

#[derive(Debug)]
enum Item {
    /// These are events: the first, and the one behind the last.
    Events(u32, u32),
    /// The awaited handshake's reply, a successful one.
    Handshake(u32),
    Reply(u32, ReplyTo),
}

/// All that a response says.
#[derive(Debug, Default)]
struct Said {
    items: Vec<Item>,
    events: u64,
    unusable: usize,
    /// The awaited handshake was accepted.
    handshake_accepted: bool,
    /// It was refused.
    handshake_refusal: Option<u32>,
    connect: Option<u32>,
    /// The server's own disconnect.
    ending: Option<u32>,
    /// The reply to ours.
    disconnected: bool,
}

impl Said {
    fn event(&mut self, index: u32) {
        self.events += 1;
        match self.items.last_mut() {
            Some(Item::Events(_, end)) if *end == index => *end += 1,
            _ => self.items.push(Item::Events(index, index + 1)),
        }
    }
}

impl Session {
    /// A request brought messages.
    pub fn handle_reply(&mut self, now: Millis, request: RequestId, body: &Arc<Body>) {
        let Some(flight) = self.flights.remove(request) else {
            return;
        };
        if self.state == State::Closed {
            return;
        }
        let said = self.collect(request, &flight, body);
        self.measure_time(now, &flight, body);
        self.act(now, &flight, body, &said);
        if said.unusable > 0 && self.state != State::Closed {
            self.emit_error(unusable(flight.purpose.phase(), said.unusable));
        }
        self.decide(now, request, &flight, body, &said);
        self.proceed(now);
    }

    fn collect(&self, request: RequestId, flight: &Flight, body: &Body) -> Said {
        let mut said = Said {
            unusable: body.malformed(),
            ..Said::default()
        };
        let mut nameless = Vec::new();
        let mut handshake = self.handshake;
        let has_asked = flight.purpose == Purpose::Commands && self.is_answerable(request);
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
                match self.publish_answered(name, &message, request) {
                    Some(to) => said.items.push(Item::Reply(index, to)),
                    None if has_asked && Id::of(&message) == Id::Missing => {
                        nameless.push(said.items.len());
                        said.items.push(Item::Reply(index, ReplyTo::Nothing));
                    }
                    None if message.data().is_some() => said.event(index),
                    None => {}
                }
                continue;
            }
            match name {
                meta::HANDSHAKE if is_awaited(handshake, &message, request) => {
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
                    if said.connect.is_none() && is_awaited(self.connect, &message, request) =>
                {
                    said.connect = Some(index);
                }
                meta::SUBSCRIBE | meta::UNSUBSCRIBE => match Id::of(&message) {
                    Id::Number(id) if self.awaits(id, phase_of(name)) => {
                        said.items.push(Item::Reply(index, ReplyTo::Pending(id)));
                    }
                    Id::Missing if has_asked => {
                        nameless.push(said.items.len());
                        said.items.push(Item::Reply(index, ReplyTo::Nothing));
                    }
                    _ => {}
                },
                meta::DISCONNECT if self.is_disconnect_reply(&message) => said.disconnected = true,
                meta::DISCONNECT => {
                    // Of a session before this one it says nothing.
                    let of_this_session = flight.session == self.sessions
                        && (self.client_id.is_some() || flight.purpose == Purpose::Handshake);
                    if self.disconnecting.is_none() && of_this_session {
                        said.ending = Some(index);
                    }
                }
                _ => {}
            }
        }
        if !nameless.is_empty() {
            self.match_nameless(request, body, &mut said, &nameless);
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
    fn publish_answered(
        &self,
        name: &str,
        message: &Message,
        request: RequestId,
    ) -> Option<ReplyTo> {
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
        let own = pending.is_some_and(|it| it.request == request) || calls.is_of(id, request);
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

    /// Finds what the replies without an id answer, of what this request has
    /// asked: first those that name a channel, then the others in order.
    fn match_nameless(&self, request: RequestId, body: &Body, said: &mut Said, nameless: &[usize]) {
        let mut waiting = Waiting::of(self, request, &said.items);
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
    fn act(&mut self, now: Millis, flight: &Flight, body: &Arc<Body>, said: &Said) {
        let follows = self.replay.is_wanted() && flight.session == self.sessions;
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
        request: RequestId,
        flight: &Flight,
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
        let advised =
            |it| message(it).map_or(0, |it| interval_of(it.advice(LONG_POLLING).as_ref()));
        let interval = || advised(said.ending).max(advised(said.connect));
        if said.disconnected {
            self.disconnect_replied(now);
        }
        if said.connect.is_some() {
            self.connect = None;
        }
        self.request_answered(now, request, flight);
        if let Some(refusal) = message(said.handshake_refusal) {
            self.handshake = None;
            self.handshake_refused(now, &refusal, ending.is_some());
        } else if let Some(reply) = message(said.connect) {
            let took = now.saturating_sub(flight.sent);
            if reply.successful() != Some(true) {
                self.connect_refused(now, &reply, ending.as_ref().map(ended), interval());
            } else if let Some(ending) = &ending {
                self.ended_by_server(now, ended(ending), interval());
            } else {
                self.connect_succeeded(now, &reply, took, said.events > 0);
            }
        } else if let Some(ending) = &ending {
            self.ended_by_server(now, ended(ending), interval());
        } else {
            self.missing_reply(now, request);
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
        let missing = |name: &str| {
            let text = format!("the response holds no reply to {name}");
            Failure::new(ErrorKind::Protocol, text).with_status(200)
        };
        let awaited = |exchange: Option<Exchange>| exchange.is_some_and(|it| it.request == request);
        if awaited(self.connect) {
            self.connect = None;
            self.connect_failed(now, &missing(meta::CONNECT));
        } else if awaited(self.handshake) {
            self.handshake = None;
            self.handshake_failed(now, &missing(meta::HANDSHAKE));
        }
    }

    fn emit_events(&mut self, body: &Arc<Body>, start: u32, end: u32) {
        self.emit(Event::Messages {
            body: body.clone(),
            range: start..end,
        });
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

/// Whether a reply, in the response to `request`, is the one awaited. One
/// without an id is when it came in the awaited one's own response.
fn is_awaited(awaited: Option<Exchange>, message: &Message, request: RequestId) -> bool {
    awaited.is_some_and(|awaited| match Id::of(message) {
        Id::Missing => awaited.request == request,
        id => id == Id::Number(awaited.message_id),
    })
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
    fn of(session: &'s Session, request: RequestId, items: &[Item]) -> Self {
        let taken = items.iter().filter_map(|item| match item {
            Item::Reply(_, ReplyTo::Pending(id) | ReplyTo::Call(id)) => Some(*id),
            _ => None,
        });
        let mut waiting = Self {
            named: BTreeMap::new(),
            in_order: BTreeMap::new(),
            taken: taken.collect(),
        };
        let calls = session.commands.calls.of_request(request);
        let calls = calls.map(|(id, channel)| (id, Phase::Call, channel));
        let pending = session.commands.pending.iter_request(request);
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
