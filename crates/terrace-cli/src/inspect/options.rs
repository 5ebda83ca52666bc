//! The command line of `terrace inspect`.

use crate::purge::{duration, url};
use crate::text::Format;
use clap::Args;
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// Show what a fleet has in Redis for a URL, or the state of its namespace. Changes nothing.
///
/// The environment is that of the fleet: `REDIS_*`, `CACHE_NAMESPACE`, and `CACHE_KEYS` where entries are sealed. Contents
/// are never shown, nor the values of header fields that may be secrets.
///
/// Names in Redis are digests, so what is stored for a URL beside what one request would find (other variants,
/// partitions, bodies) is looked for among all keys of the database: see --max-keys.
///
/// Of a namespace it shows, beside its state, how long entries still live (P10, P50 and P90 of a sample).
///
/// Exit status: 0 Redis has answered, also if nothing is stored. 1 it has not. 2 a mistake in the arguments or the
/// environment.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// As clients ask for it: `https://HOST/PATH?QUERY`, or `/PATH?QUERY` for every host.
    #[arg(value_name = "URL", value_parser = url)]
    pub(crate) url: Option<String>,

    /// A header field of the request, for a URL whose responses vary: its variant is found without looking further.
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = field, requires = "url")]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,

    /// Look at so many keys of the database at most; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) max_keys: u64,

    /// Look at so many keys a second.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: u32,

    /// How long each answer of Redis may take.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// What to print on standard output.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub(crate) output: Format,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let expected = || "expected a field as in a request: `Accept-Encoding: gzip`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(expected)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| expected())?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| expected())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_name_and_a_value() {
        let (name, value) = field("Accept-Encoding: gzip, br").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("accept-encoding", &b"gzip, br"[..]));
        assert!(field("X-Time: 10:30").is_ok() && field("X-Empty:").is_ok());
        for bad in ["gzip", ": gzip", "a b: c", "a: \u{7f}"] {
            assert!(field(bad).is_err(), "{bad}");
        }
    }
}
