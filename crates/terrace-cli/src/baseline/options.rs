//! The command line of `terrace baseline`.

use crate::measured::{Endpoint, Where};
use crate::proxy::options::duration;
use crate::text::Format;
use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Keep what is usual, and compare.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Capture(Box<Capture>),
    Diff(Diff),
}

/// Measure what a fleet does: hit ratios, latencies, errors, reasons, and what it runs.
///
/// A percentile beyond the last bucket of what is timed is null, and a member `_above` beside it says where that bucket ends.
///
/// One JSON document on standard output, for `terrace gate` and `terrace baseline diff`. From what Prometheus has recorded
/// of the last so long; or, without one, from what the processes say now and so long from now.
///
/// Exit status: 0 there it is. 1 it cannot be printed, or not written to --markdown. 2 a mistake in the arguments or the environment. 3 there was no traffic, or Prometheus or a
/// process did not answer.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("source").args(["prometheus", "scrape"]).required(true).multiple(true)))]
pub(super) struct Capture {
    #[command(flatten)]
    pub(super) place: Where,

    /// Ask a process itself, at the URL of its metrics; once for each process. `http://HOST:PORT` means /metrics there.
    /// Prometheus is then not asked.
    #[arg(long, value_name = "URL")]
    pub(super) scrape: Vec<Endpoint>,

    /// How long to measure.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(super) time: Duration,

    /// Write it to a file as Markdown, too.
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,

    /// What to print on standard output: the document itself, or tables in Markdown.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Json)]
    pub(super) output: Format,
}

/// Show what differs between two baselines.
///
/// Exit status: 0 they were compared, whatever differs. 1 that cannot be printed. 2 a mistake in the arguments, or a file is no baseline.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Diff {
    /// The earlier one.
    #[arg(value_name = "A")]
    pub(super) before: PathBuf,

    /// The later one.
    #[arg(value_name = "B")]
    pub(super) after: PathBuf,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(super) output: Format,
}
