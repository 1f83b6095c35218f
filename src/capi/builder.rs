//! The builder of clients.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{
    act, bytes, call, call_plain, milliseconds, object, object_mut, optional_text,
    positive_milliseconds, required, text, write,
};
use super::client::cometd_client;
use super::error::cometd_error;
use super::event::cometd_free_fn;
use super::extension::outcome;
use super::status::{cometd_status, COMETD_OK};
use crate::client::{Builder, TokenReason};
use crate::delivery::{HostData, Overflow};
use crate::error::{Error, ErrorKind};
use crate::session::Timestamp;
use crate::transport::http::authorization;
use crate::transport::http::endpoints::Append;

/// Append "handshake", "connect" or "disconnect" to the URL, unless it has a
/// query or its last segment has a dot. The default.
pub const COMETD_APPEND_AUTO: i32 = 0;
/// Append it to every URL.
pub const COMETD_APPEND_ALWAYS: i32 = 1;
/// Append it to no URL.
pub const COMETD_APPEND_NEVER: i32 = 2;

/// When a queue is full, nothing more is sent until there is room, neither the
/// next /meta/connect nor what the host publishes, and nothing is dropped by the
/// library. The default. Only messages fill a queue: outcomes and states that nobody
/// reads hold up no connect before they take 64 MiB.
pub const COMETD_OVERFLOW_BLOCK: i32 = 0;
/// When a queue is full, its oldest messages make room for new ones.
pub const COMETD_OVERFLOW_DROP_OLDEST: i32 = 1;
/// When a queue is full, new messages are dropped.
pub const COMETD_OVERFLOW_DROP_NEWEST: i32 = 2;

/// As a number of retries: for ever. The default.
pub const COMETD_RETRY_FOREVER: u32 = 0xFFFF_FFFF;

/// As the reason for which a token provider is called: the server refused the
/// credentials in use; see cometd_client_builder_set_token_provider.
pub const COMETD_TOKEN_REFUSED: i32 = 1;

/// What a client will be. It is used by one thread at a time, and can build any
/// number of clients.
pub struct cometd_client_builder {
    builder: Builder,
}

/// Where a token provider puts what it has found.
pub struct cometd_token {
    authorization: Option<hyper::header::HeaderValue>,
}

/// Fetches new credentials; see cometd_client_builder_set_token_provider.
///
/// `reason` is one of COMETD_TOKEN_…; more may come. The function calls
/// cometd_token_set_authorization on `token`, which ends with the call, and
/// returns COMETD_OK; any other status means that it has no credentials.
///
/// It runs on a thread of its own where it may block, and never twice at a time for
/// one client. After 60 seconds the client goes on without it; what it then still
/// finds counts from that moment on. Inside it, what holds inside a callback holds.
pub type cometd_token_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        reason: i32,
        token: *mut cometd_token,
    ) -> cometd_status,
>;

/// Starts a client for the server at `url`.
///
/// `url` is an absolute http or https URL of at most 8000 bytes. It counts as a
/// folder whether or not it ends in a slash: requests go to `url`/handshake,
/// `url`/connect, `url`/disconnect, and all others to `url`/; see
/// cometd_client_builder_set_append_message_type. A user and password in it become
/// Basic authorization and are not sent in any other way. A fragment is ignored.
///
/// `*out` receives the builder.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `url` or `out` is NULL;
/// COMETD_E_INVALID_UTF8: `url`, or the user or password in it, is not UTF-8;
/// COMETD_E_INVALID_URL: `url` is empty, relative, too long, has another scheme or
/// no host, or is malformed in another way; COMETD_E_INVALID_HEADER: the user or
/// password holds a control character.
/// **Threads** any. **Blocks** never. **Ownership** the builder is the caller's, to
/// free with cometd_client_builder_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_new(
    url: *const c_char,
    out: *mut *mut cometd_client_builder,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    call(err, || {
        let out = required("out", out)?;
        let builder = Builder::new(unsafe { text("url", url) }?)?;
        write(
            out,
            Box::into_raw(Box::new(cometd_client_builder { builder })),
        );
        Ok(COMETD_OK)
    })
}

