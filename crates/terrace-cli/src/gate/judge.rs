//! The judgement: from figures alone.

use super::measure::{Measurements, PARTS};
use crate::baseline::Baseline;
use crate::findings::{Finding, Findings, Status};
use crate::measured::{Cache, Figure, Increases, Unit};

/// Of requests without an answer: what is too many, and what is to be achieved (99.99 % are answered). The two differ on
/// purpose: not every request that goes wrong is a reason to roll back.
const ERRORS: f64 = 0.001;
const ERRORS_GOAL: f64 = 0.0001;
/// Of the baseline's P95.
const SLOWER: f64 = 1.5;
/// Whatever is usual.
const P95_GOAL: f64 = 0.050;
const HITS: f64 = 0.85;
const L1: f64 = 0.5;
const L1_HIT: f64 = 0.001;
const L2_SHARE: f64 = 0.8;
const FILL: f64 = 0.030;
const L2_CHECK: f64 = 0.015;
const REDIS_MEMORY: f64 = 0.8;

/// What of Redis's failures means that it was not reached.
const UNREACHED: &[&str] = &["connect", "io", "timeout", "auth"];

/// The checks of one cache. Scripts may rely on these names.
struct Names {
    traffic: &'static str,
    errors: &'static str,
    p95: &'static str,
    p95_goal: &'static str,
    stores: &'static str,
    hits: &'static str,
    l1: &'static str,
    l1_p95: &'static str,
    l2_share: &'static str,
    fills: &'static str,
}

const RESPONSES: Names = Names {
    traffic: "requests",
    errors: "request-errors",
    p95: "request-p95",
    p95_goal: "request-p95-goal",
    stores: "response-stores",
    hits: "response-hits",
    l1: "response-l1",
    l1_p95: "response-l1-p95",
    l2_share: "response-l2-share",
    fills: "response-fill-p95",
};

const CHECKS: Names = Names {
    traffic: "checks",
    errors: "check-errors",
    p95: "check-p95",
    p95_goal: "check-p95-goal",
    stores: "authz-stores",
    hits: "authz-hits",
    l1: "authz-l1",
    l1_p95: "authz-l1-p95",
    l2_share: "authz-l2-share",
    fills: "authz-fill-p95",
};

/// What was measured, what is usual, and from how many requests something follows.
#[derive(Clone, Copy)]
struct Judge<'a> {
    now: &'a Measurements,
    usual: &'a Baseline,
    least: f64,
}

/// Judges all of it. Passing needs data of the whole time and traffic in at least one of the caches.
pub(super) fn judge(now: &Measurements, usual: &Baseline, min_requests: u32) -> Findings {
    let judge = Judge { now, usual, least: f64::from(min_requests) };
    let mut all = vec![judge.data(), judge.processes()];
    let [responses, checks] =
        [(Cache::Response, &RESPONSES), (Cache::Authz, &CHECKS)].map(|(cache, names)| judge.cache(cache, names));
    let is_idle = responses[0].status == Status::Skip && checks[0].status == Status::Skip;
    all.extend(responses.into_iter().chain(checks));
    if is_idle {
        all.push(Finding::unknown("traffic", "none of either kind", "judge under load"));
    }
    all.extend([judge.redis(), judge.redis_memory(), judge.answers()]);
    Findings(all)
}

