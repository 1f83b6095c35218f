//! A thread that the host's code ends from within.
//!
//! `pthread_exit` and the cancellation of a thread unwind its stack, as an
//! exception would that nobody may catch: Rust aborts the process when such a
//! one reaches a place where panics are caught, and there is one at the start of
//! each thread, in each task, and in each function of the C interface. CPython
//! does this to threads that come back to it while it ends.
//!
//! So the host's code is called by a function, in assembler, that has a
//! personality of its own: here a forced unwinding ends, and the call returns.
//! The thread lives on as if the function had returned. What unwinds for another
//! reason is left alone: an exception finds no handler, and the C++ library
//! ends the process with its words.
//!
//! Elsewhere than on Linux with one of two processors the call is a plain one.

/// Calls the host's code. `None` when it has ended the thread.
pub fn contain<T>(call: impl FnOnce() -> T) -> Option<T> {
    system::contain(call)
}

#[cfg(not(all(
    target_os = "linux",
    not(miri),
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod system {
    pub fn contain<T>(call: impl FnOnce() -> T) -> Option<T> {
        Some(call())
    }
}

#[cfg(all(
    target_os = "linux",
    not(miri),
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod system {
    use std::ffi::{c_int, c_void};
    use std::ptr;

    type Thunk = unsafe extern "C-unwind" fn(*mut c_void);

    extern "C-unwind" {
        /// Calls the thunk: 0 when it has returned, 1 when it was unwound.
        fn cometd_contained_call(thunk: Thunk, data: *mut c_void) -> u32;
    }

    extern "C" {
        /// Where it goes on in the second case; no function.
        static cometd_contained_end: u8;
        fn _Unwind_SetIP(context: *mut c_void, instruction: usize);
    }

    #[cfg(target_arch = "x86_64")]
    std::arch::global_asm!(
        ".pushsection .text.cometd_contained_call, \"ax\", @progbits",
        ".globl cometd_contained_call",
        ".hidden cometd_contained_call",
        ".type cometd_contained_call, @function",
        "cometd_contained_call:",
        ".cfi_startproc",
        // Relative to where it stands, four bytes.
        ".cfi_personality 0x1b, {personality}",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "xor eax, eax",
        "2:",
        "pop rbp",
        ".cfi_remember_state",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".globl cometd_contained_end",
        ".hidden cometd_contained_end",
        "cometd_contained_end:",
        ".cfi_restore_state",
        "mov rsp, rbp",
        "mov eax, 1",
        "jmp 2b",
        ".cfi_endproc",
        ".size cometd_contained_call, . - cometd_contained_call",
        ".popsection",
        personality = sym personality,
    );

    #[cfg(target_arch = "aarch64")]
    std::arch::global_asm!(
        ".pushsection .text.cometd_contained_call, \"ax\", %progbits",
        ".p2align 2",
        ".globl cometd_contained_call",
        ".hidden cometd_contained_call",
        ".type cometd_contained_call, %function",
        "cometd_contained_call:",
        ".cfi_startproc",
        ".cfi_personality 0x1b, {personality}",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset w30, -8",
        ".cfi_offset w29, -16",
        "mov x29, sp",
        ".cfi_def_cfa_register w29",
        "mov x8, x0",
        "mov x0, x1",
        "blr x8",
        "mov w0, wzr",
        "2:",
        "ldp x29, x30, [sp], #16",
        ".cfi_remember_state",
        ".cfi_def_cfa sp, 0",
        ".cfi_restore w29",
        ".cfi_restore w30",
        "ret",
        ".globl cometd_contained_end",
        ".hidden cometd_contained_end",
        "cometd_contained_end:",
        ".cfi_restore_state",
        "mov sp, x29",
        "mov w0, #1",
        "b 2b",
        ".cfi_endproc",
        ".size cometd_contained_call, . - cometd_contained_call",
        ".popsection",
        personality = sym personality,
    );

    const SEARCH_PHASE: c_int = 1;
    const FORCE_UNWIND: c_int = 8;
    const FATAL_IN_SEARCH: c_int = 3;
    const INSTALL_CONTEXT: c_int = 7;
    const CONTINUE_UNWIND: c_int = 8;
    /// What Rust's own panics are marked with.
    const RUST: u64 = u64::from_ne_bytes(*b"MOZ\0RUST");

    /// Asked by the unwinder what is to be done at the call above.
    unsafe extern "C" fn personality(
        _version: c_int,
        actions: c_int,
        class: u64,
        _exception: *mut c_void,
        context: *mut c_void,
    ) -> c_int {
        if actions & FORCE_UNWIND != 0 {
            // SAFETY: the unwinder gave the context for this; the label belongs
            // to the function whose frame it is, which has nothing to clean up.
            unsafe { _Unwind_SetIP(context, ptr::addr_of!(cometd_contained_end) as usize) };
            INSTALL_CONTEXT
        } else if actions & SEARCH_PHASE != 0 && class != RUST {
            FATAL_IN_SEARCH
        } else {
            CONTINUE_UNWIND
        }
    }

    /// What is called, and then what it gave.
    struct Call<F, T> {
        function: Option<F>,
        result: Option<T>,
    }

    unsafe extern "C-unwind" fn thunk<F: FnOnce() -> T, T>(data: *mut c_void) {
        // SAFETY: `contain` gave it, and waits.
        let call = unsafe { &mut *data.cast::<Call<F, T>>() };
        if let Some(function) = call.function.take() {
            call.result = Some(function());
        }
    }

    pub fn contain<T, F: FnOnce() -> T>(function: F) -> Option<T> {
        let mut call = Call {
            function: Some(function),
            result: None,
        };
        // SAFETY: the thunk is for this very call, which outlives it. An unwinding
        // that ends here has run through frames of the thunk's only, cleaning up
        // as any other does.
        let unwound =
            unsafe { cometd_contained_call(thunk::<F, T>, ptr::from_mut(&mut call).cast()) };
        call.result.filter(|_| unwound == 0)
    }

    #[cfg(test)]
    mod tests {
        use std::panic::{catch_unwind, AssertUnwindSafe};
        use std::sync::atomic::{AtomicUsize, Ordering};

        use super::*;

        extern "C-unwind" {
            fn pthread_exit(value: *mut c_void) -> !;
        }

        struct Counts<'a>(&'a AtomicUsize);

        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }

        #[test]
        fn case_interpreter_exit_an_ended_thread_goes_on_behind_the_call() {
            assert_eq!(contain(|| 7), Some(7));
            let cleaned = AtomicUsize::new(0);
            for nth in 1..=3 {
                let marks = [1_u64, 2, 3, 4, 5, 6, 7].map(|it| it * nth);
                let result = contain(|| {
                    let _counts = Counts(&cleaned);
                    // SAFETY: there is no thread of ours that anybody waits for.
                    contain_nothing(|| unsafe { pthread_exit(ptr::null_mut()) });
                    8
                });
                assert_eq!(result, None);
                assert_eq!(cleaned.load(Ordering::SeqCst), nth as usize);
                assert_eq!(marks, [1_u64, 2, 3, 4, 5, 6, 7].map(|it| it * nth));
            }
            assert_eq!(contain(|| vec![9]), Some(vec![9]), "as before");
        }

        /// Another frame, of a function that does not return.
        #[inline(never)]
        fn contain_nothing(function: impl FnOnce()) {
            function();
        }

        #[test]
        fn a_panic_passes() {
            let cleaned = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                contain(|| {
                    let _counts = Counts(&cleaned);
                    panic!("a test asked for it");
                });
            }));
            let text = result.unwrap_err().downcast::<&str>().unwrap();
            assert_eq!(*text, "a test asked for it");
            assert_eq!(cleaned.load(Ordering::SeqCst), 1);
        }
    }
}