/// Names the clients that it builds, for errors and log lines: each line begins with the name, and cometd_error_client
/// gives it.
///
/// `name` is 1 to 128 bytes of text without control characters. Without one a client is called "client 3", by its number
/// in the process.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `name` is empty or holds a control character;
/// COMETD_E_INVALID_UTF8; COMETD_E_OUT_OF_RANGE: it is longer.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_name(
    builder: *mut cometd_client_builder,
    name: *const c_char,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_name(text("name", name)?)) }
}

/// Frees a builder. Clients that it built are not touched.
///
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_free(builder: *mut cometd_client_builder) {
    act((), || {
        if !builder.is_null() {
            drop(unsafe { Box::from_raw(builder) });
        }
    });
}

/// What all setters do: nothing is changed when the argument is refused.
///
/// # Safety
/// `builder` is NULL or a builder that nobody else uses.
pub(super) unsafe fn set(
    builder: *mut cometd_client_builder,
    set: impl FnOnce(&mut Builder) -> Result<(), Error>,
) -> cometd_status {
    call_plain(|| {
        set(&mut unsafe { object_mut("builder", builder) }?.builder)?;
        Ok(COMETD_OK)
    })
}

fn unknown(what: &str, value: i32) -> Error {
    Error::call(
        ErrorKind::OutOfRange,
        format!("{what}: {value} is none of the constants"),
    )
}

/// Sets where requests go: handshakes.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says, and "handshake" is appended to
/// the result unless appending is off. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_handshake_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_handshake_base_path(text("path", path)?)
        })
    }
}

/// Sets where requests go: subscribe, unsubscribe, publish, and requests of several messages.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_subscribe_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_subscribe_base_path(text("path", path)?)
        })
    }
}

/// Sets where requests go: connects.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says, and "connect" is appended to
/// the result unless appending is off. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_connect_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_connect_base_path(text("path", path)?)) }
}

/// Sets where requests go: disconnects.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5,
/// says, and "disconnect" is appended to
/// the result unless appending is off. It must stay on the
/// same server. "" is the default: the URL itself.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_disconnect_base_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_disconnect_base_path(text("path", path)?)
        })
    }
}

/// Sets whether "handshake", "connect" and "disconnect" are appended to the URLs of
/// these requests, as some servers and proxies want to see them apart.
///
/// `mode` is COMETD_APPEND_AUTO (the default: append unless the URL has a query or
/// its last segment has a dot, as in Salesforce's /cometd/60.0), COMETD_APPEND_ALWAYS
/// or COMETD_APPEND_NEVER. Where nothing is appended, the URL is used as it was
/// given.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `mode` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_append_message_type(
    builder: *mut cometd_client_builder,
    mode: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_append_message_type(match mode {
                COMETD_APPEND_AUTO => Append::Auto,
                COMETD_APPEND_ALWAYS => Append::Always,
                COMETD_APPEND_NEVER => Append::Never,
                other => return Err(unknown("mode", other)),
            });
            Ok(())
        })
    }
}

/// Authorizes each request by a bearer token (RFC 6750, section 2.1). The last one
/// set of the three kinds of authorization is the one in force.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `token` is
/// empty or holds a space; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: `token`
/// holds a control character, such as CR or LF.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_bearer_token(
    builder: *mut cometd_client_builder,
    token: *const c_char,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_bearer_token(text("token", token)?)) }
}

/// Authorizes each request by user and password (Basic, RFC 7617, as UTF-8).
///
/// `password` may be NULL, which is sent as an empty one.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `user` is NULL, or `user`
/// holds a colon; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: one of them holds a
/// control character.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_basic_auth(
    builder: *mut cometd_client_builder,
    user: *const c_char,
    password: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_basic_auth(text("user", user)?, optional_text("password", password)?)
        })
    }
}

