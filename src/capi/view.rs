//! Structs that hold an object as a whole, and grow at their end: a program says how much of one it has.

use std::mem::size_of;
use std::ptr;

use super::boundary::{self, access, required};
use super::call::call_plain;
use super::status::{cometd_status, COMETD_OK};
use crate::error::{Error, ErrorKind};

/// # Safety
/// Numbers and pointers only, for which zeros are a value.
pub(super) unsafe trait View: Sized {
    /// What it is of.
    type Object;
    /// How the object is called.
    const NAME: &str;
    /// Where the second field begins.
    const FIRST: usize;

    /// # Safety
    /// The object is alive.
    unsafe fn of(object: *const Self::Object) -> Self;

    fn empty() -> Self {
        // SAFETY: as the trait asks for.
        unsafe { std::mem::zeroed() }
    }
}

/// Fills the first `size` bytes of a view.
///
/// # Safety
/// The object is alive or NULL; `view` has room for `size` bytes, or is NULL.
pub(super) unsafe fn look<V: View>(
    object: *const V::Object,
    view: *mut V,
    size: usize,
) -> cometd_status {
    // Who is cancelled is not cancelled here: it reaches no system call.
    let is_seen = access(false, || {
        if object.is_null() || view.is_null() || !is_size::<V>(size) {
            return false;
        }
        // SAFETY: as the caller promises.
        unsafe { give(V::of(object), view, size) };
        true
    });
    if is_seen {
        return COMETD_OK;
    }
    call_plain(|| {
        checked("view", view, size, 1)?;
        unsafe { clear(view, size) };
        unsafe { boundary::object(V::NAME, object) }?;
        Err(panicked())
    })
}

/// The same for many: of those that are NULL the view is empty.
///
/// # Safety
/// Each object is alive or NULL, and there are `count`; `views` has room for `count` times `size` bytes, or is NULL.
pub(super) unsafe fn look_each<V: View>(
    objects: *const *const V::Object,
    views: *mut V,
    count: usize,
    size: usize,
) -> cometd_status {
    let is_seen = access(false, || {
        let is_possible = !objects.is_null() && !views.is_null() && are_sizes::<V>(size, count);
        for at in 0..if is_possible { count } else { 0 } {
            let view: *mut V = views.wrapping_byte_add(at.wrapping_mul(size));
            // SAFETY: there are so many, as the caller promises.
            let object = unsafe { objects.add(at).read() };
            if object.is_null() {
                unsafe { clear(view, size) };
            } else {
                unsafe { give(V::of(object), view, size) };
            }
        }
        is_possible
    });
    if is_seen {
        return COMETD_OK;
    }
    call_plain(|| {
        checked("views", views, size, count)?;
        // SAFETY: there is room for all of them, as was checked and the caller promises.
        (0..count).for_each(|at| unsafe { clear(views.byte_add(at * size), size) });
        unsafe { boundary::object("events", objects) }?;
        Err(panicked())
    })
}

fn checked<V: View>(name: &str, views: *mut V, size: usize, count: usize) -> Result<(), Error> {
    let refuse = |why| Err(Error::call(ErrorKind::InvalidArgument, why));
    // No reference to it: there may be less room than for a whole one, at any address.
    required(name, views)?;
    match are_sizes::<V>(size, count) {
        true => Ok(()),
        false if is_size::<V>(size) => refuse("count: is more than any memory has room for"),
        false => refuse("size: is not that of a view"),
    }
}

fn panicked() -> Error {
    Error::call(
        ErrorKind::Panic,
        "the library panicked: this is a bug in it",
    )
}

unsafe fn give<V: View>(found: V, view: *mut V, size: usize) {
    if size == size_of::<V>() && view.is_aligned() {
        // SAFETY: there are `size` bytes, as the caller promises.
        unsafe { view.write(found) };
        return;
    }
    let room: *mut u8 = view.cast();
    let known = size.min(size_of::<V>());
    // SAFETY: as above, and no more are copied than `found` has.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(&found).cast(), room, known);
        room.add(known).write_bytes(0, size - known);
    }
}

unsafe fn clear<V>(view: *mut V, size: usize) {
    // SAFETY: there are `size` bytes, as the caller promises.
    unsafe { view.cast::<u8>().write_bytes(0, size) };
}

fn is_size<V: View>(size: usize) -> bool {
    size >= V::FIRST && isize::try_from(size).is_ok()
}

fn are_sizes<V: View>(size: usize, count: usize) -> bool {
    is_size::<V>(size)
        && count
            .checked_mul(size)
            .is_some_and(|all| isize::try_from(all).is_ok())
}
