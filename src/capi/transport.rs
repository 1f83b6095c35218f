//! Over what messages travel: long polling, WebSocket, and the way between them.

use std::ffi::c_char;

use super::boundary::{access, milliseconds, null};
use super::builder::{cometd_client_builder, set, set_text, set_time};
use super::client::cometd_client;
use super::status::cometd_status;
use crate::bayeux::ConnectionType;
use crate::client::Builder;
use crate::error::{Error, ErrorKind};

/// HTTP requests, one of which the server holds until it has events: "long-polling" (Bayeux 1.0, section 6.1).
pub const COMETD_TRANSPORT_LONG_POLLING: i32 = 1;
/// One WebSocket (RFC 6455) for all messages: "websocket".
pub const COMETD_TRANSPORT_WEBSOCKET: i32 = 2;

fn transport_number(transport: ConnectionType) -> i32 {
    match transport {
        ConnectionType::LongPolling => COMETD_TRANSPORT_LONG_POLLING,
        ConnectionType::WebSocket => COMETD_TRANSPORT_WEBSOCKET,
    }
}

unsafe fn transport_list(
    transports: *const i32,
    count: usize,
) -> Result<Vec<ConnectionType>, Error> {
    if transports.is_null() {
        return Err(null("transports"));
    }
    if count > isize::MAX as usize / std::mem::size_of::<i32>() {
        return Err(Error::call(
            ErrorKind::OutOfRange,
            "count: is larger than any memory",
        ));
    }
    // SAFETY: not NULL, of a possible length, and the interface asks for `count` numbers.
    let numbers = unsafe { std::slice::from_raw_parts(transports, count) };
    let choices = [ConnectionType::LongPolling, ConnectionType::WebSocket];
    let transports = numbers.iter().enumerate().map(|(index, number)| {
        let choice = choices
            .into_iter()
            .find(|it| transport_number(*it) == *number);
        choice.ok_or_else(|| {
            Error::call(
                ErrorKind::OutOfRange,
                format!("transports[{index}]: {number} is none of the constants"),
            )
        })
    });
    transports.collect()
}

/// Sets over what messages travel (Bayeux 1.0, sections 4.1 and 6.1), in order of preference. Handshakes go over the
/// first one that is not off, and name all of the list; what the server's reply names decides how it goes on, in the same
/// session. While a session lives and works, nothing is changed.
///
/// A WebSocket is one connection for everything. It is opened (RFC 6455, section 4) at the URL as it was given, or at
/// cometd_client_builder_set_websocket_path, with the authorization, cookies and headers of the other requests, through
/// a proxy always by CONNECT, and without compression. Redirects are followed to the same server only. A message of the
/// server's may be as large as cometd_client_builder_set_response_capacity says, put together from its fragments; a
/// frame of the client's as cometd_client_builder_set_request_capacity says; and
/// cometd_client_builder_set_request_timeout_ms is how long the opening, each reply and each pong may take. A reply or a
/// pong that does not come in time ends the socket. What cometd_client_set_authorization gives travels with the next
/// opening; an open socket stays.
///
/// What happens when there is no WebSocket:
///
/// - The network, DNS, TLS or the proxy fails, or the proxy wants credentials: long polling would fare the same. It is
///   an error as any other, and WebSocket is tried again after the usual wait.
/// - HTTP 401: the token provider is asked (cometd_client_builder_set_token_provider) and the socket opened once more.
/// - Any other HTTP status, 401 again or without a provider, a redirect to another server, an answer that is no correct
///   upgrade or is without the protocol of cometd_client_builder_set_websocket_protocol, no answer in time, a proxy that
///   makes no tunnel to an http server, or a socket that ends or says nothing before the first Bayeux reply: WebSocket
///   is refused.
/// - A socket that has carried a reply is lost: it is opened again for the same session, after the wait of a failed
///   connect. If that is refused, or three sockets in a row end without a reply: WebSocket is refused.
///
/// When WebSocket is refused and long polling is in the list, the client goes on by long polling at once, within the
/// same attempt; it does not count for cometd_client_builder_set_number_of_retries. One COMETD_EVENT_ERROR tells of
/// it, with cometd_error_retry_in_ms 0, or as long as a Retry-After asks for, which is kept. WebSocket is then off for
/// this server, for 60 seconds at first, and twice as long each time up to an hour; the next handshake after that
/// tries it again. When long polling does not reach the server either, it was the network, and the refusal is
/// forgotten. Each server of cometd_client_builder_add_url stands for itself. With WebSocket alone in the list a
/// refusal is a failed attempt.
///
/// A server may not know a session any more that comes by another transport; then there is a new one, as after any lost
/// session, and the subscriptions are made again.
///
/// When a socket dies, events that were on their way are lost, and nobody can know of them, unless
/// cometd_client_builder_set_acknowledgement is on and the server has it. Publishes without a reply fail with
/// COMETD_E_CONNECTION_LOST: the server may or may not have seen them.
///
/// `transports` has `count` of COMETD_TRANSPORT_LONG_POLLING and COMETD_TRANSPORT_WEBSOCKET, at least one, each at most
/// once. The default is COMETD_TRANSPORT_LONG_POLLING alone.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `transports` is NULL, `count` is 0, or one is there
/// twice; COMETD_E_OUT_OF_RANGE: one is none of the constants.
/// **Threads** one at a time. **Blocks** never. **Ownership** the list is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_transports(
    builder: *mut cometd_client_builder,
    transports: *const i32,
    count: usize,
) -> cometd_status {
    unsafe {
        set("set_transports", builder, |it| {
            it.set_transports(&transport_list(transports, count)?)
        })
    }
}

