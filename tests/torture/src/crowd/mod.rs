//! Many requests, in many processes, that want the same.

pub(crate) mod hot;
pub(crate) mod stampede;

use crate::ledger::Source;
use std::time::Duration;

/// An answer that a member of the crowd got.
#[derive(Clone, Copy)]
struct Answer {
    /// `None` if it failed.
    source: Option<Source>,
    asked: u64,
    answered: u64,
}

impl Answer {
    fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        let source = Source::of_letter(words.next().unwrap_or_default());
        let mut time = || words.next().and_then(|word| word.parse().ok()).expect("a time");
        Self { source, asked: time(), answered: time() }
    }

    fn took(&self) -> Duration {
        Duration::from_nanos(self.answered - self.asked)
    }
}
