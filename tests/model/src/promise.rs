//! What the protocol promises.

use std::fmt;

/// What must be true of every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// A lookup that is sent after an acknowledgement never gets an older value from Redis.
    L2,
    /// Memory never serves a value that is older than an acknowledgement by more than `max_lag`.
    L1,
    /// Memory never serves an entry of another epoch than its mirror's. Watched where positions are local.
    Epoch,
    /// The process that invalidates serves nothing older from the moment it begins.
    Own,
    /// While two servers take themselves for the primary, Redis never gives a value that is older than an acknowledgement
    /// by more than `max_lag`.
    Split,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "P-L2",
            Self::L1 => "P-L1",
            Self::Epoch => "P-epoch",
            Self::Own => "P-own",
            Self::Split => "P-split",
        })
    }
}
