//! `terrace gate`: whether what was deployed may stay.
//!
//! ```text
//! options ─ measure: what Prometheus has recorded since ─ judge: against the baseline ─ crate::findings
//! ```

mod judge;
mod measure;
mod options;

pub(crate) use options::Options;

use crate::baseline::Baseline;
use crate::failure::Failure;
use crate::findings::{Finding, Findings, Status};
use crate::measured::{Recorded, Window, now};
use serde_json::json;

/// Judges.
///
/// # Errors
///
/// When something failed, not everything could be judged, or it cannot be said.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let baseline = Baseline::read(&options.baseline)?;
    let recorded = Recorded::open(&options.place)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::inconclusive)?;
    let findings = runtime.block_on(judged(&recorded, &baseline, options));
    // What does not apply, such as checks where nothing is authorized, is no warning.
    let strict = options.strict && findings.count(Status::Warn) > 0;
    let printed = findings.print(options.output, strict, json!({ "for": options.time.as_secs_f64() }));
    findings.outcome(strict).and(printed)
}

async fn judged(recorded: &Recorded, baseline: &Baseline, options: &Options) -> Findings {
    if options.wait {
        tokio::time::sleep(options.time).await;
    }
    let to = now();
    let window = Window { from: to - options.time.as_secs_f64(), to };
    match measure::measure(recorded, window).await {
        Ok(measurements) => judge::judge(&measurements, baseline, options.min_requests),
        Err(why) => Findings(vec![Finding::unknown("data", why, "see that Prometheus answers, and ask again")]),
    }
}
