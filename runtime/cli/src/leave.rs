//! The way out of the program.

use std::io::{self, Write};

/// Ends the process with `code` after what was printed is written out, and without what C libraries
/// registered to run at the end.
///
/// A thread of librdkafka may still be closing its connection then. OpenSSL's own clean-up would take
/// away what that thread holds, and the process would die of a segmentation fault after its work was
/// done. The kernel takes everything back anyway.
pub fn leave(code: u8) -> ! {
    // Nobody is left who could be told that the output cannot be written.
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: `_exit` has no precondition and does not return.
    unsafe { libc::_exit(code.into()) }
}