/// Sets where WebSockets are opened.
///
/// `path` is resolved on the URL, which counts as a folder, as RFC 3986, section 5, says; nothing is appended. It must
/// stay on the same server, for each server of cometd_client_builder_add_url. "" is the default: the URL itself, to the
/// letter; the base paths of the other requests do not count.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `path` is NULL, or
/// `path` is not a path or leads to another server; COMETD_E_INVALID_UTF8.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_websocket_path(
    builder: *mut cometd_client_builder,
    path: *const c_char,
) -> cometd_status {
    unsafe {
        set_text(
            "set_websocket_path",
            builder,
            "path",
            path,
            Builder::set_websocket_path,
        )
    }
}

/// Sets the protocol that WebSockets are opened for (Sec-WebSocket-Protocol; RFC 6455, section 1.9). A server that does
/// not choose it has refused WebSocket, and so has one that chooses another; CometD and Faye choose none unless they are
/// told to.
///
/// `protocol` is a token (RFC 9110, section 5.6.2) of at most 4096 bytes. It is no secret: errors and the log may show
/// it. "" is the default: none.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` or `protocol` is NULL; COMETD_E_INVALID_UTF8;
/// COMETD_E_INVALID_HEADER: `protocol` is no token; COMETD_E_OUT_OF_RANGE: it is longer.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_websocket_protocol(
    builder: *mut cometd_client_builder,
    protocol: *const c_char,
) -> cometd_status {
    unsafe {
        set_text(
            "set_websocket_protocol",
            builder,
            "protocol",
            protocol,
            Builder::set_websocket_protocol,
        )
    }
}

/// Sets after how long without a byte from the server a WebSocket is asked for one, by a ping (RFC 6455, section 5.5.2).
/// The socket is lost when nothing comes within cometd_client_builder_set_request_timeout_ms then. Proxies end
/// connections that are silent, often after 60 seconds, and a line that is dead is noticed by nothing else. Pings of the
/// server are always answered.
///
/// `ping_interval_ms` is at least 0; the default is 20000. 0: none are sent.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL;
/// COMETD_E_OUT_OF_RANGE: `ping_interval_ms` is negative.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_ping_interval_ms(
    builder: *mut cometd_client_builder,
    ping_interval_ms: i32,
) -> cometd_status {
    let time = || milliseconds("ping_interval_ms", ping_interval_ms);
    unsafe {
        set_time(
            "set_ping_interval_ms",
            builder,
            time,
            Builder::set_ping_interval,
        )
    }
}

/// Over what the last reply of the server came.
///
/// **Returns** one of COMETD_TRANSPORT_…; 0 while no reply has come, for NULL, and for one that has crossed a fork.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_transport(client: *const cometd_client) -> i32 {
    access(0, || {
        if client.is_null() {
            return 0;
        }
        let client = unsafe { cometd_client::get(client) };
        let transport = client.ok().and_then(|it| it.transport());
        transport.map_or(0, transport_number)
    })
}
