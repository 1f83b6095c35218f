//! What concerns the whole process.

use super::call::call_plain;
use super::status::{cometd_status, COMETD_OK};
use crate::error::{Error, ErrorKind};
use crate::runtime;

/// Sets how many threads do the I/O of all clients. One, the default, costs the fewest system calls and
/// serves thousands of clients; more are for those whose events keep one processor busy.
///
/// It is in force when the runtime next starts: with the first connect, or the first after all clients
/// were gone.
///
/// `threads` is 1 to 64.
///
/// **Returns** COMETD_OK; COMETD_E_OUT_OF_RANGE: `threads` is not in the range.
/// **Threads** any. **Blocks** never. **Since** 0.1.
#[no_mangle]
pub extern "C" fn cometd_runtime_set_threads(threads: u32) -> cometd_status {
    call_plain(|| {
        match usize::try_from(threads) {
            Ok(threads) if (1..=runtime::MAXIMUM_THREADS).contains(&threads) => {
                runtime::set_threads(threads);
            }
            _ => {
                return Err(Error::call(
                    ErrorKind::OutOfRange,
                    format!("threads: is 1 to {}", runtime::MAXIMUM_THREADS),
                ))
            }
        }
        Ok(COMETD_OK)
    })
}
