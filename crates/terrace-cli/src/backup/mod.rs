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

/// How long a call of the store may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies, verifies, puts it on the shelf, and says so in Redis.
///
/// # Errors
///
/// When there is no new copy, or Redis does not know of it.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let _guards = log::start(log::AccessLog::Off, log::AccessLog::Json).map_err(Failure::usage)?;
    let fleet = Fleet::open(PATIENCE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::runtime)?;
    let ended = runtime.block_on(run(&fleet, options));
    let printed = match (options.output, &ended) {
        (Format::Json, ended) => print_json(&report::json(&fleet, ended)),
        (Format::Table, Ok(copied)) => print(&copied.text()),
        (Format::Table, Err(_)) => Ok(()),
    };
    ended.and(printed)
}

async fn run(fleet: &Fleet, options: &Options) -> Result<Copied, Failure> {
    let started = Instant::now();
    let shelf = Shelf::open(&options.to)?;
    let mut server = server::choose(&fleet.store, options).await?;
    if options.bgsave {
        save::save(&mut server.wire, options.timeout).await?;
    }
    let mut part = shelf.begin(SystemTime::now())?;
    copy::copy(&mut server.wire, &mut part).await?;
    let rdb = part.verify()?;
    let file = part.finish()?;
    let took = started.elapsed();
    let removed = shelf.prune(options.keep, &file)?;
    fleet.store.task_succeeded(Task::Backup, took).await.map_err(|error| {
        Failure::runtime(format_args!("{} is made, but the watcher will not hear of it: {error}", file.display()))
    })?;
    let copied = Copied { file, rdb, server: server.wire.name(), is_replica: server.is_replica, took, removed };
    copied.log();
    Ok(copied)
}
