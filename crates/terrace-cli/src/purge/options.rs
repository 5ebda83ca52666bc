//! The command line of `terrace purge`.

use super::glob::Glob;
use crate::text::Format;
use clap::{ArgGroup, Args};
use std::time::Duration;

/// What is purged by its name, which is all that is not a pattern. An argument that goes with another one does not require it
/// from somebody who has given what that conflicts with; so it conflicts with that, too.
const NAMED: [&str; 5] = ["urls", "tag", "prefix", "partition", "tenant"];

/// Purge in every process of a fleet: what was fetched before is not served again. `terrace flush` purges everything.
///
/// The environment is that of the fleet: `REDIS_*` say where its Redis is, `CACHE_NAMESPACE` which of its caches is
/// meant. One round trip for each thing that is purged, however many entries that is about.
///
/// Exit status: 0 Redis has acknowledged all of it: no process answers with what was fetched before, not even from its
/// memory once `CACHE_L1_MAX_LAG` has passed. 1 it has not, or fewer replicas than asked for have it; what was not
/// acknowledged may or may not have taken effect. 2 a mistake in the arguments or the environment.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("what").required(true).multiple(true)))]
pub(crate) struct Options {
    /// All that is stored for a URL: every variant, partition and body, over http and https. As clients ask for it:
    /// `https://HOST/PATH?QUERY`, or `/PATH?QUERY` for every host. The order of query parameters does not matter.
    #[arg(value_name = "URL", group = "what", value_parser = url)]
    pub(crate) urls: Vec<String>,

    /// All that carries a tag.
    #[arg(long, value_name = "TAG", group = "what", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) tag: Vec<String>,

    /// All URLs whose path begins with these segments: `/a/b` means /a/b, /a/b/ and /a/b/c, not /a/bc; `https://HOST/a`
    /// on one host. Eight segments count.
    #[arg(long, value_name = "PREFIX", group = "what", value_parser = url)]
    pub(crate) prefix: Vec<String>,

    /// All that is stored for one partition, such as a user.
    #[arg(long, value_name = "NAME", group = "what")]
    pub(crate) partition: Vec<String>,

    /// What is known of the rights of everybody in a tenant, and the responses that are for them alone: checks ask the source
    /// again. Not soft, and not for replicas.
    ///
    /// The environment has the fleet's `AUTHZ_CACHE_KEYS` and `CACHE_NAMESPACE`: with other keys nothing is acknowledged.
    #[arg(long, value_name = "NAME", group = "what",
          conflicts_with_all = ["urls", "tag", "prefix", "partition", "soft", "replicas"])]
    pub(crate) tenant: Option<String>,

    /// The same for one subject in the tenant; may be given again.
    #[arg(long, value_name = "NAME", requires = "tenant", conflicts_with = "glob")]
    pub(crate) subject: Vec<String>,

    /// Each URL that matches, of those that Redis has entries of: `/img/*.jpg`, or `https://HOST/*` on one host. `*` is any
    /// text, slashes included; everything else is itself, and the scheme does not matter.
    ///
    /// Redis knows digests only, so all keys of its database are looked at, --rate of them a second: prefer --prefix and
    /// --tag, which take one round trip. It is not done at once: what is stored meanwhile may stay, and so may what only
    /// the memory of a process has. Beyond 100,000 matches everything is purged.
    #[arg(long, value_name = "PATTERN", group = "what",
          conflicts_with_all = NAMED)]
    pub(crate) glob: Vec<Glob>,

    /// List what matches, and purge nothing.
    #[arg(long, requires = "glob", conflicts_with_all = NAMED)]
    pub(crate) dry_run: bool,

    /// Look at so many keys a second; a purge counts as ten.
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "glob", conflicts_with_all = NAMED,
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,

    #[command(flatten)]
    pub(crate) how: How,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How to purge.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct How {
    /// Mark it as stale instead: it is still served where stale responses are, while it is revalidated or when the
    /// origin fails.
    #[arg(long)]
    pub(crate) soft: bool,

    /// Wait until so many replicas of the Redis server have it: it then survives the loss of that server.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) replicas: Option<u32>,

    /// How long to wait for replicas.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration, requires = "replicas")]
    pub(crate) wait: Duration,

    /// How long to go on trying, for each thing that is purged.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// A URL as the library takes it, if it can be one.
pub(crate) fn url(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected https://HOST/PATH, http://HOST/PATH, or a path that begins with a slash";
    let uri: http::Uri = text.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
    let is_url = match uri.scheme_str() {
        None => text.starts_with('/'),
        Some(scheme) => matches!(scheme, "http" | "https") && !uri.host().unwrap_or_default().is_empty(),
    };
    if is_url { Ok(uri.to_string()) } else { Err(EXPECTED.into()) }
}

/// A time that can be waited.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_millis(1)..=Duration::from_secs(600)).contains(&time) => Ok(time),
        Ok(_) => Err("expected 1ms to 10m".into()),
        Err(error) => Err(format!("{error}; expected a number and a unit, such as 500ms, 30s or 2m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_absolute_or_a_path() {
        assert_eq!(url("https://A.example:8443/x?b=1&a=2"), Ok("https://A.example:8443/x?b=1&a=2".into()));
        assert_eq!(url("http://a.example"), Ok("http://a.example/".into()));
        assert_eq!(url("/x?y"), Ok("/x?y".into()));
        for bad in ["", "x", "a.example/x", "a.example:80", "ftp://h/", "*", "http://", "http:///x", "/a b", "//"] {
            assert!(url(bad).is_err() || bad == "//", "{bad}: {:?}", url(bad));
        }
    }

    #[test]
    fn times_are_bounded_and_have_a_unit() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        for bad in ["0s", "5", "1d", "-1s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
