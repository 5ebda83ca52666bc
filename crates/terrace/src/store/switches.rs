//! What is switched for a whole fleet: a short text in Redis, of which every process applies what is new.
//!
//! A line is `when feature state who why`: milliseconds since 1970 by the server's clock, a word each, and the rest of the
//! line. The last line of a feature counts; the lines before it tell who has switched what.

use super::Store;
use super::l2::L2;
use super::remote::Fault;
use crate::Error;
use crate::config::Flags;
use crate::observe::stats::{Feature, L2Op};
use std::fmt;
use std::time::{Duration, SystemTime};

/// More than that was not written by us, and is not read.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// So many lines are kept, beside the last of each feature.
pub(crate) const MAX_LINES: usize = 64;

/// The longest name of who switches something, and the longest reason, in characters.
const LONGEST: [usize; 2] = [64, 200];

/// How a feature is switched for a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Switch {
    /// In use by every process.
    On,
    /// In use by none.
    Off,
    /// As each process was started.
    AsStarted,
}

impl Switch {
    /// `on`, `off` or `as-started`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::AsStarted => "as-started",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::On, Self::Off, Self::AsStarted].into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A feature was switched for a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switched {
    /// What was switched.
    pub feature: Feature,
    /// How.
    pub to: Switch,
    /// When, by the clock of the Redis server.
    pub at: SystemTime,
    /// Who did it, as they said: one word.
    pub by: String,
    /// Why, as they said; may be empty.
    pub why: String,
}

impl Switched {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next();
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(word()?.parse().ok()?))?;
        let (feature, to) = (feature(word()?)?, Switch::parse(word()?)?);
        let (by, why) = (word()?.to_owned(), word()?.to_owned());
        Some(Self { feature, to, at, by, why })
    }
}

fn feature(name: &str) -> Option<Feature> {
    Feature::ALL.iter().copied().find(|feature| feature.as_str() == name)
}

/// What the text says, the oldest first. A line that cannot be read, as one of a later version, says nothing.
pub(crate) fn parse(text: &[u8]) -> Vec<Switched> {
    // What follows the last end of a line is not whole.
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    lines.filter_map(|line| Switched::parse(str::from_utf8(line).ok()?)).collect()
}

/// A line without its time, for it is the server that dates it.
fn line(feature: Feature, to: Switch, by: &str, why: &str) -> String {
    let [longest_by, longest_why] = LONGEST;
    let plain = |text: &str, most| -> String {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect::<String>().trim().to_owned()
    };
    let by = plain(by, longest_by).split_whitespace().collect::<Vec<_>>().join("_");
    let by = if by.is_empty() { "unknown" } else { &by };
    format!("{} {to} {by} {}", feature.as_str(), plain(why, longest_why))
}

/// What of the fleet's switches this process has applied.
#[derive(Debug, Default)]
pub(super) struct Applied([Option<Switched>; Feature::ALL.len()]);

impl Applied {
    /// Of each feature the last, if it is not applied yet. It counts as applied then.
    fn news(&mut self, all: Vec<Switched>) -> Vec<Switched> {
        let mut last: [Option<Switched>; Feature::ALL.len()] = Default::default();
        for switched in all {
            let at = switched.feature as usize;
            last[at] = Some(switched);
        }
        let pairs = self.0.iter_mut().zip(last);
        pairs.filter_map(|(applied, last)| Some((applied, last?))).filter_map(take_over).collect()
    }
}

fn take_over((applied, last): (&mut Option<Switched>, Switched)) -> Option<Switched> {
    let is_news = applied.as_ref() != Some(&last);
    is_news.then(|| applied.insert(last).clone())
}

impl L2 {
    /// Applies what was switched for the fleet since the last time. What cannot be read changes nothing.
    pub(super) async fn obey_switches(&self, applied: &mut Applied) -> Result<(), Fault> {
        let text = self.counted(L2Op::Get, self.remote.switches()).await?;
        for switched in applied.news(parse(&text)) {
            if switched.feature == Feature::L2 {
                // Who left the tier altogether would not hear that it is switched on again.
                self.needed();
            }
            apply(&self.settings.flags(), &switched);
        }
        Ok(())
    }
}

fn apply(flags: &Flags, switched: &Switched) {
    let on = match switched.to {
        Switch::On => Some(true),
        Switch::Off => Some(false),
        Switch::AsStarted => None,
    };
    flags.set_for_fleet(switched.feature, on, (&switched.by, &switched.why));
}

