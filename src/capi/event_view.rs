//! An event as a whole, for who would otherwise call many times.

use std::ffi::{c_char, c_void, CStr};
use std::mem::offset_of;

use super::boundary::act;
use super::error::{cometd_error, cometd_error_message, cometd_error_phase, cometd_error_status};
use super::event::{
    cometd_event, cometd_event_advice, cometd_event_channel, cometd_event_dropped,
    cometd_event_error, cometd_event_ext, cometd_event_free, cometd_event_id,
    cometd_event_is_renewed, cometd_event_message, cometd_event_opaque, cometd_event_state,
    cometd_event_type, COMETD_EVENT_MESSAGE,
};
use super::message::{cometd_message, parts};
use super::state::cometd_state;
use super::status::cometd_status;
use super::view::{look, look_each, View};

/// What an event holds, by cometd_event_look. What it does not have is 0 or NULL. Texts end in NUL; their lengths do not
/// count it.
///
/// What would have to be parsed first is not here: the replay id and the bytes of a binary message, which the functions
/// of `message` give.
///
/// Later versions of the library add fields at the end.
#[repr(C)]
pub struct cometd_event_view {
    /// One of COMETD_EVENT_…, as cometd_event_type.
    pub r#type: i32,
    /// Of a COMETD_EVENT_STATE, as cometd_event_state.
    pub state: cometd_state,
    /// The state before.
    pub previous: cometd_state,
    /// 1 when a COMETD_EVENT_SUBSCRIBED is a renewal, as cometd_event_is_renewed.
    pub is_renewed: i32,
    /// Of `error`, as cometd_error_status.
    pub error_status: cometd_status,
    /// Of `error`, as cometd_error_phase.
    pub error_phase: i32,
    /// Of the call that the event ends, as cometd_event_id.
    pub id: u64,
    /// Of a COMETD_EVENT_DROPPED, as cometd_event_dropped.
    pub dropped: u64,
    /// What the program gave to that call, as cometd_event_opaque.
    pub opaque: *mut c_void,
    /// As cometd_event_channel.
    pub channel: *const c_char,
    /// Of `channel`, in bytes.
    pub channel_len: usize,
    /// The JSON of `message`, as cometd_message_data.
    pub data: *const c_char,
    /// Of `data`, in bytes.
    pub data_len: usize,
    /// JSON: of a COMETD_EVENT_MESSAGE as cometd_message_ext, of others as cometd_event_ext.
    pub ext: *const c_char,
    /// Of `ext`, in bytes.
    pub ext_len: usize,
    /// The JSON of the id of `message`, as cometd_message_id.
    pub message_id: *const c_char,
    /// Of `message_id`, in bytes.
    pub message_id_len: usize,
    /// The JSON of a COMETD_EVENT_ADVICE, as cometd_event_advice.
    pub advice: *const c_char,
    /// Of `advice`, in bytes.
    pub advice_len: usize,
    /// Of `error`, as cometd_error_message.
    pub error_message: *const c_char,
    /// Of `error_message`, in bytes.
    pub error_message_len: usize,
    /// As cometd_event_message.
    pub message: *const cometd_message,
    /// As cometd_event_error.
    pub error: *const cometd_error,
}

// SAFETY: it has numbers and pointers only.
unsafe impl View for cometd_event_view {
    type Object = cometd_event;
    const NAME: &str = "event";
    const FIRST: usize = offset_of!(cometd_event_view, state);

    unsafe fn of(event: *const cometd_event) -> Self {
        let mut view = Self::empty();
        // SAFETY, here and below: as the caller promises.
        view.r#type = unsafe { cometd_event_type(event) };
        view.message = unsafe { cometd_event_message(event) };
        if let Some(message) = unsafe { view.message.as_ref() }.and_then(|it| it.get()) {
            (view.channel, view.channel_len) = parts(message.channel());
            (view.data, view.data_len) = parts(message.data());
            (view.ext, view.ext_len) = parts(message.ext());
            (view.message_id, view.message_id_len) = parts(message.id_json());
        }
        // Most events are these, and have nothing else.
        if view.r#type != COMETD_EVENT_MESSAGE {
            unsafe { view.add_notice(event) };
        }
        view
    }
}

