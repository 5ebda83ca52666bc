//! Going through what Redis has, slowly enough for the others who use it.

use crate::failure::Failure;
use crate::fleet::Fleet;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use terrace::inspect::{EntryKey, Scan};
use tokio::time::{Instant, sleep_until};

/// How fast, and how far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Keys of the database that are looked at in a second.
    pub(crate) rate: u32,
    /// And at most in all.
    pub(crate) max_keys: Option<u64>,
}

/// Keeps a pace, and shows how far it is.
pub(crate) struct Stride {
    pace: Pace,
    started: Instant,
    progress: Progress,
    /// About how many keys of the database were seen, those of others included.
    pub(crate) examined: u64,
    /// What else counts for the pace.
    charged: u64,
}

impl Stride {
    /// `total` is how many keys there are, if that is known.
    pub(crate) fn new(pace: Pace, total: Option<u64>) -> Self {
        let progress = Progress { total, shown: io::stderr().is_terminal() };
        Self { pace, started: Instant::now(), progress, examined: 0, charged: 0 }
    }

    /// Waits until it may go on. `false` if it has gone far enough.
    pub(crate) async fn goes_on(&mut self) -> bool {
        if self.pace.max_keys.is_some_and(|max| self.examined >= max) {
            self.progress.end();
            return false;
        }
        let spent = as_f64(self.examined + self.charged) / f64::from(self.pace.rate);
        sleep_until(self.started + Duration::from_secs_f64(spent)).await;
        true
    }

    /// So many more keys were seen.
    pub(crate) fn saw(&mut self, examined: u64) {
        self.examined += examined;
        self.progress.at(self.examined);
    }

    /// Slows it down as so many more keys would.
    pub(crate) fn charge(&mut self, keys: u64) {
        self.charged += keys;
    }

    /// It has seen everything.
    pub(crate) fn end(&mut self) {
        self.examined = self.progress.total.map_or(self.examined, |total| self.examined.min(total));
        self.progress.end();
    }
}

/// A walk through the entries.
pub(crate) struct Walk {
    scan: Scan,
    pub(crate) stride: Stride,
    seen: HashSet<EntryKey>,
    /// Entries of which nothing is known.
    pub(crate) unreadable: u64,
    /// Whether it has seen everything.
    pub(crate) complete: bool,
}

impl Walk {
    /// `total` is how many keys there are, if that is known.
    pub(crate) fn new(scan: Scan, pace: Pace, total: Option<u64>) -> Self {
        Self { scan, stride: Stride::new(pace, total), seen: HashSet::new(), unreadable: 0, complete: false }
    }

    /// The next entries, none of them twice. `None` at the end, or when it has gone far enough.
    ///
    /// # Errors
    ///
    /// When Redis cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<EntryKey>>, Failure> {
        if !self.stride.goes_on().await {
            return Ok(None);
        }
        let Some(page) = self.scan.next().await.map_err(Failure::runtime)? else {
            self.complete = true;
            self.stride.end();
            return Ok(None);
        };
        self.stride.saw(page.examined);
        self.unreadable += page.unreadable;
        Ok(Some(page.keys.into_iter().filter(|key| self.seen.insert(key.clone())).collect()))
    }

    /// How many entries it has met.
    pub(crate) fn entries(&self) -> u64 {
        self.seen.len() as u64
    }
}

/// What somebody at a terminal sees meanwhile.
struct Progress {
    total: Option<u64>,
    shown: bool,
}

impl Progress {
    fn at(&self, examined: u64) {
        if self.shown {
            let of = self.total.map_or_else(String::new, |total| format!(" of about {total}"));
            eprint!("\rlooked at {}{of} keys\u{1b}[K", self.total.map_or(examined, |total| examined.min(total)));
            let _ = io::stderr().flush();
        }
    }

    fn end(&self) {
        if self.shown {
            eprint!("\r\u{1b}[K");
        }
    }
}

/// Of what is counted here nobody needs the last digits.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53, or not exact anyway")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// How many keys there are.
///
/// # Errors
///
/// When Redis cannot be read.
pub(crate) async fn total(fleet: &Fleet) -> Result<Option<u64>, Failure> {
    Ok(fleet.store.inspect_namespace().await.map_err(Failure::runtime)?.keys)
}