/// Authorizes each request by any other scheme: `header_value` is the whole value of
/// the Authorization header, "OAuth abc".
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `header_value`
/// is empty; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: it holds a control
/// character.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_authorization(
    builder: *mut cometd_client_builder,
    header_value: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_authorization(text("header_value", header_value)?)
        })
    }
}

/// Installs a function that fetches new credentials when the server refuses those in
/// use: by HTTP 401 or 407 (but not 407 of a proxy), by a Bayeux error 401, or by a Bayeux error 403 on a
/// handshake or on a connect with the advice none.
///
/// It is called at most three times without a successful connect in between; then the
/// refusal is treated like any other failure. It also serves the builder's further
/// clients. NULL removes it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL; then `free_user` is
/// not called.
/// **Threads** one at a time. **Blocks** never. **Ownership** `user` is the library's
/// until it calls `free_user` (may be NULL), once: when the builder and all clients
/// that it built are gone, or have another provider. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_token_provider(
    builder: *mut cometd_client_builder,
    r#fn: cometd_token_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            let data = HostData::new(user, free_user);
            it.set_token_provider(match r#fn {
                None => None,
                Some(provide) => Some(Arc::new(move |reason| {
                    let reason = match reason {
                        TokenReason::Refused => COMETD_TOKEN_REFUSED,
                    };
                    let mut token = cometd_token {
                        authorization: None,
                    };
                    outcome(data.call(|user| provide(user, reason, &mut token)))?;
                    token
                        .authorization
                        .ok_or_else(|| "it set no authorization".to_owned())
                })),
            });
            Ok(())
        })
    }
}

/// Gives the value of the Authorization header, "Bearer abc", from inside a token
/// provider. It is in force from the next request on. The last call counts.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `header_value`
/// is empty; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: it holds a control
/// character.
/// **Threads** the one that the provider was called on. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_token_set_authorization(
    token: *mut cometd_token,
    header_value: *const c_char,
) -> cometd_status {
    call_plain(|| {
        let token = unsafe { object_mut("token", token) }?;
        let value = unsafe { text("header_value", header_value) }?;
        token.authorization = Some(authorization::any(value)?);
        Ok(COMETD_OK)
    })
}

/// Adds a cookie, to be sent to the server of the URL until that sets one of the same
/// name (RFC 6265). Any number can be added; of one name the last one counts.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: `name` is no token (RFC 6265, section
/// 4.1.1), or `value` holds a semicolon or a control character; COMETD_E_OUT_OF_RANGE:
/// together they are longer than 8192 bytes.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_add_cookie(
    builder: *mut cometd_client_builder,
    name: *const c_char,
    value: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.add_cookie(text("name", name)?, text("value", value)?)
        })
    }
}

/// Adds a header to each request. Of one name there can be several, 100 in all.
/// "Authorization" is the same as cometd_client_builder_set_authorization;
/// "User-Agent" and "Accept" replace the library's own. Names are sent with their usual
/// capitals, as in "X-Request-Id".
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `name` is Cookie
/// or a header that belongs to the transport, such as Host or Content-Length;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: `name` is no header name, or `value`
/// holds a control character; COMETD_E_OUT_OF_RANGE: `value` is longer than 65536 bytes,
/// or there are 100 headers.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_add_header(
    builder: *mut cometd_client_builder,
    name: *const c_char,
    value: *const c_char,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.add_header(text("name", name)?, text("value", value)?)
        })
    }
}

/// Sets the ext field of every handshake (Bayeux 1.0, section 3.1), where many servers
/// want credentials.
///
/// `json` is a JSON object of `len` bytes; it is sent as it is.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `json` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_JSON: it is not JSON, no object, or nested more
/// than 128 levels deep.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_handshake_ext(
    builder: *mut cometd_client_builder,
    json: *const c_char,
    len: usize,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_handshake_ext(bytes("json", json, len)?)
        })
    }
}

