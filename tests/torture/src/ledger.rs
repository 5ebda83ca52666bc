//! What happened when, and whether that was allowed.

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

    fn line(&self, line: std::fmt::Arguments<'_>) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the disk has room");
    }

    /// An answer, to a request that was sent at `asked`.
    pub(crate) fn answer(&self, key: u64, version: u64, source: Source, asked: u64) {
        let letter = Source::LETTERS.iter().find(|(known, _)| *known == source).map_or("", |(_, letter)| letter);
        self.line(format_args!("{letter} {key} {version} {asked}"));
    }

    /// An invalidation is acknowledged now.
    pub(crate) fn acknowledged(&self, key: u64, version: u64) {
        self.line(format_args!("a {key} {version} {}", now()));
    }

    /// A request failed.
    pub(crate) fn failed(&self) {
        self.line(format_args!("f 0 0 {}", now()));
    }

    pub(crate) fn finish(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush().expect("the disk has room");
    }
}

/// How old answers may be.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// From memory.
    memory: Duration,
}

impl Bounds {
    /// The lag that is allowed, and one poll.
    pub(crate) const DEFAULT: Self = Self { memory: Duration::from_millis(1000 + 250) };
}

/// Everything that was written down.
#[derive(Default)]
pub(crate) struct Ledger {
    answers: Vec<Answer>,
    /// For each key when which version was acknowledged, in order of time, the greatest so far.
    acknowledged: HashMap<u64, Vec<(u64, u64)>>,
    failures: u64,
}

struct Answer {
    key: u64,
    version: u64,
    source: Source,
    asked: u64,
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
        for acknowledged in ledger.acknowledged.values_mut() {
            acknowledged.sort_unstable();
            let mut greatest = 0;
            for (_, version) in acknowledged {
                greatest = greatest.max(*version);
                *version = greatest;
            }
        }
        ledger
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("three numbers");
        let (key, version, asked) = (number(), number(), number());
        match kind {
            "a" => self.acknowledged.entry(key).or_default().push((asked, version)),
            "f" => self.failures += 1,
            letter => {
                let known = Source::LETTERS.iter().find(|(_, known)| *known == letter);
                let (source, _) = *known.expect("a letter that is known");
                self.answers.push(Answer { key, version, source, asked });
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
        let mut verdict = Verdict { failures: self.failures, ..Verdict::default() };
        verdict.invalidations = self.acknowledged.values().map(Vec::len).sum::<usize>() as u64;
        for answer in &self.answers {
            let allowance = if answer.source == Source::Memory { bounds.memory } else { Duration::ZERO };
            let since = answer.asked.saturating_sub(u64::try_from(allowance.as_nanos()).unwrap_or(u64::MAX));
            let violated = answer.version < self.owed(answer.key, since);
            let (count, violations) = match answer.source {
                Source::Memory => (&mut verdict.memory, &mut verdict.memory_too_old),
                Source::Shared => (&mut verdict.shared, &mut verdict.shared_too_old),
                Source::Origin => (&mut verdict.origin, &mut verdict.origin_too_old),
            };
            *count += 1;
            *violations += u64::from(violated);
        }
        verdict
    }
}

/// What a run came to.
#[derive(Default)]
pub(crate) struct Verdict {
    memory: u64,
    shared: u64,
    origin: u64,
    memory_too_old: u64,
    shared_too_old: u64,
    origin_too_old: u64,
    invalidations: u64,
    failures: u64,
}

impl Verdict {
    pub(crate) const HEADING: &str = "| run | from memory | from Redis | from the origin | acknowledged | failed | memory too old | Redis too old | origin too old |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|";

    pub(crate) fn row(&self, name: &str) -> String {
        let mut row = format!("| {name} |");
        for number in [
            self.memory,
            self.shared,
            self.origin,
            self.invalidations,
            self.failures,
            self.memory_too_old,
            self.shared_too_old,
            self.origin_too_old,
        ] {
            write!(row, " {number} |").expect("writing to a string does not fail");
        }
        row
    }

    /// Whether an answer was too old, or none came.
    pub(crate) fn is_bad(&self) -> bool {
        self.memory_too_old + self.shared_too_old + self.origin_too_old + self.failures > 0
    }
}
