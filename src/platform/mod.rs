//! What differs between systems: no other file of `src` asks which one it is
//! built for, or calls a system by itself. `tests/platform.rs` looks after that.
//!
//! | | Linux | macOS, BSD | Windows |
//! | --- | --- | --- | --- |
//! | [`Descriptor`] | eventfd | socket pair | loopback connection |
//! | [`Identity`] | page that the kernel empties | process id | there is no fork |
//! | [`since_start`] counts a suspend | yes | macOS | yes |
//! | [`SignalsBlocked`] | yes | yes | there are none |
//! | [`Uncancelled`], [`contain`] | yes | no | there is no cancellation |
//! | [`set_unacknowledged_limit`] | yes | no | no |

mod clock;
mod descriptor;
mod exit;
mod loaded;
mod process;
mod sockets;
#[cfg(test)]
pub mod testing;
mod threads;
mod unwind;

pub use clock::since_start;
pub use descriptor::{Descriptor, RawDescriptor, NO_DESCRIPTOR};
pub use exit::before_openssl_ends;
pub use loaded::stay_loaded;
pub use process::{end_at_once, Identity};
pub use sockets::{is_exhausted, resolver_gave_no_answer, set_unacknowledged_limit};
pub use threads::{SignalsBlocked, Uncancelled};
pub use unwind::contain;
