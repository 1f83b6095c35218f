//! Extensions of the program's, and the message that one has.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{access, bytes, object_mut, write};
use super::builder::{cometd_client_builder, set};
use super::call::call_plain;
use super::host::{cometd_free_fn, outcome};
use super::status::{cometd_status, COMETD_OK};
use crate::client::{Extend, Extension, ExtensionMessage};
use crate::delivery::HostData;

/// A message while an extension has it; see cometd_client_builder_add_extension.
/// It ends with the call.
pub struct cometd_extension_message {
    message: *mut ExtensionMessage,
}

/// One direction of an extension; see cometd_client_builder_add_extension.
///
/// It looks at `message`, replaces it, drops it, or leaves it as it is, and returns
/// COMETD_OK. Any other status means that it failed: then the message goes on as it was
/// before, also when it was replaced or dropped, with a line in the log
/// (COMETD_LOG_WARN) and a count in the statistics ("failures", "extension").
pub type cometd_extension_fn = Option<
    unsafe extern "C-unwind" fn(
        user: *mut c_void,
        message: *mut cometd_extension_message,
    ) -> cometd_status,
>;

fn extend(function: cometd_extension_fn, data: &Arc<HostData>) -> Option<Arc<Extend>> {
    let function = function?;
    let data = data.clone();
    Some(Arc::new(move |message| {
        let mut message = cometd_extension_message { message };
        // SAFETY: the host promises to be called so with what it gave.
        outcome(data.call(|user| unsafe { function(user, &mut message) }))
    }))
}

/// Adds an extension: functions that see each message which the client sends, with
/// `outgoing`, and each one that the server sends, with `incoming`, and can change or drop
/// it. Either may be NULL. Any number can be added: incoming messages meet them in the order
/// in which they were added, outgoing ones in the reverse order.
///
/// A message is the whole JSON object, of every kind: handshakes, connects and their replies
/// too. An outgoing one is seen just before it is sent, with all that the library puts into it;
/// its channel, id and clientId stay as they are, whatever an extension makes of them. What an
/// extension puts into the ext of a handshake is kept out of errors and log lines as the rest
/// of that is; what it puts elsewhere is not known to be a secret.
///
/// An outgoing message that is dropped has failed at once, with COMETD_E_MESSAGE_DELETED and
/// the Bayeux error "404::message_deleted"; the others of its request are sent. A dropped
/// handshake or connect is tried again as any that failed, and a dropped disconnect counts as
/// answered. An incoming message that is dropped counts as never sent by the server. What
/// never came from the server, such as an error page, is not seen.
///
/// The functions run on a thread of the client's own where they may block, one at a time and in
/// the order of the messages; other clients do not wait for them. What they take is not part of a
/// request's time limit; but a request or a response for which they take more than 60 seconds
/// has failed, with COMETD_E_TIMEOUT. Inside them, what holds inside a callback holds. They also
/// serve the builder's further clients, several of which may call them at the same time.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL; then `free_user` is
/// not called.
/// **Threads** one at a time. **Blocks** never. **Ownership** `user` is the library's
/// until it calls `free_user` (may be NULL), once: when the builder and all clients
/// that it built are gone, and no call is running. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_add_extension(
    builder: *mut cometd_client_builder,
    outgoing: cometd_extension_fn,
    incoming: cometd_extension_fn,
    user: *mut c_void,
    free_user: cometd_free_fn,
) -> cometd_status {
    unsafe {
        set("add_extension", builder, |it| {
            let data = Arc::new(HostData::new(user, free_user));
            it.add_extension(Extension {
                outgoing: extend(outgoing, &data),
                incoming: extend(incoming, &data),
            });
            Ok(())
        })
    }
}

/// The message: a JSON object.
///
/// `len` (may be NULL) receives its length in bytes. The text may be nested as
/// deep as the server likes; a parser that recurses should have a limit.
///
/// **Returns** the JSON text, as the last extension left it; NULL for NULL.
/// **Threads** the one that the extension was called on. **Blocks** never.
/// **Ownership** the message's, also after it was replaced. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_extension_message_json(
    message: *const cometd_extension_message,
    len: *mut usize,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        // SAFETY: as long as the call lasts, the message is there.
        let Some(message) = (unsafe { message.as_ref().and_then(|it| it.message.as_ref()) }) else {
            return std::ptr::null();
        };
        write(len, message.json().len());
        message.json().as_ptr().cast()
    })
}

/// Replaces the message. What is no part of the new one is gone from it.
///
/// `json` is a JSON object of `len` bytes, and is copied.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `message` or `json` is NULL;
/// COMETD_E_INVALID_UTF8; COMETD_E_INVALID_JSON: it is not JSON, no object, or nested more
/// than 128 levels deep. Then the message stays as it was.
/// **Threads** the one that the extension was called on. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_extension_message_replace(
    message: *mut cometd_extension_message,
    json: *const c_char,
    len: usize,
) -> cometd_status {
    call_plain(|| {
        let message = unsafe { object_mut("message", message) }?;
        let message = unsafe { object_mut("message", message.message) }?;
        message.replace(unsafe { bytes("json", json, len) }?)?;
        Ok(COMETD_OK)
    })
}

/// Drops the message: it goes no further, whatever else is done with it. The extensions
/// after this one do not see it.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `message` is NULL.
/// **Threads** the one that the extension was called on. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_extension_message_drop(
    message: *mut cometd_extension_message,
) -> cometd_status {
    call_plain(|| {
        let message = unsafe { object_mut("message", message) }?;
        unsafe { object_mut("message", message.message) }?.delete();
        Ok(COMETD_OK)
    })
}
