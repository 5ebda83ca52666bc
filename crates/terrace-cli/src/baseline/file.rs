//! A baseline in its file.

use crate::failure::Failure;
use crate::measured::{Cache, Figure, SCHEMA};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Beyond it, a file is no baseline.
const LARGEST: u64 = 1 << 20;

/// What was usual.
#[derive(Debug)]
pub(crate) struct Baseline(Value);

impl Baseline {
    /// # Errors
    ///
    /// When there is none in the file, or one of another schema.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let why = |why: &dyn std::fmt::Display| Failure::usage(format_args!("{}: {why}", path.display()));
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        read.map_err(|error| why(&error))?;
        if text.len() as u64 > LARGEST {
            return Err(why(&format_args!("more than {LARGEST} bytes, which is no baseline")));
        }
        let document = serde_json::from_str(&text).map_err(|error| why(&format_args!("no baseline: {error}")))?;
        Self::of(document).map_err(|wrong| why(&wrong))
    }

    /// # Errors
    ///
    /// When it is none, or of another schema.
    pub(crate) fn of(document: Value) -> Result<Self, String> {
        match document["schema"].as_u64() {
            Some(SCHEMA) => Ok(Self(document)),
            Some(schema) => Err(format!("schema {schema}, and only {SCHEMA} is known here; capture a new baseline")),
            None => Err("no baseline: it has no schema; expected what `terrace baseline capture` prints".into()),
        }
    }

    pub(super) fn document(&self) -> &Value {
        &self.0
    }

    /// How many requests (or checks) it was made from.
    pub(crate) fn requests(&self, cache: Cache) -> f64 {
        self.0["caches"][cache.name()]["requests"].as_f64().unwrap_or(0.0)
    }

    /// Of all requests (or checks), in seconds.
    pub(crate) fn p95(&self, cache: Cache) -> Option<Figure> {
        let all = &self.0["caches"][cache.name()]["latency_seconds"]["all"];
        let number = |name: &str| all[name].as_f64().filter(|number| *number > 0.0);
        number("p95").map(Figure::Is).or_else(|| number("p95_above").map(Figure::Above))
    }

    /// Whether processes shared a tier.
    pub(crate) fn has_l2(&self) -> bool {
        self.0["l2"]["present"].as_bool().unwrap_or(false)
    }
}
