//! Events, as C reads them.

use std::ffi::{c_char, c_void, CString};
use std::sync::Arc;

use super::boundary::{access, act, write};
use super::error::{c_text, cometd_error};
use super::message::cometd_message;
use super::state::{cometd_state, state_number, COMETD_STATE_IDLE};
use crate::delivery::{Event, Exported, Notice, Ticket};

/// A message on a channel that was subscribed to; see cometd_event_message.
pub const COMETD_EVENT_MESSAGE: i32 = 1;
/// The client's state has changed; see cometd_event_state.
pub const COMETD_EVENT_STATE: i32 = 2;
/// The server has accepted a subscription; see cometd_event_id and
/// cometd_event_channel. It comes again when the library has subscribed anew, in
/// another session; see cometd_event_is_renewed.
pub const COMETD_EVENT_SUBSCRIBED: i32 = 3;
/// The server has ended a subscription.
pub const COMETD_EVENT_UNSUBSCRIBED: i32 = 4;
/// The server has accepted what was published.
pub const COMETD_EVENT_PUBLISHED: i32 = 5;
/// Something failed; see cometd_event_error. With the id and the channel of a
/// subscribe, unsubscribe, publish or remote call it is the end of that. With the id 0
/// it is about the client itself: unless it is fatal, the client tries again. With the
/// id 0 and a channel it is about a subscription that the library makes again:
/// cometd_error_retry_in_ms tells when, or that it is lost for good.
pub const COMETD_EVENT_ERROR: i32 = 6;
/// Messages were dropped here because the queue was full; see
/// cometd_event_dropped.
pub const COMETD_EVENT_DROPPED: i32 = 7;
/// The last event of a client.
pub const COMETD_EVENT_CLOSED: i32 = 8;
/// The answer to a remote call; see cometd_event_id, cometd_event_message, and
/// cometd_event_error, which is not NULL when the service says that it failed.
pub const COMETD_EVENT_RESULT: i32 = 9;
/// The server advises the program rather than the library: other hosts to go to ("hosts"), or that it has found several
/// clients on one connection ("multiple-clients"; Bayeux 1.0, section 3.2); see cometd_event_advice. The
/// library honours the rest of the advice, such as a longer interval, by itself.
pub const COMETD_EVENT_ADVICE: i32 = 10;
/// There is room for calls again, after one was refused with COMETD_E_FULL: as much as was refused, and at least a
/// quarter of cometd_client_builder_set_commands_capacity. It comes once, however many were refused before it, and to
/// clients that were refused something only.
pub const COMETD_EVENT_ROOM: i32 = 11;

/// What cometd_client_start_flush has asked for: all that was called before has its outcome. cometd_event_error is NULL,
/// or says that publishes have failed (COMETD_E_UNDELIVERED), or that the client has ended in a panic before
/// (COMETD_E_ABORTED).
pub const COMETD_EVENT_FLUSHED: i32 = 12;
/// What cometd_client_start_export has asked for: cometd_event_exported gives the session, or is NULL, and
/// cometd_event_error says why: COMETD_E_INVALID_STATE, COMETD_E_TOO_LARGE as cometd_client_export, or COMETD_E_ABORTED:
/// the client has ended before.
pub const COMETD_EVENT_EXPORTED: i32 = 13;

/// Gets each event of a receiver.
///
/// `user` is what was given to _set_callback. `event` belongs to the library and
/// ends with the call; cometd_message_retain keeps its message.
///
/// It runs on a thread of the library: for one receiver one call at a time and in
/// order. It may call every function of the library that does not block, and free
/// anything, its own client included. It may block; that delays its own client
/// and, should hundreds block at once, others. An exception or a longjmp must not
/// leave it.
pub type cometd_event_fn =
    Option<unsafe extern "C-unwind" fn(user: *mut c_void, event: *const cometd_event)>;

/// Gets up to 256 events of a receiver at once, the oldest first.
///
/// `user` is what was given to _set_events_callback. `events` and each of its `count` events, at least one, belong to
/// the library and end with the call; cometd_message_retain keeps a message.
///
/// What holds for cometd_event_fn holds here as well. The program is done with all events of a call when it has
/// returned: then their replay positions are saved, in their order, and with COMETD_OVERFLOW_BLOCK they no longer take
/// room.
pub type cometd_events_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        events: *const *const cometd_event,
        count: usize,
    ),
>;

/// Tells that there is something to poll.
///
/// `user` is what was given to _set_wake. Inside it, what holds inside a callback holds; for one receiver one call runs
/// at a time. It gets no event: what it does is to wake who polls.
pub type cometd_wake_fn = Option<unsafe extern "C-unwind" fn(user: *mut c_void)>;

