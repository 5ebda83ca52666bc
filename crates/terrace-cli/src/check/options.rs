//! The command line of `terrace check`.

use crate::proxy::origin::{OriginUrl, check_scheme};
use crate::purge::duration;
use crate::size;
use crate::text::Format;
use clap::{ArgGroup, Args};
use http::Uri;
use std::path::PathBuf;
use std::time::Duration;

/// Check what the cache needs before deploying (--pre), or what is deployed (--post).
///
/// The environment is that of the fleet (`CACHE_*`, `AUTHZ_*`, `REDIS_*`). Nothing that the fleet has stored is read or
/// changed: what is filled, read and purged is in the namespace `CACHE_NAMESPACE` with `.check` at its end, and the URLs and
/// subjects that services are asked for are new ones. A check whose target was not given is skipped; where no variable says
/// where Redis is, it could not be judged. What was switched by `terrace flag` counts as on or off.
///
/// Of Redis it expects both forms of persistence (RDB and AOF), replicas that are at most a second behind, and two of them
/// where there are Sentinels. It warns of less, and fails for a replica more than five seconds behind, and for Sentinels without any.
///
/// Exit status: 0 all is well, 1 a check failed, 2 a mistake in the arguments, 3 something could not be judged,
/// 4 there are warnings or checks that were skipped, and --strict.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[command(verbatim_doc_comment, group(ArgGroup::new("when").args(["pre", "post"])))]
pub(crate) struct Options {
    /// Before deploying: the environment, Redis, Sentinel. What asks the fleet does not go with it.
    #[arg(long, conflicts_with_all = ["url", "metrics", "authz_url", "probe_url", "prometheus", "shadow", "log", "exercise_degradation"])]
    pub(crate) pre: bool,

    /// After deploying: the same, the ten readiness checks, and whether the fleet is coherent and watched. The default.
    #[arg(long)]
    pub(crate) post: bool,

    /// Warnings and skipped checks count as well.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Repeat all checks until they pass, but no longer than this; the first time is not cut short. What takes many requests
    /// (`performance`, `same-answer`, `shadow`) is not repeated once it has passed.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,

    /// How long one exchange with Redis or with a service may take.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// How much memory Redis is to have free, such as 512MiB. Less fails; without this less than 2GiB is a warning.
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    pub(crate) min_memory: Option<u64>,

    /// How many processes there will be: their connections are to be at most 80 % of what Redis accepts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) processes: u32,

    /// What answers with success while the service is healthy. Without a path: `/health`.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) url: Option<Uri>,

    /// The metrics of a process, as Prometheus reads them. Can be given for each process; the first is that of --authz-url.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) metrics: Vec<Uri>,

    /// Where a process is asked what somebody may do: `POST …/api/v1/authorization/check`. The caller's token is read from
    /// the variable `TERRACE_AUTHZ_TOKEN`. New users are asked about, who may do nothing.
    #[arg(long, value_name = "URL", value_parser = url, requires_all = ["authz_org", "authz_permission"])]
    pub(crate) authz_url: Option<Uri>,

    /// The organisation that is asked about.
    #[arg(long, value_name = "NAME")]
    pub(crate) authz_org: Option<String>,

    /// The permission that is asked about.
    #[arg(long, value_name = "NAME")]
    pub(crate) authz_permission: Option<String>,

    /// The same at another process, which has `AUTHZ_CACHE_L1_MAX_BYTES=0`: it reads from Redis what the first one has stored.
    #[arg(long, value_name = "URL", value_parser = url, requires_all = ["authz_url", "peer_metrics", "metrics"])]
    pub(crate) peer_url: Option<Uri>,

    /// The metrics of that process.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) peer_metrics: Option<Uri>,

    /// How long an answer from Redis may take, of half of the answers.
    #[arg(long, value_name = "TIME", default_value = "15ms", value_parser = duration)]
    pub(crate) l2_hit_within: Duration,

    /// A URL that is cached. It is asked for with a query parameter `terrace-check` that nobody else has. Several for --shadow.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) probe_url: Vec<Uri>,

    /// Compare so many answers of the cache with those of the origin: --probe-url in turn. What is no hit is asked for once
    /// more; if it is none then, it does not count, and without any that does it could not be judged.
    #[arg(long, value_name = "N", requires_all = ["origin", "probe_url"], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) shadow: Option<u32>,

    /// The origin behind the cache, for --shadow.
    #[arg(long, value_name = "URL")]
    pub(crate) origin: Option<OriginUrl>,

    /// The file that the service of --probe-url or --authz-url writes its log to: one JSON object in each line, with the trace
    /// id of the request (`traceparent`) that it is about. What it has already is not read.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// A Prometheus that is to scrape the fleet (jobs with `cache_build_info` in the last day) and to have all its alerts
    /// (groups `terrace.*`). Where `terrace watch` tells it of warming and backups, they are to have succeeded in their time.
    /// Its token is read from `TERRACE_PROMETHEUS_TOKEN`.
    #[arg(long, value_name = "URL")]
    pub(crate) prometheus: Option<OriginUrl>,

    /// Run this configuration against an address of this machine that accepts connections and never answers. The real Redis
    /// is not touched.
    #[arg(long)]
    pub(crate) exercise_degradation: bool,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// An absolute URL that can be asked.
fn url(text: &str) -> Result<Uri, String> {
    const EXPECTED: &str = "expected http://HOST[:PORT]/PATH";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
    check_scheme(uri.scheme().ok_or(EXPECTED)?, EXPECTED)?;
    let has_login = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if has_login { Err(EXPECTED.into()) } else { Ok(uri) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute_and_hold_no_login() {
        assert!(url("http://h:1/metrics").is_ok());
        // Without TLS it would be asked in the clear, with the token.
        assert_eq!(url("https://h").is_ok(), cfg!(feature = "tls"));
        for bad in ["/metrics", "h:1", "ftp://h/", "http://u:p@h/"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
