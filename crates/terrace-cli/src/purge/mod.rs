//! `terrace purge`: tells a running fleet, through its Redis, that something has changed.
//!
//! What it reports was acknowledged. What was not it does not owe: it tries again until its time is over, and then says
//! that it failed.

mod glob;
mod options;
mod report;
mod rights;

pub(crate) use options::{How, Options, duration, url};
pub(crate) use report::Report;

use crate::failure::Failure;
use crate::fleet::Fleet;
use rights::Rights;
use std::error::Error as _;
use std::time::Duration;
use terrace::{Receipt, Store};
use tokio::time::{Instant, sleep, timeout_at};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Something to be purged.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Url(String),
    Tag(String),
    Prefix(String),
    Partition(String),
    Rights(Rights),
    Everything,
}

impl Target {
    /// The scope, and the name within it.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Url(url) => ("url", url),
            Self::Tag(tag) => ("tag", tag),
            Self::Prefix(prefix) => ("prefix", prefix),
            Self::Partition(name) => ("partition", name),
            Self::Rights(rights) => rights.parts(),
            Self::Everything => ("everything", ""),
        }
    }

    /// Why it is not acknowledged, if Redis does not say why.
    fn obstacle(&self) -> &'static str {
        let of_rights = if let Self::Rights(rights) = self { rights.obstacle() } else { None };
        of_rights.unwrap_or("Redis did not answer in time")
    }
}

/// Purges what the command line names.
///
/// # Errors
///
/// When not all of it was acknowledged, after what was is printed.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let fleet = Fleet::open(options.how.timeout)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    let report = runtime.block_on(async {
        if !options.glob.is_empty() {
            return Ok(glob::run(&fleet, options).await);
        }
        let mut targets = targets(options);
        targets.extend(Rights::targets(&fleet, options)?);
        Ok(run(&fleet, targets, &options.how).await)
    })?;
    let printed = report.print(options.output);
    report.outcome().and(printed)
}

fn targets(options: &Options) -> Vec<Target> {
    fn all(names: &[String], target: fn(String) -> Target) -> impl Iterator<Item = Target> {
        names.iter().cloned().map(target)
    }
    let urls = all(&options.urls, Target::Url).chain(all(&options.tag, Target::Tag));
    let others = all(&options.prefix, Target::Prefix).chain(all(&options.partition, Target::Partition));
    urls.chain(others).collect()
}

/// One after the other; the first that fails ends it, for the others would fail as well.
pub(crate) async fn run(fleet: &Fleet, targets: Vec<Target>, how: &How) -> Report {
    let mut report = Report::new(fleet, how);
    let count = targets.len();
    for (done, target) in targets.into_iter().enumerate() {
        match how.acknowledged(&fleet.store, &target).await {
            Ok(receipt) => report.add(target, receipt),
            Err(why) => {
                report.failed(&target, &why, count - done - 1);
                break;
            }
        }
    }
    report
}

impl How {
    /// Purges until that is acknowledged.
    ///
    /// # Errors
    ///
    /// Why it was not in the time that there is.
    async fn acknowledged(&self, store: &Store, target: &Target) -> Result<Receipt, String> {
        let waits = self.replicas.map_or(Duration::ZERO, |_| self.wait);
        let end = Instant::now() + self.timeout + waits;
        let mut why = None;
        loop {
            match timeout_at(end, self.purge(store, target)).await {
                Ok(Ok(receipt)) => return Ok(receipt),
                Ok(Err(error)) if error.is_unconfirmed() => why = error.source().map(ToString::to_string).or(why),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(why.unwrap_or_else(|| target.obstacle().to_owned())),
            }
            // What is left of the time is waited for in the next turn.
            let _ = timeout_at(end, sleep(PAUSE)).await;
        }
    }

    async fn purge(&self, store: &Store, target: &Target) -> Result<Receipt, terrace::Error> {
        let mut purge = match target {
            Target::Url(url) => store.purge_url(url),
            Target::Tag(tag) => store.purge_tag(tag),
            Target::Prefix(prefix) => store.purge_prefix(prefix),
            Target::Partition(name) => store.purge_partition(name),
            Target::Rights(rights) => return rights.revoke().await,
            Target::Everything => store.purge_all(),
        };
        if self.soft {
            purge = purge.soft();
        }
        if let Some(count) = self.replicas {
            purge = purge.replicated(count, self.wait);
        }
        purge.await
    }
}