/// Something that happened to a client.
///
/// One from a _poll is freed by cometd_event_free. Freeing it ends its message
/// and error.
pub struct cometd_event {
    content: Content,
    owned: bool,
    /// Somebody wants to know when the host is done with the message.
    ticket: Option<Box<Ticket>>,
}

enum Content {
    Message(cometd_message),
    Notice(Arc<Notice>, Option<Box<Texts>>),
    Dropped(u64),
}

/// What a notice holds for C.
struct Texts {
    channel: Option<CString>,
    error: Option<cometd_error>,
    message: Option<cometd_message>,
    advice: Option<CString>,
    ext: Option<CString>,
    exported: Option<CString>,
}

impl Texts {
    fn on(channel: Option<CString>) -> Self {
        Self {
            channel,
            error: None,
            message: None,
            advice: None,
            ext: None,
            exported: None,
        }
    }

    fn with_ext(self, ext: &Option<Box<str>>) -> Option<Box<Self>> {
        Some(Box::new(Self {
            ext: ext.as_deref().map(c_text),
            ..self
        }))
    }
}

impl cometd_event {
    /// One that the host frees.
    pub(super) fn owned(event: Event) -> Self {
        Self {
            owned: true,
            ..Self::borrowed(event)
        }
    }

    /// One that ends with a callback.
    pub(super) fn borrowed(event: Event) -> Self {
        let mut ticket = None;
        Self {
            content: match event {
                Event::Tracked(message, its_ticket) => {
                    ticket = Some(its_ticket);
                    Content::Message(cometd_message::borrowed(message))
                }
                Event::Message(message) => Content::Message(cometd_message::borrowed(message)),
                Event::Dropped(dropped) => Content::Dropped(dropped),
                Event::Notice(notice) => {
                    let texts = match &*notice {
                        Notice::State { ext: None, .. }
                        | Notice::Flushed { error: None, .. }
                        | Notice::Room
                        | Notice::Closed => None,
                        Notice::State { ext, .. } => Texts::on(None).with_ext(ext),
                        Notice::Subscribed { channel, ext, .. }
                        | Notice::Unsubscribed { channel, ext, .. }
                        | Notice::Published { channel, ext, .. } => {
                            Texts::on(Some(c_text(channel))).with_ext(ext)
                        }
                        Notice::Advice { json } => Some(Box::new(Texts {
                            advice: Some(c_text(json)),
                            ..Texts::on(None)
                        })),
                        Notice::Exported {
                            session: Ok(Exported(text)),
                            ..
                        } => Some(Box::new(Texts {
                            exported: Some(text.clone()),
                            ..Texts::on(None)
                        })),
                        Notice::Error { error, .. }
                        | Notice::Flushed {
                            error: Some(error), ..
                        }
                        | Notice::Exported {
                            session: Err(error),
                            ..
                        } => Some(Box::new(Texts {
                            error: Some(cometd_error::borrowed(error.clone())),
                            ..Texts::on(error.channel.as_deref().map(c_text))
                        })),
                        Notice::Result {
                            message,
                            error,
                            ext,
                            ..
                        } => {
                            let message = cometd_message::borrowed(message.clone());
                            let channel = message.channel().map(c_text);
                            let texts = Texts {
                                error: error.clone().map(cometd_error::borrowed),
                                message: Some(message),
                                ..Texts::on(channel)
                            };
                            texts.with_ext(ext)
                        }
                    };
                    Content::Notice(notice, texts)
                }
            },
            owned: false,
            ticket,
        }
    }

    /// The host is done with it, which its replay position may follow. Runs code
    /// of the host's.
    pub(super) fn finish(mut self) {
        if let Some(ticket) = self.ticket.take() {
            if let Content::Message(message) = &self.content {
                message.finish(ticket);
            }
        }
    }

    fn notice(&self) -> Option<&Notice> {
        match &self.content {
            Content::Notice(notice, _) => Some(notice),
            _ => None,
        }
    }

    fn texts(&self) -> Option<&Texts> {
        match &self.content {
            Content::Notice(_, texts) => texts.as_deref(),
            _ => None,
        }
    }
}

