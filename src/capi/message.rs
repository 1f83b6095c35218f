//! Messages, as C reads them.

use std::ffi::c_char;

use super::boundary::{access, act, text, write};
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::{channel, Message};
use crate::delivery::Ticket;

/// A message that came on a channel.
///
/// It belongs to the event that it came with; cometd_message_retain keeps it
/// longer. All messages of one response share that response's memory, which is
/// freed with the last of them.
pub struct cometd_message {
    message: OwnedMessage,
    owned: bool,
}

impl cometd_message {
    pub(super) fn borrowed(message: OwnedMessage) -> Self {
        Self {
            message,
            owned: false,
        }
    }

    pub(super) fn finish(&self, ticket: Box<Ticket>) {
        if let Some(message) = self.message.get() {
            ticket.finish(&message);
        }
    }

    pub(super) fn channel(&self) -> Option<&str> {
        self.message.get()?.channel()
    }
}

/// A text of the message, which ends in NUL as the body was prepared so.
unsafe fn field(
    message: *const cometd_message,
    length: *mut usize,
    get: impl for<'a> FnOnce(Message<'a>) -> Option<&'a str>,
) -> *const c_char {
    write(length, 0);
    access(std::ptr::null(), || {
        let found = unsafe { message.as_ref() }
            .and_then(|it| it.message.get())
            .and_then(get);
        match found {
            Some(text) => {
                write(length, text.len());
                text.as_ptr().cast()
            }
            None => std::ptr::null(),
        }
    })
}

/// The channel that the message came on. It may be another than was subscribed
/// to, when that had a wildcard or a filter.
///
/// `len` (may be NULL) receives its length in bytes.
///
/// **Returns** the channel; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the message's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_channel(
    message: *const cometd_message,
    len: *mut usize,
) -> *const c_char {
    unsafe { field(message, len, |it| it.channel()) }
}

/// The data of the message: the JSON text as the server sent it, byte for byte.
///
/// `len` (may be NULL) receives its length in bytes. The text may be nested as
/// deep as the server likes; a parser that recurses should have a limit.
///
/// **Returns** the JSON text; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the message's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_data(
    message: *const cometd_message,
    len: *mut usize,
) -> *const c_char {
    unsafe { field(message, len, |it| it.data()) }
}

/// The ext of the message: the JSON text as the server sent it, byte for byte.
///
/// `len` (may be NULL) receives its length in bytes.
///
/// **Returns** the JSON text; NULL when the message has none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the message's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_ext(
    message: *const cometd_message,
    len: *mut usize,
) -> *const c_char {
    unsafe { field(message, len, |it| it.ext()) }
}

/// The id of the message: the JSON text as the server sent it, which is a string
/// with its quotes or a number (Bayeux 1.0, section 3.3).
///
/// `len` (may be NULL) receives its length in bytes.
///
/// **Returns** the JSON text; NULL when the message has none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the message's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_id(
    message: *const cometd_message,
    len: *mut usize,
) -> *const c_char {
    unsafe { field(message, len, |it| it.id_json()) }
}

/// The id by which Salesforce's replay extension names the event: the field
/// "replayId" in the "event" of its data, a number or a string of digits. It is a
/// position to start after; see cometd_client_builder_set_replay.
///
/// The data is parsed with each call. `*id` (may be NULL) receives the id, 0 or more.
///
/// **Returns** whether the message has one; false for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_replay_id(
    message: *const cometd_message,
    id: *mut i64,
) -> bool {
    write(id, 0);
    access(false, || {
        let message = unsafe { message.as_ref() }.and_then(|it| it.message.get());
        match message.and_then(|it| it.replay_id()) {
            Some(found) => {
                write(id, found);
                true
            }
            None => false,
        }
    })
}

/// Keeps a message longer than its event.
///
/// What is kept shares the memory of the whole response that it came with; who
/// keeps few messages of large responses for long copies them instead.
///
/// **Returns** a message to free with cometd_message_free; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the caller's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_retain(
    message: *const cometd_message,
) -> *mut cometd_message {
    access(std::ptr::null_mut(), || match unsafe { message.as_ref() } {
        Some(message) => Box::into_raw(Box::new(cometd_message {
            message: message.message.clone(),
            owned: true,
        })),
        None => std::ptr::null_mut(),
    })
}

/// Frees a message that cometd_message_retain gave. For NULL, and for the
/// message of an event, it does nothing.
///
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_free(message: *mut cometd_message) {
    act((), || {
        if unsafe { message.as_ref() }.is_some_and(|it| it.owned) {
            drop(unsafe { Box::from_raw(message) });
        }
    });
}

/// Whether a subscription to `pattern` gets the messages of `channel`.
///
/// A pattern is a channel, or ends in "/*", which stands for one segment, or in
/// "/**", which stands for one or more (Bayeux 1.0, section 2.2.1). A wildcard
/// never covers a meta channel. What stands behind a '?' in either, a filter,
/// does not count.
///
/// **Returns** whether it does; false when either is NULL, not UTF-8, or not a
/// valid channel.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_channel_matches(
    pattern: *const c_char,
    channel: *const c_char,
) -> bool {
    access(false, || {
        match unsafe { (text("pattern", pattern), text("channel", channel)) } {
            (Ok(pattern), Ok(name)) => channel::matches(pattern, name),
            _ => false,
        }
    })
}
