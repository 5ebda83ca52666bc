//! What is explored, and what must come out.

use crate::explore::{Outcome, Verdict, explore};
use crate::overlap::Overlap;
use crate::primaries::Primaries;
use crate::promise::Promise;
use crate::rules::{Rule, Rules};
use crate::scenario::{Part, Scenario};
use crate::world::Protocol;

/// A world and what must come out.
#[derive(Clone, Debug)]
pub struct Case {
    /// What happens in it.
    pub name: &'static str,
    world: Subject,
    /// The rule that is dropped.
    pub dropped: Option<Rule>,
    /// The promise that is broken without it; `None` if all hold.
    pub breaks: Option<Promise>,
    /// How much memory and time it needs.
    pub size: Size,
}

/// How much memory and time a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Seconds: on every change.
    Quick,
    /// Minutes, and up to 4 GB.
    Large,
    /// Ten minutes, and up to 7 GB.
    Huge,
}

#[derive(Clone, Copy, Debug)]
enum Subject {
    Protocol(Scenario),
    Overlap { losses: u8, forgeries: u8 },
    Primaries { changes: u8 },
}

impl Case {
    /// Explores at most about `limit` states.
    pub fn run(&self, limit: usize) -> Outcome {
        let rules = self.dropped.map_or(Rules::PROTOCOL, |rule| Rules::PROTOCOL.without(rule));
        match self.world {
            Subject::Protocol(scenario) => explore(&Protocol { scenario, rules }, limit),
            Subject::Overlap { losses, forgeries } => {
                explore(&Overlap { invalidations: 1, losses, forgeries, rules }, limit)
            }
            Subject::Primaries { changes } => explore(&Primaries { changes, rules }, limit),
        }
    }

    /// Whether this is what must come out.
    pub fn expects(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Holds => self.breaks.is_none(),
            Verdict::Broken(promise, _) => self.breaks == Some(*promise),
            Verdict::Unfinished => false,
        }
    }

    const fn holds(name: &'static str, world: Subject) -> Self {
        Self { name, world, dropped: None, breaks: None, size: Size::Quick }
    }

    const fn size(self, size: Size) -> Self {
        Self { size, ..self }
    }

    const fn mutant(rule: Rule, breaks: Promise, name: &'static str, world: Subject) -> Self {
        Self { name, world, dropped: Some(rule), breaks: Some(breaks), size: Size::Quick }
    }
}

const ONE: Scenario = Scenario::ONE_INVALIDATION;
/// One process with memory, without the other that races.
const ALONE: Scenario = ONE.without(Part::SecondReader);
/// Two processes without memory.
const L2_ONLY: Scenario = ONE.without(Part::L1);
const LOCAL: Scenario = ALONE.with(Part::LocalPositions);
/// Where it is watched whether the local floor does what comparing epochs does.
const WATCHED: Scenario = LOCAL.with(Part::EpochWitness);
/// Where a lookup reads what the mirror does not have.
const NEWS: Scenario = ONE.with(Part::LocalPositions).with(Part::News);
const NEWS_ALONE: Scenario = NEWS.without(Part::SecondReader);
const GUARDED: Scenario = ONE.with(Part::Guard);
const OWN: Scenario = ALONE.with(Part::OwnInvalidation);
/// Only where the position moves without the tag does it matter up to where an entry was checked.
const SHORTCUT: Scenario = ALONE.with(Part::Shortcut).with(Part::OtherTag);
const OWN_SHORTCUT: Scenario = SHORTCUT.with(Part::OwnInvalidation);

/// One that was left while it lives, and one that was promoted.
const TWO_PRIMARIES: Subject = Subject::Primaries { changes: 1 };

/// The protocol under everything that may happen to it.
pub fn scenarios() -> Vec<Case> {
    [invalidations(), losses(), guards(), local_positions(), news(), shortcuts(), own_invalidations()].concat()
}

fn holds(name: &'static str, scenario: Scenario) -> Case {
    Case::holds(name, Subject::Protocol(scenario))
}

fn invalidations() -> Vec<Case> {
    vec![
        holds("one invalidation", ONE),
        holds("two invalidations, one process", ALONE.changes(2)),
        holds("two invalidations, without memory", L2_ONLY.changes(2)),
        holds("two invalidations", ONE.changes(2)).size(Size::Large),
        holds("trimming with floor", ONE.with(Part::Trimming)),
        holds("single-flight join", ONE.with(Part::Joins)),
        holds("markers read before the entry", ONE.with(Part::MarkersFirst)),
        holds("Redis silent", ONE.with(Part::Silence)),
    ]
}

