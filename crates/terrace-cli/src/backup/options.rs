//! The command line of `terrace backup`.

use crate::purge::duration;
use crate::text::Format;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Copy all that is in the fleet's Redis into a file, with which redis-server can start.
///
/// The copy is taken as a replica takes it, through the network: from a replica where there is one, which spares the
/// primary the work, else from the primary. It is verified to its last byte before it gets its name,
/// `terrace-TIME.rdb`; then the oldest copies beyond --keep are removed, and no other file.
///
/// A primary that never had a replica becomes another server for Terrace by being copied: a new epoch begins, and nothing
/// stored before is used again. It is copied only with --new-epoch. `repl-backlog-ttl 0` in its configuration makes that
/// happen once for each start of it, and not every time.
///
/// The environment is that of the fleet; its user needs INFO, REPLCONF and SYNC, and BGSAVE and TIME for --bgsave. A cluster has no
/// server with everything: copy its nodes one by one, each by `REDIS_HOST`. Directories are not to be shared by several.
///
/// Exit status: 0 there is a new copy, and `terrace watch` knows it. 1 there is none, or there is one, but Redis did
/// not take the note about it, older ones could not be removed, or it could not be printed. 2 a mistake in the arguments or the environment.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// The directory of the copies.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,

    /// How many copies to keep, the new one included.
    #[arg(long, value_name = "N", default_value_t = 28, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) keep: u32,

    /// Have the server write its own snapshot first, and wait until LASTSAVE has moved: BGSAVE. The copy does not need it;
    /// it shows that the server can save. Where it cannot, it may refuse all writes afterwards
    /// (`stop-writes-on-bgsave-error`).
    #[arg(long)]
    pub(crate) bgsave: bool,

    /// Copy also a primary that never had a replica, which empties the cache.
    #[arg(long)]
    pub(crate) new_epoch: bool,

    /// Give up when nothing has come for so long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// Give up when there is no copy after so long, however much has come.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = crate::proxy::options::duration)]
    pub(crate) deadline: Duration,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}
