//! When, and where that is recorded.

use crate::failure::Failure;
use crate::prometheus::Prometheus;
use crate::proxy::options::duration;
use crate::proxy::origin::OriginUrl;
use clap::Args;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where what the fleet did is recorded.
#[derive(Clone, Debug, Args)]
pub(crate) struct Where {
    /// Prometheus, whose HTTP API is asked. Its bearer token, if it wants one, is read from `TERRACE_PROMETHEUS_TOKEN`.
    #[arg(long, env = "TERRACE_PROMETHEUS", value_name = "URL")]
    pub(crate) prometheus: Option<OriginUrl>,

    /// Only what has this label `job`, a regular expression. Otherwise all that Prometheus has of Terrace is one fleet.
    #[arg(long, value_name = "REGEX", env = "TERRACE_PROMETHEUS_JOB")]
    pub(crate) job: Option<String>,

    /// How long each answer may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

impl Where {
    /// # Errors
    ///
    /// When nobody said where Prometheus is, or it cannot be spoken to.
    pub(crate) fn open(&self) -> Result<Prometheus, Failure> {
        let needed = || Failure::usage("--prometheus URL is needed");
        Prometheus::new(self.prometheus.clone().ok_or_else(needed)?, self.timeout)
    }
}

/// A time as in RFC 3339, in seconds since 1970.
pub(crate) fn instant(text: &str) -> Result<f64, String> {
    let day_begins = format!("{text}T00:00:00Z");
    let time = humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339(&day_begins));
    let time =
        time.map_err(|_| "expected a time as in RFC 3339: 2030-01-31T12:00:00Z, or a day, which begins in UTC")?;
    Ok(seconds(time))
}

/// In seconds since 1970.
pub(crate) fn now() -> f64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_a_day() {
        for text in ["2001-09-09T01:46:40Z", "2001-09-09 01:46:40", "2001-09-09T01:46:40"] {
            assert_eq!(instant(text), Ok(1e9), "{text}");
        }
        assert_eq!(instant("1970-01-02"), Ok(86400.0));
        for bad in ["", "yesterday", "2001-13-01", "2001-09-09T01:46:40+02:00", "12:00", "1e9"] {
            assert!(instant(bad).unwrap_err().contains("RFC 3339"), "{bad}");
        }
    }
}
