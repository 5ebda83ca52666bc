//! What is broken, and when.

use crate::ledger::now;
use crate::process::Process;
use crate::servers::Servers;
use clap::ValueEnum;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What happens while the processes run. In each, half of the messages about invalidations are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Breakage {
    /// Nothing else.
    None,
    /// The origin holds answers up until what they say has been invalidated.
    AnswersHeld,
    /// The polls of all processes are held up.
    PollsHeld,
    /// Both.
    AnswersAndPollsHeld,
    /// The wall clock of one process is a quarter of an hour fast, then slow.
    ClockMoved,
    /// The server stops, and goes on a second to twenty later, again and again.
    Pause,
    /// The server is killed, and starts again without data.
    Restart,
    /// The server is killed, and starts again with the data of some time ago.
    Rollback,
    /// The same, while polls are held up, so that none sees that positions went back.
    RollbackUnseen,
    /// Everything in the server is deleted.
    Flush,
    /// The control record is deleted, and nothing else.
    ControlLost,
    /// The replica takes over, without the writes of the last 400 ms, some of which were acknowledged.
    LossyFailover,
    /// The primary of three servers is killed, and Sentinels promote another.
    Sentinel,
    /// Sentinels promote another while the primary lives, which for some seconds takes itself for the primary too. One process,
    /// whose polls are held up and which writes nothing, stays with it.
    TwoPrimaries,
}

