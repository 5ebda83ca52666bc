//! What runs inside Redis, all of it at once or not at all.

use redis::{Script, ScriptInvocation};
use std::sync::LazyLock;

/// A script, as it is and as one that says that it may run when the memory is full: what it writes is small, bounded,
/// and needed most then.
pub(super) struct Source {
    plain: LazyLock<Script>,
    flagged: LazyLock<Script>,
}

macro_rules! source {
    ($($file:literal),+) => {
        Source {
            plain: LazyLock::new(|| Script::new(concat!($(include_str!($file)),+))),
            flagged: LazyLock::new(|| Script::new(concat!("#!lua flags=allow-oom\n", $(include_str!($file)),+))),
        }
    };
}

pub(super) static INVALIDATE: Source = source!("latest.lua", "invalidate.lua");
pub(super) static FENCE: Source = source!("latest.lua", "fence.lua");
pub(super) static CHANGE: Source = source!("latest.lua", "change.lua");
pub(super) static POLL: Source = source!("latest.lua", "poll.lua");
pub(super) static RELEASE: Source = source!("release.lua");
pub(super) static RING: Source = source!("ring.lua");
pub(super) static SWITCH: Source = source!("switch.lua");
pub(super) static RIGHTS: Source = source!("rights.lua");

impl Source {
    /// The script as the server takes it: flags are known from version 7 on.
    pub(super) fn call(&'static self, has_flags: bool) -> ScriptInvocation<'static> {
        if has_flags { self.flagged.prepare_invoke() } else { self.plain.prepare_invoke() }
    }
}