/// What kind of event it is: one of COMETD_EVENT_…. More may come; a program
/// passes over those that it does not know.
///
/// **Returns** the type; 0 for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_type(event: *const cometd_event) -> i32 {
    access(0, || {
        match unsafe { event.as_ref() }.map(|it| &it.content) {
            None => 0,
            Some(Content::Message(_)) => COMETD_EVENT_MESSAGE,
            Some(Content::Dropped(_)) => COMETD_EVENT_DROPPED,
            Some(Content::Notice(notice, _)) => match &**notice {
                Notice::State { .. } => COMETD_EVENT_STATE,
                Notice::Subscribed { .. } => COMETD_EVENT_SUBSCRIBED,
                Notice::Unsubscribed { .. } => COMETD_EVENT_UNSUBSCRIBED,
                Notice::Published { .. } => COMETD_EVENT_PUBLISHED,
                Notice::Result { .. } => COMETD_EVENT_RESULT,
                Notice::Advice { .. } => COMETD_EVENT_ADVICE,
                Notice::Error { .. } => COMETD_EVENT_ERROR,
                Notice::Flushed { .. } => COMETD_EVENT_FLUSHED,
                Notice::Exported { .. } => COMETD_EVENT_EXPORTED,
                Notice::Room => COMETD_EVENT_ROOM,
                Notice::Closed => COMETD_EVENT_CLOSED,
            },
        }
    })
}

/// The message of a COMETD_EVENT_MESSAGE, or of a COMETD_EVENT_RESULT.
///
/// **Returns** the message; NULL for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the event's;
/// cometd_message_retain keeps it longer. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_message(event: *const cometd_event) -> *const cometd_message {
    access(std::ptr::null(), || {
        match unsafe { event.as_ref() }.map(|it| &it.content) {
            Some(Content::Message(message)) => message,
            Some(Content::Notice(_, Some(texts))) => {
                texts.message.as_ref().map_or(std::ptr::null(), |it| it)
            }
            _ => std::ptr::null(),
        }
    })
}

/// The error of a COMETD_EVENT_ERROR, of a COMETD_EVENT_RESULT of a call that
/// the service says has failed, or of a COMETD_EVENT_FLUSHED or _EXPORTED.
///
/// **Returns** the error; NULL when there is none, for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_error(event: *const cometd_event) -> *const cometd_error {
    access(std::ptr::null(), || {
        unsafe { event.as_ref() }
            .and_then(cometd_event::texts)
            .and_then(|it| it.error.as_ref())
            .map_or(std::ptr::null(), |it| it)
    })
}

/// The new state of a COMETD_EVENT_STATE.
///
/// `previous` (may be NULL) receives the state before.
///
/// **Returns** one of COMETD_STATE_…; COMETD_STATE_IDLE, which no event tells,
/// for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_state(
    event: *const cometd_event,
    previous: *mut cometd_state,
) -> cometd_state {
    write(previous, COMETD_STATE_IDLE);
    access(COMETD_STATE_IDLE, || {
        match unsafe { event.as_ref() }.and_then(cometd_event::notice) {
            Some(Notice::State {
                state,
                previous: before,
                ..
            }) => {
                write(previous, state_number(*before));
                state_number(*state)
            }
            _ => COMETD_STATE_IDLE,
        }
    })
}

/// Which subscribe, unsubscribe, publish, remote call, flush or export the event ends. When the library has
/// subscribed again by itself, it is the first subscribe; see cometd_event_is_renewed.
///
/// **Returns** the id that the call gave; 0 for events about nothing that was
/// called, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_id(event: *const cometd_event) -> u64 {
    access(0, || {
        let notice = unsafe { event.as_ref() }.and_then(cometd_event::notice);
        notice.map_or(0, |it| it.call().0)
    })
}

/// Whether the event is the last one with its id: the call has ended, and what the program keeps for it can go. Of a call
/// with several channels it is the outcome of the last of them. Renewals of a subscription, which come later, end no call.
///
/// **Returns** true when it is; false for events that end no call, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_ends_call(event: *const cometd_event) -> bool {
    access(false, || {
        let notice = unsafe { event.as_ref() }.and_then(cometd_event::notice);
        notice.is_some_and(Notice::ends_call)
    })
}

/// The value that the program gave with the subscribe, unsubscribe, publish or remote call that the event
/// belongs to; see cometd_client_subscribe_opaque and the like. Where the id is 0 because the library has tried
/// to subscribe again by itself, it is that of the first subscribe to the channel that gave one.
///
/// **Returns** the value; NULL when there is none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the program's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_opaque(event: *const cometd_event) -> *mut c_void {
    access(std::ptr::null_mut(), || {
        let notice = unsafe { event.as_ref() }.and_then(cometd_event::notice);
        notice.map_or(0, |it| it.call().1) as *mut c_void
    })
}