/// Sets for how long the server is asked to hold a connect without events
/// (advice.timeout of the handshake; Bayeux 1.0, section 3.2). Also how long a hold is
/// taken to be as long as the server does not say so itself.
///
/// `timeout_ms` is at least 0; the default is 60000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `timeout_ms` is negative.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_timeout_ms(
    builder: *mut cometd_client_builder,
    timeout_ms: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_timeout(milliseconds("timeout_ms", timeout_ms)?);
            Ok(())
        })
    }
}

/// Sets which pause between connects the handshake suggests to the server
/// (advice.interval). What the server then advises is what is done.
///
/// `interval_ms` is at least 0; the default is 0.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `interval_ms` is negative.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_interval_ms(
    builder: *mut cometd_client_builder,
    interval_ms: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_interval(milliseconds("interval_ms", interval_ms)?);
            Ok(())
        })
    }
}

/// Sets how long a request may take, on top of the time for which the server holds it.
/// Then it has failed. Connecting, DNS and TLS count. A response that is arriving at 1024 bytes a second or
/// more is waited for, up to ten times as long.
///
/// `request_timeout_ms` is at least 1; the default is 10000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: it is less than 1.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_request_timeout_ms(
    builder: *mut cometd_client_builder,
    request_timeout_ms: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            let timeout = positive_milliseconds("request_timeout_ms", request_timeout_ms)?;
            it.set_request_timeout(timeout);
            Ok(())
        })
    }
}

/// Sets how many attempts may follow a failure of the handshake or of the connect loop,
/// in a row, before the client ends with a fatal error. A successful connect starts the
/// count anew. That a server forgets a session that worked does not count.
///
/// `retries` is 0 or more; COMETD_RETRY_FOREVER is the default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_number_of_retries(
    builder: *mut cometd_client_builder,
    retries: u32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_number_of_retries((retries != COMETD_RETRY_FOREVER).then_some(retries));
            Ok(())
        })
    }
}

/// Sets the waits between failed attempts: each one of a row is `increment_ms` longer than
/// the one before, up to `max_ms`. 10 to 20 percent are added to each, so that clients
/// which lost the same server do not come back all at once, and what the server asks for
/// (advice.interval, Retry-After) counts on top. Never are there more than 12 handshakes in
/// a minute, and with the default waits never more than 1250 requests that neither bring events nor were asked for by
/// the program, whatever a server says; connects that fail are tried again without a pause when both are 0.
///
/// `increment_ms` is at least 0, the default is 1000; `max_ms` is not less than that, the
/// default is 30000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: one is negative, or `max_ms` is less than `increment_ms`.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_backoff_ms(
    builder: *mut cometd_client_builder,
    increment_ms: i32,
    max_ms: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_backoff(
                milliseconds("increment_ms", increment_ms)?,
                milliseconds("max_ms", max_ms)?,
            )
        })
    }
}

/// Sets the bounds of each receiver's queue.
///
/// With COMETD_OVERFLOW_BLOCK the queue is full when it holds `events` events of any kind,
/// or `bytes` bytes of them; what one response brings is taken in as a whole. With the other
/// policies it holds at most so many messages, and one of any size; the events that are never
/// dropped make the client wait when there are `events` (at least 1024) of them.
///
/// Both are at least 1; the defaults are 10000 events and 67108864 bytes.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: one is 0.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_events_capacity(
    builder: *mut cometd_client_builder,
    events: usize,
    bytes: usize,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_events_capacity(events, bytes)) }
}

/// Sets how many messages of subscribe, unsubscribe and publish, one for each channel, may
/// wait for their outcome, or for the program to read it: the outcomes that the fullest receiver
/// holds count as well. Above that these functions return COMETD_E_FULL, and the error says which.
///
/// `commands` is at least 1; the default is 10000.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `commands` is 0.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_commands_capacity(
    builder: *mut cometd_client_builder,
    commands: usize,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_commands_capacity(commands)) }
}

