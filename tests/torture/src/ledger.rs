//! What happened when, and whether that was allowed.

use crate::client::Read;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Nanoseconds since the machine started: the same for all of its processes.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Memory,
    Shared,
    Origin,
}

impl Source {
    const LETTERS: [(Self, &'static str); 3] = [(Self::Memory, "m"), (Self::Shared, "s"), (Self::Origin, "o")];

    pub(crate) fn letter(self) -> &'static str {
        Self::LETTERS.iter().find(|(known, _)| *known == self).map_or("", |(_, letter)| letter)
    }

    pub(crate) fn of_letter(letter: &str) -> Option<Self> {
        Self::LETTERS.iter().find(|(_, known)| *known == letter).map(|(source, _)| *source)
    }

    /// Reads `Cache-Status`.
    pub(crate) fn of(cache_status: &str) -> Self {
        match cache_status {
            hit if hit.contains("detail=l2") => Self::Shared,
            // Of another request's trip, which memory vouches for.
            hit if hit.contains("; hit") || hit.contains("; collapsed") => Self::Memory,
            _ => Self::Origin,
        }
    }
}

/// What a process writes down.
pub(crate) struct Log(Mutex<BufWriter<File>>);

impl Log {
    pub(crate) fn create(path: &Path) -> Self {
        Self(Mutex::new(BufWriter::new(File::create(path).expect("a file for what is written down"))))
    }

    pub(crate) fn line(&self, line: std::fmt::Arguments<'_>) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the disk has room");
    }

    /// An answer, to a request that was sent at `asked`.
    pub(crate) fn answer(&self, key: u64, read: Read, asked: u64) {
        self.line(format_args!("{} {key} {} {asked}", read.source.letter(), read.version));
    }

    /// An invalidation is acknowledged now.
    pub(crate) fn acknowledged(&self, key: u64, version: u64) {
        self.line(format_args!("a {key} {version} {}", now()));
    }

    /// So many answers were stale, and revalidated meanwhile.
    pub(crate) fn stale(&self, answers: u64) {
        self.line(format_args!("r 0 {answers} {}", now()));
    }

    /// A request failed.
    pub(crate) fn failed(&self) {
        self.line(format_args!("f 0 0 {}", now()));
    }

    /// So that nothing of it is lost with the process.
    pub(crate) fn flush(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush().expect("the disk has room");
    }
}

/// How old answers may be.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// From memory.
    memory: Duration,
    /// From Redis.
    shared: Duration,
}

impl Bounds {
    /// From memory the lag that is allowed, and one poll.
    pub(crate) const DEFAULT: Self = Self { memory: Duration::from_millis(1000 + 250), shared: Duration::ZERO };
    /// Where two servers take themselves for the primary: from Redis the lag that is allowed.
    pub(crate) const TWO_PRIMARIES: Self = Self { shared: Duration::from_secs(1), ..Self::DEFAULT };
}

/// Everything that was written down.
#[derive(Default)]
pub(crate) struct Ledger {
    answers: Vec<Answer>,
    /// For each key when which version was acknowledged, in order of time, the greatest so far.
    acknowledged: HashMap<u64, Vec<(u64, u64)>>,
    stale: u64,
    failures: u64,
}

struct Answer {
    key: u64,
    asked: u64,
    read: Read,
}

impl Ledger {
    pub(crate) fn read(logs: &[PathBuf]) -> Self {
        let mut ledger = Self::default();
        for log in logs {
            let file = File::open(log).expect("each node has written down what happened");
            for line in BufReader::new(file).lines() {
                ledger.take(&line.expect("text"));
            }
        }
        ledger.sort();
        ledger
    }

    fn sort(&mut self) {
        for acknowledged in self.acknowledged.values_mut() {
            acknowledged.sort_unstable();
            let mut greatest = 0;
            for (_, version) in acknowledged {
                greatest = greatest.max(*version);
                *version = greatest;
            }
        }
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("three numbers");
        let (key, version, asked) = (number(), number(), number());
        match kind {
            "a" => self.acknowledged.entry(key).or_default().push((asked, version)),
            "r" => self.stale += version,
            "f" => self.failures += 1,
            letter => {
                let source = Source::of_letter(letter).expect("a letter that is known");
                self.answers.push(Answer { key, asked, read: Read { version, source } });
            }
        }
    }

    /// The least version that an answer at `time` may have.
    fn owed(&self, key: u64, time: u64) -> u64 {
        let acknowledged = self.acknowledged.get(&key).map_or(&[][..], Vec::as_slice);
        let before = acknowledged.partition_point(|(at, _)| *at < time);
        before.checked_sub(1).map_or(0, |last| acknowledged[last].1)
    }

