//! Who changes rights: says so before, or revokes what was known after.

use super::ledger::Line;
use super::source::{Directory, LAST, colleagues, who};
use crate::ledger::Log;
use std::future::pending;
use std::ops::Range;
use std::str::FromStr;
use terrace::authz::{Authz, Change, Scope};

/// Changes rights, and writes down from when on nothing before must be used.
pub(crate) struct Changes {
    pub(crate) authz: Authz,
    pub(crate) directory: Directory,
    pub(crate) log: Log,
    pub(crate) subjects: u64,
    /// Nothing that Redis has taken is lost: an announced change counts from when it is made, not from when its end is
    /// acknowledged.
    pub(crate) keeps: bool,
}

/// Where in a change its process is killed.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// It is announced, and nothing has changed.
    Begun,
    /// It is announced and made.
    Changed,
    /// It is made, and was not announced.
    Unannounced,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Changed => "changed",
            Self::Unannounced => "unannounced",
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Begun, Self::Changed, Self::Unannounced];
        all.into_iter().find(|step| step.name() == name).ok_or_else(|| format!("{name} is no step of a change"))
    }
}

impl Changes {
    /// Changes the rights of one subject, of a few, of a tenant, or of all, in one of the two ways.
    pub(crate) async fn some(&self) {
        let one = fastrand::u64(..self.subjects);
        let (numbers, scope) = match fastrand::u8(..64) {
            0 => ((0..self.subjects).collect(), Scope::All),
            1..=4 => (colleagues(one, self.subjects).collect(), Scope::Tenant(who(one).tenant)),
            5..=12 => {
                let some: Vec<u64> = Range { start: one, end: (one + 3).min(self.subjects) }.collect();
                let scope = Scope::Subjects(some.iter().map(|number| who(*number)).collect());
                (some, scope)
            }
            _ => (vec![one], Scope::Subject(who(one))),
        };
        let changed =
            if fastrand::bool() { self.announced(&numbers, scope).await } else { self.revoked(&numbers, scope).await };
        for (number, version) in changed.unwrap_or_default() {
            self.directory.acknowledged(&who(number), version).await;
        }
    }

    /// Changes, then revokes; `None` if that is not acknowledged.
    async fn revoked(&self, numbers: &[u64], scope: Scope) -> Option<Vec<(u64, u64)>> {
        let changed = self.make(numbers, false).await;
        let _receipt = self.authz.revoke(scope).await.ok()?;
        self.acknowledged(&changed);
        Some(changed)
    }

    /// Announces, changes if that was heard, and says that it is over; `None` if one of that is not acknowledged.
    async fn announced(&self, numbers: &[u64], scope: Scope) -> Option<Vec<(u64, u64)>> {
        let change = self.authz.begin_change(scope).await.ok()?;
        change.confirm().await.ok()?;
        let changed = self.make(numbers, self.keeps).await;
        let _receipt = change.commit().await.ok()?;
        self.acknowledged(&changed);
        Some(changed)
    }

    async fn make(&self, numbers: &[u64], counts: bool) -> Vec<(u64, u64)> {
        let mut changed = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let version = self.directory.change(&who(number)).await;
            if counts {
                Line::Made.write(&self.log, number, version);
            }
            changed.push((number, version));
        }
        changed
    }

    fn acknowledged(&self, changed: &[(u64, u64)]) {
        for &(number, version) in changed {
            Line::Acknowledged.write(&self.log, number, version);
        }
    }

    /// Begins to change the rights of one of the last, says so to whoever kills this process, and waits for that.
    pub(crate) async fn die(&self, which: u64, step: Step) {
        let number = LAST.start + which % (LAST.end - LAST.start);
        let _change = match step {
            Step::Unannounced => None,
            Step::Begun | Step::Changed => Some(self.announce(number).await),
        };
        let version = if matches!(step, Step::Begun) { 0 } else { self.make(&[number], true).await[0].1 };
        Line::Dies.write(&self.log, number, version);
        self.log.flush();
        println!("dying");
        pending::<()>().await;
    }

    /// Nothing is wrong with Redis: it may only be busy.
    async fn announce(&self, number: u64) -> Change {
        for _ in 0..20 {
            if let Ok(change) = self.authz.begin_change(Scope::Subject(who(number))).await {
                return change;
            }
        }
        panic!("Redis takes no announcement");
    }
}