fn losses() -> Vec<Case> {
    vec![
        holds("lossy failover, one process", ALONE.failovers(1)),
        holds("lossy failover, without memory", L2_ONLY.failovers(1)),
        holds("lossy failover", ONE.failovers(1)).size(Size::Large),
        holds("failover and back, one process without memory", L2_ONLY.without(Part::SecondReader).failovers(2)),
        holds("control key evicted, one process", ALONE.evictions(1)),
        holds("control key evicted, without memory", L2_ONLY.evictions(1)),
        holds("control key evicted", ONE.evictions(1)).size(Size::Large),
        Case::holds("two primaries", TWO_PRIMARIES),
        Case::holds("two primaries, two changes", Subject::Primaries { changes: 2 }).size(Size::Large),
    ]
}

fn guards() -> Vec<Case> {
    let overlap = |name, losses, forgeries| Case::holds(name, Subject::Overlap { losses, forgeries });
    vec![
        holds("guarded change with a crash anywhere", GUARDED),
        holds("guarded change with lossy failover, one process", ALONE.with(Part::Guard).failovers(1)),
        holds("guarded change with lossy failover", GUARDED.failovers(1)).size(Size::Huge),
        overlap("overlapping changes", 0, 0),
        overlap("overlapping changes, control key lost", 1, 0),
        overlap("overlapping changes, holds forged", 0, 2),
        overlap("overlapping changes, holds forged, control key lost", 1, 2),
    ]
}

fn local_positions() -> Vec<Case> {
    vec![
        holds("local positions", ONE.with(Part::LocalPositions)),
        holds("local positions, control key evicted", WATCHED.evictions(1)),
        holds("local positions, control key evicted twice", WATCHED.evictions(2)),
        holds("local positions, lossy failover", WATCHED.failovers(1)),
        holds("local positions, two invalidations, control key evicted", WATCHED.changes(2).evictions(1)),
        holds("local positions, two invalidations, control key evicted twice", WATCHED.changes(2).evictions(2))
            .size(Size::Large),
        holds("local positions, guarded, control key evicted", WATCHED.with(Part::Guard).evictions(1)),
        holds("local positions, control key evicted, both processes", WATCHED.with(Part::SecondReader).evictions(1))
            .size(Size::Large),
        holds("Redis silent, local positions, lossy failover", LOCAL.with(Part::Silence).failovers(1)),
    ]
}

fn news() -> Vec<Case> {
    vec![
        holds("news", NEWS),
        holds("news, markers first", NEWS.with(Part::MarkersFirst)),
        holds("news, two invalidations, one process", NEWS_ALONE.changes(2)),
        holds("news, two invalidations", NEWS.changes(2)).size(Size::Large),
        holds("news, two tags, one process", NEWS_ALONE.with(Part::OtherTag)),
        holds("news, trimming with floor", NEWS.with(Part::Trimming)),
        holds("news, single-flight join", NEWS.with(Part::Joins)),
        holds("news, guarded change", NEWS.with(Part::Guard)),
        holds("news, guarded change with lossy failover, one process", NEWS_ALONE.with(Part::Guard).failovers(1)),
        holds("news, control key evicted, one process", NEWS_ALONE.evictions(1)),
        holds("news, control key evicted twice, one process", NEWS_ALONE.evictions(2)).size(Size::Large),
        holds("news, control key evicted", NEWS.evictions(1)).size(Size::Large),
        holds("news, lossy failover, one process", NEWS_ALONE.failovers(1)),
        holds("news, lossy failover", NEWS.failovers(1)).size(Size::Large),
    ]
}

fn shortcuts() -> Vec<Case> {
    vec![
        holds("two tags", ONE.with(Part::OtherTag)).size(Size::Large),
        holds("shortcut", SHORTCUT),
        holds("shortcut, both processes", SHORTCUT.with(Part::SecondReader)).size(Size::Large),
        holds("shortcut, two invalidations", SHORTCUT.changes(2)).size(Size::Large),
        holds("shortcut, trimming", SHORTCUT.with(Part::Trimming)),
        holds("shortcut, guarded change", SHORTCUT.with(Part::Guard)),
        holds("shortcut, guarded change, both processes", SHORTCUT.with(Part::Guard).with(Part::SecondReader))
            .size(Size::Huge),
        holds("shortcut, local positions, control key evicted", LOCAL.with(Part::Shortcut).evictions(1)),
        holds(
            "shortcut, local positions, two tags, control key evicted",
            SHORTCUT.with(Part::LocalPositions).evictions(1),
        )
        .size(Size::Large),
    ]
}

fn own_invalidations() -> Vec<Case> {
    vec![
        holds("own invalidation", OWN),
        holds("own invalidation, shortcut", OWN_SHORTCUT),
        holds("own invalidation, control key evicted", OWN.evictions(1)),
        holds("own invalidation, local positions, control key evicted", OWN.with(Part::LocalPositions).evictions(1)),
        holds(
            "own invalidation, shortcut, local positions, control key evicted",
            OWN_SHORTCUT.with(Part::LocalPositions).evictions(1),
        )
        .size(Size::Large),
        holds("own invalidation, lossy failover", OWN.failovers(1)),
    ]
}