/// Sets what happens when a receiver's queue is full.
///
/// `policy` is COMETD_OVERFLOW_BLOCK (the default), COMETD_OVERFLOW_DROP_OLDEST or
/// COMETD_OVERFLOW_DROP_NEWEST. Only messages are ever dropped, and each one is counted in a
/// COMETD_EVENT_DROPPED. With BLOCK all receivers of a client have to be read, or none of them
/// gets anything more; and a server forgets a session that does not connect for long. That it waits is
/// told by a log line of COMETD_LOG_WARN, at most one a minute, and by cometd_client_statistics.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `policy` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_overflow(
    builder: *mut cometd_client_builder,
    policy: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_overflow(match policy {
                COMETD_OVERFLOW_BLOCK => Overflow::Block,
                COMETD_OVERFLOW_DROP_OLDEST => Overflow::DropOldest,
                COMETD_OVERFLOW_DROP_NEWEST => Overflow::DropNewest,
                other => return Err(unknown("policy", other)),
            });
            Ok(())
        })
    }
}

/// Sets how large a response may be, after decompression. A larger one is a failure,
/// COMETD_E_TOO_LARGE. Memory is taken as bytes come; when there is none for what comes,
/// the failure is COMETD_E_SYSTEM. Without regard to this, the headers of a response are at
/// most 262144 bytes, interim responses included, or it is COMETD_E_MALFORMED_HTTP.
///
/// `bytes` is 1 to 2147483647; the default is 16777216.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `bytes` is not in the range.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_response_capacity(
    builder: *mut cometd_client_builder,
    bytes: usize,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_response_capacity(bytes)) }
}

/// Sets how large the server takes a request. A message that would make a larger one, counted as its channel, its data
/// and 256 bytes for what the protocol adds, is refused where it is published, with COMETD_E_TOO_LARGE; several are
/// divided, those of a batch too. Servers answer a larger one with an error, or end the connection: CometD's
/// own limit is 1048576 bytes, Salesforce's 32768.
///
/// `bytes` is 1024 to 2147483647; by default there is no limit.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `bytes` is not in the range.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_request_capacity(
    builder: *mut cometd_client_builder,
    bytes: usize,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_request_capacity(bytes)) }
}

/// Sets whether the client is itself a receiver of its events. A program that reads them only
/// through receivers of cometd_receiver_new turns it off; otherwise the client's own queue,
/// which nobody reads, fills up.
///
/// `enabled` is true by default. Without it cometd_client_poll returns
/// COMETD_E_INVALID_STATE.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_own_receiver(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_own_receiver(enabled);
            Ok(())
        })
    }
}

/// Sets whether the server is asked to acknowledge: to keep the events of each connect reply until
/// the next connect says that they have arrived (CometD's message acknowledgement extension, "ack").
/// What was lost with a connection is then sent again; an event may so come twice. Events that the
/// library has in its queues count as arrived. Servers without the extension are not disturbed by it.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_acknowledgement(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_acknowledgement(enabled);
            Ok(())
        })
    }
}

/// Adds the URL of a further server, to go to when those before it do not give a session: after a handshake that
/// failed on the way (a refusal is an answer, and no reason to ask another server), and after three failures of
/// the connect in a row. Then the session is a new one, and the subscriptions are made anew. After the last server
/// comes the first; the waits between attempts are those of cometd_client_builder_set_backoff_ms.
///
/// `url` is as in cometd_client_builder_new, of the same scheme as the first, without user and password. Authorization,
/// headers and added cookies go to all of them; so do base paths. There can be 16 in all.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or a base path that was set names another host;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_URL: it is no http or https URL, of another scheme than the first, or holds a
/// user; COMETD_E_OUT_OF_RANGE: there are 16.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_add_url(
    builder: *mut cometd_client_builder,
    url: *const c_char,
) -> cometd_status {
    unsafe { set(builder, |it| it.add_url(text("url", url)?)) }
}

