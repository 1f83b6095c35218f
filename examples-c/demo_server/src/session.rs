//! One client's session: its subscriptions, the events that wait for it, the
//! connect that is held for it and the WebSocket on which it goes on.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::channel;
use crate::message::Text;

/// Tells the task of a WebSocket whose session has events for it, by the client
/// id.
pub type Socket = mpsc::UnboundedSender<Rc<str>>;

/// Where a session stands. One that was disconnected stays known until its
/// client has been told, in the reply to a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    DisconnectedByClient,
    DisconnectedByServer,
}

#[derive(Debug)]
pub struct Session {
    pub state: State,
    /// The value of the cookie that the client has to present.
    pub browser: Option<String>,
    subscriptions: HashSet<String>,
    queue: VecDeque<Text>,
    acks: Option<Acks>,
    /// Counts the connects; only the newest one is answered with events.
    connects: u64,
    /// Dropping the sender wakes the connect that is held.
    held: Option<oneshot::Sender<()>>,
    /// The WebSocket that brought the last message, and the session's client id.
    socket: Option<(Rc<str>, Socket)>,
    last_seen: Instant,
}

/// State of the acknowledgement extension: each connect reply closes a batch,
/// whose events are kept until a later connect acknowledges it.
#[derive(Debug, Default)]
struct Acks {
    batch: u64,
    unacknowledged: VecDeque<(u64, Text)>,
}

