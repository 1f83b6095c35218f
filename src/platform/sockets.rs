//! What systems call the same failure, and what only some can do with a socket.

use std::io;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// Whether this process or its system has no more of something.
pub fn is_exhausted(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    );
    #[cfg(windows)]
    {
        const ERROR_TOO_MANY_OPEN_FILES: i32 = 4;
        const ERROR_NOT_ENOUGH_MEMORY: i32 = 8;
        const WSAEMFILE: i32 = 10_024;
        const WSAENOBUFS: i32 = 10_055;
        return matches!(
            error.raw_os_error(),
            Some(ERROR_TOO_MANY_OPEN_FILES | ERROR_NOT_ENOUGH_MEMORY | WSAEMFILE | WSAENOBUFS)
        );
    }
}

/// Whether a name could not be looked up, rather than that there is none. The
/// standard library gives the resolver's text only, which is in the language
/// that the host has chosen.
#[cfg(unix)]
pub fn resolver_gave_no_answer(error: &io::Error) -> bool {
    // SAFETY: it gives a text of its own for any number, or NULL.
    let again = unsafe { libc::gai_strerror(libc::EAI_AGAIN) };
    if again.is_null() {
        return false;
    }
    // SAFETY: not NULL, and such a text ends in NUL and stays where it is.
    let again = unsafe { std::ffi::CStr::from_ptr(again) };
    error.to_string().contains(&*again.to_string_lossy())
}

/// Whether a name could not be looked up, rather than that there is none.
#[cfg(windows)]
pub fn resolver_gave_no_answer(error: &io::Error) -> bool {
    const WSATRY_AGAIN: i32 = 11_002;
    error.raw_os_error() == Some(WSATRY_AGAIN)
}

/// Gives a connection up when the peer has acknowledged nothing for so long.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_unacknowledged_limit<R>(connector: &mut HttpConnector<R>, limit: Duration) {
    connector.set_tcp_user_timeout(Some(limit));
}

/// The system decides.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn set_unacknowledged_limit<R>(_: &mut HttpConnector<R>, _limit: Duration) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_is_out_of_reach_says_nothing_of_the_name() {
        let said = |text: &str| {
            let text = format!("failed to lookup address information: {text}");
            resolver_gave_no_answer(&io::Error::other(text))
        };
        assert!(said("Temporary failure in name resolution"));
        assert!(!said("Name or service not known"));
    }
}
