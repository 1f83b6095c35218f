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
