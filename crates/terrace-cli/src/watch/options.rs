//! The command line of `terrace watch`.

use crate::ask::Pace;
use crate::proxy::options::{Admin, admin_address};
use crate::proxy::origin::OriginUrl;
use crate::purge::duration;
use clap::Args;
use std::time::Duration;

/// Listen on Redis channels to programs in other languages, and carry out what they ask for in the whole fleet.
///
/// `cache:invalidate` names what is never to be served again, `cache:update` what is stale from now on, and
/// `cache:prewarm` what to request of the fleet. The manual's chapter on other languages says what messages look like.
/// Messages can be lost while nobody listens: who can, runs `terrace purge` instead. Several may run, and do no harm.
///
/// /metrics also has when `terrace warm --mode` and `terrace backup` last succeeded, as they note it in Redis
/// (`cache_task_last_success_timestamp_seconds`): from the start of this command on, where nothing is noted.
///
/// The environment is that of the fleet: `REDIS_*` say where its Redis is, `CACHE_NAMESPACE` which of its caches is meant.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// The fleet, as its clients reach it: `http://HOST[:PORT][/PREFIX]`. What is to be warmed is requested there;
    /// without it, `cache:prewarm` is not listened to.
    #[arg(long, env = "TERRACE_ORIGIN", value_name = "URL")]
    pub(crate) origin: Option<OriginUrl>,

    /// The address of /healthz and /metrics, or `off`.
    #[arg(long, env = "TERRACE_ADMIN", value_name = "HOST:PORT|off", default_value = "127.0.0.1:9181", value_parser = admin_address)]
    pub(crate) admin: Admin,

    /// Measure coherence end to end, every so often (10s if no time is given): purge a tag that nothing carries, and
    /// wait until a second store of this process, with connections of its own, has heard of it.
    /// `watch_probe_duration_seconds` has how long that took, `watch_probes_total` what came of it.
    #[arg(long, env = "TERRACE_PROBE", value_name = "TIME", num_args = 0..=1, default_missing_value = "10s", value_parser = duration)]
    pub(crate) probe: Option<Duration>,

    #[command(flatten)]
    pub(crate) pace: Pace,
}
