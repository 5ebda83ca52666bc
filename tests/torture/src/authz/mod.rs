//! The same for rights: processes that check them, and change them at the source that all ask.
//!
//! Each check says which version of the facts it rests on, and how it was answered. By that it is judged: what Redis or
//! the source answers must not be older than any change that was acknowledged when the check began, what memory answers
//! not older than any that was acknowledged for as long as the bound that the processes export.

mod changes;
mod fleet;
mod ledger;
mod mutants;
pub(crate) mod node;
mod scenario;
mod source;
mod verdict;

use crate::breakage::Breakage;
use crate::mutants::TRIES;
use crate::origin::Origin;
use crate::report::Report;
use fleet::{Fleet, Load};
use ledger::Ledger;
use mutants::Mutant;
use scenario::Scenario;
use std::time::Duration;
use verdict::Verdict;

/// An answer of the source is held no longer than this: then there is time left for who waits for it.
const HELD: Duration = Duration::from_millis(500);

/// Breaks one thing after the other; whether nothing old was seen.
pub(crate) fn torture(only: &[String], time: Duration, report: &mut Report) -> bool {
    let scenarios: Vec<_> = Scenario::ALL.into_iter().filter(|scenario| is_meant(only, scenario.name())).collect();
    assert!(!scenarios.is_empty(), "nothing that is broken has {only:?} in its name");
    let weights: u32 = scenarios.iter().map(|scenario| scenario.weight()).sum();
    let (mut total, mut all, mut is_good) = (Verdict::default(), Duration::ZERO, true);
    report.line(Verdict::HEADING);
    for scenario in scenarios {
        let time = (time * scenario.weight() / weights).max(scenario.least());
        let verdict = carry_out(scenario, &Load::default(), time);
        report.line(&verdict.row(scenario.name(), time));
        is_good &= !verdict.is_bad() && is_tried(scenario, &verdict);
        total.add(&verdict);
        all += time;
    }
    report.line(&total.row("**all**", all));
    report.line("");
    total.remarks().iter().for_each(|remark| report.line(remark));
    is_good
}

fn is_meant(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

/// Whether what a run is about has happened.
fn is_tried(scenario: Scenario, verdict: &Verdict) -> bool {
    let is_silent = scenario == Scenario::Breaks(Breakage::Pause);
    (!scenario.holds_answers() || verdict.held > 0)
        && (!is_silent || verdict.bypassed > 0)
        && (scenario != Scenario::Killed || verdict.killed > 0)
}

/// Does without each protection in turn; whether that was seen.
pub(crate) fn without_each(only: &[String], time: Duration, report: &mut Report) -> bool {
    report.line(Verdict::HEADING);
    let mut seen = true;
    for mutant in mutants::all().filter(|mutant| is_meant(only, mutant.without)) {
        seen &= (0..TRIES).any(|_| is_seen(&mutant, time, report));
    }
    seen
}

fn is_seen(Mutant { without, scenario, load, times }: &Mutant, time: Duration, report: &mut Report) -> bool {
    let time = (time * *times).max(scenario.least());
    let verdict = carry_out(*scenario, load, time);
    report.line(&verdict.row(&format!("without `{without}`: {}", scenario.name()), time));
    verdict.violations() > 0
}

fn carry_out(scenario: Scenario, load: &Load, time: Duration) -> Verdict {
    let mut servers = scenario.servers();
    let origin = if scenario.holds_answers() { Origin::holding_answers_for(HELD) } else { Origin::start() };
    let mut fleet = Fleet::start(scenario, load, (&servers, &origin), time);
    let outages = scenario.carry_out(&mut servers, &mut fleet, time);
    fleet.wait();
    // Where two servers take themselves for the primary, what Redis says is bounded as what memory says.
    let shared = if scenario == Scenario::Breaks(Breakage::TwoPrimaries) { fleet.bound } else { 0 };
    let mut verdict = Ledger::read(&fleet.logs).verdict((fleet.bound, shared), &outages);
    verdict.held = origin.held();
    verdict
}