impl Breakage {
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "nothing breaks",
            Self::AnswersHeld => "origin's answers held until invalidated",
            Self::PollsHeld => "polls held up",
            Self::AnswersAndPollsHeld => "answers and polls held up",
            Self::ClockMoved => "wall clock of one process +15 min, -15 min",
            Self::Pause => "Redis stopped (SIGSTOP) 1 s to 20 s",
            Self::Restart => "Redis killed, restarted empty",
            Self::Rollback => "Redis killed, restarted with old data",
            Self::RollbackUnseen => "the same while polls are held up",
            Self::Flush => "FLUSHALL",
            Self::ControlLost => "control record deleted",
            Self::LossyFailover => "failover that loses 400 ms of writes",
            Self::Sentinel => "primary killed, Sentinels promote another",
            Self::TwoPrimaries => "Sentinels promote another while the primary lives",
        }
    }

    /// Its share of the time of a run of all.
    pub(crate) fn weight(self) -> u32 {
        match self {
            Self::None | Self::ClockMoved => 1,
            Self::AnswersHeld | Self::Restart | Self::Rollback | Self::Flush | Self::ControlLost => 2,
            Self::PollsHeld | Self::RollbackUnseen | Self::LossyFailover => 3,
            Self::AnswersAndPollsHeld => 4,
            Self::Pause | Self::Sentinel | Self::TwoPrimaries => 6,
        }
    }

    /// In less time nothing comes of it.
    pub(crate) fn least(self) -> Duration {
        match self {
            // As the Sentinels' vote has to end before it does.
            Self::Sentinel => Duration::from_secs(6),
            // And then the lag that is allowed.
            Self::TwoPrimaries => Duration::from_secs(9),
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn servers(self) -> Servers {
        match self {
            Self::LossyFailover => Servers::replicated(),
            Self::Sentinel | Self::TwoPrimaries => Servers::watched(),
            _ => Servers::one(),
        }
    }

    pub(crate) fn holds_answers(self) -> bool {
        matches!(self, Self::AnswersHeld | Self::AnswersAndPollsHeld)
    }

    /// Whether the first of the processes writes nothing.
    pub(crate) fn spares_the_first(self) -> bool {
        self == Self::TwoPrimaries
    }

    /// Breaks it, until the nodes end by themselves. When the server was stopped, by the clock of the machine.
    pub(crate) fn carry_out(self, servers: &mut Servers, nodes: &mut [Process], time: Duration) -> Vec<Range<u64>> {
        match self {
            Self::None | Self::AnswersHeld => {}
            Self::PollsHeld | Self::AnswersAndPollsHeld => hold_polls(nodes, time, |_| {}),
            Self::ClockMoved => move_clock(&mut nodes[1], time),
            Self::Pause => return pause(servers, time),
            Self::Restart => again(time, Duration::from_secs(5), || servers.primary().restart()),
            Self::Rollback => roll_back(servers, time),
            Self::RollbackUnseen => hold_polls(nodes, time, |held| roll_back(servers, held)),
            Self::Flush => again(time, Duration::from_secs(2), || drop(servers.primary().command(&["FLUSHALL"]))),
            Self::ControlLost => {
                let mut turns = LOSSES.into_iter().cycle();
                again(time, Duration::from_secs(2), || {
                    servers.primary().command(turns.next().expect("they go round and round"));
                });
            }
            Self::LossyFailover => fail_over(servers, time),
            Self::Sentinel => fail_over_watched(servers, time),
            Self::TwoPrimaries => leave_primaries(servers, &mut nodes[0], time),
        }
        Vec::new()
    }
}

/// The control record is lost, what look-ups read of it, and both: that of responses, and that of rights.
const LOSSES: [&[&str]; 3] = [
    &["DEL", "{default}:ctl", "{rights}:ctl"],
    &["DEL", "{default}:latest", "{rights}:latest"],
    &["DEL", "{default}:ctl", "{default}:latest", "{rights}:ctl", "{rights}:latest"],
];

/// Does something at the end of each of the equal parts, of about this length, into which the time falls, but not at
/// the end of the last.
fn again(time: Duration, part: Duration, mut work: impl FnMut()) {
    let parts = u32::try_from(time.as_nanos() / part.as_nanos()).unwrap_or(u32::MAX).max(2);
    for _ in 1..parts {
        sleep(time / parts);
        work();
    }
}

/// For half of each twelve seconds polls are held up: longer than memory is believed without them.
fn hold_polls(nodes: &mut [Process], time: Duration, mut meanwhile: impl FnMut(Duration)) {
    let mut tell_all = |order: &str| nodes.iter_mut().for_each(|node| node.tell(order));
    let times = u32::try_from(time.as_secs() / 12).unwrap_or(u32::MAX).max(1);
    let half = time / times / 2;
    for _ in 0..times {
        sleep(half / 2);
        tell_all("hold-polls");
        let held = Instant::now();
        meanwhile(half);
        sleep(half.saturating_sub(held.elapsed()));
        tell_all("let-polls-go");
        sleep(half / 2);
    }
}

fn move_clock(node: &mut Process, time: Duration) {
    for seconds in ["900", "-900", "0"] {
        sleep(time / 4);
        node.tell(&format!("move-clock {seconds}"));
    }
}

/// Each time longer, as long as some of the time is left to run in.
fn pause(servers: &mut Servers, time: Duration) -> Vec<Range<u64>> {
    let mut left = time * 6 / 10;
    let mut pauses = [20, 10, 5, 2, 1].map(Duration::from_secs).to_vec();
    pauses.retain(|pause| left.checked_sub(*pause).map(|rest| left = rest).is_some());
    let silent: Duration = pauses.iter().sum();
    let parts = u32::try_from(pauses.len()).expect("a few") + 1;
    let mut outages = Vec::new();
    for pause in pauses.into_iter().rev() {
        sleep(time.saturating_sub(silent) / parts);
        servers.primary().pause();
        let stopped = now();
        sleep(pause);
        outages.push(stopped..now());
        servers.primary().resume();
    }
    outages
}

fn roll_back(servers: &mut Servers, time: Duration) {
    again(time, Duration::from_secs(10), || {
        servers.primary().command(&["SAVE"]);
        sleep((time / 5).min(Duration::from_secs(2)));
        servers.primary().restart();
    });
}

fn fail_over(servers: &mut Servers, time: Duration) {
    again(time, Duration::from_secs(8), || {
        servers.fail_over();
        servers.replicate();
    });
}

/// The Sentinels take their time, which counts.
fn fail_over_watched(servers: &mut Servers, time: Duration) {
    let (started, part) = (Instant::now(), (time / 3).min(Duration::from_secs(15)));
    while started.elapsed() + part * 2 < time + Duration::from_secs(1) {
        sleep(part);
        servers.kill_watched_primary();
    }
}

/// The Sentinels make a replica of one that was left after about ten seconds, and not before another can be left.
fn leave_primaries(servers: &mut Servers, node: &mut Process, time: Duration) {
    let times = u32::try_from(time.as_secs() / 15).unwrap_or(u32::MAX).max(1);
    let part = time / times;
    for _ in 0..times {
        let begun = Instant::now();
        sleep(part / 8);
        node.tell("hold-polls");
        servers.leave_watched_primary();
        sleep(Duration::from_secs(4).min(part.saturating_sub(begun.elapsed())));
        node.tell("let-polls-go");
        sleep(part.saturating_sub(begun.elapsed()));
    }
}
