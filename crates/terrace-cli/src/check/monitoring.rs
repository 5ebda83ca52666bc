//! Whether somebody watches: what Prometheus scrapes, and the rules that it has.

use super::service::not_given;
use crate::findings::Finding;
use crate::prometheus::{Prometheus, Rule, Sample, Target};

/// Rules without which nobody is told of what matters most.
const RULES: [&str; 4] = ["CacheCoherenceStale", "CacheRedisUnsafe", "L2CacheNotWorking", "RedisDown"];

/// How the names of our groups of rules begin: others may have rules of the same name.
const GROUPS: &str = "terrace.";

/// Processes that export our metrics, and jobs that have had one since yesterday: what is down exports nothing.
const PROCESSES: &str = "count by (job, instance) (cache_build_info)";
const JOBS: &str = "count by (job) (last_over_time(cache_build_info[1d]))";

/// `prometheus-targets` and `prometheus-rules`.
pub(super) async fn watched(prometheus: Option<&Prometheus>) -> [Finding; 2] {
    let ids = ["prometheus-targets", "prometheus-rules"];
    let Some(prometheus) = prometheus else { return ids.map(|id| not_given(id, "--prometheus")) };
    let fix = "is it Prometheus, and is the token in TERRACE_PROMETHEUS_TOKEN?";
    let unknown = |id, why: String| Finding::unknown(id, why, fix);
    let targets = scraped(prometheus).await.unwrap_or_else(|why| unknown(ids[0], why));
    let rules = prometheus.rules().await.map_or_else(|why| unknown(ids[1], why), |rules| loaded(&rules));
    [targets, rules]
}

async fn scraped(prometheus: &Prometheus) -> Result<Finding, String> {
    let (jobs, processes) = (prometheus.query(JOBS, None).await?, prometheus.query(PROCESSES, None).await?);
    Ok(up(&prometheus.targets().await?, &jobs, &processes))
}

/// Judges the targets of our jobs: a Prometheus scrapes others, too.
fn up(targets: &[Target], jobs: &[Sample], processes: &[Sample]) -> Finding {
    let id = "prometheus-targets";
    let is_one = |all: &[Sample], names: &[&str], target: &Target| {
        all.iter().any(|one| names.iter().all(|name| one.labels.get(*name) == target.labels.get(*name)))
    };
    let ours = || targets.iter().filter(|target| is_one(jobs, &["job"], target));
    let is_down = |target: &&Target| target.health != "up";
    let down: Vec<String> = ours().filter(is_down).map(|target| format!("{}: {}", target.url, target.error)).collect();
    let count = ours().filter(|target| is_one(processes, &["job", "instance"], target)).count();
    let finding = match (count, &*down) {
        (0, []) => {
            let fix = "add the processes of the fleet to scrape_configs, with CACHE_METRICS_ENABLED on";
            Finding::fail(id, "nothing with cache_build_info is scraped", fix)
        }
        (count, []) => Finding::ok(id, format!("{count} are up")),
        (_, down) => Finding::fail(id, down.join("; "), "start what is down, and check network policies and ports"),
    };
    finding.threshold("up")
}

fn loaded(rules: &[Rule]) -> Finding {
    let (id, fix) = ("prometheus-rules", "load deploy/prometheus/*.yml by rule_files, or the PrometheusRule");
    let ours: Vec<&Rule> = rules.iter().filter(|rule| rule.group.starts_with(GROUPS)).collect();
    let missing: Vec<&str> = RULES.into_iter().filter(|name| ours.iter().all(|rule| rule.name != *name)).collect();
    let broken: Vec<&str> = ours.iter().filter(|rule| rule.health == "err").map(|rule| rule.name.as_str()).collect();
    let finding = match (&*missing, &*broken) {
        ([], []) => Finding::ok(id, format!("{} are loaded", ours.len())),
        ([], broken) => Finding::fail(id, format!("cannot be evaluated: {}", broken.join(", ")), fix),
        (missing, _) => Finding::fail(id, format!("missing: {}", missing.join(", ")), fix),
    };
    finding.threshold("those of Terrace")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Status;
    use crate::prometheus::Labels;

    fn rule(group: &str, name: &str, health: &str) -> Rule {
        let (group, kind, state) = (group.into(), "alerting".into(), "inactive".into());
        Rule { group, name: name.into(), kind, health: health.into(), state }
    }

    fn rules(group: &str, health: &str) -> Vec<Rule> {
        RULES.iter().map(|name| rule(group, name, health)).collect()
    }

    #[test]
    fn rules_are_there_and_can_be_evaluated() {
        let all = rules("terrace.own", "ok");
        assert_eq!(loaded(&all).status, Status::Ok);
        assert!(loaded(&all[1..]).measured.contains(RULES[0]));
        assert_eq!((loaded(&rules("terrace.own", "err")).status, loaded(&[]).status), (Status::Fail, Status::Fail));
    }

    #[test]
    fn rules_of_others_do_not_count() {
        let all = [rules("terrace.own", "ok"), vec![rule("shop", "RedisDown", "err"), rule("shop", "Slow", "err")]];
        let found = loaded(&all.concat());
        assert_eq!((found.status, &*found.measured), (Status::Ok, "4 are loaded"));
        assert_eq!(loaded(&rules("shop", "ok")).status, Status::Fail);
    }

    fn labels(job: &str, instance: &str) -> Labels {
        [("job".to_owned(), job.to_owned()), ("instance".to_owned(), instance.to_owned())].into()
    }

    fn target((job, instance): (&str, &str), health: &str) -> Target {
        let (url, error) = ("http://h/metrics".into(), "refused".into());
        Target { labels: labels(job, instance), url, health: health.into(), error }
    }

    #[test]
    fn what_is_of_our_jobs_is_up_and_there() {
        let (a, b, other) = (("cache", "a"), ("cache", "b"), ("other", "c"));
        let jobs = [Sample { labels: [("job".to_owned(), "cache".to_owned())].into(), value: 1.0 }];
        let exports = |(job, instance)| Sample { labels: labels(job, instance), value: 1.0 };
        for (targets, processes, status) in [
            (vec![target(a, "up")], vec![exports(a)], Status::Ok),
            (vec![target(a, "up"), target(b, "down")], vec![exports(a)], Status::Fail),
            (vec![target(a, "down"), target(b, "down")], vec![], Status::Fail),
            (vec![target(a, "up"), target(other, "down")], vec![exports(a)], Status::Ok),
            (vec![target(a, "up")], vec![], Status::Fail),
            (vec![target(other, "up")], vec![], Status::Fail),
            (vec![], vec![], Status::Fail),
        ] {
            assert_eq!(up(&targets, &jobs, &processes).status, status, "{targets:?}");
            assert_eq!(up(&targets, &[], &processes).status, Status::Fail, "without a job of ours: {targets:?}");
        }
    }
}