impl Judge<'_> {
    fn increases(&self) -> &Increases {
        &self.now.summary.increases
    }

    /// What was not seen for a part of the time may have done anything.
    fn data(&self) -> Finding {
        let seen = format!("{} of {PARTS} parts of the time", self.now.parts.len().min(PARTS));
        let finding = if self.now.parts.len() >= PARTS {
            Finding::ok("data", seen)
        } else {
            Finding::unknown(
                "data",
                seen,
                "wait, judge a longer time, or see why Prometheus does not scrape the processes",
            )
        };
        finding.threshold(format!("two scrapes in each of {PARTS} parts"))
    }

    /// Some may have been replaced meanwhile, or be dead: which, Prometheus does not know.
    fn processes(&self) -> Finding {
        let ran = self.now.summary.builds.iter().fold(0.0, |sum, build| sum + build.processes);
        let (there, shown) = (self.now.processes, format!("{:.0} of {ran:.0}", self.now.processes));
        let finding = match () {
            () if there <= 0.0 => Finding::unknown("processes", shown, "none is scraped: see `up` in Prometheus"),
            () if there < ran => {
                Finding::warn("processes", shown, "if none was replaced, see why it is gone; or --wait")
            }
            () => Finding::ok("processes", shown),
        };
        finding.threshold("all that ran are there")
    }

    /// First whether there was enough to judge by. If not, nothing else is said.
    fn cache(&self, cache: Cache, names: &Names) -> Vec<Finding> {
        let traffic = self.traffic(cache, names);
        if traffic.status != Status::Ok {
            return vec![traffic];
        }
        let mut all = vec![traffic, self.errors(cache, names), self.p95(cache, names), self.stores(cache, names)];
        all.extend(self.success(cache, names));
        all
    }

    fn traffic(&self, cache: Cache, names: &Names) -> Finding {
        let seen = cache.requests(self.increases(), None);
        let text = Unit::Count.show(Some(seen));
        let finding = if seen >= self.least {
            Finding::ok(names.traffic, text)
        } else if seen <= 0.0 && self.usual.requests(cache) <= 0.0 {
            Finding::skip(names.traffic, text, "there were none in the baseline either")
        } else {
            Finding::unknown(names.traffic, text, "too few to judge by: send traffic, or judge a longer time")
        };
        finding.threshold(format!(">= {}", self.least))
    }

    fn errors(&self, cache: Cache, names: &Names) -> Finding {
        let share = cache.error_share(self.increases());
        let shown = |share: f64| format!("{:.3} %", share * 100.0);
        match share {
            Some(share) if share <= ERRORS_GOAL => Finding::ok(names.errors, shown(share)),
            Some(share) if share <= ERRORS => Finding::warn(names.errors, shown(share), "what fails is in the log"),
            Some(share) => Finding::fail(names.errors, shown(share), "roll back; what fails is in the log"),
            None => Finding::unknown(names.errors, "-", "no requests were counted"),
        }
        .threshold(format!("<= {}, fails above {}", shown(ERRORS_GOAL), shown(ERRORS)))
    }

    fn p95(&self, cache: Cache, names: &Names) -> Finding {
        let (found, usual) = (cache.latency(self.increases()).p95, self.usual.p95(cache));
        let (shown, requests) = (Unit::Seconds.show(found), self.usual.requests(cache));
        let unknown = |help: &str| Finding::unknown(names.p95, shown.as_str(), help);
        match (found, usual) {
            (None, _) => unknown("nothing was timed: send more traffic"),
            (_, None) => unknown("the baseline has none: capture one with such traffic"),
            _ if requests < self.least => unknown(&format!(
                "the baseline is of {requests:.0}, too few to judge by: capture one with more traffic"
            )),
            (Some(found), Some(usual)) => match is_slower(found, usual) {
                Some(false) => Finding::ok(names.p95, shown.as_str()),
                Some(true) => {
                    let help = "roll back; compare `terrace report` of before and after";
                    Finding::fail(names.p95, shown.as_str(), help)
                }
                None => {
                    unknown("what is timed ends below what is too slow: see `terrace report` for what takes so long")
                }
            },
        }
        .threshold(format!("<= {SLOWER} x {}", Unit::Seconds.show(usual)))
    }

    /// Of what was fetched and kept, something has to be in Redis: also when it was so far gone that nobody tried.
    fn stores(&self, cache: Cache, names: &Names) -> Finding {
        let tried = cache.l2_stores(self.increases(), None).max(cache.filled(self.increases()));
        let stored = cache.l2_stores(self.increases(), Some("ok"));
        let features: &[&str] = if cache == Cache::Response { &["cache", "l2"] } else { &["authz", "l2", "authz_l2"] };
        let is_off = |feature: &&str| self.now.features.get(*feature) == Some(&false);
        let shown = format!("{stored:.0} of {tried:.0}");
        let finding = match self.without_l2(names.stores) {
            Some(finding) => return finding,
            None if features.iter().any(is_off) => Finding::skip(names.stores, shown, "it is switched off"),
            None if tried <= 0.0 => Finding::skip(names.stores, shown, "nothing was fetched that could be stored"),
            None if stored <= 0.0 => {
                Finding::fail(names.stores, shown, "roll back; `terrace check` says what is wrong with Redis")
            }
            None => Finding::ok(names.stores, shown),
        };
        finding.threshold("> 0")
    }

    /// A fleet that had Redis has it, or something is wrong with what is measured.
    fn without_l2(&self, id: &'static str) -> Option<Finding> {
        match (self.now.summary.has_l2(), self.usual.has_l2()) {
            (true, _) => None,
            (false, true) => {
                Some(Finding::unknown(id, "no tier is shared", "the baseline had Redis: see REDIS_* of the processes"))
            }
            (false, false) => Some(Finding::skip(id, "no tier is shared", "nor was one in the baseline")),
        }
    }

    /// What it is to achieve; falling short is no reason to roll back.
    fn success(&self, cache: Cache, names: &Names) -> Vec<Finding> {
        let all = self.increases();
        let mut findings = vec![
            below(
                names.p95_goal,
                Unit::Seconds,
                cache.latency(all).p95,
                P95_GOAL,
                "see what takes so long in `terrace report`",
            ),
            above(names.hits, cache.combined(all), HITS, "`terrace report` lists the reasons for misses"),
            above(names.l1, cache.l1(all), L1, "see evictions: CACHE_L1_MAX_BYTES may be too small"),
            below(
                names.l1_p95,
                Unit::Seconds,
                cache.latency_of(all, &["l1_cache_hit"]).p95,
                L1_HIT,
                "the process has too little processor time: see its limit and throttling",
            ),
        ];
        if self.now.summary.has_l2() {
            findings.push(above(
                names.l2_share,
                cache.l2_share(all),
                L2_SHARE,
                "see whether `terrace warm` and lifetimes fit",
            ));
            findings.push(below(
                names.fills,
                Unit::Seconds,
                cache.fills(all).p95,
                FILL,
                "the origin or Redis is slow: see `terrace report`",
            ));
        }
        if cache == Cache::Authz {
            let found = cache.latency_of(all, &["l2_cache_hit"]).p95;
            findings.push(below("authz-l2-p95", Unit::Seconds, found, L2_CHECK, "Redis is far away or slow"));
        }
        findings
    }

    /// Fails only if there was no time without failures: one that ended is no reason to roll back.
    fn redis(&self) -> Finding {
        if let Some(finding) = self.without_l2("redis-connection") {
            return finding;
        }
        let failures = |part: &Increases| part.sum("cache_l2_errors_total", &[("kind", UNREACHED)]);
        let bad = self.now.parts.iter().filter(|part| failures(part) > 0.0).count();
        let total = failures(self.increases());
        let shown = format!("{} in {} of {PARTS} parts", Unit::Count.show(Some(total)), bad.min(PARTS));
        let help = "`terrace check` says what is wrong with Redis";
        match bad {
            0 if self.now.parts.is_empty() => Finding::unknown("redis-connection", shown, "there is no data"),
            0 if total > 0.0 => Finding::warn("redis-connection", shown, help),
            0 => Finding::ok("redis-connection", shown),
            bad if bad >= PARTS => Finding::fail("redis-connection", shown, format!("roll back; {help}")),
            _ => Finding::warn("redis-connection", shown, help),
        }
        .threshold("a part without failures")
    }

    fn redis_memory(&self) -> Finding {
        below(
            "redis-memory",
            Unit::Share,
            self.now.redis_memory.map(Figure::Is),
            REDIS_MEMORY,
            "raise maxmemory, or store less",
        )
    }

    /// Hits that were compared with fresh answers.
    fn answers(&self) -> Finding {
        let samples =
            |results: &[&str]| self.increases().sum("cache_consistency_samples_total", &[("result", results)]);
        let (wrong, right) = (samples(&["mismatch"]), samples(&["match"]));
        let shown = format!("{wrong:.0} of {:.0} differ", wrong + right);
        let finding = match (wrong > 0.0, right > 0.0) {
            (true, _) => Finding::fail("answers", shown, "roll back; purge what is wrong"),
            (false, true) => Finding::ok("answers", shown),
            (false, false) => Finding::skip("answers", shown, "no hit was compared with a fresh answer"),
        };
        finding.threshold("0")
    }
}

