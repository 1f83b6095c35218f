//! The version of the library.

use std::ffi::c_char;

/// The version of this header: major, minor and patch in a byte each.
pub const COMETD_VERSION: u32 = 0x0000_0100_u32;

/// The version of the library that is loaded.
///
/// Compare it with COMETD_VERSION, the version of the header that a program was
/// built with: a library that is older may lack functions.
///
/// **Returns** major << 16 | minor << 8 | patch.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_version() -> u32 {
    COMETD_VERSION
}

/// The version of the library that is loaded, as text: "0.1.0".
///
/// **Returns** a text that is always valid.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_packages_version() {
        let part = |text: &str| text.parse::<u32>().unwrap();
        let number = part(env!("CARGO_PKG_VERSION_MAJOR")) << 16
            | part(env!("CARGO_PKG_VERSION_MINOR")) << 8
            | part(env!("CARGO_PKG_VERSION_PATCH"));
        assert_eq!(cometd_version(), number);
    }
}
