//! The log sink.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::Level;

use super::call::call_plain;
use super::error::c_text;
use super::host::cometd_free_fn;
use super::status::{cometd_status, COMETD_OK};
use crate::delivery::HostData;
use crate::error::{Error, ErrorKind};
use crate::log;

/// No log lines. The default.
pub const COMETD_LOG_OFF: i32 = 0;
/// What went wrong inside the library.
pub const COMETD_LOG_ERROR: i32 = 1;
/// What failed between client and server.
pub const COMETD_LOG_WARN: i32 = 2;
/// The changes of clients' states.
pub const COMETD_LOG_INFO: i32 = 3;
/// Each request and each response.
pub const COMETD_LOG_DEBUG: i32 = 4;
/// Everything but what travels.
pub const COMETD_LOG_TRACE: i32 = 5;
/// The bodies of requests and responses as well, the data of messages among them: up to 4096 bytes of each, of those up
/// to 65536 bytes, without the session's id. Their lines have the level COMETD_LOG_TRACE.
pub const COMETD_LOG_BODIES: i32 = 16;

/// Gets each log line: its level, one of COMETD_LOG_…; the part of the library that it comes from,
/// "cometd::session"; and its text, one line without a newline. Both texts end with the call.
///
/// It runs on whichever thread has something to say, several at once, most often the I/O thread of all
/// clients: it should return soon, for while it blocks they do nothing. Inside it, what holds inside a
/// callback holds, and the library logs nothing about what it calls.
pub type cometd_log_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        level: i32,
        target: *const c_char,
        text: *const c_char,
    ),
>;

/// Installs the log sink of the process, in place of the one before; NULL as `fn` removes it. Log lines
/// never hold tokens, cookies or handshake extensions; the data of messages only with COMETD_LOG_BODIES.
///
/// `max_level` is COMETD_LOG_OFF to COMETD_LOG_TRACE, or COMETD_LOG_BODIES: what is less important is left out.
///
/// **Returns** COMETD_OK; COMETD_E_OUT_OF_RANGE: `max_level` is none of these;
/// COMETD_E_INVALID_STATE: the library is linked into a Rust program that has a tracing subscriber of its
/// own, or the process was forked while its first sink was being installed. When it fails, `free_user` is not called.
/// **Threads** any. **Blocks** never. **Ownership** `user` is the library's until it calls `free_user`
/// (may be NULL), once: after the sink was replaced or removed, and its last call has returned.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_log_set(
    max_level: i32,
    r#fn: cometd_log_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    call_plain(|| {
        let maximum = match max_level {
            COMETD_LOG_OFF => LevelFilter::OFF,
            COMETD_LOG_ERROR => LevelFilter::ERROR,
            COMETD_LOG_WARN => LevelFilter::WARN,
            COMETD_LOG_INFO => LevelFilter::INFO,
            COMETD_LOG_DEBUG => LevelFilter::DEBUG,
            COMETD_LOG_TRACE | COMETD_LOG_BODIES => LevelFilter::TRACE,
            other => {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    format!("max_level: {other} is none of the constants"),
                ))
            }
        };
        let bodies = max_level == COMETD_LOG_BODIES && r#fn.is_some();
        // Armed only when the sink is in place: a refused one is not freed.
        let data = Arc::new(HostData::unarmed(user));
        let sink: Option<Arc<log::Sink>> = r#fn.map(|function| -> Arc<log::Sink> {
            let data = data.clone();
            Arc::new(move |level, target, text| {
                let (target, text) = (c_text(target), c_text(text));
                // SAFETY: the host gave the function for this, and keeps `user`
                // alive until it is freed by `data`, which this closure owns.
                data.call(|user| unsafe {
                    function(user, number(level), target.as_ptr(), text.as_ptr());
                });
            })
        });
        log::set(sink, maximum)
            .map_err(|error| Error::call(ErrorKind::InvalidState, error.to_string()))?;
        log::want_bodies(bodies);
        data.arm(free_user);
        Ok(COMETD_OK)
    })
}

fn number(level: Level) -> i32 {
    match level {
        Level::ERROR => COMETD_LOG_ERROR,
        Level::WARN => COMETD_LOG_WARN,
        Level::INFO => COMETD_LOG_INFO,
        Level::DEBUG => COMETD_LOG_DEBUG,
        _ => COMETD_LOG_TRACE,
    }
}
