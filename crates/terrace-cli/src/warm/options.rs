//! The command line of `terrace warm`.

use crate::ask::Pace;
use crate::proxy::options::duration;
use crate::proxy::origin::OriginUrl;
use crate::text::Format;
use clap::{ArgGroup, Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use terrace::stats::Task;

/// Request URLs of a fleet, so that its cache has them before somebody asks.
///
/// It connects to --base and to nobody else: an absolute URL says which Host to name there, and redirects are answers like
/// any other. Each URL is asked for once, with GET.
///
/// Exit status: 0 all were answered, 1 some were not (a status of 400 or more counts as not answered), or it was
/// interrupted or came to its deadline, 2 a mistake in the arguments or the environment.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("source").required(true)))]
pub(crate) struct Options {
    /// The fleet, as its clients reach it: `http://HOST[:PORT][/PREFIX]`.
    #[arg(long, env = "TERRACE_BASE", value_name = "URL")]
    pub(crate) base: OriginUrl,

    /// URLs or paths, one in each line; empty lines and those that begin with # do not count. `-` is standard input.
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) urls: Option<PathBuf>,

    /// A sitemap or an index of sitemaps: a file, or a URL or path of the fleet where `http://…` or `https://…` is
    /// given. May be packed with gzip.
    #[arg(long, value_name = "FILE|URL", group = "source")]
    pub(crate) sitemap: Option<String>,

    /// An access log, in Common or Combined Log Format or with one JSON object in each line; the most requested URLs
    /// first. Only GETs that were answered with a status below 400 count. `-` is standard input.
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) access_log: Option<PathBuf>,

    /// No more than so many URLs, from the beginning.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,

    /// Which of the jobs that run now and then this is. When all were answered, that is noted in the fleet's Redis (by the
    /// environment of the fleet, `REDIS_*` and `CACHE_NAMESPACE`), for `terrace watch` to tell and alerts to miss.
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,

    /// Begin nothing more after so long. By default 28m with --mode full, 9m with --mode hot, and never without.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    #[command(flatten)]
    pub(crate) pace: Pace,

    /// Remembers what was answered, so that it is not asked for again when the same command is run after an
    /// interruption. Removed when everything was asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// What to print on standard output in the end.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// A job.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Everything, once a day.
    Full,
    /// What most people want, several times a day.
    Hot,
}

impl Mode {
    pub(crate) fn task(self) -> Task {
        match self {
            Self::Full => Task::WarmFull,
            Self::Hot => Task::WarmHot,
        }
    }
}

impl Options {
    /// How long it may take: a little less than the half hour, or ten minutes, after which such a job is ended.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let usual = self.mode.map(|mode| match mode {
            Mode::Full => Duration::from_secs(28 * 60),
            Mode::Hot => Duration::from_secs(9 * 60),
        });
        self.deadline.or(usual)
    }
}
