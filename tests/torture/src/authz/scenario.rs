//! What is broken in each run.

use super::changes::Step;
use super::fleet::Fleet;
use crate::breakage::Breakage;
use crate::servers::Servers;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What happens while the processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// What also happens to responses. Half of the messages are lost, unless that is nothing.
    Breaks(Breakage),
    /// Nothing but that half of the messages are lost.
    BellsLost,
    /// Nothing but that all of the messages are lost.
    NoBells,
    /// Processes are killed in the middle of changes that they have announced.
    Killed,
    /// The same, but they have not announced them.
    KilledUnannounced,
}

/// How long a change of a process that was killed keeps its subject uncached.
pub(crate) const HOLD: Duration = Duration::from_secs(2);
/// Killed, held, swept and cached again, with some time to spare.
const KILL: Duration = Duration::from_secs(6);

impl Scenario {
    /// All in which nothing old may be seen.
    pub(crate) const ALL: [Self; 17] = [
        Self::Breaks(Breakage::None),
        Self::BellsLost,
        Self::NoBells,
        Self::Breaks(Breakage::AnswersHeld),
        Self::Breaks(Breakage::PollsHeld),
        Self::Breaks(Breakage::AnswersAndPollsHeld),
        Self::Breaks(Breakage::ClockMoved),
        Self::Breaks(Breakage::Pause),
        Self::Breaks(Breakage::Restart),
        Self::Breaks(Breakage::Rollback),
        Self::Breaks(Breakage::RollbackUnseen),
        Self::Breaks(Breakage::Flush),
        Self::Breaks(Breakage::ControlLost),
        Self::Breaks(Breakage::LossyFailover),
        Self::Breaks(Breakage::Sentinel),
        Self::Breaks(Breakage::TwoPrimaries),
        Self::Killed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Breaks(breakage) => breakage.name(),
            Self::BellsLost => "half of the messages lost",
            Self::NoBells => "all messages lost",
            Self::Killed => "process killed in the middle of a change",
            Self::KilledUnannounced => "process killed between a change and its revocation",
        }
    }

    /// Its share of the time of a run of all.
    pub(crate) fn weight(self) -> u32 {
        match self {
            Self::Breaks(breakage) => breakage.weight(),
            Self::BellsLost | Self::NoBells => 1,
            Self::Killed | Self::KilledUnannounced => 6,
        }
    }

    /// In less time nothing comes of it.
    pub(crate) fn least(self) -> Duration {
        match self {
            Self::Killed | Self::KilledUnannounced => KILL,
            // Its silence has to outlast the bound.
            Self::Breaks(Breakage::Pause) => Duration::from_secs(4),
            Self::Breaks(breakage) => breakage.least().max(Duration::from_secs(2)),
            _ => Duration::from_secs(2),
        }
    }

    pub(crate) fn servers(self) -> Servers {
        if let Self::Breaks(breakage) = self { breakage.servers() } else { Servers::one() }
    }

    /// Of a hundred messages so many are lost.
    pub(crate) fn lost_bells(self) -> u8 {
        match self {
            Self::Breaks(Breakage::None) => 0,
            Self::NoBells => 100,
            _ => 50,
        }
    }

    pub(crate) fn holds_answers(self) -> bool {
        matches!(self, Self::Breaks(breakage) if breakage.holds_answers())
    }

    pub(crate) fn spares_the_first(self) -> bool {
        matches!(self, Self::Breaks(breakage) if breakage.spares_the_first())
    }

    /// Whether Redis loses nothing that it has taken.
    pub(crate) fn keeps(self) -> bool {
        match self {
            Self::Breaks(breakage) => matches!(
                breakage,
                Breakage::None
                    | Breakage::AnswersHeld
                    | Breakage::PollsHeld
                    | Breakage::AnswersAndPollsHeld
                    | Breakage::ClockMoved
            ),
            _ => true,
        }
    }

    /// Breaks it, until the processes end by themselves; the times in which no Redis answered.
    pub(crate) fn carry_out(self, servers: &mut Servers, fleet: &mut Fleet, time: Duration) -> Vec<Range<u64>> {
        match self {
            Self::Breaks(breakage) => return breakage.carry_out(servers, &mut fleet.processes, time),
            Self::BellsLost | Self::NoBells => {}
            Self::Killed => kill(fleet, time, &[Step::Changed, Step::Begun]),
            Self::KilledUnannounced => kill(fleet, time, &[Step::Unannounced]),
        }
        Vec::new()
    }
}

/// One process after the other dies, as `kill -9`, and another takes its place.
fn kill(fleet: &mut Fleet, time: Duration, steps: &[Step]) {
    let (begun, parts) = (Instant::now(), u32::try_from(time.as_secs() / KILL.as_secs()).unwrap_or(u32::MAX).max(1));
    let part = time / parts;
    for (which, step) in (0..parts).zip(steps.iter().cycle()) {
        // What all have loaded by then.
        sleep((part * which + part / 8).saturating_sub(begun.elapsed()));
        fleet.kill(which as usize, *step);
        fleet.replace(which as usize, time.saturating_sub(begun.elapsed()));
    }
}
