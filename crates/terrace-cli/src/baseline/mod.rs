//! `terrace baseline`: what is usual, to compare with.

mod diff;
mod file;
mod options;

pub(crate) use file::Baseline;
pub(crate) use options::Options;

use crate::failure::Failure;
use crate::measured::{Document, Recorded, Summary, between, markdown, tables};
use crate::text::{Format, print, print_json};
use crate::whole;
use options::{Capture, Command};

/// Captures one, or compares two.
///
/// # Errors
///
/// When there was nothing to capture, or a file is no baseline.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    match &options.command {
        Command::Capture(capture) => self::capture(capture),
        Command::Diff(diff) => diff::main(diff),
    }
}

fn capture(options: &Capture) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::inconclusive)?;
    let summary = runtime.block_on(measure(options))?;
    if !summary.has_traffic() {
        return Err(Failure::inconclusive("there was no traffic in that time: nothing is usual yet"));
    }
    let text = || markdown(&Document { title: "Baseline".into(), sections: tables(&summary) });
    // First what the time was spent for.
    let printed = match options.output {
        Format::Json => print_json(&summary.json()),
        Format::Table => print(&text()),
    };
    let written = options.markdown.as_ref().map_or(Ok(()), |file| {
        let unwritten = |error| Failure::runtime(format_args!("--markdown {}: {error}", file.display()));
        whole::write(file, &text()).map_err(unwritten)
    });
    printed.and(written)
}

async fn measure(options: &Capture) -> Result<Summary, Failure> {
    if options.scrape.is_empty() {
        let recorded = Recorded::open(&options.place)?;
        return recorded.last(options.time).await.map_err(Failure::inconclusive);
    }
    between(&options.scrape, options.time, options.place.timeout).await
}
