//! Histograms with the catalogue's buckets, in the same sharded cells as the counters.
//!
//! They are ours because the exporter's keep every observation until somebody drains them, and can't weigh one.

use super::catalogue::{FAMILIES, FamilyKind, Id, cell};
use super::stats::Cells;
use crate::clock::nanoseconds;
#[cfg(feature = "metrics")]
use std::fmt::{self, Write};
use std::time::Duration;

/// Counts an observation in the series with these label values, as `weight` ones.
pub(super) fn record<const N: usize>(cells: &Cells, id: Id, values: [usize; N], took: Duration, weight: u64) {
    let FamilyKind::Histogram(edges) = FAMILIES[id as usize].kind else {
        unreachable!("only histograms are recorded");
    };
    let took = nanoseconds(took);
    let first = cell(id, values);
    let bucket = edges.partition_point(|edge| *edge < took);
    cells.add(first + bucket, weight);
    cells.add(first + edges.len() + 1, took.saturating_mul(weight));
}

/// Appends all histograms as Prometheus text.
#[cfg(feature = "metrics")]
pub(super) fn render(totals: &super::registry::Totals, text: &mut String) -> fmt::Result {
    for family in &FAMILIES {
        let FamilyKind::Histogram(edges) = family.kind else {
            continue;
        };
        if !totals.have(family) {
            continue;
        }
        writeln!(text, "# HELP {} {}", family.name, family.help)?;
        writeln!(text, "# TYPE {} histogram", family.name)?;
        for (labels, cells) in totals.series(family) {
            let labels = labels.iter().flat_map(|(name, value)| [name, "=\"", value, "\","]).collect::<String>();
            render_series(family.name, &labels, edges, cells, text)?;
        }
        writeln!(text)?;
    }
    Ok(())
}

/// `labels` ends with a comma, if there are any.
#[cfg(feature = "metrics")]
fn render_series(name: &str, labels: &str, edges: &[u64], cells: &[u64], text: &mut String) -> fmt::Result {
    let mut count = 0_u64;
    for (edge, observations) in edges.iter().zip(cells) {
        count = count.wrapping_add(*observations);
        writeln!(text, "{name}_bucket{{{labels}le=\"{}\"}} {count}", seconds(*edge))?;
    }
    count = count.wrapping_add(cells[edges.len()]);
    writeln!(text, "{name}_bucket{{{labels}le=\"+Inf\"}} {count}")?;
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.trim_end_matches(',')) };
    writeln!(text, "{name}_sum{labels} {}", seconds(cells[edges.len() + 1]))?;
    writeln!(text, "{name}_count{labels} {count}")
}

#[cfg(feature = "metrics")]
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
