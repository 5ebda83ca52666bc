//! `terrace backup`: a copy of what a fleet has in Redis, as a file that redis-server can start with.
//!
//! ```text
//! server: whom to ask ─ save: its own snapshot, if wanted ─ copy: the data, as a replica gets it ─ rdb: is it whole?
//!    └ wire: the protocol                                     └ shelf: the directory of copies ┘
//! ```
//!
//! The file comes through the replication protocol, so nothing is needed of the server's disk.

mod copy;
mod options;
mod rdb;
mod report;
mod save;
mod server;
mod shelf;
mod wire;

pub(crate) use options::Options;

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::proxy::log;
use crate::text::{Format, print, print_json};
use report::Copied;
use shelf::Shelf;
use std::time::{Duration, Instant, SystemTime};
use terrace::stats::Task;
use tokio::time::timeout;

/// How long a call of the store may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies, verifies, puts it on the shelf, and says so in Redis.
///
/// # Errors
///
/// When there is no new copy, Redis does not know of it, or older ones could not be removed.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let _guards = log::start(log::AccessLog::Off, log::AccessLog::Json).map_err(Failure::usage)?;
    let fleet = Fleet::open(PATIENCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    let ended = runtime.block_on(async {
        let shelf = Shelf::open(&options.to)?;
        let late = || Failure::runtime(format_args!("there is no copy after {:?}, the --deadline", options.deadline));
        let made = timeout(options.deadline, make(&fleet, options, &shelf)).await.unwrap_or_else(|_| Err(late()))?;
        Ok(settle(&fleet, options, &shelf, made).await)
    });
    let (copied, failure) = match ended {
        Ok((copied, settled)) => (Some(copied), settled.err()),
        Err(failure) => (None, Some(failure)),
    };
    let printed = match (options.output, &copied) {
        (Format::Json, _) => print_json(&report::json(&fleet, copied.as_ref(), failure.as_ref())),
        (Format::Table, Some(copied)) => print(&copied.text()),
        (Format::Table, None) => Ok(()),
    };
    failure.map_or(Ok(()), Err).and(printed)
}

async fn make(fleet: &Fleet, options: &Options, shelf: &Shelf) -> Result<Copied, Failure> {
    let (started, removed) = (Instant::now(), Vec::new());
    let mut server = server::choose(&fleet.store, options).await?;
    if options.bgsave {
        save::save(&mut server.wire, options.timeout).await?;
    }
    let mut part = shelf.begin(SystemTime::now())?;
    copy::copy(&mut server.wire, &mut part).await?;
    let rdb = part.verify()?;
    let file = part.finish()?;
    let took = started.elapsed();
    Ok(Copied { file, rdb, server: server.wire.name(), is_replica: server.is_replica, took, removed })
}

/// What follows from a new copy, which is there whatever becomes of that.
async fn settle(fleet: &Fleet, options: &Options, shelf: &Shelf, mut copied: Copied) -> (Copied, Result<(), Failure>) {
    let noted = fleet.store.task_succeeded(Task::Backup, copied.took).await.map_err(|error| {
        let file = copied.file.display();
        Failure::runtime(format_args!("{file} is made, but the watcher will not hear of it: {error}"))
    });
    let pruned = shelf.prune(options.keep, &copied.file).map(|removed| copied.removed = removed);
    copied.log();
    (copied, noted.and(pruned))
}
