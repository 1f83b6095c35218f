//! What requests show to the server: authorization, cookies, headers, and the
//! ext of handshakes.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{bytes, object, optional_text, text};
use super::builder::{cometd_client_builder, set, set_switch, set_text};
use super::call::call_plain;
use super::host::{self, cometd_free_fn, outcome};
use super::status::{cometd_status, COMETD_OK};
use crate::client::{Builder, Token, TokenReason};
use crate::delivery::HostData;

/// As the reason for which a token provider is called: the server refused the
/// credentials in use; see cometd_client_builder_set_token_provider.
pub const COMETD_TOKEN_REFUSED: i32 = 1;

/// Where a token provider puts what it has found. It ends with the call, unless it is
/// retained: cometd_token_retain.
pub struct cometd_token {
    token: Arc<Token>,
}

/// Fetches new credentials; see cometd_client_builder_set_token_provider.
///
/// `reason` is one of COMETD_TOKEN_…; more may come. The function calls
/// cometd_token_set_authorization on `token` and returns COMETD_OK; any other status means
/// that it has no credentials. To find them later, it calls cometd_token_retain and returns
/// COMETD_OK.
///
/// It runs on a thread of its own where it may block, and never twice at a time for
/// one client; it is not called either while a token that it has retained waits for its
/// answer. After 60 seconds the client goes on without it; what it then still
/// finds counts from that moment on. Inside it, what holds inside a callback holds.
pub type cometd_token_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        reason: i32,
        token: *mut cometd_token,
    ) -> cometd_status,
>;

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
    unsafe {
        set_text(
            "set_bearer_token",
            builder,
            "token",
            token,
            Builder::set_bearer_token,
        )
    }
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
        set("set_basic_auth", builder, |it| {
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
        set_text(
            "set_authorization",
            builder,
            "header_value",
            header_value,
            Builder::set_authorization,
        )
    }
}

/// Installs a function that fetches new credentials when the server refuses those in
/// use: by HTTP 401 or 407 (but not 407 of a proxy), by a Bayeux error 401, or by a Bayeux error 403 on a
/// handshake or on a connect with the advice none.
///
/// It is called at most three times without a successful connect in between; then the
/// refusal is treated like any other failure, unless cometd_client_builder_set_await_credentials
/// says otherwise. Where the system refuses a thread for it, that is COMETD_E_SYSTEM, and the attempt is made again
/// after a wait. It also serves the builder's further clients. NULL removes it.
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
        set("set_token_provider", builder, |it| {
            let data = HostData::new(user, free_user);
            it.set_token_provider(match r#fn {
                None => None,
                Some(provide) => Some(Arc::new(move |reason, token| {
                    let reason = match reason {
                        TokenReason::Refused => COMETD_TOKEN_REFUSED,
                    };
                    let token = token.clone();
                    let token = Arc::new(cometd_token { token });
                    let given = Arc::as_ptr(&token).cast_mut();
                    outcome(data.call(|user| provide(user, reason, given)))
                })),
            });
            Ok(())
        })
    }
}

/// Sets whether a client whose credentials are refused waits for new ones, instead of ending:
/// when HTTP 401, a Bayeux error 401 or a Bayeux error 403 with the advice none answers a handshake or a
/// connect, or a 403 a handshake, and the token provider is missing, was asked three times, or has
/// none.
///
/// Each refusal is told by a COMETD_EVENT_ERROR that is not fatal, whose
/// cometd_error_retry_in_ms says when the client goes on by itself. It goes on at once when
/// cometd_client_set_authorization is called. With a token provider that is asked again, without
/// limit, after waits that grow as cometd_client_builder_set_backoff_ms says, but of 5 seconds at
/// least. With a handshake or header provider the attempt is made again after such waits.
/// With none of them the same credentials are tried again after 1, 2, 3, … minutes, at most 10: an
/// account may be unlocked. None of this counts for cometd_client_builder_set_number_of_retries.
///
/// `enabled` is false by default.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_await_credentials(
    builder: *mut cometd_client_builder,
    enabled: bool,
) -> cometd_status {
    unsafe {
        set_switch(
            "set_await_credentials",
            builder,
            Builder::set_await_credentials,
            enabled,
        )
    }
}

/// Keeps a token beyond the call of the token provider, to be answered later from any
/// thread: a login window, an event loop. No thread waits meanwhile.
///
/// What ends the waiting: cometd_token_set_authorization, cometd_token_fail, the last
/// cometd_token_free without either (then there are no credentials), the time limit of the
/// provider, and the client's end. It begins when the provider has returned COMETD_OK.
///
/// **Returns** `token`; NULL for NULL, and in a forked child.
/// **Threads** any, as long as the token is the caller's: in the call, or retained.
/// **Blocks** never. **Ownership** each one is paired with one cometd_token_free, before or
/// after the client's end. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_token_retain(token: *mut cometd_token) -> *mut cometd_token {
    unsafe { host::retain(token, |it| it.token.retain()) }
}

/// Gives back what cometd_token_retain has kept.
///
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_token_free(token: *mut cometd_token) {
    unsafe { host::free(token, |it| it.token.release()) };
}

/// Gives the value of the Authorization header, "Bearer abc", to a token provider's
/// question. It is in force from the next request on. Inside the provider the last call
/// counts; of a token that was retained the first one, also when it comes after the time
/// limit.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, or `header_value`
/// is empty; COMETD_E_INVALID_UTF8; COMETD_E_INVALID_HEADER: it holds a control
/// character; COMETD_E_INVALID_STATE: it was retained, and has been answered, or the
/// provider has failed; COMETD_E_CLOSED: it was retained, and the client has ended or was
/// freed; COMETD_E_FORKED.
/// **Threads** the one that the provider was called on; any, when it was retained.
/// **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_token_set_authorization(
    token: *mut cometd_token,
    header_value: *const c_char,
) -> cometd_status {
    call_plain(|| {
        let token = &unsafe { object("token", token) }?.token;
        token.set_authorization(unsafe { text("header_value", header_value) }?)?;
        Ok(COMETD_OK)
    })
}

/// Says that there are no credentials, and why: that stands in the error.
///
/// `why` is one line, and may be NULL. At most 1024 bytes of it are kept.
///
/// **Returns** as cometd_token_set_authorization does.
/// **Threads** the one that the provider was called on; any, when it was retained.
/// **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_token_fail(
    token: *mut cometd_token,
    why: *const c_char,
) -> cometd_status {
    call_plain(|| {
        let token = &unsafe { object("token", token) }?.token;
        token.fail(unsafe { optional_text("why", why) }?)?;
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
        set("add_cookie", builder, |it| {
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
/// or a header that belongs to the transport, such as Host, Content-Length or Sec-WebSocket-…;
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
        set("add_header", builder, |it| {
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
        set("set_handshake_ext", builder, |it| {
            it.set_handshake_ext(bytes("json", json, len)?)
        })
    }
}
