//! An error as a whole, for who would otherwise call many times.

use std::ffi::{c_char, CString};
use std::mem::offset_of;
use std::ptr;

use super::error::{
    cometd_error, cometd_error_http_status, cometd_error_is_fatal, cometd_error_phase,
    cometd_error_retry_in_ms, cometd_error_status, cometd_error_websocket_code,
};
use super::status::cometd_status;
use super::view::{look, View};

/// What an error holds, by cometd_error_look. What it does not have is 0 or NULL. Texts end in NUL; their lengths do not
/// count it.
///
/// Later versions of the library add fields at the end.
#[repr(C)]
pub struct cometd_error_view {
    /// As cometd_error_status.
    pub status: cometd_status,
    /// One of COMETD_PHASE_…, as cometd_error_phase.
    pub phase: i32,
    /// 1 when the client has stopped because of it, as cometd_error_is_fatal.
    pub is_fatal: i32,
    /// As cometd_error_http_status.
    pub http_status: i32,
    /// As cometd_error_websocket_code.
    pub websocket_code: i32,
    /// The number in front of `bayeux`.
    pub bayeux_code: i32,
    /// Milliseconds, -1 for never, as cometd_error_retry_in_ms.
    pub retry_in_ms: i32,
    /// As cometd_error_message.
    pub message: *const c_char,
    /// Of `message`, in bytes.
    pub message_len: usize,
    /// What the server wrote, as cometd_error_bayeux.
    pub bayeux: *const c_char,
    /// Of `bayeux`, in bytes.
    pub bayeux_len: usize,
    /// The same as JSON, as cometd_error_bayeux_json.
    pub bayeux_json: *const c_char,
    /// Of `bayeux_json`, in bytes.
    pub bayeux_json_len: usize,
    /// JSON, as cometd_error_ext.
    pub ext: *const c_char,
    /// Of `ext`, in bytes.
    pub ext_len: usize,
    /// As cometd_error_channel.
    pub channel: *const c_char,
    /// Of `channel`, in bytes.
    pub channel_len: usize,
    /// As cometd_error_client.
    pub client: *const c_char,
    /// Of `client`, in bytes.
    pub client_len: usize,
    /// As cometd_error_url.
    pub url: *const c_char,
    /// Of `url`, in bytes.
    pub url_len: usize,
}

// SAFETY: it has numbers and pointers only.
unsafe impl View for cometd_error_view {
    type Object = cometd_error;
    const NAME: &str = "error";
    const FIRST: usize = offset_of!(cometd_error_view, phase);

    unsafe fn of(error: *const cometd_error) -> Self {
        let mut view = Self::empty();
        // SAFETY: as the caller promises.
        unsafe {
            view.status = cometd_error_status(error);
            view.phase = cometd_error_phase(error);
            view.is_fatal = cometd_error_is_fatal(error).into();
            view.http_status = cometd_error_http_status(error);
            view.websocket_code = cometd_error_websocket_code(error);
            view.retry_in_ms = cometd_error_retry_in_ms(error);
        }
        // SAFETY: as above.
        if let Some(error) = unsafe { error.as_ref() } {
            view.bayeux_code = error.error.bayeux.as_ref().map_or(0, |it| it.code);
            (view.message, view.message_len) = parts(Some(&error.message));
            (view.bayeux, view.bayeux_len) = parts(error.bayeux.as_ref());
            (view.bayeux_json, view.bayeux_json_len) = parts(error.bayeux_json.as_ref());
            (view.ext, view.ext_len) = parts(error.ext.as_ref());
            (view.channel, view.channel_len) = parts(error.channel.as_ref());
            (view.client, view.client_len) = parts(error.client.as_ref());
            (view.url, view.url_len) = parts(error.url.as_ref());
        }
        view
    }
}

fn parts(text: Option<&CString>) -> (*const c_char, usize) {
    text.map_or((ptr::null(), 0), |it| (it.as_ptr(), it.as_bytes().len()))
}

