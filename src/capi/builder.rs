//! The builder of clients, and what its setters share. The setters stand by
//! what they are about.

use std::ffi::c_char;
use std::fmt::Display;
use std::time::Duration;

use super::boundary::{act, object_mut, required, text, write};
use super::call::{call, call_plain};
use super::error::cometd_error;
use super::status::{cometd_status, COMETD_OK};
use crate::client::Builder;
use crate::error::{Error, ErrorKind};

/// What a client will be. It is used by one thread at a time, and can build any
/// number of clients.
pub struct cometd_client_builder {
    builder: Builder,
}

impl cometd_client_builder {
    pub(super) fn builder(&self) -> &Builder {
        &self.builder
    }
}

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
    unsafe { set_text(builder, "name", name, Builder::set_name) }
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

/// For a setter of one text.
///
/// # Safety
/// As of [`set`]; `value` is NULL or ends in NUL.
pub(super) unsafe fn set_text(
    builder: *mut cometd_client_builder,
    what: &str,
    value: *const c_char,
    setter: fn(&mut Builder, &str) -> Result<(), Error>,
) -> cometd_status {
    unsafe { set(builder, |it| setter(it, text(what, value)?)) }
}

/// For a setter of what is on or off.
///
/// # Safety
/// As of [`set`].
pub(super) unsafe fn set_switch(
    builder: *mut cometd_client_builder,
    setter: fn(&mut Builder, bool),
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            setter(it, enabled);
            Ok(())
        })
    }
}

/// For a setter of a time.
///
/// # Safety
/// As of [`set`].
pub(super) unsafe fn set_time(
    builder: *mut cometd_client_builder,
    time: impl FnOnce() -> Result<Duration, Error>,
    setter: fn(&mut Builder, Duration),
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            setter(it, time()?);
            Ok(())
        })
    }
}

/// For a setter of one of some constants.
///
/// # Safety
/// As of [`set`].
pub(super) unsafe fn set_choice<N: PartialEq + Display, T>(
    builder: *mut cometd_client_builder,
    what: &str,
    number: N,
    choices: impl IntoIterator<Item = (N, T)>,
    setter: fn(&mut Builder, T),
) -> cometd_status {
    unsafe {
        set(builder, |it| {
            let mut choices = choices.into_iter();
            let Some((_, choice)) = choices.find(|it| it.0 == number) else {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    format!("{what}: {number} is none of the constants"),
                ));
            };
            setter(it, choice);
            Ok(())
        })
    }
}
