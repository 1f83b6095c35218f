//! What functions return.

use std::ffi::{c_char, CStr};

use crate::error::ErrorKind;

/// What a function returns: COMETD_OK, a positive "nothing wrong, nothing to
/// give", or a negative error. Numbers are never reused; more may come.
pub type cometd_status = i32;

/// Success.
pub const COMETD_OK: i32 = 0;
/// Nothing wrong, and nothing to give: the time is up.
pub const COMETD_NONE: i32 = 1;
/// Nothing wrong, and nothing more to come: the client has closed.
pub const COMETD_CLOSED: i32 = 2;
/// An argument is NULL or not acceptable.
pub const COMETD_E_INVALID_ARGUMENT: i32 = -1;
/// A text is not UTF-8.
pub const COMETD_E_INVALID_UTF8: i32 = -2;
/// The URL is not an absolute http or https URL.
pub const COMETD_E_INVALID_URL: i32 = -3;
/// The channel's name is not valid.
pub const COMETD_E_INVALID_CHANNEL: i32 = -4;
/// A text is not JSON, is nested too deep, or is not the JSON asked for.
pub const COMETD_E_INVALID_JSON: i32 = -5;
/// A value would break out of its HTTP header.
pub const COMETD_E_INVALID_HEADER: i32 = -6;
/// A number is out of its range.
pub const COMETD_E_OUT_OF_RANGE: i32 = -7;
/// The function cannot be called now.
pub const COMETD_E_INVALID_STATE: i32 = -8;
/// The client has been disconnected or has ended.
pub const COMETD_E_CLOSED: i32 = -9;
/// Too many messages wait for their outcome, or outcomes for the program to read them.
pub const COMETD_E_FULL: i32 = -10;
/// A function that blocks was called inside a callback.
pub const COMETD_E_WOULD_DEADLOCK: i32 = -11;
/// The object belongs to the parent process.
pub const COMETD_E_FORKED: i32 = -12;
/// The library panicked, which is a bug in it. The client ends; what was under way
/// may then have no event of its own before COMETD_EVENT_CLOSED.
pub const COMETD_E_PANIC: i32 = -13;
/// The system refused a thread, a descriptor or memory.
pub const COMETD_E_SYSTEM: i32 = -14;
/// The server did not answer in time.
pub const COMETD_E_TIMEOUT: i32 = -20;
/// The server's name could not be resolved.
pub const COMETD_E_DNS: i32 = -21;
/// The server could not be reached.
pub const COMETD_E_TCP: i32 = -22;
/// The TLS handshake failed, or the certificate is not trusted.
pub const COMETD_E_TLS: i32 = -23;
/// The connection broke before the whole response.
pub const COMETD_E_CONNECTION_LOST: i32 = -24;
/// The response is not HTTP.
pub const COMETD_E_MALFORMED_HTTP: i32 = -25;
/// The server answered with an HTTP status other than 200.
pub const COMETD_E_HTTP_STATUS: i32 = -26;
/// The server wants other credentials (HTTP 401 or 407).
pub const COMETD_E_UNAUTHORIZED: i32 = -27;
/// The server redirects to where the client does not follow.
pub const COMETD_E_REDIRECT: i32 = -28;
/// The response is an HTML page, of a proxy or a login form.
pub const COMETD_E_HTML: i32 = -29;
/// The response is not JSON.
pub const COMETD_E_NOT_JSON: i32 = -30;
/// The response is larger than the limit.
pub const COMETD_E_TOO_LARGE: i32 = -31;
/// The response is not what Bayeux asks for.
pub const COMETD_E_PROTOCOL: i32 = -32;
/// The server refused the message; the Bayeux error tells why.
pub const COMETD_E_REFUSED: i32 = -33;
/// Client and server have no connection type in common.
pub const COMETD_E_NEGOTIATION: i32 = -34;
/// The server ended the session.
pub const COMETD_E_SERVER_DISCONNECTED: i32 = -35;
/// The client closed before the server answered.
pub const COMETD_E_ABORTED: i32 = -36;
/// The token provider, the handshake provider or the header provider gave nothing.
pub const COMETD_E_CREDENTIALS: i32 = -37;
/// An extension of the program's deleted the message.
pub const COMETD_E_MESSAGE_DELETED: i32 = -38;
/// The proxy could not be reached, refused to pass a request on, or wants other
/// credentials (HTTP 407).
pub const COMETD_E_PROXY: i32 = -39;
/// Messages that cometd_client_publish had accepted have failed.
pub const COMETD_E_UNDELIVERED: i32 = -40;