/// Sets whether a server may send the client to other hosts (advice.hosts; Bayeux 1.0, section 3.2): they are asked in
/// their order when it wants a new handshake, or fails. Authorization, headers and cookies that were added go there as
/// well, so turn it on only for servers that you trust with that. Whether or not, the advice is told by
/// COMETD_EVENT_ADVICE.
///
/// `enabled` is false by default. Scheme, path and, unless the advice names another, port stay those of the first URL.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_follow_hosts(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_follow_hosts(enabled);
            Ok(())
        })
    }
}

/// Sets whether a client ends when its first session cannot be had for a reason that does not pass by itself, instead of
/// trying for ever: for programs whose user is there to put it right. These are: no such host, TLS (a certificate that
/// nobody trusts; plain HTTP on the port), a response that is not HTTP, a redirect that is not followed, and HTTP 400, 404,
/// 405, 406, 410, 411, 413, 414, 415, 431, 501 and 505. All else is tried again as without it: a server may be down, busy or
/// slow, and a resolver out of reach. With several servers each of them must have failed so, one after the other.
///
/// The end is a fatal error, as any other. Once the client has had a session, the option does nothing.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_fail_fast(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_fail_fast(enabled);
            Ok(())
        })
    }
}

/// Messages do not say when they are sent.
pub const COMETD_TIMESTAMP_NONE: i32 = 0;
/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7), as CometD's own clients write it.
pub const COMETD_TIMESTAMP_HTTP: i32 = 1;
/// "1994-11-06T08:49:37.12", in UTC (Bayeux 1.0, section 3.4).
pub const COMETD_TIMESTAMP_ISO: i32 = 2;

/// Sets whether the server's clock is asked for, with each message to a meta channel (CometD's timesync extension); see
/// cometd_client_server_time. Servers without the extension are not disturbed by it.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_timesync(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_timesync(enabled);
            Ok(())
        })
    }
}

/// Sets whether each message has a `timestamp` field, the time at which it is sent by this machine's clock (CometD's
/// timestamp extension).
///
/// `format` is COMETD_TIMESTAMP_NONE (the default), COMETD_TIMESTAMP_HTTP or COMETD_TIMESTAMP_ISO.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `format` is none of these.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_timestamp(
    builder: *mut cometd_client_builder,
    format: i32,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_timestamp(match format {
                COMETD_TIMESTAMP_NONE => None,
                COMETD_TIMESTAMP_HTTP => Some(Timestamp::Http),
                COMETD_TIMESTAMP_ISO => Some(Timestamp::Iso),
                other => return Err(unknown("format", other)),
            });
            Ok(())
        })
    }
}

/// Sets what follows when the server ends the session by itself: with a /meta/disconnect, with
/// the advice not to reconnect on a connect that succeeded, or with a negative interval. By default that is
/// the client's end, with a fatal COMETD_E_SERVER_DISCONNECTED. With this option it is an error that is not fatal, a
/// pause of at least one backoff increment, a new handshake, and the subscriptions anew. A refusal, such as
/// that of a token, stays final, and so it is when the retries are used up.
///
/// `enabled` is false by default. Some servers end sessions in the ordinary course of things, Salesforce among them.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_restart(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_restart(enabled);
            Ok(())
        })
    }
}

