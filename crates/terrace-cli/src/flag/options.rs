//! The command line of `terrace flag`.

use crate::purge::duration;
use crate::text::Format;
use clap::{Args, Subcommand};
use std::time::Duration;
use terrace::Switch;
use terrace::stats::Feature;

/// Switch a feature for a whole fleet, or show what is switched.
///
/// The environment is that of the fleet: `REDIS_*` and `CACHE_NAMESPACE`. Every process of the namespace follows within
/// six seconds and without a restart, but for those with `CACHE_FLEET_SWITCHES=off` and those that were started with
/// `CACHE_L2_ENABLED=off`, which have no connection. `cache_feature_enabled` shows what each process does.
///
/// No switch gates invalidation. A switch stays until the next one; processes that start later follow it too.
///
/// Exit status: 0 Redis has confirmed it. 1 it has not. 2 a mistake in the arguments or the environment.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Show what is switched for the fleet, by whom and why.
    Get(Get),
    /// Switch a feature for the fleet.
    Set(Set),
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// One feature: `cache`, `l1`, `l2`, `swr`, `authz` or `authz_l2`. All, if none is named.
    #[arg(value_name = "FEATURE", value_parser = feature)]
    pub(crate) feature: Option<Feature>,

    /// Show the latest changes too, the oldest first.
    #[arg(long)]
    pub(crate) history: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// What to switch: `cache`, `l1`, `l2`, `swr`, `authz` or `authz_l2`.
    #[arg(value_name = "FEATURE", value_parser = feature)]
    pub(crate) feature: Feature,

    /// `on`, `off`, or `as-started`: as the environment of each process says.
    #[arg(value_name = "STATE", value_parser = state)]
    pub(crate) state: Switch,

    /// Why: kept in Redis, shown by `get` and logged by every process. No secret.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,

    /// Who does it. Without it, the name that the operating system knows.
    #[arg(long, env = "TERRACE_OPERATOR", value_name = "NAME")]
    pub(crate) by: Option<String>,

    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// How long Redis may take; until then it is tried again.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

fn feature(name: &str) -> Result<Feature, String> {
    let names: Vec<_> = Feature::ALL.iter().map(|feature| feature.as_str()).collect();
    let known = Feature::ALL.iter().copied().find(|feature| feature.as_str() == name);
    known.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

fn state(name: &str) -> Result<Switch, String> {
    Switch::parse(name).ok_or_else(|| "expected on, off or as-started".to_owned())
}