/// The channel that the event is about: of a message, a subscription, a publish,
/// or an error of one of these.
///
/// **Returns** the channel; NULL when it is about none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_channel(event: *const cometd_event) -> *const c_char {
    access(std::ptr::null(), || {
        let Some(event) = (unsafe { event.as_ref() }) else {
            return std::ptr::null();
        };
        match &event.content {
            // A message's texts end in NUL where they stand.
            Content::Message(message) => message
                .channel()
                .map_or(std::ptr::null(), |it| it.as_ptr().cast()),
            _ => event
                .texts()
                .and_then(|it| it.channel.as_ref())
                .map_or(std::ptr::null(), |it| it.as_ptr()),
        }
    })
}

/// The advice of a COMETD_EVENT_ADVICE: a JSON object, as the server sent it. It comes again only when it has changed;
/// one of more than 4096 bytes does not come at all.
///
/// `*len` (may be NULL) receives its length in bytes.
///
/// **Returns** the JSON text, ended by NUL; NULL for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_advice(
    event: *const cometd_event,
    len: *mut usize,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        unsafe { event.as_ref() }
            .and_then(cometd_event::texts)
            .and_then(|it| it.advice.as_ref())
            .map_or(std::ptr::null(), |it| {
                write(len, it.as_bytes().len());
                it.as_ptr()
            })
    })
}

/// The session that a COMETD_EVENT_EXPORTED brings, for cometd_client_builder_set_resume. It is a secret like a password.
///
/// `*len` (may be NULL) receives its length in bytes.
///
/// **Returns** the text, ended by NUL; NULL when there is none, for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_exported(
    event: *const cometd_event,
    len: *mut usize,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        unsafe { event.as_ref() }
            .and_then(cometd_event::texts)
            .and_then(|it| it.exported.as_ref())
            .map_or(std::ptr::null(), |it| {
                write(len, it.as_bytes().len());
                it.as_ptr()
            })
    })
}

/// The `ext` of the server's reply that the event is of: JSON, as the server sent it. COMETD_EVENT_SUBSCRIBED,
/// _UNSUBSCRIBED, _PUBLISHED and _RESULT have that of the reply to what was called, COMETD_EVENT_STATE that of the reply
/// which brought the state about. cometd_error_ext gives that of a COMETD_EVENT_ERROR, cometd_message_ext that of a message.
/// One of more than 65536 bytes is not given.
///
/// `*len` (may be NULL) receives its length in bytes.
///
/// **Returns** the JSON text, ended by NUL; NULL when there is none, for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_ext(
    event: *const cometd_event,
    len: *mut usize,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        unsafe { event.as_ref() }
            .and_then(cometd_event::texts)
            .and_then(|it| it.ext.as_ref())
            .map_or(std::ptr::null(), |it| {
                write(len, it.as_bytes().len());
                it.as_ptr()
            })
    })
}

/// Whether a COMETD_EVENT_SUBSCRIBED tells that the library has subscribed again by itself, in a new session: messages that
/// were published meanwhile are missed, unless replay brings them. Its id is that of the first subscribe, which has ended
/// before.
///
/// **Returns** true when it is a renewal; false for the answer to a subscribe, for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_is_renewed(event: *const cometd_event) -> bool {
    access(false, || {
        let notice = unsafe { event.as_ref() }.and_then(cometd_event::notice);
        matches!(notice, Some(Notice::Subscribed { renewed: true, .. }))
    })
}

/// How many messages a COMETD_EVENT_DROPPED stands for. Each dropped message is
/// counted in exactly one of these events, which stands where they were missed.
///
/// **Returns** at least 1; 0 for events of other types, and for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_dropped(event: *const cometd_event) -> u64 {
    access(0, || {
        match unsafe { event.as_ref() }.map(|it| &it.content) {
            Some(Content::Dropped(dropped)) => *dropped,
            _ => 0,
        }
    })
}

