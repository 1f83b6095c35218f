//! What all functions of the host's share: how what they work on is freed, and
//! what is made of what they return.

use std::ffi::{c_void, CStr};
use std::ptr::null_mut;
use std::sync::Arc;

use super::boundary::act;
use super::status::{cometd_status, cometd_status_name, COMETD_OK};

/// Frees a `user`. It runs exactly once, on any thread, when no call that uses
/// `user` is running or can start. Inside it, what holds inside a callback holds.
pub type cometd_free_fn = Option<unsafe extern "C-unwind" fn(user: *mut c_void)>;

/// How a function is told that has called pthread_exit.
pub(super) const ENDED: &str = "it ended its thread";

/// What a function of the host's has returned: any status but COMETD_OK is a failure.
/// `None`: it has ended its thread.
pub(super) fn outcome(status: Option<cometd_status>) -> Result<(), String> {
    match status {
        Some(COMETD_OK) => Ok(()),
        Some(status) => Err(returned(status)),
        None => Err(ENDED.to_owned()),
    }
}

pub(super) fn returned(status: cometd_status) -> String {
    // SAFETY: the name of a status is a constant.
    let name = unsafe { CStr::from_ptr(cometd_status_name(status)) };
    format!("it returned {status} ({})", name.to_string_lossy())
}

/// Keeps the object of an `Arc` beyond the call that gave it, where that is counted.
///
/// # Safety
/// `object` is NULL, or came from `Arc::as_ptr` of one that lives.
pub(super) unsafe fn retain<T>(object: *mut T, counted: impl FnOnce(&T) -> bool) -> *mut T {
    act(null_mut(), || {
        // SAFETY: as the caller promises.
        if !unsafe { object.as_ref() }.is_some_and(counted) {
            return null_mut();
        }
        // SAFETY: not NULL, and as the caller promises.
        unsafe { Arc::increment_strong_count(object) };
        object
    })
}

/// The opposite of [`retain`]; one too many does nothing as long as the call lasts.
///
/// # Safety
/// As of [`retain`].
pub(super) unsafe fn free<T>(object: *mut T, counted: impl FnOnce(&T) -> bool) {
    act((), || {
        // SAFETY: as the caller promises.
        if unsafe { object.as_ref() }.is_some_and(counted) {
            // SAFETY: `retain` has given this one.
            unsafe { Arc::decrement_strong_count(object) };
        }
    });
}
