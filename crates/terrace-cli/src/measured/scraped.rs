//! From the processes themselves, who are asked twice.

use super::increases::{COUNTERS, Increases};
use super::options::now;
use super::summary::{Build, Summary, Window};
use crate::exposition::{Row, rows};
use crate::failure::Failure;
use crate::prometheus::{Http, Labels};
use crate::proxy::origin::OriginUrl;
use http::Uri;
use http::uri::PathAndQuery;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

/// Where a process says its metrics.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    base: OriginUrl,
    path: String,
}

impl FromStr for Endpoint {
    type Err = String;

    /// A URL; without a path, the usual one.
    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}; expected http://HOST[:PORT][/PATH]"))?;
        let base = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        let path = uri.path_and_query().map(PathAndQuery::as_str).filter(|path| *path != "/");
        Ok(Self { base: base.parse()?, path: path.unwrap_or("/metrics").to_owned() })
    }
}

/// A series of one process.
type Key = (usize, &'static str, Labels);

/// What processes said at one time.
struct Said {
    at: f64,
    counts: BTreeMap<Key, f64>,
    builds: Vec<Labels>,
}

/// What these did from now on, for so long. What was counted by a process that was restarted meanwhile begins at zero.
///
/// # Errors
///
/// When one of them does not answer.
pub(crate) async fn between(endpoints: &[Endpoint], time: Duration, timeout: Duration) -> Result<Summary, Failure> {
    let clients =
        endpoints.iter().map(|endpoint| Ok((Http::new(endpoint.base.clone(), timeout)?, endpoint.path.as_str())));
    let clients = clients.collect::<Result<Vec<_>, Failure>>()?;
    let before = ask(&clients).await?;
    tokio::time::sleep(time).await;
    let after = ask(&clients).await?;
    Ok(summary(&before, after))
}

async fn ask(clients: &[(Http, &str)]) -> Result<Said, Failure> {
    let mut said = Said { at: now(), counts: BTreeMap::new(), builds: Vec::new() };
    for (process, (client, path)) in clients.iter().enumerate() {
        let why = |why: &dyn std::fmt::Display| Failure::inconclusive(format_args!("{}{path}: {why}", client.base()));
        let reply = client.get(path).await.map_err(|error| why(&error))?;
        if !reply.status.is_success() {
            return Err(why(&format_args!("status {}", reply.status.as_u16())));
        }
        said.add(process, &String::from_utf8_lossy(&reply.body));
        if said.builds.len() == process {
            return Err(why(&"there is no cache_build_info: these are not the metrics of Terrace"));
        }
    }
    Ok(said)
}

impl Said {
    fn add(&mut self, process: usize, text: &str) {
        for Row { name, labels, value } in rows(text) {
            if let Some((metric, _)) = COUNTERS.iter().find(|(metric, _)| *metric == name) {
                self.counts.insert((process, *metric, labels), value);
            } else if name == "cache_build_info" && self.builds.len() == process {
                self.builds.push(labels);
            }
        }
    }
}

fn summary(before: &Said, after: Said) -> Summary {
    let mut increases = Increases::default();
    // Everything of a process that was started anew began at zero, whatever it has come to since.
    let fell = after.counts.iter().filter(|(key, value)| before.counts.get(key).is_some_and(|earlier| earlier > value));
    let anew: BTreeSet<usize> = fell.map(|((process, ..), _)| *process).collect();
    for (key, value) in after.counts {
        let earlier = before.counts.get(&key).copied().filter(|_| !anew.contains(&key.0));
        let (_, metric, mut labels) = key;
        labels.retain(|name, _| kept(metric).contains(&name.as_str()));
        increases.add(metric, labels, value - earlier.unwrap_or(0.0));
    }
    let mut builds: Vec<Build> = Vec::new();
    for labels in after.builds {
        let one = Build::new(&labels, 1.0);
        match builds.iter_mut().find(|build| (&build.version, &build.revision) == (&one.version, &one.revision)) {
            Some(build) => build.processes += 1.0,
            None => builds.push(one),
        }
    }
    let window = Window { from: before.at, to: after.at };
    Summary { source: "scrapes", window, builds, increases, ..Summary::default() }
}

fn kept(metric: &str) -> &'static [&'static str] {
    COUNTERS.iter().find(|(name, _)| *name == metric).map_or(&[], |(_, labels)| labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at: f64, texts: &[&str]) -> Said {
        let mut said = Said { at, counts: BTreeMap::new(), builds: Vec::new() };
        for (process, text) in texts.iter().enumerate() {
            said.add(process, text);
        }
        said
    }

    #[test]
    fn increases_are_summed_over_processes_and_a_restart_begins_at_zero() {
        let line = |namespace: &str, value: u32| {
            format!("cache_requests_total{{cache_namespace=\"{namespace}\",cache_status=\"cache_miss\"}} {value}\n")
        };
        let info = "cache_build_info{version=\"1\",revision=\"r\",rustc=\"c\"} 1\n";
        let before = said(100.0, &[&(line("a", 10) + &line("b", 5) + info), &(line("a", 1000) + info)]);
        let after = said(160.0, &[&(line("a", 17) + &line("b", 5) + info + "other_total 5\n"), &(line("a", 3) + info)]);
        let summary = summary(&before, after);
        let all = summary.increases.by("cache_requests_total", &["cache_status"], &[]);
        assert_eq!(all, BTreeMap::from([("cache_miss".to_owned(), 10.0)]));
        assert!((summary.window.seconds() - 60.0).abs() < 1e-9 && !summary.increases.has("other_total"));
        assert_eq!(summary.builds, [Build { version: "1".into(), revision: "r".into(), processes: 2.0 }]);
    }

    #[test]
    fn what_grew_beyond_its_old_count_since_a_restart_began_at_zero_too() {
        let text = |hits: u32, errors: u32| {
            let line = |status, value| format!("cache_requests_total{{cache_status=\"{status}\"}} {value}\n");
            line("l1_cache_hit", hits) + &line("cache_error", errors) + "cache_build_info{version=\"1\"} 1\n"
        };
        let (before, after) = (said(0.0, &[&text(10_000, 3)]), said(1.0, &[&text(5000, 5)]));
        let all = summary(&before, after).increases.by("cache_requests_total", &["cache_status"], &[]);
        assert_eq!(all, BTreeMap::from([("l1_cache_hit".to_owned(), 5000.0), ("cache_error".to_owned(), 5.0)]));
    }

    #[test]
    fn an_endpoint_has_a_path() {
        for (text, base, path) in [
            ("http://h:1", "http://h:1", "/metrics"),
            ("http://h:1/", "http://h:1", "/metrics"),
            ("http://h/a?b=c", "http://h", "/a?b=c"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.base.to_string().as_str(), endpoint.path.as_str()), (base, path), "{text}");
        }
        for bad in ["", "h:1", "/metrics", "ftp://h/x", "http://u:p@h/"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
