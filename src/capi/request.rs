//! The header provider of the program's, and the request that it is asked about.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{access, object, optional_text, text, write};
use super::builder::{cometd_client_builder, set};
use super::call::call_plain;
use super::error::{
    COMETD_PHASE_CONNECT, COMETD_PHASE_DISCONNECT, COMETD_PHASE_HANDSHAKE, COMETD_PHASE_PUBLISH,
};
use super::host::{self, cometd_free_fn, outcome};
use super::status::{cometd_status, COMETD_OK};
use crate::client::OutgoingRequest;
use crate::delivery::HostData;
use crate::session::Endpoint;

/// A request that is about to be sent; see cometd_client_builder_set_header_provider. It
/// ends with the call, unless it is retained: cometd_request_retain.
pub struct cometd_request {
    request: Arc<OutgoingRequest>,
}

/// Sets headers of a request; see cometd_client_builder_set_header_provider.
///
/// It calls cometd_request_set_header on `request`, or does not, and returns COMETD_OK. Any
/// other status means that the request has failed: it is not sent, its error is
/// COMETD_E_CREDENTIALS and names the status, and what is tried again after other failures is
/// tried again after this one; then the function is asked again. To set them later, it calls
/// cometd_request_retain and returns COMETD_OK.
pub type cometd_request_fn = Option<
    unsafe extern "C-unwind" fn(user: *mut c_void, request: *mut cometd_request) -> cometd_status,
>;

/// Installs a function that is asked for headers before each HTTP request, of long polling
/// and the one that opens a WebSocket: a signature of what is sent, an id for tracing, whatever
/// differs from request to request. It sees the URL and the body as they are sent. What stays the same is for
/// cometd_client_builder_add_header. A redirect is followed with the same headers, and so is a
/// request made that a server's closing of the connection has crossed. Messages that go over a
/// WebSocket are no requests.
///
/// The function runs behind the outgoing extensions, on a thread of the client's own where it
/// may block, and never twice at a time for one client. Other clients do not wait for it, and
/// what it takes is not part of a request's time limit; but a request for which it and the
/// extensions take more than 60 seconds has failed, with COMETD_E_TIMEOUT. Inside it, what holds
/// inside a callback holds. It also serves the builder's further clients, several of which may
/// call it at the same time. NULL removes it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL; then `free_user` is
/// not called.
/// **Threads** one at a time. **Blocks** never. **Ownership** `user` is the library's
/// until it calls `free_user` (may be NULL), once: when the builder and all clients
/// that it built are gone, or have another provider, and no call is running.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_header_provider(
    builder: *mut cometd_client_builder,
    r#fn: cometd_request_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    unsafe {
        set("set_header_provider", builder, |it| {
            let data = HostData::new(user, free_user);
            it.set_header_provider(match r#fn {
                None => None,
                Some(provide) => Some(Arc::new(move |request| {
                    let request = request.clone();
                    let request = Arc::new(cometd_request { request });
                    let given = Arc::as_ptr(&request).cast_mut();
                    outcome(data.call(|user| provide(user, given)))
                })),
            });
            Ok(())
        })
    }
}

unsafe fn looked_at<'a>(request: *const cometd_request) -> Option<&'a OutgoingRequest> {
    // SAFETY: as long as the call lasts, or it is retained, the request is there.
    unsafe { request.as_ref() }.map(|it| &*it.request)
}

/// A text of the request, behind which is a NUL.
unsafe fn part(
    request: *const cometd_request,
    len: *mut usize,
    get: impl FnOnce(&OutgoingRequest) -> &[u8],
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        let Some(request) = (unsafe { looked_at(request) }) else {
            return std::ptr::null();
        };
        let part = get(request);
        write(len, part.len());
        part.as_ptr().cast()
    })
}

/// What the request is for: COMETD_PHASE_HANDSHAKE, _CONNECT or _DISCONNECT; or
/// COMETD_PHASE_PUBLISH, also for what is subscribed, unsubscribed and called. The request that
/// opens a WebSocket is for all of them, and has none. More may come.
///
/// **Returns** the phase; 0 for one that opens a WebSocket, and for NULL.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_phase(request: *const cometd_request) -> i32 {
    access(0, || {
        match unsafe { looked_at(request) }.and_then(OutgoingRequest::endpoint) {
            None => 0,
            Some(Endpoint::Handshake) => COMETD_PHASE_HANDSHAKE,
            Some(Endpoint::Connect) => COMETD_PHASE_CONNECT,
            Some(Endpoint::Disconnect) => COMETD_PHASE_DISCONNECT,
            Some(Endpoint::Messages) => COMETD_PHASE_PUBLISH,
        }
    })
}

