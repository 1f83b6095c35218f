//! Messages, as C reads them.

use std::ffi::{c_char, CString};
use std::sync::OnceLock;

use super::boundary::{access, act, text, write};
use super::error::c_text;
use crate::bayeux::body::OwnedMessage;
use crate::bayeux::{channel, Binary, Message};
use crate::delivery::Ticket;

/// A message that came on a channel.
///
/// It belongs to the event that it came with; cometd_message_retain keeps it
/// longer. All messages of one response share that response's memory, which is
/// freed with the last of them.
pub struct cometd_message {
    message: OwnedMessage,
    owned: bool,
    /// Read when it is asked for.
    binary: OnceLock<Option<Box<Bytes>>>,
}

/// What a binary message holds, for C.
struct Bytes {
    bytes: Option<Vec<u8>>,
    last: bool,
    meta: Option<CString>,
}

impl cometd_message {
    pub(super) fn borrowed(message: OwnedMessage) -> Self {
        Self {
            message,
            owned: false,
            binary: OnceLock::new(),
        }
    }

    fn binary(&self) -> Option<&Bytes> {
        let read = || {
            let binary = Binary::of(&self.message.get()?)?;
            Some(Box::new(Bytes {
                bytes: binary.bytes,
                last: binary.last,
                meta: binary.meta.as_deref().map(c_text),
            }))
        };
        self.binary.get_or_init(read).as_deref()
    }

    pub(super) fn finish(&self, ticket: Box<Ticket>) {
        if let Some(message) = self.message.get() {
            ticket.finish(&message);
        }
    }

    pub(super) fn get(&self) -> Option<Message<'_>> {
        self.message.get()
    }

    pub(super) fn channel(&self) -> Option<&str> {
        self.message.get()?.channel()
    }
}

/// For C; texts of a message end in NUL as the body was prepared so.
pub(super) fn parts(text: Option<&str>) -> (*const c_char, usize) {
    text.map_or((std::ptr::null(), 0), |it| (it.as_ptr().cast(), it.len()))
}

/// A text of the message.
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
        let (text, bytes) = parts(found);
        write(length, bytes);
        text
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

/// Whether the message is one of CometD's binary extension: its ext says that its data is bytes, as text (Z85). The data
/// is there as it came, too.
///
/// **Returns** whether it is; false for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_is_binary(message: *const cometd_message) -> bool {
    access(false, || {
        let message = unsafe { message.as_ref() }.and_then(|it| it.message.get());
        message.is_some_and(|it| Binary::is(&it))
    })
}

/// The bytes of a binary message. The first call of this function or of one of the next two reads them.
///
/// `len` (may be NULL) receives how many there are; it may be 0.
///
/// **Returns** the bytes; NULL when the message is not binary (cometd_message_is_binary), or when what should be Z85 is
/// none (a character that it does not have, a length or a group that cannot be), and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the message's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_binary(
    message: *const cometd_message,
    len: *mut usize,
) -> *const u8 {
    write(len, 0);
    access(std::ptr::null(), || {
        let binary = unsafe { message.as_ref() }.and_then(|it| it.binary());
        match binary.and_then(|it| it.bytes.as_deref()) {
            None => std::ptr::null(),
            // There is a byte behind the pointer in any case.
            Some([]) => c"".as_ptr().cast(),
            Some(bytes) => {
                write(len, bytes.len());
                bytes.as_ptr()
            }
        }
    })
}

/// Whether no other part belongs behind the bytes of a binary message. Parts may come on a channel from several
/// publishers; to put them together is the program's.
///
/// **Returns** false when the message says so; true in all other cases, and for messages that are not binary; false for
/// NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_binary_is_last(message: *const cometd_message) -> bool {
    access(false, || {
        let message = unsafe { message.as_ref() };
        message.is_some_and(|it| it.binary().is_none_or(|it| it.last))
    })
}

/// What a binary message says of its bytes: the JSON text as the server sent it, by CometD's clients an object.
///
/// `len` (may be NULL) receives its length in bytes. The text may be nested as
/// deep as the server likes; a parser that recurses should have a limit.
///
/// **Returns** the JSON text, ended by NUL; NULL when there is none, when the message is not binary, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the message's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_message_binary_meta(
    message: *const cometd_message,
    len: *mut usize,
) -> *const c_char {
    write(len, 0);
    access(std::ptr::null(), || {
        let binary = unsafe { message.as_ref() }.and_then(|it| it.binary());
        binary
            .and_then(|it| it.meta.as_ref())
            .map_or(std::ptr::null(), |it| {
                write(len, it.as_bytes().len());
                it.as_ptr()
            })
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
            owned: true,
            ..cometd_message::borrowed(message.message.clone())
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
