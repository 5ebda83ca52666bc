//! What is printed, and kept if somebody wants that.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

pub(crate) struct Report(Option<File>);

impl Report {
    pub(crate) fn to(path: Option<&Path>) -> Self {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        Self(path.map(|path| open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))))
    }

    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        if let Some(file) = &mut self.0 {
            writeln!(file, "{line}").expect("the disk has room");
        }
    }
}

/// A part of so many of a hundred of which is not more than this; zero of nothing.
pub(crate) fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// In milliseconds, as a cell of a table.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}