/// The method of the request: "POST", or "GET" where a WebSocket is opened; that has no body.
///
/// **Returns** the method, ended by NUL; NULL for NULL.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Ownership** the
/// request's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_method(request: *const cometd_request) -> *const c_char {
    access(std::ptr::null(), || {
        let request = unsafe { looked_at(request) };
        request.map_or(std::ptr::null(), |it| it.method().as_ptr())
    })
}

/// The URL that the request goes to, with its query, and without user and password.
///
/// `len` (may be NULL) receives its length in bytes.
///
/// **Returns** the URL, ended by NUL; NULL for NULL.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Ownership** the
/// request's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_url(
    request: *const cometd_request,
    len: *mut usize,
) -> *const c_char {
    unsafe { part(request, len, |it| it.url().as_bytes()) }
}

/// The body of the request, as its bytes are sent: a JSON array of messages.
///
/// `len` (may be NULL) receives its length in bytes.
///
/// **Returns** the body, ended by NUL; NULL for NULL.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Ownership** the
/// request's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_body(
    request: *const cometd_request,
    len: *mut usize,
) -> *const c_char {
    unsafe { part(request, len, OutgoingRequest::body) }
}

/// Gives this request, and no other, a header, in place of those of the same name that all
/// requests have: of cometd_client_builder_add_header, of the library, or the authorization in
/// use. Of one name the last one counts. Values are secrets: they are kept out of errors and log
/// lines.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, `name` is Cookie or a
/// header that belongs to the transport, such as Host or Content-Length, or an authorization is
/// empty; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: `name` is no header name, or `value`
/// holds a control character; COMETD_E_OUT_OF_RANGE: `value` is longer than 65536 bytes, or
/// there are 100 headers. Then all stays as it was. When it was retained: COMETD_E_INVALID_STATE:
/// the provider has failed; COMETD_E_TIMEOUT: the time limit is over; COMETD_E_CLOSED: the client
/// has ended or was freed. COMETD_E_FORKED.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_set_header(
    request: *mut cometd_request,
    name: *const c_char,
    value: *const c_char,
) -> cometd_status {
    call_plain(|| {
        let request = &unsafe { object("request", request) }?.request;
        let (name, value) = unsafe { (text("name", name)?, text("value", value)?) };
        request.set_header(name, value)?;
        Ok(COMETD_OK)
    })
}

/// Keeps a request beyond the call of the header provider, to set its headers later from any
/// thread. No thread waits meanwhile; the request does, and the provider is called for others.
///
/// What ends the waiting: the last cometd_request_free, when all headers are set;
/// cometd_request_fail, the time limit of the provider, and the client's end. It begins when the
/// provider has returned COMETD_OK.
///
/// **Returns** `request`; NULL for NULL, and in a forked child.
/// **Threads** any, as long as the request is the caller's: in the call, or retained.
/// **Blocks** never. **Ownership** each one is paired with one cometd_request_free, before or
/// after the client's end. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_retain(
    request: *mut cometd_request,
) -> *mut cometd_request {
    unsafe { host::retain(request, |it| it.request.retain()) }
}

/// Gives back what cometd_request_retain has kept. The last one sends the request.
///
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_free(request: *mut cometd_request) {
    unsafe { host::free(request, |it| it.request.release()) };
}

/// Says that the request has failed, and why: that stands in the error.
///
/// `why` is one line, and may be NULL. At most 1024 bytes of it are kept.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `request` is NULL; COMETD_E_INVALID_UTF8;
/// COMETD_E_INVALID_STATE, COMETD_E_TIMEOUT, COMETD_E_CLOSED and COMETD_E_FORKED as of
/// cometd_request_set_header.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_request_fail(
    request: *mut cometd_request,
    why: *const c_char,
) -> cometd_status {
    call_plain(|| {
        let request = &unsafe { object("request", request) }?.request;
        request.fail(unsafe { optional_text("why", why) }?)?;
        Ok(COMETD_OK)
    })
}
