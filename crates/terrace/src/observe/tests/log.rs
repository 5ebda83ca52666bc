//! What the log says.

use super::super::authz::Audit;
use super::super::stats::{CheckDecision, CheckStatus};
use super::*;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tracing_subscriber::filter::LevelFilter;

/// Lines written by the standard formatter.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(level: LevelFilter, work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::with_default(log.finish(), work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn only(lines: &[String], parts: &[&str]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
}

#[test]
fn an_event_is_a_field_and_in_the_message() {
    let config = Config::default().namespace("shop").unwrap();
    let lines = logged(LevelFilter::INFO, || drop(Observe::new(Clock::default(), &config)));
    let start = "cache_initialized: Cache initialized event=\"cache_initialized\" cache_namespace=\"shop\"";
    only(&lines, &["INFO", start, "l1_max_bytes=67108864"]);

    let observe = observe();
    let settings = crate::config::Settings::new(&config, observe.clone());
    let lines = logged(LevelFilter::INFO, || settings.flags().set(Feature::Swr, false));
    only(&lines, &["INFO", "event=\"cache_flag_changed\"", "feature=\"swr\" on=false", "cache_flag_changed:"]);
    let lines = logged(LevelFilter::INFO, || settings.set("CACHE_FILL_WAIT", "2s").unwrap());
    let fields = "setting=\"CACHE_FILL_WAIT\" value=\"2s\"";
    only(&lines, &["INFO", "event=\"cache_setting_changed\"", fields, "cache_setting_changed:"]);
    let lines = logged(LevelFilter::DEBUG, || observe.fill_error(&"the body ended early"));
    only(&lines, &["DEBUG", "cache_fill_error:", "event=\"cache_fill_error\"", "reason=the body ended early"]);
}

fn hits(level: LevelFilter, log_hits: &str, count: usize) -> usize {
    let config = Config::from_vars([("CACHE_LOG_HITS", log_hits)]).unwrap();
    let observe = Observe::private(Clock::default(), &config);
    let namespace = observe.namespace("shop");
    let lines = logged(level, || (0..count).for_each(|_| observe.l1_hit(namespace, None)));
    assert!(lines.iter().all(|line| line.contains("DEBUG") && line.contains("event=\"cache_l1_hit\"")));
    assert!(lines.iter().all(|line| line.contains("cache_namespace=\"shop\"")));
    lines.len()
}

#[test]
fn hits_are_thinned() {
    assert_eq!(hits(LevelFilter::DEBUG, "all", 50), 50);
    assert_eq!(hits(LevelFilter::DEBUG, "off", 50), 0);
    assert_eq!(hits(LevelFilter::DEBUG, "sample:10", 50), 5);
    assert_eq!(hits(LevelFilter::DEBUG, "sample:1000", 1), 1, "the first one always");
    assert_eq!(hits(LevelFilter::INFO, "all", 50), 0);
}

fn shared(time: &FakeClock) -> Observe {
    let observe = Observe::private(time.clock(), &Config::default());
    observe.shared(Duration::from_secs(1), FenceMode::Strict);
    observe
}

#[test]
fn a_breaker_says_when_it_opens_and_when_it_closes_and_nothing_of_probes() {
    use BreakerState::{Closed, HalfOpen, Open};
    let observe = shared(&FakeClock::new());
    let moved = |moves: &[(BreakerState, BreakerState)]| {
        let each = |(from, to): &(_, _)| observe.breaker_moved(BreakerName::Data, *from, *to);
        logged(LevelFilter::DEBUG, || moves.iter().for_each(each))
    };
    let open = moved(&[(Closed, Open), (Open, HalfOpen), (HalfOpen, Open), (Open, HalfOpen)]);
    only(&open, &["WARN", "event=\"cache_l2_breaker_open\"", "breaker=\"data\"", "cache_l2_breaker_open:"]);
    let closed = moved(&[(HalfOpen, Closed)]);
    only(&closed, &["INFO", "event=\"cache_l2_breaker_closed\"", "breaker=\"data\"", "cache_l2_breaker_closed:"]);
}

#[test]
fn coherence_says_once_that_it_is_lost_and_once_that_it_is_back() {
    let time = FakeClock::new();
    let observe = shared(&time);
    let after = |milliseconds, works: &[&dyn Fn()]| {
        time.advance(Duration::from_millis(milliseconds));
        logged(LevelFilter::DEBUG, || works.iter().for_each(|work| work()))
    };
    let (fails, proves) = (|| observe.poll_ended(PollResult::Timeout), || observe.proven(time.clock().now(), 0));
    assert!(after(5000, &[&fails, &fails]).is_empty(), "nothing was proven that could be lost");
    // The words that the field looks for.
    only(&after(10, &[&proves, &proves]), &["INFO", "event=\"redis_connected\"", "Redis connected"]);
    assert!(after(1000, &[&fails]).is_empty());
    let degraded = after(500, &[&fails, &fails]);
    only(&degraded, &["WARN", "event=\"cache_coherence_degraded\"", "proof_age=1.5s", "max_lag=1s"]);
    only(&after(10, &[&proves, &proves]), &["WARN", "event=\"cache_coherence_restored\""]);
}

