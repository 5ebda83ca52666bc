//! `terrace report`: what a cache was good for, for those who were not there.
//!
//! ```text
//! options ─ crate::measured (the whole time) ─┬ Markdown, JSON
//!           history (over the time) ──────────┴ html ─ plot
//! ```

mod history;
mod html;
mod options;
mod plot;

pub(crate) use options::Options;

use crate::failure::Failure;
use crate::measured::{Document, Recorded, Summary, Window, markdown, now, tables, time};
use crate::text::{Format, print, print_json};
use crate::whole;

/// Reports.
///
/// # Errors
///
/// When Prometheus does not say what happened, or the file cannot be written.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let window = window(options, now())?;
    let recorded = Recorded::open(&options.place)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::inconclusive)?;
    let (summary, document) = runtime.block_on(read(&recorded, window)).map_err(Failure::inconclusive)?;
    if let Some(file) = &options.html {
        let unwritten = |error| Failure::inconclusive(format_args!("{}: {error}", file.display()));
        whole::write(file, &html::html(&document)).map_err(unwritten)?;
    }
    match options.output {
        Format::Json => print_json(&summary.json()),
        Format::Table => print(&markdown(&document)),
    }
}

/// From `--from` to `--to`, or the last so long.
fn window(options: &Options, now: f64) -> Result<Window, Failure> {
    let to = options.to.unwrap_or(now);
    let from = match (options.from, options.time) {
        (Some(from), _) => from,
        (None, time) => to - time.unwrap_or(options::DAY).as_secs_f64(),
    };
    if from >= to {
        return Err(Failure::usage("--from: expected a time before --to, which is now unless it is said"));
    }
    Ok(Window { from, to })
}

async fn read(recorded: &Recorded, window: Window) -> Result<(Summary, Document), String> {
    let summary = recorded.summary(window).await?;
    if summary.builds.is_empty() {
        return Err("Prometheus has nothing of Terrace in that time".into());
    }
    let mut sections = tables(&summary);
    sections.push(history::section(recorded, window, &summary).await?);
    let title = format!("Terrace, {} to {}", time(window.from), time(window.to));
    Ok((summary, Document { title, sections }))
}
