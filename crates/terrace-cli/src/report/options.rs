//! The command line of `terrace report`.

use crate::measured::{Where, instant};
use crate::proxy::options::duration;
use crate::text::Format;
use clap::{ArgGroup, Args};
use std::path::PathBuf;
use std::time::Duration;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Report what a cache did over a time, with plots.
///
/// Hit ratios, also by namespaces, latencies, what it saved, why requests went further, how full memory was, evictions,
/// failures of Redis, invalidations, coherence, and which alerts fired.
///
/// From what Prometheus has recorded; but for the alerts, its rules need not be loaded. On standard output as Markdown, or
/// as the document that `terrace baseline` keeps; and as a page that needs nothing but a browser, with plots.
///
/// Exit status: 0 there it is, also if there was no traffic. 1 it cannot be printed. 2 a mistake in the arguments or the environment. 3 Prometheus
/// does not answer or has nothing of Terrace in that time, or the file cannot be written.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("source").args(["prometheus"]).required(true)))]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) place: Where,

    /// The last so long before --to: 24h unless it is said, 7d for a week.
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "from")]
    pub(super) time: Option<Duration>,

    /// From this time on, as in RFC 3339: 2030-01-31T12:00:00Z, or 2030-01-31 for the beginning of that day in UTC.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(super) from: Option<f64>,

    /// Up to this time; now unless it is said.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(super) to: Option<f64>,

    /// Write the page to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,

    /// What to print on standard output: Markdown, or the figures.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(super) output: Format,
}