/// The protocol without one rule, where that shows soonest.
pub fn mutants() -> Vec<Case> {
    [
        mutants_of_l2(),
        mutants_of_l1(),
        mutants_of_guards(),
        mutants_of_local_positions(),
        mutants_of_holds(),
        mutants_of_primaries(),
    ]
    .concat()
}

fn mutant(rule: Rule, breaks: Promise, name: &'static str, scenario: Scenario) -> Case {
    Case::mutant(rule, breaks, name, Subject::Protocol(scenario))
}

fn mutants_of_l2() -> Vec<Case> {
    let mutant = |rule, name, scenario| mutant(rule, Promise::L2, name, scenario);
    vec![
        mutant(Rule::StampBeforeFetch, "one invalidation", ONE),
        mutant(Rule::FenceOnConnect, "lossy failover", ONE.failovers(1)),
        mutant(Rule::IdentityHasReplicationId, "failover and back", ONE.failovers(2)),
        mutant(Rule::EpochCompared, "lossy failover", ONE.failovers(1)),
        mutant(Rule::MarkersAndEpochInOneKey, "control key evicted", ONE.evictions(1)),
        mutant(Rule::TrimmingRaisesFloor, "trimming with floor", ONE.with(Part::Trimming)),
        mutant(Rule::JoinsCheck, "single-flight join", ONE.with(Part::Joins)),
        mutant(Rule::MarksOfMirrorAndNews, "news", NEWS),
        mutant(Rule::LatestWrittenWithControl, "news", NEWS),
        mutant(Rule::HoldTakesPosition, "news, guarded change", NEWS.with(Part::Guard)),
    ]
}

fn mutants_of_l1() -> Vec<Case> {
    let mutant = |rule, scenario| mutant(rule, Promise::L1, "one invalidation", scenario);
    vec![mutant(Rule::CheckedAtRead, ONE), mutant(Rule::ProofLimitsL1, ONE), mutant(Rule::ProofDatedAtSend, ONE)]
}

fn mutants_of_guards() -> Vec<Case> {
    let guarded = |rule| mutant(rule, Promise::L2, "guarded change", GUARDED);
    let changes = Subject::Overlap { losses: 0, forgeries: 0 };
    let overlap = |rule| Case::mutant(rule, Promise::L2, "overlapping changes", changes);
    vec![
        guarded(Rule::ChangeHeld),
        guarded(Rule::EndTakesNewPosition),
        guarded(Rule::SweptAfterTransaction),
        overlap(Rule::HeldByEachChange),
        overlap(Rule::EndTakesNewPosition),
        overlap(Rule::InvalidationKeepsHold),
        overlap(Rule::SweptAfterTransaction),
        overlap(Rule::SweptOnlyIfUnheld),
    ]
}

fn mutants_of_local_positions() -> Vec<Case> {
    let mutant = |rule, name, scenario| mutant(rule, Promise::L1, name, scenario);
    let evicted = LOCAL.evictions(1);
    let watched =
        |rule| self::mutant(rule, Promise::Epoch, "local positions, control key evicted", WATCHED.evictions(1));
    vec![
        mutant(Rule::FloorRaisedOnAdoption, "local positions, control key evicted", evicted),
        mutant(Rule::AdoptedFromTheBeginning, "local positions, control key evicted", evicted),
        mutant(
            Rule::BaseAboveEveryStamp,
            "local positions, two invalidations, control key evicted",
            evicted.changes(2),
        ),
        watched(Rule::FloorRaisedOnAdoption),
        watched(Rule::BaseAboveEveryStamp),
    ]
}

fn mutants_of_holds() -> Vec<Case> {
    vec![
        mutant(Rule::HeldRefuses, Promise::L1, "guarded change", GUARDED),
        mutant(Rule::HeldRefuses, Promise::Own, "own invalidation", OWN),
        mutant(Rule::HeldBeforeShortcut, Promise::L1, "shortcut, guarded change", SHORTCUT.with(Part::Guard)),
        mutant(Rule::HeldBeforeShortcut, Promise::Own, "own invalidation, shortcut", OWN_SHORTCUT),
        mutant(Rule::PendingUntilCaughtUp, Promise::Own, "own invalidation, shortcut", OWN_SHORTCUT),
        mutant(
            Rule::ReceiptOfAnotherEpochAwaitsPoll,
            Promise::Own,
            "own invalidation, control key evicted",
            OWN.evictions(1),
        ),
    ]
}

fn mutants_of_primaries() -> Vec<Case> {
    let mutant = |rule| Case::mutant(rule, Promise::Split, "two primaries", TWO_PRIMARIES);
    let rules = [Rule::ProofLimitsL2, Rule::PollTakesWrite, Rule::FenceTakesWrite, Rule::WritesNeedReplica];
    rules.map(mutant).to_vec()
}