/// Frees an event that a _poll gave. For NULL, and for the event of a callback,
/// it does nothing.
///
/// With a replay store, the host is done with the message here: its function for
/// saving may run inside, on this thread; see cometd_client_builder_set_replay_store.
///
/// **Threads** any. **Blocks** never, except for what the host's own function
/// does. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_free(event: *mut cometd_event) {
    act((), || {
        if unsafe { event.as_ref() }.is_some_and(|it| it.owned) {
            unsafe { Box::from_raw(event) }.finish();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::body::OwnedMessage;
    use crate::bayeux::Body;
    use crate::capi::error::{cometd_error_bayeux_json, cometd_error_client, cometd_error_ext};
    use crate::capi::error::{cometd_error_free, cometd_error_url};
    use crate::error::{Error, ErrorKind, Phase};
    use crate::session::State;

    /// A borrowed text, whose length is told and which ends there.
    fn text(read: impl FnOnce(*mut usize) -> *const c_char) -> Option<String> {
        let mut length = 7;
        let text = read(&mut length);
        if text.is_null() {
            assert_eq!(length, 0);
            return None;
        }
        let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_str().unwrap();
        assert_eq!(text.len(), length);
        Some(text.to_owned())
    }

    fn with<T>(notice: Notice, look: impl FnOnce(*const cometd_event) -> T) -> T {
        let event = Event::Notice(Arc::new(notice));
        let event = Box::into_raw(Box::new(cometd_event::owned(event)));
        let seen = look(event);
        unsafe { cometd_event_free(event) };
        seen
    }

    #[test]
    fn case_reason_elsewhere_events_give_the_ext_of_their_reply() {
        let given = || Some(Box::from(r#"{"ä":1}"#));
        let body = br#"[{"channel":"/c","data":1}]"#.to_vec();
        let body = Arc::new(Body::parse(body).unwrap());
        let all = |ext: fn() -> Option<Box<str>>| {
            [
                Notice::State {
                    state: State::Connected,
                    previous: State::Connecting,
                    ext: ext(),
                },
                Notice::Subscribed {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    channel: "/a".into(),
                    ext: ext(),
                    renewed: false,
                },
                Notice::Unsubscribed {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    channel: "/a".into(),
                    ext: ext(),
                },
                Notice::Published {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    channel: "/a".into(),
                    ext: ext(),
                },
                Notice::Result {
                    id: 1,
                    opaque: 0,
                    ends: true,
                    message: OwnedMessage::new(body.clone(), 0),
                    error: None,
                    ext: ext(),
                },
            ]
        };
        for notice in all(given) {
            let told = format!("{notice:?}");
            let ext = with(notice, |event| {
                assert!(unsafe { !cometd_event_is_renewed(event) });
                text(|length| unsafe { cometd_event_ext(event, length) })
            });
            assert_eq!(ext.as_deref(), Some(r#"{"ä":1}"#), "{told}");
        }
        for notice in all(|| None) {
            let ext = |event| text(|length| unsafe { cometd_event_ext(event, length) });
            assert_eq!(with(notice, ext), None);
        }
    }

    #[test]
    fn case_resubscribed_a_renewal_is_told_from_the_first() {
        let renewed = Notice::Subscribed {
            id: 5,
            opaque: 0,
            ends: true,
            channel: "/a".into(),
            ext: None,
            renewed: true,
        };
        with(renewed, |event| unsafe {
            assert_eq!(cometd_event_type(event), COMETD_EVENT_SUBSCRIBED);
            assert!(cometd_event_is_renewed(event));
            assert_eq!(cometd_event_id(event), 5);
            assert!(!cometd_event_channel(event).is_null());
        });
        with(Notice::Closed, |event| unsafe {
            assert!(!cometd_event_is_renewed(event));
        });
    }

    #[test]
    fn case_reason_elsewhere_errors_give_the_ext_and_the_whole_error() {
        let mut error = Error::new(ErrorKind::Refused, Phase::Subscribe, "subscribe: refused");
        let none = Box::into_raw(Box::new(cometd_error::owned(error.clone())));
        error.reply_ext = Some(r#"{"sfdc":{"failureReason":"503::busy"}}"#.into());
        error.reply_error = Some(r#"{"code":403}"#.into());
        error.client = Some("orders".into());
        error.url = Some("http://h/".into());
        let some = Box::into_raw(Box::new(cometd_error::owned(error.clone())));
        for (error, given) in [(none, false), (some, true)] {
            let ext = text(|length| unsafe { cometd_error_ext(error, length) });
            let json = text(|length| unsafe { cometd_error_bayeux_json(error, length) });
            let client = unsafe { cometd_error_client(error) };
            let url = unsafe { cometd_error_url(error) };
            assert_eq!(ext.is_some(), given);
            assert_eq!(json.as_deref(), given.then_some(r#"{"code":403}"#));
            assert_eq!((!client.is_null(), !url.is_null()), (given, given));
            unsafe { cometd_error_free(error) };
        }
        with(
            Notice::Error {
                id: 1,
                opaque: 0,
                ends: true,
                error,
            },
            |event| unsafe {
                assert_eq!(text(|length| cometd_event_ext(event, length)), None);
                let error = cometd_event_error(event);
                assert!(text(|length| cometd_error_ext(error, length)).is_some());
            },
        );
    }
}
