//! The handshake provider of the program's.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{access, bytes, object, optional_text, write};
use super::builder::{cometd_client_builder, set};
use super::call::call_plain;
use super::host::{self, cometd_free_fn, outcome};
use super::status::{cometd_status, COMETD_OK};
use crate::client::Handshake;
use crate::delivery::HostData;

/// A handshake that is about to be made; see
/// cometd_client_builder_set_handshake_provider. It ends with the call, unless it is
/// retained: cometd_handshake_retain.
pub struct cometd_handshake {
    handshake: Arc<Handshake>,
}

/// Sets the fields of a handshake; see cometd_client_builder_set_handshake_provider.
///
/// It calls cometd_handshake_set_fields on `handshake`, or does not, and returns
/// COMETD_OK. Any other status means that the attempt has failed: nothing is sent, a
/// COMETD_EVENT_ERROR with COMETD_E_CREDENTIALS names the status, and the function is
/// asked again after a while, as after any handshake that failed. To answer later, it calls
/// cometd_handshake_retain and returns COMETD_OK.
pub type cometd_handshake_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        handshake: *mut cometd_handshake,
    ) -> cometd_status,
>;

/// Installs a function that is asked before each attempt of a handshake for what this one is
/// to say: an answer to the server's challenge, a fresh token, whatever changes between two
/// attempts. What stays the same is for cometd_client_builder_set_handshake_ext.
///
/// A server that wants an answer refuses the first handshake with the advice to try again
/// ("reconnect":"handshake"), and has its challenge in the reply, which
/// cometd_handshake_refusal gives to the next call. A refusal with the advice "none" ends
/// the client, as it does without a provider. Each refusal is told by a COMETD_EVENT_ERROR.
///
/// The function runs before the extensions, on a thread of the client's own where it may
/// block, and never twice at a time for one client. Other clients do not wait for it, and what
/// it takes is not part of the handshake's time limit; but after 60 seconds the attempt has
/// failed, with COMETD_E_TIMEOUT, and what it then still says is for no other one. Inside
/// it, what holds inside a callback holds. It also serves the builder's further clients,
/// several of which may call it at the same time. NULL removes it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL; then `free_user` is
/// not called.
/// **Threads** one at a time. **Blocks** never. **Ownership** `user` is the library's
/// until it calls `free_user` (may be NULL), once: when the builder and all clients
/// that it built are gone, or have another provider, and no call is running.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set_handshake_provider(
    builder: *mut cometd_client_builder,
    r#fn: cometd_handshake_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    unsafe {
        set("set_handshake_provider", builder, |it| {
            let data = HostData::new(user, free_user);
            it.set_handshake_provider(match r#fn {
                None => None,
                Some(provide) => Some(Arc::new(move |handshake| {
                    let handshake = handshake.clone();
                    let handshake = Arc::new(cometd_handshake { handshake });
                    let given = Arc::as_ptr(&handshake).cast_mut();
                    outcome(data.call(|user| provide(user, given)))
                })),
            });
            Ok(())
        })
    }
}

unsafe fn looked_at<'a>(handshake: *const cometd_handshake) -> Option<&'a Handshake> {
    // SAFETY: as long as the call lasts, or it is retained, the handshake is there.
    unsafe { handshake.as_ref() }.map(|it| &*it.handshake)
}

/// Which attempt this is: 1 for the first one since the last session that worked, which is
/// one with a successful connect.
///
/// **Returns** the number; 0 for NULL.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_handshake_attempt(handshake: *const cometd_handshake) -> u32 {
    access(0, || {
        unsafe { looked_at(handshake) }.map_or(0, Handshake::attempt)
    })
}

/// The reply by which the server refused the last handshake that was sent: the whole message, a
/// JSON object. It may hold a challenge.
///
/// `len` (may be NULL) receives its length in bytes. The text may be nested as
/// deep as the server likes; a parser that recurses should have a limit.
///
/// **Returns** the JSON text; NULL when no handshake was sent yet, or the last one was
/// accepted, or failed without a reply; and for NULL.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Ownership** the
/// handshake's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_handshake_refusal(
    handshake: *const cometd_handshake,
    len: *mut usize,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        match unsafe { looked_at(handshake) }.and_then(Handshake::refusal) {
            Some(text) => {
                write(len, text.len());
                text.as_ptr().cast()
            }
            None => std::ptr::null(),
        }
    })
}

/// Gives the message of this attempt, and of no other, these fields. Inside the provider the
/// last call counts; of a handshake that was retained the first one, and "{}" is an answer too.
///
/// `json` is a JSON object of `len` bytes, and is copied. Its fields become fields of the
/// message, but for those that are the protocol's own: channel, id, version, minimumVersion,
/// supportedConnectionTypes, clientId and advice. The fields of its ext, an object, join those of
/// cometd_client_builder_set_handshake_ext and take the place of those of the same name; but not
/// of what the library puts there itself. All strings in it are secrets: they are kept out of
/// errors and log lines, even when the server sends them back.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `handshake` or `json` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_JSON: it is not JSON, no object, nested more
/// than 128 levels deep, or its ext is no object. Then all stays as it was. When it was retained:
/// COMETD_E_INVALID_STATE: it has been answered, or the provider has failed; COMETD_E_TIMEOUT: the
/// time limit is over; COMETD_E_CLOSED: the client has ended or was freed. COMETD_E_FORKED.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_handshake_set_fields(
    handshake: *mut cometd_handshake,
    json: *const c_char,
    len: usize,
) -> cometd_status {
    call_plain(|| {
        let handshake = &unsafe { object("handshake", handshake) }?.handshake;
        handshake.set_fields(unsafe { bytes("json", json, len) }?)?;
        Ok(COMETD_OK)
    })
}

/// Keeps a handshake beyond the call of its provider, to be answered later from any thread.
/// No thread waits meanwhile; the attempt does.
///
/// What ends the waiting: cometd_handshake_set_fields, cometd_handshake_fail, the last
/// cometd_handshake_free without either (then the provider has failed), the time limit of the
/// provider, and the client's end. It begins when the provider has returned COMETD_OK.
///
/// **Returns** `handshake`; NULL for NULL, and in a forked child.
/// **Threads** any, as long as the handshake is the caller's: in the call, or retained.
/// **Blocks** never. **Ownership** each one is paired with one cometd_handshake_free, before or
/// after the client's end. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_handshake_retain(
    handshake: *mut cometd_handshake,
) -> *mut cometd_handshake {
    unsafe { host::retain(handshake, |it| it.handshake.retain()) }
}

/// Gives back what cometd_handshake_retain has kept.
///
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_handshake_free(handshake: *mut cometd_handshake) {
    unsafe { host::free(handshake, |it| it.handshake.release()) };
}

/// Says that the attempt has failed, and why: that stands in the error.
///
/// `why` is one line, and may be NULL. At most 1024 bytes of it are kept.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `handshake` is NULL; COMETD_E_INVALID_UTF8;
/// COMETD_E_INVALID_STATE, COMETD_E_TIMEOUT, COMETD_E_CLOSED and COMETD_E_FORKED as of
/// cometd_handshake_set_fields.
/// **Threads** the one that the provider was called on; any, when it was retained. **Blocks** never.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_handshake_fail(
    handshake: *mut cometd_handshake,
    why: *const c_char,
) -> cometd_status {
    call_plain(|| {
        let handshake = &unsafe { object("handshake", handshake) }?.handshake;
        handshake.fail(unsafe { optional_text("why", why) }?)?;
        Ok(COMETD_OK)
    })
}
