//! What came of it.

use super::rdb::Rdb;
use crate::failure::Failure;
use crate::fleet::Fleet;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// A copy.
pub(super) struct Copied {
    pub(super) file: PathBuf,
    pub(super) rdb: Rdb,
    /// Whose it is.
    pub(super) server: String,
    pub(super) is_replica: bool,
    pub(super) took: Duration,
    /// Older ones that were removed, by their names.
    pub(super) removed: Vec<String>,
}

impl Copied {
    fn role(&self) -> &'static str {
        if self.is_replica { "replica" } else { "primary" }
    }

    /// That there is a new one.
    pub(super) fn log(&self) {
        tracing::info!(
            event = "cache_backup_done",
            seconds = (self.took.as_secs_f64() * 1e3).round() / 1e3,
            bytes = self.rdb.bytes,
            role = self.role(),
            removed = self.removed.len() as u64,
            "cache_backup_done: there is a new copy"
        );
    }

    pub(super) fn text(&self) -> String {
        let Self { file, rdb, server, took, removed, .. } = self;
        let checksum = if rdb.has_checksum { "its checksum is right" } else { "without a checksum" };
        format!(
            "{}\n{} bytes, RDB version {}, {checksum}\ncopied from the {} at {server} in {:.1} s; {} older removed\n",
            file.display(),
            rdb.bytes,
            rdb.version,
            self.role(),
            took.as_secs_f64(),
            removed.len(),
        )
    }
}

/// Of a copy, and of what went wrong.
pub(super) fn json(fleet: &Fleet, copied: Option<&Copied>, failure: Option<&Failure>) -> Value {
    json!({
        "namespace": fleet.namespace,
        "redis": fleet.place,
        "file": copied.map(|copied| copied.file.display().to_string()),
        "bytes": copied.map(|copied| copied.rdb.bytes),
        "rdb_version": copied.map(|copied| copied.rdb.version),
        "checksum": copied.map(|copied| copied.rdb.has_checksum),
        "server": copied.map(|copied| copied.server.as_str()),
        "role": copied.map(Copied::role),
        "seconds": copied.map(|copied| (copied.took.as_secs_f64() * 1e3).round() / 1e3),
        "removed": copied.map(|copied| &copied.removed),
        "error": failure.map(ToString::to_string),
    })
}
