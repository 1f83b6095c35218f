//! The end of the process, where OpenSSL is what TLS is made of.

/// Has OpenSSL, which has been initialised by now, call the handler before it cleans
/// up. Should there be no memory for that, nothing is worse than before.
#[cfg(not(any(windows, target_vendor = "apple")))]
pub fn before_openssl_ends(handler: extern "C" fn()) {
    extern "C" {
        fn OPENSSL_atexit(handler: extern "C" fn()) -> std::ffi::c_int;
    }
    // SAFETY: the handler lives as long as the library, which is never unloaded.
    unsafe { OPENSSL_atexit(handler) };
}

/// The system's own TLS has no such end.
#[cfg(any(windows, target_vendor = "apple"))]
pub fn before_openssl_ends(_handler: extern "C" fn()) {}
