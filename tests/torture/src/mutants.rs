//! What the runs would look like if a protection were missing.

use crate::breakage::Breakage;
use crate::run::Load;
use terrace::danger::{self, Protection};

/// What is missing has to be seen in one of so many runs: in some of them nobody happens to look when it matters.
pub(crate) const TRIES: u32 = 3;

/// A run in which a protection is the only one that helps.
pub(crate) struct Mutant {
    pub(crate) without: &'static str,
    pub(crate) breakage: Breakage,
    pub(crate) load: Load,
}

/// One for each protection.
pub(crate) fn all() -> impl Iterator<Item = Mutant> {
    danger::ALL.into_iter().map(|(protection, without)| {
        let (breakage, keys, set) = made_for(protection);
        let set = set.iter().map(|&setting| setting.to_owned()).collect();
        Mutant { without, breakage, load: Load { nodes: 4, keys: Some(keys), set, without: Some(without.to_owned()) } }
    })
}

fn made_for(protection: Protection) -> (Breakage, u64, &'static [&'static str]) {
    match protection {
        // What is invalidated while it is fetched.
        Protection::StampBeforeFetch => (Breakage::AnswersHeld, 16, &["CACHE_POLL_INTERVAL=10ms"]),
        Protection::CheckedAtRead => (Breakage::None, 4, &[]),
        // A process serves nothing that it has changed itself until it knows how: so many things that this is seldom.
        Protection::ProofLimitsL1 => (Breakage::PollsHeld, 64, &[]),
        Protection::ProofLimitsL2 => (Breakage::TwoPrimaries, 16, &[]),
        // Who has changed something fetches it and stores it again: so many things that others are faster with some.
        Protection::EpochCompared => (Breakage::ControlLost, 128, &[]),
        // Nor is anything read from Redis without proof for longer than is allowed here: it has to last until polls go on.
        Protection::FenceOnConnect => {
            (Breakage::RollbackUnseen, 128, &["CACHE_L1_MAX_LAG=1m", "CACHE_L1_ENABLED=false"])
        }
    }
}
