//! The builder of clients, and what its setters share. The setters stand by
//! what they are about.

use std::ffi::c_char;
use std::fmt::Display;
use std::time::Duration;

use super::boundary::{access, act, object_mut, required, text, write};
use super::call::{call, call_plain};
use super::error::cometd_error;
use super::status::{cometd_status, COMETD_OK};
use crate::client::Builder;
use crate::error::{Error, ErrorKind};

/// What a client will be. It is used by one thread at a time, and can build any
/// number of clients.
pub struct cometd_client_builder {
    builder: Builder,
    /// As C reads it.
    error: Option<Box<cometd_error>>,
}

impl cometd_client_builder {
    pub(super) fn builder(&self) -> &Builder {
        &self.builder
    }

    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Builder) -> T) -> T {
        let result = change(&mut self.builder);
        let error = self.builder.error();
        self.error = error.map(|it| Box::new(cometd_error::borrowed(it.clone())));
        result
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
        let error = None;
        let builder = Box::new(cometd_client_builder { builder, error });
        write(out, Box::into_raw(builder));
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
    unsafe { set_text("set_name", builder, "name", name, Builder::set_name) }
}

/// The first error of those that setters have returned, so that a program can call them all and look once. A client is not
/// built as long as there is one: cometd_client_builder_build returns it. It names the setter.
///
/// An error of a _set_ function is forgotten when the same function succeeds later, one of an _add_ function is not;
/// cometd_client_builder_clear_error forgets them all.
///
/// **Returns** the error; NULL when there is none, and for NULL.
/// **Threads** one at a time. **Blocks** never. **Ownership** the builder's, until a setter is called or it is freed.
/// **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_error(
    builder: *const cometd_client_builder,
) -> *const cometd_error {
    access(std::ptr::null(), || {
        unsafe { builder.as_ref() }
            .and_then(|it| it.error.as_deref())
            .map_or(std::ptr::null(), std::ptr::from_ref)
    })
}

/// Forgets the errors that setters have returned: clients are built without what was refused.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: `builder` is NULL.
/// **Threads** one at a time. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_clear_error(
    builder: *mut cometd_client_builder,
) -> cometd_status {
    call_plain(|| {
        unsafe { object_mut("builder", builder) }?.change(Builder::clear_error);
        Ok(COMETD_OK)
    })
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

/// What all setters do: nothing is changed when the argument is refused. `setter` is what
/// the function is called, without what all of them begin with.
///
/// # Safety
/// `builder` is NULL or a builder that nobody else uses.
pub(super) unsafe fn set(
    setter: &'static str,
    builder: *mut cometd_client_builder,
    set: impl FnOnce(&mut Builder) -> Result<(), Error>,
) -> cometd_status {
    call_plain(|| {
        unsafe { object_mut("builder", builder) }?.change(|it| it.call(setter, set))?;
        Ok(COMETD_OK)
    })
}

/// For a setter of one text.
///
/// # Safety
/// As of [`set`]; `value` is NULL or ends in NUL.
pub(super) unsafe fn set_text(
    setter: &'static str,
    builder: *mut cometd_client_builder,
    what: &str,
    value: *const c_char,
    apply: fn(&mut Builder, &str) -> Result<(), Error>,
) -> cometd_status {
    unsafe { set(setter, builder, |it| apply(it, text(what, value)?)) }
}

/// For a setter of what is on or off.
///
/// # Safety
/// As of [`set`].
pub(super) unsafe fn set_switch(
    setter: &'static str,
    builder: *mut cometd_client_builder,
    apply: fn(&mut Builder, bool),
    enabled: bool,
) -> cometd_status {
    unsafe {
        set(setter, builder, |it| {
            apply(it, enabled);
            Ok(())
        })
    }
}

/// For a setter of a time.
///
/// # Safety
/// As of [`set`].
pub(super) unsafe fn set_time(
    setter: &'static str,
    builder: *mut cometd_client_builder,
    time: impl FnOnce() -> Result<Duration, Error>,
    apply: fn(&mut Builder, Duration),
) -> cometd_status {
    unsafe {
        set(setter, builder, |it| {
            apply(it, time()?);
            Ok(())
        })
    }
}

/// For a setter of one of some constants.
///
/// # Safety
/// As of [`set`].
pub(super) unsafe fn set_choice<N: PartialEq + Display, T>(
    setter: &'static str,
    builder: *mut cometd_client_builder,
    what: &str,
    number: N,
    choices: impl IntoIterator<Item = (N, T)>,
    apply: fn(&mut Builder, T),
) -> cometd_status {
    unsafe {
        set(setter, builder, |it| {
            let mut choices = choices.into_iter();
            let Some((_, choice)) = choices.find(|it| it.0 == number) else {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    format!("{what}: {number} is none of the constants"),
                ));
            };
            apply(it, choice);
            Ok(())
        })
    }
}