impl Session {
    pub fn new(browser: Option<String>, with_acks: bool) -> Self {
        Self {
            state: State::Open,
            browser,
            subscriptions: HashSet::new(),
            queue: VecDeque::new(),
            acks: with_acks.then(Acks::default),
            connects: 0,
            held: None,
            socket: None,
            last_seen: Instant::now(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub fn subscribe(&mut self, pattern: String) {
        self.subscriptions.insert(pattern);
    }

    pub fn unsubscribe(&mut self, pattern: &str) {
        self.subscriptions.remove(pattern);
    }

    pub fn is_subscribed(&self, channel: &str) -> bool {
        self.subscriptions
            .iter()
            .any(|pattern| channel::matches(pattern, channel))
    }

    pub fn enqueue(&mut self, event: Text) {
        let is_first = self.queue.is_empty();
        self.queue.push_back(event);
        if !self.pushes() {
            self.wake();
        } else if is_first {
            self.announce();
        }
    }

    /// The session goes on over this WebSocket, on which a message has come.
    pub fn attach(&mut self, client_id: &str, socket: &Socket) {
        if self.is_attached(socket) {
            return;
        }
        self.socket = Some((client_id.into(), socket.clone()));
        if self.has_events() {
            self.announce();
        }
    }

    /// The session goes on over long polling.
    pub fn detach(&mut self) {
        self.socket = None;
    }

    fn is_attached(&self, socket: &Socket) -> bool {
        let same = |(_, own): &(Rc<str>, Socket)| own.same_channel(socket);
        self.socket.as_ref().is_some_and(same)
    }

    /// Whether events go out by themselves. With acknowledgements they wait for
    /// a connect, whose reply closes their batch.
    pub fn pushes(&self) -> bool {
        let is_there = |(_, socket): &(Rc<str>, Socket)| !socket.is_closed();
        self.acks.is_none() && self.socket.as_ref().is_some_and(is_there)
    }

    fn announce(&self) {
        if let Some((client_id, socket)) = &self.socket {
            // One that has gone pushes nothing; the next one asks.
            let _ = socket.send(Rc::clone(client_id));
        }
    }

    /// The events to send on this WebSocket without a connect's turn.
    pub fn take_pushed(&mut self, socket: &Socket) -> Vec<Text> {
        if self.pushes() && self.is_attached(socket) {
            self.queue.drain(..).collect()
        } else {
            Vec::new()
        }
    }

    pub fn has_events(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Ends the session. The connect that is held, or else the next one, is
    /// what tells the client.
    pub fn disconnect(&mut self, state: State) {
        self.state = state;
        self.wake();
    }

    /// A connect has come. It takes the place of the one that is held, which
    /// wakes to find that its number is no longer the current one.
    pub fn start_connect(&mut self) -> u64 {
        self.connects += 1;
        self.wake();
        self.connects
    }

    pub fn is_current_connect(&self, number: u64) -> bool {
        self.connects == number
    }

    /// Holds the connect that has just started, until the receiver wakes.
    pub fn hold(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.held = Some(sender);
        receiver
    }

    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    fn wake(&mut self) {
        self.held = None;
    }

    /// The client has received all batches up to `batch`. What it did not
    /// receive goes again, ahead of newer events.
    pub fn acknowledge(&mut self, batch: u64) {
        let Some(acks) = &mut self.acks else { return };
        while let Some((sent_in, event)) = acks.unacknowledged.pop_back() {
            if sent_in > batch {
                self.queue.push_front(event);
            }
        }
    }

    /// The events to send with a connect reply, and the number of the batch
    /// they form if the session uses acknowledgements.
    pub fn take_batch(&mut self) -> (Vec<Text>, Option<u64>) {
        self.wake();
        self.last_seen = Instant::now();
        let events: Vec<Text> = self.queue.drain(..).collect();
        let Some(acks) = &mut self.acks else {
            return (events, None);
        };
        acks.batch += 1;
        let sent = events.iter().map(|event| (acks.batch, event.clone()));
        acks.unacknowledged.extend(sent);
        (events, Some(acks.batch))
    }

    /// When the client was last seen. A held connect keeps the session alive;
    /// one whose client has gone away has a closed sender.
    pub fn last_seen(&mut self, now: Instant) -> Instant {
        if let Some(sender) = &self.held {
            self.last_seen = now;
            if sender.is_closed() {
                self.held = None;
            }
        }
        self.last_seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot::error::TryRecvError;

    fn texts(events: Vec<Text>) -> String {
        events.join(" ")
    }

    #[test]
    fn an_event_wakes_the_held_connect() {
        let mut session = Session::new(None, false);
        let number = session.start_connect();
        let mut receiver = session.hold();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        session.enqueue("a".into());
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert!(session.is_current_connect(number));
        assert_eq!(texts(session.take_batch().0), "a");
        assert!(!session.has_events());
    }

    #[test]
    fn a_newer_connect_replaces_the_held_one() {
        let mut session = Session::new(None, false);
        let older = session.start_connect();
        let mut receiver = session.hold();
        let newer = session.start_connect();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert!(!session.is_current_connect(older));
        assert!(session.is_current_connect(newer));
    }

    #[test]
    fn a_websocket_is_told_of_events_once_and_the_connect_stays_held() {
        let (socket, mut announced) = mpsc::unbounded_channel();
        let mut session = Session::new(None, false);
        session.attach("c", &socket);
        let mut connect = session.hold();
        session.enqueue("a".into());
        session.enqueue("b".into());
        assert_eq!(announced.try_recv().as_deref(), Ok("c"));
        assert!(announced.is_empty());
        assert_eq!(connect.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(texts(session.take_pushed(&socket)), "a b");
        assert!(!session.has_events());
    }

    #[test]
    fn events_wait_for_the_next_websocket() {
        let (first, announced) = mpsc::unbounded_channel();
        let mut session = Session::new(None, false);
        session.attach("c", &first);
        drop(announced);
        session.enqueue("a".into());
        assert_eq!(texts(session.take_pushed(&first)), "");
        let (second, mut announced) = mpsc::unbounded_channel();
        session.attach("c", &second);
        assert_eq!(announced.try_recv().as_deref(), Ok("c"));
        assert_eq!(texts(session.take_pushed(&first)), "");
        assert_eq!(texts(session.take_pushed(&second)), "a");
        // Back to long polling: an event wakes the connect again.
        session.detach();
        let mut connect = session.hold();
        session.enqueue("b".into());
        assert_eq!(connect.try_recv(), Err(TryRecvError::Closed));
        assert!(announced.is_empty());
    }

    #[test]
    fn with_acknowledgements_events_wait_for_a_connect_on_a_websocket_too() {
        let (socket, announced) = mpsc::unbounded_channel();
        let mut session = Session::new(None, true);
        session.attach("c", &socket);
        let mut connect = session.hold();
        session.enqueue("a".into());
        assert_eq!(connect.try_recv(), Err(TryRecvError::Closed));
        assert!(announced.is_empty());
        assert_eq!(texts(session.take_pushed(&socket)), "");
    }

    #[test]
    fn unacknowledged_events_go_again_before_newer_ones() {
        let mut session = Session::new(None, true);
        session.enqueue("a".into());
        assert_eq!(session.take_batch().1, Some(1));
        session.enqueue("b".into());
        session.enqueue("c".into());
        assert_eq!(session.take_batch().1, Some(2));
        session.enqueue("d".into());
        session.acknowledge(1);
        let (events, batch) = session.take_batch();
        assert_eq!((texts(events).as_str(), batch), ("b c d", Some(3)));
        session.acknowledge(3);
        assert!(!session.has_events());
        assert_eq!(session.take_batch().1, Some(4));
    }

    #[test]
    fn without_the_extension_nothing_goes_again() {
        let mut session = Session::new(None, false);
        session.enqueue("a".into());
        assert_eq!(session.take_batch().1, None);
        session.acknowledge(0);
        assert!(!session.has_events());
    }

    #[test]
    fn only_a_connect_whose_client_is_there_keeps_the_session_alive() {
        let mut session = Session::new(None, false);
        let receiver = session.hold();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(session.last_seen(later), later);
        drop(receiver);
        assert_eq!(session.last_seen(later), later);
        let even_later = later + Duration::from_secs(60);
        assert_eq!(session.last_seen(even_later), later);
    }
}