/// The status of a kind of error.
pub fn of(kind: ErrorKind) -> cometd_status {
    match kind {
        ErrorKind::InvalidArgument => COMETD_E_INVALID_ARGUMENT,
        ErrorKind::NotUtf8 => COMETD_E_INVALID_UTF8,
        ErrorKind::InvalidUrl => COMETD_E_INVALID_URL,
        ErrorKind::InvalidChannel => COMETD_E_INVALID_CHANNEL,
        ErrorKind::InvalidJson => COMETD_E_INVALID_JSON,
        ErrorKind::InvalidHeader => COMETD_E_INVALID_HEADER,
        ErrorKind::OutOfRange => COMETD_E_OUT_OF_RANGE,
        ErrorKind::InvalidState => COMETD_E_INVALID_STATE,
        ErrorKind::Closed => COMETD_E_CLOSED,
        ErrorKind::Full => COMETD_E_FULL,
        ErrorKind::WouldDeadlock => COMETD_E_WOULD_DEADLOCK,
        ErrorKind::Forked => COMETD_E_FORKED,
        ErrorKind::Panic => COMETD_E_PANIC,
        ErrorKind::System => COMETD_E_SYSTEM,
        ErrorKind::Timeout => COMETD_E_TIMEOUT,
        ErrorKind::Dns => COMETD_E_DNS,
        ErrorKind::Tcp => COMETD_E_TCP,
        ErrorKind::Tls => COMETD_E_TLS,
        ErrorKind::ConnectionLost => COMETD_E_CONNECTION_LOST,
        ErrorKind::MalformedHttp => COMETD_E_MALFORMED_HTTP,
        ErrorKind::HttpStatus => COMETD_E_HTTP_STATUS,
        ErrorKind::Unauthorized => COMETD_E_UNAUTHORIZED,
        ErrorKind::Redirect => COMETD_E_REDIRECT,
        ErrorKind::Html => COMETD_E_HTML,
        ErrorKind::NotJson => COMETD_E_NOT_JSON,
        ErrorKind::TooLarge => COMETD_E_TOO_LARGE,
        ErrorKind::Protocol => COMETD_E_PROTOCOL,
        ErrorKind::Refused => COMETD_E_REFUSED,
        ErrorKind::Negotiation => COMETD_E_NEGOTIATION,
        ErrorKind::ServerDisconnected => COMETD_E_SERVER_DISCONNECTED,
        ErrorKind::Aborted => COMETD_E_ABORTED,
        ErrorKind::Credentials => COMETD_E_CREDENTIALS,
        ErrorKind::Proxy => COMETD_E_PROXY,
        ErrorKind::Host(status) => status,
        ErrorKind::MessageDeleted => COMETD_E_MESSAGE_DELETED,
        ErrorKind::Undelivered => COMETD_E_UNDELIVERED,
    }
}

