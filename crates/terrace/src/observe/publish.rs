//! Publishes the statistics through the `metrics` facade, to whatever recorder the application has.
//!
//! Counters are set with `absolute`, gauges with `set`. Handles are looked up anew each time: about 0.3 ms for 1 500
//! series every five seconds, and in return a recorder that is installed late, or that forgets idle series, still
//! gets everything.

use super::catalogue::{FAMILIES, Family, FamilyKind, Merge};
use super::registry::{Labels, Registry, Totals};
use crate::error::Error;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// How often the statistics are published, and an installed exporter's samples drained.
const PERIOD: Duration = Duration::from_secs(5);

/// The exporter that is ours to keep small.
static UPKEEP: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts publishing every five seconds to the recorder that the application installed, for recorders other than
/// Prometheus: [`prometheus::install`](super::prometheus::install) and
/// [`MetricsHandle::attach`](super::prometheus::MetricsHandle::attach) do this themselves. Runs in a thread of its
/// own until the process ends; further calls do nothing.
///
/// Such a recorder gets counters and gauges. Durations are only in the Prometheus text, because the facade can't
/// weigh a sample.
///
/// # Errors
///
/// When the thread can't be started.
pub fn publish_metrics() -> Result<(), Error> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*started {
        describe();
        let thread = std::thread::Builder::new().name("terrace-metrics".to_owned()).spawn(run);
        thread.map_err(|error| Error::metrics("the thread that publishes metrics could not be started", error))?;
        *started = true;
    }
    Ok(())
}

/// Takes over the upkeep of an exporter: without it, every observation of the application's own histograms is kept
/// for ever.
pub(super) fn keep_up(exporter: PrometheusHandle) {
    // Only one recorder can be installed, so there is never a second one.
    let _ = UPKEEP.set(exporter);
}

fn run() {
    loop {
        publish(&Registry::global().totals());
        if let Some(exporter) = UPKEEP.get() {
            exporter.run_upkeep();
        }
        std::thread::sleep(PERIOD);
    }
}

/// Publishes once.
pub(super) fn publish(totals: &Totals) {
    for family in &FAMILIES {
        for (labels, cells) in totals.series(family) {
            set(family, labels, cells[0]);
        }
    }
}

fn set(family: &'static Family, labels: Labels, value: u64) {
    let labels = || labels.into_iter().map(|(name, value)| metrics::Label::new(name, value)).collect::<Vec<_>>();
    match family.kind {
        FamilyKind::Counter => metrics::counter!(family.name, labels()).absolute(value),
        FamilyKind::Gauge(Merge::One) => metrics::gauge!(family.name, labels()).set(1.0),
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats; exact up to 2^53")]
        FamilyKind::Gauge(_) => metrics::gauge!(family.name, labels()).set(value as f64),
        FamilyKind::Seconds(_) => metrics::gauge!(family.name, labels()).set(super::histogram::seconds(value)),
        FamilyKind::Histogram(_) => {}
    }
}

/// Gives the recorder the catalogue's texts. Once: the first text wins, and each takes a lock.
pub(super) fn describe() {
    for family in &FAMILIES {
        match family.kind {
            FamilyKind::Counter => metrics::describe_counter!(family.name, family.help),
            FamilyKind::Gauge(_) | FamilyKind::Seconds(_) => metrics::describe_gauge!(family.name, family.help),
            FamilyKind::Histogram(_) => {}
        }
    }
}