impl cometd_event_view {
    unsafe fn add_notice(&mut self, event: *const cometd_event) {
        // SAFETY, here and below: as the caller promises.
        unsafe {
            self.state = cometd_event_state(event, &mut self.previous);
            self.is_renewed = cometd_event_is_renewed(event).into();
            self.id = cometd_event_id(event);
            self.opaque = cometd_event_opaque(event);
            self.dropped = cometd_event_dropped(event);
            self.channel = cometd_event_channel(event);
            self.channel_len = length(self.channel);
            self.ext = cometd_event_ext(event, &mut self.ext_len);
            self.advice = cometd_event_advice(event, &mut self.advice_len);
            self.error = cometd_event_error(event);
            if !self.error.is_null() {
                self.error_status = cometd_error_status(self.error);
                self.error_phase = cometd_error_phase(self.error);
                self.error_message = cometd_error_message(self.error);
                self.error_message_len = length(self.error_message);
            }
        }
    }
}

/// # Safety
/// `text` is NULL or ends in NUL.
unsafe fn length(text: *const c_char) -> usize {
    if text.is_null() {
        return 0;
    }
    // SAFETY: not NULL, and as the caller promises.
    unsafe { CStr::from_ptr(text) }.count_bytes()
}

/// Gives all that an event holds in one call: what many calls of the functions of cometd_event and of its message and
/// error give. It parses nothing.
///
/// `view` receives it. `size` is sizeof(cometd_event_view), by which the library knows which fields the program has: what
/// is behind `size` is not written, and fields that the library does not have become 0.
///
/// ```c
/// cometd_event_view view;
/// if (cometd_event_look(event, &view, sizeof view) == COMETD_OK && view.type == COMETD_EVENT_MESSAGE) {
///     printf("%s %s\n", view.channel, view.data);
/// }
/// ```
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `event` or `view` is NULL, or `size` is less than the first field.
/// **Threads** any. **Blocks** never. **Ownership** all texts and objects are the event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_event_look(
    event: *const cometd_event,
    view: *mut cometd_event_view,
    size: usize,
) -> cometd_status {
    unsafe { look(event, view, size) }
}

/// Does for `count` events what cometd_event_look does for one: what a _poll has filled an array with is read by one call.
///
/// `views` receives them; each is `size` bytes behind the one before. The view of an event that is NULL is all 0.
///
/// ```c
/// cometd_event *events[64];
/// cometd_event_view views[64];
/// size_t count;
/// if (cometd_client_poll_events(client, 1000, events, 64, &count) == COMETD_OK) {
///     cometd_events_look((const cometd_event *const *)events, views, count, sizeof views[0]);
///     for (size_t i = 0; i < count; i++)
///         printf("%d\n", (int)views[i].type);
///     cometd_events_free(events, count);
/// }
/// ```
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `events` or `views` is NULL, `size` is less than the first field, or
/// `count` is more than memory has room for.
/// **Threads** any. **Blocks** never. **Ownership** all texts and objects are their event's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_events_look(
    events: *const *const cometd_event,
    views: *mut cometd_event_view,
    count: usize,
    size: usize,
) -> cometd_status {
    unsafe { look_each(events, views, count, size) }
}