fn describe(status: cometd_status) -> (&'static CStr, &'static CStr) {
    match status {
        COMETD_OK => (c"COMETD_OK", c"success"),
        COMETD_NONE => (c"COMETD_NONE", c"nothing to give, the time is up"),
        COMETD_CLOSED => (
            c"COMETD_CLOSED",
            c"the client has closed, nothing more comes",
        ),
        COMETD_E_INVALID_ARGUMENT => (
            c"COMETD_E_INVALID_ARGUMENT",
            c"an argument is NULL or not acceptable",
        ),
        COMETD_E_INVALID_UTF8 => (c"COMETD_E_INVALID_UTF8", c"a text is not UTF-8"),
        COMETD_E_INVALID_URL => (
            c"COMETD_E_INVALID_URL",
            c"the URL is not an absolute http or https URL",
        ),
        COMETD_E_INVALID_CHANNEL => (
            c"COMETD_E_INVALID_CHANNEL",
            c"the channel's name is not valid",
        ),
        COMETD_E_INVALID_JSON => (
            c"COMETD_E_INVALID_JSON",
            c"a text is not JSON, is nested too deep, or is not the JSON asked for",
        ),
        COMETD_E_INVALID_HEADER => (
            c"COMETD_E_INVALID_HEADER",
            c"a value would break out of its HTTP header",
        ),
        COMETD_E_OUT_OF_RANGE => (c"COMETD_E_OUT_OF_RANGE", c"a number is out of its range"),
        COMETD_E_INVALID_STATE => (
            c"COMETD_E_INVALID_STATE",
            c"the function cannot be called now",
        ),
        COMETD_E_CLOSED => (
            c"COMETD_E_CLOSED",
            c"the client has been disconnected or has ended",
        ),
        COMETD_E_FULL => (
            c"COMETD_E_FULL",
            c"too many messages wait for their outcome, or their outcomes to be read",
        ),
        COMETD_E_WOULD_DEADLOCK => (
            c"COMETD_E_WOULD_DEADLOCK",
            c"a function that blocks was called inside a callback",
        ),
        COMETD_E_FORKED => (
            c"COMETD_E_FORKED",
            c"the object belongs to the parent process",
        ),
        COMETD_E_PANIC => (
            c"COMETD_E_PANIC",
            c"the library panicked, which is a bug in it",
        ),
        COMETD_E_SYSTEM => (
            c"COMETD_E_SYSTEM",
            c"the system refused a thread, a descriptor or memory",
        ),
        COMETD_E_TIMEOUT => (c"COMETD_E_TIMEOUT", c"the server did not answer in time"),
        COMETD_E_DNS => (c"COMETD_E_DNS", c"the server's name could not be resolved"),
        COMETD_E_TCP => (c"COMETD_E_TCP", c"the server could not be reached"),
        COMETD_E_TLS => (
            c"COMETD_E_TLS",
            c"the TLS handshake failed, or the certificate is not trusted",
        ),
        COMETD_E_CONNECTION_LOST => (
            c"COMETD_E_CONNECTION_LOST",
            c"the connection broke before the whole response",
        ),
        COMETD_E_MALFORMED_HTTP => (c"COMETD_E_MALFORMED_HTTP", c"the response is not HTTP"),
        COMETD_E_HTTP_STATUS => (
            c"COMETD_E_HTTP_STATUS",
            c"the server answered with an HTTP status other than 200",
        ),
        COMETD_E_UNAUTHORIZED => (
            c"COMETD_E_UNAUTHORIZED",
            c"the server wants other credentials (HTTP 401 or 407)",
        ),
        COMETD_E_REDIRECT => (
            c"COMETD_E_REDIRECT",
            c"the server redirects to where the client does not follow",
        ),
        COMETD_E_HTML => (
            c"COMETD_E_HTML",
            c"the response is an HTML page, of a proxy or a login form",
        ),
        COMETD_E_NOT_JSON => (c"COMETD_E_NOT_JSON", c"the response is not JSON"),
        COMETD_E_TOO_LARGE => (
            c"COMETD_E_TOO_LARGE",
            c"the response is larger than the limit, or the request would be",
        ),
        COMETD_E_PROTOCOL => (
            c"COMETD_E_PROTOCOL",
            c"the response is not what Bayeux asks for",
        ),
        COMETD_E_REFUSED => (
            c"COMETD_E_REFUSED",
            c"the server refused the message; the Bayeux error tells why",
        ),
        COMETD_E_NEGOTIATION => (
            c"COMETD_E_NEGOTIATION",
            c"client and server have no connection type in common",
        ),
        COMETD_E_SERVER_DISCONNECTED => (
            c"COMETD_E_SERVER_DISCONNECTED",
            c"the server ended the session",
        ),
        COMETD_E_ABORTED => (
            c"COMETD_E_ABORTED",
            c"the client closed before the server answered",
        ),
        COMETD_E_CREDENTIALS => (
            c"COMETD_E_CREDENTIALS",
            c"the token provider or the handshake provider gave nothing",
        ),
        COMETD_E_MESSAGE_DELETED => (
            c"COMETD_E_MESSAGE_DELETED",
            c"an extension of the program's deleted the message",
        ),
        COMETD_E_PROXY => (
            c"COMETD_E_PROXY",
            c"the proxy could not be reached, or refused",
        ),
        COMETD_E_UNDELIVERED => (
            c"COMETD_E_UNDELIVERED",
            c"messages that were accepted have failed",
        ),
        _ => (
            c"COMETD_UNKNOWN",
            c"a status that this version does not know",
        ),
    }
}

/// The name of a status: "COMETD_E_TLS".
///
/// **Returns** the name; "COMETD_UNKNOWN" for a number that is no status.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_status_name(status: cometd_status) -> *const c_char {
    describe(status).0.as_ptr()
}

/// What a status means, in a few words without a full stop.
///
/// **Returns** the text, never NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_status_text(status: cometd_status) -> *const c_char {
    describe(status).1.as_ptr()
}
