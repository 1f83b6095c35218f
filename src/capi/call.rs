//! How functions report that return a status and may give an error.

use std::panic::{catch_unwind, AssertUnwindSafe};

use super::boundary::write;
use super::error::cometd_error;
use super::status::{self, cometd_status};
use crate::error::{Error, ErrorKind};
use crate::platform::Uncancelled;
use crate::speaker::speak;

/// Runs the body of a function that reports by a status and an error.
pub fn call(
    err: *mut *mut cometd_error,
    body: impl FnOnce() -> Result<cometd_status, Error>,
) -> cometd_status {
    write(err, std::ptr::null_mut());
    let _uncancelled = Uncancelled::from_here();
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err(Error::call(
            ErrorKind::Panic,
            "the library panicked: this is a bug in it",
        ))
    });
    match result {
        Ok(status) => status,
        Err(error) => {
            let status = status::of(error.kind);
            if err.is_null() && !error.repeated {
                // It would be lost otherwise. It names the argument, never its
                // value.
                let _ = catch_unwind(|| {
                    let _speaking = error.client.as_ref().map(speak);
                    tracing::warn!(target: "cometd::capi", "{}", error.message);
                });
            } else if !err.is_null() {
                write(err, Box::into_raw(Box::new(cometd_error::owned(error))));
            }
            status
        }
    }
}

/// Like [`call`], for functions without an error output.
pub fn call_plain(body: impl FnOnce() -> Result<cometd_status, Error>) -> cometd_status {
    call(std::ptr::null_mut(), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::boundary::access;
    use crate::capi::status::{COMETD_E_PANIC, COMETD_NONE};

    #[test]
    fn design_2_a_panic_becomes_a_status_210() {
        let mut error = std::ptr::null_mut();
        let status = call(&mut error, || panic!("a test asked for it"));
        assert_eq!(status, COMETD_E_PANIC);
        assert!(!error.is_null());
        unsafe { crate::capi::error::cometd_error_free(error) };
        assert_eq!(access(7, || panic!("a test asked for it")), 7);
    }

    #[test]
    fn the_error_is_written_first() {
        let mut error = std::ptr::dangling_mut::<cometd_error>();
        assert_eq!(call(&mut error, || Ok(COMETD_NONE)), COMETD_NONE);
        assert!(error.is_null());
    }
}
