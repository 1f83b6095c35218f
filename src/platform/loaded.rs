//! The library stays loaded when the host lets go of it: its threads may still run.

/// Called before a thread is started.
pub fn stay_loaded() {
    system::stay_loaded();
}

/// The linker says so in the library itself; `build.rs` has it do that.
#[cfg(not(any(windows, target_vendor = "apple")))]
mod system {
    pub fn stay_loaded() {}
}

#[cfg(windows)]
mod system {
    use std::ffi::c_void;
    use std::ptr;
    use std::sync::Once;

    pub fn stay_loaded() {
        const PIN: u32 = 1;
        const FROM_ADDRESS: u32 = 4;
        static ONCE: Once = Once::new();
        #[link(name = "kernel32")]
        extern "system" {
            fn GetModuleHandleExW(flags: u32, name: *const u16, module: *mut *mut c_void) -> i32;
        }
        ONCE.call_once(|| {
            let mut module = ptr::null_mut();
            let own = stay_loaded as fn() as *const u16;
            // SAFETY: with this flag the name is an address, and this one is the
            // library's own; `module` is written.
            unsafe { GetModuleHandleExW(PIN | FROM_ADDRESS, own, &mut module) };
        });
    }
}

#[cfg(target_vendor = "apple")]
mod system {
    use std::ffi::c_void;
    use std::mem::MaybeUninit;
    use std::sync::Once;

    pub fn stay_loaded() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let mut own = MaybeUninit::<libc::Dl_info>::uninit();
            let address = stay_loaded as fn() as *const c_void;
            // SAFETY: `own` is written when the result is not 0, and its name is then
            // that of what is loaded at the address. The handle is never closed.
            unsafe {
                if libc::dladdr(address, own.as_mut_ptr()) != 0 {
                    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
                    libc::dlopen(own.assume_init().dli_fname, flags);
                }
            }
        });
    }
}
