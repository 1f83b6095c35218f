//! What a client has found out and done so far.

use std::ffi::c_char;

use super::boundary::{copy_out, required, write};
use super::client::{cometd_client, with};
use super::status::{cometd_status, COMETD_NONE, COMETD_OK};
use crate::error::{Error, ErrorKind};

/// Tells what the server's clock says now, as the timesync extension has found out; see
/// cometd_client_builder_set_timesync. It is exact to about half the time that a message and its reply are on their
/// way, goes on by the client's own clock, and does not jump when somebody sets that.
///
/// `*time_ms` receives milliseconds since 1970-01-01 00:00 UTC.
///
/// **Returns** COMETD_OK; COMETD_NONE: it is not known, because the option is off, the server does not know the
/// extension, or its first reply has not come yet; COMETD_E_INVALID_ARGUMENT: an argument is NULL; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_server_time(
    client: *mut cometd_client,
    time_ms: *mut i64,
) -> cometd_status {
    write(time_ms, 0);
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            let time_ms = required("time_ms", time_ms)?;
            Ok(match client.server_time() {
                Some(time) => {
                    write(time_ms, time);
                    COMETD_OK
                }
                None => COMETD_NONE,
            })
        })
    }
}

/// Writes what the client has done so far as a JSON object:
///
/// - "requests", "bytes_sent", "bytes_received" (bodies, after decompression), "events_received", "handshakes",
///   "reconnects"; "calls_refused", those that were refused with COMETD_E_FULL;
/// - "round_trip_ms" of the last request that the server did not hold; "server_time_ms", what
///   cometd_client_server_time gives, or null; a ping of a WebSocket counts for "round_trip_ms" as well;
/// - "transport", over what the last reply came, "long-polling" or "websocket", or null, and "transport_changes", how often
///   the client went from one to the other;
/// - "websockets_opened", sockets that were opened; "websockets_refused", how often WebSocket was refused, see
///   cometd_client_builder_set_transports; "websockets_closed", an object that counts the sockets that were closed by their
///   code, such as "1000" or "1006" (of more than 64 codes the further ones are "other"); "frames_sent" and
///   "frames_received" over them, whose texts "bytes_sent" and "bytes_received" count as well; and "pings" that were sent;
/// - "failures", an object that counts the errors of the client itself by kind, such as "timeout", "tcp" or
///   "http_status"; "extension", functions of an extension that failed, and "replay_store", positions that were not
///   saved;
/// - "leniencies", an object that counts by kind what was taken from the server although it is not as it should be:
///   "header", headers that cannot be read and were passed over or mended; "transfer_encoding" and "content_encoding",
///   codings that were passed over; "gzip_tail" and "body_tail", bytes behind the end of a gzip and of the JSON;
///   "not_utf8", responses in which something that is no UTF-8 became U+FFFD; "cookie", cookies that cannot be kept. The
///   first of a kind is a line of the log with COMETD_LOG_WARN, the later ones are with COMETD_LOG_DEBUG;
/// - "blocked", whether nothing is sent at this moment because a receiver is full, and "times_blocked", how often that
///   began;
/// - "receivers", an array with an object for each receiver, the client's own first: "queued", events that wait to be
///   read, "unread_outcomes", those of them that end a call of the program's, "queued_most", "delivered", "dropped", and
///   "full", whether the client waits for it to be read.
///
/// More may come.
///
/// `buf` has room for `cap` bytes and may be NULL when `cap` is 0; the text is written with a NUL, and cut
/// off where it does not fit. `*needed` (may be NULL) receives how many bytes the whole text needs, NUL
/// included.
///
/// **Returns** COMETD_OK: the whole text was written; COMETD_E_OUT_OF_RANGE: `cap` is less than `*needed`;
/// COMETD_E_INVALID_ARGUMENT: `client` is NULL, or `buf` is NULL and `cap` is not 0; COMETD_E_FORKED.
/// **Threads** any. **Blocks** never. **Ownership** `buf` is the caller's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_statistics(
    client: *mut cometd_client,
    buf: *mut c_char,
    cap: usize,
    needed: *mut usize,
) -> cometd_status {
    write(needed, 0);
    unsafe {
        with(client, std::ptr::null_mut(), |client| {
            let text = serde_json::to_string(&client.statistics())
                .map_err(|error| Error::call(ErrorKind::System, error.to_string()))?;
            copy_out(&text, buf, cap, needed)
        })
    }
}
