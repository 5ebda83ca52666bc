//! What the runs would look like if a protection were missing.

use super::fleet::Load;
use super::scenario::Scenario;
use crate::breakage::Breakage;
use terrace::danger::{self, Protection};

/// A run in which a protection is the only one that helps.
pub(crate) struct Mutant {
    pub(crate) without: &'static str,
    pub(crate) scenario: Scenario,
    pub(crate) load: Load,
    /// It takes so much longer than others.
    pub(crate) times: u32,
}

/// One for each protection, and two for what else is judged.
pub(crate) fn all() -> impl Iterator<Item = Mutant> {
    let all = danger::ALL.into_iter().filter_map(|(protection, without)| made_for(protection, without));
    all.chain([
        silent(),
        Mutant { without: "begin_change", scenario: Scenario::KilledUnannounced, load: Load::default(), times: 1 },
    ])
}

fn made_for(protection: Protection, without: &'static str) -> Option<Mutant> {
    let (breakage, subjects, times, set): (_, _, _, &[&str]) = match protection {
        // What is changed while it is loaded.
        Protection::StampBeforeFetch => (Breakage::AnswersHeld, 16, 1, &["CACHE_POLL_INTERVAL=10ms"]),
        Protection::CheckedAtRead => (Breakage::None, 4, 1, &[]),
        // A process serves nothing that it has changed itself until it knows how: so many subjects that this is seldom.
        Protection::ProofLimitsL1 => (Breakage::PollsHeld, 64, 1, &[]),
        // Rights ask for proof before they ask Redis.
        Protection::ProofLimitsL2 => return None,
        // Who has changed something loads it and stores it again: so many subjects that others are faster with some.
        Protection::EpochCompared => (Breakage::ControlLost, 128, 1, &[]),
        // Without proof nothing is read from Redis either: it has to last until polls go on. And who has changed something
        // sees that positions went back.
        Protection::FenceOnConnect => (Breakage::RollbackUnseen, 32, 1, &["CACHE_L1_MAX_LAG=1m"]),
    };
    let set = set.iter().map(|&setting| setting.to_owned()).collect();
    let one_changes = protection == Protection::FenceOnConnect;
    let load = Load { subjects: Some(subjects), set, without: Some(without), one_changes };
    Some(Mutant { without, scenario: Scenario::Breaks(breakage), load, times })
}

/// Redis is silent, and acknowledges nothing: it is seen by who answers.
fn silent() -> Mutant {
    let mut all = danger::ALL.into_iter();
    let (_, without) = all.find(|(known, _)| *known == Protection::ProofLimitsL1).expect("a protection");
    let load = Load { without: Some(without), ..Load::default() };
    Mutant { without, scenario: Scenario::Breaks(Breakage::Pause), load, times: 1 }
}
