//! The command line of `terrace gate`.

use crate::measured::Where;
use crate::proxy::options::duration;
use crate::text::Format;
use clap::{ArgGroup, Args};
use std::path::PathBuf;
use std::time::Duration;

/// Judge, for a pipeline, whether what was deployed may stay or has to be rolled back.
///
/// It fails when requests or checks without an answer are more than 0.1 %, when the P95 is above one and a half times that
/// of the baseline, when calls of Redis fail for want of a connection or of time all the while, when nothing is stored in
/// Redis although something was fetched, or when a hit was found to differ from a fresh answer.
///
/// It warns when less than 99.99 % of requests or checks are answered, when the P95 is 50 ms or more whatever is usual,
/// when hits are fewer than 85 % of what asked the cache, process memory answers less than half or takes 1 ms, Redis less than
/// 80 % of what reaches it, what is stored takes longer than 30 ms, a check that Redis answers longer than 15 ms, a Redis
/// that this Prometheus knows is more than 80 % full, or a process that ran is not there any more.
///
/// It never passes what it could not see: too few requests, in that time or in the baseline, a time without data, a P95 and
/// its bound beyond what is timed, or a Prometheus that does not answer are inconclusive. What is switched off on purpose,
/// by `terrace flag` or the environment, need not be stored.
///
/// Exit status: 0 pass. 1 fail, or it passed and that could not be printed. 2 a mistake in the arguments or the environment. 3 inconclusive. 4 there are warnings,
/// and --strict.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("source").args(["prometheus"]).required(true)))]
pub(crate) struct Options {
    /// What is usual, from `terrace baseline capture`.
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: PathBuf,

    #[command(flatten)]
    pub(super) place: Where,

    /// Judge the last so long. Each fifth of it has to contain two scrapes.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(super) time: Duration,

    /// First let that time pass, so that nothing from before is judged.
    #[arg(long)]
    pub(super) wait: bool,

    /// From fewer requests, or checks, nothing follows, neither now nor in the baseline.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) min_requests: u32,

    /// Let warnings count.
    #[arg(long)]
    pub(super) strict: bool,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(super) output: Format,
}