    pub(crate) fn verdict(&self, bounds: Bounds) -> Verdict {
        let mut verdict = Verdict { stale: self.stale, failures: self.failures, ..Verdict::default() };
        verdict.invalidations = self.acknowledged.values().map(Vec::len).sum::<usize>() as u64;
        for Answer { key, asked, read } in &self.answers {
            let allowance = match read.source {
                Source::Memory => bounds.memory,
                Source::Shared => bounds.shared,
                Source::Origin => Duration::ZERO,
            };
            let since = asked.saturating_sub(u64::try_from(allowance.as_nanos()).unwrap_or(u64::MAX));
            let counts = &mut verdict.of[read.source as usize];
            counts.answers += 1;
            counts.too_old += u64::from(read.version < self.owed(*key, since));
        }
        verdict
    }
}

/// What runs came to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Verdict {
    /// In the order of [`Source`].
    of: [Counts; 3],
    /// Answers that were stale, and being revalidated.
    stale: u64,
    invalidations: u64,
    failures: u64,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    answers: u64,
    too_old: u64,
}

impl Verdict {
    pub(crate) const HEADING: &str = "| run | seconds | reads | from memory | from Redis | from the origin | of all, stale while revalidated | acknowledged invalidations | failed | memory too old | Redis too old | origin too old |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

    pub(crate) fn row(&self, name: &str, seconds: u64) -> String {
        let (answers, too_old) = (self.of.map(|counts| counts.answers), self.of.map(|counts| counts.too_old));
        let numbers = [seconds, self.reads()].into_iter().chain(answers);
        let numbers = numbers.chain([self.stale, self.invalidations, self.failures]).chain(too_old);
        numbers.fold(format!("| {name} |"), |mut row, number| {
            let _ = write!(row, " {number} |");
            row
        })
    }

    pub(crate) fn reads(&self) -> u64 {
        self.of.iter().map(|counts| counts.answers).sum()
    }

    /// How many answers were too old.
    pub(crate) fn violations(&self) -> u64 {
        self.of.iter().map(|counts| counts.too_old).sum()
    }

    /// Whether an answer was too old, or none came.
    pub(crate) fn is_bad(&self) -> bool {
        self.violations() + self.failures > 0 || self.reads() == 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (counts, others) in self.of.iter_mut().zip(other.of) {
            counts.answers += others.answers;
            counts.too_old += others.too_old;
        }
        self.stale += other.stale;
        self.invalidations += other.invalidations;
        self.failures += other.failures;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn violations(lines: &[&str]) -> u64 {
        violations_of(Bounds::DEFAULT, lines)
    }

    fn violations_of(bounds: Bounds, lines: &[&str]) -> u64 {
        let mut ledger = Ledger::default();
        for line in lines {
            ledger.take(line);
        }
        ledger.sort();
        ledger.verdict(bounds).violations()
    }

    #[test]
    fn an_answer_from_redis_owes_what_was_acknowledged_before_it_was_asked_for() {
        let acknowledged = "a 7 2 1000";
        assert_eq!(violations(&[acknowledged, "s 7 1 1001"]), 1);
        assert_eq!(violations(&["s 7 1 1001", acknowledged]), 1, "in whatever order it was written down");
        assert_eq!(violations(&[acknowledged, "s 7 1 1000"]), 0);
        assert_eq!(violations(&[acknowledged, "s 7 2 1001"]), 0);
        assert_eq!(violations(&[acknowledged, "s 8 1 1001"]), 0);
        assert_eq!(violations(&["a 7 3 900", acknowledged, "s 7 2 1001"]), 1, "a later version came first");
        assert_eq!(violations(&[acknowledged, "o 7 1 1001"]), 1);
    }

    #[test]
    fn with_two_primaries_an_answer_from_redis_owes_what_was_acknowledged_the_lag_before() {
        let violations = |line: &str| violations_of(Bounds::TWO_PRIMARIES, &["a 7 2 1000", line]);
        assert_eq!(violations(&format!("s 7 1 {}", SECOND + 1000)), 0);
        assert_eq!(violations(&format!("s 7 1 {}", SECOND + 1001)), 1);
        assert_eq!(violations("o 7 1 1001"), 1);
    }

    #[test]
    fn an_answer_from_memory_owes_what_was_acknowledged_the_lag_and_a_poll_before() {
        let late = 5 * SECOND / 4 + 1000;
        assert_eq!(violations(&["a 7 2 1000", &format!("m 7 1 {late}")]), 0);
        assert_eq!(violations(&["a 7 2 1000", &format!("m 7 1 {}", late + 1)]), 1);
    }
}
