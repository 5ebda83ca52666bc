//! Whether somebody watches: what Prometheus scrapes, the rules that it has, and when tasks last succeeded.

use super::service::not_given;
use crate::findings::Finding;
use crate::prometheus::{ALERTS, Prometheus, Rule, Sample, Target};

/// How the names of our groups of rules begin: others may have rules of the same name.
const GROUPS: &str = "terrace.";

/// Processes that export our metrics, and jobs that have had one since yesterday: what is down exports nothing.
const PROCESSES: &str = "count by (job, instance) (cache_build_info)";
const JOBS: &str = "count by (job) (last_over_time(cache_build_info[1d]))";

/// How long ago each task last succeeded, as `terrace watch` tells it.
const AGES: &str = "time() - max by (job, task) (cache_task_last_success_timestamp_seconds)";

/// After how many hours each is late: as `CacheWarmStale` and `BackupStale` have it.
const TASKS: [(&str, u32); 3] = [("warm_full", 26), ("warm_hot", 7), ("backup", 7)];

/// `prometheus-targets`, `prometheus-rules` and `prometheus-tasks`.
pub(super) async fn watched(prometheus: Option<&Prometheus>) -> [Finding; 3] {
    let ids = ["prometheus-targets", "prometheus-rules", "prometheus-tasks"];
    let Some(prometheus) = prometheus else { return ids.map(|id| not_given(id, "--prometheus")) };
    let fix = "is it Prometheus, and is the token in TERRACE_PROMETHEUS_TOKEN?";
    let unknown = |id, why: String| Finding::unknown(id, why, fix);
    let targets = scraped(prometheus).await.unwrap_or_else(|why| unknown(ids[0], why));
    let rules = prometheus.rules().await.map_or_else(|why| unknown(ids[1], why), |rules| loaded(&rules));
    let tasks = prometheus.query(AGES, None).await.map_or_else(|why| unknown(ids[2], why), |ages| succeeded(&ages));
    [targets, rules, tasks]
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
    let missing: Vec<&str> = ALERTS.into_iter().filter(|name| ours.iter().all(|rule| rule.name != *name)).collect();
    let broken: Vec<&str> = ours.iter().filter(|rule| rule.health == "err").map(|rule| rule.name.as_str()).collect();
    let finding = match (&*missing, &*broken) {
        ([], []) => Finding::ok(id, format!("{} are loaded", ours.len())),
        ([], broken) => Finding::fail(id, format!("cannot be evaluated: {}", broken.join(", ")), fix),
        (missing, _) => Finding::fail(id, format!("missing: {}", missing.join(", ")), fix),
    };
    finding.threshold(format!("all {} alerts of Terrace", ALERTS.len()))
}

/// Judges tasks by their ages in seconds.
fn succeeded(ages: &[Sample]) -> Finding {
    let id = "prometheus-tasks";
    let known = ages.iter().filter_map(|age| {
        let task = age.labels.get("task")?;
        let (_, hours) = TASKS.into_iter().find(|(name, _)| name == task)?;
        let of = age.labels.get("job").map_or_else(String::new, |job| format!(" of {job}"));
        let shown = format!("{task}{of}: {:.1} h ago", age.value.max(0.0) / 3600.0);
        Some((shown, age.value > f64::from(hours) * 3600.0))
    });
    let (late, in_time): (Vec<_>, Vec<_>) = known.partition(|(_, is_late)| *is_late);
    let list = |all: Vec<(String, bool)>| all.into_iter().map(|(shown, _)| shown).collect::<Vec<_>>().join("; ");
    let finding = match (&*late, &*in_time) {
        ([], []) => {
            let fix = "where `terrace warm --mode` or `terrace backup` is run, run `terrace watch` and scrape it";
            Finding::skip(id, "nothing tells of a task", fix)
        }
        ([], _) => Finding::ok(id, list(in_time)),
        _ => Finding::warn(id, list(late), "see the log of the job: it fails, or nobody starts it"),
    };
    finding.threshold(TASKS.map(|(task, hours)| format!("{task} <= {hours} h")).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Status;
    use crate::prometheus::{ALERTS_FILE, Labels};

    fn rule(group: &str, name: &str, health: &str) -> Rule {
        let (group, kind, state) = (group.into(), "alerting".into(), "inactive".into());
        Rule { group, name: name.into(), kind, health: health.into(), state }
    }

    fn rules(group: &str, health: &str) -> Vec<Rule> {
        ALERTS.iter().map(|name| rule(group, name, health)).collect()
    }

    #[test]
    fn rules_are_there_and_can_be_evaluated() {
        let all = rules("terrace.own", "ok");
        assert_eq!(loaded(&all).status, Status::Ok);
        for without in 0..all.len() {
            let rest = [&all[..without], &all[without + 1..]].concat();
            let found = loaded(&rest);
            let missing = format!("missing: {}", ALERTS[without]);
            assert_eq!((found.status, found.measured), (Status::Fail, missing));
        }
        assert_eq!((loaded(&rules("terrace.own", "err")).status, loaded(&[]).status), (Status::Fail, Status::Fail));
    }

    #[test]
    fn rules_of_others_do_not_count() {
        let all = [rules("terrace.own", "ok"), vec![rule("shop", "RedisDown", "err"), rule("shop", "Slow", "err")]];
        let found = loaded(&all.concat());
        assert_eq!((found.status, found.measured), (Status::Ok, format!("{} are loaded", ALERTS.len())));
        assert_eq!(loaded(&rules("shop", "ok")).status, Status::Fail);
    }

    fn ages(hours: &[(&str, f64)]) -> Vec<Sample> {
        let labels = |task: &str| [("job".to_owned(), "watch".to_owned()), ("task".to_owned(), task.to_owned())].into();
        hours.iter().map(|(task, hours)| Sample { labels: labels(task), value: hours * 3600.0 }).collect()
    }

    #[test]
    fn a_task_that_last_succeeded_too_long_ago_is_a_warning() {
        let well = [("warm_full", 25.9), ("warm_hot", 6.9), ("backup", 0.0)];
        let found = succeeded(&ages(&well));
        assert_eq!(found.status, Status::Ok, "{found:?}");
        assert!(found.measured.starts_with("warm_full of watch: 25.9 h ago; "), "{found:?}");
        for (place, late) in [26.1, 7.1, 7.1].into_iter().enumerate() {
            let mut hours = well;
            hours[place].1 = late;
            let found = succeeded(&ages(&hours));
            let measured = format!("{} of watch: {late:.1} h ago", hours[place].0);
            assert_eq!((found.status, &*found.measured), (Status::Warn, &*measured));
        }
        for nothing in [&[][..], &[("other", 99.0)]] {
            assert_eq!(succeeded(&ages(nothing)).status, Status::Skip, "{nothing:?}");
        }
    }

    #[test]
    fn a_task_is_late_when_its_alert_says_so() {
        for (task, hours) in TASKS {
            let expression = format!("{{task=\"{task}\"}}) > {hours} * 3600");
            assert!(ALERTS_FILE.contains(&expression), "{expression}");
        }
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