#[test]
fn epochs_fences_and_pending_invalidations_are_said_once_for_each_change() {
    let time = FakeClock::new();
    let observe = shared(&time);
    let lines = logged(LevelFilter::DEBUG, || observe.epoch_changed(EpochChange::Restart));
    only(&lines, &["WARN", "event=\"cache_epoch_changed\"", "reason=\"restart\""]);

    let fences =
        |results: &[FenceResult]| logged(LevelFilter::DEBUG, || results.iter().for_each(|it| observe.fence(*it)));
    assert!(fences(&[FenceResult::Ok, FenceResult::Error]).is_empty());
    let refused = fences(&[FenceResult::NotPrimary, FenceResult::Error, FenceResult::NotPrimary]);
    only(&refused, &["WARN", "event=\"cache_fence_refused\"", "result=\"not_primary\""]);
    only(&fences(&[FenceResult::NewEpoch, FenceResult::Denied]), &["WARN", "result=\"denied\""]);

    let owed = |counts: &[usize]| {
        let oldest = |count| (count > 0).then(|| time.clock().now());
        logged(LevelFilter::DEBUG, || counts.iter().for_each(|count| observe.owed((*count, oldest(*count)))))
    };
    assert!(owed(&[0, 0]).is_empty());
    only(&owed(&[1, 2, 1]), &["WARN", "event=\"cache_invalidation_pending\"", "pending=1"]);
    only(&owed(&[0, 0]), &["INFO", "event=\"cache_invalidation_acked\""]);
}

#[test]
fn authorization_says_what_was_revoked_and_not_of_whom() {
    let observe = observe();
    let revoked = |acked| logged(LevelFilter::DEBUG, || observe.revoked(Scope::Subject, acked));
    only(&revoked(true), &["INFO", "event=\"authz_revoked\"", "scope=\"subject\"", "authz_revoked:"]);
    only(&revoked(false), &["WARN", "event=\"authz_revocation_pending\"", "scope=\"subject\""]);
    let swept = |changes| logged(LevelFilter::DEBUG, || observe.swept(changes));
    only(&swept(2), &["WARN", "event=\"authz_change_swept\"", "changes=2", "authz_change_swept:"]);
    assert!(swept(0).is_empty());
    let order = logged(LevelFilter::DEBUG, || observe.layer_order());
    only(&order, &["ERROR", "event=\"authz_layer_order\"", "authz_layer_order:"]);
}

#[cfg(feature = "axum")]
#[test]
fn authorization_says_what_is_put_together_wrongly() {
    let observe = observe();
    let missing = logged(LevelFilter::DEBUG, Observe::layer_missing);
    only(&missing, &["ERROR", "event=\"authz_layer_missing\"", "authz_layer_missing:"]);
    let parameter = logged(LevelFilter::DEBUG, || observe.parameter_missing("org"));
    only(&parameter, &["ERROR", "event=\"authz_parameter_missing\"", "name=\"org\""]);
}

#[test]
fn what_somebody_else_has_written_is_an_error_and_what_is_only_old_is_none() {
    let observe = shared(&FakeClock::new()).of(CacheName::Authz);
    for reason in RejectReason::ALL {
        let lines = logged(LevelFilter::DEBUG, || observe.rejected(Tier::L2, *reason));
        let is_error = matches!(reason, RejectReason::Seal | RejectReason::Regress);
        let level = if is_error { "ERROR" } else { "DEBUG" };
        only(&lines, &[level, "event=\"authz_l2_rejected\"", &format!("reason=\"{}\"", reason.as_str())]);
    }
}

#[test]
fn an_audit_is_made_only_for_who_listens() {
    let observe = observe();
    let audit = || Audit {
        decision_id: 7,
        decision: CheckDecision::Deny,
        reason: "not_granted",
        via: None,
        requirement: "invoice:read".to_owned(),
        status: CheckStatus::Miss,
        age: Duration::from_secs(1),
        position: 3,
        version: Some(9),
        stale: false,
        subject: 0xabc,
    };
    let lines = logged(LevelFilter::DEBUG, || observe.decided(audit));
    let parts = [
        "DEBUG terrace::audit: authz_decision:",
        "decision_id=0000000000000007 decision=\"deny\" reason=\"not_granted\"",
        "requirement=\"invoice:read\" cache_status=\"cache_miss\" age=1s position=3 source_version=9 stale=false",
        "subject=0000000000000abc",
    ];
    only(&lines, &parts);
    let quiet = logged(LevelFilter::INFO, || observe.decided(|| unreachable!("nobody listens")));
    assert!(quiet.is_empty());
}

#[test]
fn listening_says_when_it_begins_when_it_is_lost_and_what_it_refuses() {
    let observe = shared(&FakeClock::new());
    let logged = |works: &[&dyn Fn()]| logged(LevelFilter::DEBUG, || works.iter().for_each(|work| work()));
    let deaf = |first| move |observe: &Observe| observe.bridge_is_deaf(first);
    only(&logged(&[&|| deaf(true)(&observe), &|| deaf(false)(&observe)]), &["WARN", "event=\"cache_bridge_lost\""]);
    only(&logged(&[&|| observe.bridge_listens(false)]), &["INFO", "event=\"cache_bridge_connected\""]);
    only(&logged(&[&|| deaf(false)(&observe), &|| deaf(false)(&observe)]), &["WARN", "event=\"cache_bridge_lost\""]);
    only(&logged(&[&|| observe.bridge_listens(true)]), &["WARN", "event=\"cache_bridge_gap\""]);
    let refused = || observe.bridge_refused(BridgeChannel::Update, BridgeResult::Syntax);
    only(&logged(&[&refused]), &["WARN", "event=\"cache_bridge_refused\"", "channel=\"update\" reason=\"syntax\""]);
}
