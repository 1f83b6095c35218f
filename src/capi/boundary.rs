//! The boundary itself: no panic crosses it, and no argument passes unchecked.

use std::ffi::{c_char, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use super::status::{self, cometd_status, COMETD_OK};
use crate::delivery::in_callback;
use crate::error::{Error, ErrorKind};
use crate::platform::Uncancelled;

/// Runs the body of an accessor; a panic gives the neutral value.
pub fn access<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(neutral)
}

/// Like [`access`], for what may reach a system call or code of the host's.
pub fn act<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    let _uncancelled = Uncancelled::from_here();
    access(neutral, body)
}

/// Writes an output; NULL takes none.
pub fn write<T>(output: *mut T, value: T) {
    if !output.is_null() {
        // SAFETY: not NULL, and the interface asks for a place that can be
        // written; what stood there before is never dropped.
        unsafe { output.write(value) };
    }
}

/// An output that cannot be missing.
pub fn required<T>(what: &str, output: *mut T) -> Result<*mut T, Error> {
    if output.is_null() {
        Err(null(what))
    } else {
        Ok(output)
    }
}

/// An object that cannot be missing.
///
/// # Safety
/// `object` is NULL or points to an object that lives during `'a`.
pub unsafe fn object<'a, T>(what: &str, object: *const T) -> Result<&'a T, Error> {
    // SAFETY: as the caller promises.
    unsafe { object.as_ref() }.ok_or_else(|| null(what))
}

/// # Safety
/// `object` is NULL or points to an object that lives during `'a` and that
/// nobody else uses.
pub unsafe fn object_mut<'a, T>(what: &str, object: *mut T) -> Result<&'a mut T, Error> {
    // SAFETY: as the caller promises.
    unsafe { object.as_mut() }.ok_or_else(|| null(what))
}

/// A text that cannot be missing.
///
/// # Safety
/// `text` is NULL or ends in NUL and lives during `'a`.
pub unsafe fn text<'a>(what: &str, text: *const c_char) -> Result<&'a str, Error> {
    // SAFETY: as the caller promises.
    unsafe { optional_text(what, text) }?.ok_or_else(|| null(what))
}

/// # Safety
/// As of [`text`].
pub unsafe fn optional_text<'a>(what: &str, text: *const c_char) -> Result<Option<&'a str>, Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(text) };
    match text.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(Error::call(
            ErrorKind::NotUtf8,
            format!("{what}: is not UTF-8: {error}"),
        )),
    }
}

/// Bytes with a length.
///
/// # Safety
/// `bytes` is NULL or points to `length` bytes that live during `'a`.
pub unsafe fn bytes<'a>(
    what: &str,
    bytes: *const c_char,
    length: usize,
) -> Result<&'a [u8], Error> {
    if bytes.is_null() {
        return Err(null(what));
    }
    if isize::try_from(length).is_err() {
        return Err(Error::call(
            ErrorKind::OutOfRange,
            "len: is larger than any memory",
        ));
    }
    // SAFETY: not NULL, of a possible length, and the caller promises the rest.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast(), length) })
}

/// Copies a text that changes with time to the host's buffer, with a NUL.
///
/// # Safety
/// `buffer` is NULL or has room for `capacity` bytes.
pub unsafe fn copy_out(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> Result<cometd_status, Error> {
    write(needed, text.len() + 1);
    if capacity == 0 {
        // A question for the size, nothing to complain of.
        return Ok(status::of(ErrorKind::OutOfRange));
    }
    if buffer.is_null() {
        return Err(null("buf"));
    }
    let length = text.len().min(capacity - 1);
    // SAFETY: at most `capacity` bytes are written, and the text is no part of
    // the host's buffer.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, length);
        buffer.add(length).write(0);
    }
    if length < text.len() {
        return Err(Error::call(ErrorKind::OutOfRange, "cap: is too small"));
    }
    Ok(COMETD_OK)
}

/// Milliseconds, not negative.
pub fn milliseconds(what: &str, value: i32) -> Result<Duration, Error> {
    u64::try_from(value)
        .map(Duration::from_millis)
        .map_err(|_| Error::call(ErrorKind::OutOfRange, format!("{what}: is negative")))
}

/// Milliseconds, at least 1.
pub fn positive_milliseconds(what: &str, value: i32) -> Result<Duration, Error> {
    match milliseconds(what, value.max(0))? {
        Duration::ZERO => Err(Error::call(
            ErrorKind::OutOfRange,
            format!("{what}: is at least 1"),
        )),
        duration => Ok(duration),
    }
}

/// A timeout: 0 does not wait, -1 (`None`) waits without limit. Where the
/// host's code runs, only 0 is possible: the wait could be for itself.
pub fn timeout(value: i32) -> Result<Option<Duration>, Error> {
    let timeout = match value {
        -1 => None,
        value => Some(milliseconds("timeout_ms", value)?),
    };
    if timeout != Some(Duration::ZERO) && in_callback() {
        return Err(Error::call(
            ErrorKind::WouldDeadlock,
            "timeout_ms: inside a callback only 0 is possible",
        ));
    }
    Ok(timeout)
}

pub fn null(what: &str) -> Error {
    Error::call(ErrorKind::InvalidArgument, format!("{what}: is NULL"))
}

pub fn forked() -> Error {
    Error::forked()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_copied_as_far_as_they_fit() {
        let mut buffer = [b'x' as c_char; 6];
        let mut copy = |capacity| {
            let mut needed = 0;
            let whole = unsafe { copy_out("abcd", buffer.as_mut_ptr(), capacity, &mut needed) };
            assert_eq!(needed, 5);
            (
                whole.is_ok_and(|it| it == COMETD_OK),
                buffer.map(|byte| byte as u8),
            )
        };
        assert_eq!(copy(0), (false, *b"xxxxxx"));
        assert_eq!(copy(3), (false, *b"ab\0xxx"));
        assert_eq!(copy(5), (true, *b"abcd\0x"));
        let null = unsafe { copy_out("abcd", std::ptr::null_mut(), 5, std::ptr::null_mut()) };
        assert_eq!(null.unwrap_err().kind, ErrorKind::InvalidArgument);
    }

    #[test]
    fn timeouts() {
        assert_eq!(timeout(-1).unwrap(), None);
        assert_eq!(timeout(0).unwrap(), Some(Duration::ZERO));
        assert_eq!(timeout(5).unwrap(), Some(Duration::from_millis(5)));
        assert_eq!(timeout(-2).unwrap_err().kind, ErrorKind::OutOfRange);
        let _in_callback = crate::delivery::HostCode::enter();
        assert!(timeout(0).is_ok());
        assert_eq!(timeout(1).unwrap_err().kind, ErrorKind::WouldDeadlock);
    }
}