/// Gives all that an error holds in one call, as cometd_event_look does for events.
///
/// `view` receives it. `size` is sizeof(cometd_error_view), by which the library knows which fields the program has: what
/// is behind `size` is not written, and fields that the library does not have become 0.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `error` or `view` is NULL, or `size` is less than the first field.
/// **Threads** any. **Blocks** never. **Ownership** all texts are the error's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_error_look(
    error: *const cometd_error,
    view: *mut cometd_error_view,
    size: usize,
) -> cometd_status {
    unsafe { look(error, view, size) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::mem::size_of;

    use super::*;
    use crate::bayeux::ErrorText;
    use crate::capi::error::COMETD_PHASE_PUBLISH;
    use crate::capi::status::{COMETD_E_INVALID_ARGUMENT, COMETD_E_REFUSED, COMETD_OK};
    use crate::error::{Error, ErrorKind, Phase};

    const SIZE: usize = size_of::<cometd_error_view>();

    fn with(error: Error, see: impl FnOnce(&cometd_error_view)) {
        let error = cometd_error::borrowed(error);
        let mut view = cometd_error_view::empty();
        let status = unsafe { cometd_error_look(&error, &mut view, SIZE) };
        assert_eq!(status, COMETD_OK);
        see(&view);
    }

    fn texts(view: &cometd_error_view) -> [Option<&str>; 7] {
        [
            (view.message, view.message_len),
            (view.bayeux, view.bayeux_len),
            (view.bayeux_json, view.bayeux_json_len),
            (view.ext, view.ext_len),
            (view.channel, view.channel_len),
            (view.client, view.client_len),
            (view.url, view.url_len),
        ]
        .map(|(text, length)| {
            if text.is_null() {
                assert_eq!(length, 0);
                return None;
            }
            let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap();
            assert_eq!(text.len(), length);
            Some(text)
        })
    }

    #[test]
    fn an_error_is_seen_with_all_that_it_has() {
        let mut error = Error::new(ErrorKind::Refused, Phase::Publish, "publish: ä");
        error.fatal = true;
        error.http_status = 403;
        error.websocket_code = 1008;
        error.retry_in = Some(250);
        error.bayeux = Some(ErrorText::parse("402:/a:no"));
        error.reply_error = Some("\"402:/a:no\"".into());
        error.reply_ext = Some("{}".into());
        error.channel = Some("/a".into());
        error.client = Some("client 1".into());
        error.url = Some("http://h/cometd".into());
        with(error, |view| {
            assert_eq!(view.status, COMETD_E_REFUSED);
            assert_eq!((view.phase, view.is_fatal), (COMETD_PHASE_PUBLISH, 1));
            assert_eq!((view.http_status, view.websocket_code), (403, 1008));
            assert_eq!((view.bayeux_code, view.retry_in_ms), (402, 250));
            let seen = [
                "publish: ä",
                "402:/a:no",
                "\"402:/a:no\"",
                "{}",
                "/a",
                "client 1",
                "http://h/cometd",
            ];
            assert_eq!(texts(view), seen.map(Some));
        });
        let bare = Error::new(ErrorKind::Refused, Phase::Publish, "no");
        with(bare, |view| {
            assert_eq!(texts(view)[0], Some("no"));
            assert_eq!(texts(view)[1..], [None; 6]);
            let numbers = [view.is_fatal, view.http_status, view.websocket_code];
            assert_eq!((numbers, view.bayeux_code), ([0; 3], 0));
            assert_eq!(view.retry_in_ms, -1);
        });
    }

    #[test]
    fn of_no_error_the_view_is_empty() {
        let mut view = cometd_error_view::empty();
        view.phase = 7;
        let status = unsafe { cometd_error_look(ptr::null(), &mut view, SIZE) };
        assert_eq!(status, COMETD_E_INVALID_ARGUMENT);
        assert_eq!(view.phase, 0);
    }
}
