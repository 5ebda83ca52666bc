//! The primitives of the concurrent cores: the standard library's, or those with which loom tries every interleaving.

#[cfg(not(all(test, terrace_loom)))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(test, terrace_loom))]
pub(super) use loom::sync::{Mutex, MutexGuard, atomic};
