//! What the gate looks at.

use crate::measured::{Increases, Recorded, Summary, Window};
use crate::prometheus::Range;
use std::collections::BTreeMap;

/// In how many parts the time is looked at.
pub(super) const PARTS: usize = 5;

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Measurements {
    pub(super) summary: Summary,
    /// Those of which there is data.
    pub(super) parts: Vec<Increases>,
    /// How many are there at the end of the time.
    pub(super) processes: f64,
    /// Whether each feature is on in any process.
    pub(super) features: BTreeMap<String, bool>,
    /// Of Redis's own limit, the greatest part that a server of it uses.
    pub(super) redis_memory: Option<f64>,
}

/// # Errors
///
/// In a few words, why it is not known.
pub(super) async fn measure(recorded: &Recorded, window: Window) -> Result<Measurements, String> {
    let Window { from, to } = window;
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let part = window.seconds() / PARTS as f64;
    // A little later than the first ends, so that the last is not lost to rounding.
    let range = Range { from: from + part, to: to + part / 2.0, step: part };
    let parts = recorded.increases(&["cache_requests_total", "cache_l2_errors_total"], part, range).await?;
    let parts = parts.into_values().filter(|part| part.has("cache_requests_total")).collect();
    let features = recorded.ask("max by (feature) (cache_feature_enabled{})", to).await?;
    let feature = |sample: crate::prometheus::Sample| Some((sample.labels.get("feature")?.clone(), sample.value > 0.0));
    Ok(Measurements {
        summary: recorded.summary(window).await?,
        parts,
        processes: recorded.figure("count(cache_build_info{})", to).await?.unwrap_or(0.0),
        features: features.into_iter().filter_map(feature).collect(),
        redis_memory: recorded.figure("max(redis_memory_used_bytes / (redis_memory_max_bytes > 0))", to).await?,
    })
}
