//! A table, and a picture of each run.

use crate::clock::milliseconds;
use crate::judge::{Shares, Times, Verdict};
use crate::load::{Sample, Way};
use crate::phase::Record;
use plotters::prelude::*;
use std::error::Error;
use std::fs;
use std::path::Path;

pub(crate) const HEADING: &str = "\
| fault | requests | failed | switched off p50 / p99 / max | healthy p50 / p99 / max | fault p50 / p99 / max | added, max | not asked after | more once open, p99 | probes (at once) | connects | back after | memory / Redis / origin %: healthy, fault, healed | shed |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|";

impl Verdict {
    /// Of the table. Times are in milliseconds.
    pub(crate) fn row(&self) -> String {
        let number = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let probes = self.probes.map(|probes| match self.together {
            Some(together) => format!("{probes} ({})", together + usize::from(probes > 0)),
            None => probes.to_string(),
        });
        let shares = self.shares.map(|shares| shares.to_string()).join(", ");
        [
            self.fault.name(),
            self.requests.to_string(),
            self.failed.to_string(),
            number(self.off.map(|off| off.to_string())),
            self.healthy.to_string(),
            self.broken.to_string(),
            format!("{} ({})", ms(self.added), ms(self.added_running)),
            number(self.opened.map(ms)),
            number(self.once_open.map(signed)),
            number(probes),
            number(self.connects.map(|connects| connects.to_string())),
            number(self.recovery.map(ms)),
            shares,
            self.shed.to_string(),
        ]
        .iter()
        .fold("|".to_owned(), |row, cell| format!("{row} {cell} |"))
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {} / {}", ms(self.p50), ms(self.p99), ms(self.max))
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [memory, shared, origin] = self.0;
        write!(f, "{memory} / {shared} / {origin}")
    }
}

fn signed(nanoseconds: i64) -> String {
    format!("{}{}", if nanoseconds < 0 { "−" } else { "" }, ms(nanoseconds.unsigned_abs()))
}

fn ms(nanoseconds: u64) -> String {
    let (whole, part) = (nanoseconds / 1_000_000, nanoseconds / 10_000 % 100);
    if whole < 100 { format!("{whole}.{part:02}") } else { whole.to_string() }
}

/// One point of a line: when, and how long, both of them for people.
type Point = (f64, f64);

/// How finely the picture looks.
const BUCKET: u64 = milliseconds(100);
const SIZE: (u32, u32) = (900, 320);
/// What is faster than this, in milliseconds, is at the bottom.
const BOTTOM: f64 = 0.1;

/// Draws what clients waited beyond the origin's work: the 50th and 99th percentile and the longest of every 100 ms, with
/// the fault in grey.
pub(crate) fn draw(record: &Record, file: &Path) -> Result<(), Box<dyn Error>> {
    let (begun, ended) = (record.healthy.start, record.healed.end);
    let seconds = |at: u64| seconds(at.saturating_sub(begun));
    let lines = lines(record);
    let top = lines.iter().flat_map(|(_, points, _)| points).map(|(_, y)| *y).fold(50.0, f64::max) * 1.5;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(record.fault.name(), ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..seconds(ended), (BOTTOM..top).log_scale())?;
    chart.configure_mesh().x_desc("seconds").y_desc("ms beyond the origin's work").light_line_style(WHITE).draw()?;
    let fault = [(seconds(record.broken.start), top), (seconds(record.broken.end), BOTTOM)];
    chart.draw_series([Rectangle::new(fault, BLACK.mix(0.1).filled())])?;
    for (name, points, colour) in lines {
        let series = chart.draw_series(LineSeries::new(points, colour))?;
        series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    area.present()?;
    Ok(())
}

fn lines(record: &Record) -> [(&'static str, Vec<Point>, RGBColor); 3] {
    let begun = record.healthy.start;
    let mut lines = [("longest", Vec::new(), RED), ("p99", Vec::new(), BLUE), ("p50", Vec::new(), GREEN)];
    let shown = record.samples.iter().filter(|it| it.due >= begun && it.way != Way::Failed).collect::<Vec<_>>();
    for bucket in shown.chunk_by(|one, other| (one.due - begun) / BUCKET == (other.due - begun) / BUCKET) {
        let at = seconds(bucket[0].due - begun);
        let times = Times::of(bucket.iter().map(|it| Sample::waited(it)).collect());
        for (line, time) in lines.iter_mut().zip([times.max, times.p99, times.p50]) {
            line.1.push((at, (seconds(time) * 1000.0).max(BOTTOM)));
        }
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer points")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Writes a run's row and picture, and the table of all rows in the directory.
pub(crate) fn write(directory: &Path, record: &Record, verdict: &Verdict) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    let name = record.fault.name();
    fs::write(directory.join(format!("{name}.row")), verdict.row())?;
    draw(record, &directory.join(format!("{name}.svg")))?;
    let rows = crate::fault::Fault::all().into_iter();
    let rows = rows.filter_map(|fault| fs::read_to_string(directory.join(format!("{}.row", fault.name()))).ok());
    let table = rows.fold(HEADING.to_owned(), |table, row| format!("{table}\n{row}"));
    Ok(fs::write(directory.join("table.md"), table + "\n")?)
}