/// Sets the proxy that all requests go through, whatever the environment says.
///
/// `url` is "http://HOST:PORT", or HOST:PORT alone; without a port it is 80. The proxy is spoken to by plain HTTP. It is
/// asked for a tunnel (CONNECT) to https servers, and hears nothing of what goes through it; requests to http servers it
/// reads, and passes on. A user and password in the URL become Basic authorization, which only the proxy sees. "" is no
/// proxy at all.
///
/// Without this call the environment's variables decide as they do for curl: http_proxy for http servers, https_proxy or
/// HTTPS_PROXY for https servers, all_proxy or ALL_PROXY for both, and no_proxy or NO_PROXY with the hosts that are gone
/// to directly: names with all below them, addresses, networks such as 10.0.0.0/8, or "*". Requests to this machine go
/// through a proxy as well, unless no_proxy names it. The variables are read by cometd_client_builder_build, once for a
/// client. Other threads must not change the environment meanwhile.
///
/// A proxy that cannot be reached, does not answer, or refuses is COMETD_E_PROXY, with an error that names it, and is
/// tried again like a server that cannot be reached. The token provider is not asked for a proxy's credentials.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or the user holds a colon;
/// COMETD_E_INVALID_UTF8: `url`, or the user or password in it, is not UTF-8; COMETD_E_INVALID_URL: `url` names no host,
/// has another scheme than http, or holds a path or query; COMETD_E_INVALID_HEADER: the user or password holds a control
/// character.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_proxy(
    builder: *mut cometd_client_builder,
    url: *const c_char,
) -> cometd_status {
    unsafe { set(builder, |it| it.set_proxy(text("url", url)?)) }
}

/// Sets the authorities that sign the certificates of https servers, such as a company's own.
///
/// `pem` is one or more certificates as PEM, of `len` bytes together; they are copied. With `with_system` the authorities
/// that the system trusts are trusted as well, as they are without this call; otherwise these are the only ones. The last
/// call counts. Host names are checked in any case.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `pem` is NULL, or `pem` holds no certificate, or a
/// malformed one.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_certificate_authorities(
    builder: *mut cometd_client_builder,
    pem: *const c_char,
    len: usize,
    with_system: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_certificate_authorities(bytes("pem", pem, len)?, with_system)
        })
    }
}

/// Sets the certificate that is shown to https servers that ask for one, and its private key.
///
/// `pem_chain`, of `chain_len` bytes, holds the client's certificate and behind it those that lead to an authority of the
/// server's, as PEM. `pem_key`, of `key_len` bytes, is the private key as PEM, in PKCS #8 ("BEGIN PRIVATE KEY") and
/// without a password; "openssl pkcs8 -topk8 -nocrypt" makes it of others. Both are copied; the key is in no error and no
/// log line. The last call counts.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, `pem_chain` holds no certificate or a malformed
/// one, `pem_key` holds no such key, or the key does not belong to the first certificate.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_client_certificate(
    builder: *mut cometd_client_builder,
    pem_chain: *const c_char,
    chain_len: usize,
    pem_key: *const c_char,
    key_len: usize,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            it.set_client_certificate(
                bytes("pem_chain", pem_chain, chain_len)?,
                bytes("pem_key", pem_key, key_len)?,
            )
        })
    }
}

/// Builds a client. Nothing is started and nothing is sent before cometd_client_connect. The
/// builder is not used up. Without cometd_client_builder_set_proxy the environment is read for proxies here.
///
/// `*out` receives the client.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `out` is NULL;
/// COMETD_E_TLS: the URL is https and the system's TLS library could not be set up; COMETD_E_INVALID_URL: the
/// environment's proxy for the URL is none that the library can use.
/// **Threads** one at a time. **Blocks** never. **Ownership** the client is the caller's, to
/// free with cometd_client_free. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_build(
    builder: *const cometd_client_builder,
    out: *mut *mut cometd_client,
    err: *mut *mut cometd_error,
) -> cometd_status {
    write(out, std::ptr::null_mut());
    call(err, || {
        let out = required("out", out)?;
        let client = unsafe { object("builder", builder) }?.builder.build()?;
        write(out, Box::into_raw(Box::new(cometd_client::new(client))));
        Ok(COMETD_OK)
    })
}
