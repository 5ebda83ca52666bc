//! The command line of `terrace proxy`; every flag can also be given as `TERRACE_…`.

use super::log::AccessLog;
use super::networks::Networks;
use super::origin::OriginUrl;
use crate::size;
use clap::{Args, ValueEnum};
use std::time::Duration;

/// Run a caching reverse proxy: clients in over HTTP/1.1 and h2c, one origin out over HTTP/1.1.
///
/// The cache is configured by CACHE_* variables, everything else here.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Where requests that the cache cannot answer go: `http://HOST[:PORT][/PREFIX]`.
    #[arg(long, env = "TERRACE_ORIGIN", value_name = "URL")]
    pub(crate) origin: OriginUrl,

    /// The address to serve on; port 0 takes a free one, printed at start.
    #[arg(long, env = "TERRACE_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: String,

    /// What to cache where the origin is silent, and which client directives to honour.
    #[arg(long, env = "TERRACE_RULES", value_enum, default_value_t = RuleSet::Safe)]
    pub(crate) rules: RuleSet,

    /// The address of /healthz, /metrics and /terrace/, or `off`. Never the main port, so that no path of the origin is hidden.
    ///
    /// What is below /terrace/ (a page, statistics, flags, purges, explanations) is for connections from this machine alone,
    /// or, if the environment has `TERRACE_ADMIN_TOKEN`, for whoever sends that as `Authorization: Bearer ...`.
    #[arg(long, env = "TERRACE_ADMIN", value_name = "HOST:PORT|off", default_value = "127.0.0.1:9180", value_parser = admin_address)]
    pub(crate) admin: Admin,

    /// Who may send PURGE to the main port: addresses and networks separated by commas, or `none`.
    ///
    /// Others get 405. A PURGE that another proxy relayed (Via, Forwarded or X-Forwarded-For) is refused from
    /// everyone: behind a proxy on the same machine every client has a loopback address.
    #[arg(long, env = "TERRACE_PURGE_ALLOW", value_name = "NETWORKS", default_value = "127.0.0.0/8,::1")]
    pub(crate) purge_allow: Networks,

    /// Proxies in front whose X-Forwarded-Proto and X-Forwarded-Host are kept: networks, or `none`.
    ///
    /// Give the address of a TLS terminator here, or the origin believes that every request came over http.
    #[arg(long, env = "TERRACE_TRUST_FORWARDED", value_name = "NETWORKS", default_value = "none")]
    pub(crate) trust_forwarded: Networks,

    /// Send the origin's own name in Host. Without it the client's Host is preserved.
    #[arg(long, env = "TERRACE_REWRITE_HOST")]
    pub(crate) rewrite_host: bool,

    /// One line per request on standard output.
    #[arg(long, env = "TERRACE_ACCESS_LOG", value_enum, default_value_t = AccessLog::Text)]
    pub(crate) access_log: AccessLog,

    /// Log query strings too. They are left out by default because they may carry secrets.
    #[arg(long, env = "TERRACE_ACCESS_LOG_QUERY")]
    pub(crate) access_log_query: bool,

    /// How long connecting to the origin may take; then 504.
    #[arg(long, env = "TERRACE_CONNECT_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) connect_timeout: Duration,

    /// How long the origin may take to answer once it has the request; then 504.
    #[arg(long, env = "TERRACE_FIRST_BYTE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) first_byte_timeout: Duration,

    /// How long a body may stand still, in either direction. There is no limit on its whole duration.
    #[arg(long, env = "TERRACE_IDLE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) idle_timeout: Duration,

    /// How long a client may take to send a request's head, also after the previous response.
    #[arg(long, env = "TERRACE_HEADER_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) header_timeout: Duration,

    /// How long requests and upgraded connections may go on after SIGTERM or SIGINT.
    #[arg(long, env = "TERRACE_DRAIN_TIMEOUT", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) drain_timeout: Duration,

    /// The largest request head; then 431.
    #[arg(long, env = "TERRACE_MAX_HEADER_SIZE", value_name = "SIZE", default_value = "64KiB", value_parser = header_size)]
    pub(crate) max_header_size: u32,

    /// The largest request body; then 413. No limit by default: bodies stream, nothing is buffered.
    #[arg(long, env = "TERRACE_MAX_REQUEST_BODY", value_name = "SIZE", value_parser = size::parse)]
    pub(crate) max_request_body: Option<u64>,

    /// How many client connections may be open; more wait to be accepted.
    #[arg(long, env = "TERRACE_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,
}

/// Which of the library's two rule sets to use.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RuleSet {
    /// RFC 9111 with safer defaults for personal data and against cache busting.
    Safe,
    /// Exactly RFC 9111.
    Rfc9111,
}

/// Where the admin listener is.
#[derive(Clone, Debug)]
pub(crate) enum Admin {
    Off,
    At(String),
}

/// An address, or `off`.
pub(crate) fn admin_address(text: &str) -> Result<Admin, String> {
    if text == "off" {
        return Ok(Admin::Off);
    }
    address(text).map(Admin::At).map_err(|error| format!("{error}, or off"))
}

fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.into()),
        _ => Err("expected HOST:PORT, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:80".into()),
    }
}

/// A time above zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("expected a time above zero".into()),
        Err(error) => Err(format!("{error}; expected a number and a unit, such as 500ms, 30s or 2m")),
    }
}

fn header_size(text: &str) -> Result<u32, String> {
    // 8 KiB is the least that hyper's buffer may have.
    match u32::try_from(size::parse(text)?) {
        Ok(bytes) if (8 << 10..=16 << 20).contains(&bytes) => Ok(bytes),
        _ => Err("expected 8KiB to 16MiB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_host_and_a_port() {
        assert!(address("127.0.0.1:0").is_ok());
        assert!(address("[::1]:80").is_ok());
        assert!(address("localhost:80").is_ok());
        for bad in ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_above_zero_and_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("0s").is_err());
        assert!(duration("30").is_err());
    }
}
