//! Options by name and as text, and what there is of them.

use std::ffi::{c_char, CStr};

use super::boundary::{access, object_mut, text};
use super::builder::cometd_client_builder;
use super::call::call;
use super::error::cometd_error;
use super::status::{cometd_status, COMETD_OK};
use crate::client::options::{self, ClientOption, OPTIONS};

/// An option of cometd_client_builder_set: its name, and what it takes. It is never freed.
pub struct cometd_option {
    _is_a_row_of_the_table: [u8; 0],
}

fn pointer(option: &'static ClientOption) -> *const cometd_option {
    std::ptr::from_ref(option).cast()
}

/// Reads a text of an option; NULL for NULL.
///
/// # Safety
/// `option` is NULL or was made by [`pointer`].
unsafe fn read(
    option: *const cometd_option,
    read: fn(&'static ClientOption) -> Option<&'static CStr>,
) -> *const c_char {
    access(std::ptr::null(), || {
        // SAFETY: as the caller promises; rows live as long as the process.
        let option = unsafe { option.cast::<ClientOption>().as_ref() };
        option.and_then(read).map_or(std::ptr::null(), CStr::as_ptr)
    })
}

/// Sets an option by its name and as text, as from a file or a command line. It does what the option's own setter does.
///
/// `name` is the setter's name without what it begins with, cometd_client_builder_set_ or cometd_client_builder_add_:
/// "number_of_retries", "header". README lists them all, and cometd_option_at enumerates them; setters that take a
/// function are none of them.
///
/// `value` is what cometd_option_type and cometd_option_range say: an integer is made of digits; a boolean is true, 1, yes
/// or on, or false, 0, no or off; in place of constants stand their names in small letters, "drop_oldest"; lists and two
/// numbers have commas, "websocket,long-polling"; and of two texts the first ends at the first separator: "USER:PASSWORD",
/// a cookie's "NAME=VALUE", a header's "NAME: VALUE". A replay position's "CHANNEL=POSITION" is separated at the last '='.
/// Nothing else is trimmed or passed over.
///
/// An error names the option, its range, and, unless the option is secret, the value. It is kept as that of a setter is,
/// see cometd_client_builder_error.
///
/// **Returns** COMETD_OK; COMETD_E_INVALID_ARGUMENT: an argument is NULL, there is no such option, or `value` is not of its
/// type; COMETD_E_OUT_OF_RANGE: it is an integer outside the range, or none of the words; COMETD_E_INVALID_UTF8; and what
/// the option's setter returns.
/// **Threads** one at a time. **Blocks** never. **Ownership** all is copied. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_client_builder_set(
    builder: *mut cometd_client_builder,
    name: *const c_char,
    value: *const c_char,
    err: *mut *mut cometd_error,
) -> cometd_status {
    call(err, || {
        let builder = unsafe { object_mut("builder", builder) }?;
        builder.change(|it| match unsafe { text("name", name) } {
            Ok(name) => options::set(it, name, unsafe { text("value", value) }),
            Err(error) => it.call("set", |_| Err(error)),
        })?;
        Ok(COMETD_OK)
    })
}

/// How many options there are.
///
/// **Returns** their number.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_option_count() -> usize {
    OPTIONS.len()
}

/// An option by its place among them. Options of one subject stand together; a later version may have others between
/// them.
///
/// **Returns** the option; NULL when `index` is not less than cometd_option_count.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_option_at(index: usize) -> *const cometd_option {
    OPTIONS.get(index).map_or(std::ptr::null(), pointer)
}

/// An option by its name, "number_of_retries".
///
/// **Returns** the option; NULL when there is none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_find(name: *const c_char) -> *const cometd_option {
    access(std::ptr::null(), || {
        let name = unsafe { text("name", name) }.ok();
        name.and_then(options::find)
            .map_or(std::ptr::null(), pointer)
    })
}

/// What the option is called: "number_of_retries".
///
/// **Returns** the name; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_name(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| Some(it.c_name())) }
}

/// The function that sets it: "cometd_client_builder_set_number_of_retries". One of a name with "_add_" can be set several
/// times, and all count.
///
/// **Returns** the function's name; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_setter(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| Some(it.setter)) }
}

/// What its value is: "text", "integer", "integers" (two), "boolean", "choice" (a word), "choices" (words), "json", or "pem"
/// (certificates). More may come.
///
/// **Returns** the type; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_type(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| Some(it.kind_name())) }
}

/// What its numbers count: "ms", "bytes", "events,bytes".
///
/// **Returns** the unit; NULL when it has none, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_unit(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| it.unit) }
}

/// The value that it has when it is not set, as cometd_client_builder_set takes it.
///
/// **Returns** the value; NULL when no value does what happens without one, and for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_default(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| it.default) }
}

/// Which values it can have, for people: "0 to 2147483647", or "block, drop_oldest, drop_newest".
///
/// **Returns** the range; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_range(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| Some(it.range)) }
}

/// What it does, in one or two sentences.
///
/// **Returns** the text; NULL for NULL.
/// **Threads** any. **Blocks** never. **Ownership** the library's. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_text(option: *const cometd_option) -> *const c_char {
    unsafe { read(option, |it| Some(it.text)) }
}

/// Whether cometd_client_builder_set adds a further value each time, as of "header" and "url", rather than putting it in the
/// place of the one before.
///
/// **Returns** true when it adds; false for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_is_repeatable(option: *const cometd_option) -> bool {
    access(false, || {
        // SAFETY: NULL or made by `pointer`; rows live as long as the process.
        let option = unsafe { option.cast::<ClientOption>().as_ref() };
        option.is_some_and(ClientOption::is_repeatable)
    })
}

/// Whether its value may be a secret or hold one, such as a password: it is then in no error, and a program should not
/// show it either.
///
/// **Returns** true when it may; false for NULL.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub unsafe extern "C" fn cometd_option_is_secret(option: *const cometd_option) -> bool {
    access(false, || {
        // SAFETY: NULL or made by `pointer`; rows live as long as the process.
        let option = unsafe { option.cast::<ClientOption>().as_ref() };
        option.is_some_and(|it| it.secret)
    })
}