/// `None`: it cannot be told, since what is above the last edge may be anything above it.
fn is_slower(found: Figure, usual: Figure) -> Option<bool> {
    let most = usual.times(SLOWER);
    match (found, most) {
        (Figure::Is(found), most) if found <= most.least() => Some(false),
        (found, Figure::Is(most)) if found.is_above() && found.least() < most => None,
        (_, Figure::Is(_)) => Some(true),
        (_, Figure::Above(_)) => None,
    }
}

fn above(id: &'static str, found: Option<f64>, least: f64, help: &str) -> Finding {
    let shown = Unit::Share.show(found);
    match found {
        Some(found) if found > least => Finding::ok(id, shown),
        Some(_) => Finding::warn(id, shown, help),
        None => Finding::skip(id, shown, "nothing of it happened"),
    }
    .threshold(format!("> {}", Unit::Share.show(Some(least))))
}

fn below(id: &'static str, unit: Unit, found: Option<Figure>, most: f64, help: &str) -> Finding {
    let shown = unit.show(found);
    match found {
        Some(Figure::Is(found)) if found < most => Finding::ok(id, shown),
        Some(_) => Finding::warn(id, shown, help),
        None => Finding::skip(id, shown, "nothing of it is known"),
    }
    .threshold(format!("< {}", unit.show(Some(most))))
}

#[cfg(test)]
mod tests;
