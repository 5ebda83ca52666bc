//! The command line of `terrace flush`.

use crate::purge::How;
use crate::text::Format;
use clap::Args;

/// Purge everything of a namespace in every process of a fleet: nothing that was fetched before is served again.
///
/// One round trip, however much that is: what is stored stays in Redis until its time is over, and is used by nobody.
/// --unlink also gives the memory back. Nothing but entries and leases of this namespace is ever removed: neither the
/// record that keeps processes coherent, nor what other namespaces and programs have there.
///
/// The environment is that of the fleet: `REDIS_*` say where its Redis is.
///
/// Exit status: 0 Redis has acknowledged it: no process answers with what was fetched before, not even from its memory
/// once `CACHE_L1_MAX_LAG` has passed. 1 it has not, fewer replicas than asked for have it, or not all memory was freed.
/// 2 a mistake in the arguments or the environment, or nobody has agreed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Which one, by its name. Where the environment has `CACHE_NAMESPACE`, it must be the same.
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: String,

    /// Remove the entries and leases from Redis as well. All keys of its database are looked at, --rate of them a second.
    #[arg(long, conflicts_with = "soft")]
    pub(crate) unlink: bool,

    /// Look at so many keys a second; one that is removed counts twice.
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "unlink",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,

    /// Do not ask. Without a terminal, where there is nobody to ask, it is needed.
    #[arg(long)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) how: How,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}