/// What is switched for all processes of the namespace.
impl Store {
    /// Switches a feature for every process of the namespace: those that run follow within six seconds
    /// (or as soon as they poll, where `CACHE_POLL_INTERVAL` is longer), those that start
    /// later when they have connected. Neither gates invalidation, as no [flag](Store::flags) does. `by` says who does it
    /// and `why` for what reason; both are kept in Redis and logged by every process (`cache_flag_changed`), so they
    /// should be no secrets. What is too long in them is cut off.
    ///
    /// The latest word counts: a process whose flags are set by itself after this keeps what it was set to. A process
    /// that runs with `CACHE_FLEET_SWITCHES=off`, or that was started with `CACHE_L2_ENABLED=off` and so has no
    /// connection, obeys none. A process that cannot read the switches stays as it is; so does one whose Redis has lost
    /// them.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis does not confirm it within `CACHE_L2_WRITE_BUDGET`. It may have
    /// taken effect nevertheless, and is not repeated.
    pub async fn switch(&self, feature: Feature, to: Switch, by: &str, why: &str) -> Result<(), Error> {
        let l2 = self.shared()?;
        let line = line(feature, to, by, why);
        let done = l2.counted(L2Op::Script, l2.remote.switch(&line)).await;
        done.map_err(|fault| Error::untaken(self.why(fault).unwrap_or_default()))
    }

    /// What was switched for the fleet, the latest last: of each feature the last, and the 64 latest changes.
    ///
    /// # Errors
    ///
    /// If nothing is shared through Redis, or Redis does not answer within `CACHE_L2_READ_BUDGET`.
    pub async fn switches(&self) -> Result<Vec<Switched>, Error> {
        let l2 = self.shared()?;
        let text = l2.counted(L2Op::Get, l2.remote.switches()).await;
        text.map(|text| parse(&text)).map_err(|fault| Error::unseen(self.why(fault).unwrap_or_default()))
    }

    fn shared(&self) -> Result<&L2, Error> {
        let alone =
            || Error::config("nothing is shared through Redis, so there is no fleet; expected REDIS_*".to_owned());
        self.inner.l2.as_deref().ok_or_else(alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<(Feature, Switch, String)> {
        parse(text.as_bytes()).into_iter().map(|it| (it.feature, it.to, it.why)).collect()
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let text = format!("1732212345678 {}\n", line(Feature::AuthzL2, Switch::Off, "alice b", "slow:\n since 12"));
        let [read] = &parse(text.as_bytes())[..] else { panic!("{text}") };
        assert_eq!(
            (read.feature, read.to, &*read.by, &*read.why),
            (Feature::AuthzL2, Switch::Off, "alice_b", "slow:  since 12")
        );
        assert_eq!(read.at, SystemTime::UNIX_EPOCH + Duration::from_millis(1_732_212_345_678));
        for (by, why) in [("", ""), (" ", " "), (&*"x".repeat(1000), &*"y".repeat(1000)), ("a\u{0}b", "\r\n")] {
            let text = format!("1 {}\n", line(Feature::Cache, Switch::AsStarted, by, why));
            assert_eq!(parse(text.as_bytes()).len(), 1, "{text}");
            assert!(text.len() < 300, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let text =
            "1 cache off a why\n2 telepathy on a why\nx cache on a b\n3 cache maybe a b\n4 cache on\n\n5 cache on a ";
        assert_eq!(said(text), [(Feature::Cache, Switch::Off, "why".to_owned())]);
        assert!(said("99999999999999999999999 cache off a b\n").is_empty());
        assert!(parse(&[0xff, b'\n', 0, b'\n']).is_empty());
    }

    #[test]
    fn of_each_feature_the_last_counts_once() {
        let text = "1 cache off a x\n2 l2 off a x\n3 cache on a x\n";
        let mut applied = Applied::default();
        let news = |applied: &mut Applied, text: &str| {
            let news = applied.news(parse(text.as_bytes()));
            news.into_iter().map(|it| (it.feature, it.to)).collect::<Vec<_>>()
        };
        assert_eq!(news(&mut applied, text), [(Feature::Cache, Switch::On), (Feature::L2, Switch::Off)]);
        assert_eq!(news(&mut applied, text), []);
        assert_eq!(news(&mut applied, ""), [], "lost, and nothing changes");
        assert_eq!(news(&mut applied, "1 cache off a x\n4 l2 on a x\n3 cache on a x\n"), [(Feature::L2, Switch::On)]);
    }
}