/// Frees `count` events that a _poll gave, each as cometd_event_free does, in their order. Those that are NULL are passed
/// over.
///
/// **Threads** any. **Blocks** never, except for what the host's own function does; see cometd_event_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_events_free(events: *mut *mut cometd_event, count: usize) {
    act((), || {
        if events.is_null() {
            return;
        }
        for at in 0..count {
            // SAFETY: not NULL, and of so many, as the interface asks for; each is one
            // that the host may free.
            unsafe { cometd_event_free(events.wrapping_add(at).read()) };
        }
    });
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;
    use std::ptr;
    use std::sync::Arc;

    use super::*;
    use crate::bayeux::body::OwnedMessage;
    use crate::bayeux::Body;
    use crate::capi::event::{COMETD_EVENT_CLOSED, COMETD_EVENT_DROPPED, COMETD_EVENT_RESULT};
    use crate::capi::state::COMETD_STATE_CONNECTED;
    use crate::capi::status::{COMETD_E_INVALID_ARGUMENT, COMETD_E_REFUSED, COMETD_OK};
    use crate::delivery::{Event, Notice};
    use crate::error::{Error, ErrorKind, Phase};
    use crate::session::State;

    const SIZE: usize = size_of::<cometd_event_view>();
    const FIRST: usize = cometd_event_view::FIRST;

    fn raw(event: Event) -> *mut cometd_event {
        Box::into_raw(Box::new(cometd_event::owned(event)))
    }

    fn notice(notice: Notice) -> *mut cometd_event {
        raw(Event::Notice(Arc::new(notice)))
    }

    fn message(text: &str) -> OwnedMessage {
        let body = Body::parse(format!("[{text}]").into_bytes()).unwrap();
        OwnedMessage::new(Arc::new(body), 0)
    }

    /// What a look gives, and the event is freed behind it.
    fn with(event: *mut cometd_event, see: impl FnOnce(&cometd_event_view)) {
        let mut view = cometd_event_view::empty();
        view.opaque = ptr::from_mut(&mut view).cast();
        let status = unsafe { cometd_event_look(event, &mut view, SIZE) };
        assert_eq!(status, COMETD_OK);
        see(&view);
        unsafe { cometd_event_free(event) };
    }

    fn text(text: *const c_char, length: usize) -> Option<String> {
        if text.is_null() {
            assert_eq!(length, 0);
            return None;
        }
        let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap();
        assert_eq!(text.len(), length);
        Some(text.to_owned())
    }

    fn texts(view: &cometd_event_view) -> [Option<String>; 6] {
        [
            text(view.channel, view.channel_len),
            text(view.data, view.data_len),
            text(view.ext, view.ext_len),
            text(view.message_id, view.message_id_len),
            text(view.advice, view.advice_len),
            text(view.error_message, view.error_message_len),
        ]
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_message_is_seen_with_all_its_texts() {
        let full = message(r#"{"channel":"/ä","data":{"a":1},"id":"7","ext":{"e":2}}"#);
        with(raw(Event::Message(full)), |view| {
            let seen = [
                some("/ä"),
                some(r#"{"a":1}"#),
                some(r#"{"e":2}"#),
                some("\"7\""),
            ];
            assert_eq!(texts(view)[..4], seen);
            assert_eq!(view.r#type, COMETD_EVENT_MESSAGE);
            assert!(!view.message.is_null() && view.error.is_null() && view.opaque.is_null());
        });
        let bare = message(r#"{"channel":"/a","data":1}"#);
        with(raw(Event::Message(bare)), |view| {
            assert_eq!(texts(view), [some("/a"), some("1"), None, None, None, None]);
        });
    }

    #[test]
    fn each_other_event_is_seen_with_what_it_has() {
        let ext = || Some(Box::from("{}"));
        with(
            notice(Notice::State {
                state: State::Connected,
                previous: State::Connecting,
                ext: ext(),
            }),
            |view| {
                assert_eq!(view.state, COMETD_STATE_CONNECTED);
                assert_ne!(view.previous, view.state);
                assert_eq!(texts(view)[2], some("{}"));
            },
        );
        with(
            notice(Notice::Subscribed {
                id: 5,
                opaque: 8,
                channel: "/a".into(),
                ext: None,
                renewed: true,
            }),
            |view| {
                assert_eq!((view.id, view.is_renewed), (5, 1));
                assert_eq!(view.opaque as usize, 8);
                assert_eq!(texts(view)[0], some("/a"));
            },
        );
        let mut error = Error::new(ErrorKind::Refused, Phase::Publish, "publish: no");
        error.channel = Some("/p".into());
        with(
            notice(Notice::Result {
                id: 6,
                opaque: 0,
                message: message(r#"{"channel":"/service/r","data":2,"id":"3"}"#),
                error: Some(error.clone()),
                ext: ext(),
            }),
            |view| {
                assert_eq!((view.r#type, view.id), (COMETD_EVENT_RESULT, 6));
                let seen = ["/service/r", "2", "{}", "\"3\""].map(some);
                assert_eq!(texts(view)[..4], seen);
                assert_eq!(view.error_status, COMETD_E_REFUSED);
                assert!(!view.error.is_null() && !view.message.is_null());
            },
        );
        let failed = Notice::Error {
            id: 7,
            opaque: 9,
            error,
        };
        with(notice(failed), |view| {
            assert_eq!((view.id, view.opaque as usize), (7, 9));
            assert_eq!(texts(view)[0], some("/p"));
            assert_eq!(texts(view)[5], some("publish: no"));
            assert!(view.error_phase != 0 && view.message.is_null());
        });
        with(
            notice(Notice::Advice {
                json: r#"{"hosts":[]}"#.into(),
            }),
            |view| assert_eq!(texts(view)[4], some(r#"{"hosts":[]}"#)),
        );
        with(raw(Event::Dropped(9)), |view| {
            assert_eq!((view.r#type, view.dropped), (COMETD_EVENT_DROPPED, 9));
        });
        with(notice(Notice::Closed), |view| {
            assert_eq!(view.r#type, COMETD_EVENT_CLOSED);
            assert_eq!(texts(view), [const { None }; 6]);
        });
    }

    #[test]
    fn views_of_other_versions_are_filled_as_far_as_both_know() {
        let event = raw(Event::Dropped(3));
        let mut room = [0xff_u8; SIZE + 16];
        for size in [FIRST, offset_of!(cometd_event_view, id), SIZE, SIZE + 8] {
            room.fill(0xff);
            let status = unsafe { cometd_event_look(event, room.as_mut_ptr().cast(), size) };
            assert_eq!(status, COMETD_OK);
            let kind = i32::from_ne_bytes(room[..FIRST].try_into().unwrap());
            assert_eq!(kind, COMETD_EVENT_DROPPED);
            assert!(room[size..].iter().all(|it| *it == 0xff), "{size}");
            let own = size.min(SIZE);
            assert!(room[own..size].iter().all(|it| *it == 0), "{size}");
        }
        for size in [0, FIRST - 1] {
            room.fill(0xff);
            let status = unsafe { cometd_event_look(event, room.as_mut_ptr().cast(), size) };
            assert_eq!(status, COMETD_E_INVALID_ARGUMENT);
            assert!(room.iter().all(|it| *it == 0xff));
        }
        let status = unsafe { cometd_event_look(ptr::null(), room.as_mut_ptr().cast(), SIZE) };
        assert_eq!(status, COMETD_E_INVALID_ARGUMENT);
        assert!(room[..SIZE].iter().all(|it| *it == 0), "outputs come first");
        unsafe { cometd_event_free(event) };
    }

    #[test]
    fn many_views_lie_as_far_apart_as_the_program_says() {
        let some = [raw(Event::Dropped(3)), raw(Event::Dropped(4))];
        let events: [*const cometd_event; 3] = [some[0], ptr::null(), some[1]];
        for size in [offset_of!(cometd_event_view, opaque), SIZE, SIZE + 8] {
            let mut room = [0xff_u8; 3 * (SIZE + 8) + 1];
            let views = room.as_mut_ptr().cast();
            let status = unsafe { cometd_events_look(events.as_ptr(), views, 3, size) };
            assert_eq!(status, COMETD_OK);
            let dropped = |at: usize| {
                let at = at * size + offset_of!(cometd_event_view, dropped);
                u64::from_ne_bytes(room[at..at + 8].try_into().unwrap())
            };
            assert_eq!([0, 1, 2].map(dropped), [3, 0, 4], "{size}");
            assert!(room[size..2 * size].iter().all(|it| *it == 0));
            assert!(room[3 * size..].iter().all(|it| *it == 0xff));
        }
        let mut room = [0xff_u8; SIZE];
        let views = room.as_mut_ptr().cast();
        for (count, size) in [
            (1, FIRST - 1),
            (usize::MAX, SIZE),
            (usize::MAX / SIZE, SIZE),
        ] {
            let status = unsafe { cometd_events_look(events.as_ptr(), views, count, size) };
            assert_eq!(status, COMETD_E_INVALID_ARGUMENT);
        }
        assert!(room.iter().all(|it| *it == 0xff));
        let status = unsafe { cometd_events_look(ptr::null(), views, 1, SIZE) };
        assert_eq!(status, COMETD_E_INVALID_ARGUMENT);
        assert!(room.iter().all(|it| *it == 0), "outputs come first");
        let status = unsafe { cometd_events_look(events.as_ptr(), views, 0, SIZE) };
        assert_eq!(status, COMETD_OK);
        some.into_iter()
            .for_each(|event| unsafe { cometd_event_free(event) });
    }

    #[test]
    fn events_are_freed_together_and_none_among_them_does_nothing() {
        let body = Arc::new(Body::parse(br#"[{"channel":"/a","data":1}]"#.to_vec()).unwrap());
        let event = || raw(Event::Message(OwnedMessage::new(body.clone(), 0)));
        let mut events = [event(), ptr::null_mut(), event()];
        assert_eq!(Arc::strong_count(&body), 3);
        unsafe { cometd_events_free(events.as_mut_ptr(), 3) };
        assert_eq!(Arc::strong_count(&body), 1);
        unsafe { cometd_events_free(ptr::null_mut(), 1) };
    }
}
